//! Logs of lm-evaluation-harness and inspect_ai, as they themselves wrote them (`scripts/log_fixtures.py`).

use std::path::{Path, PathBuf};

use counterpath::base::Seed;
use counterpath::compare::{CompareError, CompareSettings, OnMismatch, Test, align_items, compare};
use counterpath::record::import::{ImportOptions, Imported, LogFormat, import};
use counterpath::stats::{Direction, ErrorKind, MetricScore, Statistic, standard_error};
use serde_json::Value;

use crate::shared::json;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logs").join(name)
}

fn read(path: &Path, cluster: Option<&str>) -> Imported {
    let options = ImportOptions { cluster: cluster.map(str::to_owned), ..ImportOptions::default() };
    import(path, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path, cluster: Option<&str>) -> String {
    let options = ImportOptions { cluster: cluster.map(str::to_owned), ..ImportOptions::default() };
    import(path, &options).expect_err("refused").to_string()
}

/// A file of its own with the lines of a fixture, changed.
fn changed(name: &str, from: &str, change: impl Fn(usize, &str) -> String) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-logs-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("scratch");
    let path = folder.join(Path::new(from).file_name().expect("name"));
    let text = std::fs::read_to_string(fixture(from)).expect("fixture");
    let lines: String = text.lines().enumerate().map(|(at, line)| change(at + 1, line) + "\n").collect();
    std::fs::write(&path, lines).expect("write");
    path
}

const CHOICES: &str = "lm-eval/A/samples_story_choices.jsonl";

#[test]
fn every_value_is_the_one_that_lm_eval_reports() {
    for run in ["A", "B", "few-shot"] {
        let imported = read(&fixture("lm-eval").join(run), None);
        assert_eq!(imported.format, LogFormat::LmEvalSamples);
        let reported = json(&fixture("lm-eval").join(run).join("results.json"));
        let mut checked = 0;
        for (task, values) in reported["results"].as_object().expect("tasks") {
            for (key, value) in values.as_object().expect("metrics") {
                let Some((metric, filter)) = key.split_once(',').filter(|(name, _)| !name.ends_with("_stderr")) else {
                    continue;
                };
                let name =
                    if filter == "none" { format!("{metric}@lm-eval") } else { format!("{metric},{filter}@lm-eval") };
                let score = imported.record.score(&name, task).unwrap_or_else(|| panic!("{run}: {name} of {task}"));
                let (found, wanted) = (score.estimate.value.expect("defined"), value.as_f64().expect("number"));
                // The probabilities of a Brier score are printed with nine digits.
                assert!((found - wanted).abs() < 1e-8 * wanted.abs().max(1.0), "{run} {key}: {found} against {wanted}");
                let error = values[format!("{metric}_stderr,{filter}")].as_f64();
                if let (Some(error), Statistic::Mean | Statistic::Share) = (error, &score.statistic) {
                    let own = standard_error(&score.items, ErrorKind::Naive).expect("items");
                    assert!((own - error).abs() < 1e-12, "{run} {key}: {own} against {error}");
                }
                checked += 1;
            }
        }
        assert_eq!(checked, if run == "few-shot" { 4 } else { 9 }, "{run}");
    }
}

