//! Running a checkpoint over prompts, requests and texts, each distinct stretch of tokens once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::answers::AnswerTable;
use super::error::TrustError;
use super::perplexity::rolling_requests;
use super::store::{Keys, ScoreStore};
use crate::base::{Digest, Progress};
use crate::model::{
    AdapterBank, LanguageModel, ModelError, Score, ScoreRequest, ScoreWork, Special, TextTokenizer, TokenizedPrompt,
    split_tokens, tokenize_prompt,
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
        Keys::of(self.model, self.adapter)
    }
}

/// What answers requests.
#[derive(Clone, Copy)]
pub enum Scorer<'a> {
    /// One checkpoint for all of them.
    Checkpoint(Checkpoint<'a>),
    /// The adapter that each of them names, or the base.
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
                Ok(Keys::of(bank.base(), digest))
            }
            (Scorer::Checkpoint(_), Some(name)) => {
                Err(ModelError::Request(format!("no adapter is called {name:?}; no named adapters were given")))
            }
        }
    }

    /// The model of an adapter, or of none.
    fn choose(self, adapter: Option<&str>) -> Result<LanguageModel, ModelError> {
        match self {
            Scorer::Bank(bank) => bank.alone(adapter),
            Scorer::Checkpoint(checkpoint) => Ok(checkpoint.model.clone()),
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
    /// The most tokens that one pass runs.
    pub batch_tokens: usize,
    /// Told of every pass; asked between passes whether to stop.
    pub progress: &'a dyn Progress,
}

impl Pass<'_> {
    /// Scores what is not finished yet, and answers in the order asked. Equal keys run once; what passes are made of
    /// hangs on the whole list, so that a run that was stopped goes on with the passes that an unbroken one would have
    /// made, unless little of the list is left.
    fn finish(&mut self, stage: &str, scorer: Scorer<'_>, asked: &[Asked<'_>]) -> Result<Vec<Score>, TrustError> {
        let mut seen = BTreeSet::new();
        let distinct: Vec<&Asked<'_>> = asked.iter().filter(|asked| seen.insert(asked.key.as_str())).collect();
        self.progress.start(stage, distinct.len() as u64);
        let finished: Vec<bool> = distinct.iter().map(|asked| self.store.get(&asked.key).is_some()).collect();
        let known = finished.iter().filter(|finished| **finished).count() as u64;
        if known > 0 {
            self.progress.advance(known);
        }
        let open: Vec<&Asked<'_>> =
            distinct.iter().zip(&finished).filter(|(_, finished)| !**finished).map(|(asked, _)| *asked).collect();
        if !open.is_empty() {
            let whole = self.work(scorer, &distinct)?;
            let (rest, left) = (self.work(scorer, &open)?, whole.tokens_left(&finished));
            // What a stopped run leaves is a few passes more than the rest alone; scattered holes are many.
            match open.len() == distinct.len() || left <= rest.tokens() + 2 * self.batch_tokens.min(rest.largest_pass())
            {
                true => self.run(scorer, &whole, &distinct, &finished)?,
                false => self.run(scorer, &rest, &open, &[])?,
            }
        }
        self.progress.finish();
        let answer = |asked: &Asked<'_>| self.store.get(&asked.key).cloned();
        asked.iter().map(|it| answer(it).ok_or_else(|| TrustError::Unscored { item: it.name.to_owned() })).collect()
    }

    fn work(&self, scorer: Scorer<'_>, asked: &[&Asked<'_>]) -> Result<ScoreWork, TrustError> {
        let requests: Vec<_> = asked.iter().map(|asked| (asked.adapter, asked.request)).collect();
        Ok(ScoreWork::new(scorer.model(), &requests, self.batch_tokens)?)
    }

    fn run(
        &mut self,
        scorer: Scorer<'_>,
        work: &ScoreWork,
        asked: &[&Asked<'_>],
        finished: &[bool],
    ) -> Result<(), TrustError> {
        let (store, progress) = (&mut *self.store, self.progress);
        work.run(&|adapter| scorer.choose(adapter), finished, progress, |done| {
            let mut scores = Vec::with_capacity(done.len());
            for (number, score) in done {
                let Some(asked) = asked.get(number) else { continue };
                if !score.loglikelihood.is_finite() {
                    let (item, what) = (asked.name.to_owned(), asked.what.clone());
                    return Err(TrustError::NotFinite { item, what, value: score.loglikelihood });
                }
                scores.push((asked.key.clone(), score));
            }
            store.add(scores)
        })
    }
}

