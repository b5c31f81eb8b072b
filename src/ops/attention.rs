//! Causal attention without a table of scores in memory: z = softmax(mask(scale·q kᵀ)) v, a head at a time.
//!
//! Queries are taken in blocks, and a block meets only the keys that some query of it sees, which halves the work of
//! a long sequence. The backward pass computes the probabilities again instead of storing them.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::CausalMask;
use super::matmul::{Matrix, Onto, Target, Threads, multiply, multiply_into};
use super::slices::{Plain, fits, of, output, tensor};
use super::softmax::{Keys, Scaling, softmax_gradient, softmax_rows};
use super::{causal_softmax, norm::tracked};

/// Queries of one block.
pub(super) const BLOCK: usize = 64;

/// Multiplications below which one thread does it all.
pub(super) const SERIAL: usize = 1 << 18;

/// How scores become probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attending {
    /// What scores are multiplied by.
    pub scale: f64,
    /// Scaled scores s become c·tanh(s/c).
    pub softcap: Option<f64>,
    /// Which keys a query sees.
    pub mask: CausalMask,
}

impl Attending {
    pub(super) fn scaling(&self) -> Scaling {
        Scaling { scale: self.scale as f32, softcap: self.softcap.map(|cap| cap as f32) }
    }
}

/// z `[b, t, h, k]` of queries `[b, t, h, k]`, keys and values `[b, s, g, k]`. Head i reads key head ⌊i·g/h⌋.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, how: Attending) -> Result<Tensor> {
    let (batch, queries, heads, width) = q.dims4()?;
    let (key_batch, keys, kv_heads, key_width) = k.dims4()?;
    let whole = kv_heads > 0 && heads % kv_heads == 0;
    if k.dims() != v.dims() || batch != key_batch || width != key_width || !whole {
        candle_core::bail!("attention of queries {:?}, keys {:?}, values {:?}", q.dims(), k.dims(), v.dims());
    }
    if !fits(&[q, k, v]) || q.elem_count() == 0 {
        return attend(&attention_pattern(q, k, how)?, v);
    }
    let sizes = Sizes { batch, queries, keys, heads, kv_heads, width, how };
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, Separate(sizes))
}

/// z `[b, t, h, k]` of one projection `[b, t, 3·h·k]` that holds all queries, then all keys, then all values.
pub fn fused_attention(qkv: &Tensor, heads: usize, how: Attending) -> Result<Tensor> {
    let (batch, tokens, columns) = qkv.dims3()?;
    if heads == 0 || columns % (3 * heads) != 0 {
        candle_core::bail!("a projection of {columns} columns holds no queries, keys and values of {heads} heads");
    }
    let width = columns / (3 * heads);
    if !fits(&[qkv]) || qkv.elem_count() == 0 {
        let part = |index: usize| {
            qkv.narrow(D::Minus1, index * heads * width, heads * width)?
                .contiguous()?
                .reshape((batch, tokens, heads, width))
        };
        return attention(&part(0)?, &part(1)?, &part(2)?, how);
    }
    let sizes = Sizes { batch, queries: tokens, keys: tokens, heads, kv_heads: heads, width, how };
    qkv.contiguous()?.apply_op1(Fused(sizes))
}

/// The probabilities `[b, h, t, s]` themselves, for those who want to read or write them.
pub fn attention_pattern(q: &Tensor, k: &Tensor, how: Attending) -> Result<Tensor> {
    causal_softmax(&attention_scores(q, k)?, how.scale, how.mask, how.softcap)
}

/// q kᵀ of every head, `[b, h, t, s]`.
pub(super) fn attention_scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (batch, queries, heads, width) = q.dims4()?;
    let (_, keys, kv_heads, _) = k.dims4()?;
    // The queries of the heads that share a key head stand one after another, so one product serves them all.
    let shared = (batch * kv_heads, heads / kv_heads.max(1) * queries, width);
    let q = q.transpose(1, 2)?.contiguous()?.reshape(shared)?;
    let k = k.transpose(1, 2)?.contiguous()?.reshape((batch * kv_heads, keys, width))?;
    q.matmul(&k.t()?)?.reshape((batch, heads, queries, keys))
}

/// z `[b, t, h, k]` of probabilities `[b, h, t, s]` and values `[b, s, g, k]`.
pub fn attend(pattern: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (batch, heads, queries, keys) = pattern.dims4()?;
    let (_, _, kv_heads, width) = v.dims4()?;
    let v = v.transpose(1, 2)?.contiguous()?.reshape((batch * kv_heads, keys, width))?;
    let pattern = pattern.contiguous()?.reshape((batch * kv_heads, heads / kv_heads.max(1) * queries, keys))?;
    pattern.matmul(&v)?.reshape((batch, heads, queries, width))?.transpose(1, 2)?.contiguous()
}