#[test]
fn every_value_is_the_one_that_inspect_reports() {
    for (log, epochs) in [("a", 1), ("b", 1), ("sampled", 2)] {
        let path = fixture("inspect").join(format!("{log}.json"));
        let imported = read(&path, Some("metadata.family"));
        assert_eq!(imported.format, LogFormat::Inspect);
        let reported = json(&path);
        assert_eq!(reported["samples"].as_array().expect("samples").len(), 24 * epochs);
        for score in reported["results"]["scores"].as_array().expect("scores") {
            let (name, scorer) = (score["name"].as_str().expect("name"), score["scorer"].as_str().expect("scorer"));
            let metric = if name == scorer { format!("{name}@inspect") } else { format!("{scorer}.{name}@inspect") };
            let own = imported.record.score(&metric, "stories").unwrap_or_else(|| panic!("{metric}"));
            assert_eq!((own.items.len(), own.estimate.clusters), (24, 12), "{metric}");
            for (kind, value) in score["metrics"].as_object().expect("metrics") {
                let wanted = value["value"].as_f64().expect("number");
                let found = match (kind.as_str(), value["params"]["cluster"].as_str()) {
                    ("stderr", Some("family")) => standard_error(&own.items, ErrorKind::Clustered),
                    ("stderr", _) => standard_error(&own.items, ErrorKind::Naive),
                    _ => own.estimate.value,
                };
                let found = found.expect("defined");
                assert!((found - wanted).abs() < 1e-12, "{log} {metric} {kind}: {found} against {wanted}");
            }
        }
    }
}

fn settings() -> CompareSettings {
    let mut settings = CompareSettings::new(Seed::new(1));
    settings.bootstrap.replicates = 500;
    settings
}

fn compared(runs: &[Imported]) -> counterpath::compare::Comparison {
    compare(&runs.iter().map(|run| &run.record).collect::<Vec<_>>(), &settings()).expect("comparable")
}

#[test]
fn two_runs_are_paired_by_document_and_clustered_by_a_column() {
    let runs = |cluster| {
        let mut runs = ["A", "B"].map(|run| read(&fixture("lm-eval").join(run), cluster));
        assert!(align_items(&mut runs, OnMismatch::Refuse, &settings().bootstrap).expect("same prompts").is_empty());
        compared(&runs)
    };
    let (by_item, by_story) = (runs(None), runs(Some("doc.question_index")));
    let row = |of: &'_ counterpath::compare::Comparison| {
        of.candidates[0].row("acc@lm-eval", "story_choices").expect("row").clone()
    };
    let (item, story) = (row(&by_item), row(&by_story));
    assert_eq!((item.difference.n, item.difference.clusters, story.difference.clusters), (24, 24, 12));
    assert_eq!(item.difference.value, story.difference.value);
    let flips = story.flips.as_ref().expect("0 or 1");
    assert_eq!(flips.gained.len() + flips.lost.len() + flips.unchanged, 24);
    let net = flips.gained.len() as f64 - flips.lost.len() as f64;
    assert!((net / 24.0 - story.difference.value.expect("value")).abs() < 1e-12);
    let exact = counterpath::stats::mcnemar_exact(flips.gained.len() as u64, flips.lost.len() as u64);
    assert_eq!(story.mcnemar, Some(exact));
    let perplexity = by_item.candidates[0].row("word_perplexity@lm-eval", "story_texts").expect("row");
    assert_eq!(perplexity.direction, Direction::Lower, "as the results beside the samples say");
    assert!(perplexity.mcnemar.is_none() && perplexity.difference.value.expect("value") > 0.0, "noise in the weights");
    let filters = ["exact_match,first-word@lm-eval", "exact_match,whole@lm-eval"];
    assert!(filters.iter().all(|metric| by_item.candidates[0].row(metric, "story_words").is_some()));
}

