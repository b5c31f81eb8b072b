//! Where a cell writes on one row, and where it reads.

use super::align::Alignment;
use super::batch::RunRow;
use super::error::InterveneError;
use super::intervention::Intervention;
use super::pair::{LAST, TokenPair};
use super::plan::Side;
use super::site::{Part, Positions, Site, SiteKind};

/// A position that is written, and the one that is read in its donor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The receiver's position.
    pub own: usize,
    /// The donor's; the receiver's own where there is no donor.
    pub donor: usize,
}

/// The places of one cell on one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Positions, of a pattern its destinations.
    pub positions: Vec<Place>,
    /// Sources, of a pattern.
    pub sources: Option<Vec<Place>>,
}

/// Resolves a cell on one row of the receiver.
pub(crate) fn places(
    pair: &TokenPair,
    receiver: Side,
    (site, intervention): (&Site, &Intervention),
    row: &RunRow,
) -> Result<Places, InterveneError> {
    let resolve = |positions: &Positions| resolved(pair, receiver, positions, intervention, row);
    let sources = match (site.kind, &site.part) {
        (SiteKind::Pattern, Part::From(sources)) => Some(resolve(sources)?),
        (SiteKind::Pattern, _) => Some(resolve(&Positions::All)?),
        _ => None,
    };
    Ok(Places { positions: resolve(&site.positions)?, sources })
}

fn resolved(
    pair: &TokenPair,
    receiver: Side,
    positions: &Positions,
    intervention: &Intervention,
    row: &RunRow,
) -> Result<Vec<Place>, InterveneError> {
    let place = |(own, donor)| Place { own, donor };
    if let Some(prompt) = intervention.resampled() {
        let prompt = prompt.tokenized();
        let alignment = Alignment::of(pair.side(receiver), &prompt).map_err(|message| InterveneError::Unaligned {
            pair: format!("{} with its resampled prompt", pair.id),
            factual: pair.side(receiver).ids.len(),
            counterfactual: prompt.ids.len(),
            message,
        })?;
        return resampled(pair, receiver, positions, (&alignment, prompt.ids.len()), row);
    }
    let mut found = match (positions, intervention.reads_donor()) {
        (Positions::All, false) => (0..row.ids.len()).map(|own| Place { own, donor: own }).collect(),
        (Positions::All, true) => {
            let donor = pair.side(receiver.other()).ids.len();
            let prompt = pair.resolve(positions, receiver)?.into_iter().map(place);
            prompt.chain(continued(row, donor)).collect::<Vec<_>>()
        }
        _ => pair.resolve(positions, receiver)?.into_iter().map(place).collect(),
    };
    if !intervention.reads_donor() {
        found.iter_mut().for_each(|place| place.donor = place.own);
    }
    if let Intervention::PositionalMean { reference } = intervention
        && let Some(beyond) = found.iter().find(|place| place.own >= reference.longest())
    {
        let longest = reference.longest();
        let message = format!("lies behind the longest prompt of {} with its {longest} tokens", reference.name());
        return Err(InterveneError::Position { pair: pair.id.clone(), position: beyond.own, message });
    }
    Ok(found)
}

fn resampled(
    pair: &TokenPair,
    receiver: Side,
    positions: &Positions,
    (alignment, donor_tokens): (&Alignment, usize),
    row: &RunRow,
) -> Result<Vec<Place>, InterveneError> {
    if *positions == Positions::All {
        let prompt = alignment.partners().iter().map(|&(own, donor)| Place { own, donor });
        return Ok(prompt.chain(continued(row, donor_tokens)).collect());
    }
    let own = match positions {
        Positions::Index(index) if receiver == Side::Factual => vec![*index],
        _ => pair.resolve(positions, receiver)?.into_iter().map(|(own, _)| own).collect(),
    };
    let last = matches!(positions, Positions::Slot(name) if name == LAST);
    let partner = |own: usize| match last {
        true => Ok(Place { own, donor: donor_tokens.saturating_sub(1) }),
        false => alignment.partner(own).map(|donor| Place { own, donor }).ok_or_else(|| InterveneError::Position {
            pair: pair.id.clone(),
            position: own,
            message: "has no partner in the resampled prompt; name an aligned token or a slot".into(),
        }),
    };
    own.into_iter().map(partner).collect()
}

/// Places of the continuation, which only [`Positions::All`] covers. The answer has the same number of tokens on both
/// sides.
fn continued(row: &RunRow, donor_prompt: usize) -> impl Iterator<Item = Place> {
    let prompt = row.prompt;
    (prompt..row.ids.len()).map(move |own| Place { own, donor: donor_prompt + own - prompt })
}
