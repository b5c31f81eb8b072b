//! Work that is stopped, and goes on from what it had finished: sweeps and circuits.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use counterpath::base::{Digest, Progress, Seed, Silent, files};
use counterpath::intervene::path::{Ablation, PathRunner};
use counterpath::intervene::{Outcome, SiteKind, TokenPair};
use counterpath::mediate::attribution::{AttributionSpec, Method, MetricSign, edge_scores};
use counterpath::mediate::circuit::{
    AblationKind, CircuitFile, DiscoverSpec, Evaluator, Evidence, KeptRuns, Ranking, Rule, circuit_request, compare,
    discover, report, select, sensitivity,
};
use counterpath::mediate::{
    Grid, MediateError, Runner, SweepRow, SweepSpec, journal_path, sweep, sweep_kept, sweep_to_file,
};
use counterpath::model::LanguageModel;
use counterpath::stats::Bootstrap;

use super::mediate::{BOTH, plain_pairs, runner};
use super::paths;
use super::row_files::{parquet_rows, rows_as_values, without_null};
use super::tiny::tiny_model;

/// Asks to stop once so many units are done, and counts them.
struct StopAfter {
    done: AtomicU64,
    limit: u64,
}

impl StopAfter {
    fn new(limit: u64) -> Self {
        Self { done: AtomicU64::new(0), limit }
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

impl Progress for StopAfter {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }
    fn note(&self, _: &str) {}
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.done() >= self.limit
    }
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-resume-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder.join("effects.jsonl")
}

#[test]
fn a_stopped_sweep_goes_on_where_it_stopped() {
    let model = tiny_model(2);
    let pairs = plain_pairs(40, 2);
    let spec = SweepSpec::new(&[SiteKind::Z, SiteKind::MlpOut], Grid::EveryToken, &BOTH);
    let whole = scratch("whole");
    let expected = sweep_to_file(runner(&model), &pairs, &spec, None, &whole).expect("whole sweep");
    let output = scratch("resumed");
    let journal = journal_path(&output);
    let stopping = StopAfter::new(1000);
    let stopped = sweep_to_file(Runner { progress: &stopping, ..runner(&model) }, &pairs, &spec, None, &output);
    assert!(matches!(stopped, Err(MediateError::Interrupted)));
    assert!(!output.exists());
    let kept = std::fs::read_to_string(&journal).expect("journal");
    assert!(kept.lines().count() > 100 && kept.contains("\"done\":\"p0\"") && !kept.contains("\"done\":\"p39\""));
    // A pair that was cut off: its rows stand without their end, the last of them half written.
    let row = kept.lines().nth(1).expect("a row").replace("\"p0\"", "\"p20\"");
    std::fs::write(&journal, format!("{kept}{row}\n{}", &row[..20])).expect("a crash");
    let other = SweepSpec { outcome: Outcome::Probability, ..spec.clone() };
    let refused =
        sweep_to_file(runner(&model), &pairs, &other, None, &output).expect_err("another request").to_string();
    assert!(refused.contains("another request") && refused.contains("effects.jsonl.journal"), "{refused}");
    let resumed = sweep_to_file(runner(&model), &pairs, &spec, None, &output).expect("resumed");
    assert!(!journal.exists());
    assert_eq!(resumed, expected);
    let bytes = |path: &PathBuf| std::fs::read(path).expect("rows");
    assert!(bytes(&output) == bytes(&whole), "a sweep that was stopped gives the bytes of an unbroken one");
    assert_eq!(bytes(&whole).iter().filter(|byte| **byte == b'\n').count(), expected);
}

