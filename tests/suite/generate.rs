//! Generation over cached keys and values, against one whole pass a token.

use candle_core::{Device, IndexOp, Tensor};
use counterpath::base::{Seed, Silent};
use counterpath::model::generate::{
    Choice, Completion, Finish, GenerateOptions, GenerateRequest, Sampling, Stop, complete, generate,
};
use counterpath::model::{
    HookKind, HookPoint, Hooks, LanguageModel, LoadOptions, NoHooks, Prefix, Readout, Record, Span, Special, Stand,
    Start,
};

use crate::shared::shared_dir;

/// Every kind of attention: windows, soft-caps, learned positions, parallel blocks, norms of queries, partial rotation.
const FAMILIES: [&str; 11] = [
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "llama3_rope",
    "mistral",
    "olmo2",
    "phi",
    "phi3_longrope",
    "qwen2_sliding",
    "qwen3",
];

fn fixture(name: &str) -> Option<LanguageModel> {
    let folder = shared_dir()?.join("fixtures/parity").join(name);
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("model"))
}

fn stories() -> Option<LanguageModel> {
    let folder = shared_dir()?.join("data/models/stories260K");
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("model"))
}

/// Prompts of unequal lengths.
fn requests(model: &LanguageModel, lengths: &[usize]) -> Vec<GenerateRequest> {
    let vocab = model.architecture().vocab_size;
    let prompt = |n: usize| (0..n).map(|i| ((i * 37 + n * 11 + 5) % vocab) as u32).collect();
    lengths.iter().map(|n| GenerateRequest { id: format!("item {n}"), prompt: prompt(*n) }).collect()
}

fn run(model: &LanguageModel, requests: &[GenerateRequest], options: &GenerateOptions) -> Vec<Completion> {
    complete(model, requests, options, &mut NoHooks, &mut |_| {}, &Silent).expect("completions")
}

/// Adds a direction at one point, at the positions from `from` on (the prompt's end and all that follows), of text
/// `row` alone.
struct Push {
    point: HookPoint,
    row: usize,
    from: usize,
    spans: Vec<Span>,
    calls: usize,
}

impl Push {
    fn new(kind: HookKind, row: usize, from: usize) -> Self {
        Self { point: HookPoint::new(kind, 1), row, from, spans: Vec::new(), calls: 0 }
    }
}

impl Hooks for Push {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.point
    }

    fn begin(&mut self, spans: &[Span]) {
        self.spans = spans.to_vec();
    }

    fn at(&mut self, _: HookPoint, activation: Tensor) -> candle_core::Result<Tensor> {
        self.calls += 1;
        let width: usize = activation.dims()[2..].iter().product();
        let flat = activation.flatten_from(2)?;
        let tokens = flat.dim(1)?;
        let mut push = Vec::new();
        for span in &self.spans {
            for at in span.start..span.start + tokens {
                let here = span.row == self.row && at >= self.from;
                push.extend((0..width).map(|i| if here { ((i * 7 % 5) as f32 - 2.0) * 3.0 } else { 0.0 }));
            }
        }
        (flat + Tensor::from_vec(push, (self.spans.len(), tokens, width), &Device::Cpu)?)?.reshape(activation.shape())
    }
}

/// One whole pass a token, greedily.
fn uncached(model: &LanguageModel, prompt: &[u32], tokens: usize, hooks: &mut dyn Hooks) -> Vec<u32> {
    let mut ids = prompt.to_vec();
    while ids.len() < prompt.len() + tokens {
        let ids_bt = Tensor::from_slice(&ids, (1, ids.len()), &Device::Cpu).expect("ids");
        let logits = model.forward(&ids_bt, Readout::Rows(&[(0, ids.len() - 1)]), hooks).expect("pass");
        let logits = logits.squeeze(0).expect("row").to_vec1::<f32>().expect("logits");
        let best = logits.iter().enumerate().fold(0, |best, (id, logit)| if *logit > logits[best] { id } else { best });
        ids.push(best as u32);
    }
    ids.split_off(prompt.len())
}

