//! The hook that replaces activations, differentiable in everything that it passes on.
//!
//! An activation is seen as rows of its last dimension: *unit rows*. A unit row is `row·T + position` at stream points
//! `[b, t, d]`, `(row·T + position)·H + head` at head points `[b, t, h, k]`, and `(row·H + head)·T + destination` of a
//! pattern `[b, h, t, s]`. Whole unit rows are replaced, a run of their columns, or single elements. Where nothing is
//! tracked, the activation is copied once and written into. Where something is, the rows that come in are put behind
//! the activation and selected from there, so that gradients reach both what stays and what comes in (candle's own
//! `scatter` hands the gradient of an overwritten place on to the value that was overwritten).

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, Result, Tensor, bail};

use super::subspace::Subspace;
use crate::model::{HookPoint, Hooks};

/// What `n` rows of width `w` become.
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
    /// own + these rows, `[n, w]`.
    Add(Tensor),
    /// own − its part inside a subspace of width `w`.
    ProjectOut(Subspace),
    /// own + the part of (source − own) inside a subspace of width `w`.
    Within {
        /// The rows whose part comes in, `[n, w]`.
        source: Tensor,
        /// Where it is exchanged.
        subspace: Subspace,
    },
}

/// What of an activation is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Whole unit rows, `w` their width.
    Rows,
    /// A run of columns of unit rows, `w` their number.
    Columns {
        /// The first of them.
        first: usize,
        /// How many.
        count: usize,
    },
    /// Single elements by their place in the flattened activation, `w` = 1.
    Elements,
}

#[derive(Debug, Clone)]
struct Part {
    at: Vec<u32>,
    view: View,
    value: Replacement,
}

/// What is added to a run of columns of unit rows.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    /// The unit rows.
    pub at: Vec<u32>,
    /// The first column.
    pub first: usize,
    /// `[n, columns]`.
    pub rows_nc: Tensor,
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

    /// Replaces the unit rows `at` of `point`. Calls hold one after another: a later one finds what the earlier wrote.
    pub fn replace(&mut self, point: HookPoint, at: Vec<u32>, value: Replacement) {
        self.replace_in(point, View::Rows, at, value);
    }

    /// The same of a part of unit rows, or of elements.
    pub fn replace_in(&mut self, point: HookPoint, view: View, at: Vec<u32>, value: Replacement) {
        if !at.is_empty() {
            self.parts.entry(point).or_default().push(Part { at, view, value });
        }
    }

    /// What the replacements at `point` change in an activation: its differences, in order, so that they add up. They
    /// are not carried out there any more.
    pub(crate) fn differences(&mut self, point: HookPoint, activation: &Tensor) -> Result<Vec<Difference>> {
        let parts = self.parts.remove(&point).unwrap_or_default();
        let width = activation.dim(D::Minus1)?.max(1);
        let mut now = activation.clone();
        let mut differences = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate() {
            let units_uw = now.reshape(((), width))?;
            let (first, count) = part.columns(point, &units_uw)?;
            let at = Tensor::new(part.at.as_slice(), now.device())?;
            let own_nc = units_uw.index_select(&at, 0)?.narrow(1, first, count)?;
            let rows_nc = part.rows(&units_uw, first, count)?.to_dtype(now.dtype())?;
            differences.push(Difference { at: part.at.clone(), first, rows_nc: (&rows_nc - own_nc)? });
            if number + 1 < parts.len() {
                now = now.contiguous()?.copy()?;
                part.write(&now, width, first, &rows_nc)?;
            }
        }
        Ok(differences)
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
    let width = activation.dim(D::Minus1)?.max(1);
    let shape = activation.shape();
    let tracked = activation.track_op() || parts.iter().any(|part| part.value.tracked());
    let mut passed_on = match tracked {
        true => activation.clone(),
        false => activation.contiguous()?.copy()?,
    };
    for part in parts {
        let width = if part.view == View::Elements { 1 } else { width };
        let units_uw = passed_on.reshape((activation.elem_count() / width, width))?;
        let (first, count) = part.columns(point, &units_uw)?;
        let rows_nw = part.rows(&units_uw, first, count)?.to_dtype(activation.dtype())?;
        match tracked {
            true => passed_on = woven(&units_uw, &part.at, &rows_nw, first)?.reshape(shape)?,
            false => part.write(&passed_on, width, first, &rows_nw)?,
        }
    }
    Ok(passed_on)
}

