//! The benchmark's files, for methods that live elsewhere.
//!
//! [`write_models`] makes a folder with one folder a task: `config.json`, `model.safetensors` and `pairs.jsonl`
//! (`{"id", "cluster", "factual_ids", "counterfactual_ids", "answer_ids", …}`, the format that `mediate --pairs` reads),
//! `tasks.json` with the names of tasks and nodes, and, apart from them, `truth.json`.
//!
//! A file of scores is
//!
//! ```json
//! {"method": "mine", "scores": {"compiled-000": {"nodes": {"a0.h0": 0.3, "m2": -1.2},
//!                                               "positions": {"a0.h0@7": 0.1}, "edges": {"a0.h0->m2": 0.2}}}}
//! ```
//!
//! with one entry a task. `nodes` holds every node of the task's model; `positions` every node at every token, and
//! `edges` every edge, or neither is given. The larger a score's absolute value, the surer the method is that the unit
//! lies on the pathway. What is missing or unknown is refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::checkpoint::write_checkpoint;
use super::compiled::GENERATOR;
use super::error::PlantedError;
use super::suite::{SuiteSpec, stream_digest};
use super::table::MethodScores;
use super::task::{Scores, Task};
use super::truth::Truth;
use crate::base::files;
use crate::intervene::path::PathGraph;
use crate::intervene::{Side, TokenPair};
use crate::model::TokenizedPrompt;

/// Writes every task's model and pairs, and the truth beside them.
pub fn write_models(folder: &Path, spec: &SuiteSpec, tasks: &[Task]) -> Result<(), PlantedError> {
    for task in tasks {
        let place = folder.join(&task.id);
        write_checkpoint(&place, &task.config, task.model.tensors())?;
        let pairs: Vec<Value> = task.pairs.iter().map(line).collect();
        files::write_jsonl(&place.join("pairs.jsonl"), &pairs)?;
    }
    let listed = tasks.iter().map(|task| {
        json!({"id": task.id, "tier": task.tier, "nodes": task.nodes(), "tokens": task.tokens(), "edges": edges(task)})
    });
    let header = json!({
        "generator": GENERATOR, "stream_digest": stream_digest(&spec.stream), "pairs": spec.pairs,
        "tasks": listed.collect::<Vec<_>>(),
    });
    files::write_json(&folder.join("tasks.json"), &header)?;
    let truth: BTreeMap<&str, &Truth> = tasks.iter().map(|task| (task.id.as_str(), &task.truth)).collect();
    Ok(files::write_json(&folder.join("truth.json"), &truth)?)
}

fn line(pair: &TokenPair) -> Value {
    #[derive(Serialize)]
    struct Slot<'a> {
        name: &'a str,
        start: usize,
        end: usize,
    }
    let slots = |prompt: &TokenizedPrompt| {
        let slot =
            |(name, range): &(String, std::ops::Range<usize>)| json!(Slot { name, start: range.start, end: range.end });
        prompt.slots.iter().map(slot).collect::<Vec<_>>()
    };
    let answers = pair.answers(Side::Factual);
    json!({
        "id": pair.id, "cluster": pair.cluster, "factual_ids": pair.factual.ids,
        "counterfactual_ids": pair.counterfactual.ids, "answer_ids": answers,
        "factual_slots": slots(&pair.factual), "counterfactual_slots": slots(&pair.counterfactual),
    })
}

fn edges(task: &Task) -> Vec<String> {
    let graph = PathGraph::of(task.model.architecture());
    graph.edges().map(|edge| graph.name(edge)).collect()
}

/// Reads a file of scores and holds it against the tasks.
pub fn read_scores(path: &Path, tasks: &[Task]) -> Result<MethodScores, PlantedError> {
    let refuse = |message: String| PlantedError::Scores { path: path.to_path_buf(), message };
    let found: MethodScores = files::read_json(path)?;
    if found.method.trim().is_empty() {
        return Err(refuse("field \"method\" is empty: it is the name in the table".into()));
    }
    compare("task", found.scores.keys().cloned(), tasks.iter().map(|task| task.id.clone())).map_err(refuse)?;
    for task in tasks {
        let Some(scores) = found.scores.get(&task.id) else { continue };
        fits(task, scores).map_err(|message| refuse(format!("task {}: {message}", task.id)))?;
    }
    Ok(found)
}

fn fits(task: &Task, scores: &Scores) -> Result<(), String> {
    let nodes = task.nodes();
    compare("node", scores.nodes.keys().map(ToString::to_string), nodes.iter().map(ToString::to_string))?;
    if let Some(positions) = &scores.positions {
        let known = nodes.iter().flat_map(|node| (0..task.tokens()).map(|at| node.at(at)));
        compare("node at a position", positions.keys().cloned(), known)?;
    }
    if let Some(scored) = &scores.edges {
        compare("edge", scored.keys().cloned(), edges(task))?;
    }
    let named = scores.nodes.iter().map(|(node, score)| (node.to_string(), *score));
    let others = [&scores.positions, &scores.edges].into_iter().flatten().flatten();
    let all = named.chain(others.map(|(name, score)| (name.clone(), *score)));
    match all.into_iter().find(|(_, score)| !score.is_finite()) {
        None => Ok(()),
        Some((name, score)) => Err(format!("the score of {name} is {score}; scores are finite numbers")),
    }
}

/// Names the first that is missing, or that nobody knows.
fn compare(
    what: &str,
    found: impl IntoIterator<Item = String>,
    known: impl IntoIterator<Item = String>,
) -> Result<(), String> {
    let (found, known): (BTreeSet<String>, BTreeSet<String>) =
        (found.into_iter().collect(), known.into_iter().collect());
    if let Some(name) = found.difference(&known).next() {
        let hint = crate::base::suggestion(name, known.iter().map(String::as_str));
        let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        return Err(format!("there is no {what} {name:?}{hint}"));
    }
    match known.difference(&found).next() {
        None => Ok(()),
        Some(name) => Err(format!("the {what} {name:?} has no score; each of the {} needs one", known.len())),
    }
}
