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
use counterpath::pipeline::recipe::{Recipe, TuneRecipe};
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

/// Prompts of an eval set, about: items, and both sides of its pairs.
const SET_PROMPTS: usize = 900;

/// Points of a faithfulness curve, and what else of a circuit is run over all its pairs, about.
const CIRCUIT_POINTS: usize = 24;

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

/// The stages of the whole loop, by name, for so many tuned checkpoints.
pub fn whole_loop(recipe: &Recipe, architecture: &Architecture, tuned: usize) -> Vec<(&'static str, Job)> {
    let (sets, checkpoints) = (recipe.eval_sets.len(), 1 + tuned);
    let batch = recipe.evaluate.batch_tokens;
    let pairs = sets * recipe.mediate.pairs;
    // Both directions.
    let swept = patching(architecture, (&recipe.mediate.sites, batch), 2 * pairs, PROMPT_TOKENS);
    let mut stages = vec![
        ("tuning", training(&recipe.tune, tuned)),
        ("scoring", scoring(batch, checkpoints * sets * SET_PROMPTS * PROMPT_TOKENS)),
        ("sweeps", Job { total_tokens: checkpoints * swept.total_tokens, ..swept }),
    ];
    if let Some(circuit) = &recipe.circuit {
        let masks = circuit.random + circuit.minimality + CIRCUIT_POINTS;
        let measured = checkpoints * masks * sets * circuit.pairs;
        stages.push(("attribution", gradients(batch, circuit.steps * pairs * PROMPT_TOKENS)));
        stages.push(("circuits", runs(batch, measured, PROMPT_TOKENS)));
    }
    stages
}

/// Passes with a graph, in batches of prompt length.
pub fn gradients(batch_tokens: usize, total_tokens: usize) -> Job {
    let rows = (batch_tokens / PROMPT_TOKENS).max(1);
    Job { rows, tokens: PROMPT_TOKENS, read: rows, total_tokens, kind: JobKind::Train }
}

/// One run a cell: every kind of site at every layer and position (at every head, for `z`), for so many prompts.
pub fn patching(
    architecture: &Architecture,
    (kinds, batch_tokens): (&[String], usize),
    prompts: usize,
    tokens: usize,
) -> Job {
    let cells = |kind: &String| if kind == "z" { architecture.n_heads } else { 1 };
    let cells: usize = kinds.iter().map(cells).sum::<usize>() * architecture.n_layers * tokens;
    runs(batch_tokens, cells * prompts, tokens)
}

/// So many runs of prompts of so many tokens, each read at its end.
pub fn runs(batch_tokens: usize, runs: usize, tokens: usize) -> Job {
    let rows = (batch_tokens / tokens.max(1)).clamp(1, runs.max(1));
    Job { rows, tokens, read: rows, total_tokens: runs * tokens, kind: JobKind::Score }
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

/// How the batch of a verb is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// `--batch-tokens`.
    Tokens,
    /// `--batch`.
    Rows,
    /// `batch` and `pairs` in a recipe's `[tune]`.
    Recipe,
    /// Not at all.
    Fixed,
}

/// How the batch is set, and the job once the architecture is known.
pub type Asked<'a> = (Batch, &'a dyn Fn(&Architecture) -> Result<Job>);

/// The stages of a job by name, once the architecture is known.
type Stages<'a> = &'a dyn Fn(&Architecture) -> Result<Vec<(&'static str, Job)>>;

/// Refuses a job that does not fit, and prints what it needs where `--dry-run` asks for that. `job` may refuse what the
/// architecture does not have.
pub fn consider(model: &str, load: &LoadArgs, (batch, job): Asked<'_>, format: Format) -> Result<Next> {
    consider_stages(
        model,
        load,
        (batch, &|architecture| Ok(vec![(kind_name(job(architecture)?.kind), job(architecture)?)])),
        format,
    )
}

/// [`consider`] for a job of several stages, one after the other: the largest must fit, and their times add up.
pub fn consider_stages(
    model: &str,
    load: &LoadArgs,
    (batch, stages): (Batch, Stages<'_>),
    format: Format,
) -> Result<Next> {
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
    let (base, stages) = (load.base_dtype, stages(outline.architecture())?);
    let largest = stages.iter().map(|(_, job)| *job).max_by_key(|job| outline.needs(*job, base).bytes());
    if load.device == "cpu"
        && let Some(reason) =
            largest.zip(available()).and_then(|(job, bytes)| refusal(&outline, (job, base), batch, bytes))
    {
        bail!(reason);
    }
    match dry {
        true => print(model, &outline, &stages, base, format).map(|()| Next::Stop),
        false => Ok(Next::Go),
    }
}

/// Why a job cannot be done in so many bytes, and what to change; none where it can.
fn refusal(outline: &Outline, (job, base): (Job, BaseType), batch: Batch, available: u64) -> Option<String> {
    let needs = outline.needs(job, base);
    if needs.bytes() <= available {
        return None;
    }
    let needed = format!(
        "this needs about {} of memory ({} weights in {base}, {} for {} rows of {} tokens) and {} are free",
        size(needs.bytes()),
        size(needs.weights),
        size(needs.batch),
        job.rows,
        job.tokens,
        size(available)
    );
    let Some((other, rows)) = outline.fitting(job, base, available) else {
        return Some(format!("{needed}; no type or batch makes it fit: take a smaller model or a larger machine"));
    };
    let mut changes = Vec::new();
    if other != base {
        changes.push(format!("--base-dtype {other}"));
    }
    if rows != job.rows {
        changes.push(match batch {
            Batch::Tokens => format!("--batch-tokens {}", rows * job.tokens),
            Batch::Rows => format!("--batch {rows}"),
            Batch::Recipe => format!("{rows} rows a step (batch + 4 pairs + canaries of the recipe's [tune])"),
            Batch::Fixed => format!("{rows} rows at a time, which this verb cannot be told: take a smaller model"),
        });
    }
    Some(format!("{needed}; it fits with {}", changes.join(" and ")))
}

fn kind_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Score => "passes",
        JobKind::Generate => "generation",
        JobKind::Train => "training",
    }
}

