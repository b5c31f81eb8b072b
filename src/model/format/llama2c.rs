//! llama2.c: a header of seven integers, then every weight as f32 in a fixed order; `tokenizer.bin` beside it.
//!
//! Versions 0 (no magic) and 1 (magic `ak42`) are read; version 2 (int8 groups) is refused by name. Source: `export.py`
//! and `run.c` of llama2.c. Rows of queries and keys stand in pairs there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;
use serde_json::{Value, json};

use super::super::error::ModelError;
use super::super::tokenizer::{Algorithm, Piece, PieceKind, Pieces};
use super::Source;
use super::cursor::Cursor;
use super::stored::{Change, Element, Stored};
use crate::base::files::{self, Map};

const MAGIC: u32 = 0x616b_3432;
const HEADER_OF_VERSION_1: usize = 256;
/// Marks that the exporter writes around BOS and EOS, and sentencepiece's mark of a space.
const BOS: &str = "<s>";
const EOS: &str = "</s>";

/// Sizes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    version: u32,
    dim: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    vocab: usize,
    positions: usize,
    shared_head: bool,
}

/// Whether a file may be a llama2.c checkpoint.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    header(bytes).is_ok()
}

fn header(bytes: &[u8]) -> Result<Header, String> {
    let mut cursor = Cursor::at(bytes, 0);
    let version = match Cursor::at(bytes, 0).u32()? {
        MAGIC => {
            cursor.u32()?;
            cursor.u32()?
        }
        _ => 0,
    };
    if version > 1 {
        return Err(format!("llama2.c version {version} is not read; export version 0 or 1"));
    }
    let mut fields = [0i32; 7];
    for field in &mut fields {
        *field = cursor.i32()?;
    }
    let [dim, hidden, layers, heads, kv_heads, vocab, positions] = fields;
    let shared_head = if version == 0 { vocab > 0 } else { cursor.u8()? != 0 };
    let size = |name: &str, value: i32| match usize::try_from(value) {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(format!("{name} is {value}, so that this is no llama2.c checkpoint")),
    };
    let vocab = vocab.checked_abs().unwrap_or(0);
    let header = Header {
        version,
        dim: size("dim", dim)?,
        hidden: size("hidden_dim", hidden)?,
        layers: size("n_layers", layers)?,
        heads: size("n_heads", heads)?,
        kv_heads: size("n_kv_heads", kv_heads)?,
        vocab: size("vocab_size", vocab)?,
        positions: size("seq_len", positions)?,
        shared_head,
    };
    let divides = header.dim.is_multiple_of(2 * header.heads) && header.heads.is_multiple_of(header.kv_heads);
    if !divides {
        return Err(format!(
            "width {dim} with {heads} heads over {kv_heads} key/value heads is no llama2.c checkpoint"
        ));
    }
    // Every layer has two norms at least: a file cannot hold more layers than that.
    if header.layers.saturating_mul(header.dim).saturating_mul(8) > bytes.len() {
        return Err(format!("{layers} layers of width {dim} do not fit into {} bytes", bytes.len()));
    }
    Ok(header)
}

/// Opens a checkpoint and the tokenizer beside it.
pub(super) fn open(path: &Path, tokenizer: Option<PathBuf>) -> Result<Source, ModelError> {
    let map = Arc::new(files::map(path)?);
    let damaged = |message: String| ModelError::Weights { path: path.to_path_buf(), message };
    let header = header(&map).map_err(damaged)?;
    let tensors = tensors(&map, &header).map_err(damaged)?;
    let tokenizer = match tokenizer {
        None => None,
        Some(path) => {
            let bytes = files::read(&path, files::TEXT_LIMIT)?;
            let malformed = |message: String| ModelError::Tokenizer(format!("{}: {message}", path.display()));
            Some(pieces(&bytes, header.vocab).and_then(|pieces| pieces.files()).map_err(malformed)?)
        }
    };
    Ok(Source { config: config(&header), generation: None, tokenizer, tensors })
}

/// The tokenizer file that belongs to a checkpoint: `tokenizer.bin` or `tok<vocabulary>.bin` beside it.
pub(super) fn tokenizer_beside(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let vocab = files::map(path).ok().and_then(|map| header(&map).ok())?.vocab;
    let names = ["tokenizer.bin".to_owned(), format!("tok{vocab}.bin")];
    names.into_iter().map(|name| folder.join(name)).find(|path| files::exists(path))
}

fn config(header: &Header) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": header.dim,
        "intermediate_size": header.hidden, "num_hidden_layers": header.layers, "num_attention_heads": header.heads,
        "num_key_value_heads": header.kv_heads, "max_position_embeddings": header.positions, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": header.shared_head,
        "torch_dtype": "float32", "vocab_size": header.vocab, "bos_token_id": 1, "eos_token_id": 2,
    })
}

/// Takes weights off the file one after another.
struct Walk<'a> {
    map: &'a Arc<Map>,
    at: usize,
    tensors: BTreeMap<String, Stored>,
}

