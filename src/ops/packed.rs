//! Frozen weights that are kept in fewer bits than they are multiplied in.
//!
//! A matrix `[rows, columns]` is cut into runs of rows of about a megabyte each. A product widens one run at a time to
//! single precision and multiplies with it, so that no more than a run a thread is ever wide; the backward pass does
//! the same. The types are those of GGUF files: bf16, f16 and the block-quantised ones (`block_q8_0`, `block_q4_K`, …
//! of ggml's `ggml-quants`). Cost: one widening of the weight a product, beside the product itself.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::WeightLayout;
use super::linear::reshaped;
use super::matmul::{Matrix, Onto, Target, Threads, multiply, multiply_into};
use super::slices::{Plain, of, output, tensor};

/// Numbers of one run.
const RUN: usize = 1 << 18;

/// A matrix that gets no gradient, in runs of rows. A clone shares it.
#[derive(Clone)]
pub struct PackedWeight {
    runs: Arc<Vec<QTensor>>,
    rows: usize,
    columns: usize,
    /// Rows of every run but the last.
    each: usize,
    kind: GgmlDType,
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedWeight({:?}, {}×{})", self.kind, self.rows, self.columns)
    }
}

impl PackedWeight {
    /// Rounds a matrix on the CPU to a type. Its columns must fill whole blocks of it.
    pub fn pack(weight: &Tensor, kind: GgmlDType) -> Result<Self> {
        let (rows, columns) = weight.dims2()?;
        if columns == 0 || !columns.is_multiple_of(kind.block_size()) {
            candle_core::bail!("rows of {columns} do not fill blocks of {} numbers of {kind:?}", kind.block_size());
        }
        let each = (RUN / columns).clamp(1, rows.max(1));
        let run = |first: usize| {
            let part = weight.narrow(0, first, each.min(rows - first))?.to_dtype(candle_core::DType::F32)?;
            // Candle quantises a tensor's whole storage, whatever part of it the tensor is: the part gets its own.
            QTensor::quantize(&part.force_contiguous()?, kind)
        };
        let firsts: Vec<usize> = (0..rows).step_by(each).collect();
        let runs = firsts.into_par_iter().map(run).collect::<Result<Vec<_>>>()?;
        Ok(Self { runs: Arc::new(runs), rows, columns, each, kind })
    }

    /// Takes a matrix as it is stored: rows of whole blocks, one after another.
    pub fn from_bytes(bytes: &[u8], rows: usize, columns: usize, kind: GgmlDType) -> Result<Self> {
        let row = columns / kind.block_size().max(1) * kind.type_size();
        if columns == 0 || !columns.is_multiple_of(kind.block_size()) || bytes.len() != rows * row {
            candle_core::bail!("{} bytes are no {rows} rows of {columns} numbers of {kind:?}", bytes.len());
        }
        let each = (RUN / columns).clamp(1, rows.max(1));
        // Candle reads blocks in place; a copy of its own allocation is aligned as it wants.
        let run = |bytes: &[u8]| {
            let storage = candle_core::quantized::QStorage::from_data(bytes.to_vec().into(), &Device::Cpu, kind)?;
            QTensor::new(storage, (bytes.len() / row, columns))
        };
        let runs = bytes.chunks(each * row).map(run).collect::<Result<Vec<_>>>()?;
        Ok(Self { runs: Arc::new(runs), rows, columns, each, kind })
    }

    /// Rows and columns.
    pub fn dims(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The type that it is kept in.
    pub fn kind(&self) -> GgmlDType {
        self.kind
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(QTensor::storage_size_in_bytes).sum()
    }

    /// The runs one after another, widened, `[n, columns]` each.
    pub fn widened(&self) -> impl Iterator<Item = Result<Tensor>> + '_ {
        self.runs.iter().map(|run| run.dequantize(&Device::Cpu))
    }

    /// How many runs there are.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// One run widened, `[n, columns]`, and the number of its first row.
    pub(super) fn widened_run(&self, number: usize) -> Result<(usize, Tensor)> {
        match self.run(number) {
            Some((first, run)) => Ok((first, run.dequantize(&Device::Cpu)?)),
            None => candle_core::bail!("run {number} of {}", self.runs.len()),
        }
    }

