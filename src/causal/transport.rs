//! Transport: an effect in one domain from data and experiments of several.
//!
//! The question is about domain 0. Each [`Source`] offers the distribution of one domain, observed or with some variables
//! set by experiment; `differs` names the variables whose mechanism (or unseen causes) may be another there than in domain
//! 0: the children of the selection nodes of a selection diagram. A district's c-factor may be taken from any source in
//! whose domain none of its nodes differs (Bareinboim and Pearl 2014; Lee, Correa and Bareinboim 2020, which also
//! shows that this is complete). With one domain and several experiments it is identification by surrogate experiments.

use super::cfactor::{Stuck, district_factor, narrow};
use super::check::{CheckError, Checked, LIMIT, MODELS, equals_truth};
use super::estimand::{Estimand, Regime};
use super::graph::Graph;
use super::identify::{IdentifyError, Query, exchange, proper};
use super::node_set::NodeSet;
use super::oracle::{Extreme, Model, Truth};
use crate::base::Seed;

/// A distribution that is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Where it comes from; 0 is the domain that is asked about.
    pub domain: usize,
    /// The variables that were set by experiment.
    pub experiment: NodeSet,
    /// The variables whose mechanisms may differ from domain 0; the same for all sources of one domain.
    pub differs: NodeSet,
}

/// The answer to a transport question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// The formula and the check that it passed.
    Transportable {
        /// What to compute from which source.
        estimand: Estimand,
        /// The check.
        checked: Checked,
    },
    /// A factor that no source gives.
    Refused {
        /// The variables whose joint response is missing.
        district: NodeSet,
        /// For each source, why it does not help.
        reasons: Vec<Obstacle>,
    },
}

/// Why a source does not give a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The experiment sets some of the factor's variables, so that their own response is not seen.
    Sets(NodeSet),
    /// Some of the factor's variables respond otherwise in that domain.
    Differs(NodeSet),
    /// Latent causes tie the factor to other variables there.
    Confounded(Stuck),
}

impl Obstacle {
    /// The obstacle in words, with what would remove it.
    pub fn text(&self, graph: &Graph) -> String {
        let names = |set: NodeSet| graph.names(set).join(", ");
        match self {
            Self::Sets(set) => format!("the experiment sets {}: leave them to respond", names(*set)),
            Self::Differs(set) => {
                format!("{} may respond otherwise there: measure them in the domain asked about", names(*set))
            }
            Self::Confounded(Stuck { outer, inner }) => format!(
                "latent causes tie {} to {}: set some of {} by experiment",
                names(*inner),
                names(*outer - *inner),
                names(*outer - *inner)
            ),
        }
    }
}

/// P(y | do(x), z) of domain 0 from the sources, on a graph without latent nodes. Sources are tried in their order.
pub fn transport(graph: &Graph, query: Query, sources: &[Source]) -> Result<Transport, IdentifyError> {
    proper(graph, query)?;
    let order = graph.topological_order()?;
    let (moved, kept) = exchange(graph, query);
    let outcomes = query.outcomes | kept;
    let relevant = graph.ancestors_within(outcomes, graph.all() - moved);
    let mut factors = Vec::new();
    for district in graph.districts(relevant) {
        match from_any(graph, &order, district, sources) {
            Ok(factor) => factors.push(factor),
            Err(reasons) => return Ok(Transport::Refused { district, reasons }),
        }
    }
    let joint = Estimand::sum(relevant - outcomes, Estimand::product(factors));
    let estimand = match kept.is_empty() {
        true => joint,
        false => Estimand::quotient(joint.clone(), Estimand::sum(query.outcomes, joint)),
    };
    let checked = check(graph, query, &estimand, sources)
        .map_err(|check| IdentifyError::Check { estimand: estimand.text(graph), check })?;
    Ok(Transport::Transportable { estimand, checked })
}

fn from_any(graph: &Graph, order: &[usize], district: NodeSet, sources: &[Source]) -> Result<Estimand, Vec<Obstacle>> {
    let mut reasons = Vec::new();
    for Source { domain, experiment, differs } in sources {
        let (set, other) = (*experiment & district, *differs & district);
        if !set.is_empty() {
            reasons.push(Obstacle::Sets(set));
        } else if !other.is_empty() {
            reasons.push(Obstacle::Differs(other));
        } else {
            let within = graph.ancestors_within(district, graph.all() - *experiment);
            let regime = Regime { domain: *domain, set: *experiment };
            let known = district_factor(graph, order, within, district, regime);
            match narrow(graph, order, district, known) {
                Ok(factor) => return Ok(factor),
                Err(stuck) => reasons.push(Obstacle::Confounded(stuck)),
            }
        }
    }
    Err(reasons)
}

/// Equal to the truth of domain 0 on random families of models that share what the diagram says is shared.
fn check(graph: &Graph, query: Query, estimand: &Estimand, sources: &[Source]) -> Result<Checked, CheckError> {
    let within = graph.ancestors(query.outcomes | query.treatments | query.given | estimand.free());
    let latents = graph.bidirected().iter().filter(|(a, b)| within.contains(*a) && within.contains(*b)).count();
    if within.len() + latents > LIMIT {
        return Ok(Checked::TooLarge);
    }
    for number in 0..MODELS {
        let seed = Seed::new(0).fork("transport check").fork(&number.to_string());
        let extreme = if number == 0 { Extreme::No } else { Extreme::Yes };
        equals_truth(&family(graph, within, sources, seed, extreme), query, estimand)?;
    }
    Ok(Checked::Models(MODELS))
}

/// A random model of domain 0 and of each other domain, where only what `differs` is another.
pub fn family(graph: &Graph, within: NodeSet, sources: &[Source], seed: Seed, extreme: Extreme) -> Truth {
    let base = Model::random(graph, within, seed, extreme);
    let domains = sources.iter().map(|source| source.domain).max().unwrap_or(0);
    let model = |domain: usize| {
        let differs = sources.iter().filter(|source| source.domain == domain);
        let differs = differs.fold(NodeSet::EMPTY, |all, source| all | source.differs);
        base.with_other(differs, seed.fork("domain").fork(&domain.to_string()))
    };
    Truth::new((0..=domains).map(model).collect())
}
