//! Where a patched run begins: the first place of a pass, and the first position, that a plan can change.

use super::batch::RunRow;
use super::error::InterveneError;
use super::pair::TokenPair;
use super::places::{Place, places};
use super::plan::{Plan, Side};
use super::site::{Site, SiteKind};
use crate::model::{Adding, HookPoint, LanguageModel};

/// A place of a pass from which it can go on, in the order in which a pass meets them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct From {
    /// The block that runs first, or the rest of it.
    pub layer: usize,
    /// Where in it.
    pub stage: Stage,
}

/// Places of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The token embeddings, before the first block.
    #[default]
    Embeddings,
    /// The stream before the block; behind the last block, the stream that is read out.
    Stream,
    /// The heads' outputs, with the stream before the block.
    Heads,
    /// The stream between attention and MLP.
    Middle,
}

impl From {
    /// The residual stream before a block.
    pub fn stream(layer: usize) -> Self {
        Self { layer, stage: Stage::Stream }
    }

    /// The last place that a pass can go on from and still meets the site.
    fn before(site: &Site) -> Self {
        use SiteKind::{AttnOut, Embed, K, MlpOut, MlpPost, Pattern, PosEmbed, Q, ResidMid, ResidPost, ResidPre, V, Z};
        match site.kind {
            Embed | PosEmbed => Self::default(),
            ResidPre | Q | K | V | Pattern => Self::stream(site.layer),
            Z | AttnOut | ResidMid | MlpPost | MlpOut => Self { layer: site.layer, stage: Stage::Heads },
            ResidPost => Self::stream(site.layer + 1),
        }
    }
}

/// What of a family decides where a pass can go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    layers: usize,
    /// Attention and MLP read the same stream.
    parallel: bool,
    /// Heads are added to the stream as their output projection gives them.
    heads_add: bool,
    /// Neurons likewise.
    neurons_add: bool,
}

impl Family {
    pub fn of(model: &LanguageModel) -> Self {
        Self {
            layers: model.architecture().n_layers,
            parallel: model.architecture().parallel_residual,
            heads_add: model.adds_linearly(Adding::Heads),
            neurons_add: model.adds_linearly(Adding::Neurons),
        }
    }

    /// What is changed at one kind of site of a block is linear in what reaches the stream behind: where every cell at
    /// that block is of this kind, or comes later, the stream that a plain run stored and the change's product with the
    /// projection stand for the rest. Asked where the plan changes something of that block behind its heads.
    fn further(self, plan: &Plan, layer: usize) -> Option<(From, Option<SiteKind>)> {
        use SiteKind::{AttnOut, MlpOut, MlpPost, ResidMid, ResidPost, Z};
        let middle = From { layer, stage: Stage::Middle };
        let behind = From::stream(layer + 1);
        let here = || plan.cells.iter().map(|(site, _)| site).filter(|site| site.layer == layer);
        let only = |kinds: &[SiteKind]| here().all(|site| kinds.contains(&site.kind) || site.kind == ResidPost);
        // Of the last block only what is read is run behind the heads: to store all of it would cost more.
        let heads_add = self.heads_add && layer + 1 < self.layers;
        if only(&[MlpOut]) {
            Some((behind, Some(MlpOut)))
        } else if only(&[MlpPost]) && self.neurons_add {
            Some((behind, Some(MlpPost)))
        } else if self.parallel {
            let alone = [(Z, heads_add), (AttnOut, true)].into_iter().find(|(kind, _)| only(&[*kind]));
            alone.filter(|(_, adds)| *adds).map(|(kind, _)| (behind, Some(kind)))
        } else if only(&[ResidMid, MlpPost, MlpOut]) {
            Some((middle, None))
        } else if only(&[AttnOut, ResidMid, MlpPost, MlpOut]) {
            Some((middle, Some(AttnOut)))
        } else if only(&[Z, ResidMid, MlpPost, MlpOut]) && heads_add {
            Some((middle, Some(Z)))
        } else {
            None
        }
    }
}

/// The first place and position that a plan can change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Where the pass goes on from.
    pub from: From,
    /// The sites of the block before that place whose changes are added to the stream there.
    pub added: Option<Added>,
    /// The position.
    pub position: usize,
}

/// A kind of site whose changes are added to a stored stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Added {
    /// The block.
    pub layer: usize,
    /// Heads' outputs, neurons, or what attention or MLP adds.
    pub kind: SiteKind,
}

impl Added {
    /// Where it is read.
    pub fn point(self) -> HookPoint {
        HookPoint::new(self.kind.hook(), self.layer)
    }

    /// The projection that it passes; none where it is added as it stands.
    pub fn through(self) -> Option<Adding> {
        match self.kind {
            SiteKind::Z => Some(Adding::Heads),
            SiteKind::MlpPost => Some(Adding::Neurons),
            _ => None,
        }
    }
}

impl Begin {
    /// `None` where the plan can change nothing. `rows` are the receiver's.
    pub fn of(plan: &Plan, pair: &TokenPair, rows: &[RunRow], family: Family) -> Result<Option<Self>, InterveneError> {
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
                    let earlier = begin.unwrap_or(Self { from, added: None, position });
                    let (from, position) = (from.min(earlier.from), position.min(earlier.position));
                    begin = Some(Self { from, added: None, position });
                }
            }
        }
        // What is read first stands at the prompt's last position.
        let last = pair.side(plan.receiver).ids.len().saturating_sub(1);
        Ok(begin.map(|begin| {
            let layer = begin.from.layer;
            let further = (begin.from.stage == Stage::Heads).then(|| family.further(plan, layer)).flatten();
            let (from, added) = further.unwrap_or((begin.from, None));
            let added = added.map(|kind| Added { layer, kind });
            Self { from, added, position: begin.position.min(last) }
        }))
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
