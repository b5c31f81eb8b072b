//! Forms of words from lists: contractions, expansions, misspellings.

use rand_chacha::ChaCha8Rng;

use super::{each, p};
use crate::base::seed::{index, uniform};
use crate::harness::perturb::catalogue::{Declined, Given};
use crate::harness::perturb::words::match_case;

pub fn contract(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut rng = given.seed.rng();
    each(texts, |text| contracted(text, given, p(given), &mut rng))
}

/// Contracts where a word follows: nobody writes "as good as he's".
pub(super) fn contracted(text: &str, given: &Given<'_>, p: f64, rng: &mut ChaCha8Rng) -> String {
    let pairs = &given.lists().contractions;
    given.material.finders.expanded.replace(text, |found, row, rest| {
        let word = rest.trim_start_matches(' ');
        let follows = word.len() < rest.len() && word.chars().next().is_some_and(char::is_alphanumeric);
        let short = pairs.get(row).map(|(_, short)| match_case(found, short));
        short.filter(|_| follows && uniform(rng) < p)
    })
}

pub fn expand(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut rng = given.seed.rng();
    let pairs = &given.lists().contractions;
    each(texts, |text| {
        given.material.finders.contracted.replace(text, |found, row, _| {
            let long = pairs.get(row).map(|(long, _)| match_case(found, long));
            long.filter(|_| uniform(&mut rng) < p(given))
        })
    })
}

pub fn misspell(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut rng = given.seed.rng();
    each(texts, |text| misspelled(text, given, p(given), &mut rng))
}

pub(super) fn misspelled(text: &str, given: &Given<'_>, p: f64, rng: &mut ChaCha8Rng) -> String {
    let words = &given.lists().misspellings;
    given.material.finders.misspellings.replace(text, |found, row, _| {
        if uniform(rng) >= p {
            return None;
        }
        let (_, forms) = words.get(row)?;
        forms.get(index(rng, forms.len())).map(|form| match_case(found, form))
    })
}
