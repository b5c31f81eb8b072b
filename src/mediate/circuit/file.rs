//! Circuits in the EAP-IG package's JSON, which others read too (MIB's circuit track):
//! `{"cfg": {n_layers, n_heads, parallel_attn_mlp, d_model}, "nodes": {name: {in_graph}}, "edges": {name: {score, in_graph}}}`.
//!
//! That format names keys and values by head. Where heads share them, an edge into a group is written once a head with
//! an equal part of its score, and read back as their sum; heads of one group that disagree are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::edges::Circuit;
use crate::base::{FileError, files};
use crate::intervene::path::{Edge, PathGraph, Receiver};
use crate::mediate::MediateError;
use crate::mediate::attribution::EdgeScores;
use crate::model::Part;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitFile {
    /// The edges that are in.
    pub circuit: Circuit,
    /// The score of every edge.
    pub scores: EdgeScores,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Config {
    n_layers: usize,
    n_heads: usize,
    parallel_attn_mlp: bool,
    d_model: usize,
}

impl Config {
    fn of(graph: PathGraph) -> Self {
        Self {
            n_layers: graph.n_layers,
            n_heads: graph.n_heads,
            parallel_attn_mlp: graph.parallel,
            d_model: graph.d_model,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Node {
    in_graph: bool,
    #[serde(default, skip_serializing)]
    neurons: Option<Vec<serde_json::Value>>,
}

#[derive(Serialize, Deserialize)]
struct EdgeEntry {
    score: f64,
    in_graph: bool,
}

#[derive(Deserialize)]
struct Stored {
    cfg: Config,
    nodes: BTreeMap<String, Node>,
    edges: BTreeMap<String, EdgeEntry>,
}

#[derive(Serialize)]
struct Written<'a> {
    cfg: Config,
    nodes: BTreeMap<String, Node>,
    edges: Edges<'a>,
}

struct Edges<'a>(&'a CircuitFile);

impl Serialize for Edges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (edge, score) in self.0.scores.iter() {
            let names = names(self.0.scores.graph, edge);
            let share = score / names.len().max(1) as f64;
            for name in names {
                map.serialize_entry(&name, &EdgeEntry { score: share, in_graph: self.0.circuit.contains(edge) })?;
            }
        }
        map.end()
    }
}

/// The format's names of an edge: one, or one a head of the group that it leads into.
fn names(graph: PathGraph, edge: Edge) -> Vec<String> {
    match edge.receiver {
        Receiver::Attention { part: Part::Key | Part::Value, .. } => {
            let by_head = PathGraph { n_groups: graph.n_heads, ..graph };
            let heads = graph.owners(edge.receiver).into_iter().enumerate();
            heads
                .filter_map(|(at, _)| {
                    let Receiver::Attention { layer, part, unit } = edge.receiver else { return None };
                    let each = graph.n_heads / graph.n_groups.max(1);
                    let receiver = Receiver::Attention { layer, part, unit: unit * each + at };
                    Some(by_head.name(Edge { receiver, ..edge }))
                })
                .collect()
        }
        _ => vec![graph.name(edge)],
    }
}

/// Writes a circuit with the scores it was taken by.
pub fn write_circuit(path: &Path, file: &CircuitFile) -> Result<(), MediateError> {
    let graph = file.scores.graph;
    let mut nodes: BTreeMap<String, Node> = (0..graph.senders())
        .map(|at| graph.sender(at))
        .map(|sender| (sender.to_string(), Node { in_graph: false, neurons: None }))
        .collect();
    for name in file.circuit.senders().into_iter().map(|sender| sender.to_string()).chain(["logits".to_owned()]) {
        nodes.insert(name, Node { in_graph: true, neurons: None });
    }
    Ok(files::write_json(path, &Written { cfg: Config::of(graph), nodes, edges: Edges(file) })?)
}

