//! Causal attention over keys and values that earlier passes stored, and those of this pass after them.
//!
//! Row i of the batch continues the first `start` positions of one stored row; several rows may continue the same one,
//! at different lengths. Nothing is copied: the two runs of keys meet in one row of scores. Rows stand below each other,
//! padded at their right ends, or one behind the other in one row of the batch, where nothing is padded.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::attention::{Attending, BLOCK, Place, SERIAL, attend, attention_scores};
use super::matmul::{Matrix, Onto, Target, Threads, multiply_into};
use super::slices::{Plain, fits, of, output};
use super::softmax::{Keys, softmax_rows};
use super::{CausalMask, composed};

/// What one row of a batch continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The stored row whose positions come before it.
    pub row: usize,
    /// How many positions of that row it sees; its own first position.
    pub start: usize,
    /// Its own tokens; what follows them in the batch is padding.
    pub tokens: usize,
}

/// How the rows of a pass stand in its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Below each other, `[b, t, ..]`, padded at their right ends.
    Below,
    /// One behind the other in one row of a batch, `[1, Σ tokens, ..]`, without padding.
    Behind,
}

/// The token at which each row begins, counted through all rows of `tokens` tokens where they are padded.
pub fn first_tokens(spans: &[Span], stand: Stand, tokens: usize) -> Vec<usize> {
    let mut next = 0;
    spans
        .iter()
        .map(|span| {
            let first = next;
            next += if stand == Stand::Behind { span.tokens } else { tokens };
            first
        })
        .collect()
}

/// Keys and values of earlier positions.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// `[n, capacity, g, k]`, rotated.
    pub keys: &'a Tensor,
    /// `[n, capacity, g, k]`.
    pub values: &'a Tensor,
    /// One for each row of the batch.
    pub spans: &'a [Span],
    /// How the rows stand.
    pub stand: Stand,
}

impl Stored<'_> {
    pub(super) fn check(&self, [batch, tokens, heads, width]: [usize; 4], k: &Tensor) -> Result<()> {
        let (rows, capacity, kv_heads, stored_width) = self.keys.dims4()?;
        let whole = kv_heads > 0 && heads % kv_heads == 0;
        let same = k.dims() == [batch, tokens, kv_heads, width] && self.values.dims() == self.keys.dims();
        let inside = |span: &Span| span.row < rows && span.start <= capacity && span.tokens <= tokens;
        let filled = match self.stand {
            Stand::Below => self.spans.len() == batch,
            Stand::Behind => batch == 1 && self.spans.iter().map(|span| span.tokens).sum::<usize>() == tokens,
        };
        match whole && same && width == stored_width && filled && self.spans.iter().all(inside) {
            true => Ok(()),
            false => candle_core::bail!(
                "queries {:?} and keys {:?} do not continue {:?} of stored {:?}",
                [batch, tokens, heads, width],
                k.dims(),
                self.spans,
                self.keys.dims()
            ),
        }
    }

    /// The largest number of stored positions that a row sees.
    fn longest(&self) -> usize {
        self.spans.iter().map(|span| span.start).max().unwrap_or(0)
    }

    /// Stored vectors of each row with its own after them, `[b, s + t, g, k]`.
    fn joined(&self, stored: &Tensor, own: &Tensor) -> Result<Tensor> {
        let rows: Vec<u32> = self.spans.iter().map(|span| span.row as u32).collect();
        let rows = Tensor::new(rows, stored.device())?;
        let before = stored.narrow(1, 0, self.longest())?.contiguous()?.index_select(&rows, 0)?;
        Tensor::cat(&[&before, own], 1)
    }

    /// −∞ where a key is hidden from a query, `[b, 1, t, s + t]`.
    fn hidden(&self, tokens: usize, window: Option<usize>, like: &Tensor) -> Result<Tensor> {
        let longest = self.longest();
        let keys = longest + tokens;
        let mut values = vec![f32::NEG_INFINITY; self.spans.len() * tokens * keys];
        for (number, row) in values.chunks_mut(keys.max(1)).enumerate() {
            let start = self.spans.get(number / tokens.max(1)).map_or(0, |span| span.start);
            let mask = CausalMask { offset: start, window };
            let seen = mask.visible(number % tokens.max(1), usize::MAX);
            let stored = seen.start.min(start)..start;
            let own = longest + seen.start.max(start) - start..longest + seen.end - start;
            for range in [stored, own] {
                row.get_mut(range).unwrap_or_default().fill(0.0);
            }
        }
        Tensor::from_vec(values, (self.spans.len(), 1, tokens, keys), like.device())
    }
}

