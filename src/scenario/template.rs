//! Prompt files: framings with slots.
//!
//! A text holds `{variable}` where a value goes, `{Variable}` for the value with a capital first letter,
//! `{variable.form}` for one of its declared forms (`her` for `she`), and `{a variable}` or `{A variable}` for the
//! value behind the right indefinite article. A rendered slot is named after its variable (`name`,
//! `pronoun.possessive`; the second mention of a variable is `name.2`) and covers the value alone, not its article.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{ScenarioError, Source, nearest};
use super::pair::{Slot, Split};
use super::scm::Scm;

/// `prompts/<id>.toml`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptFile {
    /// What closes a sentence after the answer, in plain text for training.
    pub end: String,
    /// Forms of values by variable, form and value.
    #[serde(default)]
    pub forms: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>,
    /// The framings.
    pub framings: Vec<FramingSpec>,
}

/// `[[framings]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FramingSpec {
    /// Unique in the file.
    pub id: String,
    /// Who may see it.
    pub split: Split,
    /// The answer that it asks for, where the scenario has several.
    #[serde(default)]
    pub answer: Option<String>,
    /// The text with its slots.
    pub text: String,
    /// Other ways of saying the same, for the same split; they are no framings of their own.
    #[serde(default)]
    pub paraphrases: Vec<String>,
}

/// A parsed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Slot {
        variable: usize,
        name: String,
        forms: Option<BTreeMap<String, String>>,
        capital: bool,
        article: Option<char>,
    },
}

/// A framing with its answer and its paraphrases.
#[derive(Debug, Clone)]
pub struct Framing {
    /// Unique in the file.
    pub id: String,
    /// Who may see it.
    pub split: Split,
    /// The index of the answer that it asks for.
    pub answer: usize,
    /// The text.
    pub text: Template,
    /// Other ways of saying the same.
    pub paraphrases: Vec<Template>,
}

/// A prompt file whose slots are resolved against a causal model.
#[derive(Debug, Clone)]
pub struct Prompts {
    /// What closes a sentence after the answer.
    pub end: String,
    /// The framings in file order.
    pub framings: Vec<Framing>,
}

impl Template {
    /// Parses a text; every slot must name an observed variable of `scm`.
    fn parse(text: &str, file: &PromptFile, scm: &Scm) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut mentions: BTreeMap<String, usize> = BTreeMap::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(open);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (slot, after) = tail
                .strip_prefix('{')
                .and_then(|tail| tail.split_once('}'))
                .ok_or_else(|| format!("a brace without its partner in `{text}`"))?;
            parts.push(Part::slot(slot, file, scm, &mut mentions)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The variables that the text shows, in text order, each once.
    pub fn variables(&self) -> Vec<usize> {
        let mut shown = Vec::new();
        for part in &self.parts {
            if let Part::Slot { variable, .. } = part
                && !shown.contains(variable)
            {
                shown.push(*variable);
            }
        }
        shown
    }

    /// The text and its slots, where `value` gives each variable's text.
    pub fn render<'a>(&self, value: impl Fn(usize) -> &'a str) -> (String, Vec<Slot>) {
        let (mut text, mut slots) = (String::new(), Vec::new());
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Slot { variable, name, forms, capital, article } => {
                    let plain = value(*variable);
                    let word = forms.as_ref().map_or(plain, |forms| forms.get(plain).map_or(plain, String::as_str));
                    if let Some(article) = article {
                        text.push(*article);
                        text.push_str(if starts_with_vowel_sound(word) { "n " } else { " " });
                    }
                    let start = text.len();
                    text.push_str(&if *capital { capitalised(word) } else { word.to_owned() });
                    slots.push(Slot { name: name.clone(), start, end: text.len() });
                }
            }
        }
        (text, slots)
    }

    /// The text without its slots, for comparing framings.
    pub fn skeleton(&self) -> String {
        let part = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Slot { name, .. } => format!("{{{name}}}"),
        };
        self.parts.iter().map(part).collect()
    }
}

