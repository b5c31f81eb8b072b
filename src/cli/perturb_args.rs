//! The arguments of `perturb`.

use std::path::PathBuf;

use clap::Args;

/// Variants of a task's questions.
#[derive(Debug, Args)]
pub struct Perturb {
    /// A built-in task, whose data --data holds
    #[arg(long, value_name = "TASK", conflicts_with = "checklist")]
    pub task: Option<String>,
    /// The task's file or folder; without --task questions as this verb writes them (JSONL), with --checklist behavioural tests
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    pub data: Option<PathBuf>,
    /// --data holds CheckList cases: {"test","kind","choices","examples"} a line, or [[cases]] in TOML
    #[arg(long)]
    pub checklist: bool,
    /// Perturbations and suites with commas between them, parameters behind colons: case,typos_swap:p=0.2,helm-fairness;
    /// suites are case, punctuation, forms, typos, format, robustness, fairness, meaning, helm-robustness, helm-fairness, all
    #[arg(long, value_name = "LIST", default_value = "robustness")]
    pub suite: String,
    /// Examples before each question; of a built-in task its own number where none is given
    #[arg(long)]
    pub num_fewshot: Option<usize>,
    /// Originals and variants (JSONL), questions as a run answers them
    #[arg(long, value_name = "JSONL", required_unless_present = "list")]
    pub output: Option<PathBuf>,
    /// Paraphrases (JSONL): {"id","paraphrases":[…]}, and "of" where a question has several texts
    #[arg(long, value_name = "JSONL")]
    pub paraphrases: Option<PathBuf>,
    /// A folder with word lists that take the place of the project's own, under the same names or under HELM's
    #[arg(long, value_name = "FOLDER")]
    pub lists: Option<PathBuf>,
    /// Root of all draws
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Variants of each perturbation that are shown beside their originals
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub show: usize,
    /// List all perturbations with what they touch and expect, and do nothing
    #[arg(long)]
    pub list: bool,
}
