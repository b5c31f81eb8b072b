//! Templates of task files: Jinja with strict undefined values, a last line break that is kept, Python's methods, and values
//! that print as Python prints them (lm-eval `utils.py`, `apply_template`).

use std::collections::HashMap;
use std::sync::Mutex;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use super::pattern::Pattern;
use crate::model::chat::python;

/// Steps that one rendering may take.
const FUEL: u64 = 10_000_000;

/// Renders templates over documents.
pub struct Templates {
    environment: Environment<'static>,
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut syntax = minijinja::syntax::SyntaxConfig::builder();
        syntax.keep_trailing_newline(true);
        // Only delimiters can be wrong, and they are the usual ones.
        if let Ok(syntax) = syntax.build() {
            environment.set_syntax(syntax);
        }
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(|out, state, value| match python::text(value) {
            Some(text) => out.write_str(&text).map_err(Error::from),
            None => minijinja::escape_formatter(out, state, value),
        });
        environment.set_unknown_method_callback(method);
        environment.add_filter("string", python::string);
        environment.add_filter("int", int);
        environment.add_filter("join", join);
        let patterns = Mutex::new(HashMap::new());
        environment.add_filter("regex_replace", move |text: &str, pattern: &str, with: &str, count: Option<usize>| {
            substitute(&patterns, pattern, text, with, count.unwrap_or(0))
        });
        Self { environment }
    }
}

impl Templates {
    /// The text that a template becomes over a document.
    ///
    /// # Errors
    /// The line, and what is wrong: a syntax error, a field that the document does not have, an operation that its
    /// value does not allow.
    pub fn render(&self, template: &str, doc: &Map<String, Json>) -> Result<String, String> {
        // Most templates name one column, or nothing at all.
        if !template.contains(['{', '\r']) {
            return Ok(template.to_owned());
        }
        let variables = Value::from(Serde(doc));
        self.environment.render_str(template, variables).map_err(|error| said(&error))
    }

    /// Whether a template can be read; the message as [`Templates::render`] gives it.
    pub fn check(&self, template: &str) -> Result<(), String> {
        self.environment.template_from_str(template).map(drop).map_err(|error| said(&error))
    }
}

fn said(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line} of the template: ")).unwrap_or_default();
    let cause = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    format!("{line}{cause}")
}

/// `list.index`, and what Python's strings and dictionaries can do.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if value.as_str().is_none()
        && name == "index"
        && let Some(wanted) = args.first()
        && let Ok(mut items) = value.try_iter()
    {
        let place = items.position(|item| item == *wanted);
        return place.map(Value::from).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("{} is not in list", python::repr(wanted)))
        });
    }
    python::method(state, value, name, args)
}

/// Jinja2's `int`: the default, 0, where a text is no number.
fn int(value: &Value, default: Option<Value>) -> Value {
    let whole = match value.as_str() {
        None => i64::try_from(value.clone()).ok().or_else(|| f64::try_from(value.clone()).ok().map(|x| x as i64)),
        Some(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| x as i64))
        }
    };
    whole.map(Value::from).or(default).unwrap_or_else(|| Value::from(0))
}

/// Jinja2's `join`: items print as Python's `str` prints them.
fn join(items: &Value, between: Option<&str>) -> Result<String, Error> {
    let texts: Vec<String> = items.try_iter()?.map(|item| python::string(&item)).collect();
    Ok(texts.join(between.unwrap_or_default()))
}

fn substitute(
    patterns: &Mutex<HashMap<String, Pattern>>,
    pattern: &str,
    text: &str,
    with: &str,
    count: usize,
) -> Result<String, Error> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidOperation, format!("regex_replace: {message}"));
    let mut known = patterns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !known.contains_key(pattern) {
        known.insert(pattern.to_owned(), Pattern::new(pattern).map_err(wrong)?);
    }
    match known.get(pattern) {
        Some(compiled) => compiled.replace(text, with, count).map_err(wrong),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str, doc: Json) -> Result<String, String> {
        let Json::Object(doc) = doc else { panic!("a document") };
        Templates::default().render(template, &doc)
    }

    #[test]
    fn templates_render_as_jinja2_does() {
        // Each rendered by lm_eval.utils.apply_template (jinja2 3.1) with the same document.
        let doc = json!({"q": " It's ", "choices": {"text": ["a", "b's"], "label": ["A", "B"]}, "key": "B", "n": 2,
                         "x": 1.0, "none": null, "flag": true, "text": "one two three"});
        for (template, text) in [
            ("Q: {{q.strip()}}\n", "Q: It's\n"),
            ("{{choices.text}}", "['a', \"b's\"]"),
            ("{{choices.label.index(key)}}", "1"),
            ("{{[n, x, none, flag]}}", "[2, 1.0, None, True]"),
            ("{{none}} {{flag}} {{x}}", "None True 1.0"),
            ("{{text.split(' ')[:-1]|join(' ')}}", "one two"),
            ("{{' '+text.split(' ')[-1]}}", " three"),
            ("{{ 'ABCD'[key|int - 1] if key|string in '1234' else key }}", "B"),
            ("{{text.capitalize()}}{% if choices.text|length > 1 %}!{% endif %}", "One two three!"),
            ("{{text|replace('one', '1')|trim}}", "1 two three"),
            ("{{text|regex_replace('t(w|h)', 'T\\\\1')}}", "one Two Three"),
            ("{% for t in choices.text %}{{loop.index}}. {{t}}\n{% endfor %}", "1. a\n2. b's\n"),
            ("{% set p = 'Q: a\\n\\nA: b' %}{{p + '\\n' + key}}", "Q: a\n\nA: b\nB"),
            ("{{['no','yes'][n - 1]}}", "yes"),
            ("plain\n", "plain\n"),
        ] {
            assert_eq!(render(template, doc.clone()).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_the_document_does_not_have_is_an_error() {
        for template in ["{{missing}}", "{{doc.missing}}", "{% if missing %}{% endif %}", "{{q", "{{q.nothing()}}"] {
            assert!(render(template, json!({"q": "a", "doc": {"a": 1}})).is_err(), "{template}");
        }
        assert!(render("{% for i in range(100000000) %}{% endfor %}", json!({})).is_err(), "rendering is bounded");
    }
}
