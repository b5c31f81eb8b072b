//! The result types: what a measurement is, how sure it is, and which items it was made of.

use serde::{Deserialize, Serialize};

use super::composite::BiasScore;
use super::disparity::Disparity;

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Nominal coverage, such as 0.95.
    pub level: f64,
}

/// A number with its interval, or the reason that there is none. "Undefined" is never written as 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The point estimate.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Option<Interval>,
    /// Why the value or the interval is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// How many items it was made of.
    pub n: usize,
    /// How many clusters they form.
    pub clusters: usize,
    /// How the interval was made, such as `cluster bootstrap (BCa), 2000 replicates`.
    pub method: String,
}

impl Estimate {
    /// An estimate that does not exist, with the reason.
    pub fn undefined(reason: impl Into<String>, n: usize, clusters: usize) -> Self {
        Self { value: None, interval: None, undefined: Some(reason.into()), n, clusters, method: "none".into() }
    }

    /// Whether the interval exists and leaves 0 out.
    pub fn excludes_zero(&self) -> bool {
        self.interval.is_some_and(|interval| interval.low > 0.0 || interval.high < 0.0)
    }
}

/// One item's contribution to a statistic. What `value`, `weight` and `group` mean is said by the [`Statistic`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The id that aligns items across checkpoints.
    pub id: String,
    /// The resampling unit: template, unit of the causal model, document.
    pub cluster: String,
    /// The item's value in the metric's unit.
    pub value: f64,
    /// The group of a worst-group, gap or AUC statistic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The denominator of a ratio, the tokens of a perplexity, the hit (0 or 1) of a calibration error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// How items become one number. Recorded with each score, so that `compare` can resample it whole and paired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Statistic {
    /// Mean of `value`.
    Mean,
    /// Share of items whose `value` is 1; values are 0 or 1. Where all agree it still has an interval.
    Share,
    /// Mean of |`value`|.
    MeanAbsolute,
    /// Σ`value` / Σ`weight`.
    Ratio,
    /// exp(Σ`value` / Σ`weight`): perplexity from negative log-likelihoods and token counts.
    ExpRatio,
    /// The smallest group mean of `value`.
    WorstGroup,
    /// Mean of `value` in group `minuend` less that in group `subtrahend`.
    GroupDifference {
        /// The group that is counted positive.
        minuend: String,
        /// The group that is taken away.
        subtrahend: String,
    },
    /// P(value of a `positive` item > value of another) + ½ P(equal).
    Auc {
        /// The group whose values should be larger.
        positive: String,
    },
    /// Expected calibration error over `bins` bins of equal width on [0, 1]: Σ n_b/n · |mean `weight` − mean `value`|,
    /// `value` the confidence, `weight` 1 for a hit and 0 for a miss. A confidence on an inner edge belongs to the
    /// lower bin (Guo et al. 2017: (lo, hi]).
    CalibrationError {
        /// The number of bins.
        bins: usize,
    },
    /// A BBQ bias score.
    BiasScore(BiasScore),
    /// StereoSet's idealised score, percent: 100 L · min(S, 1 − S)/½. An item's `value` is its `weight` times (the share of related
    /// sentences that score above the unrelated one: 0, ½ or 1; plus 2 where the stereotype scores above the anti-stereotype).
    /// L is the weighted mean of the first, S the weighted share of the second; with weight 1/n of an item's target term both are
    /// unweighted means over terms.
    Icat,
    /// How far groups differ in a rate.
    Disparity(Disparity),
    /// Σ_g p_g · mean of `value` in group g, over Σ_g p_g; an item's `weight` is the p of its group.
    AdjustedMean,
    /// Pearson's correlation of `value` with `weight`.
    Correlation,
    /// The slope of the least-squares line of `value` on `weight`.
    Slope,
    /// The same over `bins` bins of equal mass: [`super::calibration_error_by_mass`].
    CalibrationErrorByMass {
        /// The number of bins.
        bins: usize,
    },
    /// The share of hits (`weight` 1) among the ⌊`coverage` · n⌋ + 1 items of the highest confidence (`value`), as HELM
    /// counts them. Of equal confidences each is taken with the same chance, so that no order of the items moves the value.
    SelectiveAccuracy {
        /// The share of items that is answered, such as 0.1.
        coverage: f64,
    },
    /// The mean over k = 1 … n of the mean `weight` of the k items of the highest `value`: the area under accuracy over
    /// coverage where `weight` is the hit, the area under selective risk where it is the miss. Equal values count as in
    /// [`Self::SelectiveAccuracy`].
    CoverageArea,
    /// F1 of the positive class: 2 TP / (2 TP + FP + FN), 0 where nothing is or is called positive (scikit-learn's binary
    /// `f1_score`). `value` is 1 where the positive class is predicted, `weight` where it is true.
    F1,
    /// Matthews' correlation of the predicted class (`value`) with the true class (`weight`), classes numbered from 0; 0
    /// where one of the two never varies (scikit-learn's `matthews_corrcoef`, Gorodkin 2004).
    Matthews,
    /// The element at index ⌊n/2⌋ of the sorted `value`s; no average of the middle two (lm-eval's `median`).
    Median,
    /// Wasserstein-1 distance between the distribution of `value` and that of `weight`: ∫ |F − G|, for equally many of both the mean
    /// gap of the sorted lists.
    Wasserstein,
}