#[test]
fn parquet_holds_the_rows_of_a_sweep_and_survives_a_stop_at_any_byte() {
    let model = tiny_model(2);
    let pairs = plain_pairs(20, 2);
    let spec = SweepSpec::new(&[SiteKind::Z, SiteKind::MlpOut], Grid::EveryToken, &BOTH);
    let sweep = |progress: &dyn Progress, spec: &SweepSpec, output: &PathBuf| {
        sweep_to_file(Runner { progress, ..runner(&model) }, &pairs, spec, None, output)
    };
    let lines = scratch("lines");
    let [whole, output] = ["whole.parquet", "stopped.parquet"].map(|name| lines.with_file_name(name));
    for landmarks in [false, true] {
        let grid = if landmarks { Grid::Landmarks } else { Grid::EveryToken };
        let spec = SweepSpec { grid, ..spec.clone() };
        let count = sweep(&Silent, &spec, &lines).expect("JSONL");
        assert_eq!(sweep(&Silent, &spec, &whole).expect("Parquet"), count);
        let read = parquet_rows(&whole);
        assert_eq!(read.len(), count);
        // Heads are patched at all positions, MLPs as a whole: a null either way.
        assert!(read.iter().all(|row| row["head"].is_null() == row["position"].is_i64()));
        assert_eq!(read[0].contains_key("slot"), landmarks);
        let rows: Vec<SweepRow> = files::read_jsonl(&lines).expect("rows");
        assert!(without_null(read) == without_null(rows_as_values(&rows)), "Parquet and JSONL hold other values");
    }
    let spec = SweepSpec { grid: Grid::Landmarks, ..spec };
    let whole = std::fs::read(&whole).expect("bytes");
    let journal = journal_path(&output);
    let stopped = sweep(&StopAfter::new(330), &spec, &output);
    assert!(matches!(stopped, Err(MediateError::Interrupted)), "{stopped:?}");
    let kept = std::fs::read(&journal).expect("journal");
    // A kill may leave any part of what the journal holds.
    let first = 1 + kept.iter().position(|byte| *byte == b'\n').expect("a line");
    for cut in [0, 1, first, first + 1, (first + kept.len()) / 2, kept.len() - 1, kept.len()] {
        std::fs::write(&journal, &kept[..cut]).expect("a kill");
        sweep(&Silent, &spec, &output).expect("the rest");
        assert!(std::fs::read(&output).expect("bytes") == whole, "cut behind {cut} of {} bytes", kept.len());
        assert!(!journal.exists());
    }
}

#[test]
fn a_kept_sweep_is_read_and_not_run_again() {
    let model = tiny_model(2);
    let pairs = plain_pairs(40, 2);
    let spec = SweepSpec::new(&[SiteKind::Z, SiteKind::ResidPre], Grid::Landmarks, &BOTH);
    let fresh = sweep(runner(&model), &pairs, &spec).expect("sweep");
    let journal = scratch("kept");
    let kept =
        |progress: &dyn Progress| sweep_kept(Runner { progress, ..runner(&model) }, &pairs, &spec, None, &journal);
    let stopped = kept(&StopAfter::new(1000));
    assert!(matches!(stopped, Err(MediateError::Interrupted)));
    let first = kept(&Silent).expect("goes on");
    // Whoever stops at once would stop any pass.
    let again = kept(&StopAfter::new(0)).expect("only read");
    assert_eq!(first, again);
    assert_eq!(first.len(), fresh.len());
    for (a, b) in first.iter().zip(&fresh) {
        assert_eq!((a.pair, &a.site, a.direction), (b.pair, &b.site, b.direction));
        assert!((a.patched - b.patched).abs() < 1e-5);
    }
}

/// Everything that a circuit is judged by, run through a journal.
fn evaluated(
    (model, file): (&LanguageModel, &CircuitFile),
    pairs: &[TokenPair],
    progress: &dyn Progress,
    (keep, batch_bytes): (&Path, usize),
) -> Result<String, MediateError> {
    let mut runner = PathRunner::new(model)?;
    runner.batch_bytes = batch_bytes;
    let kept = KeptRuns::open(keep, &circuit_request(&[(model, None)], &[pairs], "evaluate"))?;
    let how = (Ablation::Counterfactual, Outcome::Contrast, MetricSign::Measured);
    let evaluator = Evaluator::keeping(&runner, pairs, how, progress, (&kept, None))?;
    let evidence = evidence();
    let found = report(&evaluator, file, &evidence)?;
    let spec = AttributionSpec { sign: MetricSign::Measured, ..AttributionSpec::new(Method::Gradient) };
    let others = sensitivity(&runner, (&file.circuit, pairs), &spec, &evidence.bootstrap, progress, (&kept, None))?;
    Ok(serde_json::to_string(&(found, others)).expect("JSON"))
}

fn evidence() -> Evidence {
    let bootstrap = Bootstrap { replicates: 100, level: 0.95, seed: Seed::new(3) };
    Evidence { ablation: AblationKind::Counterfactual, random: 5, edges: 4, bootstrap }
}

fn circuit_of(model: &LanguageModel, pairs: &[TokenPair]) -> CircuitFile {
    let scores = edge_scores(model, pairs, &AttributionSpec::new(Method::Gradient), &Silent).expect("scores");
    let circuit = select(&scores, Ranking::Absolute, Rule::Greedy { edges: 20 }).circuit;
    CircuitFile { circuit, scores }
}