    /// The whole matrix in single precision.
    pub fn widen(&self) -> Result<Tensor> {
        Tensor::cat(&self.widened().collect::<Result<Vec<_>>>()?, 0)
    }

    /// Rows at ids (u32) of any shape: `[.., columns]`.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let mut shape = ids.dims().to_vec();
        shape.push(self.columns);
        let row = |id: u32| {
            let id = id as usize;
            let Some(run) = self.runs.get(id / self.each).filter(|_| id < self.rows) else {
                candle_core::bail!("token {id} is not in the vocabulary of {}", self.rows);
            };
            run.embedding(&Tensor::new(&[(id % self.each) as u32], &Device::Cpu)?)
        };
        let rows = ids.flatten_all()?.to_vec1::<u32>()?.into_iter().map(row).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&rows, 0)?.reshape(shape)
    }

    fn run(&self, number: usize) -> Option<(usize, &QTensor)> {
        self.runs.get(number).map(|run| (number * self.each, run))
    }

    /// x Wᵀ for `x: [n, columns]`, `[n, rows]`: every thread widens runs of its own.
    fn times_transposed(&self, x: &[f32]) -> Result<Vec<f32>> {
        let n = x.len() / self.columns.max(1);
        let mut out = vec![0f32; n * self.rows];
        let target = Target::of(&mut out);
        (0..self.runs.len()).into_par_iter().try_for_each(|number| {
            let Some((first, run)) = self.run(number) else { return Ok(()) };
            let wide = Plain::new(&run.dequantize(&Device::Cpu)?)?;
            let wide = wide.values()?;
            let rows = wide.len() / self.columns;
            let part = Matrix { offset: first, rows: n, columns: rows, row: self.rows, column: 1 };
            let right = (&*wide, Matrix::dense(rows, self.columns).transposed());
            let left = (x, Matrix::dense(n, self.columns));
            multiply_into((target, part), left, right, 1.0, Onto::Overwrite, Threads::One);
            candle_core::Result::Ok(())
        })?;
        Ok(out)
    }

    /// x W for `x: [n, rows]`, `[n, columns]`: as many runs as there are threads are widened at a time and multiplied
    /// one after another, so that the sums do not depend on the number of threads.
    fn times(&self, x: &[f32]) -> Result<Vec<f32>> {
        let n = x.len() / self.rows.max(1);
        let mut out = vec![0f32; n * self.columns];
        let numbers: Vec<usize> = (0..self.runs.len()).collect();
        for numbers in numbers.chunks(rayon::current_num_threads().max(1)) {
            let widen = |number: &usize| {
                let (first, run) = self.run(*number)?;
                Some(run.dequantize(&Device::Cpu).map(|wide| (first, wide)))
            };
            for (first, wide) in numbers.par_iter().filter_map(widen).collect::<Result<Vec<_>>>()? {
                let wide = Plain::new(&wide)?;
                let wide = wide.values()?;
                let rows = wide.len() / self.columns;
                let left = Matrix { offset: first, rows: n, columns: rows, row: self.rows, column: 1 };
                let right = (&*wide, Matrix::dense(rows, self.columns));
                let whole = Matrix::dense(n, self.columns);
                multiply((&mut out, whole), (x, left), right, 1.0, Onto::Add, Threads::All);
            }
        }
        Ok(out)
    }
}

