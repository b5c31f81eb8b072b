//! The scoring engine against passes over one request at a time: every family, adapters, fewer bits, random lists, any size
//! of pass, any number of threads.

use candle_core::Tensor;
use counterpath::base::{Seed, Silent, seed::index};
use counterpath::model::score::score;
use counterpath::model::{
    Adapter, AdapterBank, BaseType, LanguageModel, LoadOptions, LoraSpec, NoHooks, Readout, Score, ScoreRequest,
    ScoreWork, TargetModules, score_with_adapters,
};
use proptest::prelude::*;

use crate::parity::cases;
use crate::shared::shared_dir;

/// ln p of each token of a continuation, and whether it is the most likely one by more than rounding: one pass over the
/// request's own window, whole rows of logits, double precision.
fn unshared(model: &LanguageModel, request: &ScoreRequest) -> Vec<(f64, Option<bool>)> {
    let whole = [request.context.as_slice(), &request.continuation].concat();
    let run = &whole[..whole.len() - 1];
    let run = &run[run.len().saturating_sub(model.architecture().max_positions)..];
    let ids = Tensor::from_slice(run, (1, run.len()), model.device()).expect("ids");
    let logits = model.forward(&ids, Readout::All, &mut NoHooks).expect("pass");
    let logits = logits.squeeze(0).and_then(|row| row.to_dtype(candle_core::DType::F64)).expect("row");
    let logits: Vec<Vec<f64>> = logits.to_vec2().expect("logits");
    let rows = &logits[run.len() - request.continuation.len()..];
    rows.iter()
        .zip(&request.continuation)
        .map(|(row, token)| {
            let own = row[*token as usize];
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = top + row.iter().map(|logit| (logit - top).exp()).sum::<f64>().ln();
            let mut others = row.clone();
            others.remove(*token as usize);
            let next = others.into_iter().fold(f64::NEG_INFINITY, f64::max);
            (own - log_sum, ((own - next).abs() > 1e-4).then_some(own > next))
        })
        .collect()
}

/// Single precision is coarser where numbers are larger.
fn spread(logprob: f64) -> f64 {
    (logprob.abs() / 8.0).max(1.0)
}

fn hold(name: &str, model: &LanguageModel, requests: &[ScoreRequest], scores: &[Score], tolerance: f64) {
    assert_eq!(requests.len(), scores.len());
    for (request, score) in requests.iter().zip(scores) {
        let expected = unshared(model, request);
        assert_eq!((score.num_tokens, score.logprobs.len()), (expected.len(), expected.len()), "{name}");
        for (found, (expected, _)) in score.logprobs.iter().zip(&expected) {
            let apart = (f64::from(*found) - expected).abs();
            assert!(
                apart <= tolerance * spread(*expected),
                "{name}: {found} against {expected}, {apart:e} apart ({request:?})"
            );
        }
        let sum: f64 = expected.iter().map(|(logprob, _)| logprob).sum();
        let spread: f64 = expected.iter().map(|(logprob, _)| spread(*logprob)).sum();
        assert!((score.loglikelihood - sum).abs() <= tolerance * spread, "{name}");
        if expected.iter().all(|(_, greedy)| greedy.is_some()) {
            assert_eq!(score.is_greedy, expected.iter().all(|(_, greedy)| *greedy == Some(true)), "{name}");
        }
    }
}

