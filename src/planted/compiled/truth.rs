//! Closed forms of a compiled model's effects, and what follows from them: which nodes, nodes at positions and edges
//! lie on a pathway.
//!
//! With s, c, n, e what a prompt says, OR(s₁, s₂) = max, AND(s, c) = s·c and SAT(s) = s on {0, 1}, the logit difference is
//!
//! ```text
//! y = a·c + η·n + b·s + δ·OR(s, s) + γ·AND(s, c) + ζ·SAT(s) + β·s − β·s + Σ λ_h·e
//! ```
//!
//! and patching a node replaces what that node alone delivers: a head its s and e (or c, or n), an MLP the values of
//! the gates that stand in it. Each effect is a difference of two such sums.

use serde::Serialize;

use super::super::node::Node;
use super::super::truth::{NodeTruth, Truth, functional};
use super::basis::TOKENS;
use super::prompts::{Content, PlantedPair};
use super::wiring::{Path, Role, Strengths, Wiring};

/// The effects of moving one pair's input from x to x′, through one node; nats of logit difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClosedForm {
    /// TE = y(x′) − y(x).
    pub total: f64,
    /// NDE = y(x′, node ← x) − y(x).
    pub direct: f64,
    /// NIE = y(x, node ← x′) − y(x).
    pub indirect: f64,
    /// Reversed NIE = y(x′, node ← x) − y(x′).
    pub reversed: f64,
}

/// y of `receiver` with the patched node's value under `donor`.
fn outcome(wiring: &Wiring, receiver: &Content, donor: &Content, patched: Option<Node>) -> f64 {
    let seen = |role: Role| if patched.is_some() && patched == wiring.node(role) { donor } else { receiver };
    let relay = match patched.is_some() && patched == wiring.node(Role::RelayWriter) {
        true => donor,
        false => seen(Role::RelayReader),
    };
    let [or, and, saturated] = wiring.gates.map(|layer| patched == Some(Node::Mlp { layer }));
    let gate = |moved: bool, role: Role| if moved { donor } else { seen(role) };
    let either = gate(or, Role::BackupFirst).s().max(gate(or, Role::BackupSecond).s());
    let both = gate(and, Role::Gated).s() * gate(and, Role::Core).c();
    let Strengths { core, neutral, relay: b, or: delta, and: gamma, saturated: zeta, cancelling: beta, .. } =
        wiring.strengths;
    let hum: f64 = Role::ALL
        .into_iter()
        .filter(|role| *role != Role::RelayWriter)
        .map(|role| {
            let from = if role == Role::RelayReader { relay } else { seen(role) };
            wiring.hum_of(role).iter().zip(from.e()).map(|(hum, e)| hum * e).sum::<f64>()
        })
        .sum();
    core * seen(Role::Core).c()
        + neutral * seen(Role::Neutral).n()
        + b * relay.s()
        + delta * either
        + gamma * both
        + zeta * gate(saturated, Role::Saturated).s()
        + beta * seen(Role::Plus).s()
        - beta * seen(Role::Minus).s()
        + hum
}

impl Wiring {
    /// The logit difference of one prompt.
    pub fn outcome(&self, content: &Content) -> f64 {
        outcome(self, content, content, None)
    }

    /// The effects of one pair through one node.
    pub fn effects(&self, factual: &Content, counterfactual: &Content, node: Node) -> ClosedForm {
        let (from, to) = (self.outcome(factual), self.outcome(counterfactual));
        let held = outcome(self, counterfactual, factual, Some(node));
        let moved = outcome(self, factual, counterfactual, Some(node));
        ClosedForm { total: to - from, direct: held - from, indirect: moved - from, reversed: held - to }
    }

    /// What a one-dimensional interchange along (disconnected + dormant)/√2 after the decoy's block does at the last
    /// position: ½·κ·gain·(s′ − s), although neither direction alone, nor the decoy as a whole, has any effect.
    pub fn dormant_effect(&self, factual: &Content, counterfactual: &Content) -> f64 {
        0.5 * self.strengths.dormant * super::DECOY_GAIN * (counterfactual.s() - factual.s())
    }

    /// The paths that run through a node and are not of strength 0.
    pub fn paths_through(&self, node: Node) -> Vec<Path> {
        let on = |path: &Path| match node {
            Node::Head { .. } => self.role(node).and_then(Role::path) == Some(*path),
            Node::Mlp { layer } => self.gate(*path) == Some(layer),
        };
        Path::ALL.into_iter().filter(|path| self.strength(*path) != 0.0 && on(path)).collect()
    }

    /// The block whose MLP holds a path's gate.
    pub fn gate(&self, path: Path) -> Option<usize> {
        let [or, and, saturated] = self.gates;
        match path {
            Path::Or => Some(or),
            Path::And => Some(and),
            Path::Saturated => Some(saturated),
            Path::Relay | Path::Cancelling => None,
        }
    }