#[test]
fn a_stopped_circuit_evaluation_goes_on_and_repeats_nothing() {
    let model = tiny_model(5);
    let pairs = paths::pairs(&model, 6, false);
    let file = circuit_of(&model, &pairs);
    let journal = scratch("circuit").with_extension("journal");
    let run =
        |progress: &dyn Progress, batch_bytes| evaluated((&model, &file), &pairs, progress, (&journal, batch_bytes));
    // All masks of a pair in one batch; then one mask a batch, so that a stop falls between masks of one pair.
    for batch_bytes in [256 << 20, 1] {
        let counted = StopAfter::new(u64::MAX);
        let whole = run(&counted, batch_bytes).expect("unbroken");
        let all = counted.done();
        // Whoever stops at once would stop any run.
        assert_eq!(run(&StopAfter::new(0), batch_bytes).expect("only read"), whole);
        files::remove(&journal).expect("removed");
        for limit in [1, all / 3, all / 2, all * 3 / 4] {
            let stopping = StopAfter::new(limit);
            let stopped = run(&stopping, batch_bytes);
            assert!(matches!(stopped, Err(MediateError::Interrupted)), "{limit} of {all}: {stopped:?}");
            // A kill in the middle of a line.
            let kept = std::fs::read(&journal).expect("journal");
            std::fs::write(&journal, [&kept[..], b"{\"run\":{\"of"].concat()).expect("a crash");
            let rest = StopAfter::new(u64::MAX);
            assert_eq!(run(&rest, batch_bytes).expect("resumed"), whole, "{limit} of {all}");
            let (before, behind) = (stopping.done(), rest.done());
            // At most one pair's masks are lost, of which the random circuits have the longest list: 2 · (5 + 5).
            let lost = before + behind - all;
            let may = if batch_bytes == 1 { 20 } else { 0 };
            assert!(lost <= may, "{before} and {behind} of {all}");
            files::remove(&journal).expect("removed");
        }
    }
    // The journal changes nothing, whatever it saves.
    let unkept = {
        let runner = PathRunner::new(&model).expect("runner");
        let how = (Ablation::Counterfactual, Outcome::Contrast, MetricSign::Measured);
        let evaluator = Evaluator::new(&runner, &pairs, how, &Silent).expect("evaluator");
        serde_json::to_string(&report(&evaluator, &file, &evidence()).expect("report")).expect("JSON")
    };
    assert!(run(&Silent, 256 << 20).expect("kept").contains(&unkept));
}

#[test]
fn runs_of_another_request_are_refused_and_of_another_model_not_mistaken() {
    let [one, other] = [5, 6].map(tiny_model);
    let pairs = paths::pairs(&one, 3, false);
    let journal = scratch("requests").with_extension("journal");
    let adapter = Digest::of(b"adapter");
    let request = |subject, pairs: &[TokenPair], what: &str| circuit_request(&[subject], &[pairs], what);
    let asked = request((&one, None), &pairs, "evaluate");
    let how = (Ablation::Counterfactual, Outcome::Contrast, MetricSign::Plain);
    let runners = [&one, &other].map(|model| PathRunner::new(model).expect("runner"));
    // What was asked for and never run stands in nobody's way.
    drop(KeptRuns::open(&journal, &request((&other, None), &pairs, "evaluate")).expect("fresh"));
    let kept = KeptRuns::open(&journal, &asked).expect("fresh");
    Evaluator::keeping(&runners[0], &pairs, how, &Silent, (&kept, None)).expect("evaluator");
    for different in [
        request((&other, None), &pairs, "evaluate"),
        request((&one, Some(&adapter)), &pairs, "evaluate"),
        request((&one, None), &pairs[1..], "evaluate"),
        request((&one, None), &pairs, "compare"),
    ] {
        let refused = KeptRuns::open(&journal, &different).map(drop).expect_err("another request").to_string();
        assert!(refused.contains("another request") && refused.contains("effects.journal"), "{refused}");
    }
    // One journal for two checkpoints: the second one's runs are its own.
    let file = circuit_of(&one, &pairs);
    let bootstrap = evidence().bootstrap;
    let compared = |keep: Option<&KeptRuns>| {
        let evaluators = [&runners[0], &runners[1]].map(|runner| match keep {
            Some(kept) => Evaluator::keeping(runner, &pairs, how, &Silent, (kept, None)).expect("evaluator"),
            None => Evaluator::new(runner, &pairs, how, &Silent).expect("evaluator"),
        });
        compare([&evaluators[0], &evaluators[1]], &file.circuit, &bootstrap).expect("compared")
    };
    let kept = KeptRuns::open(&journal, &asked).expect("the same request");
    assert_eq!(compared(Some(&kept)), compared(None));
    assert_eq!(compared(Some(&kept)), compared(None), "read back");
}

