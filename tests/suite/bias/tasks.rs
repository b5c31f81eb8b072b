//! Every task of bias data sets, read from real files or from small ones of the same form, asked of a real model and measured with all of
//! its metrics. What the model says of these data is not of interest here (it is far too small for most); that everything is asked,
//! answered and counted is.

use std::path::{Path, PathBuf};

use counterpath::base::Silent;
use counterpath::harness::HarnessError;
use counterpath::harness::builtin::{Source, built_in};
use counterpath::harness::metric::task_metric;
use counterpath::harness::question::{Answered, Question, Request, Response};
use counterpath::harness::task::Task;
use counterpath::model::generate::{Choice, Stop, generate};
use counterpath::model::{LanguageModel, LoadOptions, Special, split_tokens};
use counterpath::trust::metric::Sample;
use counterpath::trust::scoring::{Checkpoint, NamedRequest, Pass, score_named};
use counterpath::trust::store::ScoreStore;

use super::{fixture, samples, value, with_interval};
use crate::shared::shared_dir;

fn read(id: &str, path: &Path) -> Task {
    built_in(id).expect("a task").read(&Source::new(id, path)).unwrap_or_else(|error| panic!("{id}: {error}"))
}

fn refused(id: &str, path: &Path) -> HarnessError {
    built_in(id).expect("a task").read(&Source::new(id, path)).map(|task| task.id).expect_err("refused")
}

/// What the model says to the first `limit` questions, each request once and unshared.
fn ask(model: &LanguageModel, questions: &[Question]) -> Vec<Answered> {
    let tokenizer = model.tokenizer().expect("tokenizer");
    let mut requests = Vec::new();
    for question in questions {
        for request in &question.requests {
            if let Request::Loglikelihood { context, continuation } = request {
                let request = split_tokens(tokenizer, context, continuation)
                    .unwrap_or_else(|error| panic!("{}: {error}", question.id));
                requests.push(NamedRequest { name: question.id.clone(), adapter: None, request });
            }
        }
    }
    let mut store = ScoreStore::in_memory();
    let mut pass = Pass { store: &mut store, batch_tokens: 2048, progress: &Silent };
    let scores = score_named(Checkpoint { model, adapter: None }.into(), &requests, &mut pass).expect("scores");
    let mut scores = scores.into_iter();
    let mut respond = |request: &Request| match request {
        Request::Loglikelihood { .. } => {
            let score = scores.next().expect("a score");
            let mean = (score.loglikelihood / score.num_tokens as f64) as f32;
            Response::Loglikelihood {
                loglikelihood: score.loglikelihood,
                is_greedy: score.is_greedy,
                logprobs: vec![mean; score.num_tokens],
            }
        }
        Request::Generate { context, generation } => {
            let prompt = tokenizer.encode(context, Special::Default).expect("tokens").ids;
            let limit = generation.max_tokens.min(12);
            let tokens = generate(model, &prompt, limit, &Choice::Greedy, Stop::AtEnd).expect("text");
            Response::Text { text: tokenizer.decode(&tokens).expect("text") }
        }
        Request::Rolling { .. } => panic!("no task of this folder asks for whole texts"),
    };
    let answer = |question: &Question| Answered {
        question: question.clone(),
        responses: question.requests.iter().map(&mut respond).collect(),
        filtered: [].into(),
    };
    questions.iter().map(answer).collect()
}

fn stories() -> Option<LanguageModel> {
    let folder = shared_dir()?.join("data/models/stories260K");
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("model"))
}

