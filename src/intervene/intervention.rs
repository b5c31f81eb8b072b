//! What a site receives.
//!
//! With x the receiver's own activation at the site and d the donor's (the pair's other side, plain run):
//! interchange d, resample the named prompt's, zero 0, mean and positional mean those of a reference set, add
//! x + s·v, noise x + σ·ε with ε ~ N(0, I), project out x − BᵀB x, interchange within a subspace x + BᵀB (d − x).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use super::site::{Site, SiteKind};
use super::source::{Direction, NamedPrompt, Reference};
use super::subspace::Subspace;
use crate::model::Architecture;

/// What a site receives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Intervention {
    /// The donor's activation at the aligned position.
    Interchange,
    /// Its own activation plus a random direction as long as the interchange would have moved it: a control that
    /// disturbs as much and says nothing. Drawn from the seed, the pair's id, the site and the position.
    RandomDirection {
        /// The stream's seed.
        seed: u64,
    },
    /// Zero.
    Zero,
    /// The mean over all positions of all prompts of a reference set (EAP-IG's `mean`).
    Mean {
        /// The set.
        reference: Reference,
    },
    /// The mean at the same position over the prompts of a reference set that reach it (EAP-IG's `mean-positional`).
    PositionalMean {
        /// The set.
        reference: Reference,
    },
    /// Another prompt's activation at the position that is aligned with the receiver's.
    Resample {
        /// The prompt.
        prompt: NamedPrompt,
    },
    /// Its own activation plus Gaussian noise of a standard deviation, drawn several times; outcomes are averaged over
    /// the draws before any difference is taken (ROME adds three standard deviations of the subjects' embeddings,
    /// see [`super::subject_deviation`], at the subject's [`SiteKind::Embed`]).
    Noise {
        /// Standard deviation of each coordinate's noise.
        deviation: f64,
        /// How many draws; those of one plan agree.
        draws: u32,
        /// The stream's seed. A draw depends on it, the pair's id, the site, the position and the draw's number.
        seed: u64,
    },
    /// Its own activation plus a direction.
    Add {
        /// The direction.
        direction: Direction,
        /// What it is multiplied by.
        scale: f64,
    },
    /// Its own activation without what lies in a subspace.
    ProjectOut {
        /// The subspace.
        subspace: Subspace,
    },
    /// The donor's activation inside a subspace, its own outside.
    InterchangeWithin {
        /// The subspace.
        subspace: Subspace,
    },
}

impl Intervention {
    /// The name of its kind: `interchange`, `positional_mean`, …
    pub fn name(&self) -> &'static str {
        match self {
            Intervention::Interchange => "interchange",
            Intervention::RandomDirection { .. } => "random_direction",
            Intervention::Zero => "zero",
            Intervention::Mean { .. } => "mean",
            Intervention::PositionalMean { .. } => "positional_mean",
            Intervention::Resample { .. } => "resample",
            Intervention::Noise { .. } => "noise",
            Intervention::Add { .. } => "add",
            Intervention::ProjectOut { .. } => "project_out",
            Intervention::InterchangeWithin { .. } => "interchange_within",
        }
    }

    /// Whether the run of the pair's other side is needed. Exactly these change nothing where both sides are the same.
    pub fn reads_donor(&self) -> bool {
        use Intervention::{Interchange, InterchangeWithin, RandomDirection};
        matches!(self, Interchange | RandomDirection { .. } | InterchangeWithin { .. })
    }

    /// The prompt whose run is needed besides the pair's.
    pub fn resampled(&self) -> Option<&NamedPrompt> {
        match self {
            Intervention::Resample { prompt } => Some(prompt),
            _ => None,
        }
    }

    /// The set whose mean is needed.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Intervention::Mean { reference } | Intervention::PositionalMean { reference } => Some(reference),
            _ => None,
        }
    }

    /// How many draws it is averaged over; 1 where nothing is drawn anew.
    pub fn draws(&self) -> u32 {
        match self {
            Intervention::Noise { draws, .. } => *draws,
            _ => 1,
        }
    }

    /// Whether what is written does not depend on what stood there, so that writing it twice changes nothing.
    pub(super) fn overwrites(&self) -> bool {
        use Intervention::{Interchange, Mean, PositionalMean, Resample, Zero};
        matches!(self, Interchange | Zero | Mean { .. } | PositionalMean { .. } | Resample { .. })
    }

    /// Refuses what a site of this architecture cannot receive.
    pub(super) fn check(&self, site: &Site, architecture: &Architecture) -> Result<(), InterveneError> {
        let refuse = |message: String| Err(InterveneError::Plan { site: site.to_string(), message });
        let (width, vocabulary) = (site.width(architecture), architecture.vocab_size);
        let pattern = site.kind == SiteKind::Pattern;
        let known = |prompt: &NamedPrompt| prompt.ids().iter().all(|id| (*id as usize) < vocabulary);
        let foreign = |name: &str| format!("prompt {name:?} holds a token outside the vocabulary of {vocabulary}");
        match self {
            Intervention::Mean { .. } if pattern => {
                refuse("probabilities of different positions have no common mean; use positional_mean".into())
            }
            Intervention::Mean { reference } | Intervention::PositionalMean { reference } => {
                match reference.prompts().iter().find(|prompt| !known(prompt)) {
                    Some(prompt) => refuse(foreign(prompt.name())),
                    None if reference.longest() > architecture.max_positions => {
                        refuse(format!("a prompt of {} is longer than the model reads", reference.name()))
                    }
                    None => Ok(()),
                }
            }
            Intervention::Resample { prompt } if !known(prompt) => refuse(foreign(prompt.name())),
            Intervention::Interchange | Intervention::Zero | Intervention::Resample { .. } => Ok(()),
            _ if pattern => refuse(format!("{} needs a vector space; a pattern has none of fixed width", self.name())),
            Intervention::Noise { deviation, draws, .. }
                if !(deviation.is_finite() && *deviation > 0.0 && *draws > 0) =>
            {
                refuse(format!("noise of deviation {deviation} in {draws} draws; both must be greater than 0"))
            }
            Intervention::Add { scale, .. } if !scale.is_finite() => refuse(format!("a direction times {scale}")),
            Intervention::Add { direction, .. } if width != Some(direction.values().len()) => {
                let found = direction.values().len();
                refuse(format!("direction {:?} has {found} values, the site {}", direction.name(), width.unwrap_or(0)))
            }
            Intervention::ProjectOut { subspace } | Intervention::InterchangeWithin { subspace }
                if width != Some(subspace.width()) =>
            {
                refuse(format!("a subspace of width {}, the site has {}", subspace.width(), width.unwrap_or(0)))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Intervention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Intervention::Interchange => f.write_str("interchange"),
            Intervention::RandomDirection { .. } => f.write_str("random direction"),
            Intervention::Zero => f.write_str("zero"),
            Intervention::Mean { reference } => write!(f, "mean of {}", reference.name()),
            Intervention::PositionalMean { reference } => write!(f, "positional mean of {}", reference.name()),
            Intervention::Resample { prompt } => write!(f, "resample from {}", prompt.name()),
            Intervention::Noise { deviation, draws, .. } => write!(f, "noise of {deviation:.3e} in {draws} draws"),
            Intervention::Add { direction, scale } => write!(f, "{scale} times {}", direction.name()),
            Intervention::ProjectOut { subspace } => write!(f, "{} dimensions projected out", subspace.dimensions()),
            Intervention::InterchangeWithin { subspace } => {
                write!(f, "interchange within {} dimensions", subspace.dimensions())
            }
        }
    }
}
