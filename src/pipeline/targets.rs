//! What was promised before training, held against the records. A target that is missed is printed as FAILED.

use super::population::Population;
use super::recipe::TargetRecipe;
use crate::mediate::JointEffects;
use crate::record::RunRecord;
use crate::report::{Target, TargetStatus};
use crate::scenario::{Scenario, TRAIN};
use crate::stats::{
    Bootstrap, Estimate, Item, PairingError, Statistic, equivalence_level, estimate, paired_difference, two_level,
    two_level_difference,
};

/// The records that targets speak of, and how their intervals are made.
pub struct Judge<'a> {
    /// The checkpoint before tuning.
    pub base: &'a RunRecord,
    /// The arms.
    pub arms: Vec<&'a RunRecord>,
    /// The eval sets.
    pub sets: &'a [Population],
    /// The margins.
    pub recipe: &'a TargetRecipe,
    /// How intervals are made.
    pub bootstrap: Bootstrap,
}

/// Metrics of the effect on invariant pairs.
pub const UNWANTED: [&str; 2] = ["fairness.counterfactual_gap@log_odds", "robustness.counterfactual_gap@log_odds"];

impl Judge<'_> {
    /// All targets, in the order of importance. `rediscovered` are the joint effects of the pathways that a new search
    /// found in `causal`, training seed by training seed.
    pub fn targets(&self, rediscovered: &[&[JointEffects]]) -> Vec<Target> {
        let mut targets = vec![
            self.reduction("causal", "", "The causal adapter removes the effect of spurious changes"),
            self.reduction("causal", "/paraphrase", "The repair holds on paraphrases that no penalty saw"),
        ];
        targets.push(self.rediscovered(rediscovered));
        targets.push(self.plain_keeps());
        targets.push(self.pathway_beats_random());
        targets.push(self.sensitivity());
        targets.push(self.shifted_accuracy());
        targets.extend(self.training_accuracy());
        targets
    }

    /// The runs of an arm, one a training seed; `None` where the run has no such arm.
    fn runs(&self, name: &str) -> Option<Vec<&RunRecord>> {
        let runs: Vec<&RunRecord> = self.arms.iter().copied().filter(|arm| arm_of(&arm.name) == name).collect();
        (!runs.is_empty()).then_some(runs)
    }

    fn seeded(&self, name: &str) -> Bootstrap {
        Bootstrap { seed: self.bootstrap.seed.fork("targets").fork(name), ..self.bootstrap }
    }

    /// The items of `metrics` over all eval sets in the training environment, ids and clusters made unique by set;
    /// `suffix` chooses paraphrases.
    fn items(&self, record: &RunRecord, metrics: &[&str], environment: &str, suffix: &str) -> Vec<Item> {
        let at_home =
            |set: &Population| if environment == TRAIN { set.home().to_owned() } else { environment.to_owned() };
        let wanted: Vec<String> = self.sets.iter().map(|set| format!("{}/{}{suffix}", set.id, at_home(set))).collect();
        let scores = record.scores.iter();
        let scores =
            scores.filter(|score| metrics.contains(&score.metric.as_str()) && wanted.contains(&score.population));
        let unique = |score: &crate::stats::MetricScore, item: &Item| Item {
            id: format!("{}|{}", score.metric, item.id),
            cluster: format!("{}|{}", score.population, item.cluster),
            ..item.clone()
        };
        scores.flat_map(|score| score.items.iter().map(move |item| unique(score, item))).collect()
    }

    /// Mean |effect| in an arm over mean |effect| in the base.
    fn left(&self, runs: &[&RunRecord], suffix: &str) -> Estimate {
        let before = self.items(self.base, &UNWANTED, TRAIN, suffix);
        let share = |item: &Item| {
            let base = before.iter().find(|other| other.id == item.id)?;
            Some(Item { value: item.value.abs(), weight: Some(base.value.abs()), ..item.clone() })
        };
        let of_run = |run: &&RunRecord| self.items(run, &UNWANTED, TRAIN, suffix).iter().filter_map(share).collect();
        let items: Vec<Vec<Item>> = runs.iter().map(of_run).collect();
        let name = runs.first().map(|run| run.name.as_str()).unwrap_or_default();
        over_seeds(&items, &Statistic::Ratio, &self.seeded(&format!("left {name} {suffix}")))
    }

    fn reduction(&self, arm: &str, suffix: &str, claim: &str) -> Target {
        let wanted = self.recipe.effect_reduction;
        let criterion =
            format!("mean |log-odds effect| over invariant pairs falls by at least {:.0} %", 100.0 * wanted);
        let Some(runs) = self.runs(arm) else { return untested(claim, criterion, arm) };
        let left = self.left(&runs, suffix);
        Target {
            claim: claim.into(),
            criterion,
            measured: format!("{} of the base's effect is left", share_text(&left)),
            status: at_most(&left, 1.0 - wanted),
            detail: self.by_set(&runs, suffix),
        }
    }

    /// Mean |effect| before and after, eval set by eval set.
    fn by_set(&self, runs: &[&RunRecord], suffix: &str) -> String {
        let value = |record: &RunRecord, metric: &str, population: &str| {
            record.score(metric, population).and_then(|score| score.estimate.value)
        };
        let mut lines = Vec::new();
        for set in self.sets {
            let population = format!("{}/{}{suffix}", set.id, set.home());
            for metric in UNWANTED {
                let after: Vec<f64> = runs.iter().filter_map(|run| value(run, metric, &population)).collect();
                if let Some(before) = value(self.base, metric, &population).filter(|_| !after.is_empty()) {
                    let after = after.iter().sum::<f64>() / after.len() as f64;
                    lines.push(format!("{}: {before:.2} → {after:.2} nats", set.id));
                }
            }
        }
        if runs.len() > 1 {
            lines.push(format!("means over {} training seeds", runs.len()));
        }
        lines.join("; ")
    }

    fn rediscovered(&self, joints: &[&[JointEffects]]) -> Target {
        let claim = "No other sites carry the effect instead";
        let allowed = 1.0 - self.recipe.effect_reduction;
        let criterion = format!(
            "effect through a pathway searched anew in the causal checkpoint at most {:.0} % of the base's total effect",
            100.0 * allowed
        );
        if self.runs("causal").is_none() {
            return untested(claim, criterion, "causal");
        }
        let before = self.items(self.base, &UNWANTED, TRAIN, "");
        let total =
            |id: &str| before.iter().find(|item| item.id.ends_with(&format!("|{id}"))).map(|item| item.value.abs());
        let share =
            |item: &Item| Some(Item { value: item.value.abs(), weight: Some(total(&item.id)?), ..item.clone() });
        let of_run = |joints: &&[JointEffects]| -> Vec<Item> {
            joints.iter().flat_map(JointEffects::carried).filter_map(|item| share(&item)).collect()
        };
        let mut items: Vec<Vec<Item>> = joints.iter().map(of_run).collect();
        if items.iter().all(Vec::is_empty) {
            let measured = "the new search found no site with a significant effect".into();
            let (claim, detail) = (claim.into(), String::new());
            return Target { claim, criterion, measured, status: TargetStatus::Met, detail };
        }
        // A training seed in which the search found no site carries nothing.
        let nothing = |item: &Item| Item { value: 0.0, weight: Some(item.value.abs()), ..item.clone() };
        for items in items.iter_mut().filter(|items| items.is_empty()) {
            *items = before.iter().map(nothing).collect();
        }
        let left = over_seeds(&items, &Statistic::Ratio, &self.seeded("rediscovered"));
        Target {
            claim: claim.into(),
            criterion,
            measured: format!("{} of the base's effect", share_text(&left)),
            status: at_most(&left, allowed),
            detail: format!("mean |effect| carried by the rediscovered sites, {} pairs", left.n),
        }
    }

    fn plain_keeps(&self) -> Target {
        let claim = "Tuning alone does not remove it";
        let allowed = 1.0 - self.recipe.effect_reduction;
        let criterion = format!("the plain adapter keeps more than {:.0} % of the base's effect", 100.0 * allowed);
        let Some(runs) = self.runs("plain") else { return untested(claim, criterion, "plain") };
        let left = self.left(&runs, "");
        let status = match (left.value, left.interval) {
            (_, Some(interval)) if interval.low > allowed => TargetStatus::Met,
            (Some(value), _) if value <= allowed => TargetStatus::Failed,
            _ => TargetStatus::Undecided,
        };
        let measured = format!("{} of the base's effect is left", share_text(&left));
        Target { claim: claim.into(), criterion, measured, status, detail: self.by_set(&runs, "") }
    }

    fn pathway_beats_random(&self) -> Target {
        let claim = "The penalty works because of where it is put";
        let criterion = "the pathway adapter's mean |effect| is below the random-sites adapter's".to_owned();
        let (Some(pathway), Some(random)) = (self.runs("pathway"), self.runs("random_sites")) else {
            return untested(claim, criterion, "pathway or random_sites");
        };
        let items = |record: &&RunRecord| self.items(record, &UNWANTED, TRAIN, "");
        let detail = format!(
            "left of the base's effect: pathway {}, random sites {}",
            share_text(&self.left(&pathway, "")),
            share_text(&self.left(&random, ""))
        );
        self.difference(
            claim,
            criterion,
            (&each(&pathway, items), &each(&random, items)),
            &Statistic::MeanAbsolute,
            |_, high| high < 0.0,
            "nats, pathway less random sites",
            detail,
        )
    }

    fn sensitivity(&self) -> Target {
        let claim = "The answer still follows its legitimate causes";
        let margin = self.recipe.sensitivity_margin;
        let criterion = format!("the share of follow pairs answered as the mechanism asks falls by less than {margin}");
        let Some(causal) = self.runs("causal") else { return untested(claim, criterion, "causal") };
        let items = |record: &&RunRecord| self.items(record, &["sensitivity.follow_rate"], TRAIN, "");
        let detail = "margin fixed in the recipe before training; a rise is no harm".to_owned();
        self.margin_difference(claim, criterion, (&each(&causal, items), &each(&[self.base], items)), margin, detail)
    }

    fn shifted_accuracy(&self) -> Target {
        let claim = "Where the shortcut misleads, the causal adapter is right more often";
        let criterion = "accuracy in the shifted environments rises".to_owned();
        let Some(causal) = self.runs("causal") else { return untested(claim, criterion, "causal") };
        let environments: Vec<String> = self
            .sets
            .iter()
            .filter_map(|set| set.scenario.as_ref())
            .flat_map(|scenario| scenario.environments())
            .filter(|name| name != TRAIN)
            .collect();
        let items = |record: &&RunRecord| {
            let mut unique: Vec<Item> = Vec::new();
            for environment in &environments {
                for item in self.items(record, &["accuracy.exact"], environment, "") {
                    if !unique.iter().any(|known| known.id == item.id) {
                        unique.push(item);
                    }
                }
            }
            unique
        };
        let (after, before) = (each(&causal, items), each(&[self.base], items));
        let detail = format!("{:.3} → {:.3}", mean(&before), mean(&after));
        self.difference(claim, criterion, (&after, &before), &Statistic::Share, |low, _| low > 0.0, "accuracy", detail)
    }

    /// Accuracy where the shortcut holds, eval set by eval set. It may fall as far as the shortcut was worth: to that of
    /// the best predictor which sees legitimate causes alone, on the same items.
    fn training_accuracy(&self) -> Vec<Target> {
        self.sets.iter().filter_map(|set| self.training_accuracy_of(set)).collect()
    }

    fn training_accuracy_of(&self, set: &Population) -> Option<Target> {
        let scenario = set.scenario.as_ref()?;
        let worth = scenario.shortcut_worth(0, TRAIN)?;
        let population = format!("{}/{TRAIN}", set.id);
        let margin = self.recipe.accuracy_margin;
        let claim =
            format!("{}: accuracy where the shortcut holds falls no further than the shortcut was worth", set.id);
        let criterion = format!(
            "accuracy at most {margin} below that of the best predictor without the shortcut, on the same items (point estimate; interval beside it)"
        );
        let Some(causal) = self.runs("causal") else { return Some(untested(&claim, criterion, "causal")) };
        let scored = |record: &RunRecord| record.score("accuracy.exact", &population).map(|score| score.items.clone());
        let before = vec![scored(self.base)?];
        let after: Vec<Vec<Item>> = causal.iter().map(|run| scored(run)).collect::<Option<_>>()?;
        let best = vec![legitimate_hits(set, scenario, after.first()?)];
        let detail = format!(
            "base {:.3}, causal {:.3}, best without the shortcut {:.3} on these items; in the population the shortcut is worth {worth:.3} (exact)",
            mean(&before),
            mean(&after),
            mean(&best)
        );
        let mut target = self.margin_difference(&claim, criterion, (&after, &best), margin, detail);
        // A limit, not a claim of equivalence: ten framings could not show a margin this small on any result.
        let within = mean(&after) >= mean(&best) - margin;
        target.status = if within { TargetStatus::Met } else { TargetStatus::Failed };
        Some(target)
    }

    /// Met where the lower bound of the 1 − 2α interval of the difference is above −`margin`, failed where the difference
    /// itself is not, undecided between the two.
    fn margin_difference(
        &self,
        claim: &str,
        criterion: String,
        items: (&[Vec<Item>], &[Vec<Item>]),
        margin: f64,
        detail: String,
    ) -> Target {
        let level = equivalence_level(1.0 - self.bootstrap.level);
        let bootstrap = Bootstrap { level, ..self.seeded(claim) };
        let judged = |low: f64, _: f64| low > -margin;
        let mut target = difference(&bootstrap, claim, criterion, items, &Statistic::Share, judged, "share", detail);
        if target.status == TargetStatus::Failed && mean(items.0) - mean(items.1) > -margin {
            target.status = TargetStatus::Undecided;
        }
        target
    }

    #[allow(clippy::too_many_arguments)]
    fn difference(
        &self,
        claim: &str,
        criterion: String,
        items: (&[Vec<Item>], &[Vec<Item>]),
        statistic: &Statistic,
        judged: impl Fn(f64, f64) -> bool,
        unit: &str,
        detail: String,
    ) -> Target {
        difference(&self.seeded(claim), claim, criterion, items, statistic, judged, unit, detail)
    }
}

