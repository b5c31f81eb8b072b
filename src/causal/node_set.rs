//! A set of graph nodes as one machine word pair: copies for free, all set operations in constant time.

/// A set of node indexes below [`NodeSet::CAPACITY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeSet(u128);

impl NodeSet {
    /// The largest number of nodes that a graph may have.
    pub const CAPACITY: usize = 128;
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// The set `{0, …, n − 1}`.
    pub fn first(n: usize) -> Self {
        if n >= Self::CAPACITY { Self(u128::MAX) } else { Self((1u128 << n) - 1) }
    }

    /// The set with one member; an index beyond the capacity gives the empty set.
    pub fn one(node: usize) -> Self {
        Self(u32::try_from(node).ok().and_then(|shift| 1u128.checked_shl(shift)).unwrap_or(0))
    }

    /// Whether `node` is a member.
    pub fn contains(self, node: usize) -> bool {
        !(self & Self::one(node)).is_empty()
    }

    /// Adds a node; whether it was new.
    pub fn insert(&mut self, node: usize) -> bool {
        let before = *self;
        *self |= Self::one(node);
        before != *self
    }

    /// Takes a node out.
    pub fn remove(&mut self, node: usize) {
        *self = *self - Self::one(node);
    }

    /// This set and `node`.
    pub fn with(self, node: usize) -> Self {
        self | Self::one(node)
    }

    /// This set without `node`.
    pub fn without(self, node: usize) -> Self {
        self - Self::one(node)
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number of members.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether every member is in `other`.
    pub fn is_subset(self, other: Self) -> bool {
        (self - other).is_empty()
    }

    /// Whether no node is in both.
    pub fn is_disjoint(self, other: Self) -> bool {
        (self & other).is_empty()
    }

    /// The smallest member.
    pub fn min(self) -> Option<usize> {
        (!self.is_empty()).then(|| self.0.trailing_zeros() as usize)
    }

    /// The members, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let mut rest = self;
        std::iter::from_fn(move || {
            let node = rest.min()?;
            rest.remove(node);
            Some(node)
        })
    }

    /// All subsets, the empty one first; for small sets only (2^len of them).
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        let mut next = Some(0u128);
        std::iter::from_fn(move || {
            let current = next?;
            next = (current != self.0).then(|| (current.wrapping_sub(self.0)) & self.0);
            Some(Self(current))
        })
    }
}

impl std::ops::BitOr for NodeSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for NodeSet {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::ops::BitAnd for NodeSet {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::ops::Sub for NodeSet {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<usize> for NodeSet {
    fn from_iter<I: IntoIterator<Item = usize>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_all_there_once() {
        let set: NodeSet = [1, 5, 127].into_iter().collect();
        let all: Vec<NodeSet> = set.subsets().collect();
        assert_eq!(all.len(), 8);
        assert_eq!(all.first(), Some(&NodeSet::EMPTY));
        assert_eq!(all.last(), Some(&set));
        assert!(all.iter().all(|s| s.is_subset(set)));
        assert_eq!(NodeSet::EMPTY.subsets().count(), 1);
    }

    #[test]
    fn an_index_beyond_the_capacity_is_no_member() {
        assert!(NodeSet::one(128).is_empty());
        assert_eq!(NodeSet::first(128).len(), 128);
        assert_eq!(NodeSet::first(3).iter().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
