//! Least squares with robust errors, ridge, and the logistic model.
//!
//! OLS by an orthogonal basis, so that digits hold where normal equations lose them. Errors of coefficients: classical
//! s²(XᵀX)⁻¹; HC0 (White 1980); HC1, times n/(n − k); HC3, residuals over 1 − leverage (MacKinnon and White 1985); clustered
//! (Liang and Zeger 1986), without a factor for few clusters.

use super::design::{Design, Orthogonal, RegressionError, dot, solve_positive};

/// A least-squares fit with an intercept, which comes first.
#[derive(Debug, Clone)]
pub struct OlsFit {
    /// The coefficients.
    pub coefficients: Vec<f64>,
    /// y less its fitted values.
    pub residuals: Vec<f64>,
    inverse_gram: Vec<Vec<f64>>,
    leverages: Vec<f64>,
    basis: Vec<Vec<f64>>,
    /// R⁻¹ by columns.
    back: Vec<Vec<f64>>,
}

/// How errors of coefficients are estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Robust<'a> {
    /// One error variance for all rows.
    Classical,
    /// White's.
    Hc0,
    /// HC0 · n/(n − k).
    Hc1,
    /// The jackknife's relative.
    Hc3,
    /// Rows of one cluster may err together: each row's cluster.
    Clustered(&'a [usize]),
}

/// Fits y on the columns and an intercept.
pub fn ols(design: &Design, y: &[f64]) -> Result<OlsFit, RegressionError> {
    if y.len() != design.rows() {
        return Err(RegressionError::Length { name: "outcome".into(), found: y.len(), wanted: design.rows() });
    }
    let orthogonal = Orthogonal::new(design, None)?;
    let coefficients = orthogonal.solve(y);
    let residuals = y.iter().zip(design.linear(&coefficients)).map(|(y, fitted)| y - fitted).collect();
    let mut leverages = vec![0.0; y.len()];
    for basis in &orthogonal.q {
        leverages.iter_mut().zip(basis).for_each(|(h, q)| *h += q * q);
    }
    let inverse_gram = orthogonal.inverse_gram();
    let size = coefficients.len();
    let unit = |at: usize| -> Vec<f64> { (0..size).map(|i| f64::from(i == at)).collect() };
    let back = (0..size).map(|at| orthogonal.back_solve(unit(at))).collect();
    Ok(OlsFit { coefficients, residuals, inverse_gram, leverages, basis: orthogonal.q, back })
}

/// The coefficients of a least-squares fit alone, rows weighted.
pub fn weighted_coefficients(design: &Design, y: &[f64], weights: Option<&[f64]>) -> Result<Vec<f64>, RegressionError> {
    match weights {
        None => Ok(Orthogonal::new(design, None)?.solve(y)),
        Some(weights) => {
            let root: Vec<f64> = weights.iter().map(|w| w.max(0.0).sqrt()).collect();
            let scaled: Vec<f64> = y.iter().zip(&root).map(|(y, w)| y * w).collect();
            Ok(Orthogonal::new(design, Some(&root))?.solve(&scaled))
        }
    }
}

impl OlsFit {
    /// Rows less coefficients.
    pub fn degrees_of_freedom(&self) -> usize {
        self.residuals.len().saturating_sub(self.coefficients.len())
    }

    /// The standard errors of the coefficients.
    pub fn errors(&self, robust: Robust<'_>) -> Vec<f64> {
        let n = self.residuals.len() as f64;
        let df = self.degrees_of_freedom().max(1) as f64;
        let meat: Vec<f64> = match robust {
            Robust::Classical => {
                let variance = dot(&self.residuals, &self.residuals) / df;
                let diagonal = self.inverse_gram.iter().enumerate();
                return diagonal.map(|(j, column)| (variance * column.get(j).unwrap_or(&0.0)).sqrt()).collect();
            }
            Robust::Clustered(clusters) => return self.clustered(clusters),
            Robust::Hc0 => self.residuals.iter().map(|e| e * e).collect(),
            Robust::Hc1 => self.residuals.iter().map(|e| e * e * n / df).collect(),
            Robust::Hc3 => {
                self.residuals.iter().zip(&self.leverages).map(|(e, h)| (e / (1.0 - h).max(1e-12)).powi(2)).collect()
            }
        };
        // Var β_j = Σ_i (row j of R⁻¹ Qᵀ)_i² meat_i.
        (0..self.coefficients.len())
            .map(|j| self.influence(j).iter().zip(&meat).map(|(a, m)| a * a * m).sum::<f64>().sqrt())
            .collect()
    }

