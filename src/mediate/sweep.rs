//! Sweeps: one site patched at a time, on every pair, in both directions.
//!
//! *noise*: the factual prompt runs and receives the counterfactual's activation; *denoise*: the reverse. `base` and
//! `source` are the plain outcomes of receiver and donor, `effect` = patched − base, raw: neither oriented nor
//! normalised. `q`, `k`, `v`, `pattern` and `z` are patched one head at a time at all positions, other sites one position
//! at a time. Cost: one pass a pair, site and direction, under the naive engine.

use serde::{Deserialize, Serialize};

use super::error::MediateError;
use crate::base::Progress;
use crate::base::files::Column;
use crate::intervene::{
    Job, LAST, Operations, Outcome, Plan, Positions, ReuseEngine, Side, Site, SiteKind, SweepEngine, TokenPair,
};
use crate::model::{Architecture, LanguageModel};
use crate::stats::PatchDirection;

/// Which positions are patched, at sites that are patched by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grid {
    /// Every aligned token.
    EveryToken,
    /// The pair's landmarks: its slots' last tokens, and the last token.
    Landmarks,
}

/// What a sweep covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepSpec {
    /// The kinds of sites, all layers of each.
    pub kinds: Vec<SiteKind>,
    /// The positions.
    pub grid: Grid,
    /// The directions.
    pub directions: Vec<PatchDirection>,
    /// What is read.
    pub outcome: Outcome,
}

impl SweepSpec {
    /// A sweep of [`Outcome::Contrast`].
    pub fn new(kinds: &[SiteKind], grid: Grid, directions: &[PatchDirection]) -> Self {
        Self { kinds: kinds.to_vec(), grid, directions: directions.to_vec(), outcome: Outcome::Contrast }
    }

    /// The sites of one pair: kinds in the order asked, then layers, then heads or positions.
    pub fn sites(&self, architecture: &Architecture, pair: &TokenPair) -> Result<Vec<Site>, MediateError> {
        let mut sites = Vec::new();
        for &kind in &self.kinds {
            let layers = if kind.is_embedding() { 1 } else { architecture.n_layers };
            for layer in 0..layers {
                if let Some(heads) = kind.heads(architecture) {
                    sites.extend((0..heads).map(|head| Site::everywhere(kind, layer).with_head(head)));
                    continue;
                }
                match self.grid {
                    Grid::EveryToken => {
                        let positions = pair.alignment().partners().iter();
                        sites.extend(positions.map(|&(position, _)| Site::at_index(kind, layer, position)));
                    }
                    Grid::Landmarks => {
                        sites.extend(pair.landmarks().into_iter().map(|name| Site::at_slot(kind, layer, name)));
                    }
                }
            }
        }
        Ok(sites)
    }

    /// Refuses a sweep over nothing, and kinds that the architecture does not have.
    pub fn check(&self, architecture: &Architecture) -> Result<(), MediateError> {
        if self.kinds.is_empty() || self.directions.is_empty() {
            return Err(MediateError::EmptySweep);
        }
        for &kind in &self.kinds {
            Site::everywhere(kind, 0).check(architecture)?;
        }
        Ok(())
    }
}

/// The receiver of a direction.
pub fn receiver(direction: PatchDirection) -> Side {
    match direction {
        PatchDirection::Noise => Side::Factual,
        PatchDirection::Denoise => Side::Counterfactual,
    }
}

/// One patched run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteOutcome {
    /// The pair's place in the list that was swept.
    pub pair: usize,
    /// What was patched.
    pub site: Site,
    /// Which way.
    pub direction: PatchDirection,
    /// The receiver's plain outcome.
    pub base: f64,
    /// The donor's plain outcome.
    pub source: f64,
    /// The receiver's outcome with the donor's activation.
    pub patched: f64,
}

/// One line of a sweep's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// The pair's id.
    pub id: String,
    /// The kind of site: `resid_pre`, `z`, …
    pub site: SiteKind,
    /// The layer.
    pub layer: usize,
    /// The token, counted in the factual prompt; null where all are patched.
    pub position: Option<usize>,
    /// The landmark that the position was named by; left out where every token was patched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The head, of `z`.
    pub head: Option<usize>,
    /// `noise` or `denoise`.
    pub direction: PatchDirection,
    /// The receiver's plain outcome.
    pub base: f64,
    /// The donor's plain outcome.
    pub source: f64,
    /// The receiver's outcome with the donor's activation.
    pub patched: f64,
    /// `patched` − `base`.
    pub effect: f64,
    /// What the outcome is: `logit_difference`, `log_odds`, …
    pub outcome: Outcome,
}

impl SweepRow {
    /// The columns of a table of such rows: those that the rows of this grid hold.
    pub fn columns(grid: Grid) -> Vec<Column> {
        let mut columns = vec![
            Column::text("id"),
            Column::text("site"),
            Column::integer("layer"),
            Column::integer("position").or_null(),
        ];
        if grid == Grid::Landmarks {
            columns.push(Column::text("slot").or_null());
        }
        columns.extend([Column::integer("head").or_null(), Column::text("direction")]);
        columns.extend(["base", "source", "patched", "effect"].map(Column::number));
        columns.push(Column::text("outcome"));
        columns
    }

