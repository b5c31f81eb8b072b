//! Runs of spaces, and the canonical mixture.

use super::forms::{contracted, misspelled};
use super::{each, p};
use crate::base::seed::index;
use crate::harness::perturb::catalogue::{Declined, Given};

pub fn spaces(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut rng = given.seed.rng();
    let most = given.parameters.number("max") as usize;
    each(texts, |text| spaced(text, || 1 + index(&mut rng, most)))
}

pub fn mild_mix(texts: &mut [String], given: &Given<'_>) -> Result<(), Declined> {
    let mut rng = given.seed.rng();
    each(texts, |text| {
        let text = contracted(&text.to_lowercase(), given, 1.0, &mut rng);
        let text = misspelled(&text, given, p(given), &mut rng);
        spaced(&text, || 1 + index(&mut rng, 3))
    })
}

/// Each run of spaces as long as `draw` says.
pub fn spaced(text: &str, mut draw: impl FnMut() -> usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if c != ' ' {
            out.push(c);
        } else if !inside {
            out.extend(std::iter::repeat_n(' ', draw()));
        }
        inside = c == ' ';
    }
    out
}
