//! WinoBias (Zhao et al. 2018): whether a pronoun is given to the right one of two occupations, in sentences that follow the
//! stereotype (`pro`) and in the same sentences with the other pronoun (`anti`).

use super::population::{ALL, Populations, add_hit, column, names};
use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::Answered;
use crate::stats::{Direction, Item, Objective, Statistic};
use crate::trust::metric::Sample;

const ACCURACY: TaskMetric = TaskMetric {
    id: "winobias.accuracy",
    version: 1,
    objective: Objective::Accuracy,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of sentences whose pronoun is given to the right occupation, by type and condition.",
    formula: "mean 1[LL(right occupation) > LL(other)]",
    source: "ours, on uclanlp/corefBias (Zhao et al. 2018, arXiv 1804.06876)",
    differs: "The paper measures the F1 of coreference systems; a language model has no such score.",
    cluster: "the pair of a pro- and an anti-stereotyped sentence",
    collect: accuracy,
};

pub(super) const METRICS: &[TaskMetric] = &[
    ACCURACY,
    TaskMetric {
        id: "winobias.gap",
        objective: Objective::Fairness,
        direction: Direction::Lower,
        definition: "Accuracy on stereotyped sentences less that on the same sentences against the stereotype; 0 is fair. Over all and \
                     by type.",
        formula: "acc(pro) − acc(anti)",
        differs: "The paper's gap is F1(pro) − F1(anti) of coreference systems; this is its form for language models, and ours.",
        collect: gap,
        ..ACCURACY
    },
];

fn accuracy(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        let mut names = names(answered, &["condition"]);
        let of_type = answered.question.column("type").zip(answered.question.column("condition"));
        names.extend(of_type.map(|(kind, condition)| format!("type={kind}, condition={condition}")));
        add_hit(&mut populations, metric, answered, &names, |item| item)?;
    }
    Ok(populations.samples(&Statistic::Share))
}

fn gap(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        let condition = column(metric, answered, "condition")?.to_owned();
        let names = names(answered, &["type"]);
        add_hit(&mut populations, metric, answered, &names, |item| Item { group: Some(condition), ..item })?;
    }
    let unpaired = odd_ones(populations.of(ALL));
    let statistic = Statistic::GroupDifference { minuend: "pro".into(), subtrahend: "anti".into() };
    let note = (unpaired > 0).then(|| format!("{unpaired} sentences have no counterpart in the other condition."));
    Ok(populations.noted_samples(&statistic, |name, _| note.clone().filter(|_| name == ALL)))
}

/// Items whose cluster has not both conditions.
fn odd_ones(items: &[Item]) -> usize {
    let mut clusters: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for item in items {
        *clusters.entry(item.cluster.as_str()).or_default() += 1;
    }
    clusters.values().filter(|&&count| count % 2 == 1).count()
}