/// z `[b, t, h, k]` of queries `[b, t, h, k]` over stored keys and values and the pass's own `[b, t, g, k]`. What is
/// stored gets no gradient; `how.mask.offset` is not used. Rows of padding may come out as zeros. Rows that stand behind
/// each other run on the CPU in single precision alone, and get no gradient.
pub fn attention_over(q: &Tensor, k: &Tensor, v: &Tensor, stored: Stored<'_>, how: Attending) -> Result<Tensor> {
    stored.check(q.dims4()?.into(), k)?;
    if stored.stand == Stand::Behind {
        if !fits(&[q, k, v, stored.keys, stored.values]) {
            candle_core::bail!("rows that stand behind each other run on the CPU in single precision alone");
        }
        let op = Over { stored, how };
        let [q, k, v] = [q.detach(), k.detach(), v.detach()];
        return q.contiguous()?.apply_op3_no_bwd(&k.contiguous()?, &v.contiguous()?, &op);
    }
    let tracked = [q, k, v].into_iter().any(Tensor::track_op);
    if tracked || !fits(&[q, k, v, stored.keys, stored.values]) || q.elem_count() == 0 {
        return attend_over(&pattern_over(q, k, stored, how)?, v, stored);
    }
    let op = Over { stored, how };
    q.contiguous()?.apply_op3_no_bwd(&k.contiguous()?, &v.contiguous()?, &op)
}

/// The probabilities `[b, h, t, s + t]`: columns of the longest stored run first, then the pass's own.
pub fn pattern_over(q: &Tensor, k: &Tensor, stored: Stored<'_>, how: Attending) -> Result<Tensor> {
    stored.check(q.dims4()?.into(), k)?;
    if stored.stand == Stand::Behind {
        candle_core::bail!("a pattern has a row for each row of the pass; let them stand below each other");
    }
    let scores = attention_scores(q, &stored.joined(stored.keys, k)?)?;
    let hidden = stored.hidden(q.dim(1)?, how.mask.window, q)?;
    composed::masked_softmax(&scores, how.scale, &hidden, how.softcap)
}

/// z `[b, t, h, k]` of probabilities of [`pattern_over`] and the pass's own values.
pub fn attend_over(pattern: &Tensor, v: &Tensor, stored: Stored<'_>) -> Result<Tensor> {
    attend(pattern, &stored.joined(stored.values, v)?)
}

struct Over<'a> {
    stored: Stored<'a>,
    how: Attending,
}

