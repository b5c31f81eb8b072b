//! Asking a checkpoint the questions of several tasks, and measuring its answers.
//!
//! The requests of all tasks are pooled, so that what prompts share is run once, whichever task they belong to. Finished answers
//! are kept under what they hang on (weights, adapter, tokens), so that a stopped run goes on where it was.

mod aggregate;
mod ask;
mod measure;
mod texts;

use std::collections::BTreeMap;

use super::error::HarnessError;
use super::filter::{Filter, Pipeline};
use super::python;
use super::question::{Answered, Request, Response};
use super::yaml::Planned;

pub use aggregate::{aggregate, standard_error};
pub use ask::{Asker, ask};
pub use measure::{FilterResult, MetricResult, Settings, TaskResult, measure};
pub use texts::TextStore;

/// The answers to a task's questions, in their order, one list a task.
///
/// # Errors
/// A prompt that does not fit, a likelihood that is not finite, the journal; `Interrupted` once the user asked to stop.
pub fn answer(asker: &mut Asker<'_, '_>, tasks: &[Planned]) -> Result<Vec<Vec<Answered>>, HarnessError> {
    let mut named: Vec<(String, &Request)> = Vec::new();
    for planned in tasks {
        for question in &planned.task.questions {
            let name = format!("{}, document {}", planned.task.id, question.doc_id);
            named.extend(question.requests.iter().map(|request| (name.clone(), request)));
        }
    }
    let mut responses = ask(asker, &named)?.into_iter();
    let mut all = Vec::with_capacity(tasks.len());
    for planned in tasks {
        let mut answered = Vec::with_capacity(planned.task.questions.len());
        for question in &planned.task.questions {
            let responses: Vec<Response> = responses.by_ref().take(question.requests.len()).collect();
            let mut filtered = BTreeMap::new();
            if responses.iter().any(|response| response.text().is_some()) {
                for pipeline in &planned.filters {
                    filtered.insert(pipeline.name.clone(), kept(planned, pipeline, &responses, &question.doc)?);
                }
            }
            answered.push(Answered { question: question.clone(), responses, filtered });
        }
        all.push(answered);
    }
    Ok(all)
}

/// What a pipeline leaves of the texts that were generated: one text, or a list.
fn kept(
    planned: &Planned,
    pipeline: &Pipeline,
    responses: &[Response],
    doc: &serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<String>, HarnessError> {
    let texts: Vec<String> = responses.iter().filter_map(Response::text).map(str::to_owned).collect();
    let left = pipeline.apply(&texts, doc).map_err(|message| HarnessError::Task {
        task: planned.task.id.clone(),
        message: format!("the filter {}: {message}", pipeline.name),
    })?;
    Ok(match left {
        serde_json::Value::Array(several) => several.iter().map(python::text).collect(),
        one => vec![python::text(&one)],
    })
}

/// Whether a pipeline ends with one value a document.
pub(crate) fn takes_one(pipeline: &Pipeline) -> bool {
    pipeline.filters.iter().any(|filter| matches!(filter, Filter::TakeFirst))
}

/// What stands for an answer that a pipeline does not find.
fn fallbacks(pipeline: &Pipeline) -> Vec<&str> {
    fn of(filter: &Filter) -> Option<&str> {
        match filter {
            Filter::Regex(regex) => Some(&regex.fallback),
            Filter::MultiChoiceRegex(choice) => Some(&choice.regex.fallback),
            _ => None,
        }
    }
    pipeline.filters.iter().filter_map(of).collect()
}
