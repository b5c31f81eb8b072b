//! Runs and objectives under the same draws of clusters.

use super::pareto::ParetoObjective;
use super::settings::CompareSettings;
use crate::record::RunRecord;
use crate::stats::{Estimate, Interval, JointMetric, MetricScore, joint_replicates, quantile_of};

/// Values of all runs and objectives: as they are, and replicate by replicate.
pub(super) struct Draws {
    /// By run, then objective.
    pub(super) values: Vec<Vec<f64>>,
    /// By replicate, run, objective; only those in which all are defined.
    pub(super) replicates: Vec<Vec<Vec<f64>>>,
    /// By objective, items and clusters of a run.
    pub(super) sizes: Vec<(usize, usize)>,
}

/// Resamples all scores together; metrics of one eval set, the first part of a population's name, share their clusters.
pub(super) fn draw(
    records: &[&RunRecord],
    objectives: &[ParetoObjective],
    settings: &CompareSettings,
) -> Option<Draws> {
    let mut scores: Vec<&MetricScore> = Vec::new();
    for record in records {
        for objective in objectives {
            for population in &objective.populations {
                scores.push(record.score(&objective.metric, population)?);
            }
        }
    }
    let metrics: Vec<JointMetric<'_>> = scores
        .iter()
        .map(|score| JointMetric {
            stratum: score.population.split('/').next().unwrap_or_default(),
            statistic: &score.statistic,
            items: &score.items,
        })
        .collect();
    let mut bootstrap = settings.bootstrap;
    bootstrap.seed = bootstrap.seed.fork("pareto");
    let columns = joint_replicates(&metrics, &bootstrap).ok()?;
    let gather = |of: &dyn Fn(usize) -> Option<f64>| -> Option<Vec<Vec<f64>>> {
        let mut at = 0;
        let mut runs = Vec::with_capacity(records.len());
        for _ in records {
            let mut run = Vec::with_capacity(objectives.len());
            for objective in objectives {
                let count = objective.populations.len();
                let sum = (at..at + count).map(of).try_fold(0.0, |sum, value| Some(sum + value?))?;
                run.push(sum / count as f64);
                at += count;
            }
            runs.push(run);
        }
        Some(runs)
    };
    let values = gather(&|index| scores.get(index).and_then(|score| score.estimate.value))?;
    let replicates: Vec<Vec<Vec<f64>>> = (0..bootstrap.replicates)
        .filter_map(|replicate| gather(&|index| columns.get(index)?.get(replicate).copied().flatten()))
        .collect();
    let size = |objective: &ParetoObjective| {
        let of_first = objective.populations.iter().filter_map(|name| records.first()?.score(&objective.metric, name));
        of_first.fold((0, 0), |(n, clusters), score| (n + score.estimate.n, clusters + score.estimate.clusters))
    };
    let sizes = objectives.iter().map(size).collect();
    (!replicates.is_empty()).then_some(Draws { values, replicates, sizes })
}

impl Draws {
    /// The percentile interval of a number of each replicate.
    pub(super) fn interval(&self, level: f64, of: impl Fn(&[Vec<f64>]) -> Option<f64>) -> Option<Interval> {
        let mut sorted: Vec<f64> =
            self.replicates.iter().filter_map(|runs| of(runs)).filter(|x| x.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - level) / 2.0;
        (sorted.len() * 20 >= self.replicates.len() * 19 && !sorted.is_empty()).then(|| Interval {
            low: quantile_of(&sorted, tail),
            high: quantile_of(&sorted, 1.0 - tail),
            level,
        })
    }

    /// A number of each replicate as an estimate; `objective` says on how many items it rests.
    pub(super) fn estimate(&self, level: f64, objective: usize, of: &dyn Fn(&[Vec<f64>]) -> Option<f64>) -> Estimate {
        let (n, clusters) = self.sizes.get(objective).copied().unwrap_or((0, 0));
        let interval = self.interval(level, of);
        Estimate {
            value: of(&self.values),
            undefined: interval.is_none().then(|| "more than 5 % of the replicates are undefined".to_owned()),
            method: if interval.is_some() { self.method() } else { "none".into() },
            interval,
            n,
            clusters,
        }
    }

    /// How its intervals are made.
    pub(super) fn method(&self) -> String {
        format!("joint cluster bootstrap (percentile), {} replicates", self.replicates.len())
    }
}
