//! A scenario: one file parsed once into a graph, mechanisms, answers and prompts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use super::error::{ScenarioError, Source, nearest};
use super::exact::LabelTable;
use super::read;
use super::scm::Scm;
use super::spec::{AnswerSpec, FrozenSpec, PathKind, PromptSpec, ScenarioSpec};
use super::template::{PromptFile, Prompts};
use crate::base::digest::Hasher;
use crate::base::{Digest, files};
use crate::causal::{Graph, GraphError, Role, Visibility};

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
        Ok(Self { id, version, question, scm, graph, answers, prompts, frozen, labels: OnceLock::new(), template, source, prompt_source })
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

/// Name, place in the file and content of each answer.
fn answer_specs(spec: &ScenarioSpec) -> Vec<(&str, Vec<&str>, &AnswerSpec)> {
    let single = spec.answer.iter().map(|answer| (ANSWER, vec!["answer"], answer));
    let named = spec.answers.iter().map(|(name, answer)| (name.as_str(), vec!["answers", name.as_str()], answer));
    single.chain(named).collect()
}

/// The graph of a file, nodes in parent-first order.
fn read_graph(spec: &ScenarioSpec, source: &Source) -> Result<Graph, ScenarioError> {
    let mut nodes: Vec<(&str, Role, Vec<&str>, Vec<&str>)> = Vec::new();
    for name in spec.latents.keys() {
        nodes.push((name, Role::Latent, Vec::new(), vec!["latents", name]));
    }
    for (name, variable) in &spec.variables {
        let place = vec!["variables", name.as_str()];
        if matches!(variable.role, Role::Latent | Role::Answer | Role::Plain) {
            let message = format!(
                "`{}` is no role of a variable: latents stand under [latents.*], the model's output under [answer]",
                variable.role
            );
            return Err(source.invalid(&[&place[..], &["role"]].concat(), message));
        }
        nodes.push((name, variable.role, variable.parents.iter().map(String::as_str).collect(), place));
    }
    for (name, place, answer) in answer_specs(spec) {
        nodes.push((name, Role::Answer, answer.parents.keys().map(String::as_str).collect(), place));
    }
    if !nodes.iter().any(|(_, role, ..)| *role == Role::Answer) {
        return Err(source.invalid(&[], "there is no [answer]: say what the prompt shows the model"));
    }
    let at = |place: &[&str], error: GraphError| source.invalid(place, error.to_string());
    let mut draft = Graph::new();
    for (name, role, _, place) in &nodes {
        draft.add_node(name, *role, Visibility::Observed).map_err(|error| at(place, error))?;
    }
    let readable = nodes.iter().filter(|(_, role, ..)| *role != Role::Answer).map(|(name, ..)| *name);
    for (to, (_, _, parents, place)) in nodes.iter().enumerate() {
        let key = [&place[..], &["parents"]].concat();
        for parent in parents {
            if !readable.clone().any(|name| name == *parent) {
                let message =
                    format!("unknown variable `{parent}` among the parents: {}", nearest(parent, readable.clone()));
                return Err(source.invalid(&key, message));
            }
            let from = draft.id(parent).map_err(|error| at(&key, error))?;
            draft.add_edge(from, to).map_err(|error| at(&key, error))?;
        }
    }
    let order = draft.topological_order().map_err(|error| at(&["variables"], error))?;
    let (answers, rest): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|&node| nodes.get(node).is_some_and(|(_, role, ..)| *role == Role::Answer));
    let mut graph = Graph::new();
    for (name, role, parents, place) in rest.into_iter().chain(answers).filter_map(|node| nodes.get(node)) {
        let visibility = if *role == Role::Latent { Visibility::Latent } else { Visibility::Observed };
        let to = graph.add_node(name, *role, visibility).map_err(|error| at(place, error))?;
        for parent in parents {
            let from = graph.id(parent).map_err(|error| at(place, error))?;
            graph.add_edge(from, to).map_err(|error| at(place, error))?;
        }
    }
    Ok(graph)
}

