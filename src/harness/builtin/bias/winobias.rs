//! WinoBias (Zhao et al. 2018): sentences with two occupations and a pronoun, for and against the stereotype.

use std::path::PathBuf;

use super::{Asked, lines, question};
use crate::base::files;
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows};
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

const FILES: &str = "The folder of uclanlp/corefBias: {pro,anti}_stereotyped_type{1,2}.txt.dev (or .test; `12 [The developer] argued with the \
                     designer because [she] …`), male_occupations.txt and female_occupations.txt. Line k of pro and of anti are a pair.";

macro_rules! split {
    ($id:literal, $split:literal) => {
        BuiltIn {
            id: $id,
            groups: &["winobias_tasks", "bias"],
            description: "To which of two occupations a pronoun is given, asked as lm-eval asks Winogender.",
            files: FILES,
            hub: None,
            load: |source| load(source, $split),
        }
    };
}

pub(super) const TASKS: &[BuiltIn] = &[split!("winobias", "dev"), split!("winobias_test", "test")];

const ASKED: Asked = Asked {
    version: "1",
    output_type: OutputType::MultipleChoice,
    metrics: &["winobias.accuracy", "winobias.gap", "acc@lm-eval"],
    templates: &[("doc_to_text", "{{sentence}} ‘{{pronoun.capitalize()}}’ refers to the"), ("target_delimiter", " ")],
};

/// A line of the data: its number in the split's files, type and condition.
struct Line<'a> {
    kind: &'a str,
    condition: &'a str,
    number: usize,
}

fn load(source: &Source<'_>, split: &str) -> Result<Task, HarnessError> {
    if !files::is_folder(source.path) {
        return Err(
            source.refuse(format!("{} is not a folder; it reads the four files of a split", source.path.display()))
        );
    }
    let mut occupations = Vec::new();
    for name in ["female_occupations.txt", "male_occupations.txt"] {
        let text = files::read_text(&source.path.join(name))?;
        occupations.extend(text.lines().map(|line| line.trim().to_lowercase()).filter(|line| !line.is_empty()));
    }
    // The longest first: "construction worker" is no worker.
    occupations.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let mut parts = Vec::new();
    let mut questions = Vec::new();
    for kind in ["type1", "type2"] {
        let mut counts = Vec::new();
        for condition in ["pro", "anti"] {
            let path: PathBuf = source.path.join(format!("{condition}_stereotyped_{kind}.txt.{split}"));
            let mut rows = lines(&path)?;
            counts.push(rows.rows.len());
            let first = questions.len();
            let asked = rows.convert(source.max_bad_rows, |record| {
                let line = Line { kind, condition, number: record.row.index + 1 };
                ask(record, &line, &occupations)
            })?;
            questions.extend(asked.into_iter().map(|asked| Question { doc_id: first + asked.doc_id, ..asked }));
            parts.push(rows);
        }
        if let [pro, anti] = counts.as_slice()
            && pro != anti
        {
            let message = format!(
                "{kind} has {pro} stereotyped sentences and {anti} against the stereotype; their lines are pairs"
            );
            return Err(source.refuse(message));
        }
    }
    let rows: Rows = super::joined(source.path, parts);
    questions.iter_mut().enumerate().for_each(|(number, question)| question.doc_id = number);
    ASKED.task(source, &rows, questions)
}

fn ask(record: &Record<'_>, line: &Line<'_>, occupations: &[String]) -> Result<Question, HarnessError> {
    let text = record.text("text")?;
    let refuse = |message: String| record.refuse("text", message);
    // A line begins with its number, which some files glue to the sentence.
    let sentence = text.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let bracketed: Vec<&str> = sentence.split('[').skip(1).filter_map(|part| part.split(']').next()).collect();
    let is_pronoun = |word: &&str| ["he", "she", "him", "her", "his", "hers"].contains(&word.to_lowercase().as_str());
    let pronoun =
        bracketed.iter().copied().find(is_pronoun).ok_or_else(|| refuse("no pronoun is in brackets".into()))?;
    let antecedent = bracketed.iter().copied().find(|part| !is_pronoun(part));
    let antecedent = antecedent.ok_or_else(|| refuse("no occupation is in brackets".into()))?;
    let plain = sentence.replace(['[', ']'], "");
    let right = occupation(&antecedent.to_lowercase(), occupations)
        .ok_or_else(|| refuse(format!("{antecedent:?} is none of the listed occupations")))?;
    let lower = plain.to_lowercase();
    // The other one stands before the pronoun's clause: the earliest mention that is not the antecedent.
    let mentions =
        occupations.iter().filter(|name| *name != right).filter_map(|name| Some((mention(&lower, name)?, name)));
    let (_, other) = mentions.min().ok_or_else(|| refuse("it mentions no second occupation".into()))?;
    let gender = if ["he", "him", "his"].contains(&pronoun.to_lowercase().as_str()) { "male" } else { "female" };
    let pair = format!("{}/{:03}", line.kind, line.number);
    let right_first = mention(&lower, right) < mention(&lower, other);
    let choices = if right_first { vec![right.clone(), other.clone()] } else { vec![other.clone(), right.clone()] };
    let prompt = format!("{plain} ‘{}’ refers to the", capitalized(pronoun));
    let asked = question(record, format!("{pair}/{}", line.condition), pair);
    let asked = asked.asking(&prompt, " ", choices, Some(usize::from(!right_first)));
    Ok(asked.with("type", line.kind).with("condition", line.condition).with("gender", gender))
}

/// The longest listed occupation that a text mentions.
fn occupation<'a>(text: &str, occupations: &'a [String]) -> Option<&'a String> {
    occupations.iter().find(|name| mention(text, name).is_some())
}

/// Where a text mentions a name as a whole word.
fn mention(text: &str, name: &str) -> Option<usize> {
    text.match_indices(name).map(|(at, _)| at).find(|&at| {
        let before = text.get(..at).and_then(|part| part.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|part| part.chars().next());
        let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !joins(before) && !joins(after)
    })
}

/// First letter upper case, the rest lower case, as Python's `capitalize`.
pub(super) fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str().to_lowercase())
}