/// One request on its way through [`Pass::finish`].
struct Asked<'a> {
    key: String,
    /// The item that errors name.
    name: &'a str,
    /// What of it the continuation is.
    what: String,
    adapter: Option<&'a str>,
    request: &'a ScoreRequest,
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
    let request = |prompt: &TokenizedPrompt, continuation: &Vec<u32>| ScoreRequest {
        context: prompt.ids.clone(),
        continuation: continuation.clone(),
    };
    let requests: Vec<Vec<ScoreRequest>> =
        tokenized.iter().map(|prompt| prompt.answers.iter().map(|answer| request(prompt, answer)).collect()).collect();
    let mut asked = Vec::with_capacity(requests.len());
    for ((name, prompt), requests) in distinct.iter().zip(&requests) {
        for (answer, request) in prompt.answers.iter().zip(requests) {
            let key = keys.key(&request.context, &request.continuation);
            asked.push(Asked { key, name, what: format!("{answer:?}"), adapter: None, request });
        }
    }
    let mut scores = pass.finish("score prompts", checkpoint.into(), &asked)?.into_iter();
    let mut table = AnswerTable::default();
    for ((name, prompt), requests) in distinct.into_iter().zip(&requests) {
        let loglikelihoods = scores.by_ref().take(requests.len()).map(|score| score.loglikelihood).collect();
        table.insert(name, prompt, loglikelihoods)?;
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
    let mut keys: BTreeMap<Option<&str>, Keys> = BTreeMap::new();
    let mut asked = Vec::with_capacity(requests.len());
    for NamedRequest { name, adapter, request } in requests {
        let adapter = adapter.as_deref();
        let keys = match keys.entry(adapter) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(scorer.keys(adapter).map_err(|source| TrustError::Prompt { item: name.clone(), source })?)
            }
        };
        let key = keys.key(&request.context, &request.continuation);
        asked.push(Asked { key, name, what: "the continuation".into(), adapter, request });
    }
    pass.finish("score requests", scorer, &asked)
}

/// Log-likelihood (nats, summed) and tokens of whole texts, each from its start, over rolling windows where it is longer
/// than the model's positions; `name` of each is what errors call it.
pub fn score_texts(
    checkpoint: Checkpoint<'_>,
    texts: &[(String, &str)],
    pass: &mut Pass<'_>,
) -> Result<Vec<(f64, usize)>, TrustError> {
    let scores = roll(checkpoint, texts, pass, |tokenizer, text| {
        let whole = split_tokens(tokenizer, "", text)?;
        Ok((whole.context.first().copied().unwrap_or_default(), whole.continuation))
    })?;
    Ok(scores.into_iter().map(|score| (score.loglikelihood, score.num_tokens)).collect())
}

/// The scores of whole texts as lm-eval's `loglikelihood_rolling` has them: as [`score_texts`], but for the text's own special
/// tokens, which stand behind the prefix token and are scored as well (the harness encodes the text as its tokenizer
/// does by default, so that where one adds a BOS there are two).
pub fn score_rolling(
    checkpoint: Checkpoint<'_>,
    texts: &[(String, &str)],
    pass: &mut Pass<'_>,
) -> Result<Vec<Score>, TrustError> {
    roll(checkpoint, texts, pass, |tokenizer, text| {
        let prefix = tokenizer.bos().or(tokenizer.eos()).ok_or_else(|| {
            ModelError::Request("the tokenizer has no BOS or EOS token to put before a text's first token".into())
        })?;
        Ok((prefix, tokenizer.encode(text, Special::Default)?.ids))
    })
}

/// Scores texts over rolling windows, each split by `split` into the token before its first one and its tokens.
fn roll(
    checkpoint: Checkpoint<'_>,
    texts: &[(String, &str)],
    pass: &mut Pass<'_>,
    split: impl Fn(&TextTokenizer, &str) -> Result<(u32, Vec<u32>), ModelError>,
) -> Result<Vec<Score>, TrustError> {
    let tokenizer = checkpoint.model.tokenizer()?;
    let limit = checkpoint.model.architecture().max_positions;
    let mut windows: Vec<(String, ScoreRequest)> = Vec::new();
    let mut counts = Vec::with_capacity(texts.len());
    for (name, text) in texts {
        let named = |source| TrustError::Prompt { item: name.clone(), source };
        let (prefix, tokens) = split(tokenizer, text).map_err(named)?;
        let requests = rolling_requests(prefix, &tokens, limit);
        counts.push(requests.len());
        windows.extend(requests.into_iter().map(|request| (name.clone(), request)));
    }
    let mut scores = score_requests(checkpoint, &windows, pass)?.into_iter();
    let joined = |windows| {
        let parts: Vec<Score> = scores.by_ref().take(windows).collect();
        let is_greedy = parts.iter().all(|score| score.is_greedy);
        Score::of(parts.into_iter().flat_map(|score| score.logprobs).collect(), is_greedy)
    };
    Ok(counts.into_iter().map(joined).collect())
}
