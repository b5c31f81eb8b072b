//! Whole jobs, timed: a forward pass, a LoRA step, generation, and models of random weights to run them on. Prints one
//! JSON object, as the peers' scripts do.
//!
//! ```text
//! cargo run --release --example bench-jobs -- make --shape llama-1b --dtype bf16 --output FOLDER
//! cargo run --release --example bench-jobs -- forward --model FOLDER --logits all
//! cargo run --release --example bench-jobs -- score --model FOLDER --golden GOLDEN/score/NAME
//! cargo run --release --example bench-jobs -- lora --model FOLDER --targets qv
//! cargo run --release --example bench-jobs -- generate --model FOLDER --tokens 64
//! cargo run --release --example bench-jobs -- sweep --model FOLDER --golden GOLDEN/patch_sweep/NAME --sites resid
//! cargo run --release --example bench-jobs -- attribution --model FOLDER --golden GOLDEN/attribution/MODEL
//! cargo run --release --example bench-jobs -- bootstrap --items 10000 --cluster-size 4 --replicates 100000
//! ```

#[path = "attribution.rs"]
mod attribution;
#[path = "bootstrap.rs"]
mod bootstrap;
#[path = "../../src/cli/process.rs"]
mod process;
#[path = "random_model.rs"]
mod random_model;
#[path = "score.rs"]
mod score_items;
#[path = "sweep.rs"]
mod sweep;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use counterpath::base::seed::index;
use counterpath::base::{Seed, Silent};
use counterpath::model::generate::{GenerateOptions, GenerateRequest, Stop, complete};
use counterpath::model::{Adapter, LanguageModel, LoadOptions, LoraSpec, NoHooks, Readout, Row, TargetModules};
use counterpath::model::{score, target_logprobs};
use counterpath::tune::optimizer::{AdamW, AdamWSpec, Decay};
use serde_json::{Value, json};

/// One job.
#[derive(Parser)]
struct Args {
    /// What matrices are kept in: f32, keep, bf16, f16, q8_0, q4_k, …
    #[arg(long, default_value = "f32")]
    base_dtype: String,
    /// make, forward, score, lora, generate, sweep, attribution or bootstrap
    job: String,
    /// The model's folder
    #[arg(long)]
    model: Option<PathBuf>,
    /// What `make` writes: gpt2-small, smollm-135m, llama-15m, llama-1b, llama-3b
    #[arg(long, default_value = "llama-1b")]
    shape: String,
    /// The type that `make` stores
    #[arg(long, default_value = "bf16")]
    dtype: String,
    /// Where `make` writes
    #[arg(long)]
    output: Option<PathBuf>,
    #[arg(long, default_value_t = 8)]
    batch: usize,
    #[arg(long, default_value_t = 128)]
    len: usize,
    /// all or last
    #[arg(long, default_value = "all")]
    logits: String,
    /// qv or all-linear
    #[arg(long, default_value = "qv")]
    targets: String,
    /// Scores of edges in place of nodes (`attribution`)
    #[arg(long)]
    edges: bool,
    /// New tokens of `generate`
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// What a peer's script wrote for this model with `--golden`: inputs, and what to meet
    #[arg(long)]
    golden: Option<PathBuf>,
    /// resid or z
    #[arg(long, default_value = "resid")]
    sites: String,
    /// Also run every cell of a sweep on the naive engine, and fail where one lies apart
    #[arg(long)]
    naive: bool,
    /// Items of `score`, where not all, and of `bootstrap`, where not 10,000
    #[arg(long)]
    items: Option<usize>,
    /// Most tokens of one batch of `score`, `sweep` and `attribution`, where not as the library has it
    #[arg(long)]
    batch_tokens: Option<usize>,
    /// Items a cluster of `bootstrap`
    #[arg(long, default_value_t = 4)]
    cluster_size: usize,
    /// Replicates of `bootstrap`
    #[arg(long, default_value_t = 100_000)]
    replicates: usize,
    #[arg(long, default_value_t = 3)]
    reps: usize,
    #[arg(long, default_value_t = 1)]
    warmup: usize,
}

fn main() -> Result<()> {
    process::prepare();
    process::in_pool(work)?
}

fn work() -> Result<()> {
    let args = Args::parse();
    if args.job == "make" {
        return random_model::write(&args.shape, &args.dtype, args.output.as_deref().context("make needs --output")?);
    }
    if args.job == "bootstrap" {
        let mut line = json!({"job": args.job, "impl": "counterpath", "threads": rayon::current_num_threads()});
        if let (Some(line), Value::Object(part)) = (line.as_object_mut(), bootstrap::run(&args)?) {
            line.extend(part);
        }
        println!("{line}");
        return Ok(());
    }
    let folder = args.model.clone().context("--model FOLDER")?;
    let started = Instant::now();
    let model =
        LanguageModel::load(&folder, &LoadOptions { base: args.base_dtype.parse()?, ..LoadOptions::default() })?;
    let loaded = json!({"load_s": started.elapsed().as_secs_f64(), "rss_loaded_mb": memory("VmRSS"), "peak_load_mb": memory("VmHWM")});
    let job = match args.job.as_str() {
        "forward" => forward(&model, &args)?,
        "score" => match &args.golden {
            Some(folder) => score_items::run(&model, folder, &args)?,
            None => scores(&model, &args)?,
        },
        "lora" => lora(&model, &args)?,
        "generate" => generation(&model, &args)?,
        "sweep" => sweep::run(&model, &args)?,
        "attribution" => attribution::run(&model, &args)?,
        other => bail!("no job {other:?}"),
    };
    let mut line = json!({
        "job": args.job, "impl": "counterpath", "model": folder, "batch": args.batch, "len": args.len,
        "base_dtype": args.base_dtype, "threads": rayon::current_num_threads(), "version": env!("CARGO_PKG_VERSION"), "peak_rss_mb": memory("VmHWM"),
    });
    for part in [loaded, job] {
        if let (Some(line), Value::Object(part)) = (line.as_object_mut(), part) {
            line.extend(part);
        }
    }
    println!("{line}");
    Ok(())
}

