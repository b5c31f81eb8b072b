//! Contrast sets (Gardner et al. 2020) and counterfactually revised data (Kaushik et al. 2020): families of an original and its small
//! edits that change the label. The family is the cluster; the column `side` tells originals from edits where the data do.

use std::collections::BTreeMap;

use super::population::{ALL, Populations, Reply, add_hit, indicator, is_right, names, reply, unread};
use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::Answered;
use crate::stats::{Direction, Item, Objective, Statistic};
use crate::trust::metric::Sample;

const CONSISTENCY: TaskMetric = TaskMetric {
    id: "contrast.consistency",
    version: 1,
    objective: Objective::Robustness,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of families in which every member, original and edits, is answered right.",
    formula: "mean over families of Π over members of 1[right]",
    source: "Gardner et al. 2020, arXiv 2004.02709, contrast consistency",
    differs: "",
    cluster: "the family: an original and its edits",
    collect: consistency,
};

pub(super) const METRICS: &[TaskMetric] = &[
    CONSISTENCY,
    TaskMetric {
        id: "contrast.accuracy",
        objective: Objective::Accuracy,
        definition: "Accuracy over all members, and by side.",
        formula: "n_right / n",
        collect: |answered, metric| {
            let mut populations = Populations::default();
            for answered in answered {
                add_hit(&mut populations, metric, answered, &names(answered, &["side", "revised"]), |item| item)?;
            }
            Ok(populations.samples(&Statistic::Share))
        },
        ..CONSISTENCY
    },
    TaskMetric {
        id: "contrast.gap",
        direction: Direction::Lower,
        definition: "Accuracy on the originals less that on their edits.",
        formula: "acc(original) − acc(edits)",
        differs: "Only where the data say which member is the original.",
        collect: gap,
        ..CONSISTENCY
    },
];

fn consistency(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut families: BTreeMap<&str, (bool, usize)> = BTreeMap::new();
    let mut populations = Populations::default();
    let all = [ALL.to_owned()];
    for answered in answered {
        let reply = reply(metric, answered)?;
        if let Some(what) = unread(reply) {
            populations.count(&all, what);
        }
        let right = matches!(reply, Reply::Choice(choice) if is_right(answered, choice));
        let (every, members) = families.entry(answered.question.cluster.as_str()).or_insert((true, 0));
        *every &= right;
        *members += 1;
    }
    for (family, (every, members)) in families {
        if members < 2 {
            populations.count(&all, "families have a single member");
        }
        let (id, cluster) = (family.to_owned(), family.to_owned());
        populations.add(&all, &Item { id, cluster, value: indicator(every), group: None, weight: None });
    }
    Ok(populations.samples(&Statistic::Share))
}

fn gap(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        let side = super::population::column(metric, answered, "side")?;
        let group = if side == "original" { "original" } else { "edit" }.to_owned();
        add_hit(&mut populations, metric, answered, &names(answered, &[]), |item| Item { group: Some(group), ..item })?;
    }
    let statistic = Statistic::GroupDifference { minuend: "original".into(), subtrahend: "edit".into() };
    Ok(populations.samples(&statistic))
}
