//! From scores to a circuit.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use rand::RngCore;
use serde::{Deserialize, Serialize};

use super::edges::Circuit;
use crate::base::Seed;
use crate::base::seed::{normal, shuffle};
use crate::intervene::path::{Edge, PathGraph, Receiver, Sender};
use crate::mediate::attribution::EdgeScores;
use crate::stats::circuit::Ranking;

/// How edges are taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Rule {
    /// The best ones, wherever they are.
    Top {
        /// How many.
        edges: usize,
    },
    /// The best one into what is already there, from the logits down.
    Greedy {
        /// How many.
        edges: usize,
    },
    /// All at or above a score.
    Threshold {
        /// The score, or magnitude.
        score: f64,
    },
}

/// A circuit and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The circuit, pruned.
    pub circuit: Circuit,
    /// How the edges were ranked.
    pub ranking: Ranking,
    /// How they were taken.
    pub rule: Rule,
    /// Edges that the rule took.
    pub requested: usize,
    /// Edges that are left after pruning.
    pub realised: usize,
}

/// Takes a circuit and prunes it. Ties are broken by the order of edges.
pub fn select(scores: &EdgeScores, ranking: Ranking, rule: Rule) -> Selection {
    let taken: BTreeSet<Edge> = match rule {
        Rule::Top { edges } => {
            let mut ranked: Vec<(Edge, f64)> = scores.iter().map(|(edge, score)| (edge, ranking.of(score))).collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            ranked.into_iter().take(edges).map(|(edge, _)| edge).collect()
        }
        Rule::Threshold { score } => {
            scores.iter().filter(|(_, found)| ranking.of(*found) >= score).map(|(edge, _)| edge).collect()
        }
        Rule::Greedy { edges } => greedy(scores, ranking, edges),
    };
    let requested = taken.len();
    let circuit = Circuit::whole(scores.graph);
    let outside = circuit.edges().filter(|edge| !taken.contains(edge)).collect();
    let circuit = circuit.without(&outside).pruned();
    Selection { ranking, rule, requested, realised: circuit.len(), circuit }
}

/// A candidate: its rank, and its edge, of which the first in order wins a tie.
#[derive(PartialEq)]
struct Candidate(f64, Reverse<Edge>);

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then_with(|| self.1.cmp(&other.1))
    }
}

fn greedy(scores: &EdgeScores, ranking: Ranking, edges: usize) -> BTreeSet<Edge> {
    let graph = scores.graph;
    let mut heap = BinaryHeap::new();
    let open = |receiver: Receiver, heap: &mut BinaryHeap<Candidate>| {
        for sender in (0..graph.reach(receiver)).map(|index| graph.sender(index)) {
            let edge = Edge { sender, receiver };
            heap.push(Candidate(ranking.of(scores.get(edge)), Reverse(edge)));
        }
    };
    open(Receiver::Logits, &mut heap);
    let mut opened: BTreeSet<Receiver> = [Receiver::Logits].into();
    let mut taken = BTreeSet::new();
    while taken.len() < edges {
        let Some(Candidate(_, Reverse(edge))) = heap.pop() else { break };
        taken.insert(edge);
        for receiver in inputs(graph, edge.sender) {
            if opened.insert(receiver) {
                open(receiver, &mut heap);
            }
        }
    }
    taken
}

/// What a sender reads.
fn inputs(graph: PathGraph, sender: Sender) -> Vec<Receiver> {
    use crate::model::Part;
    match sender {
        Sender::Input => Vec::new(),
        Sender::Mlp { layer } => vec![Receiver::Mlp { layer }],
        Sender::Head { layer, head } => {
            let each = (graph.n_heads / graph.n_groups.max(1)).max(1);
            let attention = |part, unit| Receiver::Attention { layer, part, unit };
            vec![attention(Part::Query, head), attention(Part::Key, head / each), attention(Part::Value, head / each)]
        }
    }
}

