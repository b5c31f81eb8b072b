//! Chat templates against transformers' own rendering (`scripts/loading_fixtures.py`).

use std::path::Path;

use counterpath::model::chat::{ChatOptions, ChatTemplate, Clock, GenerationPrompt};
use counterpath::model::{Special, TextTokenizer};
use serde_json::{Map, Value, json};

use crate::shared;

#[test]
fn templates_render_as_transformers_renders_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat");
    let golden = shared::json(&folder.join("golden.json"));
    let tokens: Map<String, Value> = golden["tokens"].as_object().expect("tokens").clone();
    let now = Clock(golden["now"].as_i64().expect("time"));
    let mut wrong = Vec::new();
    let cases = golden["cases"].as_array().expect("cases");
    for case in cases {
        let name = case["template"].as_str().expect("name");
        let source = std::fs::read_to_string(folder.join(name)).expect("template");
        let options = ChatOptions {
            generation_prompt: if case["generate"] == true { GenerationPrompt::Add } else { GenerationPrompt::Leave },
            tools: Some(case["tools"].clone()).filter(|tools| !tools.is_null()),
            extra: case["extra"].as_object().expect("extra").clone(),
            now: Some(now),
        };
        let rendered = ChatTemplate::new(&source, tokens.clone()).render(&case["messages"], &options);
        match (rendered, case["text"].as_str(), case["error"].as_str()) {
            (Ok(found), Some(expected), None) if found == expected => {}
            (Err(error), None, Some(expected)) if error.to_string().contains(expected) => {}
            (found, expected, error) => wrong
                .push(format!("{name} {}\n  found    {found:?}\n  expected {expected:?} {error:?}", case["messages"])),
        }
    }
    assert!(cases.len() > 100 && cases.iter().any(|case| case["error"].is_string()));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong[..wrong.len().min(6)].join("\n"));
}

fn render(source: &str, messages: &Value) -> Result<String, String> {
    let template = ChatTemplate::new(source, Map::new());
    template.render(messages, &ChatOptions::default()).map_err(|error| error.to_string())
}

#[test]
fn a_bad_template_is_a_clear_error() {
    let messages = json!([{"role": "user", "content": "x"}]);
    assert!(render("{{ messages[0].content }}", &messages).as_deref() == Ok("x"));
    assert!(render("\n{% if %}", &messages).expect_err("malformed").contains("line 2"));
    assert!(
        render("{{ raise_exception('no ' + messages[0].role) }}", &messages).expect_err("raised").contains("no user")
    );
    assert!(render("{{ messages[0].content.frobnicate() }}", &messages).is_err());
    assert!(render("{{ strftime_now('%Y') }}", &messages).expect_err("no clock").contains("time"));
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert!(render(endless, &messages).is_err(), "a template's steps are bounded");
}

#[test]
fn the_tokenizer_brings_its_template() {
    let vocab = json!({"<s>": 0, "h": 1, "i": 2, "[": 3, "]": 4});
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": []}
    });
    let text = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}";
    let several = json!([{"name": "default", "template": text}, {"name": "tool_use", "template": "hi"}]);
    for template in [json!(text), several] {
        let settings = json!({"bos_token": "<s>", "add_bos_token": true, "chat_template": template});
        let tokenizer = TextTokenizer::from_json(tokenizer.to_string().as_bytes(), &settings).expect("tokenizer");
        let messages = json!([{"role": "user", "content": "hi"}]);
        let options = ChatOptions::default();
        assert_eq!(tokenizer.apply_chat_template(&messages, &options).expect("text"), "<s>[hi]");
        assert_eq!(tokenizer.encode_chat(&messages, &options).expect("tokens").ids, [0, 3, 1, 2, 4], "one BOS");
        assert_eq!(tokenizer.encode("<s>[hi]", Special::Default).expect("tokens").ids, [0, 3, 1, 2, 4], "still one");
    }
    let without = TextTokenizer::from_json(tokenizer.to_string().as_bytes(), &Value::Null).expect("tokenizer");
    let error = without.apply_chat_template(&json!([]), &ChatOptions::default()).expect_err("none");
    assert!(error.to_string().contains("no chat template"));
}
