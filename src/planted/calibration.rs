//! Whether claimed discoveries are true at the stated rate, from no pathway at all to full strength.
//!
//! Each compiled model has each of its five paths open with probability ½ at the given strength, and every head on a
//! path hums: it moves the answer with the surface form of the attribute's token, which differs at random between the
//! two sides of a pair, so that every single effect differs from 0 while its mean over the population of pairs is 0
//! where the path is closed. A node is claimed where its mean effect over the pairs differs from 0 (sign flips) after
//! Benjamini and Hochberg over the model's nodes at level q. A claim is false where the closed form of the mean over
//! the population is 0 in that direction. The actual false-discovery rate is the mean over models of false claims ÷
//! max(1, claims).

use serde::{Deserialize, Serialize};

use super::compiled::{CompiledModel, CompiledSpec, Content, Paths};
use super::error::PlantedError;
use super::methods::patched_effects;
use super::node::Node;
use super::suite::model_seed;
use super::task::{Task, Tier};
use crate::base::{Progress, Seed, Silent};
use crate::intervene::Site;
use crate::stats::{Bootstrap, Estimate, Item, PatchDirection, Statistic, benjamini_hochberg, estimate, sign_flip};

/// What is simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationSpec {
    /// Strengths of the planted paths; 0 plants nothing.
    pub strengths: Vec<f64>,
    /// Models at each strength.
    pub models: usize,
    /// Pairs of each.
    pub pairs: usize,
    /// Claimed false-discovery rates.
    pub levels: Vec<f64>,
    /// The hum of each head, in nats a contrast.
    pub hum: f64,
}

impl Default for CalibrationSpec {
    fn default() -> Self {
        Self {
            strengths: vec![0.0, 0.1, 0.25, 0.5, 0.75, 1.0],
            models: 100,
            pairs: 24,
            levels: vec![0.05, 0.1, 0.2],
            hum: 0.15,
        }
    }
}

/// One point of the curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationRow {
    /// Strength of the planted paths.
    pub strength: f64,
    /// Which run received.
    pub direction: PatchDirection,
    /// The claimed rate.
    pub claimed: f64,
    /// The actual one.
    pub actual: Estimate,
    /// Claims of a model, on average.
    pub discoveries: f64,
    /// The share of nodes with an effect that was claimed; `None` where nothing is planted.
    pub power: Option<f64>,
}

/// Runs the simulation on models of `stream`.
pub fn calibrate(
    spec: &CalibrationSpec,
    stream: &str,
    progress: &dyn Progress,
) -> Result<Vec<CalibrationRow>, PlantedError> {
    let mut rows = Vec::new();
    progress.start("calibration", (spec.strengths.len() * spec.models) as u64);
    for strength in &spec.strengths {
        let mut outcomes = Vec::with_capacity(spec.models);
        for number in 0..spec.models {
            if progress.cancelled() {
                return Err(PlantedError::Interrupted);
            }
            let seed = model_seed(stream, number).fork("calibration");
            outcomes.push(one_model(spec, *strength, &seed)?);
            progress.advance(1);
        }
        for direction in [PatchDirection::Noise, PatchDirection::Denoise] {
            rows.extend(spec.levels.iter().map(|level| row(*strength, direction, *level, &outcomes)));
        }
    }
    progress.finish();
    Ok(rows)
}

/// p-value and truth of every node, noising and denoising.
struct Tested([Vec<(f64, bool)>; 2]);

