//! The trainer: exact resumption, exact repetition, accumulation, and how it fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use counterpath::base::{Progress, Seed, Silent};
use counterpath::intervene::{Site, SiteKind};
use counterpath::model::{Adapter, LoraSpec};
use counterpath::tune::arms::{arms, with_seeds};
use counterpath::tune::data::Batch;
use counterpath::tune::gradients::Gradients;
use counterpath::tune::objective::Objective;
use counterpath::tune::optimizer::{AdamW, Decay};
use counterpath::tune::trainer::{CHECKPOINT, LAST_GOOD, LOSSES};
use counterpath::tune::{Arm, BatchSizes, StepLog, TuneData, TuneError, TuneSpec, train, train_all};

use super::tiny;
use super::world::{self, Answers};

fn spec(steps: usize) -> TuneSpec {
    let sites = vec![Site::at_slot(SiteKind::ResidPre, 1, "name"), Site::of_head(1, 0)];
    TuneSpec {
        seed: 6,
        steps,
        batch: BatchSizes { task: 6, invariant: 4, follow: 3, canary: 2 },
        lora: LoraSpec { rank: 2, ..TuneSpec::default().lora },
        penalty_sites: BTreeMap::from([("world".into(), sites)]),
        ..TuneSpec::default()
    }
}

