//! Pathways: a small set of sites that carries an effect together, chosen on discovery pairs and measured on others.
//!
//! The search is greedy on the joint effect, so it counts what sites carry together and not the sum of what each
//! carries alone (those do not add up where sites back each other up or relay). Candidates are the sites whose single
//! effect survives the false-discovery correction in either direction: a back-up shows only under denoise. A share of
//! 1 is complete; the site that brings the share closest to 1 is added, so sites that work against the effect are not
//! bought with an overshoot.

use super::error::MediateError;
use super::joint::{JointEffects, joint_effects, joint_effects_of_each};
use super::sweep::Runner;
use crate::base::Seed;
use crate::base::seed::index;
use crate::intervene::{Positions, Site, SiteKind, TokenPair};
use crate::model::Architecture;
use crate::stats::{Bootstrap, Estimate, Item, PatchDirection, Pathway, SiteEffect, sign_flip};

/// The pairs that a pathway is found and judged on.
#[derive(Debug, Clone, Copy)]
pub struct PathwayPairs<'a> {
    /// The eval set.
    pub population: &'a str,
    /// Pairs that the choice may see: those that were swept.
    pub discovery: &'a [TokenPair],
    /// Pairs that the choice has not seen, for the share.
    pub evaluation: &'a [TokenPair],
}

/// How a pathway is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct PathwaySearch {
    /// The kinds of sites that it may consist of.
    pub kinds: Vec<SiteKind>,
    /// The share of the total effect at which it is complete.
    pub share: f64,
    /// The most sites that it may have.
    pub max_sites: usize,
    /// A candidate's q-value is below this.
    pub q_value: f64,
    /// At most so many candidates are tried, the strongest.
    pub candidates: usize,
    /// A site must bring the share closer to 1 by at least this.
    pub gain: f64,
    /// For the intervals of the shares.
    pub bootstrap: Bootstrap,
}

impl PathwaySearch {
    /// Head outputs, 80 % of the effect, at most six sites, candidates with q < 0.05.
    pub fn new(bootstrap: Bootstrap) -> Self {
        let kinds = vec![SiteKind::Z];
        Self { kinds, share: 0.8, max_sites: 6, q_value: 0.05, candidates: 16, gain: 0.01, bootstrap }
    }
}

/// A pathway with the numbers behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundPathway {
    /// What goes into records.
    pub pathway: Pathway,
    /// Its sites, in the order in which they were added.
    pub sites: Vec<Site>,
    /// The share on discovery pairs after each was added, mean of both directions.
    pub steps: Vec<f64>,
    /// Its joint effects on the evaluation pairs.
    pub evaluation: JointEffects,
}

/// Random sign patterns of the test of a gain.
const SIGN_PATTERNS: usize = 2000;
/// A site is added if its gain would arise by chance less often than this.
const SIGNIFICANT: f64 = 0.05;

/// Chooses a pathway among the swept `effects` of the discovery pairs and measures it on the evaluation pairs.
pub fn find_pathway(
    runner: Runner<'_>,
    pairs: PathwayPairs<'_>,
    effects: &[SiteEffect],
    search: &PathwaySearch,
) -> Result<FoundPathway, MediateError> {
    let (candidates, swept) = candidates(effects, search);
    let most = candidates.len() * search.max_sites * 2 * pairs.discovery.len();
    runner.progress.start("pathway", most as u64);
    let mut found = Greedy::default();
    let mut ended = "the most sites were in";
    while found.sites.len() < search.max_sites {
        match found.step(runner, pairs.discovery, &candidates, search)? {
            Step::Added if found.score() < search.share => {}
            Step::Added => {
                ended = "the share was reached";
                break;
            }
            Step::Nothing(reason) => {
                ended = reason;
                break;
            }
        }
    }
    runner.progress.finish();
    let rule = rule(search, pairs.discovery.len(), (candidates.len(), swept), ended);
    measure(runner, pairs, found, rule, search)
}

