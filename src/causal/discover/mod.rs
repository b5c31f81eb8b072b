//! Discovery: which graphs agree with the independences of data. It proposes; a declared graph is never replaced by it.
//!
//! [`pc()`] (stable; optionally conservative), [`ges()`] and [`fci()`] give classes of graphs that data cannot tell apart, as a
//! [`Pattern`]: a CPDAG without latent causes, a PAG with them. [`lingam()`] tells directions apart by the shape of the noise.
//! All take [`Background`] knowledge; [`stability()`] says how often an edge comes back in resamples.

pub mod fci;
pub mod ges;
pub mod independence;
pub mod kernel;
pub mod lingam;
pub mod pattern;
pub mod pc;
pub mod score;
pub mod stability;

use std::collections::{BTreeMap, BTreeSet};

pub use fci::fci;
pub use ges::ges;
pub use independence::{ChiSquare, FisherZ, Independence, Oracle, Statistic};
pub use kernel::Kernel;
pub use lingam::lingam;
pub use pattern::{Distance, Mark, Pattern};
pub use pc::{Colliders, pc};
pub use score::{Bdeu, GaussianBic, Score};
pub use stability::{EdgeFrequency, stability};

use crate::causal::format::Document;
use crate::causal::table::TableError;

/// Why nothing can be discovered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DiscoverError {
    /// The table or a column is wrong.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A column that others make up.
    #[error(
        "`{0}` is a sum of multiples of other columns (or a copy of one): its correlations are singular; leave it out"
    )]
    Singular(String),
    /// Background knowledge that contradicts itself.
    #[error("the background knowledge both requires and forbids {from} → {to}: take one of the two back")]
    Contradiction {
        /// The cause.
        from: String,
        /// The effect.
        to: String,
    },
    /// A name in the background knowledge that no column has.
    #[error("the background knowledge names `{0}`, which is no variable here")]
    Unknown(String),
    /// Too few rows.
    #[error("{rows} rows are too few: {why}")]
    TooFewRows {
        /// The rows.
        rows: usize,
        /// What needs more.
        why: String,
    },
    /// Too many rows for a method.
    #[error("{rows} rows are more than the kernel test takes ({most}): sample, or take another test")]
    TooManyRows {
        /// The rows.
        rows: usize,
        /// The limit.
        most: usize,
    },
}

/// What is known before the data are seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Background {
    /// The tier of a variable: nothing of a later tier causes anything of an earlier one.
    pub tiers: BTreeMap<usize, usize>,
    /// Causes that are ruled out.
    pub forbidden: BTreeSet<(usize, usize)>,
    /// Causes that are known.
    pub required: BTreeSet<(usize, usize)>,
}

impl Background {
    /// The tiers of a graph file, by the names of the variables; `names` gives the order of the data's.
    pub fn from_document(document: &Document, names: &[String]) -> Self {
        let place = |node: usize| names.iter().position(|name| name == document.graph.name(node));
        let tiers = document.tiers.iter().filter_map(|(node, tier)| Some((place(*node)?, *tier))).collect();
        Self { tiers, ..Self::default() }
    }

    /// Whether `from → to` is ruled out.
    pub fn forbids(&self, from: usize, to: usize) -> bool {
        let later = match (self.tiers.get(&from), self.tiers.get(&to)) {
            (Some(from), Some(to)) => from > to,
            _ => false,
        };
        later || self.forbidden.contains(&(from, to)) || self.required.contains(&(to, from))
    }

    /// Whether the pair can have no edge at all.
    pub(super) fn forbids_edge(&self, a: usize, b: usize) -> bool {
        self.forbids(a, b) && self.forbids(b, a)
    }

    /// Whether a node may separate a pair: it is not later than both.
    pub(super) fn may_separate(&self, node: usize, a: usize, b: usize) -> bool {
        match (self.tiers.get(&node), self.tiers.get(&a), self.tiers.get(&b)) {
            (Some(own), Some(a), Some(b)) => own <= a.max(b),
            _ => true,
        }
    }

    /// Refuses knowledge that contradicts itself.
    pub fn check(&self, names: &[String]) -> Result<(), DiscoverError> {
        let name = |node: usize| names.get(node).cloned().unwrap_or_default();
        for &(from, to) in &self.required {
            let tiers = matches!((self.tiers.get(&from), self.tiers.get(&to)), (Some(a), Some(b)) if a > b);
            if tiers || self.forbidden.contains(&(from, to)) || self.required.contains(&(to, from)) {
                return Err(DiscoverError::Contradiction { from: name(from), to: name(to) });
            }
        }
        Ok(())
    }
}
