//! The loop, each stage one call: scenario, scores before, effects and pathways, tuned adapters, scores after,
//! comparison, report.

mod benchmark_page;
pub mod circuits;
mod claim;
pub mod error;
pub mod mediation;
pub mod population;
pub mod recipe;
pub mod records;
pub mod scoring;
mod summary;
pub mod targets;
pub mod tuning;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use crate::base::{Progress, Seed, files};
use crate::compare::{CompareSettings, Comparison, compare};
use crate::intervene::Site;
use crate::mediate::JointEffects;
use crate::model::LanguageModel;
use crate::record::{RunRecord, StageTiming, Timings};
use crate::report::{self, ReportData, RunSummary};
use crate::scenario::{Canary, canaries};
use crate::stats::Bootstrap;
use crate::trust::AnswerTable;
use crate::trust::evaluate::Evaluation;

pub use benchmark_page::benchmark_page;
use circuits::{Traced, Tracer};
pub use error::PipelineError;
use mediation::{Mediated, MediationPairs, Mediator};
use population::{Population, Sizes};
use recipe::Recipe;
use records::Recorder;
use scoring::{Scorer, Subject};
use targets::Judge;
use tuning::{PenaltySites, TrainedArm};

/// A run, ready to go.
pub struct RunRequest {
    /// What was asked for, defaults filled in.
    pub recipe: Recipe,
    /// The recipe as it was written.
    pub written: String,
    /// The folder that the recipe's relative paths start from.
    pub near: Option<PathBuf>,
    /// The checkpoint to evaluate and repair.
    pub model: LanguageModel,
    /// Where it came from.
    pub source: String,
    /// The run's folder.
    pub output: PathBuf,
    /// Training seeds an arm.
    pub seeds: usize,
    /// The command that makes this run again.
    pub command: String,
}

/// The files of a finished run.
pub struct RunFiles {
    /// What the report is made of.
    pub data: ReportData,
    /// The report.
    pub html: PathBuf,
    /// The same as Markdown.
    pub markdown: PathBuf,
}

/// Runs the whole loop. A run that was stopped goes on where it was: scores, sweeps and training steps that are in the
/// folder are not made again.
pub fn run(request: &RunRequest, progress: &dyn Progress) -> Result<RunFiles, PipelineError> {
    let mut run = Run::prepare(request, progress)?;
    let before = run.evaluate_base()?;
    let arms = run.tune(&before.mediated)?;
    let after = run.evaluate_arms(&before, &arms)?;
    let data = run.conclude(before, &arms, after)?;
    run.write(data)
}

/// The base: its record and what mediation found.
struct Before {
    record: RunRecord,
    mediated: Vec<Mediated>,
    circuits: Vec<Traced>,
    answers: AnswerTable,
}

/// One arm after tuning.
struct After {
    record: RunRecord,
    rediscovered: Vec<JointEffects>,
    answers: AnswerTable,
}

struct Run<'a> {
    request: &'a RunRequest,
    progress: &'a dyn Progress,
    seed: Seed,
    sets: Vec<Population>,
    pairs: Vec<MediationPairs>,
    canaries: Vec<Canary>,
    recorder: Recorder,
    timings: Timings,
}

impl<'a> Run<'a> {
    fn prepare(request: &'a RunRequest, progress: &'a dyn Progress) -> Result<Self, PipelineError> {
        let RunRequest { recipe, model, .. } = request;
        claim::claim(request)?;
        if recipe.circuit.is_some() {
            circuits::check(model)?;
        }
        let seed = Seed::new(recipe.seed);
        let sizes = Sizes::of(recipe);
        let open = |name: &String| Population::open(name, request.near.as_deref(), sizes, seed);
        let sets: Vec<Population> = recipe.eval_sets.iter().map(open).collect::<Result<_, _>>()?;
        let pairs = sets.iter().map(|set| MediationPairs::of(set, model)).collect::<Result<_, _>>()?;
        let recorder = Recorder::new(request, &sets)?;
        let timings = Timings { machine: records::machine(), ..Timings::default() };
        let canaries = canaries(recipe.evaluate.canaries, seed);
        Ok(Self { request, progress, seed, sets, pairs, canaries, recorder, timings })
    }

