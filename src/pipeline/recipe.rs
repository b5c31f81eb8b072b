//! What a user asks for: the recipe, read from TOML. Unknown keys are refused with their line and the nearest known
//! key; what is left out has the defaults below, and the resolved recipe is written into the record.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::FileError;
use crate::base::files;
use crate::mediate::circuit::AblationKind;

/// A whole run: model, eval sets, and how each stage does its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The version of this format: 1.
    pub version: u32,
    /// The run's name, and the folder below `runs/` where none is given.
    pub name: String,
    /// One sentence for the report: what the user worries about.
    #[serde(default)]
    pub worry: String,
    /// `embedded`, a folder, or a hub id.
    #[serde(default = "embedded")]
    pub model: String,
    /// Where it is given, the model's chat template is put around every prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatRecipe>,
    /// Shipped eval sets by name, folders, or JSONL files of declared pairs (relative to the recipe).
    pub eval_sets: Vec<String>,
    /// Root of all randomness.
    #[serde(default = "one")]
    pub seed: u64,
    /// How checkpoints are scored.
    #[serde(default)]
    pub evaluate: EvaluateRecipe,
    /// How the pathway is found.
    #[serde(default)]
    pub mediate: MediateRecipe,
    /// Where it is given, a circuit (edge by edge) is found beside the pathway, and run again in every arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitRecipe>,
    /// How adapters are trained.
    #[serde(default)]
    pub tune: TuneRecipe,
    /// What was promised before training.
    #[serde(default)]
    pub targets: TargetRecipe,
}

fn embedded() -> String {
    "embedded".into()
}

fn one() -> u64 {
    1
}

/// `[chat]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatRecipe {
    /// What the system says before each prompt.
    pub system: Option<String>,
}

/// `[evaluate]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateRecipe {
    /// At most so many items of each environment are scored; all that are frozen where it is left out.
    pub items: Option<usize>,
    /// At most so many evaluation pairs of each intervention are scored; all that are frozen where it is left out.
    pub pairs: Option<usize>,
    /// Tokens a forward.
    pub batch_tokens: usize,
    /// Bootstrap replicates.
    pub replicates: usize,
    /// Coverage of the intervals.
    pub level: f64,
    /// Privacy canaries, half of which a coin puts into the tuning data.
    pub canaries: usize,
    /// Held-out texts of the perplexity.
    pub texts: usize,
}

impl Default for EvaluateRecipe {
    fn default() -> Self {
        Self { items: None, pairs: None, batch_tokens: 4096, replicates: 2000, level: 0.95, canaries: 40, texts: 60 }
    }
}

/// `[mediate]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediateRecipe {
    /// Discovery pairs of each eval set that are swept.
    pub pairs: usize,
    /// Kinds of sites that are swept.
    pub sites: Vec<String>,
    /// Kinds of sites that a pathway may be made of.
    pub pathway: Vec<String>,
    /// The share of the total effect at which the pathway is complete.
    pub share: f64,
    /// The most sites that a pathway may have.
    pub max_sites: usize,
}

impl Default for MediateRecipe {
    fn default() -> Self {
        let names = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Self {
            pairs: 32,
            sites: names(&["resid_pre", "z", "attn_out", "mlp_out"]),
            pathway: names(&["z"]),
            share: 0.8,
            max_sites: 6,
        }
    }
}

/// `[circuit]`: edges are scored on the discovery pairs of `[mediate]`, and everything is measured on held-out pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CircuitRecipe {
    /// Points of integrated gradients (EAP-IG over the inputs).
    pub steps: usize,
    /// Edges to take by magnitude, grown from the logits; a twentieth of all where it is left out.
    pub edges: Option<usize>,
    /// At most so many held-out pairs of each eval set, dealt out over its framings.
    pub pairs: usize,
    /// Random circuits of the same size that it is set beside; 0 leaves out tests and completeness.
    pub random: usize,
    /// Edges of the circuit whose own effect is measured, the strongest first.
    pub minimality: usize,
    /// What a cut edge brings: counterfactual, zero, mean or mean_positional.
    pub ablation: AblationKind,
}

impl Default for CircuitRecipe {
    fn default() -> Self {
        let ablation = AblationKind::Counterfactual;
        Self { steps: 5, edges: None, pairs: 30, random: 30, minimality: 10, ablation }
    }
}

/// `[tune]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TuneRecipe {
    /// The arms: plain, consistency, pathway, random_sites, causal.
    pub arms: Vec<String>,
    /// Optimizer steps.
    pub steps: usize,
    /// Task items a step.
    pub batch: usize,
    /// Counterfactual pairs of each kind (invariant, follow) a step.
    pub pairs: usize,
    /// Included canaries a step.
    pub canaries: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Largest global norm of the gradient.
    pub clip: f64,
    /// Windows whose gradients are summed before a step.
    pub accumulation: usize,
    /// LoRA rank.
    pub rank: usize,
    /// LoRA alpha.
    pub alpha: f64,
    /// Projections by PEFT name, or `all-linear` alone.
    pub target_modules: Vec<String>,
    /// λ of the canaries' language-model loss.
    pub canary: f64,
    /// λ of the paired consistency on invariant pairs.
    pub consistency: f64,
    /// λ of the follow loss on follow pairs.
    pub follow: f64,
    /// λ of the mediation penalty at the pathway.
    pub mediation: f64,
    /// λ of the KL anchor to the base.
    pub anchor: f64,
    /// Whether the mediation penalty also reaches the run that writes the patched activation.
    pub attached: bool,
}

