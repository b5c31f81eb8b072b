//! From a sweep's runs to one effect a site: averaged over pairs, oriented, with intervals and corrected p-values.
//!
//! Positions are pooled over pairs by landmark (the last token of a slot, the last token of the prompt), never by raw
//! index; tokens that are no landmark are left to the rows. Each pair is oriented so that its own total effect counts
//! positive: sign(TE)·(patched − base) under noise, −sign(TE)·(patched − base) under denoise, so that a site that
//! carries the effect is positive both ways. p-values flip signs: of whole clusters, or of pairs where clusters are
//! so few that no p-value could survive the correction (the estimate's method says which). q-values are
//! Benjamini and Hochberg's over all sites and directions of the sweep.

use std::collections::BTreeMap;

use super::joint::item;
use super::sweep::SiteOutcome;
use crate::intervene::{Positions, Site, SiteKind, TokenPair};
use crate::stats::{
    Bootstrap, EffectGrid, Item, PatchDirection, SiteEffect, Statistic, benjamini_hochberg, estimate, sign_flip,
};

/// Fewer clusters than this are not flipped as wholes: with C of them no p-value is below 2^(1−C), and 12 leave
/// 0.0005, which survives the correction over a hundred sites.
const CLUSTERS_TO_FLIP: usize = 12;
/// Random sign patterns, where there are too many to enumerate.
const SIGN_PATTERNS: usize = 10_000;

/// The sites of a sweep with their effects: strongest evidence is not sorted to the front, the order is that of kind,
/// layer, position in the text, head and direction.
pub fn aggregate(runs: &[SiteOutcome], pairs: &[TokenPair], bootstrap: &Bootstrap) -> Vec<SiteEffect> {
    let mut groups: BTreeMap<Key, Vec<Item>> = BTreeMap::new();
    let places = places(pairs);
    for run in runs {
        let Some(pair) = pairs.get(run.pair) else { continue };
        let value = oriented(run);
        for name in landmarks(run, pair) {
            let place = name.as_ref().and_then(|name| places.get(name)).copied().unwrap_or_default();
            let denoise = run.direction == PatchDirection::Denoise;
            let key = Key { kind: run.site.kind, layer: run.site.layer, place, name, head: run.site.head, denoise };
            groups.entry(key).or_default().push(item(pair, value));
        }
    }
    let mut effects: Vec<SiteEffect> = groups.iter().map(|(key, items)| site_effect(key, items, bootstrap)).collect();
    let p_values: Vec<f64> = effects.iter().map(|effect| effect.p_value.unwrap_or(f64::NAN)).collect();
    for (effect, q) in effects.iter_mut().zip(benjamini_hochberg(&p_values)) {
        effect.q_value = Some(q).filter(|q| q.is_finite());
    }
    effects
}

/// What runs are pooled by; its order is the order of the result.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: SiteKind,
    layer: usize,
    /// Rank of the landmark in the text.
    place: usize,
    name: Option<String>,
    head: Option<usize>,
    denoise: bool,
}

impl Key {
    fn site(&self) -> Site {
        let positions = self.name.clone().map_or(Positions::All, Positions::Slot);
        Site { head: self.head, ..Site::at(self.kind, self.layer, positions) }
    }

    fn direction(&self) -> PatchDirection {
        if self.denoise { PatchDirection::Denoise } else { PatchDirection::Noise }
    }
}