impl Walk<'_> {
    fn skip(&mut self, count: usize) -> Result<usize, String> {
        let start = self.at;
        let length = count.checked_mul(4).and_then(|bytes| start.checked_add(bytes));
        self.at = length.filter(|end| *end <= self.map.len()).ok_or_else(|| {
            format!("weights are expected up to byte {length:?}, the file ends at {}: it is truncated", self.map.len())
        })?;
        Ok(start)
    }

    fn one(&mut self, name: String, shape: &[usize], change: Change) -> Result<(), String> {
        let count = super::stored::count(shape).ok_or_else(|| format!("{name}: shape {shape:?}"))?;
        let start = self.skip(count)?;
        let stored = Stored::mapped(self.map, start..self.at, shape.to_vec(), Element::Plain(DType::F32))?;
        self.tensors.insert(name, stored.changed(change)?);
        Ok(())
    }

    /// The same weight of every layer.
    fn each(&mut self, header: &Header, part: &str, shape: &[usize], change: Change) -> Result<(), String> {
        (0..header.layers).try_for_each(|layer| self.one(format!("model.layers.{layer}.{part}.weight"), shape, change))
    }
}

fn tensors(map: &Arc<Map>, header: &Header) -> Result<BTreeMap<String, Stored>, String> {
    let Header { dim, hidden, heads, kv_heads, vocab, positions, .. } = *header;
    let keys = dim / heads * kv_heads;
    let pairs = |heads| Change::PairsToHalves { heads };
    let start = if header.version == 0 { 28 } else { HEADER_OF_VERSION_1 };
    let mut walk = Walk { map, at: start, tensors: BTreeMap::new() };
    let embedding = |walk: &mut Walk<'_>| walk.one("model.embed_tokens.weight".into(), &[vocab, dim], Change::Nothing);
    let final_norm = |walk: &mut Walk<'_>| walk.one("model.norm.weight".into(), &[dim], Change::Nothing);
    let norm = |walk: &mut Walk<'_>, part| walk.each(header, part, &[dim], Change::Nothing);
    let attention = |walk: &mut Walk<'_>| {
        walk.each(header, "self_attn.q_proj", &[dim, dim], pairs(heads))?;
        walk.each(header, "self_attn.k_proj", &[keys, dim], pairs(kv_heads))?;
        walk.each(header, "self_attn.v_proj", &[keys, dim], Change::Nothing)?;
        walk.each(header, "self_attn.o_proj", &[dim, dim], Change::Nothing)
    };
    let mlp = |walk: &mut Walk<'_>| {
        walk.each(header, "mlp.gate_proj", &[hidden, dim], Change::Nothing)?;
        walk.each(header, "mlp.down_proj", &[dim, hidden], Change::Nothing)?;
        walk.each(header, "mlp.up_proj", &[hidden, dim], Change::Nothing)
    };
    if header.version == 0 {
        embedding(&mut walk)?;
        norm(&mut walk, "input_layernorm")?;
        attention(&mut walk)?;
        norm(&mut walk, "post_attention_layernorm")?;
        mlp(&mut walk)?;
        final_norm(&mut walk)?;
        // Two tables of rotary cosines and sines that follow from the sizes.
        let angles = positions.checked_mul(dim / heads).ok_or("the rotary tables cannot be counted")?;
        walk.skip(angles)?;
    } else {
        norm(&mut walk, "input_layernorm")?;
        norm(&mut walk, "post_attention_layernorm")?;
        final_norm(&mut walk)?;
        embedding(&mut walk)?;
        attention(&mut walk)?;
        mlp(&mut walk)?;
    }
    if !header.shared_head {
        walk.one("lm_head.weight".into(), &[vocab, dim], Change::Nothing)?;
    }
    match walk.at == map.len() {
        true => Ok(walk.tensors),
        false => Err(format!("{} bytes follow the last weight: the sizes do not fit", map.len() - walk.at)),
    }
}

/// The pieces of a `tokenizer.bin`: the length of the longest, then score, length and bytes of each.
fn pieces(bytes: &[u8], vocab: usize) -> Result<Pieces, String> {
    let mut cursor = Cursor::at(bytes, 4);
    let mut list = Vec::new();
    for id in 0..vocab {
        let score = cursor.f32()?;
        let length = usize::try_from(cursor.i32()?).map_err(|_| format!("piece {id} has a negative length"))?;
        let text = std::str::from_utf8(cursor.take(length)?).map_err(|_| format!("piece {id} is no UTF-8 text"))?;
        list.push(match id {
            0 => Piece { text: "<unk>".into(), score, kind: PieceKind::Unknown },
            1 => Piece { text: BOS.into(), score, kind: PieceKind::Control },
            2 => Piece { text: EOS.into(), score, kind: PieceKind::Control },
            _ => Piece::plain(text.replace(' ', "▁"), score),
        });
    }
    if cursor.left() > 0 {
        return Err(format!("{} bytes follow piece {vocab}: it belongs to a larger vocabulary", cursor.left()));
    }
    let mut pieces = Pieces::new(Algorithm::Bpe, list);
    pieces.bos = Some(1);
    pieces.eos = Some(2);
    pieces.add_bos = true;
    Ok(pieces)
}
