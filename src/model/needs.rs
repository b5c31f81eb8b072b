//! What a job on a model will need, from its config and the size of its files alone.
//!
//! Memory is the weights as they are kept, and what one batch holds at its widest point: a pass that is not trained
//! holds the stream, one block's inner values and the logits that are read; a trained one holds every block's
//! (`docs/performance.md` sets both beside measured peaks). Time is the number of floating-point operations over the
//! speed that a caller has measured. Both are estimates, good to about a third.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use serde::Serialize;
use serde_json::Value;

use super::architecture::Architecture;
use super::base_type::BaseType;
use super::error::ModelError;
use super::family::{self, Blueprint};
use super::format;
use crate::base::files;

/// A model that has not been loaded.
#[derive(Debug, Clone)]
pub struct Outline {
    architecture: Architecture,
    /// Every matrix that may be packed.
    matrices: Vec<Matrix>,
    /// Numbers of what may not.
    others: usize,
}

#[derive(Debug, Clone, Copy)]
struct Matrix {
    rows: usize,
    columns: usize,
    /// The type of the file, where it is narrow.
    stored: Option<GgmlDType>,
}

/// What is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Rows of a batch.
    pub rows: usize,
    /// Tokens of a row, new ones included.
    pub tokens: usize,
    /// Positions of a batch whose logits are read at once.
    pub read: usize,
    /// Tokens that are run in all.
    pub total_tokens: usize,
    /// What is kept beside the pass.
    pub kind: JobKind,
}

/// What a pass keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Nothing: scoring, patching.
    Score,
    /// Keys and values.
    Generate,
    /// All that the backward pass needs.
    Train,
}

/// What a job needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Needs {
    /// Bytes of the weights.
    pub weights: u64,
    /// Bytes of a batch at its widest point.
    pub batch: u64,
    /// Floating-point operations in all.
    pub operations: f64,
}

impl Needs {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.weights + self.batch
    }
}

