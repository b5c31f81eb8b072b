//! Continuing texts, greedily or by sampling, over cached keys and values.
//!
//! A batch's rows stand at positions of their own, so a text is continued as it would be alone, up to the rounding of
//! the matrix products (1e-6 of a logit; two tokens that are nearer than that may change places). Draws hang on the
//! request's id alone. Cost: one pass over the trie of a batch's prompts (over the prompts where a hook looks on), then one
//! pass over one token of each unfinished text a step.

use candle_core::{DType, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::cache::KeyValueCache;
use super::decoder::Readout;
use super::error::ModelError;
use super::hook::{HookPoint, Hooks, NoHooks};
use super::language_model::LanguageModel;
use super::prefill::prefill;
use super::sampling::penalise;
pub use super::sampling::{Choice, Sampling};
use super::text_stream::TextStream;
use crate::base::{Progress, Seed, Silent};
use crate::ops::Span;

/// A text to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateRequest {
    /// What its random draws hang on.
    pub id: String,
    /// Its tokens, at least one.
    pub prompt: Vec<u32>,
}

/// Whether the model's end-of-text token ends a continuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Yes; it is not returned.
    AtEnd,
    /// No: the limit alone does.
    AtLimit,
}

/// How texts are continued.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// At most so many tokens a text.
    pub max_tokens: usize,
    /// How each token is chosen.
    pub choice: Choice,
    /// Logits of tokens that were there before are divided by it (multiplied, where negative); 1 changes nothing.
    pub repetition_penalty: f64,
    /// The root of all draws.
    pub seed: Seed,
    /// What the end-of-text token does.
    pub stop: Stop,
    /// Strings that end a continuation; its text ends before the first.
    pub stop_strings: Vec<String>,
    /// Texts that are continued side by side.
    pub batch: usize,
}

impl GenerateOptions {
    /// Greedy, up to a number of tokens.
    pub fn greedy(max_tokens: usize) -> Self {
        Self {
            max_tokens,
            choice: Choice::Greedy,
            repetition_penalty: 1.0,
            seed: Seed::new(0),
            stop: Stop::AtEnd,
            stop_strings: Vec::new(),
            batch: 8,
        }
    }

    fn check(&self, model: &LanguageModel) -> Result<(), ModelError> {
        self.choice.check()?;
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            let message = format!("repetition penalty {}: give one above 0", self.repetition_penalty);
            return Err(ModelError::Request(message));
        }
        if self.stop_strings.iter().any(String::is_empty) {
            return Err(ModelError::Request("an empty stop string".into()));
        }
        if !self.stop_strings.is_empty() {
            model.tokenizer()?;
        }
        Ok(())
    }
}

/// Why a continuation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended the text.
    EndOfText,
    /// A stop string was met.
    StopString,
    /// The number of tokens that was asked for.
    MaxTokens,
    /// The model's longest text.
    MaxPositions,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Completion {
    /// The request's.
    pub id: String,
    /// Its tokens, those of a stop string included, the end-of-text token not.
    pub ids: Vec<u32>,
    /// Its text without stop string; none where the model has no tokenizer.
    pub text: Option<String>,
    /// Why it ended.
    pub finish: Finish,
}

/// A piece of a continuation's text, whole characters that no later token changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Which request it belongs to.
    pub item: usize,
    /// The text.
    pub text: &'a str,
}

/// The greedy or sampled continuation of one prompt: up to `limit` tokens, fewer at the model's longest sequence.
pub fn generate(
    model: &LanguageModel,
    prompt: &[u32],
    limit: usize,
    choice: &Choice,
    stop: Stop,
) -> Result<Vec<u32>, ModelError> {
    let request = GenerateRequest { id: String::new(), prompt: prompt.to_vec() };
    let options = GenerateOptions { choice: *choice, stop, ..GenerateOptions::greedy(limit) };
    let mut completions = complete(model, &[request], &options, &mut NoHooks, &mut |_| {}, &Silent)?;
    Ok(completions.pop().map(|completion| completion.ids).unwrap_or_default())
}

