//! A kernel test of conditional independence (Zhang, Peters, Janzing and Schölkopf 2011), for dependence of any shape.
//!
//! Gaussian kernels of the (standardised) columns, z's part taken out by kernel ridge regression; the statistic Tr(K_x K_y)/n has
//! under independence a distribution that a gamma law with the same two moments comes close to. Cubic in the rows.

use statrs::distribution::{ContinuousCDF, Gamma};

use super::DiscoverError;
use super::independence::Independence;
use crate::causal::table::Table;
use crate::stats::design::{dot, solve_positive};

/// More rows than this are refused.
const ROWS: usize = 600;
/// The ridge of the regression on z, per row.
const RIDGE: f64 = 1e-3;

/// The kernel test on numeric columns.
pub struct Kernel {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
}

type Matrix = Vec<Vec<f64>>;

impl Kernel {
    /// Of the columns `names`.
    pub fn new(table: &Table, names: &[String]) -> Result<Self, DiscoverError> {
        if table.rows() > ROWS {
            return Err(DiscoverError::TooManyRows { rows: table.rows(), most: ROWS });
        }
        let mut columns = Vec::new();
        for name in names {
            let column = table.varying(name)?;
            let n = column.len() as f64;
            let mean = column.iter().sum::<f64>() / n;
            let sd = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            columns.push(column.iter().map(|x| (x - mean) / sd).collect());
        }
        Ok(Self { names: names.to_vec(), columns })
    }

    /// The centred kernel of some columns, exp(−‖a − b‖²/(2 width² · columns)).
    fn gram(&self, nodes: &[usize], width: f64) -> Matrix {
        let columns: Vec<&Vec<f64>> = nodes.iter().filter_map(|&node| self.columns.get(node)).collect();
        let n = self.columns.first().map_or(0, Vec::len);
        let scale = 2.0 * width * width * nodes.len().max(1) as f64;
        let at = |column: &[f64], row: usize| column.get(row).copied().unwrap_or(0.0);
        let entry = |i: usize, j: usize| {
            let distance: f64 = columns.iter().map(|column| (at(column, i) - at(column, j)).powi(2)).sum();
            (-distance / scale).exp()
        };
        centred((0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect())
    }
}

fn centred(mut matrix: Matrix) -> Matrix {
    let n = matrix.len().max(1) as f64;
    let means: Vec<f64> = matrix.iter().map(|row| row.iter().sum::<f64>() / n).collect();
    let all = means.iter().sum::<f64>() / n;
    for (row, mean) in matrix.iter_mut().zip(&means) {
        row.iter_mut().zip(&means).for_each(|(entry, other)| *entry += all - mean - other);
    }
    matrix
}

/// Symmetric matrices' product A B.
fn product(a: &Matrix, b: &Matrix) -> Matrix {
    a.iter().map(|row| b.iter().map(|column| dot(row, column)).collect()).collect()
}

/// R K R with R = ε (K_z + ε)⁻¹: what z leaves of a kernel.
fn without(kernel: &Matrix, given: &Matrix) -> Option<Matrix> {
    let n = kernel.len();
    let ridge = RIDGE * n as f64;
    let mut system = given.clone();
    for (at, row) in system.iter_mut().enumerate() {
        row.iter_mut().skip(at).take(1).for_each(|entry| *entry += ridge);
    }
    let unit = |at: usize| -> Vec<f64> { (0..n).map(|i| if i == at { ridge } else { 0.0 }).collect() };
    let rest: Matrix = inverse_rows(&system, &unit)?;
    // R is symmetric: R K R by rows.
    let half = product(&rest, kernel);
    Some(product(&half, &rest))
}

fn inverse_rows(system: &Matrix, unit: &dyn Fn(usize) -> Vec<f64>) -> Option<Matrix> {
    (0..system.len()).map(|at| solve_positive(system, &unit(at))).collect()
}

impl Independence for Kernel {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn p_value(&self, x: usize, y: usize, z: &[usize]) -> f64 {
        let n = self.columns.first().map_or(0, Vec::len) as f64;
        let width = if n < 200.0 { 0.8 } else { 0.5 };
        let (mut of_x, mut of_y) = (self.gram(&[&[x], z].concat(), width), self.gram(&[y], width));
        if !z.is_empty() {
            let given = self.gram(z, width);
            match (without(&of_x, &given), without(&of_y, &given)) {
                (Some(a), Some(b)) => (of_x, of_y) = (a, b),
                _ => return 1.0,
            }
        }
        let trace = |matrix: &Matrix| matrix.iter().enumerate().filter_map(|(i, row)| row.get(i)).sum::<f64>();
        let elementwise = |a: &Matrix, b: &Matrix| a.iter().zip(b).map(|(a, b)| dot(a, b)).sum::<f64>();
        let statistic = elementwise(&of_x, &of_y) / n;
        let (mean, variance) = match z.is_empty() {
            // Products of independent parts.
            true => (
                trace(&of_x) * trace(&of_y) / (n * n),
                2.0 * elementwise(&of_x, &of_x) * elementwise(&of_y, &of_y) / n.powi(4),
            ),
            // E = tr(K_x ∘ K_y)/n; Var = 2‖K_x ∘ K_y‖²/n².
            false => {
                let diagonal = of_x.iter().zip(&of_y).enumerate();
                let mean = diagonal.filter_map(|(i, (a, b))| Some(a.get(i)? * b.get(i)?)).sum::<f64>() / n;
                let square =
                    |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| (a * b).powi(2)).sum::<f64>();
                (mean, 2.0 * of_x.iter().zip(&of_y).map(square).sum::<f64>() / (n * n))
            }
        };
        match Gamma::new(mean * mean / variance, mean / variance) {
            Ok(law) => law.sf(statistic),
            Err(_) => 1.0,
        }
    }
}
