//! Does the answer still follow what it should follow? A model that ignores everything is perfectly invariant; these two
//! metrics tell it from a repaired one.
//!
//! They read *follow* pairs: the `do` moves a legitimate cause, and the mechanism's label on the counterfactual side is b. A
//! model that always says b has a rate of 1 on these pairs, but an effect of 0: read both.

use super::error::TrustError;
use super::metric::{Evidence, Metric, Sample};
use super::select::{PairAnswers, expected_label, pair_samples};
use crate::scenario::{CounterfactualPair, Expectation};
use crate::stats::{Direction, Objective, Statistic};

pub(super) const FOLLOW_EFFECT: Metric = Metric {
    id: "sensitivity.follow_effect",
    version: 1,
    objective: Objective::Sensitivity,
    unit: "nats",
    direction: Direction::Higher,
    definition: "Mean total effect of moving a legitimate cause on the log-odds of the label that the mechanism then gives; \
                 positive when the model follows.",
    source: "Vig et al. 2020 total effect, on the log-odds scale",
    collect: |evidence| follow(evidence, Statistic::Mean, |pair, expected| pair.log_odds_effect(expected)),
};

pub(super) const FOLLOW_RATE: Metric = Metric {
    id: "sensitivity.follow_rate",
    version: 1,
    objective: Objective::Sensitivity,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of pairs that move a legitimate cause whose most likely answer on the counterfactual side is the label that \
                 the mechanism then gives.",
    source: "Ribeiro et al. 2020 (CheckList), directional expectation test",
    collect: |evidence| {
        follow(
            evidence,
            Statistic::Share,
            |pair, expected| if pair.counterfactual.chosen() == expected { 1.0 } else { 0.0 },
        )
    },
};

fn follow(
    evidence: &Evidence<'_>,
    statistic: Statistic,
    value: impl Fn(&PairAnswers<'_>, usize) -> f64,
) -> Result<Vec<Sample>, TrustError> {
    let follows = |pair: &CounterfactualPair| pair.expectation != Expectation::Invariant;
    pair_samples(evidence, statistic, follows, |answers| {
        let expected = expected_label(answers.pair)?;
        Ok(expected.map_or(f64::NAN, |expected| value(answers, expected)))
    })
}
