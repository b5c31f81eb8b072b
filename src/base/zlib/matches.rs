//! zlib's search for matches at level 6: hash chains of three bytes, and a match is put off while the next is longer.

use super::Numbers;
use super::trees::Block;

const WINDOW: usize = 1 << 15;
const HASH_MASK: usize = (1 << 15) - 1;
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 258;
const MIN_LOOKAHEAD: usize = MAX_MATCH + MIN_MATCH + 1;
const MAX_DISTANCE: usize = WINDOW - MIN_LOOKAHEAD;
/// Matches of three bytes that lie farther back cost more than they spare.
const TOO_FAR: usize = 4096;
/// Level 6: where a match of `GOOD` is at hand the chain is searched a quarter as far, none is put off from `LAZY` on, the
/// search ends at `NICE`, after `CHAIN` places.
const GOOD: usize = 8;
const LAZY: usize = 16;
const NICE: usize = 128;
const CHAIN: usize = 128;

/// Where the search stands.
pub(super) struct Search<'a> {
    text: &'a [u8],
    /// The position that stands for "none": zlib's window begins there.
    base: usize,
    at: usize,
    /// By hash and by position: the last position before, plus 1.
    head: Numbers,
    previous: Numbers,
    start: usize,
    block: Block,
    bits: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let (head, previous) = (Numbers::zeros(HASH_MASK + 1), Numbers::zeros(text.len()));
        Self { text, base: 0, at: 0, head, previous, start: 0, block: Block::new(), bits: 0 }
    }

    fn byte(&self, at: usize) -> usize {
        self.text.get(at).copied().unwrap_or(0).into()
    }

    /// Enters the position into its chain; returns the one before it, if it is in reach.
    fn insert(&mut self, at: usize) -> Option<usize> {
        let hash = ((self.byte(at) << 10) ^ (self.byte(at + 1) << 5) ^ self.byte(at + 2)) & HASH_MASK;
        let before = self.head.at(hash);
        self.previous.set(at, before);
        self.head.set(hash, at + 1);
        before.checked_sub(1).filter(|before| *before > self.base)
    }

    /// The window moves on by half where what is left of it would not hold another match.
    fn slide(&mut self) {
        let filled = (self.base + 2 * WINDOW).min(self.text.len());
        if filled - self.at < MIN_LOOKAHEAD && self.at - self.base >= WINDOW + MAX_DISTANCE {
            self.base += WINDOW;
        }
    }

    /// The longest match longer than `best`, from the chain that begins at `candidate`: its length and place.
    fn longest(&self, candidate: usize, best: usize) -> (usize, usize) {
        let left = self.text.len() - self.at;
        let limit = self.base.max(self.at.saturating_sub(MAX_DISTANCE));
        let mut chain = if best >= GOOD { CHAIN / 4 } else { CHAIN };
        let (mut best, mut place, mut candidate) = (best, 0, candidate);
        loop {
            let same = |offset: usize| self.byte(candidate + offset) == self.byte(self.at + offset);
            if same(best) && same(best - 1) && same(0) && same(1) {
                let length = (0..MAX_MATCH.min(left)).take_while(|offset| same(*offset)).count();
                if length > best {
                    (best, place) = (length, candidate);
                    if length >= NICE.min(left) {
                        break;
                    }
                }
            }
            chain -= 1;
            match self.previous.at(candidate).checked_sub(1).filter(|next| *next > limit && chain > 0) {
                Some(next) => candidate = next,
                None => break,
            }
        }
        (best.min(left), place)
    }

    /// The bits of all blocks.
    pub(super) fn bits(mut self) -> usize {
        let (mut length, mut place, mut waiting) = (MIN_MATCH - 1, 0, false);
        while self.at < self.text.len() {
            self.slide();
            let left = self.text.len() - self.at;
            let before = if left >= MIN_MATCH { self.insert(self.at) } else { None };
            let (put_off, put_off_place) = (length, place);
            length = MIN_MATCH - 1;
            if let Some(before) = before.filter(|before| put_off < LAZY && self.at - before <= MAX_DISTANCE) {
                (length, place) = match self.longest(before, put_off) {
                    (MIN_MATCH, found) if self.at - found > TOO_FAR => (MIN_MATCH - 1, found),
                    found => found,
                };
            }
            if put_off >= MIN_MATCH && length <= put_off {
                let full = self.block.repeat(put_off, self.at - 1 - put_off_place);
                let last = (self.at + left).saturating_sub(MIN_MATCH);
                for position in self.at + 1..self.at + put_off - 1 {
                    if position <= last {
                        self.insert(position);
                    }
                }
                self.at += put_off - 1;
                (waiting, length) = (false, MIN_MATCH - 1);
                self.flush_if(full);
            } else {
                if waiting {
                    let full = self.block.literal(self.byte(self.at - 1));
                    self.flush_if(full);
                }
                waiting = true;
                self.at += 1;
            }
        }
        if waiting {
            self.block.literal(self.byte(self.at - 1));
        }
        self.flush();
        self.bits
    }

    fn flush_if(&mut self, full: bool) {
        if full {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let stored = self.at - self.start;
        self.bits = std::mem::replace(&mut self.block, Block::new()).end(self.bits, stored);
        self.start = self.at;
    }
}
