//! The tokenizer of a Hugging Face folder: `tokenizer.json`, else `tokenizer.model`, else `vocab.json` and `merges.txt`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::super::error::ModelError;
use super::super::format::TokenizerFiles;
use super::byte_level::{ByteLevel, Split, merges};
use super::{Added, sentencepiece};
use crate::base::files;

const SETTINGS: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";

/// The tokenizer of a folder, where there is one.
pub(crate) fn read_folder(folder: &Path) -> Result<Option<TokenizerFiles>, ModelError> {
    let optional = |name: &str| -> Result<Value, ModelError> {
        let path = folder.join(name);
        Ok(if files::exists(&path) { files::read_json(&path)? } else { Value::Null })
    };
    let mut settings = optional(SETTINGS)?;
    let template = folder.join(TEMPLATE);
    if files::exists(&template) {
        let template = files::read_text(&template)?;
        match settings.as_object_mut() {
            Some(settings) => drop(settings.insert("chat_template".into(), json!(template))),
            None => settings = json!({"chat_template": template}),
        }
    }
    let [json, model] = ["tokenizer.json", "tokenizer.model"].map(|name| folder.join(name));
    let [vocab, merges] = ["vocab.json", "merges.txt"].map(|name| folder.join(name));
    let malformed = |path: &Path| {
        let path = path.display().to_string();
        move |message: String| ModelError::Tokenizer(format!("{path}: {message}"))
    };
    if files::exists(&json) {
        return Ok(Some(TokenizerFiles { json: files::read(&json, files::TEXT_LIMIT)?, settings }));
    }
    if files::exists(&model) {
        let bytes = files::read(&model, files::TEXT_LIMIT)?;
        return from_sentencepiece(&bytes, settings).map(Some).map_err(malformed(&model));
    }
    if files::exists(&vocab) && files::exists(&merges) {
        let vocabulary: BTreeMap<String, u32> = files::read_json(&vocab)?;
        let extra: Option<BTreeMap<String, u32>> =
            serde_json::from_value(optional("added_tokens.json")?).unwrap_or(None);
        let text = files::read_text(&merges)?;
        let named = optional("special_tokens_map.json")?;
        return from_vocabulary(vocabulary, extra.unwrap_or_default(), &text, &named, settings)
            .map(Some)
            .map_err(malformed(&merges));
    }
    Ok(None)
}

/// The class that a setting names, without the mark of its fast form.
fn class(settings: &Value) -> Option<&str> {
    let class = settings.get("tokenizer_class").and_then(Value::as_str)?;
    Some(class.trim_end_matches("Fast"))
}

/// What the file says goes before what was derived.
fn merged(derived: Value, settings: Value) -> Value {
    match (derived, settings) {
        (Value::Object(mut derived), Value::Object(settings)) => {
            derived.extend(settings);
            Value::Object(derived)
        }
        (derived, _) => derived,
    }
}

fn from_sentencepiece(bytes: &[u8], settings: Value) -> Result<TokenizerFiles, String> {
    /// The classes that take a model's ids as they are.
    const KNOWN: [&str; 6] = [
        "LlamaTokenizer",
        "GemmaTokenizer",
        "CodeLlamaTokenizer",
        "PreTrainedTokenizer",
        "TokenizersBackend",
        "SentencePieceBackend",
    ];
    if let Some(class) = class(&settings).filter(|class| !KNOWN.contains(class)) {
        return Err(format!(
            "{SETTINGS}: tokenizer_class {class} may number the pieces of tokenizer.model its own way; give a tokenizer.json"
        ));
    }
    let mut pieces = sentencepiece::read(bytes)?;
    pieces.add_bos = settings.get("add_bos_token").and_then(Value::as_bool).unwrap_or(true);
    let TokenizerFiles { json, settings: derived } = pieces.files()?;
    Ok(TokenizerFiles { json, settings: merged(derived, settings) })
}

fn from_vocabulary(
    vocabulary: BTreeMap<String, u32>,
    extra: BTreeMap<String, u32>,
    merge_lines: &str,
    named: &Value,
    settings: Value,
) -> Result<TokenizerFiles, String> {
    const END: &str = "<|endoftext|>";
    let mut added: BTreeMap<u32, Added> = BTreeMap::new();
    let content = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    let id_of = |text: &str| vocabulary.get(text).or_else(|| extra.get(text)).copied();
    for (text, id) in &extra {
        added.insert(*id, Added { id: *id, text: text.clone(), special: false });
    }
    let keys = ["bos_token", "eos_token", "unk_token", "pad_token"];
    let mut special: Vec<String> =
        keys.iter().flat_map(|key| [named.get(key), settings.get(key)]).flatten().filter_map(content).collect();
    special.push(END.into());
    for text in special {
        if let Some(id) = id_of(&text) {
            added.insert(id, Added { id, text, special: true });
        }
    }
    for (id, token) in settings.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten() {
        let id = id.parse().map_err(|_| format!("{SETTINGS}: added_tokens_decoder: {id:?} is no id"))?;
        let text = content(token).ok_or_else(|| format!("{SETTINGS}: added_tokens_decoder.{id} has no content"))?;
        let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
        added.insert(id, Added { id, text, special });
    }
    let split = match class(&settings) {
        Some("Qwen2Tokenizer") => Split::Qwen2,
        None
        | Some(
            "GPT2Tokenizer" | "CodeGenTokenizer" | "GPTNeoXTokenizer" | "PreTrainedTokenizer" | "TokenizersBackend",
        ) => Split::Gpt2,
        Some(class) => {
            return Err(format!("{SETTINGS}: tokenizer_class {class} cuts text its own way; give a tokenizer.json"));
        }
    };
    let derived = match (id_of(END), split) {
        (Some(_), Split::Gpt2) => json!({"bos_token": END, "eos_token": END, "unk_token": END}),
        (Some(_), _) => json!({"eos_token": END}),
        (None, _) => json!({}),
    };
    let settings = merged(derived, settings);
    let bos =
        settings.get("bos_token").and_then(content).filter(|_| settings.get("add_bos_token") == Some(&json!(true)));
    ByteLevel {
        first: bos.and_then(|bos| id_of(&bos).map(|id| (bos, id))),
        vocab: vocabulary.into_iter().collect(),
        merges: merges(merge_lines.lines())?,
        added: added.into_values().collect(),
        split,
        prefix_space: settings.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(false),
    }
    .files(settings)
}
