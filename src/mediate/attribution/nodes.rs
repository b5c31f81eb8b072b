//! Scores of nodes: any hook point, by unit (head, group) and position.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{D, DType, Tensor};

use super::ready::{Cover, Ready, fitting};
use super::run::Step;
use super::spec::{AttributionSpec, Method};
use crate::base::Progress;
use crate::intervene::{InterveneError, TokenPair};
use crate::mediate::MediateError;
use crate::model::{HookKind, HookPoint, LanguageModel};
use crate::ops::GradientTap;

/// Scores of every pair at some hook points.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeScores {
    /// One entry a point, in the order asked for.
    pub points: Vec<PointScores>,
}

/// Scores of every pair at one hook point. Positive: the node helps.
#[derive(Debug, Clone, PartialEq)]
pub struct PointScores {
    /// Where.
    pub point: HookPoint,
    /// Heads of `q` and `z`, groups of `k` and `v`, else 1.
    pub units: usize,
    /// For every pair its positions (of a fed continuation too), each with one score a unit.
    pub by_pair: Vec<Vec<Vec<f32>>>,
}

impl PointScores {
    /// A pair's score of a unit: the sum over positions.
    pub fn of_pair(&self, pair: usize, unit: usize) -> f64 {
        let positions = self.by_pair.get(pair).into_iter().flatten();
        positions.filter_map(|units| units.get(unit)).map(|score| f64::from(*score)).sum()
    }

    /// A unit's score: the mean over pairs.
    pub fn mean(&self, unit: usize) -> f64 {
        let pairs = self.by_pair.len();
        (0..pairs).map(|pair| self.of_pair(pair, unit)).sum::<f64>() / (pairs.max(1)) as f64
    }
}

impl NodeScores {
    /// The scores at a point.
    pub fn at(&self, point: HookPoint) -> Option<&PointScores> {
        self.points.iter().find(|scores| scores.point == point)
    }
}

/// Attributes the metric to the activations at `points`: stream points, `z`, `q`, `k`, `v`, `attn_out`, `mlp_out`,
/// `hook_embed`, MLP neurons (summed). `progress` is advanced by one a pair and polled for a request to stop.
pub fn node_scores(
    model: &LanguageModel,
    pairs: &[TokenPair],
    points: &[HookPoint],
    spec: &AttributionSpec,
    progress: &dyn Progress,
) -> Result<NodeScores, MediateError> {
    spec.check(pairs)?;
    if spec.method == Method::InformationFlow {
        let message = "information flow scores edges, not nodes".to_owned();
        return Err(MediateError::Attribution { message });
    }
    let architecture = model.architecture();
    if let Some(point) = points.iter().find(|point| !architecture.has(**point) || point.kind == HookKind::Pattern) {
        let message = format!("{point} cannot be attributed in this {} model", architecture.family);
        return Err(MediateError::Attribution { message });
    }
    let layers = architecture.n_layers;
    let steps = Step::of(spec.method, layers);
    let mut keep: BTreeSet<HookPoint> = points.iter().copied().collect();
    keep.extend(Step::needs(spec.method, layers));
    let mut scores: Vec<PointScores> = points
        .iter()
        .map(|point| PointScores { point: *point, units: units(model, *point), by_pair: Vec::new() })
        .collect();
    let mut first = 0;
    while let Some(rest) = pairs.get(first..).filter(|rest| !rest.is_empty()) {
        if progress.cancelled() {
            return Err(MediateError::Interrupted);
        }
        let batch = rest.get(..fitting(rest, spec.outcome, spec.batch_tokens)).unwrap_or(rest);
        let ready = Ready::new(model, batch, &keep, (spec, Cover::Differing))?;
        score_batch(model, &ready, &steps, &mut scores)?;
        first += ready.pairs;
        progress.advance(ready.pairs as u64);
    }
    Ok(NodeScores { points: scores })
}

fn units(model: &LanguageModel, point: HookPoint) -> usize {
    let architecture = model.architecture();
    match point.kind {
        HookKind::Q | HookKind::Z => architecture.n_heads,
        HookKind::K | HookKind::V => architecture.n_kv_heads,
        _ => 1,
    }
}

/// Sums over steps of one point: `[b, t, units]`.
type Sum = Arc<Mutex<Option<Tensor>>>;

fn score_batch(
    model: &LanguageModel,
    ready: &Ready,
    steps: &[Step],
    scores: &mut [PointScores],
) -> Result<(), MediateError> {
    let mut taps = BTreeMap::new();
    let mut sums: BTreeMap<HookPoint, Sum> = BTreeMap::new();
    for PointScores { point, units, .. } in scores.iter() {
        let sum = Sum::default();
        let (difference, units, own) = (ready.difference(*point)?, *units, sum.clone());
        taps.insert(
            *point,
            GradientTap::new(move |grad| {
                let (batch, tokens) = (grad.dim(0)?, grad.dim(1)?);
                let product = (grad * &difference)?.reshape((batch, tokens, units, ()))?;
                let part = product.sum(D::Minus1)?.to_dtype(DType::F32)?.detach();
                let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
                *own = Some(match own.take() {
                    Some(before) => (before + part)?,
                    None => part,
                });
                Ok(())
            }),
        );
        sums.insert(*point, sum);
    }
    for step in steps {
        ready.step(model, step, &taps, &BTreeSet::new())?;
    }
    for point in scores {
        let sum = sums.get(&point.point).and_then(|sum| sum.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(sum) = sum else {
            let message = format!("no gradient reaches {}: the metric does not depend on it", point.point);
            return Err(MediateError::Attribution { message });
        };
        let rows = (sum * (1.0 / steps.len() as f64)).and_then(|sum| sum.to_vec3::<f32>());
        point.by_pair.extend(by_pair(ready, rows.map_err(InterveneError::from)?));
    }
    Ok(())
}

/// Rows of one pair added up, padding left out; 0 at the positions in front, which did not run.
fn by_pair(ready: &Ready, rows: Vec<Vec<Vec<f32>>>) -> Vec<Vec<Vec<f32>>> {
    let units = rows.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let mut pairs: Vec<Vec<Vec<f32>>> = vec![vec![vec![0.0; units]; ready.front]; ready.pairs];
    for ((row, &pair), &length) in rows.into_iter().zip(&ready.pair_of_row).zip(&ready.lengths) {
        let Some(sums) = pairs.get_mut(pair) else { continue };
        for (position, units) in (ready.front..).zip(row.into_iter().take(length)) {
            match sums.get_mut(position) {
                Some(sum) => sum.iter_mut().zip(units).for_each(|(sum, score)| *sum += score),
                None => sums.push(units),
            }
        }
    }
    pairs
}