#[test]
fn batched_and_cached_is_alone_and_uncached_in_every_family() {
    for name in FAMILIES {
        let Some(model) = fixture(name) else { return };
        let requests = requests(&model, &[3, 11, 1, 7, 20]);
        let options = GenerateOptions { stop: Stop::AtLimit, ..GenerateOptions::greedy(16) };
        let together = run(&model, &requests, &options);
        let in_threes = run(&model, &requests, &GenerateOptions { batch: 3, ..options.clone() });
        assert_eq!(together, in_threes, "{name}");
        for (request, completion) in requests.iter().zip(&together) {
            let expected = uncached(&model, &request.prompt, 16, &mut NoHooks);
            assert_eq!(completion.ids, expected, "{name}: {}", request.id);
            assert_eq!((completion.finish, &completion.text), (Finish::MaxTokens, &None));
        }
        let sample = Sampling { temperature: 0.9, top_k: Some(30), top_p: Some(0.9), min_p: Some(0.01) };
        let options = GenerateOptions { choice: Choice::Sample(sample), repetition_penalty: 1.2, ..options };
        let together = run(&model, &requests, &options);
        assert_ne!(together[0].ids, in_threes[0].ids, "{name}: a draw is not the likeliest text");
        for (request, completion) in requests.iter().zip(&together).rev() {
            let alone = run(&model, std::slice::from_ref(request), &options);
            assert_eq!(&alone[0], completion, "{name}: draws hang on the id alone");
        }
    }
}

#[test]
fn hooks_stay_active_at_every_step() {
    for name in ["llama3_rope", "gpt2", "gemma2"] {
        let Some(model) = fixture(name) else { return };
        let requests = requests(&model, &[9, 4, 6, 5]);
        let options = GenerateOptions { stop: Stop::AtLimit, batch: 3, ..GenerateOptions::greedy(12) };
        let plain = run(&model, &requests, &options);
        let mut changed = 0;
        for (kind, from) in [(HookKind::ResidPre, 2), (HookKind::Z, 0), (HookKind::MlpOut, 7), (HookKind::V, 6)] {
            for (item, request) in requests.iter().enumerate() {
                let mut push = Push::new(kind, item, from);
                let pushed =
                    complete(&model, &requests, &options, &mut push, &mut |_| {}, &Silent).expect("completions");
                assert_eq!(push.calls, 24, "two batches of twelve steps");
                let expected = uncached(&model, &request.prompt, 12, &mut Push::new(kind, 0, from));
                assert_eq!(pushed[item].ids, expected, "{name}, {kind:?} of item {item}");
                changed += usize::from(pushed[item].ids != plain[item].ids);
                let others = (0..4).filter(|other| *other != item);
                others.for_each(|other| assert_eq!(pushed[other], plain[other], "{name}: text {other} is its own"));
            }
        }
        // A greedy text of a random model may repeat one token whatever is pushed.
        assert!(changed >= 4, "{name}: {changed} of 16 pushes change the text");
    }
}

