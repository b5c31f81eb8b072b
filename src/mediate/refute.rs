//! Refuters: the pathway's estimate, made again where nothing should be found.
//!
//! What a pathway carries of a pair is the mean of both directions' effects, oriented so that the pair's total effect
//! counts positive, in nats. Three refuters must come out smaller: the finding less a multiple of the refuter's value,
//! pair by pair, must have an interval above 0.
//!
//! * *placebo sites* (twice): as many random sites of the same kinds outside the pathway;
//! * *shuffled pairs* (twice): the donor is another pair's factual run with the same value of the variable that was
//!   set, so nothing that the pathway should carry differs (noise alone);
//! * *random direction* (once): the pathway's sites are moved as far as the interchange moves them, in a random
//!   direction. Whatever merely destroys what the sites say draws both sides to the middle and so carries up to half
//!   of the effect; an interchange that brings the other side's value in must carry more than that.
//!
//! A fourth, *placebo position*, patches where both sides are still the same and must be exactly without effect.

use rand::RngCore;

use super::error::MediateError;
use super::joint::{JointEffects, item, joint_effects_of_each};
use super::pathway::random_sites;
use super::sweep::Runner;
use crate::base::Seed;
use crate::base::seed::index;
use crate::intervene::{Intervention, Job, Outcome, Plan, Side, Site, SiteKind, TokenPair};
use crate::stats::{Bootstrap, Estimate, Item, Refutation, Statistic, estimate};

/// How a finding is attacked.
#[derive(Debug, Clone, Copy)]
pub struct RefuteSpec<'a> {
    /// The eval set.
    pub population: &'a str,
    /// Random sets of sites, and random directions, that are averaged.
    pub draws: usize,
    /// For the intervals.
    pub bootstrap: Bootstrap,
    /// For the draws.
    pub seed: Seed,
}

/// What float32 may leave of an effect that is exactly zero.
const ZERO: f64 = 1e-4;

/// Attacks the finding that `sites` carry the effect of `pairs`, which the choice of the sites has not seen. A refuter
/// that cannot be run on these pairs has an undefined estimate, the reason, and did not pass.
pub fn refute(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sites: &[Site],
    spec: &RefuteSpec<'_>,
) -> Result<Vec<Refutation>, MediateError> {
    if pairs.is_empty() || sites.is_empty() {
        let purpose = if pairs.is_empty() { "refute a finding on" } else { "refute: the pathway has no sites" };
        return Err(MediateError::NoPairs { population: spec.population.to_owned(), purpose });
    }
    runner.progress.start("refute", (2 * pairs.len() * (3 + 2 * spec.draws)) as u64);
    let sets = [sites.to_vec()];
    let finding = joint_effects_of_each(runner, pairs, &sets)?.pop().unwrap_or_default();
    let refutations = vec![
        placebo_position(runner, pairs, spec)?,
        placebo_sites(runner, pairs, sites, &finding, spec)?,
        shuffled_pairs(runner, pairs, sites, &finding, spec)?,
        random_direction(runner, pairs, sites, &finding, spec)?,
    ];
    runner.progress.finish();
    Ok(refutations)
}

/// Effects of sites in front of the first difference.
fn placebo_position(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    spec: &RefuteSpec<'_>,
) -> Result<Refutation, MediateError> {
    let last_layer = runner.model.architecture().n_layers.saturating_sub(1);
    let mut used = Vec::new();
    for pair in pairs {
        if let Some(position) = pair.shared_front().checked_sub(1) {
            let site = Site::at_index(SiteKind::ResidPost, last_layer / 2, position);
            used.push((pair, [Plan::nothing(Side::Factual), Plan::interchange(Side::Factual, &[site])]));
        }
    }
    let jobs: Vec<Job<'_>> = used.iter().map(|(pair, plans)| Job { pair, plans }).collect();
    let outcomes = runner.outcomes(&jobs, Outcome::Contrast)?;
    let effect = |values: &Vec<f64>| match values.as_slice() {
        [plain, patched] => patched - plain,
        _ => f64::NAN,
    };
    let items: Vec<Item> = used.iter().zip(&outcomes).map(|((pair, _), values)| item(pair, effect(values))).collect();
    let largest = items.iter().map(|item| item.value.abs()).fold(0.0, f64::max);
    let estimate = match items.is_empty() {
        true => Estimate::undefined("no pair has equal tokens in front of its first difference", 0, 0),
        false => estimate(&items, &Statistic::MeanAbsolute, &spec.bootstrap_for("placebo position")),
    };
    Ok(Refutation {
        name: "placebo position".to_owned(),
        population: spec.population.to_owned(),
        passed: !items.is_empty() && largest <= ZERO,
        finding: None,
        estimate,
        detail: format!(
            "residual stream at the last token before the first difference: passes where no pair's |effect| is above {ZERO}; the largest is {largest:.1e}"
        ),
    })
}

