//! The command line, as clap reads it: the verbs, and what those that read a model share. Each group of verbs has its
//! arguments in a file of its own.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use counterpath::model::BaseType;

use super::benchmark_args::Benchmark;
use super::causal_args::{Audit, Discover, Estimate, Identify, Table, Transport};
use super::checkpoint_args::{Convert, Inspect};
use super::circuit_args::Circuit;
use super::compare_args::{Compare, Export, Gate};
use super::direction_args::Direction;
use super::loop_args::{Quickstart, Report, Run};
use super::perturb_args::Perturb;
use super::stage_args::{Evaluate, Generate, Mediate, Tune};
use super::task_args::{Ls, Validate};
use super::text_args::{Complete, Score};

/// Evaluate and repair open language models causally.
#[derive(Debug, Parser)]
#[command(name = "counterpath", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Print nothing but results and errors.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the whole loop on the embedded model: evaluate, mediate, tune five adapters, rescore, compare, report
    Quickstart(Quickstart),
    /// Run the whole loop from a recipe
    Run(Run),
    /// Write the items and counterfactual pairs of a scenario
    Generate(Generate),
    /// Score a checkpoint on eval sets (the five objectives, per item) and on tasks over data sets
    Evaluate(Box<Evaluate>),
    /// List tasks, groups, tags, metrics or perturbations
    Ls(Ls),
    /// Read tasks, render their first documents and check types, without a model
    Validate(Validate),
    /// Patch activations: effects site by site for pairs, or the pathway of an eval set
    Mediate(Mediate),
    /// Measure methods on models whose answers are known
    #[command(subcommand)]
    Benchmark(Benchmark),
    /// Find the edges that carry an effect, measure a circuit, or compare one on two checkpoints
    #[command(subcommand)]
    Circuit(Circuit),
    /// Find the subspace in which a variable stands, judge it on other pairs, and erase it
    Direction(Direction),
    /// Write variants of a task's questions under declared perturbations, and show what changed
    Perturb(Perturb),
    /// Train one adapter with causal regularizers
    Tune(Tune),
    /// Compare two or more records or logs of other harnesses, paired by item
    Compare(Compare),
    /// Hold candidates against a baseline by rules, for pipelines: exit code 1 where a rule is broken
    Gate(Gate),
    /// Write a record or log as inspect logs, or its items as Parquet or JSONL
    Export(Export),
    /// Write the report of a finished run
    Report(Report),
    /// Log-likelihoods of continuations, for other programs
    Score(Score),
    /// Write a scenario's variables and a model's outcomes as a table, one row an item as it naturally occurs
    Table(Table),
    /// Say whether an effect follows from data under a causal graph: the estimand with its assumptions, or the proof that none exists
    Identify(Identify),
    /// Estimate an identified effect on a table, with its assumptions and what an omitted confounder could do
    Estimate(Estimate),
    /// Estimate an effect and try to break it: placebo, dummy outcome, random common cause, subset, controls, implications
    Refute(Estimate),
    /// Run the request of an estimate's record again and compare to the bit
    Audit(Audit),
    /// Propose graphs that agree with a table: PC, FCI, GES, LiNGAM, with the stability of edges
    Discover(Discover),
    /// Say whether an effect of one domain follows from data and experiments of several
    Transport(Transport),
    /// Say what a metric is: definition, formula, source, interval, golden values, and how its variants differ
    Explain(Explain),
    /// Continue prompts, greedily or by sampling
    Complete(Complete),
    /// Show a model's architecture and hook points, or write its activations
    Inspect(Inspect),
    /// Write any checkpoint as a Hugging Face folder
    Convert(Convert),
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The metric's name, such as acc_norm@lm-eval; without it all metrics are listed
    #[arg(value_name = "METRIC")]
    pub metric: Option<String>,
}

/// Which checkpoint, and how it is loaded.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// `embedded`, a Hugging Face folder, a weights file (safetensors, PyTorch .bin, GGUF, llama2.c), or a hub id:
    /// org/name or org/name@revision
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// How a checkpoint is loaded.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// A PEFT adapter folder on top of the model
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Refuse weights that are NaN or infinite
    #[arg(long)]
    pub check_finite: bool,
    /// What embedding and linear layers are kept in: f32, keep (as the file has them), bf16, f16, q8_0, q5_0, q4_0, q6_k, q5_k, q4_k
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = base_type)]
    pub base_dtype: BaseType,
    /// Print what the job will need in memory and time, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub chat: ChatArgs,
}

/// Whether prompts are turns of a conversation.
#[derive(Debug, Clone, Default, Args)]
pub struct ChatArgs {
    /// Put the checkpoint's chat template around every prompt; answers begin the model's turn
    #[arg(long)]
    pub chat_template: bool,
    /// What the system says before it
    #[arg(long, value_name = "TEXT", requires = "chat_template")]
    pub system: Option<String>,
}

fn base_type(text: &str) -> Result<BaseType, String> {
    text.parse().map_err(|error: counterpath::model::ModelError| error.to_string())
}
