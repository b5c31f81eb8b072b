//! Regular expressions in Python's dialect, as task files write them.

use fancy_regex::{Captures, Regex};

/// A compiled pattern of Python's `re`.
#[derive(Debug, Clone)]
pub struct Pattern {
    written: String,
    regex: Regex,
}

/// Two patterns are equal where they were written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// One of `findall`'s matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The whole match, or the only group's text.
    One(String),
    /// The texts of several groups; empty where a group took no part.
    Groups(Vec<String>),
}

impl Pattern {
    /// Compiles a pattern; the message says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let regex = Regex::new(&translated(pattern)).map_err(|error| format!("the pattern {pattern:?}: {error}"))?;
        Ok(Self { written: pattern.into(), regex })
    }

    /// `re.findall`. A search that goes back too often ends there, with a message.
    pub fn find_all(&self, text: &str) -> Result<Vec<Found>, String> {
        let mut all = Vec::new();
        for captures in self.regex.captures_iter(text) {
            all.push(found(&captures.map_err(|error| format!("the pattern {:?}: {error}", self.written))?));
        }
        Ok(all)
    }

    /// `re.sub` with a replacement that may name groups by `\1` or `\g<1>`; all matches where `count` is 0.
    pub fn replace(&self, text: &str, replacement: &str, count: usize) -> Result<String, String> {
        let replacement = Replacement::parse(replacement);
        let mut out = String::new();
        let (mut last, mut from, mut done) = (0, 0, 0);
        while from <= text.len() && (count == 0 || done < count) {
            let found = self.regex.captures_from_pos(text, from);
            let found = found.map_err(|error| format!("the pattern {:?}: {error}", self.written))?;
            let Some(captures) = found else { break };
            let Some(whole) = captures.get(0) else { break };
            out.push_str(text.get(last..whole.start()).unwrap_or_default());
            replacement.write(&captures, &mut out);
            (last, done) = (whole.end(), done + 1);
            // Python takes an empty match right behind another one; only a second empty one at a place is passed over.
            from = match whole.start() == whole.end() {
                true => text
                    .get(last..)
                    .and_then(|rest| rest.chars().next())
                    .map_or(text.len() + 1, |c| last + c.len_utf8()),
                false => last,
            };
        }
        out.push_str(text.get(last..).unwrap_or_default());
        Ok(out)
    }
}

fn found(captures: &Captures<'_>) -> Found {
    let group = |index: usize| captures.get(index).map(|group| group.as_str().to_owned()).unwrap_or_default();
    match captures.len() {
        0 | 1 => Found::One(group(0)),
        2 => Found::One(group(1)),
        several => Found::Groups((1..several).map(group).collect()),
    }
}

/// A replacement in pieces.
struct Replacement(Vec<Piece>);

enum Piece {
    Text(String),
    Group(String),
}

impl Replacement {
    fn parse(written: &str) -> Self {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut letters = written.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            match letters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    let mut number = String::from(digit);
                    number.extend(letters.next_if(char::is_ascii_digit));
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::Group(number));
                }
                Some('g') if letters.peek() == Some(&'<') => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::Group(letters.by_ref().skip(1).take_while(|letter| *letter != '>').collect()));
                }
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            }
        }
        pieces.push(Piece::Text(text));
        Self(pieces)
    }

    fn write(&self, captures: &Captures<'_>, out: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(name) => {
                    let group = match name.parse::<usize>() {
                        Ok(index) => captures.get(index),
                        Err(_) => captures.name(name),
                    };
                    out.push_str(group.map_or("", |group| group.as_str()));
                }
            }
        }
    }
}

