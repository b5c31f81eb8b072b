//! The activation at which a direction lives: one hook point, one vector a position.

use candle_core::{D, Result, Tensor};

use super::error::DirectionError;
use crate::intervene::{Part, Site, SiteKind};
use crate::model::{Architecture, Dimension, HookPoint};

/// A site whose activations are vectors of one width: the stream, what a sub-layer adds, or one head's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    site: Site,
    point: HookPoint,
    width: usize,
    heads: usize,
    head: usize,
}

impl Place {
    /// Refused where the architecture does not have the site, or where it has heads and the site names none.
    pub fn new(site: &Site, architecture: &Architecture) -> std::result::Result<Self, DirectionError> {
        site.check(architecture)?;
        let point = site.hook();
        let refuse = |message: String| Err(DirectionError::Site { site: site.to_string(), message });
        if site.part != Part::All {
            return refuse("a direction lives in whole activation vectors; leave the part out".into());
        }
        if matches!(site.kind, SiteKind::Embed | SiteKind::PosEmbed) {
            return refuse("name the stream that the embeddings enter: blocks.0.hook_resid_pre".into());
        }
        let (heads, width) = match architecture.hook_shape(point).as_slice() {
            [Dimension::Batch, Dimension::Tokens, Dimension::Size(width)] => (1, *width),
            [Dimension::Batch, Dimension::Tokens, Dimension::Size(heads), Dimension::Size(width)] => (*heads, *width),
            _ => {
                return refuse(
                    "its activation is no vector a position; name a stream, a sub-layer's output or a head".into(),
                );
            }
        };
        match site.head {
            None if heads > 1 => {
                refuse(format!("each of its {heads} heads has activations of its own; name one, as in {point}[head=0]"))
            }
            head => Ok(Self { site: site.clone(), point, width, heads, head: head.unwrap_or(0) }),
        }
    }

    /// The site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Its hook point.
    pub fn point(&self) -> HookPoint {
        self.point
    }

    /// Length of its activation vectors.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Refuses a rank that a subspace there cannot have.
    pub fn check_rank(&self, rank: usize) -> std::result::Result<(), DirectionError> {
        match (1..=self.width).contains(&rank) {
            true => Ok(()),
            false => Err(DirectionError::Rank { rank, site: self.site.to_string(), width: self.width }),
        }
    }

    /// The number of the vector at (row, position) among all vectors of a batch of rows of `tokens` tokens.
    pub(super) fn unit(&self, row: usize, tokens: usize, position: usize) -> u32 {
        ((row * tokens + position) * self.heads + self.head) as u32
    }

    /// The vectors `[n, w]` at given numbers of an activation `[b, t, w]` or `[b, t, h, w]`.
    pub(super) fn vectors(&self, activation: &Tensor, at: Vec<u32>) -> Result<Tensor> {
        let width = activation.dim(D::Minus1)?;
        let at = Tensor::from_slice(&at, at.len(), activation.device())?;
        activation.reshape(((), width))?.index_select(&at, 0)
    }
}
