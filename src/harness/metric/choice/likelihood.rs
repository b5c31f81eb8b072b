//! Likelihood of continuations and whole texts.

use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric, task_metric};
use crate::harness::question::{Answered, Question, Request, Response, Target};
use crate::stats::{Direction, Objective, Statistic};
use crate::trust::metric::Sample;

use super::{Value, refuse, sample};

const LM_EVAL: &str = "lm-eval 0.4.13, api/metrics.py and api/task.py";
const DIFFERS: &str = "perplexity weighs every document alike, whatever its length; word_perplexity, byte_perplexity and bits_per_byte \
                       weigh it by its words or bytes, and bits_per_byte = log2 of byte_perplexity.";

const fn likelihood(
    id: &'static str,
    unit: &'static str,
    definition: &'static str,
    formula: &'static str,
    collect: fn(&[Answered], &MetricUse) -> Result<Vec<Sample>, HarnessError>,
) -> TaskMetric {
    TaskMetric {
        id,
        version: 1,
        objective: Objective::Accuracy,
        unit,
        direction: Direction::Lower,
        definition,
        formula,
        source: LM_EVAL,
        differs: DIFFERS,
        cluster: "document",
        collect,
    }
}

pub(in super::super) const METRICS: &[TaskMetric] = &[
    likelihood(
        "perplexity@lm-eval",
        "perplexity",
        "Perplexity of a document's continuation, the geometric mean over documents of one over its probability.",
        "exp(−mean over documents of LL), LL = Σ ln p over the continuation's tokens",
        |answered, metric| {
            sample(answered, Statistic::ExpRatio, |one| {
                Ok(loss(one, metric)?.map_or(Value::Undefined, |loss| Value::Weighted(loss, 1.0)))
            })
        },
    ),
    likelihood(
        "word_perplexity@lm-eval",
        "perplexity per word",
        "Perplexity per word of whole texts.",
        "exp(−Σ LL / Σ words), words = runs of white space + 1",
        |answered, metric| per(answered, metric, 1.0, Statistic::ExpRatio, counted_words),
    ),
    likelihood(
        "byte_perplexity@lm-eval",
        "perplexity per byte",
        "Perplexity per UTF-8 byte of whole texts.",
        "exp(−Σ LL / Σ bytes)",
        |answered, metric| per(answered, metric, 1.0, Statistic::ExpRatio, counted_bytes),
    ),
    likelihood(
        "bits_per_byte@lm-eval",
        "bits per byte",
        "Bits that the model needs per UTF-8 byte of whole texts.",
        "−Σ LL / (ln 2 · Σ bytes)",
        |answered, metric| per(answered, metric, std::f64::consts::LN_2, Statistic::Ratio, counted_bytes),
    ),
    TaskMetric {
        direction: Direction::Descriptive,
        unit: "that of the metric it is taken of",
        differs: "The element at index ⌊n/2⌋ of the sorted values, where a median commonly averages the middle two.",
        ..likelihood(
            "median@lm-eval",
            "nats",
            "The median over documents of another metric's values (argument `of`), or of the right answer's log-likelihood.",
            "element ⌊n/2⌋ of the sorted values",
            median,
        )
    },
];

/// −LL of a document's one continuation or text; `None` where it is not a number.
fn loss(answered: &Answered, metric: &MetricUse) -> Result<Option<f64>, HarnessError> {
    match answered.responses.first().and_then(Response::loglikelihood) {
        Some(loglikelihood) => Ok((!loglikelihood.is_nan()).then_some(-loglikelihood)),
        None => Err(refuse(answered, metric, "it needs a log-likelihood, and the question has none")),
    }
}

fn per(
    answered: &[Answered],
    metric: &MetricUse,
    unit: f64,
    statistic: Statistic,
    count: fn(&Question) -> Option<usize>,
) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, statistic, |one| {
        let Some(count) = count(&one.question) else {
            return Err(refuse(one, metric, "it needs a whole text that was scored, or a count in its columns"));
        };
        Ok(loss(one, metric)?.map_or(Value::Undefined, |loss| Value::Weighted(loss / unit, count as f64)))
    })
}

/// A count that the question's column gives, or one of its text.
fn counted(question: &Question, column: &str, of: fn(&str) -> usize) -> Option<usize> {
    match (question.column(column), question.requests.first()) {
        (Some(count), _) => count.parse().ok(),
        (None, Some(Request::Rolling { text })) => Some(of(text)),
        _ => None,
    }
}

fn counted_words(question: &Question) -> Option<usize> {
    counted(question, "words", words)
}

fn counted_bytes(question: &Question) -> Option<usize> {
    counted(question, "bytes", str::len)
}

/// Words as lm-eval counts them: the pieces of a split at runs of white space, empty ones at the ends too.
pub fn words(text: &str) -> usize {
    let space = |character: char| character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character);
    let (mut runs, mut inside) = (0, false);
    for character in text.chars() {
        let now = space(character);
        runs += usize::from(now && !inside);
        inside = now;
    }
    runs + 1
}

fn median(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    if let Some(of) = metric.arguments.get("of").and_then(|of| of.as_str()) {
        let other = task_metric(of)?;
        let samples = (other.collect)(answered, &MetricUse::plain(of))?;
        return Ok(samples.into_iter().map(|sample| Sample { statistic: Statistic::Median, ..sample }).collect());
    }
    sample(answered, Statistic::Median, |one| {
        let index = match &one.question.target {
            Target::Choices { indexes } => indexes.first().copied().unwrap_or(0),
            _ => 0,
        };
        let Some(loglikelihood) = one.responses.get(index).and_then(Response::loglikelihood) else {
            return Err(refuse(one, metric, "it needs the right answer's log-likelihood, and the question has none"));
        };
        Ok(if loglikelihood.is_nan() { Value::Undefined } else { Value::Of(loglikelihood) })
    })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_pieces_of_a_split_at_white_space() {
        // len(re.split(r"\s+", text)) of CPython 3.11.
        for (text, count) in [("", 1), ("a", 1), ("a b", 2), (" a\n\nb ", 4), ("a\u{1f}b\u{a0}c", 3), ("\t", 2)] {
            assert_eq!(words(text), count, "{text:?}");
        }
    }
}