/// A random circuit that leads from the input to the logits, of `edges` edges after pruning (a few less where its parts
/// have no more between them): random scores, taken greedily.
pub fn random_circuit(graph: PathGraph, edges: usize, seed: Seed) -> Circuit {
    let mut scores = EdgeScores::zero(graph);
    let mut rng = seed.rng();
    for edge in graph.edges() {
        scores.set(edge, normal(&mut rng));
    }
    // Pruning takes edges away, so the number to take is searched for.
    let (mut low, mut high) = (edges.min(graph.edge_count()), graph.edge_count());
    let take = |number| select(&scores, Ranking::Signed, Rule::Greedy { edges: number }).circuit;
    let mut best = take(low);
    while low + 1 < high && best.len() < edges {
        let middle = low + (high - low) / 2;
        let circuit = take(middle);
        if circuit.len() <= edges {
            (low, best) = (middle, circuit);
        } else {
            high = middle;
        }
    }
    filled(best, edges, seed.fork("fill"))
}

/// The circuit with random edges between the parts that it has, up to a number of edges.
fn filled(mut circuit: Circuit, edges: usize, seed: Seed) -> Circuit {
    let graph = circuit.graph();
    let mut alive = circuit.senders();
    alive.insert(Sender::Input);
    let between = |edge: &Edge| {
        let owners = graph.owners(edge.receiver);
        alive.contains(&edge.sender) && (owners.is_empty() || owners.iter().any(|owner| alive.contains(owner)))
    };
    for edge in random_outside(&circuit, graph.edge_count(), seed).into_iter().filter(between) {
        if circuit.len() >= edges {
            break;
        }
        circuit = circuit.with(edge);
    }
    circuit
}

/// Random edges outside a circuit.
pub(super) fn random_outside(circuit: &Circuit, number: usize, seed: Seed) -> Vec<Edge> {
    let mut outside: Vec<Edge> = circuit.graph().edges().filter(|edge| !circuit.contains(*edge)).collect();
    let mut rng = seed.rng();
    rng.next_u32();
    shuffle(&mut rng, &mut outside);
    outside.truncate(number);
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> PathGraph {
        PathGraph { n_layers: 2, n_heads: 2, n_groups: 2, d_model: 8, parallel: false }
    }

    fn scores(of: &[(&str, f64)]) -> EdgeScores {
        let mut scores = EdgeScores::zero(graph());
        for (edge, score) in of {
            scores.set(graph().edge(edge).expect("edge"), *score);
        }
        scores
    }

    fn names(selection: &Selection) -> Vec<String> {
        selection.circuit.edges().map(|edge| graph().name(edge)).collect()
    }

    #[test]
    fn signed_and_absolute_rankings_differ() {
        let scores = scores(&[("input->logits", -3.0), ("input->m0", 2.0), ("m0->logits", 1.0), ("m1->logits", 0.5)]);
        let top = |ranking, edges| select(&scores, ranking, Rule::Top { edges });
        assert_eq!(names(&top(Ranking::Signed, 2)), ["input->m0", "m0->logits"]);
        assert_eq!(names(&top(Ranking::Absolute, 1)), ["input->logits"]);
        // Three taken, and m1 reads nothing.
        let pruned = top(Ranking::Signed, 3);
        assert_eq!((pruned.requested, pruned.realised), (3, 2));
        let above = select(&scores, Ranking::Absolute, Rule::Threshold { score: 1.0 });
        assert_eq!((above.requested, names(&above).len()), (3, 3));
    }

    #[test]
    fn greedy_grows_from_the_logits() {
        // The best edge of all leads into a head that nothing reads from.
        let scores =
            scores(&[("input->a1.h0<v>", 9.0), ("m0->logits", 1.0), ("input->m0", 0.5), ("input->logits", 0.1)]);
        let greedy = |edges| select(&scores, Ranking::Signed, Rule::Greedy { edges });
        assert_eq!(names(&greedy(2)), ["input->m0", "m0->logits"]);
        assert_eq!(greedy(3).realised, 3);
        // The top rule spends its edges on what is pruned.
        assert_eq!(select(&scores, Ranking::Signed, Rule::Top { edges: 2 }).realised, 0);
    }

    #[test]
    fn random_circuits_are_connected_and_of_the_size_asked_for() {
        let whole = graph().edge_count();
        for seed in 0..5 {
            let circuit = random_circuit(graph(), 8, Seed::new(seed));
            assert!((7..=8).contains(&circuit.len()), "{}", circuit.len());
            assert_eq!(circuit.pruned(), circuit);
        }
        assert_ne!(random_circuit(graph(), 8, Seed::new(1)), random_circuit(graph(), 8, Seed::new(2)));
        assert_eq!(random_circuit(graph(), whole, Seed::new(1)).len(), whole);
    }
}