    /// The line of one patched run.
    pub fn new(pair: &TokenPair, run: &SiteOutcome, outcome: Outcome) -> Result<Self, MediateError> {
        let (position, slot) = match &run.site.positions {
            Positions::All => (None, None),
            Positions::Index(index) => (Some(*index), None),
            Positions::Slot(name) => (pair.landmark(name).map(|(factual, _)| factual), Some(name.clone())),
        };
        Ok(Self {
            id: pair.id.clone(),
            site: run.site.kind,
            layer: run.site.layer,
            position,
            slot,
            head: run.site.head,
            direction: run.direction,
            base: run.base,
            source: run.source,
            patched: run.patched,
            effect: run.patched - run.base,
            outcome: outcome.resolve(pair)?,
        })
    }
}

/// What a sweep runs with.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// The model.
    pub model: &'a LanguageModel,
    /// The engine.
    pub engine: &'a dyn SweepEngine,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

impl<'a> Runner<'a> {
    /// Outcomes of one list of plans a pair.
    pub(crate) fn outcomes(&self, jobs: &[Job<'_>], outcome: Outcome) -> Result<Vec<Vec<f64>>, MediateError> {
        Ok(self.engine.outcomes(self.model, jobs, outcome, self.progress)?)
    }

    /// Outcomes of the same plans on every pair.
    pub(crate) fn on_every(
        &self,
        pairs: &[TokenPair],
        plans: &[Plan],
        outcome: Outcome,
    ) -> Result<Vec<Vec<f64>>, MediateError> {
        let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans }).collect();
        self.outcomes(&jobs, outcome)
    }
}

/// Runs a sweep in memory: pairs in order, then sites, then directions. Announces itself to the progress.
pub fn sweep(runner: Runner<'_>, pairs: &[TokenPair], spec: &SweepSpec) -> Result<Vec<SiteOutcome>, MediateError> {
    spec.check(runner.model.architecture())?;
    runner.progress.start("sweep", count(runner, pairs, spec)?);
    let runs = sweep_part(runner, pairs, 0, spec)?;
    runner.progress.finish();
    Ok(runs)
}

/// What a sweep costs in theory, with reuse and without.
pub fn sweep_operations(
    engine: &ReuseEngine,
    model: &LanguageModel,
    pairs: &[TokenPair],
    spec: &SweepSpec,
) -> Result<Operations, MediateError> {
    let architecture = model.architecture();
    spec.check(architecture)?;
    let mut counted = Operations::default();
    for pair in pairs {
        let plans = plans(&spec.sites(architecture, pair)?, spec, architecture);
        counted += engine.operations(model, &[Job { pair, plans: &plans }], spec.outcome)?;
    }
    Ok(counted)
}

/// How many runs a sweep takes.
pub(crate) fn count(runner: Runner<'_>, pairs: &[TokenPair], spec: &SweepSpec) -> Result<u64, MediateError> {
    let mut runs = 0;
    for pair in pairs {
        let sites = spec.sites(runner.model.architecture(), pair)?.len();
        runs += (spec.directions.len() * (sites + 2)) as u64;
    }
    Ok(runs)
}

/// The runs of some of a sweep's pairs; the first of them is pair `first` of the sweep.
pub(crate) fn sweep_part(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    first: usize,
    spec: &SweepSpec,
) -> Result<Vec<SiteOutcome>, MediateError> {
    let architecture = runner.model.architecture();
    let sites: Vec<Vec<Site>> = pairs.iter().map(|pair| spec.sites(architecture, pair)).collect::<Result<_, _>>()?;
    let plans: Vec<Vec<Plan>> = sites.iter().map(|sites| plans(sites, spec, architecture)).collect();
    let jobs: Vec<Job<'_>> = pairs.iter().zip(&plans).map(|(pair, plans)| Job { pair, plans }).collect();
    let outcomes = runner.outcomes(&jobs, spec.outcome)?;
    let mut runs = Vec::new();
    for (number, (sites, outcomes)) in sites.into_iter().zip(&outcomes).enumerate() {
        let mut values = outcomes.iter().copied();
        let mut plain = || spec.directions.iter().filter_map(|_| values.next()).collect::<Vec<f64>>();
        let (bases, sources) = (plain(), plain());
        for site in sites {
            for ((&direction, &base), &source) in spec.directions.iter().zip(&bases).zip(&sources) {
                if let Some(patched) = values.next() {
                    runs.push(SiteOutcome {
                        pair: first + number,
                        site: site.clone(),
                        direction,
                        base,
                        source,
                        patched,
                    });
                }
            }
        }
    }
    Ok(runs)
}

/// Each direction's receiver, each direction's donor, then the patched runs.
fn plans(sites: &[Site], spec: &SweepSpec, architecture: &Architecture) -> Vec<Plan> {
    let directions = || spec.directions.iter().map(|&direction| receiver(direction));
    let mut plans: Vec<Plan> = directions().map(Plan::nothing).collect();
    plans.extend(directions().map(|receiver| match spec.outcome {
        // A divergence is from the receiver's own plain run. The donor's is that of a receiver which ends its last
        // block with the donor's stream at the position that is read.
        Outcome::Kl => {
            let end = Site::at_slot(SiteKind::ResidPost, architecture.n_layers.saturating_sub(1), LAST);
            Plan::interchange(receiver, &[end])
        }
        _ => Plan::nothing(receiver.other()),
    }));
    for site in sites {
        plans.extend(directions().map(|receiver| Plan::interchange(receiver, std::slice::from_ref(site))));
    }
    plans
}
