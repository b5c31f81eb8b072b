//! Requests laid out as passes, and the passes run.

use std::collections::BTreeMap;
use std::ops::Range;

use super::passes::{Passes, Sharing};
use super::{Score, ScoreRequest};
use crate::base::Progress;
use crate::model::batch_size::worthwhile_tokens;
use crate::model::cache::KeyValueCache;
use crate::model::error::ModelError;
use crate::model::language_model::{LanguageModel, TreePass};

/// A list of requests, laid out as the passes that answer them.
pub struct ScoreWork {
    groups: Vec<Group>,
    /// Continuation tokens of each request.
    lengths: Vec<usize>,
}

/// Texts that may share passes: of one adapter, and turned by the same frequencies.
struct Group {
    adapter: Option<String>,
    texts: Vec<Vec<u32>>,
    passes: Passes,
    /// What each pass reads.
    reads: Vec<Reads>,
}

/// What a pass reads, and for whom.
#[derive(Default)]
struct Reads {
    /// Tokens of the pass, each once.
    tokens: Vec<usize>,
    /// (number of the read, token that is predicted).
    picks: Vec<(usize, u32)>,
    /// (request, number within its continuation) of each pick.
    owners: Vec<(usize, usize)>,
}

/// A request on its way.
#[derive(Clone)]
struct Growing {
    logprobs: Vec<f32>,
    missing: usize,
    is_greedy: bool,
}

/// The requests of each text that is run, and where the first token that each of them predicts stands in it.
type Texts = BTreeMap<Vec<u32>, Vec<(usize, usize)>>;

/// Makes the model of an adapter, or the base where none is named.
type Choose<'a> = &'a dyn Fn(Option<&str>) -> Result<LanguageModel, ModelError>;

/// The part of a request that is run, the last `limit` tokens before its final one, and the place of the first token that
/// is predicted.
fn windowed(request: &ScoreRequest, limit: usize) -> Result<(Vec<u32>, usize), ModelError> {
    let ScoreRequest { context, continuation } = request;
    if context.is_empty() || continuation.is_empty() {
        return Err(ModelError::Request("context and continuation must have at least one token each".into()));
    }
    if continuation.len() > limit {
        let message = format!("a continuation of {} tokens; this model takes at most {limit}", continuation.len());
        return Err(ModelError::Request(message));
    }
    let mut ids: Vec<u32> = context.iter().chain(continuation).copied().collect();
    ids.pop();
    let ids = ids.split_off(ids.len().saturating_sub(limit));
    let first = ids.len() - continuation.len();
    Ok((ids, first))
}

impl ScoreWork {
    /// Lays out requests, each with the name of its adapter, in passes of at most `batch_tokens` tokens; how many fill a pass
    /// best is chosen by what one costs on the model.
    ///
    /// # Errors
    /// A context or continuation without tokens, a continuation longer than the model's positions, a token outside the
    /// vocabulary.
    pub fn new(
        model: &LanguageModel,
        requests: &[(Option<&str>, &ScoreRequest)],
        batch_tokens: usize,
    ) -> Result<Self, ModelError> {
        let architecture = model.architecture();
        let vocab = architecture.vocab_size;
        let mut groups: BTreeMap<_, Texts> = BTreeMap::new();
        for (number, (adapter, request)) in requests.iter().enumerate() {
            let tokens = request.context.iter().chain(&request.continuation);
            if let Some(id) = tokens.copied().find(|id| *id as usize >= vocab) {
                return Err(ModelError::Request(format!("token {id} is not in the vocabulary of {vocab}")));
            }
            let (ids, first) = windowed(request, architecture.max_positions)?;
            let texts = groups.entry((*adapter, architecture.length_class(ids.len()))).or_default();
            texts.entry(ids).or_default().push((number, first));
        }
        let most = worthwhile_tokens(model).min(batch_tokens.max(1));
        let group = |((adapter, class), texts): ((Option<&str>, Vec<usize>), Texts)| {
            // Frequencies that follow the length are those of whole texts alone.
            let sharing = match class == architecture.length_class(1) {
                true => Sharing::Prefixes,
                false => Sharing::Nothing,
            };
            Group::new(adapter, texts, requests, sharing, most)
        };
        let lengths = requests.iter().map(|(_, request)| request.continuation.len()).collect();
        Ok(Self { groups: groups.into_iter().map(group).collect(), lengths })
    }

