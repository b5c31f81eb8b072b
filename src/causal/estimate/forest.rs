//! Regression trees on binned columns.
//!
//! Columns are cut into at most 255 bins at quantiles, once; a split is then found by one pass over a node's rows for each
//! tried column. A tree's draws hang on its number, so that a forest is the same at any thread count.

use rayon::prelude::*;

use crate::base::Seed;
use crate::base::seed::{index, shuffle};
use crate::stats::design::Design;

/// The shape of a forest.
#[derive(Debug, Clone, Copy)]
pub struct ForestSpec {
    /// Trees.
    pub trees: usize,
    /// The deepest that a tree may be.
    pub depth: usize,
    /// The least rows of a leaf.
    pub min_leaf: usize,
    /// Columns that are tried at each split; 0 for a third of them.
    pub features: usize,
    /// Which rows a tree sees.
    pub sample: Sample,
}

/// Which rows a tree sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// As many as there are, drawn with replacement.
    Bootstrap,
    /// All, once.
    All,
}

impl Default for ForestSpec {
    fn default() -> Self {
        Self { trees: 100, depth: 12, min_leaf: 5, features: 0, sample: Sample::Bootstrap }
    }
}

/// Columns cut into bins.
pub(super) struct Binned {
    /// Bin of each row, by column.
    codes: Vec<Vec<u8>>,
    /// Where each bin ends (the last one has no end), by column.
    cuts: Vec<Vec<f64>>,
}

impl Binned {
    pub(super) fn new(x: &Design) -> Self {
        let (codes, cuts) = x.columns().iter().map(|column| bin(column)).unzip();
        Self { codes, cuts }
    }
}

fn bin(column: &[f64]) -> (Vec<u8>, Vec<f64>) {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    let middle = |pair: &[f64]| match pair {
        [a, b] => a + (b - a) / 2.0,
        _ => 0.0,
    };
    let cuts: Vec<f64> = if distinct.len() <= 255 {
        distinct.windows(2).map(middle).collect()
    } else {
        let at = |k: usize| sorted.get(k * sorted.len() / 255).copied();
        let mut cuts: Vec<f64> = (1..255).filter_map(at).collect();
        cuts.dedup();
        cuts
    };
    let code = |value: &f64| cuts.partition_point(|cut| cut < value) as u8;
    (column.iter().map(code).collect(), cuts)
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Leaf(f64),
    /// Rows whose column is at most the cut go to the next node, the others to `right`.
    Split {
        column: usize,
        cut: f64,
        right: usize,
    },
}

/// One tree, its nodes in the order of a walk that takes the left branch first.
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// A forest's trees.
pub(super) fn grow(x: &Design, y: &[f64], spec: &ForestSpec, seed: Seed) -> Vec<Tree> {
    let binned = Binned::new(x);
    let n = y.len();
    let tree = |number: usize| {
        let seed = seed.fork(&number.to_string());
        let mut rng = seed.fork("rows").rng();
        let rows = match spec.sample {
            Sample::Bootstrap => (0..n).map(|_| index(&mut rng, n) as u32).collect(),
            Sample::All => (0..n as u32).collect(),
        };
        Tree::grow(&binned, y, rows, spec, seed.fork("splits"))
    };
    (0..spec.trees).into_par_iter().map(tree).collect()
}

struct Grower<'a> {
    binned: &'a Binned,
    y: &'a [f64],
    spec: &'a ForestSpec,
    tried: usize,
    rng: rand_chacha::ChaCha8Rng,
    nodes: Vec<Node>,
}

impl Tree {
    pub(super) fn grow(binned: &Binned, y: &[f64], mut rows: Vec<u32>, spec: &ForestSpec, seed: Seed) -> Self {
        let columns = binned.codes.len();
        let tried = if spec.features == 0 { columns.div_ceil(3) } else { spec.features.min(columns) };
        let mut grower = Grower { binned, y, spec, tried, rng: seed.rng(), nodes: Vec::new() };
        grower.node(&mut rows, 0);
        Self { nodes: grower.nodes }
    }

    /// Adds `weight` times the tree's value to each row's entry.
    pub(super) fn add_to(&self, x: &Design, weight: f64, out: &mut [f64]) {
        for (row, slot) in out.iter_mut().enumerate() {
            let mut at = 0;
            let value = loop {
                match self.nodes.get(at) {
                    Some(Node::Leaf(value)) => break *value,
                    Some(Node::Split { column, cut, right }) => {
                        let value = x.columns().get(*column).and_then(|column| column.get(row)).unwrap_or(&0.0);
                        at = if value <= cut { at + 1 } else { *right };
                    }
                    None => break 0.0,
                }
            };
            *slot += weight * value;
        }
    }
}

