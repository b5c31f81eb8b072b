//! The tokenizer that a GGUF file holds: scored pieces (`llama`) or byte-level BPE (`gpt2`).

use serde_json::{Value, json};

use super::super::super::tokenizer::{Added, Algorithm, ByteLevel, Piece, PieceKind, Pieces, Split, byte_level};
use super::super::TokenizerFiles;
use super::header::Header;

/// Reads it, where there is one.
pub(super) fn read(header: &Header<'_>) -> Result<Option<TokenizerFiles>, String> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let Some(tokens) = header.texts(&key("tokens"))? else { return Ok(None) };
    let kinds = header.integers(&key("token_type"))?;
    let kinds = kinds.unwrap_or_else(|| vec![1; tokens.len()]);
    if kinds.len() != tokens.len() {
        return Err(format!("{} token types for {} tokens", kinds.len(), tokens.len()));
    }
    match header.text(&key("model"))? {
        Some("llama") => pieces(header, &tokens, &kinds).map(Some),
        Some("gpt2") => bytes(header, &tokens, &kinds).map(Some),
        other => Err(format!("{} = {other:?} is not supported; llama and gpt2 are", key("model"))),
    }
}

/// BOS, EOS, and whether BOS is put in front.
fn ends(header: &Header<'_>, default: bool) -> Result<(Option<u32>, Option<u32>, bool), String> {
    let id = |name: &str| -> Result<Option<u32>, String> {
        Ok(header.optional_size(&format!("tokenizer.ggml.{name}"))?.and_then(|id| u32::try_from(id).ok()))
    };
    let add = header.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(default);
    Ok((id("bos_token_id")?, id("eos_token_id")?, add))
}

fn template(header: &Header<'_>) -> Result<Option<String>, String> {
    Ok(header.text("tokenizer.chat_template")?.map(str::to_owned))
}

fn pieces(header: &Header<'_>, tokens: &[&str], kinds: &[i64]) -> Result<TokenizerFiles, String> {
    let scores = header.numbers("tokenizer.ggml.scores")?.ok_or("tokenizer.ggml.scores is missing")?;
    if scores.len() != tokens.len() {
        return Err(format!("{} scores for {} tokens", scores.len(), tokens.len()));
    }
    let mut list = Vec::with_capacity(tokens.len());
    for ((text, kind), score) in tokens.iter().zip(kinds).zip(scores) {
        let kind = match kind {
            1 => PieceKind::Normal,
            2 => PieceKind::Unknown,
            3 => PieceKind::Control,
            4 => PieceKind::UserDefined,
            5 => PieceKind::Unused,
            6 => PieceKind::Byte,
            other => return Err(format!("token type {other} is not known")),
        };
        list.push(Piece { text: (*text).to_owned(), score: score as f32, kind });
    }
    let mut pieces = Pieces::new(Algorithm::Bpe, list);
    (pieces.bos, pieces.eos, pieces.add_bos) = ends(header, true)?;
    pieces.dummy_prefix = header.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    pieces.collapse_spaces = header.flag("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false);
    pieces.chat_template = template(header)?;
    pieces.files()
}

fn bytes(header: &Header<'_>, tokens: &[&str], kinds: &[i64]) -> Result<TokenizerFiles, String> {
    const PRE: &str = "tokenizer.ggml.pre";
    let name = header.text(PRE)?.unwrap_or("default");
    let split = Split::of_gguf(name).ok_or_else(|| {
        format!("{PRE} = {name:?} is not supported; gpt-2, llama-bpe, qwen2, smollm, dbrx, phi-2 and gpt-4o are")
    })?;
    let merges = header.texts("tokenizer.ggml.merges")?.ok_or("tokenizer.ggml.merges is missing")?;
    let (bos, eos, add) = ends(header, split == Split::Llama3)?;
    let text = |id: Option<u32>| id.and_then(|id| tokens.get(id as usize)).copied();
    let added = tokens.iter().zip(kinds).enumerate().filter_map(|(id, (text, kind))| match kind {
        3 => Some(Added { id: id as u32, text: (*text).to_owned(), special: true }),
        4 => Some(Added { id: id as u32, text: (*text).to_owned(), special: false }),
        _ => None,
    });
    let mut settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
        "bos_token": text(bos), "eos_token": text(eos), "add_bos_token": add && bos.is_some(), "add_eos_token": false,
    });
    if let (Some(template), Value::Object(settings)) = (template(header)?, &mut settings) {
        settings.insert("chat_template".into(), json!(template));
    }
    ByteLevel {
        vocab: tokens.iter().enumerate().map(|(id, text)| ((*text).to_owned(), id as u32)).collect(),
        merges: byte_level::merges(merges.into_iter())?,
        added: added.collect(),
        split,
        prefix_space: false,
        first: bos.filter(|_| add).and_then(|id| Some((text(Some(id))?.to_owned(), id))),
    }
    .files(settings)
}
