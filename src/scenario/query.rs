//! What the graph says: which contrasts exist, what each should do to the answer, which effects a penalty may close,
//! and whether an observational number is identified.

use serde::{Deserialize, Serialize};

use super::error::ScenarioError;
use super::model::{ANSWER, Scenario};
use super::spec::PathKind;
use crate::causal::{Adjustment, NodeSet, Role};

/// Which descendants follow an intervention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// All: the total effect.
    All,
    /// Those on spurious paths to the answer; legitimate mediators keep their factual values (a direct effect).
    Spurious,
    /// Those on legitimate paths; the others keep their factual values (an indirect effect).
    Legitimate,
    /// None: the one word is exchanged where it stands, and nothing else.
    Word,
}

/// An intervention on one variable and what follows it, for one answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// The variable that is set.
    pub variable: String,
    /// What follows it.
    pub moved: Moved,
    /// The answer that is watched.
    pub answer: String,
}

impl Contrast {
    /// The total effect of a variable on an answer.
    pub fn total(variable: &str, answer: &str) -> Self {
        Self { variable: variable.to_owned(), moved: Moved::All, answer: answer.to_owned() }
    }

    /// A short name: `gender`, `gender.spurious`, `name.word`; with the answer behind it where that has a name of its
    /// own: `gender@wish`.
    pub fn name(&self) -> String {
        let moved = match self.moved {
            Moved::All => "",
            Moved::Spurious => ".spurious",
            Moved::Legitimate => ".legitimate",
            Moved::Word => ".word",
        };
        match self.answer == ANSWER {
            true => format!("{}{moved}", self.variable),
            false => format!("{}{moved}@{}", self.variable, self.answer),
        }
    }
}

/// What a well-behaved answer does under `do(variable)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// No directed path leads to the answer.
    NoPath,
    /// All paths are spurious: nothing may move.
    Invariant,
    /// All paths are legitimate: the answer follows the label's mechanism.
    Follow,
    /// Some paths are spurious, others legitimate: the effect has to be told apart into [`Moved::Spurious`] and
    /// [`Moved::Legitimate`] pairs.
    Split,
    /// As `Split`, but a variable between lies on paths of both kinds, so that no path-specific effect is defined.
    Recanting {
        /// That variable.
        witness: String,
    },
}

/// An effect that a penalty may close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermittedPenalty {
    /// The contrast whose effect it is.
    pub contrast: Contrast,
    /// Variables that keep their factual values while it is measured.
    pub held: Vec<String>,
    /// The paths that are closed.
    pub paths: Vec<String>,
}

/// Whether P(outcome | do(treatment)) follows from observational data of the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identification {
    /// Adjust for any one of these sets: Σ_z P(y | x, z) P(z).
    BackDoor {
        /// The minimal sets, by name.
        sets: Vec<Vec<String>>,
    },
    /// There is no directed path: the effect is zero.
    NoEffect,
    /// No set of observed variables does it; a path stays open.
    Refused {
        /// The path, with its arrows.
        open_path: String,
    },
}

impl Scenario {
    /// The kinds of the directed paths from a node to an answer: (spurious, legitimate).
    fn kinds(&self, node: usize, answer: usize) -> (bool, bool) {
        let reached = self.graph.descendants(NodeSet::one(node));
        let parents = self.answers.get(answer).map(|answer| &answer.parents);
        let of = |wanted: PathKind| {
            parents.is_some_and(|all| all.iter().any(|(&parent, &kind)| kind == wanted && reached.contains(parent)))
        };
        (of(PathKind::Spurious), of(PathKind::Legitimate))
    }

    /// What `answer` should do under `do(variable)`, from the kinds of the directed paths alone.
    pub fn expectation(&self, variable: &str, answer: &str) -> Result<Expected, ScenarioError> {
        Ok(self.expected(self.observed(variable)?, self.answer_index(answer)?))
    }

    pub(super) fn expected(&self, variable: usize, answer: usize) -> Expected {
        match self.kinds(variable, answer) {
            (false, false) => Expected::NoPath,
            (true, false) => Expected::Invariant,
            (false, true) => Expected::Follow,
            (true, true) => {
                let below = self.graph.descendants(NodeSet::one(variable)).without(variable);
                match below.iter().find(|&node| self.kinds(node, answer) == (true, true)) {
                    Some(witness) => Expected::Recanting { witness: self.graph.name(witness).to_owned() },
                    None => Expected::Split,
                }
            }
        }
    }