/// The pattern that a cached pass shows is the last rows of the whole one's.
#[test]
fn patterns_and_streams_over_a_prefix_are_the_end_of_the_whole_pass() {
    for name in ["gemma2", "qwen2_sliding", "gpt2", "phi3_longrope"] {
        let Some(model) = fixture(name) else { return };
        let ids: Vec<u32> = requests(&model, &[14])[0].prompt.clone();
        let whole_bt = Tensor::from_slice(&ids, (1, 14), &Device::Cpu).expect("ids");
        let points = [(HookKind::Pattern, 1), (HookKind::ResidPre, 1)].map(|(kind, layer)| HookPoint::new(kind, layer));
        let mut record = Record::new(points);
        let logits = model.forward(&whole_bt, Readout::All, &mut record).expect("pass");
        let whole = record.take();
        let mut cache = model.cache(1, 14).expect("cache");
        let head = Span { row: 0, start: 0, tokens: 14 };
        model.extend(&mut cache, &whole_bt, &[head], Readout::Rows(&[(0, 0)]), &mut NoHooks).expect("stored");
        // Two suffixes of the same stored row, from different positions; the shorter is padded.
        let spans = [Span { row: 0, start: 6, tokens: 8 }, Span { row: 0, start: 10, tokens: 4 }];
        let suffixes = [&ids[6..], &[&ids[10..], &[0; 4]].concat()].concat();
        let ids_bt = Tensor::from_vec(suffixes, (2, 8), &Device::Cpu).expect("ids");
        let prefix = Some(Prefix { cache: &cache, spans: &spans, stand: Stand::Below });
        let found = model.resume(Start::Tokens(&ids_bt), prefix, Readout::All, &mut record).expect("pass");
        let kept = record.take();
        let near = |a: &Tensor, b: &Tensor, what: &str| {
            let apart = (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()).expect("difference");
            assert!(apart < 1e-4, "{name} {what}: {apart}");
        };
        let pattern = |pattern: &Tensor, row: usize, tokens: usize, keys: std::ops::Range<usize>| {
            pattern.i((row, .., ..tokens, keys)).expect("part")
        };
        let all = whole[&points[0]].i((0, .., 6.., ..)).expect("rows");
        // Columns: ten stored positions (the longest run), then eight of the pass.
        let here = &kept[&points[0]];
        let joined = Tensor::cat(&[pattern(here, 0, 8, 0..6), pattern(here, 0, 8, 10..18)], 2).expect("pattern");
        near(&joined, &all, "pattern of the first");
        near(&pattern(here, 1, 4, 0..14), &whole[&points[0]].i((0, .., 10.., ..)).expect("rows"), "pattern");
        near(&found.i(0).expect("row"), &logits.i((0, 6..)).expect("rows"), "logits of the first");
        near(&found.i((1, ..4)).expect("row"), &logits.i((0, 10..)).expect("rows"), "logits of the second");
        // The same from the stream before block 1 on.
        let stream = whole[&points[1]].i((.., 6..)).expect("stream").contiguous().expect("stream");
        let start = Start::Residual { layer: 1, resid_btd: &stream };
        let prefix = Some(Prefix { cache: &cache, spans: &spans[..1], stand: Stand::Below });
        let from_one = model.resume(start, prefix, Readout::All, &mut NoHooks).expect("pass");
        near(&from_one.i(0).expect("row"), &logits.i((0, 6..)).expect("rows"), "logits from block 1");
    }
}

#[test]
fn frequencies_that_change_with_the_length_start_the_cache_again() {
    let Some(model) = fixture("phi3_longrope") else { return };
    let change = (1..model.architecture().max_positions).find(|n| !model.cache_serves(*n, *n + 1));
    let change = change.expect("a length at which the frequencies change");
    let requests = requests(&model, &[change - 3, change + 2, 2]);
    let options = GenerateOptions { stop: Stop::AtLimit, ..GenerateOptions::greedy(8) };
    for (request, completion) in requests.iter().zip(run(&model, &requests, &options)) {
        assert_eq!(completion.ids, uncached(&model, &request.prompt, 8, &mut NoHooks), "{}", request.id);
    }
    let mut cache = model.cache(1, change + 8).expect("cache");
    let ids_bt = Tensor::zeros((1, change), candle_core::DType::U32, &Device::Cpu).expect("ids");
    let span = |start, tokens| [Span { row: 0, start, tokens }];
    let read = Readout::Rows(&[(0, 0)]);
    model.extend(&mut cache, &ids_bt, &span(0, change), read, &mut NoHooks).expect("stored");
    let next = Tensor::zeros((1, 1), candle_core::DType::U32, &Device::Cpu).expect("ids");
    let error = model.extend(&mut cache, &next, &span(change, 1), read, &mut NoHooks).expect_err("refused");
    assert!(error.to_string().contains("run the whole text again"), "{error}");
}

