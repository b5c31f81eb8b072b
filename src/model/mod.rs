//! Checkpoints, tokenizer, the one decoder, adapters and named hook points.
//!
//! [`LanguageModel`] is a decoder with its config and tokenizer; [`Adapter`] a set of low-rank updates to it;
//! [`Hooks`] reads and replaces what [`HookPoint`] names while a pass runs; [`score`](score::score) turns text into
//! log-likelihoods. A family of models is one file in `family/` that maps its `config.json` and weight names here.

mod adapter;
mod adapter_config;
mod architecture;
mod attention;
mod bank;
mod base_type;
mod batch_size;
mod block;
mod cache;
pub mod chat;
mod config;
mod config_rotary;
pub mod convert;
mod decoder;
mod error;
mod experts;
mod family;
mod fold;
mod format;
pub mod generate;
mod hook;
pub mod hub;
mod language_model;
mod layout;
mod linear;
mod merge;
mod mlp;
pub mod needs;
mod norm;
mod prefill;
mod readers;
pub mod reference;
mod rotary;
mod sampling;
pub mod score;
mod stream_maps;
mod targets;
mod text;
mod text_stream;
mod tokenizer;
mod until;
mod weights;

pub use crate::ops::{Span, Stand};
pub use adapter::{Adapter, LoraSpec, TargetModules};
pub use architecture::{Architecture, BlockPlan, Dimension, Experts, NormKind, QkNorm};
pub use bank::AdapterBank;
pub use base_type::BaseType;
pub use batch_size::{weights_of_a_block, worthwhile_tokens};
pub use block::Adding;
pub use cache::KeyValueCache;
pub use decoder::{Prefix, Readout, Start};
pub use error::ModelError;
pub use hook::{HookKind, HookPoint, Hooks, NoHooks, Record, UnknownHookPoint};
pub use language_model::{LanguageModel, LinearModule, LoadOptions};
pub use merge::Merged;
pub use rotary::{DynamicRotary, LongRotary, Rotary};
pub use score::{
    Score, ScoreRequest, ScoreWork, TokenizedPrompt, score_with_adapters, split_pairs, split_text, split_tokens,
    tokenize_prompt,
};
pub use stream_maps::{Part, StreamMaps};
pub use targets::{AnswerRows, Row, answer_loglikelihoods, target_logprobs};
pub use text::{Encoded, Special, TextTokenizer};
pub use until::{Generated, UntilRequest, generate_until};
