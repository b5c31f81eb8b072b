//! Entities swapped for others of their type: persons, places, numbers.

use std::collections::BTreeMap;

use super::catalogue::{Declined, Given};
use super::swaps::{Names, present};
use super::words::{Matching, Phrases, match_case, pieces};
use crate::base::seed::index;

/// Persons: within the declared group and gender, so that nothing but who it is changes.
pub(super) fn names(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let lists: Vec<(String, &[String])> = given
        .lists()
        .names
        .iter()
        .map(|list| (format!("{}/{}", list.group, list.gender), list.names.as_slice()))
        .collect();
    swapped(texts, given, &lists)
}

/// Places: cities for cities, countries for countries.
pub(super) fn places(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let lists: Vec<(String, &[String])> =
        given.lists().places.iter().map(|(kind, places)| (kind.clone(), places.as_slice())).collect();
    swapped(texts, given, &lists)
}

fn swapped(texts: &mut [String], given: &Given<'_>, lists: &[(String, &[String])]) -> Result<(), Declined> {
    let all: Vec<(&str, &str)> =
        lists.iter().flat_map(|(kind, names)| names.iter().map(|name| (kind.as_str(), name.as_str()))).collect();
    let phrases = Phrases::longest(all.iter().map(|(_, name)| *name), Matching::Capital);
    let mut draw = Names { map: BTreeMap::new(), taken: present(texts, &all), rng: given.seed.rng() };
    for text in texts.iter_mut() {
        *text = phrases.replace(text, |found, row, _| {
            let &(kind, name) = all.get(row)?;
            let put = draw.of(name, 1.0, |draw| draw.fresh(&all, kind));
            put.map(|put| match_case(found, &put))
        });
    }
    Ok(())
}

/// Whole numbers: as many digits, another value, no leading zero; the same number the same number throughout.
pub(super) fn numbers(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut draw = Names { map: BTreeMap::new(), taken: Vec::new(), rng: given.seed.rng() };
    for text in texts.iter_mut() {
        let cut = pieces(text);
        let fraction = |at: usize| {
            let digits =
                |at: Option<usize>| at.and_then(|at| cut.get(at)).is_some_and(|piece| number(piece.text).is_some());
            let dot =
                |at: Option<usize>| at.and_then(|at| cut.get(at)).is_some_and(|piece| matches!(piece.text, "." | ","));
            (dot(at.checked_sub(1)) && digits(at.checked_sub(2))) || (dot(Some(at + 1)) && digits(Some(at + 2)))
        };
        let mut out = String::with_capacity(text.len());
        for (at, piece) in cut.iter().enumerate() {
            let put = match number(piece.text).filter(|_| piece.word && !fraction(at)) {
                Some(value) => draw.of(piece.text, given.parameters.number("p"), |draw| Some(other(value, draw))),
                None => None,
            };
            out.push_str(put.as_deref().unwrap_or(piece.text));
        }
        *text = out;
    }
    Ok(())
}

/// A number of at most nine digits without a leading zero.
fn number(text: &str) -> Option<u64> {
    let digits = text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits && (text == "0" || !text.starts_with('0')))
}

/// Another number of the same type: a year of the same century, or as many digits.
fn other(value: u64, draw: &mut Names) -> String {
    let low = match value {
        1000..=2099 => value - value % 100,
        0..=9 => 0,
        _ => 10u64.pow(value.ilog10()),
    };
    let size = match value {
        1000..=2099 => 100,
        0..=9 => 10,
        _ => 9 * low,
    };
    // Uniform over the others: the number's own place is skipped.
    let drawn = low + index(&mut draw.rng, size as usize - 1) as u64;
    let put = if drawn >= value { drawn + 1 } else { drawn };
    put.to_string()
}