fn data() -> TuneData {
    world::data(Answers::Single, 24, 3)
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-tune-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Asks to stop after so many steps.
struct StopAfter(usize, AtomicUsize);

impl StopAfter {
    fn new(steps: usize) -> Self {
        Self(steps, AtomicUsize::new(0))
    }
}

impl Progress for StopAfter {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, units: u64) {
        self.1.fetch_add(units as usize, Ordering::Relaxed);
    }
    fn note(&self, _: &str) {}
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

fn stop(spec: &TuneSpec, folder: &Path, steps: usize) {
    match train(&world::model().0, spec, &data(), Some(folder), &StopAfter::new(steps)) {
        Err(TuneError::Interrupted { done, .. }) => assert_eq!(done, steps),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was to stop after {steps} steps"),
    }
}

#[test]
fn ten_steps_and_ten_more_are_twenty_bit_for_bit() {
    let (model, spec) = (&world::model().0, TuneSpec { accumulation: 2, checkpoint_every: 50, ..spec(20) });
    let whole = train(model, &spec, &data(), Some(&scratch("whole")), &Silent).expect("twenty steps");
    assert_eq!((whole.steps, whole.curves.len()), (20, 20));

    let folder = scratch("resumed");
    stop(&spec, &folder, 7);
    let kept = std::fs::read(folder.join(CHECKPOINT)).expect("checkpoint");
    stop(&spec, &folder, 10);
    // A kill after step 10 whose last checkpoint is that of step 7: log lines 7 to 9 belong to nothing.
    std::fs::write(folder.join(CHECKPOINT), kept).expect("the older checkpoint");
    let resumed = train(model, &spec, &data(), Some(&folder), &Silent).expect("the rest");
    assert_eq!(resumed.adapter.digest().expect("digest"), whole.adapter.digest().expect("digest"));
    assert_eq!(resumed.curves, whole.curves);
    assert_eq!(resumed.task_tokens, whole.task_tokens);
    let lines = std::fs::read_to_string(folder.join(LOSSES)).expect("log");
    let logged: Vec<StepLog> = lines.lines().map(|line| serde_json::from_str(line).expect("a step")).collect();
    assert_eq!(logged, whole.curves);

    let again = train(model, &spec, &data(), Some(&folder), &Silent).expect("finished work is found");
    assert_eq!(
        (again.adapter.digest().expect("digest"), again.steps, again.seconds),
        (whole.adapter.digest().expect("digest"), 20, resumed.seconds)
    );
}

#[test]
fn the_same_seed_gives_the_same_adapter_and_another_does_not() {
    let run = |seed| train(&world::model().0, &TuneSpec { seed, ..spec(5) }, &data(), None, &Silent).expect("training");
    let (a, b, c) = (run(1), run(1), run(2));
    assert_eq!((a.adapter.digest().expect("digest"), a.curves), (b.adapter.digest().expect("digest"), b.curves));
    assert_ne!(a.adapter.digest().expect("digest"), c.adapter.digest().expect("digest"));
}

/// Prints the digest when asked to by its environment (a thread pool is sized once a process), else runs itself with
/// one and with more threads.
#[test]
fn any_number_of_threads_gives_the_same_adapter() {
    const ASK: &str = "COUNTERPATH_TEST_PRINT_DIGEST";
    if std::env::var_os(ASK).is_some() {
        // Large enough that matrix products are split over threads.
        let batch = BatchSizes { task: 600, invariant: 300, follow: 300, canary: 4 };
        let run = train(&world::model().0, &TuneSpec { batch, ..spec(4) }, &data(), None, &Silent).expect("training");
        println!("\nadapter {}", run.adapter.digest().expect("digest"));
        return;
    }
    let digest = |threads: &str| {
        let mut child = Command::new(std::env::current_exe().expect("this binary"));
        child.args(["--exact", "tune::training::any_number_of_threads_gives_the_same_adapter", "--nocapture"]);
        let output = child.env(ASK, "1").env("RAYON_NUM_THREADS", threads).output().expect("a child");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .find_map(|line| line.strip_prefix("adapter "))
            .unwrap_or_else(|| panic!("no digest in {text}"))
            .to_owned()
    };
    let one = digest("1");
    for threads in ["2", "3", "8"] {
        assert_eq!(digest(threads), one, "{threads} threads");
    }
}

#[test]
fn runs_side_by_side_are_the_runs_alone() {
    let (model, folder) = (&world::model().0, scratch("side"));
    let plain = TuneSpec { arm: "plain".into(), weights: Arm::Plain.weights(spec(8).weights), ..spec(8) };
    let reckless = TuneSpec { arm: "reckless".into(), learning_rate: 1e30, clip: None, ..spec(8) };
    let specs = with_seeds(&[spec(8), plain, reckless], 2);
    let stopped = train_all(model, &specs, &data(), Some(&folder), 3, &StopAfter::new(20)).expect("threads");
    assert!(stopped.iter().any(|result| matches!(result, Err(TuneError::Interrupted { .. }))));
    let results = train_all(model, &specs, &data(), Some(&folder), 3, &Silent).expect("threads");
    assert_eq!(results.len(), 6);
    for (spec, result) in specs.iter().zip(results) {
        match (result, train(model, spec, &data(), None, &Silent)) {
            (Ok(together), Ok(alone)) => {
                assert_eq!(together.adapter.digest().expect("digest"), alone.adapter.digest().expect("digest"));
            }
            (Err(TuneError::NotFinite { step: a, .. }), Err(TuneError::NotFinite { step: b, .. })) => assert_eq!(a, b),
            _ => panic!("{} seed {} differs in kind", spec.arm, spec.seed),
        }
    }
}

#[test]
fn micro_batches_give_the_gradient_of_the_whole() {
    let (base, data) = (&world::model().0, world::data(Answers::Double, 12, 4));
    let spec = spec(10);
    let adapter = Adapter::init(base, &spec.lora, Seed::new(1)).expect("adapter");
    for (_, var) in adapter.trainable() {
        // Away from B = 0, where half of the gradients vanish.
        let values: Vec<f32> = (0..var.elem_count()).map(|at| 0.01 * ((at * 7 % 11) as f32 - 5.0)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).expect("values")).expect("set");
    }
    let tuned = base.with_adapter(&adapter).expect("fits");
    let optimizer = AdamW::new(adapter.trainable(), |_, _| Decay::Decayed, spec.optimizer).expect("optimizer");
    let window = Batch {
        task: data.task.iter().collect(),
        invariant: data.invariant.iter().collect(),
        follow: data.follow.iter().collect(),
        canaries: data.canaries.iter().collect(),
    };
    let objective = Objective::new(&spec);
    let units = objective.units(&window);
    let run = |parts| {
        let (mut sums, mut log) = (Gradients::new(&optimizer), BTreeMap::new());
        for part in window.split(parts) {
            if let Ok(Some(loss)) = objective.share((&tuned, base), &part, &units, 9, &mut log) {
                sums.add(&loss, &optimizer).expect("backward");
            }
        }
        let (gradients, absent) = sums.finish(&optimizer).expect("sums");
        assert!(absent.is_empty() && log.len() == 6, "all six terms speak: {log:?}");
        let values: Vec<f32> = gradients
            .iter()
            .flat_map(|g| g.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("values"))
            .collect();
        (values, log)
    };
    let (whole, whole_log) = run(1);
    let largest = whole.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    for parts in [2, 5, 12] {
        let (summed, log) = run(parts);
        for (a, b) in whole.iter().zip(&summed) {
            assert!((a - b).abs() <= 1e-6 * largest.max(1.0), "{parts} parts: {a} against {b}");
        }
        for (name, term) in &whole_log {
            assert!((term.loss - log[name].loss).abs() <= 1e-6 * term.loss.max(1.0), "{parts} parts, {name}");
        }
    }
}

