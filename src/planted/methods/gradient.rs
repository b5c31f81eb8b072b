//! Methods that differentiate.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Result as TensorResult, Tensor, Var};

use super::super::error::PlantedError;
use super::super::node::Node;
use super::super::task::{Scores, Task};
use super::passive::norms;
use crate::base::Silent;
use crate::intervene::Side;
use crate::mediate::attribution::{AttributionSpec, Method, PointScores, edge_scores, node_scores};
use crate::model::{HookKind, HookPoint, Hooks, Readout};

/// Where nodes are differentiated: the heads of a block, and its MLP.
fn points(task: &Task) -> Vec<HookPoint> {
    let kinds = |layer| [HookKind::Z, HookKind::MlpOut].map(|kind| HookPoint::new(kind, layer));
    (0..task.model.architecture().n_layers).flat_map(kinds).collect()
}

/// Adds a zero to each wanted activation, whose gradient is the activation's.
struct Zeros {
    points: BTreeSet<HookPoint>,
    zeros: BTreeMap<HookPoint, Var>,
}

impl Hooks for Zeros {
    fn wants(&self, point: HookPoint) -> bool {
        self.points.contains(&point)
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> TensorResult<Tensor> {
        let zero = Var::zeros(activation.shape(), activation.dtype(), activation.device())?;
        let sum = (activation + zero.as_tensor())?;
        self.zeros.insert(point, zero);
        Ok(sum)
    }
}

/// The size of the outcome's gradient on the clean prompt.
pub(super) fn norm(task: &Task) -> Result<Scores, PlantedError> {
    let mut hooks = Zeros { points: points(task).into_iter().collect(), zeros: BTreeMap::new() };
    let last = task.tokens().saturating_sub(1);
    let rows: Vec<(usize, usize)> = (0..task.pairs.len()).map(|row| (row, last)).collect();
    let logits_nv = task.model.forward(&task.ids(Side::Factual)?, Readout::Rows(&rows), &mut hooks)?;
    let gradients = contrast(task, &logits_nv)?.backward()?;
    let mut scores = Vec::new();
    for (point, zero) in &hooks.zeros {
        let gradient = match gradients.get(zero) {
            Some(gradient) => gradient.clone(),
            None => zero.as_tensor().zeros_like()?,
        };
        match point.kind {
            HookKind::MlpOut => scores.push((Node::Mlp { layer: point.layer }, norms(&gradient)?)),
            _ => {
                for head in 0..task.model.architecture().n_heads {
                    let of_head = gradient.narrow(2, head, 1)?.squeeze(2)?;
                    scores.push((Node::Head { layer: point.layer, head }, norms(&of_head)?));
                }
            }
        }
    }
    Ok(Scores::by_position(scores))
}

/// The sum over pairs of logit(a) − logit(b).
fn contrast(task: &Task, logits_nv: &Tensor) -> Result<Tensor, PlantedError> {
    let vocabulary = task.model.architecture().vocab_size;
    let mut weights = Vec::with_capacity(task.pairs.len() * vocabulary);
    for pair in &task.pairs {
        let [a, b] = pair.answers(Side::Factual).map(|answer| answer.first().copied());
        weights.extend((0..vocabulary as u32).map(|token| match Some(token) {
            token if token == a => 1.0f32,
            token if token == b => -1.0,
            _ => 0.0,
        }));
    }
    let weights_nv = Tensor::from_vec(weights, (task.pairs.len(), vocabulary), logits_nv.device())?;
    Ok((logits_nv * weights_nv)?.sum_all()?)
}

/// Attribution patching, plain or integrated: nodes and positions from the same gradients, and edges.
pub(super) fn attribution(task: &Task, method: Method) -> Result<Scores, PlantedError> {
    let spec = AttributionSpec::new(method);
    let found = node_scores(&task.model, &task.pairs, &points(task), &spec, &Silent)?;
    let mut out = Scores::default();
    let positions = out.positions.get_or_insert_default();
    for node in task.nodes() {
        let (point, unit) = match node {
            Node::Head { layer, head } => (HookPoint::new(HookKind::Z, layer), head),
            Node::Mlp { layer } => (HookPoint::new(HookKind::MlpOut, layer), 0),
        };
        let Some(scores) = found.at(point) else { continue };
        out.nodes.insert(node, scores.mean(unit));
        for at in 0..task.tokens() {
            positions.insert(node.at(at), at_position(scores, unit, at));
        }
    }
    let edges = edge_scores(&task.model, &task.pairs, &spec, &Silent)?;
    out.edges = Some(edges.iter().map(|(edge, score)| (edges.graph.name(edge), score)).collect());
    Ok(out)
}

/// The mean over pairs at one position.
fn at_position(scores: &PointScores, unit: usize, at: usize) -> f64 {
    let value = |positions: &Vec<Vec<f32>>| positions.get(at).and_then(|units| units.get(unit)).copied().map(f64::from);
    scores.by_pair.iter().filter_map(value).sum::<f64>() / scores.by_pair.len().max(1) as f64
}
