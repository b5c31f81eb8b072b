//! Our own graph file. A scenario file is one too: its mechanisms and prompts are passed over here.
//!
//! ```toml
//! bidirected = [["x", "y"]]
//! [latents.u]
//! [variables.x]
//! role = "protected"          # optional, as are tier, marks
//! parents = ["u"]
//! tier = 0
//! marks = ["exposure"]        # exposure, outcome, selected, differs
//! ```

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Document, FormatError};
use crate::base::suggestion;
use crate::causal::node::{Role, Visibility};

/// Keys of a scenario file that say nothing about edges.
const PASSED: [&str; 10] =
    ["id", "version", "question", "environments", "prompt", "frozen", "title", "description", "source", "discovery"];
const TOP: [&str; 5] = ["latents", "variables", "answer", "answers", "bidirected"];
const NODE: [&str; 4] = ["role", "parents", "tier", "marks"];
const NODE_PASSED: [&str; 8] = ["values", "p", "table", "choices", "pools", "label", "text", "group"];

fn error(place: &str, message: impl Into<String>) -> FormatError {
    FormatError::Key { place: place.to_owned(), message: message.into() }
}

pub(super) fn read(text: &str) -> Result<Document, FormatError> {
    let table: Table = text.parse().map_err(|cause: toml::de::Error| {
        let start = cause.span().map_or(0, |span| span.start);
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        FormatError::Syntax { line, message: cause.message().to_owned() }
    })?;
    known("the file", table.keys(), &TOP, &PASSED)?;
    let mut document = Document::default();
    let mut declared: Vec<(String, String, &Table)> = Vec::new();
    for (section, role) in [("latents", Some(Role::Latent)), ("variables", None), ("answers", Some(Role::Answer))] {
        for (name, value) in table.get(section).map(|value| sub(section, value)).transpose()?.into_iter().flatten() {
            declare(&mut document, &mut declared, (format!("{section}.{name}"), name, value), role)?;
        }
    }
    if let Some(answer) = table.get("answer") {
        declare(&mut document, &mut declared, ("answer".into(), "answer", answer), Some(Role::Answer))?;
    }
    for (place, name, body) in &declared {
        let to = document.graph.id(name)?;
        for parent in parents(place, body)? {
            let from = document.graph.id(&parent).map_err(|cause| error(place, format!("parents: {cause}")))?;
            document.graph.add_edge(from, to)?;
        }
    }
    for pair in list(table.get("bidirected"), "bidirected")? {
        let ends = names(Some(pair), "bidirected")?;
        let [a, b] = ends.as_slice() else {
            return Err(error("bidirected", "each entry is a pair of names, such as [\"x\", \"y\"]"));
        };
        let (a, b) = (document.graph.id(a)?, document.graph.id(b)?);
        document.graph.add_bidirected(a, b)?;
    }
    Ok(document)
}

fn known<'a>(
    place: &str,
    keys: impl Iterator<Item = &'a String>,
    read: &[&'static str],
    passed: &[&'static str],
) -> Result<(), FormatError> {
    for key in keys {
        let mut all = read.iter().chain(passed).copied();
        if !all.clone().any(|other| other == key) {
            let hint = suggestion(key, all.by_ref()).map(|name| format!(": did you mean `{name}`?"));
            return Err(error(place, format!("unknown key `{key}`{}", hint.unwrap_or_default())));
        }
    }
    Ok(())
}

fn sub<'a>(place: &str, value: &'a Value) -> Result<impl Iterator<Item = (&'a str, &'a Value)>, FormatError> {
    let table = value.as_table().ok_or_else(|| error(place, "it is no table: write [variables.x]"))?;
    Ok(table.iter().map(|(name, value)| (name.as_str(), value)))
}

