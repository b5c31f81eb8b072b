//! Causal attention in a pass over a tree of texts.
//!
//! The branches of the tree stand one behind the other in one row of the pass. A branch begins behind the end of another
//! one of the pass, or behind stored positions, and sees these, what they see, and itself. So no token is run twice
//! and none is padding. Every query adds up its keys one by one in the order of their positions, in a number of lanes that
//! never changes: what comes out does not depend on where the tree is cut into passes, nor on the number of threads.

use candle_core::{Result, Tensor};
use multiversion::multiversion;
use rayon::prelude::*;

use super::attention::{Attending, attend, attention_scores};
use super::slices::{Plain, fits, tensor};
use super::softmax::{Keys, softmax_rows};
use super::stored::{Span, Stand, first_tokens};
use super::{CausalMask, composed};

/// Queries of one branch that share a gathered copy of their keys.
const BLOCK: usize = 32;

/// Keys that are scored side by side.
const SIDE: usize = 64;

/// Lanes of the softmax's sums; the first key of a row is a multiple of it.
const LANES: usize = 16;

/// The branches of a pass.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    /// The stored row that a branch begins in, the position of its first token, and its tokens.
    pub spans: &'a [Span],
    /// The number of the branch at whose end each begins; it comes earlier. `None`: behind stored positions.
    pub parents: &'a [Option<usize>],
}

/// Vectors that stand behind each other at consecutive positions.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The stored row; `None` for vectors of the pass itself.
    row: Option<usize>,
    /// The first one's number there.
    first: usize,
    /// The first one's position in the text.
    position: usize,
    len: usize,
}

impl Tree<'_> {
    /// What each branch sees, its own tokens last.
    fn runs(&self) -> Result<Vec<Vec<Run>>> {
        let firsts = first_tokens(self.spans, Stand::Behind, 0);
        let mut seen: Vec<Vec<Run>> = Vec::with_capacity(self.spans.len());
        for ((span, first), parent) in self.spans.iter().zip(firsts).zip(self.parents) {
            let mut runs = match parent.map(|parent| seen.get(parent).cloned()) {
                None => vec![Run { row: Some(span.row), first: 0, position: 0, len: span.start }],
                Some(Some(runs)) => runs,
                Some(None) => candle_core::bail!("a branch comes before the one that it begins behind"),
            };
            let end = runs.last().map_or(0, |run| run.position + run.len);
            if end != span.start {
                candle_core::bail!("a branch begins at position {}, behind one that ends at {end}", span.start);
            }
            match runs.last_mut().filter(|run| run.row.is_none() && run.first + run.len == first) {
                Some(run) => run.len += span.tokens,
                None => runs.push(Run { row: None, first, position: span.start, len: span.tokens }),
            }
            seen.push(runs);
        }
        Ok(seen)
    }

    fn check(&self, tokens: usize, stored: &Tensor) -> Result<()> {
        let (rows, capacity, ..) = stored.dims4()?;
        let inside = |span: &Span| span.row < rows && span.start <= capacity;
        let roots = self.spans.iter().zip(self.parents).filter(|(_, parent)| parent.is_none());
        let filled = self.spans.iter().map(|span| span.tokens).sum::<usize>() == tokens;
        match filled && self.spans.len() == self.parents.len() && roots.map(|(span, _)| span).all(inside) {
            true => Ok(()),
            false => candle_core::bail!("{:?} are no branches of {tokens} tokens over {:?}", self.spans, stored.dims()),
        }
    }
}

