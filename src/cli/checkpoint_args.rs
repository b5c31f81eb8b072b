//! The arguments of `inspect` and `convert`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::ModelArgs;

/// Architecture and activations.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Token ids, such as 1,5,9
    #[arg(long, value_delimiter = ',', conflicts_with = "text")]
    pub ids: Vec<u32>,
    /// Text, encoded with the tokenizer's special tokens
    #[arg(long)]
    pub text: Option<String>,
    /// A conversation (JSON): a list of messages, or an object with `messages` and, where wanted, `tools`,
    /// `add_generation_prompt` and further variables of the chat template; its text and tokens are printed
    #[arg(long, value_name = "JSON", conflicts_with_all = ["ids", "text"])]
    pub chat: Option<PathBuf>,
    /// Activations to keep, such as blocks.0.attn.hook_z; repeatable
    #[arg(long = "hook", value_name = "NAME")]
    pub hooks: Vec<String>,
    /// The activations (safetensors): `logits` and each hook, with the batch dimension
    #[arg(long, value_name = "SAFETENSORS")]
    pub output: Option<PathBuf>,
}

/// The type of weights on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoredType {
    /// 64 bits
    F64,
    /// 32 bits
    F32,
    /// 16 bits, IEEE
    F16,
    /// 16 bits, brain
    Bf16,
}

/// Another format.
#[derive(Debug, Args)]
pub struct Convert {
    /// `embedded`, a folder, a weights file (safetensors, PyTorch .bin, GGUF, llama2.c), or a hub id
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// A PEFT adapter folder that is merged into the weights
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// The folder that receives config.json, model.safetensors and the tokenizer's files
    #[arg(long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// The type of every weight; as stored (blocks as f32) where it is not given
    #[arg(long, value_enum)]
    pub dtype: Option<StoredType>,
    /// The most bytes of weights in one file
    #[arg(long, value_name = "BYTES", default_value_t = counterpath::model::convert::SHARD_BYTES)]
    pub shard_bytes: usize,
    /// Refuse weights that are NaN or infinite
    #[arg(long)]
    pub check_finite: bool,
}