/// Requests that share much: texts of few different tokens grown from each other, some asked twice, some longer than the
/// model's positions, continuations of one token and of many.
fn requests(seed: u64, count: usize, vocab: usize, limit: usize) -> Vec<ScoreRequest> {
    let mut rng = Seed::new(seed).rng();
    let mut texts: Vec<Vec<u32>> = Vec::new();
    for _ in 0..count {
        let mut text = match texts.is_empty() || index(&mut rng, 4) == 0 {
            true => Vec::new(),
            false => {
                let from = &texts[index(&mut rng, texts.len())];
                from[..1 + index(&mut rng, from.len())].to_vec()
            }
        };
        let grown = [2, 5, limit / 2, limit + 3][index(&mut rng, 4)];
        let tokens = [3, vocab][index(&mut rng, 2)];
        text.extend((0..2 + index(&mut rng, grown)).map(|_| index(&mut rng, tokens) as u32));
        texts.push(text);
        if index(&mut rng, 6) == 0 {
            texts.push(texts[index(&mut rng, texts.len())].clone());
        }
    }
    let split = |text: Vec<u32>| {
        let most = (text.len() - 1).min(limit);
        let continuation = [1, 1 + index(&mut rng, most), most][index(&mut rng, 3)];
        let (context, continuation) = text.split_at(text.len() - continuation);
        ScoreRequest { context: context.to_vec(), continuation: continuation.to_vec() }
    };
    texts.into_iter().map(split).collect()
}

#[test]
fn shared_passes_give_what_one_request_at_a_time_gives_on_every_family() {
    for (number, case) in cases().iter().enumerate() {
        let architecture = case.model.architecture();
        // Long enough for windows and long frequencies; the learned positions and long texts of most fixtures end at 64.
        let limit = architecture.max_positions.min(70);
        let asked = requests(number as u64, 14, architecture.vocab_size, limit);
        for batch_tokens in [24, 100_000] {
            let scores = score(&case.model, &asked, batch_tokens, &Silent).expect("scores");
            hold(&case.name, &case.model, &asked, &scores, 1e-5);
        }
    }
}

/// What rounding does: shared passes lie no further from double precision than one request at a time does.
#[test]
fn shared_passes_are_as_near_to_double_precision_as_one_request_at_a_time() {
    for (number, case) in cases().iter().enumerate() {
        let exact = LoadOptions { dtype: candle_core::DType::F64, ..LoadOptions::default() };
        let exact = LanguageModel::load(&case.folder, &exact).expect("model");
        let architecture = case.model.architecture();
        let asked = requests(100 + number as u64, 8, architecture.vocab_size, architecture.max_positions.min(70));
        let scores = score(&case.model, &asked, 64, &Silent).expect("scores");
        let (mut ours, mut alone) = (0f64, 0f64);
        for (request, score) in asked.iter().zip(&scores) {
            let plain = unshared(&case.model, request);
            for ((found, (plain, _)), (exact, _)) in score.logprobs.iter().zip(plain).zip(unshared(&exact, request)) {
                ours = ours.max((f64::from(*found) - exact).abs());
                alone = alone.max((plain - exact).abs());
            }
        }
        // Both are the largest of some hundred roundings.
        assert!(ours <= (3.0 * alone).max(2e-6), "{}: {ours:e} from double precision, alone {alone:e}", case.name);
    }
}

fn stories() -> Option<LanguageModel> {
    let folder = shared_dir()?.join("data/models/stories260K");
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("model"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// A model of the project's own fixtures, so that the lists run everywhere.
    #[test]
    fn any_list_is_scored_as_its_requests_alone(seed: u64, count in 1usize..30, batch_tokens in 1usize..200) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/stablelm");
        let model = LanguageModel::load(&folder, &LoadOptions::default()).expect("model");
        let limit = model.architecture().max_positions;
        let asked = requests(seed, count, model.architecture().vocab_size, limit);
        let scores = score(&model, &asked, batch_tokens, &Silent).expect("scores");
        hold("stablelm", &model, &asked, &scores, 1e-5);
        let borrowed: Vec<_> = asked.iter().map(|request| (None, request)).collect();
        let work = ScoreWork::new(&model, &borrowed, batch_tokens).expect("work");
        let prefixes: std::collections::BTreeSet<Vec<u32>> = asked.iter().flat_map(|request| {
            let whole = [request.context.as_slice(), &request.continuation].concat();
            let run = whole[..whole.len() - 1].to_vec();
            let run = run[run.len().saturating_sub(limit)..].to_vec();
            (1..=run.len()).map(|len| run[..len].to_vec()).collect::<Vec<_>>()
        }).collect();
        prop_assert_eq!(work.tokens(), prefixes.len(), "every distinct prefix runs once");
        prop_assert!(work.largest_pass() <= batch_tokens.max(1));
    }
}

