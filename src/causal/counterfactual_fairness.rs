//! Counterfactual fairness (Kusner et al. 2017): would the prediction for this very unit have been another, had its
//! protected attribute been another?
//!
//! `do(protected)` regenerates the descendants from the unit's own noise. Descendants that are declared *resolving* keep
//! their factual values: what works through them is held legitimate. A word swap changes the attribute and lets
//! nothing follow; it misses every mediated path and is reported beside the real thing for that reason.

use super::network::{Network, NetworkError};
use super::node_set::NodeSet;
use super::queries::{Event, Setting, World};

/// How far a predictor is from counterfactual fairness, over all units of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FairnessGap {
    /// Mean |prediction − prediction in the other world|.
    pub mean: f64,
    /// The largest of them that has positive probability.
    pub worst: f64,
    /// The mean where descendants stay as they are.
    pub word_swap: f64,
}

impl Network {
    /// The gap of `predict` (a function of all nodes' values) between the factual world and `do(protected = value)`, over
    /// units that have another value.
    pub fn fairness_gap(
        &self,
        protected: usize,
        value: usize,
        resolving: NodeSet,
        predict: &dyn Fn(&[usize]) -> f64,
    ) -> Result<FairnessGap, NetworkError> {
        let held = resolving.iter().map(|node| (node, Setting::AsIn(0)));
        let counterfactual: World = [(protected, Setting::To(value))].into_iter().chain(held).collect();
        let (mut total, mut sum, mut worst, mut swapped) = (0.0, 0.0, 0.0f64, 0.0);
        self.each_unit(&[Vec::new(), counterfactual], &[], &mut |states, p| {
            let [factual, other] = states else { return };
            if factual.get(protected) == Some(&value) {
                return;
            }
            let mut swap = factual.clone();
            swap.iter_mut().skip(protected).take(1).for_each(|slot| *slot = value);
            let here = predict(factual);
            let gap = (predict(other) - here).abs();
            total += p;
            sum += p * gap;
            swapped += p * (predict(&swap) - here).abs();
            worst = worst.max(gap);
        })?;
        match total > 0.0 {
            true => Ok(FairnessGap { mean: sum / total, worst, word_swap: swapped / total }),
            false => Err(NetworkError::Impossible),
        }
    }

    /// The gap for one unit, of which `evidence` is known: E|difference| over the noise that agrees with it.
    pub fn unit_fairness_gap(
        &self,
        evidence: &[(usize, usize)],
        (protected, value): (usize, usize),
        predict: &dyn Fn(&[usize]) -> f64,
    ) -> Result<f64, NetworkError> {
        let events: Vec<Event> = evidence.iter().map(|&(node, value)| Event { world: 0, node, value }).collect();
        let (mut total, mut sum) = (0.0, 0.0);
        self.each_unit(&[Vec::new(), vec![(protected, Setting::To(value))]], &events, &mut |states, p| {
            if let [factual, other] = states {
                total += p;
                sum += p * (predict(other) - predict(factual)).abs();
            }
        })?;
        if total > 0.0 { Ok(sum / total) } else { Err(NetworkError::Impossible) }
    }
}
