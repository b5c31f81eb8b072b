//! Tokenizers without a `tokenizer.json`, against what sentencepiece and transformers answered
//! (`scripts/loading_fixtures.py`).

use std::path::{Path, PathBuf};

use counterpath::model::{ModelError, Special, TextTokenizer};

use crate::shared::json;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

fn tokenizer(name: &str) -> TextTokenizer {
    TextTokenizer::load(&fixtures().join(name)).expect("read").expect("a tokenizer")
}

/// Texts where a `tokenizer.json` cannot follow sentencepiece, each with the reason.
fn known_to_differ(name: &str, text: &str) -> bool {
    // The mark of a space in the text itself, beside real spaces.
    text.contains('▁') && name != "gpt2" && name != "qwen2"
}

fn check(name: &str) {
    let tokenizer = tokenizer(name);
    let golden = json(&fixtures().join(name).join("golden.json"));
    let mut wrong = Vec::new();
    for case in golden["cases"].as_array().expect("cases") {
        let text = case["text"].as_str().expect("text");
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("ids");
        let encoded = tokenizer.encode(text, Special::None).expect("tokens");
        if known_to_differ(name, text) {
            continue;
        }
        if encoded.ids != expected {
            let pieces = |ids: &[u32]| ids.iter().filter_map(|id| tokenizer.token(*id)).collect::<Vec<_>>();
            wrong.push(format!("{text:?}\n  found    {:?}\n  expected {:?}", pieces(&encoded.ids), pieces(&expected)));
        }
        assert_eq!(encoded.ids.len(), encoded.offsets.len());
        assert!(encoded.offsets.iter().all(|(first, last)| first <= last && *last <= text.len()), "{text:?}");
        let decoded = tokenizer.decode(&expected).expect("text");
        // What is unknown decodes to " ⁇ " in sentencepiece and to nothing here, as a special token does.
        let unknown = name.starts_with("unigram") && expected.contains(&0);
        if !unknown && decoded != case["decoded"].as_str().expect("decoded") {
            wrong.push(format!("{text:?} decodes to {decoded:?}, not {}", case["decoded"]));
        }
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    let id = |key: &str| golden[key].as_i64().filter(|id| *id >= 0).map(|id| id as u32);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (id("bos"), id("eos")), "{name}");
}

#[test]
fn sentencepiece_bpe_with_bytes_and_a_space_in_front() {
    check("bpe_llama");
}

#[test]
fn sentencepiece_bpe_without_a_space_in_front_and_with_user_defined_pieces() {
    check("bpe_gemma");
}

#[test]
fn sentencepiece_unigram_with_a_normaliser() {
    check("unigram_rules");
}

#[test]
fn sentencepiece_unigram_with_bytes() {
    check("unigram_bytes");
}

#[test]
fn byte_level_vocabularies() {
    check("gpt2");
    check("qwen2");
}

#[test]
fn bos_is_added_once() {
    let tokenizer = tokenizer("bpe_llama");
    let ids = |text: &str| tokenizer.encode(text, Special::Default).expect("tokens").ids;
    let plain = tokenizer.encode("Hello", Special::None).expect("tokens").ids;
    assert_eq!(ids("Hello"), [vec![1], plain].concat());
    assert_eq!(ids("<s>Hello").iter().filter(|id| **id == 1).count(), 1);
    assert!(tokenizer.encode("Hello", Special::None).expect("tokens").ids[0] != 1);
    // Byte-level vocabularies of GPT-2 and Qwen add none.
    let bytes = self::tokenizer("qwen2");
    let both = [Special::Default, Special::None].map(|special| bytes.encode("Hello", special).expect("tokens").ids);
    assert_eq!(both[0], both[1]);
}

