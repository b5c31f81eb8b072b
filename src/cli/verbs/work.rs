//! `generate`, `evaluate`, `mediate` and `tune`: the stages of the loop, each alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use counterpath::base::files::RowFile;
use counterpath::base::{Progress, Seed, files};
use counterpath::intervene::Site;
use counterpath::pipeline::mediation::{MediationPairs, Mediator};
use counterpath::pipeline::population::{Population, Sizes};
use counterpath::pipeline::recipe::{EvaluateRecipe, MediateRecipe, Recipe, TuneRecipe};
use counterpath::pipeline::scoring::{Scorer, Subject};
use counterpath::pipeline::tuning::PenaltySites;
use counterpath::pipeline::{records, tuning};
use counterpath::record::{AdapterIdentity, RunRecord};
use counterpath::report::terminal;
use counterpath::scenario::eval_set::EvalSet;
use counterpath::scenario::{Scenario, canaries};
use serde_json::json;

use super::super::load::{Loaded, load};
use super::super::needs::{self, Batch, Next};
use super::super::stage_args::{DirectionArg, Evaluate, Generate, Mediate, Tune};
use super::{Format, print_json};

/// Width of printed tables.
const WIDTH: usize = 120;

/// Writes the frozen part of an eval set.
pub fn generate(args: &Generate, format: Format) -> Result<()> {
    let scenario = match Scenario::builtin_ids().any(|id| id == args.eval_set) {
        true => Scenario::builtin(&args.eval_set)?,
        false => Scenario::load(Path::new(&args.eval_set))?,
    };
    let mut size = scenario.frozen();
    size.items = args.items.unwrap_or(size.items);
    size.pairs = args.pairs.unwrap_or(size.pairs);
    size.seed = args.seed.unwrap_or(size.seed);
    let set = EvalSet::generate_sized(scenario, size)?;
    set.freeze(&args.output)?;
    match format {
        Format::Json => print_json(&json!({
            "eval_set": set.scenario.id, "digest": set.digest, "items": set.items.len(), "pairs": set.pairs.len(),
            "output": args.output,
        })),
        Format::Text => {
            println!(
                "{}: {} items and {} pairs in {}",
                set.scenario.id,
                set.items.len(),
                set.pairs.len(),
                args.output.display()
            );
            println!("digest {}", set.digest);
            Ok(())
        }
    }
}

fn open_sets(names: &[String], sizes: Sizes, seed: u64) -> Result<Vec<Population>> {
    let open = |name: &String| Population::open(name, None, sizes, Seed::new(seed));
    Ok(names.iter().map(open).collect::<Result<_, _>>()?)
}

fn sizes(discovery: usize) -> Sizes {
    Sizes { discovery, tuning_items: 0, tuning_pairs: 0, texts: EvaluateRecipe::default().texts }
}

pub(super) fn record_of(name: &str, loaded: &Loaded, sets: &[Population], seed: u64) -> Result<RunRecord> {
    let mut record = RunRecord::new(name, records::identity(&loaded.source, &loaded.base), records::versions());
    if let Some((folder, adapter)) = &loaded.adapter {
        record.adapter = Some(AdapterIdentity {
            folder: folder.display().to_string(),
            digest: adapter.digest()?,
            parameters: adapter.parameter_count(),
            rank: adapter
                .tensors()
                .iter()
                .find(|(name, _)| name.ends_with("lora_A.weight"))
                .map_or(0, |(_, factor)| factor.dims().first().copied().unwrap_or(0)),
            targets: adapter.modules().into_iter().map(str::to_owned).collect(),
        });
    }
    record.tokenizer = Some(loaded.model.tokenizer()?.digest().clone());
    record.eval_sets = sets.iter().map(Population::identity).collect();
    record.seeds.insert("run".into(), seed);
    Ok(record)
}

/// The sites of each population's pathway in a record of `mediate`.
fn pathways_of(record: &RunRecord) -> Result<BTreeMap<String, Vec<Site>>> {
    let sites = |sites: &[String]| sites.iter().map(|site| site.parse()).collect::<Result<Vec<Site>, _>>();
    record.pathways.iter().map(|pathway| Ok((pathway.population.clone(), sites(&pathway.sites)?))).collect()
}

fn mediator<'a>(
    recipe: &'a MediateRecipe,
    (seed, batch_tokens): (u64, usize),
    progress: &'a dyn Progress,
) -> Mediator<'a> {
    let evaluate = EvaluateRecipe::default();
    let seed = Seed::new(seed);
    let scorer = Scorer { sets: &[], canaries: &[], recipe: &evaluate, seed, progress };
    Mediator { recipe, bootstrap: scorer.bootstrap(), seed, batch_tokens, progress }
}

