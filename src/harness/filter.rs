//! Filters: what of a generated text is the answer (lm-eval `filters/`).
//!
//! A pipeline goes over the responses to one document, a list at first; `take_first` makes one value of it. What no pattern
//! finds becomes the pipeline's fallback, `[invalid]` in most task files: it is an answer that is wrong, and counted.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::pattern::{Found, Pattern, escaped};
use super::python;

/// What a pattern that finds nothing gives unless a task says otherwise.
pub const INVALID: &str = "[invalid]";

/// A named sequence of filters.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Its name in results: `none`, `strict-match`, …
    pub name: String,
    /// The filters in their order.
    pub filters: Vec<Filter>,
}

impl Default for Pipeline {
    /// The first response as it is, which tasks without filters use.
    fn default() -> Self {
        Self { name: "none".into(), filters: vec![Filter::TakeFirst] }
    }
}

/// One filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// The first response.
    TakeFirst,
    /// The first `k` responses.
    TakeFirstK(usize),
    /// The most frequent response, the first of equals; a list of one.
    MajorityVote,
    /// What a pattern finds in each response.
    Regex(RegexFilter),
    /// A letter in brackets: found by the pattern, else by the text of one of the document's `choices`, else behind a colon.
    MultiChoiceRegex(MultiChoice),
    /// Without white space at both ends.
    RemoveWhitespace,
    /// In lower case.
    Lowercase,
    /// In upper case.
    Uppercase,
    /// Looked up in a table.
    Map {
        /// Response to value.
        table: Map<String, Value>,
        /// What stands for a response that the table does not have.
        default: Value,
    },
    /// Named entities as `label: entity` joined by ` $ `.
    FormatSpan,
    /// The tags of a list of (token, tag) pairs.
    RegexPos {
        /// What stands for a response without pairs.
        fallback: Value,
    },
}

/// A pattern, which of its matches is taken, and what stands for none.
#[derive(Debug, Clone, PartialEq)]
pub struct RegexFilter {
    /// The pattern.
    pub pattern: Pattern,
    /// Which match, from 0; negative from the end.
    pub select: i64,
    /// What stands for no match.
    pub fallback: String,
}

/// What [`Filter::MultiChoiceRegex`] reads.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiChoice {
    /// The pattern that is tried first.
    pub regex: RegexFilter,
    /// Whether choices are looked for without regard to case.
    pub ignore_case: bool,
    /// Whether choices are looked for without punctuation.
    pub ignore_punctuation: bool,
    /// What is taken out of texts before choices are looked for.
    pub ignored: Vec<Pattern>,
}

impl Filter {
    /// The filter of a task file's entry: `function` and its arguments.
    ///
    /// # Errors
    /// What is unknown, missing or of another type.
    pub fn parse(entry: &Map<String, Value>) -> Result<Self, String> {
        let name = match entry.get("function") {
            Some(Value::String(name)) => name.as_str(),
            Some(other) => return Err(format!("the filter {} is code, which is not run", python::text(other))),
            None => return Err("a filter without `function`".into()),
        };
        let flag = |key: &str| entry.get(key).and_then(Value::as_bool).unwrap_or(false);
        Ok(match name {
            "take_first" => Self::TakeFirst,
            "take_first_k" => {
                let k = entry.get("k").and_then(Value::as_u64).filter(|k| *k > 0);
                Self::TakeFirstK(k.ok_or("take_first_k needs `k`, a number from 1")? as usize)
            }
            "majority_vote" => Self::MajorityVote,
            "remove_whitespace" => Self::RemoveWhitespace,
            "lowercase" => Self::Lowercase,
            "uppercase" => Self::Uppercase,
            "format_span" => Self::FormatSpan,
            "regex" => Self::Regex(RegexFilter::parse(entry)?),
            "multi_choice_regex" => Self::MultiChoiceRegex(MultiChoice {
                regex: RegexFilter::parse(entry)?,
                ignore_case: flag("ignore_case"),
                ignore_punctuation: flag("ignore_punctuation"),
                ignored: patterns(entry.get("regexes_to_ignore"))?,
            }),
            "map" => Self::Map {
                table: entry.get("mapping_dict").and_then(Value::as_object).cloned().unwrap_or_default(),
                default: entry.get("default_value").cloned().unwrap_or(Value::Null),
            },
            "regex_pos" => Self::RegexPos {
                fallback: entry.get("fallback").cloned().unwrap_or_else(|| Value::from(vec!["invalid"])),
            },
            other => return Err(format!("the filter {other:?} is not known")),
        })
    }

