//! A patching sweep on the peers' own pairs: `resid_pre` at every layer and position, or `z` at every layer and head, the
//! logit difference of each pair read, held against the outcomes that plain PyTorch hooks gave.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use counterpath::base::Silent;
use counterpath::intervene::{
    Job, NaiveEngine, Outcome, Plan, ReuseEngine, Side, Site, SiteKind, SweepEngine, TokenPair,
};
use counterpath::model::{LanguageModel, LoadOptions, TokenizedPrompt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, timed};

#[derive(Deserialize)]
struct Inputs {
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    clean: Vec<u32>,
    corrupt: Vec<u32>,
    token_a: u32,
    token_b: u32,
}

pub fn run(model: &LanguageModel, args: &Args) -> Result<Value> {
    let folder = args.golden.as_deref().context("--golden FOLDER")?;
    let inputs: Inputs = serde_json::from_slice(&std::fs::read(folder.join("inputs.json"))?)?;
    let pairs = inputs.pairs.iter().enumerate().map(|(number, pair)| token_pair(number, pair));
    let pairs: Vec<TokenPair> = pairs.collect::<Result<_>>()?;
    let plans = plans(model, &args.sites, inputs.pairs.first().context("no pairs")?.clean.len())?;
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    let mut engine = ReuseEngine::default();
    engine.batch_tokens = args.batch_tokens.unwrap_or(engine.batch_tokens);
    let mut outcomes = Vec::new();
    let mut result = timed(args, plans.len() * pairs.len(), || {
        outcomes = engine.outcomes(model, &jobs, Outcome::LogitDifference, &Silent)?;
        Ok(())
    })?;
    let cost = engine.operations(model, &jobs, Outcome::LogitDifference)?;
    let seconds = result["median_s"].as_f64().unwrap_or(f64::NAN);
    let Some(object) = result.as_object_mut() else { bail!("no result") };
    object.remove("tokens_per_s");
    object.insert("sites".into(), json!(args.sites));
    object.insert("pairs".into(), json!(pairs.len()));
    object.insert("cells".into(), json!(plans.len()));
    object.insert("patches_per_s".into(), json!((plans.len() * pairs.len()) as f64 / seconds));
    object.insert("gmacs".into(), json!(cost.reused as f64 / 1e9));
    object.insert("naive_gmacs".into(), json!(cost.naive as f64 / 1e9));
    object.insert("gmacs_per_s".into(), json!(cost.reused as f64 / 1e9 / seconds));
    let (worst, scale) = apart(folder, &args.sites, &outcomes)?;
    object.insert("max_abs_diff_vs_hooks".into(), json!(worst));
    object.insert("effect_scale".into(), json!(scale));
    if args.naive {
        // The oracle on the same plans: every cell to 1e-5 of the largest effect, or as close to the exact values as it
        // is itself, where single precision does not reach that far.
        let naive = NaiveEngine::default().outcomes(model, &jobs, Outcome::LogitDifference, &Silent)?;
        let apart = largest(&naive, &outcomes);
        object.insert("max_diff_vs_naive_over_scale".into(), json!(apart / scale));
        if apart > 1e-5 * scale {
            let folder = args.model.as_deref().context("--model FOLDER")?;
            let double = LoadOptions { dtype: DType::F64, ..LoadOptions::default() };
            let exact = LanguageModel::load(folder, &double)?;
            let first = jobs.get(..1).context("no pairs")?;
            let exact = NaiveEngine::default().outcomes(&exact, first, Outcome::LogitDifference, &Silent)?;
            let [ours, theirs] = [&outcomes, &naive].map(|found| largest(&exact, found));
            object.insert("first_pair_from_double_precision".into(), json!({"ours": ours, "naive": theirs}));
            if ours > 2.0 * theirs {
                bail!(
                    "a cell lies {apart} from the naive engine's, at effects of up to {scale}; of the first pair's exact values ours lie up to {ours} apart, the naive engine's {theirs}"
                );
            }
        }
    }
    Ok(result)
}

/// The largest difference between cells that both have.
fn largest(one: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let cells = one.iter().zip(other).flat_map(|(one, other)| one.iter().zip(other));
    cells.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The corrupted prompt receives, the clean one gives.
fn token_pair(number: usize, pair: &Pair) -> Result<TokenPair> {
    let answers = vec![vec![pair.token_a], vec![pair.token_b]];
    let side = |ids: &[u32]| TokenizedPrompt { ids: ids.to_vec(), answers: answers.clone(), slots: Vec::new() };
    Ok(TokenPair::new(format!("pair{number}"), "all", side(&pair.corrupt), side(&pair.clean))?)
}

fn plans(model: &LanguageModel, sites: &str, tokens: usize) -> Result<Vec<Plan>> {
    let architecture = model.architecture();
    let mut plans = Vec::new();
    for layer in 0..architecture.n_layers {
        let of_layer: Vec<Site> = match sites {
            "resid" => (0..tokens).map(|position| Site::at_index(SiteKind::ResidPre, layer, position)).collect(),
            "z" => (0..architecture.n_heads).map(|head| Site::of_head(layer, head)).collect(),
            other => bail!("no sites {other:?}"),
        };
        plans.extend(of_layer.iter().map(|site| Plan::interchange(Side::Factual, std::slice::from_ref(site))));
    }
    Ok(plans)
}

/// The largest difference from the peers' outcomes `[layer, place, pair]`, and their largest effect.
fn apart(folder: &std::path::Path, sites: &str, outcomes: &[Vec<f64>]) -> Result<(f64, f64)> {
    let golden: HashMap<String, Tensor> =
        candle_core::safetensors::load(folder.join("effects.safetensors"), &Device::Cpu)?;
    let values = |name: &str| -> Result<Vec<f64>> {
        let tensor = golden.get(name).with_context(|| format!("the golden file has no {name}"))?;
        Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
    };
    let (expected, base) = (values(sites)?, values("metric_base")?);
    let (mut worst, mut scale) = (0.0f64, 0.0f64);
    for (number, expected) in expected.iter().enumerate() {
        let (cell, pair) = (number / base.len(), number % base.len());
        let found = outcomes.get(pair).and_then(|pair| pair.get(cell)).context("another number of cells")?;
        worst = worst.max((found - expected).abs());
        scale = scale.max((expected - base[pair]).abs());
    }
    Ok((worst, scale))
}
