//! Prompts as turns of a conversation, in the library and through the verbs.

use std::path::{Path, PathBuf};

use counterpath::model::chat::ChatOptions;
use counterpath::model::{Special, TextTokenizer, split_text, split_tokens, tokenize_prompt};
use counterpath::scenario::{Prompt, Slot};
use serde_json::{Value, json};

use crate::cli::{done, refused};

/// Marks that the tokenizer below has a token for, a trimmed message, and an end with line breaks.
const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}!{{ m.content }}!{% else %}[{{ m.content | trim }}]{% endif %}{% endfor %}{% if add_generation_prompt %}>\n\n{% endif %}";

/// A tokenizer of single characters, in which two line breaks are one token, and a line break before `y` another.
fn tokenizer(template: Option<&str>) -> TextTokenizer {
    let characters = "hi[]!>\ny na".chars().map(String::from);
    let names = ["<s>".to_owned()].into_iter().chain(characters).chain(["\n\n".into(), "\ny".into()]);
    let vocab: serde_json::Map<String, Value> =
        names.zip(0..).map(|(name, id): (String, u64)| (name, id.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": [["\n", "\n"], ["\n", "y"]]}
    });
    let settings = json!({"bos_token": "<s>", "add_bos_token": true, "chat_template": template});
    TextTokenizer::from_json(tokenizer.to_string().as_bytes(), &settings).expect("tokenizer")
}

fn asked(text: &str, answers: [&str; 2], slots: Vec<Slot>) -> Prompt {
    let answers = answers.map(String::from).to_vec();
    Prompt { text: text.into(), slots, values: Default::default(), answers, label: None }
}

fn prompt() -> Prompt {
    asked(" hi anna", [" y", " n"], vec![Slot { name: "name".into(), start: 4, end: 8 }])
}

#[test]
fn a_prompt_is_a_turn_and_its_slots_are_found_in_it() {
    let plain = tokenizer(Some(TEMPLATE));
    let framed = plain.with_chat_frame(None).expect("frame");
    assert_ne!(framed.digest(), plain.digest(), "records tell them apart");
    let found = tokenize_prompt(&framed, &prompt()).expect("tokens");
    let messages = json!([{"role": "user", "content": " hi anna"}]);
    assert_eq!(found.ids, plain.encode_chat(&messages, &ChatOptions::default()).expect("chat").ids);
    let slot: String = found.ids[found.slots[0].1.clone()].iter().map(|id| plain.token(*id).expect("token")).collect();
    assert_eq!(slot, "anna");
    let token = |text: &str| plain.encode(text, Special::None).expect("tokens").ids;
    assert_eq!(found.answers, [token("y"), token("n")], "the delimiter is the template's");
    assert_eq!(found.ids.last(), token("\n\n").first(), "the line breaks belong to the prompt");
    let split = split_tokens(&framed, " hi anna", " y").expect("split");
    assert_eq!((split.context, split.continuation), (found.ids, token("y")));
    let text = |tokenizer| split_text(tokenizer, "hi", "n").expect("split");
    assert_eq!(text(&framed), text(&plain), "running text has no frame");
    let empty = split_tokens(&framed, "", "hi").expect("split");
    assert_eq!(empty, split_tokens(&plain, "", "hi").expect("split"));
    let told = plain.with_chat_frame(Some("hi")).expect("frame");
    assert_eq!(told.encode_prompt("n").expect("tokens").ids, token("<s>!hi![n]>\n\n"));
    assert_ne!(told.digest(), framed.digest());
}

#[test]
fn an_answer_that_melts_into_the_turns_end_keeps_the_rule_of_texts() {
    let framed = tokenizer(Some("[{{ messages[0].content }}]{{ '\n' }}")).with_chat_frame(None).expect("frame");
    let split = split_tokens(&framed, "hi", "y").expect("split");
    let plain = tokenizer(None);
    let token = |text: &str| plain.encode(text, Special::None).expect("tokens").ids;
    assert_eq!((split.context, split.continuation), (token("[hi]"), token("\ny")));
    let error = tokenize_prompt(&framed, &asked("hi", ["y", "n"], Vec::new())).expect_err("two ends").to_string();
    assert!(error.contains("end of the prompt"), "{error}");
}

