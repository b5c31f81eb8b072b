//! Frozen linear layers on other devices and in other types: the product is candle's, the backward ours.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Storage, Tensor};

use super::WeightLayout;
use super::linear::{reshaped, sizes};

/// y = x W + b whose backward gives the gradient of x alone.
pub(super) fn frozen_elsewhere(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: WeightLayout,
) -> Result<Tensor> {
    let (inputs, outputs) = sizes(weight, layout)?;
    let shape = reshaped(x.shape(), outputs);
    let rows = x.elem_count() / inputs.max(1);
    let y = x.contiguous()?.reshape((rows, inputs))?.apply_op1(Elsewhere { weight: weight.detach(), layout })?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(shape)
}

/// x W for `x: [n, in]` by the device's own matrix product.
struct Elsewhere {
    weight: Tensor,
    layout: WeightLayout,
}

impl Elsewhere {
    /// W as `[in, out]`.
    fn right(&self) -> Result<Tensor> {
        match self.layout {
            WeightLayout::OutIn => self.weight.t(),
            WeightLayout::InOut => Ok(self.weight.clone()),
        }
    }

    fn product<S: BackendStorage>(&self, x: &S, at: &Layout, weight: &S, weight_at: &Layout) -> Result<(S, Shape)> {
        let (rows, inputs) = at.shape().dims2()?;
        let outputs = weight_at.shape().dims2()?.1;
        Ok((x.matmul(weight, (1, rows, outputs, inputs), at, weight_at)?, (rows, outputs).into()))
    }
}

macro_rules! on_device {
    ($name:ident, $storage:ty, $kind:ident) => {
        fn $name(&self, x: &$storage, at: &Layout) -> Result<($storage, Shape)> {
            let right = self.right()?;
            let (storage, weight_at) = right.storage_and_layout();
            match &*storage {
                Storage::$kind(weight) => self.product(x, at, weight, weight_at),
                _ => candle_core::bail!("input and weight are on different devices"),
            }
        }
    };
}

impl CustomOp1 for Elsewhere {
    fn name(&self) -> &'static str {
        "frozen_linear_on_device"
    }

    on_device!(cpu_fwd, CpuStorage, Cpu);
    on_device!(cuda_fwd, CudaStorage, Cuda);
    on_device!(metal_fwd, MetalStorage, Metal);

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.detach().contiguous()?.matmul(&self.right()?.t()?).map(Some)
    }
}
