//! From sets of sites to the plans of one pair.

use std::collections::BTreeSet;

use super::rows::Measure;
use super::spec::{AblationPlan, Change, ReferenceSides, SetSpec};
use crate::base::Seed;
use crate::base::seed::shuffle;
use crate::intervene::{
    Alignment, CHANGED, Intervention, NamedPrompt, Part, Plan, Positions, Reference, Side, Site, SiteKind, TokenPair,
    subject_deviation,
};
use crate::mediate::error::MediateError;
use crate::mediate::sweep::receiver;
use crate::model::{Architecture, LanguageModel};
use crate::stats::PatchDirection;

/// What plans of all pairs share.
pub(super) struct Shared<'a> {
    pub plan: &'a AblationPlan,
    pub pairs: &'a [TokenPair],
    pub sets: Vec<SetSpec>,
    reference: Option<Reference>,
    deviation: f64,
}

/// One run of one pair.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub set: usize,
    pub change: String,
    pub direction: PatchDirection,
    pub measure: Measure,
    pub plan: Plan,
}

impl<'a> Shared<'a> {
    /// Resolves a plan and measures what its noise needs.
    pub fn new(plan: &'a AblationPlan, pairs: &'a [TokenPair], model: &LanguageModel) -> Result<Self, MediateError> {
        let sets = plan.resolve(model.architecture())?;
        for pair in pairs {
            plan.outcome.resolve(pair)?;
            sets.iter().try_for_each(|set| check_places(set, pair))?;
        }
        let asks = |wanted: &dyn Fn(&Change) -> bool| sets.iter().flat_map(|set| &set.interventions).any(wanted);
        let reference = match asks(&|change| matches!(change, Change::Mean | Change::PositionalMean)) {
            true => Some(reference(pairs, plan.reference)?),
            false => None,
        };
        let deviation = match asks(&|change| *change == Change::Noise) {
            true => plan.noise.times * deviation(model, pairs, &plan.noise.slot)?,
            false => 0.0,
        };
        let shared = Self { plan, pairs, sets, reference, deviation };
        let first = pairs.first().map(|pair| shared.cells(pair, model.architecture())).transpose()?;
        first.into_iter().flatten().try_for_each(|cell| cell.plan.check(model.architecture()))?;
        Ok(shared)
    }

    /// Every run of a pair: by set, intervention, direction and measure.
    pub fn cells(&self, pair: &TokenPair, architecture: &Architecture) -> Result<Vec<Cell>, MediateError> {
        let mut cells = Vec::new();
        for (number, set) in self.sets.iter().enumerate() {
            for change in &set.interventions {
                for &direction in &self.plan.directions {
                    let side = receiver(direction);
                    let what = self.intervention(change, pair, side)?;
                    let mut push = |measure, plan| {
                        cells.push(Cell { set: number, change: change.label(), direction, measure, plan });
                    };
                    push(Measure::Joint, Plan::everywhere(side, &set.sites, &what));
                    if set.singles && set.sites.len() > 1 {
                        for site in &set.sites {
                            let one = Plan::everywhere(side, std::slice::from_ref(site), &what);
                            push(Measure::Single { site: site.clone() }, one);
                        }
                    }
                    if set.direct {
                        let mut plan = Plan::everywhere(side, &set.sites, &what);
                        let own = NamedPrompt::new("its own", pair.side(side))?;
                        let held = held(set, architecture)?.into_iter();
                        plan.cells.extend(held.map(|site| (site, Intervention::Resample { prompt: own.clone() })));
                        push(Measure::Direct, plan);
                    }
                }
            }
        }
        Ok(cells)
    }

    fn intervention(&self, change: &Change, pair: &TokenPair, side: Side) -> Result<Intervention, MediateError> {
        let unopened = || MediateError::Plan { message: "its files were not read; use AblationPlan::load".into() };
        let reference = || self.reference.clone().ok_or_else(unopened);
        let seed = self.plan.seed;
        Ok(match change {
            Change::Interchange => Intervention::Interchange,
            Change::RandomDirection => Intervention::RandomDirection { seed },
            Change::Zero => Intervention::Zero,
            Change::Mean => Intervention::Mean { reference: reference()? },
            Change::PositionalMean => Intervention::PositionalMean { reference: reference()? },
            Change::Resample => Intervention::Resample { prompt: self.other_prompt(pair, side)? },
            Change::Noise => Intervention::Noise { deviation: self.deviation, draws: self.plan.noise.draws, seed },
            Change::Add { direction, scale, .. } => {
                Intervention::Add { direction: direction.clone().ok_or_else(unopened)?, scale: *scale }
            }
            Change::ProjectOut { subspace, .. } => {
                Intervention::ProjectOut { subspace: subspace.clone().ok_or_else(unopened)? }
            }
            Change::InterchangeWithin { subspace, .. } => {
                Intervention::InterchangeWithin { subspace: subspace.clone().ok_or_else(unopened)? }
            }
        })
    }

