//! The arms of the experiment: equal budget, different objectives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::PipelineError;
use super::population::Population;
use super::recipe::TuneRecipe;
use crate::base::Progress;
use crate::intervene::{Site, SourceGradient};
use crate::model::{Adapter, LanguageModel, LoraSpec, TargetModules};
use crate::record::AdapterIdentity;
use crate::scenario::canary::Canary;
use crate::scenario::{CounterfactualPair, Split, TaskItem};
use crate::tune::arms::{Arm, arms, with_seeds};
use crate::tune::{BatchSizes, PairExample, Schedule, StepLog, TuneData, TuneSpec, Warmup, Weights, train};

/// What the arms have in common.
pub fn base_spec(recipe: &TuneRecipe, seed: u64) -> TuneSpec {
    let defaults = TuneSpec::default();
    let target_modules = match recipe.target_modules.as_slice() {
        [one] if one == "all-linear" => TargetModules::Pattern(one.clone()),
        names => TargetModules::List(names.to_vec()),
    };
    TuneSpec {
        seed,
        steps: recipe.steps,
        batch: BatchSizes {
            task: recipe.batch,
            invariant: recipe.pairs,
            follow: recipe.pairs,
            canary: recipe.canaries,
        },
        accumulation: recipe.accumulation,
        lora: LoraSpec { rank: recipe.rank, alpha: recipe.alpha, target_modules, rslora: false },
        learning_rate: recipe.learning_rate,
        schedule: Schedule { warmup: Warmup::Ratio(recipe.warmup), ..defaults.schedule },
        clip: Some(recipe.clip),
        weights: Weights {
            task: 1.0,
            canary: recipe.canary,
            consistency: recipe.consistency,
            follow: recipe.follow,
            mediation: recipe.mediation,
            anchor: recipe.anchor,
        },
        mediation_source: if recipe.attached { SourceGradient::Attached } else { SourceGradient::Detached },
        ..defaults
    }
}

/// What every arm learns from: the tuning split, in the training environment, where the shortcut holds. Rewordings and
/// bare word swaps are left out, so that they can be claims later.
pub fn tuning_data(base: &LanguageModel, sets: &[Population], canaries: &[Canary]) -> Result<TuneData, PipelineError> {
    let items: Vec<TaskItem> = sets.iter().flat_map(|set| set.items_of(Split::Tuning)).cloned().collect();
    let mut pairs: Vec<CounterfactualPair> = Vec::new();
    for set in sets {
        pairs.extend(set.closable(Split::Tuning).into_iter().chain(set.follows(Split::Tuning)).cloned());
    }
    Ok(TuneData::new(base.tokenizer()?, &items, &pairs, canaries)?)
}

/// One trained adapter.
pub struct TrainedArm {
    /// The arm's name; with several seeds, all but the first have the seed behind it.
    pub name: String,
    /// What was asked.
    pub spec: TuneSpec,
    /// The adapter, frozen.
    pub adapter: Adapter,
    /// Its PEFT folder.
    pub folder: PathBuf,
    /// Every step's numbers.
    pub curves: Vec<StepLog>,
    /// Seconds of training.
    pub seconds: f64,
    /// Tokens of task rows seen.
    pub task_tokens: u64,
}

impl TrainedArm {
    /// Its name, digest and size for the record.
    pub fn identity(&self, targets: &[String]) -> Result<AdapterIdentity, PipelineError> {
        Ok(AdapterIdentity {
            folder: format!("{}/adapter", self.name),
            digest: self.adapter.digest()?,
            parameters: self.adapter.parameter_count(),
            rank: self.spec.lora.rank,
            targets: targets.to_vec(),
        })
    }
}

/// The sites that penalties may name, by eval set.
pub struct PenaltySites {
    /// The pathway found.
    pub pathways: BTreeMap<String, Vec<Site>>,
    /// All sites of its kinds, from which the control draws.
    pub candidates: BTreeMap<String, Vec<Site>>,
}

/// The specs of all arms and seeds. A term that no data serves is left out, and an arm that has nothing else; both are
/// told.
pub fn arm_specs(
    recipe: &TuneRecipe,
    (seed, seeds): (u64, usize),
    sites: &PenaltySites,
    data: &TuneData,
    progress: &dyn Progress,
) -> Result<Vec<TuneSpec>, PipelineError> {
    let mut base = base_spec(recipe, seed);
    base.weights = served(base.weights, data, &sites.pathways, progress);
    let mut wanted = Vec::new();
    for name in &recipe.arms {
        let arm: Arm = name.parse()?;
        if arm.has_objective(&base.weights) {
            wanted.push(arm);
        } else {
            progress.note(&format!("arm {arm} is left out: there is no data for the terms that it is about"));
        }
    }
    let specs = arms(&base, &wanted, &sites.pathways, &sites.candidates)?;
    Ok(with_seeds(&specs, seeds))
}

/// The weights whose terms have data; the others are set to 0.
fn served(
    mut weights: Weights,
    data: &TuneData,
    pathways: &BTreeMap<String, Vec<Site>>,
    progress: &dyn Progress,
) -> Weights {
    let penalised = |example: &PairExample| pathways.contains_key(&example.scenario);
    let terms = [
        (&mut weights.task, "task", !data.task.is_empty(), "labelled prompts"),
        (&mut weights.anchor, "anchor", !data.task.is_empty(), "labelled prompts"),
        (&mut weights.consistency, "consistency", !data.invariant.is_empty(), "invariant pairs to tune on"),
        (&mut weights.follow, "follow", !data.follow.is_empty(), "follow pairs to tune on"),
        (&mut weights.mediation, "mediation", data.invariant.iter().any(penalised), "pathways with pairs to tune on"),
    ];
    for (weight, term, there, missing) in terms {
        if *weight > 0.0 && !there {
            *weight = 0.0;
            progress.note(&format!("the term {term} is left out: there are no {missing}"));
        }
    }
    weights
}

/// Trains one arm below `folder` and writes its adapter. A run that was stopped goes on where it was; a finished one is
/// only read.
pub fn train_arm(
    base: &LanguageModel,
    source: &str,
    spec: &TuneSpec,
    data: &TuneData,
    name: &str,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<TrainedArm, PipelineError> {
    let outcome = train(base, spec, data, Some(&folder.join("training")), progress)?;
    let adapter = outcome.adapter.frozen();
    let peft = folder.join("adapter");
    adapter.save(&peft, source)?;
    Ok(TrainedArm {
        name: name.to_owned(),
        spec: spec.clone(),
        adapter,
        folder: peft,
        curves: outcome.curves,
        seconds: outcome.seconds,
        task_tokens: outcome.task_tokens,
    })
}