/// A line of /proc/self/status in MB; none elsewhere.
fn memory(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}

/// Median, least and largest wall time of `reps` calls after `warmup`.
fn timed(args: &Args, tokens: usize, mut work: impl FnMut() -> Result<()>) -> Result<Value> {
    let mut seconds = Vec::new();
    for call in 0..args.warmup + args.reps.max(1) {
        let started = Instant::now();
        work()?;
        if call >= args.warmup {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    Ok(json!({
        "median_s": median, "min_s": seconds[0], "max_s": seconds[seconds.len() - 1], "reps": args.reps,
        "warmup": args.warmup, "tokens_per_s": tokens as f64 / median,
    }))
}

fn rows(model: &LanguageModel, args: &Args) -> Vec<Vec<u32>> {
    let mut rng = Seed::new(9).rng();
    let vocab = model.architecture().vocab_size;
    (0..args.batch).map(|_| (0..args.len).map(|_| index(&mut rng, vocab) as u32).collect()).collect()
}

fn forward(model: &LanguageModel, args: &Args) -> Result<Value> {
    let ids_bt = Tensor::new(rows(model, args), &Device::Cpu)?;
    let last: Vec<(usize, usize)> = (0..args.batch).map(|row| (row, args.len - 1)).collect();
    let readout = if args.logits == "all" { Readout::All } else { Readout::Rows(&last) };
    let mut result = timed(args, args.batch * args.len, || {
        model.forward(&ids_bt, readout, &mut NoHooks)?;
        Ok(())
    })?;
    result["logits"] = json!(args.logits);
    Ok(result)
}

/// Log-likelihoods of the second half of each row.
fn scores(model: &LanguageModel, args: &Args) -> Result<Value> {
    let request = |ids: Vec<u32>| {
        let (context, continuation) = ids.split_at(args.len / 2);
        score::ScoreRequest { context: context.to_vec(), continuation: continuation.to_vec() }
    };
    let requests: Vec<_> = rows(model, args).into_iter().map(request).collect();
    let mut sum = 0.0;
    let mut result = timed(args, args.batch * args.len, || {
        let scores = score::score(model, &requests, args.batch * args.len, &Silent)?;
        sum = scores.iter().map(|score| score.loglikelihood).sum();
        Ok(())
    })?;
    result["loglikelihood"] = json!(sum);
    Ok(result)
}

fn lora(model: &LanguageModel, args: &Args) -> Result<Value> {
    let gpt2 = model.architecture().family == "gpt2";
    let targets = match args.targets.as_str() {
        "qv" if gpt2 => TargetModules::List(vec!["c_attn".into()]),
        "qv" => TargetModules::List(vec!["q_proj".into(), "v_proj".into()]),
        _ => TargetModules::Pattern("all-linear".into()),
    };
    let spec = LoraSpec { rank: 8, alpha: 16.0, target_modules: targets, rslora: false };
    let adapter = Adapter::init(model, &spec, Seed::new(3))?;
    let adapted = model.with_adapter(&adapter)?;
    let mut optimizer = AdamW::new(adapter.trainable(), |_, _| Decay::Decayed, AdamWSpec::default())?;
    let predicted = |ids: &Vec<u32>| ids.iter().enumerate().skip(1).map(|(at, id)| (at - 1, *id)).collect();
    let rows: Vec<Row> =
        rows(model, args).iter().map(|ids| Row { ids: ids.clone(), targets: predicted(ids) }).collect();
    let mut losses = Vec::new();
    let mut result = timed(args, args.batch * args.len, || {
        let loss = target_logprobs(&adapted, &rows, &mut NoHooks)?.mean_all()?.neg()?;
        let gradients = loss.backward()?;
        let all =
            optimizer.parameters().map(|(name, var)| gradients.get(var).cloned().with_context(|| name.to_owned()));
        let all = all.collect::<Result<Vec<_>>>()?;
        drop(gradients);
        optimizer.step(&all, 1e-3)?;
        losses.push(loss.to_dtype(DType::F64)?.to_scalar::<f64>()?);
        Ok(())
    })?;
    result["targets"] = json!(args.targets);
    result["trainable"] = json!(adapter.parameter_count());
    result["losses"] = json!(losses);
    Ok(result)
}

fn generation(model: &LanguageModel, args: &Args) -> Result<Value> {
    let prompts = rows(model, args).into_iter().enumerate();
    let requests: Vec<_> = prompts.map(|(id, prompt)| GenerateRequest { id: id.to_string(), prompt }).collect();
    let options = GenerateOptions { stop: Stop::AtLimit, batch: args.batch, ..GenerateOptions::greedy(args.tokens) };
    timed(args, args.batch * args.tokens, || {
        complete(model, &requests, &options, &mut NoHooks, &mut |_| {}, &Silent)?;
        Ok(())
    })
}