/// A paired difference as a target; `judged` says of its interval whether the target is met.
#[allow(clippy::too_many_arguments)]
fn difference(
    bootstrap: &Bootstrap,
    claim: &str,
    criterion: String,
    (first, second): (&[Vec<Item>], &[Vec<Item>]),
    statistic: &Statistic,
    judged: impl Fn(f64, f64) -> bool,
    unit: &str,
    detail: String,
) -> Target {
    let claim = claim.to_owned();
    let paired = match difference_over_seeds(first, second, statistic, bootstrap) {
        Ok(paired) => paired,
        Err(error) => {
            return Target { claim, criterion, measured: error.to_string(), status: TargetStatus::Undecided, detail };
        }
    };
    let (measured, status) = match (paired.value, paired.interval) {
        (Some(value), Some(interval)) => {
            // A target is a promise: what the interval does not show is missed.
            let met = judged(interval.low, interval.high);
            let status = if met { TargetStatus::Met } else { TargetStatus::Failed };
            let level = 100.0 * interval.level;
            (format!("{value:+.3} {unit} [{:+.3}, {:+.3}] ({level:.0} %)", interval.low, interval.high), status)
        }
        _ => (paired.undefined.unwrap_or_else(|| "undefined".into()), TargetStatus::Undecided),
    };
    Target { claim, criterion, measured, status, detail }
}

