//! Embedding: rows of a table.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::composed;
use super::slices::{Plain, fits, of, output, tensor};

/// Rows of a table `[v, d]` at ids (u32) of any shape: `[.., d]`.
pub fn embed(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if !fits(&[table]) || ids.dtype() != DType::U32 {
        return composed::embed(table, ids);
    }
    let (rows, width) = table.dims2()?;
    let mut shape = ids.dims().to_vec();
    shape.push(width);
    let ids = ids.flatten_all()?.to_vec1::<u32>()?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
        candle_core::bail!("token {id} is not in the vocabulary of {rows}");
    }
    table.contiguous()?.apply_op1(Embed { ids, width, shape: shape.into() })
}

struct Embed {
    ids: Vec<u32>,
    width: usize,
    shape: Shape,
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, table: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let table = of(table, at)?;
        let mut out = Vec::with_capacity(self.ids.len() * self.width);
        for id in &self.ids {
            let start = *id as usize * self.width;
            out.extend_from_slice(table.get(start..start + self.width).unwrap_or_default());
        }
        output(out, self.shape.clone())
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = Plain::new(grad)?;
        let grads = grad.values()?;
        let mut out = vec![0f32; table.elem_count()];
        for (id, grad) in self.ids.iter().zip(grads.chunks_exact(self.width)) {
            let start = *id as usize * self.width;
            let row = out.get_mut(start..start + self.width).unwrap_or_default();
            row.iter_mut().zip(grad).for_each(|(sum, g)| *sum += g);
        }
        tensor(out, table.shape()).map(Some)
    }
}