/// Asks up to `limit` questions and computes every metric of the task: each has a population with items, and a finite value or a reason.
fn measured(model: &LanguageModel, task: &Task, limit: usize) -> Vec<Answered> {
    let questions = &task.questions[..task.questions.len().min(limit)];
    let answered = ask(model, questions);
    for metric in &task.metrics {
        let found: Vec<Sample> = (task_metric(&metric.id).expect("a metric").collect)(&answered, metric)
            .unwrap_or_else(|error| panic!("{} of {}: {error}", metric.id, task.id));
        assert!(!found.is_empty(), "{} of {} has no population", metric.id, task.id);
        for sample in found.iter().take(2) {
            assert!(!sample.items.is_empty(), "{} of {}: {}", metric.id, task.id, sample.population);
            let estimate = with_interval(sample);
            assert!(
                estimate.value.is_some_and(f64::is_finite) || estimate.undefined.is_some(),
                "{} of {}: {estimate:?}",
                metric.id,
                task.id
            );
        }
    }
    answered
}

fn data(name: &str) -> Option<PathBuf> {
    Some(shared_dir()?.join("data").join(name))
}

#[test]
fn bbq_is_asked_in_every_form() {
    let (Some(model), Some(path)) = (stories(), data("fairness/bbq/Age.jsonl")) else { return };
    for id in ["bbq", "bbq_given_options", "bbq_letters"] {
        let task = read(id, &path);
        assert_eq!(task.questions.len(), 3680);
        let answered = measured(&model, &task, 60);
        assert_eq!(value("bbq.unread", &answered, "all"), Ok(0.0), "{id}");
    }
    for (id, condition) in [("bbq_ambig", "ambig"), ("bbq_disambig", "disambig")] {
        let task = read(id, &path);
        assert_eq!(task.questions.len(), 1840);
        assert!(task.questions.iter().all(|question| question.column("context_condition") == Some(condition)));
    }
    let generated = measured(&model, &read("bbq_generate", &path), 16);
    // A model of stories answers with stories: what cannot be read is counted, not dropped.
    let unread = value("bbq.unread", &generated, "all").expect("defined");
    let note = samples("bbq.accuracy@lm-eval", &generated)[0].note.clone();
    assert_eq!(unread > 0.0, note.is_some_and(|note| note.contains("no option was found")), "{unread}");
    // Templates are clusters.
    let clusters: std::collections::BTreeSet<&str> =
        read("bbq", &path).questions.iter().map(|question| question.cluster.clone().leak() as &str).collect();
    assert_eq!(clusters.len(), 25);
}

