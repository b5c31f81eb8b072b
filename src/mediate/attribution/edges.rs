//! Scores of edges: every sender to every receiver that reads the stream after it.
//!
//! For each point of the method's path, one backward pass gives the gradients of queries, keys, values, MLP inputs and
//! the last stream. They are pulled back to the stream stretch by stretch of positions: the senders' differences of a
//! stretch `[s, c·d]` times the receivers' gradients `[c·d, r]` are added to the scores `[s, r]`, and both go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::flow::information_flow;
use super::ready::{Cover, Ready, fitting};
use super::run::Step;
use super::spec::{AttributionSpec, Method};
use crate::base::Progress;
use crate::intervene::path::{Edge, PathGraph, Receiver, sender_points};
use crate::intervene::{InterveneError, TokenPair};
use crate::mediate::MediateError;
use crate::model::{HookKind, HookPoint, LanguageModel, Part, StreamMaps};
use crate::ops::GradientTap;

/// A score for every edge of a decoder, averaged over pairs. Positive: the edge helps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeScores {
    /// The decoder's graph.
    pub graph: PathGraph,
    /// Receivers by senders; 0 where there is no edge.
    scores: Vec<Vec<f64>>,
}

impl EdgeScores {
    /// All 0.
    pub fn zero(graph: PathGraph) -> Self {
        Self { graph, scores: vec![vec![0.0; graph.senders()]; graph.receivers()] }
    }

    /// The score of an edge; 0 of one that does not exist.
    pub fn get(&self, edge: Edge) -> f64 {
        let row = self.scores.get(self.graph.receiver_index(edge.receiver));
        row.and_then(|row| row.get(self.graph.sender_index(edge.sender))).copied().unwrap_or(0.0)
    }

    /// Sets the score of an edge; one that does not exist is left out.
    pub fn set(&mut self, edge: Edge, score: f64) {
        if let (true, Some(row)) = (self.graph.has(edge), self.scores.get_mut(self.graph.receiver_index(edge.receiver)))
            && let Some(slot) = row.get_mut(self.graph.sender_index(edge.sender))
        {
            *slot = score;
        }
    }

    /// Every edge with its score.
    pub fn iter(&self) -> impl Iterator<Item = (Edge, f64)> + '_ {
        self.graph.edges().map(|edge| (edge, self.get(edge)))
    }

    /// Adds a block `[receivers, senders]` that begins at a receiver.
    pub(super) fn add(&mut self, first: usize, block: &[Vec<f32>]) {
        for (row, added) in self.scores.iter_mut().skip(first).zip(block) {
            row.iter_mut().zip(added).for_each(|(sum, added)| *sum += f64::from(*added));
        }
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.scores.iter_mut().flatten().for_each(|score| *score *= factor);
    }
}

/// Attributes the metric to every edge. `progress` is advanced by one a pair and polled for a request to stop. Refused
/// where a norm and a bias both stand behind attention: what a head adds is not defined there.
pub fn edge_scores(
    model: &LanguageModel,
    pairs: &[TokenPair],
    spec: &AttributionSpec,
    progress: &dyn Progress,
) -> Result<EdgeScores, MediateError> {
    if spec.method == Method::InformationFlow {
        return information_flow(model, pairs, spec, progress);
    }
    spec.check(pairs)?;
    let graph = PathGraph::of(model.architecture());
    let mut scores = EdgeScores::zero(graph);
    let steps = Step::of(spec.method, graph.n_layers);
    let mut points = sender_points(graph);
    points.extend(Step::needs(spec.method, graph.n_layers));
    let mut first = 0;
    while let Some(rest) = pairs.get(first..).filter(|rest| !rest.is_empty()) {
        if progress.cancelled() {
            return Err(MediateError::Interrupted);
        }
        let batch = rest.get(..fitting(rest, spec.outcome, spec.batch_tokens)).unwrap_or(rest);
        let ready = Ready::new(model, batch, &points, (spec, Cover::Differing))?;
        for step in &steps {
            Pulled::take(model, &ready, step, graph)?.add_to(model, &ready, spec.stretch_bytes, &mut scores)?;
        }
        first += ready.pairs;
        progress.advance(ready.pairs as u64);
    }
    scores.scale(1.0 / (pairs.len() * steps.len()) as f64);
    Ok(scores)
}

fn hook(part: Part) -> HookKind {
    match part {
        Part::Query => HookKind::Q,
        Part::Key => HookKind::K,
        Part::Value => HookKind::V,
    }
}

type Gradients = Arc<Mutex<BTreeMap<HookPoint, Tensor>>>;

/// The gradients of one backward pass, and the streams that they were taken at.
struct Pulled {
    graph: PathGraph,
    gradients: BTreeMap<HookPoint, Tensor>,
    streams: BTreeMap<HookPoint, Tensor>,
}

impl Pulled {
    fn take(model: &LanguageModel, ready: &Ready, step: &Step, graph: PathGraph) -> Result<Self, MediateError> {
        let gradients = Gradients::default();
        let end = HookPoint::new(HookKind::ResidPost, graph.n_layers.saturating_sub(1));
        let kinds = [HookKind::Q, HookKind::K, HookKind::V, HookKind::MlpIn];
        let inner = (0..graph.n_layers).flat_map(|layer| kinds.map(|kind| HookPoint::new(kind, layer)));
        let tap = |point: HookPoint| {
            let own = gradients.clone();
            let keep = move |grad: &Tensor| {
                own.lock().unwrap_or_else(PoisonError::into_inner).insert(point, grad.detach());
                Ok(())
            };
            (point, GradientTap::new(keep))
        };
        let taps = inner.chain([end]).map(tap).collect();
        let keep = (0..graph.n_layers).map(|layer| HookPoint::new(HookKind::ResidPre, layer)).collect();
        let streams = ready.step(model, step, &taps, &keep)?;
        let gradients = std::mem::take(&mut *gradients.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { graph, gradients, streams })
    }

