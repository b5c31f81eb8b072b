//! Standard tasks against lm-eval on the same files and the same model: documents, prompts, targets, log-likelihoods, metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use counterpath::base::{Digest, Silent};
use counterpath::harness::builtin::{Source, built_in};
use counterpath::harness::metric::{MetricUse, task_metric};
use counterpath::harness::{Answered, Question, Request, Response, Target, Task};
use counterpath::model::{LanguageModel, LoadOptions, ScoreRequest, split_tokens};
use counterpath::trust::scoring::{score_requests, score_texts};
use counterpath::trust::{Checkpoint, Pass, ScoreStore};
use serde_json::Value;

use crate::shared::{json, numbers, shared_dir};

const TARGET: &str = "lm-eval target";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/harness/standard")
}

fn read(run: &Value, shared: &Path) -> Task {
    let id = run["task"].as_str().expect("task");
    let splits = run["splits"].as_object().expect("splits");
    let file = |split: &str| splits.get(split).and_then(Value::as_str);
    let asked = ["test", "validation", "train"].iter().find_map(|split| file(split)).expect("a split");
    let path =
        if id.starts_with("blimp_") { shared.join("data/language/blimp").join(asked) } else { fixtures().join(asked) };
    let examples = file("dev").map(|name| fixtures().join(name));
    let num_fewshot = run["num_fewshot"].as_u64().map(|count| count as usize);
    let source = Source { num_fewshot, examples: examples.as_deref(), ..Source::new(id, &path) };
    let mut task = built_in(id).expect(id).read(&source).unwrap_or_else(|error| panic!("{id}: {error}"));
    task.questions.truncate(run["samples"].as_array().expect("samples").len());
    task
}

fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).as_str().trim_start_matches("sha256:").to_owned()
}

/// Document, prompt and target as lm-eval hashes them.
fn hashes(question: &Question) -> [String; 3] {
    let document = serde_json::to_string_pretty(&question.doc).expect("JSON");
    let prompt = match &question.requests[0] {
        Request::Loglikelihood { context, .. } | Request::Generate { context, .. } => context,
        Request::Rolling { text } => text,
    };
    let target = match (&question.target, question.column(TARGET)) {
        (_, Some(text)) => text.to_owned(),
        (Target::Choices { indexes }, _) => indexes[0].to_string(),
        (Target::Texts { texts }, _) => texts[0].clone(),
        (Target::None, _) => String::new(),
    };
    [hash(&document), hash(prompt), hash(&target)]
}

/// The model's answers to all requests of a task.
pub fn answer(model: &LanguageModel, task: &Task) -> Vec<Answered> {
    let tokenizer = model.tokenizer().expect("tokenizer");
    let checkpoint = Checkpoint { model, adapter: None };
    let mut store = ScoreStore::in_memory();
    let mut pass = Pass { store: &mut store, batch_tokens: 2048, progress: &Silent };
    let requests =
        || task.questions.iter().flat_map(|question| question.requests.iter().map(|it| (question.id.clone(), it)));
    let asked: Vec<(String, ScoreRequest)> = requests()
        .filter_map(|(id, request)| match request {
            Request::Loglikelihood { context, continuation } => {
                Some((id, split_tokens(tokenizer, context, continuation).expect("splits")))
            }
            _ => None,
        })
        .collect();
    let texts: Vec<(String, &str)> = requests()
        .filter_map(|(id, request)| match request {
            Request::Rolling { text } => Some((id, text.as_str())),
            _ => None,
        })
        .collect();
    let mut scores = score_requests(checkpoint, &asked, &mut pass).expect("scores").into_iter();
    let mut rolled = score_texts(checkpoint, &texts, &mut pass).expect("scores").into_iter();
    let mut respond = |request: &Request| match request {
        Request::Rolling { .. } => {
            let (loglikelihood, tokens) = rolled.next().expect("a score");
            Response::Rolling { loglikelihood, tokens }
        }
        _ => {
            let score = scores.next().expect("a score");
            let logprobs = vec![(score.loglikelihood / score.num_tokens as f64) as f32; score.num_tokens];
            Response::Loglikelihood { loglikelihood: score.loglikelihood, is_greedy: score.is_greedy, logprobs }
        }
    };
    task.questions
        .iter()
        .map(|question| Answered {
            responses: question.requests.iter().map(&mut respond).collect(),
            question: question.clone(),
            filtered: BTreeMap::new(),
        })
        .collect()
}

/// lm-eval's key of a metric.
fn key(metric: &str) -> String {
    match metric {
        "truthfulqa.mc1@lm-eval" | "truthfulqa.mc2@lm-eval" => "acc,none".into(),
        _ => format!("{},none", metric.split('@').next().unwrap_or_default()),
    }
}