    /// The variables that follow a contrast, the variable itself among them where its own mention changes.
    pub(super) fn moved(&self, variable: usize, answer: usize, moved: Moved) -> NodeSet {
        let below = self.graph.descendants(NodeSet::one(variable));
        let variables = NodeSet::first(self.scm.variables().len());
        let own = |kind: PathKind| {
            self.answers.get(answer).is_some_and(|answer| answer.parents.get(&variable) == Some(&kind))
        };
        let follows = |node: &usize| {
            let kinds = self.kinds(*node, answer);
            match (moved, *node == variable) {
                (Moved::All, _) | (Moved::Word, true) => true,
                (Moved::Word, false) => false,
                (Moved::Spurious, true) => own(PathKind::Spurious),
                (Moved::Legitimate, true) => own(PathKind::Legitimate),
                (Moved::Spurious, false) => kinds == (true, false),
                (Moved::Legitimate, false) => !kinds.0,
            }
        };
        (below & variables).iter().filter(follows).collect()
    }

    /// The contrasts that the graph distinguishes for all answers: a total effect where all paths are of one kind, a
    /// spurious and a legitimate part where they are mixed. A proxy has a contrast only where it is spurious: the bare
    /// swap of its word, which is weaker than `do()` on what it stands for.
    pub fn contrasts(&self) -> Vec<Contrast> {
        let mut contrasts = Vec::new();
        for (answer, node) in self.answers.iter().enumerate() {
            for (index, variable) in self.scm.variables().iter().enumerate() {
                if matches!(variable.role, Role::Latent | Role::Label) {
                    continue;
                }
                let parts: &[Moved] = match (self.expected(index, answer), variable.role) {
                    (Expected::NoPath, _) => &[],
                    (Expected::Invariant, Role::Proxy) => &[Moved::Word],
                    (_, Role::Proxy) => &[],
                    (Expected::Invariant | Expected::Follow, _) => &[Moved::All],
                    (Expected::Split, _) => &[Moved::Spurious, Moved::Legitimate],
                    (Expected::Recanting { .. }, _) => &[],
                };
                contrasts.extend(parts.iter().map(|&moved| Contrast {
                    variable: variable.name.clone(),
                    moved,
                    answer: node.name.clone(),
                }));
            }
        }
        contrasts
    }

    /// The directed paths that a contrast moves, as text.
    pub(super) fn moved_paths(&self, variable: usize, answer: usize, moved: Moved) -> Vec<String> {
        let Some(parents) = self.answers.get(answer).map(|answer| &answer.parents) else { return Vec::new() };
        let wanted = |path: &[usize]| {
            let kind = path.iter().rev().nth(1).and_then(|last| parents.get(last));
            match moved {
                Moved::All => true,
                Moved::Spurious => kind == Some(&PathKind::Spurious),
                Moved::Legitimate => kind == Some(&PathKind::Legitimate),
                Moved::Word => path.len() == 2,
            }
        };
        let paths = self.graph.directed_paths(variable, self.scm.variables().len() + answer);
        paths.iter().filter(|path| wanted(path)).map(|path| self.graph.path_text(path)).collect()
    }

    /// The effects that a penalty may close: of each observed variable the total effect where all its paths are
    /// spurious, and the spurious part alone where another path is legitimate. Legitimate effects are never in the
    /// list, nor are spurious parts that a recanting witness leaves undefined.
    pub fn permitted_penalties(&self) -> Vec<PermittedPenalty> {
        let mut permitted = Vec::new();
        for (answer, node) in self.answers.iter().enumerate() {
            for (index, variable) in self.scm.variables().iter().enumerate() {
                let moved = match (variable.role, self.expected(index, answer)) {
                    (Role::Latent | Role::Label, _) => continue,
                    (_, Expected::Invariant) => Moved::All,
                    (_, Expected::Split) => Moved::Spurious,
                    _ => continue,
                };
                let below = self.graph.descendants(NodeSet::one(index)) & NodeSet::first(self.scm.variables().len());
                let relevant = |node: &usize| self.kinds(*node, answer) != (false, false);
                let held = (below - self.moved(index, answer, moved)).without(index).iter().filter(relevant).collect();
                permitted.push(PermittedPenalty {
                    contrast: Contrast { variable: variable.name.clone(), moved, answer: node.name.clone() },
                    held: self.graph.names(held),
                    paths: self.moved_paths(index, answer, moved),
                });
            }
        }
        permitted
    }

    /// Whether the total effect of one observed variable (or answer) on another is identified from observational
    /// data of this scenario by covariate adjustment, latents staying unseen; or which path forbids it.
    pub fn identify(&self, treatment: &str, outcome: &str) -> Result<Identification, ScenarioError> {
        let node = |name: &str| match self.answer_index(name) {
            Ok(answer) => Ok(self.scm.variables().len() + answer),
            Err(_) => self.observed(name),
        };
        Ok(match self.graph.adjustment(node(treatment)?, node(outcome)?) {
            Adjustment::Sets(sets) => {
                Identification::BackDoor { sets: sets.into_iter().map(|set| self.graph.names(set)).collect() }
            }
            Adjustment::NoEffect => Identification::NoEffect,
            Adjustment::Refused { open_path } => Identification::Refused { open_path },
        })
    }
}
