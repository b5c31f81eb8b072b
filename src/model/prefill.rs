//! Keys and values of a batch of prompts, what they begin with in common run once.

use super::batch_size::worthwhile_tokens;
use super::cache::KeyValueCache;
use super::error::ModelError;
use super::language_model::{LanguageModel, TreePass};
use super::score::passes::{Passes, Sharing};
use crate::base::Progress;
use crate::ops::Span;

/// Runs every prompt but for its last token and stores its keys and values in the row of its number; prompts whose
/// rotary frequencies follow the length are left out. Asks before every pass whether to stop. Cost: one pass over the
/// tokens of the prompts' trie.
pub(super) fn prefill(
    model: &LanguageModel,
    cache: &mut KeyValueCache,
    prompts: &[&[u32]],
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let architecture = model.architecture();
    let short = architecture.length_class(1);
    let fed = |number: usize| {
        let (_, fed) = prompts.get(number)?.split_last()?;
        (!fed.is_empty() && architecture.length_class(fed.len() + 1) == short).then_some((fed, number))
    };
    let mut texts: Vec<(&[u32], usize)> = (0..prompts.len()).filter_map(fed).collect();
    texts.sort_unstable();
    let (texts, rows): (Vec<&[u32]>, Vec<usize>) = texts.into_iter().unzip();
    let passes = Passes::of(&texts, Sharing::Prefixes, worthwhile_tokens(model));
    for pass in 0..passes.passes.len() {
        if progress.cancelled() {
            return Err(ModelError::Interrupted);
        }
        let (ids, spans, parents) = passes.branches(pass, &texts);
        // A branch that goes on from stored positions finds them in the row of any text through it.
        let pieces = passes.passes.get(pass).cloned().unwrap_or_default();
        let owner = |(number, span): (usize, Span)| {
            let text = passes.pieces.get(number).map_or(0, |piece| piece.text);
            Span { row: rows.get(text).copied().unwrap_or_default(), ..span }
        };
        let spans: Vec<Span> = pieces.zip(spans).map(owner).collect();
        let kept = passes.kept_by_all(pass, &rows);
        let tree = TreePass { ids: &ids, spans: &spans, parents: &parents, kept: &kept };
        model.grow(cache, tree, &[], &[])?;
    }
    Ok(())
}