#[test]
fn a_folder_of_bbq_is_all_its_categories_and_reads_the_authors_metadata() {
    let folder = std::env::temp_dir().join(format!("counterpath-bbq-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    for name in ["Age.jsonl", "Gender_identity.jsonl"] {
        std::fs::copy(fixture("bbq").join(name), folder.join(name)).expect("copied");
    }
    let header = "category,question_index,example_id,target_loc,label_type\n";
    let rows = "Age,1,0,2,label\nAge,1,1,,label\nGender_identity,1,0,1,name\n";
    std::fs::write(folder.join("additional_metadata.csv"), format!("{header}{rows}")).expect("written");
    let task = read("bbq_given_options", &folder);
    std::fs::remove_dir_all(&folder).expect("removed");
    let column = |id: &str, name: &str| {
        let question = task.questions.iter().find(|question| question.id == id).expect("a question");
        question.column(name).map(str::to_owned)
    };
    assert_eq!(column("Age/0", "target_loc").as_deref(), Some("2"));
    assert_eq!(column("Age/1", "target_loc").as_deref(), Some(""));
    assert_eq!(column("Gender_identity/0", "label_type").as_deref(), Some("name"));
    assert_eq!(task.documents, 12);
}

#[test]
fn crows_pairs_is_asked_whole_and_by_shared_words() {
    let (Some(model), Some(path)) = (stories(), data("fairness/crows-pairs/crows_pairs_anonymized.csv")) else {
        return;
    };
    let task = read("crows_pairs_english", &path);
    assert_eq!(task.questions.len(), 1508);
    let answered = measured(&model, &task, 200);
    let by_type = samples("crows_pairs.pct_stereotype@lm-eval", &answered);
    assert!(by_type.iter().any(|sample| sample.population == "bias_type=race-color"));
    let task = read("crows_pairs_shared_words", &path);
    let answered = measured(&model, &task, 100);
    let last = task.questions.iter().filter(|question| question.column("shared_spans") == Some("0")).count();
    assert_eq!((task.questions.len(), last), (1508, 147));
    let neutral = samples("crows_pairs.pct_stereotype@shared-words", &answered)[0].note.clone();
    assert!(neutral.is_some_and(|note| note.contains("pairs are neutral")));
    // The original's span: "black" and "white" differ, and what follows is what is scored.
    let Request::Loglikelihood { context, continuation } = &task.questions[0].requests[2] else { panic!("a span") };
    assert!(context.ends_with("most black") && continuation.starts_with(" kids don't"), "{context:?} {continuation:?}");
}

#[test]
fn stereoset_is_asked_within_and_between_sentences() {
    let Some(model) = stories() else { return };
    let task = read("stereoset_intrasentence", &fixture("stereoset/dev.json"));
    let answered = measured(&model, &task, usize::MAX);
    assert_eq!((answered.len(), task.questions[1].choices[0].as_str()), (9, "The schoolgirl wore a skirt."));
    let task = read("stereoset_intersentence", &fixture("stereoset/dev.json"));
    assert!(task.questions.iter().all(|question| question.requests.len() == 6));
    measured(&model, &task, usize::MAX);
}

#[test]
fn winobias_is_pairs_with_and_against_the_stereotype() {
    let (Some(model), Some(path)) = (stories(), data("fairness/winobias")) else { return };
    let task = read("winobias", &path);
    assert_eq!((task.questions.len(), task.documents), (4 * 396, 4 * 396));
    let first = &task.questions[0];
    assert_eq!((first.id.as_str(), first.cluster.as_str()), ("type1/001/pro", "type1/001"));
    assert_eq!(first.choices, ["developer", "designer"]);
    let Request::Loglikelihood { context, .. } = &first.requests[0] else { panic!("a request") };
    assert!(context.ends_with("because he did not like the design. ‘He’ refers to the"), "{context}");
    // Pro and anti differ in the pronoun alone, so right and wrong occupations are the same.
    for question in task.questions.iter().filter(|question| question.column("condition") == Some("pro")) {
        let other = question.id.replace("/pro", "/anti");
        let other = task.questions.iter().find(|question| question.id == other).expect("the counterpart");
        assert_eq!((&question.choices, &question.target), (&other.choices, &other.target), "{}", question.id);
        assert_ne!(question.column("gender"), other.column("gender"), "{}", question.id);
    }
    let chosen: Vec<Question> = task.questions.iter().filter(|question| question.doc_id % 11 == 0).cloned().collect();
    let part = Task { questions: chosen, ..task };
    measured(&model, &part, usize::MAX);
}

#[test]
fn winogender_knows_its_gotchas() {
    let Some(model) = stories() else { return };
    let task = read("winogender_all", &fixture("winogender"));
    assert_eq!(task.questions.len(), 12);
    let gotcha = |id: &str| {
        let question = task.questions.iter().find(|question| question.id.starts_with(id)).expect("a question");
        question.column("gotcha").map(str::to_owned)
    };
    // The occupation is meant and the pronoun is the minority's; the participant is meant and the pronoun is the majority's.
    assert_eq!(gotcha("nurse.patient.0.male").as_deref(), Some("yes"));
    assert_eq!(gotcha("nurse.patient.0.female").as_deref(), Some("no"));
    assert_eq!(gotcha("technician.customer.1.male").as_deref(), Some("yes"));
    assert_eq!(gotcha("technician.customer.1.neutral"), None);
    let answered = measured(&model, &task, usize::MAX);
    let note = samples("winogender.gotcha_gap", &answered)[0].note.clone().expect("a note");
    assert!(note.starts_with("4 sentences are neither"), "{note}");
}

#[test]
fn hans_is_counted_by_heuristic_and_label() {
    let Some(model) = stories() else { return };
    for id in ["hans", "hans_three_labels"] {
        let task = read(id, &fixture("hans"));
        let answered = measured(&model, &task, usize::MAX);
        let populations = samples("hans.accuracy", &answered);
        let cells = populations.iter().filter(|sample| sample.population.starts_with("heuristic=")).count();
        assert_eq!((answered.len(), cells), (12, 6), "{id}");
    }
}

#[test]
fn revised_reviews_and_inferences_come_in_families() {
    let (Some(model), Some(path)) = (stories(), data("robustness/cad")) else { return };
    let reviews = read("cad_sentiment", &path.join("sentiment/dev_paired.tsv"));
    assert_eq!(reviews.questions.len(), 490);
    let short: Vec<Question> = reviews
        .questions
        .iter()
        .filter(|question| question.doc["Text"].as_str().is_some_and(|t| t.len() < 600))
        .cloned()
        .collect();
    let part = Task { questions: short, ..reviews };
    measured(&model, &part, 20);
    let inferences = read("cad_nli", &path.join("nli"));
    assert_eq!(inferences.questions.len(), 1000);
    let families: Vec<Question> = inferences
        .questions
        .iter()
        .filter(|question| question.cluster.parse::<usize>().is_ok_and(|f| f < 12))
        .cloned()
        .collect();
    let part = Task { questions: families, ..inferences };
    let answered = measured(&model, &part, usize::MAX);
    let consistency = &samples("contrast.consistency", &answered)[0];
    assert_eq!((answered.len(), consistency.items.len()), (60, 12));
    let populations = samples("contrast.accuracy", &answered);
    assert!(populations.iter().any(|sample| sample.population == "revised=premise"));
    // Families of inference as counterfactuals of their originals: what the answer's distribution does.
    let proxy = value("counterfactual.individual_fairness_proxy", &answered, "all").expect("defined");
    assert!((0.0..=1.0).contains(&proxy), "{proxy}");
    assert!(value("counterfactual.token_fairness_gap@all-pairs", &answered, "all").is_ok());
}

#[test]
fn contrast_sets_are_read_from_their_folders() {
    let Some(model) = stories() else { return };
    let task = read("contrast_imdb", &fixture("contrast_imdb"));
    assert_eq!(task.questions.len(), 12);
    measured(&model, &task, usize::MAX);
    let task = read("contrast_boolq", &fixture("boolq_perturbed.json"));
    // Three families: the header entry and the empty edit are no questions.
    assert_eq!(task.questions.len(), 8);
    measured(&model, &task, usize::MAX);
}

#[test]
fn open_generations_are_measured_with_and_without_scores() {
    let Some(model) = stories() else { return };
    let bold = read("bold", &fixture("gender_prompt.json"));
    assert_eq!((bold.questions.len(), bold.questions[0].column("group")), (8, Some("American_actors")));
    measured(&model, &bold, usize::MAX);
    let toxic = read("real_toxicity_prompts", &fixture("real_toxicity.jsonl"));
    assert_eq!(toxic.questions[0].requests.len(), 25);
    let few: Vec<Question> = toxic
        .questions
        .iter()
        .map(|question| Question { requests: question.requests[..2].to_vec(), ..question.clone() })
        .collect();
    let mut answered = measured(&model, &Task { questions: few, ..toxic }, usize::MAX);
    let path = std::env::temp_dir().join(format!("counterpath-toxicity-{}.jsonl", std::process::id()));
    let line = |index: usize| format!("{{\"id\": \"{index}\", \"scores\": [0.{index}, 0.1]}}\n");
    std::fs::write(&path, (0..8).map(line).collect::<String>()).expect("written");
    let attached =
        counterpath::harness::metric::bias::attach_scores(&mut answered, &path, "toxicity").expect("attached");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(attached, 8);
    let maximum = value("generation.expected_maximum", &answered, "all").expect("defined");
    assert!((maximum - (0.1 + 0.1 + 0.2 + 0.3 + 0.4 + 0.5 + 0.6 + 0.7) / 8.0).abs() < 1e-12, "{maximum}");
    let rated = read("real_toxicity_continuations", &fixture("real_toxicity.jsonl"));
    let answered = measured(&model, &rated, usize::MAX);
    let note = samples("continuation.toxic_gap", &answered)[0].note.clone().expect("a note");
    assert!(note.starts_with("1 continuations were not rated"), "{note}");
}

#[test]
fn pronouns_follow_professions_or_not() {
    let (Some(model), Some(path)) = (stories(), data("fairness")) else { return };
    let task = read("vig_professions", &path.join("vig-cma/experiment_data/professions.json"));
    assert_eq!(task.questions.len() % 17, 0);
    let some: Vec<Question> = task.questions.iter().filter(|question| question.doc_id % 9 == 0).cloned().collect();
    let answered = measured(&model, &Task { questions: some, ..task }, usize::MAX);
    assert!(answered.len() > 400, "{}", answered.len());
    let neutral = value("professions.correlation@log_odds", &answered, "definitional=0").expect("defined");
    assert!(neutral.abs() <= 1.0);
    let task = read("dama_professions", &path.join("dama/train_dama.json"));
    assert_eq!(task.questions.len(), 2409);
    measured(&model, &task, 300);
}

#[test]
fn facts_names_and_word_pairs_are_asked() {
    let (Some(model), Some(path)) = (stories(), data("mediation")) else { return };
    let ioi = read("ioi", &path.join("ioi/ioi_dual_path.json"));
    assert_eq!((ioi.questions.len(), ioi.questions[0].choices.join(" ")), (841, "Deanna Eleanor".to_owned()));
    measured(&model, &ioi, 100);
    let facts = read("rome_knowns", &fixture("known_1000.json"));
    measured(&model, &facts, usize::MAX);
    let pairs = read("word_pairs", &path.join("function-vectors/country-capital.json"));
    assert_eq!(pairs.num_fewshot, 10);
    let Request::Loglikelihood { context, continuation } = &pairs.questions[0].requests[0] else { panic!("a request") };
    assert_eq!((context.matches("\nA: ").count(), continuation.as_str()), (10, " Kabul"));
    assert!(context.ends_with("Q: Afghanistan\nA:") && !context.contains("Kabul"), "{context}");
    measured(&model, &pairs, 20);
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let write = |name: &str, text: &str| {
        let path = std::env::temp_dir().join(format!("counterpath-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("written");
        path
    };
    let bbq = std::fs::read_to_string(fixture("bbq").join("Age.jsonl")).expect("a file");
    let path = write("bbq.jsonl", &bbq.replacen("\"nonneg\"", "\"positive\"", 1));
    let error = refused("bbq", &path).to_string();
    assert!(error.contains("question_polarity") && error.contains("\"positive\" is neither neg nor nonneg"), "{error}");
    let source = Source { max_bad_rows: 1, ..Source::new("bbq", &path) };
    let task = built_in("bbq").expect("a task").read(&source).expect("one bad row is allowed");
    assert_eq!((task.questions.len(), task.bad_rows.len()), (3, 1));
    std::fs::remove_file(path).expect("removed");
    let path = write(
        "ioi.jsonl",
        "{\"prompt\": \"Ann met Bob. Ann gave it to\", \"answer\": \"Bob\"}\n{\"prompt\": \"It rains\", \"answer\": \"Bob\"}\n",
    );
    let error = refused("ioi", &path).to_string();
    assert!(error.contains("line 2") && error.contains("no name but \"Bob\" stands twice"), "{error}");
    std::fs::remove_file(path).expect("removed");
    let path = fixture("crows_pairs.csv");
    let examples = Source { num_fewshot: Some(2), ..Source::new("crows_pairs_english", &path) };
    let error =
        built_in("crows_pairs_english").expect("a task").read(&examples).map(|task| task.id).expect_err("refused");
    assert!(error.to_string().contains("without examples"), "{error}");
}
