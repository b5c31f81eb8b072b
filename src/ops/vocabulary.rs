//! The output head where log-likelihoods are read: products with the vocabulary, their normalizer, the chosen entries and
//! the largest one in a single sweep over tiles of the vocabulary. A row of logits never stands in memory.

use candle_core::{DType, Device, Result, Tensor};
use multiversion::multiversion;
use rayon::prelude::*;

use super::linear::{right, sizes};
use super::matmul::{Matrix, Onto, Threads, multiply};
use super::simd::{exp, max_of, sum_of, tanh};
use super::slices::{Plain, fits};
use super::{PackedWeight, WeightLayout, argmax_rows, linear, logprobs_at, packed_linear};

/// Tokens of the vocabulary that are scored side by side.
const TILE: usize = 1024;

/// Rows that meet a tile at once.
const ROWS: usize = 256;

/// The output head.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// Its weight where it is kept in fewer bits.
    pub packed: Option<&'a PackedWeight>,
    /// Its weight elsewhere.
    pub weight: &'a Tensor,
    /// How the weight is stored.
    pub layout: WeightLayout,
    /// Added to the products, `[v]`.
    pub bias: Option<&'a Tensor>,
    /// What becomes of a logit.
    pub finish: Finishing,
}

/// What becomes of a logit: times `scale`, and then c·tanh(logit/c).
#[derive(Debug, Clone, Copy, Default)]
pub struct Finishing {
    /// A factor.
    pub scale: Option<f64>,
    /// The cap c.
    pub softcap: Option<f64>,
}

impl Finishing {
    /// Applies it.
    pub fn apply(self, logits: Tensor) -> Result<Tensor> {
        let logits = match self.scale {
            Some(scale) => (logits * scale)?,
            None => logits,
        };
        match self.softcap {
            Some(cap) => (logits / cap)?.tanh()? * cap,
            None => Ok(logits),
        }
    }
}

/// What is read of the logits of some rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Likelihoods {
    /// ln p of each pick.
    pub logprobs: Vec<f32>,
    /// The most likely token of each row, the first of equals.
    pub greedy: Vec<u32>,
}

impl Vocabulary<'_> {
    /// ln p of (row, token) picks of hidden states `[n, d]`, and the most likely token of each row; no gradient.
    pub fn likelihoods(&self, x_nd: &Tensor, picks: &[(usize, u32)]) -> Result<Likelihoods> {
        let (rows, _) = x_nd.dims2()?;
        let x_nd = x_nd.detach();
        let dense = self.packed.is_none() && fits(&[&x_nd, self.weight]) && self.weight.is_contiguous();
        let packed = self.packed.filter(|_| self.layout == WeightLayout::OutIn && fits(&[&x_nd]));
        let outputs = match packed {
            Some(packed) => packed.dims().0,
            None => sizes(self.weight, self.layout)?.1,
        };
        if let Some((row, token)) = picks.iter().find(|(row, token)| *row >= rows || *token as usize >= outputs) {
            candle_core::bail!("row {row}, token {token} is outside logits of shape [{rows}, {outputs}]");
        }
        if !dense && packed.is_none() {
            let logits = |x_nd: &Tensor| match self.packed {
                Some(packed) => packed_linear(x_nd, packed, self.bias, self.layout),
                None => linear(x_nd, self.weight, self.bias, self.layout),
            };
            return in_chunks(&x_nd, picks, |x_nd, _| self.finish.apply(logits(x_nd)?));
        }
        let x = Plain::new(&x_nd)?;
        let bias = self.bias.map(Plain::new).transpose()?;
        let bias = bias.as_ref().map(Plain::values).transpose()?;
        let x = x.values()?;
        let mut sweep = Sweep::new(&x, rows, bias.as_deref(), self.finish, outputs, picks);
        match packed {
            Some(packed) => sweep.packed(packed)?,
            None => {
                let weight = Plain::new(self.weight)?;
                let inputs = sizes(self.weight, self.layout)?.0;
                sweep.dense(&weight.values()?, right(inputs, outputs, self.layout));
            }
        }
        Ok(sweep.merged())
    }
}