/// The arm that a record's name speaks of: all but the first training seed have the seed behind it.
pub(super) fn arm_of(name: &str) -> &str {
    name.split_once(" seed ").map_or(name, |(arm, _)| arm)
}

/// The items of each run.
fn each(runs: &[&RunRecord], items: impl Fn(&&RunRecord) -> Vec<Item>) -> Vec<Vec<Item>> {
    runs.iter().map(items).collect()
}

/// The mean over runs of the mean over items.
fn mean(runs: &[Vec<Item>]) -> f64 {
    let of_run = |items: &Vec<Item>| items.iter().map(|item| item.value).sum::<f64>() / items.len().max(1) as f64;
    runs.iter().map(of_run).sum::<f64>() / runs.len().max(1) as f64
}

/// One value of an arm: over items where it was trained with one seed, over seeds and clusters where with several.
fn over_seeds(runs: &[Vec<Item>], statistic: &Statistic, bootstrap: &Bootstrap) -> Estimate {
    match runs {
        [one] => estimate(one, statistic, bootstrap),
        several => two_level(&several.iter().map(Vec::as_slice).collect::<Vec<_>>(), statistic, bootstrap),
    }
}

/// First less second; what was not trained (the base, a reference) is held against every seed.
fn difference_over_seeds(
    first: &[Vec<Item>],
    second: &[Vec<Item>],
    statistic: &Statistic,
    bootstrap: &Bootstrap,
) -> Result<Estimate, PairingError> {
    if let ([one], [other]) = (first, second) {
        return Ok(paired_difference(one, other, statistic, bootstrap)?.difference);
    }
    let first: Vec<&[Item]> = first.iter().map(Vec::as_slice).collect();
    let second: Vec<&[Item]> = match second {
        [untrained] => first.iter().map(|_| untrained.as_slice()).collect(),
        trained => trained.iter().map(Vec::as_slice).collect(),
    };
    two_level_difference(&first, &second, statistic, bootstrap)
}

