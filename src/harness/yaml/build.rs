//! From a task file and its documents to questions: prompts with their examples, requests, targets, metrics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::error::HarnessError;
use super::super::fewshot::{SEED, Sampler};
use super::super::filter::Pipeline;
use super::super::hash::{TARGET, target_text};
use super::super::metric::MetricUse;
use super::super::prompt::{Message, PromptStyle, Role, Turn, ends_with_space, joined, render};
use super::super::python;
use super::super::question::{Generation, Question, Request, Target};
use super::super::task::{OutputType, Task};
use super::super::template::Templates;
use super::documents::{Doc, Documents, digest};
use super::field::Fields;
use super::file::{Aggregation, TaskFile};
use super::function::{Code, Function};

/// How many documents are asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The first so many.
    Count(usize),
    /// The first share of them, rounded up.
    Share(f64),
}

/// What a run changes about tasks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// How many documents.
    pub limit: Option<Limit>,
    /// Which documents, by number, instead of a limit.
    pub samples: Option<Vec<usize>>,
    /// Examples before each question; a task that says 0 itself keeps it.
    pub num_fewshot: Option<usize>,
    /// The seed of examples, lm-eval's where not given.
    pub fewshot_seed: Option<u64>,
}

impl Overrides {
    /// The numbers of the documents that are asked, of so many.
    ///
    /// # Errors
    /// A document that there is not.
    pub fn chosen(&self, documents: usize) -> Result<Vec<usize>, String> {
        if let Some(samples) = &self.samples {
            let wanted: BTreeSet<usize> = samples.iter().copied().collect();
            return match wanted.last().filter(|last| **last >= documents) {
                Some(last) => Err(format!("--samples asks for document {last}, and there are {documents}, from 0")),
                None => Ok(wanted.into_iter().collect()),
            };
        }
        let count = match self.limit {
            None => documents,
            Some(Limit::Count(count)) => count,
            Some(Limit::Share(share)) => (documents as f64 * share).ceil() as usize,
        };
        Ok((0..documents.min(count)).collect())
    }
}

/// How a task's answers become numbers, beside [`Task::metrics`].
#[derive(Debug, Clone)]
pub struct Scoring {
    /// The function that gives the metrics' values; none where the metrics themselves do.
    pub function: Option<&'static Function>,
    /// By metric, how its values become one number where the task says so.
    pub aggregations: BTreeMap<String, Aggregation>,
    /// By metric, which way is better where the task says so.
    pub higher_is_better: BTreeMap<String, bool>,
}

/// A task that is ready to be asked, with what its answers go through.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The task.
    pub task: Task,
    /// What is taken from generated texts, by filter.
    pub filters: Vec<Pipeline>,
    /// How answers become numbers.
    pub scoring: Scoring,
    /// How texts are generated, as the task says it.
    pub generation: Map<String, Value>,
}

impl From<Task> for Planned {
    fn from(task: Task) -> Self {
        let scoring = Scoring { function: None, aggregations: BTreeMap::new(), higher_is_better: BTreeMap::new() };
        Self { task, filters: vec![Pipeline::default()], scoring, generation: Map::new() }
    }
}

/// Makes a task of a file and its documents.
///
/// # Errors
/// Documents that cannot be read or lack a field, templates that fail (with the document), a metric that is not known or that
/// the task's kind of request has no values for.
pub fn build(
    file: &TaskFile,
    documents: &mut Documents,
    overrides: &Overrides,
    style: &PromptStyle<'_>,
) -> Result<Planned, HarnessError> {
    let wrong = |message: String| HarnessError::Task { task: file.name.clone(), message };
    let split = file.eval_split().ok_or_else(|| wrong("it names no test_split and no validation_split".into()))?;
    let read = documents.split(split)?;
    let (raw, bad_rows) = (read.docs.clone(), read.bad.clone());
    let docs = processed(file, file.process_docs, raw)?;
    let Some(first) = docs.first() else { return Err(wrong("it has no documents".into())) };
    let num_fewshot = match (overrides.num_fewshot, file.num_fewshot) {
        (Some(_), Some(0)) => 0,
        (Some(given), _) => given,
        (None, own) => own.unwrap_or(0),
    };
    let columns: BTreeSet<String> = first.keys().cloned().collect();
    let templates = Templates::default();
    let fields = Fields { templates: &templates, columns: &columns, choices: file.choice.is_some() };
    let mut writer = Writer::new(file, fields, style, first).map_err(&wrong)?;
    if num_fewshot > 0 {
        let pool = pool(file, documents)?;
        writer.sampler = Some(Sampler::new(file.fewshot.sampler, pool, overrides.fewshot_seed.unwrap_or(SEED)));
        writer.num_fewshot = num_fewshot;
    }
    let mut questions = Vec::new();
    for doc_id in overrides.chosen(docs.len()).map_err(&wrong)? {
        let Some(doc) = docs.get(doc_id) else { continue };
        let question = writer.question(doc, doc_id);
        questions.push(question.map_err(|message| wrong(format!("document {doc_id}: {message}")))?);
    }
    let (metrics, scoring) = measured(file)?;
    let task = Task {
        id: file.name.clone(),
        alias: file.alias.clone(),
        version: python::text(&file.version()),
        output_type: file.output_type,
        questions,
        metrics,
        num_fewshot,
        digest: digest(&docs),
        documents: docs.len(),
        bad_rows,
        config: config(file, num_fewshot),
    };
    Ok(Planned { task, filters: file.filters.clone(), scoring, generation: file.generation.clone() })
}