/// z `[n, 1, h, k]` of queries `[n, 1, h, k]` at the tokens `at` of a pass with keys and values `[1, t, g, k]`, behind
/// stored ones `[rows, capacity, g, k]`. Without a gradient; `how.mask.offset` is not used.
pub fn tree_attention(
    q: &Tensor,
    [k, v]: [&Tensor; 2],
    at: &[usize],
    stored: [&Tensor; 2],
    tree: Tree<'_>,
    how: Attending,
) -> Result<Tensor> {
    let (reads, _, heads, width) = q.dims4()?;
    let (batch, tokens, kv_heads, _) = k.dims4()?;
    tree.check(tokens, stored[0])?;
    let whole = batch == 1 && kv_heads > 0 && heads % kv_heads == 0 && k.dims() == v.dims();
    if !whole || at.len() != reads || at.iter().any(|token| *token >= tokens) {
        candle_core::bail!(
            "queries {:?} at {} tokens of keys {:?}, values {:?}",
            q.dims(),
            at.len(),
            k.dims(),
            v.dims()
        );
    }
    let runs = tree.runs()?;
    let asked = asked(tree.spans, at);
    let all = [q, k, v, stored[0], stored[1]].map(Tensor::detach);
    if !fits(&all.each_ref()) {
        return masked(&all, &asked, &runs, tree.spans, how);
    }
    let plain = all.iter().map(Plain::new).collect::<Result<Vec<_>>>()?;
    let [q, k, v, keys, values] = plain.as_slice() else { candle_core::bail!("five tensors") };
    let (q, k, v, keys, values) = (q.values()?, k.values()?, v.values()?, keys.values()?, values.values()?);
    let capacity = stored[0].dim(1)?;
    let each = heads / kv_heads;
    let vectors = Vectors { own: (&k, &v), stored: (&keys, &values), capacity, kv_heads, width };
    // A task writes the heads of its group at its queries; results go to their places afterwards.
    let blocks: Vec<(usize, &[(usize, usize)])> = asked
        .iter()
        .enumerate()
        .flat_map(|(branch, queries)| queries.chunks(BLOCK).map(move |block| (branch, block)))
        .collect();
    let task = |task: usize| {
        let (block, group) = (task / kv_heads, task % kv_heads);
        let Some(&(branch, queries)) = blocks.get(block) else { return Vec::new() };
        let (Some(runs), Some(span)) = (runs.get(branch), tree.spans.get(branch)) else { return Vec::new() };
        let queried = Queried { q: &q, heads, group: group * each..(group + 1) * each, queries, start: span.start };
        vectors.attend(&queried, group, runs, how)
    };
    let results: Vec<Vec<f32>> = (0..blocks.len() * kv_heads).into_par_iter().map(task).collect();
    let mut out = vec![0f32; reads * heads * width];
    for (task, result) in results.iter().enumerate() {
        let (block, group) = (task / kv_heads, task % kv_heads);
        let queries = blocks.get(block).map_or(&[][..], |(_, queries)| queries);
        for ((query, _), z) in queries.iter().zip(result.chunks_exact(each * width)) {
            let start = (query * heads + group * each) * width;
            if let Some(place) = out.get_mut(start..start + z.len()) {
                place.copy_from_slice(z);
            }
        }
    }
    tensor(out, (reads, 1, heads, width))
}

/// (number of the query, token within the branch) of each branch.
fn asked(spans: &[Span], at: &[usize]) -> Vec<Vec<(usize, usize)>> {
    let firsts = first_tokens(spans, Stand::Behind, 0);
    let mut asked = vec![Vec::new(); spans.len()];
    for (query, token) in at.iter().enumerate() {
        // Branches without tokens begin where the next one does.
        let branch = firsts.partition_point(|first| first <= token).saturating_sub(1);
        if let (Some(queries), Some(first)) = (asked.get_mut(branch), firsts.get(branch)) {
            queries.push((query, token - first));
        }
    }
    asked.iter_mut().for_each(|queries| queries.sort_by_key(|(_, token)| *token));
    asked
}

/// Some queries of one branch, for the heads of one group.
struct Queried<'a> {
    q: &'a [f32],
    heads: usize,
    group: std::ops::Range<usize>,
    queries: &'a [(usize, usize)],
    /// The branch's first position.
    start: usize,
}

struct Vectors<'a> {
    own: (&'a [f32], &'a [f32]),
    stored: (&'a [f32], &'a [f32]),
    capacity: usize,
    kv_heads: usize,
    width: usize,
}

impl<'a> Vectors<'a> {
    /// The keys and values of one head from the first vector of a run that stands at `from` or behind it, each vector
    /// `stride` behind the one before.
    fn from(&self, run: &Run, skipped: usize, head: usize) -> (&'a [f32], &'a [f32]) {
        let (keys, values) = if run.row.is_some() { self.stored } else { self.own };
        let row = run.row.map_or(0, |row| row * self.capacity);
        let offset = ((row + run.first + skipped) * self.kv_heads + head) * self.width;
        (keys.get(offset..).unwrap_or_default(), values.get(offset..).unwrap_or_default())
    }

