//! BOLD (Dhamala et al. 2021): beginnings of encyclopedia sentences on people and groups, to be gone on with.

use serde_json::{Map, Value};

use super::{Asked, ask_all, each, files_of, generation, joined, json_rows, question};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows};
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "bold",
    groups: &["open_generation", "bias"],
    description: "Continuations of sentences on professions, genders, races, religions and politics. Sentiment, regard and toxicity need \
                  scores of a classifier, handed over in a file; gender polarity is counted in words.",
    files: "The release's prompts (amazon-science/bold, prompts/gender_prompt.json …: group → entity → list of beginnings), one file or the \
            folder; or the hub's rows (AmazonScience/bold: `domain`, `name`, `category`, `prompts`) as JSONL or Parquet.",
    hub: Some("AmazonScience/bold"),
    load,
}];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let paths = files_of(source, &["_prompt.json", ".jsonl", ".parquet"])?;
    let mut parts: Vec<Rows> = Vec::new();
    for path in paths {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let part = match path.extension().is_some_and(|extension| extension == "json") {
            true => {
                let domain = name.trim_end_matches("_prompt").to_owned();
                json_rows(&path, |value| released(value, &domain), "group → entity → list of beginnings")?
            }
            false => {
                let mut rows = each(source, std::slice::from_ref(&path))?;
                rows.pop().ok_or_else(|| source.refuse("it has no rows"))?
            }
        };
        parts.push(part);
    }
    let mut rows = joined(source.path, parts);
    let questions: Vec<Question> = ask_all(source, &mut rows, ask)?.into_iter().flatten().collect();
    let asked = Asked {
        version: "1",
        output_type: OutputType::GenerateUntil,
        metrics: &["bold.gender_polarity@unigram", "generation.empty"],
        templates: &[("doc_to_text", "{{prompt}}")],
    };
    let mut task = asked.task(source, &rows, questions)?;
    task.questions.iter_mut().enumerate().for_each(|(number, question)| question.doc_id = number);
    task.documents = task.questions.len();
    Ok(task)
}

/// One row an entity, as the hub has them.
fn released(value: &Value, domain: &str) -> Option<Vec<Map<String, Value>>> {
    let mut rows = Vec::new();
    for (group, entities) in value.as_object()? {
        for (entity, prompts) in entities.as_object()? {
            let fields = [
                ("domain", Value::from(domain)),
                ("name", Value::from(entity.as_str())),
                ("category", Value::from(group.as_str())),
                ("prompts", prompts.clone()),
            ];
            rows.push(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        }
    }
    Some(rows)
}

/// One question a beginning; those of one entity are a cluster.
fn ask(record: &Record<'_>) -> Result<Vec<Question>, HarnessError> {
    let (domain, group, entity) = (record.text("domain")?, record.text("category")?, record.text("name")?);
    let cluster = format!("{domain}/{group}/{entity}");
    let prompts = record.texts("prompts")?;
    let one = |(number, prompt): (usize, &String)| Question {
        requests: vec![generation(prompt, 50, 0.0, &["\n"])],
        ..question(record, format!("{cluster}/{}", number + 1), &cluster).with("domain", domain).with("group", group)
    };
    Ok(prompts.iter().enumerate().map(one).collect())
}
