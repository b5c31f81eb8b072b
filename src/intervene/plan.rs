//! Plans: which side of a pair runs, and what each site receives. Declarative, so that they can be checked before any
//! weight is loaded, digested, replayed, and carried out by any engine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use super::site::Site;
use crate::base::Digest;
use crate::base::digest::Hasher;
use crate::model::Architecture;

/// One side of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The prompt as it was.
    Factual,
    /// The prompt under the intervention.
    Counterfactual,
}

impl Side {
    /// The pair's other side.
    pub fn other(self) -> Self {
        match self {
            Side::Factual => Side::Counterfactual,
            Side::Counterfactual => Side::Factual,
        }
    }
}

/// What a site receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Intervention {
    /// The donor's activation at the aligned position.
    Interchange,
    /// Its own activation plus a random direction as long as the interchange would have moved it: a control that
    /// disturbs as much and says nothing. Drawn from the seed, the pair's id, the site and the position.
    RandomDirection {
        /// The stream's seed.
        seed: u64,
    },
    /// Zero.
    Zero,
}

impl Intervention {
    /// Whether the donor's run is needed.
    pub fn reads_donor(self) -> bool {
        !matches!(self, Intervention::Zero)
    }
}

/// One patched run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The side that runs and is changed; the donor is the other one.
    pub receiver: Side,
    /// What is changed, all at once.
    pub cells: Vec<(Site, Intervention)>,
}

impl Plan {
    /// The plain run of one side.
    pub fn nothing(receiver: Side) -> Self {
        Self { receiver, cells: Vec::new() }
    }

    /// The receiver with the donor's activation at every one of `sites`.
    pub fn interchange(receiver: Side, sites: &[Site]) -> Self {
        Self { receiver, cells: sites.iter().map(|site| (site.clone(), Intervention::Interchange)).collect() }
    }

    /// Refuses sites that the architecture does not have, and a site that is named twice.
    pub fn check(&self, architecture: &Architecture) -> Result<(), InterveneError> {
        for (number, (site, _)) in self.cells.iter().enumerate() {
            site.check(architecture)?;
            if self.cells.iter().take(number).any(|(earlier, _)| earlier == site) {
                return Err(InterveneError::Plan { site: site.to_string(), message: "it is named twice".into() });
            }
        }
        Ok(())
    }

    /// The digest of what the plan does; the order of its cells does not matter.
    pub fn digest(&self) -> Digest {
        let mut texts: Vec<String> = self.cells.iter().map(|(site, what)| format!("{site} {what:?}")).collect();
        texts.sort();
        let mut hasher = Hasher::default();
        hasher.part("receiver", format!("{:?}", self.receiver).as_bytes());
        texts.iter().for_each(|text| hasher.part("cell", text.as_bytes()));
        hasher.finish()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receiver = match self.receiver {
            Side::Factual => "factual",
            Side::Counterfactual => "counterfactual",
        };
        write!(f, "{receiver} run")?;
        let mut join = " with ";
        for (site, intervention) in &self.cells {
            let what = match intervention {
                Intervention::Interchange => "interchange",
                Intervention::RandomDirection { .. } => "random direction",
                Intervention::Zero => "zero",
            };
            write!(f, "{join}{what} at {site}")?;
            join = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intervene::site::SiteKind;

    #[test]
    fn a_digest_is_of_the_set_of_cells() {
        let (a, b) = (Site::of_head(0, 1), Site::everywhere(SiteKind::MlpOut, 1));
        let digest = |receiver, sites: &[Site]| Plan::interchange(receiver, sites).digest();
        let both = digest(Side::Factual, &[a.clone(), b.clone()]);
        assert_eq!(both, digest(Side::Factual, &[b.clone(), a.clone()]));
        assert_ne!(both, digest(Side::Counterfactual, &[a.clone(), b.clone()]));
        assert_ne!(both, digest(Side::Factual, &[a]));
        let zero = Plan { receiver: Side::Factual, cells: vec![(b.clone(), Intervention::Zero)] };
        assert_ne!(zero.digest(), digest(Side::Factual, &[b]));
    }

    #[test]
    fn a_plan_survives_json() {
        let plan = Plan {
            receiver: Side::Counterfactual,
            cells: vec![(Site::of_head(0, 1), Intervention::RandomDirection { seed: 3 })],
        };
        let json = serde_json::to_string(&plan).expect("JSON");
        assert!(json.contains("blocks.0.attn.hook_z[head=1]"), "{json}");
        assert_eq!(serde_json::from_str::<Plan>(&json).expect("plan"), plan);
    }
}
