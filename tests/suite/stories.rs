//! The stories scenario on a real TinyStories model: its tokenizer lines the pairs up, and its pronoun follows the child.

use counterpath::base::{Seed, Silent};
use counterpath::model::score::score;
use counterpath::model::{LanguageModel, LoadOptions, Special, split_tokens};
use counterpath::scenario::{Contrast, CounterfactualPair, Draw, Scenario, Split};

use crate::shared::shared_dir;

fn stories260k() -> Option<LanguageModel> {
    let folder = shared_dir()?.join("data/models/stories260K");
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("stories260K"))
}

#[test]
fn pairs_line_up_under_the_tokenizer_of_stories260k() {
    let Some(model) = stories260k() else { return };
    let tokenizer = model.tokenizer().expect("tokenizer");
    let tokenize = |text: &str| {
        let offsets = tokenizer.encode(text, Special::None).expect("encodes").offsets;
        offsets.into_iter().map(|(start, end)| start..end).collect::<Vec<_>>()
    };
    let findings = Scenario::builtin("stories").expect("stories").lint(Some(&tokenize)).expect("lints");
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn the_pronoun_of_stories260k_follows_the_child_and_hardly_the_toy() {
    let Some(model) = stories260k() else { return };
    let tokenizer = model.tokenizer().expect("tokenizer");
    let scenario = Scenario::builtin("stories").expect("stories");
    let log_odds = |prompt: &counterpath::scenario::Prompt| {
        let request = |answer: &String| split_tokens(tokenizer, &prompt.text, answer).expect("splits");
        let requests: Vec<_> = prompt.answers.iter().map(request).collect();
        let scores = score(&model, &requests, 4096, &Silent).expect("scores");
        scores[0].loglikelihood - scores[1].loglikelihood
    };
    let effects = |variable: &str| -> Vec<f64> {
        let draw = Draw::train(Split::Evaluation, Seed::new(1));
        let pairs = scenario.pairs(draw, &Contrast::total(variable, "opening"), 20).expect("pairs");
        let towards_she = |pair: &CounterfactualPair| match pair.factual.values[variable].as_str() {
            "female" | "doll" => -1.0,
            _ => 1.0,
        };
        pairs.iter().map(|p| towards_she(p) * (log_odds(&p.counterfactual) - log_odds(&p.factual))).collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (gender, toy) = (effects("gender"), effects("toy"));
    // Measured on 20 pairs: about 8.5 and under 0.5 nats.
    assert!(gender.iter().all(|effect| *effect > 1.0), "{gender:?}");
    assert!(mean(&gender) > 6.0 && mean(&toy).abs() < 1.0, "{} {}", mean(&gender), mean(&toy));
}