    fn scorer(&self) -> Scorer<'_> {
        let recipe = &self.request.recipe.evaluate;
        Scorer { sets: &self.sets, canaries: &self.canaries, recipe, seed: self.seed, progress: self.progress }
    }

    fn bootstrap(&self) -> Bootstrap {
        self.scorer().bootstrap()
    }

    fn mediator(&self) -> Mediator<'_> {
        Mediator {
            recipe: &self.request.recipe.mediate,
            bootstrap: self.bootstrap(),
            seed: self.seed,
            batch_tokens: self.request.recipe.evaluate.batch_tokens,
            progress: self.progress,
        }
    }

    fn tracer(&self) -> Option<Tracer<'_>> {
        let recipe = self.request.recipe.circuit.as_ref()?;
        Some(Tracer { recipe, bootstrap: self.bootstrap(), progress: self.progress })
    }

    /// The circuits of the base; none where the recipe does not ask for them.
    fn trace(&mut self, subject: Subject<'_>) -> Result<Vec<Traced>, PipelineError> {
        let Some(tracer) = self.tracer() else { return Ok(Vec::new()) };
        let started = Instant::now();
        let traced = tracer.trace_all(subject, &self.pairs, &self.folder("base"))?;
        Ok(self.timed("circuit", Some("base"), started, traced))
    }

    /// Where the scores of an arm are kept.
    fn journal(&self, name: &str) -> PathBuf {
        self.folder(name).join("scores.jsonl")
    }

    /// Where the patched runs of an arm are kept.
    fn sweep_journal(&self, name: &str, set: &str) -> PathBuf {
        self.folder(name).join(format!("sites-{set}.jsonl"))
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.request.output.join(name.replace(' ', "-"))
    }

    fn timed<T>(&mut self, stage: &str, arm: Option<&str>, started: Instant, value: T) -> T {
        let seconds = started.elapsed().as_secs_f64();
        let (stage, arm) = (stage.to_owned(), arm.map(str::to_owned));
        self.timings.stages.push(StageTiming { stage, arm, seconds, work: String::new() });
        value
    }

    /// Mediation first, since the scores of explainability read it.
    fn evaluate_base(&mut self) -> Result<Before, PipelineError> {
        let model = &self.request.model;
        let started = Instant::now();
        let subject = Subject { model, adapter: None };
        let mediate =
            |pairs: &MediationPairs| self.mediator().mediate(subject, pairs, &self.sweep_journal("base", &pairs.id));
        let mediated: Vec<Mediated> = self.pairs.iter().map(mediate).collect::<Result<_, _>>()?;
        let mediated = self.timed("mediate", Some("base"), started, mediated);
        for found in &mediated {
            self.progress.note(&format!("{}: {}", found.id, records::pathway_line(&found.found.pathway)));
        }
        let circuits = self.trace(subject)?;
        let started = Instant::now();
        let evidence = mediated.iter().map(Mediated::evidence).collect();
        let Evaluation { scores, answers } = self.scorer().score(subject, evidence, &self.journal("base"))?;
        let mut record = self.recorder.record("base", None);
        record.scores = scores;
        records::add_mediation(&mut record, &mediated);
        record.circuits = circuits.iter().map(|traced| traced.record.clone()).collect();
        record.save(&self.folder("base").join(RunRecord::FILE))?;
        Ok(self.timed("evaluate", Some("base"), started, Before { record, mediated, circuits, answers }))
    }

    /// Every arm, one after the other, on the same data in the same order.
    fn tune(&mut self, mediated: &[Mediated]) -> Result<Vec<TrainedArm>, PipelineError> {
        let RunRequest { recipe, model, source, .. } = self.request;
        let sites = |of: &dyn Fn(&Mediated) -> &Vec<Site>| -> BTreeMap<String, Vec<Site>> {
            let found = mediated.iter().filter(|found| !found.found.sites.is_empty());
            found.map(|found| (found.id.clone(), of(found).clone())).collect()
        };
        let sites = PenaltySites {
            pathways: sites(&|found| &found.found.sites),
            candidates: sites(&|found| &found.candidates),
        };
        let data = tuning::tuning_data(model, &self.sets, &self.canaries)?;
        let seeds = (recipe.seed, self.request.seeds);
        let specs = tuning::arm_specs(&recipe.tune, seeds, &sites, &data, self.progress)?;
        let mut arms = Vec::new();
        for spec in specs {
            let name = match spec.seed == recipe.seed {
                true => spec.arm.clone(),
                false => format!("{} seed {}", spec.arm, spec.seed),
            };
            let folder = self.folder(&name);
            let arm = tuning::train_arm(model, source, &spec, &data, &name, &folder, self.progress)?;
            self.timings.stages.push(StageTiming {
                stage: "tune".into(),
                arm: Some(name),
                seconds: arm.seconds,
                work: format!("{} steps, {} task tokens", spec.steps, arm.task_tokens),
            });
            arms.push(arm);
        }
        Ok(arms)
    }

    fn evaluate_arms(&mut self, before: &Before, arms: &[TrainedArm]) -> Result<Vec<After>, PipelineError> {
        arms.iter().map(|arm| self.evaluate_arm(before, arm)).collect()
    }

    fn evaluate_arm(&mut self, before: &Before, arm: &TrainedArm) -> Result<After, PipelineError> {
        let started = Instant::now();
        let model = self.request.model.with_adapter(&arm.adapter)?;
        let digest = arm.adapter.digest()?;
        let subject = Subject { model: &model, adapter: Some(&digest) };
        let mut record = self.recorder.record(&arm.name, Some(arm.identity(&self.request.recipe.tune.target_modules)?));
        let (mut evidence, mut rediscovered) = (Vec::new(), Vec::new());
        for (pairs, found) in self.pairs.iter().zip(&before.mediated) {
            let journal = self.sweep_journal(&arm.name, &pairs.id);
            let again = self.mediator().remeasure(subject, pairs, &found.found.sites, &journal)?;
            evidence.push(again.evidence(&pairs.id));
            record.pathways.push(again.pathway().clone());
            record.effects.extend(again.effects);
            record.checks.extend(again.checks);
            rediscovered.push(again.rediscovered.evaluation);
        }
        if let Some(tracer) = self.tracer() {
            let base = &self.request.model;
            let again = |traced| tracer.remeasure(base, subject, traced, &self.folder(&arm.name));
            record.circuit_changes = before.circuits.iter().map(again).collect::<Result<_, _>>()?;
        }
        let Evaluation { scores, answers } = self.scorer().score(subject, evidence, &self.journal(&arm.name))?;
        record.scores = scores;
        record.save(&self.folder(&arm.name).join(RunRecord::FILE))?;
        let name = arm.name.clone();
        Ok(self.timed("evaluate", Some(&name), started, After { record, rediscovered, answers }))
    }

    fn conclude(
        &mut self,
        before: Before,
        arms: &[TrainedArm],
        after: Vec<After>,
    ) -> Result<ReportData, PipelineError> {
        let started = Instant::now();
        let causal = after.iter().filter(|after| targets::arm_of(&after.record.name) == "causal");
        let rediscovered: Vec<&[JointEffects]> = causal.map(|after| after.rediscovered.as_slice()).collect();
        let judge = Judge {
            base: &before.record,
            arms: after.iter().map(|after| &after.record).collect(),
            sets: &self.sets,
            recipe: &self.request.recipe.targets,
            bootstrap: self.bootstrap(),
        };
        let targets = judge.targets(&rediscovered);
        let comparisons = self.comparisons(&before.record, &after)?;
        let pairs = summary::example_pairs(&self.sets);
        let mut answers = vec![("base".to_owned(), before.answers)];
        let mut records = vec![before.record];
        for after in after {
            answers.push((after.record.name.clone(), after.answers));
            records.push(after.record);
        }
        let recipe = &self.request.recipe;
        let mut caveats = records::caveats(&self.sets, self.request.seeds);
        if recipe.circuit.is_some() {
            let traced = records.first().map(|base| base.circuits.as_slice()).unwrap_or_default();
            caveats.extend(records::circuit_caveats(&self.sets, traced));
        }
        let summary = RunSummary {
            schema: report::SUMMARY_SCHEMA,
            title: format!("{}: what the model leans on, and what closing that path costs", recipe.name),
            questions: self.sets.iter().filter_map(|set| Some(set.scenario.as_ref()?.question.clone())).collect(),
            arms: records.iter().map(|record| records::report_arm(&record.name)).collect(),
            focus: records.iter().any(|record| record.name == "causal").then(|| "causal".to_owned()),
            control: records.iter().any(|record| record.name == "plain").then(|| "plain".to_owned()),
            headlines: summary::headlines(&self.sets),
            targets,
            graphs: self.sets.iter().filter_map(|set| set.scenario.as_ref()).map(summary::graph).collect(),
            examples: summary::examples(&pairs, &answers),
            curves: summary::curves(arms),
            canaries: summary::canaries(&self.canaries),
            caveats,
            command: self.request.command.clone(),
        };
        self.timed("conclude", None, started, ());
        self.timings.peak_memory_bytes = records::peak_memory();
        Ok(ReportData { summary, records, comparisons, timings: self.timings.clone() })
    }

    /// Every arm against the base, and the pathway arm against its control.
    fn comparisons(&self, base: &RunRecord, after: &[After]) -> Result<Vec<Comparison>, PipelineError> {
        let mut settings = CompareSettings::new(self.seed);
        settings.bootstrap = Bootstrap { seed: self.seed.fork("compare"), ..self.bootstrap() };
        settings.headline = Some(records::headline_metrics());
        settings.margins = records::margins(&self.request.recipe.targets);
        let mut all = vec![base];
        all.extend(after.iter().map(|after| &after.record));
        let mut comparisons = Vec::new();
        if all.len() > 1 {
            comparisons.push(compare(&all, &settings)?);
        }
        let arm = |name: &str| after.iter().map(|after| &after.record).find(|record| record.name == name);
        if let (Some(random), Some(pathway)) = (arm("random_sites"), arm("pathway")) {
            comparisons.push(compare(&[random, pathway], &settings)?);
        }
        Ok(comparisons)
    }

    fn write(&self, data: ReportData) -> Result<RunFiles, PipelineError> {
        let folder = &self.request.output;
        data.save(folder)?;
        let (html, markdown) = (folder.join("report.html"), folder.join("report.md"));
        files::write_atomic(&html, report::html(&data).as_bytes())?;
        files::write_atomic(&markdown, report::markdown(&data).as_bytes())?;
        Ok(RunFiles { data, html, markdown })
    }
}
