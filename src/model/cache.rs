//! Keys and values of earlier positions, so that a pass runs only what comes after them.
//!
//! Row i of a cache holds positions 0 … length − 1 of one text. A pass over it gives each of its own rows a
//! [`Span`]: which stored row it continues and from where. Several rows may continue one stored row, each from a
//! position of its own; that is what generation, scoring behind a shared prefix, and patching from a position on have
//! in common. Attention is causal, so what is stored never changes by what follows.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use super::architecture::Architecture;
use super::error::ModelError;
use crate::ops::{Span, Stand, Stored};

/// A pair of tensors `[rows, capacity, g, k]` a layer. A clone shares them.
#[derive(Debug, Clone)]
pub struct KeyValueCache {
    layers: Vec<(Tensor, Tensor)>,
    lengths: Vec<usize>,
    capacity: usize,
}

impl KeyValueCache {
    pub(crate) fn new(
        architecture: &Architecture,
        rows: usize,
        capacity: usize,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let shape = (rows, capacity, architecture.n_kv_heads, architecture.head_dim);
        let empty = || Tensor::zeros(shape, dtype, device);
        let layer = |_| Ok((empty()?, empty()?));
        let layers = (0..architecture.n_layers).map(layer).collect::<Result<_>>()?;
        Ok(Self { layers, lengths: vec![0; rows], capacity })
    }

    /// Number of stored rows.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Positions that a row can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Positions that a row holds; 0 for a row that does not exist.
    pub fn length(&self, row: usize) -> usize {
        self.lengths.get(row).copied().unwrap_or(0)
    }

    /// Forgets the positions of a row from `length` on.
    pub fn truncate(&mut self, row: usize, length: usize) {
        if let Some(held) = self.lengths.get_mut(row) {
            *held = length.min(*held);
        }
    }

    /// Gives a row the positions `positions` that another holds; it holds those before them already.
    pub fn copy(&mut self, from: usize, to: usize, positions: Range<usize>) -> std::result::Result<(), ModelError> {
        if self.length(from) < positions.end || self.length(to) != positions.start || to >= self.rows() {
            return Err(ModelError::Request(format!(
                "positions {positions:?} cannot be copied from stored row {from}, which holds {}, to row {to}, which holds {}",
                self.length(from),
                self.length(to)
            )));
        }
        for stored in self.layers.iter().flat_map(|(keys, values)| [keys, values]) {
            // A copy of its own: source and target are parts of one tensor.
            let source = stored.narrow(0, from, 1)?.narrow(1, positions.start, positions.len())?.copy()?;
            stored.narrow(0, to, 1)?.slice_set(&source, 1, positions.start)?;
        }
        if let Some(length) = self.lengths.get_mut(to) {
            *length = positions.end;
        }
        Ok(())
    }

    /// Checks that these rows can continue what is stored.
    pub(crate) fn check(&self, spans: &[Span]) -> std::result::Result<(), ModelError> {
        match spans.iter().find(|span| span.row >= self.rows() || span.start > self.length(span.row)) {
            None => Ok(()),
            Some(span) => Err(ModelError::Request(format!(
                "a pass continues stored row {} from position {}; there are {} rows, and that one holds {} positions",
                span.row,
                span.start,
                self.rows(),
                self.length(span.row)
            ))),
        }
    }

    /// Checks that these rows can be appended: each to a stored row of its own, at its end, within the capacity.
    pub(crate) fn check_append(&self, spans: &[Span]) -> std::result::Result<(), ModelError> {
        self.check(spans)?;
        let mut seen = vec![false; self.rows()];
        for span in spans {
            let twice = seen.get_mut(span.row).is_none_or(|seen| std::mem::replace(seen, true));
            if twice || span.start != self.length(span.row) || span.start + span.tokens > self.capacity {
                let Span { row, start, tokens } = *span;
                return Err(ModelError::Request(format!(
                    "{tokens} tokens cannot be stored from position {start} of row {row}: it holds {} of {} positions, \
                     and takes them once a pass and at its end",
                    self.length(row),
                    self.capacity
                )));
            }
        }
        Ok(())
    }