    /// The same side of another pair, the first that aligns in an order drawn for the pair.
    fn other_prompt(&self, pair: &TokenPair, side: Side) -> Result<NamedPrompt, MediateError> {
        let mut others: Vec<&TokenPair> = self.pairs.iter().filter(|other| other.id != pair.id).collect();
        shuffle(&mut Seed::new(self.plan.seed).fork("resample").fork(&pair.id).rng(), &mut others);
        let own = pair.side(side);
        let fits = |other: &&TokenPair| other.side(side).ids != own.ids && Alignment::of(own, other.side(side)).is_ok();
        match others.into_iter().find(fits) {
            Some(other) => Ok(NamedPrompt::new(&other.id, other.side(side))?),
            None => Err(MediateError::Plan {
                message: format!(
                    "pair {:?} can be resampled from no other pair: none aligns with it and differs; add pairs of its length or with its slots, or leave resample out",
                    pair.id
                ),
            }),
        }
    }
}

/// Refuses a place that a pair lacks, before anything runs.
fn check_places(set: &SetSpec, pair: &TokenPair) -> Result<(), MediateError> {
    for site in &set.sites {
        let sources = match &site.part {
            Part::From(sources) => Some(sources),
            _ => None,
        };
        for positions in [Some(&site.positions), sources].into_iter().flatten() {
            let reason = match positions {
                Positions::Index(index) if *index >= pair.factual.ids.len() => format!(
                    "its factual prompt has {} tokens, at positions 0 to {}; name one of them, or a slot",
                    pair.factual.ids.len(),
                    pair.factual.ids.len().saturating_sub(1)
                ),
                Positions::Slot(slot) if pair.landmark(slot).is_none() => format!(
                    "it has no slot {slot:?} on both sides, but {}; name one of those, or give both prompts the slot",
                    pair.landmarks().join(", ")
                ),
                _ => continue,
            };
            let message = format!("set {:?} has {site}, which pair {:?} has not: {reason}", set.name, pair.id);
            return Err(MediateError::Plan { message });
        }
    }
    Ok(())
}

fn reference(pairs: &[TokenPair], sides: ReferenceSides) -> Result<Reference, MediateError> {
    let (name, sides): (&str, &[Side]) = match sides {
        ReferenceSides::Both => ("both sides of all pairs", &[Side::Factual, Side::Counterfactual]),
        ReferenceSides::Factual => ("the factual sides", &[Side::Factual]),
        ReferenceSides::Counterfactual => ("the counterfactual sides", &[Side::Counterfactual]),
    };
    let prompts = pairs.iter().flat_map(|pair| sides.iter().map(|&side| NamedPrompt::new(&pair.id, pair.side(side))));
    Ok(Reference::new(name, prompts.collect::<Result<_, _>>()?)?)
}

/// The standard deviation of the embeddings of all subjects.
fn deviation(model: &LanguageModel, pairs: &[TokenPair], slot: &str) -> Result<f64, MediateError> {
    let mut subjects: BTreeSet<Vec<u32>> = BTreeSet::new();
    for pair in pairs {
        for side in [Side::Factual, Side::Counterfactual] {
            let prompt = pair.side(side);
            let named = prompt.slots.iter().find(|(name, _)| name == slot && slot != CHANGED);
            subjects.insert(match named {
                Some((_, range)) => prompt.ids.get(range.clone()).unwrap_or_default().to_vec(),
                None if slot == CHANGED => changed(pair, side),
                None => Vec::new(),
            });
        }
    }
    let subjects: Vec<&[u32]> = subjects.iter().map(Vec::as_slice).collect();
    Ok(subject_deviation(model, &subjects)?)
}

/// The tokens in which a side differs from its partner.
fn changed(pair: &TokenPair, side: Side) -> Vec<u32> {
    let partners = pair.alignment().partners().iter();
    let tokens = partners.map(|&(a, b)| (pair.factual.ids.get(a), pair.counterfactual.ids.get(b)));
    let differing = tokens.filter(|(a, b)| a != b);
    let of_side = differing.filter_map(|(a, b)| if side == Side::Factual { a } else { b });
    of_side.copied().collect()
}

/// Everything that answers the sites of a set: all other heads and MLPs from its first layer on.
fn held(set: &SetSpec, architecture: &Architecture) -> Result<Vec<Site>, MediateError> {
    let writes =
        |site: &Site| matches!(site.kind, SiteKind::Z | SiteKind::AttnOut | SiteKind::MlpPost | SiteKind::MlpOut);
    if let Some(site) = set.sites.iter().find(|site| !writes(site) || site.part != Part::All) {
        let message = format!(
            "set {:?}: {site} has no direct effect; it is that of whole z, attn_out, mlp_post and mlp_out",
            set.name
        );
        return Err(MediateError::Plan { message });
    }
    let first = set.sites.iter().map(|site| site.layer).min().unwrap_or(0);
    let mut held = Vec::new();
    for layer in first..architecture.n_layers {
        let here = |kinds: [SiteKind; 2]| {
            set.sites.iter().filter(move |site| site.layer == layer && kinds.contains(&site.kind))
        };
        let heads: Vec<Option<usize>> = here([SiteKind::Z, SiteKind::AttnOut]).map(|site| site.head).collect();
        if heads.is_empty() {
            held.push(Site::everywhere(SiteKind::AttnOut, layer));
        } else if !heads.contains(&None) {
            let others = (0..architecture.n_heads).filter(|head| !heads.contains(&Some(*head)));
            held.extend(others.map(|head| Site::of_head(layer, head)));
        }
        if here([SiteKind::MlpPost, SiteKind::MlpOut]).next().is_none() {
            held.push(Site::everywhere(SiteKind::MlpOut, layer));
        }
    }
    Ok(held)
}