fn measure(
    runner: Runner<'_>,
    pairs: PathwayPairs<'_>,
    found: Greedy,
    rule: String,
    search: &PathwaySearch,
) -> Result<FoundPathway, MediateError> {
    let Greedy { sites, steps, .. } = found;
    let evaluation = match sites.is_empty() {
        true => JointEffects::default(),
        false => joint_effects(runner, pairs.evaluation, &sites)?,
    };
    let share = |direction, name: &str| match sites.is_empty() {
        true => Estimate::undefined("no pathway was found", 0, 0),
        false => {
            let seed = search.bootstrap.seed.fork(&format!("{}/{name}", pairs.population));
            evaluation.share(direction, &Bootstrap { seed, ..search.bootstrap })
        }
    };
    let pathway = Pathway {
        population: pairs.population.to_owned(),
        sites: sites.iter().map(Site::to_string).collect(),
        rule,
        share: share(PatchDirection::Noise, "noise"),
        share_denoised: share(PatchDirection::Denoise, "denoise"),
    };
    Ok(FoundPathway { pathway, sites, steps, evaluation })
}

/// The sites that the search may use, strongest first, and how many sites of these kinds were swept.
fn candidates(effects: &[SiteEffect], search: &PathwaySearch) -> (Vec<Site>, usize) {
    let mut strengths: Vec<(Site, f64, bool)> = Vec::new();
    for effect in effects {
        let Some(site) = effect.site.parse::<Site>().ok().filter(|site| search.kinds.contains(&site.kind)) else {
            continue;
        };
        let strength = effect.estimate.value.unwrap_or(0.0).abs();
        let significant = effect.q_value.is_some_and(|q| q < search.q_value);
        match strengths.iter_mut().find(|(known, ..)| *known == site) {
            Some((_, strongest, any)) => {
                *strongest = strongest.max(strength);
                *any |= significant;
            }
            None => strengths.push((site, strength, significant)),
        }
    }
    let swept = strengths.len();
    strengths.retain(|(_, _, significant)| *significant);
    strengths.sort_by(|a, b| b.1.total_cmp(&a.1));
    strengths.truncate(search.candidates);
    (strengths.into_iter().map(|(site, ..)| site).collect(), swept)
}

fn rule(search: &PathwaySearch, pairs: usize, (candidates, swept): (usize, usize), ended: &str) -> String {
    let kinds = search.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    let PathwaySearch { share, max_sites, q_value, gain, .. } = search;
    format!(
        "Greedy on {pairs} discovery pairs: of the {swept} {kinds} sites swept, the {candidates} strongest with q < {q_value} in either direction were candidates; the one that brought the joint share of the total effect (mean of noise and denoise) closest to 1 was added until the share was {share}, {max_sites} sites were in, or none brought it closer by {gain} with p < {SIGNIFICANT} (sign flips over pairs); it ended because {ended}."
    )
}

/// What has been chosen so far.
#[derive(Default)]
struct Greedy {
    sites: Vec<Site>,
    steps: Vec<f64>,
    carried: Vec<f64>,
}

enum Step {
    Added,
    Nothing(&'static str),
}

impl Greedy {
    fn score(&self) -> f64 {
        self.steps.last().copied().unwrap_or(0.0)
    }

