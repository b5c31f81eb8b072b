//! A linear layer with its low-rank adapters: y = W x + b + Σ s·B(A x), or y = m/‖W + s·BA‖ · (W x + s·B(A x)) + b for
//! a weight-decomposed one. Adapters apply to every row of a batch, or each to the rows that ask for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{D, Result, Tensor};

use super::error::ModelError;
use super::layout::{LinearPlace, named};
use crate::ops::{self, Finishing, FrozenWeight, Likelihoods, PackedWeight, Vocabulary, WeightLayout};

/// One adapter of one layer. `a: [r, in]`, `b: [out, r]`; all may be variables.
#[derive(Debug, Clone)]
pub(crate) struct Lora {
    pub a: Tensor,
    pub b: Tensor,
    pub scale: f64,
    /// The length of each output's row of weights, `[out]`, where it is learned apart from the direction (DoRA).
    pub magnitude: Option<Tensor>,
}

impl Lora {
    /// s·B(A x).
    fn update(&self, x: &Tensor) -> Result<Tensor> {
        let low = ops::linear(x, &self.a, None, WeightLayout::OutIn)?;
        ops::linear(&(low * self.scale)?, &self.b, None, WeightLayout::OutIn)
    }
}

/// Which adapter the rows of a batch use, by number; none is the base.
pub(crate) type Routes = Arc<Vec<Option<usize>>>;

/// Which batch row each row of a layer's input belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owners<'a> {
    /// The input's first dimension is the batch.
    Batch,
    /// Row i of the input belongs to the listed batch row.
    Listed(&'a [usize]),
}

/// A linear layer of the decoder.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub place: LinearPlace,
    weight: Tensor,
    /// The weight where it is kept in fewer bits; `weight` then holds its shape alone.
    packed: Option<PackedWeight>,
    bias: Option<Tensor>,
    adapters: Vec<Lora>,
    /// Adapters that rows choose, by number, and the choice of the present batch.
    choices: BTreeMap<usize, Lora>,
    routes: Option<Routes>,
}

impl Linear {
    pub fn new(place: &LinearPlace, tensors: &BTreeMap<String, Tensor>) -> std::result::Result<Self, ModelError> {
        let weight = named(tensors, &format!("{}.weight", place.module))?;
        Self::with_weight(place, weight, tensors)
    }

    /// The layer with a weight that is stored elsewhere (a tied head).
    pub fn with_weight(
        place: &LinearPlace,
        weight: Tensor,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let bias = match place.bias {
            true => Some(named(tensors, &format!("{}.bias", place.module))?),
            false => None,
        };
        let place = place.clone();
        Ok(Self { place, weight, packed: None, bias, adapters: Vec::new(), choices: BTreeMap::new(), routes: None })
    }

    /// The weight or bias that is called `name`.
    pub fn parameter(&mut self, name: &str) -> Option<&mut Tensor> {
        match name.strip_prefix(self.place.module.as_str())? {
            ".weight" => {
                self.packed = None;
                Some(&mut self.weight)
            }
            ".bias" => self.bias.as_mut(),
            _ => None,
        }
    }

    /// Keeps the weight in fewer bits from here on.
    pub fn pack(&mut self, packed: PackedWeight) {
        self.packed = Some(packed);
    }

    /// W x + b.
    fn base(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match &self.packed {
            Some(packed) => ops::packed_linear(x, packed, bias, self.place.layout),
            None => ops::linear(x, &self.weight, bias, self.place.layout),
        }
    }

    /// W x + b + s·B(A x).
    fn updated(&self, x: &Tensor, lora: &Lora, bias: Option<&Tensor>) -> Result<Tensor> {
        if self.packed.is_some() {
            return self.base(x, bias)? + lora.update(x)?;
        }
        let frozen = FrozenWeight { weight: &self.weight, bias, layout: self.place.layout };
        ops::lora_linear(x, frozen, &lora.a, &lora.b, lora.scale)
    }

