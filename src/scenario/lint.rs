//! Reads what a scenario would generate before anybody measures on it.
//!
//! What a parser can refuse (unknown slots, missing slots, bad tables) is refused there. The linter renders every
//! framing with many units and looks at the text: articles, verbs and numbers, leaks between splits, and, with a
//! tokenizer of the caller, whether the two sides of a pair line up token by token.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::error::ScenarioError;
use super::generate::{Draw, split_name};
use super::model::Scenario;
use super::pair::{CounterfactualPair, Prompt, Slot, Split};
use super::scm::{Mechanism, TRAIN};
use super::template::starts_with_vowel_sound;
use crate::base::Seed;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Stray or missing spaces, empty slots, answers without their leading space.
    Form,
    /// `a` before a vowel, `an` before a consonant.
    Article,
    /// A verb or a number that does not fit its noun.
    Agreement,
    /// A word, a framing or a text on more than one side of the splits.
    Leak,
    /// The sides of a pair have different numbers of tokens, or a slot ends at different ones.
    Alignment,
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is about.
    pub check: Check,
    /// The framing, the variable or the pair.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// Byte ranges of the tokens of a text, in order.
pub type Tokenize<'a> = &'a dyn Fn(&str) -> Vec<Range<usize>>;

/// The number of units with which each split is rendered: some tens for each framing.
const UNITS: usize = 240;

const SPLITS: [Split; 3] = [Split::Tuning, Split::Discovery, Split::Evaluation];

impl Scenario {
    /// Everything found, sorted; empty when all is well. Without a tokenizer, alignment is not looked at.
    pub fn lint(&self, tokenize: Option<Tokenize<'_>>) -> Result<Vec<Finding>, ScenarioError> {
        let mut findings = BTreeSet::new();
        let mut texts: BTreeMap<String, Split> = BTreeMap::new();
        for split in SPLITS {
            let draw = Draw::train(split, Seed::new(0).fork("lint"));
            for item in self.items(TRAIN, split, UNITS, draw.seed)? {
                lint_prompt(&item.template, &item.prompt, &mut findings);
                leak(&mut texts, &item.prompt.text, split, &item.template, &mut findings);
            }
            for contrast in self.contrasts() {
                for pair in self.pairs(draw, &contrast, UNITS)?.iter().chain(&self.paraphrases(draw, &contrast, UNITS)?)
                {
                    for side in [&pair.factual, &pair.counterfactual] {
                        lint_prompt(&pair.template, side, &mut findings);
                        leak(&mut texts, &side.text, split, &pair.template, &mut findings);
                    }
                    if let Some(tokenize) = tokenize {
                        findings.extend(misaligned(pair, tokenize));
                    }
                }
            }
        }
        findings.extend(self.leaking_words());
        findings.extend(self.leaking_framings());
        Ok(findings.into_iter().collect())
    }

    /// Words of choice lists that stand in the pools of two splits.
    fn leaking_words(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for variable in self.scm.variables() {
            let (Some(pools), Mechanism::Choice(rows)) = (&variable.pools, &variable.mechanism) else { continue };
            let mut home: BTreeMap<usize, Split> = BTreeMap::new();
            for split in SPLITS {
                for &value in rows.iter().flat_map(|row| row.get(pools.of(split)).unwrap_or(&[])) {
                    let other = *home.entry(value).or_insert(split);
                    if other != split {
                        let word = variable.values.get(value).map_or("", String::as_str);
                        let message =
                            format!("`{word}` is a word of {} and of {}", split_name(other), split_name(split));
                        findings.push(Finding { check: Check::Leak, place: variable.name.clone(), message });
                    }
                }
            }
        }
        findings
    }

    /// Framings of two splits that differ in nothing but case and punctuation.
    fn leaking_framings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut home: BTreeMap<String, (&str, Split)> = BTreeMap::new();
        for framing in &self.prompts.framings {
            for template in [&framing.text].into_iter().chain(&framing.paraphrases) {
                let words: Vec<String> = words(&template.skeleton()).map(str::to_lowercase).collect();
                let (other, split) = *home.entry(words.join(" ")).or_insert((&framing.id, framing.split));
                if split != framing.split {
                    let message = format!("says the same as `{other}`, which belongs to {}", split_name(split));
                    findings.push(Finding { check: Check::Leak, place: framing.id.clone(), message });
                }
            }
        }
        findings
    }
}

fn leak(
    texts: &mut BTreeMap<String, Split>,
    text: &str,
    split: Split,
    framing: &str,
    findings: &mut BTreeSet<Finding>,
) {
    let other = *texts.entry(text.to_owned()).or_insert(split);
    if other != split {
        let message = format!("the text {text:?} stands in {} and in {}", split_name(other), split_name(split));
        findings.insert(Finding { check: Check::Leak, place: framing.to_owned(), message });
    }
}

fn lint_prompt(framing: &str, prompt: &Prompt, findings: &mut BTreeSet<Finding>) {
    let mut add = |check, message: String| {
        findings.insert(Finding { check, place: framing.to_owned(), message });
    };
    let text = prompt.text.as_str();
    if text.trim() != text || text.contains("  ") {
        add(Check::Form, format!("spaces at an end or two in a row in {text:?}"));
    }
    for slot in &prompt.slots {
        if text.get(slot.start..slot.end).is_none_or(|word| word.trim().is_empty()) {
            add(Check::Form, format!("the slot `{}` is empty in {text:?}", slot.name));
        }
    }
    for answer in prompt.answers.iter().filter(|answer| !answer.starts_with(' ')) {
        add(Check::Form, format!("the answer {answer:?} does not begin with the space that parts it from the prompt"));
    }
    for (check, message) in language_findings(text, &prompt.slots) {
        add(check, message);
    }
}

