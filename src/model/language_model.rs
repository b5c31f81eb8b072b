//! A language model: its architecture, tensors, tokenizer and decoder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::adapter::Adapter;
use super::architecture::{Architecture, Dimension};
use super::attention::{Branching, Keep};
use super::base_type::BaseType;
use super::block::Adding;
use super::cache::{Kept, KeyValueCache};
use super::decoder::{Decoder, Pass, Prefix, Readout, Start};
use super::error::ModelError;
use super::family::{self, Blueprint};
use super::format::{self, Source, TokenizerFiles};
use super::hook::{HookPoint, Hooks, NoHooks};
use super::layout::{BlockLayout, Layout};
use super::stream_maps::StreamMaps;
use super::text::TextTokenizer;
use super::weights::{self, Weights};
use crate::base::Digest;
use crate::base::digest::Hasher;
use crate::ops::{self, Likelihoods, PackedWeight, Span, Stand, WeightLayout};

/// Where and as what weights are held.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device.
    pub device: Device,
    /// The type that is computed in; `F32` on a CPU.
    pub dtype: DType,
    /// The type that matrices are kept in.
    pub base: BaseType,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { device: Device::Cpu, dtype: DType::F32, base: BaseType::Compute }
    }
}

/// One linear layer, as adapters name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearModule {
    /// The module's path in the reference implementation, such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Width of its input.
    pub in_features: usize,
    /// Width of its output.
    pub out_features: usize,
    /// Whether its weight is stored `[in, out]`.
    pub conv1d: bool,
    /// Whether it is the head.
    pub is_output_embedding: bool,
}

/// The branches of a pass over a tree of texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TreePass<'a> {
    /// The tokens of all branches, one branch behind the other.
    pub ids: &'a [u32],
    /// The stored row that each begins in, its first position, and its tokens.
    pub spans: &'a [Span],
    /// The branch behind whose end each begins; behind stored positions where there is none.
    pub parents: &'a [Option<usize>],
    /// What is stored.
    pub kept: &'a [Kept],
}

/// A loaded model. A clone shares every tensor.
#[derive(Clone)]
pub struct LanguageModel {
    shared: Arc<Shared>,
    decoder: Decoder,
}

struct Shared {
    architecture: Arc<Architecture>,
    layout: Layout,
    tensors: BTreeMap<String, Tensor>,
    packed: BTreeMap<String, PackedWeight>,
    tokenizer: Option<TextTokenizer>,
    digest: Digest,
}

