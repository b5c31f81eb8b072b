//! The methods that the benchmark compares.
//!
//! | method | score of a node |
//! |---|---|
//! | random | uniform |
//! | attention mass | a head's attention to the tokens that differ, summed over query positions; an MLP 0 |
//! | activation distance | ‖a(x′) − a(x)‖ of what it adds to the stream, at each position, summed |
//! | weight norm | ‖W_V‖·‖W_O‖ of a head, the product of an MLP's norms (Frobenius) |
//! | gradient norm | ‖∂y/∂a‖ on the clean prompt, at each position, summed |
//! | attribution | (a(x′) − a(x))·∂y/∂a on the clean prompt: attribution patching |
//! | EAP-IG | the same with the gradient averaged over five inputs from the corrupted to the clean prompt |
//! | exact noising | y(x, a ← a(x′)) − y(x) |
//! | exact denoising | y(x′, a ← a(x)) − y(x′) |
//! | both | the larger magnitude of the two |
//!
//! All are means over pairs; a is z for heads where gradients are taken (what W_O makes of it has the same score), and
//! the addition to the stream where distances are. x is the factual prompt, clean; x′ the counterfactual, corrupted.
//! None sees the truth, and none was tuned on the benchmark's models.

mod exact;
mod gradient;
mod passive;
mod subspace;

use serde::{Deserialize, Serialize};

use super::error::PlantedError;
use super::task::{Scores, Task};
use crate::base::{Seed, Silent};
use crate::mediate::attribution::Method as Attribution;

pub(crate) use exact::run as patched_effects;
pub use exact::{Effects, exact_effects};
pub use subspace::{Dormant, DormantEffects, dormant_effects};

/// A method that looks for pathways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Chance.
    Random,
    /// Attention to what differs.
    AttentionMass,
    /// How far activations move.
    ActivationDistance,
    /// How large weights are.
    WeightNorm,
    /// How large gradients are.
    GradientNorm,
    /// Attribution patching with the gradient on the clean prompt; EAP at edges.
    Attribution,
    /// Attribution with the gradient integrated over inputs.
    EapIg,
    /// The factual run receives.
    Noising,
    /// The counterfactual run receives.
    Denoising,
    /// The larger of the two.
    Both,
}

/// Steps of EAP-IG, as its paper has them.
const STEPS: usize = 5;

impl Method {
    /// All, baselines first.
    pub const ALL: [Method; 10] = [
        Method::Random,
        Method::AttentionMass,
        Method::ActivationDistance,
        Method::WeightNorm,
        Method::GradientNorm,
        Method::Attribution,
        Method::EapIg,
        Method::Noising,
        Method::Denoising,
        Method::Both,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Method::Random => "random",
            Method::AttentionMass => "attention mass",
            Method::ActivationDistance => "activation distance",
            Method::WeightNorm => "weight norm",
            Method::GradientNorm => "gradient norm",
            Method::Attribution => "attribution at clean",
            Method::EapIg => "EAP-IG",
            Method::Noising => "exact noising",
            Method::Denoising => "exact denoising",
            Method::Both => "exact, both directions",
        }
    }
}

/// Every method's scores of one task, in the order of [`Method::ALL`]. `seed` is drawn from by [`Method::Random`] alone,
/// under the task's name.
pub fn all_scores(task: &Task, seed: &Seed) -> Result<Vec<(Method, Scores)>, PlantedError> {
    check(task)?;
    let effects = exact_effects(task, &Silent)?;
    let one = |method: Method| {
        let scores = match method {
            Method::Random => passive::random(task, &seed.fork(&task.id)),
            Method::AttentionMass => passive::attention_mass(task)?,
            Method::ActivationDistance => passive::activation_distance(task)?,
            Method::WeightNorm => passive::weight_norm(task)?,
            Method::GradientNorm => gradient::norm(task)?,
            Method::Attribution => gradient::attribution(task, Attribution::Gradient)?,
            Method::EapIg => gradient::attribution(task, Attribution::integrated(STEPS))?,
            Method::Noising => effects.scores(|[noise, _]| noise),
            Method::Denoising => effects.scores(|[_, denoise]| denoise),
            Method::Both => effects.scores(|[noise, denoise]| noise.abs().max(denoise.abs())),
        };
        Ok((method, scores))
    };
    Method::ALL.into_iter().map(one).collect()
}

fn check(task: &Task) -> Result<(), PlantedError> {
    let tokens = task.tokens();
    let unequal = |ids: &[u32]| ids.len() != tokens;
    match task.pairs.iter().find(|pair| unequal(&pair.factual.ids) || unequal(&pair.counterfactual.ids)) {
        None if task.pairs.is_empty() => Err(PlantedError::Request(format!("{}: there are no pairs", task.id))),
        None => Ok(()),
        Some(pair) => Err(PlantedError::Request(format!(
            "{}: pair {} is not {tokens} tokens long on both sides",
            task.id, pair.id
        ))),
    }
}
