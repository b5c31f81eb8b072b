//! The one place where requests meet a model.

use std::collections::BTreeMap;

use super::super::error::HarnessError;
use super::super::question::{Generation, Request, Response};
use super::texts::{TextJob, TextStore};
use crate::base::Seed;
use crate::model::generate::{Choice, GenerateOptions, GenerateRequest, Sampling, complete};
use crate::model::{LanguageModel, NoHooks, Special, split_tokens};
use crate::trust::scoring::{score_named, score_texts};
use crate::trust::{Checkpoint, NamedRequest, Pass, TrustError};

/// A checkpoint with what keeps its answers.
pub struct Asker<'a, 'p> {
    /// The checkpoint.
    pub checkpoint: Checkpoint<'a>,
    /// Finished scores, the size of a batch, and who is told.
    pub pass: Pass<'p>,
    /// Finished texts.
    pub texts: &'p mut TextStore,
    /// Texts that are continued side by side.
    pub rows: usize,
    /// The root of sampled texts.
    pub seed: Seed,
}

/// What the checkpoint says to each request, in order; `name` of each is what errors call it.
///
/// # Errors
/// As [`answer`](super::answer).
pub fn ask(asker: &mut Asker<'_, '_>, requests: &[(String, &Request)]) -> Result<Vec<Response>, HarnessError> {
    let mut responses: Vec<Option<Response>> = vec![None; requests.len()];
    let mut keep = |places: Vec<usize>, answers: Vec<Response>| {
        for (place, answer) in places.into_iter().zip(answers) {
            responses.iter_mut().skip(place).take(1).for_each(|slot| *slot = Some(answer.clone()));
        }
    };
    let places = |wanted: fn(&Request) -> bool| -> Vec<usize> {
        requests.iter().enumerate().filter(|(_, (_, request))| wanted(request)).map(|(place, _)| place).collect()
    };
    let scored = places(|request| matches!(request, Request::Loglikelihood { .. }));
    if !scored.is_empty() {
        let answers = loglikelihoods(asker, requests, &scored)?;
        keep(scored, answers);
    }
    let rolled = places(|request| matches!(request, Request::Rolling { .. }));
    if !rolled.is_empty() {
        let answers = rolling(asker, requests, &rolled)?;
        keep(rolled, answers);
    }
    let generated = places(|request| matches!(request, Request::Generate { .. }));
    if !generated.is_empty() {
        let answers = texts(asker, requests, &generated)?;
        keep(generated, answers);
    }
    let missing = |place: usize| {
        let item = requests.get(place).map(|(name, _)| name.clone()).unwrap_or_default();
        HarnessError::Trust(TrustError::Unscored { item })
    };
    responses.into_iter().enumerate().map(|(place, answer)| answer.ok_or_else(|| missing(place))).collect()
}

fn loglikelihoods(
    asker: &mut Asker<'_, '_>,
    requests: &[(String, &Request)],
    places: &[usize],
) -> Result<Vec<Response>, HarnessError> {
    let tokenizer = asker.checkpoint.model.tokenizer()?;
    let mut named = Vec::with_capacity(places.len());
    for (name, request) in places.iter().filter_map(|place| requests.get(*place)) {
        let Request::Loglikelihood { context, continuation } = request else { continue };
        let request = split_tokens(tokenizer, context, continuation)
            .map_err(|source| TrustError::Prompt { item: name.clone(), source })?;
        named.push(NamedRequest { name: name.clone(), adapter: None, request });
    }
    let scores = score_named(asker.checkpoint.into(), &named, &mut asker.pass)?;
    Ok(scores
        .into_iter()
        .map(|score| Response::Loglikelihood {
            loglikelihood: score.loglikelihood,
            is_greedy: score.is_greedy,
            logprobs: score.logprobs,
        })
        .collect())
}

fn rolling(
    asker: &mut Asker<'_, '_>,
    requests: &[(String, &Request)],
    places: &[usize],
) -> Result<Vec<Response>, HarnessError> {
    let mut texts = Vec::with_capacity(places.len());
    for (name, request) in places.iter().filter_map(|place| requests.get(*place)) {
        if let Request::Rolling { text } = request {
            texts.push((name.clone(), text.as_str()));
        }
    }
    let scores = score_texts(asker.checkpoint, &texts, &mut asker.pass)?;
    Ok(scores.into_iter().map(|(loglikelihood, tokens)| Response::Rolling { loglikelihood, tokens }).collect())
}