    /// What the filter makes of one response. List filters leave it alone.
    fn one(&self, response: &Value, doc: &Map<String, Value>) -> Result<Value, String> {
        let text = response.as_str();
        let of_text =
            |change: &dyn Fn(&str) -> String| text.map_or_else(|| response.clone(), |text| change(text).into());
        Ok(match self {
            Self::TakeFirst | Self::TakeFirstK(_) | Self::MajorityVote => response.clone(),
            Self::RemoveWhitespace => of_text(&|text| python::strip(text).to_owned()),
            Self::Lowercase => of_text(&str::to_lowercase),
            Self::Uppercase => of_text(&str::to_uppercase),
            Self::Regex(regex) => {
                regex.find(text.unwrap_or_default())?.unwrap_or_else(|| regex.fallback.clone()).into()
            }
            Self::MultiChoiceRegex(choice) => choice.find(text.unwrap_or_default(), doc)?.into(),
            Self::Map { table, default } => table.get(&python::text(response)).unwrap_or(default).clone(),
            Self::FormatSpan => spans(text.unwrap_or_default())?.into(),
            Self::RegexPos { fallback } => tags(text.unwrap_or_default())?.unwrap_or_else(|| fallback.clone()),
        })
    }

    fn apply(&self, responses: Value, doc: &Map<String, Value>) -> Result<Value, String> {
        let Value::Array(responses) = responses else {
            // Behind `take_first` there is one value: the next filter sees it alone.
            return match self {
                Self::TakeFirst | Self::TakeFirstK(_) | Self::MajorityVote => Ok(responses),
                _ => self.one(&responses, doc),
            };
        };
        match self {
            Self::TakeFirst => responses.into_iter().next().ok_or_else(|| "there is no response to take".into()),
            Self::TakeFirstK(k) if responses.len() < *k => Err(format!(
                "take_first_k: {k} responses are needed and there are {}; raise `repeats`",
                responses.len()
            )),
            Self::TakeFirstK(k) => Ok(responses.into_iter().take(*k).collect()),
            Self::MajorityVote => Ok(Value::Array(most_frequent(responses).into_iter().collect())),
            _ => responses
                .iter()
                .map(|response| self.one(response, doc))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array),
        }
    }
}

impl Pipeline {
    /// What the filters make of the responses to one document.
    pub fn apply(&self, responses: &[String], doc: &Map<String, Value>) -> Result<Value, String> {
        let all = Value::from(responses.to_vec());
        self.filters.iter().try_fold(all, |responses, filter| filter.apply(responses, doc))
    }
}

fn most_frequent(responses: Vec<Value>) -> Option<Value> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for response in &responses {
        *counts.entry(python::repr(response)).or_default() += 1;
    }
    let highest = counts.values().copied().max()?;
    responses.into_iter().find(|response| counts.get(&python::repr(response)) == Some(&highest))
}

fn patterns(value: Option<&Value>) -> Result<Vec<Pattern>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![Pattern::new(one)?]),
        Some(Value::Array(several)) => {
            several.iter().map(|one| Pattern::new(one.as_str().ok_or("a pattern that is no text")?)).collect()
        }
        Some(_) => Err("`regexes_to_ignore` must be a list of patterns".into()),
    }
}

impl RegexFilter {
    fn parse(entry: &Map<String, Value>) -> Result<Self, String> {
        let pattern = match entry.get("regex_pattern") {
            None => r"#### (\-?[0-9\.\,]+)",
            Some(pattern) => pattern.as_str().ok_or("`regex_pattern` must be a text")?,
        };
        Ok(Self {
            pattern: Pattern::new(pattern)?,
            select: entry.get("group_select").and_then(Value::as_i64).unwrap_or(0),
            fallback: entry.get("fallback").and_then(Value::as_str).unwrap_or(INVALID).to_owned(),
        })
    }

    /// The chosen match without white space around it; none where there is no match, or the chosen one has no text.
    fn find(&self, text: &str) -> Result<Option<String>, String> {
        let mut found = self.pattern.find_all(text)?;
        if found.is_empty() {
            return Ok(None);
        }
        let place = if self.select < 0 { self.select + found.len() as i64 } else { self.select };
        if place < 0 || place >= found.len() as i64 {
            return Err(format!("group_select {} of {} matches", self.select, found.len()));
        }
        Ok(match found.swap_remove(place as usize) {
            Found::One(text) => Some(python::strip(&text).to_owned()),
            Found::Groups(groups) => {
                groups.into_iter().find(|group| !group.is_empty()).map(|group| python::strip(&group).to_owned())
            }
        })
    }
}

impl MultiChoice {
    fn plain(&self, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        for pattern in &self.ignored {
            text = pattern.replace(&text, "", 0)?;
        }
        if self.ignore_case {
            text = text.to_lowercase();
        }
        if self.ignore_punctuation {
            text.retain(|letter| !is_punctuation(letter));
        }
        Ok(text)
    }

