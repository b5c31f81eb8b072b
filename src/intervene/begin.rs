//! Where a patched run begins: the first place of a pass, and the first position, that a plan can change.

use super::batch::RunRow;
use super::error::InterveneError;
use super::pair::TokenPair;
use super::places::{Place, places};
use super::plan::{Plan, Side};
use super::site::{Site, SiteKind};

/// A place of a pass from which it can go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct From(usize);

impl From {
    /// The token embeddings.
    pub const EMBEDDINGS: Self = Self(0);

    /// The residual stream before a block; behind the last block, the stream that is read out.
    pub fn stream(layer: usize) -> Self {
        Self(1 + 2 * layer)
    }

    /// The heads' outputs of a block, with the stream before it.
    pub fn heads(layer: usize) -> Self {
        Self(2 + 2 * layer)
    }

    /// The block that runs first, or the rest of it.
    pub fn layer(self) -> usize {
        self.0.saturating_sub(1) / 2
    }

    /// Whether it is the heads' outputs of a block.
    pub fn at_heads(self) -> bool {
        self.0 > 0 && self.0.is_multiple_of(2)
    }

    /// The last place that a pass can go on from and still meets the site.
    fn before(site: &Site) -> Self {
        use SiteKind::{AttnOut, Embed, K, MlpOut, MlpPost, Pattern, PosEmbed, Q, ResidMid, ResidPost, ResidPre, V, Z};
        match site.kind {
            Embed | PosEmbed => Self::EMBEDDINGS,
            ResidPre | Q | K | V | Pattern => Self::stream(site.layer),
            Z | AttnOut | ResidMid | MlpPost | MlpOut => Self::heads(site.layer),
            ResidPost => Self::stream(site.layer + 1),
        }
    }
}

/// The first place and position that a plan can change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Where the pass goes on from.
    pub from: From,
    /// The position.
    pub position: usize,
}

impl Begin {
    /// `None` where the plan can change nothing. `rows` are the receiver's.
    pub fn of(plan: &Plan, pair: &TokenPair, rows: &[RunRow]) -> Result<Option<Self>, InterveneError> {
        let mut begin: Option<Self> = None;
        let front = pair.shared_front();
        for (site, intervention) in &plan.cells {
            for row in rows {
                let places = places(pair, plan.receiver, (site, intervention), row)?;
                let aligned = places.sources.iter().flatten().all(|source| source.own == source.donor);
                let changes = |place: &&Place| {
                    let same = place.own < front || made_of_one_token(site) && same_token(pair, plan.receiver, **place);
                    !(intervention.reads_donor() && aligned && place.own == place.donor && same)
                };
                if let Some(position) = places.positions.iter().filter(changes).map(|place| place.own).min() {
                    let from = From::before(site);
                    let earlier = begin.unwrap_or(Self { from, position });
                    begin = Some(Self { from: from.min(earlier.from), position: position.min(earlier.position) });
                }
            }
        }
        // What is read first stands at the prompt's last position.
        let last = pair.side(plan.receiver).ids.len().saturating_sub(1);
        Ok(begin.map(|begin| Self { position: begin.position.min(last), ..begin }))
    }
}

/// Whether what stands at a position of this site depends on that position's token alone.
fn made_of_one_token(site: &Site) -> bool {
    use SiteKind::{Embed, K, PosEmbed, Q, ResidPre, V};
    site.layer == 0 && matches!(site.kind, Embed | PosEmbed | ResidPre | Q | K | V)
}

fn same_token(pair: &TokenPair, receiver: Side, place: Place) -> bool {
    let token = |side: Side, position: usize| pair.side(side).ids.get(position);
    place.own == place.donor && token(receiver, place.own) == token(receiver.other(), place.donor)
}