fn print(model: &str, outline: &Outline, stages: &[(&str, Job)], base: BaseType, format: Format) -> Result<()> {
    let speed = speed()?;
    let needs: Vec<Needs> = stages.iter().map(|(_, job)| outline.needs(*job, base)).collect();
    let seconds = |needs: &Needs| needs.operations / speed;
    let (total, bytes) = (needs.iter().map(seconds).sum::<f64>(), needs.iter().map(Needs::bytes).max().unwrap_or(0));
    if format == Format::Json {
        let stages = stages.iter().zip(&needs).map(|((name, job), needs)| {
            json!({
                "stage": name, "needs": needs, "rows": job.rows, "tokens": job.tokens,
                "total_tokens": job.total_tokens, "seconds": seconds(needs),
            })
        });
        return print_json(&json!({
            "model": model, "parameters": outline.parameters(), "base_dtype": base.to_string(),
            "stages": stages.collect::<Vec<_>>(), "bytes": bytes, "available_bytes": available(),
            "seconds": total, "gflops": speed / 1e9,
        }));
    }
    println!("model       {model}, {} parameters", outline.parameters());
    println!("weights     {} in {base}", size(needs.first().map_or(0, |needs| needs.weights)));
    for ((name, job), needs) in stages.iter().zip(&needs) {
        let time = duration(seconds(needs));
        let Job { rows, tokens, total_tokens, .. } = job;
        println!(
            "{name:11} {} at its peak, {rows} rows of {tokens} tokens; about {time} for {total_tokens} tokens",
            size(needs.batch)
        );
    }
    println!("memory      about {}; free here: {}", size(bytes), available().map_or("unknown".into(), size));
    println!("time        about {} at {:.0} GFLOP/s", duration(total), speed / 1e9);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outline() -> Outline {
        let config = json!({
            "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5
        });
        Outline::new(&config).expect("GPT-2")
    }

    #[test]
    fn a_job_that_does_not_fit_is_told_how_much_is_missing_and_the_batch_that_fits() {
        let outline = outline();
        let kinds = ["resid_pre".to_owned(), "z".to_owned()];
        let job = patching(outline.architecture(), (&kinds, 1 << 16), 20, 8);
        let of = |batch, bytes| refusal(&outline, (job, BaseType::Compute), batch, bytes);
        let needs = outline.needs(job, BaseType::Compute);
        assert_eq!(of(Batch::Tokens, needs.bytes()), None);
        // Half of the batch's memory, more than narrow weights would save: its rows, and nothing else, are changed.
        let bytes = needs.weights + needs.batch / 2 + (1 << 20);
        let said = of(Batch::Tokens, bytes).expect("refused");
        let begin = format!("this needs about {} of memory ({} weights", size(needs.bytes()), size(needs.weights));
        assert!(said.starts_with(&begin) && said.contains(&format!("{} are free", size(bytes))), "{said}");
        let (base, rows) = outline.fitting(job, BaseType::Compute, bytes).expect("fits");
        assert_eq!(base, BaseType::Compute);
        assert!(said.ends_with(&format!("; it fits with --batch-tokens {}", rows * 8)), "{said}");
        // What is told is true.
        let told = patching(outline.architecture(), (&kinds, rows * 8), 20, 8);
        assert_eq!(refusal(&outline, (told, BaseType::Compute), Batch::Tokens, bytes), None);
        assert!(of(Batch::Rows, bytes).expect("refused").ends_with(&format!("--batch {rows}")));
        assert!(of(Batch::Recipe, bytes).expect("refused").contains("[tune]"));
        // The weights alone are too large: another type, and the batch with it.
        let said = of(Batch::Tokens, needs.weights / 2 + (20 << 20)).expect("refused");
        assert!(said.contains("it fits with --base-dtype") && said.contains(" and --batch-tokens"), "{said}");
        let said = of(Batch::Tokens, 1 << 20).expect("refused");
        assert!(said.ends_with("no type or batch makes it fit: take a smaller model or a larger machine"), "{said}");
    }
}
