//! From plans to unit rows: which row of a batch receives which row of the cache.

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};

use super::batch::RunRow;
use super::cache::ActivationCache;
use super::error::InterveneError;
use super::pair::TokenPair;
use super::patch::{PatchHooks, Replacement};
use super::plan::{Intervention, Plan};
use super::site::{Positions, Site, SiteKind};
use crate::base::Seed;
use crate::base::seed::normal;
use crate::model::{Architecture, HookPoint};

/// A patched run's place in its batch.
pub(crate) struct Placed<'a> {
    /// The job's number, under which the donor was captured.
    pub job: usize,
    /// The pair.
    pub pair: &'a TokenPair,
    /// What is done to it.
    pub plan: &'a Plan,
    /// Its rows.
    pub rows: &'a [RunRow],
    /// The batch's row that its first row is.
    pub first_row: usize,
    /// The position at which its rows start; nothing is replaced before it.
    pub start: usize,
}

/// Collects what a batch's runs replace.
pub(crate) struct Wiring<'a> {
    cache: &'a ActivationCache,
    architecture: &'a Architecture,
    /// Tokens of a padded row of the batch.
    tokens: usize,
    edits: BTreeMap<(HookPoint, Kind), Edit>,
}

/// Interventions of one kind share a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Interchange,
    Direction,
    Zero,
}

#[derive(Default)]
struct Edit {
    receiver: Vec<u32>,
    donor: Vec<u32>,
    directions: Vec<f32>,
}

impl<'a> Wiring<'a> {
    pub(crate) fn new(cache: &'a ActivationCache, architecture: &'a Architecture, tokens: usize) -> Self {
        Self { cache, architecture, tokens, edits: BTreeMap::new() }
    }

    /// Adds one patched run.
    pub(crate) fn add(&mut self, run: &Placed<'_>) -> Result<(), InterveneError> {
        let mut written: HashMap<(HookPoint, usize, usize, usize), usize> = HashMap::new();
        for (number, (site, intervention)) in run.plan.cells.iter().enumerate() {
            let prompt = run.pair.resolve(&site.positions, run.plan.receiver)?;
            for (offset, row) in run.rows.iter().enumerate() {
                let continued = continued(run, site, row);
                for &(position, donor) in prompt.iter().chain(&continued) {
                    for head in heads(site, self.architecture) {
                        match written.insert((site.hook(), offset, position, head), number) {
                            Some(earlier) => same_value(run, earlier, number)?,
                            None => self.write(run, (site, *intervention), offset, (position, donor, head))?,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The hooks that carry everything out.
    pub(crate) fn hooks(self, device: &Device) -> Result<PatchHooks, InterveneError> {
        let mut hooks = PatchHooks::new();
        for ((point, kind), edit) in self.edits {
            let value = match kind {
                Kind::Zero => Replacement::Zero,
                Kind::Interchange => Replacement::Rows(self.cache.unit_rows(point, edit.donor)?),
                Kind::Direction => {
                    let source = self.cache.unit_rows(point, edit.donor)?;
                    let direction =
                        Tensor::from_vec(edit.directions, source.dims(), device)?.to_dtype(source.dtype())?;
                    Replacement::Direction { source, direction }
                }
            };
            hooks.replace(point, edit.receiver, value);
        }
        Ok(hooks)
    }

    fn unit(&self, site: &Site, row: usize, tokens: usize, position: usize, head: usize) -> usize {
        let units = if site.kind == SiteKind::Z { self.architecture.n_heads } else { 1 };
        (row * tokens + position) * units + head
    }

    fn write(
        &mut self,
        run: &Placed<'_>,
        (site, intervention): (&Site, Intervention),
        offset: usize,
        (position, donor, head): (usize, usize, usize),
    ) -> Result<(), InterveneError> {
        let Some(own) = position.checked_sub(run.start) else { return Ok(()) };
        let unit = self.unit(site, run.first_row + offset, self.tokens, own, head);
        let kind = match intervention {
            Intervention::Interchange => Kind::Interchange,
            Intervention::RandomDirection { .. } => Kind::Direction,
            Intervention::Zero => Kind::Zero,
        };
        let mut donor_unit = 0;
        if intervention.reads_donor() {
            let key = (run.job, run.plan.receiver.other());
            let (first, tokens) = self.cache.place(key).ok_or_else(|| {
                let message = "its donor's run was not captured; capture with the same jobs".to_owned();
                InterveneError::Pair { pair: run.pair.id.clone(), message }
            })?;
            donor_unit = self.unit(site, first + offset, tokens, donor, head);
        }
        let width = if site.kind == SiteKind::Z { self.architecture.head_dim } else { self.architecture.d_model };
        let edit = self.edits.entry((site.hook(), kind)).or_default();
        edit.receiver.push(unit as u32);
        edit.donor.push(donor_unit as u32);
        if let Intervention::RandomDirection { seed } = intervention {
            let name = format!("{}|{}|{position}|{head}", run.pair.id, site.hook());
            edit.directions.extend(direction(Seed::new(seed).fork(&name), width));
        }
        Ok(())
    }
}

/// (receiver, donor) positions of the continuation, which only [`Positions::All`] covers. The answer has the same number
/// of tokens on both sides.
fn continued(run: &Placed<'_>, site: &Site, row: &RunRow) -> Vec<(usize, usize)> {
    if site.positions != Positions::All {
        return Vec::new();
    }
    let donor_prompt = run.pair.side(run.plan.receiver.other()).ids.len();
    (row.prompt..row.ids.len()).map(|position| (position, donor_prompt + position - row.prompt)).collect()
}

fn heads(site: &Site, architecture: &Architecture) -> std::ops::Range<usize> {
    match (site.kind, site.head) {
        (SiteKind::Z, None) => 0..architecture.n_heads,
        (_, head) => head.unwrap_or(0)..head.unwrap_or(0) + 1,
    }
}

/// Two sites of one plan may meet in one place (a slot at the prompt's end) if they write the same value.
fn same_value(run: &Placed<'_>, earlier: usize, later: usize) -> Result<(), InterveneError> {
    let cells = &run.plan.cells;
    match (cells.get(earlier), cells.get(later)) {
        (Some((first, one)), Some((second, other))) if one != other => Err(InterveneError::Overlap {
            pair: run.pair.id.clone(),
            first: first.to_string(),
            second: second.to_string(),
        }),
        _ => Ok(()),
    }
}

/// A direction drawn evenly from the unit sphere.
fn direction(seed: Seed, width: usize) -> Vec<f32> {
    let mut rng = seed.rng();
    let drawn: Vec<f64> = (0..width).map(|_| normal(&mut rng)).collect();
    let length = drawn.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    drawn.into_iter().map(|x| (x / length) as f32).collect()
}
