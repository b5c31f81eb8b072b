//! The check that every estimand passes before it is returned: on random models with explicit latents it equals the
//! truth, in exact rationals, at every value of the query and of whatever it leaves free.

use super::estimand::Estimand;
use super::evaluate::{EvaluateError, Values, evaluate};
use super::graph::Graph;
use super::identify::Query;
use super::node_set::NodeSet;
use super::oracle::{Extreme, Model, Truth};
use crate::base::Seed;

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Equal to the truth on so many random models.
    Models(usize),
    /// The graph has more nodes and latents than can be enumerated in a moment; the algorithm's proof has to do.
    TooLarge,
}

/// An estimand that is not the effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A different number.
    #[error("it gives {found} where the truth is {truth}")]
    Wrong {
        /// What the estimand gives.
        found: String,
        /// What it should give.
        truth: String,
    },
    /// No number.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// The most variables and latents together that are enumerated.
pub(super) const LIMIT: usize = 11;
/// Random models of a check.
pub(super) const MODELS: usize = 2;

/// Checks an estimand of a query on random models.
pub fn check(graph: &Graph, query: Query, estimand: &Estimand) -> Result<Checked, CheckError> {
    let asked = query.outcomes | query.treatments | query.given | estimand.free();
    let within = graph.ancestors(asked);
    let latents = graph.bidirected().iter().filter(|(a, b)| within.contains(*a) && within.contains(*b)).count();
    if within.len() + latents > LIMIT {
        return Ok(Checked::TooLarge);
    }
    for number in 0..MODELS {
        let seed = Seed::new(0).fork("estimand check").fork(&number.to_string());
        let extreme = if number == 0 { Extreme::No } else { Extreme::Yes };
        let truth = Truth::new(vec![Model::random(graph, within, seed, extreme)]);
        // At random parameters no assignment is special: a formula that is wrong at one is wrong at nearly all.
        equals_at(&truth, query, estimand, spread(query, estimand))?;
    }
    Ok(Checked::Models(MODELS))
}

/// Assignments of a check of a model.
const ASSIGNMENTS: usize = 2;

/// The values of all variables that a query or an estimand names, as sets of those that are 1: a few of them, spread out.
fn spread(query: Query, estimand: &Estimand) -> impl Iterator<Item = NodeSet> {
    let named = query.outcomes | query.treatments | query.given | estimand.free();
    let all = 1usize << named.len().min(20);
    // An odd step visits both values of every variable.
    let step = (all / ASSIGNMENTS).max(1) | 1;
    named.subsets().step_by(step)
}

/// Whether an estimand equals P(y | do(x), z) of a model at every value of all variables that it or the query names.
pub fn equals_truth(truth: &Truth, query: Query, estimand: &Estimand) -> Result<(), CheckError> {
    let named = query.outcomes | query.treatments | query.given | estimand.free();
    equals_at(truth, query, estimand, named.subsets())
}

/// The same at some of the values.
pub(super) fn equals_at(
    truth: &Truth,
    query: Query,
    estimand: &Estimand,
    assignments: impl Iterator<Item = NodeSet>,
) -> Result<(), CheckError> {
    let Query { outcomes, treatments, given } = query;
    let named = outcomes | treatments | given | estimand.free();
    for ones in assignments {
        let mut values = assignment(named, ones);
        let Some(expected) = truth.effect(outcomes, treatments, given, &values) else { continue };
        let found = evaluate(estimand, truth, &mut values, &[])?;
        if found != expected {
            return Err(CheckError::Wrong { found: found.to_string(), truth: expected.to_string() });
        }
    }
    Ok(())
}

/// Values for the nodes of `named`: 1 where they are in `ones`.
pub fn assignment(named: NodeSet, ones: NodeSet) -> Values {
    let size = named.iter().last().map_or(0, |node| node + 1);
    (0..size).map(|node| named.contains(node).then(|| usize::from(ones.contains(node)))).collect()
}
