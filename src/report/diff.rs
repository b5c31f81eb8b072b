//! Which words differ between the two sides of a pair (longest common subsequence of words).

/// A stretch of one side: its text, and whether the other side lacks it.
pub(super) type Piece = (String, bool);

/// Longer texts than this are compared by their common beginning and end alone.
const LONGEST: usize = 1500;

/// Both sides cut into common and changed stretches; spaces belong to the word before them.
pub(super) fn words(left: &str, right: &str) -> (Vec<Piece>, Vec<Piece>) {
    let (left, right) = (split(left), split(right));
    let bare = |word: &&str| word.trim_end().to_owned();
    let (a, b): (Vec<String>, Vec<String>) = (left.iter().map(bare).collect(), right.iter().map(bare).collect());
    let (keep_left, keep_right) = common(&a, &b);
    (pieces(&left, &keep_left), pieces(&right, &keep_right))
}

fn split(text: &str) -> Vec<&str> {
    text.split_inclusive(char::is_whitespace).collect()
}

/// Marks of the words on either side that belong to the common subsequence.
fn common(a: &[String], b: &[String]) -> (Vec<bool>, Vec<bool>) {
    let (mut keep_a, mut keep_b) = (vec![false; a.len()], vec![false; b.len()]);
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - head;
    let tail = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
    keep_a.iter_mut().take(head).for_each(|keep| *keep = true);
    keep_b.iter_mut().take(head).for_each(|keep| *keep = true);
    keep_a.iter_mut().rev().take(tail).for_each(|keep| *keep = true);
    keep_b.iter_mut().rev().take(tail).for_each(|keep| *keep = true);
    let inner = |side: &[String]| side.get(head..side.len() - tail).map(<[String]>::to_vec).unwrap_or_default();
    let (inner_a, inner_b) = (inner(a), inner(b));
    if inner_a.len() * inner_b.len() <= LONGEST * LONGEST {
        for (i, j) in subsequence(&inner_a, &inner_b) {
            if let (Some(left), Some(right)) = (keep_a.get_mut(head + i), keep_b.get_mut(head + j)) {
                (*left, *right) = (true, true);
            }
        }
    }
    (keep_a, keep_b)
}

/// Index pairs of a longest common subsequence.
fn subsequence(a: &[String], b: &[String]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    let mut table = vec![0u32; (a.len() + 1) * width];
    let get = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for (i, x) in a.iter().enumerate().rev() {
        for (j, y) in b.iter().enumerate().rev() {
            let longest =
                if x == y { get(&table, i + 1, j + 1) + 1 } else { get(&table, i + 1, j).max(get(&table, i, j + 1)) };
            if let Some(cell) = table.get_mut(i * width + j) {
                *cell = longest;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if x == y {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if get(&table, i + 1, j) >= get(&table, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

fn pieces(words: &[&str], keep: &[bool]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (word, keep) in words.iter().zip(keep) {
        match pieces.last_mut() {
            Some((text, changed)) if *changed != *keep => text.push_str(word),
            _ => pieces.push(((*word).to_owned(), !keep)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(pieces: &[Piece]) -> Vec<&str> {
        pieces.iter().filter(|(_, changed)| *changed).map(|(text, _)| text.trim_end()).collect()
    }

    #[test]
    fn changed_words_are_found_and_the_text_stays_whole() {
        let (a, b) = ("Maria has nine years . She is", "Paul has two long years . He is");
        let (left, right) = words(a, b);
        assert_eq!(changed(&left), ["Maria", "nine", "She"]);
        assert_eq!(changed(&right), ["Paul", "two long", "He"]);
        assert_eq!(left.iter().map(|(text, _)| text.as_str()).collect::<String>(), a);
        assert_eq!(right.iter().map(|(text, _)| text.as_str()).collect::<String>(), b);
    }

    #[test]
    fn equal_empty_and_repeated_texts() {
        assert_eq!(words("a b", "a b").0, vec![("a b".to_owned(), false)]);
        assert_eq!(words("", "new").1, vec![("new".to_owned(), true)]);
        let (left, right) = words("a a", "a a a");
        assert_eq!((changed(&left).len(), changed(&right).len()), (0, 1));
    }
}
