//! One circuit on two checkpoints, such as before and after a fine-tune, pair by pair.

use super::edges::Circuit;
use super::evaluate::{Evaluator, mean_and_p_value};
use crate::mediate::MediateError;
use crate::stats::circuit::{CircuitComparison, Contrast};
use crate::stats::{Bootstrap, Item};

/// Runs a circuit on two checkpoints of one graph and the same pairs. With [`super::super::attribution::MetricSign`]
/// `Measured` each checkpoint would turn the metric its own way, so that is refused.
pub fn compare(
    [before, after]: [&Evaluator<'_>; 2],
    circuit: &Circuit,
    bootstrap: &Bootstrap,
) -> Result<CircuitComparison, MediateError> {
    let refuse = |message: &str| Err(MediateError::Circuit { message: message.to_owned() });
    let ids = |evaluator: &Evaluator<'_>| evaluator.pairs().iter().map(|pair| pair.id.clone()).collect::<Vec<_>>();
    if ids(before) != ids(after) {
        return refuse("the two checkpoints must run the same pairs in the same order");
    }
    if before.signs() != after.signs() {
        return refuse("the metric's sign differs between the checkpoints; use the declared or the plain sign");
    }
    let masks = [circuit.mask(), circuit.knockout()];
    let both = [before.metrics(&masks)?, after.metrics(&masks)?];
    let quantity = |evaluator: &Evaluator<'_>, metrics: &[Vec<f64>], name: &str, pair: usize| -> Option<f64> {
        let at = |of: &[f64]| of.get(pair).copied();
        let (whole, empty) = (at(&evaluator.whole)?, at(&evaluator.empty)?);
        let (kept, cut) = (at(metrics.first()?)?, at(metrics.get(1)?)?);
        Some(match name {
            "whole" => whole,
            "empty" => empty,
            "circuit" => kept,
            "complement" => cut,
            "total" => whole - empty,
            "carried" => kept - empty,
            _ => cut - empty,
        })
    };
    let mut contrasts = Vec::new();
    let names = ["whole", "empty", "circuit", "complement", "total", "carried", "left"];
    for name in names {
        let [first, second] = &both;
        let value = |pair| match (quantity(before, first, name, pair), quantity(after, second, name, pair)) {
            (Some(before), Some(after)) => after - before,
            _ => f64::NAN,
        };
        let items: Vec<Item> = before.items(value);
        let (difference, p_value) = mean_and_p_value(&items, name, names.len(), bootstrap);
        contrasts.push(Contrast { quantity: name.to_owned(), difference, p_value });
    }
    Ok(CircuitComparison {
        before: before.evaluate(circuit, bootstrap)?,
        after: after.evaluate(circuit, bootstrap)?,
        contrasts,
    })
}