fn one_model(spec: &CalibrationSpec, strength: f64, seed: &Seed) -> Result<Tested, PlantedError> {
    let drawn = CompiledSpec { strength, hum: spec.hum, paths: Paths::Half };
    let planted = CompiledModel::new(&drawn, seed)?;
    let pairs = planted.pairs("calibration", spec.pairs)?;
    let task = Task {
        id: String::new(),
        model_name: String::new(),
        tier: Tier::Compiled,
        config: serde_json::Value::Null,
        truth: planted.truth(&pairs),
        dormant: None,
        pairs: pairs.into_iter().map(|pair| pair.tokens).collect(),
        model: planted.model.clone(),
    };
    let nodes = task.nodes();
    let sites: Vec<Site> = nodes.iter().map(|node| node.site()).collect();
    let effects = patched_effects(&task, &sites, &Silent)?;
    let ids: Vec<&str> = task.pairs.iter().map(|pair| pair.id.as_str()).collect();
    let test = |node: &Node, values: &[f64], place: usize| {
        let largest = values.iter().map(|value| value.abs()).fold(0.0, f64::max);
        // What is 0 but for rounding tells nothing.
        let p = if largest < ROUNDING { 1.0 } else { p_value(&ids, values, &seed.fork(&format!("{node}/{place}"))) };
        (p, population_effect(&planted, *node).get(place).is_some_and(|mean| mean.abs() > ROUNDING))
    };
    let mut tested = [Vec::new(), Vec::new()];
    for (node, both) in nodes.iter().zip(&effects) {
        for (place, (out, values)) in tested.iter_mut().zip(both).enumerate() {
            out.push(test(node, values, place));
        }
    }
    Ok(Tested(tested))
}

/// Effects below this many nats are rounding.
const ROUNDING: f64 = 1e-5;

fn p_value(ids: &[&str], values: &[f64], seed: &Seed) -> f64 {
    let item = |(id, value): (&&str, &f64)| Item {
        id: (*id).to_owned(),
        cluster: (*id).to_owned(),
        value: *value,
        group: None,
        weight: None,
    };
    let items: Vec<Item> = ids.iter().zip(values).map(item).collect();
    sign_flip(&items, 2000, seed).unwrap_or(1.0)
}

/// Mean NIE and reversed NIE over the population: surface forms cancel, the core is 0 or 1 with equal chance.
fn population_effect(planted: &CompiledModel, node: Node) -> [f64; 2] {
    let content = |attribute, core| Content { attribute, surface: 0, core, neutral: false, filler: 0 };
    let of = |core| planted.wiring.effects(&content(true, core), &content(false, core), node);
    let (absent, present) = (of(false), of(true));
    [0.5 * (absent.indirect + present.indirect), 0.5 * (absent.reversed + present.reversed)]
}

fn row(strength: f64, direction: PatchDirection, level: f64, outcomes: &[Tested]) -> CalibrationRow {
    let place = usize::from(direction == PatchDirection::Denoise);
    let (mut rates, mut claims, mut found, mut real) = (Vec::new(), 0usize, 0usize, 0usize);
    for (number, Tested(tested)) in outcomes.iter().enumerate() {
        let nodes = tested.get(place).map(Vec::as_slice).unwrap_or_default();
        let raw: Vec<f64> = nodes.iter().map(|(p, _)| *p).collect();
        let claimed = benjamini_hochberg(&raw).into_iter().map(|q| q <= level);
        let judged: Vec<(bool, bool)> = claimed.zip(nodes).map(|(claimed, (_, real))| (claimed, *real)).collect();
        let count = |of: (bool, bool)| judged.iter().filter(|judged| **judged == of).count();
        let (right, wrong) = (count((true, true)), count((true, false)));
        claims += right + wrong;
        found += right;
        real += right + count((false, true));
        rates.push(Item {
            id: number.to_string(),
            cluster: number.to_string(),
            value: wrong as f64 / (right + wrong).max(1) as f64,
            group: None,
            weight: None,
        });
    }
    let bootstrap = Bootstrap { replicates: 2000, level: 0.95, seed: Seed::new(0).fork("calibration") };
    CalibrationRow {
        strength,
        direction,
        claimed: level,
        actual: estimate(&rates, &Statistic::Mean, &bootstrap),
        discoveries: claims as f64 / outcomes.len().max(1) as f64,
        power: (real > 0).then(|| found as f64 / real as f64),
    }
}
