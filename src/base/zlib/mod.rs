//! How many bytes zlib makes of a text: the length alone, exactly that of zlib at its default level 6.
//!
//! The zlib ratio of membership inference divides by this number, and other implementations of deflate (zlib-ng, miniz)
//! give others: they search and split differently. So the search (hash chains, lazy matching) and the choice of trees
//! follow zlib 1.2.13's `deflate_slow` and `trees.c` step by step, with its constants; nothing is written. Cost: that
//! of zlib, times a few.

mod matches;
mod trees;

use matches::Search;

/// Bytes of `zlib.compress(text)`: header, deflate at level 6, checksum.
pub fn zlib_length(text: &[u8]) -> usize {
    let bits = Search::new(text).bits();
    2 + bits.div_ceil(8) + 4
}

/// A list of numbers that is 0 outside.
#[derive(Debug, Clone)]
struct Numbers(Vec<usize>);

impl Numbers {
    fn zeros(count: usize) -> Self {
        Self(vec![0; count])
    }

    fn at(&self, index: usize) -> usize {
        self.0.get(index).copied().unwrap_or(0)
    }

    fn set(&mut self, index: usize, value: usize) {
        self.0.get_mut(index).into_iter().for_each(|slot| *slot = value);
    }

    fn add(&mut self, index: usize, value: usize) {
        self.0.get_mut(index).into_iter().for_each(|slot| *slot += value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words drawn by a linear congruential generator from a small vocabulary.
    fn text(words: usize) -> String {
        let vocabulary = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "away", "quickly", "home"];
        let mut state = 12_345u64;
        let mut word = |_| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            vocabulary[(state >> 16) as usize % vocabulary.len()]
        };
        (0..words).map(&mut word).collect::<Vec<_>>().join(" ")
    }

    /// Bytes of the same generator.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 777u64;
        let mut byte = |_| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            (state >> 16) as u8
        };
        (0..count).map(&mut byte).collect()
    }

    #[test]
    fn lengths_are_those_of_zlib() {
        // The shared reference, section 2.12.
        assert_eq!(zlib_length(b"The quick brown fox jumps over the lazy dog."), 51);
        assert_eq!(zlib_length("abc ".repeat(50).as_bytes()), 15);
        // len(zlib.compress(…)) of CPython 3.11 with zlib 1.2.13 on the same texts.
        let words = [0, 1, 5, 40, 400, 4000, 40_000, 200_000];
        let found: Vec<usize> = words.iter().map(|count| zlib_length(text(*count).as_bytes())).collect();
        assert_eq!(found, [8, 11, 18, 88, 434, 3327, 31376, 156032]);
        let bytes = [1, 100, 10_000, 70_000];
        let found: Vec<usize> = bytes.iter().map(|count| zlib_length(&noise(*count))).collect();
        assert_eq!(found, [9, 111, 10011, 70031]);
        assert_eq!(zlib_length(&vec![b'a'; 300_000]), 314);
    }
}
