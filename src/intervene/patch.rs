//! The hook that replaces activations, differentiable in everything that it passes on.
//!
//! An activation is seen as rows of its last dimension: *unit rows*. A unit row is `row·T + position` at stream points
//! `[b, t, d]` and `(row·T + position)·H + head` at head points `[b, t, h, k]`. Replaced rows are put behind the
//! activation and selected from there, so a pass costs one copy a patched point, and gradients reach both the rows
//! that stay and those that come in.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, Result, Tensor, bail};

use crate::model::{HookPoint, Hooks};

/// What `n` unit rows of width `w` become.
#[derive(Debug, Clone)]
pub enum Replacement {
    /// These rows, `[n, w]`.
    Rows(Tensor),
    /// Zero.
    Zero,
    /// own + direction · ‖source − own‖: as far from the own value as `source` is, elsewhere.
    Direction {
        /// The rows whose distance is kept, `[n, w]`.
        source: Tensor,
        /// Unit vectors, `[n, w]`.
        direction: Tensor,
    },
}

#[derive(Debug, Clone)]
struct Part {
    at: Vec<u32>,
    value: Replacement,
}

/// Replaces chosen unit rows at chosen points, and keeps what other points are to be read for.
#[derive(Debug, Clone, Default)]
pub struct PatchHooks {
    parts: BTreeMap<HookPoint, Vec<Part>>,
    kept: BTreeSet<HookPoint>,
    activations: BTreeMap<HookPoint, Tensor>,
}

impl PatchHooks {
    /// Replaces nothing and keeps nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the unit rows `at` of `point`. Where two calls name the same row, the later one holds.
    pub fn replace(&mut self, point: HookPoint, at: Vec<u32>, value: Replacement) {
        if !at.is_empty() {
            self.parts.entry(point).or_default().push(Part { at, value });
        }
    }

    /// Keeps the activation of `point` as the pass goes on with it: after any replacement.
    pub fn keep(&mut self, point: HookPoint) {
        self.kept.insert(point);
    }

    /// The activations kept since the last call.
    pub fn take(&mut self) -> BTreeMap<HookPoint, Tensor> {
        std::mem::take(&mut self.activations)
    }
}