    fn find(&self, text: &str, doc: &Map<String, Value>) -> Result<String, String> {
        let filled = |found: Option<String>| found.filter(|text| !text.is_empty());
        if let Some(found) = filled(self.regex.find(text)?) {
            return Ok(found);
        }
        let choices = doc.get("choices").and_then(Value::as_array);
        let choices = choices.ok_or("multi_choice_regex needs a list `choices` in the document")?;
        let mut plain = Vec::new();
        for choice in choices {
            plain.push(self.plain(python::strip(&python::text(choice)))?);
        }
        let letter = |place: usize| char::from(b'A'.saturating_add(place.min(60) as u8));
        let mut branches: Vec<String> = plain.iter().map(|choice| escaped(choice)).collect();
        branches.sort_by_key(|branch| std::cmp::Reverse(branch.chars().count()));
        let by_text = RegexFilter { pattern: Pattern::new(&branches.join("|"))?, ..self.regex.clone() };
        if let Some(found) = filled(by_text.find(&self.plain(text)?)?) {
            // Choices of equal text: the last one's letter, as a dictionary keeps it.
            let place = plain.iter().rposition(|choice| *choice == found);
            return Ok(place.map_or(found, |place| format!("({})", letter(place))));
        }
        let letters: Vec<String> = (0..plain.len()).map(|place| letter(place).to_string()).collect();
        let behind = Pattern::new(&format!(r":[\s]*({})", letters.join("|")))?;
        let by_letter = RegexFilter { pattern: behind, ..self.regex.clone() };
        Ok(match filled(by_letter.find(text)?) {
            Some(found) => format!("({found})"),
            None => self.regex.fallback.clone(),
        })
    }
}

/// Unicode's general categories P*, of the scripts that evaluation sets are written in.
fn is_punctuation(letter: char) -> bool {
    match letter {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        letter if letter.is_ascii() => letter.is_ascii_punctuation(),
        letter => matches!(letter,
            '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{37e}' | '\u{387}' | '՚'..='՟' | '։' | '֊' | '؉' | '؊' | '،' | '؍' | '؛'
            | '؝'..='؟' | '٪'..='٭' | '۔' | '।' | '॥' | '‐'..='‧' | '‰'..='⁃' | '⁅'..='⁑' | '⁓'..='⁞' | '、'..='〃' | '〈'..='】'
            | '〔'..='〟' | '〰' | '・' | '！'..='＃' | '％'..='＊' | '，'..='／' | '：' | '；' | '？' | '＠' | '［'..='］' | '＿' | '｛' | '｝'
            | '｟'..='･'),
    }
}

const LABELS: [(&str, &str); 15] = [
    ("person", "PER"),
    ("location", "LOC"),
    ("organization", "ORG"),
    ("counties", "LOC"),
    ("places", "LOC"),
    ("people", "PER"),
    ("persons", "PER"),
    ("company", "ORG"),
    ("country", "LOC"),
    ("continent", "LOC"),
    ("time", "DATE"),
    ("date", "DATE"),
    ("per", "PER"),
    ("loc", "LOC"),
    ("org", "ORG"),
];

/// `label: entity $ label: entity` of a text that lists named entities.
fn spans(text: &str) -> Result<String, String> {
    let mut text = text.to_lowercase();
    for (name, label) in LABELS {
        text = Pattern::new(&format!(r"\b{name}\s*:"))?.replace(&text, &format!("{label}:"), 0)?;
    }
    let text = text.replace("$$", "$");
    let text = text.trim_end_matches('$').replace('\n', "$");
    let mut entities = Vec::new();
    for found in Pattern::new(r"\b(PER|LOC|ORG|DATE):\s*([^$]+)")?.find_all(python::strip(&text))? {
        let Found::Groups(groups) = found else { continue };
        let [label, values] = groups.as_slice() else { continue };
        let named = values.split(',').map(python::strip).filter(|entity| !entity.eq_ignore_ascii_case("none"));
        entities.extend(named.map(|entity| format!("{}: {entity}", label.to_lowercase())));
    }
    Ok(entities.join(" $ "))
}

/// The tags of `('token', 'tag')` pairs; none where there are no pairs.
fn tags(text: &str) -> Result<Option<Value>, String> {
    let pairs = Pattern::new(r"\('([^']*)', '([^']*)'\)")?.find_all(text)?;
    let tag = |found: Found| match found {
        Found::Groups(mut groups) => groups.pop(),
        Found::One(_) => None,
    };
    let tags: Vec<String> = pairs.into_iter().filter_map(tag).collect();
    Ok((!tags.is_empty()).then(|| tags.into()))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
