//! Does the stated pathway really carry the effect?
//!
//! With y the log-odds outcome, x → x′ a pair and P the pathway's activations:
//!
//! * TE = y(x′) − y(x);
//! * noised = y(x, P ← x′) − y(x): how far the factual run moves when the pathway alone is switched (is the pathway needed
//!   to keep the factual answer: *necessity*);
//! * denoised = y(x′) − y(x′, P ← x): how much of the effect goes when the pathway alone is switched back (is it enough to
//!   restore the factual answer: *sufficiency*).
//!
//! A share is Σ sign(TE)·effect / Σ |TE| over held-out pairs: a ratio of sums, each pair turned so that its own total effect
//! counts positive. Σ |TE| is never 0 for a real model, so it cannot say whether there is an effect to have a share of. That
//! is asked of the mean of the TEs turned by the *contrast* instead (female to male counts +, male to female −, whatever the
//! model says): where its interval covers 0, the share is undefined.
//!
//! Shares above 1 or below 0 are possible: other paths then work against the pathway. `pathway_share` is the mean of both
//! directions, so that the pathway's share and that of all other paths add up to 1 in log-odds.
//!
use std::collections::BTreeMap;

use super::error::TrustError;
use super::metric::{Evidence, Metric, PathwayEffects, Sample};
use super::select::Populations;
use crate::stats::{Direction, Item, Objective, Statistic};

pub(super) const PATHWAY_SHARE: Metric = Metric {
    id: "explainability.pathway_share",
    version: 1,
    objective: Objective::Explainability,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of the total effect (log-odds, held-out pairs) that the pathway found on the base carries when it is \
                 patched jointly, mean of noising and denoising.",
    source: "Pearl 2001 natural indirect effect over total effect, both reference runs averaged",
    collect: |evidence| base_samples(evidence, Leg::Mean),
};

pub(super) const REDISCOVERED_SHARE: Metric = Metric {
    id: "explainability.rediscovered_share",
    version: 1,
    objective: Objective::Explainability,
    unit: "share",
    direction: Direction::Higher,
    definition: "As explainability.pathway_share, for the pathway that was searched anew on this checkpoint: an effect that was \
                 only rerouted shows here.",
    source: "explainability.pathway_share",
    collect: |evidence| rediscovered_samples(evidence, Leg::Mean),
};

pub(super) const SUFFICIENCY: Metric = Metric {
    id: "explainability.sufficiency",
    version: 1,
    objective: Objective::Explainability,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of the total effect that goes when the counterfactual run receives the factual run's pathway activations \
                 (denoising).",
    source: "Heimersheim and Nanda 2024, arXiv 2404.15255",
    collect: |evidence| both_samples(evidence, Leg::Denoised),
};

pub(super) const NECESSITY: Metric = Metric {
    id: "explainability.necessity",
    version: 1,
    objective: Objective::Explainability,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of the total effect that comes when the factual run receives the counterfactual run's pathway \
                 activations (noising).",
    source: "Heimersheim and Nanda 2024, arXiv 2404.15255",
    collect: |evidence| both_samples(evidence, Leg::Noised),
};

/// Which patched effect a share has above its line.
#[derive(Clone, Copy)]
enum Leg {
    Noised,
    Denoised,
    Mean,
}

fn base_samples(evidence: &Evidence<'_>, leg: Leg) -> Result<Vec<Sample>, TrustError> {
    let found = evidence.pathways.iter().filter_map(|pathway| Some((pathway, pathway.base.as_ref()?)));
    found.map(|(pathway, effects)| sample(evidence, &pathway.population, effects, leg)).collect()
}

fn rediscovered_samples(evidence: &Evidence<'_>, leg: Leg) -> Result<Vec<Sample>, TrustError> {
    let found = evidence.pathways.iter().filter_map(|pathway| Some((pathway, pathway.rediscovered.as_ref()?)));
    found.map(|(pathway, effects)| sample(evidence, &pathway.population, effects, leg)).collect()
}

/// Both pathways, each a population of its own.
fn both_samples(evidence: &Evidence<'_>, leg: Leg) -> Result<Vec<Sample>, TrustError> {
    let mut samples = base_samples(evidence, leg)?;
    samples.iter_mut().for_each(|sample| sample.population.push_str("/base pathway"));
    let mut rediscovered = rediscovered_samples(evidence, leg)?;
    rediscovered.iter_mut().for_each(|sample| sample.population.push_str("/rediscovered pathway"));
    samples.append(&mut rediscovered);
    Ok(samples)
}

fn sample(evidence: &Evidence<'_>, population: &str, effects: &PathwayEffects, leg: Leg) -> Result<Sample, TrustError> {
    let (noised, denoised) = (by_id(&effects.noised), by_id(&effects.denoised));
    let contrasts = evidence.contrasts();
    let mut populations = Populations::default();
    let mut denominator = Vec::with_capacity(effects.total.len());
    for total in &effects.total {
        let value = match leg {
            Leg::Noised => patched(&noised, total, "noised")?,
            Leg::Denoised => patched(&denoised, total, "denoised")?,
            Leg::Mean => 0.5 * (patched(&noised, total, "noised")? + patched(&denoised, total, "denoised")?),
        };
        let sign = if total.value < 0.0 { -1.0 } else { 1.0 };
        populations.add(population.into(), &total.id, &total.cluster, (sign * value, None, Some(total.value.abs())));
        let contrast = contrasts.get(total.id.as_str()).copied().unwrap_or(1.0);
        denominator.push(Item { value: contrast * total.value, ..total.clone() });
    }
    let sample = populations.samples(&Statistic::Ratio).pop();
    let mut sample = sample.unwrap_or_else(|| Sample::empty(population, Statistic::Ratio));
    sample.denominator = Some(denominator);
    Ok(sample)
}

fn by_id(items: &[Item]) -> BTreeMap<&str, f64> {
    items.iter().map(|item| (item.id.as_str(), item.value)).collect()
}

fn patched(effects: &BTreeMap<&str, f64>, total: &Item, leg: &str) -> Result<f64, TrustError> {
    effects.get(total.id.as_str()).copied().ok_or_else(|| TrustError::Dangling {
        item: format!("pair {}", total.id),
        field: format!("{leg} effect"),
        target: total.id.clone(),
    })
}
