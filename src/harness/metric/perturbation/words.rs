//! Words as NLTK's `word_tokenize` cuts them: Penn Treebank rules, sentence by sentence.
//!
//! Sentences are cut by a rule where NLTK asks a trained model (Punkt): behind `.`, `!` or `?` (and closing quotes and brackets) where white space
//! follows, but not behind single letters and common abbreviations. On texts without other abbreviations both cut alike.

use std::sync::LazyLock;

use regex::Regex;

const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "u.s", "inc", "ltd", "co", "corp",
    "no", "dept", "gen", "col", "rev", "jan", "feb", "aug", "sept", "oct", "nov", "dec", "a.m", "p.m",
];

/// Patterns and what they become, in their order; the rule on opening apostrophes stands between the first list and the second.
const OPENING: &[(&str, &str)] =
    &[("([«“‘„]|[`]+)", " $1 "), ("^\"", "``"), ("(``)", " $1 "), (r#"([ (\[{<])("|'{2})"#, "$1 `` ")];
const INNER: &[(&str, &str)] = &[
    (r#"([^.])(\.)([\])}>"'»”’ ]*)\s*$"#, "$1 $2 $3 "),
    (r"([:,])([^\d])", " $1 $2"),
    ("([:,])$", " $1 "),
    (r"\.{2,}", " $0 "),
    ("[;@#$%&]", " $0 "),
    ("[\u{2012}-\u{2015}]", " $0 "),
    (r#"([^.])(\.)([\])}>"']*)\s*$"#, "$1 $2$3 "),
    ("[?!]", " $0 "),
    ("([^'])' ", "$1 ' "),
    (r"[*]", " $0 "),
    (r"[\]\[(){}<>]", " $0 "),
    ("--", " -- "),
];
const CLOSING: &[(&str, &str)] = &[
    ("([»”’])", " $1 "),
    ("''", " '' "),
    ("\"", " '' "),
    (r"\s+", " "),
    ("([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 "),
    ("([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "),
    (r"\b(can)(not)\b", " $1 $2 "),
    (r"\b(d)('ye)\b", " $1 $2 "),
    (r"\b(gim)(me)\b", " $1 $2 "),
    (r"\b(gon)(na)\b", " $1 $2 "),
    (r"\b(got)(ta)\b", " $1 $2 "),
    (r"\b(lem)(me)\b", " $1 $2 "),
    (r"\b(more)('n)\b", " $1 $2 "),
    (r"\b(wan)(na)(\s)", " $1 $2 $3"),
    (r" ('t)(is)\b", " $1 $2 "),
    (r" ('t)(was)\b", " $1 $2 "),
];

struct Rules {
    opening: Vec<(Regex, &'static str)>,
    inner: Vec<(Regex, &'static str)>,
    closing: Vec<(Regex, &'static str)>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    // The patterns are constants; a test holds that each of them compiles.
    let compiled = |list: &[(&str, &'static str)]| {
        list.iter().filter_map(|(pattern, put)| Some((Regex::new(pattern).ok()?, *put))).collect()
    };
    Rules { opening: compiled(OPENING), inner: compiled(INNER), closing: compiled(CLOSING) }
});

/// The words of a text in small letters.
pub fn lowered_words(text: &str) -> Vec<String> {
    sentences(&text.to_lowercase()).into_iter().flat_map(words).collect()
}

fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '.' | '!' | '?') {
            continue;
        }
        let mut end = at + c.len_utf8();
        while let Some(&(next, closing)) = chars.peek() {
            if !matches!(closing, '.' | '!' | '?' | '"' | '\'' | ')' | ']' | '”' | '’') {
                break;
            }
            end = next + closing.len_utf8();
            chars.next();
        }
        let spaced = text.get(end..).and_then(|rest| rest.chars().next()).is_some_and(char::is_whitespace);
        let sentence = text.get(start..end).unwrap_or_default();
        if spaced && !(c == '.' && abbreviated(text.get(start..at).unwrap_or_default())) {
            found.push(sentence.trim());
            start = end;
        }
    }
    found.extend(text.get(start..).map(str::trim).filter(|rest| !rest.is_empty()));
    found
}

fn abbreviated(before: &str) -> bool {
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches(['(', '"', '\'']);
    ABBREVIATIONS.contains(&word) || (word.chars().count() == 1 && word.chars().all(char::is_alphabetic))
}

fn words(sentence: &str) -> Vec<String> {
    let apply = |text: String, rules: &[(Regex, &str)]| {
        rules.iter().fold(text, |text, (pattern, put)| pattern.replace_all(&text, *put).into_owned())
    };
    let text = opened(&apply(sentence.to_owned(), &RULES.opening));
    let text = format!(" {} ", apply(text, &RULES.inner));
    apply(text, &RULES.closing).split_whitespace().map(str::to_owned).collect()
}

/// An apostrophe that opens a word is a word of its own, unless a clitic follows.
fn opened(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let mut out = String::with_capacity(text.len() + 4);
    for (at, &c) in chars.iter().enumerate() {
        out.push(c);
        let before = at.checked_sub(1).and_then(|before| chars.get(before)).is_some_and(is_word);
        if c != '\'' || before {
            continue;
        }
        let next: String = chars.iter().skip(at + 1).take_while(|c| is_word(c)).collect();
        if !next.is_empty() && !["re", "ve", "ll", "m", "t", "s", "d", "n"].contains(&next.as_str()) {
            out.push(' ');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles() {
        assert_eq!(
            RULES.opening.len() + RULES.inner.len() + RULES.closing.len(),
            OPENING.len() + INNER.len() + CLOSING.len()
        );
    }
}
