//! One call: a table in, an effect out.

use statrs::distribution::{ContinuousCDF, Normal};

use super::dml::{Dependence, Score, Solved};
use super::simple::{self, Plain};
use super::{
    Confounding, EffectEstimate, EstimateError, Estimation, External, FoldRule, Folds, Method, Overlap, PlrScore,
    Target,
};
use crate::base::Seed;
use crate::causal::table::{Column, Levels, Table};
use crate::stats::design::Design;
use crate::stats::result::Interval;

/// What is read from the table.
pub(super) struct Rows {
    pub(super) y: Vec<f64>,
    pub(super) d: Vec<f64>,
    pub(super) x: Design,
    pub(super) clusters: Vec<Vec<usize>>,
    /// The treatment's name, with the label that counts as 1.
    pub(super) treatment: String,
}

/// One split's result.
struct Split {
    solved: Solved,
    overlap: Option<Overlap>,
    confounding: Option<Confounding>,
}

impl Estimation {
    /// Estimates the effect.
    pub fn run(&self, table: &Table) -> Result<EffectEstimate, EstimateError> {
        self.run_with(table, &External::default())
    }

    /// The same with some nuisances given, row by row.
    pub fn run_with(&self, table: &Table, external: &External) -> Result<EffectEstimate, EstimateError> {
        self.check()?;
        let rows = self.rows(table)?;
        let plain = match self.method {
            Method::PartiallyLinear(_) | Method::Interactive(_) => return self.double(&rows, external),
            Method::Difference => simple::difference(self, &rows)?,
            Method::Regression => simple::regression(self, &rows)?,
            Method::Weighting(target) => simple::weighting(self, &rows, target, external)?,
            Method::Standardisation => simple::standardisation(self, &rows)?,
            Method::Matching(target) => super::matching::matched(self, &rows, target)?,
        };
        let Plain { value, error, influence, overlap, method } = plain;
        let mut effect = self.effect(value, error, &rows, method);
        effect.influence = influence;
        effect.warnings.extend(overlap.iter().flat_map(|overlap| overlap.warnings.clone()));
        effect.overlap = overlap;
        Ok(effect)
    }

    fn check(&self) -> Result<(), EstimateError> {
        let refuse = |message: String| Err(EstimateError::Spec(message));
        if self.treatment == self.outcome || self.covariates.iter().any(|x| *x == self.treatment || *x == self.outcome)
        {
            return refuse("treatment, outcome and covariates must be different columns".into());
        }
        if !(self.level > 0.0 && self.level < 1.0 && (0.0..0.5).contains(&self.clip)) {
            return refuse("the level lies in (0, 1) and the clipping of propensities in [0, 0.5)".into());
        }
        if self.clusters.len() > 2 || self.repetitions == 0 || self.neighbours == 0 {
            return refuse("give at most two cluster columns, and at least one repetition and one neighbour".into());
        }
        Ok(())
    }

    fn rows(&self, table: &Table) -> Result<Rows, EstimateError> {
        let continuous = matches!(self.method, Method::PartiallyLinear(_) | Method::Regression);
        let (treatment, d) = match table.column(&self.treatment)? {
            Column::Numbers(_) if continuous => (self.treatment.clone(), table.varying(&self.treatment)?.to_vec()),
            _ => table.treatment(&self.treatment)?,
        };
        let mut x = Design::new(table.rows());
        for name in &self.covariates {
            for (name, column) in table.coded(name)? {
                x.push(&name, column)?;
            }
        }
        let mut clusters = Vec::new();
        for name in &self.clusters {
            let Levels { names, codes } = table.levels(name, table.rows())?;
            if names.len() == table.rows() {
                return Err(EstimateError::SingleRowClusters(name.clone()));
            }
            clusters.push(codes);
        }
        Ok(Rows { y: table.varying(&self.outcome)?.to_vec(), d, x, clusters, treatment })
    }

    fn folds(&self, rows: &Rows, seed: Seed) -> Result<Folds, EstimateError> {
        let (n, k) = (rows.y.len(), self.folds);
        match (&rows.clusters[..], self.fold_rule) {
            ([first, second], _) => Folds::two_way([first, second], k, seed),
            ([only], FoldRule::Random) => Folds::by_cluster(only, k, seed),
            (_, FoldRule::ByIndex) => Folds::by_index(n, k),
            _ if matches!(self.method, Method::PartiallyLinear(_)) => Folds::random(n, k, seed),
            _ => Folds::stratified(&rows.d, k, seed),
        }
    }

