//! Training from scratch.

use candle_core::Var;
use counterpath::base::Silent;
use counterpath::model::{NoHooks, Row, target_logprobs};
use counterpath::tune::{AdamWSpec, Decline, PretrainSpec, Schedule, Warmup, pretrain};

use super::tiny;

fn texts() -> Vec<Vec<u32>> {
    // Counting up from a start, with two lengths: what comes next is certain once the start is seen.
    (0..8).map(|start| (start..start + 5 + start % 3).collect()).collect()
}

fn spec(steps: usize) -> PretrainSpec {
    PretrainSpec {
        seed: 3,
        steps,
        batch: 4,
        learning_rate: 1e-2,
        optimizer: AdamWSpec { weight_decay: 0.01, ..AdamWSpec::default() },
        schedule: Schedule { warmup: Warmup::Steps(5), decline: Decline::Cosine { floor: 0.1 } },
        clip: Some(1.0),
    }
}

fn values(parameters: &[(String, Var)]) -> Vec<Vec<f32>> {
    parameters.iter().map(|(_, var)| var.flatten_all().and_then(|flat| flat.to_vec1()).expect("values")).collect()
}

#[test]
fn a_model_learns_to_count() {
    let parameters = tiny::parameters(2, 0.1, 1);
    let before = values(&parameters);
    let model = tiny::live(2, &parameters);
    let losses = pretrain(&model, parameters.clone(), &texts(), &spec(150), &Silent).expect("training");
    // A uniform guess over 24 tokens costs ln 24 = 3.18 nats.
    assert!((losses[0] - (tiny::VOCAB as f64).ln()).abs() < 0.3, "start {}", losses[0]);
    assert!(losses[149] < 0.1, "end {}", losses[149]);
    for ((name, _), (before, after)) in parameters.iter().zip(before.iter().zip(values(&parameters))) {
        assert_ne!(before, &after, "{name} did not move");
    }
    let row = Row { ids: vec![2, 3, 4], targets: vec![(2, 5)] };
    let logprob = target_logprobs(&model, &[row], &mut NoHooks).and_then(|l| Ok(l.to_vec1::<f32>()?)).expect("score");
    assert!(logprob[0] > -0.2, "the model itself sees its parameters move: {}", logprob[0]);
}

#[test]
fn the_same_request_gives_the_same_parameters() {
    let run = |seed| {
        let parameters = tiny::parameters(1, 0.1, 1);
        let model = tiny::live(1, &parameters);
        let spec = PretrainSpec { seed, ..spec(10) };
        let losses = pretrain(&model, parameters.clone(), &texts(), &spec, &Silent).expect("training");
        (losses, values(&parameters))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_parameter_outside_the_model_is_named() {
    let mut parameters = tiny::parameters(1, 0.1, 1);
    let model = tiny::live(1, &parameters);
    let stranger = tiny::parameters(1, 0.1, 2).swap_remove(0).1;
    parameters.push(("stranger".into(), stranger));
    let error = pretrain(&model, parameters, &texts(), &spec(3), &Silent).expect_err("no gradient").to_string();
    assert!(error.contains("stranger received no gradient after step 0"), "{error}");
}

#[test]
fn texts_without_a_prediction_and_nonsense_settings_are_refused() {
    let parameters = tiny::parameters(1, 0.1, 1);
    let model = tiny::live(1, &parameters);
    let refuse = |texts: &[Vec<u32>], spec: PretrainSpec| {
        pretrain(&model, parameters.clone(), texts, &spec, &Silent).expect_err("refused").to_string()
    };
    assert!(refuse(&[vec![1, 2], vec![3]], spec(3)).contains("text 1"));
    assert!(refuse(&texts(), PretrainSpec { batch: 0, ..spec(3) }).contains("`batch`: 0 is not above 0"));
}
