//! What stands in the place of a cut contribution.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Tensor};

use super::graph::PathGraph;
use crate::intervene::{InterveneError, TokenPair};
use crate::model::{HookKind, HookPoint, LanguageModel, Readout, Record, StreamMaps};

/// What a cut edge brings instead of the sender's own contribution.
#[derive(Debug, Clone, Copy)]
pub enum Ablation<'a> {
    /// What the sender contributes on the pair's other side, at the same position (interchange).
    Counterfactual,
    /// Nothing.
    Zero,
    /// The sender's mean contribution.
    Mean(&'a SenderMeans),
}

impl Ablation<'_> {
    /// The name in records: `counterfactual`, `zero`, `mean`, `mean_positional`.
    pub fn name(&self) -> &'static str {
        match self {
            Ablation::Counterfactual => "counterfactual",
            Ablation::Zero => "zero",
            Ablation::Mean(SenderMeans { positional: true, .. }) => "mean_positional",
            Ablation::Mean(_) => "mean",
        }
    }
}

/// Mean contributions of every sender over some prompts, over all positions alike or position by position.
#[derive(Debug, Clone)]
pub struct SenderMeans {
    /// `[s, t, d]` by position, or `[s, 1, d]`.
    means_std: Tensor,
    positional: bool,
}

impl SenderMeans {
    /// Means over all positions of both sides of `pairs`. Cost: one pass a prompt.
    pub fn over(model: &LanguageModel, pairs: &[TokenPair]) -> Result<Self, InterveneError> {
        Self::of(model, pairs, false)
    }

    /// Means position by position. Needs prompts of one length: only then does a position mean the same in all.
    pub fn by_position(model: &LanguageModel, pairs: &[TokenPair]) -> Result<Self, InterveneError> {
        let length = pairs.first().map_or(0, |pair| pair.factual.ids.len());
        let other =
            |pair: &&TokenPair| [&pair.factual, &pair.counterfactual].iter().any(|side| side.ids.len() != length);
        if let Some(pair) = pairs.iter().find(other) {
            let message = format!(
                "means by position need prompts of one length, and the first has {length} tokens; use means over positions"
            );
            return Err(InterveneError::Pair { pair: pair.id.clone(), message });
        }
        Self::of(model, pairs, true)
    }

    fn of(model: &LanguageModel, pairs: &[TokenPair], positional: bool) -> Result<Self, InterveneError> {
        let graph = PathGraph::of(model.architecture());
        let maps = stream_maps(model)?;
        let mut sum: Option<Tensor> = None;
        let mut count = 0usize;
        for side in pairs.iter().flat_map(|pair| [&pair.factual, &pair.counterfactual]) {
            let tokens = side.ids.len();
            let ids_1t = Tensor::new(side.ids.as_slice(), model.device())?.unsqueeze(0)?;
            let mut record = Record::new(sender_points(graph));
            model.forward(&ids_1t, Readout::Rows(&[(0, tokens.saturating_sub(1))]), &mut record)?;
            let here_std = contributions(graph, &maps, &record.take())?;
            let here_std = if positional { here_std } else { here_std.sum_keepdim(1)? };
            count += if positional { 1 } else { tokens };
            sum = Some(match sum {
                Some(before) => (before + here_std)?,
                None => here_std,
            });
        }
        match sum {
            Some(sum) => Ok(Self { means_std: (sum * (1.0 / count as f64))?, positional }),
            None => Err(candle_core::Error::Msg("means of no prompts".into()).into()),
        }
    }

    /// Senders `first .. first + count` for rows of `tokens` positions, `[count, t or 1, d]`.
    pub(super) fn senders(&self, first: usize, count: usize, tokens: usize) -> candle_core::Result<Tensor> {
        let held = self.means_std.dim(1)?;
        if self.positional && tokens > held {
            candle_core::bail!("means by position hold {held} positions, a row has {tokens}; use means over positions");
        }
        let means = self.means_std.narrow(0, first, count)?;
        if self.positional { means.narrow(1, 0, tokens) } else { Ok(means) }
    }
}

/// The maps of every block.
pub(super) fn stream_maps(model: &LanguageModel) -> Result<Vec<StreamMaps>, InterveneError> {
    let layers = 0..model.architecture().n_layers;
    Ok(layers.map(|layer| model.stream_maps(layer)).collect::<Result<_, _>>()?)
}

/// Where senders can be read.
pub(crate) fn sender_points(graph: PathGraph) -> BTreeSet<HookPoint> {
    let blocks = (0..graph.n_layers).flat_map(|layer| [HookKind::Z, HookKind::MlpOut].map(|kind| (kind, layer)));
    let blocks = blocks.map(|(kind, layer)| HookPoint::new(kind, layer));
    [HookPoint::new(HookKind::Embed, 0)].into_iter().chain(blocks).collect()
}

/// What every sender adds in one run, `[s, n, d]` with rows laid one after another.
fn contributions(
    graph: PathGraph,
    maps: &[StreamMaps],
    at: &BTreeMap<HookPoint, Tensor>,
) -> candle_core::Result<Tensor> {
    let find = |kind, layer| match at.get(&HookPoint::new(kind, layer)) {
        Some(activation) => activation.detach().flatten(0, 1)?.to_dtype(DType::F32),
        None => candle_core::bail!("{} was not captured", HookPoint::new(kind, layer)),
    };
    let mut parts = vec![find(HookKind::Embed, 0)?.unsqueeze(0)?];
    for (layer, maps) in (0..graph.n_layers).zip(maps) {
        parts.push(maps.head_outputs(&find(HookKind::Z, layer)?)?);
        parts.push(find(HookKind::MlpOut, layer)?.unsqueeze(0)?);
    }
    Tensor::cat(&parts, 0)
}
