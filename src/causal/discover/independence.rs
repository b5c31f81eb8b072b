//! Tests of conditional independence.
//!
//! * Fisher's z for joint normal columns: √(n − |z| − 3) · artanh ρ, ρ the partial correlation.
//! * χ² and G for discrete columns: Σ (o − e)²/e or 2 Σ o ln(o/e) over the strata of z, with (r − 1)(c − 1) degrees of freedom for
//!   each stratum, r and c the rows and columns that occur in it.
//! * The oracle answers from a graph.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

use super::DiscoverError;
use crate::causal::graph::Graph;
use crate::causal::node_set::NodeSet;
use crate::causal::table::Table;
use crate::stats::design::{dot, solve_positive};

/// A source of answers to "are x and y independent given z?".
pub trait Independence: Sync {
    /// The variables' names.
    fn names(&self) -> &[String];
    /// The p-value of "x and y are independent given z".
    fn p_value(&self, x: usize, y: usize, z: &[usize]) -> f64;
}

/// Separation in a graph, among its observed nodes: p is 1 or 0.
pub struct Oracle {
    graph: Graph,
    observed: Vec<usize>,
    names: Vec<String>,
}

impl Oracle {
    /// Of a graph, whose latent nodes stay unseen.
    pub fn new(graph: &Graph) -> Self {
        let observed: Vec<usize> = graph.observed().iter().collect();
        let names = observed.iter().map(|&node| graph.name(node).to_owned()).collect();
        Self { graph: graph.clone(), observed, names }
    }
}

impl Independence for Oracle {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn p_value(&self, x: usize, y: usize, z: &[usize]) -> f64 {
        let set =
            |nodes: &[usize]| nodes.iter().filter_map(|&node| self.observed.get(node)).copied().collect::<NodeSet>();
        f64::from(self.graph.separated(set(&[x]), set(&[y]), set(z)))
    }
}

/// Fisher's z on a correlation matrix.
pub struct FisherZ {
    names: Vec<String>,
    correlations: Vec<Vec<f64>>,
    rows: f64,
}

impl FisherZ {
    /// Of the numeric columns `names`; a singular correlation matrix is refused.
    pub fn new(table: &Table, names: &[String]) -> Result<Self, DiscoverError> {
        let mut scaled: Vec<Vec<f64>> = Vec::new();
        for name in names {
            let column = table.varying(name)?;
            let n = column.len() as f64;
            let mean = column.iter().sum::<f64>() / n;
            let norm = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt();
            scaled.push(column.iter().map(|x| (x - mean) / norm).collect());
        }
        let correlations: Vec<Vec<f64>> = scaled.iter().map(|a| scaled.iter().map(|b| dot(a, b)).collect()).collect();
        for at in 0..names.len() {
            // What the columns before leave of this one.
            let part: Vec<Vec<f64>> =
                correlations.iter().take(at).map(|row| row.iter().take(at).copied().collect()).collect();
            let right: Vec<f64> = correlations.get(at).map_or(Vec::new(), |row| row.iter().take(at).copied().collect());
            let left = solve_positive(&part, &right).map(|beta| 1.0 - dot(&beta, &right));
            if left.is_none_or(|left| left < 1e-9) {
                return Err(DiscoverError::Singular(names.get(at).cloned().unwrap_or_default()));
            }
        }
        Ok(Self { names: names.to_vec(), correlations, rows: table.rows() as f64 })
    }

    /// The partial correlation.
    pub fn partial(&self, x: usize, y: usize, z: &[usize]) -> f64 {
        let r = |a: usize, b: usize| self.correlations.get(a).and_then(|row| row.get(b)).copied().unwrap_or(0.0);
        let matrix: Vec<Vec<f64>> = z.iter().map(|&a| z.iter().map(|&b| r(a, b)).collect()).collect();
        let with = |a: usize| -> Vec<f64> { z.iter().map(|&b| r(a, b)).collect() };
        let (zx, zy) = (with(x), with(y));
        let (Some(bx), Some(by)) = (solve_positive(&matrix, &zx), solve_positive(&matrix, &zy)) else { return 0.0 };
        let (xx, yy, xy) = (1.0 - dot(&bx, &zx), 1.0 - dot(&by, &zy), r(x, y) - dot(&bx, &zy));
        (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)
    }
}

impl Independence for FisherZ {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn p_value(&self, x: usize, y: usize, z: &[usize]) -> f64 {
        let df = self.rows - z.len() as f64 - 3.0;
        if df <= 0.0 {
            return 1.0;
        }
        let statistic = df.sqrt() * self.partial(x, y, z).atanh().abs();
        2.0 * Normal::standard().sf(statistic)
    }
}

/// Which statistic of a contingency table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// Pearson's χ².
    ChiSquare,
    /// The likelihood ratio G.
    G,
}

/// χ² or G on discrete columns.
pub struct ChiSquare {
    names: Vec<String>,
    columns: Vec<Vec<u32>>,
    sizes: Vec<usize>,
    statistic: Statistic,
}

/// The most values of a column.
pub(super) const LEVELS: usize = 64;
/// Strata are counted in a dense table up to this many cells.
const DENSE: usize = 1 << 16;