fn processed(file: &TaskFile, function: Option<&'static Function>, docs: Vec<Doc>) -> Result<Vec<Doc>, HarnessError> {
    let wrong = |message: String| HarnessError::Task { task: file.name.clone(), message };
    match function.map(|function| (function.name, function.code)) {
        None => Ok(docs),
        Some((_, Code::Documents(process))) => process(docs).map_err(wrong),
        Some((name, _)) => Err(wrong(format!("`process_docs`: {name} does not work on documents"))),
    }
}

/// The documents that examples are taken from.
fn pool(file: &TaskFile, documents: &mut Documents) -> Result<Vec<Doc>, HarnessError> {
    let fewshot = &file.fewshot;
    let mut pool = match (&fewshot.split, &fewshot.samples) {
        (Some(split), _) => processed(file, fewshot.process_docs, documents.split(split)?.docs.clone())?,
        (None, Some(samples)) => samples.clone(),
        (None, None) => {
            let [training, validation, test] = &file.splits;
            let split = training.as_ref().or(validation.as_ref()).or(test.as_ref());
            let split = split.map_or("train", String::as_str);
            processed(file, file.process_docs, documents.split(split)?.docs.clone())?
        }
    };
    if let Some(indices) = &fewshot.indices {
        let chosen = indices.iter().map(|index| pool.get(*index).cloned()).collect::<Option<Vec<Doc>>>();
        pool = chosen.ok_or_else(|| HarnessError::Task {
            task: file.name.clone(),
            message: format!("`fewshot_indices` goes beyond the {} documents of the pool", pool.len()),
        })?;
    }
    Ok(pool)
}

/// One context, or one for each choice.
enum Contexts {
    One(String),
    Several(Vec<String>),
}

struct Writer<'a> {
    file: &'a TaskFile,
    fields: Fields<'a>,
    style: &'a PromptStyle<'a>,
    sampler: Option<Sampler>,
    num_fewshot: usize,
    /// Whether each choice is a context of its own, before one continuation.
    multiple_input: bool,
    generation: Option<Generation>,
}

impl<'a> Writer<'a> {
    fn new(file: &'a TaskFile, fields: Fields<'a>, style: &'a PromptStyle<'a>, first: &Doc) -> Result<Self, String> {
        let text = file.text.as_ref().map(|field| fields.text(field, first)).transpose();
        let text = text.map_err(|message| format!("document 0: {message}"))?;
        let multiple_input = file.choice.is_some() && text.is_some_and(|text| text.is_i64());
        let generation = match file.output_type {
            OutputType::GenerateUntil => Some(generation(&file.generation)?),
            _ => None,
        };
        Ok(Self { file, fields, style, sampler: None, num_fewshot: 0, multiple_input, generation })
    }

