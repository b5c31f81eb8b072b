//! Path-specific effects: what travels along some paths from one variable and not along the others.
//!
//! In the nested counterfactual Y_π each arrow out of x passes on one of two values: the *active* one along the paths in
//! π, the *baseline* along the rest. It is defined when no child of x begins paths of both kinds (a recanting witness
//! would have to take both values; Avin, Shpitser and Pearl 2005), and identified when no district holds children of
//! both kinds (Shpitser 2013) and each district's response is. With `condition`, the unit is one whose x was naturally so:
//! the effects of causal fairness analysis. Natural direct effect: π is the arrow x → y alone; indirect: all but it.

use super::cfactor::{Stuck, district_factor, narrow};
use super::check::{CheckError, LIMIT, MODELS, assignment};
use super::estimand::{Estimand, Level, Regime};
use super::evaluate::evaluate;
use super::graph::Graph;
use super::identify::IdentifyError;
use super::node::GraphError;
use super::node_set::NodeSet;
use super::oracle::{Extreme, Model, Split, Truth};
use crate::base::Seed;

/// Whether the distribution is that of all units, or of those whose x is naturally at a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All units.
    Everybody,
    /// Units with a natural value of x; the free variable x of the estimand.
    NaturalValue,
}

/// P(y of the nested counterfactual).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathQuery {
    /// y.
    pub outcome: usize,
    /// x.
    pub treatment: usize,
    /// The children of x that see the active value.
    pub active: NodeSet,
    /// Of whom.
    pub among: Among,
}

/// The answer to a path-specific question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathVerdict {
    /// The formula.
    Identified(Estimand),
    /// The variable that would have to take two values at once.
    RecantingWitness(usize),
    /// Variables that share latent causes and see different values of x.
    RecantingDistrict(NodeSet),
    /// Latent causes tie a district's response to others.
    NotIdentified(Stuck),
}

impl Graph {
    /// The children of x that begin the given directed paths (each from x to y, with both ends), if the paths hold all or
    /// none of what each child begins; else the recanting witness: where a path of the set and one outside part.
    pub fn first_steps(&self, x: usize, y: usize, paths: &[Vec<usize>]) -> Result<NodeSet, PathVerdict> {
        let all = self.directed_paths(x, y);
        let mut active = NodeSet::EMPTY;
        for path in paths {
            let Some(&child) = path.get(1) else { continue };
            active.insert(child);
            let stranger = all.iter().filter(|other| other.get(1) == Some(&child) && !paths.contains(other));
            // The witness is the last variable that the two have in common from the start.
            let parting = |other: &Vec<usize>| path.iter().zip(other).take_while(|(a, b)| a == b).count();
            if let Some(shared) = stranger.map(parting).max() {
                let witness = shared.checked_sub(1).and_then(|at| path.get(at)).copied().unwrap_or(child);
                return Err(PathVerdict::RecantingWitness(witness));
            }
        }
        Ok(active)
    }

    /// Identifies the distribution of y along some paths, named as lists of variables from x to y.
    pub fn path_specific(&self, paths: &[&[&str]], among: Among) -> Result<(Self, PathVerdict), IdentifyError> {
        let graph = self.projected_for(paths.iter().flat_map(|path| path.iter().copied()))?;
        let mut indexed = Vec::new();
        for path in paths {
            indexed.push(path.iter().map(|name| graph.id(name)).collect::<Result<Vec<usize>, GraphError>>()?);
        }
        let ends = indexed.first().and_then(|path| Some((*path.first()?, *path.last()?)));
        let Some((treatment, outcome)) = ends.filter(|(x, y)| x != y) else { return Err(IdentifyError::NoOutcome) };
        let known = graph.directed_paths(treatment, outcome);
        if let Some(stray) = indexed.iter().find(|path| !known.contains(path)) {
            return Err(IdentifyError::NoPath(graph.path_text(stray)));
        }
        let verdict = match graph.first_steps(treatment, outcome, &indexed) {
            Ok(active) => path_specific(&graph, PathQuery { outcome, treatment, active, among })?,
            Err(witness) => witness,
        };
        Ok((graph, verdict))
    }
}