/// Where the vectors of a tensor stand: head h of token t of row b begins at `start + b·row + t·token + h·width`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    start: usize,
    row: usize,
    token: usize,
    width: usize,
}

impl Place {
    /// A tensor `[b, tokens, heads, width]` of its own.
    pub fn own(tokens: usize, heads: usize, width: usize) -> Self {
        Self { start: 0, row: tokens * heads * width, token: heads * width, width }
    }

    /// The vectors of one head at `tokens`.
    pub fn matrix(&self, row: usize, head: usize, tokens: std::ops::Range<usize>) -> Matrix {
        let offset = self.start + row * self.row + tokens.start * self.token + head * self.width;
        Matrix { offset, rows: tokens.len(), columns: self.width, row: self.token, column: 1 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    width: usize,
    how: Attending,
}

/// Values and where they stand.
type Input<'a> = (&'a [f32], Place);
type Output = (Target, Place);

impl Sizes {
    /// Where queries, keys and values stand in tensors of their own.
    fn separate(&self) -> [Place; 3] {
        let keys = Place::own(self.keys, self.kv_heads, self.width);
        [Place::own(self.queries, self.heads, self.width), keys, keys]
    }

    /// Where they stand in one projection.
    fn fused(&self) -> [Place; 3] {
        let part = self.heads * self.width;
        [0, 1, 2].map(|index| Place {
            start: index * part,
            row: self.keys * 3 * part,
            token: 3 * part,
            width: self.width,
        })
    }

    fn result(&self) -> (usize, usize, usize, usize) {
        (self.batch, self.queries, self.heads, self.width)
    }

    /// Runs the work of every row and key head, each a set of heads of its own.
    fn each(&self, work: impl Fn(usize, usize) + Sync) {
        let tasks = self.batch * self.kv_heads;
        let task = |task: usize| work(task / self.kv_heads, task % self.kv_heads);
        match self.batch * self.heads * self.queries * self.keys * self.width < SERIAL {
            true => (0..tasks).for_each(task),
            false => (0..tasks).into_par_iter().for_each(task),
        }
    }

    /// The query heads that read a key head.
    fn readers(&self, kv_head: usize) -> std::ops::Range<usize> {
        let each = self.heads / self.kv_heads;
        kv_head * each..(kv_head + 1) * each
    }

    /// Blocks of queries with the keys that some query of the block sees.
    fn blocks(&self) -> impl Iterator<Item = (std::ops::Range<usize>, Keys)> + '_ {
        (0..self.queries).step_by(BLOCK).map(|first| {
            let end = (first + BLOCK).min(self.queries);
            let from = self.how.mask.visible(first, self.keys).start;
            (first..end, Keys { from, to: self.how.mask.visible(end - 1, self.keys).end })
        })
    }

    /// The probabilities of a block in `scores`, a row a query.
    fn probabilities(&self, q: (&[f32], Matrix), k: (&[f32], Matrix), first: usize, keys: Keys, scores: &mut Vec<f32>) {
        scores.clear();
        scores.resize(q.1.rows * keys.len(), 0.0);
        let all = Matrix::dense(q.1.rows, keys.len());
        multiply((scores, all), q, (k.0, k.1.transposed()), 1.0, Onto::Overwrite, Threads::One);
        softmax_rows(scores, first, self.queries, keys, self.how.scaling(), self.how.mask);
    }

