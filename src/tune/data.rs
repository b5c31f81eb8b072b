//! What a run learns from: labelled prompts, counterfactual pairs and canary texts, tokenised once.
//!
//! Only the *tuning* split may be learned from; an item of another split is refused, so that a claim never rests on
//! what a gradient saw.

use crate::base::Digest;
use crate::base::digest::Hasher;
use crate::intervene::{Side, TokenPair};
use crate::model::{Row, Special, TextTokenizer, TokenizedPrompt, tokenize_prompt};
use crate::scenario::{Canary, CounterfactualPair, Expectation, Split, TaskItem};

use super::error::TuneError;
use super::text::{continuation_row, text_units};

/// A labelled prompt.
#[derive(Debug, Clone)]
pub struct TaskExample {
    /// The task item's id.
    pub id: String,
    /// Prompt and answers.
    pub prompt: TokenizedPrompt,
    /// The index of the true answer.
    pub label: usize,
}

impl TaskExample {
    /// The true answer's tokens.
    pub fn gold(&self) -> &[u32] {
        self.prompt.answers.get(self.label).map_or(&[], Vec::as_slice)
    }

    /// Prompt and true answer but its last token, which nothing follows; the loss is on the answer's tokens alone.
    pub fn row(&self) -> Row {
        continuation_row(&self.prompt.ids, self.gold())
    }
}

/// A counterfactual pair.
#[derive(Debug, Clone)]
pub struct PairExample {
    /// Both sides, aligned.
    pub pair: TokenPair,
    /// The scenario, whose penalised sites apply.
    pub scenario: String,
    /// The expected answers of the factual and the counterfactual side; *follow* pairs have them.
    pub labels: Option<[usize; 2]>,
}

/// A plain text for the language-model loss.
#[derive(Debug, Clone)]
pub struct TextExample {
    /// The text's id.
    pub id: String,
    /// Its tokens.
    pub ids: Vec<u32>,
}

/// All that one run learns from. Every arm of a comparison gets the same.
#[derive(Debug, Clone, Default)]
pub struct TuneData {
    /// Labelled prompts of the training environment.
    pub task: Vec<TaskExample>,
    /// Pairs whose answer must not move.
    pub invariant: Vec<PairExample>,
    /// Pairs whose answer must move with the mechanism.
    pub follow: Vec<PairExample>,
    /// The included canaries.
    pub canaries: Vec<TextExample>,
}

impl TuneData {
    /// Tokenises items, pairs and included canaries, and refuses what cannot be learned from.
    pub fn new(
        tokenizer: &TextTokenizer,
        items: &[TaskItem],
        pairs: &[CounterfactualPair],
        canaries: &[Canary],
    ) -> Result<Self, TuneError> {
        let mut data = Self {
            task: items.iter().map(|item| task_example(tokenizer, item)).collect::<Result<_, _>>()?,
            ..Self::default()
        };
        for pair in pairs {
            let example = pair_example(tokenizer, pair)?;
            match example.labels {
                Some(_) => data.follow.push(example),
                None => data.invariant.push(example),
            }
        }
        for canary in canaries.iter().filter(|canary| canary.included) {
            let ids = tokenizer.encode(&canary.text, Special::Default)?.ids;
            if text_units(&ids) == 0 {
                return Err(TuneError::example(&canary.id, "the text has no token to predict; make it longer"));
            }
            data.canaries.push(TextExample { id: canary.id.clone(), ids });
        }
        Ok(data)
    }

    /// The digest of all tokens, labels and ids, in their order (which the batches hang on).
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        for example in &self.task {
            hash_prompt(&mut hasher, &example.id, &example.prompt);
            hasher.part("label", &(example.label as u64).to_le_bytes());
        }
        for (kind, pairs) in [("invariant", &self.invariant), ("follow", &self.follow)] {
            for example in pairs {
                hasher.part(kind, example.scenario.as_bytes());
                hash_prompt(&mut hasher, &example.pair.id, example.pair.side(Side::Factual));
                hash_prompt(&mut hasher, &example.pair.id, example.pair.side(Side::Counterfactual));
                hasher.part("labels", format!("{:?}", example.labels).as_bytes());
            }
        }
        for text in &self.canaries {
            hasher.part(&text.id, &bytes(&text.ids));
        }
        hasher.finish()
    }
}

