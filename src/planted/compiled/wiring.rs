//! What each head and each gate of a compiled model is for, where it stands, and how strong it is: all drawn from the
//! seed, nothing looked at later.

use serde::Serialize;

use super::super::node::Node;
use super::prompts::CONTRASTS;
use crate::base::Seed;
use crate::base::seed::{index, normal, shuffle, uniform};

/// Blocks of a compiled model.
pub const LAYERS: usize = 3;
/// Heads of a block.
pub const HEADS: usize = 4;

/// What one head does. s is the attribute, c the core, n the neutral token; each is 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Carries s from its token to the relay position.
    RelayWriter,
    /// Carries it from there to the last position and to the logit.
    RelayReader,
    /// Carries s to the OR gate.
    BackupFirst,
    /// Does the same once more: either of the two suffices.
    BackupSecond,
    /// Carries s to the AND gate, whose other input is c.
    Gated,
    /// Carries s to a gate that is flat at both ends.
    Saturated,
    /// Writes +β·s to the logit.
    Plus,
    /// Writes −β·s to the logit, in the same block.
    Minus,
    /// Reads s and writes where nothing reads; the dormant direction stands beside what it writes.
    Decoy,
    /// Carries c to the logit and to the AND gate.
    Core,
    /// Carries n to the logit.
    Neutral,
    /// Moves what stands at the filler to where nothing reads.
    Idle,
}

impl Role {
    /// All, in the order in which their strengths are drawn.
    pub const ALL: [Role; LAYERS * HEADS] = [
        Role::RelayWriter,
        Role::RelayReader,
        Role::BackupFirst,
        Role::BackupSecond,
        Role::Gated,
        Role::Saturated,
        Role::Plus,
        Role::Minus,
        Role::Decoy,
        Role::Core,
        Role::Neutral,
        Role::Idle,
    ];

    /// The path that runs through this head; `None` where it is on none.
    pub fn path(self) -> Option<Path> {
        match self {
            Role::RelayWriter | Role::RelayReader => Some(Path::Relay),
            Role::BackupFirst | Role::BackupSecond => Some(Path::Or),
            Role::Gated => Some(Path::And),
            Role::Saturated => Some(Path::Saturated),
            Role::Plus | Role::Minus => Some(Path::Cancelling),
            Role::Decoy | Role::Core | Role::Neutral | Role::Idle => None,
        }
    }

    /// The name of the trap that this head is part of, as tables write it.
    pub fn trap(self) -> &'static str {
        match self.path() {
            Some(path) => path.name(),
            None => match self {
                Role::Decoy => "decoy and dormant direction",
                _ => "core, neutral and idle heads",
            },
        }
    }
}

/// A way from s to the logit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Head → head → logit.
    Relay,
    /// Two heads → OR gate → logit.
    Or,
    /// Head and core head → AND gate → logit.
    And,
    /// Head → gate that is flat at both ends → logit.
    Saturated,
    /// Two heads of opposite sign → logit.
    Cancelling,
}

impl Path {
    /// All, in the order in which they are drawn.
    pub const ALL: [Path; 5] = [Path::Relay, Path::Or, Path::And, Path::Saturated, Path::Cancelling];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Path::Relay => "two-hop relay",
            Path::Or => "OR back-up",
            Path::And => "AND with the core",
            Path::Saturated => "saturated gate",
            Path::Cancelling => "cancelling paths",
        }
    }
}

/// How large each planted coefficient is, in nats of logit difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Strengths {
    /// a: core.
    pub core: f64,
    /// η: neutral.
    pub neutral: f64,
    /// b: relay.
    pub relay: f64,
    /// δ: OR gate.
    pub or: f64,
    /// γ: AND gate.
    pub and: f64,
    /// ζ: saturated gate.
    pub saturated: f64,
    /// β: each of the two cancelling heads.
    pub cancelling: f64,
    /// κ: what the logit reads of the dormant direction, where nothing writes.
    pub dormant: f64,
}

/// Which paths of a model are strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Paths {
    /// All.
    All,
    /// Each with probability ½.
    Half,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CompiledSpec {
    /// What the strengths of the paths from s are multiplied by.
    pub strength: f64,
    /// Standard deviation of what each head on a path adds to the logit for each contrast between surface forms of the
    /// attribute's token, in nats: an effect of every single pair that is 0 over the population of pairs.
    pub hum: f64,
    /// Which paths are strong.
    pub paths: Paths,
}

impl Default for CompiledSpec {
    fn default() -> Self {
        Self { strength: 1.0, hum: 0.0, paths: Paths::All }
    }
}

/// One model's plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wiring {
    heads: Vec<(Role, Node)>,
    /// Block of the OR, AND and saturated gate.
    pub gates: [usize; 3],
    /// The planted coefficients.
    pub strengths: Strengths,
    /// λ of each role on a path: what it adds to the logit for a unit of each contrast between surface forms.
    pub hum: Vec<(Role, [f64; CONTRASTS])>,
    /// Positions of core, attribute, neutral and filler token.
    pub slots: [usize; 4],
    /// The position through which the relay runs.
    pub relay: usize,
}