impl Hooks for PatchHooks {
    fn wants(&self, point: HookPoint) -> bool {
        self.parts.contains_key(&point) || self.kept.contains(&point)
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> Result<Tensor> {
        let passed_on = match self.parts.get(&point) {
            Some(parts) => patch(point, &activation, parts)?,
            None => activation,
        };
        if self.kept.contains(&point) {
            self.activations.insert(point, passed_on.clone());
        }
        Ok(passed_on)
    }
}

fn patch(point: HookPoint, activation: &Tensor, parts: &[Part]) -> Result<Tensor> {
    let width = activation.dim(D::Minus1)?;
    let units = activation.elem_count() / width.max(1);
    let own_uw = activation.reshape((units, width))?;
    let mut order: Vec<u32> = (0..units as u32).collect();
    let mut rows = vec![own_uw.clone()];
    let mut next = units as u32;
    for part in parts {
        rows.push(part.rows(&own_uw)?.to_dtype(activation.dtype())?);
        for (&at, row) in part.at.iter().zip(next..) {
            match order.get_mut(at as usize) {
                Some(slot) => *slot = row,
                None => bail!("{point}: unit row {at} of {units} cannot be replaced"),
            }
        }
        next += part.at.len() as u32;
    }
    let order = Tensor::from_vec(order, units, activation.device())?;
    Tensor::cat(&rows, 0)?.index_select(&order, 0)?.reshape(activation.shape())
}

impl Part {
    /// The replacing rows `[n, w]`.
    fn rows(&self, own_uw: &Tensor) -> Result<Tensor> {
        let (n, width) = (self.at.len(), own_uw.dim(1)?);
        let rows = match &self.value {
            Replacement::Rows(rows) => rows.clone(),
            Replacement::Zero => Tensor::zeros((n, width), own_uw.dtype(), own_uw.device())?,
            Replacement::Direction { source, direction } => {
                let at = Tensor::new(self.at.as_slice(), own_uw.device())?;
                let own_nw = own_uw.index_select(&at, 0)?;
                let distance_n1 = (source - &own_nw)?.sqr()?.sum_keepdim(1)?.sqrt()?;
                (own_nw + direction.broadcast_mul(&distance_n1)?)?
            }
        };
        if rows.dims() != [n, width] {
            bail!("{n} rows of width {width} are to be replaced by {:?}", rows.dims());
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HookKind;
    use candle_core::{Device, Var};

    fn point() -> HookPoint {
        HookPoint { kind: HookKind::Z, layer: 0 }
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().expect("flat").to_vec1().expect("values")
    }

    #[test]
    fn only_the_named_rows_change_and_the_result_is_kept() {
        let device = Device::Cpu;
        let z_bthk = Tensor::arange(0f32, 16.0, &device).expect("range").reshape((1, 2, 4, 2)).expect("shape");
        let mut hooks = PatchHooks::new();
        hooks.replace(
            point(),
            vec![1, 6],
            Replacement::Rows(Tensor::new(&[[-1f32, -2.0], [-3.0, -4.0]], &device).expect("rows")),
        );
        hooks.replace(point(), vec![7], Replacement::Zero);
        hooks.keep(point());
        assert!(hooks.wants(point()) && !hooks.wants(HookPoint { kind: HookKind::Z, layer: 1 }));
        let out = hooks.at(point(), z_bthk).expect("patched");
        assert_eq!(out.dims(), [1, 2, 4, 2]);
        let expected = [0., 1., -1., -2., 4., 5., 6., 7., 8., 9., 10., 11., -3., -4., 0., 0.];
        assert_eq!(values(&out), expected);
        assert_eq!(values(&hooks.take()[&point()]), expected);
        assert!(hooks.take().is_empty());
    }

    #[test]
    fn a_random_direction_moves_as_far_as_the_source_is() {
        let device = Device::Cpu;
        let own = Tensor::new(&[[[1f32, 1.0], [2.0, 2.0]]], &device).expect("own");
        let source = Tensor::new(&[[4f32, 5.0]], &device).expect("source");
        let direction = Tensor::new(&[[0f32, -1.0]], &device).expect("direction");
        let mut hooks = PatchHooks::new();
        hooks.replace(point(), vec![0], Replacement::Direction { source, direction });
        assert_eq!(values(&hooks.at(point(), own).expect("patched")), [1.0, -4.0, 2.0, 2.0]);
    }

    #[test]
    fn gradients_reach_what_stays_and_what_comes_in() {
        let device = Device::Cpu;
        let own = Var::new(&[[[1f32, 2.0], [3.0, 4.0]]], &device).expect("own");
        let source = Var::new(&[[5f32, 6.0]], &device).expect("source");
        let mut hooks = PatchHooks::new();
        hooks.replace(point(), vec![1], Replacement::Rows(source.as_tensor().clone()));
        let out = hooks.at(point(), own.as_tensor().clone()).expect("patched");
        let weights = Tensor::new(&[[[1f32, 2.0], [3.0, 4.0]]], &device).expect("weights");
        let grads = (out * weights).expect("product").sum_all().expect("sum").backward().expect("gradients");
        assert_eq!(values(grads.get(&own).expect("own")), [1.0, 2.0, 0.0, 0.0]);
        assert_eq!(values(grads.get(&source).expect("source")), [3.0, 4.0]);
    }

    #[test]
    fn rows_that_are_not_there_are_an_error() {
        let own = Tensor::zeros((1, 2, 2), candle_core::DType::F32, &Device::Cpu).expect("own");
        let mut hooks = PatchHooks::new();
        hooks.replace(point(), vec![2], Replacement::Zero);
        assert!(hooks.at(point(), own.clone()).is_err());
        let mut hooks = PatchHooks::new();
        hooks.replace(point(), vec![0], Replacement::Rows(own.reshape((1, 4)).expect("shape")));
        assert!(hooks.at(point(), own).is_err());
    }
}