impl LanguageModel {
    /// Loads a checkpoint: a folder as Hugging Face lays it out (safetensors or PyTorch weights, single or sharded), a
    /// GGUF file, or a llama2.c file. Tensors are read one by one from mapped files and turned into `options.dtype`.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, ModelError> {
        Self::from_source(format::open(path)?, options)
    }

    /// The model inside the program, read like any other.
    pub fn embedded(device: &Device) -> Result<Self, ModelError> {
        Self::from_source(format::embedded_source()?, &LoadOptions { device: device.clone(), ..LoadOptions::default() })
    }

    pub(crate) fn from_source(source: Source, options: &LoadOptions) -> Result<Self, ModelError> {
        let blueprint = family::read(&source.config)?;
        let tokenizer = source.tokenizer.as_ref().map(TokenizerFiles::build).transpose()?;
        let weights = weights::read(source.tensors, &blueprint.layout, options)?;
        Self::assemble(blueprint, weights, tokenizer)
    }

    /// A model from tensors under their Hugging Face names. A tensor that is a variable stays one: gradients reach it,
    /// and what is set later is seen.
    pub fn from_parts(
        config: &Value,
        tensors: BTreeMap<String, Tensor>,
        tokenizer: Option<TextTokenizer>,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let blueprint = family::read(config)?;
        let assigned = blueprint.layout.assign(tensors, |tensor| tensor.dims().to_vec())?;
        let embedding = assigned.weights.get(&blueprint.layout.embedding.0);
        if let (Some(head), Some(embedding)) = (&assigned.tied_head, embedding)
            && contents(head)? != contents(embedding)?
        {
            return Err(weights::tied_differ(&blueprint.layout));
        }
        if let Some((name, _)) = assigned.weights.iter().find(|(_, tensor)| !tensor.device().same_device(device)) {
            return Err(ModelError::Request(format!("tensor {name} is on another device than the model")));
        }
        let weights = Weights { tensors: assigned.weights, packed: BTreeMap::new() };
        Self::assemble(blueprint, weights, tokenizer)
    }

    fn assemble(blueprint: Blueprint, weights: Weights, tokenizer: Option<TextTokenizer>) -> Result<Self, ModelError> {
        let Weights { mut tensors, packed } = weights;
        let Blueprint { architecture, layout } = blueprint;
        let tokenizer =
            tokenizer.map(|tokenizer| tokenizer.with_fallback(architecture.bos, architecture.eos.first().copied()));
        let rows = architecture.vocab_size;
        if let Some(largest) = tokenizer.as_ref().and_then(TextTokenizer::largest_id).filter(|id| *id as usize >= rows)
        {
            return Err(ModelError::VocabularyMismatch { largest, rows });
        }
        let digest = digest(&architecture, &tensors, &packed)?;
        let architecture = Arc::new(architecture);
        for place in layout.blocks.iter().flat_map(BlockLayout::linears) {
            if let Some(weight) = tensors.get_mut(&format!("{}.weight", place.module))
                && place.layout == WeightLayout::OutIn
                && !weight.is_variable()
                && !weight.track_op()
            {
                *weight = ops::stored_by_column(weight)?;
            }
        }
        // What is packed lends the decoder its shape alone while that is put together.
        for (name, packed) in &packed {
            let shape = Tensor::zeros((1, 1), DType::F32, &Device::Cpu)?.broadcast_as(packed.dims())?;
            tensors.insert(name.clone(), shape);
        }
        let mut decoder = Decoder::new(&architecture, &layout, &tensors)?;
        decoder.pack(&layout, &packed);
        tensors.retain(|name, _| !packed.contains_key(name));
        Ok(Self { shared: Arc::new(Shared { architecture, layout, tensors, packed, tokenizer, digest }), decoder })
    }

    /// Refuses weights that are NaN or infinite, by the tensor's name.
    pub fn check_finite(&self) -> Result<(), ModelError> {
        self.tensors().iter().try_for_each(|(name, tensor)| format::write::check_finite(name, tensor))
    }

    /// Sizes and choices.
    pub fn architecture(&self) -> &Architecture {
        &self.shared.architecture
    }

    /// The tokenizer, or an error where the checkpoint has none.
    pub fn tokenizer(&self) -> Result<&TextTokenizer, ModelError> {
        self.shared.tokenizer.as_ref().ok_or(ModelError::NoTokenizer)
    }

    /// This model with its prompts as turns of a conversation, by the checkpoint's own chat template, behind a message
    /// of the system where one is given. Weights are shared.
    pub fn with_chat_frame(&self, system: Option<&str>) -> Result<Self, ModelError> {
        let Shared { architecture, layout, tensors, packed, digest, .. } = self.shared.as_ref();
        let shared = Shared {
            architecture: architecture.clone(),
            layout: layout.clone(),
            tensors: tensors.clone(),
            packed: packed.clone(),
            tokenizer: Some(self.tokenizer()?.with_chat_frame(system)?),
            digest: digest.clone(),
        };
        Ok(Self { shared: Arc::new(shared), decoder: self.decoder.clone() })
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        self.decoder.device()
    }

    /// The type that a pass computes in.
    pub fn dtype(&self) -> DType {
        self.decoder.dtype()
    }

    /// What a pass is computed in and matrices are kept in, such as `F32` or `F32 over Q8_0`: with the digest, what numbers
    /// hang on.
    pub fn precision(&self) -> String {
        let kinds: BTreeSet<String> =
            self.shared.packed.values().map(|packed| format!("{:?}", packed.kind())).collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        match kinds.is_empty() {
            true => format!("{:?}", self.dtype()),
            false => format!("{:?} over {}", self.dtype(), kinds.join(", ")),
        }
    }

    /// The digest of architecture and weights as they were when the model was made, adapters left out.
    pub fn digest(&self) -> &Digest {
        &self.shared.digest
    }

    /// Number of weights, adapters left out; a tied head counts once.
    pub fn parameter_count(&self) -> usize {
        let packed = self.shared.packed.values().map(|packed| packed.dims().0 * packed.dims().1);
        self.tensors().values().map(Tensor::elem_count).chain(packed).sum()
    }

    /// The hook points in the order of a pass.
    pub fn hook_points(&self) -> Vec<HookPoint> {
        self.architecture().hook_points()
    }

    /// The shape at a hook point.
    pub fn hook_shape(&self, point: HookPoint) -> Vec<Dimension> {
        self.architecture().hook_shape(point)
    }

    /// The weights by their Hugging Face names; a tied head is not among them, and what is kept in fewer bits
    /// ([`BaseType`]) is not either.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.shared.tensors
    }

    /// Runs token ids `[b, t]` (u32) and reads out logits: `[b, t, v]` for [`Readout::All`], `[n, v]` for rows.
    ///
    /// Rows of unequal length are padded at their right end with any token: attention is causal, so padding never
    /// reaches an earlier position.
    pub fn forward(&self, ids_bt: &Tensor, readout: Readout<'_>, hooks: &mut dyn Hooks) -> Result<Tensor, ModelError> {
        self.resume(Start::Tokens(ids_bt), None, readout, hooks)
    }

    /// A cache for `rows` texts of up to `capacity` tokens each, empty.
    pub fn cache(&self, rows: usize, capacity: usize) -> Result<KeyValueCache, ModelError> {
        let capacity = capacity.min(self.architecture().max_positions);
        KeyValueCache::new(self.architecture(), rows, capacity, self.decoder.dtype(), self.device())
    }

    /// Whether keys and values that were stored for a text of `stored` tokens serve it when it has `total`: false
    /// where its rotary frequencies depend on the length, and change between the two.
    pub fn cache_serves(&self, stored: usize, total: usize) -> bool {
        stored == 0 || self.decoder.turned_alike(stored, total)
    }

    /// Runs tokens behind what is stored, and stores their keys and values too. Rows are padded at their right end; a
    /// span says where each belongs. Positions of the readout count from a row's own first token. Cost: one pass over
    /// the new tokens alone.
    pub fn extend(
        &self,
        cache: &mut KeyValueCache,
        ids_bt: &Tensor,
        spans: &[Span],
        readout: Readout<'_>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor, ModelError> {
        cache.check_append(spans)?;
        let pass = Pass {
            start: Start::Tokens(ids_bt),
            prefix: Some(Prefix { cache, spans, stand: Stand::Below }),
            tree: None,
            keep: Keep::Stored,
        };
        let logits = self.run(pass, readout, hooks)?;
        cache.appended(spans);
        Ok(logits)
    }

    /// Runs a pass over a tree of texts whose branches stand one behind the other, and reads out ln p of (number of the
    /// read, token) picks and the most likely token of each read; reads are tokens of the pass. What is kept of it is
    /// stored. Cost: one pass over the branches' tokens.
    pub(crate) fn grow(
        &self,
        cache: &mut KeyValueCache,
        pass: TreePass<'_>,
        reads: &[usize],
        picks: &[(usize, u32)],
    ) -> Result<Likelihoods, ModelError> {
        let TreePass { ids, spans, parents, kept } = pass;
        let limit = self.architecture().max_positions;
        let end = spans.iter().map(|span| span.start + span.tokens).max().unwrap_or(0);
        if ids.is_empty() || end > limit {
            return Err(ModelError::Request(format!("a row of {end} tokens; this model takes 1 to {limit}")));
        }
        let vocab = self.architecture().vocab_size;
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
            return Err(ModelError::Request(format!("token {id} is not in the vocabulary of {vocab}")));
        }
        cache.check_tree(spans, parents, kept)?;
        let ids_bt = Tensor::from_slice(ids, (1, ids.len()), self.device())?;
        let pass = Pass {
            start: Start::Tokens(&ids_bt),
            prefix: Some(Prefix { cache, spans, stand: Stand::Behind }),
            tree: Some(Branching { parents, kept }),
            keep: Keep::Nothing,
        };
        // A pass of which nothing is read is read at one position, so that the last block runs there alone.
        let reads = if reads.is_empty() { &[0] } else { reads };
        let rows: Vec<(usize, usize)> = reads.iter().map(|token| (0, *token)).collect();
        let found = self.decoder.likelihoods(pass, &rows, picks, &mut NoHooks)?;
        cache.kept(kept);
        Ok(found)
    }

    /// Runs a pass that begins at tokens or at a block's input, behind stored positions where there are any, and stores
    /// nothing. Positions of the readout count from a row's own first token.
    pub fn resume(
        &self,
        start: Start<'_>,
        prefix: Option<Prefix<'_>>,
        readout: Readout<'_>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor, ModelError> {
        if let Some(Prefix { cache, spans, .. }) = prefix {
            cache.check(spans)?;
        }
        self.run(Pass { start, prefix, tree: None, keep: Keep::Nothing }, readout, hooks)
    }

    fn run(&self, pass: Pass<'_>, readout: Readout<'_>, hooks: &mut dyn Hooks) -> Result<Tensor, ModelError> {
        let limit = self.architecture().max_positions;
        let (batch, tokens) = match (pass.start, pass.start.stream()) {
            (Start::Tokens(ids_bt), _) => ids_bt.dims2()?,
            (start, stream) => {
                let (batch, tokens, width) = stream.map_or(Ok((0, 0, 0)), |resid_btd| resid_btd.dims3())?;
                let (layers, d_model) = (self.architecture().n_layers, self.architecture().d_model);
                let layer = start.layer();
                if layer > layers || width != d_model {
                    return Err(ModelError::Request(format!(
                        "a stream of width {width} before block {layer}; this model has {layers} blocks of width {d_model}"
                    )));
                }
                (batch, tokens)
            }
        };
        let end = match pass.prefix {
            None => tokens,
            Some(prefix) if prefix.stand == Stand::Below && prefix.spans.len() != batch => {
                return Err(ModelError::Request(format!("{} spans for {batch} rows", prefix.spans.len())));
            }
            Some(prefix)
                if prefix.stand == Stand::Behind
                    && (batch, tokens) != (1, prefix.spans.iter().map(|span| span.tokens).sum()) =>
            {
                let rows = prefix.spans.len();
                return Err(ModelError::Request(format!(
                    "{rows} rows that stand behind each other in [{batch}, {tokens}]"
                )));
            }
            Some(prefix) => prefix.spans.iter().map(|span| span.start + span.tokens).max().unwrap_or(0),
        };
        if tokens == 0 || end > limit {
            return Err(ModelError::Request(format!("a row of {end} tokens; this model takes 1 to {limit}")));
        }
        let changed = |span: &Span| !self.cache_serves(span.start, span.start + span.tokens);
        if let Some(span) = pass.prefix.and_then(|prefix| prefix.spans.iter().copied().find(changed)) {
            return Err(ModelError::Request(format!(
                "this model turns texts of {} tokens otherwise than those of {}: run the whole text again",
                span.start + span.tokens,
                span.start
            )));
        }
        Ok(self.decoder.forward(pass, readout, hooks)?)
    }

    /// What the heads of a block read from the stream and write to it, as linear maps. Weights that are held in the
    /// layout of a fused or transposed projection are copied; adapters are merged in.
    pub fn stream_maps(&self, layer: usize) -> Result<StreamMaps, ModelError> {
        Ok(self.decoder.stream_maps(layer)?)
    }

    /// What a unit of each head or neuron of a block adds to the stream, as rows `[h·k, d]` or `[m, d]`: adapters merged
    /// in, without a gradient, the matrix copied. `None` where a norm stands behind, or the MLP is a mixture.
    pub fn adding(&self, layer: usize, part: Adding) -> Result<Option<Tensor>, ModelError> {
        Ok(self.decoder.adding(layer, part)?)
    }

    /// Whether [`LanguageModel::adding`] is there in every block.
    pub fn adds_linearly(&self, part: Adding) -> bool {
        self.decoder.adds_linearly(part)
    }

    /// Every linear layer of the blocks, and the head.
    pub fn linear_modules(&self) -> Vec<LinearModule> {
        let layout = &self.shared.layout;
        let places = layout.blocks.iter().flat_map(BlockLayout::linears).chain([&layout.head]);
        let module = |place: &super::layout::LinearPlace| LinearModule {
            name: place.module.clone(),
            in_features: place.inputs,
            out_features: place.outputs,
            conv1d: place.layout == WeightLayout::InOut,
            is_output_embedding: place == &layout.head,
        };
        places.map(module).collect()
    }

    /// This model with an adapter on top: y = W x + b + s·B(A x). Weights are shared; an adapter whose factors are
    /// variables stays trainable, and what is set on them later is seen.
    pub fn with_adapter(&self, adapter: &Adapter) -> Result<Self, ModelError> {
        let mut adapted = self.clone();
        for (module, lora) in adapter.updates(&self.linear_modules())? {
            adapted.decoder.attach(module, lora.clone())?;
        }
        for (name, tensor) in adapter.replaced() {
            adapted.decoder.replace(&self.shared.layout, name, tensor)?;
        }
        Ok(adapted)
    }

    /// Whether the rows of a batch go through adapters that were chosen for them.
    pub(crate) fn is_routed(&self) -> bool {
        self.decoder.is_routed()
    }

    pub(crate) fn decoder_mut(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// The same architecture and tokenizer with other weights, under a digest of their own.
    pub(crate) fn with_tensors(
        &self,
        tensors: BTreeMap<String, Tensor>,
        architecture: Architecture,
        layout: Layout,
    ) -> Result<Self, ModelError> {
        let weights = Weights { tensors, packed: BTreeMap::new() };
        Self::assemble(Blueprint { architecture, layout }, weights, self.shared.tokenizer.clone())
    }
}

