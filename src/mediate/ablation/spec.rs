//! The plan file: which sites, under which interventions.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::{FileError, files};
use crate::intervene::{CHANGED, Direction, Outcome, Positions, Site, SiteKind, Subspace};
use crate::mediate::error::MediateError;
use crate::model::Architecture;
use crate::stats::PatchDirection;

/// A plan of ablations, read from TOML. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationPlan {
    /// The version of this format: 1.
    pub version: u32,
    /// Which run receives; both where it is left out.
    #[serde(default = "both")]
    pub directions: Vec<PatchDirection>,
    /// What is read.
    #[serde(default = "contrast")]
    pub outcome: Outcome,
    /// Root of what is drawn: noise, random directions, the prompts that are resampled.
    #[serde(default)]
    pub seed: u64,
    /// How noise is made.
    #[serde(default)]
    pub noise: NoiseSpec,
    /// The prompts over which means are taken: of these sides of all pairs.
    #[serde(default)]
    pub reference: ReferenceSides,
    /// Sites that are patched as one.
    #[serde(default, rename = "set")]
    pub sets: Vec<SetSpec>,
    /// Sites that are patched one by one.
    #[serde(default, rename = "grid")]
    pub grids: Vec<GridSpec>,
}

fn both() -> Vec<PatchDirection> {
    vec![PatchDirection::Noise, PatchDirection::Denoise]
}

fn contrast() -> Outcome {
    Outcome::Contrast
}

/// Gaussian noise, as ROME adds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseSpec {
    /// Its standard deviation, in standard deviations of the subjects' embeddings.
    pub times: f64,
    /// How many draws an outcome is averaged over.
    pub draws: u32,
    /// The slot that holds the subject; `changed` stands for the tokens in which a pair's sides differ.
    pub slot: String,
}

impl Default for NoiseSpec {
    fn default() -> Self {
        Self { times: 3.0, draws: 10, slot: CHANGED.to_owned() }
    }
}

/// Whose prompts a reference set holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceSides {
    /// Both sides of every pair.
    #[default]
    Both,
    /// The factual sides.
    Factual,
    /// The counterfactual sides.
    Counterfactual,
}

/// Sites that are patched together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSpec {
    /// What rows and tables call it.
    pub name: String,
    /// Its sites.
    pub sites: Vec<Site>,
    /// Each site stands for the same place in so many layers from its own on.
    #[serde(default = "one")]
    pub window: usize,
    /// What they receive.
    pub interventions: Vec<Change>,
    /// Whether each site is patched by itself too, which gives the interaction.
    #[serde(default)]
    pub singles: bool,
    /// Whether the direct effect is measured too, which gives self-repair.
    #[serde(default)]
    pub direct: bool,
}

/// All sites of some kinds, each a set of its own that is called by its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSpec {
    /// The kinds of sites.
    pub kinds: Vec<SiteKind>,
    /// The layers; all where it is left out.
    #[serde(default)]
    pub layers: Option<Vec<usize>>,
    /// Names of slots or landmarks; every position at once where it is left out.
    #[serde(default)]
    pub slots: Option<Vec<String>>,
    /// Whether each head is a site, at kinds that have heads.
    #[serde(default = "yes")]
    pub heads: bool,
    /// Each site stands for the same place in so many layers from its own on.
    #[serde(default = "one")]
    pub window: usize,
    /// What they receive.
    pub interventions: Vec<Change>,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

/// What the sites of a plan receive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// The other side's activation.
    Interchange,
    /// A direction as long as the interchange would have moved it.
    RandomDirection,
    /// Zero.
    Zero,
    /// The mean over the reference set.
    Mean,
    /// The mean over the reference set at the same position.
    PositionalMean,
    /// Another pair's activation on the receiver's side, drawn a pair among those that align.
    Resample,
    /// Gaussian noise.
    Noise,
    /// A direction from a JSON file `{"name", "values"}`, times a number.
    Add {
        /// The file, relative to the plan.
        file: String,
        /// What it is multiplied by.
        scale: f64,
        /// The direction, once the plan is loaded.
        #[serde(skip)]
        direction: Option<Direction>,
    },
    /// A subspace from a JSON file of orthonormal rows is projected out.
    ProjectOut {
        /// The file, relative to the plan.
        file: String,
        /// The subspace, once the plan is loaded.
        #[serde(skip)]
        subspace: Option<Subspace>,
    },
    /// The other side's activation inside a subspace from a JSON file of orthonormal rows.
    InterchangeWithin {
        /// The file, relative to the plan.
        file: String,
        /// The subspace, once the plan is loaded.
        #[serde(skip)]
        subspace: Option<Subspace>,
    },
}

