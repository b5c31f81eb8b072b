//! Standard tasks of knowledge, language and common sense, under lm-eval's names and with its prompts: on the same rows
//! they have lm-eval's task hashes.

mod arc;
mod blimp;
mod boolq;
mod hellaswag;
mod lambada;
mod mmlu;
mod piqa;
mod shots;
#[cfg(test)]
mod tests;
mod text;
mod truthfulqa;
mod winogrande;

use serde_json::{Map, Value, json};

use super::assemble::{Definition, assemble};
use super::{BuiltIn, Source};
use crate::base::files;
use crate::harness::data::{Record, Rows, read_rows};
use crate::harness::error::HarnessError;
use crate::harness::fewshot::SamplerKind;
use crate::harness::question::{Question, Request, Target};
use crate::harness::task::{OutputType, Task};
use shots::Shots;

/// The built-in tasks of this folder, one slice a file.
pub(super) static BUILT_IN: &[&[BuiltIn]] = &[
    arc::TASKS,
    blimp::TASKS,
    boolq::TASKS,
    hellaswag::TASKS,
    lambada::TASKS,
    mmlu::TASKS,
    piqa::TASKS,
    text::TASKS,
    truthfulqa::TASKS,
    winogrande::TASKS,
];

/// The column that holds the target as lm-eval prints it, where the choice's number does not say it.
const TARGET: &str = "lm-eval target";

/// lm-eval's delimiter before an answer.
const BEFORE_ANSWER: &str = " ";
/// lm-eval's delimiter between examples.
const BETWEEN: &str = "\n\n";

/// One document, and what it asks.
struct Document {
    /// As results files print it.
    doc: Map<String, Value>,
    ask: Ask,
    /// What metrics group by.
    columns: Vec<(&'static str, String)>,
    /// The document's own name, where it has one; else its number.
    id: Option<String>,
}

/// What a document asks.
enum Ask {
    /// Which choice goes on from the context.
    Choice { context: String, choices: Vec<String>, right: Vec<usize> },
    /// From which context the continuation goes on (WinoGrande).
    Context { contexts: Vec<String>, continuation: String, right: usize },
    /// A continuation of the context; its own delimiter stands before it.
    Continuation { context: String, continuation: String },
    /// A whole text.
    Text { text: String },
}

/// A task of this folder, before its file is read.
struct Standard {
    version: &'static str,
    output_type: OutputType,
    metrics: &'static [&'static str],
    /// The names of the file in a folder: released first, then the hub's.
    names: Vec<String>,
    /// The names of the file of examples beside it.
    examples: Vec<String>,
    sampler: SamplerKind,
    /// Examples where the caller gives no number.
    num_fewshot: usize,
    /// What stands before the first example.
    description: String,
    /// lm-eval's templates, for the record.
    templates: &'static [(&'static str, &'static str)],
}

