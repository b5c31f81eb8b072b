//! Puts a scenario file together: names become one graph, answers find their labels, and prompts are held to show
//! exactly what the graph says that an answer sees.

use std::collections::BTreeMap;

use super::error::{ScenarioError, Source, nearest};
use super::model::{ANSWER, Answer};
use super::scm::Scm;
use super::spec::{AnswerSpec, ScenarioSpec};
use super::template::Prompts;
use crate::causal::{Graph, GraphError, Role, Visibility};

/// Name, place in the file and content of each answer.
pub(super) fn answer_specs(spec: &ScenarioSpec) -> Vec<(&str, Vec<&str>, &AnswerSpec)> {
    let single = spec.answer.iter().map(|answer| (ANSWER, vec!["answer"], answer));
    let named = spec.answers.iter().map(|(name, answer)| (name.as_str(), vec!["answers", name.as_str()], answer));
    single.chain(named).collect()
}

/// The graph of a file, nodes in parent-first order.
pub(super) fn read_graph(spec: &ScenarioSpec, source: &Source) -> Result<Graph, ScenarioError> {
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

pub(super) fn read_answer(
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
pub(super) fn check_shown(
    prompts: &Prompts,
    answers: &[Answer],
    scm: &Scm,
    source: &Source,
) -> Result<(), ScenarioError> {
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