    /// The median over splits, with the medians of the limits.
    fn double(&self, rows: &Rows, external: &External) -> Result<EffectEstimate, EstimateError> {
        let z = self.quantile();
        let mut splits = Vec::new();
        for repetition in 0..self.repetitions {
            let seed = self.seed.fork("split").fork(&repetition.to_string());
            splits.push(self.split(rows, &self.folds(rows, seed.fork("folds"))?, external, seed)?);
        }
        splits.sort_by(|a, b| a.solved.theta.total_cmp(&b.solved.theta));
        let over = |f: &dyn Fn(&Solved) -> f64| median(splits.iter().map(|split| f(&split.solved)).collect());
        let value = over(&|solved| solved.theta);
        let low = over(&|solved| solved.theta - z * solved.error);
        let high = over(&|solved| solved.theta + z * solved.error);
        let middle = splits.swap_remove((splits.len() - 1) / 2);
        let nuisances = format!(
            "{} for the outcome, {} for the treatment",
            self.outcome_learner.name(),
            self.treatment_learner.name()
        );
        let model = if matches!(self.method, Method::PartiallyLinear(_)) { "partially linear" } else { "interactive" };
        let times =
            if self.repetitions > 1 { format!(", median of {} splits", self.repetitions) } else { String::new() };
        let method = format!("double machine learning, {model}; {nuisances}; {} folds{times}", self.folds);
        let mut effect = self.effect(value, (high - low) / (2.0 * z), rows, method);
        effect.interval = Interval { low, high, level: self.level };
        effect.influence = middle.solved.influence();
        effect.warnings.extend(middle.overlap.iter().flat_map(|overlap| overlap.warnings.clone()));
        effect.overlap = middle.overlap;
        effect.confounding = middle.confounding;
        Ok(effect)
    }

    fn split(&self, rows: &Rows, folds: &Folds, external: &External, seed: Seed) -> Result<Split, EstimateError> {
        let dependence = match &rows.clusters[..] {
            [] => Dependence::None,
            [only] => Dependence::OneWay(only, &folds.test),
            [first, second, ..] => Dependence::TwoWay([first, second], &folds.test),
        };
        match self.method {
            Method::Interactive(target) => self.interactive(rows, folds, external, seed, target, dependence),
            Method::PartiallyLinear(score) => self.partially_linear(rows, folds, external, seed, score, dependence),
            _ => Err(EstimateError::Spec("only double machine learning is split".into())),
        }
    }

    fn partially_linear(
        &self,
        Rows { y, d, x, .. }: &Rows,
        folds: &Folds,
        external: &External,
        seed: Seed,
        score: PlrScore,
        dependence: Dependence<'_>,
    ) -> Result<Split, EstimateError> {
        let all = |_: usize| true;
        let outcome = match &external.outcome {
            Some(given) => given.clone(),
            None => folds.cross_fit(self.outcome_learner.as_ref(), x, y, &all, seed.fork("outcome"))?,
        };
        let treatment = match &external.treatment {
            Some(given) => given.clone(),
            None => folds.cross_fit(self.treatment_learner.as_ref(), x, d, &all, seed.fork("treatment"))?,
        };
        let nothing = || EstimateError::NoVariation;
        let first = Score::partialling_out(y, d, &outcome, &treatment);
        let out = first.solve(dependence).ok_or_else(nothing)?;
        let solved = match score {
            PlrScore::PartiallingOut => out,
            PlrScore::IvType => {
                let rest: Vec<f64> = y.iter().zip(d).map(|(y, d)| y - out.theta * d).collect();
                let direct = folds.cross_fit(self.outcome_learner.as_ref(), x, &rest, &all, seed.fork("direct"))?;
                Score::iv_type(y, d, &direct, &treatment).solve(dependence).ok_or_else(nothing)?
            }
        };
        let v: Vec<f64> = d.iter().zip(&treatment).map(|(d, m)| d - m).collect();
        let residual: Vec<f64> = y.iter().zip(&outcome).zip(&v).map(|((y, l), v)| y - l - solved.theta * v).collect();
        let confounding = Some(Confounding::partially_linear(&residual, &v));
        Ok(Split { solved, overlap: None, confounding })
    }

