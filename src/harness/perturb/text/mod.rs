//! Changes of spelling and layout that leave what is said as it is.

mod case;
mod forms;
mod mix;
mod punctuation;
mod typos;

pub(super) use case::{lower, title, upper};
pub(super) use forms::{contract, expand, misspell};
pub(super) use mix::{mild_mix, spaced, spaces};
pub(super) use punctuation::{punctuation_add, punctuation_drop};
pub(super) use typos::{keyboard, swap};

use super::catalogue::{Declined, Given};

/// Each text by itself, with one stream of draws through all of them.
fn each(texts: &mut [String], mut change: impl FnMut(&str) -> String) -> Result<(), Declined> {
    texts.iter_mut().for_each(|text| *text = change(text));
    Ok(())
}

/// The probability of a change.
fn p(given: &Given<'_>) -> f64 {
    given.parameters.number("p")
}
