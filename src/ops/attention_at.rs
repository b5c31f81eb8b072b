//! Causal attention of chosen queries: where a pass is read at few positions, its last block needs the keys and values of
//! all positions and the queries of those alone.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::CausalMask;
use super::attention::{Attending, Place, SERIAL};
use super::matmul::{Matrix, Onto, Target, Threads, multiply_into};
use super::slices::{Plain, fits, tensor};
use super::softmax::{Keys, softmax_rows};
use super::stored::{Runs, Span, Stand, Stored, first_tokens, scores_of};

/// Whether [`attention_at`] can serve a pass with such a stream: single precision on the CPU, no gradient asked for.
pub fn attends_apart(stream: &Tensor) -> bool {
    fits(&[stream]) && !stream.track_op()
}

/// z `[n, 1, h, k]` of the queries `[n, 1, h, k]` at the (row, token) places `at` of a pass with keys and values
/// `[b, t, g, k]`, behind stored ones where there are any. Runs on the CPU in single precision, and gives no gradient;
/// `how.mask.offset` is not used.
pub fn attention_at(
    q: &Tensor,
    (k, v): (&Tensor, &Tensor),
    at: &[(usize, usize)],
    stored: Option<Stored<'_>>,
    how: Attending,
) -> Result<Tensor> {
    let (reads, _, heads, width) = q.dims4()?;
    let (batch, tokens, kv_heads, _) = k.dims4()?;
    let whole = [Span { row: 0, start: 0, tokens }];
    let spans = match &stored {
        Some(stored) => {
            stored.check([batch, tokens, heads, width], k)?;
            stored.spans.to_vec()
        }
        None => whole.repeat(batch),
    };
    let stand = stored.map_or(Stand::Below, |stored| stored.stand);
    let inside = at.iter().all(|(row, token)| *row < batch && *token < tokens);
    if !inside || at.len() != reads || kv_heads == 0 || heads % kv_heads != 0 || k.dims() != v.dims() {
        candle_core::bail!(
            "queries {:?} at {} places of keys {:?}, values {:?}",
            q.dims(),
            at.len(),
            k.dims(),
            v.dims()
        );
    }
    if !fits(&[q, k, v]) {
        candle_core::bail!("attention of chosen queries runs on the CPU in single precision alone");
    }
    let plain = [Plain::new(q)?, Plain::new(k)?, Plain::new(v)?];
    let [q, k, v] = &plain;
    let (q, k, v) = (q.values()?, k.values()?, v.values()?);
    let before =
        stored.map(|stored| Ok::<_, candle_core::Error>([Plain::new(stored.keys)?, Plain::new(stored.values)?]));
    let before = before.transpose()?;
    let capacity = stored.map_or(Ok(0), |stored| stored.keys.dim(1))?;
    let before = before.as_ref().map(|[keys, values]| Ok::<_, candle_core::Error>((keys.values()?, values.values()?)));
    let before = before.transpose()?;
    let (stored_keys, stored_values): (&[f32], &[f32]) = match &before {
        Some((keys, values)) => (keys, values),
        None => (&[], &[]),
    };
    let places = (Place::own(capacity, kv_heads, width), Place::own(tokens, kv_heads, width));
    let keys = Runs { stored: (stored_keys, places.0), own: (&k, places.1) };
    let values = Runs { stored: (stored_values, places.0), own: (&v, places.1) };
    let firsts = first_tokens(&spans, stand, tokens);

    let each = heads / kv_heads;
    let mut out = vec![0f32; q.len()];
    let target = Target::of(&mut out);
    let task = |task: usize| {
        let (number, kv_head) = (task / kv_heads, task % kv_heads);
        let Some((row, token)) = at.get(number) else { return };
        let token = row * tokens + token;
        let row = firsts.partition_point(|first| *first <= token).saturating_sub(1);
        let (Some(span), Some(first)) = (spans.get(row).copied(), firsts.get(row).copied()) else { return };
        let position = token - first;
        let mask = CausalMask { offset: span.start + position, window: how.mask.window };
        let seen = Keys { from: mask.visible(0, usize::MAX).start, to: span.start + position + 1 };
        let of_group = Matrix { offset: (number * heads + kv_head * each) * width, ..Matrix::dense(each, width) };
        let (keys, values) = (keys.matrices(span, first, kv_head, seen), values.matrices(span, first, kv_head, seen));
        let mut scores = vec![0f32; each * seen.len()];
        let parts = scores_of(keys, each, seen.len());
        let sums = Target::of(&mut scores);
        for ((keys, at), part) in keys.into_iter().zip(parts) {
            multiply_into((sums, part), (&q, of_group), (keys, at.transposed()), 1.0, Onto::Overwrite, Threads::One);
        }
        softmax_rows(&mut scores, 0, 1, seen, how.scaling(), mask);
        for (values, part) in values.into_iter().zip(parts) {
            multiply_into((target, of_group), (&scores, part), values, 1.0, Onto::Add, Threads::One);
        }
    };
    let most = capacity + tokens;
    match reads * heads * width * most < SERIAL {
        true => (0..reads * kv_heads).for_each(task),
        false => (0..reads * kv_heads).into_par_iter().for_each(task),
    }
    tensor(out, (reads, 1, heads, width))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, IndexOp};

    use super::super::{attention, attention_over};
    use super::*;

    fn random(shape: (usize, usize, usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1f32, shape, &Device::Cpu).expect("random")
    }

    fn apart(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_scalar()).expect("difference")
    }

    /// The chosen queries against all of them, with and without stored keys, in both stands.
    #[test]
    fn chosen_queries_give_what_all_of_them_give_there() {
        let (tokens, capacity) = (9, 12);
        let (q, k, v) = (random((3, tokens, 4, 8)), random((3, tokens, 2, 8)), random((3, tokens, 2, 8)));
        let (keys, values) = (random((2, capacity, 2, 8)), random((2, capacity, 2, 8)));
        let spans = [(1, 12, 9), (0, 0, 4), (1, 5, 7)].map(|(row, start, tokens)| Span { row, start, tokens });
        let at = [(0, 8), (0, 2), (1, 3), (2, 6), (2, 0)];
        let chosen = |x: &Tensor| {
            let rows = at.iter().map(|(row, token)| x.i((*row..row + 1, *token..token + 1)).expect("place"));
            Tensor::cat(&rows.collect::<Vec<_>>(), 0).expect("places")
        };
        for (window, softcap) in [(None, None), (Some(4), Some(3.0)), (Some(1), None)] {
            let how = Attending { scale: 0.4, softcap, mask: CausalMask { offset: 0, window } };
            let all = attention(&q, &k, &v, how).expect("z");
            let found = attention_at(&chosen(&q), (&k, &v), &at, None, how).expect("z");
            assert!(apart(&found, &chosen(&all)) < 1e-5, "window {window:?}");
            let stored = Stored { keys: &keys, values: &values, spans: &spans, stand: Stand::Below };
            let all = attention_over(&q, &k, &v, stored, how).expect("z");
            let found = attention_at(&chosen(&q), (&k, &v), &at, Some(stored), how).expect("z");
            assert!(apart(&found, &chosen(&all)) < 1e-5, "window {window:?}, stored");
            let behind = |x: &Tensor| {
                let rows = spans.iter().enumerate().map(|(row, span)| x.i((row..row + 1, ..span.tokens)).expect("row"));
                Tensor::cat(&rows.collect::<Vec<_>>(), 1).expect("rows")
            };
            let firsts = first_tokens(&spans, Stand::Behind, 0);
            let flat: Vec<_> = at.iter().map(|(row, token)| (0, firsts[*row] + token)).collect();
            let stored = Stored { stand: Stand::Behind, ..stored };
            let flat = attention_at(&chosen(&q), (&behind(&k), &behind(&v)), &flat, Some(stored), how).expect("z");
            assert_eq!(apart(&flat, &found), 0.0, "the same arithmetic in the same order");
        }
        let how = Attending { scale: 0.4, softcap: None, mask: CausalMask::default() };
        assert!(attention_at(&chosen(&q), (&k, &v), &[(0, 9); 5], None, how).is_err());
        assert!(attention_at(&chosen(&q), (&k, &v), &at[..2], None, how).is_err());
    }
}