/// Where the patched runs of an eval set are kept until the record stands.
fn sites_journal(output: &Path, set: &Population) -> PathBuf {
    output.with_extension(format!("{}.sites.jsonl", set.id))
}

fn remove_all(journals: &[PathBuf]) -> Result<()> {
    journals.iter().try_for_each(|journal| Ok(files::remove(journal)?))
}

/// The eval sets of `evaluate`.
pub(super) fn open_evaluated(args: &Evaluate) -> Result<Vec<Population>> {
    match args.eval_sets.is_empty() {
        true => Ok(Vec::new()),
        false => open_sets(&args.eval_sets, sizes(MediateRecipe::default().pairs), args.seed),
    }
}

/// Scores a checkpoint and writes its record.
pub fn evaluate(args: &Evaluate, format: Format, progress: &dyn Progress) -> Result<()> {
    if !args.tasks.tasks.is_empty() {
        return super::tasks::evaluate(args, format, progress);
    }
    let sets = open_evaluated(args)?;
    let prompts: usize = sets.iter().map(|set| set.items.len() + 2 * set.pairs.len()).sum();
    let job = needs::scoring(EvaluateRecipe::default().batch_tokens, prompts * needs::PROMPT_TOKENS);
    if needs::consider(&args.model.model, &args.model.load, (Batch::Fixed, &|_| Ok(job)), format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let mut record = record_of("checkpoint", &loaded, &sets, args.seed)?;
    let journals = score_sets(args, &loaded, &sets, &mut record, &args.output, progress)?;
    record.save(&args.output)?;
    remove_all(&journals)?;
    print_record(&record, &args.output, terminal::scores(&record, WIDTH), format)
}

/// Adds the scores of eval sets to a record; answers with the journals behind them, which stand beside `output`.
pub(super) fn score_sets(
    args: &Evaluate,
    loaded: &Loaded,
    sets: &[Population],
    record: &mut RunRecord,
    output: &Path,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    let recipe = EvaluateRecipe::default();
    let mediate = MediateRecipe::default();
    let digest = loaded.adapter_digest()?;
    let subject = Subject { model: &loaded.model, adapter: digest.as_ref() };
    let (mut evidence, mut journals) = (Vec::new(), Vec::new());
    if let Some(path) = &args.mediation {
        let pathways = pathways_of(&RunRecord::load(path)?)?;
        for set in sets {
            let sites =
                pathways.get(&set.id).with_context(|| format!("{} has no pathway of {}", path.display(), set.id))?;
            let pairs = MediationPairs::of(set, &loaded.model)?;
            let journal = sites_journal(output, set);
            let again = mediator(&mediate, (args.seed, recipe.batch_tokens), progress)
                .remeasure(subject, &pairs, sites, &journal)?;
            journals.push(journal);
            evidence.push(again.evidence(&set.id));
            record.pathways.push(again.pathway().clone());
            record.effects.extend(again.effects);
            record.checks.extend(again.checks);
        }
    }
    let scorer = Scorer { sets, canaries: &[], recipe: &recipe, seed: Seed::new(args.seed), progress };
    let journal = output.with_extension("scores.jsonl");
    record.scores.extend(scorer.score(subject, evidence, &journal)?.scores);
    journals.push(journal);
    Ok(journals)
}

fn print_record(record: &RunRecord, output: &Path, table: String, format: Format) -> Result<()> {
    match format {
        Format::Json => print_json(record),
        Format::Text => {
            print!("{table}");
            println!("\nrecord: {}", output.display());
            Ok(())
        }
    }
}

/// Patches: every site of given pairs into rows, or the pathway of eval sets into a record.
pub fn mediate(args: &Mediate, format: Format, progress: &dyn Progress) -> Result<()> {
    if super::sweep::consider(args, format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    match (&args.pairs, &args.plan) {
        (None, _) => find_pathways(args, &loaded, format, progress),
        (Some(pairs), None) => super::sweep::run(args, pairs, &loaded, format, progress),
        (Some(pairs), Some(plan)) => super::ablate::run(args, (pairs, plan), &loaded, format, progress),
    }
}

fn find_pathways(args: &Mediate, loaded: &Loaded, format: Format, progress: &dyn Progress) -> Result<()> {
    if args.direction != DirectionArg::Both {
        bail!("--direction chooses the rows of --pairs; a pathway is always judged in both directions");
    }
    if RowFile::is_parquet(&args.output) {
        bail!("--output {} is to hold a record, which is JSON: give a name that ends in .json", args.output.display());
    }
    let mut recipe = MediateRecipe { sites: args.sites.clone(), ..MediateRecipe::default() };
    recipe.pathway.retain(|kind| recipe.sites.contains(kind));
    if recipe.pathway.is_empty() {
        bail!("--sites must hold z, of which a pathway is made");
    }
    let sets = open_sets(&args.eval_sets, sizes(recipe.pairs), args.seed)?;
    let mut record = record_of("mediation", loaded, &sets, args.seed)?;
    let digest = loaded.adapter_digest()?;
    let subject = Subject { model: &loaded.model, adapter: digest.as_ref() };
    let (mut mediated, mut journals) = (Vec::new(), Vec::new());
    for set in &sets {
        let pairs = MediationPairs::of(set, &loaded.model)?;
        let journal = sites_journal(&args.output, set);
        mediated.push(mediator(&recipe, (args.seed, args.batch_tokens), progress).mediate(subject, &pairs, &journal)?);
        journals.push(journal);
    }
    records::add_mediation(&mut record, &mediated);
    record.save(&args.output)?;
    remove_all(&journals)?;
    let lines: Vec<String> = mediated
        .iter()
        .map(|found| format!("{}: {}\n", found.id, records::pathway_line(&found.found.pathway)))
        .collect();
    let table = format!("{}\n{}", terminal::effects(&record, WIDTH), lines.concat());
    print_record(&record, &args.output, table, format)
}

/// Trains one adapter.
pub fn tune(args: &Tune, format: Format, progress: &dyn Progress) -> Result<()> {
    if args.model.load.adapter.is_some() {
        bail!("tune starts from a model without an adapter: leave --adapter out");
    }
    let mut recipe = match &args.recipe {
        Some(path) => Recipe::load(path)?.tune,
        None => TuneRecipe::default(),
    };
    recipe.arms = vec![args.arm.clone()];
    let job = needs::training(&recipe, 1);
    if needs::consider(&args.model.model, &args.model.load, (Batch::Recipe, &|_| Ok(job)), format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let (mut pathways, mut candidates) = (BTreeMap::new(), BTreeMap::new());
    if let Some(path) = &args.mediation {
        let record = RunRecord::load(path)?;
        pathways = pathways_of(&record)?;
        for sweep in &record.sites {
            let sites = sweep.effects.iter().map(|effect| effect.site.parse()).collect::<Result<Vec<Site>, _>>()?;
            candidates.insert(sweep.population.clone(), sites);
        }
    } else if args.arm == "pathway" || args.arm == "random_sites" || args.arm == "causal" {
        bail!("arm {} penalises a pathway: add --mediation RECORD of `counterpath mediate --eval-set …`", args.arm);
    }
    let windows = recipe.steps * recipe.accumulation;
    let each = |n: usize| (windows * n).div_ceil(args.eval_sets.len());
    let sizes = Sizes {
        discovery: 0,
        tuning_items: each(recipe.batch).min(2000),
        tuning_pairs: each(recipe.pairs).min(400),
        texts: 0,
    };
    let sets = open_sets(&args.eval_sets, sizes, args.seed)?;
    let data = tuning::tuning_data(&loaded.model, &sets, &canaries(0, Seed::new(args.seed)))?;
    let sites = PenaltySites { pathways, candidates };
    let specs = tuning::arm_specs(&recipe, (args.seed, 1), &sites, &data, progress)?;
    let spec = specs.first().with_context(|| {
        format!("arm {} has nothing to learn from: it needs labelled prompts, pairs to tune on, or a pathway", args.arm)
    })?;
    let arm = tuning::train_arm(&loaded.model, &loaded.source, spec, &data, &args.arm, &args.output, progress)?;
    let last = arm.curves.last().map_or(f64::NAN, |step| step.total);
    match format {
        Format::Json => print_json(&json!({
            "adapter": arm.folder, "digest": arm.adapter.digest()?, "steps": spec.steps, "seconds": arm.seconds,
            "objective": last,
        })),
        Format::Text => {
            println!("{} steps in {:.1} s, last objective {last:.4}", spec.steps, arm.seconds);
            println!("adapter: {}", arm.folder.display());
            Ok(())
        }
    }
}