#[test]
fn other_prompts_are_refused_and_common_ones_kept_on_request() {
    let bootstrap = settings().bootstrap;
    let mut shots = [read(&fixture("lm-eval/A"), None), read(&fixture("lm-eval/few-shot"), None)];
    let error = align_items(&mut shots, OnMismatch::Refuse, &bootstrap).expect_err("other prompts").to_string();
    assert!(error.contains("24 items were asked differently") && error.contains("prompt_hash"), "{error}");
    assert!(matches!(align_items(&mut shots, OnMismatch::KeepCommon, &bootstrap), Err(CompareError::Prompts { .. })));
    // Two documents with another prompt, one that is not there, one with another target.
    let path = changed("common", CHOICES, |line, text| match line {
        3 | 4 => text.replace("\"prompt_hash\": \"", "\"prompt_hash\": \"0"),
        7 => text.replace("\"target_hash\": \"", "\"target_hash\": \"0"),
        9 => String::new(),
        _ => text.to_owned(),
    });
    let both = || [read(&fixture(CHOICES), None), read(&path, None)];
    let error = align_items(&mut both(), OnMismatch::Refuse, &bootstrap).expect_err("differ").to_string();
    assert!(
        error.contains("3 items were asked differently") && error.contains("--common compares the 20 items"),
        "{error}"
    );
    let mut kept = both();
    let notes = align_items(&mut kept, OnMismatch::KeepCommon, &bootstrap).expect("20 items");
    assert_eq!(notes, ["story_choices: restricted to the 20 of 24 items that all runs asked alike"]);
    let comparison = compared(&kept);
    let row = comparison.candidates[0].row("acc@lm-eval", "story_choices").expect("row");
    assert_eq!((row.difference.n, row.difference.value), (20, Some(0.0)));
    assert_eq!(row.baseline.n, 20, "the values themselves are those of the common items");
}

#[test]
fn results_without_items_are_compared_unpaired_and_say_so() {
    let runs = [read(&fixture("lm-eval/A/results.json"), None), read(&fixture("lm-eval/B"), None)];
    assert_eq!(runs[0].format, LogFormat::LmEvalResults);
    let comparison = compared(&runs);
    let row = comparison.candidates[0].row("acc@lm-eval", "story_choices").expect("row");
    assert_eq!(row.test, Some(Test::Unpaired));
    let caution = row.caution.as_ref().expect("caution");
    assert!(
        caution.starts_with("unpaired: `A` has no items") && caution.contains("samples_story_choices_"),
        "{caution}"
    );
    let reported = json(&fixture("lm-eval/A/results.json"));
    let error = reported["results"]["story_choices"]["acc_stderr,none"].as_f64().expect("error");
    let other = &runs[1].record.score("acc@lm-eval", "story_choices").expect("score").items;
    let joint = error.hypot(standard_error(other, ErrorKind::Clustered).expect("items"));
    assert!((row.standard_error.expect("error") - joint).abs() < 1e-12);
    // lm-eval has no error of a Brier score: nothing can be said.
    let brier = comparison.candidates[0].row("brier_score@lm-eval", "story_choices").expect("row");
    assert!(
        brier.difference.value.is_none()
            && brier.difference.undefined.as_ref().expect("reason").contains("standard error")
    );
    assert!(comparison.table().contains(" z"), "unpaired tests are marked");
}

#[test]
fn bad_lines_are_named_with_file_line_and_field() {
    let at = |name: &str, line: usize, change: &'static dyn Fn(&str) -> String| {
        changed(name, CHOICES, move |at, text| if at == line { change(text) } else { text.to_owned() })
    };
    let broken = refused(&at("broken", 5, &|text| text[..40].to_owned()), None);
    assert!(broken.contains("samples_story_choices.jsonl line 5"), "{broken}");
    let missing = refused(&at("missing", 2, &|text| text.replace("\"acc\": ", "\"accuracy\": ")), None);
    assert!(missing.contains("line 2: field `acc` is missing"), "{missing}");
    let null = refused(
        &at("null", 6, &|text| text.replace("\"acc\": 1.0", "\"acc\": null").replace("\"acc\": 0.0", "\"acc\": null")),
        None,
    );
    assert!(null.contains("line 6: field `acc` is null"), "{null}");
    let nan = refused(
        &at("nan", 6, &|text| text.replace("\"acc\": 1.0", "\"acc\": NaN").replace("\"acc\": 0.0", "\"acc\": NaN")),
        None,
    );
    assert!(nan.contains("line 6: field `acc` is null or NaN"), "{nan}");
    let twice = refused(&at("twice", 4, &|text| text.replace("\"doc_id\": 3", "\"doc_id\": 0")), None);
    assert!(twice.contains("line 4") && twice.contains("item `0`") && twice.contains("twice"), "{twice}");
    let cluster = refused(&fixture(CHOICES), Some("doc.story"));
    assert!(cluster.contains("line 1: field `doc.story` is missing"), "{cluster}");
    let inspect = refused(&fixture("inspect/a.json"), Some("metadata.story"));
    assert!(inspect.contains("samples[0].metadata.story"), "{inspect}");
    let unknown = refused(&fixture("../parity"), None);
    assert!(unknown.contains("without record.json and without samples_*.jsonl"), "{unknown}");
}