impl Grower<'_> {
    fn node(&mut self, rows: &mut [u32], depth: usize) {
        let outcome = |row: &u32| self.y.get(*row as usize).copied().unwrap_or(0.0);
        let sum: f64 = rows.iter().map(outcome).sum();
        let place = self.nodes.len();
        self.nodes.push(Node::Leaf(sum / rows.len().max(1) as f64));
        if depth >= self.spec.depth || rows.len() < 2 * self.spec.min_leaf {
            return;
        }
        let Some((column, bin)) = self.best(rows, sum) else { return };
        let Some(codes) = self.binned.codes.get(column) else { return };
        let left = partition(rows, |row| codes.get(row as usize).is_some_and(|code| *code <= bin));
        let cut = self.binned.cuts.get(column).and_then(|cuts| cuts.get(bin as usize)).copied().unwrap_or(f64::MAX);
        let (left, right) = rows.split_at_mut(left);
        self.node(left, depth + 1);
        let at = self.nodes.len();
        self.node(right, depth + 1);
        self.nodes.iter_mut().skip(place).take(1).for_each(|node| *node = Node::Split { column, cut, right: at });
    }

    /// The column and bin whose split lowers the sum of squares most.
    fn best(&mut self, rows: &[u32], sum: f64) -> Option<(usize, u8)> {
        let mut columns: Vec<usize> = (0..self.binned.codes.len()).collect();
        if self.tried < columns.len() {
            shuffle(&mut self.rng, &mut columns);
        }
        let (n, least) = (rows.len() as f64, self.spec.min_leaf.max(1) as f64);
        let mut best: Option<(f64, usize, u8)> = None;
        for &column in columns.iter().take(self.tried) {
            let Some(codes) = self.binned.codes.get(column) else { continue };
            let mut bins = [(0.0f64, 0.0f64); 256];
            for &row in rows {
                if let (Some(code), Some(y)) = (codes.get(row as usize), self.y.get(row as usize))
                    && let Some((count, total)) = bins.get_mut(*code as usize)
                {
                    *count += 1.0;
                    *total += y;
                }
            }
            let (mut count, mut total) = (0.0, 0.0);
            for (bin, (own, part)) in bins.iter().enumerate() {
                count += own;
                total += part;
                if *own == 0.0 || count < least || n - count < least {
                    continue;
                }
                let gain = total * total / count + (sum - total) * (sum - total) / (n - count) - sum * sum / n;
                if gain > best.map_or(1e-12 * (1.0 + sum.abs()), |(gain, ..)| gain) {
                    best = Some((gain, column, bin as u8));
                }
            }
        }
        best.map(|(_, column, bin)| (column, bin))
    }
}

/// Puts the rows that the condition holds for first, orders kept on the left; how many they are.
fn partition(rows: &mut [u32], holds: impl Fn(u32) -> bool) -> usize {
    let (left, right): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| holds(**row));
    let count = left.len();
    rows.iter_mut().zip(left.into_iter().chain(right)).for_each(|(slot, row)| *slot = row);
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::estimate::learner::{Boosting, Forest, Learner};

    fn step() -> (Design, Vec<f64>) {
        let x: Vec<f64> = (0..200).map(|i| i as f64 / 200.0).collect();
        let noise: Vec<f64> = (0..200).map(|i| (i * 37 % 11) as f64).collect();
        let y = x.iter().map(|x| if *x < 0.35 { 1.0 } else { 4.0 }).collect();
        (Design::from_columns(vec![("noise".into(), noise), ("x".into(), x)]).expect("columns"), y)
    }

    #[test]
    fn one_tree_finds_a_step_where_it_is() {
        let (x, y) = step();
        let spec = ForestSpec { trees: 1, depth: 1, features: 2, sample: Sample::All, ..ForestSpec::default() };
        let tree = Forest(spec).fit(&x, &y, Seed::new(1)).expect("grown");
        assert_eq!(tree.predict(&x), y);
    }

    #[test]
    fn forests_and_boosting_approach_it_and_repeat_at_any_thread_count() {
        let (x, y) = step();
        let fit = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| Forest(ForestSpec::default()).fit(&x, &y, Seed::new(3)).expect("grown").predict(&x))
        };
        assert_eq!(fit(1), fit(3));
        let error = |fitted: &[f64]| fitted.iter().zip(&y).map(|(f, y)| (f - y).powi(2)).sum::<f64>() / 200.0;
        assert!(error(&fit(1)) < 0.5, "{}", error(&fit(1)));
        let boosted = Boosting::default().fit(&x, &y, Seed::new(3)).expect("grown").predict(&x);
        assert!(error(&boosted) < 1e-3, "{}", error(&boosted));
    }
}