    /// Tokens that run where nothing is finished yet.
    pub fn tokens(&self) -> usize {
        self.groups.iter().map(|group| group.passes.tokens()).sum()
    }

    /// Tokens that run where some requests are finished.
    pub fn tokens_left(&self, finished: &[bool]) -> usize {
        let needed = |group: &Group| {
            let pieces = group.needed(finished).into_iter().filter_map(|pass| group.passes.passes.get(pass));
            pieces
                .flat_map(Clone::clone)
                .filter_map(|piece| group.passes.pieces.get(piece))
                .map(|piece| piece.tokens)
                .sum::<usize>()
        };
        self.groups.iter().map(needed).sum()
    }

    /// Tokens of the largest pass.
    pub fn largest_pass(&self) -> usize {
        let tokens = |group: &Group, pass: &Range<usize>| -> usize {
            pass.clone().filter_map(|piece| group.passes.pieces.get(piece)).map(|piece| piece.tokens).sum()
        };
        let passes =
            self.groups.iter().flat_map(|group| group.passes.passes.iter().map(move |pass| tokens(group, pass)));
        passes.max().unwrap_or(0)
    }

    /// Runs what the requests that are not finished need, and hands on the scores that each pass completes, requests by
    /// their numbers. Asks before every pass whether to stop.
    ///
    /// # Errors
    /// What the model and `keep` return; [`ModelError::Interrupted`].
    pub fn run<E: From<ModelError>>(
        &self,
        choose: Choose<'_>,
        finished: &[bool],
        progress: &dyn Progress,
        mut keep: impl FnMut(Vec<(usize, Score)>) -> Result<(), E>,
    ) -> Result<(), E> {
        let growing = |length: &usize| Growing { logprobs: vec![0.0; *length], missing: *length, is_greedy: true };
        let mut growing: Vec<Growing> = self.lengths.iter().map(growing).collect();
        for group in &self.groups {
            let needed = group.needed(finished);
            if needed.is_empty() {
                continue;
            }
            let model = choose(group.adapter.as_deref())?;
            let longest = group.texts.iter().map(Vec::len).max().unwrap_or(0);
            let mut stack = model.cache(1, longest)?;
            let texts: Vec<&[u32]> = group.texts.iter().map(Vec::as_slice).collect();
            for (number, &pass) in needed.iter().enumerate() {
                if progress.cancelled() {
                    return Err(ModelError::Interrupted.into());
                }
                let next = needed.get(number + 1).copied();
                group.pass(&model, &mut stack, &texts, (pass, next), &mut growing)?;
                let done = group.completed(pass, &mut growing);
                progress.advance(done.len() as u64);
                keep(done)?;
            }
        }
        Ok(())
    }

    /// Runs everything and answers in the order asked.
    pub(super) fn scores(&self, choose: Choose<'_>, progress: &dyn Progress) -> Result<Vec<Score>, ModelError> {
        let mut scores: Vec<Score> = vec![Score::of(Vec::new(), true); self.lengths.len()];
        progress.start("score", self.lengths.len() as u64);
        self.run(choose, &[], progress, |done| {
            for (request, score) in done {
                if let Some(place) = scores.get_mut(request) {
                    *place = score;
                }
            }
            Ok::<(), ModelError>(())
        })?;
        progress.finish();
        Ok(scores)
    }
}