    fn interactive(
        &self,
        Rows { y, d, x, .. }: &Rows,
        folds: &Folds,
        external: &External,
        seed: Seed,
        target: Target,
        dependence: Dependence<'_>,
    ) -> Result<Split, EstimateError> {
        let arm = |value: f64, given: &Option<Vec<f64>>, name: &str| match given {
            Some(given) => Ok(given.clone()),
            None => {
                let keep = |row: usize| d.get(row) == Some(&value);
                folds.cross_fit(self.outcome_learner.as_ref(), x, y, &keep, seed.fork(name))
            }
        };
        let untreated = arm(0.0, &external.untreated, "untreated")?;
        let treated = arm(1.0, &external.treated, "treated")?;
        let (propensity, overlap) = self.propensity(d, x, folds, external, seed)?;
        let score = match target {
            Target::Everybody => Score::average(y, d, &untreated, &treated, &propensity),
            Target::Treated => Score::on_treated(y, d, &untreated, &propensity),
        };
        let solved = score.solve(dependence).ok_or(EstimateError::NoVariation)?;
        let fitted = untreated.iter().zip(&treated).zip(d).map(|((g0, g1), d)| if *d > 0.5 { g1 } else { g0 });
        let residual: Vec<f64> = y.iter().zip(fitted).map(|(y, g)| y - g).collect();
        let confounding = (target == Target::Everybody).then(|| Confounding::average(&residual, d, &propensity));
        Ok(Split { solved, overlap: Some(overlap), confounding })
    }

    /// Clipped propensities, and what the raw ones say; an error where units cannot be compared.
    pub(super) fn propensity(
        &self,
        d: &[f64],
        x: &Design,
        folds: &Folds,
        external: &External,
        seed: Seed,
    ) -> Result<(Vec<f64>, Overlap), EstimateError> {
        let raw = match &external.treatment {
            Some(given) => given.clone(),
            None => folds.cross_fit(self.treatment_learner.as_ref(), x, d, &|_| true, seed.fork("treatment"))?,
        };
        let overlap = Overlap::of(d, &raw, self.clip, x);
        overlap.check()?;
        Ok((raw.iter().map(|m| m.clamp(self.clip, 1.0 - self.clip)).collect(), overlap))
    }

    pub(super) fn plain_folds(&self, rows: &Rows) -> Result<Folds, EstimateError> {
        self.folds(rows, self.seed.fork("split").fork("0").fork("folds"))
    }

    fn quantile(&self) -> f64 {
        Normal::standard().inverse_cdf(0.5 + self.level / 2.0)
    }

    fn effect(&self, value: f64, error: f64, rows: &Rows, method: String) -> EffectEstimate {
        let z = self.quantile();
        let count = |codes: &Vec<usize>| codes.iter().max().map_or(0, |code| code + 1);
        let clusters = rows.clusters.iter().map(count).min().unwrap_or(rows.y.len());
        let few = clusters < 20 && !rows.clusters.is_empty();
        let warning = format!("{clusters} clusters are few for a normal interval: it is likely too narrow");
        let target = match self.method {
            Method::Difference => "difference of means by the values",
            Method::Regression | Method::PartiallyLinear(_) => "coefficient",
            Method::Interactive(Target::Treated)
            | Method::Weighting(Target::Treated)
            | Method::Matching(Target::Treated) => "average effect on the treated (ATTE)",
            _ => "average effect (ATE)",
        };
        EffectEstimate {
            target: format!("{target} of {}", rows.treatment),
            method,
            value,
            error,
            interval: Interval { low: value - z * error, high: value + z * error, level: self.level },
            n: rows.y.len(),
            clusters,
            overlap: None,
            warnings: if few { vec![warning] } else { Vec::new() },
            influence: Vec::new(),
            confounding: None,
        }
    }
}

/// The middle value; the mean of the two middle ones of an even number.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => at(n / 2),
        n => (at(n / 2 - 1) + at(n / 2)) / 2.0,
    }
}
