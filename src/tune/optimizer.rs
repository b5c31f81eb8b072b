//! AdamW with decoupled decay and exported state, and clipping by the global norm.
//!
//! With gradient g, step count n (from 1), rate η, decay w:
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g²
//! θ ← (1 − η w) θ − η · (m / (1 − β₁ⁿ)) / (√(v / (1 − β₂ⁿ)) + ε)
//! ```
//!
//! (Loshchilov and Hutter 2019, arXiv 1711.05101; the same arithmetic as torch's `AdamW`.) candle's own AdamW hides m, v
//! and n, so that a run could not be resumed exactly. Cost: thirteen passes over each trainable tensor a step.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::error::TuneError;

/// The constants of AdamW; the learning rate is the schedule's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWSpec {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, per unit of learning rate; only for parameters of the decayed group.
    pub weight_decay: f64,
}

impl Default for AdamWSpec {
    /// torch's betas and epsilon; no decay, as Hugging Face's trainer has it.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamWSpec {
    /// Refuses constants with which the update is not defined.
    pub fn check(&self) -> Result<(), TuneError> {
        for (field, value) in [("optimizer.beta1", self.beta1), ("optimizer.beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(TuneError::spec(field, format!("{value} is outside [0, 1)")));
            }
        }
        if self.epsilon.is_nan() || self.epsilon <= 0.0 {
            return Err(TuneError::spec("optimizer.epsilon", format!("{} is not above 0", self.epsilon)));
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            return Err(TuneError::spec(
                "optimizer.weight_decay",
                format!("{} is below 0 or not finite", self.weight_decay),
            ));
        }
        Ok(())
    }
}

/// Whether weight decay applies to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// Matrices.
    Decayed,
    /// Biases and norm gains.
    Exempt,
}

impl Decay {
    /// The usual grouping: tensors of one dimension (biases, norm gains) are exempt.
    pub fn by_rank(var: &Var) -> Self {
        if var.rank() < 2 { Self::Exempt } else { Self::Decayed }
    }
}

struct Slot {
    name: String,
    var: Var,
    decay: Decay,
    first: Tensor,
    second: Tensor,
}

/// The optimizer over a list of named parameters, kept in the order of their names.
pub struct AdamW {
    spec: AdamWSpec,
    slots: Vec<Slot>,
    updates: u64,
}