impl Standard {
    fn choices(version: &'static str, metrics: &'static [&'static str]) -> Self {
        Self {
            version,
            output_type: OutputType::MultipleChoice,
            metrics,
            names: Vec::new(),
            examples: Vec::new(),
            sampler: SamplerKind::Drawn,
            num_fewshot: 0,
            description: String::new(),
            templates: &[],
        }
    }

    /// Reads the source's file and asks what `read` makes of each row.
    fn load(
        self,
        source: &Source<'_>,
        read: impl Fn(&Record<'_>) -> Result<Document, HarnessError>,
    ) -> Result<Task, HarnessError> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let rows = source.rows(&names)?;
        self.load_rows(source, rows, read)
    }

    /// The same of rows that were read already.
    fn load_rows(
        self,
        source: &Source<'_>,
        rows: Rows,
        read: impl Fn(&Record<'_>) -> Result<Document, HarnessError>,
    ) -> Result<Task, HarnessError> {
        let examples = match source.num_fewshot.unwrap_or(self.num_fewshot) {
            0 => None,
            _ => self.rows_of_examples(source)?,
        };
        self.load_with(source, rows, examples, read)
    }

    /// The same with the rows that examples are taken from; without them from the questions' own.
    fn load_with(
        self,
        source: &Source<'_>,
        mut rows: Rows,
        examples: Option<Rows>,
        read: impl Fn(&Record<'_>) -> Result<Document, HarnessError>,
    ) -> Result<Task, HarnessError> {
        rows.align();
        let numbered = |record: &Record<'_>| Ok((record.row.index, read(record)?));
        let documents = rows.convert(source.max_bad_rows, numbered)?;
        let count = source.num_fewshot.unwrap_or(self.num_fewshot);
        let mut shots = match examples.filter(|_| count > 0) {
            None => Shots::of_same(self.sampler, documents.iter().map(|(_, document)| document), source.fewshot_seed),
            Some(mut examples) => {
                examples.align();
                let examples = examples.convert(source.max_bad_rows, read)?;
                Shots::of_others(self.sampler, examples.iter(), source.fewshot_seed)
            }
        };
        let mut questions = Vec::with_capacity(documents.len());
        for (index, document) in documents {
            let before = shots.before(&document, count).map_err(|message| source.refuse(message))?;
            questions.push(document.question(index, &format!("{}{before}", self.description)));
        }
        let definition = Definition {
            id: source.id,
            version: self.version,
            output_type: self.output_type,
            metrics: self.metrics,
            num_fewshot: count,
            config: self.config(source),
        };
        Ok(assemble(definition, &rows, questions))
    }

    /// The file of examples: given, or one of the task's names beside the questions' file.
    fn rows_of_examples(&self, source: &Source<'_>) -> Result<Option<Rows>, HarnessError> {
        let names: Vec<&str> = self.examples.iter().map(String::as_str).collect();
        if let Some(path) = source.examples {
            return Source { path, ..*source }.rows(&names).map(Some);
        }
        let folder = source.path.parent().filter(|_| !files::is_folder(source.path)).unwrap_or(source.path);
        let found = Source { path: folder, ..*source }.file(&names).ok();
        found.map(|path| read_rows(&path, source.max_bad_rows)).transpose()
    }

    fn config(&self, source: &Source<'_>) -> Map<String, Value> {
        let mut config = Map::new();
        if !self.description.is_empty() {
            config.insert("description".into(), self.description.clone().into());
        }
        config.insert("target_delimiter".into(), BEFORE_ANSWER.into());
        config.insert("fewshot_delimiter".into(), BETWEEN.into());
        for (name, template) in self.templates {
            config.insert((*name).into(), (*template).into());
        }
        if source.num_fewshot.is_some() || self.num_fewshot > 0 {
            config.insert("fewshot_config".into(), json!({"seed": source.fewshot_seed}));
        }
        config
    }
}

fn loglikelihood(context: String, continuation: String) -> Request {
    Request::Loglikelihood { context, continuation }
}

impl Document {
    /// A document as its row stands.
    fn of(record: &Record<'_>, ask: Ask) -> Self {
        Self { doc: record.row.fields.clone(), ask, columns: Vec::new(), id: None }
    }

    fn with_column(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.columns.push((name, value.into()));
        self
    }

    /// The document as an example: question, answer, and the delimiters behind both.
    fn shot(&self) -> String {
        let (question, answer) = match &self.ask {
            Ask::Choice { context, choices, right } => {
                (context.as_str(), right.first().and_then(|index| choices.get(*index)).map_or("", String::as_str))
            }
            Ask::Context { contexts, continuation, right } => {
                (contexts.get(*right).map_or("", String::as_str), continuation.as_str())
            }
            Ask::Continuation { context, continuation } => (context.as_str(), continuation.as_str()),
            Ask::Text { text } => ("", text.as_str()),
        };
        format!("{question}{BEFORE_ANSWER}{answer}{BETWEEN}")
    }

    /// The question behind what stands before it.
    fn question(self, index: usize, before: &str) -> Question {
        let mut columns: std::collections::BTreeMap<String, String> =
            self.columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let (requests, choices, target) = match self.ask {
            Ask::Choice { context, choices, right } => {
                let ask =
                    |choice: &String| loglikelihood(format!("{before}{context}"), format!("{BEFORE_ANSWER}{choice}"));
                (choices.iter().map(ask).collect(), choices, Target::Choices { indexes: right })
            }
            Ask::Context { contexts, continuation, right } => {
                columns.insert(TARGET.into(), continuation.clone());
                let goes_on = format!("{BEFORE_ANSWER}{continuation}");
                let ask = |context: &String| loglikelihood(format!("{before}{context}"), goes_on.clone());
                (contexts.iter().map(ask).collect(), contexts, Target::Choices { indexes: vec![right] })
            }
            Ask::Continuation { context, continuation } => {
                let request = loglikelihood(format!("{before}{context}"), continuation.clone());
                (vec![request], Vec::new(), Target::Texts { texts: vec![continuation] })
            }
            Ask::Text { text } => {
                columns.insert(TARGET.into(), text.clone());
                (vec![Request::Rolling { text }], Vec::new(), Target::None)
            }
        };
        let id = self.id.unwrap_or_else(|| index.to_string());
        Question {
            cluster: id.clone(),
            id,
            doc_id: index,
            doc: self.doc,
            requests,
            choices,
            target,
            columns,
            variant: None,
        }
    }
}

/// White space as Python's `str.strip` takes it away.
fn python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}
