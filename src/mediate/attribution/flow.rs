//! Information-flow routes: how close each contribution is to what a receiver reads. No metric and no gradient.
//!
//! The importance of sender u for receiver v at one position is max(0, ‖x_v‖₁ − ‖x_v − a_u‖₁), divided by the sum over
//! all senders that reach v; then the mean over positions and pairs (Ferrando and Voita 2024, arXiv 2403.00824). Only
//! clean prompts run. Range 0 to 1; the scores into one receiver add up to 1 where any is positive. The queries, keys
//! and values of a block read one stream and so share their scores.

use candle_core::{D, DType, Tensor};

use super::edges::{EdgeScores, Stretch};
use super::ready::{Cover, Ready, fitting};
use super::spec::AttributionSpec;
use crate::base::Progress;
use crate::intervene::path::{PathGraph, Receiver, sender_points};
use crate::intervene::{InterveneError, TokenPair};
use crate::mediate::MediateError;
use crate::model::{HookKind, HookPoint, LanguageModel, Part, StreamMaps};

/// Scores every edge by its share of what its receiver reads. Of `spec` only the batch size is used.
pub fn information_flow(
    model: &LanguageModel,
    pairs: &[TokenPair],
    spec: &AttributionSpec,
    progress: &dyn Progress,
) -> Result<EdgeScores, MediateError> {
    spec.check(pairs)?;
    let graph = PathGraph::of(model.architecture());
    let mut scores = EdgeScores::zero(graph);
    let mut points = sender_points(graph);
    for layer in 0..graph.n_layers {
        points.extend([HookKind::ResidPre, HookKind::MlpIn].map(|kind| HookPoint::new(kind, layer)));
    }
    points.insert(HookPoint::new(HookKind::ResidPost, graph.n_layers.saturating_sub(1)));
    let maps: Vec<StreamMaps> = (0..graph.n_layers).map(|layer| model.stream_maps(layer)).collect::<Result<_, _>>()?;
    let mut first = 0;
    while let Some(rest) = pairs.get(first..).filter(|rest| !rest.is_empty()) {
        if progress.cancelled() {
            return Err(MediateError::Interrupted);
        }
        let batch = rest.get(..fitting(rest, spec.outcome, spec.batch_tokens)).unwrap_or(rest);
        let ready = Ready::new(model, batch, &points, (spec, Cover::Whole))?;
        for row in 0..ready.pair_of_row.len() {
            add_row(graph, &maps, &ready, row, &mut scores).map_err(InterveneError::from)?;
        }
        first += ready.pairs;
        progress.advance(ready.pairs as u64);
    }
    scores.scale(1.0 / pairs.len() as f64);
    Ok(scores)
}

/// Adds one row's mean importances.
fn add_row(
    graph: PathGraph,
    maps: &[StreamMaps],
    ready: &Ready,
    row: usize,
    scores: &mut EdgeScores,
) -> candle_core::Result<()> {
    let length = ready.lengths.get(row).copied().unwrap_or(0);
    let rows = ready.pair_of_row.iter().filter(|pair| ready.pair_of_row.get(row) == Some(pair)).count();
    let stretch = Stretch { start: row * ready.clean.tokens, len: length };
    let at = |kind, layer| match ready.clean_at.get(&HookPoint::new(kind, layer)) {
        Some(activation) => stretch.cut(activation)?.to_dtype(DType::F32),
        None => candle_core::bail!("{} was not captured", HookPoint::new(kind, layer)),
    };
    let mut parts = vec![at(HookKind::Embed, 0)?.unsqueeze(0)?];
    for (layer, maps) in maps.iter().enumerate() {
        parts.push(maps.head_outputs(&at(HookKind::Z, layer)?)?);
        parts.push(at(HookKind::MlpOut, layer)?.unsqueeze(0)?);
    }
    let senders_scd = Tensor::cat(&parts, 0)?;
    let mut add = |receivers: &[Receiver], stream_cd: Tensor| {
        let Some(&receiver) = receivers.first() else { return Ok(()) };
        let reaching_scd = senders_scd.narrow(0, 0, graph.reach(receiver))?;
        let own_1c = stream_cd.abs()?.sum(D::Minus1)?.unsqueeze(0)?;
        let left_sc = reaching_scd.broadcast_sub(&stream_cd.unsqueeze(0)?)?.abs()?.sum(D::Minus1)?;
        let near_sc = own_1c.broadcast_sub(&left_sc)?.relu()?;
        // Where nothing is near, every share is 0.
        let total_1c = near_sc.sum_keepdim(0)?.maximum(f32::MIN_POSITIVE)?;
        let share_s = (near_sc.broadcast_div(&total_1c)?.sum(1)? * (1.0 / (length.max(1) * rows.max(1)) as f64))?;
        let shares = vec![share_s.to_vec1::<f32>()?];
        receivers.iter().for_each(|receiver| scores.add(graph.receiver_index(*receiver), &shares));
        Ok::<_, candle_core::Error>(())
    };
    for layer in 0..graph.n_layers {
        let units = |part| (0..graph.units(part)).map(move |unit| Receiver::Attention { layer, part, unit });
        let readers: Vec<Receiver> = Part::ALL.into_iter().flat_map(units).collect();
        add(&readers, at(HookKind::ResidPre, layer)?)?;
        add(&[Receiver::Mlp { layer }], at(HookKind::MlpIn, layer)?)?;
    }
    add(&[Receiver::Logits], at(HookKind::ResidPost, graph.n_layers.saturating_sub(1))?)
}
