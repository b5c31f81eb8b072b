//! Effects of one binary variable on another, taken apart: total, direct, indirect, spurious, interaction.
//!
//! With x₀ the baseline and x₁ the active value of x, and every path but the arrow x → y counted as indirect:
//! TE = PNDE + TNIE = TNDE + PNIE; `TV = E[Y | x₁] − E[Y | x₀] = TE + ExpSE(x₁) − ExpSE(x₀)`, `ExpSE(x) = E[Y | x] − E[Y_x]`;
//! among units naturally at x₀: TV = ctf-DE − ctf-IE − ctf-SE with ctf-DE = E[Y_{x₁,W_{x₀}} − Y_{x₀} | x₀],
//! ctf-IE = E[Y_{x₁,W_{x₀}} − Y_{x₁} | x₀], ctf-SE = E[Y_{x₁} | x₀] − E[Y | x₁] (Zhang and Bareinboim 2018;
//! Plečko and Bareinboim 2024). All are identified first, by the graph, and computed from one distribution.

use std::ops::Sub;

use super::estimand::{Estimand, Regime};
use super::evaluate::{EvaluateError, Measure, Values, evaluate};
use super::graph::Graph;
use super::identify::{IdentifyError, Query, Verdict, answer};
use super::node_set::NodeSet;
use super::path_specific::{Among, PathQuery, PathVerdict, path_specific};

/// The parts of the effect of x on P(y = 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Decomposition<N> {
    /// E[Y_{x₁}] − E[Y_{x₀}].
    pub total: N,
    /// E[Y_{x₁,W_{x₀}}] − E[Y_{x₀}].
    pub pure_direct: N,
    /// E[Y_{x₁}] − E[Y_{x₁,W_{x₀}}].
    pub total_indirect: N,
    /// E[Y_{x₁}] − E[Y_{x₀,W_{x₁}}].
    pub total_direct: N,
    /// E[Y_{x₀,W_{x₁}}] − E[Y_{x₀}].
    pub pure_indirect: N,
    /// E[Y | x₁] − E[Y | x₀].
    pub total_variation: N,
    /// E[Y | x₀] − E[Y_{x₀}], and the same at x₁.
    pub spurious: [N; 2],
    /// E[Y_{x₁,W_{x₀}} − Y_{x₀} | x₀].
    pub ctf_direct: N,
    /// E[Y_{x₁,W_{x₀}} − Y_{x₁} | x₀].
    pub ctf_indirect: N,
    /// E[Y_{x₁} | x₀] − E[Y | x₁].
    pub ctf_spurious: N,
}

/// Why an effect cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecomposeError {
    /// A part is not identified.
    #[error("{part} is not identified: {reason}")]
    NotIdentified {
        /// The part.
        part: &'static str,
        /// The proof or the obstacle.
        reason: String,
    },
    /// The question cannot be asked.
    #[error(transparent)]
    Identify(#[from] IdentifyError),
    /// The distribution leaves it open.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// Takes the effect of `x` on P(y = 1) apart, from x = 0 to x = 1, on a graph without latent nodes.
pub fn decompose<M>(graph: &Graph, x: usize, y: usize, measure: &M) -> Result<Decomposition<M::Number>, DecomposeError>
where
    M: Measure,
    M::Number: Sub<Output = M::Number>,
{
    let children = graph.children(x);
    let nested = Nested { graph, x, y, measure };
    let direct = children & NodeSet::one(y);
    let indirect = children - direct;
    let [baseline, treated] = [nested.total(0)?, nested.total(1)?];
    let [seen_baseline, seen_treated] = [nested.observed(0)?, nested.observed(1)?];
    let only_direct = nested.mean(direct, Among::Everybody, "the natural direct effect")?;
    let only_indirect = nested.mean(indirect, Among::Everybody, "the natural indirect effect")?;
    let among = Among::NaturalValue;
    let ctf_direct_world = nested.mean(direct, among, "the counterfactual direct effect")?;
    let ctf_treated = nested.mean(children, among, "the effect on those at the baseline")?;
    let d = |a: &M::Number, b: &M::Number| a.clone() - b.clone();
    Ok(Decomposition {
        total: d(&treated, &baseline),
        pure_direct: d(&only_direct, &baseline),
        total_indirect: d(&treated, &only_direct),
        total_direct: d(&treated, &only_indirect),
        pure_indirect: d(&only_indirect, &baseline),
        total_variation: d(&seen_treated, &seen_baseline),
        spurious: [d(&seen_baseline, &baseline), d(&seen_treated, &treated)],
        ctf_direct: d(&ctf_direct_world, &seen_baseline),
        ctf_indirect: d(&ctf_direct_world, &ctf_treated),
        ctf_spurious: d(&ctf_treated, &seen_treated),
    })
}

struct Nested<'a, M> {
    graph: &'a Graph,
    x: usize,
    y: usize,
    measure: &'a M,
}

impl<M: Measure> Nested<'_, M> {
    /// P(y = 1) with x, where it is free, at a value.
    fn value(&self, estimand: &Estimand, x: usize) -> Result<M::Number, DecomposeError> {
        // What is free beside x and y is arbitrary.
        let mut values: Values = vec![Some(0); self.graph.len()];
        for (node, value) in [(self.x, x), (self.y, 1)] {
            values.iter_mut().skip(node).take(1).for_each(|slot| *slot = Some(value));
        }
        Ok(evaluate(estimand, self.measure, &mut values, &[(self.x, [0, 1])])?)
    }

    fn total(&self, x: usize) -> Result<M::Number, DecomposeError> {
        let query = Query { outcomes: NodeSet::one(self.y), treatments: NodeSet::one(self.x), given: NodeSet::EMPTY };
        match answer(self.graph, query)? {
            Verdict::Identified(found) => self.value(&found.estimand, x),
            Verdict::NotIdentified(hedge) => {
                Err(DecomposeError::NotIdentified { part: "the total effect", reason: hedge.text() })
            }
        }
    }

    fn observed(&self, x: usize) -> Result<M::Number, DecomposeError> {
        let (y, x_set) = (NodeSet::one(self.y), NodeSet::one(self.x));
        self.value(&Estimand::probability(y, x_set, Regime::default()), x)
    }

    /// P(y = 1) where the children in `active` see x₁ and the others x₀.
    fn mean(&self, active: NodeSet, among: Among, part: &'static str) -> Result<M::Number, DecomposeError> {
        let query = PathQuery { outcome: self.y, treatment: self.x, active, among };
        let reason = match path_specific(self.graph, query)? {
            PathVerdict::Identified(estimand) => return self.value(&estimand, 0),
            PathVerdict::RecantingWitness(node) => format!("{} would take two values", self.graph.name(node)),
            PathVerdict::RecantingDistrict(nodes) => {
                format!("{} share latent causes and see different values", self.graph.names(nodes).join(", "))
            }
            PathVerdict::NotIdentified(stuck) => {
                format!("latent causes tie {} together", self.graph.names(stuck.outer).join(", "))
            }
        };
        Err(DecomposeError::NotIdentified { part, reason })
    }
}