    /// Adds the best candidate, if one is worth adding.
    fn step(
        &mut self,
        runner: Runner<'_>,
        pairs: &[TokenPair],
        candidates: &[Site],
        search: &PathwaySearch,
    ) -> Result<Step, MediateError> {
        let left: Vec<&Site> = candidates.iter().filter(|site| !self.sites.contains(site)).collect();
        let sets: Vec<Vec<Site>> =
            left.iter().map(|&site| [self.sites.as_slice(), std::slice::from_ref(site)].concat()).collect();
        if sets.is_empty() {
            return Ok(Step::Nothing(if candidates.is_empty() {
                "no site reached the q-value"
            } else {
                "no candidate was left"
            }));
        }
        let mut best: Option<(f64, Vec<Site>, JointEffects)> = None;
        let effects = joint_effects_of_each(runner, pairs, &sets)?;
        for (set, effects) in sets.into_iter().zip(effects) {
            let Some(score) = score(&effects) else { continue };
            if best.as_ref().is_none_or(|(known, ..)| (1.0 - score).abs() < (1.0 - known).abs()) {
                best = Some((score, set, effects));
            }
        }
        let Some((score, set, effects)) = best else { return Ok(Step::Nothing("no discovery pair has an effect")) };
        let carried = effects.carried();
        let gains = self.gains(&carried);
        let closer = (1.0 - self.score()).abs() - (1.0 - score).abs();
        let chance = sign_flip(&gains, SIGN_PATTERNS, &search.bootstrap.seed.fork("gain"));
        if closer < search.gain || chance.is_none_or(|p| p >= SIGNIFICANT) {
            return Ok(Step::Nothing("no candidate brought the share significantly closer to 1"));
        }
        self.sites = set;
        self.steps.push(score);
        self.carried = carried.into_iter().map(|item| item.value).collect();
        Ok(Step::Added)
    }

    /// What each pair's carried effect gained, each pair a unit of its own.
    fn gains(&self, carried: &[Item]) -> Vec<Item> {
        let before = self.carried.iter().copied().chain(std::iter::repeat(0.0));
        let gain = |(item, before): (&Item, f64)| Item {
            cluster: item.id.clone(),
            value: item.value - before,
            ..item.clone()
        };
        carried.iter().zip(before).map(gain).collect()
    }
}

/// The mean share of both directions.
fn score(effects: &JointEffects) -> Option<f64> {
    Some(0.5 * (effects.share_value(PatchDirection::Noise)? + effects.share_value(PatchDirection::Denoise)?))
}

/// As many sites as the pathway has, of the same kinds and none of them in it, drawn evenly: heads for heads, sites at
/// a position for sites at one of `landmarks`, whole sites for whole sites.
pub fn random_sites(
    architecture: &Architecture,
    pathway: &[Site],
    landmarks: &[String],
    seed: Seed,
) -> Result<Vec<Site>, MediateError> {
    let mut rng = seed.rng();
    let mut drawn: Vec<Site> = Vec::new();
    for site in pathway {
        let mut pool = alternatives(architecture, site, landmarks);
        pool.retain(|other| !pathway.contains(other) && !drawn.contains(other));
        if pool.is_empty() {
            let alike = |other: &&Site| shape(other) == shape(site);
            let wanted = pathway.iter().filter(alike).count();
            let available = drawn.iter().filter(alike).count();
            return Err(MediateError::TooFewSites { kind: site.kind.name().to_owned(), wanted, available });
        }
        let number = index(&mut rng, pool.len());
        drawn.extend(pool.into_iter().nth(number));
    }
    Ok(drawn)
}

/// What two sites must share to stand for each other.
fn shape(site: &Site) -> (SiteKind, bool, bool) {
    (site.kind, site.head.is_some(), site.positions == Positions::All)
}

fn alternatives(architecture: &Architecture, site: &Site, landmarks: &[String]) -> Vec<Site> {
    let heads: Vec<Option<usize>> = match site.head {
        Some(_) => (0..architecture.n_heads).map(Some).collect(),
        None => vec![None],
    };
    let positions: Vec<Positions> = match &site.positions {
        Positions::Slot(_) if !landmarks.is_empty() => landmarks.iter().cloned().map(Positions::Slot).collect(),
        other => vec![other.clone()],
    };
    let mut sites = Vec::new();
    for layer in 0..architecture.n_layers {
        for &head in &heads {
            sites.extend(positions.iter().map(|positions| Site {
                kind: site.kind,
                layer,
                positions: positions.clone(),
                head,
                part: site.part.clone(),
            }));
        }
    }
    sites
}
