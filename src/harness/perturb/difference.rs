//! What changed from one text to another, word by word, so that a person can see it.

/// What became of a stretch of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It stands in both.
    Same,
    /// It stands in the first alone.
    Removed,
    /// It stands in the second alone.
    Added,
}

/// A stretch of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// What became of it.
    pub change: Change,
    /// The characters.
    pub text: String,
}

/// The largest table of the longest common subsequence, in cells; beyond it what lies between common ends counts as replaced whole.
const CELLS: usize = 1 << 23;

/// The stretches of two texts in reading order: without the added ones they are the first text, without the removed ones the second.
/// Words are compared whole, and white space as it stands.
pub fn difference(first: &str, second: &str) -> Vec<Stretch> {
    let (a, b) = (tokens(first), tokens(second));
    let lead = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - lead;
    let tail = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (inner_a, inner_b) = (middle(&a, lead, tail), middle(&b, lead, tail));
    let mut stretches = Vec::new();
    push_all(&mut stretches, Change::Same, a.iter().take(lead));
    if inner_a.len().saturating_mul(inner_b.len()) > CELLS {
        push_all(&mut stretches, Change::Removed, inner_a.iter());
        push_all(&mut stretches, Change::Added, inner_b.iter());
    } else {
        between(&mut stretches, inner_a, inner_b);
    }
    push_all(&mut stretches, Change::Same, a.iter().skip(a.len() - tail));
    stretches
}

fn middle<'a, 'b>(tokens: &'b [&'a str], lead: usize, tail: usize) -> &'b [&'a str] {
    tokens.get(lead..tokens.len() - tail).unwrap_or_default()
}

/// Words and runs of one kind of white space.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut before: Option<char> = None;
    for (offset, c) in text.char_indices() {
        let goes_on =
            before.is_some_and(|before| if c.is_whitespace() { before == c } else { !before.is_whitespace() });
        if before.is_some() && !goes_on {
            found.extend(text.get(start..offset));
            start = offset;
        }
        before = Some(c);
    }
    found.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    found
}

fn push_all<'a>(stretches: &mut Vec<Stretch>, change: Change, tokens: impl Iterator<Item = &'a &'a str>) {
    for token in tokens {
        match stretches.last_mut() {
            Some(last) if last.change == change => last.text.push_str(token),
            _ => stretches.push(Stretch { change, text: (*token).to_owned() }),
        }
    }
}

/// Along the longest common subsequence.
fn between(stretches: &mut Vec<Stretch>, a: &[&str], b: &[&str]) {
    let width = b.len() + 1;
    let mut longest = vec![0u32; (a.len() + 1) * width];
    let at = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let best = match a.get(i) == b.get(j) {
                true => at(&longest, i + 1, j + 1) + 1,
                false => at(&longest, i + 1, j).max(at(&longest, i, j + 1)),
            };
            longest.iter_mut().skip(i * width + j).take(1).for_each(|cell| *cell = best);
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let (left, right) = (a.get(i), b.get(j));
        if left.is_some() && left == right {
            push_all(stretches, Change::Same, left.into_iter());
            (i, j) = (i + 1, j + 1);
        } else if right.is_none() || (left.is_some() && at(&longest, i + 1, j) >= at(&longest, i, j + 1)) {
            push_all(stretches, Change::Removed, left.into_iter());
            i += 1;
        } else {
            push_all(stretches, Change::Added, right.into_iter());
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(first: &str, second: &str) -> String {
        let mark = |stretch: Stretch| match stretch.change {
            Change::Same => stretch.text,
            Change::Removed => format!("[-{}-]", stretch.text),
            Change::Added => format!("{{+{}+}}", stretch.text),
        };
        difference(first, second).into_iter().map(mark).collect()
    }

    #[test]
    fn changes_are_words_and_blanks() {
        assert_eq!(shown("The cat sat.", "The dog sat."), "The [-cat-]{+dog+} sat.");
        assert_eq!(shown("a b", "a  b"), "a[- -]{+  +}b");
        assert_eq!(shown("same", "same"), "same");
        assert_eq!(shown("", "new"), "{+new+}");
    }

    proptest::proptest! {
        #[test]
        fn both_texts_can_be_read_off(first in "[ab \n]{0,20}", second in "[ab \n]{0,20}") {
            let stretches = difference(&first, &second);
            let without = |change| -> String {
                stretches.iter().filter(|stretch| stretch.change != change).map(|stretch| stretch.text.as_str()).collect()
            };
            proptest::prop_assert_eq!(without(Change::Added), first);
            proptest::prop_assert_eq!(without(Change::Removed), second);
        }
    }
}