    fn question(&mut self, doc: &Doc, doc_id: usize) -> Result<Question, String> {
        let file = self.file;
        let choices = match &file.choice {
            Some(field) => Some(self.fields.choices(field, doc)?),
            None => None,
        };
        let target = match &file.target {
            Some(field) => self.fields.target(field, doc)?,
            None => return Err("the task says no `doc_to_target`".into()),
        };
        let prefix = match &file.gen_prefix {
            Some(text) => Some(python::text(&self.fields.template(text, doc)?)),
            None => None,
        };
        let contexts = self.contexts(doc, choices.as_deref(), prefix.as_deref())?;
        let requests = self.requests(&contexts, choices.as_deref(), &target)?;
        let gold = match (&file.text, self.multiple_input) {
            (Some(field), true) => self.fields.text(field, doc)?,
            _ => target.clone(),
        };
        let known = self.target(&gold, choices.as_deref())?;
        let id = format!("{doc_id:07}");
        let cluster = file.metadata.get("cluster").and_then(Value::as_str).and_then(|column| doc.get(column));
        let of_choices = file.output_type == OutputType::MultipleChoice;
        let mut question = Question {
            cluster: cluster.map_or_else(|| id.clone(), python::text),
            id,
            doc_id,
            doc: doc.clone(),
            requests,
            choices: choices.filter(|_| of_choices).unwrap_or_default(),
            target: known,
            columns: BTreeMap::new(),
            variant: None,
        };
        let printed = python::text(&target);
        if target_text(&question) != printed {
            question.columns.insert(TARGET.into(), printed);
        }
        Ok(question)
    }

