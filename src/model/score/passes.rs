//! The passes that walk a trie.

use std::ops::Range;

use super::trie::{Node, Trie};
use crate::model::cache::Kept;
use crate::ops::Span;

/// The least number of tokens for whose sake a node is cut in two.
const WORTH_A_CUT: usize = 32;

/// A node, or a part of one, that runs in one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct Piece {
    /// The piece at whose end it begins.
    pub parent: Option<usize>,
    /// Its first position.
    pub start: usize,
    pub tokens: usize,
    /// A text that goes through it.
    pub text: usize,
}

/// Pieces in the order in which they run, and the pieces of each pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::model) struct Passes {
    pub pieces: Vec<Piece>,
    pub passes: Vec<Range<usize>>,
    /// The piece in which each text ends.
    ends: Vec<usize>,
}

/// Whether texts may share tokens, and nodes be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Sharing {
    /// Yes.
    Prefixes,
    /// No: every text runs whole.
    Nothing,
}

impl Passes {
    /// Walks texts, which stand in lexicographic order, in passes of about one size and at most `most` tokens. A text
    /// that may not be cut and is longer has a pass of its own.
    pub fn of(texts: &[&[u32]], sharing: Sharing, most: usize) -> Self {
        let trie = match sharing {
            Sharing::Prefixes => Trie::of(texts),
            Sharing::Nothing => Trie {
                nodes: (0..texts.len())
                    .map(|text| Node { parent: None, start: 0, end: texts.get(text).map_or(0, |ids| ids.len()), text })
                    .collect(),
                ends: (0..texts.len()).collect(),
            },
        };
        let total: usize = trie.nodes.iter().map(|node| node.end - node.start).sum();
        let each = total.div_ceil(total.div_ceil(most.max(1)).max(1)).max(1);
        let mut cuts = Cuts { each, ..Cuts::default() };
        let mut lasts: Vec<usize> = Vec::with_capacity(trie.nodes.len());
        let mut pieces: Vec<Piece> = Vec::with_capacity(trie.nodes.len());
        for node in &trie.nodes {
            let mut parent = node.parent.and_then(|parent| lasts.get(parent).copied());
            let mut start = node.start;
            while start < node.end {
                let tokens = match cuts.next(pieces.len(), start, node.end - start, sharing) {
                    Some(tokens) => tokens,
                    None => continue,
                };
                pieces.push(Piece { parent, start, tokens, text: node.text });
                parent = Some(pieces.len() - 1);
                start += tokens;
            }
            lasts.push(pieces.len().saturating_sub(1));
        }
        let mut passes = Self { passes: cuts.finish(pieces.len()), pieces, ends: Vec::new() };
        passes.ends = trie.ends.iter().map(|end| lasts.get(*end).copied().unwrap_or_default()).collect();
        passes
    }

    /// The tokens that run in all.
    pub fn tokens(&self) -> usize {
        self.pieces.iter().map(|piece| piece.tokens).sum()
    }

    /// The pieces that a text goes through, the last first.
    pub fn path(&self, text: usize) -> impl Iterator<Item = (usize, &Piece)> {
        self.upwards(self.ends.get(text).copied())
    }

    /// A piece and those that it stands on, the last first.
    fn upwards(&self, piece: Option<usize>) -> impl Iterator<Item = (usize, &Piece)> {
        let mut next = piece;
        std::iter::from_fn(move || {
            let number = next?;
            let piece = self.pieces.get(number)?;
            next = piece.parent;
            Some((number, piece))
        })
    }

    /// The pass in which a piece runs.
    pub fn pass_of(&self, piece: usize) -> usize {
        self.passes.partition_point(|pass| pass.end <= piece)
    }

    fn pieces_of(&self, pass: usize) -> impl Iterator<Item = (usize, &Piece)> {
        let range = self.passes.get(pass).cloned().unwrap_or_default();
        range.filter_map(|number| Some((number, self.pieces.get(number)?)))
    }

    /// The path that a pass goes on from, the last piece first.
    fn stands_on(&self, pass: usize) -> impl Iterator<Item = (usize, &Piece)> {
        self.upwards(self.pieces_of(pass).next().and_then(|(_, piece)| piece.parent))
    }

    /// Of passes that are wanted, all that have to run: those whose keys and values one of them goes on from as well.
    pub fn needed(&self, mut wanted: Vec<bool>) -> Vec<usize> {
        for pass in (0..self.passes.len()).rev() {
            if wanted.get(pass).copied().unwrap_or(false) {
                for (piece, _) in self.stands_on(pass) {
                    if let Some(wanted) = wanted.get_mut(self.pass_of(piece)) {
                        *wanted = true;
                    }
                }
            }
        }
        wanted.iter().enumerate().filter(|(_, wanted)| **wanted).map(|(pass, _)| pass).collect()
    }

