//! What templates expect of Python: how values print, methods of strings, and `json.dumps`.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use serde_json::Value as Json;

/// How Python prints a value, where that is not how the template engine does.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value.kind() {
        ValueKind::Bool | ValueKind::None => Some(repr(value)),
        ValueKind::Seq | ValueKind::Map => Some(repr(value)),
        ValueKind::Number if !value.is_integer() => Some(repr(value)),
        _ => None,
    }
}

/// `repr` of plain values.
pub(crate) fn repr(value: &Value) -> String {
    let json = |value: &Value| serde_json::to_value(value).unwrap_or(Json::Null);
    repr_json(&json(value))
}

pub(crate) fn repr_json(value: &Json) -> String {
    match value {
        Json::Null => "None".into(),
        Json::Bool(true) => "True".into(),
        Json::Bool(false) => "False".into(),
        Json::Number(number) => number_text(number),
        Json::String(text) => quoted(text),
        Json::Array(items) => format!("[{}]", items.iter().map(repr_json).collect::<Vec<_>>().join(", ")),
        Json::Object(items) => {
            let item = |(key, value): (&String, &Json)| format!("{}: {}", quoted(key), repr_json(value));
            format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A string as `repr` writes it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == quote => out.extend(['\\', letter]),
            letter if !prints(letter) => out.push_str(&match letter as u32 {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
            letter => out.push(letter),
        }
    }
    out.push(quote);
    out
}

/// Whether `repr` shows a character as it is: no control or format character, no space but the plain one, nothing of the
/// private use areas.
fn prints(letter: char) -> bool {
    let hidden = letter.is_control()
        || (letter.is_whitespace() && letter != ' ')
        || matches!(letter, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}');
    !hidden
}

/// A number as Python writes it: the shortest digits, an exponent of at least two digits with its sign.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        None => number.to_string(),
        Some(value) => {
            let text = format!("{value:?}");
            match text.split_once('e') {
                None => text,
                Some((digits, exponent)) => {
                    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
                    format!("{digits}e{sign}{exponent:0>2}")
                }
            }
        }
    }
}

/// The filter `string`: Python's `str`.
pub(crate) fn string(value: &Value) -> String {
    text(value).unwrap_or_else(|| value.to_string())
}

/// The test `iterable`: none is not.
pub(crate) fn is_iterable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
}

/// Methods of strings and dictionaries.
pub(crate) fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let first = args.first().and_then(Value::as_str);
    if let Some(text) = value.as_str() {
        let answer = match (name, first) {
            ("removeprefix", Some(part)) => Some(text.strip_prefix(part).unwrap_or(text).into()),
            ("removesuffix", Some(part)) => Some(text.strip_suffix(part).unwrap_or(text).into()),
            ("rsplit", separator) => rsplit(text, separator, args.get(1)),
            ("partition", Some(part)) => Some(match text.split_once(part) {
                Some((before, after)) => list([before, part, after]),
                None => list([text, "", ""]),
            }),
            ("casefold", None) => Some(text.to_lowercase().into()),
            ("index", Some(part)) => match text.find(part) {
                Some(at) => Some(text.get(..at).unwrap_or_default().chars().count().into()),
                None => return Err(Error::new(ErrorKind::InvalidOperation, "substring not found")),
            },
            _ => None,
        };
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

fn rsplit(text: &str, separator: Option<&str>, most: Option<&Value>) -> Option<Value> {
    let most = most.and_then(|most| i64::try_from(most.clone()).ok()).and_then(|most| usize::try_from(most).ok());
    let separator = separator?;
    let mut parts: Vec<&str> = match most {
        Some(most) => text.rsplitn(most.saturating_add(1), separator).collect(),
        None => text.rsplit(separator).collect(),
    };
    parts.reverse();
    Some(list(parts))
}

fn list<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    parts.into_iter().map(str::to_owned).collect::<Vec<_>>().into()
}

/// The filter `tojson`: `json.dumps` with the arguments that `transformers` hands on.
pub(crate) fn tojson(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let indent = match options.get::<Option<Value>>("indent")?.or(indent).filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(i64::try_from(indent)?).unwrap_or(0).min(64)),
        }),
    };
    let separators = match options.get::<Option<Value>>("separators")?.filter(|pair| !pair.is_none()) {
        None => None,
        Some(pair) => Some((pair.get_item_by_index(0)?.to_string(), pair.get_item_by_index(1)?.to_string())),
    };
    let between = if indent.is_some() { "," } else { ", " };
    let (item, key) = separators.unwrap_or_else(|| (between.into(), ": ".into()));
    let style = Style {
        indent,
        item,
        key,
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "tojson of what is not defined"));
    }
    let json =
        serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut out = String::new();
    style.write(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

/// `json.dumps(value, indent=indent, ensure_ascii=False)`.
pub(crate) fn dumps(value: &Json, indent: Option<&str>) -> String {
    let item = if indent.is_some() { "," } else { ", " };
    let style =
        Style { indent: indent.map(str::to_owned), item: item.into(), key: ": ".into(), ascii: false, sorted: false };
    let mut out = String::new();
    style.write(value, 0, &mut out);
    out
}

/// How `json.dumps` writes.
struct Style {
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sorted: bool,
}

impl Style {
    fn write(&self, value: &Json, depth: usize, out: &mut String) {
        match value {
            Json::Number(number) => out.push_str(&number_text(number)),
            Json::String(text) => self.string(text, out),
            Json::Array(items) => self.list(items, ['[', ']'], depth, out, |style, item, out| {
                style.write(item, depth + 1, out);
            }),
            Json::Object(items) => {
                let mut pairs: Vec<_> = items.iter().collect();
                if self.sorted {
                    pairs.sort_by_key(|(key, _)| *key);
                }
                self.list(&pairs, ['{', '}'], depth, out, |style, (key, value), out| {
                    style.string(key, out);
                    out.push_str(&style.key);
                    style.write(value, depth + 1, out);
                });
            }
            other => out.push_str(&other.to_string()),
        }
    }

    fn list<T>(
        &self,
        items: &[T],
        [open, close]: [char; 2],
        depth: usize,
        out: &mut String,
        each: impl Fn(&Self, &T, &mut String),
    ) {
        out.push(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push_str(&self.item);
            }
            self.line(depth + 1, out);
            each(self, item, out);
        }
        if !items.is_empty() {
            self.line(depth, out);
        }
        out.push(close);
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        let quoted = Json::from(text).to_string();
        match self.ascii {
            false => out.push_str(&quoted),
            true => {
                let mut units = [0; 2];
                for letter in quoted.chars() {
                    match letter.is_ascii() {
                        true => out.push(letter),
                        false => letter
                            .encode_utf16(&mut units)
                            .iter()
                            .for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
                    }
                }
            }
        }
    }
}
