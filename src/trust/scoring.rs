//! Running a checkpoint over prompts, requests and texts, each distinct sequence once.

use std::collections::BTreeMap;

use super::answers::AnswerTable;
use super::error::TrustError;
use super::perplexity::rolling_requests;
use super::store::{Finished, Job, Keys, ScoreStore, distinct, finish};
use crate::base::{Digest, Progress, Silent};
use crate::model::score::score;
use crate::model::{
    AdapterBank, AnswerRows, LanguageModel, ModelError, NoHooks, Score, ScoreRequest, TokenizedPrompt,
    answer_loglikelihoods, score_with_adapters, split_tokens, tokenize_prompt,
};
use crate::scenario::Prompt;

/// A model to score with, and what its scores are kept under.
///
/// Give a model whose adapter is frozen ([`Adapter::frozen`](crate::model::Adapter::frozen)): with live variables every pass
/// keeps a gradient graph that nobody reads.
#[derive(Clone, Copy)]
pub struct Checkpoint<'a> {
    /// The model, its adapter attached.
    pub model: &'a LanguageModel,
    /// The digest of that adapter. The model's own digest leaves adapters out, so a missing one here would mix up scores.
    pub adapter: Option<&'a Digest>,
}

impl Checkpoint<'_> {
    fn keys(&self) -> Keys {
        Keys::of(self.model.digest(), self.adapter)
    }
}

/// What answers requests.
#[derive(Clone, Copy)]
pub enum Scorer<'a> {
    /// One checkpoint for all of them.
    Checkpoint(Checkpoint<'a>),
    /// The adapter that each of them names, or the base; requests with different adapters share passes.
    Bank(&'a AdapterBank),
}

impl<'a> From<Checkpoint<'a>> for Scorer<'a> {
    fn from(checkpoint: Checkpoint<'a>) -> Self {
        Scorer::Checkpoint(checkpoint)
    }
}

impl<'a> Scorer<'a> {
    /// The model, or the base.
    pub fn model(self) -> &'a LanguageModel {
        match self {
            Scorer::Checkpoint(checkpoint) => checkpoint.model,
            Scorer::Bank(bank) => bank.base(),
        }
    }

    fn keys(self, adapter: Option<&str>) -> Result<Keys, ModelError> {
        match (self, adapter) {
            (Scorer::Checkpoint(checkpoint), None) => Ok(checkpoint.keys()),
            (Scorer::Bank(bank), adapter) => {
                let digest = adapter.map(|name| bank.digest(name)).transpose()?;
                Ok(Keys::of(bank.base().digest(), digest))
            }
            (Scorer::Checkpoint(_), Some(name)) => {
                Err(ModelError::Request(format!("no adapter is called {name:?}; no named adapters were given")))
            }
        }
    }

    fn score(self, requests: &[(Option<&str>, ScoreRequest)]) -> Result<Vec<Score>, ModelError> {
        match self {
            Scorer::Bank(bank) => score_with_adapters(bank, requests, usize::MAX, &Silent),
            Scorer::Checkpoint(checkpoint) => {
                let requests: Vec<ScoreRequest> = requests.iter().map(|(_, request)| request.clone()).collect();
                score(checkpoint.model, &requests, usize::MAX, &Silent)
            }
        }
    }
}

/// A request with what errors call it and the adapter that it names.
#[derive(Debug, Clone)]
pub struct NamedRequest {
    /// What errors call it.
    pub name: String,
    /// Its adapter.
    pub adapter: Option<String>,
    /// Its tokens.
    pub request: ScoreRequest,
}

/// Where finished scores are kept, how large a batch is, and who is told.
pub struct Pass<'a> {
    /// Finished scores.
    pub store: &'a mut ScoreStore,
    /// The most tokens that one batch runs, padding included.
    pub batch_tokens: usize,
    /// Told of every batch; asked between batches whether to stop.
    pub progress: &'a dyn Progress,
}

