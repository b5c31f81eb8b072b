//! The surface of a question: which stretches of what the model reads come from its document, and which from the task's wording.
//!
//! A perturbation of words is an intervention on the document's texts, not on the task's wording or on the examples before the
//! question. The texts are found where they stand: strings of the document that occur in a request as whole words, the last
//! occurrence (examples stand before), longer texts first. A string that is a choice, a right answer, or one of as many as there
//! are choices is a *reference*; all others are *input*. Inputs that only white space parts are one text. Where no text of the
//! document is found, everything behind the last blank line (without examples: everything) is the input. Where a task scores whole texts, with
//! nothing before them, these are the input.

use serde_json::Value;

use super::words::is_word;
use crate::harness::question::{Question, Request, Target};

/// What a text is to its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A choice or a right answer.
    Reference,
    /// What is asked, and what is told before.
    Input,
}

/// A text of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What it is to the question.
    pub role: Role,
    /// The characters as the model reads them.
    pub text: String,
}

/// A stretch of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stretch {
    /// The task's own wording.
    Wording(String),
    /// A text of the document, by index.
    Text(usize),
}

/// A question's texts and where they stand. References come first, in the order of the choices.
#[derive(Debug, Clone)]
pub struct Surface {
    /// The texts, each once.
    pub texts: Vec<Text>,
    /// By request, what stands before the answer (for a rolling request: the whole text) and the answer.
    pub(super) requests: Vec<(Vec<Stretch>, Vec<Stretch>)>,
}

impl Surface {
    /// Finds the texts of a question before which `shots` examples stand.
    pub fn of(question: &Question, shots: usize) -> Self {
        let whole_texts = question.requests.iter().all(|request| parts(request).0.trim().is_empty());
        let mut surface = Self { texts: Vec::new(), requests: Vec::new() };
        if !whole_texts {
            let answers = question.requests.iter().map(|request| parts(request).1);
            let texts =
                question.choices.iter().map(String::as_str).chain(answers).chain(target_texts(&question.target));
            for text in texts {
                surface.text(Role::Reference, text);
            }
        }
        let leaves = Leaves::of(question, &surface);
        for text in &leaves.references {
            surface.text(Role::Reference, text);
        }
        let mut spans: Vec<Vec<Span>> =
            question.requests.iter().map(|request| leaves.inputs_in(parts(request).0)).collect();
        if spans.iter().all(Vec::is_empty) {
            let unmarked = |request: &Request| unmarked(parts(request).0, shots).into_iter().collect();
            spans = question.requests.iter().take(conditional(question)).map(unmarked).collect();
        }
        for (number, request) in question.requests.iter().enumerate() {
            let (context, answer) = parts(request);
            let laid = match whole_texts {
                true => (vec![Stretch::Wording(context.into())], surface.padded(Role::Input, answer)),
                false => {
                    let spans = leaves.with_references(context, spans.get(number).cloned().unwrap_or_default());
                    (surface.cut(context, &spans), surface.padded(Role::Reference, answer))
                }
            };
            surface.requests.push(laid);
        }
        surface
    }

    /// The index of a text without the white space around it; `None` where nothing is left.
    fn text(&mut self, role: Role, text: &str) -> Option<usize> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let found = self.texts.iter().position(|known| known.role == role && known.text == text);
        Some(found.unwrap_or_else(|| {
            self.texts.push(Text { role, text: text.into() });
            self.texts.len() - 1
        }))
    }

    /// A text with the white space around it.
    fn padded(&mut self, role: Role, text: &str) -> Vec<Stretch> {
        let lead = text.len() - text.trim_start().len();
        let tail = text.trim_end().len();
        match self.text(role, text) {
            Some(index) => [
                Stretch::Wording(text.get(..lead).unwrap_or_default().into()),
                Stretch::Text(index),
                Stretch::Wording(text.get(tail..).unwrap_or_default().into()),
            ]
            .into(),
            None => vec![Stretch::Wording(text.into())],
        }
    }

    fn cut(&mut self, context: &str, spans: &[Span]) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut at = 0;
        for span in spans {
            stretches.push(Stretch::Wording(context.get(at..span.start).unwrap_or_default().into()));
            if let Some(index) = self.text(span.role, context.get(span.start..span.end).unwrap_or_default()) {
                stretches.push(Stretch::Text(index));
            }
            at = span.end;
        }
        stretches.push(Stretch::Wording(context.get(at..).unwrap_or_default().into()));
        stretches
    }

    /// The question with other texts, one for each of [`Surface::texts`].
    pub(super) fn rebuilt(&self, question: &Question, texts: &[String]) -> Question {
        let lay = |stretches: &[Stretch]| -> String {
            let laid = stretches.iter().map(|stretch| match stretch {
                Stretch::Wording(text) => text.as_str(),
                Stretch::Text(index) => texts.get(*index).map(String::as_str).unwrap_or_default(),
            });
            laid.collect()
        };
        let mut made = question.clone();
        for (request, (before, answer)) in made.requests.iter_mut().zip(&self.requests) {
            put(request, lay(before), lay(answer));
        }
        let reference = |text: &mut String| {
            let found = self.texts.iter().zip(texts).find(|(known, _)| known.text == text.trim());
            if let Some((known, new)) = found {
                *text = text.replacen(&known.text, new, 1);
            }
        };
        made.choices.iter_mut().for_each(reference);
        if let Target::Texts { texts: right } = &mut made.target {
            right.iter_mut().for_each(reference);
        }
        made
    }
}

