//! From questions and answers to the text that a model reads (lm-eval `api/task.py`, `fewshot_context` and
//! `build_qa_turn`; `api/utils.py`).

use serde_json::{Value, json};

use super::python;
use crate::model::ModelError;
use crate::model::TextTokenizer;
use crate::model::chat::{ChatOptions, Clock, GenerationPrompt};

/// Whether examples are turns of their own in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FewshotTurns {
    /// One turn of the user and one of the model each.
    #[default]
    Several,
    /// All in the user's one turn.
    One,
}

/// How prompts are put together.
#[derive(Clone, Copy, Default)]
pub struct PromptStyle<'a> {
    /// What stands before each task's own description.
    pub system: Option<&'a str>,
    /// The tokenizer whose chat template goes around prompts; plain text without it.
    pub chat: Option<&'a TextTokenizer>,
    /// What examples are in a conversation.
    pub turns: FewshotTurns,
}

/// The time that a template is told, 26 July 2024: it never changes, so that a request gives the same bytes on any day.
const NOW: Clock = Clock(1_721_952_000);

/// What stands where the last message goes on while a template is applied; two characters of the private use area around a
/// word.
const HERE: &str = "\u{E0F0}here\u{E0F1}";

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What stands before everything.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A message, and what follows it where the prompt is plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What.
    pub content: String,
    /// What follows in plain text.
    pub delimiter: String,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>, delimiter: &str) -> Self {
        Self { role, content: content.into(), delimiter: delimiter.into() }
    }
}

fn starts_with_space(text: &str) -> bool {
    text.chars().next().is_some_and(python::is_space)
}

/// Whether a text ends with white space.
pub fn ends_with_space(text: &str) -> bool {
    text.chars().next_back().is_some_and(python::is_space)
}

/// Two texts with the delimiter between them, unless one is empty or has white space there.
pub fn joined(first: &str, second: &str, delimiter: &str) -> String {
    if first.is_empty() || second.is_empty() || ends_with_space(first) || starts_with_space(second) {
        return format!("{first}{second}");
    }
    format!("{first}{delimiter}{second}")
}

/// One question with what is known of its answer.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// The question.
    pub question: &'a str,
    /// The answer; none where it is asked for.
    pub answer: Option<&'a str>,
    /// What the answer begins with.
    pub prefix: Option<&'a str>,
    /// What stands between question and answer.
    pub target_delimiter: &'a str,
    /// What stands behind the answer.
    pub fewshot_delimiter: &'a str,
}

impl Turn<'_> {
    /// The user's message, and the model's where there is an answer or the beginning of one.
    pub fn messages(&self) -> Vec<Message> {
        let prefix = self.prefix.filter(|prefix| !prefix.is_empty());
        let answer = self.answer.filter(|answer| !answer.is_empty());
        let apart =
            |prefix: &str| !self.question.is_empty() && !ends_with_space(self.question) && !starts_with_space(prefix);
        let delimited = match (answer, prefix) {
            (Some(_), None) => true,
            (_, Some(prefix)) => apart(prefix),
            (None, None) => false,
        };
        let delimiter = if delimited { self.target_delimiter } else { "" };
        let mut messages = vec![Message::new(Role::User, self.question, delimiter)];
        match (answer, prefix) {
            (Some(answer), prefix) => {
                let said = joined(prefix.unwrap_or_default(), answer, " ");
                messages.push(Message::new(Role::Assistant, said, self.fewshot_delimiter));
            }
            (None, Some(prefix)) => messages.push(Message::new(Role::Assistant, prefix, "")),
            (None, None) => {}
        }
        messages
    }
}

