//! Words in running text: where they begin and end, how their case is kept, and phrases that are looked for.

use std::collections::BTreeMap;

/// Whether a character is part of a word, as `\w` of regular expressions has it.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The target in the case of the source: all capitals, all small, or a capital first; else as it stands.
pub(super) fn match_case(source: &str, target: &str) -> String {
    let letters = || source.chars().filter(|c| c.is_alphabetic());
    if letters().count() > 1 && letters().all(char::is_uppercase) {
        return target.to_uppercase();
    }
    if letters().all(char::is_lowercase) {
        return target.to_lowercase();
    }
    match source.chars().next() {
        Some(first) if first.is_uppercase() => capitalise(target),
        _ => target.to_owned(),
    }
}

/// The text with its first letter as a capital and the rest as it stands.
pub(super) fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Text cut into words and what stands between them; together the pieces are the text. With an apostrophe or hyphen between two
/// letters a word goes on.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let joins = |at: usize| {
        let letter = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(|(_, c)| c.is_alphabetic());
        let joint = chars.get(at).is_some_and(|(_, c)| matches!(c, '\'' | '’' | '-'));
        joint && letter(at.checked_sub(1)) && letter(Some(at + 1))
    };
    let mut found: Vec<Piece<'_>> = Vec::new();
    let mut start = 0;
    let mut kind = None;
    for (index, &(offset, c)) in chars.iter().enumerate() {
        let word = is_word(c) || joins(index);
        if kind.is_some_and(|kind| kind != word) {
            found.push(Piece { text: text.get(start..offset).unwrap_or_default(), word: !word });
            start = offset;
        }
        kind = Some(word);
    }
    if let Some(word) = kind {
        found.push(Piece { text: text.get(start..).unwrap_or_default(), word });
    }
    found
}

/// A word, or what stands between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The characters.
    pub text: &'a str,
    /// Whether they are a word.
    pub word: bool,
}

/// How a phrase must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matching {
    /// Letter for letter.
    Exact,
    /// Whatever its case; a curly apostrophe is an apostrophe.
    AnyCase,
    /// Whatever its case, apostrophes as they are.
    Letters,
    /// Whatever its case but for the first letter, which must be a capital: names, not words.
    Capital,
}

/// Phrases that are looked for in text, whole words only; the earlier of two that match at one place is taken.
#[derive(Debug, Clone)]
pub(super) struct Phrases {
    phrases: Vec<Vec<char>>,
    by_first: BTreeMap<char, Vec<usize>>,
    matching: Matching,
    /// Characters beside letters and digits that may not stand next to a phrase.
    joints: &'static [char],
}

impl Phrases {
    /// Phrases in the order of their precedence.
    pub fn new<'a>(phrases: impl IntoIterator<Item = &'a str>, matching: Matching, joints: &'static [char]) -> Self {
        let phrases: Vec<Vec<char>> = phrases.into_iter().map(|phrase| phrase.chars().collect()).collect();
        let mut by_first: BTreeMap<char, Vec<usize>> = BTreeMap::new();
        for (index, phrase) in phrases.iter().enumerate() {
            if let Some(&first) = phrase.first() {
                by_first.entry(folded(first)).or_default().push(index);
            }
        }
        Self { phrases, by_first, matching, joints }
    }

    /// Phrases of which the longest that matches is taken: a list's own order says nothing.
    pub fn longest<'a>(phrases: impl IntoIterator<Item = &'a str>, matching: Matching) -> Self {
        let mut made = Self::new(phrases, matching, &[]);
        for candidates in made.by_first.values_mut() {
            candidates.sort_by_key(|&index| std::cmp::Reverse(made.phrases.get(index).map_or(0, Vec::len)));
        }
        made
    }

    /// The phrase that stands at `at`, with the index behind it.
    pub fn at(&self, text: &[char], at: usize) -> Option<(usize, usize)> {
        let first = *text.get(at)?;
        let open = |c: Option<&char>| c.is_none_or(|c| !is_word(*c) && !self.joints.contains(c));
        if !open(at.checked_sub(1).and_then(|before| text.get(before))) {
            return None;
        }
        let matches = |&&index: &&usize| {
            let phrase = self.phrases.get(index)?;
            let found = text.get(at..at + phrase.len())?;
            let same = phrase.iter().zip(found).all(|(a, b)| self.same(*a, *b));
            let capital = self.matching != Matching::Capital || first.is_uppercase();
            (same && capital && open(text.get(at + phrase.len()))).then_some((index, at + phrase.len()))
        };
        self.by_first.get(&folded(first))?.iter().find_map(|index| matches(&index))
    }

    fn same(&self, a: char, b: char) -> bool {
        match self.matching {
            Matching::Exact => a == b,
            Matching::AnyCase | Matching::Capital => folded(a) == folded(b),
            Matching::Letters => a.to_lowercase().eq(b.to_lowercase()),
        }
    }

    /// The text with each phrase, from left to right, replaced by what `put` makes of it (phrase as found, its index, what follows);
    /// where that is `None` it stays. What was put in is not looked at again.
    pub fn replace(&self, text: &str, mut put: impl FnMut(&str, usize, &str) -> Option<String>) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            let Some((index, end)) = self.at(&chars, at) else {
                out.push(c);
                at += 1;
                continue;
            };
            let found: String = chars.get(at..end).into_iter().flatten().collect();
            let rest: String = chars.get(end..).into_iter().flatten().collect();
            out.push_str(&put(&found, index, &rest).unwrap_or(found));
            at = end;
        }
        out
    }
}

fn folded(c: char) -> char {
    match c {
        '’' => '\'',
        c => c.to_lowercase().next().unwrap_or(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_words_and_neighbours_are_found() {
        let phrases = Phrases::longest(["he", "him", "he will"], Matching::AnyCase);
        let marked = |text: &str| phrases.replace(text, |found, index, _| Some(format!("<{found}:{index}>")));
        assert_eq!(marked("He saw him"), "<He:0> saw <him:1>");
        assert_eq!(marked("he he he"), "<he:0> <he:0> <he:0>");
        assert_eq!(marked("he will, the hem"), "<he will:2>, the hem");
    }

    #[test]
    fn case_is_kept() {
        assert_eq!(match_case("HE", "she"), "SHE");
        assert_eq!(match_case("He", "she"), "She");
        assert_eq!(match_case("he", "She"), "she");
        assert_eq!(match_case("I am", "I'm"), "I'm");
        assert_eq!(match_case("i am", "I'm"), "i'm");
        assert_eq!(match_case("Emily", "DeShawn"), "DeShawn");
    }

    #[test]
    fn pieces_are_the_text() {
        let text = "It's a well-known fact: don't—'stop'.";
        let cut = pieces(text);
        assert_eq!(cut.iter().map(|piece| piece.text).collect::<String>(), text);
        let words: Vec<&str> = cut.iter().filter(|piece| piece.word).map(|piece| piece.text).collect();
        assert_eq!(words, ["It's", "a", "well-known", "fact", "don't", "stop"]);
    }
}
