//! Identification: whether P(y | do(x), z) follows from observational data, by which formula, or why not.
//!
//! [`Graph::identify`] is ID (Tian and Pearl 2002; Shpitser and Pearl 2006), [`Graph::identify_given`] is IDC. Both are
//! complete: a failure is proved by a [`Hedge`], which is checked for what it claims before it is returned. A formula
//! is checked too: it is evaluated on random models with explicit latents in exact rationals and must equal the truth,
//! for every value of what it leaves free ([`super::check`]).

use super::cfactor::{district_factor, narrow};
use super::check::{CheckError, Checked, check};
use super::estimand::{Estimand, Regime};
use super::graph::Graph;
use super::hedge::Hedge;
use super::node::GraphError;
use super::node_set::NodeSet;

/// P(outcomes | do(treatments), given).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Query {
    /// y.
    pub outcomes: NodeSet,
    /// x.
    pub treatments: NodeSet,
    /// z.
    pub given: NodeSet,
}

/// A formula for a query, with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The question, in the nodes of `graph`.
    pub query: Query,
    /// The graph without latent nodes, whose indexes the estimand uses.
    pub graph: Graph,
    /// What to compute.
    pub estimand: Estimand,
    /// The check that it passed.
    pub checked: Checked,
}

/// The answer to an identification question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The formula.
    Identified(Box<Identified>),
    /// The proof that there is none.
    NotIdentified(Box<Hedge>),
}

/// A question that cannot be asked, or an answer that did not stand its check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// The graph or a name is wrong.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A variable in two places of the query.
    #[error("`{0}` stands in two places of the query: outcomes, treatments and conditions must be different variables")]
    Overlap(String),
    /// Nothing asked for.
    #[error("the query has no outcome: name at least one")]
    NoOutcome,
    /// A latent node in the query.
    #[error("`{0}` is latent: nothing can be said of it from data")]
    Latent(String),
    /// A path that the graph does not have.
    #[error("the graph has no directed path {0}: name its variables from cause to effect")]
    NoPath(String),
    /// The formula is not the truth; a bug, never returned as an estimand.
    #[error("the estimand {estimand} failed its check: {check}")]
    Check {
        /// The formula.
        estimand: String,
        /// What the check found.
        check: CheckError,
    },
    /// The proof of failure is none; a bug.
    #[error("the hedge {0} is not one")]
    BadHedge(String),
}

impl Graph {
    /// P(y | do(x)) by names. Latent nodes are projected out first.
    pub fn identify(&self, outcomes: &[&str], treatments: &[&str]) -> Result<Verdict, IdentifyError> {
        self.identify_given(outcomes, treatments, &[])
    }

    /// P(y | do(x), z) by names.
    pub fn identify_given(
        &self,
        outcomes: &[&str],
        treatments: &[&str],
        given: &[&str],
    ) -> Result<Verdict, IdentifyError> {
        let graph = self.projected_for(outcomes.iter().chain(treatments).chain(given).copied())?;
        let ids = |names: &[&str]| graph.ids(names.iter().copied());
        let query = Query { outcomes: ids(outcomes)?, treatments: ids(treatments)?, given: ids(given)? };
        answer(&graph, query)
    }

    /// The latent projection, once every name is an observed node of it.
    pub(super) fn projected_for<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Graph, IdentifyError> {
        self.topological_order()?;
        for name in names {
            if !self.observed().contains(self.id(name)?) {
                return Err(IdentifyError::Latent(name.to_owned()));
            }
        }
        Ok(self.project())
    }
}

/// Answers a query on a graph without latent nodes.
pub fn answer(graph: &Graph, query: Query) -> Result<Verdict, IdentifyError> {
    proper(graph, query)?;
    let estimand = match unchecked(graph, query)? {
        Ok(estimand) => estimand,
        Err(hedge) if hedge.holds() => return Ok(Verdict::NotIdentified(Box::new(hedge))),
        Err(hedge) => return Err(IdentifyError::BadHedge(format!("{hedge:?}"))),
    };
    let checked = check(graph, query, &estimand)
        .map_err(|check| IdentifyError::Check { estimand: estimand.text(graph), check })?;
    Ok(Verdict::Identified(Box::new(Identified { query, graph: graph.clone(), estimand, checked })))
}

