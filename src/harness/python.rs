//! Python's view of plain values: what `str`, `repr`, `json.dumps` and `ast.literal_eval` make of them, as task files and
//! lm-eval's hashes need it.

use serde_json::{Map, Value};

use crate::model::chat::python;

/// `repr` of a value.
pub fn repr(value: &Value) -> String {
    python::repr_json(value)
}

/// `str` of a value: a text as it is, everything else as `repr`.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// `json.dumps(value, indent=2, ensure_ascii=False)`.
pub fn dumps_indented(value: &Value) -> String {
    python::dumps(value, Some("  "))
}

/// `json.dumps(value, ensure_ascii=False)`.
pub fn dumps(value: &Value) -> String {
    python::dumps(value, None)
}

/// `str.isdigit` for ASCII digits.
pub fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether Python's `str.isspace` holds of a character: Unicode's white space and the four separators of ASCII.
pub fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}

/// `str.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.capitalize()`.
pub fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    first + &letters.as_str().to_lowercase()
}

/// How deep a literal may nest.
const DEPTH: usize = 64;

/// `ast.literal_eval`: texts, numbers, booleans, `None`, lists, tuples (as lists), dictionaries with texts as keys.
///
/// # Errors
/// What was expected, and where.
pub fn literal(text: &str) -> Result<Value, String> {
    let letters: Vec<char> = text.trim_start_matches([' ', '\t']).chars().collect();
    let mut reader = Reader { letters: &letters, at: 0 };
    let value = reader.value(0)?;
    reader.spaces();
    match reader.peek() {
        None => Ok(value),
        Some(letter) => Err(format!("`{letter}` after the literal, at character {}", reader.at + 1)),
    }
}