#[test]
fn a_stopped_discovery_goes_on_and_repeats_nothing() {
    let model = tiny_model(5);
    let [discovery, evaluation] = [6, 5].map(|number| paths::pairs(&model, number, false));
    let keep = scratch("discovery").with_extension("journal");
    let attribution = AttributionSpec::new(Method::integrated(2));
    let spec = DiscoverSpec {
        attribution,
        ranking: Ranking::Absolute,
        rule: Rule::Greedy { edges: 20 },
        evidence: evidence(),
        confirm: 3,
        sample: 2,
    };
    let run = |progress: &dyn Progress| {
        discover((&model, None), [&discovery, &evaluation], &spec, &keep, progress)
            .map(|(found, file)| (serde_json::to_string(&found).expect("JSON"), file))
    };
    let counted = StopAfter::new(u64::MAX);
    let whole = run(&counted).expect("unbroken");
    let all = counted.done();
    assert_eq!(run(&StopAfter::new(0)).expect("only read"), whole);
    // Six pairs are attributed first.
    for limit in [7, all / 2, all * 3 / 4] {
        files::remove(&keep).expect("removed");
        let stopping = StopAfter::new(limit);
        assert!(matches!(run(&stopping), Err(MediateError::Interrupted)), "{limit} of {all}");
        let rest = StopAfter::new(u64::MAX);
        assert_eq!(run(&rest).expect("resumed"), whole);
        assert_eq!(stopping.done() + rest.done(), all);
    }
}

/// Runs the binary on an output, once unbroken and once killed in the middle, and compares the bytes.
fn killed_and_unbroken(folder: &Path, arguments: &[&str], [whole, output]: [&str; 2]) {
    let [whole, output] = [whole, output].map(|name| folder.join(name));
    let command = |output: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_counterpath"));
        command.args(arguments).arg("--quiet").arg("--output").arg(output).env("RAYON_NUM_THREADS", "1");
        command.stdout(std::process::Stdio::null());
        command
    };
    let run = |output: &Path| assert!(command(output).status().expect("runs").success(), "{arguments:?}");
    run(&whole);
    let journal = journal_path(&output);
    let lines = || std::fs::read(&journal).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    let mut child = command(&output).spawn().expect("runs");
    while lines() < 8 {
        assert!(child.try_wait().expect("state").is_none(), "{arguments:?} was over before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(!output.exists() && lines() >= 8, "{arguments:?}");
    run(&output);
    assert!(std::fs::read(&whole).expect("bytes") == std::fs::read(&output).expect("bytes"), "{arguments:?}");
    assert!(!journal.exists());
}

#[test]
fn killed_commands_go_on_to_the_bytes_of_unbroken_ones() {
    let folder = scratch("killed").parent().expect("folder").to_path_buf();
    let line = |at: usize| {
        let (a, b) = (40 + at % 50, 90 + at % 37);
        format!(
            "{{\"id\":\"p{at}\",\"cluster\":\"c{}\",\"factual_ids\":[1,{a},50,70,{b}],\"counterfactual_ids\":[1,{b},50,70,{a}],\"answer_ids\":[80,90]}}\n",
            at / 2
        )
    };
    let path = |name: &str| folder.join(name).display().to_string();
    let (pairs, circuit, found) = (path("pairs.jsonl"), path("circuit.json"), path("found.json"));
    std::fs::write(&pairs, (0..300).map(line).collect::<String>()).expect("pairs");
    let on = ["--model", "embedded", "--pairs", &pairs];
    let sweep = [&["mediate"], &on[..], &["--sites", "resid_pre,z,mlp_out"]].concat();
    killed_and_unbroken(&folder, &sweep, ["whole.parquet", "killed.parquet"]);
    let make =
        [&["circuit", "discover"], &on[..], &["--circuit", &circuit, "--random", "0", "--confirm", "0"]].concat();
    crate::cli::done(&[&make[..], &["--output", &found]].concat());
    let evaluate = [&["circuit", "evaluate"], &on[..], &["--circuit", &circuit, "--random", "20"]].concat();
    killed_and_unbroken(&folder, &evaluate, ["whole.json", "killed.json"]);
}