impl AdamW {
    /// An optimizer with zero moments. Parameters must be f32; they are sorted by name, so that every reduction over
    /// them runs in one order.
    pub fn new(
        parameters: Vec<(String, Var)>,
        decay: impl Fn(&str, &Var) -> Decay,
        spec: AdamWSpec,
    ) -> Result<Self, TuneError> {
        spec.check()?;
        let mut slots = Vec::with_capacity(parameters.len());
        for (name, var) in parameters {
            if var.dtype() != DType::F32 {
                let message = format!("trainable tensor {name} is {:?}; load the model with f32 weights", var.dtype());
                return Err(TuneError::spec("dtype", message));
            }
            let first = var.as_detached_tensor().zeros_like()?;
            let second = first.zeros_like()?;
            slots.push(Slot { decay: decay(&name, &var), name, var, first, second });
        }
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { spec, slots, updates: 0 })
    }

    /// The parameters' names and variables, in the order in which [`AdamW::step`] takes their gradients.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.slots.iter().map(|slot| (slot.name.as_str(), &slot.var))
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// One update with one gradient a parameter, in the order of [`AdamW::parameters`].
    pub fn step(&mut self, gradients: &[Tensor], learning_rate: f64) -> Result<(), TuneError> {
        if gradients.len() != self.slots.len() {
            let message = format!("{} gradients for {} parameters", gradients.len(), self.slots.len());
            return Err(TuneError::spec("gradients", message));
        }
        self.updates += 1;
        let AdamWSpec { beta1, beta2, epsilon, weight_decay } = self.spec;
        let count = self.updates as f64;
        let (first_scale, second_scale) = (1.0 / (1.0 - beta1.powf(count)), 1.0 / (1.0 - beta2.powf(count)));
        for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
            slot.first = (slot.first.affine(beta1, 0.0)? + gradient.affine(1.0 - beta1, 0.0)?)?;
            slot.second = (slot.second.affine(beta2, 0.0)? + gradient.sqr()?.affine(1.0 - beta2, 0.0)?)?;
            let scale = slot.second.affine(second_scale, 0.0)?.sqrt()?.affine(1.0, epsilon)?;
            let update = slot.first.div(&scale)?.affine(learning_rate * first_scale, 0.0)?;
            let kept = match slot.decay {
                Decay::Decayed => 1.0 - learning_rate * weight_decay,
                Decay::Exempt => 1.0,
            };
            let moved = slot.var.as_detached_tensor().affine(kept, 0.0)?.sub(&update)?;
            slot.var.set(&moved)?;
        }
        Ok(())
    }

    /// The moments as named tensors: `first/<parameter>` and `second/<parameter>`.
    pub fn export_state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            state.insert(format!("first/{}", slot.name), slot.first.clone());
            state.insert(format!("second/{}", slot.name), slot.second.clone());
        }
        state
    }

    /// Puts back what [`AdamW::export_state`] gave and [`AdamW::updates`] counted.
    pub fn import_state(&mut self, state: &BTreeMap<String, Tensor>, updates: u64) -> Result<(), TuneError> {
        let find = |kind: &str, slot: &Slot| {
            let name = format!("{kind}/{}", slot.name);
            match state.get(&name) {
                Some(tensor) if tensor.shape() == slot.var.shape() => Ok(tensor.clone()),
                Some(tensor) => {
                    Err(TuneError::state(&name, format!("has shape {:?}, not {:?}", tensor.dims(), slot.var.dims())))
                }
                None => Err(TuneError::state(&name, "is missing".into())),
            }
        };
        let moments = self
            .slots
            .iter()
            .map(|slot| Ok((find("first", slot)?, find("second", slot)?)))
            .collect::<Result<Vec<_>, TuneError>>()?;
        for (slot, (first, second)) in self.slots.iter_mut().zip(moments) {
            (slot.first, slot.second) = (first, second);
        }
        self.updates = updates;
        Ok(())
    }
}

/// The L2 norm of each gradient, in order. Squares are summed in f32 within a tensor.
pub fn norms(gradients: &[Tensor]) -> Result<Vec<f64>, TuneError> {
    gradients
        .iter()
        .map(|gradient| Ok(f64::from(gradient.sqr()?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?).sqrt()))
        .collect()
}

/// The L2 norm over all gradients from [`norms`], summed in their order.
pub fn global_norm(norms: &[f64]) -> f64 {
    norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt()
}

