//! Counterfactual pairs that a user brings without a causal model: JSONL, one pair a line.
//!
//! ```json
//! {"id": "1", "cluster": "t1", "factual": "The nurse said", "counterfactual": "The guard said", "answers": [" she", " he"]}
//! ```
//!
//! Optional: `expectation` (`"invariant"`, or `{"follow": 1}` with the counterfactual side's label), `label` (the factual
//! side's), `split` (`"tuning"`, `"discovery"`, `"evaluation"`), `environment`, `template`, and `slots`
//! (`{"factual": [{"name", "start", "end"}], "counterfactual": […]}`, byte offsets). Nothing vouches that the sides
//! differ by an intervention, so such pairs are marked [`Provenance::Declared`] wherever they go.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::{ScenarioError, nearest};
use super::pair::{CounterfactualPair, Expectation, Prompt, Provenance, Slot, Split};
use crate::base::Seed;
use crate::base::files;
use crate::base::seed::shuffle;

const FIELDS: [&str; 11] = [
    "id",
    "cluster",
    "factual",
    "counterfactual",
    "answers",
    "expectation",
    "label",
    "split",
    "environment",
    "template",
    "slots",
];

/// Reads declared pairs; a malformed line is named with file, line and field.
pub fn read_declared(path: &Path) -> Result<Vec<CounterfactualPair>, ScenarioError> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    parse_declared(&path.display().to_string(), &name, &files::read_text(path)?)
}

/// Parses declared pairs from text; `file` is for errors, `scenario` becomes the pairs' scenario id.
pub fn parse_declared(file: &str, scenario: &str, text: &str) -> Result<Vec<CounterfactualPair>, ScenarioError> {
    let (mut pairs, mut ids) = (Vec::new(), BTreeSet::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = Line { file, line: index + 1 };
        let value: Value = serde_json::from_str(line).map_err(|error| at.error("", error.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(at.error("", "the line is no JSON object: write one `{…}` a line"));
        };
        let pair = read_pair(&at, scenario, &fields)?;
        if !ids.insert(pair.id.clone()) {
            return Err(at.error("id", format!("`{}` stands on an earlier line too: ids must be unique", pair.id)));
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

/// Deals declared pairs out to the three splits by cluster, so that no cluster is on two sides: a quarter of the
/// clusters for discovery, a quarter for tuning, the rest for evaluation, by `seed`.
pub fn split_by_cluster(pairs: &mut [CounterfactualPair], seed: Seed) {
    let distinct: BTreeSet<String> = pairs.iter().map(|pair| pair.cluster.clone()).collect();
    let mut clusters: Vec<String> = distinct.into_iter().collect();
    shuffle(&mut seed.fork("splits").rng(), &mut clusters);
    let quarter = clusters.len() / 4;
    for pair in pairs {
        let place = clusters.iter().position(|cluster| *cluster == pair.cluster).unwrap_or(0);
        pair.split = match place {
            place if place < quarter => Split::Discovery,
            place if place < 2 * quarter => Split::Tuning,
            _ => Split::Evaluation,
        };
    }
}

struct Line<'a> {
    file: &'a str,
    line: usize,
}

impl Line<'_> {
    fn error(&self, field: &str, message: impl Into<String>) -> ScenarioError {
        let field = if field.is_empty() { "(whole line)" } else { field };
        ScenarioError::Line { file: self.file.into(), line: self.line, field: field.into(), message: message.into() }
    }

    fn text(&self, fields: &Map<String, Value>, name: &str) -> Result<String, ScenarioError> {
        match fields.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(Value::String(_)) => Err(self.error(name, "it is empty")),
            Some(other) => Err(self.error(name, format!("expected text, found {other}"))),
            None => Err(self.error(name, "it is missing")),
        }
    }

    fn optional_text(&self, fields: &Map<String, Value>, name: &str) -> Result<Option<String>, ScenarioError> {
        fields.get(name).map(|_| self.text(fields, name)).transpose()
    }

    fn index(&self, value: &Value, name: &str, answers: usize) -> Result<usize, ScenarioError> {
        let index = value.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|&index| index < answers);
        index.ok_or_else(|| self.error(name, format!("{value} is no index into the {answers} answers, counted from 0")))
    }

    fn slots(&self, fields: &Map<String, Value>, side: &str, text: &str) -> Result<Vec<Slot>, ScenarioError> {
        let field = format!("slots.{side}");
        let Some(value) = fields.get("slots") else { return Ok(Vec::new()) };
        let Some(slots) = value.get(side) else { return Err(self.error(&field, "it is missing")) };
        let slots: Vec<Slot> =
            serde_json::from_value(slots.clone()).map_err(|error| self.error(&field, error.to_string()))?;
        match slots.iter().find(|slot| text.get(slot.start..slot.end).is_none_or(str::is_empty)) {
            Some(slot) => {
                let message =
                    format!("`{}` does not cover characters of the {side} text ({} bytes)", slot.name, text.len());
                Err(self.error(&field, message))
            }
            None => Ok(slots),
        }
    }
}