impl Default for TuneRecipe {
    fn default() -> Self {
        let names = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Self {
            arms: names(&["plain", "consistency", "pathway", "random_sites", "causal"]),
            steps: 120,
            batch: 16,
            pairs: 8,
            canaries: 2,
            learning_rate: 3e-3,
            warmup: 0.1,
            clip: 1.0,
            accumulation: 1,
            rank: 8,
            alpha: 16.0,
            target_modules: names(&["all-linear"]),
            canary: 0.5,
            consistency: 1.0,
            follow: 0.5,
            mediation: 1.0,
            anchor: 0.1,
            attached: true,
        }
    }
}

/// `[targets]`: fixed before training; a target that is missed is printed as FAILED.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetRecipe {
    /// By which share the mean absolute log-odds effect over invariant pairs falls under `causal`.
    pub effect_reduction: f64,
    /// Equivalence margin of sensitivity to legitimate causes (share of pairs followed).
    pub sensitivity_margin: f64,
    /// Equivalence margin of the training environment's accuracy beyond the worth of the shortcut.
    pub accuracy_margin: f64,
}

impl Default for TargetRecipe {
    fn default() -> Self {
        Self { effect_reduction: 0.8, sensitivity_margin: 0.1, accuracy_margin: 0.05 }
    }
}

/// The recipe of `quickstart`.
pub const QUICKSTART: &str = include_str!("../../recipes/quickstart.toml");

impl Recipe {
    /// Reads a recipe file.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::parse(path, &files::read_text(path)?)
    }

    /// Reads a recipe's text; `path` names it in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let recipe: Self = files::parse_toml(path, text)?;
        recipe.check().map_err(|message| FileError::Malformed { path: path.to_path_buf(), message })?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), String> {
        if self.version != 1 {
            return Err(format!("version is {}; this program reads recipes of version 1", self.version));
        }
        if self.eval_sets.is_empty() {
            return Err("eval_sets is empty; name at least one eval set".into());
        }
        let positive = [
            ("evaluate.items", self.evaluate.items.unwrap_or(1)),
            ("evaluate.pairs", self.evaluate.pairs.unwrap_or(1)),
            ("evaluate.batch_tokens", self.evaluate.batch_tokens),
            ("evaluate.replicates", self.evaluate.replicates),
            ("mediate.pairs", self.mediate.pairs),
            ("mediate.max_sites", self.mediate.max_sites),
            ("tune.steps", self.tune.steps),
            ("tune.batch", self.tune.batch),
            ("tune.pairs", self.tune.pairs),
            ("tune.accumulation", self.tune.accumulation),
            ("tune.rank", self.tune.rank),
        ];
        let circuit = self.circuit.clone().unwrap_or_default();
        let of_circuit = [
            ("circuit.steps", circuit.steps),
            ("circuit.edges", circuit.edges.unwrap_or(1)),
            ("circuit.pairs", circuit.pairs),
        ];
        let positive = positive.into_iter().chain(of_circuit).collect::<Vec<_>>();
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} is 0; it must be at least 1"));
        }
        let shares = [
            ("evaluate.level", self.evaluate.level),
            ("mediate.share", self.mediate.share),
            ("targets.effect_reduction", self.targets.effect_reduction),
        ];
        match shares.iter().find(|(_, value)| !(*value > 0.0 && *value < 1.0)) {
            Some((name, value)) => Err(format!("{name} is {value}; it must lie between 0 and 1")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_recipe_parses_and_names_its_promises() {
        let recipe = Recipe::parse(Path::new("recipes/quickstart.toml"), QUICKSTART).expect("quickstart");
        assert_eq!(recipe.model, "embedded");
        assert!(recipe.targets.effect_reduction >= 0.8);
        assert_eq!(recipe.tune.arms.len(), 5);
        assert!(recipe.circuit.is_some());
    }

    #[test]
    fn a_circuit_is_traced_where_the_table_stands_and_not_else() {
        let parse = |table: &str| {
            let text = format!("version = 1\nname = \"x\"\neval_sets = [\"hiring\"]\n{table}");
            Recipe::parse(Path::new("r.toml"), &text).map_err(|error| error.to_string())
        };
        // A recipe without the table resolves to the same JSON as before there was one.
        let none = parse("").expect("no table");
        assert!(!serde_json::to_string(&none).expect("JSON").contains("circuit"));
        let zero = parse("[circuit]\nablation = \"zero\"\npairs = 7\n").expect("a table").circuit.expect("asked for");
        assert_eq!((zero.ablation, zero.pairs, zero.random), (AblationKind::Zero, 7, 30));
        for (table, wanted) in [
            ("[circuit]\nsteps = 0\n", "circuit.steps is 0"),
            ("[circuit]\nedges = 0\n", "circuit.edges is 0"),
            ("[circuit]\nedgs = 3\n", "did you mean `edges`"),
            ("[circuit]\nablation = \"none\"\n", "line 5"),
        ] {
            let error = parse(table).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_suggestion() {
        let text = "version = 1\nname = \"x\"\neval_sets = [\"hiring\"]\n[tune]\nstps = 3\n";
        let error = Recipe::parse(Path::new("r.toml"), text).expect_err("stps").to_string();
        assert!(error.contains("line 5") && error.contains("did you mean `steps`"), "{error}");
    }

    #[test]
    fn nonsense_is_refused() {
        let text = "version = 1\nname = \"x\"\neval_sets = [\"hiring\"]\n[tune]\nsteps = 0\n";
        let error = Recipe::parse(Path::new("r.toml"), text).expect_err("no steps").to_string();
        assert!(error.contains("tune.steps is 0"), "{error}");
    }
}