struct Reader<'a> {
    letters: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let letter = self.peek();
        self.at += usize::from(letter.is_some());
        letter
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(|letter| letter.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, String> {
        match self.peek() {
            Some(letter) => Err(format!("{expected} expected at character {}, found `{letter}`", self.at + 1)),
            None => Err(format!("{expected} expected, and the text ends")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err(format!("more than {DEPTH} levels"));
        }
        self.spaces();
        match self.peek() {
            Some('[') => self.items(']', depth).map(|(items, _)| Value::Array(items)),
            Some('(') => self.items(')', depth).map(|(mut items, comma)| match (items.len(), comma) {
                (1, false) => items.pop().unwrap_or(Value::Null),
                _ => Value::Array(items),
            }),
            Some('{') => self.dictionary(depth),
            Some('\'' | '"') => self.strings(),
            Some(letter) if letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.') => self.number(),
            Some(letter) if letter.is_alphabetic() => self.word(),
            _ => self.wrong("a literal"),
        }
    }

    /// The items of a bracket, and whether a comma stood behind the last.
    fn items(&mut self, close: char, depth: usize) -> Result<(Vec<Value>, bool), String> {
        self.at += 1;
        let (mut items, mut comma) = (Vec::new(), true);
        loop {
            self.spaces();
            match self.peek() {
                Some(letter) if letter == close => {
                    self.at += 1;
                    let trailing = comma && !items.is_empty();
                    return Ok((items, trailing));
                }
                _ if !comma => return self.wrong("`,`"),
                _ => items.push(self.value(depth + 1)?),
            }
            self.spaces();
            comma = self.peek() == Some(',');
            self.at += usize::from(comma);
        }
    }

    fn dictionary(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let (mut items, mut comma) = (Map::new(), true);
        loop {
            self.spaces();
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    return Ok(Value::Object(items));
                }
                _ if !comma => return self.wrong("`,`"),
                _ => {
                    let key = text(&self.value(depth + 1)?);
                    self.spaces();
                    if self.take() != Some(':') {
                        self.at -= 1;
                        return self.wrong("`:`");
                    }
                    items.insert(key, self.value(depth + 1)?);
                }
            }
            self.spaces();
            comma = self.peek() == Some(',');
            self.at += usize::from(comma);
        }
    }

    /// One text, or several that stand behind each other.
    fn strings(&mut self) -> Result<Value, String> {
        let mut whole = String::new();
        while let Some(quote @ ('\'' | '"')) = self.peek() {
            self.string(quote, &mut whole)?;
            self.spaces();
        }
        Ok(Value::String(whole))
    }

    fn string(&mut self, quote: char, out: &mut String) -> Result<(), String> {
        let triple = self.letters.get(self.at..self.at + 3).is_some_and(|three| three.iter().all(|l| *l == quote));
        let closing = if triple { 3 } else { 1 };
        self.at += closing;
        loop {
            let rest = self.letters.get(self.at..self.at + closing);
            if rest.is_some_and(|rest| rest.iter().all(|letter| *letter == quote)) {
                self.at += closing;
                return Ok(());
            }
            match self.take() {
                None => return Err("a text without its closing quote".into()),
                Some('\n') if !triple => return Err(format!("a line break in a text, at character {}", self.at)),
                Some('\\') => self.escape(out)?,
                Some(letter) => out.push(letter),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        let letter = match self.take() {
            None => return Err("a text that ends with a backslash".into()),
            Some('\n') => return Ok(()),
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('v') => '\u{b}',
            Some('x') => self.code(2, 16)?,
            Some('u') => self.code(4, 16)?,
            Some('U') => self.code(8, 16)?,
            Some(octal @ '0'..='7') => {
                self.at -= 1;
                let digits = self.letters.iter().skip(self.at).take(3).take_while(|l| ('0'..='7').contains(*l)).count();
                self.code(digits, 8).map_err(|_| format!("the escape \\{octal}"))?
            }
            Some(same @ ('\\' | '\'' | '"')) => same,
            Some(other) => {
                out.push('\\');
                other
            }
        };
        out.push(letter);
        Ok(())
    }

    fn code(&mut self, digits: usize, radix: u32) -> Result<char, String> {
        let text: String = self.letters.iter().skip(self.at).take(digits).collect();
        let code = u32::from_str_radix(&text, radix).ok().filter(|_| text.chars().count() == digits);
        self.at += digits;
        code.and_then(char::from_u32).ok_or_else(|| format!("the escape {text:?} is no character"))
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        let part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '+' | '-');
        let mut before = ' ';
        while let Some(letter) = self.peek().filter(|letter| part(*letter)) {
            if matches!(letter, '+' | '-') && self.at > start && !matches!(before, 'e' | 'E') {
                break;
            }
            before = letter;
            self.at += 1;
        }
        let written: String = self.letters.iter().take(self.at).skip(start).filter(|letter| **letter != '_').collect();
        if let Ok(whole) = written.parse::<i64>() {
            return Ok(whole.into());
        }
        let number = written.parse::<f64>().ok().filter(|_| !written.contains(|l: char| l.is_alphabetic() && l != 'e'));
        number
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| format!("{written:?} is no number"))
    }

    fn word(&mut self) -> Result<Value, String> {
        let start = self.at;
        while self.peek().is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            self.at += 1;
        }
        let word: String = self.letters.iter().take(self.at).skip(start).collect();
        match word.as_str() {
            "True" => Ok(true.into()),
            "False" => Ok(false.into()),
            "None" => Ok(Value::Null),
            "u" | "b" | "r" if matches!(self.peek(), Some('\'' | '"')) && word == "u" => self.strings(),
            _ => Err(format!("`{word}` is no literal: only texts, numbers, lists and dictionaries are")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literals_are_read_as_python_reads_them() {
        // Each evaluated with ast.literal_eval of CPython 3.11; tuples stand as lists here.
        for (text, value) in [
            (r#"['no', "it's", 'a\tb\x41\u00e9\101', 'x' 'y']"#, json!(["no", "it's", "a\tbAéA", "xy"])),
            ("(1, -2.5, 1e3,)", json!([1, -2.5, 1000.0])),
            ("(3)", json!(3)),
            ("{'a': None, 'b': [True, False]}", json!({"a": null, "b": [true, false]})),
            ("'''two\nlines'''", json!("two\nlines")),
            ("[]", json!([])),
        ] {
            assert_eq!(literal(text), Ok(value), "{text}");
        }
        for text in ["", "[1 2]", "['a", "yes", "1 +", "{'a' 1}", "['a'] x", "'\\x4'"] {
            assert!(literal(text).is_err(), "{text}");
        }
        assert!(literal(&"[".repeat(100_000)).is_err(), "no deeper than what the stack holds");
    }

    #[test]
    fn values_print_as_python_prints_them() {
        // str() and repr() of CPython 3.11.
        let value = json!({"a": [1, 2.0, 1e-7, 1e16, true, null, "it's", "a\u{a0}b\u{200b}"]});
        assert_eq!(text(&value), "{'a': [1, 2.0, 1e-07, 1e+16, True, None, \"it's\", 'a\\xa0b\\u200b']}");
        assert_eq!(text(&json!("plain")), "plain");
        assert_eq!(dumps(&json!({"é": [1.0, null]})), "{\"é\": [1.0, null]}");
        assert_eq!(
            dumps_indented(&json!({"a": [], "b": {"c": 1}})),
            "{\n  \"a\": [],\n  \"b\": {\n    \"c\": 1\n  }\n}"
        );
        assert_eq!((capitalize("éTé x"), strip("\u{1f} a\u{a0}")), ("Été x".into(), "a"));
    }

    #[test]
    fn what_repr_writes_is_read_back() {
        let value = json!(["it's", "say \"so\"", "both ' and \"", "tab\t\\ \u{7f}", 3, -0.5, [true, null]]);
        assert_eq!(literal(&repr(&value)), Ok(value));
    }
}