/// One kind of vectors of one task: where they are stored, and the pass's own.
#[derive(Clone, Copy)]
pub(super) struct Runs<'a> {
    pub stored: (&'a [f32], Place),
    pub own: (&'a [f32], Place),
}

impl<'a> Runs<'a> {
    /// The vectors at the positions `keys` of a row that continues `span` and whose own begin at token `first`, as the
    /// two matrices that hold them.
    pub fn matrices(&self, span: Span, first: usize, head: usize, keys: Keys) -> [(&'a [f32], Matrix); 2] {
        let start = span.start;
        let stored = self.stored.1.matrix(span.row, head, keys.from.min(start)..start);
        let own = self.own.1.matrix(0, head, first + keys.from.max(start) - start..first + keys.to - start);
        [(self.stored.0, stored), (self.own.0, own)]
    }
}

impl Over<'_> {
    /// Blocks of a row's queries with the positions that some query of the block sees.
    fn blocks(&self, span: Span) -> impl Iterator<Item = (std::ops::Range<usize>, Keys, CausalMask)> {
        let mask = CausalMask { offset: span.start, window: self.how.mask.window };
        (0..span.tokens).step_by(BLOCK).map(move |first| {
            let end = (first + BLOCK).min(span.tokens);
            (first..end, Keys { from: mask.visible(first, usize::MAX).start, to: span.start + end }, mask)
        })
    }

    fn run(&self, q: (&[f32], [usize; 4]), keys: Runs<'_>, values: Runs<'_>, kv_heads: usize) -> Vec<f32> {
        let (q, [batch, queries, heads, width]) = q;
        let place = Place::own(queries, heads, width);
        let mut out = vec![0f32; q.len()];
        let target = Target::of(&mut out);
        let each = heads / kv_heads.max(1);
        let firsts = first_tokens(self.stored.spans, self.stored.stand, queries);
        let rows = firsts.len();
        let task = |task: usize| {
            let (row, kv_head) = (task / kv_heads, task % kv_heads);
            let (Some(span), Some(first)) = (self.stored.spans.get(row).copied(), firsts.get(row).copied()) else {
                return;
            };
            let mut scores = Vec::new();
            for (block, seen, mask) in self.blocks(span) {
                let (keys, values) =
                    (keys.matrices(span, first, kv_head, seen), values.matrices(span, first, kv_head, seen));
                let at = first + block.start..first + block.end;
                for head in kv_head * each..(kv_head + 1) * each {
                    scores.clear();
                    scores.resize(block.len() * seen.len(), 0.0);
                    let queried = (q, place.matrix(0, head, at.clone()));
                    let parts = scores_of(keys, block.len(), seen.len());
                    let sums = Target::of(&mut scores);
                    for ((keys, at), part) in keys.into_iter().zip(parts) {
                        let keys = (keys, at.transposed());
                        multiply_into((sums, part), queried, keys, 1.0, Onto::Overwrite, Threads::One);
                    }
                    softmax_rows(&mut scores, block.start, queries, seen, self.how.scaling(), mask);
                    let z = (target, place.matrix(0, head, at.clone()));
                    for (values, part) in values.into_iter().zip(parts) {
                        multiply_into(z, (&scores, part), values, 1.0, Onto::Add, Threads::One);
                    }
                }
            }
        };
        let most = self.stored.longest() + queries;
        match batch * heads * queries * most * width < SERIAL {
            true => (0..rows * kv_heads).for_each(task),
            false => (0..rows * kv_heads).into_par_iter().for_each(task),
        }
        out
    }
}

/// Where the scores of stored and own keys stand in one table of `rows` queries and `columns` keys.
pub(super) fn scores_of(keys: [(&[f32], Matrix); 2], rows: usize, columns: usize) -> [Matrix; 2] {
    let [(_, stored), (_, own)] = keys;
    let part = |offset: usize, width: usize| Matrix { offset, rows, columns: width, row: columns, column: 1 };
    [part(0, stored.rows), part(stored.rows, own.rows)]
}

impl CustomOp3 for Over<'_> {
    fn name(&self) -> &'static str {
        "attention_over_stored"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_at: &Layout,
        k: &CpuStorage,
        k_at: &Layout,
        v: &CpuStorage,
        v_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, queries, heads, width) = q_at.shape().dims4()?;
        let (_, capacity, kv_heads, _) = self.stored.keys.dims4()?;
        let (stored_keys, stored_values) = (Plain::new(self.stored.keys)?, Plain::new(self.stored.values)?);
        let (stored_keys, stored_values) = (stored_keys.values()?, stored_values.values()?);
        let (stored, own) = (Place::own(capacity, kv_heads, width), Place::own(queries, kv_heads, width));
        let keys = Runs { stored: (&*stored_keys, stored), own: (of(k, k_at)?, own) };
        let values = Runs { stored: (&*stored_values, stored), own: (of(v, v_at)?, own) };
        output(self.run((of(q, q_at)?, [batch, queries, heads, width]), keys, values, kv_heads), q_at.shape())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, IndexOp};

    use super::super::{attention, attention_pattern};
    use super::*;

    fn random(shape: (usize, usize, usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1f32, shape, &Device::Cpu).expect("random")
    }

    fn apart(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_scalar()).expect("difference")
    }

    /// Rows of different lengths over shared stored rows against one whole pass a row.
    #[test]
    fn suffixes_over_stored_keys_are_the_end_of_the_whole_pass() {
        let (tokens, capacity) = (90, 40);
        let (stored_k, stored_v) = (random((2, capacity, 2, 8)), random((2, capacity, 2, 8)));
        let (q, k, v) = (random((4, tokens, 4, 8)), random((4, tokens, 2, 8)), random((4, tokens, 2, 8)));
        let spans = [(1, 33, tokens), (0, 0, 70), (1, 7, tokens), (1, 40, 1)].map(|(row, start, tokens)| Span {
            row,
            start,
            tokens,
        });
        let stored = Stored { keys: &stored_k, values: &stored_v, spans: &spans, stand: Stand::Below };
        for (window, softcap) in [(None, None), (Some(20), Some(3.0)), (Some(1), None)] {
            let how = Attending { scale: 0.4, softcap, mask: CausalMask { offset: 0, window } };
            let z = attention_over(&q, &k, &v, stored, how).expect("z");
            let pattern = pattern_over(&q, &k, stored, how).expect("pattern");
            let composed = attend_over(&pattern, &v, stored).expect("z");
            let behind = |x: &Tensor| {
                let rows = spans.iter().enumerate().map(|(row, span)| x.i((row..row + 1, ..span.tokens)).expect("row"));
                Tensor::cat(&rows.collect::<Vec<_>>(), 1).expect("rows")
            };
            let flat =
                attention_over(&behind(&q), &behind(&k), &behind(&v), Stored { stand: Stand::Behind, ..stored }, how);
            assert_eq!(apart(&flat.expect("z"), &behind(&z)), 0.0, "the same arithmetic in the same order");
            for (row, span) in spans.iter().enumerate() {
                let whole = |stored: &Tensor, own: &Tensor| {
                    let before = stored.i((span.row..span.row + 1, ..span.start)).expect("stored");
                    Tensor::cat(&[before, own.i((row..row + 1, ..span.tokens)).expect("own")], 1).expect("whole")
                };
                let (keys, values) = (whole(&stored_k, &k), whole(&stored_v, &v));
                let queries = q.i((row..row + 1, ..span.tokens)).expect("queries");
                let how = Attending { mask: CausalMask { offset: span.start, window }, ..how };
                let expected = attention(&queries, &keys, &values, how).expect("whole pass");
                for z in [&z, &composed] {
                    let found = z.i((row..row + 1, ..span.tokens)).expect("part");
                    assert!(
                        apart(&found, &expected) < 1e-5,
                        "row {row}, window {window:?}: {}",
                        apart(&found, &expected)
                    );
                }
                let expected = attention_pattern(&queries, &keys, how).expect("pattern");
                let stored_part = pattern.i((row..row + 1, .., ..span.tokens, ..span.start)).expect("stored part");
                let own = pattern.i((row..row + 1, .., ..span.tokens, 40..40 + span.tokens)).expect("own part");
                let found = Tensor::cat(&[stored_part, own], 3).expect("pattern");
                assert!(apart(&found, &expected) < 1e-5, "row {row}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (stored, x) = (random((2, 5, 2, 8)), random((1, 3, 2, 8)));
        let how = Attending { scale: 1.0, softcap: None, mask: CausalMask::default() };
        let run = |span: Span, stored: &Tensor| {
            attention_over(
                &x,
                &x,
                &x,
                Stored { keys: stored, values: stored, spans: &[span], stand: Stand::Below },
                how,
            )
        };
        assert!(run(Span { row: 1, start: 5, tokens: 3 }, &stored).is_ok());
        for span in [(2, 0, 3), (0, 6, 3), (0, 0, 4)].map(|(row, start, tokens)| Span { row, start, tokens }) {
            assert!(run(span, &stored).is_err(), "{span:?}");
        }
        let wide = Tensor::zeros((2, 5, 2, 9), DType::F32, &Device::Cpu).expect("zeros");
        assert!(run(Span { row: 0, start: 1, tokens: 3 }, &wide).is_err());
    }
}
