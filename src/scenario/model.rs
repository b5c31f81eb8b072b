//! A scenario: one file parsed once into a graph, mechanisms, answers and prompts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use super::assemble::{answer_specs, check_shown, read_answer, read_graph};
use super::error::{ScenarioError, Source};
use super::exact::LabelTable;
use super::read;
use super::scm::Scm;
use super::spec::{FrozenSpec, PathKind, PromptSpec, ScenarioSpec};
use super::template::{PromptFile, Prompts};
use crate::base::digest::Hasher;
use crate::base::{Digest, files};
use crate::causal::{Graph, Role};

/// The name of the answer node that `[answer]` declares.
pub const ANSWER: &str = "answer";

/// One output of the model that the scenario asks about.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The node's name.
    pub name: String,
    /// The variables that the prompt shows, and whether the answer may follow them.
    pub parents: BTreeMap<usize, PathKind>,
    /// The variable that holds the truth.
    pub label: Option<usize>,
    /// The possible continuations, in the order of the label's values.
    pub texts: Vec<String>,
    /// The variable that forms groups together with the label.
    pub group: Option<usize>,
}

impl Answer {
    /// The parents that the answer may follow.
    pub fn legitimate(&self) -> impl Iterator<Item = usize> {
        self.parents.iter().filter(|(_, kind)| **kind == PathKind::Legitimate).map(|(&index, _)| index)
    }
}

/// A scenario, parsed.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its id.
    pub id: String,
    /// The version of its content.
    pub version: u32,
    /// The causal question.
    pub question: String,
    pub(super) scm: Scm,
    pub(super) graph: Graph,
    pub(super) answers: Vec<Answer>,
    pub(super) prompts: Prompts,
    pub(super) frozen: FrozenSpec,
    pub(super) labels: OnceLock<Vec<LabelTable>>,
    template: String,
    source: Source,
    prompt_source: Source,
}

/// A shipped scenario: id, scenario text, prompt text.
struct Shipped {
    id: &'static str,
    scenario: &'static str,
    prompts: &'static str,
}

macro_rules! shipped {
    ($($id:literal),* $(,)?) => {
        &[$(Shipped {
            id: $id,
            scenario: include_str!(concat!("../../eval_sets/", $id, "/scenario.toml")),
            prompts: include_str!(concat!("../../prompts/", $id, ".toml")),
        }),*]
    };
}

/// The scenarios that are built in, one line each.
static SHIPPED: &[Shipped] = shipped!["hiring", "tickets", "admissions", "stories"];

impl Scenario {
    /// Reads `folder/scenario.toml` and its prompt file: `<template>.toml` in the folder itself, or in the folder
    /// `prompts` beside the folder's parent.
    pub fn load(folder: &Path) -> Result<Self, ScenarioError> {
        let source = Source::read(&folder.join("scenario.toml"))?;
        let spec: ScenarioSpec = source.parse()?;
        let name = format!("{}.toml", spec.prompt.template);
        let own = folder.join(&name);
        let shared = folder.join("../../prompts").join(&name);
        let prompts = Source::read(if files::exists(&own) { &own } else { &shared })?;
        Self::build(spec, source, prompts)
    }

    /// Parses a scenario from the texts of its two files; `file` names the first in errors.
    pub fn parse(file: &str, scenario: &str, prompts: &str) -> Result<Self, ScenarioError> {
        let source = Source { file: file.to_owned(), text: scenario.to_owned() };
        let spec: ScenarioSpec = source.parse()?;
        let file = format!("prompts/{}.toml", spec.prompt.template);
        Self::build(spec, source, Source { file, text: prompts.to_owned() })
    }

    /// A scenario that ships with the program.
    pub fn builtin(id: &str) -> Result<Self, ScenarioError> {
        let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.id == id) else {
            return Err(ScenarioError::unknown("built in", "scenario", id, Self::builtin_ids()));
        };
        Self::parse(&format!("eval_sets/{id}/scenario.toml"), shipped.scenario, shipped.prompts)
    }

    /// The ids of the scenarios that ship with the program.
    pub fn builtin_ids() -> impl Iterator<Item = &'static str> + Clone {
        SHIPPED.iter().map(|shipped| shipped.id)
    }

    fn build(spec: ScenarioSpec, source: Source, prompt_source: Source) -> Result<Self, ScenarioError> {
        let graph = read_graph(&spec, &source)?;
        let is_answer = |node: &&crate::causal::Node| node.role == Role::Answer;
        let order: Vec<String> =
            graph.nodes().iter().filter(|node| !is_answer(node)).map(|node| node.name.clone()).collect();
        let scm = read::build(&spec, &source, &order)?;
        let mut answers = Vec::new();
        for (name, place, answer) in answer_specs(&spec) {
            answers.push(read_answer(name, &place, answer, &scm, &source)?);
        }
        let prompt_file: PromptFile = prompt_source.parse()?;
        let names: Vec<&str> = answers.iter().map(|answer| answer.name.as_str()).collect();
        let prompts = Prompts::resolve(&prompt_file, &prompt_source, &scm, &names)?;
        check_shown(&prompts, &answers, &scm, &prompt_source)?;
        let ScenarioSpec { id, version, question, frozen, prompt: PromptSpec { template }, .. } = spec;
        Ok(Self {
            id,
            version,
            question,
            scm,
            graph,
            answers,
            prompts,
            frozen,
            labels: OnceLock::new(),
            template,
            source,
            prompt_source,
        })
    }

    /// The causal graph: variables and latents in parent-first order under the indexes of [`Scenario::scm`], then the
    /// answers. Generation, identification, expectations and the report all read this one.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The mechanisms.
    pub fn scm(&self) -> &Scm {
        &self.scm
    }

    /// The answers, the first being what framings ask for unless they say otherwise.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// The framings.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// The size of the frozen set.
    pub fn frozen(&self) -> FrozenSpec {
        self.frozen
    }

    /// The text of the scenario file.
    pub fn scenario_text(&self) -> &str {
        &self.source.text
    }

    /// The name of the prompt file, without its ending.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The text of the prompt file.
    pub fn prompt_text(&self) -> &str {
        &self.prompt_source.text
    }

    /// The digest of both texts.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.part("scenario", self.source.text.as_bytes());
        hasher.part("prompts", self.prompt_source.text.as_bytes());
        hasher.finish()
    }

    /// The names of the environments, `train` among them.
    pub fn environments(&self) -> Vec<String> {
        self.scm.environments().map(str::to_owned).collect()
    }

    pub(super) fn check_environment(&self, environment: &str) -> Result<(), ScenarioError> {
        match self.scm.environments().any(|known| known == environment) {
            true => Ok(()),
            false => Err(ScenarioError::unknown(&self.id, "environment", environment, self.scm.environments())),
        }
    }

    pub(super) fn answer_index(&self, name: &str) -> Result<usize, ScenarioError> {
        self.answers.iter().position(|answer| answer.name == name).ok_or_else(|| {
            ScenarioError::unknown(&self.id, "answer", name, self.answers.iter().map(|answer| answer.name.as_str()))
        })
    }

    /// The index of an observed variable.
    pub(super) fn observed(&self, name: &str) -> Result<usize, ScenarioError> {
        let known = self.scm.variables().iter().filter(|v| v.role != Role::Latent).map(|v| v.name.as_str());
        match self.scm.index(name).filter(|_| known.clone().any(|other| other == name)) {
            Some(index) => Ok(index),
            None => Err(ScenarioError::unknown(&self.id, "observed variable", name, known)),
        }
    }
}
