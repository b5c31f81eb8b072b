//! Winogender (Rudinger et al. 2018): to whom a pronoun refers, with the pronoun in three genders.

use std::collections::BTreeMap;

use super::winobias::capitalized;
use super::{Asked, ask_all, question};
use crate::base::files;
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, read_rows};
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

const FILES: &str = "The hub's rows (oskarvanderwal/winogender: `sentid`, `sentence`, `pronoun`, `occupation`, `participant`, `gender`, `target`, \
                     `label`) as JSONL, CSV or Parquet, or the release's folder (rudinger/winogender-schemas, data: all_sentences.tsv, and \
                     occupations-stats.tsv for the gotcha sentences) or all_sentences.tsv alone.";

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "winogender_all",
    groups: &["winogender", "social_bias", "bias"],
    description: "To whom a pronoun refers, occupation or participant, with lm-eval's prompt.",
    files: FILES,
    hub: Some("oskarvanderwal/winogender"),
    load,
}];

const ASKED: Asked = Asked {
    version: "1.0",
    output_type: OutputType::MultipleChoice,
    metrics: &["acc@lm-eval", "winogender.accuracy@lm-eval", "winogender.gotcha_gap", "winogender.gender_gap"],
    templates: &[("doc_to_text", "{{sentence}} ‘{{pronoun.capitalize()}}’ refers to the"), ("doc_to_target", "label")],
};

const PRONOUNS: &[&str] = &["he", "she", "they", "him", "her", "them", "his", "their"];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let mut rows = source.rows(&["all_sentences.tsv", "test-{}.parquet", "{}.jsonl", "{}.csv"])?;
    let stats = Majorities::beside(source)?;
    let questions = ask_all(source, &mut rows, |record| ask(record, &stats))?;
    ASKED.task(source, &rows, questions)
}

fn ask(record: &Record<'_>, majorities: &Majorities) -> Result<Question, HarnessError> {
    let sentence = record.text("sentence")?;
    let id = record.text_or_number("sentid")?;
    // occupation.participant.answer.gender.txt; `someone` stands for any participant.
    let parts: Vec<&str> = id.split('.').collect();
    let [occupation, participant, answer, gender, ..] = parts.as_slice() else {
        return Err(record.refuse("sentid", format!("{id:?} is not occupation.participant.answer.gender.txt")));
    };
    let given = |field: &str, of_id: &str| super::optional(record, field).unwrap_or_else(|| of_id.to_owned());
    let (occupation, participant) = (given("occupation", occupation), given("participant", participant));
    let gender = given("gender", gender);
    let label = match record.get("label") {
        Some(_) => record.label("label", 2)?,
        None => match *answer {
            "0" => 0,
            "1" => 1,
            other => return Err(record.refuse("sentid", format!("answer {other:?} is neither 0 nor 1"))),
        },
    };
    let pronoun = match super::optional(record, "pronoun") {
        Some(pronoun) => pronoun,
        None => pronoun_in(sentence).ok_or_else(|| record.refuse("sentence", "it holds no pronoun"))?,
    };
    let prompt = format!("{sentence} ‘{}’ refers to the", capitalized(&pronoun));
    let cluster = format!("{occupation}.{participant}.{label}");
    let choices = vec![occupation.clone(), participant];
    let asked = question(record, &id, cluster).asking(&prompt, " ", choices, Some(label)).with("gender", &gender);
    Ok(match majorities.is_gotcha(&occupation, &gender, label) {
        Some(gotcha) => asked.with("gotcha", if gotcha { "yes" } else { "no" }),
        None => asked,
    })
}

fn pronoun_in(sentence: &str) -> Option<String> {
    let mut words = sentence.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    words.find(|word| PRONOUNS.contains(&word.as_str()))
}

/// The share of women in each occupation, percent (U.S. Bureau of Labor Statistics, `bls_pct_female`).
struct Majorities(BTreeMap<String, f64>);

impl Majorities {
    fn beside(source: &Source<'_>) -> Result<Self, HarnessError> {
        let folder = if files::is_folder(source.path) { Some(source.path) } else { source.path.parent() };
        let path = folder.map(|folder| folder.join("occupations-stats.tsv")).filter(|path| files::exists(path));
        let Some(path) = path else { return Ok(Self(BTreeMap::new())) };
        let rows = read_rows(&path, 0)?;
        let entry = |record: Record<'_>| Ok((record.text("occupation")?.to_owned(), record.number("bls_pct_female")?));
        Ok(Self(rows.records().map(entry).collect::<Result<_, HarnessError>>()?))
    }

    /// Whether the occupation's majority gender misleads: it differs from the pronoun's where the occupation is meant, and agrees with it
    /// where the participant is. `None` for neutral pronouns and unknown occupations.
    fn is_gotcha(&self, occupation: &str, gender: &str, label: usize) -> Option<bool> {
        let majority = if *self.0.get(occupation)? > 50.0 { "female" } else { "male" };
        ["female", "male"].contains(&gender).then_some((majority == gender) == (label == 1))
    }
}
