//! The four-way decomposition (VanderWeele 2014): what a total effect owes to mediation, to interaction, to both, to neither.
//!
//! TE = CDE(0) + INT_ref + INT_med + PNIE for one mediator m: the controlled direct effect at m = 0; interaction where the
//! mediator is as it is without the treatment, INT_ref = PNDE − CDE(0); interaction of what the treatment does to the
//! mediator, INT_med = TNIE − PNIE; mediation alone, PNIE. For any kind of m the two interactions are E[Δ(M₀)] and
//! E[Δ(M₁) − Δ(M₀)], Δ(m) = Y₁ₘ − Y₁₀ − Y₀ₘ + Y₀₀.

use std::ops::Sub;

use super::decompose::{DecomposeError, Decomposition, decompose};
use super::evaluate::{Measure, Values, evaluate};
use super::graph::Graph;
use super::identify::{Query, Verdict, answer};
use super::node_set::NodeSet;

/// The four parts, and the controlled direct effect at the mediator's other value.
#[derive(Debug, Clone, PartialEq)]
pub struct FourWay<N> {
    /// CDE(m = 0).
    pub controlled: N,
    /// CDE(m = 1).
    pub controlled_at_one: N,
    /// Reference interaction.
    pub reference_interaction: N,
    /// Mediated interaction.
    pub mediated_interaction: N,
    /// Pure natural indirect effect.
    pub pure_indirect: N,
    /// The two-way parts.
    pub parts: Decomposition<N>,
}

/// Takes the effect of `x` on P(y = 1) through the binary mediator `m` apart; m must carry all of what is indirect.
pub fn four_way<M>(
    graph: &Graph,
    x: usize,
    m: usize,
    y: usize,
    measure: &M,
) -> Result<FourWay<M::Number>, DecomposeError>
where
    M: Measure,
    M::Number: Sub<Output = M::Number>,
{
    let past = graph.filter_edges(|from, _| from != m, |_, _| true);
    let indirect = past.filter_edges(|from, to| (from, to) != (x, y), |_, _| true);
    if indirect.descendants(NodeSet::one(x)).contains(y) {
        let reason = format!("{} does not carry every indirect path: name a mediator that does", graph.name(m));
        return Err(DecomposeError::NotIdentified { part: "the four-way decomposition", reason });
    }
    let parts = decompose(graph, x, y, measure)?;
    let query = Query { outcomes: NodeSet::one(y), treatments: NodeSet::one(x).with(m), given: NodeSet::EMPTY };
    let estimand = match answer(graph, query)? {
        Verdict::Identified(found) => found.estimand,
        Verdict::NotIdentified(hedge) => {
            let part = "the controlled direct effect";
            return Err(DecomposeError::NotIdentified { part, reason: hedge.text() });
        }
    };
    let at = |a: usize, mediator: usize| {
        let mut values: Values = vec![Some(0); graph.len()];
        for (node, value) in [(x, a), (m, mediator), (y, 1)] {
            values.iter_mut().skip(node).take(1).for_each(|slot| *slot = Some(value));
        }
        evaluate(&estimand, measure, &mut values, &[])
    };
    let controlled = at(1, 0)? - at(0, 0)?;
    Ok(FourWay {
        controlled_at_one: at(1, 1)? - at(0, 1)?,
        reference_interaction: parts.pure_direct.clone() - controlled.clone(),
        mediated_interaction: parts.total_indirect.clone() - parts.pure_indirect.clone(),
        pure_indirect: parts.pure_indirect.clone(),
        controlled,
        parts,
    })
}

/// The linear model with interaction: `E[Y] = θ₀ + θ₁ a + θ₂ m + θ₃ a m + …`, `E[M] = β₀ + β₁ a + …`, with the covariates' part
/// of the mediator's mean in β₀.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearMediation {
    /// θ₁, θ₂, θ₃.
    pub outcome: [f64; 3],
    /// β₀ (with covariates at their means) and β₁.
    pub mediator: [f64; 2],
}

impl LinearMediation {
    /// PNDE = θ₁ + θ₃ β₀.
    pub fn pure_direct(&self) -> f64 {
        self.outcome[0] + self.outcome[2] * self.mediator[0]
    }

    /// TNIE = (θ₂ + θ₃) β₁.
    pub fn total_indirect(&self) -> f64 {
        (self.outcome[1] + self.outcome[2]) * self.mediator[1]
    }

    /// PNIE = θ₂ β₁.
    pub fn pure_indirect(&self) -> f64 {
        self.outcome[1] * self.mediator[1]
    }

    /// INT_ref = θ₃ β₀.
    pub fn reference_interaction(&self) -> f64 {
        self.outcome[2] * self.mediator[0]
    }

    /// INT_med = θ₃ β₁.
    pub fn mediated_interaction(&self) -> f64 {
        self.outcome[2] * self.mediator[1]
    }
}
