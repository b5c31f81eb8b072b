//! zlib's choice of codes for a block: stored, fixed trees, or trees of its own, whichever is shortest in bytes.

use super::Numbers;

/// Symbols after which a block ends.
const SYMBOLS: usize = (1 << 14) - 1;
const LITERALS: usize = 256;
const LENGTH_CODES: usize = 286;
const DISTANCE_CODES: usize = 30;
/// The order in which lengths of the code of codes are sent.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Counts of one block's symbols.
pub(super) struct Block {
    lengths: Numbers,
    distances: Numbers,
    symbols: usize,
}

impl Block {
    pub(super) fn new() -> Self {
        let mut lengths = Numbers::zeros(LENGTH_CODES);
        lengths.set(LITERALS, 1);
        Self { lengths, distances: Numbers::zeros(DISTANCE_CODES), symbols: 0 }
    }

    /// Counts a byte; true where the block is full.
    pub(super) fn literal(&mut self, byte: usize) -> bool {
        self.lengths.add(byte, 1);
        self.counted()
    }

    /// Counts a match; true where the block is full.
    pub(super) fn repeat(&mut self, length: usize, distance: usize) -> bool {
        self.lengths.add(LITERALS + 1 + length_code(length), 1);
        self.distances.add(distance_code(distance), 1);
        self.counted()
    }

    fn counted(&mut self) -> bool {
        self.symbols += 1;
        self.symbols == SYMBOLS
    }

    /// The bits up to the end of the block, where it begins after `bits` and stands for `stored` bytes.
    pub(super) fn end(self, bits: usize, stored: usize) -> usize {
        let lengths = Tree::build(&self.lengths, 15, |code| code.checked_sub(LITERALS + 1).map_or(0, length_extra));
        let distances = Tree::build(&self.distances, 15, distance_extra);
        let mut runs = Numbers::zeros(ORDER.len());
        lengths.runs(&mut runs);
        distances.runs(&mut runs);
        let codes = Tree::build(&runs, 7, |code| [2, 3, 7].get(code.wrapping_sub(16)).copied().unwrap_or(0));
        let last = ORDER.iter().rposition(|code| codes.bits.at(*code) != 0).unwrap_or(0).max(2);
        let own = lengths.total + distances.total + codes.total + 3 * (last + 1) + 14;
        let fixed = self.fixed(&lengths, &distances);
        let bytes = |bits: usize| (bits + 3).div_ceil(8);
        let best = bytes(fixed).min(bytes(own));
        if stored + 4 <= best {
            (bits + 3).div_ceil(8) * 8 + 32 + 8 * stored
        } else if bytes(fixed) == best {
            bits + 3 + fixed
        } else {
            bits + 3 + own
        }
    }

    /// Bits under the fixed trees.
    fn fixed(&self, lengths: &Tree, distances: &Tree) -> usize {
        let length = |code: usize| match code {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        };
        let of = |counts: &Numbers, bits: &dyn Fn(usize) -> usize| {
            counts.0.iter().enumerate().map(|(code, count)| count * bits(code)).sum::<usize>()
        };
        let own = of(&self.lengths, &|code| length(code)) + of(&self.distances, &|_| 5);
        own + lengths.extra + distances.extra
    }
}

/// The code of a match's length, from 0 for 3.
fn length_code(length: usize) -> usize {
    let past = length - 3;
    match past {
        255 => 28,
        0..8 => past,
        _ => {
            let extra = past.ilog2() as usize - 2;
            4 * extra + (past >> extra)
        }
    }
}

fn length_extra(code: usize) -> usize {
    match code {
        0..8 | 28.. => 0,
        _ => code / 4 - 1,
    }
}

/// The code of a distance, from 0 for 1.
fn distance_code(distance: usize) -> usize {
    let past = distance - 1;
    if past < 4 {
        return past;
    }
    let extra = past.ilog2() as usize - 1;
    2 * extra + (past >> extra)
}

fn distance_extra(code: usize) -> usize {
    if code < 4 { 0 } else { code / 2 - 1 }
}

/// A Huffman code as zlib builds it: the bits of each symbol, at most so many.
struct Tree {
    bits: Numbers,
    /// The last symbol that has a code.
    last: usize,
    /// Bits of all symbols with their extra bits.
    total: usize,
    /// Extra bits alone.
    extra: usize,
}

/// zlib's heap: nodes by count, then depth.
struct Heap {
    nodes: Vec<usize>,
    counts: Numbers,
    depths: Numbers,
}

impl Heap {
    fn before(&self, one: usize, two: usize) -> bool {
        let key = |node| (self.counts.at(node), self.depths.at(node));
        key(one) <= key(two)
    }

    fn node(&self, at: usize) -> usize {
        self.nodes.get(at).copied().unwrap_or(0)
    }

