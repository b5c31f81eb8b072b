//! A task file's content, typed and checked: what lm-eval's `TaskConfig` holds (`config/task.py`).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::super::error::HarnessError;
use super::super::fewshot::SamplerKind;
use super::super::filter::{Filter, Pipeline};
use super::super::python;
use super::super::task::OutputType;
use super::field::Field;
use super::function::{self, Code, Function};
use crate::base::suggestion;

/// The keys that a task file may have.
const KEYS: [&str; 35] = [
    "task",
    "task_alias",
    "tag",
    "group",
    "task_list",
    "custom_dataset",
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "training_split",
    "validation_split",
    "test_split",
    "fewshot_split",
    "process_docs",
    "doc_to_text",
    "doc_to_target",
    "doc_to_image",
    "doc_to_audio",
    "unsafe_code",
    "doc_to_choice",
    "process_results",
    "use_prompt",
    "description",
    "target_delimiter",
    "fewshot_delimiter",
    "fewshot_config",
    "num_fewshot",
    "metric_list",
    "output_type",
    "generation_kwargs",
    "repeats",
    "filter_list",
    "should_decontaminate",
    "doc_to_decontamination_query",
    "gen_prefix",
];

/// Where examples come from, and what differs in how they are written.
#[derive(Debug, Clone)]
pub struct Fewshot {
    /// How they are chosen.
    pub sampler: SamplerKind,
    /// The split.
    pub split: Option<String>,
    /// The function over its documents.
    pub process_docs: Option<&'static Function>,
    /// The documents themselves, in place of a split.
    pub samples: Option<Vec<Map<String, Value>>>,
    /// The documents of the pool that may be taken, by number.
    pub indices: Option<Vec<usize>>,
    /// Their question.
    pub text: Option<Field>,
    /// Their choices.
    pub choice: Option<Field>,
    /// Their answer.
    pub target: Option<Field>,
    /// What an answer begins with.
    pub gen_prefix: Option<String>,
    /// What stands behind an example.
    pub fewshot_delimiter: String,
    /// What stands between question and answer.
    pub target_delimiter: String,
}

/// An entry of `metric_list`.
#[derive(Debug, Clone)]
pub struct MetricEntry {
    /// The metric's name.
    pub name: String,
    /// How its values become one number, where the file says so.
    pub aggregation: Option<Aggregation>,
    /// Which way is better, where the file says so.
    pub higher_is_better: Option<bool>,
    /// Its arguments.
    pub arguments: Map<String, Value>,
}

/// How values of documents become one number.
#[derive(Debug, Clone, Copy)]
pub enum Aggregation {
    /// One of lm-eval's, by name.
    Named(&'static str),
    /// A task's own function.
    Function(&'static Function),
}

/// lm-eval's aggregations that are known here.
const AGGREGATIONS: [&str; 9] = [
    "mean",
    "median",
    "nanmean",
    "perplexity",
    "weighted_perplexity",
    "bits_per_byte",
    "f1",
    "matthews_corrcoef",
    "brier_score",
];

/// One task as its file says it.
#[derive(Debug, Clone)]
pub struct TaskFile {
    /// Its name.
    pub name: String,
    /// How tables call it.
    pub alias: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// A folder, a kind of file, or a hub id.
    pub dataset_path: Option<String>,
    /// The part of the data set.
    pub dataset_name: Option<String>,
    /// `data_files` and other arguments of the reader.
    pub dataset_kwargs: Map<String, Value>,
    /// The splits: training, validation, test.
    pub splits: [Option<String>; 3],
    /// The function over the documents.
    pub process_docs: Option<&'static Function>,
    /// The question.
    pub text: Option<Field>,
    /// The answer.
    pub target: Option<Field>,
    /// The choices.
    pub choice: Option<Field>,
    /// The function that gives the metrics' values.
    pub process_results: Option<&'static Function>,
    /// What stands before everything.
    pub description: String,
    /// What stands between question and answer.
    pub target_delimiter: String,
    /// What stands behind an example.
    pub fewshot_delimiter: String,
    /// The examples.
    pub fewshot: Fewshot,
    /// How many.
    pub num_fewshot: Option<usize>,
    /// What is measured; the output type's usual metrics where not given.
    pub metrics: Option<Vec<MetricEntry>>,
    /// What is asked.
    pub output_type: OutputType,
    /// How texts are generated; empty where none are.
    pub generation: Map<String, Value>,
    /// Answers to each document.
    pub repeats: usize,
    /// What is taken from generated texts.
    pub filters: Vec<Pipeline>,
    /// What an answer begins with.
    pub gen_prefix: Option<String>,
    /// What the file says of itself.
    pub metadata: Map<String, Value>,
    /// The keys as they are written, functions by name.
    pub written: Map<String, Value>,
}

impl TaskFile {
    /// The task of a merged tree.
    ///
    /// # Errors
    /// An unknown key (with the nearest), a value of another type, Python that is not known, and what asks for more than text.
    pub fn new(tree: Map<String, Value>, path: &Path) -> Result<Self, HarnessError> {
        let name = match tree.get("task") {
            Some(Value::String(name)) => name.clone(),
            _ => {
                let message = "a task file needs `task`, its name".into();
                return Err(HarnessError::Task { task: path.display().to_string(), message });
            }
        };
        Reader { task: &name, tree: &tree }.read(path)
    }

    /// The version of the definition, as text.
    pub fn version(&self) -> Value {
        self.metadata.get("version").cloned().unwrap_or_else(|| "Yaml".into())
    }

    /// The split whose documents are asked: test, else validation.
    pub fn eval_split(&self) -> Option<&str> {
        let [_, validation, test] = &self.splits;
        test.as_deref().or(validation.as_deref())
    }
}

struct Reader<'a> {
    task: &'a str,
    tree: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn wrong(&self, message: impl Into<String>) -> HarnessError {
        HarnessError::Task { task: self.task.into(), message: message.into() }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.tree.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<String>, HarnessError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(self.wrong(format!("`{key}` must be a text, and it is {other}"))),
        }
    }

