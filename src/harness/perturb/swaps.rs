//! Swaps of who is spoken of: pronouns, gendered terms, first names, dialect.
//!
//! All words are looked at once, from left to right, and what was put in is not looked at again, so that a swap of both directions cannot undo
//! itself. Words are found at the ends of a text and beside each other.

use std::collections::BTreeMap;

use super::catalogue::{Declined, Given};
use super::lists::Lists;
use super::words::{Matching, Phrases, is_word, match_case};
use crate::base::seed::{index, uniform};

const NO_GROUP: Declined = Declined("the word lists have no names of the groups that are asked for");

/// How one pronoun reads in the other gender, before a noun phrase and elsewhere.
const PRONOUNS: [(&str, &str, &str); 9] = [
    ("he", "she", "she"),
    ("him", "her", "her"),
    ("his", "her", "hers"),
    ("himself", "herself", "herself"),
    ("she", "he", "he"),
    ("her", "his", "him"),
    ("hers", "his", "his"),
    ("herself", "himself", "himself"),
    ("s/he", "he", "he"),
];

/// Of [`PRONOUNS`], those of men.
const MALE: std::ops::Range<usize> = 0..4;

/// Words that do not begin or go on a noun phrase: behind one of them stands no possessive.
const NO_NOUN: &[&str] = &[
    "a",
    "about",
    "above",
    "after",
    "again",
    "against",
    "all",
    "alone",
    "along",
    "also",
    "although",
    "always",
    "am",
    "an",
    "and",
    "any",
    "anymore",
    "anything",
    "anyway",
    "are",
    "around",
    "as",
    "at",
    "away",
    "back",
    "be",
    "because",
    "before",
    "behind",
    "being",
    "beside",
    "between",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "down",
    "during",
    "each",
    "either",
    "even",
    "every",
    "everything",
    "for",
    "from",
    "get",
    "go",
    "had",
    "has",
    "have",
    "he",
    "her",
    "here",
    "him",
    "his",
    "how",
    "i",
    "if",
    "immediately",
    "in",
    "inside",
    "instead",
    "into",
    "is",
    "it",
    "just",
    "last",
    "later",
    "like",
    "may",
    "me",
    "might",
    "must",
    "near",
    "never",
    "no",
    "nor",
    "not",
    "nothing",
    "now",
    "of",
    "off",
    "often",
    "on",
    "once",
    "only",
    "onto",
    "or",
    "our",
    "out",
    "outside",
    "over",
    "quickly",
    "quietly",
    "really",
    "she",
    "should",
    "since",
    "so",
    "some",
    "something",
    "soon",
    "still",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "though",
    "through",
    "to",
    "today",
    "together",
    "tomorrow",
    "tonight",
    "too",
    "toward",
    "towards",
    "under",
    "unless",
    "until",
    "up",
    "upon",
    "us",
    "very",
    "was",
    "we",
    "well",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "within",
    "without",
    "would",
    "yesterday",
    "yet",
    "you",
    "your",
];

pub(super) fn pronouns(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let phrases = Phrases::longest(PRONOUNS.iter().map(|(from, ..)| *from), Matching::AnyCase);
    let mut rng = given.seed.rng();
    for text in texts.iter_mut() {
        *text = phrases.replace(text, |found, row, rest| {
            let (_, before_noun, elsewhere) = PRONOUNS.get(row)?;
            let wanted = match given.parameters.text("from") {
                "male" => MALE.contains(&row),
                "female" => !MALE.contains(&row),
                _ => true,
            };
            if !wanted || uniform(&mut rng) >= given.parameters.number("p") {
                return None;
            }
            Some(match_case(found, if noun_follows(rest) { before_noun } else { elsewhere }))
        });
    }
    Ok(())
}

/// Whether a noun phrase follows: blanks, then a word that can begin one.
fn noun_follows(rest: &str) -> bool {
    let word: String = rest.trim_start_matches(' ').chars().take_while(|&c| is_word(c)).collect();
    rest.starts_with(' ') && !word.is_empty() && !NO_NOUN.contains(&word.to_lowercase().as_str())
}

