//! Chat templates: the text that a conversation becomes before it is tokenized.
//!
//! A template is Jinja as `transformers` runs it: blocks take their line (`trim_blocks`, `lstrip_blocks`), values print as
//! Python prints them, strings and dictionaries have Python's methods, `tojson` writes as Python's `json.dumps`, and
//! `raise_exception` ends the rendering. A template comes with a checkpoint and is not trusted: its steps are bounded,
//! and it can read nothing but what it is given. The time is given, too (`strftime_now`).

mod clock;
mod frame;
pub(crate) mod python;

use minijinja::{Environment, Error, ErrorKind};
use regex::Regex;
use serde_json::{Map, Value};

use super::error::ModelError;
use super::text::{Encoded, Special, TextTokenizer};

pub use clock::Clock;
pub use frame::ChatFrame;

/// Steps that a template may take: real ones need a few hundred for each message.
const FUEL: u64 = 10_000_000;

/// Whether the text ends where the model's answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GenerationPrompt {
    /// It ends with what stands before an answer.
    #[default]
    Add,
    /// It ends with the last message.
    Leave,
}

/// What a template is given besides the messages.
#[derive(Debug, Clone, Default)]
pub struct ChatOptions {
    /// Whether the answer's beginning is added.
    pub generation_prompt: GenerationPrompt,
    /// Tools (JSON schemas), where there are any.
    pub tools: Option<Value>,
    /// Further variables of the template, such as `enable_thinking`.
    pub extra: Map<String, Value>,
    /// The time for templates that ask for it.
    pub now: Option<Clock>,
}

/// A template with the special tokens that it may name.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    tokens: Map<String, Value>,
}

impl ChatTemplate {
    /// The template of a `tokenizer_config.json`; where it holds several, the one called `tool_use` if tools are given
    /// and `default` else. `None` where there is none.
    pub(crate) fn of_settings(settings: &Value, tools: bool) -> Option<Self> {
        let source = match settings.get("chat_template")? {
            Value::String(source) => source.clone(),
            Value::Array(several) => {
                let named = |name: &str| {
                    let entry = several.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))?;
                    entry.get("template")?.as_str()
                };
                named("tool_use").filter(|_| tools).or_else(|| named("default"))?.to_owned()
            }
            _ => return None,
        };
        let mut tokens = Map::new();
        for key in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
            let token = settings.get(key);
            let text = token.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
            if let Some(text) = text {
                tokens.insert(key.into(), text.into());
            }
        }
        Some(Self::new(&source, tokens))
    }

    /// A template and the variables that stand for special tokens.
    pub fn new(source: &str, tokens: Map<String, Value>) -> Self {
        // The marks of what the model wrote matter to training loops alone; they print nothing.
        let source = match Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}") {
            Ok(marks) => marks.replace_all(source, |found: &regex::Captures<'_>| {
                let part = |at: usize| found.get(at).map_or("", |part| part.as_str());
                let tag = if part(2).is_empty() { "if true" } else { "endif" };
                format!("{{%{} {tag} {}%}}", part(1), part(3))
            }),
            Err(_) => source.into(),
        };
        Self { source: source.into_owned(), tokens }
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation: a list of messages with `role` and `content`.
    pub fn render(&self, messages: &Value, options: &ChatOptions) -> Result<String, ModelError> {
        let mut variables = self.tokens.clone();
        variables.insert("messages".into(), messages.clone());
        variables.insert("add_generation_prompt".into(), (options.generation_prompt == GenerationPrompt::Add).into());
        variables.insert("tools".into(), options.tools.clone().unwrap_or(Value::Null));
        variables.insert("documents".into(), Value::Null);
        variables.extend(options.extra.clone());
        let variables = minijinja::Value::from(minijinja::value::Serde(variables));
        let environment = environment(options.now).map_err(failed)?;
        environment.template_from_str(&self.source).and_then(|template| template.render(variables)).map_err(failed)
    }
}

fn failed(error: Error) -> ModelError {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let cause = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    ModelError::ChatTemplate(format!("{line}{cause}"))
}

fn environment(now: Option<Clock>) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build()?);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| match python::text(value) {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    });
    environment.set_unknown_method_callback(python::method);
    environment.add_test("iterable", python::is_iterable);
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("string", python::string);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: String| -> Result<String, Error> {
        let clock = now.ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, "the template asks for the time, and none was given")
        })?;
        clock.format(&format).map_err(|message| Error::new(ErrorKind::InvalidOperation, message))
    });
    Ok(environment)
}

impl TextTokenizer {
    /// The checkpoint's chat template; an error where it has none.
    pub fn chat_template(&self, tools: bool) -> Result<ChatTemplate, ModelError> {
        ChatTemplate::of_settings(self.settings(), tools).ok_or(ModelError::NoChatTemplate)
    }

    /// The text of a conversation by the checkpoint's own template.
    pub fn apply_chat_template(&self, messages: &Value, options: &ChatOptions) -> Result<String, ModelError> {
        self.chat_template(options.tools.is_some())?.render(messages, options)
    }

    /// The tokens of a conversation. The template writes the special tokens, so that none is added.
    pub fn encode_chat(&self, messages: &Value, options: &ChatOptions) -> Result<Encoded, ModelError> {
        self.encode(&self.apply_chat_template(messages, options)?, Special::None)
    }
}