/// The same for logits that a function gives, a few rows (numbered from its second argument) at a time.
pub fn in_chunks(
    x_nd: &Tensor,
    picks: &[(usize, u32)],
    mut logits: impl FnMut(&Tensor, usize) -> Result<Tensor>,
) -> Result<Likelihoods> {
    const CHUNK: usize = 64;
    let (rows, _) = x_nd.dims2()?;
    let mut found = Likelihoods { logprobs: vec![0.0; picks.len()], greedy: Vec::with_capacity(rows) };
    for first in (0..rows).step_by(CHUNK) {
        let chunk = CHUNK.min(rows - first);
        let logits = logits(&x_nd.narrow(0, first, chunk)?, first)?.detach().to_dtype(DType::F32)?;
        let inside = |pick: &(usize, &(usize, u32))| (first..first + chunk).contains(&pick.1.0);
        let own: Vec<(usize, &(usize, u32))> = picks.iter().enumerate().filter(inside).collect();
        let places: Vec<(usize, u32)> = own.iter().map(|(_, (row, token))| (row - first, *token)).collect();
        let values = logprobs_at(&logits, &places)?.to_device(&Device::Cpu)?.to_vec1::<f32>()?;
        for ((number, _), value) in own.iter().zip(values) {
            if let Some(place) = found.logprobs.get_mut(*number) {
                *place = value;
            }
        }
        found.greedy.extend(argmax_rows(&logits)?);
    }
    Ok(found)
}

/// What one row has in one tile.
#[derive(Debug, Clone, Copy)]
struct Part {
    top: f32,
    /// Σ e^(logit − top).
    sum: f64,
    greedy: u32,
}

struct Tiled {
    /// One a row.
    parts: Vec<Part>,
    /// (number of the pick, its logit).
    picked: Vec<(usize, f32)>,
}

/// A sweep over the vocabulary.
struct Sweep<'a> {
    x: &'a [f32],
    rows: usize,
    bias: Option<&'a [f32]>,
    finish: Finishing,
    outputs: usize,
    /// (token, row, number of the pick), tokens ascending.
    picks: Vec<(usize, usize, usize)>,
    tiles: Vec<Tiled>,
}

impl<'a> Sweep<'a> {
    fn new(
        x: &'a [f32],
        rows: usize,
        bias: Option<&'a [f32]>,
        finish: Finishing,
        outputs: usize,
        picks: &[(usize, u32)],
    ) -> Self {
        let number = |(number, (row, token)): (usize, &(usize, u32))| (*token as usize, *row, number);
        let mut picks: Vec<(usize, usize, usize)> = picks.iter().enumerate().map(number).collect();
        picks.sort_unstable();
        Self { x, rows, bias, finish, outputs, picks, tiles: Vec::new() }
    }

    fn dense(&mut self, weight: &[f32], whole: Matrix) {
        let starts: Vec<usize> = (0..self.outputs).step_by(TILE).collect();
        let tile = |first: &usize| {
            let columns = TILE.min(self.outputs - first);
            let offset = first * whole.column;
            self.tile(*first, (weight, Matrix { offset, columns, ..whole }))
        };
        self.tiles = starts.par_iter().map(tile).collect();
    }

    fn packed(&mut self, packed: &PackedWeight) -> Result<()> {
        let columns = packed.dims().1;
        let numbers: Vec<usize> = (0..packed.runs()).collect();
        let tile = |number: &usize| {
            let (first, wide) = packed.widened_run(*number)?;
            let wide = Plain::new(&wide)?;
            let wide = wide.values()?;
            Ok(self.tile(first, (&*wide, Matrix::dense(wide.len() / columns.max(1), columns).transposed())))
        };
        let tiles = numbers.par_iter().map(tile).collect::<Result<Vec<_>>>()?;
        self.tiles = tiles;
        Ok(())
    }