    fn contexts(&mut self, doc: &Doc, choices: Option<&[String]>, prefix: Option<&str>) -> Result<Contexts, String> {
        let file = self.file;
        let mut messages = Vec::new();
        let description = self.fields.resolved(&file.description, doc)?;
        let system = joined(self.style.system.unwrap_or_default(), &description, &file.fewshot_delimiter);
        if !system.is_empty() {
            messages.push(Message::new(Role::System, system, ""));
        }
        // lm-eval leaves the document out of its own examples where both come from one split, or neither names one.
        let [_, _, test] = &file.splits;
        let without = (file.fewshot.split == *test).then_some(doc);
        let examples = match &mut self.sampler {
            Some(sampler) => sampler.sample(self.num_fewshot, without)?,
            None => Vec::new(),
        };
        for example in &examples {
            messages.extend(self.example(example).map_err(|message| format!("an example: {message}"))?);
        }
        let turn = |question: &str, delimiter: &'_ str| {
            Turn { question, answer: None, prefix, target_delimiter: delimiter, fewshot_delimiter: "" }.messages()
        };
        let text = |messages: Vec<Message>| render(&messages, self.style, prefix).map_err(|error| error.to_string());
        if self.multiple_input {
            let choices = choices.ok_or("each choice is a context, and there are no choices")?;
            let contexts = choices.iter().map(|choice| text([messages.clone(), turn(choice, "")].concat()));
            return contexts.collect::<Result<_, _>>().map(Contexts::Several);
        }
        let question = match &file.text {
            None if file.output_type == OutputType::LoglikelihoodRolling => String::new(),
            None => return Err("the task says no `doc_to_text`".into()),
            Some(field) => match self.fields.text(field, doc)? {
                Value::String(text) => text,
                other => return Err(format!("`doc_to_text` gives {}, and a text is expected", python::repr(&other))),
            },
        };
        messages.extend(turn(&question, &file.target_delimiter));
        text(messages).map(Contexts::One)
    }

    /// The messages of an example with its answer.
    fn example(&self, doc: &Doc) -> Result<Vec<Message>, String> {
        let fewshot = &self.file.fewshot;
        let question = match &fewshot.text {
            Some(field) => self.fields.text(field, doc)?,
            None => "".into(),
        };
        let choices = match &fewshot.choice {
            Some(field) => Some(self.fields.choices(field, doc)?),
            None => None,
        };
        let answer = match &fewshot.target {
            Some(field) => self.fields.target(field, doc)?,
            None => Value::Null,
        };
        let of = |index: &Value| {
            let choices = choices.as_deref()?;
            choices.get(usize::try_from(index.as_i64()?).ok()?).cloned()
        };
        let question = match &question {
            Value::String(text) => text.clone(),
            index => of(index).ok_or_else(|| format!("`doc_to_text` gives {}", python::repr(index)))?,
        };
        let said = match &answer {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Array(several) => match several.first() {
                Some(Value::String(text)) => Some(text.clone()),
                Some(index) => {
                    Some(of(index).ok_or_else(|| format!("the answer {} is no text", python::repr(&answer)))?)
                }
                None => return Err("the answer is an empty list".into()),
            },
            index => {
                Some(of(index).ok_or_else(|| format!("the answer {} is no text and no choice", python::repr(index)))?)
            }
        };
        let prefix = match &fewshot.gen_prefix {
            Some(text) => Some(self.fields.resolved(text, doc)?),
            None => None,
        };
        let turn = Turn {
            question: &question,
            answer: said.as_deref(),
            prefix: prefix.as_deref(),
            target_delimiter: &fewshot.target_delimiter,
            fewshot_delimiter: &fewshot.fewshot_delimiter,
        };
        Ok(turn.messages())
    }

    fn requests(
        &self,
        contexts: &Contexts,
        choices: Option<&[String]>,
        target: &Value,
    ) -> Result<Vec<Request>, String> {
        let file = self.file;
        let of = |context: &str, continuation: String| Request::Loglikelihood { context: context.into(), continuation };
        let one = || match contexts {
            Contexts::One(context) => Ok(context.as_str()),
            Contexts::Several(_) => Err("the task asks about each choice, and is no multiple_choice".to_owned()),
        };
        let text = || match target {
            Value::String(text) => Ok(text.clone()),
            other => Err(format!("`doc_to_target` gives {}, and a text is expected", python::repr(other))),
        };
        match file.output_type {
            OutputType::Loglikelihood => Ok(vec![of(one()?, text()?)]),
            OutputType::LoglikelihoodRolling => Ok(vec![Request::Rolling { text: text()? }]),
            OutputType::GenerateUntil => {
                let generation = self.generation.clone().ok_or("no way of generating")?;
                let request = Request::Generate { context: one()?.to_owned(), generation };
                Ok(vec![request; file.repeats])
            }
            OutputType::MultipleChoice => {
                let choices = choices.ok_or("the task says no `doc_to_choice`")?;
                let delimiter = match (self.style.chat, &file.gen_prefix) {
                    (None, _) => &*file.target_delimiter,
                    // The template ends where the answer begins.
                    (Some(_), Some(prefix)) if !prefix.is_empty() && !ends_with_space(prefix) => {
                        &*file.target_delimiter
                    }
                    (Some(_), _) => "",
                };
                let mut requests: Vec<Request> = match contexts {
                    Contexts::Several(contexts) => {
                        let continuation = format!("{delimiter}{}", python::text(target));
                        contexts.iter().map(|context| of(context, continuation.clone())).collect()
                    }
                    Contexts::One(context) => {
                        choices.iter().map(|choice| of(context, format!("{delimiter}{choice}"))).collect()
                    }
                };
                if file.metrics.iter().flatten().any(|metric| metric.name == "acc_mutual_info") {
                    requests.extend(choices.iter().map(|choice| of("", format!("{delimiter}{choice}"))));
                }
                Ok(requests)
            }
        }
    }

    fn target(&self, gold: &Value, choices: Option<&[String]>) -> Result<Target, String> {
        match self.file.output_type {
            OutputType::MultipleChoice => {
                let choices = choices.unwrap_or_default();
                let golds = match gold {
                    Value::Array(several) => several.as_slice(),
                    one => std::slice::from_ref(one),
                };
                // What is no choice stands behind the last one, and no answer is right: lm-eval warns and goes on.
                let known = |gold| place(gold, choices).unwrap_or(choices.len());
                Ok(Target::Choices { indexes: golds.iter().map(known).collect() })
            }
            OutputType::GenerateUntil => {
                let texts = match (gold, choices) {
                    (Value::Array(several), None) => several.iter().map(python::text).collect(),
                    (gold, Some(choices)) => {
                        let index = place(gold, choices);
                        let text = index.and_then(|index| choices.get(index)).cloned();
                        vec![text.ok_or_else(|| format!("the target {} is no choice", python::repr(gold)))?]
                    }
                    (one, None) => vec![python::text(one)],
                };
                Ok(Target::Texts { texts })
            }
            _ => Ok(Target::Texts { texts: vec![python::text(gold)] }),
        }
    }
}

/// Which choice a target is.
fn place(gold: &Value, choices: &[String]) -> Option<usize> {
    match gold {
        Value::String(text) => choices.iter().position(|choice| choice == text),
        Value::Bool(flag) => Some(usize::from(*flag)).filter(|index| *index < choices.len()),
        number => {
            let number = number.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0)?;
            Some(number as usize).filter(|index| *index < choices.len())
        }
    }
}