fn placebo_sites(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sites: &[Site],
    finding: &JointEffects,
    spec: &RefuteSpec<'_>,
) -> Result<Refutation, MediateError> {
    let landmarks = pairs.first().map(TokenPair::landmarks).unwrap_or_default();
    let draw = |number| {
        random_sites(runner.model.architecture(), sites, &landmarks, spec.seed.fork(&format!("placebo {number}")))
    };
    let sets: Result<Vec<Vec<Site>>, MediateError> = (0..spec.draws).map(draw).collect();
    let sets = match sets {
        Err(error @ MediateError::TooFewSites { .. }) => return Ok(spec.not_run("placebo sites", &error.to_string())),
        other => other?,
    };
    let carried: Vec<Vec<Item>> =
        joint_effects_of_each(runner, pairs, &sets)?.iter().map(JointEffects::carried).collect();
    let what = format!("as many random sites of the same kinds outside the pathway, mean of {} draws", spec.draws);
    Ok(spec.compare("placebo sites", (&finding.carried(), &mean_items(&carried)), 2.0, &what))
}

fn shuffled_pairs(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sites: &[Site],
    finding: &JointEffects,
    spec: &RefuteSpec<'_>,
) -> Result<Refutation, MediateError> {
    let (mut shuffled, mut findings, mut signs) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (noised, total)) in finding.noised.iter().zip(&finding.total).enumerate() {
        if let Some(pair) = with_other_donor(number, pairs, spec.seed) {
            findings.push(item(&pair, sign(total) * noised.value));
            signs.push(sign(total));
            shuffled.push(pair);
        }
    }
    if shuffled.is_empty() {
        return Ok(spec.not_run("shuffled pairs", "no two pairs of one wording share their factual value"));
    }
    let plans = [Plan::nothing(Side::Factual), Plan::interchange(Side::Factual, sites)];
    let outcomes = runner.on_every(&shuffled, &plans, Outcome::Contrast)?;
    let value = |((pair, sign), values): ((&TokenPair, &f64), &Vec<f64>)| match values.as_slice() {
        [plain, patched] => item(pair, sign * (patched - plain)),
        _ => item(pair, f64::NAN),
    };
    let items: Vec<Item> = shuffled.iter().zip(&signs).zip(&outcomes).map(value).collect();
    let what = format!("donor from another pair's factual run with the same value, noise alone, {} pairs", items.len());
    Ok(spec.compare("shuffled pairs", (&findings, &items), 2.0, &what))
}

/// The pair with another pair's factual side as its donor: the same value of the variable that was set, the same
/// wording around the slots (or the same cluster), another text, and alignable. Drawn by the pair's id.
fn with_other_donor(number: usize, pairs: &[TokenPair], seed: Seed) -> Option<TokenPair> {
    let pair = pairs.get(number)?;
    let value = |pair: &TokenPair| pair.values.as_ref().map(|[factual, _]| factual.clone());
    let own_wording = wording(pair);
    let fits = |&(other, donor): &(usize, &TokenPair)| {
        let alike = donor.cluster == pair.cluster || own_wording.is_some() && wording(donor) == own_wording;
        other != number && alike && value(donor) == value(pair) && donor.factual.ids != pair.factual.ids
    };
    let donors = pairs.iter().enumerate().filter(fits);
    let alignable: Vec<TokenPair> = donors.filter_map(|(_, donor)| pair.with_donor(&donor.factual).ok()).collect();
    let drawn = index(&mut seed.fork("shuffled").fork(&pair.id).rng(), alignable.len());
    alignable.into_iter().nth(drawn)
}

