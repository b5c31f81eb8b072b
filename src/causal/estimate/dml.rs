//! Double machine learning (Chernozhukov et al. 2018): scores that are flat in the nuisances, on cross-fitted nuisances.
//!
//! Each score is linear in θ: ψ = ψ_a θ + ψ_b, θ = −Σ ψ_b / Σ ψ_a, Var θ = E ψ² / (J² n), J = E ψ_a.
//! * Partially linear, y = θ d + g(x) + ζ: residuals u = y − ℓ̂(x), v = d − m̂(x); ψ = (u − θ v) v (partialling out), or
//!   ψ = (y − θ d − ĝ(x)) v (IV type).
//! * Interactive, ATE: ψ_b = ĝ₁ − ĝ₀ + d (y − ĝ₁)/m̂ − (1 − d)(y − ĝ₀)/(1 − m̂), ψ_a = −1. ATTE: ψ_b = (d − (1 − d) m̂/(1 − m̂))
//!   (y − ĝ₀)/p, ψ_a = −d/p with p = mean d.

/// A score, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// What multiplies θ.
    pub a: Vec<f64>,
    /// What does not.
    pub b: Vec<f64>,
}

/// How rows may err together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dependence<'a> {
    /// Not at all.
    None,
    /// Within clusters: each row's, and the test folds of the cross-fitting.
    OneWay(&'a [usize], &'a [Vec<usize>]),
    /// Within either of two kinds of clusters, and the test blocks.
    TwoWay([&'a [usize]; 2], &'a [Vec<usize>]),
}

/// θ with its error and what it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Solved {
    /// θ.
    pub theta: f64,
    /// Its standard error.
    pub error: f64,
    /// The scores at θ, row by row.
    pub psi: Vec<f64>,
    /// J.
    pub jacobian: f64,
}

impl Solved {
    /// Each row's influence on θ: −ψ/J. Their mean is 0.
    pub fn influence(&self) -> Vec<f64> {
        self.psi.iter().map(|psi| -psi / self.jacobian).collect()
    }
}

impl Score {
    /// Partialling out.
    pub fn partialling_out(y: &[f64], d: &[f64], outcome: &[f64], treatment: &[f64]) -> Self {
        let u = y.iter().zip(outcome).map(|(y, l)| y - l);
        let v = d.iter().zip(treatment).map(|(d, m)| d - m);
        let (a, b) = u.zip(v).map(|(u, v)| (-v * v, u * v)).unzip();
        Self { a, b }
    }

    /// The IV type: `direct` is ĝ, fitted to y − θ₀ d with θ₀ from partialling out.
    pub fn iv_type(y: &[f64], d: &[f64], direct: &[f64], treatment: &[f64]) -> Self {
        let v = d.iter().zip(treatment).map(|(d, m)| d - m);
        let rows = y.iter().zip(direct).zip(d.iter().zip(v));
        let (a, b) = rows.map(|((y, g), (d, v))| (-v * d, (y - g) * v)).unzip();
        Self { a, b }
    }

    /// The average effect: augmented inverse propensity weighting.
    pub fn average(y: &[f64], d: &[f64], untreated: &[f64], treated: &[f64], propensity: &[f64]) -> Self {
        let rows = y.iter().zip(d).zip(untreated.iter().zip(treated)).zip(propensity);
        let b = rows.map(|(((y, d), (g0, g1)), m)| g1 - g0 + d * (y - g1) / m - (1.0 - d) * (y - g0) / (1.0 - m));
        Self { a: vec![-1.0; y.len()], b: b.collect() }
    }

    /// The average effect on the treated.
    pub fn on_treated(y: &[f64], d: &[f64], untreated: &[f64], propensity: &[f64]) -> Self {
        let p = d.iter().sum::<f64>() / d.len().max(1) as f64;
        let rows = y.iter().zip(d).zip(untreated).zip(propensity);
        let b = rows.map(|(((y, d), g0), m)| (d - (1.0 - d) * m / (1.0 - m)) * (y - g0) / p).collect();
        Self { a: d.iter().map(|d| -d / p).collect(), b }
    }