impl ChiSquare {
    /// Of the columns `names`.
    pub fn new(table: &Table, names: &[String], statistic: Statistic) -> Result<Self, DiscoverError> {
        let (mut columns, mut sizes) = (Vec::new(), Vec::new());
        for name in names {
            let levels = table.levels(name, LEVELS)?;
            if levels.names.len() < 2 {
                return Err(crate::causal::table::TableError::Constant(name.clone()).into());
            }
            sizes.push(levels.names.len());
            columns.push(levels.codes.into_iter().map(|code| code as u32).collect());
        }
        Ok(Self { names: names.to_vec(), columns, sizes, statistic })
    }

    fn column(&self, node: usize) -> &[u32] {
        self.columns.get(node).map_or(&[], Vec::as_slice)
    }

    fn size(&self, node: usize) -> usize {
        self.sizes.get(node).copied().unwrap_or(1)
    }

    /// Counts by stratum: r·c numbers each.
    fn strata(&self, x: usize, y: usize, z: &[usize]) -> Vec<u32> {
        let (r, c) = (self.size(x), self.size(y));
        let cells = r * c;
        let rows = self.column(x).len();
        let mut key = vec![0usize; rows];
        let mut count = 1usize;
        for &node in z {
            let size = self.size(node);
            key.iter_mut().zip(self.column(node)).for_each(|(key, code)| *key = *key * size + *code as usize);
            count = count.saturating_mul(size);
            if count > DENSE / cells.max(1) {
                // Number the strata that occur.
                let mut seen = std::collections::HashMap::with_capacity(rows.min(1 << 12));
                for key in &mut key {
                    let next = seen.len();
                    *key = *seen.entry(*key).or_insert(next);
                }
                count = seen.len();
            }
        }
        let mut table = vec![0u32; count * cells];
        for ((key, a), b) in key.iter().zip(self.column(x)).zip(self.column(y)) {
            if let Some(cell) = table.get_mut(key * cells + *a as usize * c + *b as usize) {
                *cell += 1;
            }
        }
        table
    }
}

impl Independence for ChiSquare {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn p_value(&self, x: usize, y: usize, z: &[usize]) -> f64 {
        let (r, c) = (self.size(x), self.size(y));
        let (mut statistic, mut df) = (0.0, 0usize);
        let (mut by_row, mut by_column) = (vec![0u32; r], vec![0u32; c]);
        for stratum in self.strata(x, y, z).chunks(r * c) {
            let total: u32 = stratum.iter().sum();
            if total == 0 {
                continue;
            }
            by_column.iter_mut().for_each(|sum| *sum = 0);
            for (sum, row) in by_row.iter_mut().zip(stratum.chunks(c)) {
                *sum = row.iter().sum();
                by_column.iter_mut().zip(row).for_each(|(sum, cell)| *sum += cell);
            }
            let filled = |sums: &[u32]| sums.iter().filter(|sum| **sum > 0).count();
            df += (filled(&by_row) - 1) * (filled(&by_column) - 1);
            for (row_sum, row) in by_row.iter().zip(stratum.chunks(c)) {
                for (column_sum, &cell) in by_column.iter().zip(row) {
                    let expected = f64::from(*row_sum) * f64::from(*column_sum) / f64::from(total);
                    if expected > 0.0 {
                        let observed = f64::from(cell);
                        statistic += match self.statistic {
                            Statistic::ChiSquare => (observed - expected).powi(2) / expected,
                            Statistic::G if cell > 0 => 2.0 * observed * (observed / expected).ln(),
                            Statistic::G => 0.0,
                        };
                    }
                }
            }
        }
        match ChiSquared::new(df as f64) {
            Ok(distribution) if df > 0 => distribution.sf(statistic),
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::table::Missing;

    #[test]
    fn contingency_tables_by_hand() {
        // 30 20 / 10 40: χ² = 100 (30·40 − 20·10)² / (50·50·40·60) = 16.6667, one degree of freedom; p = erfc(√(χ²/2)).
        let mut text = String::from("x,y,z\n");
        for (x, y, count) in [(0, 0, 30), (0, 1, 20), (1, 0, 10), (1, 1, 40)] {
            for row in 0..count {
                text.push_str(&format!("{x},{y},{}\n", row % 2));
            }
        }
        let table = Table::parse(&text, Missing::Refuse).expect("table");
        let test = ChiSquare::new(&table, table.names(), Statistic::ChiSquare).expect("test");
        let p = test.p_value(0, 1, &[]);
        assert!((p / 4.455_7e-5 - 1.0).abs() < 1e-3, "{p}");
        // The strata are the table halved: 2 · 8.3333 with two degrees of freedom, p = exp(−χ²/2).
        let p = test.p_value(0, 1, &[2]);
        assert!((p - (-8.333_333_333f64).exp()).abs() < 1e-9, "{p}");
        let g = ChiSquare::new(&table, table.names(), Statistic::G).expect("test").p_value(0, 1, &[]);
        assert!(g > 0.0 && g < 1e-4);
    }

    #[test]
    fn duplicate_columns_are_refused_by_name() {
        let text: String = (0..20).map(|i| format!("{},{},{}\n", i * i % 7, i, 2 * i + 1)).collect();
        let table = Table::parse(&format!("a,b,c\n{text}"), Missing::Refuse).expect("table");
        assert_eq!(FisherZ::new(&table, table.names()).err(), Some(DiscoverError::Singular("c".into())));
        let fine = FisherZ::new(&table, &["a".to_owned(), "b".to_owned()]).expect("regular");
        assert!(fine.p_value(0, 1, &[]) > 0.05);
    }
}