/// The units with the columns from `first` on of the rows `at` replaced, as a part of the graph.
fn woven(units_uw: &Tensor, at: &[u32], rows_nc: &Tensor, first: usize) -> Result<Tensor> {
    let (units, width) = units_uw.dims2()?;
    let count = rows_nc.dim(1)?;
    let rows_nw = match count == width {
        true => rows_nc.clone(),
        false => {
            let own_nw = units_uw.index_select(&Tensor::new(at, units_uw.device())?, 0)?;
            let after = first + count;
            let (left, right) = (own_nw.narrow(1, 0, first)?, own_nw.narrow(1, after, width - after)?);
            Tensor::cat(&[&left, rows_nc, &right], 1)?
        }
    };
    let mut order: Vec<u32> = (0..units as u32).collect();
    for (&at, row) in at.iter().zip(units as u32..) {
        if let Some(slot) = order.get_mut(at as usize) {
            *slot = row;
        }
    }
    let order = Tensor::from_vec(order, units, units_uw.device())?;
    Tensor::cat(&[units_uw, &rows_nw], 0)?.index_select(&order, 0)
}

impl Replacement {
    fn tracked(&self) -> bool {
        match self {
            Replacement::Rows(rows) | Replacement::Add(rows) => rows.track_op(),
            Replacement::Direction { source, direction } => source.track_op() || direction.track_op(),
            Replacement::Within { source, .. } => source.track_op(),
            Replacement::Zero | Replacement::ProjectOut(_) => false,
        }
    }
}

impl Part {
    /// The first column that it replaces of some units, and how many; refuses rows and columns that are not there.
    fn columns(&self, point: HookPoint, units_uw: &Tensor) -> Result<(usize, usize)> {
        let (units, width) = units_uw.dims2()?;
        if let Some(at) = self.at.iter().find(|at| **at as usize >= units) {
            bail!("{point}: unit row {at} of {units} cannot be replaced");
        }
        let (first, count) = match self.view {
            View::Columns { first, count } => (first, count),
            View::Rows | View::Elements => (0, width),
        };
        if first + count > width {
            bail!("{point}: columns {first} to {} of {width} cannot be replaced", first + count);
        }
        Ok((first, count))
    }

    /// The replacing rows `[n, count]` of the columns from `first` on.
    fn rows(&self, units_uw: &Tensor, first: usize, count: usize) -> Result<Tensor> {
        let n = self.at.len();
        let own_nw = || {
            let at = Tensor::new(self.at.as_slice(), units_uw.device())?;
            units_uw.index_select(&at, 0)?.narrow(1, first, count)?.contiguous()
        };
        let rows = match &self.value {
            Replacement::Rows(rows) => rows.clone(),
            Replacement::Zero => Tensor::zeros((n, count), units_uw.dtype(), units_uw.device())?,
            Replacement::Direction { source, direction } => {
                let own_nw = own_nw()?;
                let distance_n1 = (source - &own_nw)?.sqr()?.sum_keepdim(1)?.sqrt()?;
                (own_nw + direction.broadcast_mul(&distance_n1)?)?
            }
            Replacement::Add(rows) => (own_nw()? + rows)?,
            Replacement::ProjectOut(subspace) => {
                let own_nw = own_nw()?;
                (&own_nw - subspace.inside(&own_nw)?)?
            }
            Replacement::Within { source, subspace } => {
                let own_nw = own_nw()?;
                (&own_nw + subspace.inside(&(source - &own_nw)?)?)?
            }
        };
        if rows.dims() != [n, count] {
            bail!("{n} rows of width {count} are to be replaced by {:?}", rows.dims());
        }
        Ok(rows)
    }

    /// Writes rows `[n, count]` into an activation that nobody else holds.
    fn write(&self, activation: &Tensor, width: usize, first: usize, rows_nc: &Tensor) -> Result<()> {
        let count = rows_nc.dim(1)?;
        let device = activation.device();
        let rows_nc = rows_nc.contiguous()?;
        if count == width {
            let units_uw = activation.reshape((activation.elem_count() / width, width))?;
            let at = Tensor::new(self.at.as_slice(), device)?.unsqueeze(1)?;
            return units_uw.scatter_set(&at.broadcast_as(rows_nc.shape())?.contiguous()?, &rows_nc, 0);
        }
        let columns = |&at: &u32| (0..count).map(move |column| (at as usize * width + first + column) as u32);
        let at = Tensor::from_iter(self.at.iter().flat_map(columns), device)?;
        activation.flatten_all()?.scatter_set(&at, &rows_nc.flatten_all()?, 0)
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
