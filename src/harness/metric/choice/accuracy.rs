//! Right choices: which score decides is what the variants differ in.

use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::{Answered, Response, first_highest};
use crate::stats::{Direction, Objective, Statistic};
use crate::trust::metric::Sample;

use super::scores::{Scale, scores};
use super::{Value, indicator, refuse, right, sample, the_right};

const LENGTH: &str = "Divides by nothing (acc), by characters (acc_norm), by bytes (acc_bytes), or takes log p of the choice alone away \
                      (acc_mutual_info); lighteval divides by characters behind a leading space, by tokens, or takes log p behind \
                      \"Answer:\" away; HELM divides by tokens or takes log p behind \"Answer:\" away, and gives a tie its share.";
const PER_QUESTION: &str = "question (its base question where the data set has one)";

/// A share of right choices.
const fn accuracy(
    id: &'static str,
    definition: &'static str,
    formula: &'static str,
    source: &'static str,
    collect: fn(&[Answered], &MetricUse) -> Result<Vec<Sample>, HarnessError>,
) -> TaskMetric {
    TaskMetric {
        id,
        version: 1,
        objective: Objective::Accuracy,
        unit: "share",
        direction: Direction::Higher,
        definition,
        formula,
        source,
        differs: LENGTH,
        cluster: PER_QUESTION,
        collect,
    }
}

const LM_EVAL: &str = "lm-eval 0.4.13, api/task.py process_results";
const LIGHTEVAL: &str = "lighteval, metrics/normalizations.py";

pub(in super::super) const METRICS: &[TaskMetric] = &[
    accuracy(
        "acc@lm-eval",
        "Share of questions whose likeliest choice is right; where a single continuation is scored, share of those that greedy \
         decoding gives.",
        "mean over questions of 1[argmax_k LL_k is right], LL_k = Σ ln p over choice k's tokens, the first of equals; without \
         choices 1[each token is the likeliest]",
        LM_EVAL,
        |answered, metric| match answered.iter().all(|one| one.question.choices.is_empty()) {
            true => sample(answered, Statistic::Share, |one| greedy(one, metric, 0)),
            false => chosen(answered, metric, Scale::Sum),
        },
    ),
    accuracy(
        "acc_norm@lm-eval",
        "Share of questions whose choice of the highest log-likelihood per character is right.",
        "mean of 1[argmax_k LL_k / characters_k is right], characters of the choice without the delimiter before it",
        "lm-eval 0.4.13, api/task.py process_results; the harness' paper says bytes, its code counts characters (issue 3278)",
        |answered, metric| chosen(answered, metric, Scale::Character),
    ),
    accuracy(
        "acc_bytes@lm-eval",
        "Share of questions whose choice of the highest log-likelihood per UTF-8 byte is right.",
        "mean of 1[argmax_k LL_k / bytes_k is right]",
        LM_EVAL,
        |answered, metric| chosen(answered, metric, Scale::Byte),
    ),
    accuracy(
        "acc_mutual_info@lm-eval",
        "Share of questions whose choice gains most from the question is right.",
        "mean of 1[argmax_k (ln p(choice_k | context) − ln p(choice_k)) is right], the second behind an empty context",
        LM_EVAL,
        |answered, metric| chosen(answered, metric, Scale::LessAlone),
    ),
    accuracy(
        "acc_norm@lighteval",
        "Share of questions whose choice of the highest log-likelihood per character, a leading space left out, is right.",
        "mean of 1[argmax_k LL_k / c_k is right], c_k the choice's characters, less one where it begins with a space",
        LIGHTEVAL,
        |answered, metric| chosen(answered, metric, Scale::CharacterBehindSpace),
    ),
    accuracy(
        "acc_tokens@lighteval",
        "Share of questions whose choice of the highest log-likelihood per token is right.",
        "mean of 1[argmax_k LL_k / tokens_k is right]",
        LIGHTEVAL,
        |answered, metric| chosen(answered, metric, Scale::Token),
    ),
    accuracy(
        "acc_pmi@lighteval",
        "Share of questions whose choice gains most over standing behind \"Answer:\" is right.",
        "mean of 1[argmax_k (ln p(choice_k | context) − ln p(choice_k | \"Answer:\")) is right]",
        LIGHTEVAL,
        |answered, metric| chosen(answered, metric, Scale::LessAfterAnswer),
    ),
    accuracy(
        "exact_match@helm",
        "Share of right choices among those of the highest log-likelihood per token, averaged over questions.",
        "mean of #{right k in A} / #A, A the choices with LL_k / tokens_k equal to the highest",
        "HELM, metrics/basic_metrics.py, multiple choice asked separately",
        |answered, metric| tied(answered, metric, Scale::Token),
    ),
    accuracy(
        "exact_match@helm_calibrated",
        "The same where the log-likelihood behind \"Answer:\" alone is taken away instead of dividing by tokens.",
        "mean of #{right k in A} / #A, A the choices with the highest ln p(choice_k | context) − ln p(choice_k | \"Answer:\")",
        "HELM, metrics/basic_metrics.py, multiple choice asked separately and calibrated",
        |answered, metric| tied(answered, metric, Scale::LessAfterAnswer),
    ),
    TaskMetric {
        differs: "mc1@lm-eval is acc: the first of equals wins, and the true answer stands first; mc1@authors asks that it be strictly \
                  likelier than every other. mc2 is the same in both up to rounding.",
        ..accuracy(
            "truthfulqa.mc1@lm-eval",
            "Share of questions whose one true answer is the likeliest of the given ones.",
            "mean of 1[argmax_k LL_k = 0], the true answer first",
            "lm-eval 0.4.13, tasks/truthfulqa/truthfulqa_mc1.yaml",
            |answered, metric| chosen(answered, metric, Scale::Sum),
        )
    },
    TaskMetric {
        differs: "mc1@lm-eval is acc: the first of equals wins, and the true answer stands first; mc1@authors asks that it be strictly \
                  likelier than every other. mc2 is the same in both up to rounding.",
        ..accuracy(
            "truthfulqa.mc1@authors",
            "Share of questions whose one true answer is strictly likelier than every false one.",
            "mean of 1[LL_true > max over false k of LL_k]",
            "Lin et al. 2022; sylinrl/TruthfulQA, truthfulqa/models.py MC_calcs",
            strictly_first,
        )
    },
    TaskMetric {
        unit: "probability",
        differs: "mc2 sums probabilities of all true answers; mc1 asks whether one true answer is the likeliest.",
        ..accuracy(
            "truthfulqa.mc2@lm-eval",
            "The probability of all true answers among the given ones, averaged over questions.",
            "mean of Σ_{true k} exp LL_k / Σ_k exp LL_k",
            "lm-eval 0.4.13, tasks/truthfulqa/utils.py process_results_mc2; Lin et al. 2022",
            true_mass,
        )
    },
    TaskMetric {
        differs: "f1 and mcc look at two classes or more over all questions; acc at each question.",
        unit: "F1",
        ..accuracy(
            "f1@lm-eval",
            "F1 of class 1 over all questions, the likeliest choice being the prediction.",
            "2 TP / (2 TP + FP + FN); 0 where nothing is positive",
            "lm-eval 0.4.13, api/metrics.py f1_score; scikit-learn, binary f1_score",
            |answered, metric| classes(answered, metric, Statistic::F1),
        )
    },
    TaskMetric {
        differs: "f1 and mcc look at two classes or more over all questions; acc at each question.",
        unit: "correlation",
        ..accuracy(
            "mcc@lm-eval",
            "Matthews' correlation of the likeliest choice with the right one over all questions.",
            "(c s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)): c right of s questions, class k predicted p_k and true t_k times",
            "lm-eval 0.4.13, api/metrics.py matthews_corrcoef; scikit-learn; Gorodkin 2004",
            |answered, metric| classes(answered, metric, Statistic::Matthews),
        )
    },
];