fn untested(claim: &str, criterion: String, arm: &str) -> Target {
    let measured = format!("the run has no arm {arm}");
    Target { claim: claim.into(), criterion, measured, status: TargetStatus::Undecided, detail: String::new() }
}

fn at_most(left: &Estimate, allowed: f64) -> TargetStatus {
    match (left.value, left.interval) {
        (_, Some(interval)) if interval.high <= allowed => TargetStatus::Met,
        (Some(value), _) if value > allowed => TargetStatus::Failed,
        (Some(_), _) => TargetStatus::Undecided,
        (None, _) => TargetStatus::Undecided,
    }
}

fn share_text(share: &Estimate) -> String {
    match (share.value, share.interval) {
        (Some(value), Some(interval)) => {
            format!("{:.1} % [{:.1}, {:.1}]", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
        }
        (Some(value), None) => format!("{:.1} %", 100.0 * value),
        (None, _) => share.undefined.clone().unwrap_or_else(|| "undefined".into()),
    }
}

/// For each scored item, whether the best predictor that sees legitimate causes alone would have been right.
fn legitimate_hits(set: &Population, scenario: &Scenario, scored: &[Item]) -> Vec<Item> {
    let hit = |item: &Item| {
        let prompt = &set.items.iter().find(|task| task.id == item.id)?.prompt;
        let value = |variable: &crate::scenario::scm::Variable| {
            let text = prompt.values.get(&variable.name)?;
            variable.values.iter().position(|value| value == text)
        };
        // Latents are seen by no prompt; the label given legitimate causes does not read them.
        let world: Vec<usize> =
            scenario.scm().variables().iter().map(|variable| value(variable).unwrap_or(0)).collect();
        let best = scenario.legitimate_label(0, &world)?;
        Some(Item { value: f64::from(u8::from(prompt.label == Some(best))), ..item.clone() })
    };
    scored.iter().filter_map(hit).collect()
}
