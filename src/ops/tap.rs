//! A look at a gradient inside a graph.

use std::fmt;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Tensor};

use super::slices::{of, output};

/// Receives the gradient of one tensor.
type Sink = dyn Fn(&Tensor) -> Result<()> + Send + Sync;

/// Shows the gradient of a tensor to a function while a backward pass goes by. The gradient is passed on and not kept,
/// so a pass that looks at every layer holds no more than one that looks at none.
#[derive(Clone)]
pub struct GradientTap(Arc<Sink>);

impl GradientTap {
    /// A tap that calls `sink` once in each backward pass that reaches it.
    pub fn new(sink: impl Fn(&Tensor) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// The same values; what is computed from them is what the gradient is of. Cost: one copy.
    pub fn on(&self, x: &Tensor) -> Result<Tensor> {
        let own = x.is_contiguous() && x.layout().start_offset() == 0;
        let x = if own { x.clone() } else { x.force_contiguous()? };
        x.apply_op1(Tap(self.0.clone()))
    }
}

impl fmt::Debug for GradientTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GradientTap")
    }
}

struct Tap(Arc<Sink>);

impl CustomOp1 for Tap {
    fn name(&self) -> &'static str {
        "gradient_tap"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        match x {
            CpuStorage::F32(_) => output(of(x, at)?.to_vec(), at.shape()),
            other => Ok((other.try_clone(at)?, at.shape().clone())),
        }
    }

    fn cuda_fwd(&self, x: &CudaStorage, at: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((x.try_clone(at)?, at.shape().clone()))
    }

    fn metal_fwd(&self, x: &MetalStorage, at: &Layout) -> Result<(MetalStorage, Shape)> {
        Ok((x.try_clone(at)?, at.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        (self.0)(grad)?;
        Ok(Some(grad.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use candle_core::{DType, Device, Var};

    use super::*;

    #[test]
    fn the_gradient_goes_by_and_is_seen() {
        for dtype in [DType::F32, DType::F64] {
            let x = Var::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).and_then(|x| x.to_dtype(dtype)).expect("x");
            let x = Var::from_tensor(&x).expect("variable");
            let seen = Arc::new(Mutex::new(Vec::new()));
            let kept = seen.clone();
            let tap = GradientTap::new(move |grad| {
                let grad = grad.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                kept.lock().map(|mut kept| kept.push(grad)).map_err(|_| candle_core::Error::Msg("lock".into()))
            });
            let row = tap.on(&x.narrow(0, 1, 1).expect("second row")).expect("tap");
            let loss = row.sqr().and_then(|row| row.sum_all()).expect("loss");
            let grads = loss.backward().expect("backward");
            assert_eq!(*seen.lock().expect("lock"), [[6.0, 8.0]]);
            let whole = grads.get(&x).expect("gradient").to_dtype(DType::F32).expect("type");
            assert_eq!(whole.to_vec2::<f32>().expect("values"), [[0.0, 0.0], [6.0, 8.0]]);
        }
    }
}
