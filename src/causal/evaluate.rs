//! Evaluating an estimand on a distribution, in any kind of number.

use std::ops::{Add, Div, Mul};

use super::estimand::{Estimand, Level, Regime};
use super::node_set::NodeSet;

/// What probabilities are written in: floating point for data, rationals for proofs.
pub trait Number: Clone + Add<Output = Self> + Mul<Output = Self> + Div<Output = Self> {
    /// 0.
    fn zero() -> Self;
    /// 1.
    fn one() -> Self;
    /// Whether it is 0.
    fn vanishes(&self) -> bool;
}

impl Number for f64 {
    fn zero() -> Self {
        0.0
    }
    fn one() -> Self {
        1.0
    }
    fn vanishes(&self) -> bool {
        *self == 0.0
    }
}

/// Values of nodes; `None` where a node has none.
pub type Values = Vec<Option<usize>>;

/// A distribution over the nodes of a graph, in one or several regimes.
pub trait Measure {
    /// Its kind of number.
    type Number: Number;
    /// How many values a node has: 0, 1, ….
    fn cardinality(&self, node: usize) -> usize;
    /// P(the nodes of `event` have their `values`) in a regime, whose own set variables have their `values` too.
    fn probability(&self, regime: Regime, event: NodeSet, values: &[Option<usize>]) -> Self::Number;
}

/// An estimand that has no value on a distribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// Positivity fails.
    #[error("a probability that is divided by is 0: positivity fails there, and data cannot say what happens")]
    Positivity,
    /// A free variable without a value.
    #[error("variable {0} of the estimand has no value: give one")]
    NoValue(usize),
}

/// The value of an estimand. `values` holds the free variables; `levels` the two values of variables that the
/// estimand reads at both.
pub fn evaluate<M: Measure>(
    estimand: &Estimand,
    measure: &M,
    values: &mut Values,
    levels: &[(usize, [usize; 2])],
) -> Result<M::Number, EvaluateError> {
    match estimand {
        Estimand::Probability { of, given, regime } => {
            let missing = (*of | *given | regime.set).iter().find(|&node| values.get(node).is_none_or(Option::is_none));
            if let Some(node) = missing {
                return Err(EvaluateError::NoValue(node));
            }
            let joint = measure.probability(*regime, *of | *given, values);
            if given.is_empty() {
                return Ok(joint);
            }
            divide(joint, measure.probability(*regime, *given, values))
        }
        Estimand::Sum { over, of } => sum(*over, of, measure, values, levels),
        Estimand::Product(factors) => {
            let mut product = M::Number::one();
            for factor in factors {
                if product.vanishes() {
                    break;
                }
                product = product * evaluate(factor, measure, values, levels)?;
            }
            Ok(product)
        }
        Estimand::Quotient(top, bottom) => {
            divide(evaluate(top, measure, values, levels)?, evaluate(bottom, measure, values, levels)?)
        }
        Estimand::At { variable, level, of } => {
            let pair = levels.iter().find(|(node, _)| node == variable).map(|(_, pair)| *pair);
            let [baseline, active] = pair.ok_or(EvaluateError::NoValue(*variable))?;
            let before = values.get(*variable).copied().flatten();
            put(values, *variable, Some(if *level == Level::Active { active } else { baseline }));
            let value = evaluate(of, measure, values, levels);
            put(values, *variable, before);
            value
        }
    }
}

fn sum<M: Measure>(
    over: NodeSet,
    body: &Estimand,
    measure: &M,
    values: &mut Values,
    levels: &[(usize, [usize; 2])],
) -> Result<M::Number, EvaluateError> {
    let Some(node) = over.min() else { return evaluate(body, measure, values, levels) };
    let before = values.get(node).copied().flatten();
    let mut total = M::Number::zero();
    for value in 0..measure.cardinality(node) {
        put(values, node, Some(value));
        total = total + sum(over.without(node), body, measure, values, levels)?;
    }
    put(values, node, before);
    Ok(total)
}

fn put(values: &mut Values, node: usize, value: Option<usize>) {
    if values.len() <= node {
        values.resize(node + 1, None);
    }
    values.iter_mut().skip(node).take(1).for_each(|slot| *slot = value);
}

fn divide<N: Number>(top: N, bottom: N) -> Result<N, EvaluateError> {
    match bottom.vanishes() {
        true => Err(EvaluateError::Positivity),
        false => Ok(top / bottom),
    }
}
