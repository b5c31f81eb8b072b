//! Paired consistency: on *invariant* pairs the answer must not move. Mean over pairs of a distance between the two
//! sides' answers (see [`Distance`]); counterfactual logit pairing (Garg et al. 2019, arXiv 1809.10610) on the
//! log-odds of whole continuations, squared so that the gradient vanishes where the sides agree. Unit: pair.

use candle_core::{D, Tensor};

use crate::tune::data::Batch;
use crate::tune::error::TuneError;
use crate::tune::objective::{Onset, StepContext, Term};
use crate::tune::pass::{log_softmax, squared_change, sum_groups};
use crate::tune::spec::{Distance, TuneSpec};

struct Consistency {
    weight: f64,
    distance: Distance,
}

pub(super) fn build(spec: &TuneSpec) -> Box<dyn Term> {
    Box::new(Consistency { weight: spec.weights.consistency, distance: spec.consistency })
}

impl Term for Consistency {
    fn name(&self) -> &'static str {
        "consistency"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn onset(&self) -> Onset {
        Onset::Ramped
    }

    fn needs(&self) -> Option<&'static str> {
        Some("invariant pairs")
    }

    fn units(&self, batch: &Batch<'_>) -> usize {
        batch.invariant.len()
    }

    fn loss(&self, context: &StepContext<'_>) -> Result<Tensor, TuneError> {
        let pass = context.invariant()?;
        sum_groups(&pass.groups, |group| {
            Ok(distance(self.distance, &group.factual_pa, &group.counterfactual_pa)?.sum_all()?)
        })
    }
}

/// The distance between two rows of answers' log-likelihoods, `[pairs, answers]` → `[pairs]`.
fn distance(distance: Distance, a_pa: &Tensor, b_pa: &Tensor) -> candle_core::Result<Tensor> {
    let kl = |p: &Tensor, q: &Tensor| p.exp()?.mul(&p.sub(q)?)?.sum(D::Minus1);
    let logs = || Ok::<_, candle_core::Error>((log_softmax(a_pa)?, log_softmax(b_pa)?));
    match distance {
        Distance::SquaredLogOdds => squared_change(a_pa, b_pa),
        Distance::PseudoHuber { delta } => {
            let root = squared_change(a_pa, b_pa)?.affine(1.0 / (delta * delta), 1.0)?.sqrt()?;
            root.affine(2.0 * delta * delta, -2.0 * delta * delta)
        }
        Distance::SymmetricKl => {
            let (p, q) = logs()?;
            kl(&p, &q)?.add(&kl(&q, &p)?)
        }
        Distance::JensenShannon => {
            let (p, q) = logs()?;
            let mean = p.exp()?.add(&q.exp()?)?.affine(0.5, 0.0)?.log()?;
            kl(&p, &mean)?.add(&kl(&q, &mean)?)?.affine(0.5, 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn value(kind: Distance, a: [f32; 2], b: [f32; 2]) -> f64 {
        let row = |values: [f32; 2]| Tensor::new(&[values], &Device::Cpu).expect("row");
        f64::from(
            distance(kind, &row(a), &row(b))
                .and_then(|d| d.squeeze(0))
                .and_then(|d| d.to_scalar::<f32>())
                .expect("distance"),
        )
    }

    #[test]
    fn distances_match_their_formulas() {
        // Log-odds 2 and −1 (levels differ too and must not matter): d = 3.
        let (a, b) = ([-1.0, -3.0], [-6.0, -5.0]);
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (p, q) = (sigma(2.0), sigma(-1.0));
        let kl = |p: f64, q: f64| p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        let close = |x: f64, y: f64| assert!((x - y).abs() < 1e-5, "{x} against {y}");
        close(value(Distance::SquaredLogOdds, a, b), 9.0);
        close(value(Distance::PseudoHuber { delta: 1.0 }, a, b), 2.0 * (10f64.sqrt() - 1.0));
        close(value(Distance::SymmetricKl, a, b), kl(p, q) + kl(q, p));
        let m = (p + q) / 2.0;
        close(value(Distance::JensenShannon, a, b), 0.5 * kl(p, m) + 0.5 * kl(q, m));
        for kind in [
            Distance::SquaredLogOdds,
            Distance::PseudoHuber { delta: 0.5 },
            Distance::SymmetricKl,
            Distance::JensenShannon,
        ] {
            close(value(kind, a, [a[0] - 4.0, a[1] - 4.0]), 0.0);
        }
    }
}
