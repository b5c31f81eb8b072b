//! HANS (McCoy et al. 2019): entailment where three shallow heuristics always say yes. Choice 0 is entailment; every other choice is
//! non-entailment.

use super::population::{Populations, Reply, column, indicator, item, lacks, reply, unread};
use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::Answered;
use crate::stats::{Direction, Item, Objective, Statistic};
use crate::trust::metric::Sample;

const ENTAILMENT: &str = "entailment";
const NON_ENTAILMENT: &str = "non-entailment";

const ACCURACY: TaskMetric = TaskMetric {
    id: "hans.accuracy",
    version: 1,
    objective: Objective::Accuracy,
    unit: "share",
    direction: Direction::Higher,
    definition: "Accuracy of entailment against non-entailment: over all, by heuristic and gold label, and by subcase. Contradiction and \
                 neutral are both non-entailment.",
    formula: "n_right / n",
    source: "tommccoy1/hans, evaluate_heur_output.py (McCoy et al. 2019, arXiv 1902.01007)",
    differs: "",
    cluster: "the template",
    collect: accuracy,
};

pub(super) const METRICS: &[TaskMetric] = &[
    ACCURACY,
    TaskMetric {
        id: "hans.gap",
        objective: Objective::Robustness,
        direction: Direction::Lower,
        definition: "Accuracy where the heuristic's yes is right less that where it is wrong: how much the model leans on the heuristic; \
                     1 for a model that always says entailment.",
        formula: "acc(gold = entailment) − acc(gold = non-entailment)",
        source: "ours, on the accuracies of McCoy et al. 2019",
        collect: gap,
        ..ACCURACY
    },
];

fn hit(
    populations: &mut Populations,
    metric: &MetricUse,
    answered: &Answered,
    names: &[String],
) -> Result<(), HarnessError> {
    let gold = column(metric, answered, "gold_label")?;
    if ![ENTAILMENT, NON_ENTAILMENT].contains(&gold) {
        return Err(lacks(
            metric,
            answered,
            format!("gold_label {gold:?} is neither {ENTAILMENT} nor {NON_ENTAILMENT}"),
        ));
    }
    let reply = reply(metric, answered)?;
    if let Some(what) = unread(reply) {
        populations.count(names, what);
    }
    let right = match reply {
        Reply::Choice(choice) => (choice == 0) == (gold == ENTAILMENT),
        Reply::NotANumber | Reply::Unparsed => false,
    };
    populations.add(names, &Item { group: Some(gold.to_owned()), ..item(answered, indicator(right)) });
    Ok(())
}

fn accuracy(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        let mut names = super::population::names(answered, &["gold_label", "subcase"]);
        let heuristic = column(metric, answered, "heuristic")?;
        names.push(format!("heuristic={heuristic}, gold_label={}", column(metric, answered, "gold_label")?));
        hit(&mut populations, metric, answered, &names)?;
    }
    Ok(populations.samples(&Statistic::Share))
}

fn gap(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        hit(&mut populations, metric, answered, &super::population::names(answered, &["heuristic"]))?;
    }
    let statistic = Statistic::GroupDifference { minuend: ENTAILMENT.into(), subtrahend: NON_ENTAILMENT.into() };
    Ok(populations.samples(&statistic))
}
