//! One metric on one population, baseline against candidate.

use serde::{Deserialize, Serialize};

use super::Tests;
use super::align::ScorePair;
use super::settings::CompareSettings;
use crate::stats::{
    Direction, Distribution, Equivalence, ErrorKind, Estimate, Interval, MetricScore, Objective, Paired, equivalence,
    equivalence_level, error_of_interval, mcnemar_exact, minimum_detectable_effect, normal_interval,
    smallest_sign_flip, standard_error, unpaired_difference,
};

/// What can be said of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The corrected p-value is below α and the candidate is on the better side.
    Better,
    /// The corrected p-value is below α and the candidate is on the worse side.
    Worse,
    /// The corrected p-value is below α, of a metric without a better side.
    Changed,
    /// The interval of level 1 − 2α lies inside the margin.
    Equivalent,
    /// Neither: more items are needed. The minimum detectable effect says what these could have shown.
    Undecided,
}

impl Verdict {
    /// The word that tables print.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Changed => "changed",
            Self::Equivalent => "equivalent",
            Self::Undecided => "undecided",
        }
    }
}

/// Which test gave a p-value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Whole clusters trade places between the runs; all patterns or a random choice of them.
    Permutation,
    /// Student's t on the delete-one-cluster error of the difference, clusters − 1 degrees of freedom.
    ClusterT,
    /// Normal, on two standard errors that are taken as independent: one of the runs has no items.
    Unpaired,
}

/// Items whose 0/1 value changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flips {
    /// 0 in the baseline, 1 in the candidate.
    pub gained: Vec<String>,
    /// 1 in the baseline, 0 in the candidate.
    pub lost: Vec<String>,
    /// Items that stayed.
    pub unchanged: usize,
}

/// A metric on a population in both records, and their difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricComparison {
    /// The metric with its variant.
    pub metric: String,
    /// The population.
    pub population: String,
    /// The objective.
    pub objective: Objective,
    /// The unit of all numbers in this row.
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
    /// The baseline's estimate, as its record has it.
    pub baseline: Estimate,
    /// The candidate's estimate, as its record has it.
    pub candidate: Estimate,
    /// Candidate − baseline over the same items, with the paired cluster-bootstrap interval.
    pub difference: Estimate,
    /// Standard deviation of the bootstrap replicates of the difference.
    pub standard_error: Option<f64>,
    /// Two-sided p-value of "the two are exchangeable" (permutation) or "the difference is 0" (t).
    pub p_value: Option<f64>,
    /// Which test gave it.
    #[serde(default)]
    pub test: Option<Test>,
    /// Whether the test is in the Holm family.
    pub headline: bool,
    /// The p-value after Holm (headline) or Benjamini–Hochberg (others).
    pub adjusted_p: Option<f64>,
    /// The equivalence margin, where one was set.
    pub margin: Option<f64>,
    /// The interval of level 1 − 2α that the margin is held against.
    pub equivalence_interval: Option<Interval>,
    /// What that interval says of ± the margin.
    pub equivalence: Option<Equivalence>,
    /// Whether harm beyond the margin is ruled out at α (non-inferiority: only the worse side counts). `None` without
    /// a margin or without a better side.
    pub no_harm: Option<bool>,
    /// The smallest true difference that this many items would have shown at the stated α (uncorrected) and power.
    pub minimum_detectable: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
    /// Items whose value flipped, where values are 0 or 1.
    pub flips: Option<Flips>,
    /// McNemar's exact two-sided p-value, where values are 0 or 1. It takes items as independent: where they cluster, and
    /// for the verdict, `p_value` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcnemar: Option<f64>,
    /// What limits this row, where something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
}

/// Compares one metric; the corrected p-value and the verdict come later, when the family is known.
pub(super) fn compare_pair(pair: &ScorePair<'_>, settings: &CompareSettings, tests: Tests) -> MetricComparison {
    let (baseline, candidate) = (pair.baseline, pair.candidate);
    let mut row = MetricComparison {
        metric: baseline.metric.clone(),
        population: baseline.population.clone(),
        objective: baseline.objective,
        unit: baseline.unit.clone(),
        direction: baseline.direction,
        baseline: baseline.estimate.clone(),
        candidate: candidate.estimate.clone(),
        difference: Estimate::undefined("", baseline.items.len(), baseline.estimate.clusters),
        standard_error: None,
        p_value: None,
        test: None,
        headline: settings.is_headline(baseline),
        adjusted_p: None,
        margin: settings.margins.of(baseline),
        equivalence_interval: None,
        equivalence: None,
        no_harm: None,
        minimum_detectable: None,
        verdict: Verdict::Undecided,
        flips: None,
        mcnemar: None,
        caution: None,
    };
    match (undefined(pair), baseline.items.is_empty() || candidate.items.is_empty()) {
        (Some(reason), _) => row.difference.undefined = Some(reason),
        (None, true) => row.measure_unpaired(pair, settings),
        (None, false) => row.measure(baseline, candidate, settings, tests),
    }
    row
}

/// The reason for which one of the scores does not exist, if one does not.
fn undefined(pair: &ScorePair<'_>) -> Option<String> {
    let scores = [pair.baseline, pair.candidate];
    scores.iter().zip(pair.names).find_map(|(score, name)| {
        let reason = score.estimate.undefined.as_deref().unwrap_or("no reason recorded");
        score.estimate.value.is_none().then(|| format!("undefined in {name}: {reason}"))
    })
}

