//! From plans to unit rows: which row of a batch receives which row of the captured activations.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use candle_core::{Device, Tensor};

use super::batch::{RunBatch, RunRow};
use super::cache::{ActivationCache, SourceKey};
use super::error::InterveneError;
use super::intervention::Intervention;
use super::means::Averaged;
use super::noise::{NoisePlace, noise};
use super::pair::TokenPair;
use super::patch::{PatchHooks, Replacement, View};
use super::places::{Place, places};
use super::plan::Plan;
use super::site::{Part, Site, SiteKind};
use super::subspace::Subspace;
use crate::base::seed::normal;
use crate::base::{Digest, Seed};
use crate::model::{Architecture, HookPoint};

/// A patched run's place in its batch.
pub(crate) struct Placed<'a> {
    /// The job's number, under which the donor was captured.
    pub job: usize,
    /// Which draw of its noise it is.
    pub draw: u32,
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
    /// The first token of each row, counted through the pass.
    first_tokens: &'a [usize],
    /// Stored positions before the batch's own in the columns of a pattern.
    stored: usize,
    edits: BTreeMap<(HookPoint, View, Kind), Edit>,
}

/// Interventions of one kind share a replacement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Copy,
    Mean(Digest, Averaged),
    Zero,
    Direction,
    Add,
    ProjectOut(Digest),
    Within(Digest),
}

impl Kind {
    fn of(intervention: &Intervention) -> Self {
        match intervention {
            Intervention::Interchange | Intervention::Resample { .. } => Kind::Copy,
            Intervention::Mean { reference } => Kind::Mean(reference.digest().clone(), Averaged::Everything),
            Intervention::PositionalMean { reference } => Kind::Mean(reference.digest().clone(), Averaged::Prompts),
            Intervention::Zero => Kind::Zero,
            Intervention::RandomDirection { .. } => Kind::Direction,
            Intervention::Add { .. } | Intervention::Noise { .. } => Kind::Add,
            Intervention::ProjectOut { subspace } => Kind::ProjectOut(subspace.digest().clone()),
            Intervention::InterchangeWithin { subspace } => Kind::Within(subspace.digest().clone()),
        }
    }
}

#[derive(Default)]
struct Edit {
    receiver: Vec<u32>,
    donor: Vec<u32>,
    /// Directions or what is added, row by row.
    values: Vec<f32>,
    subspace: Option<Subspace>,
}

/// The columns that cells wrote of one unit row, with the cells' numbers.
type Written = HashMap<(HookPoint, usize, usize, usize), Vec<(Range<usize>, usize)>>;

impl<'a> Wiring<'a> {
    /// `stored` is the number of stored positions that stand before the batch's own tokens in a pattern.
    pub(crate) fn new(
        cache: &'a ActivationCache,
        architecture: &'a Architecture,
        batch: &'a RunBatch,
        stored: usize,
    ) -> Self {
        let RunBatch { tokens, first_tokens, .. } = batch;
        Self { cache, architecture, tokens: *tokens, first_tokens, stored, edits: BTreeMap::new() }
    }

