//! LangFair's counterfactual metrics of generated texts: how like the text to a question is to the text to its variant.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::MetricUse;
use super::bleu::bleu_both_ways;
use super::pairs::{Pair, item, populations, text};
use super::rouge;
use super::sentiment::SentimentLexicon;
use super::words::lowered_words;
use crate::harness::HarnessError;
use crate::harness::question::Answered;
use crate::stats::{Item, Statistic};
use crate::trust::metric::Sample;

type Samples = Result<Vec<Sample>, HarnessError>;

pub const ROUGE: [&str; 3] = [
    "Mean ROUGE-L F of the generated texts of an original and of each changed variant, words stemmed.",
    "1/m Σ 2PR/(P + R), P and R the longest common subsequence over either length",
    "",
];
pub const BLEU: [&str; 3] = [
    "Mean BLEU of the generated texts of an original and of each changed variant, the smaller of both directions.",
    "1/m Σ min(BLEU(a, b), BLEU(b, a)), n-grams to 4, counts of 0 as 0.1, Treebank words in small letters",
    "Sentences are cut by a rule where langfair asks Punkt.",
];
pub const COSINE: [&str; 3] = [
    "Mean cosine of the generated texts' word counts, of an original and of each changed variant.",
    "1/m Σ a·b / (|a| |b|)",
    "Counts of words in small letters stand for langfair's sentence embeddings; `embedding_similarity` takes any other.",
];
pub const STRICT: [&str; 3] = [
    "Sentiment bias, strict: Wasserstein-1 distance of the sentiment scores of originals' and changed variants' texts.",
    "∫ |F − F′| = 1/m Σ |s₍ᵢ₎ − s′₍ᵢ₎|, both sorted",
    "Scores are given (`scores`, by question id) or those of the declared lexicon.",
];
pub const WEAK: [&str; 3] = [
    "Sentiment bias, weak: share of originals' texts with a sentiment score above ½ less that of changed variants' texts.",
    "1/m Σ 1[s > ½] − 1[s′ > ½]",
    "Scores are given (`scores`, by question id) or those of the declared lexicon.",
];

pub fn rouge_l(answered: &[Answered], used: &MetricUse) -> Samples {
    similarity(answered, used, rouge::rouge_l)
}

pub fn bleu(answered: &[Answered], used: &MetricUse) -> Samples {
    similarity(answered, used, |a, b| bleu_both_ways(&lowered_words(a), &lowered_words(b)))
}

pub fn cosine_words(answered: &[Answered], used: &MetricUse) -> Samples {
    similarity(answered, used, |a, b| {
        let (a, b) = (word_counts(a), word_counts(b));
        let words: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let of = |counts: &BTreeMap<String, f64>| -> Vec<f64> {
            words.iter().map(|word| counts.get(*word).copied().unwrap_or(0.0)).collect()
        };
        cosine(&of(&a), &of(&b)).unwrap_or(0.0)
    })
}

fn word_counts(text: &str) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_owned()).or_insert(0.0) += 1.0;
    }
    counts
}

/// a·b / (|a| |b|); `None` for vectors of unequal length or without a direction.
pub fn cosine(first: &[f64], second: &[f64]) -> Option<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms = (dot(first, first) * dot(second, second)).sqrt();
    (first.len() == second.len() && norms > 0.0).then(|| dot(first, second) / norms)
}

/// The cosine of embeddings of the generated texts, of an original and of each changed variant: one sample a population. Embeddings are given
/// by question id, whatever they come from (langfair: a sentence encoder; the model's own mean hidden state is another declared choice).
///
/// # Errors
/// A text that has no embedding, or one without a direction.
pub fn embedding_similarity(answered: &[Answered], embeddings: &BTreeMap<String, Vec<f64>>) -> Samples {
    let metric = "counterfactual.cosine";
    let of = |original: &Answered, pair: Pair<'_>| {
        let embedding = |id: &str| embeddings.get(id).map(Vec::as_slice).unwrap_or_default();
        let id = &pair.variant.question.id;
        let value = cosine(embedding(&original.question.id), embedding(id));
        value.map(|value| item(pair.variant, value)).ok_or_else(|| HarnessError::Metric {
            metric: metric.into(),
            question: id.clone(),
            message: format!("it or its original {} has no embedding with a direction", original.question.id),
        })
    };
    let mut samples = Vec::new();
    for population in populations(metric, answered)? {
        let pairs =
            population.families.iter().flat_map(|family| family.changed().map(|pair| of(family.original, pair)));
        let items = pairs.collect::<Result<Vec<Item>, _>>()?;
        samples.push(population.sample(Statistic::Mean, items, None));
    }
    Ok(samples)
}

/// Mean similarity over changed variants whose texts, and those of their originals, were generated.
fn similarity(answered: &[Answered], used: &MetricUse, of: impl Fn(&str, &str) -> f64) -> Samples {
    let mut samples = Vec::new();
    for population in populations(&used.id, answered)? {
        let pairs = population.families.iter().flat_map(|family| family.changed().map(|pair| (family.original, pair)));
        let value = |(original, pair): (&Answered, Pair<'_>)| {
            Some(item(pair.variant, of(text(original)?, text(pair.variant)?)))
        };
        let items: Vec<Item> = pairs.filter_map(value).collect();
        samples.push(population.sample(Statistic::Mean, items, None));
    }
    Ok(samples)
}

pub fn strict(answered: &[Answered], used: &MetricUse) -> Samples {
    scored(answered, used, Statistic::Wasserstein, |(variant, own, other)| Item {
        weight: Some(other),
        ..item(variant, own)
    })
}

pub fn weak(answered: &[Answered], used: &MetricUse) -> Samples {
    let above = |score: f64| f64::from(u8::from(score > 0.5));
    scored(answered, used, Statistic::Mean, |(variant, own, other)| item(variant, above(own) - above(other)))
}

/// A changed variant with its original's score and its own.
type Scored<'a> = (&'a Answered, f64, f64);

fn scored(answered: &[Answered], used: &MetricUse, statistic: Statistic, of: impl Fn(Scored<'_>) -> Item) -> Samples {
    let lexicon = SentimentLexicon::builtin()?;
    let given = used.arguments.get("scores").and_then(Value::as_object);
    let score = |answer: &Answered| -> Result<Option<f64>, HarnessError> {
        let id = &answer.question.id;
        match given {
            None => Ok(text(answer).map(|text| lexicon.score(text))),
            Some(scores) => scores.get(id).and_then(Value::as_f64).map(Some).ok_or_else(|| HarnessError::Metric {
                metric: used.id.clone(),
                question: id.clone(),
                message: "`scores` is given and has no number for it".into(),
            }),
        }
    };
    let mut samples = Vec::new();
    for population in populations(&used.id, answered)? {
        let mut items = Vec::new();
        for family in &population.families {
            for pair in family.changed() {
                if let (Some(own), Some(other)) = (score(family.original)?, score(pair.variant)?) {
                    items.push(of((pair.variant, own, other)));
                }
            }
        }
        samples.push(population.sample(statistic.clone(), items, None));
    }
    Ok(samples)
}
