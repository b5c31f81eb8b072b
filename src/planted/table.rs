//! From scores to the table: each method's ranking of each task, means over models with intervals, paired differences,
//! and which method falls into which trap.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ranking::{Ranking, chosen, rank};
use super::task::{Scores, Task, Tier};
use crate::base::Seed;
use crate::stats::{Bootstrap, Estimate, Item, Statistic, benjamini_hochberg, estimate, paired_difference};

/// One method's scores of every task, by the task's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodScores {
    /// The name in tables.
    pub method: String,
    /// Its scores.
    pub scores: BTreeMap<String, Scores>,
}

/// What is ranked against which truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// Nodes; true are those on a path.
    NodesStructural,
    /// Nodes; true are those with an effect of their own in either direction.
    NodesFunctional,
    /// Nodes at positions; true are those where a node on a path writes.
    Positions,
    /// Edges; true are those of the paths.
    Edges,
}

impl Grain {
    /// All.
    pub const ALL: [Grain; 4] = [Grain::NodesStructural, Grain::NodesFunctional, Grain::Positions, Grain::Edges];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Grain::NodesStructural => "nodes, structural truth",
            Grain::NodesFunctional => "nodes, functional truth",
            Grain::Positions => "nodes at positions, structural truth",
            Grain::Edges => "edges, structural truth",
        }
    }

    /// Scores and truth of one task, unit by unit; `None` where method or task have no such grain.
    fn units(self, task: &Task, scores: &Scores) -> Option<(Vec<f64>, Vec<bool>)> {
        let listed = |scores: Option<&BTreeMap<String, f64>>, on: Option<&Vec<String>>| {
            let on: BTreeSet<&String> = on?.iter().collect();
            Some(scores?.iter().map(|(name, score)| (*score, on.contains(name))).unzip())
        };
        let nodes = |pick: fn(&super::truth::NodeTruth) -> bool| {
            let truth = task.truth.nodes.iter();
            Some(truth.filter_map(|(node, truth)| Some((*scores.nodes.get(node)?, pick(truth)))).unzip())
        };
        match self {
            Grain::NodesStructural => nodes(|node| node.structural),
            Grain::NodesFunctional => nodes(|node| node.functional),
            Grain::Positions => listed(scores.positions.as_ref(), task.truth.positions.as_ref()),
            Grain::Edges => listed(scores.edges.as_ref(), task.truth.edges.as_ref()),
        }
    }
}

/// One method at one grain: means over models with 95 % intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The method.
    pub method: String,
    /// Rank AUROC.
    pub auroc: Estimate,
    /// Average precision.
    pub average_precision: Estimate,
    /// Precision at the true size.
    pub precision: Estimate,
    /// Recall at the true size.
    pub recall: Estimate,
}

/// Two methods on the same models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// AUROC of the first less that of the second, paired by model.
    pub difference: Estimate,
    /// Two-sided, by flipping signs of models.
    pub p_value: Option<f64>,
    /// The same after Benjamini and Hochberg, over all pairs of methods at this grain.
    pub adjusted: Option<f64>,
}

/// One tier at one grain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The tier.
    pub tier: Tier,
    /// The grain.
    pub grain: Grain,
    /// Tasks.
    pub tasks: usize,
    /// Mean number of units of a task.
    pub units: f64,
    /// Mean share of them that is true: what average precision is by chance.
    pub prevalence: f64,
    /// One row a method that has this grain.
    pub rows: Vec<Row>,
    /// Every pair of them.
    pub differences: Vec<Difference>,
}

/// How a method treats the nodes of one trap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrapRow {
    /// The tier.
    pub tier: Tier,
    /// The trap, or what the nodes are for.
    pub label: String,
    /// Whether the nodes lie on a pathway.
    pub on_pathway: bool,
    /// How many nodes, over all tasks.
    pub nodes: usize,
    /// By method: the share of them that is wrong at the true size, so missed where they lie on a pathway, and taken for
    /// it where they do not.
    pub fallen: Vec<(String, f64)>,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Sections by tier and grain.
    pub sections: Vec<Section>,
    /// Traps by tier.
    pub traps: Vec<TrapRow>,
}

/// Judges all methods on all tasks.
pub fn judge(tasks: &[Task], methods: &[MethodScores], seed: &Seed) -> Table {
    let mut sections = Vec::new();
    let mut traps = Vec::new();
    for tier in [Tier::Compiled, Tier::Trained] {
        let tasks: Vec<&Task> = tasks.iter().filter(|task| task.tier == tier).collect();
        sections.extend(Grain::ALL.into_iter().filter_map(|grain| section(tier, grain, &tasks, methods, seed)));
        traps.extend(trap_rows(tier, &tasks, methods));
    }
    Table { sections, traps }
}

/// One method's rankings of all tasks at one grain.
struct Judged<'a> {
    method: &'a str,
    tasks: Vec<OneTask<'a>>,
}

/// One of them.
struct OneTask<'a> {
    task: &'a Task,
    units: usize,
    ranking: Ranking,
}