    /// z of the queries, query by query and head by head.
    fn attend(&self, queried: &Queried<'_>, head: usize, runs: &[Run], how: Attending) -> Vec<f32> {
        let width = self.width;
        let place = |token: usize| CausalMask { offset: queried.start + token, window: how.mask.window };
        let [Some(first), Some(last)] = [queried.queries.first(), queried.queries.last()].map(|q| q.map(|q| q.1))
        else {
            return Vec::new();
        };
        let from = place(first).visible(0, usize::MAX).start / LANES * LANES;
        let seen = Keys { from, to: queried.start + last + 1 };
        let columns = seen.len().next_multiple_of(SIDE);
        let stride = self.kv_heads * width;
        let mut turned = vec![0f32; width * columns];
        let mut valued: Vec<(&[f32], usize)> = Vec::with_capacity(runs.len());
        for run in runs {
            let skipped = seen.from.saturating_sub(run.position);
            let len = run.len.min(seen.to.saturating_sub(run.position)).saturating_sub(skipped);
            if len == 0 {
                continue;
            }
            let (keys, values) = self.from(run, skipped, head);
            let column = run.position + skipped - seen.from;
            turn(keys, stride, width, len, turned.get_mut(column..).unwrap_or_default(), columns);
            valued.push((values, len));
        }
        let mut out = vec![0f32; queried.queries.len() * queried.group.len() * width];
        let mut scores = vec![0f32; columns];
        let mut places = out.chunks_exact_mut(width);
        for &(query, token) in queried.queries {
            for head in queried.group.clone() {
                let (start, Some(z)) = ((query * queried.heads + head) * width, places.next()) else { break };
                score(queried.q.get(start..start + width).unwrap_or_default(), &turned, &mut scores);
                let row = scores.get_mut(..seen.len()).unwrap_or_default();
                softmax_rows(row, 0, 1, seen, how.scaling(), place(token));
                let mut weights = &*row;
                for (values, len) in &valued {
                    let (own, rest) = weights.split_at(*len.min(&weights.len()));
                    weigh(own, values, stride, z);
                    weights = rest;
                }
            }
        }
        out
    }
}

/// Writes vectors as columns.
fn turn(vectors: &[f32], stride: usize, width: usize, len: usize, out: &mut [f32], columns: usize) {
    for (number, vector) in vectors.chunks(stride.max(1)).take(len).enumerate() {
        for (value, row) in vector.iter().take(width).zip(out.chunks_mut(columns)) {
            if let Some(place) = row.get_mut(number) {
                *place = *value;
            }
        }
    }
}

/// scores ← q · keys, the keys as columns of `turned`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn score(q: &[f32], turned: &[f32], scores: &mut [f32]) {
    let columns = scores.len();
    for (number, side) in scores.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
        let mut sums = [0f32; SIDE];
        for (q, row) in q.iter().zip(turned.chunks_exact(columns)) {
            let Some(keys) = row.get(number * SIDE..).and_then(|row| row.first_chunk::<SIDE>()) else { break };
            sums.iter_mut().zip(keys).for_each(|(sum, key)| *sum += q * key);
        }
        *side = sums;
    }
}