/// Continues every request and answers in order. `hooks` stay active at every step; the rows of [`Hooks::begin`] are
/// the requests' numbers, its positions those of the text, the prompt included. `listen` hears text as it comes.
pub fn complete(
    model: &LanguageModel,
    requests: &[GenerateRequest],
    options: &GenerateOptions,
    hooks: &mut dyn Hooks,
    listen: &mut dyn FnMut(Piece<'_>),
    progress: &dyn Progress,
) -> Result<Vec<Completion>, ModelError> {
    options.check(model)?;
    let limit = model.architecture().max_positions;
    let bad = |request: &&GenerateRequest| request.prompt.is_empty() || request.prompt.len() > limit;
    if let Some(GenerateRequest { id, prompt }) = requests.iter().find(bad) {
        let message = format!("prompt {id:?} has {} tokens; this model takes 1 to {limit}", prompt.len());
        return Err(ModelError::Request(message));
    }
    progress.start("generate", requests.len() as u64);
    let mut completions = Vec::with_capacity(requests.len());
    for (number, chunk) in requests.chunks(options.batch.max(1)).enumerate() {
        let first = number * options.batch.max(1);
        let mut hooks = ItemHooks { hooks: &mut *hooks, first };
        let rows = continue_all(
            model,
            chunk,
            options,
            &mut hooks,
            &mut |row, text| listen(Piece { item: first + row, text }),
            progress,
        )?;
        completions.extend(rows);
    }
    progress.finish();
    Ok(completions)
}

/// Hooks that see the requests' numbers instead of the rows of one batch.
struct ItemHooks<'a> {
    hooks: &'a mut dyn Hooks,
    first: usize,
}

impl Hooks for ItemHooks<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        self.hooks.wants(point)
    }

    fn begin(&mut self, spans: &[Span]) {
        let items: Vec<Span> = spans.iter().map(|span| Span { row: self.first + span.row, ..*span }).collect();
        self.hooks.begin(&items);
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> candle_core::Result<Tensor> {
        self.hooks.at(point, activation)
    }
}

/// One text on its way.
struct Growing<'a> {
    ids: Vec<u32>,
    prompt: usize,
    rng: ChaCha8Rng,
    stream: Option<TextStream<'a>>,
    finish: Option<Finish>,
}

impl<'a> Growing<'a> {
    fn new(model: &'a LanguageModel, request: &GenerateRequest, options: &'a GenerateOptions) -> Self {
        let stream = model.tokenizer().ok();
        let stream = stream.map(|tokenizer| TextStream::new(tokenizer, &request.prompt, &options.stop_strings));
        let rng = options.seed.fork("generate").fork(&request.id).rng();
        let mut row = Self { ids: request.prompt.clone(), prompt: request.prompt.len(), rng, stream, finish: None };
        row.finish = row.limit(model, options);
        row
    }

    fn limit(&self, model: &LanguageModel, options: &GenerateOptions) -> Option<Finish> {
        match () {
            () if self.ids.len() - self.prompt >= options.max_tokens => Some(Finish::MaxTokens),
            () if self.ids.len() >= model.architecture().max_positions => Some(Finish::MaxPositions),
            () => None,
        }
    }

    /// Takes the next token, and hands on the text that it settles.
    fn advance(
        &mut self,
        model: &LanguageModel,
        mut logits: Vec<f32>,
        options: &GenerateOptions,
        listen: &mut dyn FnMut(&str),
    ) -> Result<(), ModelError> {
        penalise(&mut logits, &self.ids, options.repetition_penalty);
        let token = options.choice.pick(&logits, &mut self.rng)?;
        if options.stop == Stop::AtEnd && ends_text(model, token) {
            self.finish = Some(Finish::EndOfText);
        } else {
            self.ids.push(token);
            self.finish = self.limit(model, options);
            if let Some(stream) = &mut self.stream {
                listen(stream.push(token)?);
                if stream.stopped() {
                    self.finish = Some(Finish::StopString);
                }
            }
        }
        if let (Some(_), Some(stream)) = (self.finish, &mut self.stream) {
            listen(stream.finish()?);
            if stream.stopped() {
                self.finish = Some(Finish::StopString);
            }
        }
        Ok(())
    }

