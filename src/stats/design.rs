//! Columns of regressors, and least squares on them.

/// Named columns of numbers, all of one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Design {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
    rows: usize,
}

/// Why a regression has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RegressionError {
    /// A column that the others before it make up.
    #[error("the column `{0}` is constant or a sum of multiples of the columns before it: leave it out")]
    Collinear(String),
    /// Lengths differ.
    #[error("`{name}` has {found} values where {wanted} are needed")]
    Length {
        /// The column.
        name: String,
        /// Its values.
        found: usize,
        /// The rows.
        wanted: usize,
    },
    /// More unknowns than rows.
    #[error("{rows} rows are too few for {unknowns} coefficients: leave out columns, or bring more rows")]
    TooFewRows {
        /// Rows.
        rows: usize,
        /// Coefficients.
        unknowns: usize,
    },
    /// A logit without a maximum.
    #[error(
        "the columns tell 0 and 1 apart without an error, so that the logistic fit has no finite solution: leave out the column that gives the answer away (`{0}` has the largest coefficient)"
    )]
    Separated(String),
}

impl Design {
    /// No columns, `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Columns with their names; all must have one length.
    pub fn from_columns(columns: Vec<(String, Vec<f64>)>) -> Result<Self, RegressionError> {
        let mut design = Self::new(columns.first().map_or(0, |(_, values)| values.len()));
        for (name, values) in columns {
            design.push(&name, values)?;
        }
        Ok(design)
    }

    /// Adds a column.
    pub fn push(&mut self, name: &str, values: Vec<f64>) -> Result<(), RegressionError> {
        if values.len() != self.rows {
            let (found, wanted) = (values.len(), self.rows);
            return Err(RegressionError::Length { name: name.to_owned(), found, wanted });
        }
        self.names.push(name.to_owned());
        self.columns.push(values);
        Ok(())
    }

    /// The columns' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The columns.
    pub fn columns(&self) -> &[Vec<f64>] {
        &self.columns
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Some rows, in the order given.
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| select(column, rows)).collect();
        Self { names: self.names.clone(), columns, rows: rows.len() }
    }

    /// One row.
    pub fn row(&self, row: usize) -> Vec<f64> {
        self.columns.iter().filter_map(|column| column.get(row)).copied().collect()
    }

    /// All columns but one.
    pub fn without(&self, name: &str) -> Self {
        let kept = self.names.iter().zip(&self.columns).filter(|(other, _)| *other != name);
        let (names, columns) = kept.map(|(name, column)| (name.clone(), column.clone())).unzip();
        Self { names, columns, rows: self.rows }
    }

    /// Columns with mean 0 and standard deviation 1; constant ones become 0.
    pub fn standardised(&self) -> Self {
        let scaled = |column: &Vec<f64>| {
            let n = column.len().max(1) as f64;
            let mean = column.iter().sum::<f64>() / n;
            let sd = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            column.iter().map(|x| if sd > 0.0 { (x - mean) / sd } else { 0.0 }).collect()
        };
        Self { columns: self.columns.iter().map(scaled).collect(), ..self.clone() }
    }

    /// β₀ + Σ β_j x_j for every row; the intercept comes first.
    pub fn linear(&self, coefficients: &[f64]) -> Vec<f64> {
        let mut out = vec![coefficients.first().copied().unwrap_or(0.0); self.rows];
        for (column, beta) in self.columns.iter().zip(coefficients.iter().skip(1)) {
            out.iter_mut().zip(column).for_each(|(out, x)| *out += beta * x);
        }
        out
    }
}

/// Some entries of a slice, in the order given.
pub fn select<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().filter_map(|&row| values.get(row)).copied().collect()
}

/// Σ a_i b_i.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// An orthogonal basis of the columns (intercept first) and the triangle that leads back.
pub(super) struct Orthogonal {
    /// Orthonormal columns.
    pub q: Vec<Vec<f64>>,
    /// R by columns: entry i of column j, i ≤ j.
    pub r: Vec<Vec<f64>>,
}

/// How small a column's new part may be, relative to the column.
const TOLERANCE: f64 = 1e-9;

