//! The words and signs of dagitty, DOT and BIF texts.

use super::FormatError;

/// A word (bare or quoted), a number being one too, or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Sign(&'static str),
}

/// Signs, longer ones first.
const SIGNS: [&str; 20] =
    ["<->", "->", "<-", "--", "@-@", "@->", "<-@", "@-", "-@", "{", "}", "[", "]", "(", ")", "=", ",", ";", "|", ":"];

/// Whether a text begins with a block of this kind, such as `dag {` or `dag{`.
pub(super) fn begins_block(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with('{'))
}

/// Takes a text apart; comments (`//`, `#`, `/* … */`) are skipped. Each token has its line.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FormatError> {
    let (mut found, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let skip = |marker: &str| rest.find(marker).map_or(rest.len(), |at| at + marker.len());
        let taken = if first.is_whitespace() {
            first.len_utf8()
        } else if rest.starts_with("//") || first == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            skip("*/")
        } else if first == '"' {
            let (word, length) = quoted(rest)
                .ok_or_else(|| FormatError::Syntax { line, message: "the quote is never closed: add `\"`".into() })?;
            found.push((line, Token::Word(word)));
            length
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign) && !number_follows(rest)) {
            found.push((line, Token::Sign(sign)));
            sign.len()
        } else {
            let end = word_end(rest);
            if end == 0 {
                return Err(FormatError::Syntax { line, message: format!("unexpected `{first}`") });
            }
            found.push((line, Token::Word(rest.get(..end).unwrap_or_default().to_owned())));
            end
        };
        let (before, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        line += before.matches('\n').count();
        rest = after;
    }
    Ok(found)
}

/// A quoted word without its quotes, and its length with them.
fn quoted(text: &str) -> Option<(String, usize)> {
    let (mut word, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return Some((word, at + 1)),
            '\\' if !escaped => escaped = true,
            _ => {
                word.push(c);
                escaped = false;
            }
        }
    }
    None
}

/// A negative number is a word.
fn number_follows(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

fn word_end(text: &str) -> usize {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let arrow = text.get(at..).is_some_and(|rest| ["->", "--", "-@"].iter().any(|sign| rest.starts_with(sign)));
        if c.is_whitespace() || "{}[]()=,;|:\"<>@".contains(c) || (arrow && at > 0) {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

/// A reader of tokens.
pub(super) struct Cursor {
    tokens: Vec<(usize, Token)>,
    at: usize,
}

impl Cursor {
    pub(super) fn new(text: &str) -> Result<Self, FormatError> {
        Ok(Self { tokens: tokens(text)?, at: 0 })
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    /// Takes a sign if it is the next token.
    pub(super) fn take(&mut self, sign: &'static str) -> bool {
        let there = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(there);
        there
    }

    /// Takes a word if it is the next token.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, sign: &'static str) -> Result<(), FormatError> {
        if self.take(sign) { Ok(()) } else { Err(self.error(&format!("`{sign}`"))) }
    }

    pub(super) fn word(&mut self, what: &str) -> Result<String, FormatError> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            _ => {
                self.at -= 1;
                Err(self.error(what))
            }
        }
    }

    /// What should stand at the next token.
    pub(super) fn error(&self, wanted: &str) -> FormatError {
        let (line, found) = match self.tokens.get(self.at).or(self.tokens.last()) {
            Some((line, Token::Word(word))) if self.at < self.tokens.len() => (*line, format!("`{word}`")),
            Some((line, Token::Sign(sign))) if self.at < self.tokens.len() => (*line, format!("`{sign}`")),
            last => (last.map_or(1, |(line, _)| *line), "the end".to_owned()),
        };
        FormatError::Syntax { line, message: format!("found {found} where {wanted} should stand") }
    }
}