#[test]
fn arms_have_equal_budgets_and_see_the_same_examples() {
    let base = spec(3);
    let others = (0..2).flat_map(|layer| (0..2).map(move |head| Site::of_head(layer, head)));
    let candidates: Vec<Site> =
        others.chain(["name", "cause", "last"].map(|slot| Site::at_slot(SiteKind::ResidPre, 1, slot))).collect();
    let specs =
        arms(&base, &Arm::ALL, &base.penalty_sites, &BTreeMap::from([("world".into(), candidates)])).expect("arms");
    let runs: Vec<_> =
        specs.iter().map(|spec| train(&world::model().0, spec, &data(), None, &Silent).expect("training")).collect();
    for run in &runs {
        assert_eq!(run.task_tokens, runs[0].task_tokens);
        assert_eq!(run.adapter.parameter_count(), runs[0].adapter.parameter_count());
        // Before the first update all arms are the base, so equal examples have equal losses (to rounding: an anchor
        // reads more positions, and a larger matrix product may be summed in another order).
        for name in ["task", "canary"] {
            let (own, plain) = (run.curves[0].terms[name].loss, runs[0].curves[0].terms[name].loss);
            assert!((own - plain).abs() < 1e-6 * plain, "{name}: {own} against {plain}");
        }
    }
    let names = |run: &counterpath::tune::Outcome| run.curves[2].terms.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&runs[0]), ["canary", "task"]);
    assert_eq!(names(&runs[4]), ["anchor", "canary", "consistency", "follow", "mediation", "task"]);
    assert_eq!(runs[2].curves[0].terms["mediation"].weight, base.weights.mediation / (0.15 * 3.0f64).max(1.0));
}

#[test]
fn another_runs_checkpoint_is_refused() {
    let (model, folder) = (&world::model().0, scratch("refused"));
    stop(&spec(6), &folder, 2);
    let refuse = |spec: &TuneSpec, data: &TuneData| match train(model, spec, data, Some(&folder), &Silent) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("taken for its own"),
    };
    let text = refuse(&TuneSpec { learning_rate: 1e-4, ..spec(6) }, &data());
    assert!(text.contains("another run: its tuning spec is") && text.contains("remove the file"), "{text}");
    let mut other = data();
    other.task[0].label = 1 - other.task[0].label;
    assert!(refuse(&spec(6), &other).contains("its tuning data is"));
}

#[test]
fn a_loss_that_is_not_finite_keeps_the_last_good_adapter() {
    let (model, folder) = (&world::model().0, scratch("nan"));
    let reckless = TuneSpec { learning_rate: 1e30, clip: None, ..spec(6) };
    let error = match train(model, &reckless, &data(), Some(&folder), &Silent) {
        Err(error) => error,
        Ok(_) => panic!("a rate of 1e30 cannot go well"),
    };
    let TuneError::NotFinite { step, ref term, .. } = error else { panic!("{error}") };
    assert!(step >= 1 && !term.is_empty());
    let text = error.to_string();
    assert!(text.contains(&format!("step {step}")) && text.contains(LAST_GOOD), "{text}");
    let kept = Adapter::load(&folder.join(LAST_GOOD), &Device::Cpu).expect("the last good adapter");
    let start = Adapter::init(model, &reckless.lora, Seed::new(6).fork("tune").fork("adapter")).expect("start");
    assert_eq!(step, 1, "the first update already breaks it");
    assert_eq!(
        kept.digest().expect("digest"),
        start.digest().expect("digest"),
        "the state that entered step 0 is the last with finite losses"
    );

    let mut parameters = tiny::parameters(2, 0.1, 11);
    let (_, head) = parameters.iter_mut().find(|(name, _)| name.contains("lm_head")).expect("head");
    head.set(&(head.as_detached_tensor() * f64::NAN).expect("NaN")).expect("set");
    let text =
        train(&tiny::frozen(2, &parameters), &spec(6), &data(), None, &Silent).err().expect("NaN weights").to_string();
    assert!(text.contains("step 0: term `task` is NaN") && text.contains("nothing was kept"), "{text}");
}

#[test]
fn a_term_without_examples_and_sites_that_are_not_there_are_refused() {
    let model = &world::model().0;
    let refuse =
        |spec: &TuneSpec, data: &TuneData| train(model, spec, data, None, &Silent).err().expect("refused").to_string();
    let text = refuse(&spec(3), &TuneData { follow: Vec::new(), ..data() });
    assert!(text.contains("term `follow` has weight 1 but there are no follow pairs"), "{text}");
    let text = refuse(&TuneSpec { penalty_sites: BTreeMap::new(), ..spec(3) }, &data());
    assert!(text.contains("term `mediation`") && text.contains("penalised sites"), "{text}");
    let text = refuse(&TuneSpec { batch: BatchSizes { invariant: 0, ..spec(3).batch }, ..spec(3) }, &data());
    assert!(text.contains("term `consistency`"), "{text}");
    let elsewhere = BTreeMap::from([("world".into(), vec![Site::of_head(5, 0)])]);
    assert!(refuse(&TuneSpec { penalty_sites: elsewhere, ..spec(3) }, &data()).contains("blocks.5.attn.hook_z"));
    assert!(refuse(&TuneSpec { steps: 0, ..spec(3) }, &data()).contains("`steps`"));
    train(model, &spec(3), &TuneData { canaries: Vec::new(), ..data() }, None, &Silent)
        .expect("canaries may be absent");
}

#[test]
fn a_spec_survives_json() {
    let spec = spec(3);
    let text = serde_json::to_string(&spec).expect("JSON");
    assert!(text.contains("blocks.1.attn.hook_z[head=0]"), "{text}");
    assert_eq!(serde_json::from_str::<TuneSpec>(&text).expect("spec"), spec);
}
