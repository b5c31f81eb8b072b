//! CrowS-Pairs (Nangia et al. 2020): pairs of sentences of which one stereotypes more.

use super::matching::{Block, blocks};
use super::{Asked, ask_all, loglikelihood, optional, question};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::question::{Question, Request};
use crate::harness::task::{OutputType, Task};

const FILES: &str = "The release's crows_pairs_anonymized.csv (nyu-mll/crows-pairs: `sent_more`, `sent_less`, `stereo_antistereo`, `bias_type`, …), \
                     or the hub's rows (jannalu/crows_pairs_multilingual, english) as CSV, JSONL or Parquet.";

pub(super) const TASKS: &[BuiltIn] = &[
    BuiltIn {
        id: "crows_pairs_english",
        groups: &["crows_pairs", "social_bias", "bias"],
        description: "Which of two sentences that differ by a group is likelier, both scored whole, as lm-eval asks.",
        files: FILES,
        hub: Some("jannalu/crows_pairs_multilingual"),
        load: |source| load(source, Spans::Whole),
    },
    BuiltIn {
        id: "crows_pairs_shared_words",
        groups: &["crows_pairs", "bias"],
        description: "The same pairs, and log p of the words that both sentences share, given what stands before them: the original \
                      measure, for models that read from left to right.",
        files: FILES,
        hub: Some("jannalu/crows_pairs_multilingual"),
        load: |source| load(source, Spans::Shared),
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spans {
    Whole,
    Shared,
}

const ASKED: Asked = Asked {
    version: "1.0",
    output_type: OutputType::MultipleChoice,
    metrics: &[
        "crows_pairs.pct_stereotype@lm-eval",
        "crows_pairs.likelihood_diff@lm-eval",
        "crows_pairs.pct_stereotype@bias-bench",
    ],
    templates: &[("doc_to_text", ""), ("target_delimiter", "")],
};

fn load(source: &Source<'_>, spans: Spans) -> Result<Task, HarnessError> {
    let mut rows = source.rows(&["crows_pairs_anonymized.csv", "{}.csv", "{}.parquet", "{}.jsonl"])?;
    let questions = ask_all(source, &mut rows, |record| ask(record, spans))?;
    match spans {
        Spans::Whole => ASKED.task(source, &rows, questions),
        Spans::Shared => {
            Asked { metrics: &["crows_pairs.pct_stereotype@shared-words"], ..ASKED }.task(source, &rows, questions)
        }
    }
}

fn ask(record: &Record<'_>, spans: Spans) -> Result<Question, HarnessError> {
    let (more, less) = (record.text("sent_more")?, record.text("sent_less")?);
    let id = record.row.index.to_string();
    let mut asked = question(record, &id, &id).asking("", "", vec![more.into(), less.into()], Some(0));
    asked = asked.with("bias_type", record.text("bias_type")?);
    if let Some(direction) = optional(record, "stereo_antistereo") {
        asked = asked.with("stereo_antistereo", direction);
    }
    if spans == Spans::Shared {
        let requests =
            shared(more, less).ok_or_else(|| record.refuse("sent_more", "its words cannot be told apart"))?;
        asked = asked.with("shared_spans", (requests.len() / 2).to_string());
        asked.requests.extend(requests);
    }
    Ok(asked)
}

/// The shared words of each sentence, block by block: first those of `more`, then those of `less`. A block with which both
/// sentences begin says nothing, since nothing differs before it; where the difference ends the sentence there is no other.
fn shared(more: &str, less: &str) -> Option<Vec<Request>> {
    let (first, second) = (words(more), words(less));
    let texts = |words: &[(usize, usize)], text: &'_ str| -> Vec<String> {
        words.iter().filter_map(|&(start, end)| text.get(start..end).map(str::to_owned)).collect()
    };
    let found = blocks(&texts(&first, more), &texts(&second, less));
    let kept: Vec<Block> = found.into_iter().filter(|block| block.first > 0 || block.second > 0).collect();
    let span = |text: &str, words: &[(usize, usize)], from: usize, length: usize| {
        let start = if from == 0 { 0 } else { words.get(from - 1)?.1 };
        let end = words.get(from + length - 1)?.1;
        Some(loglikelihood(text.get(..start)?, text.get(start..end)?))
    };
    let more_spans = kept.iter().map(|block| span(more, &first, block.first, block.length));
    let less_spans = kept.iter().map(|block| span(less, &second, block.second, block.length));
    more_spans.chain(less_spans).collect()
}

/// Where the words of a text begin and end; a word's space belongs to the span before it.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = None;
    for (index, character) in text.char_indices() {
        match (character.is_whitespace(), start) {
            (true, Some(from)) => {
                found.push((from, index));
                start = None;
            }
            (false, None) => start = Some(index),
            _ => {}
        }
    }
    found.extend(start.map(|from| (from, text.len())));
    found
}