    /// Adds one patched run.
    pub(crate) fn add(&mut self, run: &Placed<'_>) -> Result<(), InterveneError> {
        let mut written = Written::new();
        for (number, (site, intervention)) in run.plan.cells.iter().enumerate() {
            for (offset, row) in run.rows.iter().enumerate() {
                let places = places(run.pair, run.plan.receiver, (site, intervention), row)?;
                let columns = columns(site, places.sources.as_deref());
                for place in &places.positions {
                    for head in heads(site, self.architecture) {
                        let unit = (site.hook(), offset, place.own, head);
                        if !first_to_write(run, &mut written, (unit, &columns), number)? {
                            continue;
                        }
                        match &places.sources {
                            None => self.write(run, (site, intervention), offset, (*place, head))?,
                            Some(sources) => {
                                let seen = sources.iter().filter(|source| source.own <= place.own);
                                self.write_pattern(run, (site, intervention), offset, (*place, head), seen)?;
                            }
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
        for ((point, view, kind), edit) in self.edits {
            let n = edit.receiver.len();
            let narrowed = |rows: Tensor| match view {
                View::Columns { first, count } => rows.narrow(1, first, count)?.contiguous(),
                View::Rows | View::Elements => Ok(rows),
            };
            let captured = |donor| Ok::<_, InterveneError>(narrowed(self.cache.unit_rows(point, donor)?)?);
            let given = |values: Vec<f32>| Tensor::from_vec(values, (n, ()), device);
            let value = match (kind, edit.subspace) {
                (Kind::Zero, _) => Replacement::Zero,
                (Kind::Mean(reference, averaged), _) => {
                    let rows = self.cache.means().rows((&reference, point), averaged, edit.donor)?;
                    Replacement::Rows(narrowed(rows)?)
                }
                (Kind::Direction, _) => {
                    let source = captured(edit.donor)?;
                    let direction = given(edit.values)?.to_dtype(source.dtype())?;
                    Replacement::Direction { source, direction }
                }
                (Kind::Add, _) => Replacement::Add(given(edit.values)?),
                (Kind::ProjectOut(_), Some(subspace)) => Replacement::ProjectOut(subspace),
                (Kind::Within(_), Some(subspace)) => Replacement::Within { source: captured(edit.donor)?, subspace },
                (Kind::Copy | Kind::ProjectOut(_) | Kind::Within(_), _) => Replacement::Rows(captured(edit.donor)?),
            };
            hooks.replace_in(point, view, edit.receiver, value);
        }
        Ok(hooks)
    }

    /// The unit row of a head at a position of a run whose rows are padded to `tokens`.
    fn unit(&self, site: &Site, row: usize, tokens: usize, position: usize, head: usize) -> usize {
        let heads = site.kind.heads(self.architecture).unwrap_or(1);
        match site.kind {
            SiteKind::Pattern => (row * heads + head) * tokens + position,
            _ => (row * tokens + position) * heads + head,
        }
    }

    /// The same of the batch's own rows.
    fn own_unit(&self, site: &Site, row: usize, position: usize, head: usize) -> usize {
        match site.kind {
            SiteKind::Pattern => self.unit(site, row, self.tokens, position, head),
            _ => {
                let heads = site.kind.heads(self.architecture).unwrap_or(1);
                (self.first_tokens.get(row).copied().unwrap_or_default() + position) * heads + head
            }
        }
    }

    fn edit(&mut self, site: &Site, intervention: &Intervention) -> &mut Edit {
        let view = match (site.kind, &site.part) {
            (SiteKind::Pattern, _) => View::Elements,
            (_, Part::Neurons { first, end }) => View::Columns { first: *first, count: end.saturating_sub(*first) },
            _ => View::Rows,
        };
        self.edits.entry((site.hook(), view, Kind::of(intervention))).or_default()
    }

    /// First row and padded tokens of the run that a cell reads; `None` where it reads none.
    fn donor(&self, run: &Placed<'_>, what: &Intervention) -> Result<Option<(usize, usize)>, InterveneError> {
        let key = match what.resampled() {
            Some(prompt) => SourceKey::Prompt(run.job, prompt.digest().clone()),
            None if what.reads_donor() => SourceKey::Side(run.job, run.plan.receiver.other()),
            None => return Ok(None),
        };
        let missing = || {
            let message = "its donor's run was not captured; capture with the same jobs".to_owned();
            InterveneError::Pair { pair: run.pair.id.clone(), message }
        };
        self.cache.place(&key).map(Some).ok_or_else(missing)
    }

    fn write(
        &mut self,
        run: &Placed<'_>,
        (site, intervention): (&Site, &Intervention),
        offset: usize,
        (place, head): (Place, usize),
    ) -> Result<(), InterveneError> {
        let Some(own) = place.own.checked_sub(run.start) else { return Ok(()) };
        let unit = self.own_unit(site, run.first_row + offset, own, head);
        let donor = match (self.donor(run, intervention)?, intervention) {
            (Some((first, tokens)), _) => self.unit(site, first + offset, tokens, place.donor, head),
            (None, Intervention::PositionalMean { reference }) => {
                let tokens = self.cache.means().tokens(reference.digest(), site.hook())?;
                self.unit(site, 0, tokens, place.donor, head)
            }
            (None, _) => head,
        };
        let width = site.width(self.architecture).unwrap_or(0);
        let edit = self.edit(site, intervention);
        edit.receiver.push(unit as u32);
        edit.donor.push(donor as u32);
        match intervention {
            Intervention::RandomDirection { seed } => {
                let name = format!("{}|{}|{}|{head}", run.pair.id, site.hook(), place.own);
                edit.values.extend(direction(Seed::new(*seed).fork(&name), width));
            }
            Intervention::Noise { seed, deviation, .. } => {
                let at = NoisePlace { pair: &run.pair.id, point: site.hook(), position: place.own, head };
                edit.values.extend(noise(*seed, at, run.draw, *deviation, width));
            }
            Intervention::Add { direction, scale } => {
                edit.values.extend(direction.values().iter().map(|value| (f64::from(*value) * scale) as f32));
            }
            Intervention::ProjectOut { subspace } | Intervention::InterchangeWithin { subspace } => {
                edit.subspace.get_or_insert_with(|| subspace.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// The same for the sources that one destination of a pattern sees.
    fn write_pattern<'p>(
        &mut self,
        run: &Placed<'_>,
        (site, intervention): (&Site, &Intervention),
        offset: usize,
        (place, head): (Place, usize),
        sources: impl Iterator<Item = &'p Place>,
    ) -> Result<(), InterveneError> {
        let Some(own) = place.own.checked_sub(run.start) else { return Ok(()) };
        let columns = self.stored + self.tokens;
        let unit = self.own_unit(site, run.first_row + offset, own, head) * columns;
        let (first, tokens) = match (self.donor(run, intervention)?, intervention) {
            (Some((first, tokens)), _) => (first + offset, tokens),
            (None, Intervention::PositionalMean { reference }) => {
                (0, self.cache.means().tokens(reference.digest(), site.hook())?)
            }
            (None, _) => (0, 0),
        };
        let donor = self.unit(site, first, tokens, place.donor, head) * tokens;
        let (start, stored) = (run.start, self.stored);
        let edit = self.edit(site, intervention);
        for source in sources {
            let column = if source.own < start { source.own } else { stored + source.own - start };
            edit.receiver.push((unit + column) as u32);
            edit.donor.push((donor + source.donor) as u32);
        }
        Ok(())
    }
}

fn heads(site: &Site, architecture: &Architecture) -> Range<usize> {
    match site.head {
        Some(head) => head..head + 1,
        None => 0..site.kind.heads(architecture).unwrap_or(1),
    }
}

/// Two cells of one plan may meet in one place (a slot at the prompt's end) if they write the same value: then only the
/// first does, or both where one covers more and what they write does not depend on what was there.
fn first_to_write(
    run: &Placed<'_>,
    written: &mut Written,
    (unit, columns): ((HookPoint, usize, usize, usize), &Range<usize>),
    number: usize,
) -> Result<bool, InterveneError> {
    let cells = &run.plan.cells;
    let Some((site, what)) = cells.get(number) else { return Ok(false) };
    let earlier = written.entry(unit).or_default();
    for (known, by) in earlier.iter().filter(|(known, _)| known.start < columns.end && columns.start < known.end) {
        let Some((first, other)) = cells.get(*by) else { continue };
        if other != what || known != columns && !what.overwrites() {
            return Err(InterveneError::Overlap {
                pair: run.pair.id.clone(),
                first: first.to_string(),
                second: site.to_string(),
            });
        }
        if known == columns {
            return Ok(false);
        }
    }
    earlier.push((columns.clone(), number));
    Ok(true)
}

/// The columns of a unit row that a cell covers.
fn columns(site: &Site, sources: Option<&[Place]>) -> Range<usize> {
    match (&site.part, sources) {
        (Part::Neurons { first, end }, _) => *first..*end,
        (Part::From(_), Some([source])) => source.own..source.own + 1,
        _ => 0..usize::MAX,
    }
}

/// A direction drawn evenly from the unit sphere.
fn direction(seed: Seed, width: usize) -> Vec<f32> {
    let mut rng = seed.rng();
    let drawn: Vec<f64> = (0..width).map(|_| normal(&mut rng)).collect();
    let length = drawn.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    drawn.into_iter().map(|x| (x / length) as f32).collect()
}