    /// θ and its error; `None` where the score does not move with θ.
    pub fn solve(&self, dependence: Dependence<'_>) -> Option<Solved> {
        match dependence {
            Dependence::None => self.solve_plain(),
            Dependence::OneWay(clusters, folds) => self.solve_clustered(&[clusters], folds),
            Dependence::TwoWay([first, second], folds) => self.solve_clustered(&[first, second], folds),
        }
    }

    fn solve_plain(&self) -> Option<Solved> {
        let n = self.a.len() as f64;
        let jacobian = self.a.iter().sum::<f64>() / n;
        let theta = -self.b.iter().sum::<f64>() / (n * jacobian);
        let psi = self.at(theta);
        let variance = psi.iter().map(|psi| psi * psi).sum::<f64>() / n / (jacobian * jacobian) / n;
        finite(Solved { theta, error: variance.sqrt(), psi, jacobian })
    }

    fn at(&self, theta: f64) -> Vec<f64> {
        self.a.iter().zip(&self.b).map(|(a, b)| a * theta + b).collect()
    }

    /// Chiang, Kato, Ma and Sasaki (2022), as DoubleML has it: every fold counts by its number of clusters (or of cells
    /// I·J of a two-way block), not of rows.
    fn solve_clustered(&self, clusters: &[&[usize]], folds: &[Vec<usize>]) -> Option<Solved> {
        let sizes: Vec<Vec<f64>> =
            folds.iter().map(|rows| clusters.iter().map(|of| distinct(of, rows) as f64).collect()).collect();
        let cells = |sizes: &Vec<f64>| sizes.iter().product::<f64>();
        let weighted = |values: &[f64]| {
            let fold = |(rows, sizes): (&Vec<usize>, &Vec<f64>)| {
                rows.iter().filter_map(|row| values.get(*row)).sum::<f64>() / cells(sizes)
            };
            folds.iter().zip(&sizes).map(fold).sum::<f64>() / folds.len() as f64
        };
        let jacobian = weighted(&self.a);
        let theta = -weighted(&self.b) / jacobian;
        let psi = self.at(theta);
        let mut gamma = 0.0;
        for (rows, sizes) in folds.iter().zip(&sizes) {
            let smallest = sizes.iter().copied().fold(f64::INFINITY, f64::min);
            // One way: 1/I. Two ways: min(I, J)/(I J)².
            let weight = if sizes.len() == 1 { 1.0 / smallest } else { smallest / cells(sizes).powi(2) };
            let squares: f64 = clusters.iter().map(|of| sum_of_squares(&psi, of, rows)).sum();
            gamma += weight * squares / folds.len() as f64;
        }
        let all: Vec<usize> = (0..psi.len()).collect();
        let count = clusters.iter().map(|of| distinct(of, &all)).min().unwrap_or(1) as f64;
        finite(Solved { theta, error: (gamma / (jacobian * jacobian) / count).sqrt(), psi, jacobian })
    }
}

fn finite(solved: Solved) -> Option<Solved> {
    (solved.theta.is_finite() && solved.error.is_finite()).then_some(solved)
}

fn distinct(clusters: &[usize], rows: &[usize]) -> usize {
    let found: std::collections::BTreeSet<usize> = rows.iter().filter_map(|row| clusters.get(*row)).copied().collect();
    found.len()
}

/// Σ over clusters of (Σ ψ)², within some rows.
fn sum_of_squares(psi: &[f64], clusters: &[usize], rows: &[usize]) -> f64 {
    let mut sums = std::collections::BTreeMap::new();
    for row in rows {
        if let (Some(psi), Some(cluster)) = (psi.get(*row), clusters.get(*row)) {
            *sums.entry(*cluster).or_insert(0.0) += psi;
        }
    }
    sums.values().map(|sum: &f64| sum * sum).sum()
}