/// Scales all gradients by `limit / norm` where the global norm exceeds `limit`.
pub fn clip(gradients: &mut [Tensor], norm: f64, limit: f64) -> Result<(), TuneError> {
    if norm > limit {
        for gradient in gradients {
            *gradient = gradient.affine(limit / norm, 0.0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_nn::Optimizer as _;

    use super::*;

    fn parameter(values: &[f32]) -> Var {
        Var::from_slice(values, (values.len() / 2, 2), &Device::Cpu).expect("a parameter")
    }

    fn values(var: &Var) -> Vec<f32> {
        var.flatten_all().and_then(|flat| flat.to_vec1()).expect("values")
    }

    fn gradients(vars: &[&Var]) -> Vec<Tensor> {
        // The gradient of Σ (θ − 3)⁴ by hand.
        vars.iter()
            .map(|var| {
                var.as_detached_tensor()
                    .affine(1.0, -3.0)
                    .and_then(|d| d.powf(3.0))
                    .and_then(|d| d * 4.0)
                    .expect("gradient")
            })
            .collect()
    }

    #[test]
    fn agrees_with_candles_own_adamw() {
        // An independent implementation of the same formula: candle-nn 0.11.1, decay and bias correction included.
        let start = [0.5f32, -2.0, 4.0, 1.0];
        let spec = AdamWSpec { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weight_decay: 0.3 };
        let (ours, theirs) = (parameter(&start), parameter(&start));
        let mut own = AdamW::new(vec![("w".into(), ours.clone())], |_, _| Decay::Decayed, spec).expect("spec");
        let parameters = candle_nn::ParamsAdamW { lr: 0.05, beta1: 0.8, beta2: 0.95, eps: 1e-6, weight_decay: 0.3 };
        let mut peer = candle_nn::AdamW::new(vec![theirs.clone()], parameters).expect("peer");
        for _ in 0..20 {
            own.step(&gradients(&[&ours]), 0.05).expect("step");
            let loss = theirs.affine(1.0, -3.0).and_then(|d| d.powf(4.0)).and_then(|d| d.sum_all()).expect("loss");
            peer.backward_step(&loss).expect("step");
        }
        for (a, b) in values(&ours).iter().zip(values(&theirs)) {
            assert!((a - b).abs() < 1e-5, "{a} against {b}");
        }
        assert!(values(&ours).iter().zip(start).all(|(a, b)| (a - b).abs() > 0.1), "something moved");
    }

    #[test]
    fn exempt_parameters_do_not_decay() {
        let (decayed, exempt) = (parameter(&[1.0, 1.0]), parameter(&[1.0, 1.0]));
        let spec = AdamWSpec { weight_decay: 0.5, ..AdamWSpec::default() };
        let list = vec![("w".to_string(), decayed.clone()), ("b".to_string(), exempt.clone())];
        let mut optimizer =
            AdamW::new(list, |name, _| if name == "b" { Decay::Exempt } else { Decay::Decayed }, spec).expect("spec");
        let zero = decayed.as_detached_tensor().zeros_like().expect("zeros");
        optimizer.step(&[zero.clone(), zero], 0.1).expect("step");
        assert_eq!(values(&exempt), [1.0, 1.0]);
        assert_eq!(values(&decayed), [0.95, 0.95]);
    }

    #[test]
    fn exported_state_continues_bit_for_bit() {
        let run = |break_at: Option<usize>| {
            let (a, b) = (parameter(&[0.1, 7.0]), parameter(&[2.0, -1.0, 0.0, 5.0]));
            let list = || vec![("b".to_string(), b.clone()), ("a".to_string(), a.clone())];
            let mut optimizer = AdamW::new(list(), |_, v| Decay::by_rank(v), AdamWSpec::default()).expect("spec");
            for step in 0..6 {
                if break_at == Some(step) {
                    let (state, updates) = (optimizer.export_state(), optimizer.updates());
                    optimizer = AdamW::new(list(), |_, v| Decay::by_rank(v), AdamWSpec::default()).expect("spec");
                    optimizer.import_state(&state, updates).expect("state");
                }
                optimizer.step(&gradients(&[&a, &b]), 0.1).expect("step");
            }
            [values(&a), values(&b)]
        };
        assert_eq!(run(None), run(Some(3)));
    }

    #[test]
    fn clipping_scales_the_whole_to_the_limit() {
        let tensor = |values: [f32; 2]| Tensor::new(&values, &Device::Cpu).expect("tensor");
        let mut gradients = vec![tensor([3.0, 0.0]), tensor([0.0, 4.0])];
        let norm = global_norm(&norms(&gradients).expect("norms"));
        assert!((norm - 5.0).abs() < 1e-12);
        clip(&mut gradients, norm, 10.0).expect("below the limit");
        assert_eq!(gradients[1].to_vec1::<f32>().expect("values"), [0.0, 4.0]);
        clip(&mut gradients, norm, 1.0).expect("above the limit");
        assert!((global_norm(&norms(&gradients).expect("norms")) - 1.0).abs() < 1e-6);
    }
}