fn read_pair(at: &Line<'_>, scenario: &str, fields: &Map<String, Value>) -> Result<CounterfactualPair, ScenarioError> {
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(at.error(unknown, format!("unknown field: {}", nearest(unknown, FIELDS))));
    }
    let answers = read_answers(at, fields)?;
    let label = fields.get("label").map(|value| at.index(value, "label", answers.len())).transpose()?;
    let expectation = read_expectation(at, fields.get("expectation"), answers.len())?;
    let split = match at.optional_text(fields, "split")?.as_deref() {
        None | Some("evaluation") => Split::Evaluation,
        Some("discovery") => Split::Discovery,
        Some("tuning") => Split::Tuning,
        Some(other) => {
            let known = nearest(other, ["tuning", "discovery", "evaluation"]);
            return Err(at.error("split", format!("unknown split `{other}`: {known}")));
        }
    };
    let side = |name: &str, label: Option<usize>| {
        let text = at.text(fields, name)?;
        let slots = at.slots(fields, name, &text)?;
        Ok::<_, ScenarioError>(Prompt { text, slots, values: Default::default(), answers: answers.clone(), label })
    };
    let moved = match &expectation {
        Expectation::Follow { label } => Some(*label),
        Expectation::Invariant => label,
    };
    let cluster = at.text(fields, "cluster")?;
    Ok(CounterfactualPair {
        id: at.text(fields, "id")?,
        scenario: scenario.to_owned(),
        environment: at.optional_text(fields, "environment")?.unwrap_or_else(|| "declared".into()),
        split,
        template: at.optional_text(fields, "template")?.unwrap_or_else(|| cluster.clone()),
        cluster,
        factual: side("factual", label)?,
        counterfactual: side("counterfactual", moved)?,
        intervention: None,
        expectation,
        path: None,
        paraphrase_of: None,
        provenance: Provenance::Declared,
    })
}

fn read_answers(at: &Line<'_>, fields: &Map<String, Value>) -> Result<Vec<String>, ScenarioError> {
    let error = |message: &str| at.error("answers", message);
    let Some(value) = fields.get("answers") else { return Err(error("it is missing")) };
    let texts = value.as_array().map(|all| all.iter().map(Value::as_str).collect::<Option<Vec<&str>>>());
    let Some(Some(texts)) = texts else { return Err(error("expected a list of texts")) };
    if texts.len() < 2 {
        return Err(error("at least two continuations are needed"));
    }
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err(error("a continuation is empty"));
    }
    match texts.iter().collect::<BTreeSet<_>>().len() == texts.len() {
        true => Ok(texts.into_iter().map(str::to_owned).collect()),
        false => Err(error("a continuation stands there twice")),
    }
}