fn site_effect(key: &Key, items: &[Item], bootstrap: &Bootstrap) -> SiteEffect {
    let site = key.site();
    let seed = bootstrap.seed.fork(&format!("{site}/{}", key.denoise));
    let mut estimate = estimate(items, &Statistic::Mean, &Bootstrap { seed: seed.fork("bootstrap"), ..*bootstrap });
    let by_cluster = estimate.clusters >= CLUSTERS_TO_FLIP;
    let p_value = match by_cluster {
        true => sign_flip(items, SIGN_PATTERNS, &seed.fork("signs")),
        false => {
            let alone: Vec<Item> = items.iter().map(|item| Item { cluster: item.id.clone(), ..item.clone() }).collect();
            sign_flip(&alone, SIGN_PATTERNS, &seed.fork("signs"))
        }
    };
    let unit = if by_cluster { "clusters" } else { "pairs, clusters being too few" };
    estimate.method = format!("{}; p-value by sign flips of {unit}", estimate.method);
    SiteEffect {
        site: site.to_string(),
        layer: key.layer,
        position: key.name.clone(),
        head: key.head,
        direction: key.direction(),
        estimate,
        p_value,
        q_value: None,
    }
}

/// The effect with the sign under which the pair's total effect is positive.
fn oriented(run: &SiteOutcome) -> f64 {
    let toward_source = if run.source < run.base { -1.0 } else { 1.0 };
    toward_source * (run.patched - run.base)
}

/// The names under which a run is pooled; `None` is every position.
fn landmarks(run: &SiteOutcome, pair: &TokenPair) -> Vec<Option<String>> {
    match &run.site.positions {
        Positions::All => vec![None],
        Positions::Slot(name) => vec![Some(name.clone())],
        Positions::Index(index) => {
            let stands_here = |name: &String| pair.landmark(name).is_some_and(|(factual, _)| factual == *index);
            pair.landmarks().into_iter().filter(stands_here).map(Some).collect()
        }
    }
}

/// The landmarks of all pairs, ranked by where they stand on average.
fn places(pairs: &[TokenPair]) -> BTreeMap<String, usize> {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for pair in pairs {
        let tokens = pair.factual.ids.len() as f64;
        for name in pair.landmarks() {
            if let Some((factual, _)) = pair.landmark(&name) {
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + factual as f64 / tokens, sum.1 + 1.0);
            }
        }
    }
    let mut ranked: Vec<(f64, String)> = sums.into_iter().map(|(name, (sum, n))| (sum / n, name)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    ranked.into_iter().enumerate().map(|(rank, (_, name))| (name, rank)).collect()
}

/// The heat maps of a sweep: one a kind and direction, layers by positions or by heads.
pub fn grids(effects: &[SiteEffect], population: &str) -> Vec<EffectGrid> {
    let mut tables: BTreeMap<(SiteKind, bool), Vec<&SiteEffect>> = BTreeMap::new();
    for effect in effects {
        if let Ok(site) = effect.site.parse::<Site>() {
            tables.entry((site.kind, effect.direction == PatchDirection::Denoise)).or_default().push(effect);
        }
    }
    tables.into_iter().map(|((kind, denoise), effects)| grid(kind, denoise, &effects, population)).collect()
}

fn grid(kind: SiteKind, denoise: bool, effects: &[&SiteEffect], population: &str) -> EffectGrid {
    let column = |effect: &SiteEffect| match (effect.head, &effect.position) {
        (Some(head), _) => head.to_string(),
        (None, Some(position)) => position.clone(),
        (None, None) => "all".to_owned(),
    };
    let mut columns: Vec<String> = Vec::new();
    for effect in effects {
        if !columns.contains(&column(effect)) {
            columns.push(column(effect));
        }
    }
    let layers = effects.iter().map(|effect| effect.layer + 1).max().unwrap_or(0);
    let cells = |read: &dyn Fn(&SiteEffect) -> Option<f64>| {
        let at = |layer, name: &String| {
            effects.iter().find(|e| e.layer == layer && column(e) == *name).and_then(|e| read(e))
        };
        (0..layers).map(|layer| columns.iter().map(|name| at(layer, name)).collect()).collect()
    };
    let direction = if denoise { "denoise" } else { "noise" };
    EffectGrid {
        title: format!("{kind}, {direction}, {population}"),
        rows: (0..layers).map(|layer| layer.to_string()).collect(),
        values: cells(&|effect| effect.estimate.value),
        q_values: cells(&|effect| effect.q_value),
        columns,
    }
}
