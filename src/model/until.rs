//! Many prompts continued until a stop string, as lm-evaluation-harness' `generate_until` does it.
//!
//! A prompt that leaves no room for the tokens asked for loses tokens at its start. The text is that of the new tokens
//! alone, cut before the first stop string or end-of-text token; a tokenizer that drops a space at the start of a text
//! drops it here too. Requests of equal options run side by side in the order of their prompts, so that what prompts begin
//! with in common is run once; greedy requests of the same prompt run once altogether.

use std::collections::BTreeMap;

use super::error::ModelError;
use super::generate::{Choice, Finish, GenerateOptions, GenerateRequest, Stop, complete};
use super::hook::NoHooks;
use super::language_model::LanguageModel;
use crate::base::{Progress, Seed};

/// A prompt to continue.
#[derive(Debug, Clone, PartialEq)]
pub struct UntilRequest {
    /// What its random draws hang on.
    pub id: String,
    /// Its tokens, at least one.
    pub prompt: Vec<u32>,
    /// Strings that end the text, none of them empty.
    pub until: Vec<String>,
    /// At most so many new tokens; fewer than the model has positions.
    pub max_tokens: usize,
    /// How each token is chosen.
    pub choice: Choice,
}

/// What a prompt was continued with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The new tokens, those of a stop string included.
    pub ids: Vec<u32>,
    /// Their text, without stop string.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
}

/// Continues every request, `batch` side by side, and answers in order. `keep` gets each answer with its request's number
/// as soon as its batch is done.
///
/// # Errors
/// A prompt without tokens, more new tokens than the model has positions, an empty stop string, a model without
/// tokenizer; what `keep` returns.
pub fn generate_until<E: From<ModelError>>(
    model: &LanguageModel,
    requests: &[UntilRequest],
    seed: Seed,
    batch: usize,
    progress: &dyn Progress,
    mut keep: impl FnMut(usize, &Generated) -> Result<(), E>,
) -> Result<Vec<Generated>, E> {
    let limit = model.architecture().max_positions;
    if let Some(request) = requests.iter().find(|request| request.max_tokens >= limit) {
        let message = format!(
            "request {:?} asks for {} new tokens; this model has {limit} positions for prompt and text",
            request.id, request.max_tokens
        );
        return Err(ModelError::Request(message).into());
    }
    let mut groups: BTreeMap<(&[String], usize, String), Vec<usize>> = BTreeMap::new();
    for (number, request) in requests.iter().enumerate() {
        let options = (request.until.as_slice(), request.max_tokens, format!("{:?}", request.choice));
        groups.entry(options).or_default().push(number);
    }
    let mut answers: Vec<Option<Generated>> = vec![None; requests.len()];
    progress.start("generate", requests.len() as u64);
    for ((until, max_tokens, _), members) in groups {
        let Some(first) = members.first().and_then(|&number| requests.get(number)) else { continue };
        let options = GenerateOptions {
            choice: first.choice,
            seed,
            stop: Stop::AtEnd,
            stop_strings: until.to_vec(),
            batch: batch.max(1),
            ..GenerateOptions::greedy(max_tokens)
        };
        for alike in side_by_side(requests, &members, limit - max_tokens).chunks(options.batch) {
            if progress.cancelled() {
                return Err(ModelError::Interrupted.into());
            }
            let asked: Vec<GenerateRequest> = alike.iter().map(|(request, _)| request.clone()).collect();
            let completions = complete(model, &asked, &options, &mut NoHooks, &mut |_| {}, &Quiet(progress))?;
            for (completion, (_, owners)) in completions.into_iter().zip(alike) {
                let text = cut(model.tokenizer()?.decode(&completion.ids)?, until);
                let generated = Generated { ids: completion.ids, text, finish: completion.finish };
                for &owner in owners {
                    keep(owner, &generated)?;
                    if let Some(place) = answers.get_mut(owner) {
                        *place = Some(generated.clone());
                    }
                }
                progress.advance(owners.len() as u64);
            }
        }
    }
    progress.finish();
    Ok(answers.into_iter().flatten().collect())
}

/// Prompts in lexicographic order, each with the requests that it answers: all that are greedy and begin alike.
fn side_by_side(requests: &[UntilRequest], members: &[usize], room: usize) -> Vec<(GenerateRequest, Vec<usize>)> {
    let mut prompts: BTreeMap<(&[u32], Option<&str>), Vec<usize>> = BTreeMap::new();
    for &number in members {
        let Some(UntilRequest { id, prompt, choice, .. }) = requests.get(number) else { continue };
        let fed = prompt.get(prompt.len().saturating_sub(room)..).unwrap_or_default();
        let drawn = (*choice != Choice::Greedy).then_some(id.as_str());
        prompts.entry((fed, drawn)).or_default().push(number);
    }
    let request = |((fed, drawn), owners): ((&[u32], Option<&str>), Vec<usize>)| {
        let first = owners.first().and_then(|&number| requests.get(number)).map_or("", |request| &request.id);
        (GenerateRequest { id: drawn.unwrap_or(first).to_owned(), prompt: fed.to_vec() }, owners)
    };
    prompts.into_iter().map(request).collect()
}

/// The text before the first stop string.
fn cut(mut text: String, until: &[String]) -> String {
    if let Some(at) = until.iter().filter_map(|stop| text.find(stop.as_str())).min() {
        text.truncate(at);
    }
    text
}

/// Asks whether to stop, and tells nothing.
struct Quiet<'a>(&'a dyn Progress);

impl Progress for Quiet<'_> {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, message: &str) {
        self.0.note(message);
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
