//! Pairs that somebody brings: JSON lines of two prompts and two answers, as text or as token ids.
//!
//! A line is `{"id", "cluster", "factual", "counterfactual", "answers": [a, b]}`, or the same with `factual_ids`,
//! `counterfactual_ids` and `answer_ids`, the answers being two ids or two lists of ids. `cluster` may be left out:
//! each pair is its own then. Prompts of unequal length need `factual_slots` and `counterfactual_slots`, lists of
//! `{"name", "start", "end"}` that count bytes of text or, beside ids, tokens. Other fields are ignored.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::MediateError;
use crate::base::{FileError, files, suggestion};
use crate::intervene::TokenPair;
use crate::model::{ModelError, TextTokenizer, TokenizedPrompt, tokenize_prompt};
use crate::scenario::{Prompt, Slot};

const FIELDS: [&str; 10] = [
    "id",
    "cluster",
    "factual",
    "counterfactual",
    "answers",
    "factual_ids",
    "counterfactual_ids",
    "answer_ids",
    "factual_slots",
    "counterfactual_slots",
];

/// Reads a file of pairs. Text needs the model's tokenizer; ids do not. Ids of pairs must be unique.
pub fn read_pairs(path: &Path, tokenizer: Option<&TextTokenizer>) -> Result<Vec<TokenPair>, MediateError> {
    let mut pairs: Vec<TokenPair> = Vec::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for (index, line) in files::read_text(path)?.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let malformed = |message: String| {
            MediateError::File(FileError::MalformedLine { path: path.to_path_buf(), line: number, message })
        };
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| malformed(error.to_string()))?;
        let pair = read_line(&object, tokenizer).map_err(malformed)?;
        if let Some(first) = lines.insert(pair.id.clone(), number) {
            return Err(malformed(format!("field \"id\": {:?} stands in line {first} too", pair.id)));
        }
        pairs.push(pair);
    }
    if pairs.is_empty() {
        return Err(MediateError::NoPairs { population: path.display().to_string(), purpose: "analyse" });
    }
    Ok(pairs)
}

fn read_line(object: &Map<String, Value>, tokenizer: Option<&TextTokenizer>) -> Result<TokenPair, String> {
    let line = Line(object);
    let id = line.name("id")?.ok_or_else(|| line.missing("id"))?;
    let cluster = line.name("cluster")?.unwrap_or_else(|| id.clone());
    let (factual, counterfactual) = if object.contains_key("factual_ids") || object.contains_key("counterfactual_ids") {
        let answers = line.answer_ids()?;
        (line.ids_prompt("factual", &answers)?, line.ids_prompt("counterfactual", &answers)?)
    } else {
        let answers = line.answers()?;
        (line.text_prompt("factual", &answers, tokenizer)?, line.text_prompt("counterfactual", &answers, tokenizer)?)
    };
    TokenPair::new(id, cluster, factual, counterfactual).map_err(|error| error.to_string())
}

/// One line's fields, read with their names in every complaint.
struct Line<'a>(&'a Map<String, Value>);