impl Group {
    fn new(
        adapter: Option<&str>,
        texts: Texts,
        requests: &[(Option<&str>, &ScoreRequest)],
        sharing: Sharing,
        most: usize,
    ) -> Self {
        let (texts, asked): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
        let borrowed: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let passes = Passes::of(&borrowed, sharing, most);
        let mut reads: Vec<Reads> = passes.passes.iter().map(|_| Reads::default()).collect();
        let mut places: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); passes.passes.len()];
        let firsts: Vec<Vec<usize>> = (0..passes.passes.len()).map(|pass| passes.firsts(pass)).collect();
        for (text, asked) in asked.iter().enumerate() {
            let path: Vec<_> = passes.path(text).collect();
            for &(request, first) in asked {
                let predicted = requests.get(request).map_or(&[][..], |(_, request)| &request.continuation);
                for (number, token) in predicted.iter().enumerate() {
                    let position = first + number;
                    let Some((at, piece)) = path.iter().find(|(_, piece)| piece.start <= position) else { continue };
                    let pass = passes.pass_of(*at);
                    let own = passes.passes.get(pass).map_or(0, |range| at - range.start);
                    let begins = firsts.get(pass).and_then(|firsts| firsts.get(own)).copied().unwrap_or_default();
                    if let (Some(reads), Some(places)) = (reads.get_mut(pass), places.get_mut(pass)) {
                        reads.add(places, begins + position - piece.start, *token, (request, number));
                    }
                }
            }
        }
        Self { adapter: adapter.map(str::to_owned), texts, passes, reads }
    }

    /// The passes that requests that are not finished need.
    fn needed(&self, finished: &[bool]) -> Vec<usize> {
        let open = |(request, _): &(usize, usize)| !finished.get(*request).copied().unwrap_or(false);
        self.passes.needed(self.reads.iter().map(|reads| reads.owners.iter().any(open)).collect())
    }

    /// Runs one pass, and leaves on the stack what the next one goes on from.
    fn pass(
        &self,
        model: &LanguageModel,
        stack: &mut KeyValueCache,
        texts: &[&[u32]],
        (pass, next): (usize, Option<usize>),
        growing: &mut [Growing],
    ) -> Result<(), ModelError> {
        let (ids, spans, parents) = self.passes.branches(pass, texts);
        let (below, kept) = self.passes.kept(pass, next);
        let Some(reads) = self.reads.get(pass) else { return Ok(()) };
        let tree = TreePass { ids: &ids, spans: &spans, parents: &parents, kept: &kept };
        let found = model.grow(stack, tree, &reads.tokens, &reads.picks)?;
        if kept.is_empty() {
            stack.truncate(0, below);
        }
        for ((&(read, token), &(request, number)), logprob) in
            reads.picks.iter().zip(&reads.owners).zip(&found.logprobs)
        {
            let Some(growing) = growing.get_mut(request) else { continue };
            if let Some(place) = growing.logprobs.get_mut(number) {
                *place = *logprob;
            }
            growing.missing = growing.missing.saturating_sub(1);
            growing.is_greedy &= found.greedy.get(read) == Some(&token);
        }
        Ok(())
    }

    /// The requests that a pass has completed, in their order.
    fn completed(&self, pass: usize, growing: &mut [Growing]) -> Vec<(usize, Score)> {
        let mut requests: Vec<usize> = self
            .reads
            .get(pass)
            .map(|reads| reads.owners.iter().map(|(request, _)| *request).collect())
            .unwrap_or_default();
        requests.sort_unstable();
        requests.dedup();
        let done = |request: usize| {
            let growing = growing.get_mut(request).filter(|growing| growing.missing == 0)?;
            Some((request, Score::of(std::mem::take(&mut growing.logprobs), growing.is_greedy)))
        };
        requests.into_iter().filter_map(done).collect()
    }
}

impl Reads {
    fn add(&mut self, places: &mut BTreeMap<usize, usize>, at: usize, token: u32, owner: (usize, usize)) {
        let read = *places.entry(at).or_insert_with(|| {
            self.tokens.push(at);
            self.tokens.len() - 1
        });
        self.picks.push((read, token));
        self.owners.push(owner);
    }
}