/// Answers a path-specific question on a graph without latent nodes.
pub fn path_specific(graph: &Graph, query: PathQuery) -> Result<PathVerdict, IdentifyError> {
    let PathQuery { outcome, treatment, active, among } = query;
    let order = graph.topological_order()?;
    let children = graph.children(treatment);
    let mut relevant = graph.ancestors_within(NodeSet::one(outcome), graph.all().without(treatment));
    if among == Among::NaturalValue {
        // The natural x has no children in this world: they see the two values instead.
        relevant |= graph.ancestors(NodeSet::one(treatment));
    }
    let ancestors = graph.ancestors(NodeSet::one(outcome) | NodeSet::one(treatment));
    let mut factors = Vec::new();
    for district in graph.districts(relevant) {
        let seeing = district & children;
        let mixed = !(seeing & active).is_empty() && !(seeing - active).is_empty();
        if mixed || (district.contains(treatment) && !seeing.is_empty()) {
            return Ok(PathVerdict::RecantingDistrict(district));
        }
        let known = district_factor(graph, &order, ancestors, district, Regime::default());
        let factor = match narrow(graph, &order, district, known) {
            Ok(factor) => factor,
            Err(stuck) => return Ok(PathVerdict::NotIdentified(stuck)),
        };
        factors.push(match (district.contains(treatment), factor.free().contains(treatment)) {
            (false, true) => {
                let level = if (seeing & active).is_empty() { Level::Baseline } else { Level::Active };
                Estimand::At { variable: treatment, level, of: Box::new(factor) }
            }
            _ => factor,
        });
    }
    let named = match among {
        Among::Everybody => NodeSet::one(outcome),
        Among::NaturalValue => NodeSet::one(outcome).with(treatment),
    };
    let joint = Estimand::sum(relevant - named, Estimand::product(factors));
    let natural = Estimand::probability(NodeSet::one(treatment), NodeSet::EMPTY, Regime::default());
    let estimand = match among {
        Among::Everybody => joint,
        Among::NaturalValue => Estimand::quotient(joint, natural),
    };
    check(graph, query, &estimand).map_err(|check| IdentifyError::Check { estimand: estimand.text(graph), check })?;
    Ok(PathVerdict::Identified(estimand))
}

/// Equal to the nested counterfactual of random models, at all values of y, of x in its three places, and of whatever
/// else is free. Graphs too large to enumerate pass unchecked.
fn check(graph: &Graph, query: PathQuery, estimand: &Estimand) -> Result<(), CheckError> {
    let named = NodeSet::one(query.outcome) | estimand.free() | NodeSet::one(query.treatment);
    let within = graph.ancestors(named);
    let latents = graph.bidirected().iter().filter(|(a, b)| within.contains(*a) && within.contains(*b)).count();
    if within.len() + latents > LIMIT {
        return Ok(());
    }
    for number in 0..MODELS {
        let seed = Seed::new(0).fork("path check").fork(&number.to_string());
        let extreme = if number == 0 { Extreme::No } else { Extreme::Yes };
        nested_equals(&Truth::new(vec![Model::random(graph, within, seed, extreme)]), query, estimand)?;
    }
    Ok(())
}

/// Whether an estimand equals the nested counterfactual of a model everywhere.
pub fn nested_equals(truth: &Truth, query: PathQuery, estimand: &Estimand) -> Result<(), CheckError> {
    let PathQuery { outcome, treatment, active, among } = query;
    let (y, x) = (NodeSet::one(outcome), NodeSet::one(treatment));
    let named = y | x | estimand.free();
    for levels in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        let split = Split { node: treatment, active, levels };
        for ones in named.subsets() {
            let mut values = assignment(named, ones);
            let expected = match among {
                Among::Everybody => truth.nested(split, y, &values),
                Among::NaturalValue => truth.nested(split, y | x, &values) / truth.nested(split, x, &values),
            };
            let found = evaluate(estimand, truth, &mut values, &[(treatment, levels)])?;
            if found != expected {
                return Err(CheckError::Wrong { found: found.to_string(), truth: expected.to_string() });
            }
        }
    }
    Ok(())
}