/// What stands before the answer, and the answer; for a rolling request the text counts as answer.
pub(super) fn parts(request: &Request) -> (&str, &str) {
    match request {
        Request::Loglikelihood { context, continuation } => (context, continuation),
        Request::Rolling { text } => ("", text),
        Request::Generate { context, .. } => (context, ""),
    }
}

/// How many requests come first that ask for an answer to the question; those behind them ask for log p(choice) without it.
pub(super) fn conditional(question: &Question) -> usize {
    if question.choices.is_empty() { question.requests.len() } else { question.choices.len() }
}

/// Puts both back.
pub(super) fn put(request: &mut Request, before: String, answer: String) {
    match request {
        Request::Loglikelihood { context, continuation } => (*context, *continuation) = (before, answer),
        Request::Rolling { text } => *text = answer,
        Request::Generate { context, .. } => *context = before,
    }
}

fn target_texts(target: &Target) -> impl Iterator<Item = &str> {
    let texts = match target {
        Target::Texts { texts } => texts.as_slice(),
        Target::Choices { .. } | Target::None => &[],
    };
    texts.iter().map(String::as_str)
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    role: Role,
}

/// The strings of a document, by what they are.
struct Leaves {
    references: Vec<String>,
    inputs: Vec<String>,
}

impl Leaves {
    fn of(question: &Question, surface: &Surface) -> Self {
        let mut leaves = Self { references: Vec::new(), inputs: Vec::new() };
        let reference = |text: &str| surface.texts.iter().any(|known| known.text == text);
        for value in question.doc.values() {
            leaves.gather(value, question.choices.len(), &reference);
        }
        leaves.inputs.sort_by_key(|text| std::cmp::Reverse(text.len()));
        leaves
    }

    fn gather(&mut self, value: &Value, choices: usize, reference: &impl Fn(&str) -> bool) {
        match value {
            Value::String(text) => self.add(text, reference(text.trim())),
            Value::Array(items) if choices > 1 && items.len() == choices && items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).for_each(|text| self.add(text, true));
            }
            Value::Array(items) => items.iter().for_each(|item| self.gather(item, choices, reference)),
            Value::Object(fields) => fields.values().for_each(|item| self.gather(item, choices, reference)),
            _ => {}
        }
    }

    fn add(&mut self, text: &str, reference: bool) {
        let text = text.trim();
        let list = if reference { &mut self.references } else { &mut self.inputs };
        if text.chars().filter(|c| c.is_alphanumeric()).count() > 1 && !list.iter().any(|known| known == text) {
            list.push(text.into());
        }
    }

    /// Where the document's input texts stand.
    fn inputs_in(&self, context: &str) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let long = |text: &&String| text.len() >= 12 || text.split_whitespace().count() > 2;
        for text in self.inputs.iter().filter(long) {
            spans.extend(last(context, text, Role::Input, 0, &spans));
        }
        if spans.is_empty() {
            for text in &self.inputs {
                spans.extend(last(context, text, Role::Input, 0, &spans));
            }
        }
        spans
    }

    /// The same with the references, from left to right.
    fn with_references(&self, context: &str, mut spans: Vec<Span>) -> Vec<Span> {
        // References are looked for from the input on: before it stand the examples, whose answers may be the same.
        let from = spans.iter().map(|span| span.start).min().unwrap_or(0);
        let mut references: Vec<&String> = self.references.iter().collect();
        references.sort_by_key(|text| std::cmp::Reverse(text.len()));
        for text in references {
            spans.extend(last(context, text, Role::Reference, from, &spans));
        }
        spans.sort_by_key(|span| span.start);
        joined(context, spans)
    }
}

