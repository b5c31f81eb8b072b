//! Plans of ablations: what their measures are, the file they are read from, and a stop in the middle.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use counterpath::base::{Progress, Seed, Silent, files};
use counterpath::intervene::{
    Direction, Intervention, Job, NaiveEngine, Outcome, Plan, ReuseEngine, Side, Site, SiteKind, SweepEngine, TokenPair,
};
use counterpath::mediate::{
    AblationPlan, AblationRow, AblationTable, Measure, MediateError, Runner, ablate_to_file, ablation_operations,
};
use counterpath::model::{HookPoint, LanguageModel, Readout, Record, TokenizedPrompt};
use counterpath::stats::{Bootstrap, PatchDirection};

use super::row_files::{parquet_rows, rows_as_values, without_null};
use super::tiny::tiny_model;

pub const PLAN: &str = r#"
version = 1
directions = ["noise"]
seed = 3
noise = { times = 3.0, draws = 2 }

[[set]]
name = "two heads"
sites = ["blocks.0.attn.hook_z[head=1]", "blocks.0.attn.hook_z[head=2]"]
interventions = [
  { kind = "interchange" }, { kind = "zero" }, { kind = "mean" }, { kind = "positional_mean" }, { kind = "resample" },
  { kind = "noise" }, { kind = "random_direction" }, { kind = "add", file = "d.json", scale = 2.0 },
  { kind = "project_out", file = "s.json" }, { kind = "interchange_within", file = "s.json" },
]
singles = true

[[set]]
name = "first MLP"
sites = ["blocks.0.hook_mlp_out"]
interventions = [{ kind = "interchange" }]
direct = true

[[set]]
name = "last MLP"
sites = ["blocks.1.hook_mlp_out[slot=last]"]
interventions = [{ kind = "interchange" }]
direct = true

[[set]]
name = "window"
sites = ["blocks.0.hook_attn_out[slot=last]"]
window = 5
interventions = [{ kind = "zero" }]

[[grid]]
kinds = ["resid_pre"]
layers = [1]
slots = ["changed", "last"]
interventions = [{ kind = "interchange" }]
"#;

pub struct Scene {
    pub folder: PathBuf,
    pub model: LanguageModel,
    pub pairs: Vec<TokenPair>,
}

pub fn scene(name: &str) -> Scene {
    let folder = std::env::temp_dir().join(format!("counterpath-ablation-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    files::create_folder(&folder).expect("folder");
    files::write_atomic(&folder.join("plan.toml"), PLAN.as_bytes()).expect("plan");
    let direction = Direction::new("d", vec![1.0, -1.0, 0.5, 0.0]).expect("direction");
    files::write_json(&folder.join("d.json"), &direction).expect("direction");
    files::write_atomic(&folder.join("s.json"), b"[[0.6, 0.8, 0.0, 0.0]]").expect("subspace");
    let pair = |number: u32| {
        let side = |middle: u32| TokenizedPrompt {
            ids: vec![1, 7 + number, middle, 9, 22, 5],
            answers: vec![vec![3], vec![4]],
            slots: Vec::new(),
        };
        TokenPair::new(format!("p{number}"), "c", side(12), side(30)).expect("pair")
    };
    Scene { folder, model: tiny_model(4), pairs: (0..20).map(pair).collect() }
}

impl Scene {
    fn table(&self, progress: &dyn Progress, output: &str) -> Result<AblationTable, MediateError> {
        let plan = AblationPlan::load(&self.folder.join("plan.toml"))?;
        let engine = ReuseEngine::default();
        let runner = Runner { model: &self.model, engine: &engine, progress };
        ablate_to_file(runner, &self.pairs, &plan, None, &self.folder.join(output))
    }

    pub fn run(&self, progress: &dyn Progress) -> Result<Vec<AblationRow>, MediateError> {
        let table = self.table(progress, "rows.jsonl")?;
        let rows: Vec<AblationRow> = files::read_jsonl(&self.folder.join("rows.jsonl"))?;
        assert_eq!(table.rows(), rows.len());
        Ok(rows)
    }

    fn outcome(&self, cells: Vec<(Site, Intervention)>) -> f64 {
        self.received(Side::Factual, cells)
    }

    pub fn received(&self, receiver: Side, cells: Vec<(Site, Intervention)>) -> f64 {
        let plans = [Plan { receiver, cells }];
        let jobs = [Job { pair: &self.pairs[0], plans: &plans }];
        NaiveEngine::default().outcomes(&self.model, &jobs, Outcome::Contrast, &Silent).expect("outcome")[0][0]
    }

    fn written(&self, side: Side, point: HookPoint) -> Tensor {
        let ids = &self.pairs[0].side(side).ids;
        let ids_bt = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).expect("ids");
        let mut record = Record::new([point]);
        self.model.forward(&ids_bt, Readout::All, &mut record).expect("pass");
        record.take().remove(&point).expect("recorded").get(0).expect("row").get(ids.len() - 1).expect("last")
    }
}

fn of<'a>(rows: &'a [AblationRow], set: &str, intervention: &str, measure: &Measure) -> &'a AblationRow {
    let wanted = |row: &&AblationRow| {
        row.id == "p0" && row.set == set && row.intervention == intervention && row.measure == *measure
    };
    rows.iter().find(wanted).unwrap_or_else(|| panic!("no row of {set}, {intervention}, {measure:?}"))
}

