//! Before anything loads: what a job will need, whether this machine has it, and about how long it takes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use counterpath::direction::DasSpec;
use counterpath::intervene::NaiveEngine;
use counterpath::model::needs::{Job, JobKind, Needs, Outline};
use counterpath::model::reference::CheckpointRef;
use counterpath::model::{Architecture, BaseType};
use counterpath::pipeline::recipe::TuneRecipe;
use serde_json::json;

use super::args::LoadArgs;
use super::verbs::{Format, print_json};

/// Whether the work is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is.
    Go,
    /// The needs were all that was asked for.
    Stop,
}

/// Bytes of a token of text, about.
const TOKEN_BYTES: u64 = 4;

/// Tokens of a prompt whose length is not known yet.
pub const PROMPT_TOKENS: usize = 64;

/// A batch of so many tokens in rows of prompt length, a quarter of its positions read.
pub fn scoring(batch_tokens: usize, total_tokens: usize) -> Job {
    let rows = (batch_tokens / PROMPT_TOKENS).clamp(1, (total_tokens / PROMPT_TOKENS).max(1));
    let read = (rows * PROMPT_TOKENS).div_ceil(4);
    Job { rows, tokens: PROMPT_TOKENS, read, total_tokens, kind: JobKind::Score }
}

/// Steps of training on rows of prompt length, the loss read at the last position of each.
pub fn training(recipe: &TuneRecipe, arms: usize) -> Job {
    // A pair of each kind has two sides.
    let rows = recipe.batch + 4 * recipe.pairs + recipe.canaries;
    let total_tokens = arms * recipe.steps * recipe.accumulation * rows * PROMPT_TOKENS;
    Job { rows, tokens: PROMPT_TOKENS, read: rows, total_tokens, kind: JobKind::Train }
}

/// Passes with a graph, in batches of prompt length.
pub fn gradients(batch_tokens: usize, total_tokens: usize) -> Job {
    let rows = (batch_tokens / PROMPT_TOKENS).max(1);
    Job { rows, tokens: PROMPT_TOKENS, read: rows, total_tokens, kind: JobKind::Train }
}

/// One run a cell: every kind of site at every layer and position (at every head, for `z`), for so many prompts.
pub fn patching(architecture: &Architecture, kinds: &[String], prompts: usize, tokens: usize) -> Job {
    let cells = |kind: &String| if kind == "z" { architecture.n_heads } else { 1 };
    let cells: usize = kinds.iter().map(cells).sum::<usize>() * architecture.n_layers * tokens;
    let batch = NaiveEngine::default().batch_tokens;
    Job { read: batch / tokens.max(1), tokens, ..scoring(batch, cells * prompts * tokens) }
}

/// Training of a subspace: every start's steps over a batch of interchanges, two rows each.
pub fn subspace(spec: &DasSpec) -> Job {
    let rows = 2 * spec.batch;
    let total_tokens = (1 + spec.random_starts) * spec.steps * rows * PROMPT_TOKENS;
    Job { rows, tokens: PROMPT_TOKENS, read: rows, total_tokens, kind: JobKind::Train }
}

/// Interchanges of a hundred pairs or so, both ways, in a subspace and its controls.
pub fn judging(random_draws: usize) -> Job {
    scoring(NaiveEngine::default().batch_tokens, (random_draws + 8) * 400 * PROMPT_TOKENS)
}

/// Tokens of a file of text, about.
pub fn tokens_of(path: &std::path::Path) -> usize {
    counterpath::base::files::size(path).map_or(0, |bytes| bytes.div_ceil(TOKEN_BYTES) as usize)
}