impl Orthogonal {
    /// Gram–Schmidt, each column twice, on the intercept and the columns, with rows scaled by `root` (√weight).
    pub(super) fn new(design: &Design, root: Option<&[f64]>) -> Result<Self, RegressionError> {
        let (rows, unknowns) = (design.rows, design.columns.len() + 1);
        if rows < unknowns {
            return Err(RegressionError::TooFewRows { rows, unknowns });
        }
        let ones = vec![1.0; rows];
        let (mut q, mut r): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        for (at, column) in [&ones].into_iter().chain(&design.columns).enumerate() {
            let mut rest = match root {
                Some(root) => column.iter().zip(root).map(|(x, w)| x * w).collect(),
                None => column.clone(),
            };
            let size = dot(&rest, &rest).sqrt();
            let mut triangle = vec![0.0; q.len()];
            for _ in 0..2 {
                for (basis, entry) in q.iter().zip(&mut triangle) {
                    let share = dot(basis, &rest);
                    *entry += share;
                    rest.iter_mut().zip(basis).for_each(|(x, b)| *x -= share * b);
                }
            }
            let left = dot(&rest, &rest).sqrt();
            if left.partial_cmp(&(TOLERANCE * size)) != Some(std::cmp::Ordering::Greater) {
                let name = at.checked_sub(1).and_then(|at| design.names.get(at));
                return Err(RegressionError::Collinear(name.cloned().unwrap_or_else(|| "the intercept".into())));
            }
            rest.iter_mut().for_each(|x| *x /= left);
            triangle.push(left);
            q.push(rest);
            r.push(triangle);
        }
        Ok(Self { q, r })
    }

    /// The solution of R β = Qᵀ y.
    pub(super) fn solve(&self, y: &[f64]) -> Vec<f64> {
        self.back_solve(self.q.iter().map(|basis| dot(basis, y)).collect())
    }

    /// The solution of R x = right.
    pub(super) fn back_solve(&self, mut right: Vec<f64>) -> Vec<f64> {
        for at in (0..right.len()).rev() {
            let Some(column) = self.r.get(at) else { continue };
            let (above, own) = right.split_at_mut(at);
            if let (Some(value), Some(pivot)) = (own.first_mut(), column.last()) {
                *value /= pivot;
                above.iter_mut().zip(column).for_each(|(x, entry)| *x -= *value * entry);
            }
        }
        right
    }

    /// (XᵀX)⁻¹, by columns.
    pub(super) fn inverse_gram(&self) -> Vec<Vec<f64>> {
        let size = self.r.len();
        let unit = |at: usize| (0..size).map(|i| f64::from(i == at)).collect();
        let inverse: Vec<Vec<f64>> = (0..size).map(|at| self.back_solve(unit(at))).collect();
        // inverse[j] is column j of R⁻¹; the gram's inverse is R⁻¹ R⁻ᵀ.
        let entry = |i: usize, j: usize| {
            inverse.iter().map(|column| column.get(i).unwrap_or(&0.0) * column.get(j).unwrap_or(&0.0)).sum()
        };
        (0..size).map(|j| (0..size).map(|i| entry(i, j)).collect()).collect()
    }
}

/// Solves a symmetric positive definite system by Cholesky; `None` where the matrix is none. `matrix` by columns.
pub fn solve_positive(matrix: &[Vec<f64>], right: &[f64]) -> Option<Vec<f64>> {
    let n = right.len();
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(n); // rows of L
    for i in 0..n {
        let mut row: Vec<f64> = Vec::with_capacity(i + 1);
        for j in 0..=i {
            let other = if i == j { row.as_slice() } else { lower.get(j)? };
            let rest = matrix.get(j)?.get(i)? - row.iter().zip(other).take(j).map(|(a, b)| a * b).sum::<f64>();
            row.push(match i == j {
                true if rest > 0.0 => rest.sqrt(),
                true => return None,
                false => rest / lower.get(j)?.get(j)?,
            });
        }
        lower.push(row);
    }
    let mut half: Vec<f64> = Vec::with_capacity(n);
    for (i, row) in lower.iter().enumerate() {
        half.push((right.get(i)? - dot(row.get(..i)?, &half)) / row.get(i)?);
    }
    let mut solution = half;
    for i in (0..n).rev() {
        let value = solution.get(i)? / lower.get(i)?.get(i)?;
        solution.iter_mut().zip(lower.get(i)?).take(i).for_each(|(x, l)| *x -= value * l);
        *solution.get_mut(i)? = value;
    }
    Some(solution)
}
