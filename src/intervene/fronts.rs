//! What prompts begin with in common: both sides of a pair up to their first difference, the prompts of one template up
//! to their first slot. Attention is causal, so the keys, values and activations of a common front are the same in every
//! run, and one pass over it serves all of them.
//!
//! The fronts of a set of texts are the inner nodes of their trie. A pass runs all fronts of one depth; each continues
//! the one above it.

/// Tokens that a pass over fronts must spare: a pass more costs as much as some tokens.
const WORTH: usize = 32;

/// A stretch of text that several texts share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Front {
    /// Its first position.
    pub start: usize,
    /// One past its last.
    pub end: usize,
    /// The texts that begin with it.
    pub texts: Vec<usize>,
}

impl Front {
    /// Tokens that need not be run.
    fn spared(&self, texts: &[(&[u32], usize)]) -> usize {
        let runs: usize = self.texts.iter().filter_map(|&text| texts.get(text)).map(|(_, runs)| runs).sum();
        runs.saturating_sub(1) * (self.end - self.start)
    }
}

/// The fronts of a set of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fronts {
    /// Those of one depth together; each begins where one of the depth above ends, or at 0.
    pub levels: Vec<Vec<Front>>,
    /// Where each text goes on by itself.
    pub starts: Vec<usize>,
}

impl Fronts {
    /// Nothing shared.
    pub fn none(texts: usize) -> Self {
        Self { levels: Vec::new(), starts: vec![0; texts] }
    }

    /// Of texts, each with the number of runs that go through it. Where a pass over the fronts of some depth would spare
    /// too little, small fronts are left out until every pass is worth it.
    pub fn of(texts: &[(&[u32], usize)]) -> Self {
        let mut least = 1;
        loop {
            let fronts = Self::sparing(texts, least);
            if fronts.levels.iter().all(|level| level.iter().map(|front| front.spared(texts)).sum::<usize>() >= WORTH) {
                return fronts;
            }
            least *= 2;
        }
    }

    /// Fronts that spare at least so many tokens each.
    fn sparing(texts: &[(&[u32], usize)], least: usize) -> Self {
        let mut fronts = Self::none(texts.len());
        let mut order: Vec<usize> = (0..texts.len()).collect();
        let text = |number: &usize| texts.get(*number).map_or(&[][..], |(text, _)| text);
        order.sort_by(|a, b| text(a).cmp(text(b)));
        // (sorted texts that share their first `known` tokens, where what they share begins, its depth, `known`)
        let mut work = vec![(order, 0, 0, 0)];
        while let Some((members, start, level, known)) = work.pop() {
            let runs: usize = members.iter().filter_map(|&member| texts.get(member)).map(|(_, runs)| runs).sum();
            let (Some(first), Some(last)) = (members.first().map(text), members.last().map(text)) else { continue };
            let shared = known + alike(first.get(known..), last.get(known..));
            let worth = runs.saturating_sub(1) * (shared - start) >= least;
            let (start, level) = match worth {
                true => {
                    if fronts.levels.len() <= level {
                        fronts.levels.resize_with(level + 1, Vec::new);
                    }
                    if let Some(fronts) = fronts.levels.get_mut(level) {
                        fronts.push(Front { start, end: shared, texts: members.clone() });
                    }
                    (shared, level + 1)
                }
                false => (start, level),
            };
            let (ended, rest): (Vec<usize>, Vec<usize>) =
                members.into_iter().partition(|member| text(member).len() <= shared);
            for member in ended {
                if let Some(own) = fronts.starts.get_mut(member) {
                    *own = start;
                }
            }
            let branches = rest.chunk_by(|a, b| text(a).get(shared) == text(b).get(shared));
            for branch in branches {
                match branch {
                    [member] if texts.get(*member).is_some_and(|(_, runs)| *runs < 2) => {
                        if let Some(own) = fronts.starts.get_mut(*member) {
                            *own = start;
                        }
                    }
                    _ => work.push((branch.to_vec(), start, level, shared)),
                }
            }
        }
        for level in &mut fronts.levels {
            level.sort_by(|a, b| a.texts.cmp(&b.texts));
        }
        fronts
    }
}

/// How many tokens two texts begin with in common.
fn alike(a: Option<&[u32]>, b: Option<&[u32]>) -> usize {
    a.into_iter().flatten().zip(b.into_iter().flatten()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shared_stretch_is_run_once() {
        let mut long: Vec<u32> = (0..40).collect();
        let (a, mut b) = (long.clone(), long.clone());
        b[30] = 99;
        long.truncate(20);
        let fronts = Fronts::of(&[(&a, 1), (&[7, 8, 9], 1), (&long, 2), (&b, 1)]);
        let front = |start, end, texts: &[usize]| Front { start, end, texts: texts.to_vec() };
        // 20 tokens of three texts (four runs); that two of them share ten more is not worth a pass.
        assert_eq!(fronts.levels, [vec![front(0, 20, &[2, 0, 3])]]);
        assert_eq!(fronts.starts, [20, 0, 20, 20]);
        let mut wide = a.clone();
        wide.extend(100..150);
        let mut other = wide.clone();
        other[80] = 999;
        let fronts = Fronts::of(&[(&a, 1), (&wide, 1), (&other, 1)]);
        assert_eq!(fronts.levels, [vec![front(0, 40, &[0, 1, 2])], vec![front(40, 80, &[1, 2])]]);
        assert_eq!(fronts.starts, [40, 80, 80]);
        // Many small fronts are: 20 pairs that begin with 3 tokens each.
        let pairs: Vec<[u32; 5]> = (0..40).map(|number| [number / 2, 1, 2, 50 + number, 3]).collect();
        let fronts = Fronts::of(&pairs.iter().map(|text| (&text[..], 1)).collect::<Vec<_>>());
        assert_eq!(fronts.levels.iter().map(Vec::len).collect::<Vec<_>>(), [20]);
        assert_eq!(fronts.starts, [3; 40]);
        assert_eq!(Fronts::of(&[(&a, 1)]), Fronts::none(1));
        assert_eq!(Fronts::of(&[(&a, 2)]).starts, [40], "two answers behind one prompt share it");
    }
}