impl Part {
    fn slot(text: &str, file: &PromptFile, scm: &Scm, mentions: &mut BTreeMap<String, usize>) -> Result<Self, String> {
        let (article, text) = match text.split_once(' ') {
            Some(("a", rest)) => (Some('a'), rest),
            Some(("A", rest)) => (Some('A'), rest),
            Some((other, _)) => {
                return Err(format!("`{{{text}}}`: `{other}` before a variable; only `a` or `A` may stand there"));
            }
            None => (None, text),
        };
        let (written, form) = text.split_once('.').map_or((text, None), |(name, form)| (name, Some(form)));
        let capital = written.chars().next().is_some_and(char::is_uppercase);
        let lower = uncapitalised(written);
        let observed = |v: &&super::scm::Variable| v.role != crate::causal::Role::Latent;
        let variable = scm.index(&lower).filter(|&index| scm.variable(index).filter(observed).is_some());
        let Some(variable) = variable else {
            let known = nearest(&lower, scm.variables().iter().filter(observed).map(|v| v.name.as_str()));
            return Err(format!("the slot `{{{text}}}` names no variable: {known}"));
        };
        let forms = match form {
            None => None,
            Some(form) => {
                let of_variable = file.forms.get(&lower);
                let forms = of_variable.and_then(|forms| forms.get(form)).ok_or_else(|| {
                    let known = of_variable.into_iter().flat_map(|forms| forms.keys().map(String::as_str));
                    format!("`{{{text}}}` asks for a form that [forms.{lower}] lacks: {}", nearest(form, known))
                })?;
                let values = scm.variable(variable).map_or(&[][..], |v| v.values.as_slice());
                if let Some(value) = values.iter().find(|value| !forms.contains_key(*value)) {
                    return Err(format!("[forms.{lower}] `{form}` has no entry for the value `{value}`: add one"));
                }
                Some(forms.clone())
            }
        };
        let plain = form.map_or(lower.clone(), |form| format!("{lower}.{form}"));
        let count = mentions.entry(plain.clone()).and_modify(|count| *count += 1).or_insert(1);
        let name = if *count == 1 { plain } else { format!("{plain}.{count}") };
        Ok(Part::Slot { variable, name, forms, capital, article })
    }
}

impl Prompts {
    /// Resolves a prompt file: slots against `scm`, `answer` keys against `answers` (the first where absent).
    pub(super) fn resolve(
        file: &PromptFile,
        source: &Source,
        scm: &Scm,
        answers: &[&str],
    ) -> Result<Self, ScenarioError> {
        let mut framings: Vec<Framing> = Vec::new();
        for (index, spec) in file.framings.iter().enumerate() {
            let place = index.to_string();
            let error = |key: &str, message: String| source.invalid(&["framings", place.as_str(), key], message);
            if framings.iter().any(|framing| framing.id == spec.id) {
                return Err(error("id", format!("two framings are called `{}`: rename one", spec.id)));
            }
            let answer = match &spec.answer {
                None => 0,
                Some(name) => answers.iter().position(|answer| answer == name).ok_or_else(|| {
                    error("answer", format!("unknown answer `{name}`: {}", nearest(name, answers.iter().copied())))
                })?,
            };
            let parse =
                |key: &str, text: &String| Template::parse(text, file, scm).map_err(|message| error(key, message));
            let text = parse("text", &spec.text)?;
            let paraphrases =
                spec.paraphrases.iter().map(|text| parse("paraphrases", text)).collect::<Result<_, _>>()?;
            framings.push(Framing { id: spec.id.clone(), split: spec.split, answer, text, paraphrases });
        }
        Ok(Self { end: file.end.clone(), framings })
    }

    /// The framings of a split that ask for an answer.
    pub fn of(&self, split: Split, answer: usize) -> Vec<&Framing> {
        self.framings.iter().filter(|framing| framing.split == split && framing.answer == answer).collect()
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn uncapitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Whether `an` goes before the word: by its first letter, with the common words whose sound differs from it.
pub fn starts_with_vowel_sound(word: &str) -> bool {
    let word = word.to_lowercase();
    let first = word.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or("");
    let silent_h = ["hour", "honest", "honour", "honor", "heir"].iter().any(|start| first.starts_with(start));
    let like_you = ["uni", "use", "usu", "eu", "one", "once", "ute"].iter().any(|start| first.starts_with(start))
        && !first.starts_with("unin")
        && !first.starts_with("unim");
    let eight = first == "8" || first == "11" || first == "18";
    silent_h || eight || (first.starts_with(['a', 'e', 'i', 'o', 'u']) && !like_you)
}