/// Texts, greedy ones once for each distinct prompt. The text is that of the new tokens alone, as lm-eval decodes it, and ends
/// before the first stop string.
fn texts(
    asker: &mut Asker<'_, '_>,
    requests: &[(String, &Request)],
    places: &[usize],
) -> Result<Vec<Response>, HarnessError> {
    let model = asker.checkpoint.model;
    let mut jobs = Vec::with_capacity(places.len());
    let mut repeats: BTreeMap<String, usize> = BTreeMap::new();
    for (name, request) in places.iter().filter_map(|place| requests.get(*place)) {
        let Request::Generate { context, generation } = request else { continue };
        let ids = prompt_tokens(model, name, context, generation.max_tokens)?;
        // Sampled answers to one document differ by their number.
        let repeat = match generation.temperature > 0.0 {
            true => {
                let count = repeats.entry(format!("{name}\u{0}{context}")).or_default();
                *count += 1;
                format!("{name}/{count}")
            }
            false => String::new(),
        };
        jobs.push(TextJob::new(asker.checkpoint, ids, generation, &repeat));
    }
    let missing = asker.texts.missing(&jobs);
    asker.pass.progress.start("generate", missing.len() as u64);
    let mut groups: BTreeMap<String, Vec<&TextJob>> = BTreeMap::new();
    for job in missing {
        groups.entry(job.settings()).or_default().push(job);
    }
    for mut group in groups.into_values() {
        group.sort_by_key(|job| std::cmp::Reverse(job.ids.len()));
        for batch in group.chunks(asker.rows.max(1)) {
            if asker.pass.progress.cancelled() {
                return Err(TrustError::Interrupted.into());
            }
            let Some(first) = batch.first() else { continue };
            let finished = continued(model, batch, &first.generation, asker)?;
            asker.texts.add(batch.iter().map(|job| job.key.clone()).zip(finished).collect())?;
            asker.pass.progress.advance(batch.len() as u64);
        }
    }
    asker.pass.progress.finish();
    Ok(jobs
        .iter()
        .map(|job| Response::Text { text: asker.texts.get(&job.key).unwrap_or_default().to_owned() })
        .collect())
}

/// The tokens of a prompt, its start cut off where the answer would not fit behind it.
fn prompt_tokens(
    model: &LanguageModel,
    name: &str,
    context: &str,
    max_tokens: usize,
) -> Result<Vec<u32>, HarnessError> {
    let limit = model.architecture().max_positions;
    let tokenizer = model.tokenizer()?;
    let mut ids = tokenizer.encode(context, Special::Default)?.ids;
    if max_tokens >= limit {
        return Err(TrustError::TooLong { item: format!("{name} (max_gen_toks)"), tokens: max_tokens, limit }.into());
    }
    let from = ids.len().saturating_sub(limit - max_tokens);
    ids.drain(..from);
    if ids.is_empty() {
        ids.extend(tokenizer.bos().or(tokenizer.eos()));
    }
    Ok(ids)
}

fn continued(
    model: &LanguageModel,
    batch: &[&TextJob],
    generation: &Generation,
    asker: &Asker<'_, '_>,
) -> Result<Vec<String>, HarnessError> {
    let requests: Vec<GenerateRequest> =
        batch.iter().map(|job| GenerateRequest { id: job.key.clone(), prompt: job.ids.clone() }).collect();
    let choice = match generation.temperature > 0.0 {
        true => Choice::Sample(Sampling { temperature: generation.temperature, ..Sampling::default() }),
        false => Choice::Greedy,
    };
    let until: Vec<String> = generation.until.iter().filter(|stop| !stop.is_empty()).cloned().collect();
    let options = GenerateOptions {
        choice,
        seed: asker.seed.fork("tasks"),
        stop_strings: until.clone(),
        batch: batch.len(),
        ..GenerateOptions::greedy(generation.max_tokens)
    };
    let silent = Quiet(asker.pass.progress);
    let completions = complete(model, &requests, &options, &mut NoHooks, &mut |_| {}, &silent)?;
    let tokenizer = model.tokenizer()?;
    let text = |ids: &[u32]| {
        let text = tokenizer.decode(ids)?;
        Ok(until.iter().fold(text, |text, stop| text.split(stop.as_str()).next().unwrap_or_default().to_owned()))
    };
    completions.iter().map(|completion| text(&completion.ids)).collect()
}

/// Hands on the wish to stop, and nothing else: batches are reported where they are cut.
struct Quiet<'a>(&'a dyn crate::base::Progress);

impl crate::base::Progress for Quiet<'_> {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