/// Words without the punctuation around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let keep = |letter: char| letter.is_alphanumeric() || letter == '\'' || letter == '{' || letter == '}';
    text.split_whitespace().map(move |word| word.trim_matches(|letter| !keep(letter))).filter(|word| !word.is_empty())
}

/// Neighbouring words with nothing but a space between them.
fn neighbours(text: &str) -> Vec<(&str, &str)> {
    let part = |letter: char| letter.is_alphanumeric() || letter == '\'';
    let tokens = text.split_whitespace();
    tokens
        .clone()
        .zip(tokens.skip(1))
        .filter(|(first, _)| first.chars().all(part))
        .map(|(first, second)| (first, second.split(|letter| !part(letter)).next().unwrap_or("")))
        .collect()
}

/// Articles, verbs and numbers. The rules are those that templates break when a slot changes: `a`/`an`, the common
/// auxiliaries after a pronoun or a slot's noun, `one` with a plural, a larger number with a singular unit, and the
/// same word twice.
pub(super) fn language_findings(text: &str, slots: &[Slot]) -> Vec<(Check, String)> {
    const SINGULAR: [&str; 4] = ["he", "she", "it", "this"];
    const PLURAL: [&str; 4] = ["they", "we", "you", "these"];
    const PLURAL_VERBS: [&str; 4] = ["are", "were", "have", "do"];
    const SINGULAR_VERBS: [&str; 4] = ["is", "was", "has", "does"];
    const NUMBERS: [&str; 9] = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    const UNITS: [&str; 6] = ["year", "month", "week", "day", "hour", "point"];
    let filled: BTreeSet<&str> = slots.iter().filter_map(|slot| text.get(slot.start..slot.end)).collect();
    let mut findings = Vec::new();
    for (first, second) in neighbours(text) {
        let (low, next) = (first.to_lowercase(), second.to_lowercase());
        let mut add = |check, what: &str| findings.push((check, format!("{what}: `{first} {second}` in {text:?}")));
        if next.is_empty() {
            continue;
        }
        match low.as_str() {
            "a" if starts_with_vowel_sound(&next) => add(Check::Article, "`a` before a vowel"),
            "an" if !starts_with_vowel_sound(&next) => add(Check::Article, "`an` before a consonant"),
            "one" if next.ends_with('s') && !next.ends_with("ss") && next != "is" && next != "was" && next != "has" => {
                add(Check::Agreement, "`one` before a plural");
            }
            number if NUMBERS.contains(&number) && UNITS.contains(&next.as_str()) => {
                add(Check::Agreement, "a number before a singular");
            }
            _ if low == next => add(Check::Agreement, "the same word twice"),
            _ => {}
        }
        // A slot's noun is singular; after `and` it may be one of several, which the neighbours alone do not show.
        let singular = SINGULAR.contains(&low.as_str()) || (filled.contains(first) && !low.ends_with('s'));
        if singular && !joined(text, first) && PLURAL_VERBS.contains(&next.as_str()) && !PLURAL.contains(&low.as_str())
        {
            add(Check::Agreement, "a plural verb after a singular");
        }
        if PLURAL.contains(&low.as_str()) && SINGULAR_VERBS.contains(&next.as_str()) {
            add(Check::Agreement, "a singular verb after a plural");
        }
    }
    findings
}

/// Whether the word stands behind `and`.
fn joined(text: &str, word: &str) -> bool {
    text.contains(&format!("and {word} "))
}

/// What keeps the two sides from lining up.
fn misaligned(pair: &CounterfactualPair, tokenize: Tokenize<'_>) -> Option<Finding> {
    let (left, right) = (&pair.factual, &pair.counterfactual);
    let (left_tokens, right_tokens) = (tokenize(&left.text), tokenize(&right.text));
    let error = |message| Some(Finding { check: Check::Alignment, place: pair.template.clone(), message });
    let (a, b) = (left_tokens.len(), right_tokens.len());
    if a != b {
        return error(format!("{a} and {b} tokens in {:?} and {:?}", left.text, right.text));
    }
    // What interventions read and write is a slot's last token: it must stand at the same place on both sides.
    let last = |tokens: &[Range<usize>], slot: &Slot| tokens.iter().rposition(|token| token.start < slot.end);
    let differing = left
        .slots
        .iter()
        .zip(&right.slots)
        .find(|(one, other)| one.name != other.name || last(&left_tokens, one) != last(&right_tokens, other));
    differing.and_then(|(slot, _)| {
        error(format!("the slot `{}` ends at different tokens in {:?} and {:?}", slot.name, left.text, right.text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, slots: &[Slot]) -> Vec<Check> {
        language_findings(text, slots).into_iter().map(|(check, _)| check).collect()
    }

    #[test]
    fn language_rules_find_what_they_should_and_nothing_else() {
        assert_eq!(found("there is a explosion here", &[]), [Check::Article]);
        assert_eq!(found("There was an hour, an idea, a unicorn.", &[]), []);
        assert_eq!(found("it is an crash .", &[]), [Check::Article]);
        assert_eq!(found("she are here and they was there", &[]), [Check::Agreement, Check::Agreement]);
        assert_eq!(found("one years of work", &[]), [Check::Agreement]);
        assert_eq!(found("two year of work , nine years of work", &[]), [Check::Agreement]);
        assert_eq!(found("look at the the door", &[]), [Check::Agreement]);
        let slot = Slot { name: "name".into(), start: 0, end: 5 };
        assert_eq!(found("maria have worked", std::slice::from_ref(&slot)), [Check::Agreement]);
        assert_eq!(found("maria has worked . the day was long", &[slot]), []);
        let slot = Slot { name: "name".into(), start: 9, end: 14 };
        assert_eq!(found("paul and maria have worked", &[slot]), []);
    }
}
