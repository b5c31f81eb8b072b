//! lm-eval's sample lines: what was asked, what was said, and each metric's value, one line a document and filter.
//!
//! Numbers in `resps` are texts, as lm-eval writes them. `logprobs`, ln p of every scored token by request, is ours; other programs
//! leave it unread.

use serde_json::{Map, Value};

use super::super::filter::Pipeline;
use super::super::hash::{Hashes, hashes, target_text, task_hash};
use super::super::python;
use super::super::question::{Answered, Request, Response};
use super::super::run::FilterResult;
use super::super::yaml::function::DocValue;
use super::Evaluated;

/// The lines of a task, the first filter's documents before the second's.
pub fn lines(task: &Evaluated) -> Vec<Map<String, Value>> {
    let mut lines = Vec::new();
    for (pipeline, result) in task.planned.filters.iter().zip(&task.result.filters) {
        lines.extend(task.answered.iter().map(|answer| line(task, pipeline, result, answer)));
    }
    lines
}

/// lm-eval's hash of a task: equal hashes prove equal documents, prompts and targets.
pub fn hash(task: &Evaluated) -> String {
    let own: Vec<Hashes> = task.answered.iter().map(|answer| hashes(&answer.question)).collect();
    task_hash(task.planned.filters.iter().flat_map(|_| &own))
}

fn line(task: &Evaluated, pipeline: &Pipeline, result: &FilterResult, answer: &Answered) -> Map<String, Value> {
    let question = &answer.question;
    let hashes = hashes(question);
    let generates = question.requests.iter().any(|request| matches!(request, Request::Generate { .. }));
    // Repeated requests are one in lm-eval, with several responses.
    let asked = if generates { 1 } else { question.requests.len() };
    let arguments = question.requests.iter().take(asked).enumerate();
    let arguments: Map<String, Value> =
        arguments.map(|(index, request)| (format!("gen_args_{index}"), arguments_of(task, request).into())).collect();
    let responses: Vec<Value> = match generates {
        true => vec![answer.responses.iter().map(said).collect()],
        false => answer.responses.iter().map(|response| Value::Array(vec![said(response)])).collect(),
    };
    let filtered: Vec<Value> = match answer.filtered.get(&pipeline.name) {
        Some(kept) => vec![match (kept.as_slice(), super::super::run::takes_one(pipeline)) {
            ([one], true) => one.clone().into(),
            (several, _) => several.to_vec().into(),
        }],
        None => answer.responses.iter().map(said).collect(),
    };
    let mut line = Map::new();
    let mut set = |key: &str, value: Value| {
        line.insert(key.to_owned(), value);
    };
    set("doc_id", question.doc_id.into());
    set("doc", question.doc.clone().into());
    set("target", target_text(question).into());
    set("arguments", arguments.into());
    set("resps", responses.into());
    set("filtered_resps", filtered.into());
    set("filter", pipeline.name.clone().into());
    set("metrics", result.metrics.iter().map(|metric| metric.name.clone()).collect());
    set("doc_hash", hashes.doc.into());
    set("prompt_hash", hashes.prompt.into());
    set("target_hash", hashes.target.into());
    for metric in &result.metrics {
        if let Some(value) = metric.values.get(&question.id) {
            set(&metric.name, number(value));
        }
    }
    let logprobs: Vec<Value> = answer.responses.iter().filter_map(token_logprobs).collect();
    if logprobs.len() == answer.responses.len() && !logprobs.is_empty() {
        set("logprobs", logprobs.into());
    }
    line
}

fn token_logprobs(response: &Response) -> Option<Value> {
    match response {
        Response::Loglikelihood { logprobs, .. } if !logprobs.is_empty() => Some(logprobs.clone().into()),
        _ => None,
    }
}

/// A value of a document; null where it is no number.
fn number(value: &DocValue) -> Value {
    match value {
        DocValue::Number(number) => (*number).into(),
        DocValue::Tuple(numbers) => numbers.clone().into(),
    }
}

fn arguments_of(task: &Evaluated, request: &Request) -> Map<String, Value> {
    let mut arguments = Map::new();
    match request {
        Request::Loglikelihood { context, continuation } => {
            arguments.insert("arg_0".into(), context.clone().into());
            arguments.insert("arg_1".into(), continuation.clone().into());
        }
        Request::Rolling { text } => {
            arguments.insert("arg_0".into(), text.clone().into());
        }
        Request::Generate { context, .. } => {
            arguments.insert("arg_0".into(), context.clone().into());
            arguments.insert("arg_1".into(), task.planned.generation.clone().into());
        }
    }
    arguments
}

/// A response as `sanitize_list` writes it: numbers and truth values as texts.
fn said(response: &Response) -> Value {
    let text = |number: f64| Value::from(python::text(&number.into()));
    match response {
        Response::Loglikelihood { loglikelihood, is_greedy, .. } => {
            Value::Array(vec![text(*loglikelihood), if *is_greedy { "True" } else { "False" }.into()])
        }
        Response::Rolling { loglikelihood, .. } => text(*loglikelihood),
        Response::Text { text } => text.clone().into(),
    }
}
