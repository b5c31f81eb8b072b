//! Gradients of one optimizer step, summed over micro-batches, and the check that they reach every trainable tensor.

use std::collections::BTreeSet;

use candle_core::Tensor;

use super::error::TuneError;
use super::optimizer::AdamW;

/// The running sum of gradients of one window of micro-batches, in the order of the optimizer's parameters.
pub struct Gradients {
    sums: Vec<Option<Tensor>>,
}

impl Gradients {
    /// Nothing summed yet.
    pub fn new(optimizer: &AdamW) -> Self {
        Self { sums: optimizer.parameters().map(|_| None).collect() }
    }

    /// Runs backward from a scalar loss and adds what reaches the parameters; all other gradients are dropped at once.
    pub fn add(&mut self, loss: &Tensor, optimizer: &AdamW) -> Result<(), TuneError> {
        let mut store = loss.backward()?;
        for (sum, (_, var)) in self.sums.iter_mut().zip(optimizer.parameters()) {
            if let Some(gradient) = store.remove(var) {
                *sum = Some(match sum.take() {
                    Some(before) => before.add(&gradient)?,
                    None => gradient,
                });
            }
        }
        Ok(())
    }

    /// The sums, zero where nothing arrived, and the names of the parameters that nothing reached.
    pub fn finish(self, optimizer: &AdamW) -> Result<(Vec<Tensor>, Vec<String>), TuneError> {
        let mut absent = Vec::new();
        let mut gradients = Vec::with_capacity(self.sums.len());
        for (sum, (name, var)) in self.sums.into_iter().zip(optimizer.parameters()) {
            gradients.push(match sum {
                Some(gradient) => gradient,
                None => {
                    absent.push(name.to_owned());
                    var.as_detached_tensor().zeros_like()?
                }
            });
        }
        Ok((gradients, absent))
    }
}

/// Watches the first steps of a run: at the first, every trainable tensor must be part of the graph; within
/// [`GradientAudit::STEPS`] steps every one must have received a gradient other than 0. The second cannot be asked of
/// the first step, because LoRA starts with B = 0 and dA is proportional to B.
pub struct GradientAudit {
    silent: BTreeSet<String>,
    seen: usize,
}

impl GradientAudit {
    /// Steps within which every tensor must have received a non-zero gradient: B moves in the first, A's gradient
    /// follows in the second, and one is to spare for a batch of loss zero.
    pub const STEPS: usize = 3;

    /// A watch over the optimizer's parameters.
    pub fn new(optimizer: &AdamW) -> Self {
        Self { silent: optimizer.parameters().map(|(name, _)| name.to_owned()).collect(), seen: 0 }
    }

    /// A watch that is over (for a run that goes on from a checkpoint).
    pub fn finished() -> Self {
        Self { silent: BTreeSet::new(), seen: Self::STEPS }
    }

    /// Judges one step's gradients: `absent` names parameters that nothing reached, `norms` are the gradients' norms in
    /// the optimizer's order.
    pub fn observe(
        &mut self,
        arm: &str,
        step: usize,
        optimizer: &AdamW,
        absent: &[String],
        norms: &[f64],
    ) -> Result<(), TuneError> {
        if self.seen >= Self::STEPS {
            return Ok(());
        }
        let failed = |tensor: &str, what| TuneError::NoGradient { arm: arm.into(), tensor: tensor.into(), what, step };
        if let (0, Some(name)) = (self.seen, absent.first()) {
            return Err(failed(name, "received no gradient"));
        }
        for ((name, _), norm) in optimizer.parameters().zip(norms) {
            if *norm > 0.0 {
                self.silent.remove(name);
            }
        }
        self.seen += 1;
        match self.silent.first() {
            Some(name) if self.seen == Self::STEPS => Err(failed(name, "received only zero gradients")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::tune::optimizer::{AdamWSpec, Decay, norms};

    fn setting() -> (Var, Var, AdamW) {
        let a = Var::new(&[1.0f32, 2.0], &Device::Cpu).expect("a");
        let b = Var::new(&[0.0f32, 0.0], &Device::Cpu).expect("b");
        let list = vec![("b".to_string(), b.clone()), ("a".to_string(), a.clone())];
        let optimizer = AdamW::new(list, |_, var| Decay::by_rank(var), AdamWSpec::default()).expect("optimizer");
        (a, b, optimizer)
    }

    fn watch(optimizer: &mut AdamW, loss: impl Fn() -> Tensor, steps: usize) -> Result<(), TuneError> {
        let mut audit = GradientAudit::new(optimizer);
        for step in 0..steps {
            let mut sum = Gradients::new(optimizer);
            sum.add(&loss(), optimizer)?;
            let (gradients, absent) = sum.finish(optimizer)?;
            audit.observe("plain", step, optimizer, &absent, &norms(&gradients)?)?;
            optimizer.step(&gradients, 0.1)?;
        }
        Ok(())
    }

    #[test]
    fn a_product_that_starts_at_zero_passes_and_a_cut_graph_does_not() {
        let (a, b, mut optimizer) = setting();
        let product = || {
            a.mul(&b).and_then(|p| p.affine(1.0, -1.0)).and_then(|p| p.sqr()).and_then(|p| p.sum_all()).expect("loss")
        };
        watch(&mut optimizer, product, 6).expect("dA is zero at the first step only");

        let (a, b, mut optimizer) = setting();
        let cut = || {
            a.detach()
                .mul(&b)
                .and_then(|p| p.affine(1.0, -1.0))
                .and_then(|p| p.sqr())
                .and_then(|p| p.sum_all())
                .expect("loss")
        };
        let error = watch(&mut optimizer, cut, 6).expect_err("a is cut off").to_string();
        assert!(error.contains("trainable tensor a received no gradient after step 0"), "{error}");

        let (a, b, mut optimizer) = setting();
        let zero = a.as_detached_tensor().zeros_like().expect("zeros");
        let dead = || a.mul(&b).and_then(|p| p.mul(&zero)).and_then(|p| p.sum_all()).expect("loss");
        let error = watch(&mut optimizer, dead, 6).expect_err("nothing matters").to_string();
        assert!(error.contains("a received only zero gradients after step 2"), "{error}");
    }

    #[test]
    fn micro_batches_add_up() {
        let (a, _, optimizer) = setting();
        let loss = |factor: f64| a.sqr().and_then(|s| s.sum_all()).and_then(|s| s * factor).expect("loss");
        let mut sum = Gradients::new(&optimizer);
        sum.add(&loss(0.25), &optimizer).expect("first");
        sum.add(&loss(0.75), &optimizer).expect("second");
        let (gradients, absent) = sum.finish(&optimizer).expect("sum");
        assert_eq!(gradients[0].to_vec1::<f32>().expect("values"), [2.0, 4.0]);
        assert_eq!(absent, ["b"]);
    }
}