    fn forward(&self, [q, k, v]: [Input<'_>; 3]) -> Vec<f32> {
        let place = Place::own(self.queries, self.heads, self.width);
        let mut out = vec![0f32; self.batch * place.row];
        let target = Target::of(&mut out);
        self.each(|row, kv_head| {
            let mut scores = Vec::new();
            for head in self.readers(kv_head) {
                for (queries, keys) in self.blocks() {
                    let of_keys = |input: Input<'_>| input.1.matrix(row, kv_head, keys.from..keys.to);
                    let queried = (q.0, q.1.matrix(row, head, queries.clone()));
                    self.probabilities(queried, (k.0, of_keys(k)), queries.start, keys, &mut scores);
                    let all = Matrix::dense(queries.len(), keys.len());
                    let z = (target, place.matrix(row, head, queries));
                    multiply_into(z, (&scores, all), (v.0, of_keys(v)), 1.0, Onto::Overwrite, Threads::One);
                }
            }
        });
        out
    }

    /// With P the probabilities: dP = dZ Vᵀ, dS = softmax'(P, dP), dQ = dS K, dK = Σ dSᵀ Q, dV = Σ Pᵀ dZ, the sums over
    /// the query heads that share a key head. The outputs are zero before.
    fn backward(&self, [q, k, v]: [Input<'_>; 3], grad: &[f32], [dq, dk, dv]: [Output; 3]) {
        let place = Place::own(self.queries, self.heads, self.width);
        self.each(|row, kv_head| {
            let (mut pattern, mut slopes, mut scores) = (Vec::new(), Vec::new(), Vec::new());
            for head in self.readers(kv_head) {
                for (queries, keys) in self.blocks() {
                    let of_keys = |place: Place| place.matrix(row, kv_head, keys.from..keys.to);
                    let of_queries = |place: Place| place.matrix(row, head, queries.clone());
                    let all = Matrix::dense(queries.len(), keys.len());
                    let (queried, keyed) = ((q.0, of_queries(q.1)), (k.0, of_keys(k.1)));
                    self.probabilities(queried, keyed, queries.start, keys, &mut pattern);
                    slopes.clear();
                    slopes.resize(pattern.len(), 0.0);
                    let dz = (grad, of_queries(place));
                    let back = (v.0, of_keys(v.1).transposed());
                    multiply((&mut slopes, all), dz, back, 1.0, Onto::Overwrite, Threads::One);
                    if self.how.softcap.is_some() {
                        scores.clear();
                        scores.resize(pattern.len(), 0.0);
                        let back = (k.0, keyed.1.transposed());
                        multiply((&mut scores, all), queried, back, 1.0, Onto::Overwrite, Threads::One);
                    }
                    softmax_gradient(&pattern, &scores, &mut slopes, keys.len(), self.how.scaling());
                    let (slope, weight) = ((&*slopes, all), (&*pattern, all.transposed()));
                    multiply_into((dq.0, of_queries(dq.1)), slope, keyed, 1.0, Onto::Overwrite, Threads::One);
                    let slope = (slope.0, all.transposed());
                    multiply_into((dk.0, of_keys(dk.1)), slope, queried, 1.0, Onto::Add, Threads::One);
                    multiply_into((dv.0, of_keys(dv.1)), weight, dz, 1.0, Onto::Add, Threads::One);
                }
            }
        });
    }
}

struct Separate(Sizes);

impl CustomOp3 for Separate {
    fn name(&self) -> &'static str {
        "attention"
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
        let [q_place, k_place, v_place] = self.0.separate();
        let inputs = [(of(q, q_at)?, q_place), (of(k, k_at)?, k_place), (of(v, v_at)?, v_place)];
        output(self.0.forward(inputs), self.0.result())
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let plain = [Plain::new(q)?, Plain::new(k)?, Plain::new(v)?];
        let [q_plain, k_plain, v_plain] = &plain;
        let (qs, ks, vs) = (q_plain.values()?, k_plain.values()?, v_plain.values()?);
        let grad = Plain::new(grad)?;
        let [q_place, k_place, v_place] = self.0.separate();
        let (mut dq, mut dk, mut dv) = (vec![0f32; qs.len()], vec![0f32; ks.len()], vec![0f32; vs.len()]);
        let outputs = [(Target::of(&mut dq), q_place), (Target::of(&mut dk), k_place), (Target::of(&mut dv), v_place)];
        self.0.backward([(&qs, q_place), (&ks, k_place), (&vs, v_place)], &grad.values()?, outputs);
        let wanted = |of: &Tensor, values: Vec<f32>| tracked(of, || tensor(values, of.shape()));
        Ok((wanted(q, dq)?, wanted(k, dk)?, wanted(v, dv)?))
    }
}

struct Fused(Sizes);

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "fused_attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = of(qkv, at)?;
        output(self.0.forward(self.0.fused().map(|place| (values, place))), self.0.result())
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (plain, grad) = (Plain::new(qkv)?, Plain::new(grad)?);
        let values = plain.values()?;
        let mut out = vec![0f32; values.len()];
        let target = Target::of(&mut out);
        let places = self.0.fused();
        self.0.backward(places.map(|place| (&*values, place)), &grad.values()?, places.map(|place| (target, place)));
        tensor(out, qkv.shape()).map(Some)
    }
}