#[test]
fn measures_are_what_they_say() {
    let scene = scene("measures");
    let rows = scene.run(&Silent).expect("rows");
    // Ten kinds, jointly and two singles each; two sets with a direct effect; a window; a grid of two.
    assert_eq!(rows.len(), 20 * (10 * 3 + 2 + 2 + 1 + 2));
    let base = scene.outcome(Vec::new());
    let heads = [Site::of_head(0, 1), Site::of_head(0, 2)];
    let joint = of(&rows, "two heads", "zero", &Measure::Joint);
    let expected = scene.outcome(heads.iter().map(|site| (site.clone(), Intervention::Zero)).collect());
    assert!((joint.patched - expected).abs() < 1e-5 && (joint.base - base).abs() < 1e-5, "{joint:?}");
    let window: Vec<_> =
        (0..2).map(|layer| (Site::at_slot(SiteKind::AttnOut, layer, "last"), Intervention::Zero)).collect();
    let found = of(&rows, "window", "zero", &Measure::Joint);
    assert!((found.patched - scene.outcome(window)).abs() < 1e-5 && found.effect.abs() > 1e-3, "{found:?}");
    // Only what the first MLP writes at the last position reaches the logits, by the stream itself.
    let mlp = Site::everywhere(SiteKind::MlpOut, 0);
    let change = scene.written(Side::Counterfactual, mlp.hook()) - scene.written(Side::Factual, mlp.hook());
    let change = change.expect("change").to_vec1::<f32>().expect("values");
    let end = Site::at_slot(SiteKind::ResidPost, 1, "last");
    let add = Intervention::Add { direction: Direction::new("change", change).expect("direction"), scale: 1.0 };
    let direct = of(&rows, "first MLP", "interchange", &Measure::Direct);
    let expected = scene.outcome(vec![(end, add)]);
    assert!((direct.patched - expected).abs() < 1e-5, "{direct:?} for {expected}");
    let total = of(&rows, "first MLP", "interchange", &Measure::Joint);
    assert!((total.patched - direct.patched).abs() > 1e-3, "the rest of the model answers");
    // Behind the last MLP nothing can.
    let [total, direct] =
        [Measure::Joint, Measure::Direct].map(|measure| of(&rows, "last MLP", "interchange", &measure).patched);
    assert!((total - direct).abs() < 1e-5 && (total - base).abs() > 1e-4, "{total} and {direct}");
}

#[test]
fn the_table_subtracts_what_it_says() {
    let scene = scene("table");
    let rows = scene.run(&Silent).expect("rows");
    let bootstrap = Bootstrap { replicates: 200, level: 0.95, seed: Seed::new(1) };
    let table = scene.table(&Silent, "again.jsonl").expect("rows").effects(&scene.pairs, &bootstrap);
    assert_eq!(table.len(), 10 + 1 + 1 + 1 + 2);
    let mean = |set: &str, intervention: &str, wanted: &dyn Fn(&Measure) -> bool| {
        let of = rows.iter().filter(|row| row.set == set && row.intervention == intervention && wanted(&row.measure));
        of.map(|row| if row.source < row.base { -row.effect } else { row.effect }).sum::<f64>() / 20.0
    };
    let line = |set: &str, intervention: &str| {
        table.iter().find(|line| line.set == set && line.intervention == intervention).expect("line")
    };
    let heads = line("two heads", "mean");
    let joint = mean("two heads", "mean", &|measure| *measure == Measure::Joint);
    let singles = mean("two heads", "mean", &|measure| matches!(measure, Measure::Single { .. }));
    assert!((heads.joint.value.expect("joint") - joint).abs() < 1e-9);
    let interaction = heads.interaction.as_ref().and_then(|found| found.value).expect("interaction");
    assert!((interaction - (joint - singles)).abs() < 1e-9 && interaction.abs() > 1e-6, "{interaction}");
    assert!(heads.direct.is_none() && heads.direction == PatchDirection::Noise);
    let mlp = line("first MLP", "interchange");
    let repair = mlp.self_repair.as_ref().and_then(|found| found.value).expect("self-repair");
    let direct = mlp.direct.as_ref().and_then(|found| found.value).expect("direct");
    assert!((repair - (mlp.joint.value.expect("joint") - direct)).abs() < 1e-9);
}

