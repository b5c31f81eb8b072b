//! What can be wrong with a checkpoint, an adapter, a tokenizer or a request, and what to change.

use std::path::PathBuf;

use crate::base::FileError;

/// Everything that the model room refuses or fails at.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The architecture is none of ours.
    #[error("config.json: unknown architecture {found:?}; known are {}", known.join(", "))]
    UnknownArchitecture {
        /// What `model_type` says.
        found: String,
        /// The families that can be loaded.
        known: Vec<String>,
    },
    /// A field of `config.json` is missing or malformed.
    #[error("config.json: field {field:?}: {message}")]
    Config {
        /// The field's path.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A field of `config.json` asks for something that the decoder does not do.
    #[error("config.json: {field} = {value} is not supported; {hint}")]
    Unsupported {
        /// The field's path.
        field: String,
        /// Its value.
        value: String,
        /// What is supported.
        hint: String,
    },
    /// A weights file is damaged.
    #[error("{}: {message}; download the file again", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A folder without weights in a known format.
    #[error(
        "{}: neither model.safetensors nor pytorch_model.bin is there, nor the index of their shards", folder.display()
    )]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder without a config, and without a file that brings its own.
    #[error(
        "{}: no config.json is there, and no file that needs none (one .gguf, or one llama2.c .bin)", folder.display()
    )]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder with several files that are a model each.
    #[error("{}: several models are there; name the file: {}", folder.display(), shorten(names))]
    SeveralModels {
        /// The folder.
        folder: PathBuf,
        /// The files.
        names: Vec<String>,
    },
    /// An index lists a shard that is not there.
    #[error("{} lists {}, which is not there; download it", index.display(), shard.display())]
    NoShard {
        /// The index.
        index: PathBuf,
        /// The shard.
        shard: PathBuf,
    },
    /// A file of no known format.
    #[error(
        "{}: no format that is known: safetensors, PyTorch .bin, GGUF and llama2.c .bin are", path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Tensors that the architecture needs are not in the checkpoint.
    #[error("the checkpoint lacks {} tensor(s) that config.json asks for: {}", names.len(), shorten(names))]
    MissingTensors {
        /// Their names.
        names: Vec<String>,
    },
    /// The checkpoint holds tensors that the architecture has no place for.
    #[error("the checkpoint holds {} tensor(s) that this architecture has no place for: {}", names.len(), shorten(names))]
    UnknownTensors {
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor has another shape than the config says.
    #[error("tensor {name}: config.json asks for shape {expected:?}, the file has {found:?}")]
    WrongShape {
        /// The tensor.
        name: String,
        /// The shape that the config asks for.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor is stored as something that is no weight.
    #[error("tensor {name} is stored as {found}; F64, F32, F16, BF16 and the blocks of GGUF can be read")]
    WrongDtype {
        /// The tensor.
        name: String,
        /// The type found.
        found: String,
    },
    /// Weights that are no numbers.
    #[error("tensor {name} holds {count} value(s) that are not finite; the first is at index {first}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// How many.
        count: usize,
        /// Where the first one is in the flattened tensor.
        first: usize,
    },
    /// The config ties head and embedding, and the file holds two different tensors.
    #[error(
        "config.json ties {head} to {embedding}, but the file holds both and they differ; set tie_word_embeddings to false or remove one"
    )]
    TiedTensorsDiffer {
        /// The head's name.
        head: String,
        /// The embedding's name.
        embedding: String,
    },
    /// The tokenizer's files are malformed, or text cannot be tokenized.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The tokenizer can produce ids that the embedding does not have.
    #[error(
        "the tokenizer's vocabulary reaches id {largest}, the embedding has {rows} rows: they belong to different models"
    )]
    VocabularyMismatch {
        /// The largest token id.
        largest: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The model was loaded without a tokenizer, and text was given.
    #[error("this model has no tokenizer.json; give token ids instead of text")]
    NoTokenizer,
    /// A conversation was given to a model without a chat template.
    #[error("this model has no chat template (tokenizer_config.json or chat_template.jinja); give plain text")]
    NoChatTemplate,
    /// The chat template is malformed or refuses the conversation.
    #[error("chat template: {0}")]
    ChatTemplate(String),
    /// A request cannot be run on this model.
    #[error("{0}")]
    Request(String),
    /// An adapter's files are malformed or ask for something unsupported.
    #[error("adapter {}: {message}", path.display())]
    AdapterFile {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An adapter does not fit the model.
    #[error("the adapter does not fit this model: {0}; is it for another base?")]
    AdapterMismatch(String),
    /// A reference to a checkpoint cannot be understood or fetched.
    #[error("model {reference:?}: {message}")]
    Reference {
        /// What was asked for.
        reference: String,
        /// What is wrong, and what to change.
        message: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// The first few names of a list that may be long.
fn shorten(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(", and {} more", names.len() - SHOWN));
    }
    text
}
