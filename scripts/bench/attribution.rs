//! EAP-IG on the pairs that the peers' scripts wrote, beside what they computed.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, safetensors};
use counterpath::base::Silent;
use counterpath::intervene::TokenPair;
use counterpath::mediate::attribution::{
    AttributionSpec, Grid, Method, MetricSign, NodeScores, edge_scores, node_scores,
};
use counterpath::model::{HookKind, HookPoint, LanguageModel, TokenizedPrompt};
use serde_json::{Value, json};

use super::{Args, timed};

pub fn run(model: &LanguageModel, args: &Args) -> Result<Value> {
    let golden = args.golden.as_deref().context("attribution needs --golden")?;
    let inputs: Value = serde_json::from_slice(&std::fs::read(golden.join("inputs.json"))?)?;
    let steps = inputs["steps"].as_u64().context("steps")? as usize;
    let pairs = inputs["pairs"].as_array().context("pairs")?.iter().enumerate();
    let pairs: Vec<TokenPair> = pairs.map(|(number, pair)| read(number, pair)).collect::<Result<_>>()?;
    // The peers' node scores end on the clean prompt; their sign is that of the metric, ours of its fall.
    let method = Method::IntegratedInputs { steps, grid: Grid::ToClean };
    let mut spec = AttributionSpec { sign: MetricSign::Plain, ..AttributionSpec::new(method) };
    spec.batch_tokens = args.batch_tokens.unwrap_or(spec.batch_tokens);
    let tokens = pairs.iter().map(|pair| pair.factual.ids.len()).sum::<usize>() * steps;
    if args.edges {
        return timed(args, tokens, || {
            edge_scores(model, &pairs, &spec, &Silent)?;
            Ok(())
        });
    }
    let layers = model.architecture().n_layers;
    let inner = (0..layers).flat_map(|layer| [HookKind::Z, HookKind::MlpOut].map(|kind| HookPoint::new(kind, layer)));
    let points: Vec<HookPoint> = [HookPoint::new(HookKind::Embed, 0)].into_iter().chain(inner).collect();
    let mut last = None;
    let mut result = timed(args, tokens, || {
        last = Some(node_scores(model, &pairs, &points, &spec, &Silent)?);
        Ok(())
    })?;
    let scores = last.context("at least one call")?;
    result["pairs"] = json!(pairs.len());
    result["steps"] = json!(steps);
    result["max_abs_diff_vs_hooks"] = differences(&scores, model, golden)?;
    Ok(result)
}

fn read(number: usize, pair: &Value) -> Result<TokenPair> {
    let token = |name: &str| pair[name].as_u64().map(|id| id as u32).context("token");
    let answers = vec![vec![token("token_a")?], vec![token("token_b")?]];
    let side = |name: &str| -> Result<TokenizedPrompt> {
        let ids = pair[name].as_array().context("ids")?.iter().filter_map(Value::as_u64).map(|id| id as u32).collect();
        Ok(TokenizedPrompt { ids, answers: answers.clone(), slots: Vec::new() })
    };
    Ok(TokenPair::new(format!("p{number}"), format!("p{number}"), side("clean")?, side("corrupt")?)?)
}

/// The largest difference from each of the peers' tensors, and its largest score.
fn differences(scores: &NodeScores, model: &LanguageModel, golden: &Path) -> Result<Value> {
    let expected = safetensors::load(golden.join("scores.safetensors"), &Device::Cpu)?;
    let layers = model.architecture().n_layers;
    let found = |kind, layers: usize| -> Vec<f64> {
        let points = (0..layers).filter_map(|layer| scores.at(HookPoint::new(kind, layer)));
        points.flat_map(|point| (0..point.units).map(|unit| -point.mean(unit))).collect()
    };
    let mut result = json!({});
    for (name, found) in [
        ("input", found(HookKind::Embed, 1)),
        ("heads", found(HookKind::Z, layers)),
        ("mlp", found(HookKind::MlpOut, layers)),
    ] {
        let expected = expected.get(name).context("a tensor of scores")?.flatten_all()?.to_vec1::<f32>()?;
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let off = largest(&mut expected.iter().zip(&found).map(|(a, b)| (f64::from(*a) - b).abs()));
        let scale = largest(&mut expected.iter().map(|value| f64::from(value.abs())));
        result[name] = json!({"difference": off, "scale": scale, "scores": found.len() == expected.len()});
    }
    Ok(result)
}