    /// Each row's weight in a coefficient: β_j = Σ_i weight_i y_i.
    pub fn influence(&self, coefficient: usize) -> Vec<f64> {
        let mut weights = vec![0.0; self.residuals.len()];
        for (basis, column) in self.basis.iter().zip(&self.back) {
            let entry = column.get(coefficient).copied().unwrap_or(0.0);
            weights.iter_mut().zip(basis).for_each(|(w, q)| *w += entry * q);
        }
        weights
    }

    fn clustered(&self, clusters: &[usize]) -> Vec<f64> {
        let error = |j: usize| {
            let mut sums = std::collections::BTreeMap::new();
            for ((weight, residual), cluster) in self.influence(j).iter().zip(&self.residuals).zip(clusters) {
                *sums.entry(*cluster).or_insert(0.0) += weight * residual;
            }
            sums.values().map(|sum: &f64| sum * sum).sum::<f64>().sqrt()
        };
        (0..self.coefficients.len()).map(error).collect()
    }
}

/// Ridge: least squares on standardised columns with `penalty` · Σ β², the intercept free. Penalty in the units of
/// Σ residual², so that a useful one grows with the rows. Returns coefficients of the raw columns, intercept first.
pub fn ridge(design: &Design, y: &[f64], penalty: f64) -> Option<Vec<f64>> {
    let n = design.rows().max(1) as f64;
    let moments: Vec<(f64, f64)> = (design.columns().iter())
        .map(|column| {
            let mean = column.iter().sum::<f64>() / n;
            let sd = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            (mean, if sd > 0.0 { sd } else { 1.0 })
        })
        .collect();
    let scaled = design.standardised();
    let mean_y = y.iter().sum::<f64>() / n;
    let centred: Vec<f64> = y.iter().map(|y| y - mean_y).collect();
    let gram = |(i, a): (usize, &Vec<f64>)| -> Vec<f64> {
        let entry = |(j, b): (usize, &Vec<f64>)| dot(a, b) + if i == j { penalty } else { 0.0 };
        scaled.columns().iter().enumerate().map(entry).collect()
    };
    let matrix: Vec<Vec<f64>> = scaled.columns().iter().enumerate().map(gram).collect();
    let right: Vec<f64> = scaled.columns().iter().map(|column| dot(column, &centred)).collect();
    let beta = solve_positive(&matrix, &right)?;
    let raw: Vec<f64> = beta.iter().zip(&moments).map(|(b, (_, sd))| b / sd).collect();
    let intercept = mean_y - raw.iter().zip(&moments).map(|(b, (mean, _))| b * mean).sum::<f64>();
    Some([intercept].into_iter().chain(raw).collect())
}

/// Iterations of the logistic fit; ten suffice where a maximum exists.
const ITERATIONS: usize = 60;
/// Linear predictors beyond this mean that the likelihood has no maximum.
const BOUND: f64 = 30.0;

/// Maximum likelihood of P(y = 1) = 1/(1 + e^(−β₀ − Σ β_j x_j)) by iteratively reweighted least squares. The columns are
/// standardised inside, which changes no fitted value. y may be any share in [0, 1].
pub fn logistic(design: &Design, y: &[f64]) -> Result<Vec<f64>, RegressionError> {
    let (n, scaled) = (design.rows().max(1) as f64, design.standardised());
    let mean = (y.iter().sum::<f64>() / n).clamp(1e-6, 1.0 - 1e-6);
    let mut beta = vec![0.0; scaled.columns().len() + 1];
    beta.iter_mut().take(1).for_each(|b| *b = (mean / (1.0 - mean)).ln());
    for _ in 0..ITERATIONS {
        let eta = scaled.linear(&beta);
        let p: Vec<f64> = eta.iter().map(|eta| sigmoid(*eta)).collect();
        let weights: Vec<f64> = p.iter().map(|p| (p * (1.0 - p)).max(1e-10)).collect();
        let working: Vec<f64> =
            eta.iter().zip(y).zip(p.iter().zip(&weights)).map(|((eta, y), (p, w))| eta + (y - p) / w).collect();
        let next = weighted_coefficients(&scaled, &working, Some(&weights))?;
        let change = next.iter().zip(&beta).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        beta = next;
        if beta.iter().any(|b| b.abs() > BOUND) {
            break;
        }
        if change < 1e-10 {
            return Ok(unscaled(design, &beta));
        }
    }
    let slopes = beta.iter().skip(1).zip(design.names());
    let worst = slopes.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs())).map(|(_, name)| name.clone());
    Err(RegressionError::Separated(worst.unwrap_or_else(|| "the intercept".into())))
}

