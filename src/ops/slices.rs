//! From tensors to slices and back, and the split of rows over threads.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, StorageRef, Tensor};
use rayon::prelude::*;

/// Work below this many elements runs on the calling thread: waking another costs more.
const SERIAL: usize = 1 << 15;

/// Elements that one piece of parallel work has.
const PIECE: usize = 1 << 13;

/// Rows whose column sums are added up in one go. Fixed, so that sums do not depend on the number of threads.
const SUM_ROWS: usize = 64;

/// Whether our kernels can take these tensors: single precision on the CPU.
pub(super) fn fits(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == candle_core::DType::F32)
}

/// The values of a contiguous tensor, inside a custom op.
pub(super) fn of<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => values.get(start..end),
        _ => None,
    };
    values.ok_or_else(|| candle_core::Error::Msg("a kernel was given a tensor that is not contiguous f32".into()))
}

/// The result of a custom op.
pub(super) fn output(values: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(values), shape.into()))
}

/// A tensor of these values.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// A tensor whose values can be read: contiguous and cut from the graph.
pub(super) struct Plain(Tensor);

impl Plain {
    pub fn new(tensor: &Tensor) -> Result<Self> {
        Ok(Self(tensor.detach().contiguous()?))
    }

    pub fn values(&self) -> Result<Values<'_>> {
        let (storage, layout) = self.0.storage_and_layout();
        of_storage(&storage, layout)?;
        let (start, end) = layout.contiguous_offsets().unwrap_or((0, 0));
        Ok(Values { storage, range: start..end })
    }
}

fn of_storage<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => of(storage, layout),
        _ => candle_core::bail!("a CPU kernel was given a tensor of another device"),
    }
}

/// The values of a [`Plain`] tensor while they are read.
pub(super) struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => values.get(self.range.clone()).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// Fills `out` row by row: `fill(first, rows)` gets a run of rows and the number of its first one.
pub(super) fn fill_rows(out: &mut [f32], width: usize, fill: impl Fn(usize, &mut [f32]) + Sync) {
    if width == 0 || out.len() <= SERIAL {
        return fill(0, out);
    }
    let rows = (PIECE / width).max(1);
    out.par_chunks_mut(rows * width).enumerate().for_each(|(piece, chunk)| fill(piece * rows, chunk));
}

/// The rows `first..` of `x` that go with a run of rows of the same width.
pub(super) fn matching<'a>(x: &'a [f32], first: usize, width: usize, run: &[f32]) -> &'a [f32] {
    let start = first * width;
    x.get(start..start + run.len()).unwrap_or_default()
}

/// Sums over rows: `add(rows, sums)` adds a range of rows to `sums`, of length `width`.
pub(super) fn sum_rows(rows: usize, width: usize, add: impl Fn(Range<usize>, &mut [f32]) + Sync) -> Vec<f32> {
    let piece = |piece: usize| {
        let mut sums = vec![0f32; width];
        add(piece * SUM_ROWS..((piece + 1) * SUM_ROWS).min(rows), &mut sums);
        sums
    };
    let pieces = rows.div_ceil(SUM_ROWS);
    let partial: Vec<Vec<f32>> = match rows * width <= SERIAL {
        true => (0..pieces).map(piece).collect(),
        false => (0..pieces).into_par_iter().map(piece).collect(),
    };
    let mut total = vec![0f32; width];
    for sums in partial {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    total
}

/// A range of rows of `x`.
pub(super) fn rows_of(x: &[f32], rows: Range<usize>, width: usize) -> &[f32] {
    x.get(rows.start * width..rows.end * width).unwrap_or_default()
}