pub(super) fn terms(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let terms = &given.lists().terms;
    let both = terms.iter().flat_map(|(female, male)| [female.as_str(), male.as_str()]);
    let phrases = Phrases::longest(both, Matching::AnyCase);
    let mut rng = given.seed.rng();
    for text in texts.iter_mut() {
        *text = phrases.replace(text, |found, row, _| {
            let (female, male) = terms.get(row / 2)?;
            let (own, other) = if row % 2 == 0 { ("female", male) } else { ("male", female) };
            let from = given.parameters.text("from");
            let drawn = (from == "both" || from == own) && uniform(&mut rng) < given.parameters.number("p");
            drawn.then(|| match_case(found, other))
        });
    }
    Ok(())
}

pub(super) fn dialect(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let words = &given.lists().dialect;
    let mut rng = given.seed.rng();
    for text in texts.iter_mut() {
        *text = given.material.finders.dialect.replace(text, |found, row, _| {
            if uniform(&mut rng) >= given.parameters.number("p") {
                return None;
            }
            let (_, forms) = words.get(row)?;
            forms.get(index(&mut rng, forms.len())).map(|form| match_case(found, form))
        });
    }
    Ok(())
}

pub(super) fn first_names(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let (from, to) = (given.parameters.text("from"), given.parameters.text("to"));
    let (own, other) = (gendered(given.lists(), from), gendered(given.lists(), to));
    if own.is_empty() || other.is_empty() {
        return Err(NO_GROUP);
    }
    let swapped = given.parameters.text("how") == "swapped";
    let found: Vec<(&str, &str)> = if swapped { [own.as_slice(), &other].concat() } else { own.clone() };
    let phrases = Phrases::longest(found.iter().map(|(_, name)| *name), Matching::Capital);
    let mut draw = Names { map: BTreeMap::new(), taken: present(texts, &other), rng: given.seed.rng() };
    for text in texts.iter_mut() {
        *text = phrases.replace(text, |found_name, row, _| {
            let &(gender, name) = found.get(row)?;
            let put = draw.of(name, given.parameters.number("p"), |draw| match swapped {
                true => partner(&own, &other, row),
                false => draw.fresh(&other, gender),
            });
            put.map(|put| match_case(found_name, &put))
        });
    }
    Ok(())
}

/// The names of a group with their genders.
fn gendered<'a>(lists: &'a Lists, group: &str) -> Vec<(&'a str, &'a str)> {
    let of_group = lists.names.iter().filter(|list| list.group == group);
    of_group.flat_map(|list| list.names.iter().map(|name| (list.gender.as_str(), name.as_str()))).collect()
}

/// The name that stands at the same place of the other group and gender.
fn partner(own: &[(&str, &str)], other: &[(&str, &str)], row: usize) -> Option<String> {
    let (side, from, to) = if row < own.len() { (row, own, other) } else { (row - own.len(), other, own) };
    let (gender, _) = from.get(side)?;
    let place = from.get(..side)?.iter().filter(|(known, _)| known == gender).count();
    let partner = to.iter().filter(|(known, _)| known == gender).nth(place)?;
    Some(partner.1.to_owned())
}

/// Names of the other group that stand in the texts already: put in for somebody else they would make two people one.
pub(super) fn present(texts: &[String], names: &[(&str, &str)]) -> Vec<String> {
    let phrases = Phrases::longest(names.iter().map(|(_, name)| *name), Matching::Capital);
    let mut found = Vec::new();
    for text in texts {
        phrases.replace(text, |name, _, _| {
            found.push(name.to_owned());
            None
        });
    }
    found
}

/// What each name of a question becomes.
pub(super) struct Names {
    pub map: BTreeMap<String, Option<String>>,
    pub taken: Vec<String>,
    pub rng: rand_chacha::ChaCha8Rng,
}

impl Names {
    /// What a name becomes, drawn where it is met first.
    pub fn of(&mut self, name: &str, p: f64, draw: impl FnOnce(&mut Self) -> Option<String>) -> Option<String> {
        if let Some(known) = self.map.get(name) {
            return known.clone();
        }
        let drawn = if uniform(&mut self.rng) < p { draw(self) } else { None };
        self.map.insert(name.to_owned(), drawn.clone());
        self.taken.extend(drawn.clone());
        drawn
    }

    /// A name of that gender that nobody in the question has.
    pub fn fresh(&mut self, names: &[(&str, &str)], gender: &str) -> Option<String> {
        let free = |name: &&str| !self.taken.iter().any(|taken| taken == name);
        let free: Vec<&str> =
            names.iter().filter(|(known, _)| *known == gender).map(|(_, name)| *name).filter(free).collect();
        free.get(index(&mut self.rng, free.len())).map(|name| (*name).to_owned())
    }
}