fn read_answer(
    name: &str,
    place: &[&str],
    spec: &AnswerSpec,
    scm: &Scm,
    source: &Source,
) -> Result<Answer, ScenarioError> {
    let at = |key: &'static str| [place, &[key]].concat();
    let of_role = |role: Role| scm.variables().iter().enumerate().filter(move |(_, v)| v.role == role).map(|(i, _)| i);
    let mut parents = BTreeMap::new();
    for (parent, kind) in &spec.parents {
        let Some(index) = scm.index(parent).filter(|&i| scm.variable(i).is_some_and(|v| v.role != Role::Latent)) else {
            return Err(source.invalid(&at("parents"), format!("`{parent}` is latent: a prompt cannot show it")));
        };
        parents.insert(index, *kind);
    }
    let named = |key: &'static str, name: &str| {
        let names = scm.variables().iter().filter(|v| v.role != Role::Latent).map(|v| v.name.as_str());
        let found = scm.index(name).filter(|_| names.clone().any(|other| other == name));
        found.ok_or_else(|| source.invalid(&at(key), format!("unknown variable `{name}`: {}", nearest(name, names))))
    };
    let label = match spec.label.as_deref() {
        Some("") => None,
        Some(label) => Some(named("label", label)?),
        None => match of_role(Role::Label).collect::<Vec<_>>()[..] {
            [only] => Some(only),
            _ => {
                return Err(source
                    .invalid(place, "say which variable holds the true answer: `label = \"…\"`, or \"\" for none"));
            }
        },
    };
    if let Some(label) = label.filter(|label| parents.contains_key(label)) {
        let name = scm.variable(label).map_or("", |v| v.name.as_str());
        return Err(
            source.invalid(&at("parents"), format!("the label `{name}` may not stand in the prompt: take it out"))
        );
    }
    let values = label.and_then(|label| scm.variable(label)).map(|v| v.values.clone());
    if let (Some(values), Some(key)) =
        (&values, spec.text.keys().find(|key| values.as_ref().is_some_and(|v| !v.contains(key))))
    {
        let known = nearest(key, values.iter().map(String::as_str));
        return Err(
            source.invalid(&[place, &["text", key]].concat(), format!("the label has no value `{key}`: {known}"))
        );
    }
    let values = values.unwrap_or_else(|| spec.text.keys().cloned().collect());
    let text = |value: &String| spec.text.get(value).cloned().unwrap_or_else(|| format!(" {value}"));
    let texts: Vec<String> = values.iter().map(text).collect();
    if texts.len() < 2 {
        return Err(source.invalid(place, "an answer needs at least two continuations: give them under `text`"));
    }
    let group = match &spec.group {
        Some(group) => Some(named("group", group)?),
        None => of_role(Role::Protected).chain(of_role(Role::Spurious)).next(),
    };
    Ok(Answer { name: name.to_owned(), parents, label, texts, group })
}

/// A prompt shows exactly what the graph says that the answer can see.
fn check_shown(prompts: &Prompts, answers: &[Answer], scm: &Scm, source: &Source) -> Result<(), ScenarioError> {
    for (index, framing) in prompts.framings.iter().enumerate() {
        let Some(answer) = answers.get(framing.answer) else { continue };
        let place = index.to_string();
        for (key, template) in
            [("text", &framing.text)].into_iter().chain(framing.paraphrases.iter().map(|p| ("paraphrases", p)))
        {
            let error = |message: String| Err(source.invalid(&["framings", place.as_str(), key], message));
            let name = |index: usize| scm.variable(index).map_or("", |v| v.name.as_str());
            let shown = template.variables();
            if let Some(&extra) = shown.iter().find(|variable| !answer.parents.contains_key(variable)) {
                let name = name(extra);
                return error(format!(
                    "the prompt shows `{name}`, which is no parent of `{}`: declare the edge or take the slot out",
                    answer.name
                ));
            }
            if let Some(&missing) = answer.parents.keys().find(|variable| !shown.contains(variable)) {
                let name = name(missing);
                return error(format!(
                    "the graph says that `{}` sees `{name}`, but the prompt has no slot for it: add `{{{name}}}` or take the edge out",
                    answer.name
                ));
            }
        }
    }
    Ok(())
}