impl Pass<'_> {
    fn finish(
        &mut self,
        stage: &str,
        jobs: &[Job],
        run: impl FnMut(&[usize]) -> Result<Vec<Finished>, TrustError>,
    ) -> Result<Vec<Finished>, TrustError> {
        self.progress.start(stage, distinct(jobs) as u64);
        let finished = finish(jobs, self.batch_tokens, self.store, self.progress, run)?;
        self.progress.finish();
        Ok(finished)
    }
}

/// The answers to all prompts; `name` of each is what errors call it. Prompts of equal text and answers run once.
///
/// # Errors
/// Names the prompt that has fewer than two answers, does not fit into the model's positions (it is never cut: the cut could
/// remove what a pair differs by), or has a likelihood that is not finite.
pub fn answer_table(
    checkpoint: Checkpoint<'_>,
    prompts: &[(String, &Prompt)],
    pass: &mut Pass<'_>,
) -> Result<AnswerTable, TrustError> {
    let mut distinct: BTreeMap<(&str, &[String]), (&str, &Prompt)> = BTreeMap::new();
    for (name, prompt) in prompts {
        distinct.entry((&prompt.text, &prompt.answers)).or_insert((name, prompt));
    }
    let distinct: Vec<(&str, &Prompt)> = distinct.into_values().collect();
    let tokenizer = checkpoint.model.tokenizer()?;
    let mut tokenized = Vec::with_capacity(distinct.len());
    for (name, prompt) in &distinct {
        let tokens = tokenize_prompt(tokenizer, prompt)
            .map_err(|source| TrustError::Prompt { item: (*name).to_owned(), source })?;
        check_length(name, &tokens, checkpoint.model)?;
        tokenized.push(tokens);
    }
    let keys = checkpoint.keys();
    let rows: Vec<AnswerRows> = tokenized.iter().map(|prompt| AnswerRows::new(&prompt.ids, &prompt.answers)).collect();
    let jobs: Vec<Job> = tokenized.iter().zip(&rows).map(|(prompt, rows)| answer_job(&keys, prompt, rows)).collect();
    let finished = pass.finish("score prompts", &jobs, |batch| run_answers(checkpoint.model, &rows, batch))?;
    let mut table = AnswerTable::default();
    for ((name, prompt), finished) in distinct.into_iter().zip(finished) {
        table.insert(name, prompt, finished.loglikelihoods)?;
    }
    Ok(table)
}

fn check_length(name: &str, prompt: &TokenizedPrompt, model: &LanguageModel) -> Result<(), TrustError> {
    let limit = model.architecture().max_positions;
    let longest = prompt.answers.iter().map(Vec::len).max().unwrap_or(0);
    let tokens = prompt.ids.len() + longest;
    // The last token of an answer is predicted, never read.
    if tokens > limit + 1 {
        return Err(TrustError::TooLong { item: name.into(), tokens, limit });
    }
    Ok(())
}

fn answer_job(keys: &Keys, prompt: &TokenizedPrompt, rows: &AnswerRows) -> Job {
    let longest = rows.rows.iter().max_by_key(|row| row.ids.len());
    Job {
        key: keys.key("answers", &prompt.ids, prompt.answers.iter().map(Vec::as_slice)),
        ids: longest.map(|row| row.ids.clone()).unwrap_or_default(),
        rows: rows.rows.len(),
    }
}

fn run_answers(model: &LanguageModel, rows: &[AnswerRows], batch: &[usize]) -> Result<Vec<Finished>, TrustError> {
    let batch: Vec<AnswerRows> = batch.iter().filter_map(|&index| rows.get(index).cloned()).collect();
    let tensors = answer_loglikelihoods(model, &batch, &mut NoHooks)?;
    let values = |tensor: candle_core::Tensor| Ok(tensor.to_vec1::<f32>().map_err(ModelError::from)?);
    let finished =
        |values: Vec<f32>| Finished { loglikelihoods: values.into_iter().map(f64::from).collect(), is_greedy: None };
    tensors.into_iter().map(|tensor| values(tensor).map(finished)).collect()
}

