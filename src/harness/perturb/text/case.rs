//! Capitals and small letters.

use super::each;
use crate::harness::perturb::catalogue::{Declined, Given};
use crate::harness::perturb::words::{capitalise, pieces};

pub fn lower(texts: &mut [String], _: &Given<'_>) -> Result<(), Declined> {
    each(texts, str::to_lowercase)
}

pub fn upper(texts: &mut [String], _: &Given<'_>) -> Result<(), Declined> {
    each(texts, str::to_uppercase)
}

pub fn title(texts: &mut [String], _: &Given<'_>) -> Result<(), Declined> {
    each(texts, |text| {
        let titled = pieces(text).into_iter().map(|piece| match piece.word {
            true => capitalise(piece.text),
            false => piece.text.to_owned(),
        });
        titled.collect()
    })
}
