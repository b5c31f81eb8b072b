//! Pairs of words under one relation (Todd et al. 2024, function vectors): antonyms, capitals, past tenses, after examples of it.

use super::{Asked, ask_all, loglikelihood, question};
use crate::base::{Seed, seed};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::error::HarnessError;
use crate::harness::question::{Question, Target};
use crate::harness::task::{OutputType, Task};

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "word_pairs",
    groups: &["mediation", "bias"],
    description: "Whether the second word of a pair is what greedy decoding writes after ten other pairs and the first word.",
    files: "A file of ericwtodd/function_vectors, dataset_files (antonym.json, country-capital.json, …): rows of `input` and `output`.",
    hub: None,
    load,
}];

/// Examples before a question, as in the paper.
const EXAMPLES: usize = 10;

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let mut rows = source.rows(&["{}.json", "{}.jsonl"])?;
    let pairs = ask_all(source, &mut rows, |record| {
        let texts = (record.text_or_number("input")?, record.text_or_number("output")?);
        Ok((question(record, record.row.index.to_string(), &texts.0), texts))
    })?;
    let count = source.num_fewshot.unwrap_or(EXAMPLES);
    if count >= pairs.len() {
        return Err(source.refuse(format!("{count} examples are asked for and there are {} pairs", pairs.len())));
    }
    let words: Vec<(String, String)> = pairs.iter().map(|(_, words)| words.clone()).collect();
    let shot = |(input, output): &(String, String)| format!("Q: {input}\nA: {output}\n\n");
    let ask = |(place, (asked, (input, output))): (usize, (Question, (String, String)))| {
        // A question's examples hang on its id alone, not on what was asked before it.
        let drawn = others(&words, place, count, &Seed::new(source.fewshot_seed).fork(&asked.id));
        let before: String = drawn.iter().map(|pair| shot(pair)).collect();
        Question {
            requests: vec![loglikelihood(format!("{before}Q: {input}\nA:"), format!(" {output}"))],
            target: Target::Texts { texts: vec![output] },
            ..asked
        }
    };
    let questions: Vec<Question> = pairs.into_iter().enumerate().map(ask).collect();
    let asked = Asked {
        version: "1",
        output_type: OutputType::Loglikelihood,
        metrics: &["continuation.greedy", "continuation.logprob"],
        templates: &[("doc_to_text", "Q: {{input}}\nA:"), ("doc_to_target", "{{output}}"), ("target_delimiter", " ")],
    };
    Ok(asked.task_with(source, &rows, questions, count))
}

/// `count` pairs without the one at `index`.
fn others<'a>(words: &'a [(String, String)], index: usize, count: usize, seed: &Seed) -> Vec<&'a (String, String)> {
    let mut rest: Vec<&(String, String)> =
        words.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, pair)| pair).collect();
    seed::shuffle(&mut seed.rng(), &mut rest);
    rest.truncate(count);
    rest
}