    /// The branches of a pass over one stored row: tokens, spans, parents within the pass.
    pub fn branches(&self, pass: usize, texts: &[&[u32]]) -> (Vec<u32>, Vec<Span>, Vec<Option<usize>>) {
        let first = self.passes.get(pass).map_or(0, |pass| pass.start);
        let (mut ids, mut spans, mut parents) = (Vec::new(), Vec::new(), Vec::new());
        for (_, Piece { parent, start, tokens, text }) in self.pieces_of(pass) {
            let text = texts.get(*text).copied().unwrap_or_default();
            ids.extend_from_slice(text.get(*start..start + tokens).unwrap_or_default());
            spans.push(Span { row: 0, start: *start, tokens: *tokens });
            parents.push(parent.and_then(|parent| parent.checked_sub(first)));
        }
        (ids, spans, parents)
    }

    /// The token of a pass at which each of its pieces begins.
    pub fn firsts(&self, pass: usize) -> Vec<usize> {
        let mut next = 0;
        let mut first = |piece: &Piece| {
            next += piece.tokens;
            next - piece.tokens
        };
        self.pieces_of(pass).map(|(_, piece)| first(piece)).collect()
    }

    /// Of a pass what each text needs to have stored in a row of its own, texts and their rows as listed.
    pub fn kept_by_all(&self, pass: usize, rows: &[usize]) -> Vec<Kept> {
        let range = self.passes.get(pass).cloned().unwrap_or_default();
        let firsts = self.firsts(pass);
        let mut kept = Vec::new();
        for (text, row) in rows.iter().enumerate() {
            let own: Vec<_> = self.path(text).filter(|(number, _)| range.contains(number)).collect();
            for (number, piece) in own.into_iter().rev() {
                let first = firsts.get(number - range.start).copied().unwrap_or_default();
                kept.push(Kept { first, tokens: piece.tokens, row: *row, position: piece.start });
            }
        }
        kept
    }

    /// How many positions stay on the stack behind `pass`, for `next` to go on from, and what is put on top of them.
    pub fn kept(&self, pass: usize, next: Option<usize>) -> (usize, Vec<Kept>) {
        let Some(next) = next else { return (0, Vec::new()) };
        let range = self.passes.get(pass).cloned().unwrap_or_default();
        let firsts = self.firsts(pass);
        let mut kept = Vec::new();
        for (number, piece) in self.stands_on(next).filter(|(number, _)| range.contains(number)) {
            let first = firsts.get(number - range.start).copied().unwrap_or_default();
            kept.push(Kept { first, tokens: piece.tokens, row: 0, position: piece.start });
        }
        kept.reverse();
        let below = self.stands_on(next).find(|(number, _)| *number < range.start);
        (below.map_or(0, |(_, piece)| piece.start + piece.tokens), kept)
    }
}

/// Where the walk is cut into passes.
#[derive(Default)]
struct Cuts {
    /// Tokens of a pass.
    each: usize,
    passes: Vec<Range<usize>>,
    /// The first piece of the pass that is being filled, and its tokens so far.
    first: usize,
    used: usize,
    /// Of the places in the last quarter of the pass the one with the least to go on from: positions before it, the piece,
    /// tokens before it.
    best: Option<(usize, usize, usize)>,
}

impl Cuts {
    /// How many of the next `rest` tokens, at position `start`, make the piece `number`; `None` where a pass was closed
    /// first.
    fn next(&mut self, number: usize, start: usize, rest: usize, sharing: Sharing) -> Option<usize> {
        let late = number > self.first && self.used >= self.each - self.each / 4;
        if late && self.best.is_none_or(|(depth, ..)| start <= depth) {
            self.best = Some((start, number, self.used));
        }
        let room = self.each.saturating_sub(self.used);
        let tokens = match sharing {
            _ if rest <= room => rest,
            _ if self.best.is_some() => return self.close(),
            Sharing::Prefixes if room >= WORTH_A_CUT.min(self.each) => room,
            _ if self.used > 0 => {
                self.best = Some((start, number, self.used));
                return self.close();
            }
            Sharing::Prefixes => room.max(1),
            Sharing::Nothing => rest,
        };
        self.used += tokens;
        Some(tokens)
    }

    /// Ends the pass at the best place.
    fn close(&mut self) -> Option<usize> {
        if let Some((_, number, used)) = self.best.take() {
            self.passes.push(self.first..number);
            self.first = number;
            self.used -= used;
        }
        None
    }