    /// Checks that a pass over a tree can stand on what is stored and leave behind what is kept of it.
    pub(crate) fn check_tree(
        &self,
        spans: &[Span],
        parents: &[Option<usize>],
        kept: &[Kept],
    ) -> std::result::Result<(), ModelError> {
        let roots = spans.iter().zip(parents).filter(|(_, parent)| parent.is_none());
        self.check(&roots.map(|(span, _)| *span).collect::<Vec<_>>())?;
        match kept.iter().find(|kept| kept.row >= self.rows() || kept.position + kept.tokens > self.capacity) {
            None => Ok(()),
            Some(Kept { tokens, row, position, .. }) => Err(ModelError::Request(format!(
                "{tokens} tokens cannot be stored from position {position} of row {row}: there are {} rows of {} positions",
                self.rows(),
                self.capacity
            ))),
        }
    }

    /// Counts what is kept of a pass over a tree.
    pub(crate) fn kept(&mut self, kept: &[Kept]) {
        for kept in kept {
            if let Some(length) = self.lengths.get_mut(kept.row) {
                *length = kept.position + kept.tokens;
            }
        }
    }

    /// Counts what a pass has appended.
    pub(crate) fn appended(&mut self, spans: &[Span]) {
        for span in spans {
            if let Some(length) = self.lengths.get_mut(span.row) {
                *length = span.start + span.tokens;
            }
        }
    }

    pub(crate) fn layer<'a>(&'a self, layer: usize, spans: &'a [Span], stand: Stand) -> Option<Stored<'a>> {
        self.layers.get(layer).map(|(keys, values)| Stored { keys, values, spans, stand })
    }
}

/// Writes a pass's keys or values `[b, t, g, k]` behind what `stored` holds, padding left out.
pub(crate) fn append(stored: &Tensor, own: &Tensor, spans: &[Span]) -> Result<()> {
    let own = own.detach().to_dtype(stored.dtype())?.contiguous()?;
    for (number, span) in spans.iter().enumerate().filter(|(_, span)| span.tokens > 0) {
        let own = own.narrow(0, number, 1)?.narrow(1, 0, span.tokens)?;
        stored.narrow(0, span.row, 1)?.slice_set(&own, 1, span.start)?;
    }
    Ok(())
}

/// Tokens of a pass over a tree that are stored: `tokens` from token `first` of the pass on become the positions from
/// `position` on of a stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub first: usize,
    pub tokens: usize,
    pub row: usize,
    pub position: usize,
}

/// Writes what is kept of a pass's keys or values `[1, t, g, k]`.
pub(crate) fn keep(stored: &Tensor, own: &Tensor, kept: &[Kept]) -> Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    let own = own.detach().to_dtype(stored.dtype())?.contiguous()?;
    for Kept { first, tokens, row, position } in kept {
        let own = own.narrow(1, *first, *tokens)?.contiguous()?;
        stored.narrow(0, *row, 1)?.slice_set(&own, 1, *position)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 6 positions, one group of 2 numbers: position p of row r holds 10·r + p.
    fn filled(lengths: [usize; 3]) -> KeyValueCache {
        let values: Vec<f32> = (0..3 * 6 * 2).map(|at| (at / 12 * 10 + at % 12 / 2) as f32).collect();
        let tensor = |sign: f32| {
            let values: Vec<f32> = values.iter().map(|value| sign * value).collect();
            Tensor::from_vec(values, (3, 6, 1, 2), &Device::Cpu).expect("tensor")
        };
        KeyValueCache { layers: vec![(tensor(1.0), tensor(-1.0))], lengths: lengths.to_vec(), capacity: 6 }
    }

    #[test]
    fn positions_are_copied_behind_those_that_a_row_holds() {
        let mut cache = filled([5, 2, 0]);
        cache.copy(0, 1, 2..5).expect("copied");
        assert_eq!((0..3).map(|row| cache.length(row)).collect::<Vec<_>>(), [5, 5, 0]);
        let row = |of: &Tensor| of.flatten(1, 3).expect("rows").to_vec2::<f32>().expect("values")[1].clone();
        let (keys, values) = &cache.layers[0];
        assert_eq!(row(keys), [10., 10., 11., 11., 2., 2., 3., 3., 4., 4., 15., 15.]);
        assert_eq!(row(values).iter().map(|value| -value).collect::<Vec<_>>(), row(keys));
        // Beyond what the source holds, not at the target's end, to a row that is not there.
        for (from, to, positions) in [(0, 1, 5..6), (0, 2, 1..3), (0, 3, 0..1), (2, 1, 5..6)] {
            assert!(cache.copy(from, to, positions.clone()).is_err(), "{from} to {to}, {positions:?}");
        }
    }
}
