//! Prompts and parts that need no model; what lm-eval asks of the same rows is held in `tests/suite/standard_tasks.rs`.

use std::path::PathBuf;

use super::*;
use crate::harness::builtin::built_in;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/harness/standard").join(name)
}

fn read(id: &str, file: &str) -> Task {
    let path = fixture(file);
    built_in(id).expect(id).read(&Source::new(id, &path)).unwrap_or_else(|error| panic!("{id}: {error}"))
}

fn asked(task: &Task) -> Vec<&Request> {
    task.questions.iter().flat_map(|question| &question.requests).collect()
}

#[test]
fn released_files_ask_what_the_hubs_rows_ask() {
    for (id, released, hub) in [
        ("arc_easy", "arc/ARC-Challenge-Test.jsonl", "arc/ARC-Easy-hub.jsonl"),
        ("piqa", "piqa/valid.jsonl", "piqa/hub.jsonl"),
        ("boolq", "boolq/val.jsonl", "boolq/hub.jsonl"),
        ("boolq", "boolq/dev.jsonl", "boolq/hub.jsonl"),
        ("truthfulqa_mc1", "truthfulqa/mc_task.json", "truthfulqa/validation.jsonl"),
        ("truthfulqa_mc2", "truthfulqa/mc_task.json", "truthfulqa/validation.jsonl"),
        ("mmlu_anatomy", "mmlu/test/anatomy_test.csv", "mmlu/hub/test.jsonl"),
    ] {
        let (released, hub) = (read(id, released), read(id, hub));
        assert_eq!(asked(&released), asked(&hub), "{id}");
        let targets = |task: &Task| task.questions.iter().map(|question| question.target.clone()).collect::<Vec<_>>();
        assert_eq!(targets(&released), targets(&hub), "{id}");
        assert!(released.questions.len() == 8, "{id}");
    }
    // PIQA's, BoolQ's and MMLU's released rows are printed as the hub's.
    let docs =
        |id: &str, file: &str| read(id, file).questions.into_iter().map(|question| question.doc).collect::<Vec<_>>();
    assert_eq!(docs("piqa", "piqa/valid.jsonl"), docs("piqa", "piqa/hub.jsonl"));
    assert_eq!(docs("boolq", "boolq/val.jsonl"), docs("boolq", "boolq/hub.jsonl"));
    assert_eq!(docs("mmlu_anatomy", "mmlu/test/anatomy_test.csv"), docs("mmlu_anatomy", "mmlu/hub/test.jsonl"));
}

#[test]
fn folders_are_searched_for_the_tasks_own_files() {
    for (id, folder, documents) in [
        ("hellaswag", "hellaswag", 8),
        ("arc_challenge", "arc", 8),
        ("piqa", "piqa", 8),
        ("boolq", "boolq", 8),
        ("winogrande", "winogrande", 8),
        ("lambada_openai", "lambada", 8),
        ("truthfulqa_mc1", "truthfulqa", 8),
        ("mmlu_anatomy", "mmlu", 8),
        ("mmlu_anatomy", "mmlu/hub", 8),
        ("wikitext", "wikitext", 3),
    ] {
        assert_eq!(read(id, folder).documents, documents, "{id}");
    }
    let path = fixture("piqa");
    let error = built_in("hellaswag").expect("known").read(&Source::new("hellaswag", &path)).expect_err("not there");
    assert!(error.to_string().contains("hellaswag_val.jsonl"), "{error}");
}

#[test]
fn lines_of_plain_text_are_passages() {
    let task = read("lambada_standard", "lambada/lambada_test_plain_text.txt");
    assert_eq!(task.questions.len(), 8);
    let Some(Request::Loglikelihood { context, continuation }) = task.questions[1].requests.first() else {
        panic!("a log-likelihood")
    };
    assert!(context.ends_with("a big") && continuation == " fish", "{context:?} {continuation:?}");
}