/// Refuses a job that does not fit, and prints what it needs where `--dry-run` asks for that.
pub fn consider(model: &str, load: &LoadArgs, job: &dyn Fn(&Architecture) -> Job, format: Format) -> Result<Next> {
    let dry = load.dry_run;
    let outline = match CheckpointRef::parse(model)? {
        CheckpointRef::Folder(folder) => Outline::read(&folder)?,
        CheckpointRef::Hub { .. } if dry => {
            bail!("--dry-run downloads nothing: fetch {model} first, and give its folder")
        }
        // What is not here yet cannot be looked at.
        CheckpointRef::Hub { .. } => return Ok(Next::Go),
        CheckpointRef::Embedded => {
            Outline::new(&serde_json::from_str(include_str!("../../models/embedded/config.json"))?)?
        }
    };
    let (base, job) = (load.base_dtype, job(outline.architecture()));
    let needs = outline.needs(job, base);
    if load.device == "cpu" {
        refuse(&outline, job, base, needs)?;
    }
    match dry {
        true => print(model, &outline, job, base, needs, format).map(|()| Next::Stop),
        false => Ok(Next::Go),
    }
}

fn refuse(outline: &Outline, job: Job, base: BaseType, needs: Needs) -> Result<()> {
    let Some(available) = available() else { return Ok(()) };
    if needs.bytes() <= available {
        return Ok(());
    }
    let (needed, free) = (size(needs.bytes()), size(available));
    match outline.fitting(job, base, available) {
        Some((other, rows)) => bail!(
            "this needs about {needed} of memory ({} weights in {base}, {} for {} rows of {} tokens), and {free} are \
             free; it fits with --base-dtype {other} and {rows} rows at a time",
            size(needs.weights),
            size(needs.batch),
            job.rows,
            job.tokens
        ),
        None => bail!("this needs about {needed} of memory and {free} are free; no type or batch makes it fit"),
    }
}

fn print(model: &str, outline: &Outline, job: Job, base: BaseType, needs: Needs, format: Format) -> Result<()> {
    let speed = speed()?;
    let seconds = needs.operations / speed;
    if format == Format::Json {
        return print_json(&json!({
            "model": model, "parameters": outline.parameters(), "base_dtype": base.to_string(), "needs": needs,
            "bytes": needs.bytes(), "available_bytes": available(), "rows": job.rows, "tokens": job.tokens,
            "total_tokens": job.total_tokens, "seconds": seconds, "gflops": speed / 1e9,
        }));
    }
    println!("model      {model}, {} parameters", outline.parameters());
    println!("weights    {} in {base}", size(needs.weights));
    let kind = match job.kind {
        JobKind::Score => "passes",
        JobKind::Generate => "generation",
        JobKind::Train => "training",
    };
    println!("{kind:10} {} at its peak, {} rows of {} tokens", size(needs.batch), job.rows, job.tokens);
    println!("memory     about {}; free here: {}", size(needs.bytes()), available().map_or("unknown".into(), size));
    println!("time       about {} for {} tokens at {:.0} GFLOP/s", duration(seconds), job.total_tokens, speed / 1e9);
    Ok(())
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e9 => format!("{:.0} MB", (b / 1e6).ceil()),
        b => format!("{:.1} GB", b / 1e9),
    }
}

/// Bytes that this process may still take: what the system has free, and what its control group leaves.
fn available() -> Option<u64> {
    let number = |path: &str| std::fs::read_to_string(PathBuf::from(path)).ok()?.trim().parse::<u64>().ok();
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let free = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Some(group.map_or(free, |(most, used)| free.min(most.saturating_sub(used))))
}

/// Floating-point operations a second of a matrix product of the size that a pass has.
fn speed() -> Result<f64> {
    let (m, k, n) = (512, 768, 1024);
    let a = Tensor::ones((m, k), candle_core::DType::F32, &Device::Cpu)?;
    let b = Tensor::ones((k, n), candle_core::DType::F32, &Device::Cpu)?;
    let mut best = Duration::MAX;
    for _ in 0..8 {
        let started = Instant::now();
        a.matmul(&b)?;
        best = best.min(started.elapsed());
    }
    // A pass spends about a fifth of its time beside its products.
    Ok(0.8 * (2 * m * k * n) as f64 / best.as_secs_f64())
}
