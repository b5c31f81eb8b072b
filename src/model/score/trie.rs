//! The trie of a list of texts.

/// A stretch of tokens that the same texts go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The node at whose end it begins.
    pub parent: Option<usize>,
    /// Its first position.
    pub start: usize,
    /// One past its last.
    pub end: usize,
    /// A text that goes through it.
    pub text: usize,
}

/// The nodes, depth first (a node before those below it, its branches in the order of their tokens), and the node in
/// which each text ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trie {
    pub nodes: Vec<Node>,
    pub ends: Vec<usize>,
}

impl Trie {
    /// Of texts that stand in lexicographic order.
    pub fn of(texts: &[&[u32]]) -> Self {
        let mut trie = Self { nodes: Vec::new(), ends: vec![0; texts.len()] };
        let text = |number: usize| texts.get(number).copied().unwrap_or_default();
        // (texts that share their first `known` tokens, `known`, the node that ends there)
        let mut work = vec![(0..texts.len(), 0, None)];
        while let Some((members, known, parent)) = work.pop() {
            let (Some(first), Some(last)) = (members.clone().next(), members.clone().next_back()) else { continue };
            // In lexicographic order the outer two have least in common.
            let alike = text(first).iter().zip(text(last)).skip(known).take_while(|(a, b)| a == b).count();
            let shared = known + alike;
            let node = match alike > 0 {
                true => {
                    trie.nodes.push(Node { parent, start: known, end: shared, text: first });
                    Some(trie.nodes.len() - 1)
                }
                false => parent,
            };
            // Texts that end here come first.
            let ended = members.clone().take_while(|&member| text(member).len() == shared).count();
            for member in members.clone().take(ended) {
                if let (Some(end), Some(node)) = (trie.ends.get_mut(member), node) {
                    *end = node;
                }
            }
            let mut branches = Vec::new();
            let mut start = first + ended;
            while start < members.end {
                let next = text(start).get(shared);
                let size = (start..members.end).take_while(|&member| text(member).get(shared) == next).count();
                branches.push((start..start + size, shared, node));
                start += size;
            }
            work.extend(branches.into_iter().rev());
        }
        trie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(parent: Option<usize>, start: usize, end: usize, text: usize) -> Node {
        Node { parent, start, end, text }
    }

    #[test]
    fn each_shared_stretch_is_a_node() {
        let texts: [&[u32]; 6] = [&[1, 2], &[1, 2], &[1, 2, 3, 4], &[1, 2, 3, 5], &[1, 9], &[7]];
        let trie = Trie::of(&texts);
        assert_eq!(
            trie.nodes,
            [
                node(None, 0, 1, 0),
                node(Some(0), 1, 2, 0),
                node(Some(1), 2, 3, 2),
                node(Some(2), 3, 4, 2),
                node(Some(2), 3, 4, 3),
                node(Some(0), 1, 2, 4),
                node(None, 0, 1, 5)
            ]
        );
        assert_eq!(trie.ends, [1, 1, 3, 4, 5, 6]);
        assert_eq!(Trie::of(&[]), Trie::default());
    }

    #[test]
    fn the_nodes_spell_the_texts() {
        // Numbers in base 3, as texts of up to six tokens.
        let mut texts: Vec<Vec<u32>> = (1..400u32)
            .map(|i| {
                let digits = (0..6).map(|at| i.wrapping_mul(2_654_435_761) / 3u32.pow(at) % 3);
                digits.take(1 + (i as usize * 7) % 6).collect()
            })
            .collect();
        texts.sort();
        let borrowed: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let trie = Trie::of(&borrowed);
        for (text, end) in texts.iter().zip(&trie.ends) {
            let mut spelled = Vec::new();
            let mut at = Some(*end);
            while let Some(Node { parent, start, end, text }) = at.map(|at| &trie.nodes[at]) {
                spelled.splice(0..0, texts[*text][*start..*end].iter().copied());
                assert!(parent.is_none_or(|parent| trie.nodes[parent].end == *start));
                at = *parent;
            }
            assert_eq!(&spelled, text);
        }
        let distinct: std::collections::BTreeSet<&[u32]> =
            texts.iter().flat_map(|text| (1..=text.len()).map(|len| &text[..len])).collect();
        let run: usize = trie.nodes.iter().map(|node| node.end - node.start).sum();
        assert_eq!(run, distinct.len(), "every distinct prefix has its last token once");
    }
}
