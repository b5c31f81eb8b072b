//! Slips of the keyboard, inside words of at least four letters: the first and the last letter stay, as readers need them.

use rand_chacha::ChaCha8Rng;

use super::{each, p};
use crate::base::seed::{index, uniform};
use crate::harness::perturb::catalogue::{Declined, Given};
use crate::harness::perturb::words::{match_case, pieces};

/// Letters that touch on a QWERTY keyboard: the row's neighbours, then those of the rows above and below.
const NEIGHBOURS: [(char, &str); 26] = [
    ('a', "sqwz"),
    ('b', "vngh"),
    ('c', "xvdf"),
    ('d', "sferxc"),
    ('e', "wrsd"),
    ('f', "dgrtcv"),
    ('g', "fhtyvb"),
    ('h', "gjyubn"),
    ('i', "uojk"),
    ('j', "hkuinm"),
    ('k', "jliom"),
    ('l', "kop"),
    ('m', "njk"),
    ('n', "bmhj"),
    ('o', "ipkl"),
    ('p', "ol"),
    ('q', "wa"),
    ('r', "etdf"),
    ('s', "adwezx"),
    ('t', "ryfg"),
    ('u', "yihj"),
    ('v', "cbfg"),
    ('w', "qeas"),
    ('x', "zcsd"),
    ('y', "tugh"),
    ('z', "xas"),
];

pub fn keyboard(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    in_words(texts, given, |word, rng| {
        let places: Vec<usize> = (1..word.len() - 1).filter(|&at| neighbours(word, at).is_some()).collect();
        let at = *places.get(index(rng, places.len()))?;
        let near: Vec<char> = neighbours(word, at)?.chars().collect();
        let put = *near.get(index(rng, near.len()))?;
        let old = *word.get(at)?;
        let put = match_case(&old.to_string(), &put.to_string());
        let slipped = word.iter().enumerate().map(|(i, c)| if i == at { put.clone() } else { c.to_string() });
        Some(slipped.collect())
    })
}

fn neighbours(word: &[char], at: usize) -> Option<&'static str> {
    let letter = word.get(at)?.to_ascii_lowercase();
    NEIGHBOURS.iter().find(|(key, _)| *key == letter).map(|(_, near)| *near)
}

pub fn swap(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    in_words(texts, given, |word, rng| {
        let differ = |&at: &usize| {
            let (a, b) = (word.get(at), word.get(at + 1));
            a.zip(b).is_some_and(|(a, b)| a != b && a.is_alphabetic() && b.is_alphabetic())
        };
        let places: Vec<usize> = (1..word.len().saturating_sub(2)).filter(differ).collect();
        let at = *places.get(index(rng, places.len()))?;
        let mut slipped = word.to_vec();
        slipped.swap(at, at + 1);
        Some(slipped.into_iter().collect())
    })
}

/// Changes each word of at least four letters with probability p, where it can be.
fn in_words(
    texts: &mut [String],
    given: &Given<'_>,
    slip: impl Fn(&[char], &mut ChaCha8Rng) -> Option<String>,
) -> Result<(), Declined> {
    let mut rng = given.seed.rng();
    each(texts, |text| {
        let mut out = String::with_capacity(text.len());
        for piece in pieces(text) {
            let word: Vec<char> = piece.text.chars().collect();
            let long = piece.word && word.iter().filter(|c| c.is_alphabetic()).count() >= 4;
            let slipped = if long && uniform(&mut rng) < p(given) { slip(&word, &mut rng) } else { None };
            out.push_str(slipped.as_deref().unwrap_or(piece.text));
        }
        out
    })
}
