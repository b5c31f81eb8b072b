//! How a choice's log-likelihood becomes the score that choices are compared by.

use crate::harness::error::HarnessError;
use crate::harness::metric::MetricUse;
use crate::harness::question::{Answered, Question, Request, Response};

use super::refuse;

/// What a log-likelihood is divided by, or compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nothing: the sum over the choice's tokens.
    Sum,
    /// The choice's tokens.
    Token,
    /// The choice's characters, the delimiter before it not among them.
    Character,
    /// The same without a space that the choice itself begins with (lighteval).
    CharacterBehindSpace,
    /// The choice's UTF-8 bytes.
    Byte,
    /// log p(choice) behind nothing is taken away (lm-eval).
    LessAlone,
    /// log p(choice) behind `Answer:` is taken away (lighteval, HELM).
    LessAfterAnswer,
}

/// The context that scores are compared with.
const AFTER_ANSWER: &str = "Answer:";

impl Scale {
    fn unconditional(self) -> Option<&'static str> {
        match self {
            Self::LessAlone => Some(""),
            Self::LessAfterAnswer => Some(AFTER_ANSWER),
            _ => None,
        }
    }
}

/// The context whose log-likelihoods a metric takes away from those of the choices, where it does; [`add_unconditional`] asks for them.
pub fn unconditional_context(metric: &str) -> Option<&'static str> {
    match metric {
        "acc_mutual_info@lm-eval" => Scale::LessAlone.unconditional(),
        "acc_pmi@lighteval" | "exact_match@helm_calibrated" => Scale::LessAfterAnswer.unconditional(),
        _ => None,
    }
}

/// Asks for log p(choice | context) of each choice behind the question's other requests, once.
pub fn add_unconditional(question: &mut Question, context: &str) {
    let count = question.choices.len();
    if find(question, context).is_some() {
        return;
    }
    let alone: Vec<Request> = question
        .requests
        .iter()
        .take(count)
        .filter_map(|request| match request {
            Request::Loglikelihood { continuation, .. } => {
                Some(Request::Loglikelihood { context: context.into(), continuation: continuation.clone() })
            }
            _ => None,
        })
        .collect();
    question.requests.extend(alone);
}

/// Where the requests behind this context begin.
fn find(question: &Question, context: &str) -> Option<usize> {
    let count = question.choices.len();
    let behind =
        |request: &Request| matches!(request, Request::Loglikelihood { context: found, .. } if found == context);
    let sets = question.requests.chunks(count.max(1)).enumerate().skip(1);
    sets.filter(|(_, set)| set.len() == count && set.iter().all(behind)).map(|(index, _)| index * count).next()
}

/// The score of each choice; NaN where a log-likelihood is.
pub(super) fn scores(answered: &Answered, scale: Scale, metric: &MetricUse) -> Result<Vec<f64>, HarnessError> {
    let choices = &answered.question.choices;
    if choices.is_empty() {
        return Err(refuse(answered, metric, "it needs choices, and the question has none"));
    }
    let alone = match scale.unconditional() {
        None => None,
        Some(context) => Some(find(&answered.question, context).ok_or_else(|| {
            refuse(
                answered,
                metric,
                format!("it needs the choices' log-likelihoods behind {context:?}, which were not asked for"),
            )
        })?),
    };
    let loglikelihood = |index: usize| {
        let found = answered.responses.get(index).and_then(Response::loglikelihood);
        found.ok_or_else(|| refuse(answered, metric, format!("request {index} has no log-likelihood for an answer")))
    };
    let score = |(index, choice): (usize, &String)| {
        let value = loglikelihood(index)?;
        Ok(match scale {
            Scale::Sum => value,
            Scale::Token => match answered.responses.get(index).map_or(0, Response::tokens) {
                0 => return Err(refuse(answered, metric, format!("the tokens of choice {index} are not known"))),
                tokens => value / tokens as f64,
            },
            Scale::Character => value / choice.chars().count() as f64,
            Scale::CharacterBehindSpace => value / choice.strip_prefix(' ').unwrap_or(choice).chars().count() as f64,
            Scale::Byte => value / choice.len() as f64,
            Scale::LessAlone | Scale::LessAfterAnswer => value - loglikelihood(alone.unwrap_or(0) + index)?,
        })
    };
    choices.iter().enumerate().map(score).collect()
}

/// exp(score) over their sum; `None` where one is not a number or all are −∞.
pub(super) fn softmax(scores: &[f64]) -> Option<Vec<f64>> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !highest.is_finite() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let odds: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let sum: f64 = odds.iter().sum();
    Some(odds.into_iter().map(|odds| odds / sum).collect())
}
