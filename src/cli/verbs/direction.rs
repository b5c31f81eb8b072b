//! `direction`: fit, test and erase the subspace of a variable.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use counterpath::base::{Digest, Progress, Seed, files};
use counterpath::direction::{
    Card, DasSpec, Direction as Found, Erasure, FitSpec, FittedOn, HeldOut, JudgeSpec, Material, Named, OwnRule,
    SameWeights, disentangle, erase, fit, fold, test,
};
use counterpath::mediate::read_pairs;
use counterpath::model::convert::{Origin, WriteOptions, rewrite};
use counterpath::model::hub;
use counterpath::model::reference::CheckpointRef;
use counterpath::pipeline::population::{Population, Sizes};
use counterpath::scenario::Split;
use counterpath::stats::Bootstrap;
use serde_json::json;

use super::super::direction_args::{Direction, Erase, Fit, PairArgs, Test, What};
use super::super::load::{Loaded, hub_options, load};
use super::super::needs::{self, Batch, Next};
use super::direction_text as text;
use super::{Format, print_json};

/// Random subspaces that the held-out checks draw: the least p-value is 1/21.
const RANDOM_DRAWS: usize = 20;
/// Of a file of pairs, the share of clusters that a fit sees.
const FITTED_SHARE: f64 = 0.6;
const REPLICATES: usize = 2000;

/// Does what was asked for.
pub fn run(args: &Direction, format: Format, progress: &dyn Progress) -> Result<()> {
    match &args.what {
        What::Fit(args) => run_fit(args, format, progress),
        What::Test(args) => run_test(args, format, progress),
        What::Erase(args) => run_erase(args, format, progress),
    }
}

fn judging(seed: u64) -> JudgeSpec {
    let bootstrap = Bootstrap { replicates: REPLICATES, level: 0.95, seed: Seed::new(seed).fork("judge") };
    JudgeSpec { random_draws: RANDOM_DRAWS, bootstrap }
}