fn chosen(answered: &[Answered], metric: &MetricUse, scale: Scale) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, Statistic::Share, |one| {
        let right = right(one, metric)?;
        Ok(match first_highest(scores(one, scale, metric)?) {
            Some(chosen) => Value::Of(indicator(right.contains(&chosen))),
            None => Value::Wrong,
        })
    })
}

fn tied(answered: &[Answered], metric: &MetricUse, scale: Scale) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, Statistic::Mean, |one| {
        let (right, scores) = (right(one, metric)?, scores(one, scale, metric)?);
        let Some(first) = first_highest(scores.iter().copied()) else { return Ok(Value::Wrong) };
        let highest = scores.get(first).copied();
        let tied = scores.iter().enumerate().filter(|(_, score)| Some(**score) == highest).map(|(index, _)| index);
        let (mut all, mut hits) = (0.0, 0.0);
        for index in tied {
            all += 1.0;
            hits += indicator(right.contains(&index));
        }
        Ok(Value::Of(hits / all))
    })
}

fn strictly_first(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, Statistic::Share, |one| {
        let (right, scores) = (the_right(one, metric)?, scores(one, Scale::Sum, metric)?);
        if scores.iter().any(|score| score.is_nan()) {
            return Ok(Value::Wrong);
        }
        let truth = scores.get(right).copied().unwrap_or(f64::NEG_INFINITY);
        let others = scores.iter().enumerate().filter(|(index, _)| *index != right);
        Ok(Value::Of(indicator(others.map(|(_, score)| *score).all(|score| truth > score))))
    })
}

fn true_mass(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, Statistic::Mean, |one| {
        let right = right(one, metric)?;
        let Some(masses) = super::scores::softmax(&scores(one, Scale::Sum, metric)?) else {
            return Ok(Value::Undefined);
        };
        let truths = masses.iter().enumerate().filter(|(index, _)| right.contains(index));
        Ok(Value::Of(truths.map(|(_, mass)| mass).sum()))
    })
}

fn classes(answered: &[Answered], metric: &MetricUse, statistic: Statistic) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, statistic, |one| {
        let truth = the_right(one, metric)?;
        Ok(match first_highest(scores(one, Scale::Sum, metric)?) {
            Some(chosen) => Value::Weighted(chosen as f64, truth as f64),
            None => Value::Undefined,
        })
    })
}

/// Whether greedy decoding gives what request `index` scored.
pub(super) fn greedy(answered: &Answered, metric: &MetricUse, index: usize) -> Result<Value, HarnessError> {
    match answered.responses.get(index) {
        Some(Response::Loglikelihood { loglikelihood, .. }) if loglikelihood.is_nan() => Ok(Value::Wrong),
        Some(Response::Loglikelihood { is_greedy, .. }) => Ok(Value::Of(indicator(*is_greedy))),
        _ => Err(refuse(answered, metric, format!("request {index} has no log-likelihood for an answer"))),
    }
}