/// The tokens of a slot hold all of its bytes and begin no later than it does, in every kind of tokenizer.
#[test]
fn slots_find_their_tokens() {
    let text = "Doctor Müller 🙂 paints é and naïve café 42.";
    for name in ["bpe_llama", "bpe_gemma", "unigram_rules", "unigram_bytes", "gpt2", "qwen2"] {
        let tokenizer = tokenizer(name);
        let encoded = tokenizer.encode(text, Special::Default).expect("tokens");
        for slot in ["Doctor", "Müller", "🙂", "é", "naïve", "café", "42", "42."] {
            let start = text.find(slot).expect("slot");
            let range = TextTokenizer::token_range(&encoded, start, start + slot.len());
            assert!(!range.is_empty(), "{name}: {slot}");
            let covered = &encoded.offsets[range.clone()];
            let first = covered.iter().map(|offset| offset.0).min().expect("tokens");
            let last = covered.iter().map(|offset| offset.1).max().expect("tokens");
            assert!(first <= start && last >= start + slot.len(), "{name}: {slot} in {first}..{last}");
            // Tokens beside the range touch none of its bytes.
            for offset in encoded.offsets[..range.start].iter().chain(&encoded.offsets[range.end..]) {
                assert!(offset.1 <= start || offset.0 >= start + slot.len(), "{name}: {slot}");
            }
            if !name.starts_with("unigram_r") {
                let decoded = tokenizer.decode(&encoded.ids[range]).expect("text");
                assert!(decoded.contains(slot), "{name}: {slot} in {decoded:?}");
            }
        }
    }
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-tokenizer-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

#[test]
fn what_is_not_followed_is_refused_by_name() {
    let model = std::fs::read(fixtures().join("bpe_llama/tokenizer.model")).expect("model");
    let refused = |name: &str, bytes: &[u8], settings: Option<&str>| {
        let folder = scratch(name);
        std::fs::write(folder.join("tokenizer.model"), bytes).expect("write");
        if let Some(settings) = settings {
            std::fs::write(folder.join("tokenizer_config.json"), settings).expect("write");
        }
        let error: ModelError = TextTokenizer::load(&folder).err().unwrap_or_else(|| panic!("{name} is read"));
        error.to_string()
    };
    // Fields appended to a message take the place of earlier ones: trainer_spec.model_type, treat_whitespace_as_suffix.
    let with = |extra: &[u8]| [&model[..], extra].concat();
    assert!(refused("word", &with(&[0x12, 2, 0x18, 3]), None).contains("WORD"));
    assert!(refused("char", &with(&[0x12, 2, 0x18, 4]), None).contains("CHAR"));
    assert!(refused("suffix", &with(&[0x12, 3, 0xc0, 1, 1]), None).contains("treat_whitespace_as_suffix"));
    assert!(refused("escape", &with(&[0x1a, 2, 0x28, 0]), None).contains("escape_whitespaces"));
    assert!(refused("half", &model[..model.len() / 2], None).contains("tokenizer.model"));
    assert!(refused("text", b"not a model", None).contains("tokenizer.model"));
    assert!(refused("table", &with(&[0x1a, 7, 0x12, 5, 4, 0, 0, 0, 1]), None).contains("replacements"));
    let camembert = r#"{"tokenizer_class": "CamembertTokenizer"}"#;
    assert!(refused("class", &model, Some(camembert)).contains("CamembertTokenizer"));
}

#[test]
fn a_merge_that_is_no_pair_is_named_with_its_line() {
    let folder = scratch("merges");
    std::fs::write(folder.join("vocab.json"), r#"{"a": 0, "b": 1, "ab": 2}"#).expect("write");
    std::fs::write(folder.join("merges.txt"), "#version: 0.2\na b\nab\n").expect("write");
    let message = TextTokenizer::load(&folder).err().expect("refused").to_string();
    assert!(message.contains("merges.txt") && message.contains("line 3"), "{message}");
    std::fs::write(folder.join("merges.txt"), "#version: 0.2\na b\n").expect("write");
    let tokenizer = TextTokenizer::load(&folder).expect("read").expect("a tokenizer");
    assert_eq!(tokenizer.encode("ab", Special::Default).expect("tokens").ids, [2]);
}
