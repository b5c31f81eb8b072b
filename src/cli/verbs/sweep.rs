//! `mediate --pairs`: every site of given pairs, one at a time; and what patching needs before anything loads.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use counterpath::base::{Progress, files};
use counterpath::intervene::{Operations, ReuseEngine};
use counterpath::mediate::{AblationPlan, Grid, Runner, SweepSpec, read_pairs, sweep_operations, sweep_to_file};
use counterpath::model::Architecture;
use counterpath::model::needs::Job;
use counterpath::pipeline::mediation::parse_kinds;
use counterpath::pipeline::recipe::MediateRecipe;
use counterpath::stats::PatchDirection;
use serde_json::json;

use super::super::load::Loaded;
use super::super::needs::{self, Batch, Next};
use super::super::stage_args::{DirectionArg, Mediate};
use super::{Format, print_json};

fn spec(args: &Mediate) -> Result<SweepSpec> {
    let directions = match args.direction {
        DirectionArg::Noise => vec![PatchDirection::Noise],
        DirectionArg::Denoise => vec![PatchDirection::Denoise],
        DirectionArg::Both => vec![PatchDirection::Noise, PatchDirection::Denoise],
    };
    Ok(SweepSpec::new(&parse_kinds(&args.sites)?, Grid::EveryToken, &directions))
}

/// Refuses sites that the architecture does not have and a job that does not fit, before any weight is read.
pub fn consider(args: &Mediate, format: Format) -> Result<Next> {
    let prompts = match &args.pairs {
        Some(path) => files::read_text(path)?.lines().filter(|line| !line.trim().is_empty()).count(),
        None => args.eval_sets.len() * MediateRecipe::default().pairs,
    };
    let tokens = args.pairs.as_ref().map_or(needs::PROMPT_TOKENS, |path| needs::tokens_of(path) / (2 * prompts.max(1)));
    let tokens = tokens.max(1);
    let spec = spec(args)?;
    let plan = args.plan.as_deref().map(AblationPlan::load).transpose()?;
    let job = |architecture: &Architecture| -> Result<Job> {
        if let Some(plan) = &plan {
            return Ok(needs::runs(args.batch_tokens, prompts * plan.runs(architecture)?, tokens));
        }
        spec.check(architecture)?;
        let asked = (args.sites.as_slice(), args.batch_tokens);
        Ok(needs::patching(architecture, asked, spec.directions.len() * prompts, tokens))
    };
    needs::consider(&args.model.model, &args.model.load, (Batch::Tokens, &job), format)
}

/// The engine, with the batch that was asked for.
pub fn engine(args: &Mediate) -> ReuseEngine {
    ReuseEngine { batch_tokens: args.batch_tokens, ..ReuseEngine::default() }
}

/// Sweeps the pairs: rows into the output.
pub fn run(args: &Mediate, pairs: &Path, loaded: &Loaded, format: Format, progress: &dyn Progress) -> Result<()> {
    let pairs = read_pairs(pairs, loaded.model.tokenizer().ok())?;
    let engine = engine(args);
    let runner = Runner { model: &loaded.model, engine: &engine, progress };
    let spec = spec(args)?;
    let adapter = loaded.adapter_digest()?;
    let cost = sweep_operations(&engine, &loaded.model, &pairs, &spec)?;
    let started = Instant::now();
    let rows = sweep_to_file(runner, &pairs, &spec, adapter.as_ref(), &args.output)?;
    let seconds = started.elapsed().as_secs_f64();
    match format {
        Format::Json => print_json(&json!({
            "rows": rows, "pairs": pairs.len(), "output": args.output, "seconds": seconds, "gmacs": gmacs(cost.reused),
            "gmacs_without_reuse": gmacs(cost.naive),
        })),
        Format::Text => {
            println!("{rows} rows of {} pairs written to {}", pairs.len(), args.output.display());
            println!("{}", cost_line(cost, seconds));
            Ok(())
        }
    }
}

/// Multiply–accumulates in thousands of millions.
pub fn gmacs(operations: u64) -> f64 {
    operations as f64 / 1e9
}

/// What a sweep costs in theory, beside the time that it took.
pub fn cost_line(cost: Operations, seconds: f64) -> String {
    let (reused, naive) = (gmacs(cost.reused), gmacs(cost.naive));
    let rate = reused / seconds.max(f64::MIN_POSITIVE);
    format!("{reused:.3} GMAC in {seconds:.2} s ({rate:.1} GMAC/s); one full pass a run would take {naive:.3} GMAC")
}
