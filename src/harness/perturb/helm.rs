//! HELM's perturbations, draw by draw, with their defects, so that its numbers can be reproduced where its word lists are given.
//! For new work take the ones without `@helm`.
//!
//! One `Random(id)` a question goes through references in their order, where these are perturbed, and then the input. Defects that are kept: words
//! of dialect and pronouns need a separator on both sides and consume it, so that words at either end of a text, and the second of two
//! that share a separator, are missed; pronouns are replaced one after the other; `his` is `her` wherever it stands; two persons may get one name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::catalogue::{Declined, Given};
use super::text::spaced;
use super::words::{Matching, Phrases, is_word};
use crate::stats::PythonRandom;

/// The generator that HELM makes for an instance.
fn random(given: &Given<'_>) -> PythonRandom {
    let field = given.question.doc.get(given.parameters.text("seed_field"));
    match field {
        Some(Value::String(id)) => PythonRandom::of_text(id),
        Some(Value::Number(id)) => PythonRandom::of_text(&id.to_string()),
        _ => PythonRandom::of_text(&given.question.id),
    }
}

/// `match_case` of `helm/common/general.py`: phrases with a space are neither small nor capital throughout.
fn match_case(source: &str, target: &str) -> String {
    if source.chars().all(char::is_lowercase) {
        return target.to_lowercase();
    }
    if source.chars().all(char::is_uppercase) {
        return target.to_uppercase();
    }
    match source.chars().next() {
        Some(first) if first.is_uppercase() => {
            let mut chars = target.chars();
            let first = chars.next().map(char::to_uppercase);
            first.into_iter().flatten().chain(chars.flat_map(char::to_lowercase)).collect()
        }
        _ => target.to_owned(),
    }
}

pub(super) fn mild_mix(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut random = random(given);
    let pairs = &given.lists().contractions;
    let words = &given.lists().misspellings;
    let expanded = Phrases::new(pairs.iter().map(|(long, _)| long.as_str()), Matching::Letters, &[]);
    let correct = &given.material.finders.misspellings_in_order;
    for text in texts.iter_mut() {
        let contracted = expanded.replace(&text.to_lowercase(), |found, row, rest| {
            let (long, short) = pairs.get(row)?;
            // HELM's map holds forms with `I` in both cases.
            let short = if found == long { short.clone() } else { short.to_lowercase() };
            rest.starts_with(' ').then(|| match_case(found, &short))
        });
        let misspelled = correct.replace(&contracted, |found, row, _| {
            if random.random() >= 0.1 {
                return None;
            }
            let (_, forms) = words.get(row)?;
            random.choice(forms).map(|form| match_case(found, form))
        });
        *text = spaced(&misspelled, || random.randint(1, 3) as usize);
    }
    Ok(())
}

pub(super) fn dialect(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut random = random(given);
    let words = &given.lists().dialect;
    let phrases = Phrases::new(words.iter().map(|(word, _)| word.as_str()), Matching::Letters, &['-']);
    for text in texts.iter_mut() {
        *text = between_separators(text, &phrases, &['-'], |found, row| {
            // One draw decides; with p = 1 it always falls for the change.
            random.random();
            let (_, forms) = words.get(row)?;
            random.choice(forms).map(|form| match_case(found, form))
        });
    }
    Ok(())
}

pub(super) fn pronouns(texts: &mut [String], _: &Given<'_>) -> Result<(), Declined> {
    for (male, female) in [("he", "she"), ("him", "her"), ("his", "her"), ("his", "hers"), ("himself", "herself")] {
        let phrases = Phrases::new([male], Matching::Letters, &[]);
        for text in texts.iter_mut() {
            *text = between_separators(text, &phrases, &[], |found, _| Some(match_case(found, female)));
        }
    }
    Ok(())
}

/// `[^\w](phrase)[^\w]` replaced from left to right: both separators belong to the match, and neither is looked at again.
fn between_separators(
    text: &str,
    phrases: &Phrases,
    joints: &[char],
    mut put: impl FnMut(&str, usize) -> Option<String>,
) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let length = chars.len();
    // A letter behind the text: its end is no separator.
    chars.push('_');
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at).filter(|_| at < length) {
        out.push(c);
        let separator = !is_word(c) && !joints.contains(&c);
        let found = phrases.at(&chars, at + 1).filter(|_| separator);
        at += 1;
        if let Some((row, end)) = found {
            let phrase: String = chars.get(at..end).into_iter().flatten().collect();
            out.push_str(&put(&phrase, row).unwrap_or(phrase));
            out.extend(chars.get(end));
            at = end + 1;
        }
    }
    out
}

pub(super) fn first_names(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut random = random(given);
    let (from, to) = (given.parameters.text("from"), given.parameters.text("to"));
    let lists = given.lists();
    if [from, to].iter().any(|group| !lists.groups().contains(group)) {
        return Err(Declined("the word lists have no names of the groups that are asked for"));
    }
    let gender = |name: &str| {
        let known = |gender: &str| lists.names_of(from, gender).iter().any(|known| known.to_lowercase() == name);
        ["female", "male"].into_iter().find(|gender| known(gender))
    };
    let mut puts: BTreeMap<String, String> = BTreeMap::new();
    for text in texts.iter_mut() {
        let mut out = String::with_capacity(text.len());
        for token in tokens(text) {
            let lowered = token.to_lowercase();
            if !puts.contains_key(&lowered)
                && let Some(gender) = gender(&lowered)
            {
                random.random();
                if let Some(name) = random.choice(lists.names_of(to, gender)) {
                    puts.insert(lowered.clone(), name.to_lowercase());
                }
            }
            out.push_str(&puts.get(&lowered).map_or_else(|| token.to_owned(), |name| match_case(token, name)));
        }
        *text = out;
    }
    Ok(())
}

/// Runs of letters and digits, and each other character by itself.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (offset, c) in text.char_indices().filter(|(_, c)| !is_word(*c)) {
        let end = offset + c.len_utf8();
        found.extend([text.get(start..offset), text.get(offset..end)].into_iter().flatten().filter(|t| !t.is_empty()));
        start = end;
    }
    found.extend(text.get(start..).filter(|token| !token.is_empty()));
    found
}