/// The text of messages: one behind the other, or by the chat template. `prefix` is the beginning of the answer, which the
/// last message then holds.
pub fn render(messages: &[Message], style: &PromptStyle<'_>, prefix: Option<&str>) -> Result<String, ModelError> {
    let Some(tokenizer) = style.chat else {
        return Ok(messages.iter().map(|message| format!("{}{}", message.content, message.delimiter)).collect());
    };
    let turns = match style.turns {
        FewshotTurns::Several => messages.to_vec(),
        FewshotTurns::One => single_turn(messages),
    };
    let open = prefix.is_some_and(|prefix| !prefix.is_empty());
    let mut said: Vec<Value> =
        turns.iter().map(|message| json!({"role": message.role.name(), "content": message.content})).collect();
    if let (true, Some(last), Some(message)) = (open, said.last_mut(), turns.last()) {
        last["content"] = format!("{}{HERE} ", message.content).into();
    }
    let options = ChatOptions {
        generation_prompt: if open { GenerationPrompt::Leave } else { GenerationPrompt::Add },
        now: Some(NOW),
        ..ChatOptions::default()
    };
    let text = tokenizer.apply_chat_template(&Value::Array(said), &options)?;
    if !open {
        return Ok(text);
    }
    // The last message goes on: what the template puts behind it is cut off, and where the template trims messages so
    // is the white space at its end (transformers, `continue_final_message`).
    let Some((kept, behind)) = text.rsplit_once(HERE) else {
        let message = "it does not show the beginning of the answer, which a task gives; leave the template out";
        return Err(ModelError::ChatTemplate(message.into()));
    };
    Ok(if behind.starts_with(' ') { kept } else { kept.trim_end_matches(python::is_space) }.to_owned())
}

/// Everything but the system's message and the beginning of an answer as one message of the user.
fn single_turn(messages: &[Message]) -> Vec<Message> {
    let (system, rest): (Vec<&Message>, Vec<&Message>) =
        messages.iter().partition(|message| message.role == Role::System);
    let (asked, answer) = match rest.split_last() {
        Some((last, before)) if last.role == Role::Assistant => (before, Some(*last)),
        _ => (rest.as_slice(), None),
    };
    let mut text: String = String::new();
    for (index, message) in asked.iter().enumerate() {
        text.push_str(&message.content);
        if index + 1 < asked.len() {
            text.push_str(&message.delimiter);
        }
    }
    let user = Message::new(Role::User, text, "");
    system.into_iter().cloned().chain([user]).chain(answer.cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(turn: Turn<'_>) -> String {
        render(&turn.messages(), &PromptStyle::default(), turn.prefix).expect("text")
    }

    #[test]
    fn questions_and_answers_are_delimited_as_in_lm_eval() {
        // ConfigurableTask.build_qa_turn and Message.to_text of lm-eval 0.4.13 with the same arguments.
        let turn =
            Turn { question: "Q:", answer: None, prefix: None, target_delimiter: " ", fewshot_delimiter: "\n\n" };
        assert_eq!(plain(turn), "Q:");
        assert_eq!(plain(Turn { answer: Some("a"), ..turn }), "Q: a\n\n");
        assert_eq!(plain(Turn { prefix: Some("The"), ..turn }), "Q: The");
        assert_eq!(plain(Turn { prefix: Some("The"), answer: Some("a"), ..turn }), "Q: The a\n\n");
        assert_eq!(plain(Turn { question: "Q\n", prefix: Some("The"), answer: Some(" a"), ..turn }), "Q\nThe a\n\n");
        assert_eq!(plain(Turn { question: "", prefix: Some("The"), ..turn }), "The");
        assert_eq!(plain(Turn { answer: Some(""), ..turn }), "Q:");
        assert_eq!(
            (joined("a", "b", "-"), joined("a ", "b", "-"), joined("", "b", "-")),
            ("a-b".into(), "a b".into(), "b".into())
        );
    }

    #[test]
    fn one_turn_holds_all_examples() {
        let message = |role, content: &str, delimiter: &str| Message::new(role, content, delimiter);
        let messages = [
            message(Role::System, "S", "\n"),
            message(Role::User, "q1", " "),
            message(Role::Assistant, "a1", "\n\n"),
            message(Role::User, "q2", " "),
            message(Role::Assistant, "The", ""),
        ];
        let texts: Vec<String> = single_turn(&messages).into_iter().map(|message| message.content).collect();
        assert_eq!(texts, ["S", "q1 a1\n\nq2", "The"]);
        assert_eq!(single_turn(&messages[1..4])[0].content, "q1 a1\n\nq2");
    }
}
