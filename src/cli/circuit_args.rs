//! The arguments of `circuit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::args::ModelArgs;

/// What is done with a circuit.
#[derive(Debug, Subcommand)]
pub enum Circuit {
    /// Score every edge, take a circuit, and measure and judge it on held-out pairs
    Discover(Discover),
    /// Measure and judge a circuit file on pairs
    Evaluate(Evaluate),
    /// Run one circuit file on two checkpoints, pair by pair
    Compare(Compare),
}

/// Which pairs, and what is read off them.
#[derive(Debug, Args)]
pub struct PairArgs {
    /// Pairs (JSONL) as `mediate` reads them; prompts of equal length
    #[arg(long, value_name = "JSONL", conflicts_with = "eval_set")]
    pub pairs: Option<PathBuf>,
    /// The pairs of an eval set (shipped name or folder) on which nothing but a spurious cause moves
    #[arg(long, value_name = "NAME|FOLDER", required_unless_present = "pairs")]
    pub eval_set: Option<String>,
    /// The metric's sign: plain (log-odds of answer a over b), declared (falls where the pair's do works as designed), measured (each pair's effect counts positive) [default: plain for --pairs; for --eval-set declared, turned so that the model's mean effect on its discovery pairs is positive]
    #[arg(long, value_enum)]
    pub sign: Option<SignArg>,
    /// What a cut edge brings instead
    #[arg(long, value_enum, default_value = "counterfactual")]
    pub ablation: AblationArg,
    /// Random circuits that the circuit is set beside; 0 leaves out tests and completeness
    #[arg(long, default_value_t = 30)]
    pub random: usize,
    /// Edges of the circuit whose own effect is measured, the strongest first
    #[arg(long, default_value_t = 20)]
    pub minimality: usize,
    /// Root of all randomness
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The result as a page.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// The result as one HTML page: pathway diagram, faithfulness curve, tests
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The same as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// `circuit discover`.
#[derive(Debug, Args)]
pub struct Discover {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub pairs: PairArgs,
    /// How edges are scored
    #[arg(long, value_enum, default_value = "eap-ig-inputs")]
    pub method: MethodArg,
    /// Points of integrated gradients
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// signed takes what helps most, absolute what matters most
    #[arg(long, value_enum, default_value = "absolute")]
    pub ranking: RankingArg,
    /// greedy grows from the logits, top takes the best wherever they are
    #[arg(long, value_enum, default_value = "greedy")]
    pub rule: RuleArg,
    /// Edges to take [default: a fiftieth of all]
    #[arg(long, conflicts_with = "threshold")]
    pub edges: Option<usize>,
    /// Take every edge whose score (or magnitude) is at least this
    #[arg(long)]
    pub threshold: Option<f64>,
    /// Share of pairs, by cluster, that the choice does not see and the numbers come from (--pairs alone; an eval set has its own)
    #[arg(long, default_value_t = 0.5)]
    pub hold_out: f64,
    /// Edges with the largest scores that are run exactly; 0 leaves it out
    #[arg(long, default_value_t = 20)]
    pub confirm: usize,
    /// Edges sampled from each of four strata of the rest, to bound what the scores have missed
    #[arg(long, default_value_t = 15)]
    pub sample: usize,
    /// The circuit, in EAP-IG's JSON
    #[arg(long, value_name = "JSON")]
    pub circuit: PathBuf,
    #[command(flatten)]
    pub page: PageArgs,
    /// Draw its strongest 200 edges, and faithfulness by size
    #[arg(long, value_name = "SVG")]
    pub svg: Option<PathBuf>,
    /// The result
    #[arg(long, value_name = "JSON")]
    pub output: PathBuf,
}

/// `circuit evaluate`.
#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub pairs: PairArgs,
    /// A circuit in EAP-IG's JSON, of this model's architecture
    #[arg(long, value_name = "JSON")]
    pub circuit: PathBuf,
    #[command(flatten)]
    pub page: PageArgs,
    /// Also under every other ablation that the pairs allow
    #[arg(long)]
    pub sensitivity: bool,
    /// The result
    #[arg(long, value_name = "JSON")]
    pub output: PathBuf,
}

/// `circuit compare`.
#[derive(Debug, Args)]
pub struct Compare {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub pairs: PairArgs,
    /// The other checkpoint [default: the same model]
    #[arg(long, value_name = "MODEL")]
    pub against: Option<String>,
    /// A PEFT adapter folder on top of the other checkpoint
    #[arg(long, value_name = "FOLDER", required_unless_present = "against")]
    pub against_adapter: Option<PathBuf>,
    #[command(flatten)]
    pub page: PageArgs,
    /// A circuit in EAP-IG's JSON, of both models' architecture
    #[arg(long, value_name = "JSON")]
    pub circuit: PathBuf,
    /// The result
    #[arg(long, value_name = "JSON")]
    pub output: PathBuf,
}

/// The metric's sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SignArg {
    /// The outcome itself.
    Plain,
    /// By the pair's design.
    Declared,
    /// By the pair's own effect.
    Measured,
}

/// What a cut edge brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AblationArg {
    /// The pair's other side.
    Counterfactual,
    /// Nothing.
    Zero,
    /// The mean over positions and prompts.
    Mean,
    /// The mean over prompts at the same position.
    MeanPositional,
}

/// How edges are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// Gradient on the clean prompt.
    Eap,
    /// Integrated over input embeddings.
    EapIgInputs,
    /// Integrated over each sub-layer's output.
    EapIgActivations,
    /// Gradients of both prompts.
    CleanCorrupted,
    /// Information-flow routes, without a gradient.
    InformationFlow,
}

/// The order of edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RankingArg {
    /// By score.
    Signed,
    /// By magnitude.
    Absolute,
}

/// How edges are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuleArg {
    /// From the logits down.
    Greedy,
    /// The best anywhere.
    Top,
}
