//! Patching every node, and every node at every position, in both directions.

use std::collections::BTreeMap;

use super::super::error::PlantedError;
use super::super::node::Node;
use super::super::task::{Scores, Task};
use crate::base::Progress;
use crate::intervene::{Job, Outcome, Plan, Positions, ReuseEngine, Side, Site, SweepEngine};

/// Effects in nats of log-odds, noising and denoising: `[patched factual − factual, patched counterfactual −
/// counterfactual]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// Of every node at all positions, one entry a pair.
    pub nodes: BTreeMap<Node, [Vec<f64>; 2]>,
    /// Of every node at one position, means over pairs.
    pub positions: BTreeMap<(Node, usize), [f64; 2]>,
}

impl Effects {
    pub(super) fn scores(&self, pick: impl Fn([f64; 2]) -> f64) -> Scores {
        let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let nodes = self.nodes.iter().map(|(node, effects)| (*node, pick(effects.each_ref().map(mean))));
        let positions = self.positions.iter().map(|((node, at), effects)| (node.at(*at), pick(*effects)));
        Scores { nodes: nodes.collect(), positions: Some(positions.collect()), edges: None }
    }
}

/// Runs every patch. Cost: 2·nodes·(1 + tokens) patched runs a pair, less what reuse saves.
pub fn exact_effects(task: &Task, progress: &dyn Progress) -> Result<Effects, PlantedError> {
    let nodes = task.nodes();
    let mut sites: Vec<Site> = nodes.iter().map(|node| node.site()).collect();
    for node in &nodes {
        sites.extend((0..task.tokens()).map(|at| Site { positions: Positions::Index(at), ..node.site() }));
    }
    let mut effects = run(task, &sites, progress)?.into_iter();
    let whole = nodes.iter().copied().zip(effects.by_ref()).collect();
    let mean = |[noise, denoise]: [Vec<f64>; 2]| {
        [noise, denoise].map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
    };
    let places = nodes.iter().flat_map(|node| (0..task.tokens()).map(move |at| (*node, at)));
    Ok(Effects { nodes: whole, positions: places.zip(effects.map(mean)).collect() })
}

/// Both directions' effects of each site, one entry a pair.
pub(crate) fn run(task: &Task, sites: &[Site], progress: &dyn Progress) -> Result<Vec<[Vec<f64>; 2]>, PlantedError> {
    const SIDES: [Side; 2] = [Side::Factual, Side::Counterfactual];
    let mut plans: Vec<Plan> = SIDES.map(Plan::nothing).to_vec();
    for site in sites {
        plans.extend(SIDES.map(|side| Plan::interchange(side, std::slice::from_ref(site))));
    }
    let jobs: Vec<Job<'_>> = task.pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    let outcomes = ReuseEngine::default().outcomes(&task.model, &jobs, Outcome::Contrast, progress)?;
    let mut effects: Vec<[Vec<f64>; 2]> = sites.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    for values in &outcomes {
        let Some(([from, to], patched)) = values.split_first_chunk::<2>() else { continue };
        for (effect, patched) in effects.iter_mut().zip(patched.chunks_exact(2)) {
            for ((series, value), base) in effect.iter_mut().zip(patched).zip([from, to]) {
                series.push(value - base);
            }
        }
    }
    Ok(effects)
}
