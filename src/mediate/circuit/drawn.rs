//! A circuit's edges as pictures and records name them.

use super::file::CircuitFile;
use crate::stats::circuit::CircuitEdge;

impl CircuitFile {
    /// The circuit's edges with their scores, the strongest first, at most `number` of them. An edge into keys or values
    /// that heads share is named once for each of these heads that is part of the circuit.
    pub fn strongest(&self, number: usize) -> Vec<CircuitEdge> {
        let graph = self.scores.graph;
        let live = self.circuit.senders();
        let mut edges: Vec<CircuitEdge> = Vec::new();
        for edge in self.circuit.edges() {
            let name = graph.receiver_name(edge.receiver);
            let input = name.split_once('<').map_or(String::new(), |(_, part)| part.trim_end_matches('>').to_owned());
            let owners = graph.owners(edge.receiver);
            let living: Vec<String> =
                owners.iter().filter(|owner| live.contains(owner)).map(ToString::to_string).collect();
            let readers = match (living.is_empty(), owners.is_empty()) {
                (false, _) => living,
                (true, false) => owners.iter().map(ToString::to_string).collect(),
                (true, true) => vec![name],
            };
            let (from, effect) = (edge.sender.to_string(), self.scores.get(edge));
            edges.extend(readers.into_iter().map(|to| CircuitEdge {
                from: from.clone(),
                to,
                input: input.clone(),
                effect,
            }));
        }
        edges.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()));
        edges.truncate(number);
        edges
    }
}
