//! Multiple-choice items scored from their texts, as an evaluation does it: tokenized, laid out, run, and held against what
//! lm-evaluation-harness gave for the same items.

use std::path::Path;

use anyhow::{Context, Result, bail};
use counterpath::base::Silent;
use counterpath::model::{LanguageModel, Score, ScoreWork, score::score, split_pairs};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, timed};

#[derive(Deserialize)]
struct Inputs {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    context: String,
    options: Vec<String>,
}

#[derive(Deserialize)]
struct Reference {
    loglikelihood: Vec<Vec<f64>>,
    is_greedy: Vec<Vec<bool>>,
}

/// Scores the items of `inputs.json` in `folder`, and sets the answers beside its `loglikelihoods.json`.
pub fn run(model: &LanguageModel, folder: &Path, args: &Args) -> Result<Value> {
    let mut inputs: Inputs = serde_json::from_slice(&std::fs::read(folder.join("inputs.json"))?)?;
    inputs.items.truncate(args.items.unwrap_or(usize::MAX));
    let pairs: Vec<(&str, &str)> =
        inputs.items.iter().flat_map(|item| item.options.iter().map(|option| (&*item.context, &**option))).collect();
    let tokenizer = model.tokenizer()?;
    let batch_tokens = args.batch_tokens.unwrap_or(usize::MAX);
    let requests = split_pairs(tokenizer, &pairs)?;
    let borrowed: Vec<_> = requests.iter().map(|request| (None, request)).collect();
    let asked: usize = requests.iter().map(|request| request.context.len() + request.continuation.len()).sum();
    let tokens = ScoreWork::new(model, &borrowed, batch_tokens)?.tokens();
    let mut scores: Vec<Score> = Vec::new();
    let mut result = timed(args, asked, || {
        let requests = split_pairs(tokenizer, &pairs)?;
        scores = score(model, &requests, batch_tokens, &Silent)?;
        Ok(())
    })?;
    let seconds = result["median_s"].as_f64().unwrap_or(f64::NAN);
    let Some(object) = result.as_object_mut() else { bail!("no result") };
    object.insert("items".into(), json!(inputs.items.len()));
    object.insert("items_per_s".into(), json!(inputs.items.len() as f64 / seconds));
    object.insert("asked_tokens".into(), json!(asked));
    object.insert("run_tokens".into(), json!(tokens));
    let reference = folder.join("loglikelihoods.json");
    if reference.exists() {
        let reference: Reference = serde_json::from_slice(&std::fs::read(reference)?)?;
        let expected = reference.loglikelihood.iter().flatten().zip(reference.is_greedy.iter().flatten());
        let (mut worst, mut greedy) = (0.0, 0);
        for (score, (loglikelihood, is_greedy)) in scores.iter().zip(expected) {
            worst = f64::max(worst, (score.loglikelihood - loglikelihood).abs());
            greedy += usize::from(score.is_greedy != *is_greedy);
        }
        object.insert("max_abs_diff_vs_hflm".into(), json!(worst));
        object.insert("is_greedy_differs".into(), json!(greedy));
    }
    scores.last().context("no items")?;
    Ok(result)
}
