//! Plans: which side of a pair runs, and what each site receives. Declarative, so that they can be checked before any
//! weight is loaded, digested, replayed, and carried out by any engine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use super::intervention::Intervention;
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

/// One patched run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

    /// The receiver with the same done at every one of `sites`, all at once: a window of layers, a set of heads.
    pub fn everywhere(receiver: Side, sites: &[Site], intervention: &Intervention) -> Self {
        Self { receiver, cells: sites.iter().map(|site| (site.clone(), intervention.clone())).collect() }
    }

    /// Refuses sites that the architecture does not have, what they cannot receive, a site that is named twice, and
    /// draws of different numbers. Needs no weights.
    pub fn check(&self, architecture: &Architecture) -> Result<(), InterveneError> {
        let refuse = |site: &Site, message: String| Err(InterveneError::Plan { site: site.to_string(), message });
        for (number, (site, intervention)) in self.cells.iter().enumerate() {
            site.check(architecture)?;
            intervention.check(site, architecture)?;
            let mut earlier = self.cells.iter().take(number);
            if earlier.clone().any(|(earlier, _)| earlier == site) {
                return refuse(site, "it is named twice".into());
            }
            let draws = intervention.draws();
            if draws > 1 && earlier.any(|(_, other)| other.draws() > 1 && other.draws() != draws) {
                return refuse(
                    site,
                    format!("{draws} draws beside another number; noise of one plan is drawn together"),
                );
            }
        }
        Ok(())
    }

    /// How many runs its outcome is averaged over: the draws of its noise, else 1.
    pub fn draws(&self) -> u32 {
        self.cells.iter().map(|(_, intervention)| intervention.draws()).max().unwrap_or(1)
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
            write!(f, "{join}{intervention} at {site}")?;
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