    fn number(&self, key: &str) -> Result<Option<usize>, HarnessError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number as usize)),
                None => Err(self.wrong(format!("`{key}` must be a whole number from 0, and it is {value}"))),
            },
        }
    }

    fn map(&self, key: &str) -> Result<Map<String, Value>, HarnessError> {
        match self.value(key) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(other) => Err(self.wrong(format!("`{key}` must be a mapping, and it is {other}"))),
        }
    }

    fn flag(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| is_true(value) == Some(true))
    }

    fn function(&self, value: Option<&Value>, key: &str) -> Result<Option<&'static Function>, HarnessError> {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
        if function::named(value).is_none() {
            return Err(self.wrong(format!("`{key}` must be a !function, and it is {value}")));
        }
        function::resolve(self.task, value).map(Some)
    }

    fn field(&self, value: Option<&Value>, key: &str) -> Result<Option<Field>, HarnessError> {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
        Field::parse(self.task, key, value).map(Some)
    }

    fn refuse(&self) -> Result<(), HarnessError> {
        let known = |key: &String| KEYS.contains(&key.as_str()) || key == "metadata";
        if let Some(key) = self.tree.keys().find(|key| !known(key)) {
            let hint = suggestion(key, KEYS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(self.wrong(format!("the key `{key}` is not known{hint}")));
        }
        for (key, why) in [
            ("custom_dataset", "builds its documents with Python"),
            ("doc_to_image", "asks about images"),
            ("doc_to_audio", "asks about sounds"),
            ("use_prompt", "takes its prompt from promptsource"),
        ] {
            if let Some(value) = self.value(key) {
                // A function is named, so that a reader knows what would have to be written.
                if function::named(value).is_some() {
                    function::resolve(self.task, value)?;
                }
                return Err(self.wrong(format!("it {why} (`{key}`), which is not supported")));
            }
        }
        if self.flag("unsafe_code") {
            return Err(self.wrong("it runs code that a model writes (`unsafe_code`), which is not supported"));
        }
        Ok(())
    }

    fn read(self, path: &Path) -> Result<TaskFile, HarnessError> {
        self.refuse()?;
        let output_type = match self.text("output_type")?.as_deref() {
            None | Some("generate_until") => OutputType::GenerateUntil,
            Some("multiple_choice") => OutputType::MultipleChoice,
            Some("loglikelihood") => OutputType::Loglikelihood,
            Some("loglikelihood_rolling") => OutputType::LoglikelihoodRolling,
            Some(other) => return Err(self.wrong(format!("the output_type {other:?} is not known"))),
        };
        let target_delimiter = self.text("target_delimiter")?.unwrap_or_else(|| " ".into());
        let fewshot_delimiter = self.text("fewshot_delimiter")?.unwrap_or_else(|| "\n\n".into());
        let text = self.field(self.value("doc_to_text"), "doc_to_text")?;
        let target = self.field(self.value("doc_to_target"), "doc_to_target")?;
        let choice = self.field(self.value("doc_to_choice"), "doc_to_choice")?;
        let process_docs = self.function(self.value("process_docs"), "process_docs")?;
        let gen_prefix = self.text("gen_prefix")?;
        let fewshot = Fewshot {
            sampler: SamplerKind::Drawn,
            split: self.text("fewshot_split")?,
            process_docs,
            samples: None,
            indices: None,
            text: text.clone(),
            choice: choice.clone(),
            target: target.clone(),
            gen_prefix: gen_prefix.clone(),
            fewshot_delimiter: fewshot_delimiter.clone(),
            target_delimiter: target_delimiter.clone(),
        };
        let metadata = match self.value("metadata") {
            Some(Value::Object(map)) => map.clone(),
            Some(other) => Map::from_iter([("_metadata".to_owned(), other.clone())]),
            None => Map::new(),
        };
        Ok(TaskFile {
            name: self.task.into(),
            alias: self.text("task_alias")?,
            path: path.to_path_buf(),
            dataset_path: self.text("dataset_path")?,
            dataset_name: self.text("dataset_name")?,
            dataset_kwargs: self.map("dataset_kwargs")?,
            splits: [self.text("training_split")?, self.text("validation_split")?, self.text("test_split")?],
            process_docs,
            process_results: self.function(self.value("process_results"), "process_results")?,
            description: self.text("description")?.unwrap_or_default(),
            fewshot: self.fewshot(fewshot)?,
            num_fewshot: self.number("num_fewshot")?,
            metrics: self.metrics()?,
            generation: self.generation(output_type, &fewshot_delimiter)?,
            repeats: self.number("repeats")?.unwrap_or(1).max(1),
            filters: self.filters()?,
            text,
            target,
            choice,
            target_delimiter,
            fewshot_delimiter,
            output_type,
            gen_prefix,
            metadata,
            written: self.tree.iter().map(|(key, value)| (key.clone(), printable(value))).collect(),
        })
    }

    fn fewshot(&self, default: Fewshot) -> Result<Fewshot, HarnessError> {
        let config = self.map("fewshot_config")?;
        let below = Reader { task: self.task, tree: &config };
        let wrong = |message: &str| self.wrong(format!("`fewshot_config`: {message}"));
        const KNOWN: [&str; 11] = [
            "sampler",
            "split",
            "process_docs",
            "fewshot_indices",
            "samples",
            "doc_to_text",
            "doc_to_choice",
            "doc_to_target",
            "gen_prefix",
            "fewshot_delimiter",
            "target_delimiter",
        ];
        if let Some(key) = config.keys().find(|key| !KNOWN.contains(&key.as_str()) && *key != "num_fewshot") {
            return Err(wrong(&format!("the key `{key}` is not known")));
        }
        // A key with the value null takes the task's own value away, as it does in lm-eval.
        let given = |key: &str| config.contains_key(key);
        let sampler = match below.text("sampler")?.as_deref() {
            None | Some("default") => SamplerKind::Drawn,
            Some("first_n") => SamplerKind::FirstN,
            Some(other) => return Err(wrong(&format!("the sampler {other:?} is not known"))),
        };
        let samples = match below.value("samples") {
            None => None,
            Some(Value::Array(docs)) => Some(
                docs.iter()
                    .map(|doc| doc.as_object().cloned().ok_or_else(|| wrong("`samples` must be a list of documents")))
                    .collect::<Result<_, _>>()?,
            ),
            Some(value) if function::named(value).is_some() => {
                function::resolve(self.task, value)?;
                return Err(wrong("`samples` may not be a function"));
            }
            Some(_) => return Err(wrong("`samples` must be a list of documents")),
        };
        let indices = match below.value("fewshot_indices") {
            None => None,
            Some(value) => Some(
                serde_json::from_value(value.clone())
                    .map_err(|_| wrong("`fewshot_indices` must be a list of numbers"))?,
            ),
        };
        let field = |key: &str, own: Option<Field>| match given(key) {
            true => self.field(config.get(key), key),
            false => Ok(own),
        };
        let delimiter = |key: &str, own: String| below.text(key).map(|text| text.unwrap_or(own));
        Ok(Fewshot {
            sampler,
            split: if given("split") { below.text("split")? } else { default.split },
            process_docs: match given("process_docs") {
                true => self.function(config.get("process_docs"), "process_docs")?,
                false => default.process_docs,
            },
            samples,
            indices,
            text: field("doc_to_text", default.text)?,
            choice: field("doc_to_choice", default.choice)?,
            target: field("doc_to_target", default.target)?,
            gen_prefix: if given("gen_prefix") { below.text("gen_prefix")? } else { default.gen_prefix },
            fewshot_delimiter: delimiter("fewshot_delimiter", default.fewshot_delimiter)?,
            target_delimiter: delimiter("target_delimiter", default.target_delimiter)?,
        })
    }

    fn list(&self, key: &str) -> Result<Option<Vec<Map<String, Value>>>, HarnessError> {
        let wrong = || self.wrong(format!("`{key}` must be a list of mappings"));
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_object().cloned().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong()),
        }
    }

    fn metrics(&self) -> Result<Option<Vec<MetricEntry>>, HarnessError> {
        let Some(entries) = self.list("metric_list")? else { return Ok(None) };
        entries.into_iter().map(|entry| self.metric(entry)).collect::<Result<_, _>>().map(Some)
    }

    fn metric(&self, mut entry: Map<String, Value>) -> Result<MetricEntry, HarnessError> {
        let name = match entry.shift_remove("metric") {
            Some(Value::String(name)) => name,
            Some(value) if function::named(&value).is_some() => {
                function::resolve(self.task, &value)?;
                return Err(self.wrong("a `metric` that is a function is not supported"));
            }
            _ => return Err(self.wrong("an entry of `metric_list` needs `metric`, a name")),
        };
        let aggregation =
            match entry.shift_remove("aggregation").filter(|value| !value.is_null()) {
                None => None,
                Some(Value::String(given)) => {
                    let known = AGGREGATIONS.into_iter().find(|known| *known == given);
                    Some(Aggregation::Named(known.ok_or_else(|| {
                        self.wrong(format!("metric {name}: the aggregation {given:?} is not supported"))
                    })?))
                }
                Some(value) if function::named(&value).is_some() => {
                    let function = function::resolve(self.task, &value)?;
                    if !matches!(function.code, Code::Aggregation(_)) {
                        return Err(self.wrong(format!("metric {name}: {} is no aggregation", function.name)));
                    }
                    Some(Aggregation::Function(function))
                }
                Some(other) => return Err(self.wrong(format!("metric {name}: the aggregation {other} is no name"))),
            };
        let higher_is_better = entry.shift_remove("higher_is_better").as_ref().and_then(is_true);
        if entry.shift_remove("hf_evaluate").as_ref().and_then(is_true) == Some(true) && name != "exact_match" {
            return Err(self.wrong(format!("metric {name} comes from the `evaluate` library, which is not supported")));
        }
        if let Some((key, value)) = entry.iter().find(|(_, value)| function::named(value).is_some()) {
            function::resolve(self.task, value)?;
            return Err(
                self.wrong(format!("metric {name}: the argument `{key}` is a function, which is not supported"))
            );
        }
        Ok(MetricEntry { name, aggregation, higher_is_better, arguments: entry })
    }

    fn generation(&self, output: OutputType, fewshot_delimiter: &str) -> Result<Map<String, Value>, HarnessError> {
        if output != OutputType::GenerateUntil {
            return Ok(Map::new());
        }
        let mut given = self.map("generation_kwargs")?;
        if self.value("generation_kwargs").is_none() {
            given.insert("temperature".into(), 0.0.into());
            given.insert("do_sample".into(), false.into());
            given.insert("max_gen_toks".into(), 256.into());
        }
        if let Some(temperature) = given.get_mut("temperature") {
            let number = temperature.as_f64().or_else(|| temperature.as_str()?.parse().ok());
            *temperature = number.ok_or_else(|| self.wrong("`temperature` must be a number"))?.into();
        }
        given.entry("until").or_insert_with(|| vec![fewshot_delimiter].into());
        Ok(given)
    }

    fn filters(&self) -> Result<Vec<Pipeline>, HarnessError> {
        let Some(entries) = self.list("filter_list")? else { return Ok(vec![Pipeline::default()]) };
        let mut pipelines = Vec::new();
        for entry in entries {
            let name = entry.get("name").map(python::text).ok_or_else(|| self.wrong("a filter needs a `name`"))?;
            let filters = entry.get("filter").and_then(Value::as_array);
            let filters = filters.ok_or_else(|| self.wrong(format!("the filter {name} needs `filter`, a list")))?;
            let mut parsed = Vec::new();
            for filter in filters {
                let filter =
                    filter.as_object().ok_or_else(|| self.wrong(format!("the filter {name} is no mapping")))?;
                for value in filter.values().filter(|value| function::named(value).is_some()) {
                    function::resolve(self.task, value)?;
                }
                let filter = Filter::parse(filter);
                parsed.push(filter.map_err(|message| self.wrong(format!("the filter {name}: {message}")))?);
            }
            pipelines.push(Pipeline { name, filters: parsed });
        }
        Ok(pipelines)
    }
}

/// A truth value; YAML 1.1 has more words for it than 1.2.
fn is_true(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(word) => match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A value for results files: functions by their names.
fn printable(value: &Value) -> Value {
    if let Some((name, _)) = function::named(value) {
        return format!("!function {name}").into();
    }
    match value {
        Value::Array(items) => items.iter().map(printable).collect(),
        Value::Object(items) => items.iter().map(|(key, value)| (key.clone(), printable(value))).collect(),
        other => other.clone(),
    }
}