    /// The logits of tokens `first..` against all rows.
    fn tile(&self, first: usize, (weight, matrix): (&[f32], Matrix)) -> Tiled {
        let (width, tokens) = (matrix.rows, matrix.columns);
        let mut tiled = Tiled { parts: Vec::with_capacity(self.rows), picked: Vec::new() };
        let picks = {
            let from = self.picks.partition_point(|(token, ..)| *token < first);
            let to = self.picks.partition_point(|(token, ..)| *token < first + tokens);
            self.picks.get(from..to).unwrap_or_default()
        };
        let bias = self.bias.map(|bias| bias.get(first..first + tokens).unwrap_or_default());
        let mut logits = vec![0f32; ROWS.min(self.rows) * tokens];
        for start in (0..self.rows).step_by(ROWS) {
            let rows = ROWS.min(self.rows - start);
            let logits = logits.get_mut(..rows * tokens).unwrap_or_default();
            let left =
                (self.x.get(start * width..(start + rows) * width).unwrap_or_default(), Matrix::dense(rows, width));
            let target = (&mut *logits, Matrix::dense(rows, tokens));
            multiply(target, left, (weight, matrix), 1.0, Onto::Overwrite, Threads::One);
            for row in logits.chunks_exact_mut(tokens.max(1)) {
                let Part { top, sum, greedy } = part(row, bias, self.finish);
                tiled.parts.push(Part { top, sum, greedy: greedy + first as u32 });
            }
            for (token, row, number) in picks.iter().filter(|(_, row, _)| (start..start + rows).contains(row)) {
                let logit = logits.get((row - start) * tokens + token - first).copied();
                tiled.picked.push((*number, logit.unwrap_or(f32::NAN)));
            }
        }
        tiled
    }

    /// The tiles put together, in their order.
    fn merged(self) -> Likelihoods {
        let mut log_sums = Vec::with_capacity(self.rows);
        let mut greedy = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            let parts = || self.tiles.iter().filter_map(|tile| tile.parts.get(row));
            let (top, best) = parts().fold((f32::NEG_INFINITY, 0), |(top, best), part| match part.top > top {
                true => (part.top, part.greedy),
                false => (top, best),
            });
            let sum: f64 = parts().map(|part| part.sum * f64::from(part.top - top).exp()).sum();
            log_sums.push(f64::from(top) + sum.ln());
            greedy.push(best);
        }
        let mut logprobs = vec![f32::NAN; self.picks.len()];
        let mut row_of = vec![0; self.picks.len()];
        for (_, row, number) in &self.picks {
            if let Some(place) = row_of.get_mut(*number) {
                *place = *row;
            }
        }
        for (number, logit) in self.tiles.iter().flat_map(|tile| &tile.picked) {
            let row = row_of.get(*number).copied().unwrap_or_default();
            if let (Some(place), Some(log_sum)) = (logprobs.get_mut(*number), log_sums.get(row)) {
                *place = (f64::from(*logit) - log_sum) as f32;
            }
        }
        Likelihoods { logprobs, greedy }
    }
}