#[test]
fn stop_strings_end_real_text_and_the_stream_is_the_text() {
    let Some(model) = stories() else { return };
    let tokenizer = model.tokenizer().expect("tokenizer");
    let prompts = ["Once upon a time", "Lily saw her cat.", "Tom had a red ball. He liked to", "The sun was"];
    let encode = |text: &&str| tokenizer.encode(text, Special::Default).expect("tokens").ids;
    let request = |text: &&str| GenerateRequest { id: (*text).to_owned(), prompt: encode(text) };
    let requests: Vec<GenerateRequest> = prompts.iter().map(request).collect();
    let free = run(&model, &requests, &GenerateOptions::greedy(80));
    assert!(free[0].text.as_deref().expect("text").starts_with(", there was a little girl named Lily. She loved"));
    // "y. She lo" begins inside a word and ends inside another.
    let stops = vec!["y. She lo".to_owned(), "never said".to_owned()];
    let options = GenerateOptions { stop_strings: stops, ..GenerateOptions::greedy(80) };
    let mut heard = vec![String::new(); prompts.len()];
    let mut pieces = 0;
    let mut listen = |piece: counterpath::model::generate::Piece<'_>| {
        heard[piece.item].push_str(piece.text);
        pieces += 1;
    };
    let stopped = complete(&model, &requests, &options, &mut NoHooks, &mut listen, &Silent).expect("completions");
    assert_eq!(stopped[0].text.as_deref(), Some(", there was a little girl named Lil"));
    assert_eq!(stopped[0].finish, Finish::StopString);
    assert!(stopped[0].ids.len() < free[0].ids.len() && free[0].ids.starts_with(&stopped[0].ids));
    for ((stopped, free), heard) in stopped.iter().zip(&free).zip(&heard) {
        assert_eq!(stopped.text.as_ref(), Some(heard), "what was heard is the text");
        let whole = free.text.as_ref().expect("text");
        let expected = whole.find("y. She lo").map_or(whole.as_str(), |at| &whole[..at]);
        assert_eq!(heard, expected);
        let alone = generate(&model, &requests[0].prompt, 80, &Choice::Greedy, Stop::AtEnd).expect("tokens");
        assert_eq!(alone, run(&model, &requests[..1], &GenerateOptions::greedy(80))[0].ids);
    }
    assert!(pieces > 20, "text comes in pieces: {pieces}");
}

#[test]
fn limits_ends_and_refusals() {
    let Some(model) = stories() else { return };
    let limit = model.architecture().max_positions;
    let requests = requests(&model, &[limit - 4, limit, 3]);
    let options = GenerateOptions { stop: Stop::AtLimit, ..GenerateOptions::greedy(limit) };
    let texts = run(&model, &requests, &options);
    let found: Vec<_> = texts.iter().map(|text| (text.ids.len(), text.finish)).collect();
    let at_end = Finish::MaxPositions;
    assert_eq!(found, [(4, at_end), (0, at_end), (limit - 3, at_end)]);
    assert_eq!(run(&model, &requests[2..], &GenerateOptions::greedy(0))[0].finish, Finish::MaxTokens);
    let refused = |prompt: Vec<u32>, options: GenerateOptions| {
        let request = GenerateRequest { id: "q".into(), prompt };
        complete(&model, &[request], &options, &mut NoHooks, &mut |_| {}, &Silent).expect_err("refused").to_string()
    };
    let greedy = GenerateOptions::greedy(4);
    assert!(refused(vec![1; limit + 1], greedy.clone()).contains("\"q\" has 513 tokens; this model takes 1 to 512"));
    assert!(refused(vec![], greedy.clone()).contains("0 tokens"));
    let sample = |sampling| GenerateOptions { choice: Choice::Sample(sampling), ..greedy.clone() };
    let plain = Sampling::default();
    assert!(refused(vec![1], sample(Sampling { temperature: -1.0, ..plain })).contains("temperature -1"));
    assert!(refused(vec![1], sample(Sampling { top_p: Some(1.5), ..plain })).contains("top-p"));
    assert!(refused(vec![1], sample(Sampling { top_k: Some(0), ..plain })).contains("top-k"));
    assert!(refused(vec![1], GenerateOptions { repetition_penalty: 0.0, ..greedy.clone() }).contains("penalty"));
    assert!(refused(vec![1], GenerateOptions { stop_strings: vec![String::new()], ..greedy }).contains("stop string"));
    // The seed is what a draw depends on.
    let draw = |seed| GenerateOptions { seed: Seed::new(seed), ..sample(plain) };
    assert_ne!(run(&model, &requests[2..], &draw(1))[0].ids, run(&model, &requests[2..], &draw(2))[0].ids);
}
