//! Where each weight of a decoder has its place: Hugging Face module paths, shapes, and what a family does with them.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::error::ModelError;
use crate::ops::WeightLayout;

/// One linear layer in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinearPlace {
    pub module: String,
    pub inputs: usize,
    pub outputs: usize,
    pub bias: bool,
    pub layout: WeightLayout,
}

impl LinearPlace {
    pub fn new(module: impl Into<String>, inputs: usize, outputs: usize, bias: bool) -> Self {
        Self { module: module.into(), inputs, outputs, bias, layout: WeightLayout::OutIn }
    }

    /// The same place with its weight stored `[in, out]`.
    pub fn conv1d(self) -> Self {
        Self { layout: WeightLayout::InOut, ..self }
    }

    fn weight_shape(&self) -> Vec<usize> {
        match self.layout {
            WeightLayout::OutIn => vec![self.outputs, self.inputs],
            WeightLayout::InOut => vec![self.inputs, self.outputs],
        }
    }
}

/// One norm in the checkpoint: a gain, and a bias in some families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NormPlace {
    pub module: String,
    pub width: usize,
    pub bias: bool,
    /// Where each head has a gain of its own, their number.
    pub heads: Option<usize>,
}

impl NormPlace {
    pub fn new(module: impl Into<String>, width: usize, bias: bool) -> Self {
        Self { module: module.into(), width, bias, heads: None }
    }

    fn shape(&self) -> Vec<usize> {
        self.heads.into_iter().chain([self.width]).collect()
    }
}

/// Where queries, keys and values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AttentionInput {
    Separate {
        q: LinearPlace,
        k: LinearPlace,
        v: LinearPlace,
    },
    /// One projection for all three.
    Fused(LinearPlace, FusedOrder),
}

/// What stands where in a fused projection of queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FusedOrder {
    /// All queries, all keys, all values.
    Blocks,
    /// The queries that read the first key head, that key and its value; then those of the second, and so on.
    Groups,
}

/// The weights of an MLP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MlpLayout {
    /// down act(up x).
    Plain { up: LinearPlace, down: LinearPlace },
    /// down (act(gate x) · up x).
    Gated { gate: LinearPlace, up: LinearPlace, down: LinearPlace },
    /// The same with one projection, all gates before all ups.
    GatedFused { gate_up: LinearPlace, down: LinearPlace },
    /// Gated MLPs of which a router chooses some for each token.
    Experts { router: LinearPlace, experts: Vec<ExpertLayout> },
}

/// The weights of one expert: down (act(gate x) · up x).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpertLayout {
    pub gate: LinearPlace,
    pub up: LinearPlace,
    pub down: LinearPlace,
}

impl MlpLayout {
    fn linears(&self) -> Vec<&LinearPlace> {
        match self {
            MlpLayout::Plain { up, down } => vec![up, down],
            MlpLayout::Gated { gate, up, down } => vec![gate, up, down],
            MlpLayout::GatedFused { gate_up, down } => vec![gate_up, down],
            MlpLayout::Experts { router, experts } => {
                let experts = experts.iter().flat_map(|ExpertLayout { gate, up, down }| [gate, up, down]);
                [router].into_iter().chain(experts).collect()
            }
        }
    }
}

/// The weights of one block. A norm that a family does not have is `None`, which is also how pre-, post- and
/// sandwich-norm families differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockLayout {
    pub attention_in_norm: Option<NormPlace>,
    pub attention_out_norm: Option<NormPlace>,
    pub mlp_in_norm: Option<NormPlace>,
    pub mlp_out_norm: Option<NormPlace>,
    pub attention: AttentionInput,
    pub q_norm: Option<NormPlace>,
    pub k_norm: Option<NormPlace>,
    pub attention_out: LinearPlace,
    pub mlp: MlpLayout,
}

/// The weights of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// What some checkpoints leave away in front of a name.
    pub prefix: &'static str,
    /// Ends of names of buffers that are no weights.
    pub buffers: &'static [&'static str],
    /// The embedding's tensor and its rows and columns.
    pub embedding: (String, usize, usize),
    /// The learned positions' tensor and its rows and columns.
    pub positions: Option<(String, usize, usize)>,
    pub blocks: Vec<BlockLayout>,
    /// The norm at the stream's end; `None` where the head reads the stream itself.
    pub final_norm: Option<NormPlace>,
    pub head: LinearPlace,
    /// Whether the head's weight is the embedding's.
    pub tied: bool,
}

impl BlockLayout {
    /// A block with norms before attention and MLP, the two alike where they run side by side on one norm's output.
    pub fn pre_norm(
        [attention_in, mlp_in]: [NormPlace; 2],
        attention: AttentionInput,
        attention_out: LinearPlace,
        mlp: MlpLayout,
    ) -> Self {
        Self {
            attention_in_norm: Some(attention_in),
            attention_out_norm: None,
            mlp_in_norm: Some(mlp_in),
            mlp_out_norm: None,
            attention,
            q_norm: None,
            k_norm: None,
            attention_out,
            mlp,
        }
    }