/// Reads a circuit for a decoder, and refuses one that was made for another, that names edges which it does not have,
/// or that holds single neurons. Edges that the file leaves out have score 0 and are not in the circuit.
pub fn read_circuit(path: &Path, graph: PathGraph) -> Result<CircuitFile, MediateError> {
    let refuse = |message: String| MediateError::Circuit { message: format!("{}: {message}", path.display()) };
    let Stored { cfg, nodes, edges } = files::read_json(path).map_err(|error| match error {
        FileError::Malformed { message, .. } => {
            refuse(format!("it is no circuit in EAP-IG's JSON, as `counterpath circuit discover` writes it: {message}"))
        }
        other => other.into(),
    })?;
    if cfg != Config::of(graph) {
        let (file, model) = (describe(cfg), describe(Config::of(graph)));
        return Err(refuse(format!(
            "it is a circuit of {file}, this model has {model}; give the model that it was made on, or a circuit that `counterpath circuit discover` makes on this one"
        )));
    }
    let partial = |node: &Node| {
        node.neurons
            .iter()
            .flatten()
            .any(|neuron| matches!(neuron.as_f64(), Some(0.0)) || neuron.as_bool() == Some(false))
    };
    if let Some((name, _)) = nodes.iter().find(|(_, node)| partial(node)) {
        return Err(refuse(format!("node {name} is cut into neurons; only whole nodes and edges can be run")));
    }
    let by_head = PathGraph { n_groups: graph.n_heads, ..graph };
    let mut scores = EdgeScores::zero(graph);
    let (mut inside, mut outside): (BTreeSet<Edge>, BTreeSet<Edge>) = Default::default();
    for (name, entry) in edges {
        let edge = shared(graph, by_head.edge(&name)?);
        scores.set(edge, scores.get(edge) + entry.score);
        let side = if entry.in_graph { &mut inside } else { &mut outside };
        side.insert(edge);
    }
    if let Some(edge) = inside.intersection(&outside).next() {
        let name = graph.name(*edge);
        return Err(refuse(format!("the heads that share {name} disagree on whether it is in the circuit")));
    }
    Ok(CircuitFile { circuit: Circuit::new(graph, inside)?, scores })
}

/// The group's edge for a head's.
fn shared(graph: PathGraph, edge: Edge) -> Edge {
    let each = (graph.n_heads / graph.n_groups.max(1)).max(1);
    match edge.receiver {
        Receiver::Attention { layer, part: part @ (Part::Key | Part::Value), unit } => {
            Edge { receiver: Receiver::Attention { layer, part, unit: unit / each }, ..edge }
        }
        _ => edge,
    }
}

fn describe(config: Config) -> String {
    let Config { n_layers, n_heads, parallel_attn_mlp, d_model } = config;
    let order = if parallel_attn_mlp { "parallel" } else { "sequential" };
    format!("{n_layers} {order} layers of {n_heads} heads and width {d_model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(n_groups: usize) -> PathGraph {
        PathGraph { n_layers: 2, n_heads: 4, n_groups, d_model: 8, parallel: false }
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("counterpath-circuit-{}-{name}.json", std::process::id()))
    }

    fn example(graph: PathGraph) -> CircuitFile {
        let mut scores = EdgeScores::zero(graph);
        for (at, edge) in graph.edges().enumerate() {
            scores.set(edge, at as f64 * 0.25 - 3.0);
        }
        let circuit = Circuit::new(graph, graph.edges().step_by(3)).expect("circuit");
        CircuitFile { circuit, scores }
    }

    #[test]
    fn a_circuit_survives_its_file() {
        for groups in [4, 2, 1] {
            let path = scratch(&format!("round-{groups}"));
            let file = example(graph(groups));
            write_circuit(&path, &file).expect("written");
            assert_eq!(read_circuit(&path, graph(groups)).expect("read"), file);
            // By head, as the package has it, whatever the number of groups.
            let text = std::fs::read_to_string(&path).expect("text");
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(json["edges"].as_object().expect("edges").len(), graph(4).edge_count());
            assert!(json["edges"]["m0->a1.h3<v>"]["score"].is_number() && json["nodes"]["logits"]["in_graph"] == true);
            std::fs::remove_file(path).expect("removed");
        }
    }

    #[test]
    fn other_architectures_and_broken_circuits_are_refused() {
        let path = scratch("refused");
        write_circuit(&path, &example(graph(4))).expect("written");
        let other = PathGraph { n_layers: 3, ..graph(4) };
        let message = read_circuit(&path, other).expect_err("another architecture").to_string();
        assert!(message.contains("2 sequential layers of 4 heads and width 8, this model has 3"), "{message}");
        // Edges of single heads in a model whose heads share keys.
        let message = read_circuit(&path, graph(2)).expect_err("heads disagree").to_string();
        assert!(message.contains("disagree"), "{message}");
        let cfg = r#"{"n_layers":2,"n_heads":4,"parallel_attn_mlp":false,"d_model":8}"#;
        let write = |nodes: &str, edges: &str| {
            std::fs::write(&path, format!(r#"{{"cfg":{cfg},"nodes":{nodes},"edges":{edges}}}"#)).expect("file");
            read_circuit(&path, graph(4)).map(drop).map_err(|error| error.to_string())
        };
        let message = write("{}", r#"{"m1->a0.h0<q>":{"score":1.0,"in_graph":true}}"#).expect_err("backwards");
        assert!(message.contains("m1->a0.h0<q>"), "{message}");
        let neurons = r#"{"m0":{"in_graph":true,"neurons":[1.0,0.0]}}"#;
        assert!(write(neurons, "{}").expect_err("neurons").contains("node m0 is cut into neurons"));
        assert!(write("{}", r#"{"m0->m1":{"score":1.0}}"#).is_err());
        write("{}", r#"{"m0->m1":{"score":1.0,"in_graph":true}}"#).expect("a part of the edges will do");
        std::fs::remove_file(path).expect("removed");
    }
}
