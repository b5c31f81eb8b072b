//! Circuit runs on pairs.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::donor::{Ablation, sender_points, stream_maps};
use super::graph::PathGraph;
use super::hooks::{Donors, PathHooks};
use super::mask::EdgeMask;
use crate::base::Progress;
use crate::intervene::batch::{RunBatch, RunRow, side_rows};
use crate::intervene::engine::check_pairs;
use crate::intervene::{InterveneError, Outcome, Side, TokenPair};
use crate::model::{HookPoint, LanguageModel, Record, StreamMaps};

/// Runs circuits of one model. Holds its heads' maps, made once.
pub struct PathRunner<'a> {
    model: &'a LanguageModel,
    graph: PathGraph,
    maps: Vec<StreamMaps>,
    /// Bytes that the senders' differences of one batch may take; at least one run is in every batch.
    pub batch_bytes: usize,
}

impl<'a> PathRunner<'a> {
    /// Refused where what a head adds to the stream is not defined: a norm and a bias both stand behind attention.
    pub fn new(model: &'a LanguageModel) -> Result<Self, InterveneError> {
        let graph = PathGraph::of(model.architecture());
        Ok(Self { model, graph, maps: stream_maps(model)?, batch_bytes: 256 << 20 })
    }

    /// The model's graph.
    pub fn graph(&self) -> PathGraph {
        self.graph
    }

    /// The model.
    pub fn model(&self) -> &'a LanguageModel {
        self.model
    }

    /// One outcome a mask, for every pair: `receiver` runs, and what is cut is replaced by `ablation` (whose
    /// counterfactual is the pair's other side). `progress` is advanced by one a pair and mask, and polled for a request
    /// to stop. Cost: one pass a pair and mask, about 1.6 times a plain one, and one a donor.
    pub fn outcomes(
        &self,
        pairs: &[TokenPair],
        masks: &[EdgeMask],
        receiver: Side,
        (ablation, outcome): (Ablation<'_>, Outcome),
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, InterveneError> {
        check_pairs(self.model, pairs, outcome)?;
        if let Some(pair) = pairs.iter().find(|pair| !pair.alignment().is_whole()) {
            let message = "path patching replaces position by position and needs prompts of equal length".to_owned();
            return Err(InterveneError::Pair { pair: pair.id.clone(), message });
        }
        if let Some(mask) = masks.iter().find(|mask| mask.graph() != self.graph) {
            let message = format!("a circuit of {:?} cannot run on {:?}", mask.graph(), self.graph);
            return Err(InterveneError::Edge { text: "circuit".into(), message });
        }
        // Masks that begin to differ in the same block leave the same receivers alone, so they share batches.
        let mut order: Vec<usize> = (0..masks.len()).collect();
        order.sort_by_key(|number| masks.get(*number).and_then(EdgeMask::first_layer));
        let mut outcomes = vec![vec![f64::NAN; masks.len()]; pairs.len()];
        for (number, pair) in pairs.iter().enumerate() {
            let rows = side_rows(pair, receiver, outcome);
            let donor = self.donor(pair, receiver, ablation, outcome)?;
            let reference = (outcome == Outcome::Kl).then(|| self.reference(&rows, outcome)).transpose()?;
            for chunk in order.chunks(self.fitting(&rows)) {
                if progress.cancelled() {
                    return Err(InterveneError::Interrupted);
                }
                let chosen: Vec<&EdgeMask> = chunk.iter().filter_map(|mask| masks.get(*mask)).collect();
                let values = self.run(&rows, &chosen, &donor, outcome, reference.as_ref())?;
                for (&mask, value) in chunk.iter().zip(values) {
                    if !value.is_finite() {
                        let plan = format!("a circuit under {} ablation", ablation.name());
                        return Err(InterveneError::NotFinite { pair: pair.id.clone(), plan, value });
                    }
                    if let Some(slot) = outcomes.get_mut(number).and_then(|row| row.get_mut(mask)) {
                        *slot = value;
                    }
                }
                progress.advance(chunk.len() as u64);
            }
        }
        Ok(outcomes)
    }

    /// How many masks of one pair fill a batch.
    fn fitting(&self, rows: &[RunRow]) -> usize {
        let tokens: usize = rows.iter().map(|row| row.ids.len()).max().unwrap_or(1) * rows.len();
        // The differences, and as much again for the streams of one block's heads.
        let each = 8 * tokens * self.graph.d_model * (self.graph.senders() + 3 * self.graph.n_heads);
        (self.batch_bytes / each.max(1)).max(1)
    }

    fn donor<'d>(
        &self,
        pair: &TokenPair,
        receiver: Side,
        ablation: Ablation<'d>,
        outcome: Outcome,
    ) -> Result<Donor<'d>, InterveneError> {
        Ok(match ablation {
            Ablation::Zero => Donor::Zero,
            Ablation::Mean(means) => Donor::Means(means),
            Ablation::Counterfactual => {
                let rows = side_rows(pair, receiver.other(), outcome);
                let batch = RunBatch::new(&[rows.as_slice()], outcome, self.model.device())?;
                let mut record = Record::new(sender_points(self.graph));
                self.model.forward(&batch.ids_bt, batch.readout(), &mut record)?;
                Donor::Runs(record.take())
            }
        })
    }

    /// Plain log-probabilities of the receiver.
    fn reference(&self, rows: &[RunRow], outcome: Outcome) -> Result<Tensor, InterveneError> {
        let batch = RunBatch::new(&[rows], outcome, self.model.device())?;
        let logits_nv = self.model.forward(&batch.ids_bt, batch.readout(), &mut crate::model::NoHooks)?;
        RunBatch::distributions(&logits_nv)
    }

    fn run(
        &self,
        rows: &[RunRow],
        masks: &[&EdgeMask],
        donor: &Donor<'_>,
        outcome: Outcome,
        reference: Option<&Tensor>,
    ) -> Result<Vec<f64>, InterveneError> {
        let runs = vec![rows; masks.len()];
        let batch = RunBatch::new(&runs, outcome, self.model.device())?;
        let of_rows = masks.iter().flat_map(|mask| rows.iter().map(move |_| *mask)).collect();
        let donors = match donor {
            Donor::Zero => Donors::Zero,
            Donor::Means(means) => Donors::Means(means),
            Donor::Runs(at) => Donors::Runs(
                at.iter()
                    .map(|(point, activation)| {
                        let mut shape = vec![1; activation.rank()];
                        if let Some(rows) = shape.first_mut() {
                            *rows = masks.len();
                        }
                        Ok((*point, activation.repeat(shape)?))
                    })
                    .collect::<candle_core::Result<BTreeMap<HookPoint, Tensor>>>()?,
            ),
        };
        let mut hooks = PathHooks::new(&self.maps, donors, of_rows, batch.tokens, &batch.ids_bt)?;
        let reference = reference.map(|reference| reference.repeat((masks.len(), 1))).transpose()?;
        let values = batch.run(self.model, &mut hooks, reference.as_ref())?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f64::from).collect())
    }
}

/// The donor of one pair.
enum Donor<'a> {
    Runs(BTreeMap<HookPoint, Tensor>),
    Zero,
    Means(&'a super::donor::SenderMeans),
}