fn declare<'a>(
    document: &mut Document,
    declared: &mut Vec<(String, String, &'a Table)>,
    (place, name, value): (String, &str, &'a Value),
    role: Option<Role>,
) -> Result<(), FormatError> {
    let body = value.as_table().ok_or_else(|| error(&place, "it is no table"))?;
    known(&place, body.keys(), &NODE, &NODE_PASSED)?;
    let stated = body.get("role").cloned().map(Value::try_into::<Role>).transpose();
    let stated = stated.map_err(|cause| error(&place, format!("role: {}", cause.message())))?;
    let role = role.or(stated).unwrap_or(Role::Plain);
    let visibility = if role == Role::Latent { Visibility::Latent } else { Visibility::Observed };
    let node = document.graph.add_node(name, role, visibility)?;
    if let Some(tier) = body.get("tier") {
        let tier = tier.as_integer().and_then(|tier| usize::try_from(tier).ok());
        document.tiers.insert(node, tier.ok_or_else(|| error(&place, "tier: it is no whole number from 0 on"))?);
    }
    for mark in names(body.get("marks"), &place)? {
        let set = match mark.as_str() {
            "exposure" => &mut document.exposures,
            "outcome" => &mut document.outcomes,
            "selected" => &mut document.selected,
            "differs" => &mut document.differs,
            other => {
                let message = format!("marks: `{other}` is none of exposure, outcome, selected, differs");
                return Err(error(&place, message));
            }
        };
        set.insert(node);
    }
    declared.push((place, name.to_owned(), body));
    Ok(())
}

/// A list of names, or an answer's table whose keys are names.
fn parents(place: &str, body: &Table) -> Result<Vec<String>, FormatError> {
    match body.get("parents") {
        Some(Value::Table(kinds)) => Ok(kinds.keys().cloned().collect()),
        other => names(other, &format!("{place}.parents")),
    }
}

fn list<'a>(value: Option<&'a Value>, place: &str) -> Result<&'a [Value], FormatError> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(error(place, "it is no list")),
    }
}

fn names(value: Option<&Value>, place: &str) -> Result<Vec<String>, FormatError> {
    let text =
        |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| error(place, format!("{item} is no name")));
    list(value, place)?.iter().map(text).collect()
}

pub(super) fn write(document: &Document) -> String {
    let graph = &document.graph;
    let quote = |name: &str| Value::String(name.to_owned()).to_string();
    let quoted = |nodes: &mut dyn Iterator<Item = usize>| {
        nodes.map(|node| quote(graph.name(node))).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    if !graph.bidirected().is_empty() {
        let pairs = graph.bidirected().into_iter().map(|(a, b)| format!("[{}]", quoted(&mut [a, b].into_iter())));
        text.push_str(&format!("bidirected = [{}]\n", pairs.collect::<Vec<_>>().join(", ")));
    }
    for (index, node) in graph.nodes().iter().enumerate() {
        let latent = node.visibility == Visibility::Latent;
        text.push_str(&format!("\n[{}.{}]\n", if latent { "latents" } else { "variables" }, quote(&node.name)));
        if !matches!(node.role, Role::Plain | Role::Latent) {
            text.push_str(&format!("role = \"{}\"\n", node.role));
        }
        if !graph.parents(index).is_empty() {
            text.push_str(&format!("parents = [{}]\n", quoted(&mut graph.parents(index).iter())));
        }
        if let Some(tier) = document.tiers.get(&index) {
            text.push_str(&format!("tier = {tier}\n"));
        }
        let marks: BTreeMap<&str, bool> = [
            ("exposure", document.exposures),
            ("outcome", document.outcomes),
            ("selected", document.selected),
            ("differs", document.differs),
        ]
        .map(|(mark, set)| (mark, set.contains(index)))
        .into();
        let marks: Vec<String> = marks.iter().filter(|(_, there)| **there).map(|(mark, _)| quote(mark)).collect();
        if !marks.is_empty() {
            text.push_str(&format!("marks = [{}]\n", marks.join(", ")));
        }
    }
    text
}