fn read_expectation(at: &Line<'_>, value: Option<&Value>, answers: usize) -> Result<Expectation, ScenarioError> {
    let field = "expectation";
    match value {
        None => Ok(Expectation::Invariant),
        Some(Value::String(text)) if text == "invariant" => Ok(Expectation::Invariant),
        Some(Value::Object(map)) if map.len() == 1 && map.contains_key("follow") => {
            let label = map.get("follow").map(|value| at.index(value, field, answers)).transpose()?;
            Ok(label.map_or(Expectation::Invariant, |label| Expectation::Follow { label }))
        }
        Some(other) => Err(at.error(field, format!("expected \"invariant\" or {{\"follow\": LABEL}}, found {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"id":"1","cluster":"c","factual":"A girl said","counterfactual":"A boy said","answers":[" she"," he"]}"#;

    fn error(line: &str) -> String {
        parse_declared("pairs.jsonl", "mine", &format!("{GOOD}\n\n{line}\n")).expect_err("malformed").to_string()
    }

    #[test]
    fn a_good_line_becomes_a_declared_pair() {
        let pairs = parse_declared("pairs.jsonl", "mine", GOOD).expect("good");
        assert_eq!(pairs[0].provenance, Provenance::Declared);
        assert_eq!(pairs[0].expectation, Expectation::Invariant);
        let more = GOOD.replace("\"id\"", r#""expectation":{"follow":1},"label":0,"split":"tuning","slots":{"factual":[{"name":"noun","start":2,"end":6}],"counterfactual":[{"name":"noun","start":2,"end":5}]},"id""#);
        let pair = &parse_declared("pairs.jsonl", "mine", &more).expect("good")[0];
        assert_eq!(pair.expectation, Expectation::Follow { label: 1 });
        assert_eq!((pair.factual.label, pair.counterfactual.label), (Some(0), Some(1)));
        assert_eq!(pair.factual.text[pair.factual.slots[0].start..pair.factual.slots[0].end], *"girl");
    }

    #[test]
    fn a_bad_line_is_named_with_file_line_and_field() {
        for (old, new, says) in [
            (r#""cluster":"c","#, "", "line 3, field `cluster`: it is missing"),
            (r#""id":"1""#, r#""id":7"#, "line 3, field `id`: expected text, found 7"),
            (r#""id":"1""#, r#""id":"1""#, "line 3, field `id`: `1` stands on an earlier line too"),
            (r#"[" she"," he"]"#, r#"[" she"]"#, "line 3, field `answers`: at least two"),
            (r#"[" she"," he"]"#, r#"[" she",3]"#, "line 3, field `answers`: expected a list of texts"),
            (
                r#""factual":"A girl said""#,
                r#""factul":"A girl said""#,
                "line 3, field `factul`: unknown field: did you mean `factual`?",
            ),
            (r#""id":"1""#, r#""id":"2","label":2"#, "line 3, field `label`: 2 is no index into the 2 answers"),
            (r#""id":"1""#, r#""id":"2","expectation":"inariant""#, "line 3, field `expectation`"),
            (
                r#""id":"1""#,
                r#""id":"2","slots":{"factual":[{"name":"x","start":2,"end":60}],"counterfactual":[]}"#,
                "field `slots.factual`",
            ),
        ] {
            let message = error(&GOOD.replace(old, new));
            assert!(message.contains("pairs.jsonl") && message.contains(says), "{message}");
        }
        assert!(error("{\"id\":").contains("line 3, field `(whole line)`"));
    }

    #[test]
    fn no_cluster_is_on_two_sides() {
        let line = |n: usize| GOOD.replace("\"1\"", &format!("\"{n}\"")).replace("\"c\"", &format!("\"c{}\"", n % 8));
        let text: String = (0..40).map(|n| line(n) + "\n").collect();
        let mut pairs = parse_declared("p", "mine", &text).expect("good");
        split_by_cluster(&mut pairs, Seed::new(1));
        for split in [Split::Tuning, Split::Discovery, Split::Evaluation] {
            let clusters: BTreeSet<&str> =
                pairs.iter().filter(|pair| pair.split == split).map(|pair| pair.cluster.as_str()).collect();
            assert_eq!(clusters.len(), if split == Split::Evaluation { 4 } else { 2 });
            assert!(pairs.iter().all(|pair| clusters.contains(pair.cluster.as_str()) == (pair.split == split)));
        }
    }
}
