//! One metric's value in a sample line: a number, a likelihood with its count, a pair of gold and prediction, or gold
//! with probabilities.

use serde_json::Value;

use crate::stats::{Item, Statistic};

/// What a metric's items are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers that are averaged.
    Number,
    /// Log-likelihoods; the value is exp(−mean).
    Perplexity,
    /// Log-likelihoods with counts of words or bytes; the value is exp(−Σ/Σ).
    CountedPerplexity,
    /// The same in bits: −Σ/Σ/ln 2.
    Bits,
    /// (gold, prediction), both 0 or 1; the value is 2·TP/(2·TP + FP + FN) of class 1.
    F1,
}

impl Kind {
    pub(super) fn statistic(self, items: &[Item]) -> Statistic {
        let binary = items.iter().all(|item| item.value == 0.0 || item.value == 1.0);
        match self {
            Self::Number if binary => Statistic::Share,
            Self::Number => Statistic::Mean,
            Self::Perplexity | Self::CountedPerplexity => Statistic::ExpRatio,
            Self::Bits | Self::F1 => Statistic::Ratio,
        }
    }

    pub(super) fn unit(self, metric: &str) -> &'static str {
        match (self, metric) {
            (Self::Number, name) if name.starts_with("acc") || name.starts_with("exact_match") => "share",
            (Self::Number, "brier_score") => "squared probability",
            (Self::Number, _) => "points",
            (Self::F1, _) => "share",
            (Self::Bits, _) => "bits a byte",
            (Self::Perplexity, _) => "perplexity",
            (Self::CountedPerplexity, "word_perplexity") => "perplexity a word",
            (Self::CountedPerplexity, _) => "perplexity a byte",
        }
    }
}

/// The value and weight of one item; `None` for a kind whose aggregate is no statistic of ours (`mcc`, corpus scores of
/// texts), an error for what is none of the kinds that its metric may have.
pub(super) fn read(metric: &str, value: &Value) -> Result<Option<(Kind, f64, Option<f64>)>, String> {
    match (metric, value) {
        ("perplexity", value) => number(value).map(|ll| Some((Kind::Perplexity, -ll, Some(1.0)))),
        ("word_perplexity" | "byte_perplexity", Value::Array(pair)) => {
            let (ll, count) = two(pair, value)?;
            Ok(Some((Kind::CountedPerplexity, -ll, Some(count))))
        }
        ("bits_per_byte", Value::Array(pair)) => {
            let (ll, count) = two(pair, value)?;
            Ok(Some((Kind::Bits, -ll / std::f64::consts::LN_2, Some(count))))
        }
        ("f1", Value::Array(pair)) => Ok(f1(pair)),
        ("brier_score", Value::Array(pair)) => brier(pair, value).map(|score| Some((Kind::Number, score, None))),
        (_, Value::Number(_) | Value::Bool(_)) => number(value).map(|value| Some((Kind::Number, value, None))),
        (_, Value::Array(_) | Value::Object(_) | Value::String(_)) => Ok(None),
        (_, Value::Null) => Err("is null or NaN: the item has no value; leave it out of both runs".into()),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Bool(flag) => Some(f64::from(*flag)),
        // Log-likelihoods of other versions are written as text.
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| format!("is {value}, not a finite number"))
}

fn two(pair: &[Value], whole: &Value) -> Result<(f64, f64), String> {
    match pair {
        [ll, count] => Ok((number(ll)?, number(count)?)),
        _ => Err(format!("is {whole}, not a log-likelihood and a count")),
    }
}

/// Class 1's share of (gold, prediction) in F1 = Σ 2·TP / Σ (2·TP + FP + FN); `None` for other classes.
fn f1(pair: &[Value]) -> Option<(Kind, f64, Option<f64>)> {
    let class = |value: &Value| number(value).ok().filter(|class| *class == 0.0 || *class == 1.0);
    match pair {
        [gold, predicted] => {
            let (gold, predicted) = (class(gold)?, class(predicted)?);
            Some((Kind::F1, 2.0 * gold * predicted, Some(gold + predicted)))
        }
        _ => None,
    }
}

/// Σ_k (p_k − 1[k = gold])² of `[gold, probabilities]`; the probabilities are a list, or numpy's text of one.
fn brier(pair: &[Value], whole: &Value) -> Result<f64, String> {
    let wrong = || format!("is {whole}, not a gold index with probabilities");
    let (gold, probabilities) = match pair {
        [gold, Value::Array(list)] => (gold, list.iter().map(number).collect::<Result<Vec<_>, _>>()?),
        [gold, Value::String(text)] => {
            let numbers = text.trim_matches(['[', ']']).split_whitespace().map(str::parse);
            (gold, numbers.collect::<Result<Vec<f64>, _>>().map_err(|_| wrong())?)
        }
        _ => return Err(wrong()),
    };
    let gold = gold.as_u64().filter(|gold| (*gold as usize) < probabilities.len()).ok_or_else(wrong)?;
    let squares = probabilities.iter().zip(0u64..).map(|(p, k)| (p - f64::from(u8::from(k == gold))).powi(2));
    Ok(squares.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_kinds_become_values() {
        assert_eq!(read("acc", &json!(true)), Ok(Some((Kind::Number, 1.0, None))));
        assert_eq!(read("word_perplexity", &json!([-6.0, 3])), Ok(Some((Kind::CountedPerplexity, 6.0, Some(3.0)))));
        assert_eq!(read("f1", &json!([1, 0])), Ok(Some((Kind::F1, 0.0, Some(1.0)))));
        assert_eq!(read("f1", &json!([2, 0])), Ok(None));
        assert_eq!(read("mcc", &json!([1, 0])), Ok(None));
        assert!(read("acc", &json!(null)).is_err() && read("perplexity", &json!("NaN")).is_err());
    }

    #[test]
    fn brier_meets_the_golden_value() {
        // The shared reference, section 2.12: (0; .7 .2 .1) and (2; .1 .3 .6) have the mean 0.2.
        let one = brier(&[json!(0), json!("[0.7 0.2 0.1]")], &Value::Null).expect("read");
        let two = brier(&[json!(2), json!([0.1, 0.3, 0.6])], &Value::Null).expect("read");
        assert!(((one + two) / 2.0 - 0.2).abs() < 1e-12);
        assert!(brier(&[json!(3), json!([0.1, 0.9])], &Value::Null).is_err());
    }
}