/// Whether a query names an outcome, and each variable once.
pub(super) fn proper(graph: &Graph, Query { outcomes, treatments, given }: Query) -> Result<(), IdentifyError> {
    if outcomes.is_empty() {
        return Err(IdentifyError::NoOutcome);
    }
    match ((outcomes & (treatments | given)) | (treatments & given)).min() {
        Some(node) => Err(IdentifyError::Overlap(graph.name(node).to_owned())),
        None => Ok(()),
    }
}

/// The formula or the hedge, as the algorithm gives them.
pub(super) fn unchecked(graph: &Graph, query: Query) -> Result<Result<Estimand, Hedge>, GraphError> {
    let order = graph.topological_order()?;
    let (moved, kept) = exchange(graph, query);
    let outcomes = query.outcomes | kept;
    Ok(match joint_effect(graph, &order, outcomes, moved) {
        Ok(joint) if kept.is_empty() => Ok(joint),
        Ok(joint) => Ok(Estimand::quotient(joint.clone(), Estimand::sum(query.outcomes, joint))),
        Err(stuck) => {
            let asked = Query { outcomes, treatments: moved, given: NodeSet::EMPTY };
            Err(Hedge::new(graph, asked, query, stuck))
        }
    })
}

/// Rule 2 of the do-calculus as often as it applies: conditions that may be read as interventions. Returns the
/// interventions and the conditions that are left.
pub(super) fn exchange(graph: &Graph, Query { outcomes, treatments, given }: Query) -> (NodeSet, NodeSet) {
    let (mut moved, mut kept) = (treatments, given);
    while let Some(node) = kept.iter().find(|&node| {
        let one = NodeSet::one(node);
        let world = graph.without_incoming(moved).without_outgoing(one);
        world.separated(outcomes, one, moved | kept.without(node))
    }) {
        moved.insert(node);
        kept.remove(node);
    }
    (moved, kept)
}

/// P(y | do(x)) as a sum over products of c-factors.
fn joint_effect(
    graph: &Graph,
    order: &[usize],
    outcomes: NodeSet,
    treatments: NodeSet,
) -> Result<Estimand, super::cfactor::Stuck> {
    // Only ancestors of y matter, and of them those that reach y once x is set.
    let ancestors = graph.ancestors(outcomes);
    let relevant = graph.ancestors_within(outcomes, ancestors - treatments);
    let mut factors = Vec::new();
    for district in graph.districts(relevant) {
        let known = district_factor(graph, order, ancestors, district, Regime::default());
        factors.push(narrow(graph, order, district, known)?);
    }
    Ok(Estimand::sum(relevant - outcomes, Estimand::product(factors)))
}

impl Identified {
    /// The estimand in words and signs.
    pub fn text(&self) -> String {
        self.estimand.text(&self.graph)
    }

    /// The variables that may take any value: the estimand is constant in them.
    pub fn arbitrary(&self) -> NodeSet {
        self.estimand.free() - self.query.outcomes - self.query.treatments - self.query.given
    }

    /// What the formula rests on.
    pub fn assumptions(&self) -> Vec<String> {
        let graph = &self.graph;
        let mut lines = vec![match graph.bidirected().len() {
            0 => "no two variables share a latent cause".to_owned(),
            _ => {
                let drawn = graph.bidirected().into_iter();
                let drawn: Vec<String> = drawn.map(|(a, b)| format!("{} ↔ {}", graph.name(a), graph.name(b))).collect();
                format!("no latent common cause but {}", drawn.join(", "))
            }
        }];
        lines.push("every arrow that is absent is absent in the world".to_owned());
        let given = self.estimand.probabilities().into_iter().map(|(_, given, _)| given);
        let mut conditions: Vec<NodeSet> = given.filter(|given| !given.is_empty()).collect();
        conditions.sort();
        conditions.dedup();
        for given in conditions {
            lines.push(format!("positivity: P({}) > 0 wherever it is conditioned on", graph.names(given).join(", ")));
        }
        let arbitrary = self.arbitrary();
        if !arbitrary.is_empty() {
            let names = graph.names(arbitrary).join(", ");
            lines.push(format!("{names} may be read at any value; the estimand does not depend on it"));
        }
        lines
    }
}
