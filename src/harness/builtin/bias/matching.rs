//! Which words two sentences share, in order: Python's `difflib.SequenceMatcher` on lists of fewer than 200 elements, where its rule for
//! popular elements does not act.

/// A run of equal elements: where it begins in the first and in the second list, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) length: usize,
}

/// The matching blocks, in order; neighbouring ones are joined.
pub(super) fn blocks<T: PartialEq>(first: &[T], second: &[T]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open = vec![(0, first.len(), 0, second.len())];
    while let Some((from, to, other_from, other_to)) = open.pop() {
        let block = longest(first, second, (from, to), (other_from, other_to));
        if block.length > 0 {
            found.push(block);
            open.push((from, block.first, other_from, block.second));
            open.push((block.first + block.length, to, block.second + block.length, other_to));
        }
    }
    found.sort_by_key(|block| (block.first, block.second));
    let mut joined: Vec<Block> = Vec::new();
    for block in found {
        match joined.last_mut() {
            Some(last) if last.first + last.length == block.first && last.second + last.length == block.second => {
                last.length += block.length;
            }
            _ => joined.push(block),
        }
    }
    joined
}

/// The longest run of equal elements, the earliest in the first list and then in the second.
fn longest<T: PartialEq>(first: &[T], second: &[T], range: (usize, usize), other: (usize, usize)) -> Block {
    let mut best = Block { first: range.0, second: other.0, length: 0 };
    // Lengths of runs that end at the element before, by where they end in the second list.
    let mut before = vec![0usize; second.len() + 1];
    for (i, element) in first.iter().enumerate().take(range.1).skip(range.0) {
        let mut now = vec![0usize; second.len() + 1];
        for (j, candidate) in second.iter().enumerate().take(other.1).skip(other.0) {
            if element != candidate {
                continue;
            }
            let run = if j > other.0 { before.get(j).copied().unwrap_or(0) } else { 0 } + 1;
            if let Some(slot) = now.get_mut(j + 1) {
                *slot = run;
            }
            if run > best.length {
                best = Block { first: i + 1 - run, second: j + 1 - run, length: run };
            }
        }
        before = now;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triples(first: &str, second: &str) -> Vec<(usize, usize, usize)> {
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        let (first, second) = (words(String::leak(first.into())), words(String::leak(second.into())));
        blocks(&first, &second).into_iter().map(|block| (block.first, block.second, block.length)).collect()
    }

    #[test]
    fn blocks_are_those_of_difflib() {
        // get_matching_blocks() of Python 3.11's difflib, without the closing empty block.
        assert_eq!(triples("a b c d e", "a x c d y e"), [(0, 0, 1), (2, 2, 2), (4, 5, 1)]);
        assert_eq!(triples("the poor are here", "the very rich are here"), [(0, 0, 1), (2, 3, 2)]);
        assert_eq!(triples("a b a b a", "b a b"), [(1, 0, 3)]);
        assert_eq!(triples("x y", "p q"), []);
        assert_eq!(triples("q a b x c d", "a b y q c d"), [(1, 0, 2), (4, 4, 2)]);
    }
}