/// Finishes the logits of a row in place, and what the tile has of it.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn part(row: &mut [f32], bias: Option<&[f32]>, finish: Finishing) -> Part {
    if let Some(bias) = bias {
        row.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
    }
    if let Some(scale) = finish.scale {
        let scale = scale as f32;
        row.iter_mut().for_each(|logit| *logit *= scale);
    }
    if let Some(cap) = finish.softcap {
        let cap = cap as f32;
        row.iter_mut().for_each(|logit| *logit = cap * tanh(*logit / cap));
    }
    let top = max_of(row);
    let sum = sum_of(row, |logit| exp(logit - top));
    let greedy = row.iter().position(|logit| *logit == top).unwrap_or(0) as u32;
    Part { top, sum, greedy }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    fn random(shape: (usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1f32, shape, &Device::Cpu).expect("random")
    }

    fn composed(logits: &Tensor, picks: &[(usize, u32)]) -> (Vec<f32>, Vec<u32>) {
        let logprobs = logprobs_at(logits, picks).expect("logprobs").to_vec1().expect("values");
        (logprobs, argmax_rows(logits).expect("argmax"))
    }

    /// Tiles of the vocabulary against whole rows of logits: both layouts, biases, caps, packed weights.
    #[test]
    fn a_sweep_over_tiles_gives_what_whole_rows_give() {
        let (rows, width, vocab) = (ROWS + 13, 32, 2 * TILE + 77);
        let (x, weight) = (random((rows, width)), random((vocab, width)));
        let bias = random((1, vocab)).squeeze(0).expect("bias");
        let token = |i: usize| ((i * 389) % vocab) as u32;
        let picks: Vec<(usize, u32)> = (0..600).map(|i| ((i * 7) % rows, token(i))).chain([(3, 5), (3, 5)]).collect();
        let turned = weight.t().and_then(|weight| weight.contiguous()).expect("turned");
        let packed = PackedWeight::pack(&weight, GgmlDType::Q8_0).expect("packed");
        let finish = Finishing { scale: Some(0.3), softcap: Some(5.0) };
        let plain = Vocabulary { packed: None, weight: &weight, layout: WeightLayout::OutIn, bias: None, finish };
        for head in [
            plain,
            Vocabulary { finish: Finishing::default(), bias: Some(&bias), ..plain },
            Vocabulary { weight: &turned, layout: WeightLayout::InOut, ..plain },
            Vocabulary { packed: Some(&packed), bias: Some(&bias), ..plain },
        ] {
            let found = head.likelihoods(&x, &picks).expect("likelihoods");
            let logits = match head.packed {
                Some(packed) => packed_linear(&x, packed, head.bias, head.layout),
                None => linear(&x, head.weight, head.bias, head.layout),
            };
            let logits = head.finish.apply(logits.expect("logits")).expect("finished");
            let (expected, greedy) = composed(&logits, &picks);
            let apart = found.logprobs.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 2e-5, "{apart}");
            assert_eq!(found.greedy, greedy);
            let chunked = in_chunks(&x, &picks, |_, first| logits.narrow(0, first, 64.min(rows - first)));
            let chunked = chunked.expect("likelihoods");
            assert_eq!((chunked.logprobs, chunked.greedy), (expected, greedy));
            // A row alone has the value that it has among others, to rounding.
            let one = head.likelihoods(&x.narrow(0, 7, 1).expect("row"), &[(0, token(1))]).expect("likelihoods");
            assert!((one.logprobs[0] - found.logprobs[1]).abs() < 2e-5, "pick 1 is of row 7");
        }
        assert!(plain.likelihoods(&x, &[(rows, 0)]).is_err() && plain.likelihoods(&x, &[(0, vocab as u32)]).is_err());
    }

    #[test]
    fn equals_and_what_is_not_a_number() {
        // Rows of zeros: every token is equally likely, the first is the most likely one.
        let (x, weight) = (random((2, 4)), Tensor::zeros((TILE + 9, 4), DType::F32, &Device::Cpu).expect("zeros"));
        let head = Vocabulary {
            packed: None,
            weight: &weight,
            layout: WeightLayout::OutIn,
            bias: None,
            finish: Finishing::default(),
        };
        let found = head.likelihoods(&x, &[(0, 3), (1, TILE as u32 + 8)]).expect("likelihoods");
        let even = -((TILE + 9) as f32).ln();
        assert!(found.logprobs.iter().all(|value| (value - even).abs() < 1e-6), "{:?}", found.logprobs);
        assert_eq!(found.greedy, [0, 0]);
        let weight = (&weight + f64::NAN).expect("NaN");
        let found = Vocabulary { weight: &weight, ..head }.likelihoods(&x, &[(0, 3)]).expect("likelihoods");
        assert!(found.logprobs[0].is_nan());
    }
}