/// 1/(1 + e^−x).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Coefficients of the raw columns from those of the standardised ones.
fn unscaled(design: &Design, beta: &[f64]) -> Vec<f64> {
    let n = design.rows().max(1) as f64;
    let mut intercept = beta.first().copied().unwrap_or(0.0);
    let mut raw = Vec::with_capacity(beta.len());
    for (column, b) in design.columns().iter().zip(beta.iter().skip(1)) {
        let mean = column.iter().sum::<f64>() / n;
        let sd = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let slope = if sd > 0.0 { b / sd } else { 0.0 };
        intercept -= slope * mean;
        raw.push(slope);
    }
    [intercept].into_iter().chain(raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design(columns: &[(&str, &[f64])]) -> Design {
        let columns = columns.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec())).collect();
        Design::from_columns(columns).expect("equal lengths")
    }

    #[test]
    fn least_squares_by_hand() {
        // y on x = 0, 1, 2: slope Σ(x−1)(y−ȳ)/2.
        let x = design(&[("x", &[0.0, 1.0, 2.0])]);
        let fit = ols(&x, &[1.0, 2.0, 5.0]).expect("fit");
        assert!((fit.coefficients[1] - 2.0).abs() < 1e-12 && (fit.coefficients[0] - 2.0 / 3.0).abs() < 1e-12);
        // Residuals 1/3, −2/3, 1/3; s² = 2/3; Var slope = s²/2; HC0 = (1/9 + 1/9)/4.
        assert!((fit.errors(Robust::Classical)[1] - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((fit.errors(Robust::Hc0)[1] - (1.0f64 / 18.0).sqrt()).abs() < 1e-12);
        // Leverages 5/6, 1/3, 5/6: HC3 = ((2)² + (2)²)/4.
        assert!((fit.errors(Robust::Hc3)[1] - 2.0f64.sqrt()).abs() < 1e-9);
        // The outer rows in one cluster: weights −1/2 and 1/2 cancel equal residuals.
        assert!(fit.errors(Robust::Clustered(&[0, 1, 0]))[1] < 1e-12);
        let none = ridge(&x, &[1.0, 2.0, 5.0], 0.0).expect("ridge");
        assert!((none[1] - 2.0).abs() < 1e-12 && (none[0] - 2.0 / 3.0).abs() < 1e-12);
        // Standardised, Σx² = 3: the slope shrinks by 3/(3 + penalty).
        assert!((ridge(&x, &[1.0, 2.0, 5.0], 3.0).expect("ridge")[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn collinear_columns_are_named() {
        let x = design(&[("a", &[0.0, 1.0, 2.0, 5.0]), ("b", &[1.0, 3.0, 5.0, 11.0])]);
        assert_eq!(ols(&x, &[0.0; 4]).err(), Some(RegressionError::Collinear("b".into())));
        let x = design(&[("one", &[3.0; 4])]);
        assert_eq!(ols(&x, &[0.0; 4]).err(), Some(RegressionError::Collinear("one".into())));
        assert!(matches!(ols(&design(&[("x", &[1.0])]), &[1.0]), Err(RegressionError::TooFewRows { .. })));
    }

    #[test]
    fn a_logit_of_one_binary_column_is_the_log_odds_ratio() {
        // x = 0: 1 of 4; x = 1: 3 of 4. β₀ = −ln 3, β₁ = 2 ln 3.
        let x = design(&[("x", &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])]);
        let beta = logistic(&x, &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]).expect("fit");
        assert!((beta[0] + 3f64.ln()).abs() < 1e-9 && (beta[1] - 2.0 * 3f64.ln()).abs() < 1e-9, "{beta:?}");
        let told = logistic(&x, &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(told, Err(RegressionError::Separated("x".into())));
    }

    #[test]
    fn positive_systems() {
        let matrix = vec![vec![4.0, 2.0], vec![2.0, 3.0]];
        let x = solve_positive(&matrix, &[8.0, 7.0]).expect("positive");
        assert!((x[0] - 1.25).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12);
        assert_eq!(solve_positive(&[vec![1.0, 2.0], vec![2.0, 1.0]], &[1.0, 1.0]), None);
    }
}
