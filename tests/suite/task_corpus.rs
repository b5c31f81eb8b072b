//! Every task file of an installed lm-eval: how many run here, and for what the others are refused. Ignored, since it needs that
//! installation: `LM_EVAL_TASKS=…/lm_eval/tasks cargo test --test suite task_corpus -- --ignored --nocapture`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use counterpath::harness::HarnessError;
use counterpath::harness::template::Templates;
use counterpath::harness::yaml::field::Field;
use counterpath::harness::yaml::{Catalogue, Kind, TaskFile, tree};
use serde_json::Value;

/// What a task file comes to.
fn judged(path: &std::path::Path, templates: &Templates) -> (String, Option<String>) {
    let file = match tree::load(path) {
        Err(error) => return ("refused: the YAML cannot be read".into(), Some(error.to_string())),
        Ok(tree) => match TaskFile::new(tree, path) {
            Ok(file) => file,
            Err(HarnessError::Function { function, file, .. }) => {
                let folder = file.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
                return ("refused: Python".into(), Some(format!("{}/{function}", folder.to_string_lossy())));
            }
            Err(HarnessError::Task { message, .. }) => {
                let reason: String = message.split(['`', ':', '"']).next().unwrap_or_default().trim().to_owned();
                return (format!("refused: {reason}"), Some(message));
            }
            Err(error) => return ("refused: else".into(), Some(error.to_string())),
        },
    };
    for field in [&file.text, &file.target, &file.choice].into_iter().flatten() {
        if let Field::Text(text) = field
            && let Err(error) = templates.check(text)
        {
            return ("refused: a template".into(), Some(error));
        }
    }
    if let Some(metric) = file.metrics.iter().flatten().find(|metric| {
        file.process_results.is_none()
            && counterpath::harness::metric::task_metric(&format!("{}@lm-eval", metric.name)).is_err()
    }) {
        return ("refused: a metric".into(), Some(metric.name.clone()));
    }
    let functions = file.written.values().map(Value::to_string).any(|text| text.contains("!function"));
    (if functions { "runs with known functions" } else { "runs natively" }.into(), None)
}

#[test]
#[ignore = "needs the task files of an installed lm-eval: LM_EVAL_TASKS"]
fn every_task_file_of_lm_eval_is_read_or_refused_for_a_reason() {
    let folder = PathBuf::from(std::env::var_os("LM_EVAL_TASKS").expect("LM_EVAL_TASKS names the folder"));
    let started = Instant::now();
    let catalogue = Catalogue::scan(&[folder]).expect("names");
    println!(
        "index: {} names in {:.0} ms; {} files define nothing",
        catalogue.entries().count(),
        started.elapsed().as_secs_f64() * 1e3,
        catalogue.unread.len()
    );
    let templates = Templates::default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut details: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut total = 0;
    for (_, entry) in catalogue.entries().filter(|(_, entry)| entry.kind != Kind::Tag) {
        let Some(path) = &entry.path else { continue };
        let (what, detail) = match entry.kind {
            Kind::Group => ("group".to_owned(), None),
            Kind::Python => ("refused: a Python class".to_owned(), None),
            _ => judged(path, &templates),
        };
        total += usize::from(entry.kind != Kind::Group);
        *counts.entry(what.clone()).or_default() += 1;
        if let Some(detail) = detail {
            *details.entry(what).or_default().entry(detail.chars().take(140).collect()).or_default() += 1;
        }
    }
    println!("{total} tasks in {:.1} s", started.elapsed().as_secs_f64());
    for (what, count) in &counts {
        println!("{count:6}  {what}");
        let mut own: Vec<_> = details.get(what).into_iter().flatten().collect();
        own.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        own.into_iter().take(25).for_each(|(detail, count)| println!("        {count:6}  {detail}"));
    }
    let runs: usize = counts.iter().filter(|(what, _)| what.starts_with("runs")).map(|(_, count)| count).sum();
    assert!(total > 5_000 && runs * 4 > total, "{runs} of {total}");
}