    fn sift(&mut self, at: usize) {
        let (node, mut hole) = (self.node(at), at);
        loop {
            let mut child = 2 * hole + 1;
            if child >= self.nodes.len() {
                break;
            }
            if child + 1 < self.nodes.len() && self.before(self.node(child + 1), self.node(child)) {
                child += 1;
            }
            if self.before(node, self.node(child)) {
                break;
            }
            let moved = self.node(child);
            self.nodes.get_mut(hole).into_iter().for_each(|slot| *slot = moved);
            hole = child;
        }
        self.nodes.get_mut(hole).into_iter().for_each(|slot| *slot = node);
    }

    fn pop(&mut self) -> usize {
        let first = self.nodes.swap_remove(0);
        self.sift(0);
        first
    }
}

impl Tree {
    fn build(counts: &Numbers, longest: usize, extra: impl Fn(usize) -> usize) -> Self {
        let symbols = counts.0.len();
        let used: Vec<usize> = (0..symbols).filter(|symbol| counts.at(*symbol) > 0).collect();
        let mut last = used.last().copied().unwrap_or(0);
        let (mut padded, mut depths) = (counts.clone(), Numbers::zeros(2 * symbols));
        padded.0.resize(2 * symbols, 0);
        let mut heap = Heap { nodes: used, counts: padded, depths: depths.clone() };
        let mut forced = Vec::new();
        // A code needs two symbols: those that are not there are given one, and are not counted.
        while heap.nodes.len() < 2 {
            let next = if heap.nodes.is_empty() && forced.is_empty() {
                0
            } else if last < 2 {
                last + 1
            } else {
                0
            };
            last = last.max(next);
            heap.counts.set(next, 1);
            heap.nodes.push(next);
            forced.push(next);
        }
        (0..heap.nodes.len() / 2).rev().for_each(|at| heap.sift(at));
        let (mut order, mut parents) = (Vec::new(), Numbers::zeros(2 * symbols));
        let mut node = symbols;
        while heap.nodes.len() >= 2 {
            let one = heap.pop();
            let two = heap.node(0);
            order.extend([one, two]);
            heap.counts.set(node, heap.counts.at(one) + heap.counts.at(two));
            depths.set(node, heap.depths.at(one).max(heap.depths.at(two)) + 1);
            heap.depths.set(node, depths.at(node));
            parents.set(one, node);
            parents.set(two, node);
            heap.nodes.iter_mut().take(1).for_each(|slot| *slot = node);
            heap.sift(0);
            node += 1;
        }
        order.push(heap.node(0));
        order.reverse();
        let bits = limit(&order, &parents, symbols, longest);
        let sum =
            |of: &dyn Fn(usize) -> usize| (0..symbols).map(|symbol| counts.at(symbol) * of(symbol)).sum::<usize>();
        let extra = sum(&|symbol| extra(symbol));
        let forced: usize = forced.iter().map(|symbol| bits.at(*symbol)).sum::<usize>() - forced.len();
        Self { total: sum(&|symbol| bits.at(symbol)) + extra + forced, bits, last, extra }
    }

    /// Counts what sends the tree: lengths, and runs of them.
    fn runs(&self, into: &mut Numbers) {
        let lengths: Vec<usize> = (0..=self.last).map(|symbol| self.bits.at(symbol)).collect();
        let mut before = None;
        for run in lengths.chunk_by(|a, b| a == b) {
            let length = run.first().copied().unwrap_or(0);
            let mut left = run.len();
            while left > 0 {
                let (most, least) = match (length, before == Some(length)) {
                    (0, _) => (138, 3),
                    (_, true) => (6, 3),
                    (_, false) => (7, 4),
                };
                let taken = left.min(most);
                match (taken < least, length, taken) {
                    (true, ..) => into.add(length, taken),
                    (_, 0, ..=10) => into.add(17, 1),
                    (_, 0, _) => into.add(18, 1),
                    _ => {
                        into.add(length, usize::from(before != Some(length)));
                        into.add(16, 1);
                    }
                }
                before = Some(length);
                left -= taken;
            }
        }
    }
}

/// The bits of each symbol from the nodes in the order of the tree, none longer than `longest`.
fn limit(order: &[usize], parents: &Numbers, symbols: usize, longest: usize) -> Numbers {
    let mut bits = Numbers::zeros(2 * symbols);
    let (mut counts, mut overflow) = (Numbers::zeros(longest + 2), 0usize);
    for &node in order.iter().skip(1) {
        let own = bits.at(parents.at(node)) + 1;
        overflow += usize::from(own > longest);
        bits.set(node, own.min(longest));
        counts.add(own.min(longest), usize::from(node < symbols));
    }
    if overflow == 0 {
        return bits;
    }
    while overflow > 0 {
        let from = (1..longest).rev().find(|length| counts.at(*length) > 0).unwrap_or(1);
        counts.set(from, counts.at(from) - 1);
        counts.add(from + 1, 2);
        counts.set(longest, counts.at(longest) - 1);
        overflow = overflow.saturating_sub(2);
    }
    let mut leaves = order.iter().rev().filter(|node| **node < symbols);
    for length in (1..=longest).rev() {
        for &leaf in leaves.by_ref().take(counts.at(length)) {
            bits.set(leaf, length);
        }
    }
    bits
}
