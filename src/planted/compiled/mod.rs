//! Tier A: models whose weights are set by hand, so that every effect has a closed form.
//!
//! Three blocks of four heads without norms over eight templated tokens. The attribute s reaches the logit difference
//! over five paths, each of which defeats some method; beside them stand heads that carry other things, or carry s to
//! where nothing reads. The stream is turned by a random orthogonal matrix, and so is every head, so that nothing is
//! aligned with an axis. (Two blocks of four heads could not give each trap a head of its own.)
//!
//! | trap | what it defeats |
//! |---|---|
//! | two-hop relay | direct logit attribution at one site, attention to the attribute |
//! | OR back-up | noising, gradient at the clean input |
//! | AND with the core | additivity, TE = NDE + NIE, the gradient's size |
//! | saturated gate | gradient at the clean input |
//! | cancelling paths | sums over a block |
//! | decoy | attention, activation distance |
//! | core and neutral head | gradient and weight norms |
//! | dormant direction | patching a subspace |
//!
//! [`GENERATOR`] is raised with every change of what a seed gives; a test pins it.

mod basis;
mod prompts;
mod truth;
mod weights;
mod wiring;

use candle_core::{Device, Tensor};

use super::error::PlantedError;
use super::methods::Dormant;
use super::truth::Truth;
use crate::base::Seed;
use crate::model::LanguageModel;

pub use basis::{Direction, HEAD_WIDTH, TOKENS, WIDTH};
pub use prompts::{Content, PlantedPair, draw_pairs};
pub use truth::ClosedForm;
pub use weights::config;
pub use wiring::{CompiledSpec, HEADS, LAYERS, Path, Paths, Role, Strengths, Wiring};

/// The version of what a seed gives.
pub const GENERATOR: u32 = 1;

/// What the decoy writes for s = 1, in units of the stream.
const DECOY_GAIN: f64 = 2.0;

/// A compiled model with its plan.
#[derive(Clone)]
pub struct CompiledModel {
    /// Where everything stands.
    pub wiring: Wiring,
    /// The weights, as a checkpoint of the family without norms.
    pub model: LanguageModel,
    seed: Seed,
}

impl CompiledModel {
    /// Compiles the model of a seed.
    pub fn new(spec: &CompiledSpec, seed: &Seed) -> Result<Self, PlantedError> {
        if !(spec.strength.is_finite() && spec.hum.is_finite() && spec.hum >= 0.0) {
            let CompiledSpec { strength, hum, .. } = spec;
            return Err(PlantedError::Request(format!(
                "strength {strength} and hum {hum}: both must be finite, hum not negative"
            )));
        }
        let wiring = Wiring::draw(spec, seed);
        let tensors = weights::tensors(&wiring, seed)?;
        let model = LanguageModel::from_parts(&config(), tensors, None, &Device::Cpu)?;
        Ok(Self { wiring, model, seed: *seed })
    }

    /// `count` pairs from the stream `name` of the model's seed: x with s = 1, x′ with s = 0.
    pub fn pairs(&self, name: &str, count: usize) -> Result<Vec<PlantedPair>, PlantedError> {
        draw_pairs(&self.wiring, count, &self.seed.fork("pairs").fork(name))
    }

    /// The truth over some pairs.
    pub fn truth(&self, pairs: &[PlantedPair]) -> Truth {
        self.wiring.truth(pairs)
    }

    /// Where a direction stands in the stream: a unit vector `[d]`, at right angles to that of every other direction.
    pub fn axis(&self, direction: Direction) -> Vec<f64> {
        basis::Basis::of_stream(&self.seed.fork("stream")).vector(direction).to_vec()
    }

    /// The direction along which a subspace patch finds an effect that is not there: (disconnected + dormant)/√2 in the
    /// stream after the decoy's block; with its closed form over some pairs.
    pub fn dormant(&self, pairs: &[PlantedPair]) -> Result<Dormant, PlantedError> {
        let basis = basis::Basis::of_stream(&self.seed.fork("stream"));
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let direction = basis.sum(&[(basis::Direction::Disconnected, half), (basis::Direction::Dormant, half)]);
        let values: Vec<f32> = direction.into_iter().map(|value| value as f32).collect();
        let missing = || PlantedError::Request("the wiring has no decoy".into());
        let effect = |pair: &PlantedPair| self.wiring.dormant_effect(&pair.factual, &pair.counterfactual);
        Ok(Dormant {
            decoy: self.wiring.node(Role::Decoy).ok_or_else(missing)?,
            direction_d: Tensor::from_vec(values, WIDTH, &Device::Cpu)?,
            closed_form: pairs.iter().map(effect).sum::<f64>() / pairs.len().max(1) as f64,
        })
    }
}