/// y = x Wᵀ + b for `x: [.., in]` in single precision on the CPU. The weight gets no gradient; x and b do.
pub fn packed_linear(x: &Tensor, weight: &PackedWeight, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    let inputs = match layout {
        WeightLayout::OutIn => weight.columns,
        WeightLayout::InOut => weight.rows,
    };
    if x.dims().last() != Some(&inputs) {
        candle_core::bail!("a linear layer of {inputs} inputs was given shape {:?}", x.dims());
    }
    let y = x.contiguous()?.apply_op1(Packed { weight: weight.clone(), layout })?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

struct Packed {
    weight: PackedWeight,
    layout: WeightLayout,
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "packed_linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = of(x, at)?;
        let (values, width) = match self.layout {
            WeightLayout::OutIn => (self.weight.times_transposed(x)?, self.weight.rows),
            WeightLayout::InOut => (self.weight.times(x)?, self.weight.columns),
        };
        output(values, reshaped(at.shape(), width))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = Plain::new(grad)?;
        let grad = grad.values()?;
        let values = match self.layout {
            WeightLayout::OutIn => self.weight.times(&grad)?,
            WeightLayout::InOut => self.weight.times_transposed(&grad)?,
        };
        tensor(values, x.shape()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::super::composed;
    use super::*;

    fn random(shape: (usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1f32, shape, &Device::Cpu).expect("random")
    }

    fn apart(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_scalar()).expect("difference")
    }

    /// The product, its gradient and rows, against the same operations on the widened matrix. Several runs, the last
    /// one short.
    #[test]
    fn products_and_gradients_are_those_of_the_widened_matrix() {
        for kind in [GgmlDType::BF16, GgmlDType::F16, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K] {
            let weight = random((2200, 512));
            let packed = PackedWeight::pack(&weight, kind).expect("packed");
            assert!(packed.runs.len() == 5 && packed.bytes() < 2200 * 512 * 4, "{packed:?}");
            let wide = packed.widen().expect("wide");
            for (layout, inputs, outputs) in [(WeightLayout::OutIn, 512, 2200), (WeightLayout::InOut, 2200, 512)] {
                let x = Var::from_tensor(&random((7, inputs))).expect("x");
                let bias = random((1, outputs)).squeeze(0).expect("bias");
                let towards = random((7, outputs));
                let run = |y: Tensor| {
                    let gradients = (&y * &towards).and_then(|s| s.sum_all()?.backward()).expect("gradients");
                    (y, gradients.get(&x).cloned().expect("gradient of x"))
                };
                let (y, dx) = run(packed_linear(&x, &packed, Some(&bias), layout).expect("product"));
                let (expected_y, expected_dx) = run(composed::linear(&x, &wide, Some(&bias), layout).expect("product"));
                assert!(apart(&y, &expected_y) < 1e-3, "{kind:?} {layout:?}: {}", apart(&y, &expected_y));
                assert!(apart(&dx, &expected_dx) < 1e-3, "{kind:?} {layout:?}: {}", apart(&dx, &expected_dx));
            }
            let ids = Tensor::new(&[[0u32, 2199], [511, 512]], &Device::Cpu).expect("ids");
            let rows = packed.embed(&ids).expect("rows");
            assert_eq!(apart(&rows, &composed::embed(&wide, &ids).expect("rows")), 0.0);
            assert!(packed.embed(&Tensor::new(&[2200u32], &Device::Cpu).expect("ids")).is_err());
        }
    }

    #[test]
    fn rounding_is_that_of_the_type_and_bytes_come_back() {
        let weight = random((300, 1024));
        for (kind, largest) in [(GgmlDType::BF16, 0.02), (GgmlDType::Q8_0, 0.03), (GgmlDType::Q4K, 0.5)] {
            let packed = PackedWeight::pack(&weight, kind).expect("packed");
            let error = apart(&packed.widen().expect("wide"), &weight);
            assert!(error < largest && error > 0.0, "{kind:?}: {error}");
            let bytes: Vec<u8> = packed.runs.iter().flat_map(|run| run.data().expect("data").to_vec()).collect();
            let again = PackedWeight::from_bytes(&bytes, 300, 1024, kind).expect("packed");
            assert_eq!(apart(&again.widen().expect("wide"), &packed.widen().expect("wide")), 0.0);
            assert!(PackedWeight::from_bytes(&bytes[1..], 300, 1024, kind).is_err());
        }
        let half = weight.to_dtype(DType::BF16).expect("half");
        let packed = PackedWeight::pack(&half, GgmlDType::BF16).expect("packed");
        assert_eq!(apart(&packed.widen().expect("wide"), &half.to_dtype(DType::F32).expect("wide")), 0.0);
        assert!(PackedWeight::pack(&random((4, 100)), GgmlDType::Q8_0).is_err());
    }
}