impl MetricComparison {
    fn measure(&mut self, baseline: &MetricScore, candidate: &MetricScore, settings: &CompareSettings, tests: Tests) {
        let paired = match Paired::new(&candidate.items, &baseline.items, &baseline.statistic) {
            Ok(paired) => paired,
            Err(error) => {
                self.difference.undefined = Some(format!("candidate (first) and baseline (second): {error}"));
                return;
            }
        };
        let mut bootstrap = settings.bootstrap;
        bootstrap.seed = bootstrap.seed.fork(&self.metric).fork(&self.population);
        let distribution = match paired.distribution(&bootstrap) {
            Ok(distribution) => distribution,
            Err(reason) => {
                self.difference.undefined = Some(reason.to_string());
                return;
            }
        };
        self.difference = distribution.estimate(bootstrap.level);
        self.standard_error = distribution.standard_error();
        self.test(&paired, &distribution, settings, tests);
        // Without any spread there is no error to plan with.
        self.minimum_detectable = (self.standard_error)
            .filter(|error| *error > 0.0)
            .map(|error| minimum_detectable_effect(error, settings.alpha, settings.power));
        self.hold(distribution.interval(equivalence_level(settings.alpha)).ok().map(|(interval, _)| interval));
        self.flips = flips(&paired);
        self.mcnemar =
            self.flips.as_ref().map(|flips| mcnemar_exact(flips.gained.len() as u64, flips.lost.len() as u64));
    }

    /// Two values of which at least one has no items: their errors are taken as independent.
    fn measure_unpaired(&mut self, pair: &ScorePair<'_>, settings: &CompareSettings) {
        let part = |score: &MetricScore| {
            let error = match score.items.is_empty() {
                true => score.estimate.interval.map(|interval| error_of_interval(&interval)),
                false => standard_error(&score.items, ErrorKind::Clustered),
            };
            Some((score.estimate.value?, error?, score.estimate.n))
        };
        let without = |score: &MetricScore, name: &str| score.items.is_empty().then(|| format!("`{name}`"));
        let scores = [pair.baseline, pair.candidate].into_iter().zip(pair.names);
        let names: Vec<String> = scores.filter_map(|(score, name)| without(score, name)).collect();
        let names = names.join(" and ");
        let missing = format!(
            "unpaired: {names} has no items of this metric; give samples_{}_….jsonl of that run (lm-eval: \
             --log_samples) to pair them",
            self.population
        );
        let Some((candidate, baseline)) = part(pair.candidate).zip(part(pair.baseline)) else {
            self.difference.undefined = Some(format!("one run has neither items nor a standard error; {missing}"));
            return;
        };
        let found = unpaired_difference(candidate, baseline, settings.bootstrap.level);
        let (value, error) = (candidate.0 - baseline.0, found.standard_error);
        self.difference = found.difference;
        self.standard_error = Some(error);
        self.caution = Some(missing);
        (self.p_value, self.test) = (found.p_value, found.p_value.map(|_| Test::Unpaired));
        self.minimum_detectable =
            (error > 0.0).then(|| minimum_detectable_effect(error, settings.alpha, settings.power));
        self.hold(Some(normal_interval(value, error, equivalence_level(settings.alpha))).filter(|_| error > 0.0));
    }

    /// Holds the interval of level 1 − 2α against the margin.
    fn hold(&mut self, interval: Option<Interval>) {
        self.equivalence_interval = interval;
        if let Some((interval, margin)) = self.equivalence_interval.zip(self.margin) {
            self.equivalence = Some(equivalence(&interval, margin));
            self.no_harm = match self.direction {
                Direction::Higher => Some(interval.low > -margin),
                Direction::Lower => Some(interval.high < margin),
                Direction::Descriptive => None,
            };
        }
    }

    /// The p-value, by permutation where that can resolve the family, else by t.
    fn test(&mut self, paired: &Paired<'_>, distribution: &Distribution, settings: &CompareSettings, tests: Tests) {
        if paired.clusters() < 2 {
            return;
        }
        let smallest = smallest_sign_flip(paired.clusters());
        let family = if self.headline { tests.headline } else { tests.exploratory };
        let needed = settings.alpha / family.max(1) as f64;
        if smallest >= needed {
            let limit = format!("{} clusters have no permutation p-value below {smallest:.2e}", paired.clusters());
            if let Some(p) = distribution.t_test() {
                (self.p_value, self.test) = (Some(p), Some(Test::ClusterT));
                return;
            }
            self.caution = Some(format!("{limit}, and a family of {family} asks for {needed:.2e}"));
        }
        let seed = settings.bootstrap.seed.fork(&self.metric).fork(&self.population).fork("permutation");
        self.p_value = paired.p_value(settings.permutations(family), &seed);
        self.test = self.p_value.map(|_| Test::Permutation);
    }

    /// The verdict on the corrected p-value.
    pub(super) fn judge(&mut self, alpha: f64) {
        let significant = self.adjusted_p.is_some_and(|p| p < alpha);
        let up = self.difference.value.is_some_and(|value| value > 0.0);
        self.verdict = match (significant, self.direction) {
            (true, Direction::Descriptive) => Verdict::Changed,
            (true, direction) if up == (direction == Direction::Higher) => Verdict::Better,
            (true, _) => Verdict::Worse,
            (false, _) if self.equivalence == Some(Equivalence::Equivalent) => Verdict::Equivalent,
            (false, _) => Verdict::Undecided,
        };
    }
}

fn flips(paired: &Paired<'_>) -> Option<Flips> {
    let mut flips = Flips { gained: Vec::new(), lost: Vec::new(), unchanged: 0 };
    for (candidate, baseline) in paired.pairs() {
        match (baseline.value, candidate.value) {
            (0.0, 1.0) => flips.gained.push(candidate.id.clone()),
            (1.0, 0.0) => flips.lost.push(candidate.id.clone()),
            (0.0, 0.0) | (1.0, 1.0) => flips.unchanged += 1,
            _ => return None,
        }
    }
    (!paired.is_empty()).then_some(flips)
}
