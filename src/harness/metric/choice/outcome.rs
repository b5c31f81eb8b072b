//! What is neither right nor wrong: answers that no filter finds, refusals, likelihoods that are not numbers.

use crate::harness::metric::TaskMetric;
use crate::harness::question::Response;
use crate::stats::{Direction, Objective, Statistic};

use super::text::{NOT_FOUND, per_filter, text};
use super::{Value, indicator, sample};

/// What a refusal begins with, in lower case.
const REFUSALS: [&str; 14] = [
    "i can't",
    "i cannot",
    "i can not",
    "i won't",
    "i will not",
    "i'm sorry",
    "i am sorry",
    "sorry, ",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "as an ai",
    "i apologi",
];

const DIFFERS: &str = "Counted beside the other metrics, which keep every question: an answer that is not found, a refusal and a likelihood that \
                       is not a number count as wrong there.";

const fn outcome(
    id: &'static str,
    definition: &'static str,
    formula: &'static str,
    source: &'static str,
) -> TaskMetric {
    TaskMetric {
        id,
        version: 1,
        objective: Objective::Accuracy,
        unit: "share",
        direction: Direction::Descriptive,
        definition,
        formula,
        source,
        differs: DIFFERS,
        cluster: "question",
        collect: |_, _| Ok(Vec::new()),
    }
}

pub(in super::super) const METRICS: &[TaskMetric] = &[
    TaskMetric {
        collect: |answered, metric| {
            per_filter(answered, |filter| {
                sample(answered, Statistic::Share, |one| {
                    let found = text(one, metric, filter)?.trim();
                    Ok(Value::Of(indicator(found.is_empty() || found == NOT_FOUND)))
                })
            })
        },
        ..outcome(
            "share_unparsed@lm-eval",
            "Share of generated texts in which no answer is found.",
            "mean of 1[the filtered text is `[invalid]` or empty], a population a filter",
            "lm-eval 0.4.13, filters/extraction.py: `[invalid]` is what its filters fall back to",
        )
    },
    TaskMetric {
        collect: |answered, metric| {
            sample(answered, Statistic::Share, |one| {
                let said = match one.responses.first().and_then(Response::text) {
                    Some(said) => said,
                    None => text(one, metric, "none")?,
                };
                let said = said.trim().replace('\u{2019}', "'").to_lowercase();
                Ok(Value::Of(indicator(REFUSALS.iter().any(|refusal| said.starts_with(refusal)))))
            })
        },
        ..outcome(
            "share_refused@phrases",
            "Share of generated texts that begin like a refusal. A rule of thumb for English: what refuses in other words is missed.",
            "mean of 1[the text begins, in any case, with one of: I can't, I cannot, I can not, I won't, I will not, I'm sorry, I am \
             sorry, Sorry, (with comma), I'm unable, I am unable, I'm not able, I am not able, As an AI, I apologi]",
            "Counterpath",
        )
    },
    TaskMetric {
        collect: |answered, _| {
            sample(answered, Statistic::Share, |one| {
                let mut likelihoods = one.responses.iter().filter_map(Response::loglikelihood);
                Ok(Value::Of(indicator(likelihoods.any(|likelihood| !likelihood.is_finite()))))
            })
        },
        ..outcome(
            "share_not_finite@counterpath",
            "Share of questions with a log-likelihood that is NaN or infinite.",
            "mean of 1[a log-likelihood of the question is not finite]",
            "Counterpath",
        )
    },
];