fn lora(model: &LanguageModel, seed: u64) -> Adapter {
    let target_modules = TargetModules::Pattern("all-linear".into());
    let spec = LoraSpec { rank: 4, alpha: 16.0, target_modules, rslora: false };
    let adapter = Adapter::init(model, &spec, Seed::new(seed)).expect("adapter");
    // B begins at zero: an adapter that changes nothing would show nothing.
    for (name, var) in adapter.trainable() {
        let noise = Tensor::randn(0f32, 0.02, var.shape(), var.device()).expect("noise");
        var.set(&noise).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    adapter.frozen()
}

#[test]
fn adapters_banks_and_fewer_bits_go_through_the_same_passes() {
    let Some(model) = stories() else { return };
    let asked = requests(3, 30, 512, 60);
    let [a, b] = [1, 2].map(|seed| lora(&model, seed));
    let adapted = [&a, &b].map(|adapter| model.with_adapter(adapter).expect("adapted"));
    for adapted in &adapted {
        hold("adapter", adapted, &asked, &score(adapted, &asked, 64, &Silent).expect("scores"), 1e-5);
    }
    let mut bank = AdapterBank::new(&model);
    bank.add("a", &a).expect("bank");
    bank.add("b", &b).expect("bank");
    let names = [Some("a"), None, Some("b")];
    let mixed: Vec<(Option<&str>, ScoreRequest)> =
        asked.iter().enumerate().map(|(number, request)| (names[number % 3], request.clone())).collect();
    let scores = score_with_adapters(&bank, &mixed, 64, &Silent).expect("scores");
    for ((name, request), score) in mixed.iter().zip(&scores) {
        let own = match name {
            Some("a") => &adapted[0],
            Some(_) => &adapted[1],
            None => &model,
        };
        hold("bank", own, std::slice::from_ref(request), std::slice::from_ref(score), 1e-5);
    }
    for base in ["q8_0", "bf16"] {
        let base: BaseType = base.parse().expect("type");
        let folder = shared_dir().expect("shared").join("data/models/stories260K");
        let packed = LanguageModel::load(&folder, &LoadOptions { base, ..LoadOptions::default() }).expect("model");
        assert_ne!(packed.precision(), model.precision());
        hold("packed", &packed, &asked, &score(&packed, &asked, 64, &Silent).expect("scores"), 1e-5);
        let tuned = packed.with_adapter(&a).expect("adapted");
        hold("packed, adapter", &tuned, &asked, &score(&tuned, &asked, 64, &Silent).expect("scores"), 1e-5);
    }
}

#[test]
fn the_same_bytes_at_any_number_of_threads_and_close_at_any_size_of_pass() {
    let Some(model) = stories() else { return };
    let asked = requests(5, 60, 512, 200);
    let bits =
        |scores: &[Score]| -> Vec<u32> { scores.iter().flat_map(|s| s.logprobs.iter().map(|p| p.to_bits())).collect() };
    let on = |threads: usize, batch_tokens: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| score(&model, &asked, batch_tokens, &Silent).expect("scores"))
    };
    let one = on(1, 300);
    for threads in [2, 3, 8] {
        assert_eq!(bits(&on(threads, 300)), bits(&one), "{threads} threads");
    }
    for batch_tokens in [1, 17, 64, 1000, usize::MAX] {
        let other = on(2, batch_tokens);
        for (a, b) in one.iter().zip(&other) {
            let apart = a.logprobs.iter().zip(&b.logprobs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let spread = a.logprobs.iter().map(|a| spread(f64::from(*a))).fold(1.0, f64::max);
            assert!(f64::from(apart) <= 1e-5 * spread, "passes of {batch_tokens}: {apart:e}");
        }
    }
}
