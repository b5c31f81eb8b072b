//! Marks added and left out.

use super::{each, p};
use crate::base::seed::{index, uniform};
use crate::harness::perturb::catalogue::{Declined, Given};
use crate::harness::perturb::words::pieces;

const MARKS: [char; 6] = ['.', ',', ';', ':', '!', '?'];

pub fn punctuation_add(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut rng = given.seed.rng();
    each(texts, |text| {
        let cut = pieces(text);
        let mut out = String::with_capacity(text.len() + 8);
        for (at, piece) in cut.iter().enumerate() {
            out.push_str(piece.text);
            let spaced = cut.get(at + 1).is_some_and(|next| next.text.starts_with(' '));
            if piece.word && spaced && uniform(&mut rng) < p(given) {
                out.push(',');
            }
        }
        if out.chars().next_back().is_some_and(char::is_alphanumeric) {
            out.push_str(["!", ".", "..."].get(index(&mut rng, 3)).copied().unwrap_or("."));
        }
        out
    })
}

pub fn punctuation_drop(texts: &mut [String], _: &Given<'_>) -> Result<(), Declined> {
    each(texts, |text| {
        let chars: Vec<char> = text.chars().collect();
        let inside = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
        let kept = chars
            .iter()
            .enumerate()
            .filter(|(at, c)| !MARKS.contains(*c) || (inside(at.checked_sub(1)) && inside(Some(at + 1))));
        kept.map(|(_, c)| c).collect()
    })
}