impl Line<'_> {
    fn missing(&self, field: &str) -> String {
        let unknown = self.0.keys().map(String::as_str).filter(|key| !FIELDS.contains(key));
        match suggestion(field, unknown) {
            Some(near) => format!("field {field:?} is missing; {near:?} is no field"),
            None => format!("field {field:?} is missing"),
        }
    }

    fn get(&self, field: &str) -> Result<&Value, String> {
        self.0.get(field).ok_or_else(|| self.missing(field))
    }

    /// A text, or an integer written as text.
    fn name(&self, field: &str) -> Result<Option<String>, String> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
            Some(other) => Err(format!("field {field:?} must be a text, found {other}")),
        }
    }

    fn answers(&self) -> Result<Vec<String>, String> {
        let wrong = || "field \"answers\" must be a list of two texts".to_owned();
        let answers = self.get("answers")?.as_array().ok_or_else(wrong)?;
        let texts: Option<Vec<String>> = answers.iter().map(|answer| answer.as_str().map(str::to_owned)).collect();
        texts.filter(|texts| texts.len() == 2).ok_or_else(wrong)
    }

    fn answer_ids(&self) -> Result<Vec<Vec<u32>>, String> {
        let wrong = || "field \"answer_ids\" must be two token ids or two lists of token ids".to_owned();
        let answers = self.get("answer_ids")?.as_array().ok_or_else(wrong)?;
        let read = |answer: &Value| match answer {
            Value::Array(_) => ids(answer).filter(|ids| !ids.is_empty()),
            other => id(other).map(|id| vec![id]),
        };
        let read: Option<Vec<Vec<u32>>> = answers.iter().map(read).collect();
        read.filter(|answers| answers.len() == 2).ok_or_else(wrong)
    }

    fn ids_prompt(&self, side: &str, answers: &[Vec<u32>]) -> Result<TokenizedPrompt, String> {
        let field = format!("{side}_ids");
        let ids = ids(self.get(&field)?).ok_or_else(|| format!("field {field:?} must be a list of token ids"))?;
        let slots = self.slots(side, ids.len())?;
        let slots = slots.into_iter().map(|slot| (slot.name, slot.start..slot.end)).collect();
        Ok(TokenizedPrompt { ids, answers: answers.to_vec(), slots })
    }

    fn text_prompt(
        &self,
        side: &str,
        answers: &[String],
        tokenizer: Option<&TextTokenizer>,
    ) -> Result<TokenizedPrompt, String> {
        let text = self.get(side)?.as_str().ok_or_else(|| format!("field {side:?} must be a text"))?;
        let slots = self.slots(side, text.len())?;
        let prompt =
            Prompt { text: text.to_owned(), slots, values: BTreeMap::new(), answers: answers.to_vec(), label: None };
        let tokenizer = tokenizer.ok_or_else(|| ModelError::NoTokenizer.to_string())?;
        tokenize_prompt(tokenizer, &prompt).map_err(|error| format!("field {side:?}: {error}"))
    }

    fn slots(&self, side: &str, length: usize) -> Result<Vec<Slot>, String> {
        let field = format!("{side}_slots");
        let Some(value) = self.0.get(&field) else { return Ok(Vec::new()) };
        let slots: Vec<Slot> =
            serde_json::from_value(value.clone()).map_err(|error| format!("field {field:?}: {error}"))?;
        match slots.iter().find(|slot| slot.start >= slot.end || slot.end > length) {
            None => Ok(slots),
            Some(Slot { name, start, end }) => Err(format!(
                "field {field:?}: slot {name:?} at {start}..{end} is empty or outside the prompt of {length}"
            )),
        }
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

fn ids(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("counterpath-pairs-{}-{name}.jsonl", std::process::id()));
        files::write_atomic(&path, text.as_bytes()).expect("scratch file");
        path
    }

    #[test]
    fn ids_are_read_in_both_forms() {
        let path = scratch(
            "good",
            r#"{"id": "a", "cluster": "t1", "factual_ids": [1, 2, 3], "counterfactual_ids": [1, 4, 3], "answer_ids": [5, 6]}

{"id": 7, "factual_ids": [1, 2, 3, 9], "counterfactual_ids": [1, 4, 9], "answer_ids": [[5, 6], [7]], "note": "x",
"#
            .replace("\"x\",\n", r#""x", "factual_slots": [{"name": "n", "start": 1, "end": 3}], "counterfactual_slots": [{"name": "n", "start": 1, "end": 2}]}"#)
            .as_str(),
        );
        let pairs = read_pairs(&path, None).expect("two pairs");
        assert_eq!((pairs[0].id.as_str(), pairs[0].cluster.as_str()), ("a", "t1"));
        assert_eq!(pairs[0].factual.answers, [vec![5], vec![6]]);
        assert_eq!((pairs[1].id.as_str(), pairs[1].cluster.as_str()), ("7", "7"));
        assert_eq!(pairs[1].landmarks(), ["n", "last"]);
        files::remove(&path).expect("clean up");
    }

    #[test]
    fn a_bad_line_names_file_line_and_field() {
        let good = r#"{"id": "a", "factual_ids": [1], "counterfactual_ids": [2], "answer_ids": [5, 6]}"#;
        for (number, (line, reason)) in [
            (r#"{"id": "b""#, "EOF"),
            ("[1]", "invalid type"),
            (r#"{"factual_ids": [1]}"#, "\"id\" is missing"),
            (r#"{"id": "b", "factual_ids": [1], "answer_ids": [5, 6]}"#, "\"counterfactual_ids\" is missing"),
            (r#"{"id": "b", "factual_ids": [1, -2], "counterfactual_ids": [2], "answer_ids": [5, 6]}"#, "\"factual_ids\" must be"),
            (r#"{"id": "b", "factual_ids": [1], "counterfactual_ids": [2], "answer_ids": [5]}"#, "\"answer_ids\" must be"),
            (r#"{"id": "b", "factual_ids": [1], "counterfactual_ids": [2], "answer_ids": [[5], []]}"#, "\"answer_ids\" must be"),
            (r#"{"id": "b", "factual": "x", "counterfactuals": "y", "answers": ["p", "q"]}"#, "no tokenizer"),
            (r#"{"id": "b", "factual": "x", "counterfactual": "y", "answers": ["p"]}"#, "\"answers\" must be"),
            (r#"{"id": "b", "factual": "x", "counterfactual": "y", "answer": ["p", "q"]}"#, "\"answer\" is no field"),
            (r#"{"id": "b", "factual_ids": [1, 2], "counterfactual_ids": [2], "answer_ids": [5, 6]}"#, "cannot be aligned"),
            (r#"{"id": "b", "factual_ids": [1], "counterfactual_ids": [2], "answer_ids": [5, 6], "factual_slots": [{"name": "n", "start": 0, "end": 2}]}"#, "\"factual_slots\""),
            (good, "stands in line 1 too"),
        ]
        .into_iter()
        .enumerate()
        {
            let path = scratch(&format!("bad-{number}"), &format!("{good}\n\n{line}\n"));
            let error = read_pairs(&path, None).expect_err(line).to_string();
            assert!(error.contains("line 3") && error.contains(reason), "{line}: {error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
            files::remove(&path).expect("clean up");
        }
    }
}