/// How texts are generated, from lm-eval's arguments (`models/utils.py`, `normalize_gen_kwargs`).
fn generation(given: &Map<String, Value>) -> Result<Generation, String> {
    const LENGTHS: [&str; 4] = ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"];
    let until = match given.get("until") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().map(python::text).collect(),
        Some(other) => return Err(format!("`generation_kwargs.until` is {other}, and texts are expected")),
    };
    let length = LENGTHS.iter().find_map(|key| given.get(*key).filter(|value| !value.is_null()));
    let max_tokens = match length {
        None => 256,
        Some(value) => {
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            number.filter(|number| *number >= 1.0).ok_or_else(|| format!("max_gen_toks is {value}"))? as usize
        }
    };
    let temperature = given.get("temperature").and_then(Value::as_f64).unwrap_or(0.0);
    let sampled = given.get("do_sample").and_then(Value::as_bool).unwrap_or(temperature > 0.0);
    for (key, value) in given {
        let plain = match key.as_str() {
            "until" | "temperature" | "do_sample" | "num_return_sequences" => true,
            key if LENGTHS.contains(&key) => true,
            "top_p" | "top_k" | "min_p" => !sampled || value.as_f64() == Some(if key == "top_k" { 0.0 } else { 1.0 }),
            "num_beams" | "repetition_penalty" => value.as_f64() == Some(1.0),
            _ => value.is_null(),
        };
        if !plain {
            return Err(format!("`generation_kwargs.{key}` = {value} is not supported"));
        }
    }
    Ok(Generation { until, max_tokens, temperature: if sampled { temperature } else { 0.0 } })
}

/// The metrics of an output type that says none.
fn usual(output: OutputType) -> &'static [&'static str] {
    match output {
        OutputType::Loglikelihood => &["perplexity", "acc"],
        OutputType::LoglikelihoodRolling => &["word_perplexity", "byte_perplexity", "bits_per_byte"],
        OutputType::MultipleChoice => &["acc", "acc_norm"],
        OutputType::GenerateUntil => &["exact_match"],
    }
}

fn measured(file: &TaskFile) -> Result<(Vec<MetricUse>, Scoring), HarnessError> {
    let mut scoring =
        Scoring { function: file.process_results, aggregations: BTreeMap::new(), higher_is_better: BTreeMap::new() };
    let mut uses = Vec::new();
    let Some(entries) = &file.metrics else {
        if scoring.function.is_none() {
            uses = usual(file.output_type).iter().map(|name| MetricUse::plain(&format!("{name}@lm-eval"))).collect();
        }
        return Ok((uses, scoring));
    };
    for entry in entries {
        scoring.aggregations.extend(entry.aggregation.map(|aggregation| (entry.name.clone(), aggregation)));
        scoring.higher_is_better.extend(entry.higher_is_better.map(|higher| (entry.name.clone(), higher)));
        if scoring.function.is_none() {
            let arguments = entry.arguments.clone();
            uses.push(MetricUse { id: format!("{}@lm-eval", entry.name), arguments });
        }
    }
    for used in &uses {
        super::super::metric::task_metric(&used.id)
            .map_err(|error| HarnessError::Task { task: file.name.clone(), message: error.to_string() })?;
    }
    Ok((uses, scoring))
}

/// The resolved definition as results files print it.
fn config(file: &TaskFile, num_fewshot: usize) -> Map<String, Value> {
    let mut config: Map<String, Value> = Map::new();
    for (key, value) in &file.written {
        if !matches!(key.as_str(), "tag" | "group" | "task_list") && !value.is_null() {
            config.insert(key.clone(), value.clone());
        }
    }
    let mut default = |key: &str, value: Value| {
        config.entry(key.to_owned()).or_insert(value);
    };
    default("unsafe_code", false.into());
    default("description", "".into());
    default("target_delimiter", " ".into());
    default("fewshot_delimiter", "\n\n".into());
    default("output_type", file.output_type.name().into());
    default("repeats", 1.into());
    default("should_decontaminate", false.into());
    config.insert("num_fewshot".into(), num_fewshot.into());
    if file.output_type == OutputType::GenerateUntil {
        config.insert("generation_kwargs".into(), file.generation.clone().into());
    }
    let mut metadata = file.metadata.clone();
    metadata.insert("config_source".into(), file.path.display().to_string().into());
    config.insert("metadata".into(), metadata.into());
    config
}