    /// The block's linear layers, in the order of the pass.
    pub fn linears(&self) -> Vec<&LinearPlace> {
        let mut places = match &self.attention {
            AttentionInput::Separate { q, k, v } => vec![q, k, v],
            AttentionInput::Fused(qkv, _) => vec![qkv],
        };
        places.push(&self.attention_out);
        places.extend(self.mlp.linears());
        places
    }

    fn norms(&self) -> impl Iterator<Item = &NormPlace> {
        let norms = [
            &self.attention_in_norm,
            &self.attention_out_norm,
            &self.mlp_in_norm,
            &self.mlp_out_norm,
            &self.q_norm,
            &self.k_norm,
        ];
        norms.into_iter().flatten()
    }
}

impl Layout {
    /// Every tensor that the model needs, with its shape. A tied head is not among them.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let mut shapes = BTreeMap::new();
        for (name, rows, columns) in [Some(&self.embedding), self.positions.as_ref()].into_iter().flatten() {
            shapes.insert(name.clone(), vec![*rows, *columns]);
        }
        let norms = self.blocks.iter().flat_map(BlockLayout::norms).chain(&self.final_norm);
        for norm in norms {
            shapes.insert(format!("{}.weight", norm.module), norm.shape());
            if norm.bias {
                shapes.insert(format!("{}.bias", norm.module), vec![norm.width]);
            }
        }
        let head = [&self.head];
        for place in self.blocks.iter().flat_map(BlockLayout::linears).chain(head) {
            if !(self.tied && place == &self.head) {
                shapes.insert(format!("{}.weight", place.module), place.weight_shape());
            }
            if place.bias {
                shapes.insert(format!("{}.bias", place.module), vec![place.outputs]);
            }
        }
        shapes
    }

    /// The embedding and the weights of linear layers: what may be kept in fewer bits than it is computed in.
    pub fn matrices(&self) -> BTreeSet<String> {
        let places = self.blocks.iter().flat_map(BlockLayout::linears).chain([&self.head]);
        places.map(|place| format!("{}.weight", place.module)).chain([self.embedding.0.clone()]).collect()
    }

    /// What the tensor called `name` in a checkpoint is to this model.
    pub fn role(&self, name: &str, expected: &BTreeMap<String, Vec<usize>>) -> Role {
        if expected.contains_key(name) {
            return Role::Weight(name.to_owned());
        }
        let prefixed = format!("{}{name}", self.prefix);
        if expected.contains_key(&prefixed) {
            return Role::Weight(prefixed);
        }
        if self.tied && name == format!("{}.weight", self.head.module) {
            return Role::TiedHead;
        }
        match self.buffers.iter().any(|buffer| name.ends_with(buffer)) {
            true => Role::Buffer,
            false => Role::Unknown,
        }
    }

    /// Gives each tensor its canonical name, and refuses what is missing, unknown or of another shape. `shape_of` and
    /// `same` look into a tensor without this layout knowing how it is stored.
    pub fn assign<T>(
        &self,
        found: BTreeMap<String, T>,
        shape_of: impl Fn(&T) -> Vec<usize>,
    ) -> Result<Assigned<T>, ModelError> {
        let expected = self.tensors();
        let mut weights = BTreeMap::new();
        let mut tied_head = None;
        let mut unknown = Vec::new();
        for (name, tensor) in found {
            match self.role(&name, &expected) {
                Role::Weight(canonical) => {
                    if weights.insert(canonical.clone(), tensor).is_some() {
                        return Err(ModelError::Request(format!("the checkpoint holds tensor {canonical} twice")));
                    }
                }
                Role::TiedHead => tied_head = Some(tensor),
                Role::Buffer => {}
                Role::Unknown => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            return Err(ModelError::UnknownTensors { names: unknown });
        }
        // A tied head may be stored under its own name alone.
        if !weights.contains_key(&self.embedding.0)
            && let Some(head) = tied_head.take()
        {
            weights.insert(self.embedding.0.clone(), head);
        }
        let missing: Vec<_> = expected.keys().filter(|name| !weights.contains_key(*name)).cloned().collect();
        if !missing.is_empty() {
            return Err(ModelError::MissingTensors { names: missing });
        }
        for (name, tensor) in &weights {
            let found = shape_of(tensor);
            if let Some(expected) = expected.get(name).filter(|shape| **shape != found) {
                return Err(ModelError::WrongShape { name: name.clone(), expected: expected.clone(), found });
            }
        }
        Ok(Assigned { weights, tied_head })
    }
}

/// What a tensor of a checkpoint is to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Weight(String),
    TiedHead,
    Buffer,
    Unknown,
}

/// Tensors under their canonical names.
pub(crate) struct Assigned<T> {
    pub weights: BTreeMap<String, T>,
    /// A head that was stored beside the embedding that it is tied to: the two must be equal.
    pub tied_head: Option<T>,
}

/// Takes a tensor that [`Layout::assign`] has checked.
pub(crate) fn named(tensors: &BTreeMap<String, Tensor>, name: &str) -> Result<Tensor, ModelError> {
    tensors.get(name).cloned().ok_or_else(|| ModelError::MissingTensors { names: vec![name.to_owned()] })
}
