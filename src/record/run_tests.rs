use std::path::PathBuf;

use super::*;
use crate::stats::{Direction, Objective, Statistic};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("counterpath-record-{}-{name}.json", std::process::id()))
}

fn record() -> RunRecord {
    let model =
        ModelIdentity { source: "embedded".into(), family: "llama".into(), parameters: 7, digest: Digest::of(b"w") };
    let mut record = RunRecord::new("base", model, Versions { counterpath: "0.1.0".into(), candle: "0.11.1".into() });
    record.seeds.insert("run".into(), 7);
    record.scores.push(MetricScore {
        metric: "accuracy.exact".into(),
        version: 1,
        population: "hiring/train".into(),
        objective: Objective::Accuracy,
        unit: "share".into(),
        direction: Direction::Higher,
        statistic: Statistic::Mean,
        estimate: Estimate::undefined("no items", 0, 0),
        items: vec![Item { id: "a".into(), cluster: "c".into(), value: 0.1 + 0.2, group: None, weight: None }],
        note: String::new(),
    });
    record
}

#[test]
fn a_record_comes_back_as_it_was_and_its_bytes_do_not_move() {
    let file = path("round");
    record().save(&file).expect("save");
    let bytes = files::read(&file, 1 << 20).expect("read");
    let back = RunRecord::load(&file).expect("load");
    assert_eq!(back, record());
    back.save(&file).expect("save again");
    assert_eq!(files::read(&file, 1 << 20).expect("read"), bytes);
    assert_eq!(Digest::of(&bytes), record().digest().expect("digest"));
    files::remove(&file).expect("remove");
}

#[test]
fn a_newer_schema_is_refused_with_what_to_do() {
    let file = path("newer");
    files::write_atomic(&file, br#"{"schema": 2, "name": ["of", "another", "shape"]}"#).expect("write");
    let message = RunRecord::load(&file).expect_err("newer").to_string();
    assert!(message.contains("schema 2") && message.contains("update counterpath"), "{message}");
    files::remove(&file).expect("remove");
}

#[test]
fn foreign_and_broken_files_are_refused_by_name() {
    let file = path("foreign");
    files::write_atomic(&file, br#"{"results": {}}"#).expect("write");
    assert!(matches!(RunRecord::load(&file), Err(RecordError::NoSchema { .. })));
    files::write_atomic(&file, b"{\"schema\": 1,\n \"name\": 3}").expect("write");
    let message = RunRecord::load(&file).expect_err("broken").to_string();
    assert!(message.contains("foreign.json") && message.contains("line 2"), "{message}");
    files::remove(&file).expect("remove");
}

#[test]
fn a_number_that_is_none_is_refused_with_its_place() {
    for bad in [f64::NAN, f64::INFINITY] {
        let mut record = record();
        record.scores[0].items[0].value = bad;
        let message = record.save(&path("nan")).expect_err("not finite").to_string();
        assert!(message.contains("accuracy.exact") && message.contains("item a"), "{message}");
    }
}
