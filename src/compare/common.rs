//! Whether imported logs asked the same: by the hashes of prompts, documents and targets, before anything is compared.

use std::collections::{BTreeMap, BTreeSet};

use super::CompareError;
use crate::record::import::{Difference, Fingerprint, Imported};
use crate::stats::Bootstrap;

/// What happens to items that only one run has, or that the runs asked differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMismatch {
    /// The comparison is refused.
    Refuse,
    /// Only the items that all runs asked alike are kept, and the number is told.
    KeepCommon,
}

type Prints = BTreeMap<String, Fingerprint>;

/// Holds the runs' items against those of the first run that has the population. Returns what was left out, one sentence a
/// population.
///
/// # Errors
/// [`CompareError::Prompts`] where items differ and are to be refused, or where none would be left.
pub fn align_items(
    runs: &mut [Imported],
    on_mismatch: OnMismatch,
    bootstrap: &Bootstrap,
) -> Result<Vec<String>, CompareError> {
    let mut notes = Vec::new();
    for population in populations(runs) {
        let asked = asked(runs, &population);
        let Some((first, rest)) = asked.split_first().filter(|(_, rest)| !rest.is_empty()) else { continue };
        let mut common: BTreeSet<String> = first.1.keys().cloned().collect();
        for other in rest {
            let found = mismatch(&first.1, &other.1);
            common.retain(|id| found.same.contains(id));
            let whole = first.1.len().max(other.1.len());
            if found.same.len() == whole {
                continue;
            }
            if on_mismatch == OnMismatch::Refuse || found.same.is_empty() {
                return Err(CompareError::Prompts {
                    population,
                    first: first.0.clone(),
                    second: other.0.clone(),
                    what: found.told(),
                    hint: found.hint(),
                });
            }
        }
        let most = asked.iter().map(|(_, prints)| prints.len()).max().unwrap_or(0);
        if common.len() < most {
            notes.push(format!(
                "{population}: restricted to the {} of {most} items that all runs asked alike",
                common.len()
            ));
            let keep = |of: &str, id: &str| of != population || common.contains(id);
            runs.iter_mut().for_each(|run| run.retain(bootstrap, keep));
        }
    }
    if on_mismatch == OnMismatch::KeepCommon {
        notes.extend(keep_common_values(runs, bootstrap));
    }
    Ok(notes)
}

fn populations(runs: &[Imported]) -> BTreeSet<String> {
    runs.iter().flat_map(|run| run.prints.keys().cloned()).collect()
}

/// The runs that know what was asked of a population, by name.
fn asked(runs: &[Imported], population: &str) -> Vec<(String, Prints)> {
    let of = |run: &Imported| Some((run.record.name.clone(), run.prints.get(population)?.clone()));
    runs.iter().filter_map(of).collect()
}

/// How two runs' questions differ.
struct Mismatch {
    same: BTreeSet<String>,
    /// Items that were asked differently, with the first of them and what differs.
    different: usize,
    example: Option<(String, Difference)>,
    /// Items of one run only, with one of them.
    missing: [usize; 2],
    absent: Option<String>,
}

fn mismatch(first: &Prints, second: &Prints) -> Mismatch {
    let only = |one: &Prints, two: &Prints| one.keys().filter(|id| !two.contains_key(*id)).count();
    let mut found = Mismatch {
        same: BTreeSet::new(),
        different: 0,
        example: None,
        missing: [only(first, second), only(second, first)],
        absent: first
            .keys()
            .find(|id| !second.contains_key(*id))
            .or_else(|| second.keys().find(|id| !first.contains_key(*id)))
            .cloned(),
    };
    for (id, print) in first {
        let Some(other) = second.get(id) else { continue };
        match print.difference(other) {
            None => {
                found.same.insert(id.clone());
            }
            Some(what) => {
                found.different += 1;
                found.example.get_or_insert((id.clone(), what));
            }
        }
    }
    found
}

impl Mismatch {
    fn hint(&self) -> String {
        match self.same.len() {
            0 => "no item is the same in both".into(),
            same => format!("--common compares the {same} items that are the same"),
        }
    }

    fn told(&self) -> String {
        let mut parts = Vec::new();
        if let Some((id, what)) = &self.example {
            parts.push(format!(
                "{} items were asked differently (such as `{id}`: {} differs)",
                self.different,
                what.field()
            ));
        }
        let [first, second] = self.missing;
        if let Some(id) = &self.absent {
            parts.push(format!("{first} items are only in the first and {second} only in the second (such as `{id}`)"));
        }
        parts.join("; ")
    }
}

/// Restricts every score to the items that all runs with that score have.
fn keep_common_values(runs: &mut [Imported], bootstrap: &Bootstrap) -> Vec<String> {
    let mut common: BTreeMap<(String, String), (BTreeSet<String>, usize)> = BTreeMap::new();
    for score in runs.iter().flat_map(|run| &run.record.scores).filter(|score| !score.items.is_empty()) {
        let ids = || score.items.iter().map(|item| item.id.clone());
        let key = (score.metric.clone(), score.population.clone());
        let (kept, most) = common.entry(key).or_insert_with(|| (ids().collect(), 0));
        let own: BTreeSet<String> = ids().collect();
        kept.retain(|id| own.contains(id));
        *most = own.len().max(*most);
    }
    common.retain(|_, (kept, most)| kept.len() < *most && !kept.is_empty());
    for run in runs.iter_mut() {
        for score in &mut run.record.scores {
            if let Some((kept, _)) = common.get(&(score.metric.clone(), score.population.clone())) {
                score.keep(bootstrap, |id| kept.contains(id));
            }
        }
    }
    let told = |((metric, population), (kept, most)): (&(String, String), &(BTreeSet<String>, usize))| {
        format!("{metric} of {population}: restricted to the {} of {most} items that all runs have", kept.len())
    };
    common.iter().map(told).collect()
}
