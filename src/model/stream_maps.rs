//! What the heads of one block read from the residual stream and write to it, each by itself.
//!
//! A head's query is W_q·norm(x) + b of the stream x; a head adds z·W_o to the stream. Both are linear but for norms.
//! Where a norm stands behind attention (post-norm families), what a head adds is its share of that norm's output with
//! the scale that the run's own total gives: the shares of all heads add up to what attention adds.
//!
//! Shapes: `n` positions of any rows, `u` heads or key/value groups.

use candle_core::{D, Result, Tensor, Var};

use super::attention::Attention;
use super::norm::Norm;

/// One of the three inputs of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Queries, one a head.
    Query,
    /// Keys, one a group of heads.
    Key,
    /// Values, one a group of heads.
    Value,
}

impl Part {
    /// All three, in this order.
    pub const ALL: [Part; 3] = [Part::Query, Part::Key, Part::Value];
}

/// The maps of one block.
#[derive(Debug, Clone)]
pub struct StreamMaps {
    in_norm: Option<Norm>,
    out_norm: Option<Norm>,
    inputs: [(Tensor, Option<Tensor>); 3],
    out_hkd: Tensor,
    out_bias: Option<Tensor>,
    scale: Option<f64>,
}

impl StreamMaps {
    pub(super) fn new(
        attention: &Attention,
        [in_norm, out_norm]: [&Option<Norm>; 2],
        scale: Option<f64>,
    ) -> Result<Self> {
        let (out_hkd, out_bias) = attention.output_columns()?;
        let biased = out_bias.is_some() || out_norm.as_ref().is_some_and(|norm| norm.bias().is_some());
        if out_norm.is_some() && biased {
            candle_core::bail!("a bias under the norm behind attention belongs to no head: edges are not defined here");
        }
        let inputs = attention.input_rows()?;
        Ok(Self { in_norm: in_norm.clone(), out_norm: out_norm.clone(), inputs, out_hkd, out_bias, scale })
    }

    /// Whether the heads' outputs are linear in z: no norm stands behind attention.
    pub fn is_linear(&self) -> bool {
        self.out_norm.is_none()
    }

    /// What each head adds to the stream, `[h, n, d]`, for `z: [n, h, k]`. The bias of the output projection belongs
    /// to no head.
    pub fn head_outputs(&self, z_nhk: &Tensor) -> Result<Tensor> {
        let parts_hnd = z_nhk.detach().transpose(0, 1)?.contiguous()?.matmul(&self.out_hkd)?;
        let parts_hnd = match &self.out_norm {
            None => parts_hnd,
            Some(norm) => norm.shares(&parts_hnd, &parts_hnd.sum(0)?)?,
        };
        match self.scale {
            Some(scale) => parts_hnd * scale,
            None => Ok(parts_hnd),
        }
    }

    /// What attention adds beside its heads: the output projection's bias `[d]`.
    pub fn constant(&self) -> Result<Option<Tensor>> {
        let scaled = |bias: &Tensor| match self.scale {
            Some(scale) => bias * scale,
            None => Ok(bias.clone()),
        };
        self.out_bias.as_ref().map(scaled).transpose()
    }

    /// Queries, keys or values `[u, n, k]`, each unit reading a stream of its own, `[u, n, d]`.
    pub fn project(&self, part: Part, streams_und: &Tensor) -> Result<Tensor> {
        let (rows_ukd, bias_uk) = self.input(part);
        let normed_und = match &self.in_norm {
            Some(norm) => norm.forward(&streams_und.contiguous()?)?,
            None => streams_und.clone(),
        };
        let out_unk = normed_und.matmul(&rows_ukd.transpose(1, 2)?)?;
        match bias_uk {
            Some(bias_uk) => out_unk.broadcast_add(&bias_uk.unsqueeze(1)?),
            None => Ok(out_unk),
        }
    }

    /// Vector-Jacobian products of [`StreamMaps::project`] where every unit reads `stream: [n, d]`: from the gradients
    /// of its outputs, `[u, n, k]`, to those of each unit's own stream, `[u, n, d]`.
    pub fn pull_back(&self, part: Part, stream_nd: &Tensor, grad_unk: &Tensor) -> Result<Tensor> {
        let grad_und = grad_unk.detach().contiguous()?.matmul(&self.input(part).0)?;
        let Some(norm) = &self.in_norm else { return Ok(grad_und) };
        let streams_und = stream_nd.detach().unsqueeze(0)?.broadcast_as(grad_und.shape())?.contiguous()?;
        let streams_und = Var::from_tensor(&streams_und)?;
        let product = (norm.forward(streams_und.as_tensor())? * grad_und)?.sum_all()?;
        match product.backward()?.remove(streams_und.as_tensor()) {
            Some(grad) => Ok(grad.detach()),
            None => candle_core::bail!("a norm passed no gradient on"),
        }
    }

    /// Rows `[u, k, d]` and biases `[u, k]`.
    fn input(&self, part: Part) -> &(Tensor, Option<Tensor>) {
        let [query, key, value] = &self.inputs;
        match part {
            Part::Query => query,
            Part::Key => key,
            Part::Value => value,
        }
    }

    /// Width of the stream.
    pub fn width(&self) -> Result<usize> {
        self.out_hkd.dim(D::Minus1)
    }
}
