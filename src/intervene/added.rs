//! What a patched head, neuron or output of a block adds to a stored stream: the difference that the patch makes, through
//! the projection that it passes on its way. Nothing else of the block is run again.

use std::cell::RefCell;

use candle_core::{D, Tensor};

use super::begin::Added;
use super::error::InterveneError;
use super::patch::Difference;
use super::site::SiteKind;
use crate::model::LanguageModel;

/// The projections that differences pass. That of the last batch is kept: batches of one block follow each other.
#[derive(Debug, Default)]
pub(crate) struct Projections {
    last: RefCell<Option<(Added, Tensor)>>,
}

impl Projections {
    /// A stream `[b, t, d]` with differences of heads, neurons or outputs of a block added to it.
    pub fn plus(
        &self,
        model: &LanguageModel,
        added: Added,
        resid_btd: Tensor,
        differences: Vec<Difference>,
    ) -> Result<Tensor, InterveneError> {
        let projection = self.of(model, added)?;
        let (mut tokens, mut rows) = (Vec::new(), Vec::new());
        for Difference { at, first, rows_nc } in differences {
            let width = rows_nc.dim(D::Minus1)?;
            match (&projection, added.kind) {
                (None, _) => {
                    rows.push(rows_nc);
                    tokens.extend(at);
                }
                // Heads stand beside each other in a token, and in the projection's rows.
                (Some(projection), SiteKind::Z) => {
                    let heads = (projection.dim(0)? / width.max(1)).max(1) as u32;
                    for head in 0..heads {
                        let of_head = (0u32..).zip(&at).filter(|(_, unit)| **unit % heads == head);
                        let (numbers, units): (Vec<u32>, Vec<u32>) =
                            of_head.map(|(number, unit)| (number, unit / heads)).unzip();
                        if units.is_empty() {
                            continue;
                        }
                        let numbers = Tensor::from_slice(&numbers, numbers.len(), rows_nc.device())?;
                        let matrix = projection.narrow(0, head as usize * width, width)?;
                        rows.push(rows_nc.index_select(&numbers, 0)?.matmul(&matrix)?);
                        tokens.extend(units);
                    }
                }
                (Some(projection), _) => {
                    rows.push(rows_nc.contiguous()?.matmul(&projection.narrow(0, first, width)?)?);
                    tokens.extend(at);
                }
            }
        }
        if rows.is_empty() {
            return Ok(resid_btd);
        }
        let tokens = Tensor::from_slice(&tokens, tokens.len(), resid_btd.device())?;
        let sum = resid_btd.flatten(0, 1)?.index_add(&tokens, &Tensor::cat(&rows, 0)?, 0)?;
        Ok(sum.reshape(resid_btd.shape())?)
    }

    /// The projection that changes pass on their way to the stream, made once for the batches that follow each other.
    fn of(&self, model: &LanguageModel, added: Added) -> Result<Option<Tensor>, InterveneError> {
        let Some(part) = added.through() else { return Ok(None) };
        if let Some((_, matrix)) = self.last.borrow().as_ref().filter(|(known, _)| *known == added) {
            return Ok(Some(matrix.clone()));
        }
        let matrix = model.adding(added.layer, part)?;
        *self.last.borrow_mut() = matrix.clone().map(|matrix| (added, matrix));
        Ok(matrix)
    }
}