    /// Adds an adapter for every row. A weight-decomposed one has the layer to itself, since it rescales the weight.
    pub fn attach(&mut self, lora: Lora) -> std::result::Result<(), ModelError> {
        let decomposed = lora.magnitude.is_some() || self.adapters.iter().any(|other| other.magnitude.is_some());
        if decomposed && !self.adapters.is_empty() {
            let message = format!("{}: a weight-decomposed adapter shares a layer with no other", self.place.module);
            return Err(ModelError::AdapterMismatch(message));
        }
        self.adapters.push(lora);
        Ok(())
    }

    /// Adds an adapter for the rows that choose `number`.
    pub fn offer(&mut self, number: usize, lora: Lora) {
        self.choices.insert(number, lora);
    }

    /// Sets which rows use which of the offered adapters.
    pub fn route(&mut self, routes: &Routes) {
        self.routes = Some(routes.clone());
    }

    /// Whether it is W x + b with a weight of full precision and nothing on top.
    pub fn is_plain(&self) -> bool {
        self.packed.is_none() && self.adapters.is_empty() && (self.routes.is_none() || self.choices.is_empty())
    }

    /// Some outputs of a plain layer, without a gradient: `[b, .., in]` → `[b, .., columns]`.
    pub fn columns(&self, x: &Tensor, columns: Range<usize>) -> Result<Tensor> {
        ops::linear_columns(x, &self.weight, self.bias.as_ref(), self.place.layout, columns)
    }