#[test]
fn what_inspect_did_not_score_is_counted_and_left_out() {
    // As inspect writes a score that is NaN: `NaN`, which is no JSON.
    let mut seen = 0;
    let text: String = std::fs::read_to_string(fixture("inspect/a.json"))
        .expect("log")
        .lines()
        .map(|line| {
            seen += usize::from(line.contains("\"value\": 12.0"));
            let unscored = line.contains("\"value\": 12.0") && seen == 1;
            if unscored { line.replace("12.0", "NaN") + "\n" } else { line.to_owned() + "\n" }
        })
        .collect();
    let path = std::env::temp_dir().join(format!("counterpath-logs-{}-unscored.json", std::process::id()));
    std::fs::write(&path, text).expect("write");
    let run = read(&path, None);
    assert_eq!(run.record.score("length@inspect", "stories").expect("score").items.len(), 23);
    assert!(run.notes.iter().any(|note| note.contains("1 values of `length` are unscored")), "{:?}", run.notes);
    // Another number of items is refused, not paired by chance.
    let row = compared(&[read(&fixture("inspect/b.json"), None), run]);
    let row = row.candidates[0].row("length@inspect", "stories").expect("row").clone();
    assert!(row.difference.undefined.expect("refused").contains("1 items are only in the"), "says what to do");
}

#[test]
fn what_the_command_line_says_of_a_metric_counts() {
    let mut options = ImportOptions::default();
    let score = |options: &ImportOptions| -> MetricScore {
        let run = import(&fixture("inspect/a.json"), options).expect("log");
        run.record.score("length@inspect", "stories").expect("score").clone()
    };
    assert_eq!(score(&options).direction, Direction::Descriptive, "the log does not say");
    options.directions.insert("length".into(), Direction::Lower);
    options.objectives.insert("length".into(), counterpath::stats::Objective::Robustness);
    let told = score(&options);
    assert_eq!((told.direction, told.objective), (Direction::Lower, counterpath::stats::Objective::Robustness));
}

#[test]
fn inspect_logs_that_are_written_are_read_again() {
    let folder = std::env::temp_dir().join(format!("counterpath-logs-{}-export", std::process::id()));
    let run = read(&fixture("lm-eval/A"), Some("doc.question_index"));
    let written = counterpath::record::export::inspect_logs(&run, &folder).expect("written");
    assert_eq!(written.len(), 3);
    for path in &written {
        let tree: Value = json(path);
        assert_eq!((tree["version"].as_u64(), tree["status"].as_str()), (Some(2), Some("success")));
        let again = read(path, None);
        for score in &again.record.scores {
            let name = score.metric.trim_end_matches("@inspect");
            let first = run.record.score(name, &score.population).expect("same metric");
            let values = |score: &MetricScore| {
                score.items.iter().map(|item| (item.id.clone(), item.cluster.clone(), item.value)).collect::<Vec<_>>()
            };
            assert_eq!(values(score), values(first), "{name}: items, clusters and values");
        }
    }
    let choices = json(&folder.join("story_choices.json"));
    assert!(choices["samples"][0]["input"].as_str().expect("input").contains("Once upon a time"));
    let results = &choices["results"]["scores"];
    let acc = results.as_array().expect("scores").iter().find(|score| score["name"] == "acc@lm-eval").expect("acc");
    assert_eq!(acc["metrics"]["mean"]["value"].as_f64(), Some(0.75));
    assert_eq!(acc["metrics"]["stderr"]["params"]["cluster"], "cluster");
}