#[test]
fn prompts_are_those_of_lm_eval_and_so_are_scores() {
    let Some(shared) = shared_dir() else { return };
    let golden = json(&fixtures().join("golden.json"));
    let model =
        LanguageModel::load(&shared.join("data/models/stories260K"), &LoadOptions::default()).expect("stories260K");
    let runs = golden["runs"].as_object().expect("runs");
    assert_eq!(runs.len(), 14);
    let (mut compared, mut likelihoods) = (0, 0);
    for (name, run) in runs {
        let task = read(run, &shared);
        if run["num_fewshot"].as_u64() > Some(0) && run["splits"].as_object().is_some_and(|splits| splits.len() == 1) {
            // lm-eval may draw the question itself, with its answer, where a task has one split alone; here it never is.
            for question in &task.questions {
                let Request::Loglikelihood { context, .. } = &question.requests[0] else { panic!("{name}") };
                let asked = context.rsplit("\n\n").next().expect("the question").trim_end_matches("Answer:");
                assert_eq!(context.matches(asked).count(), 1, "{name}, document {}", question.doc_id);
            }
            continue;
        }
        let samples = run["samples"].as_array().expect("samples");
        assert_eq!(task.questions.len(), samples.len(), "{name}");
        let mut joined = String::new();
        for (question, sample) in task.questions.iter().zip(samples) {
            let found = hashes(question);
            for (found, part) in found.iter().zip(["doc", "prompt", "target"]) {
                assert_eq!(Some(found.as_str()), sample[part].as_str(), "{name}, document {}: {part}", question.doc_id);
            }
            joined.push_str(&found.concat());
        }
        assert_eq!(Some(hash(&joined).as_str()), run["task_hash"].as_str(), "{name}");
        let mut answered = answer(&model, &task);
        for (one, sample) in answered.iter_mut().zip(samples) {
            let golden = numbers(&sample["loglikelihoods"]);
            assert_eq!(golden.len(), one.responses.len(), "{name}");
            for ((response, request), golden) in one.responses.iter_mut().zip(&one.question.requests).zip(golden) {
                // A text that begins with a space is cut into other tokens by transformers 5, which puts a space before it by
                // a rule of its own instead of this tokenizer's, and lm-eval rolls over a text with a second BOS.
                let comparable = matches!(request, Request::Loglikelihood { context, .. } if !context.is_empty());
                match response {
                    Response::Loglikelihood { loglikelihood, .. } | Response::Rolling { loglikelihood, .. } => {
                        let difference = (*loglikelihood - golden).abs();
                        assert!(
                            !comparable || difference < 1e-4 * golden.abs().max(1.0),
                            "{name}: {loglikelihood} {golden}"
                        );
                        likelihoods += usize::from(comparable);
                        *loglikelihood = golden;
                    }
                    Response::Text { .. } => {}
                }
            }
        }
        for metric in &task.metrics {
            let samples = (task_metric(&metric.id).expect("known").collect)(&answered, metric).expect("collects");
            let value = samples[0].statistic.evaluate(&samples[0].items).expect("defined");
            let key = key(&metric.id);
            let golden = run["metrics"][&key].as_f64().unwrap_or_else(|| panic!("{name}: {key}"));
            assert!((value - golden).abs() < 1e-9 * golden.max(1.0), "{name}: {key} {value} {golden}");
            compared += 1;
        }
    }
    assert!(compared >= 17 && likelihoods > 200, "{compared} metrics, {likelihoods} log-likelihoods");
}

/// What stories260K is known to do on real data: BLiMP's whole paradigms, and real texts over rolling windows.
#[test]
fn real_data_are_read_whole_and_scored() {
    let Some(shared) = shared_dir() else { return };
    let folder = shared.join("data/language/blimp");
    let model =
        LanguageModel::load(&shared.join("data/models/stories260K"), &LoadOptions::default()).expect("stories260K");
    let mut paradigms = 0;
    for entry in std::fs::read_dir(&folder).expect("BLiMP") {
        let id = format!("blimp_{}", entry.expect("entry").path().file_stem().expect("a name").to_string_lossy());
        let task = built_in(&id).expect(&id).read(&Source::new(&id, &folder)).expect(&id);
        assert_eq!((task.questions.len(), task.documents, task.bad_rows.len()), (1000, 1000, 0), "{id}");
        paradigms += 1;
    }
    assert_eq!(paradigms, 12);
    let mut task = built_in("blimp_principle_A_case_1").expect("known").read(&Source::new("", &folder)).expect("read");
    task.questions.truncate(60);
    let answered = answer(&model, &task);
    let sample = (task_metric("acc@lm-eval").expect("known").collect)(&answered, &MetricUse::plain("acc@lm-eval"));
    let sample = sample.expect("collects").remove(0);
    let value = sample.statistic.evaluate(&sample.items).expect("defined");
    assert!(value > 0.95, "the shared data's README has 1.00 on the whole paradigm: {value}");

    let stories = std::fs::read_dir(shared.join("data/text/tinystories")).expect("stories");
    let path = stories
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "jsonl"));
    let path = path.expect("a JSONL file");
    let mut task = built_in("texts").expect("known").read(&Source::new("texts", &path)).expect("read");
    assert_eq!(task.questions.len(), 800);
    task.questions.truncate(10);
    let answered = answer(&model, &task);
    let value = |metric: &str| {
        let sample = (task_metric(metric).expect("known").collect)(&answered, &MetricUse::plain(metric));
        let sample = sample.expect("collects").remove(0);
        sample.statistic.evaluate(&sample.items).expect("defined")
    };
    let (bits, byte) = (value("bits_per_byte@lm-eval"), value("byte_perplexity@lm-eval"));
    assert!((byte.log2() - bits).abs() < 1e-12, "{bits} {byte}");
    assert!(bits > 0.5 && bits < 1.5, "a model of these stories needs about one bit a byte: {bits}");
}
