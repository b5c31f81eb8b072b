//! Methods that neither patch nor differentiate.

use std::collections::BTreeSet;

use candle_core::{D, Tensor};

use super::super::error::PlantedError;
use super::super::node::Node;
use super::super::task::{Scores, Task};
use crate::base::Seed;
use crate::base::seed::uniform;
use crate::intervene::Side;
use crate::model::{HookKind, HookPoint, Readout, Record};

/// A score drawn for every node and every node at a position, each from a stream of its name.
pub(super) fn random(task: &Task, seed: &Seed) -> Scores {
    let draw = |name: &str| uniform(&mut seed.fork(name).rng());
    let nodes = task.nodes();
    let places = nodes.iter().flat_map(|node| (0..task.tokens()).map(|at| node.at(at)));
    Scores {
        positions: Some(places.map(|name| (name.clone(), draw(&name))).collect()),
        nodes: nodes.iter().map(|node| (*node, draw(&node.to_string()))).collect(),
        edges: None,
    }
}

/// The activations of one side at some points, each `[pairs, …]`.
fn recorded(task: &Task, side: Side, points: &[HookPoint]) -> Result<Vec<Tensor>, PlantedError> {
    let mut record = Record::new(points.iter().copied());
    task.model.forward(&task.ids(side)?, Readout::Rows(&[(0, 0)]), &mut record)?;
    let mut kept = record.take();
    let missing = |point: &HookPoint| PlantedError::Request(format!("{}: {point} was not passed", task.id));
    points.iter().map(|point| kept.remove(point).ok_or_else(|| missing(point))).collect()
}

/// Both sides count alike.
pub(super) fn attention_mass(task: &Task) -> Result<Scores, PlantedError> {
    let (layers, tokens) = (task.model.architecture().n_layers, task.tokens());
    let points: Vec<HookPoint> = (0..layers).map(|layer| HookPoint::new(HookKind::Pattern, layer)).collect();
    let differing = differing(task);
    let mut scores: Vec<(Node, Vec<f64>)> = task.nodes().into_iter().map(|node| (node, vec![0.0; tokens])).collect();
    for side in [Side::Factual, Side::Counterfactual] {
        for (layer, pattern_bhtt) in recorded(task, side, &points)?.iter().enumerate() {
            let pattern = pattern_bhtt.to_vec3_of_rows()?;
            for (node, score) in &mut scores {
                let Node::Head { layer: own, head } = *node else { continue };
                if own != layer {
                    continue;
                }
                for (heads, keys) in pattern.iter().zip(&differing) {
                    let rows = heads.get(head).into_iter().flatten();
                    for (score, row) in score.iter_mut().zip(rows) {
                        let mass: f64 = row
                            .iter()
                            .enumerate()
                            .filter(|(key, _)| keys.contains(key))
                            .map(|(_, p)| f64::from(*p))
                            .sum();
                        *score += mass / (2 * task.pairs.len()) as f64;
                    }
                }
            }
        }
    }
    Ok(Scores::by_position(scores))
}

/// The positions at which each pair's two sides differ.
fn differing(task: &Task) -> Vec<BTreeSet<usize>> {
    let of = |pair: &crate::intervene::TokenPair| {
        let both = pair.factual.ids.iter().zip(&pair.counterfactual.ids).enumerate();
        both.filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect()
    };
    task.pairs.iter().map(of).collect()
}

/// Rows of rows of a tensor of rank four.
trait Rows {
    fn to_vec3_of_rows(&self) -> Result<Vec<Vec<Vec<Vec<f32>>>>, candle_core::Error>;
}

impl Rows for Tensor {
    fn to_vec3_of_rows(&self) -> Result<Vec<Vec<Vec<Vec<f32>>>>, candle_core::Error> {
        (0..self.dim(0)?).map(|row| self.get(row)?.to_vec3()).collect()
    }
}