    /// The pathways from the attribute, with each node's mean closed forms over `pairs`.
    pub fn truth(&self, pairs: &[PlantedPair]) -> Truth {
        let mlps = (0..super::LAYERS).map(|layer| (None, Node::Mlp { layer }));
        let heads = self.heads().iter().map(|(role, node)| (Some(*role), *node));
        let entry = |(role, node): (Option<Role>, Node)| {
            let effects: Vec<ClosedForm> =
                pairs.iter().map(|pair| self.effects(&pair.factual, &pair.counterfactual, node)).collect();
            let mean =
                |pick: fn(&ClosedForm) -> f64| effects.iter().map(pick).sum::<f64>() / effects.len().max(1) as f64;
            let paths = self.paths_through(node);
            let truth = NodeTruth {
                structural: !paths.is_empty(),
                functional: false,
                noise: Some(mean(|effect| effect.indirect)),
                denoise: Some(mean(|effect| effect.reversed)),
                label: self.label(role, node),
            };
            (node, truth)
        };
        let mut nodes = heads.chain(mlps).map(entry).collect();
        functional(&mut nodes);
        Truth { nodes, positions: Some(self.positions()), edges: Some(self.edges()) }
    }

    fn label(&self, role: Option<Role>, node: Node) -> String {
        let gates =
            [Path::Or, Path::And, Path::Saturated].into_iter().filter(|path| self.gate(*path) == Some(node.layer()));
        match role {
            Some(role) => role.trap().to_owned(),
            None => {
                let held: Vec<&str> = gates.map(Path::name).collect();
                if held.is_empty() { "idle MLP".to_owned() } else { format!("gate: {}", held.join(", ")) }
            }
        }
    }

    /// The nodes on a pathway, each at the position at which it writes.
    fn positions(&self) -> Vec<String> {
        let heads = self.heads().iter().map(|(role, node)| {
            let at = if *role == Role::RelayWriter { self.relay } else { TOKENS - 1 };
            (*node, at)
        });
        let mlps = (0..super::LAYERS).map(|layer| (Node::Mlp { layer }, TOKENS - 1));
        let on = heads.chain(mlps).filter(|(node, _)| !self.paths_through(*node).is_empty());
        on.map(|(node, at)| node.at(at)).collect()
    }

    /// The edges of the pathways, under EAP-IG's names.
    fn edges(&self) -> Vec<String> {
        let mut edges = Vec::new();
        let open = self.heads().iter().filter(|(role, _)| role.path().is_some_and(|path| self.strength(path) != 0.0));
        for (role, node) in open {
            let writer = self.node(Role::RelayWriter).filter(|_| *role == Role::RelayReader);
            let from = writer.map_or("input".to_owned(), |writer| writer.to_string());
            edges.push(format!("{from}->{node}<v>"));
            let gate = role.path().and_then(|path| self.gate(path));
            match (role, gate) {
                (Role::RelayWriter, _) => {}
                (_, None) => edges.push(format!("{node}->logits")),
                (_, Some(layer)) => {
                    edges.push(format!("{node}->m{layer}"));
                    edges.push(format!("m{layer}->logits"));
                }
            }
        }
        edges.sort();
        edges.dedup();
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::super::wiring::CompiledSpec;
    use super::*;
    use crate::base::Seed;

    fn content(attribute: bool, core: bool) -> Content {
        Content { attribute, surface: 0, core, neutral: true, filler: 0 }
    }

    /// The table of `docs/estimands.md`, written out by hand: NIE and reversed NIE of every head for s: 1 → 0.
    #[test]
    fn the_effects_are_those_of_the_documented_table() {
        for seed in 0..10 {
            let wiring = Wiring::draw(&CompiledSpec::default(), &Seed::new(seed));
            let Strengths { relay: b, or, and, saturated, cancelling: beta, .. } = wiring.strengths;
            for core in [true, false] {
                let gated = if core { and } else { 0.0 };
                let total = -(b + or + gated + saturated);
                let (x, to) = (content(true, core), content(false, core));
                let table = [
                    (Role::RelayWriter, -b, b),
                    (Role::RelayReader, -b, b),
                    (Role::BackupFirst, 0.0, or),
                    (Role::BackupSecond, 0.0, or),
                    (Role::Gated, -gated, gated),
                    (Role::Saturated, -saturated, saturated),
                    (Role::Plus, -beta, beta),
                    (Role::Minus, beta, -beta),
                    (Role::Decoy, 0.0, 0.0),
                    (Role::Core, 0.0, 0.0),
                    (Role::Neutral, 0.0, 0.0),
                    (Role::Idle, 0.0, 0.0),
                ];
                for (role, indirect, reversed) in table {
                    let node = wiring.node(role).expect("every role has a head");
                    let found = wiring.effects(&x, &to, node);
                    let expected = ClosedForm { total, direct: total + reversed, indirect, reversed };
                    for (found, expected) in [
                        (found.total, expected.total),
                        (found.direct, expected.direct),
                        (found.indirect, expected.indirect),
                        (found.reversed, expected.reversed),
                    ] {
                        assert!((found - expected).abs() < 1e-12, "{role:?}: {found} for {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn edges_lead_from_the_input_to_the_logits() {
        let wiring = Wiring::draw(&CompiledSpec::default(), &Seed::new(4));
        let edges = wiring.edges();
        let node = |role| wiring.node(role).expect("every role has a head");
        assert!(edges.contains(&format!("{}->{}<v>", node(Role::RelayWriter), node(Role::RelayReader))));
        assert!(edges.contains(&format!("input->{}<v>", node(Role::Plus))));
        assert!(!edges.iter().any(|edge| edge.contains(&format!("{}<", node(Role::Decoy)))));
        // Seven heads read the input, one the relay; five feed the logits or a gate; three gates in one to three MLPs.
        let mlps = edges.iter().filter(|edge| edge.starts_with('m')).count();
        assert!((1..=3).contains(&mlps) && edges.len() == 8 + 3 + 4 + mlps, "{edges:?}");
    }
}