    fn completion(mut self, id: &str) -> Completion {
        Completion {
            id: id.to_owned(),
            ids: self.ids.split_off(self.prompt),
            text: self.stream.map(TextStream::into_text),
            finish: self.finish.unwrap_or(Finish::MaxTokens),
        }
    }
}

fn ends_text(model: &LanguageModel, token: u32) -> bool {
    let named = model.tokenizer().ok().and_then(|tokenizer| tokenizer.eos());
    named == Some(token) || model.architecture().eos.contains(&token)
}

/// Continues the texts of one batch.
fn continue_all(
    model: &LanguageModel,
    requests: &[GenerateRequest],
    options: &GenerateOptions,
    hooks: &mut dyn Hooks,
    listen: &mut dyn FnMut(usize, &str),
    progress: &dyn Progress,
) -> Result<Vec<Completion>, ModelError> {
    let longest = requests.iter().map(|request| request.prompt.len()).max().unwrap_or(0);
    let mut cache = model.cache(requests.len(), longest + options.max_tokens)?;
    let mut rows: Vec<Growing<'_>> = requests.iter().map(|request| Growing::new(model, request, options)).collect();
    // A hook sees every token of every text.
    let hooked = model.hook_points().into_iter().any(|point| hooks.wants(point));
    if !hooked && !model.is_routed() {
        let open = requests.iter().zip(&rows).map(|(request, row)| match row.finish {
            None => request.prompt.as_slice(),
            Some(_) => &[],
        });
        prefill(model, &mut cache, &open.collect::<Vec<_>>(), progress)?;
    }
    loop {
        let open: Vec<usize> =
            (0..rows.len()).filter(|row| rows.get(*row).is_some_and(|row| row.finish.is_none())).collect();
        if open.is_empty() {
            break;
        }
        if progress.cancelled() {
            return Err(ModelError::Interrupted);
        }
        let texts: Vec<(usize, &[u32])> =
            open.iter().filter_map(|row| Some((*row, rows.get(*row)?.ids.as_slice()))).collect();
        let logits = next_logits(model, &mut cache, &texts, hooks)?;
        for (number, logits) in open.into_iter().zip(logits) {
            let Some(row) = rows.get_mut(number) else { continue };
            row.advance(model, logits, options, &mut |text| {
                if !text.is_empty() {
                    listen(number, text);
                }
            })?;
            progress.advance(u64::from(row.finish.is_some()));
        }
    }
    Ok(rows.into_iter().zip(requests).map(|(row, request)| row.completion(&request.id)).collect())
}

/// Runs what each text has beyond its cached row, and returns the logits after its last token.
fn next_logits(
    model: &LanguageModel,
    cache: &mut KeyValueCache,
    texts: &[(usize, &[u32])],
    hooks: &mut dyn Hooks,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut spans = Vec::with_capacity(texts.len());
    for (row, ids) in texts {
        if !model.cache_serves(cache.length(*row), ids.len()) {
            cache.truncate(*row, 0);
        }
        let start = cache.length(*row);
        spans.push(Span { row: *row, start, tokens: ids.len() - start });
    }
    let tokens = spans.iter().map(|span| span.tokens).max().unwrap_or(0);
    let mut padded = vec![0u32; texts.len() * tokens];
    for (((_, ids), span), slots) in texts.iter().zip(&spans).zip(padded.chunks_mut(tokens.max(1))) {
        slots.iter_mut().zip(ids.get(span.start..).unwrap_or_default()).for_each(|(slot, id)| *slot = *id);
    }
    let ids_bt = Tensor::from_vec(padded, (texts.len(), tokens), model.device())?;
    let read: Vec<(usize, usize)> = spans.iter().enumerate().map(|(row, span)| (row, span.tokens - 1)).collect();
    let logits_bv = model.extend(cache, &ids_bt, &spans, Readout::Rows(&read), hooks)?;
    Ok(logits_bv.detach().to_dtype(DType::F32)?.to_vec2::<f32>()?)
}