/// A head adds W_O z to the stream, an MLP its output.
pub(super) fn activation_distance(task: &Task) -> Result<Scores, PlantedError> {
    let architecture = task.model.architecture();
    let layers = architecture.n_layers;
    let kinds = |layer| [HookKind::Z, HookKind::MlpOut].map(|kind| HookPoint::new(kind, layer));
    let points: Vec<HookPoint> = (0..layers).flat_map(kinds).collect();
    let [from, to] = [Side::Factual, Side::Counterfactual].map(|side| recorded(task, side, &points));
    let mut scores = Vec::new();
    for ((point, from), to) in points.iter().zip(from?).zip(to?) {
        let difference = (to - from)?;
        if point.kind == HookKind::MlpOut {
            scores.push((Node::Mlp { layer: point.layer }, norms(&difference)?));
            continue;
        }
        for head in 0..architecture.n_heads {
            let z_btk = difference.narrow(2, head, 1)?.squeeze(2)?.contiguous()?;
            let (b, t, k) = z_btk.dims3()?;
            let [_, output_kd] = head_weights(task, point.layer, head)?;
            let added = z_btk.reshape((b * t, k))?.matmul(&output_kd)?;
            scores.push((Node::Head { layer: point.layer, head }, norms(&added.reshape((b, t, ()))?)?));
        }
    }
    Ok(Scores::by_position(scores))
}

/// Mean norms over pairs, one a position, of `[b, t, w]`.
pub(super) fn norms(x_btw: &Tensor) -> Result<Vec<f64>, candle_core::Error> {
    let norms = x_btw.sqr()?.sum(D::Minus1)?.sqrt()?.mean(0)?.to_vec1::<f32>()?;
    Ok(norms.into_iter().map(f64::from).collect())
}

fn frobenius(x: &Tensor) -> Result<f64, candle_core::Error> {
    Ok(f64::from(x.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt())
}

/// What a head reads values with and what it writes with, both `[k, d]`, in the two layouts of the benchmark's models:
/// projections of their own (`[out, in]`), or GPT-2's fused ones (`[in, out]`).
fn head_weights(task: &Task, layer: usize, head: usize) -> Result<[Tensor; 2], PlantedError> {
    let architecture = task.model.architecture();
    let (k, d) = (architecture.head_dim, architecture.d_model);
    let find = |end: &str| {
        let inside = |name: &str| name.contains(&format!(".{layer}.")) && name.ends_with(end);
        task.model.tensors().iter().find(|(name, _)| inside(name)).map(|(_, weight)| weight)
    };
    let parts = match (find("self_attn.v_proj.weight"), find("self_attn.o_proj.weight")) {
        (Some(value), Some(output)) if architecture.n_kv_heads == architecture.n_heads => {
            [value.narrow(0, head * k, k)?, output.narrow(1, head * k, k)?.t()?]
        }
        _ => match (find("attn.c_attn.weight"), find("attn.c_proj.weight")) {
            (Some(fused), Some(output)) => [fused.narrow(1, 2 * d + head * k, k)?.t()?, output.narrow(0, head * k, k)?],
            _ => {
                let message = format!("{}: the weights of head {head} of block {layer} were not found", task.id);
                return Err(PlantedError::Request(message));
            }
        },
    };
    let [value_kd, output_kd] = parts;
    Ok([value_kd.contiguous()?, output_kd.contiguous()?])
}

/// Weights know no positions.
pub(super) fn weight_norm(task: &Task) -> Result<Scores, PlantedError> {
    let model = &task.model;
    let mut scores = Scores::default();
    for node in task.nodes() {
        let score = match node {
            Node::Head { layer, head } => {
                let [value_kd, output_kd] = head_weights(task, layer, head)?;
                frobenius(&value_kd)? * frobenius(&output_kd)?
            }
            Node::Mlp { layer } => {
                let inside = |name: &str| name.contains(&format!(".{layer}.mlp.")) && name.ends_with(".weight");
                let matrices = model.tensors().iter().filter(|(name, _)| inside(name));
                matrices.map(|(_, weight)| frobenius(weight)).product::<Result<f64, _>>()?
            }
        };
        scores.nodes.insert(node, score);
    }
    Ok(scores)
}