#[test]
fn examples_come_from_the_file_that_is_given() {
    let (path, examples) = (fixture("mmlu/hub/test.jsonl"), fixture("mmlu/hub/dev.jsonl"));
    let task = |source: Source<'_>| built_in("mmlu_anatomy").expect("known").read(&source).expect("read");
    let first = |task: &Task| match task.questions[0].requests.first() {
        Some(Request::Loglikelihood { context, .. }) => context.clone(),
        _ => String::new(),
    };
    let five = task(Source::new("", &path));
    let two = task(Source { num_fewshot: Some(2), examples: Some(&examples), ..Source::new("", &path) });
    let none = task(Source { num_fewshot: Some(0), ..Source::new("", &path) });
    let count = |text: &str| text.matches("Answer:").count();
    assert_eq!([count(&first(&five)), count(&first(&two)), count(&first(&none))], [6, 3, 1]);
    assert!(
        first(&none)
            .starts_with("The following are multiple choice questions (with answers) about anatomy.\n\nWhich bone")
    );
    assert!(first(&two).contains("D. Brain\nAnswer: A\n\nBile is made by the\nA. lung"), "{}", first(&two));
    let alone = std::env::temp_dir().join(format!("counterpath-mmlu-{}", std::process::id())).join("test.jsonl");
    files::write_atomic(&alone, &files::read(&path, 1 << 20).expect("read")).expect("written");
    let error = built_in("mmlu_anatomy").expect("known").read(&Source::new("", &alone)).expect_err("no dev split");
    assert!(error.to_string().contains("five examples come from the dev split"), "{error}");
}

fn refused(id: &str, name: &str, row: &str) -> String {
    let path = std::env::temp_dir().join(format!("counterpath-standard-{}", std::process::id())).join(name);
    files::write_atomic(&path, row.as_bytes()).expect("written");
    built_in(id).expect(id).read(&Source::new(id, &path)).expect_err(id).to_string()
}

#[test]
fn labels_outside_the_options_and_missing_fields_name_line_and_field() {
    let endings = r#""ctx_a": "a", "ctx_b": "b", "activity_label": "c", "endings": ["x", "y"]"#;
    let error =
        refused("hellaswag", "label.jsonl", &format!("{{{endings}, \"label\": 1}}\n{{{endings}, \"label\": \"2\"}}\n"));
    assert!(error.contains("label.jsonl, line 2") && error.contains("label 2 is outside the 2 options"), "{error}");
    let error = refused("hellaswag", "missing.jsonl", "{\"ctx_a\": \"a\", \"label\": 0}\n");
    assert!(error.contains("field \"endings\": it is missing"), "{error}");
    let arc = r#"{"id": "q", "question": "w", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"}"#;
    assert!(refused("arc_easy", "key.jsonl", arc).contains("\"C\" is none of A, B"));
    let twice = arc.replace("\"C\"", "\"B\"");
    let error = refused("arc_easy", "twice.jsonl", &format!("{twice}\n{twice}\n"));
    assert!(error.contains("two questions have the id \"q\""), "{error}");
    let error =
        refused("winogrande", "blank.jsonl", r#"{"sentence": "none", "option1": "a", "option2": "b", "answer": "1"}"#);
    assert!(error.contains("has no blank"), "{error}");
    let error = refused("piqa", "alone.jsonl", r#"{"goal": "g", "sol1": "a", "sol2": "b"}"#);
    assert!(error.contains("alone-labels.lst") && error.contains("not beside them"), "{error}");
    let error = refused(
        "blimp_wh_island",
        "other.jsonl",
        r#"{"sentence_good": "a", "sentence_bad": "b", "UID": "wh_islands"}"#,
    );
    assert!(error.contains("did you mean \"wh_island\""), "{error}");
    let mc = r#"{"question": "q", "mc1_targets": {"choices": ["a", "b"], "labels": [0, 1]}, "mc2_targets": {"choices": ["a"], "labels": [0]}}"#;
    assert!(refused("truthfulqa_mc1", "mc1.jsonl", mc).contains("the first choice alone must be true"));
    assert!(refused("truthfulqa_mc2", "mc2.jsonl", mc).contains("no choice is true"));
    assert!(refused("lambada_openai", "space.jsonl", "{\"text\": \"ends \"}").contains("ends with a space"));
    assert!(refused("texts", "empty.jsonl", "{\"text\": \"\"}").contains("it is empty"));
}

#[test]
fn a_text_file_is_one_text() {
    let path = fixture("lambada/lambada_test_plain_text.txt");
    let task = built_in("texts").expect("known").read(&Source::new("texts", &path)).expect("read");
    assert_eq!(task.questions.len(), 1);
    assert!(matches!(asked(&task)[..], [Request::Rolling { text }] if text.lines().count() == 8));
}