/// The pattern in the dialect of the regex crate: what Python takes literally and the crate does not gets a backslash,
/// `\Z` is the end of the text, and `$` stands before a last line break, too.
fn translated(pattern: &str) -> String {
    let letters: Vec<char> = pattern.chars().collect();
    let multiline = pattern.contains("(?m") || pattern.contains("(?sm") || pattern.contains("(?im");
    let mut out = String::new();
    let (mut at, mut class) = (0, None::<usize>);
    while let Some(&letter) = letters.get(at) {
        at += 1;
        match (letter, class) {
            ('\\', _) => {
                let next = letters.get(at).copied();
                at += usize::from(next.is_some());
                out.push_str(&escape(next, class.is_some()));
            }
            ('[', None) => {
                out.push('[');
                class = Some(at + usize::from(letters.get(at) == Some(&'^')));
            }
            ('[', Some(_)) => out.push_str("\\["),
            // A bracket that closes where the class begins is one of its characters.
            (']', Some(first)) if at - 1 == first => out.push_str("\\]"),
            (']', Some(_)) => {
                out.push(']');
                class = None;
            }
            ('&' | '~', Some(_)) => out.extend(['\\', letter]),
            ('{', None) if !is_count(letters.get(at..).unwrap_or_default()) => out.push_str("\\{"),
            ('}', None) if !closes_count(&letters, at - 1) => out.push_str("\\}"),
            ('$', None) if !multiline => out.push_str("(?=\\n?\\z)"),
            (other, _) => out.push(other),
        }
    }
    out
}

fn escape(letter: Option<char>, in_class: bool) -> String {
    match letter {
        Some('Z') if !in_class => "\\z".into(),
        Some(letter) if letter.is_ascii_alphanumeric() => format!("\\{letter}"),
        // The crate knows no escapes of other letters, nor of a space.
        Some(letter) if !letter.is_ascii_punctuation() => letter.to_string(),
        Some(letter @ ('<' | '>')) if !in_class => letter.to_string(),
        Some(letter) => format!("\\{letter}"),
        None => "\\".into(),
    }
}

/// Whether `{` is followed by a repetition.
fn is_count(rest: &[char]) -> bool {
    let inside: Vec<char> = rest.iter().copied().take_while(|letter| *letter != '}').collect();
    let closed = rest.get(inside.len()) == Some(&'}');
    let digits = inside.iter().any(char::is_ascii_digit);
    closed && digits && inside.iter().all(|letter| letter.is_ascii_digit() || *letter == ',')
}

fn closes_count(letters: &[char], close: usize) -> bool {
    let before = letters.get(..close).unwrap_or_default();
    let open = before.iter().rposition(|letter| *letter == '{');
    open.is_some_and(|open| letters.get(open + 1..).is_some_and(is_count))
}

/// The text with everything escaped that a pattern would not take literally (`re.escape`).
pub fn escaped(text: &str) -> String {
    let special = |letter: char| letter.is_ascii_punctuation() && letter != '_';
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str, text: &str) -> Vec<Found> {
        Pattern::new(pattern).expect(pattern).find_all(text).expect(pattern)
    }

    #[test]
    fn findall_is_that_of_python() {
        // re.findall of CPython 3.11.
        let one = |texts: &[&str]| texts.iter().map(|text| Found::One((*text).into())).collect::<Vec<_>>();
        assert_eq!(all(r"#### (\-?[0-9\.\,]+)", "a #### 12,5. #### -3"), one(&["12,5.", "-3"]));
        assert_eq!(all("(?=(female|woman|man|male))", "a woman, male"), one(&["woman", "man", "male"]));
        assert_eq!(
            all(r"(\d)|([a-z])", "1b"),
            [Found::Groups(vec!["1".into(), String::new()]), Found::Groups(vec![String::new(), "b".into()])]
        );
        assert_eq!(all(r"{\s*([^}]*?)\s*}", "x { a } {b}"), one(&["a", "b"]));
        assert_eq!(all("[][a]+", "[a]b"), one(&["[a]"]));
        assert_eq!(all("a$", "a\n"), one(&["a"]));
        assert_eq!(all(r"a{2}\Z", "aaa"), one(&["aa"]));
        assert_eq!(all(r"\<(\w+)\>", "<b>"), one(&["b"]));
        assert!(Pattern::new("(").is_err_and(|message| message.contains("\"(\"")));
    }

    #[test]
    fn substitution_is_that_of_python() {
        let sub = |pattern: &str, with: &str, text: &str, count| {
            Pattern::new(pattern).expect(pattern).replace(text, with, count).expect(pattern)
        };
        // re.sub of CPython 3.11.
        assert_eq!(sub(r"(\w)(\w)?", r"<\1\g<2>>\n", "abc", 0), "<ab>\n<c>\n");
        assert_eq!(sub("x*", "-", "abxd", 0), "-a-b--d-");
        assert_eq!(sub("a", "b", "aaa", 2), "bba");
        assert_eq!(sub(&escaped("a.b"), "", "a.bacb", 0), "acb");
    }
}