/// The objective that a metric speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Right answers, and likelihood of held-out text.
    Accuracy,
    /// Equal treatment under `do(protected)`.
    Fairness,
    /// Stable answers under spurious edits, paraphrase and shifted environments.
    Robustness,
    /// Whether the stated pathway really carries the effect.
    Explainability,
    /// What membership in the tuning data changes.
    Privacy,
    /// Whether probabilities mean what they say.
    Calibration,
    /// Whether the answer still follows its legitimate causes.
    Sensitivity,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Larger is better.
    Higher,
    /// Smaller is better.
    Lower,
    /// Neither: a description.
    Descriptive,
}

/// A metric's value on one checkpoint, with the items that it was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricScore {
    /// The metric with its variant, such as `fairness.counterfactual_gap@log_odds`.
    pub metric: String,
    /// The version of the definition.
    pub version: u32,
    /// What part of the data it speaks of: eval set, environment, split (`hiring/shifted`).
    pub population: String,
    /// The objective.
    pub objective: Objective,
    /// The unit: `share`, `nats`, `probability`, `tokens^-1` …
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
    /// How the items become the value.
    pub statistic: Statistic,
    /// The value and its interval.
    pub estimate: Estimate,
    /// The items, in the order of their ids.
    pub items: Vec<Item>,
    /// What a reader must know: a definition in one sentence.
    pub note: String,
}

/// Which causal effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// TE(x→x'): everything follows the change.
    Total,
    /// NDE(x→x'): the input moves to x', the mediator is held at its value under x.
    NaturalDirect,
    /// NIE(x→x'): the input stays x, the mediator takes its value under x'.
    NaturalIndirect,
    /// NIE(x'→x): the input stays x', the mediator takes its value under x.
    ReversedNaturalIndirect,
}

/// The scale on which an outcome's change is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectScale {
    /// Difference of log p(a)/p(b), whole continuations, nats.
    LogOdds,
    /// Difference of logit(a) − logit(b) at the last position.
    LogitDifference,
    /// Difference of probabilities.
    Probability,
    /// Ratio of odds, less 1.
    OddsRatio,
    /// Kullback–Leibler divergence from the unpatched distribution, nats.
    Kl,
}

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// We set the variable ourselves.
    Experimental,
    /// The variable was found as it is; an identified estimand stands behind the number.
    Observational,
}

/// A causal effect on one population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Which effect.
    pub kind: EffectKind,
    /// On which scale.
    pub scale: EffectScale,
    /// Experimental or observational.
    pub regime: Regime,
    /// Of which pairs: eval set, expectation, split (`hiring/invariant/evaluation`).
    pub population: String,
    /// Through which sites, for mediated effects: hook names joined by ` + `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// The estimate; the statistic is the mean of the items unless `method` says otherwise.
    pub estimate: Estimate,
    /// Per-pair values.
    pub items: Vec<Item>,
    /// Two-sided p-value of "the mean effect is 0", where one was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

/// Which run receives the other's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchDirection {
    /// The factual run receives the counterfactual's activation (necessity: does the site bring the effect in?).
    Noise,
    /// The counterfactual run receives the factual's activation (sufficiency: does it take the effect out?).
    Denoise,
}

/// The effect of patching one site, averaged over pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteEffect {
    /// The site's text, such as `blocks.2.attn.hook_z[head=1]` or `blocks.1.hook_resid_pre[slot=name]`.
    pub site: String,
    /// The layer.
    pub layer: usize,
    /// The position, as a slot name (`name`, `last`) or an index; `None` for all positions.
    pub position: Option<String>,
    /// The head.
    pub head: Option<usize>,
    /// The direction.
    pub direction: PatchDirection,
    /// Mean effect, oriented so that the total effect of each pair counts positive.
    pub estimate: Estimate,
    /// Two-sided p-value of "no effect".
    pub p_value: Option<f64>,
    /// The same after Benjamini–Hochberg over the sites of the sweep.
    pub q_value: Option<f64>,
}

/// A sweep as a matrix, for the heat maps of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectGrid {
    /// What is shown, such as `resid_pre, noise, hiring`.
    pub title: String,
    /// Row labels: layers, from the first.
    pub rows: Vec<String>,
    /// Column labels: positions or heads.
    pub columns: Vec<String>,
    /// Mean effects in nats of log-odds, row by row.
    pub values: Vec<Vec<Option<f64>>>,
    /// q-values beside them.
    pub q_values: Vec<Vec<Option<f64>>>,
}

/// The set of sites that together carry an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pathway {
    /// The eval set that it was found on.
    pub population: String,
    /// Its sites, strongest first.
    pub sites: Vec<String>,
    /// How it was chosen, in one sentence with the thresholds.
    pub rule: String,
    /// Share of the total effect that the sites carry together when patched jointly (held-out pairs).
    pub share: Estimate,
    /// The same under denoising.
    pub share_denoised: Estimate,
}

/// A self-check that always runs: an identity that a right implementation cannot miss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, such as `patching nothing changes nothing`.
    pub name: String,
    /// Whether it held.
    pub passed: bool,
    /// The largest deviation seen; `None` where it could not be measured (then `detail` says why).
    pub worst: Option<f64>,
    /// The largest deviation allowed.
    pub tolerance: Option<f64>,
    /// What was compared, on how many pairs.
    pub detail: String,
}

/// An attempt to refute a finding: the same estimate where nothing should be found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refutation {
    /// Its name: `placebo sites`, `shuffled pairs`, `random direction`.
    pub name: String,
    /// Of which pairs.
    pub population: String,
    /// What the refuter found.
    pub estimate: Estimate,
    /// The finding under attack, on the same scale, where one is to be set beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Estimate>,
    /// Whether the finding survived.
    pub passed: bool,
    /// The rule in one sentence.
    pub detail: String,
}