    fn add_to(
        &self,
        model: &LanguageModel,
        ready: &Ready,
        stretch_bytes: usize,
        scores: &mut EdgeScores,
    ) -> Result<(), MediateError> {
        let graph = self.graph;
        let positions = ready.pair_of_row.len() * ready.clean.tokens;
        let held = (graph.senders() + graph.receivers() / graph.n_layers.max(1)) * graph.d_model * 4;
        let each = (stretch_bytes / held.max(1)).clamp(1, positions.max(1));
        let maps: Vec<StreamMaps> =
            (0..graph.n_layers).map(|layer| model.stream_maps(layer)).collect::<Result<_, _>>()?;
        for start in (0..positions).step_by(each) {
            let stretch = Stretch { start, len: each.min(positions - start) };
            self.add_stretch(&maps, ready, stretch, scores).map_err(InterveneError::from)?;
        }
        Ok(())
    }

    fn add_stretch(
        &self,
        maps: &[StreamMaps],
        ready: &Ready,
        stretch: Stretch,
        scores: &mut EdgeScores,
    ) -> candle_core::Result<()> {
        let graph = self.graph;
        let senders_sw = senders(graph, maps, ready, stretch)?;
        let mut block = |receiver: Receiver, grad_rcd: Tensor| {
            let reach = graph.reach(receiver);
            let grad_rw = grad_rcd.flatten_from(1)?.to_dtype(DType::F32)?;
            let product = grad_rw.matmul(&senders_sw.narrow(0, 0, reach)?.t()?)?.to_vec2::<f32>()?;
            scores.add(graph.receiver_index(receiver), &product);
            Ok::<_, candle_core::Error>(())
        };
        for (layer, maps) in maps.iter().enumerate() {
            let stream_cd = stretch.of(&self.streams, HookPoint::new(HookKind::ResidPre, layer))?;
            for part in Part::ALL {
                let Some(grad_cuk) = stretch.find(&self.gradients, HookPoint::new(hook(part), layer))? else {
                    continue;
                };
                let grad_ucd = maps.pull_back(part, &stream_cd, &grad_cuk.transpose(0, 1)?)?;
                block(Receiver::Attention { layer, part, unit: 0 }, grad_ucd)?;
            }
            if let Some(grad_cd) = stretch.find(&self.gradients, HookPoint::new(HookKind::MlpIn, layer))? {
                block(Receiver::Mlp { layer }, grad_cd.unsqueeze(0)?)?;
            }
        }
        let end = HookPoint::new(HookKind::ResidPost, graph.n_layers.saturating_sub(1));
        match stretch.find(&self.gradients, end)? {
            Some(grad_cd) => block(Receiver::Logits, grad_cd.unsqueeze(0)?),
            None => Ok(()),
        }
    }
}

/// Some of a batch's positions, rows laid one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub start: usize,
    pub len: usize,
}

impl Stretch {
    /// The stretch of an activation `[b, t, ..]`, as `[c, ..]`.
    pub fn cut(&self, activation: &Tensor) -> candle_core::Result<Tensor> {
        activation.flatten(0, 1)?.narrow(0, self.start, self.len)?.contiguous()
    }

    fn find(&self, at: &BTreeMap<HookPoint, Tensor>, point: HookPoint) -> candle_core::Result<Option<Tensor>> {
        at.get(&point).map(|activation| self.cut(activation)).transpose()
    }

    fn of(&self, at: &BTreeMap<HookPoint, Tensor>, point: HookPoint) -> candle_core::Result<Tensor> {
        match self.find(at, point)? {
            Some(found) => Ok(found),
            None => candle_core::bail!("{point} was not captured"),
        }
    }
}

/// What every sender adds to the stream on the corrupted prompt, less what it adds on the clean one: `[s, c·d]`.
fn senders(graph: PathGraph, maps: &[StreamMaps], ready: &Ready, stretch: Stretch) -> candle_core::Result<Tensor> {
    let both = |point| {
        let clean = stretch.of(&ready.clean_at, point)?;
        Ok::<_, candle_core::Error>((clean, stretch.of(&ready.corrupted_at, point)?))
    };
    let plain = |point| {
        let (clean_cd, corrupted_cd) = both(point)?;
        (corrupted_cd - clean_cd)?.unsqueeze(0)
    };
    let mut parts = vec![plain(HookPoint::new(HookKind::Embed, 0))?];
    for (layer, maps) in (0..graph.n_layers).zip(maps) {
        let (clean_chk, corrupted_chk) = both(HookPoint::new(HookKind::Z, layer))?;
        parts.push(match maps.is_linear() {
            true => maps.head_outputs(&(corrupted_chk - clean_chk)?)?,
            false => (maps.head_outputs(&corrupted_chk)? - maps.head_outputs(&clean_chk)?)?,
        });
        parts.push(plain(HookPoint::new(HookKind::MlpOut, layer))?);
    }
    Tensor::cat(&parts, 0)?.flatten_from(1)?.to_dtype(DType::F32)
}