fn run_fit(args: &Fit, format: Format, progress: &dyn Progress) -> Result<()> {
    let das = DasSpec { steps: args.steps, ..DasSpec::new(args.rank.unwrap_or(1), Seed::new(args.seed).fork("das")) };
    let job = needs::subspace(&das);
    if needs::consider(&args.model.model, &args.model.load, (Batch::Fixed, &|_| Ok(job)), format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let pairs = Pairs::open(&args.source, &loaded, args.fit_pairs, args.seed)?;
    let (fitted, held_out) = pairs.parts(args.variable.as_deref())?;
    let spec = FitSpec { method: args.method, rank: args.rank, das, judge: judging(args.seed) };
    let found = fit(&loaded.model, &args.site, (&fitted, &held_out), &spec, progress)?;
    let fitted_on = FittedOn {
        model: loaded.source.clone(),
        family: loaded.base.architecture().family.clone(),
        model_digest: loaded.base.digest().clone(),
        adapter: loaded.adapter_digest()?,
        population: pairs.name.clone(),
        population_digest: pairs.digest.clone(),
        variable: args.variable.clone(),
        seed: args.seed,
    };
    let card = Card::save(&args.output, &found, fitted_on)?;
    match format {
        Format::Json => print_json(&card),
        Format::Text => {
            print!("{}", text::card(&card));
            println!("direction: {}", args.output.display());
            Ok(())
        }
    }
}

fn run_test(Test { directions, again: args }: &Test, format: Format, progress: &dyn Progress) -> Result<()> {
    let opened = directions.iter().map(|folder| Card::load(folder)).collect::<Result<Vec<_>, _>>()?;
    if needs::consider(
        &args.model.model,
        &args.model.load,
        (Batch::Fixed, &|_| Ok(needs::judging(RANDOM_DRAWS))),
        format,
    )? == Next::Stop
    {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let pairs = Pairs::open(&args.source, &loaded, 0, args.seed)?;
    let spec = judging(args.seed);
    let (mut results, mut named): (Vec<(String, HeldOut, usize)>, Vec<Named>) = (Vec::new(), Vec::new());
    for ((card, direction), folder) in opened.into_iter().zip(directions) {
        let (material, left_out) = unseen(&card, &direction, &loaded, args.other_model, &pairs)?;
        let held_out = test(&loaded.model, &direction, &material, &spec, progress)
            .with_context(|| format!("{}", folder.display()))?;
        results.push((folder.display().to_string(), held_out, left_out));
        let variable = card.fitted_on.variable.clone().unwrap_or_else(|| folder.display().to_string());
        named.push(Named { variable, direction, pairs: material.pairs });
    }
    let table = match named.len() {
        1 => None,
        _ => Some(disentangle(&loaded.model, &named, OwnRule::default(), &spec, progress)?),
    };
    let one = |(folder, held_out, left_out): &(String, HeldOut, usize)| json!({ "direction": folder, "held_out": held_out, "pairs_seen_by_the_fit_and_left_out": left_out });
    let json = json!({
        "model_digest": loaded.base.digest(), "adapter": loaded.adapter_digest()?, "population": pairs.name,
        "population_digest": pairs.digest, "seed": args.seed,
        "directions": results.iter().map(one).collect::<Vec<_>>(), "disentanglement": table,
    });
    written(args.output.as_deref(), &json)?;
    if format == Format::Json {
        return print_json(&json);
    }
    for (folder, held_out, left_out) in &results {
        println!("{folder} on {} pairs of {} ({left_out} that the fit saw are left out)", held_out.pairs, pairs.name);
        print!("{}", text::held_out(held_out));
    }
    if let Some(table) = &table {
        print!("{}", text::table(table));
    }
    Ok(())
}

fn run_erase(erased: &Erase, format: Format, progress: &dyn Progress) -> Result<()> {
    let args = &erased.again;
    let (card, direction) = Card::load(&erased.direction)?;
    if needs::consider(&args.model.model, &args.model.load, (Batch::Fixed, &|_| Ok(needs::judging(0))), format)?
        == Next::Stop
    {
        return Ok(());
    }
    if erased.write_checkpoint.is_some() && args.model.load.adapter.is_some() {
        bail!("--write-checkpoint writes the base's weights: merge the adapter first with `counterpath convert`");
    }
    let loaded = load(&args.model, progress)?;
    let pairs = Pairs::open(&args.source, &loaded, 0, args.seed)?;
    let (material, left_out) = unseen(&card, &direction, &loaded, args.other_model, &pairs)?;
    let erasure = erase(&loaded.model, &direction, &material, &judging(args.seed).bootstrap, progress)?;
    let folded = match &erased.write_checkpoint {
        None => None,
        Some(folder) => {
            let folded = fold(&loaded.model, &direction, &material.pairs)?;
            write_checkpoint(&args.model.model, &folded.model, folder, progress)?;
            Some(json!({ "checkpoint": folder, "digest": folded.model.digest(), "check": folded.check }))
        }
    };
    let json = json!({
        "direction": erased.direction, "site": direction.site, "method": direction.method,
        "model_digest": loaded.base.digest(), "adapter": loaded.adapter_digest()?, "population": pairs.name,
        "population_digest": pairs.digest, "pairs": material.pairs.len(),
        "pairs_seen_by_the_fit_and_left_out": left_out, "erasure": erasure, "folded": folded, "seed": args.seed,
    });
    written(args.output.as_deref(), &json)?;
    if format == Format::Json {
        return print_json(&json);
    }
    println!("{} at {} on {} pairs of {}", direction.method, direction.site, material.pairs.len(), pairs.name);
    let Erasure { variable, others } = &erasure;
    print!("{}", text::erased("the variable", variable));
    if let Some(others) = others {
        print!("{}", text::erased("other variables", others));
    }
    if let Some(folder) = &erased.write_checkpoint {
        println!("checkpoint: {}", folder.display());
    }
    Ok(())
}

/// The pairs to judge a direction on: those of its variable that its fit has not seen.
fn unseen(
    card: &Card,
    direction: &Found,
    loaded: &Loaded,
    other_model: bool,
    pairs: &Pairs<'_>,
) -> Result<(Material, usize)> {
    let same = if other_model { SameWeights::NotNeeded } else { SameWeights::Needed };
    card.check(&loaded.base, same)?;
    counterpath::direction::placed(&loaded.model, direction)?;
    let seen: BTreeSet<String> = card.training.pairs.iter().cloned().collect();
    let (material, left_out) = pairs.all(card.fitted_on.variable.as_deref())?.without(&seen, &pairs.seed);
    if material.pairs.is_empty() {
        bail!("all {left_out} pairs of {} were seen by the fit: give others", pairs.name);
    }
    Ok((material, left_out))
}

/// The pairs that were named on the command line.
struct Pairs<'a> {
    name: String,
    digest: Digest,
    loaded: &'a Loaded,
    source: Source,
    seed: Seed,
}

enum Source {
    File(Vec<counterpath::intervene::TokenPair>),
    Set(Box<Population>),
}

impl<'a> Pairs<'a> {
    fn open(args: &PairArgs, loaded: &'a Loaded, fitted: usize, seed: u64) -> Result<Self> {
        let root = Seed::new(seed);
        let (name, digest, source) = match (&args.pairs, &args.eval_set) {
            (Some(path), _) => {
                let digest = Digest::of(&files::read(path, files::TEXT_LIMIT)?);
                let pairs = read_pairs(path, loaded.model.tokenizer().ok())?;
                (path.display().to_string(), digest, Source::File(pairs))
            }
            (None, Some(name)) => {
                let sizes = Sizes { discovery: fitted, tuning_items: 0, tuning_pairs: 0, texts: 0 };
                let set = Population::open(name, None, sizes, root)?;
                (name.clone(), set.identity().digest, Source::Set(Box::new(set)))
            }
            (None, None) => bail!("give --pairs or --eval-set"),
        };
        Ok(Self { name, digest, loaded, source, seed: root.fork("pairs") })
    }

    /// What a fit sees, and what it is judged on.
    fn parts(&self, variable: Option<&str>) -> Result<(Material, Material)> {
        match (&self.source, variable) {
            (Source::File(pairs), _) => Ok(Material::split(pairs.clone(), FITTED_SHARE, &self.seed)),
            (Source::Set(set), Some(variable)) => {
                let part = |split| self.of_set(set, variable, split);
                Ok((part(Split::Discovery)?, part(Split::Evaluation)?))
            }
            (Source::Set(_), None) => bail!("--eval-set needs --variable"),
        }
    }

    /// Everything that can be judged on.
    fn all(&self, variable: Option<&str>) -> Result<Material> {
        match (&self.source, variable) {
            (Source::File(pairs), _) => Ok(Material::new(pairs.clone(), Vec::new(), &self.seed)),
            (Source::Set(set), Some(variable)) => self.of_set(set, variable, Split::Evaluation),
            (Source::Set(_), None) => {
                bail!("the direction was fitted on a file of pairs that names no variable: give --pairs")
            }
        }
    }

    fn of_set(&self, set: &Population, variable: &str, split: Split) -> Result<Material> {
        let pairs: Vec<_> = set.pairs_of(split).collect();
        Ok(Material::of_variable(self.loaded.model.tokenizer()?, &pairs, variable, &self.seed)?)
    }
}

fn write_checkpoint(
    model: &str,
    changed: &counterpath::model::LanguageModel,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let options = WriteOptions::default();
    match CheckpointRef::parse(model)? {
        CheckpointRef::Embedded => rewrite(Origin::Embedded, changed, folder, &options, progress)?,
        CheckpointRef::Folder(path) => rewrite(Origin::Path(&path), changed, folder, &options, progress)?,
        CheckpointRef::Hub { id, revision } => {
            let cached = hub::fetch(&id, &revision, &hub_options()?, progress)?;
            rewrite(Origin::Path(&cached), changed, folder, &options, progress)?
        }
    };
    Ok(())
}

fn written(path: Option<&Path>, json: &serde_json::Value) -> Result<()> {
    match path {
        Some(path) => Ok(files::write_json(path, json)?),
        None => Ok(()),
    }
}