/// z ← z + Σ weight · value.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn weigh(weights: &[f32], values: &[f32], stride: usize, z: &mut [f32]) {
    let mut done = 0;
    for part in z.chunks_mut(SIDE) {
        let (whole, rest) = part.as_chunks_mut::<LANES>();
        let (wide, narrow) = (whole.len() * LANES, rest.len());
        match whole {
            [a, b, c, d] => weigh_lanes([a, b, c, d], weights, values, (stride, done)),
            [a, b, c] => weigh_lanes([a, b, c], weights, values, (stride, done)),
            [a, b] => weigh_lanes([a, b], weights, values, (stride, done)),
            [a] => weigh_lanes([a], weights, values, (stride, done)),
            _ => {}
        }
        if narrow > 0 {
            for (weight, value) in weights.iter().zip(values.chunks(stride.max(1))) {
                let value = value.get(done + wide..done + wide + narrow).unwrap_or_default();
                rest.iter_mut().zip(value).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        done += wide + narrow;
    }
}

/// The same for channels `from..` in full lanes, whose sums stay in registers.
#[inline(always)]
fn weigh_lanes<const N: usize>(
    z: [&mut [f32; LANES]; N],
    weights: &[f32],
    values: &[f32],
    (stride, from): (usize, usize),
) {
    let mut sums = [[0f32; LANES]; N];
    sums.iter_mut().zip(&z).for_each(|(sums, z)| *sums = **z);
    for (weight, value) in weights.iter().zip(values.chunks(stride.max(1))) {
        let lanes = value.get(from..).map(|value| value.as_chunks::<LANES>().0);
        let Some(lanes) = lanes.and_then(|lanes| lanes.first_chunk::<N>()) else { break };
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            sums.iter_mut().zip(lanes).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    z.into_iter().zip(sums).for_each(|(z, sums)| *z = sums);
}

/// The same with a mask over all stored positions and all tokens of the pass: on devices, and in other precisions.
fn masked(
    [q, k, v, keys, values]: &[Tensor; 5],
    asked: &[Vec<(usize, usize)>],
    runs: &[Vec<Run>],
    spans: &[Span],
    how: Attending,
) -> Result<Tensor> {
    let (reads, _, heads, width) = q.dims4()?;
    let (rows, capacity, kv_heads, _) = keys.dims4()?;
    let before = rows * capacity;
    let all = before + k.dim(1)?;
    let mut hidden = vec![f32::NEG_INFINITY; reads * all];
    for ((queries, runs), span) in asked.iter().zip(runs).zip(spans) {
        for &(query, token) in queries {
            let mask = CausalMask { offset: span.start + token, window: how.mask.window };
            let seen = mask.visible(0, usize::MAX);
            for run in runs {
                let first = run.row.map_or(before, |row| row * capacity) + run.first;
                let from = seen.start.max(run.position) - run.position;
                let to = run.len.min(seen.end.saturating_sub(run.position));
                let start = query * all + first;
                if let Some(open) = hidden.get_mut(start + from.min(to)..start + to) {
                    open.fill(0.0);
                }
            }
        }
    }
    let joined = |stored: &Tensor, own: &Tensor| {
        Tensor::cat(&[&stored.reshape((1, before, kv_heads, width))?.to_dtype(own.dtype())?, own], 1)
    };
    let hidden = Tensor::from_vec(hidden, (1, 1, reads, all), q.device())?;
    let scores = attention_scores(&q.reshape((1, reads, heads, width))?, &joined(keys, k)?)?;
    let pattern = composed::masked_softmax(&scores, how.scale, &hidden, how.softcap)?;
    attend(&pattern, &joined(values, v)?)?.reshape((reads, 1, heads, width))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, IndexOp};

    use super::super::attention;
    use super::*;

    fn random(shape: (usize, usize, usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1f32, shape, &Device::Cpu).expect("random")
    }

    fn apart(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_scalar()).expect("difference")
    }

    /// Each branch against one whole pass over the text that it ends.
    #[test]
    fn a_branch_is_the_end_of_the_text_through_it() {
        let (width, tokens) = (72, 40 + 3 + 2 + 5 + 1);
        let stored = [random((2, 30, 2, width)), random((2, 30, 2, width))];
        let (q, k, v) = (random((tokens, 1, 4, width)), random((1, tokens, 2, width)), random((1, tokens, 2, width)));
        let span = |start, tokens| Span { row: 1, start, tokens };
        let spans = [span(25, 40), span(65, 3), span(68, 2), span(65, 5), span(9, 1)];
        let parents = [None, Some(0), Some(1), Some(0), None];
        let own = [0..40, 40..43, 43..45, 45..50, 50..51];
        let paths: [&[usize]; 5] = [&[0], &[0, 1], &[0, 1, 2], &[0, 3], &[4]];
        let tree = Tree { spans: &spans, parents: &parents };
        let at: Vec<usize> = (0..tokens).collect();
        for (window, softcap) in [(None, None), (Some(20), Some(3.0)), (Some(1), None)] {
            let how = Attending { scale: 0.2, softcap, mask: CausalMask { offset: 0, window } };
            let z = tree_attention(&q, [&k, &v], &at, [&stored[0], &stored[1]], tree, how).expect("z");
            let plain = [q.clone(), k.clone(), v.clone(), stored[0].clone(), stored[1].clone()];
            let runs = tree.runs().expect("runs");
            let composed = masked(&plain, &asked(&spans, &at), &runs, &spans, how).expect("z");
            assert!(apart(&z, &composed) < 2e-5, "{window:?}: {}", apart(&z, &composed));
            for (branch, path) in paths.iter().enumerate() {
                let start = spans[path[0]].start;
                let whole = |stored: &Tensor, own_btgk: &Tensor| {
                    let mut parts = vec![stored.i((1..2, ..start)).expect("stored")];
                    parts.extend(path.iter().map(|part| own_btgk.i((.., own[*part].clone())).expect("own")));
                    Tensor::cat(&parts, 1).expect("text")
                };
                let queries = q.i(own[branch].clone()).expect("queries").transpose(0, 1).expect("row");
                let mask = CausalMask { offset: spans[branch].start, window };
                let expected = attention(
                    &queries.contiguous().expect("queries"),
                    &whole(&stored[0], &k),
                    &whole(&stored[1], &v),
                    Attending { mask, ..how },
                );
                let found = z.i(own[branch].clone()).expect("z").transpose(0, 1).expect("row");
                let apart = apart(&found, &expected.expect("whole text"));
                assert!(apart < 2e-5, "branch {branch}, window {window:?}: {apart}");
            }
            // A few queries in another order: the same bits.
            let few = [50, 44, 3, 41];
            let index = Tensor::new(few.map(|token| token as u32).as_slice(), &Device::Cpu).expect("index");
            let chosen = tree_attention(
                &q.index_select(&index, 0).expect("queries"),
                [&k, &v],
                &few,
                [&stored[0], &stored[1]],
                tree,
                how,
            );
            assert_eq!(apart(&chosen.expect("z"), &z.index_select(&index, 0).expect("z")), 0.0);
        }
        let behind = Tree { spans: &spans, parents: &[None, Some(2), Some(1), Some(0), None] };
        let how = Attending { scale: 0.2, softcap: None, mask: CausalMask::default() };
        assert!(tree_attention(&q, [&k, &v], &at, [&stored[0], &stored[1]], behind, how).is_err());
    }
}