impl Wiring {
    /// Draws a model's plan.
    pub fn draw(spec: &CompiledSpec, seed: &Seed) -> Self {
        let heads = place(&seed.fork("heads"));
        let layer = |role: Role| heads.iter().find(|(other, _)| *other == role).map_or(0, |(_, node)| node.layer());
        let mut rng = seed.fork("gates").rng();
        let mut gate = |after: usize| after + index(&mut rng, LAYERS - after);
        let gates = [
            gate(layer(Role::BackupFirst).max(layer(Role::BackupSecond))),
            gate(layer(Role::Gated).max(layer(Role::Core))),
            gate(layer(Role::Saturated)),
        ];
        let mut slots = [1, 2, 3, 4];
        shuffle(&mut seed.fork("slots").rng(), &mut slots);
        let relay = 5 + index(&mut seed.fork("relay").rng(), 2);
        let on_path = Role::ALL.into_iter().filter(|role| role.path().is_some());
        let hum = on_path.map(|role| {
            let mut rng = seed.fork("hum").fork(&format!("{role:?}")).rng();
            (role, [(); CONTRASTS].map(|()| spec.hum * normal(&mut rng)))
        });
        Self { gates, strengths: strengths(spec, seed), hum: hum.collect(), slots, relay, heads }
    }

    /// The heads with what each is for, in the order of [`Role::ALL`].
    pub fn heads(&self) -> &[(Role, Node)] {
        &self.heads
    }

    /// The head that has a role.
    pub fn node(&self, role: Role) -> Option<Node> {
        self.heads.iter().find(|(other, _)| *other == role).map(|(_, node)| *node)
    }

    /// What a head is for.
    pub fn role(&self, node: Node) -> Option<Role> {
        self.heads.iter().find(|(_, other)| *other == node).map(|(role, _)| *role)
    }

    /// λ of a role, 0 where it has none.
    pub fn hum_of(&self, role: Role) -> [f64; CONTRASTS] {
        self.hum.iter().find(|(other, _)| *other == role).map(|(_, hum)| *hum).unwrap_or_default()
    }

    /// What a path adds to the logit where it is open.
    pub fn strength(&self, path: Path) -> f64 {
        let Strengths { relay, or, and, saturated, cancelling, .. } = self.strengths;
        match path {
            Path::Relay => relay,
            Path::Or => or,
            Path::And => and,
            Path::Saturated => saturated,
            Path::Cancelling => cancelling,
        }
    }
}

/// Puts the roles on heads at random, so that the relay runs forward and the cancelling heads share a block.
fn place(seed: &Seed) -> Vec<(Role, Node)> {
    let mut nodes: Vec<Node> =
        (0..LAYERS).flat_map(|layer| (0..HEADS).map(move |head| Node::Head { layer, head })).collect();
    let mut rng = seed.rng();
    loop {
        shuffle(&mut rng, &mut nodes);
        let heads: Vec<(Role, Node)> = Role::ALL.into_iter().zip(nodes.iter().copied()).collect();
        let layer = |role: Role| heads.iter().find(|(other, _)| *other == role).map(|(_, node)| node.layer());
        if layer(Role::RelayWriter) < layer(Role::RelayReader) && layer(Role::Plus) == layer(Role::Minus) {
            return heads;
        }
    }
}

fn strengths(spec: &CompiledSpec, seed: &Seed) -> Strengths {
    let between =
        |name: &str, low: f64, high: f64| low + (high - low) * uniform(&mut seed.fork("strength").fork(name).rng());
    let open = |name: &str| match spec.paths {
        Paths::All => 1.0,
        Paths::Half if uniform(&mut seed.fork("open").fork(name).rng()) < 0.5 => 1.0,
        Paths::Half => 0.0,
    };
    let path = |name: &str, low, high| spec.strength * open(name) * between(name, low, high);
    Strengths {
        core: between("core", 0.5, 1.5),
        neutral: between("neutral", 0.2, 1.0),
        relay: path("relay", 0.4, 1.2),
        or: path("or", 0.3, 0.9),
        and: path("and", 0.3, 0.9),
        saturated: path("saturated", 0.3, 0.9),
        cancelling: path("cancelling", 0.3, 0.9),
        dormant: between("dormant", 0.5, 1.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_keeps_its_promises_and_varies() {
        let mut places = std::collections::BTreeSet::new();
        for number in 0..300 {
            let wiring = Wiring::draw(&CompiledSpec::default(), &Seed::new(number));
            let layer = |role| wiring.node(role).expect("every role has a head").layer();
            assert!(layer(Role::RelayWriter) < layer(Role::RelayReader));
            assert_eq!(layer(Role::Plus), layer(Role::Minus));
            let [or, and, saturated] = wiring.gates;
            assert!(or >= layer(Role::BackupFirst).max(layer(Role::BackupSecond)));
            assert!(and >= layer(Role::Gated).max(layer(Role::Core)) && saturated >= layer(Role::Saturated));
            assert!(wiring.gates.iter().all(|gate| *gate < LAYERS));
            places.insert(wiring.node(Role::Decoy));
        }
        assert_eq!(places.len(), LAYERS * HEADS, "300 draws reach every place");
    }

    #[test]
    fn half_of_the_paths_are_open_and_strength_scales_them() {
        let spec = CompiledSpec { strength: 0.5, hum: 0.1, paths: Paths::Half };
        let draw = |number| Wiring::draw(&spec, &Seed::new(number));
        let open: usize = (0..100)
            .map(|number| Path::ALL.into_iter().filter(|path| draw(number).strength(*path) > 0.0).count())
            .sum();
        // Binomial(500, ½): five standard deviations are 56.
        assert!((194..=306).contains(&open), "{open} of 500 paths");
        let full = Wiring::draw(&CompiledSpec { strength: 1.0, ..spec }, &Seed::new(3));
        for path in Path::ALL {
            assert_eq!(draw(3).strength(path), 0.5 * full.strength(path));
        }
        assert_eq!(draw(3).strengths.core, full.strengths.core);
    }
}
