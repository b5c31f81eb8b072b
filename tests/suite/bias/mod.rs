//! Bias, fairness and causal data sets: lm-eval's own numbers on the same documents, and every task asked of a real model.

mod by_hand;
mod golden;
mod tasks;

use std::path::{Path, PathBuf};

use counterpath::base::Seed;
use counterpath::harness::metric::{MetricUse, task_metric};
use counterpath::harness::question::{Answered, Question, Response};
use counterpath::stats::{Bootstrap, Estimate, estimate};
use counterpath::trust::metric::Sample;

/// The small files in the real formats.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/harness/bias").join(name)
}

fn samples(metric: &str, answered: &[Answered]) -> Vec<Sample> {
    (task_metric(metric).expect("a metric").collect)(answered, &MetricUse::plain(metric)).expect("collected")
}

/// A metric's value on one population, or why it has none.
fn value(metric: &str, answered: &[Answered], population: &str) -> Result<f64, String> {
    let samples = samples(metric, answered);
    let sample = samples.iter().find(|sample| sample.population == population);
    let sample = sample.unwrap_or_else(|| panic!("{metric} has no population {population}"));
    match &sample.undefined {
        Some(reason) => Err(reason.clone()),
        None => sample.statistic.evaluate(&sample.items).map_err(|undefined| undefined.to_string()),
    }
}

fn with_interval(sample: &Sample) -> Estimate {
    estimate(&sample.items, &sample.statistic, &Bootstrap { replicates: 300, level: 0.95, seed: Seed::new(11) })
}

/// A question with these log-likelihoods; each continuation counts as one token.
fn told(question: &Question, loglikelihoods: &[f64]) -> Answered {
    let response = |&loglikelihood: &f64| Response::Loglikelihood {
        loglikelihood,
        is_greedy: false,
        logprobs: vec![loglikelihood as f32],
    };
    let responses = loglikelihoods.iter().map(response).collect();
    Answered { question: question.clone(), responses, filtered: [].into() }
}

/// A question with a generated text.
fn wrote(question: &Question, text: &str) -> Answered {
    let responses = vec![Response::Text { text: text.into() }];
    Answered { question: question.clone(), responses, filtered: [].into() }
}