    /// `x: [b, .., in]` → `[b, .., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_for(x, Owners::Batch)
    }

    /// The same where the rows of `x` belong to other batch rows than their own number.
    pub fn forward_for(&self, x: &Tensor, owners: Owners<'_>) -> Result<Tensor> {
        let y = match self.adapters.split_first() {
            None => self.base(x, self.bias.as_ref())?,
            Some((lora @ Lora { magnitude: Some(magnitude), a, b, scale }, _)) => {
                let y = self.updated(x, lora, None)?;
                let y = y.broadcast_mul(&self.stretch(a, b, *scale, magnitude)?)?;
                match &self.bias {
                    Some(bias) => y.broadcast_add(bias)?,
                    None => y,
                }
            }
            Some((first, others)) => {
                let mut y = self.updated(x, first, self.bias.as_ref())?;
                for other in others {
                    y = (y + other.update(x)?)?;
                }
                y
            }
        };
        match &self.routes {
            Some(routes) if !self.choices.is_empty() => self.routed(x, y, routes, owners),
            _ => Ok(y),
        }
    }

    /// The map as a matrix `[out, in]` and a bias `[out]`, adapters merged in, without a gradient.
    pub fn matrix(&self) -> Result<(Tensor, Option<Tensor>)> {
        if self.routes.is_some() && !self.choices.is_empty() {
            candle_core::bail!(
                "{}: the rows of a batch use different adapters, so it is no one matrix",
                self.place.module
            )
        }
        let wide = self.packed.as_ref().map(PackedWeight::widen).transpose()?;
        let stored = wide.as_ref().unwrap_or(&self.weight).detach();
        let mut matrix = match self.place.layout {
            WeightLayout::OutIn => stored,
            WeightLayout::InOut => stored.t()?,
        };
        for Lora { a, b, scale, magnitude } in &self.adapters {
            matrix = merged(&matrix, WeightLayout::OutIn, a, b, *scale)?;
            if let Some(magnitude) = magnitude {
                let stretch = self.stretch(a, b, *scale, magnitude)?.detach();
                matrix = matrix.broadcast_mul(&stretch.reshape(((), 1))?)?;
            }
        }
        Ok((matrix, self.bias.as_ref().map(Tensor::detach)))
    }

    /// Single outputs, `[m]`: of row i of `x: [n, in]` output j for each entry (i, j).
    pub fn entries(&self, x: &Tensor, entries: &[(u32, u32)], owners: Owners<'_>) -> Result<Tensor> {
        let (rows, outputs): (Vec<u32>, Vec<u32>) = entries.iter().copied().unzip();
        let list = |values: Vec<u32>| Tensor::from_vec(values, entries.len(), x.device());
        if !self.is_plain() {
            let y = self.forward_for(x, owners)?;
            let width = y.dim(D::Minus1)? as u32;
            let places = rows.iter().zip(&outputs).map(|(row, output)| row * width + output);
            return y.flatten_all()?.index_select(&list(places.collect())?, 0);
        }
        let outputs = list(outputs)?;
        let weight_mi = match self.place.layout {
            WeightLayout::OutIn => self.weight.index_select(&outputs, 0)?,
            WeightLayout::InOut => self.weight.index_select(&outputs, 1)?.t()?,
        };
        let y = (x.index_select(&list(rows)?, 0)? * weight_mi)?.sum(D::Minus1)?;
        match &self.bias {
            Some(bias) => y + bias.index_select(&outputs, 0)?,
            None => Ok(y),
        }
    }

    /// ln p of (row, token) picks of hidden states `[n, in]` where this is the output head, and the most likely token of
    /// each row; no gradient.
    pub fn likelihoods(
        &self,
        x: &Tensor,
        picks: &[(usize, u32)],
        finish: Finishing,
        owners: &[usize],
    ) -> Result<Likelihoods> {
        let updated = !self.adapters.is_empty() || (self.routes.is_some() && !self.choices.is_empty());
        if updated {
            return ops::in_chunks(x, picks, |x, first| {
                let owners = owners.get(first..first + x.dim(0)?).unwrap_or_default();
                finish.apply(self.forward_for(x, Owners::Listed(owners))?)
            });
        }
        let (packed, bias) = (self.packed.as_ref(), self.bias.as_ref());
        Vocabulary { packed, weight: &self.weight, layout: self.place.layout, bias, finish }.likelihoods(x, picks)
    }

    /// m / ‖W + s·BA‖, row by row. As in the method's paper (section 4.3) the length counts as a constant in training.
    fn stretch(&self, a: &Tensor, b: &Tensor, scale: f64, magnitude: &Tensor) -> Result<Tensor> {
        let wide = self.packed.as_ref().map(PackedWeight::widen).transpose()?;
        magnitude
            / merged(wide.as_ref().unwrap_or(&self.weight), self.place.layout, a, b, scale)?.sqr()?.sum(1)?.sqrt()?
    }

    /// The base's result, with the updates of the rows that chose an adapter.
    fn routed(&self, x: &Tensor, y: Tensor, routes: &Routes, owners: Owners<'_>) -> Result<Tensor> {
        let mut out = y;
        for (number, lora) in &self.choices {
            let chose = |owner: usize| routes.get(owner).copied().flatten() == Some(*number);
            let rows: Vec<u32> = match owners {
                Owners::Batch => (0..x.dim(0)?).filter(|row| chose(*row)).map(|row| row as u32).collect(),
                Owners::Listed(owners) => {
                    (0u32..).zip(owners).filter(|(_, owner)| chose(**owner)).map(|(row, _)| row).collect()
                }
            };
            if rows.is_empty() {
                continue;
            }
            let count = rows.len();
            let rows = Tensor::from_vec(rows, count, x.device())?;
            let mut update = lora.update(&x.index_select(&rows, 0)?)?;
            if let Some(magnitude) = &lora.magnitude {
                let plain = out.index_select(&rows, 0)?;
                let plain = match &self.bias {
                    Some(bias) => plain.broadcast_sub(bias)?,
                    None => plain,
                };
                let stretch = self.stretch(&lora.a, &lora.b, lora.scale, magnitude)?;
                update = ((&plain + update)?.broadcast_mul(&stretch)? - plain)?;
            }
            out = out.index_add(&rows, &update, 0)?;
        }
        Ok(out)
    }
}

/// W + s·BA as `[out, in]`, without a gradient.
pub(crate) fn merged(weight: &Tensor, layout: WeightLayout, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let weight = match layout {
        WeightLayout::OutIn => weight.detach(),
        WeightLayout::InOut => weight.detach().t()?,
    };
    let update = (b.detach().matmul(&a.detach())? * scale)?;
    weight.to_dtype(update.dtype())? + update
}