/// The last place from `from` on where a text stands as whole words and touches no other span.
fn last(context: &str, text: &str, role: Role, from: usize, taken: &[Span]) -> Option<Span> {
    let free = |&(start, _): &(usize, &str)| {
        let end = start + text.len();
        start >= from && taken.iter().all(|span| end <= span.start || start >= span.end) && whole(context, start, end)
    };
    context.rmatch_indices(text).find(free).map(|(start, _)| Span { start, end: start + text.len(), role })
}

fn whole(context: &str, start: usize, end: usize) -> bool {
    let inside = context.get(start..end).unwrap_or_default();
    let before = context.get(..start).and_then(|text| text.chars().next_back());
    let after = context.get(end..).and_then(|text| text.chars().next());
    let split = |outer: Option<char>, inner: Option<char>| !(outer.is_some_and(is_word) && inner.is_some_and(is_word));
    split(before, inside.chars().next()) && split(after, inside.chars().next_back())
}

/// Everything behind the examples.
fn unmarked(context: &str, shots: usize) -> Option<Span> {
    let start = if shots > 0 { context.trim_end().rfind("\n\n").map_or(0, |at| at + 2) } else { 0 };
    let text = context.get(start..)?;
    let lead = text.len() - text.trim_start().len();
    let end = start + text.trim_end().len();
    (start + lead < end).then_some(Span { start: start + lead, end, role: Role::Input })
}

/// Inputs between which only blanks or one line break stand are one text.
fn joined(context: &str, spans: Vec<Span>) -> Vec<Span> {
    let mut found: Vec<Span> = Vec::new();
    for span in spans {
        match found.last_mut() {
            Some(before)
                if before.role == Role::Input
                    && span.role == Role::Input
                    && context
                        .get(before.end..span.start)
                        .is_some_and(|gap| gap.trim().is_empty() && gap.len() < 3) =>
            {
                before.end = span.end;
            }
            _ => found.push(span),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::harness::perturb::tests::question;

    #[test]
    fn texts_are_found_behind_the_examples() {
        let doc = json!({"question": "Who is here now?", "choices": ["Ann Bell", "Bo"], "topic": "who"});
        let context =
            "Question: Who is here now?\nA. Bo\nAnswer: A\n\nQuestion: Who is here now?\nA. Ann Bell\nB. Bo\nAnswer:";
        let question = question("q", doc, context, &["A", "B"], 1);
        let surface = Surface::of(&question, 1);
        let inputs: Vec<&Text> = surface.texts.iter().filter(|text| text.role == Role::Input).collect();
        assert_eq!(inputs.len(), 1);
        assert_eq!(inputs[0].text, "Who is here now?");
        let upper: Vec<String> = surface.texts.iter().map(|text| text.text.to_uppercase()).collect();
        let Request::Loglikelihood { context, continuation } = &surface.rebuilt(&question, &upper).requests[1] else {
            panic!("a log-likelihood")
        };
        assert!(context.starts_with("Question: Who is here now?\nA. Bo\nAnswer: A\n\n"), "{context}");
        assert!(context.ends_with("Question: WHO IS HERE NOW?\nA. ANN BELL\nB. BO\nAnswer:"), "{context}");
        assert_eq!(continuation, " B");
    }

    #[test]
    fn the_same_texts_give_the_same_question() {
        let doc = json!({"a": "A man walks in. ", "q": "Where does he go?"});
        let question = question("q", doc, "A man walks in. Where does he go?\nAnswer:", &["out", "in"], 0);
        let surface = Surface::of(&question, 0);
        assert!(surface.texts.iter().any(|text| text.text == "A man walks in. Where does he go?"));
        let same: Vec<String> = surface.texts.iter().map(|text| text.text.clone()).collect();
        assert_eq!(surface.rebuilt(&question, &same), question);
    }
}