fn task_example(tokenizer: &TextTokenizer, item: &TaskItem) -> Result<TaskExample, TuneError> {
    must_be_tuning(&item.id, item.split)?;
    let answers = item.prompt.answers.len();
    let label = item.prompt.label.filter(|label| *label < answers).ok_or_else(|| {
        TuneError::example(
            &item.id,
            format!("label {:?} is none of its {answers} answers; give its index", item.prompt.label),
        )
    })?;
    let example = TaskExample { id: item.id.clone(), prompt: tokenize_prompt(tokenizer, &item.prompt)?, label };
    if example.prompt.ids.is_empty() || example.gold().is_empty() {
        return Err(TuneError::example(&item.id, "its prompt or its true answer has no tokens"));
    }
    Ok(example)
}

fn pair_example(tokenizer: &TextTokenizer, pair: &CounterfactualPair) -> Result<PairExample, TuneError> {
    must_be_tuning(&pair.id, pair.split)?;
    let answers = pair.factual.answers.len();
    let labels = match pair.expectation {
        Expectation::Invariant => None,
        Expectation::Follow { label } => {
            let known = |label: Option<usize>| label.filter(|label| *label < answers);
            match (known(pair.factual.label), known(Some(label))) {
                (Some(factual), Some(counterfactual)) => Some([factual, counterfactual]),
                _ => {
                    return Err(TuneError::example(
                        &pair.id,
                        "a follow pair needs the index of the expected answer on both sides",
                    ));
                }
            }
        }
    };
    Ok(PairExample { pair: TokenPair::from_pair(tokenizer, pair)?, scenario: pair.scenario.clone(), labels })
}

fn must_be_tuning(id: &str, split: Split) -> Result<(), TuneError> {
    match split {
        Split::Tuning => Ok(()),
        other => Err(TuneError::example(
            id,
            format!("belongs to the {other:?} split; only the Tuning split may be learned from"),
        )),
    }
}

fn bytes(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

fn hash_prompt(hasher: &mut Hasher, id: &str, prompt: &TokenizedPrompt) {
    hasher.part(id, &bytes(&prompt.ids));
    prompt.answers.iter().for_each(|answer| hasher.part("answer", &bytes(answer)));
    prompt.slots.iter().for_each(|(name, range)| hasher.part(name, format!("{range:?}").as_bytes()));
}

/// References to the examples of one window or of one of its micro-batches.
#[derive(Debug, Clone, Default)]
pub struct Batch<'a> {
    /// Labelled prompts.
    pub task: Vec<&'a TaskExample>,
    /// *Invariant* pairs.
    pub invariant: Vec<&'a PairExample>,
    /// *Follow* pairs.
    pub follow: Vec<&'a PairExample>,
    /// Canary texts.
    pub canaries: Vec<&'a TextExample>,
}

impl<'a> Batch<'a> {
    /// Cuts the window into `parts` of equal size (the last ones smaller where it does not divide).
    pub fn split(&self, parts: usize) -> Vec<Batch<'a>> {
        let part = |number| Batch {
            task: slice(&self.task, number, parts),
            invariant: slice(&self.invariant, number, parts),
            follow: slice(&self.follow, number, parts),
            canaries: slice(&self.canaries, number, parts),
        };
        (0..parts).map(part).collect()
    }

    /// Tokens of the task rows.
    pub fn task_tokens(&self) -> u64 {
        self.task.iter().map(|example| (example.prompt.ids.len() + example.gold().len()) as u64).sum()
    }
}

fn slice<T: Copy>(all: &[T], number: usize, parts: usize) -> Vec<T> {
    let size = all.len().div_ceil(parts.max(1));
    all.iter().skip(number * size).take(size).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_carries_loss_on_the_answer_alone() {
        let prompt = TokenizedPrompt { ids: vec![5, 6, 7], answers: vec![vec![1], vec![2, 3]], slots: Vec::new() };
        let example = TaskExample { id: "a".into(), prompt, label: 1 };
        let row = example.row();
        assert_eq!((row.ids, row.targets), (vec![5, 6, 7, 2], vec![(2, 2), (3, 3)]));
    }

    #[test]
    fn a_window_splits_without_loss() {
        let texts: Vec<TextExample> = (0..7).map(|id| TextExample { id: id.to_string(), ids: vec![id] }).collect();
        let window = Batch { canaries: texts.iter().collect(), ..Batch::default() };
        let parts = window.split(3);
        let sizes: Vec<usize> = parts.iter().map(|part| part.canaries.len()).collect();
        assert_eq!(sizes, [3, 3, 1]);
        let ids: Vec<u32> = parts.iter().flat_map(|part| part.canaries.iter().map(|text| text.ids[0])).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6]);
    }
}