/// Stops after so many runs.
struct StopAfter(std::sync::atomic::AtomicU64);

impl Progress for StopAfter {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, runs: u64) {
        let left = &self.0;
        let _ = left.fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, |left| {
            Some(left.saturating_sub(runs))
        });
    }
    fn finish(&self) {}
    fn note(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::SeqCst) == 0
    }
}

#[test]
fn a_stop_loses_no_finished_pair() {
    let scene = scene("stop");
    let whole = scene.run(&Silent).expect("rows");
    // Sixteen pairs are kept together: the second part is cut off.
    let stopped = scene.run(&StopAfter(std::sync::atomic::AtomicU64::new(16 * 39 + 8)));
    assert!(matches!(stopped, Err(MediateError::Interrupted)), "{stopped:?}");
    let journal = scene.folder.join("rows.jsonl.journal");
    let kept = files::read_text(&journal).expect("journal").lines().count();
    assert_eq!(kept, 1 + 16 * 38, "the request, and of each pair 37 rows and a line behind them");
    assert_eq!(scene.run(&Silent).expect("the rest"), whole);
    assert!(!journal.exists());
}

#[test]
fn parquet_holds_the_rows_of_jsonl_and_survives_a_stop() {
    let scene = scene("parquet");
    let rows = rows_as_values(&scene.run(&Silent).expect("rows"));
    scene.table(&Silent, "whole.parquet").expect("rows");
    let stopped = scene.table(&StopAfter(std::sync::atomic::AtomicU64::new(16 * 39 + 8)), "stopped.parquet");
    assert!(matches!(stopped, Err(MediateError::Interrupted)), "{stopped:?}");
    let (whole, resumed) = (scene.folder.join("whole.parquet"), scene.folder.join("stopped.parquet"));
    assert!(!resumed.exists(), "the file takes its place when it is whole");
    scene.table(&Silent, "stopped.parquet").expect("the rest");
    let read = parquet_rows(&whole);
    // Only a single names its site.
    assert!(read.iter().any(|row| row["site"].is_null()) && read.iter().any(|row| row["site"].is_string()));
    assert!(without_null(read) == without_null(rows), "Parquet and JSONL hold other values");
    assert!(std::fs::read(&whole).expect("bytes") == std::fs::read(&resumed).expect("bytes"));
    assert!(
        files::list(&scene.folder).expect("list").iter().all(|path| !path.display().to_string().ends_with("journal"))
    );
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused() {
    let scene = scene("refused");
    let refuse = |from: &str, to: &str| {
        assert!(PLAN.contains(from), "{from}");
        files::write_atomic(&scene.folder.join("plan.toml"), PLAN.replace(from, to).as_bytes()).expect("plan");
        scene.run(&Silent).expect_err(to).to_string()
    };
    assert!(refuse("singles = true", "single = true").contains("unknown field `single`"));
    assert!(refuse("version = 1", "version = 2").contains("version 2 is not known"));
    assert!(refuse("\"last MLP\"", "\"first MLP\"").contains("two sets are called \"first MLP\""));
    assert!(refuse("blocks.0.attn.hook_z[head=2]", "blocks.0.attn.hook_z[head=4]").contains("0 to 3"));
    assert!(refuse("blocks.0.hook_mlp_out", "blocks.0.hook_resid_post").contains("has no direct effect"));
    assert!(refuse("window = 5", "window = 0").contains("a window of 1 or more"));
    assert!(refuse("s.json", "missing.json").contains("missing.json"));
    assert!(
        refuse("noise = { times = 3.0, draws = 2 }", "noise = { slot = \"name\" }").contains("no subject has a token")
    );
}

#[test]
fn the_cost_is_known_before_the_run() {
    let scene = scene("cost");
    let plan = AblationPlan::load(&scene.folder.join("plan.toml")).expect("plan");
    let cost = ablation_operations(&ReuseEngine::default(), &scene.model, &scene.pairs, &plan).expect("cost");
    assert!(cost.reused > 0 && cost.reused < cost.naive, "{cost:?}");
}