impl Outline {
    /// Reads a checkpoint's config and the headers of its files; a folder without weights is taken to be in f32.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let source = match format::open(path) {
            Ok(source) => source,
            Err(ModelError::NoWeights { .. }) => return Self::new(&files::read_json(&path.join("config.json"))?),
            Err(other) => return Err(other),
        };
        let blueprint = family::read(&source.config)?;
        let narrow = blueprint.layout.assign(source.tensors, |stored| stored.shape().to_vec())?.weights;
        let narrow = narrow.into_iter().filter_map(|(name, stored)| Some((name, stored.narrow()?))).collect();
        Ok(Self::build(blueprint, &narrow))
    }

    /// The outline of a config, its weights in f32.
    pub fn new(config: &Value) -> Result<Self, ModelError> {
        Ok(Self::build(family::read(config)?, &BTreeMap::new()))
    }

    fn build(blueprint: Blueprint, narrow: &BTreeMap<String, GgmlDType>) -> Self {
        let packable = blueprint.layout.matrices();
        let (mut matrices, mut others) = (Vec::new(), 0);
        for (name, shape) in blueprint.layout.tensors() {
            match shape.as_slice() {
                [rows, columns] if packable.contains(&name) => {
                    matrices.push(Matrix { rows: *rows, columns: *columns, stored: narrow.get(&name).copied() });
                }
                shape => others += shape.iter().product::<usize>(),
            }
        }
        Self { architecture: blueprint.architecture, matrices, others }
    }

    /// Sizes and choices.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.matrices.iter().map(|matrix| matrix.rows * matrix.columns).sum::<usize>() + self.others
    }

    /// Bytes of the weights in memory.
    pub fn weights(&self, base: BaseType) -> u64 {
        let bytes = |matrix: &Matrix| (matrix.rows * matrix.columns) as f64 * base.bytes(matrix.stored, matrix.columns);
        self.matrices.iter().map(bytes).sum::<f64>() as u64 + 4 * self.others as u64
    }

    /// What a job needs.
    pub fn needs(&self, job: Job, base: BaseType) -> Needs {
        let a = &self.architecture;
        let (tokens, length) = ((job.rows * job.tokens) as u64, job.tokens as u64);
        let [d, m, h, g, k] = [a.d_model, a.d_mlp, a.n_heads, a.n_kv_heads, a.head_dim].map(|size| size as u64);
        let attention = d + 2 * h * k + 2 * g * k;
        let logits = (job.read * a.vocab_size) as u64;
        let layers = a.n_layers as u64;
        let batch = match job.kind {
            JobKind::Score => tokens * (3 * d + attention.max(3 * m)) + logits,
            JobKind::Generate => tokens * (3 * d + attention.max(3 * m) + 2 * layers * g * k) + logits,
            // A block keeps its two normed inputs, its sums, queries to z, and gate, up and product; the gradients of
            // one block and of the logits come on top.
            JobKind::Train => tokens * (layers * (5 * d + attention + 3 * m) + 2 * (attention + 3 * m)) + 2 * logits,
        };
        // Measured peaks of training lie about a fifth above what its tensors come to.
        let batch = if job.kind == JobKind::Train { batch * 6 / 5 } else { batch };
        let inner: u64 = self.matrices.iter().map(|matrix| (matrix.rows * matrix.columns) as u64).sum();
        let embedding = (a.vocab_size * a.d_model) as u64;
        // The embedding is looked up; as a head it multiplies the positions that are read.
        let blocks = inner - if a.tied_head { embedding } else { 2 * embedding }.min(inner);
        let total = job.total_tokens as f64;
        let read = total * job.read as f64 / (tokens as f64).max(1.0);
        let scores = 2.0 * total * (layers * h * k * length) as f64;
        let passes = if job.kind == JobKind::Train { 3.0 } else { 1.0 };
        let operations = passes * (2.0 * total * blocks as f64 + 2.0 * read * embedding as f64 + scores);
        Needs { weights: self.weights(base), batch: 4 * batch, operations }
    }

    /// What to change so that a job fits into `bytes`: a narrower base, fewer rows, or both; none where neither does.
    pub fn fitting(&self, job: Job, base: BaseType, bytes: u64) -> Option<(BaseType, usize)> {
        let here = self.weights(base);
        let narrower = BaseType::NARROWER.into_iter().filter(|other| self.weights(*other) < here);
        let bases: Vec<BaseType> = std::iter::once(base).chain(narrower).collect();
        let rows = |share: usize| {
            let rows = (job.rows / share).max(1);
            Job { rows, read: (job.read * rows).div_ceil(job.rows.max(1)), ..job }
        };
        let halves = (0..usize::BITS).map(|power| 1usize << power).take_while(|share| *share <= job.rows.max(1));
        let mut ways = halves.flat_map(|share| bases.iter().map(move |base| (share, *base)));
        ways.find(|(share, base)| self.needs(rows(*share), *base).bytes() <= bytes)
            .map(|(share, base)| (base, rows(share).rows))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gpt2() -> Outline {
        let config = json!({
            "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5
        });
        Outline::new(&config).expect("outline")
    }

    #[test]
    fn counts_are_the_models() {
        let outline = gpt2();
        // 124,439,808 parameters, as everybody counts them.
        assert_eq!(outline.parameters(), 124_439_808);
        assert_eq!(outline.weights(BaseType::Compute), 4 * 124_439_808);
        assert_eq!(outline.weights(BaseType::Stored), 4 * 124_439_808, "a file of four bytes a number");
        let half: BaseType = "bf16".parse().expect("type");
        assert!(outline.weights(half) < 2 * 124_439_808 + 4 * 1_000_000);
        let job = Job { rows: 8, tokens: 128, read: 8 * 128, total_tokens: 1024, kind: JobKind::Score };
        let needs = outline.needs(job, BaseType::Compute);
        // 2 · tokens · (85 M in blocks + 38.6 M of the head), and attention.
        let expected = 2.0 * 1024.0 * (84_934_656.0 + 38_597_376.0) + 2.0 * 1024.0 * 12.0 * 768.0 * 128.0;
        assert!((needs.operations / expected - 1.0).abs() < 0.01, "{} {expected}", needs.operations);
        let logits = 4 * 1024 * 50257;
        assert!(needs.batch > logits && needs.batch < 2 * logits);
        let trained = outline.needs(Job { kind: JobKind::Train, ..job }, BaseType::Compute);
        assert!(trained.operations > 2.9 * needs.operations && trained.batch > 3 * needs.batch);
    }

    #[test]
    fn what_does_not_fit_is_told_what_does() {
        let outline = gpt2();
        let job = Job { rows: 64, tokens: 1024, read: 64, total_tokens: 1 << 20, kind: JobKind::Train };
        let whole = outline.needs(job, BaseType::Compute).bytes();
        assert_eq!(outline.fitting(job, BaseType::Compute, whole), Some((BaseType::Compute, 64)));
        let (base, rows) = outline.fitting(job, BaseType::Compute, whole / 3).expect("a way");
        assert!(rows < 64 && outline.needs(Job { rows, read: rows, ..job }, base).bytes() <= whole / 3);
        assert_eq!(outline.fitting(job, BaseType::Compute, 10 << 20), None, "not even one row");
        let score = Job { rows: 1, tokens: 8, read: 1, total_tokens: 8, kind: JobKind::Score };
        let (base, rows) = outline.fitting(score, BaseType::Compute, 300 << 20).expect("a way");
        assert_eq!((base.to_string().as_str(), rows), ("bf16", 1), "the widest type that fits");
    }
}
