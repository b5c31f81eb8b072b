//! From rows to one line a set, intervention and direction.
//!
//! Each pair is oriented so that its own total effect counts positive, as in a sweep: sign(source − base)·effect. All
//! numbers are means over pairs with cluster-bootstrap intervals, in the outcome's unit.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::{AblationRow, Measure};
use crate::intervene::TokenPair;
use crate::mediate::joint::item;
use crate::stats::{Bootstrap, Estimate, Item, PatchDirection, Statistic, estimate};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationEffect {
    /// The set's name.
    pub set: String,
    /// What its sites received.
    pub intervention: String,
    /// Which run received.
    pub direction: PatchDirection,
    /// All sites together.
    pub joint: Estimate,
    /// `joint` minus the sum over its sites of each alone; none where they were not measured.
    pub interaction: Option<Estimate>,
    /// What the sites themselves write to the logits; none where it was not measured.
    pub direct: Option<Estimate>,
    /// `joint` minus `direct`: what the rest of the model adds.
    pub self_repair: Option<Estimate>,
}

/// What one pair says about one line.
#[derive(Debug, Default, Clone)]
struct Found {
    joint: f64,
    singles: Option<f64>,
    direct: Option<f64>,
}

/// Set, intervention, and whether the counterfactual run receives.
type Key = (String, String, bool);

/// Rows on their way to a table: of each, what the table is made of.
#[derive(Debug, Default, Clone)]
pub struct AblationTable {
    rows: usize,
    order: Vec<Key>,
    lines: BTreeMap<Key, BTreeMap<String, Found>>,
}

impl AblationTable {
    /// Adds a row.
    pub fn add(&mut self, row: &AblationRow) {
        let key = (row.set.clone(), row.intervention.clone(), row.direction == PatchDirection::Denoise);
        if !self.lines.contains_key(&key) {
            self.order.push(key.clone());
        }
        let found = self.lines.entry(key).or_default().entry(row.id.clone()).or_default();
        let effect = if row.source < row.base { -row.effect } else { row.effect };
        match row.measure {
            Measure::Joint => found.joint = effect,
            Measure::Single { .. } => found.singles = Some(found.singles.unwrap_or(0.0) + effect),
            Measure::Direct => found.direct = Some(effect),
        }
        self.rows += 1;
    }

    /// How many rows were added.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The lines of all sets, interventions and directions, in the order of the rows.
    pub fn effects(&self, pairs: &[TokenPair], bootstrap: &Bootstrap) -> Vec<AblationEffect> {
        let by_id: BTreeMap<&str, &TokenPair> = pairs.iter().map(|pair| (pair.id.as_str(), pair)).collect();
        let line = |key: &Key| {
            let found = self.lines.get(key)?;
            let (set, intervention, denoise) = key;
            let mean = |name: &str, of: &dyn Fn(&Found) -> Option<f64>| {
                let items: Option<Vec<Item>> =
                    found.iter().map(|(id, found)| Some(item(by_id.get(id.as_str())?, of(found)?))).collect();
                let seed = bootstrap.seed.fork(&format!("{set}/{intervention}/{denoise}/{name}"));
                items.map(|items| estimate(&items, &Statistic::Mean, &Bootstrap { seed, ..*bootstrap }))
            };
            Some(AblationEffect {
                set: set.clone(),
                intervention: intervention.clone(),
                direction: if *denoise { PatchDirection::Denoise } else { PatchDirection::Noise },
                joint: mean("joint", &|found| Some(found.joint))?,
                interaction: mean("interaction", &|found| Some(found.joint - found.singles?)),
                direct: mean("direct", &|found| found.direct),
                self_repair: mean("self-repair", &|found| Some(found.joint - found.direct?)),
            })
        };
        self.order.iter().filter_map(line).collect()
    }
}
