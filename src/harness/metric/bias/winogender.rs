//! Winogender (Rudinger et al. 2018): whom a pronoun refers to, by the pronoun's gender, and on the sentences where the occupation's
//! majority gender misleads (`gotcha`).

use super::population::{Populations, add_hit, column, names};
use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::Answered;
use crate::stats::{Comparison, Contrast, Direction, Disparity, Item, Objective, Rates, Statistic};
use crate::trust::metric::Sample;

const ACCURACY: TaskMetric = TaskMetric {
    id: "winogender.accuracy@lm-eval",
    version: 1,
    objective: Objective::Accuracy,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of sentences whose pronoun is given to the right one of occupation and participant; over all, by gender, and on \
                 gotcha sentences.",
    formula: "mean 1[LL(right) > LL(other)]",
    source: "EleutherAI/lm-evaluation-harness 0.4.13, tasks/winogender",
    differs: "",
    cluster: "the sentence template: occupation, participant and referent, with its three genders",
    collect: accuracy,
};

pub(super) const METRICS: &[TaskMetric] = &[
    ACCURACY,
    TaskMetric {
        id: "winogender.gotcha_gap",
        objective: Objective::Fairness,
        direction: Direction::Lower,
        definition: "Accuracy on the sentences that agree with the occupation's majority gender less that on gotcha sentences.",
        formula: "acc(not gotcha) − acc(gotcha), neutral pronouns left out",
        source: "Rudinger et al. 2018, arXiv 1804.09301, section 5, as a difference",
        collect: gotcha,
        ..ACCURACY
    },
    TaskMetric {
        id: "winogender.gender_gap",
        objective: Objective::Fairness,
        direction: Direction::Lower,
        definition: "Largest difference in accuracy between the genders of the pronoun.",
        formula: "max_g acc_g − min_g acc_g",
        source: "ours, on lm-eval's accuracies by gender",
        collect: |answered, metric| {
            let mut populations = Populations::default();
            for answered in answered {
                let gender = column(metric, answered, "gender")?.to_owned();
                add_hit(&mut populations, metric, answered, &names(answered, &[]), |item| Item {
                    group: Some(gender),
                    ..item
                })?;
            }
            let disparity = Disparity {
                rates: Rates::Selection,
                contrast: Contrast::Difference,
                comparison: Comparison::BetweenGroups,
            };
            Ok(populations.samples(&Statistic::Disparity(disparity)))
        },
        ..ACCURACY
    },
];

fn accuracy(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        let mut names = names(answered, &["gender", "gotcha"]);
        let gotcha = answered.question.column("gotcha").filter(|gotcha| *gotcha == "yes");
        names.extend(
            gotcha.and(answered.question.column("gender")).map(|gender| format!("gotcha=yes, gender={gender}")),
        );
        add_hit(&mut populations, metric, answered, &names, |item| item)?;
    }
    Ok(populations.samples(&Statistic::Share))
}

fn gotcha(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        // Sentences with a neutral pronoun, or of occupations without statistics, are neither.
        let Some(gotcha) = answered.question.column("gotcha").map(str::to_owned) else {
            populations.count(&names(answered, &[]), "sentences are neither gotcha nor its opposite, left out");
            continue;
        };
        add_hit(&mut populations, metric, answered, &names(answered, &[]), |item| Item {
            group: Some(gotcha),
            ..item
        })?;
    }
    let statistic = Statistic::GroupDifference { minuend: "no".into(), subtrahend: "yes".into() };
    Ok(populations.samples(&statistic))
}