    fn finish(mut self, pieces: usize) -> Vec<Range<usize>> {
        if self.first < pieces {
            self.passes.push(self.first..pieces);
        }
        self.passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<Vec<u32>> {
        // A stem of 50 tokens, six stems of 20 below it, each with four ends of one to four tokens.
        let mut texts = Vec::new();
        for middle in 0..6u32 {
            for end in 0..4u32 {
                let stem = (0..50).chain((0..20).map(|i| 100 + middle * 20 + i));
                texts.push(stem.chain((0..=end).map(|i| 300 + end * 10 + i)).collect::<Vec<u32>>());
            }
        }
        texts.sort();
        texts
    }

    /// Walks the passes with a stack of tokens in place of keys and values.
    fn walk(passes: &Passes, texts: &[&[u32]], run: &[usize]) -> Vec<Vec<u32>> {
        let mut stack: Vec<u32> = Vec::new();
        let mut seen = Vec::new();
        for (number, &pass) in run.iter().enumerate() {
            let (ids, spans, parents) = passes.branches(pass, texts);
            let mut paths: Vec<Vec<u32>> = Vec::new();
            let mut first = 0;
            for (span, parent) in spans.iter().zip(parents) {
                let mut path = match parent {
                    Some(parent) => paths[parent].clone(),
                    None => stack[..span.start].to_vec(),
                };
                assert_eq!(path.len(), span.start);
                path.extend(&ids[first..first + span.tokens]);
                first += span.tokens;
                paths.push(path);
            }
            let (below, kept) = passes.kept(pass, run.get(number + 1).copied());
            stack.truncate(below);
            for Kept { first, tokens, position, .. } in kept {
                assert_eq!(stack.len(), position);
                stack.extend(&ids[first..first + tokens]);
            }
            seen.extend(paths);
        }
        seen
    }

    #[test]
    fn every_token_runs_once_behind_its_own_text() {
        let texts = texts();
        let borrowed: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        for most in [1, 7, 30, 33, 64, 100, 10_000] {
            let passes = Passes::of(&borrowed, Sharing::Prefixes, most);
            assert_eq!(passes.tokens(), 50 + 6 * (20 + 10), "most {most}");
            let all: Vec<usize> = (0..passes.passes.len()).collect();
            assert!(all.iter().all(|pass| passes.branches(*pass, &borrowed).0.len() <= most), "most {most}");
            let seen = walk(&passes, &borrowed, &all);
            for path in &seen {
                assert!(texts.iter().any(|text| text.starts_with(path)), "most {most}: {path:?}");
            }
            assert!(texts.iter().all(|text| seen.contains(text)), "most {most}");
            // The last pass alone: only what it stands on runs again.
            let wanted: Vec<bool> = all.iter().map(|pass| pass + 1 == all.len()).collect();
            let needed = passes.needed(wanted);
            let again = walk(&passes, &borrowed, &needed);
            assert!(again.iter().all(|path| texts.iter().any(|text| text.starts_with(path))), "most {most}");
            // Where every pass begins inside a branch of the one before it, all stand on each other.
            assert!(most > 33 || needed.len() < all.len(), "most {most}: {needed:?} of {}", all.len());
        }
    }

    #[test]
    fn passes_begin_where_little_stands_before_them() {
        // 30 questions of 10 tokens with four answers of up to 3 each, nothing shared between questions.
        let answer = |question: u32, tokens: u32| {
            let own = (0..10).map(move |i| question * 20 + i);
            own.chain((0..tokens).map(move |i| question * 20 + 10 + tokens * 3 + i)).collect::<Vec<u32>>()
        };
        let texts: Vec<Vec<u32>> = (0..30).flat_map(|q| (0..4).map(move |tokens| answer(q, tokens))).collect();
        let mut borrowed: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        borrowed.sort_unstable();
        let passes = Passes::of(&borrowed, Sharing::Prefixes, 100);
        assert_eq!(passes.tokens(), 30 * 16);
        for pass in 0..passes.passes.len() {
            assert_eq!(passes.branches(pass, &borrowed).1[0].start, 0, "pass {pass} goes on from nothing");
        }
        assert_eq!(passes.needed(vec![false, true, false, false, false, true]), [1, 5]);
    }

    #[test]
    fn texts_that_share_nothing_run_whole() {
        let texts: [&[u32]; 3] = [&[1, 2, 3], &[1, 2, 4], &[5; 9]];
        let passes = Passes::of(&texts, Sharing::Nothing, 6);
        assert_eq!(passes.tokens(), 15);
        let sizes: Vec<usize> = (0..passes.passes.len()).map(|pass| passes.branches(pass, &texts).0.len()).collect();
        assert_eq!(sizes, [3, 3, 9]);
        assert!(passes.pieces.iter().all(|piece| piece.start == 0 && piece.parent.is_none()));
    }
}