fn contents(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

/// The digest of a model in single precision, in the order of the tensors' names, however it is kept.
fn digest(
    architecture: &Architecture,
    tensors: &BTreeMap<String, Tensor>,
    packed: &BTreeMap<String, PackedWeight>,
) -> Result<Digest, ModelError> {
    let mut hasher = Hasher::default();
    let json = serde_json::to_vec(architecture).map_err(|error| ModelError::Request(error.to_string()))?;
    hasher.part("architecture", &json);
    // A part at a time: a checkpoint is not copied to be digested.
    const PART: usize = 1 << 20;
    let mut bytes = Vec::new();
    let mut add = |hasher: &mut Hasher, part: &Tensor| -> Result<(), ModelError> {
        bytes.clear();
        bytes.extend(contents(part)?.into_iter().flat_map(f32::to_le_bytes));
        hasher.update(&bytes);
        Ok(())
    };
    let names: BTreeSet<&String> = tensors.keys().chain(packed.keys()).collect();
    for name in names {
        if let Some(tensor) = tensors.get(name) {
            let all = tensor.detach().flatten_all()?;
            hasher.begin(name, 4 * all.elem_count() as u64);
            for start in (0..all.elem_count()).step_by(PART) {
                add(&mut hasher, &all.narrow(0, start, PART.min(all.elem_count() - start))?)?;
            }
        } else if let Some(packed) = packed.get(name) {
            hasher.begin(name, 4 * (packed.dims().0 * packed.dims().1) as u64);
            packed.widened().try_for_each(|run| add(&mut hasher, &run?))?;
        }
    }
    Ok(hasher.finish())
}