impl<'a> Judged<'a> {
    /// `None` where the method lacks the grain at any task.
    fn new(grain: Grain, tasks: &[&'a Task], method: &'a MethodScores) -> Option<Self> {
        let one = |task: &&'a Task| {
            let (scores, truth) = grain.units(task, method.scores.get(&task.id)?)?;
            Some(OneTask { task, units: truth.len(), ranking: rank(&scores, &truth)? })
        };
        let tasks: Vec<OneTask<'a>> = tasks.iter().map(one).collect::<Option<_>>()?;
        (!tasks.is_empty()).then_some(Self { method: &method.method, tasks })
    }

    /// One item a task; the tasks of one model are one cluster.
    fn items(&self, pick: impl Fn(&Ranking) -> f64) -> Vec<Item> {
        let item = |one: &OneTask<'_>| Item {
            id: one.task.id.clone(),
            cluster: one.task.model_name.clone(),
            value: pick(&one.ranking),
            group: None,
            weight: None,
        };
        self.tasks.iter().map(item).collect()
    }

    fn mean(&self, pick: impl Fn(&OneTask<'_>) -> f64) -> f64 {
        self.tasks.iter().map(pick).sum::<f64>() / self.tasks.len() as f64
    }

    fn row(&self, bootstrap: &Bootstrap) -> Row {
        let over = |pick: fn(&Ranking) -> f64| estimate(&self.items(pick), &Statistic::Mean, bootstrap);
        Row {
            method: self.method.to_owned(),
            auroc: over(|ranking| ranking.auroc),
            average_precision: over(|ranking| ranking.average_precision),
            precision: over(|ranking| ranking.precision),
            recall: over(|ranking| ranking.recall),
        }
    }
}

fn section(tier: Tier, grain: Grain, tasks: &[&Task], methods: &[MethodScores], seed: &Seed) -> Option<Section> {
    let judged: Vec<Judged<'_>> = methods.iter().filter_map(|method| Judged::new(grain, tasks, method)).collect();
    let first = judged.first()?;
    let bootstrap = Bootstrap { replicates: 2000, level: 0.95, seed: seed.fork("table") };
    Some(Section {
        tier,
        grain,
        tasks: first.tasks.len(),
        units: first.mean(|one| one.units as f64),
        prevalence: first.mean(|one| one.ranking.prevalence),
        rows: judged.iter().map(|method| method.row(&bootstrap)).collect(),
        differences: differences(&judged, &bootstrap),
    })
}

fn differences(judged: &[Judged<'_>], bootstrap: &Bootstrap) -> Vec<Difference> {
    let area = |method: &Judged<'_>| method.items(|ranking| ranking.auroc);
    let mut out = Vec::new();
    for (at, first) in judged.iter().enumerate() {
        for second in judged.iter().skip(at + 1) {
            // The same tasks in both, so that pairing cannot fail.
            let Ok(found) = paired_difference(&area(first), &area(second), &Statistic::Mean, bootstrap) else {
                continue;
            };
            out.push(Difference {
                first: first.method.to_owned(),
                second: second.method.to_owned(),
                difference: found.difference,
                p_value: found.p_value,
                adjusted: None,
            });
        }
    }
    let raw: Vec<f64> = out.iter().map(|difference| difference.p_value.unwrap_or(f64::NAN)).collect();
    for (difference, adjusted) in out.iter_mut().zip(benjamini_hochberg(&raw)) {
        difference.adjusted = Some(adjusted).filter(|value| value.is_finite());
    }
    out
}

fn trap_rows(tier: Tier, tasks: &[&Task], methods: &[MethodScores]) -> Vec<TrapRow> {
    // By label and side: how many nodes, and how many of them each method has wrong.
    let mut counts: BTreeMap<(bool, &str), (usize, Vec<usize>)> = BTreeMap::new();
    for task in tasks {
        let size = task.truth.prevalence().0;
        for (at, method) in methods.iter().enumerate() {
            let Some(scores) = method.scores.get(&task.id) else { continue };
            let values: Vec<f64> =
                task.truth.nodes.keys().map(|node| scores.nodes.get(node).copied().unwrap_or(0.0)).collect();
            for (truth, chosen) in task.truth.nodes.values().zip(chosen(&values, size)) {
                let (nodes, wrong) = counts
                    .entry((!truth.structural, truth.label.as_str()))
                    .or_insert_with(|| (0, vec![0; methods.len()]));
                *nodes += usize::from(at == 0);
                if let Some(wrong) = wrong.get_mut(at) {
                    *wrong += usize::from(chosen != truth.structural);
                }
            }
        }
    }
    let row = |((off, label), (nodes, wrong)): ((bool, &str), (usize, Vec<usize>))| TrapRow {
        tier,
        label: label.to_owned(),
        on_pathway: !off,
        nodes,
        fallen: methods
            .iter()
            .zip(wrong)
            .map(|(method, wrong)| (method.method.clone(), wrong as f64 / nodes.max(1) as f64))
            .collect(),
    };
    counts.into_iter().map(row).collect()
}