/// The factual tokens outside slots; `None` where there are no slots.
fn wording(pair: &TokenPair) -> Option<Vec<u32>> {
    let slots = &pair.factual.slots;
    let outside = |at: usize| !slots.iter().any(|(_, range)| range.contains(&at));
    let tokens = pair.factual.ids.iter().enumerate().filter(|&(at, _)| outside(at)).map(|(_, &id)| id);
    (!slots.is_empty()).then(|| tokens.collect())
}

fn random_direction(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sites: &[Site],
    finding: &JointEffects,
    spec: &RefuteSpec<'_>,
) -> Result<Refutation, MediateError> {
    let mut plans = vec![Plan::nothing(Side::Factual), Plan::nothing(Side::Counterfactual)];
    let mut rng = spec.seed.fork("random direction").rng();
    for _ in 0..spec.draws {
        let seed = rng.next_u64();
        let cells: Vec<_> = sites.iter().map(|site| (site.clone(), Intervention::RandomDirection { seed })).collect();
        plans.extend([Side::Factual, Side::Counterfactual].map(|receiver| Plan { receiver, cells: cells.clone() }));
    }
    let outcomes = runner.on_every(pairs, &plans, Outcome::Contrast)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (pair, (outcomes, total)) in pairs.iter().zip(outcomes.iter().zip(&finding.total)) {
        let [factual, counterfactual, patched @ ..] = outcomes.as_slice() else { continue };
        let carried = patched.chunks_exact(2).map(|runs| match runs {
            [noised, denoised] => 0.5 * ((noised - factual) + (counterfactual - denoised)),
            _ => f64::NAN,
        });
        items.push(item(pair, sign(total) * carried.sum::<f64>() / spec.draws.max(1) as f64));
    }
    let what = format!("the same sites moved as far in a random direction, mean of {} draws", spec.draws);
    Ok(spec.compare("random direction", (&finding.carried(), &items), 1.0, &what))
}

fn sign(total: &Item) -> f64 {
    if total.value < 0.0 { -1.0 } else { 1.0 }
}

/// Each pair's mean over several lists of the same pairs.
fn mean_items(lists: &[Vec<Item>]) -> Vec<Item> {
    let Some((first, rest)) = lists.split_first() else { return Vec::new() };
    let mut means = first.clone();
    for list in rest {
        means.iter_mut().zip(list).for_each(|(mean, item)| mean.value += item.value);
    }
    means.iter_mut().for_each(|mean| mean.value /= lists.len() as f64);
    means
}

impl RefuteSpec<'_> {
    fn bootstrap_for(&self, name: &str) -> Bootstrap {
        Bootstrap { seed: self.bootstrap.seed.fork(&format!("{}/{name}", self.population)), ..self.bootstrap }
    }

    /// Sets a refuter beside the finding, pair by pair.
    fn compare(&self, name: &str, (finding, refuter): (&[Item], &[Item]), times: f64, what: &str) -> Refutation {
        let bootstrap = self.bootstrap_for(name);
        let margin = |(finding, refuter): (&Item, &Item)| Item {
            value: finding.value - times * refuter.value,
            ..finding.clone()
        };
        let margins: Vec<Item> = finding.iter().zip(refuter).map(margin).collect();
        let margin = estimate(&margins, &Statistic::Mean, &bootstrap);
        let passed = margin.interval.is_some_and(|interval| interval.low > 0.0);
        let shown = match (margin.value, margin.interval) {
            (Some(value), Some(found)) => format!("{value:.3} [{:.3}, {:.3}]", found.low, found.high),
            _ => margin.undefined.unwrap_or_default(),
        };
        Refutation {
            name: name.to_owned(),
            population: self.population.to_owned(),
            estimate: estimate(refuter, &Statistic::Mean, &bootstrap),
            finding: Some(estimate(finding, &Statistic::Mean, &bootstrap)),
            passed,
            detail: format!("{what}; passes where the finding less {times} times this is above 0: {shown}"),
        }
    }

    fn not_run(&self, name: &str, reason: &str) -> Refutation {
        Refutation {
            name: name.to_owned(),
            population: self.population.to_owned(),
            estimate: Estimate::undefined(reason, 0, 0),
            finding: None,
            passed: false,
            detail: format!("not run: {reason}"),
        }
    }
}