/// Scores requests, answered in the order asked; `name` of each is what errors call it. Requests longer than the model's
/// positions lose tokens at their start, as lm-eval's do.
pub fn score_requests(
    checkpoint: Checkpoint<'_>,
    requests: &[(String, ScoreRequest)],
    pass: &mut Pass<'_>,
) -> Result<Vec<Score>, TrustError> {
    let named = |(name, request): &(String, ScoreRequest)| NamedRequest {
        name: name.clone(),
        adapter: None,
        request: request.clone(),
    };
    score_named(checkpoint.into(), &requests.iter().map(named).collect::<Vec<_>>(), pass)
}

/// The same, each with the adapter that it names.
pub fn score_named(
    scorer: Scorer<'_>,
    requests: &[NamedRequest],
    pass: &mut Pass<'_>,
) -> Result<Vec<Score>, TrustError> {
    let limit = scorer.model().architecture().max_positions;
    if let Some(NamedRequest { name, request, .. }) = requests.iter().find(|it| it.request.continuation.len() > limit) {
        return Err(TrustError::TooLong { item: name.clone(), tokens: request.continuation.len(), limit });
    }
    let job = |NamedRequest { name, adapter, request }: &NamedRequest| {
        let keys = scorer.keys(adapter.as_deref());
        let keys = keys.map_err(|source| TrustError::Prompt { item: name.clone(), source })?;
        Ok(request_job(&keys, request, limit))
    };
    let jobs = requests.iter().map(job).collect::<Result<Vec<Job>, TrustError>>()?;
    let finished = pass.finish("score requests", &jobs, |batch| {
        let chosen = batch.iter().filter_map(|&index| requests.get(index));
        let chosen: Vec<_> = chosen.map(|it| (it.adapter.as_deref(), it.request.clone())).collect();
        Ok(scorer.score(&chosen)?.into_iter().map(finished_request).collect())
    })?;
    let scored = requests.iter().zip(finished).map(|(NamedRequest { name, request, .. }, finished)| {
        let loglikelihood = finished.loglikelihoods.first().copied().unwrap_or(f64::NAN);
        if !loglikelihood.is_finite() {
            let what = "the continuation".into();
            return Err(TrustError::NotFinite { item: name.clone(), what, value: loglikelihood });
        }
        let is_greedy = finished.is_greedy.unwrap_or(false);
        Ok(Score { loglikelihood, is_greedy, num_tokens: request.continuation.len() })
    });
    scored.collect()
}

fn request_job(keys: &Keys, request: &ScoreRequest, limit: usize) -> Job {
    let mut ids: Vec<u32> = request.context.iter().chain(&request.continuation).copied().collect();
    ids.pop();
    let start = ids.len().saturating_sub(limit);
    Job {
        key: keys.key("request", &request.context, [request.continuation.as_slice()]),
        ids: ids.split_off(start),
        rows: 1,
    }
}

fn finished_request(score: Score) -> Finished {
    Finished { loglikelihoods: vec![score.loglikelihood], is_greedy: Some(score.is_greedy) }
}

/// Log-likelihood (nats, summed) and tokens of whole texts, each from its start, over rolling windows where it is longer
/// than the model's positions; `name` of each is what errors call it.
pub fn score_texts(
    checkpoint: Checkpoint<'_>,
    texts: &[(String, &str)],
    pass: &mut Pass<'_>,
) -> Result<Vec<(f64, usize)>, TrustError> {
    let tokenizer = checkpoint.model.tokenizer()?;
    let limit = checkpoint.model.architecture().max_positions;
    let mut windows: Vec<(String, ScoreRequest)> = Vec::new();
    let mut counts = Vec::with_capacity(texts.len());
    for (name, text) in texts {
        let whole =
            split_tokens(tokenizer, "", text).map_err(|source| TrustError::Prompt { item: name.clone(), source })?;
        let prefix = whole.context.first().copied().unwrap_or_default();
        let requests = rolling_requests(prefix, &whole.continuation, limit);
        counts.push((requests.len(), whole.continuation.len()));
        windows.extend(requests.into_iter().map(|request| (name.clone(), request)));
    }
    let mut scores = score_requests(checkpoint, &windows, pass)?.into_iter();
    let sum = |(windows, tokens)| (scores.by_ref().take(windows).map(|score| score.loglikelihood).sum(), tokens);
    Ok(counts.into_iter().map(sum).collect())
}