#[test]
fn templates_that_cannot_frame_a_prompt_are_refused() {
    let frame = |template| tokenizer(template).with_chat_frame(None).map(|_| ()).expect_err("refused").to_string();
    assert!(frame(None).contains("no chat template"));
    assert!(frame(Some("hi")).contains("exactly once"));
    assert!(frame(Some("{{ messages[0].content }}{{ messages[0].content }}")).contains("exactly once"));
    let replacing =
        tokenizer(Some("{{ messages[0].content | replace('a', 'i') }}")).with_chat_frame(None).expect("frame");
    assert!(replacing.encode_prompt("hi").is_ok());
    let error = tokenize_prompt(&replacing, &prompt()).expect_err("changed").to_string();
    assert!(error.contains("changes the text of a prompt"), "{error}");
    let dated = tokenizer(Some("{{ strftime_now('%Y') }}[{{ messages[0].content }}]")).with_chat_frame(None);
    let text = dated.expect("frame").chat_frame().expect("frame").wrap(&tokenizer(None), "hi");
    assert!(text.is_err(), "a tokenizer without a template cannot wrap");
}

/// The embedded model in a folder of its own, with a template in words that it knows.
fn chatty(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-chat-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/embedded");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(embedded.join(file), folder.join(file)).expect("copy");
    }
    let path = folder.join("tokenizer_config.json");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&path).expect("settings")).expect("json");
    settings["chat_template"] = json!(
        "{{ bos_token }} {% for m in messages %}{% if m.role == 'system' %}{{ m.content }} . {% else %}dear boss , {{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %} : {% endif %}"
    );
    std::fs::write(&path, settings.to_string()).expect("settings");
    folder
}

#[test]
fn verbs_ask_within_the_template() {
    let folder = chatty("verbs");
    let (model, path) = (folder.display().to_string(), |name: &str| folder.join(name).display().to_string());
    let requests = [
        (r#"{"id":"a","context":"felix sent a letter","continuation":" ."}"#, vec!["--chat-template"]),
        (r#"{"id":"a","context":"<s> dear boss , felix sent a letter :","continuation":" ."}"#, vec![]),
        (
            r#"{"id":"a","context":"felix sent a letter","continuation":" ."}"#,
            vec!["--chat-template", "--system", "she asked"],
        ),
        (r#"{"id":"a","context":"<s> she asked . dear boss , felix sent a letter :","continuation":" ."}"#, vec![]),
    ];
    let mut scores = Vec::new();
    for (request, flags) in requests {
        let (asked, answered) = (path("requests.jsonl"), path("scores.jsonl"));
        std::fs::write(&asked, request).expect("request");
        done(&[&["score", "--model", &model, "--requests", &asked, "--output", &answered], flags.as_slice()].concat());
        let line: Value = serde_json::from_str(&std::fs::read_to_string(&answered).expect("scores")).expect("json");
        scores.push(line["loglikelihood"].as_f64().expect("number"));
    }
    assert!((scores[0] - scores[1]).abs() < 1e-6 && (scores[2] - scores[3]).abs() < 1e-6, "{scores:?}");
    assert!((scores[0] - scores[2]).abs() > 1e-6, "{scores:?}");
    let prompt = ["--prompt", "felix sent", "--max-tokens", "3"];
    let framed = done(&[&["complete", "--model", &model, "--chat-template"], prompt.as_slice()].concat());
    let spelt = ["--prompt", "<s> dear boss , felix sent :", "--max-tokens", "3"];
    let whole = done(&[&["complete", "--model", &model], spelt.as_slice()].concat());
    assert!(
        !framed.trim().is_empty() && whole.trim().strip_prefix(spelt[1]) == Some(framed.trim_end()),
        "{framed:?} {whole:?}"
    );
    let record = |name: &str, flags: &[&str]| -> Value {
        let output = path(name);
        done(&[&["evaluate", "--model", &model, "--eval-set", "hiring", "--output", &output], flags].concat());
        serde_json::from_slice(&std::fs::read(&output).expect("record")).expect("json")
    };
    let (framed, plain) = (record("framed.json", &["--chat-template"]), record("plain.json", &[]));
    assert_ne!(framed["tokenizer"], plain["tokenizer"]);
    assert_ne!(framed["scores"], plain["scores"]);
    let pathway = path("pathway.json");
    done(&[
        "mediate",
        "--model",
        &model,
        "--chat-template",
        "--eval-set",
        "hiring",
        "--sites",
        "z",
        "--output",
        &pathway,
    ]);
    refused(
        &["evaluate", "--model", "embedded", "--eval-set", "hiring", "--output", &path("x.json"), "--chat-template"],
        "no chat template",
    );
}