impl Change {
    /// What rows and tables call it.
    pub fn label(&self) -> String {
        match self {
            Change::Interchange => "interchange".into(),
            Change::RandomDirection => "random_direction".into(),
            Change::Zero => "zero".into(),
            Change::Mean => "mean".into(),
            Change::PositionalMean => "positional_mean".into(),
            Change::Resample => "resample".into(),
            Change::Noise => "noise".into(),
            Change::Add { file, scale, .. } => format!("add {scale} {file}"),
            Change::ProjectOut { file, .. } => format!("project_out {file}"),
            Change::InterchangeWithin { file, .. } => format!("interchange_within {file}"),
        }
    }

    fn open(&mut self, folder: &Path) -> Result<(), FileError> {
        match self {
            Change::Add { file, direction, .. } => *direction = Some(files::read_json(&folder.join(file))?),
            Change::ProjectOut { file, subspace } | Change::InterchangeWithin { file, subspace } => {
                *subspace = Some(files::read_json(&folder.join(file))?);
            }
            _ => {}
        }
        Ok(())
    }
}

impl AblationPlan {
    /// Reads a plan and the files that it names.
    pub fn load(path: &Path) -> Result<Self, MediateError> {
        let mut plan: Self = files::read_toml(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let sets = plan.sets.iter_mut().flat_map(|set| &mut set.interventions);
        let grids = plan.grids.iter_mut().flat_map(|grid| &mut grid.interventions);
        for change in sets.chain(grids) {
            change.open(folder)?;
        }
        Ok(plan)
    }

    /// How many runs a pair takes, the plain ones included. Refuses as [`AblationPlan::resolve`] does.
    pub fn runs(&self, architecture: &Architecture) -> Result<usize, MediateError> {
        let cells = self.resolve(architecture)?.into_iter().map(|set| {
            let singles = if set.singles && set.sites.len() > 1 { set.sites.len() } else { 0 };
            set.interventions.len() * (1 + singles + usize::from(set.direct))
        });
        Ok(self.directions.len() * (2 + cells.sum::<usize>()))
    }

    /// Sets and grids as sets, windows opened. Refuses what the architecture does not have; needs no weights.
    pub fn resolve(&self, architecture: &Architecture) -> Result<Vec<SetSpec>, MediateError> {
        let refuse = |message: String| Err(MediateError::Plan { message });
        if self.version != 1 {
            return refuse(format!("version {} is not known; this program reads version 1", self.version));
        }
        if self.directions.is_empty() {
            return Err(MediateError::EmptySweep);
        }
        let mut sets = self.sets.clone();
        for grid in &self.grids {
            for site in grid.sites(architecture) {
                sets.push(SetSpec {
                    name: site.to_string(),
                    sites: vec![site],
                    window: grid.window,
                    interventions: grid.interventions.clone(),
                    singles: false,
                    direct: false,
                });
            }
        }
        for set in &mut sets {
            if set.sites.is_empty() || set.interventions.is_empty() || set.window == 0 {
                return refuse(format!("set {:?} needs a site, an intervention and a window of 1 or more", set.name));
            }
            for site in &set.sites {
                site.check(architecture)?;
            }
            let windows = set.sites.iter().flat_map(|site| site.window(set.window, architecture));
            set.sites = windows.collect();
            set.window = 1;
        }
        let mut names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return refuse(format!("two sets are called {:?}", twice.first().copied().unwrap_or_default()));
        }
        match sets.is_empty() {
            true => refuse("it names no [[set]] and no [[grid]]".into()),
            false => Ok(sets),
        }
    }
}

impl GridSpec {
    fn sites(&self, architecture: &Architecture) -> Vec<Site> {
        let layers = self.layers.clone().unwrap_or_else(|| (0..architecture.n_layers).collect());
        let places: Vec<Positions> = match &self.slots {
            None => vec![Positions::All],
            Some(slots) => slots.iter().cloned().map(Positions::Slot).collect(),
        };
        let mut sites = Vec::new();
        for &kind in &self.kinds {
            let layers = if kind.is_embedding() { vec![0] } else { layers.clone() };
            for layer in layers {
                for place in &places {
                    let site = Site::at(kind, layer, place.clone());
                    match kind.heads(architecture).filter(|_| self.heads) {
                        Some(heads) => sites.extend((0..heads).map(|head| site.clone().with_head(head))),
                        None => sites.push(site),
                    }
                }
            }
        }
        sites
    }
}
