//! The arms of a comparison: equal in trainable parameters, steps, task tokens and data order, different in the terms
//! of their objective, so that each ingredient's share is seen.
//!
//! | arm | task | canary | consistency | follow | mediation | anchor | sites of the penalty |
//! |---|---|---|---|---|---|---|---|
//! | `plain` | ✓ | ✓ | | | | | |
//! | `consistency` | ✓ | ✓ | ✓ | ✓ | | | |
//! | `pathway` | ✓ | ✓ | | | ✓ | | the pathway found |
//! | `random_sites` | ✓ | ✓ | | | ✓ | | as many others of the same kinds, drawn at random |
//! | `causal` | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | the pathway found |

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::error::TuneError;
use super::spec::{TuneSpec, Weights};
use crate::base::seed::index;
use crate::base::{Seed, suggestion};
use crate::intervene::Site;

/// One arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    /// Task loss alone.
    Plain,
    /// Task loss and the paired terms.
    Consistency,
    /// Task loss and the mediation penalty at the pathway.
    Pathway,
    /// Task loss and the mediation penalty at random sites.
    RandomSites,
    /// Everything.
    Causal,
}

impl Arm {
    /// All arms, in the order of the table.
    pub const ALL: [Arm; 5] = [Arm::Plain, Arm::Consistency, Arm::Pathway, Arm::RandomSites, Arm::Causal];

    /// Its name in recipes and records.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Plain => "plain",
            Arm::Consistency => "consistency",
            Arm::Pathway => "pathway",
            Arm::RandomSites => "random_sites",
            Arm::Causal => "causal",
        }
    }

    /// The base weights, with those of the terms that this arm does without at 0.
    pub fn weights(self, base: Weights) -> Weights {
        let plain = Weights { consistency: 0.0, follow: 0.0, mediation: 0.0, anchor: 0.0, ..base };
        match self {
            Arm::Plain => plain,
            Arm::Consistency => Weights { consistency: base.consistency, follow: base.follow, ..plain },
            Arm::Pathway | Arm::RandomSites => Weights { mediation: base.mediation, ..plain },
            Arm::Causal => base,
        }
    }

    /// Whether anything of what sets the arm apart is left under these base weights.
    pub fn has_objective(self, base: &Weights) -> bool {
        let paired = base.consistency > 0.0 || base.follow > 0.0;
        match self {
            Arm::Plain => base.task > 0.0,
            Arm::Consistency => paired,
            Arm::Pathway | Arm::RandomSites => base.mediation > 0.0,
            Arm::Causal => paired || base.mediation > 0.0,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arm {
    type Err = TuneError;

    fn from_str(text: &str) -> Result<Self, TuneError> {
        Self::ALL.into_iter().find(|arm| arm.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Arm::name);
            let hint = suggestion(text, names).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            TuneError::spec("arms", format!("no arm {text:?}; known are {}{hint}", names.join(", ")))
        })
    }
}

/// The specs of `arms` from one base spec. `pathways` and `candidates` are by scenario: the sites found, and all sites
/// of their kinds that the sweep looked at, from which the control draws. The draw hangs on the spec's seed and the
/// scenario.
pub fn arms(
    base: &TuneSpec,
    arms: &[Arm],
    pathways: &BTreeMap<String, Vec<Site>>,
    candidates: &BTreeMap<String, Vec<Site>>,
) -> Result<Vec<TuneSpec>, TuneError> {
    let of = |arm: &Arm| {
        let penalty_sites = match arm {
            Arm::Plain | Arm::Consistency => BTreeMap::new(),
            Arm::Pathway | Arm::Causal => pathways.clone(),
            Arm::RandomSites => random_sites(pathways, candidates, Seed::new(base.seed))?,
        };
        Ok(TuneSpec { arm: arm.name().into(), weights: arm.weights(base.weights), penalty_sites, ..base.clone() })
    };
    arms.iter().map(of).collect()
}

/// The same arms under `count` seeds: the base's, and the numbers after it.
pub fn with_seeds(specs: &[TuneSpec], count: usize) -> Vec<TuneSpec> {
    let seeded =
        |offset: u64| specs.iter().map(move |spec| TuneSpec { seed: spec.seed.wrapping_add(offset), ..spec.clone() });
    (0..count as u64).flat_map(seeded).collect()
}

/// For every scenario as many random sites of each kind as its pathway has, none of them on the pathway.
pub fn random_sites(
    pathways: &BTreeMap<String, Vec<Site>>,
    candidates: &BTreeMap<String, Vec<Site>>,
    seed: Seed,
) -> Result<BTreeMap<String, Vec<Site>>, TuneError> {
    let mut drawn = BTreeMap::new();
    for (scenario, pathway) in pathways {
        let mut rng = seed.fork("random sites").fork(scenario).rng();
        let mut left: Vec<&Site> =
            candidates.get(scenario).into_iter().flatten().filter(|site| !pathway.contains(site)).collect();
        left.sort();
        left.dedup();
        let mut chosen: Vec<Site> = Vec::new();
        for site in pathway {
            let same: Vec<usize> =
                left.iter().enumerate().filter(|(_, other)| other.kind == site.kind).map(|(at, _)| at).collect();
            let Some(at) = same.get(index(&mut rng, same.len())) else {
                let of_kind = |sites: &[Site]| sites.iter().filter(|other| other.kind == site.kind).count();
                let (kind, needed, found) = (site.kind.to_string(), of_kind(pathway), of_kind(&chosen));
                return Err(TuneError::TooFewSites { scenario: scenario.clone(), kind, needed, found });
            };
            chosen.push(left.remove(*at).clone());
        }
        drawn.insert(scenario.clone(), chosen);
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intervene::SiteKind;

    fn sites() -> (BTreeMap<String, Vec<Site>>, BTreeMap<String, Vec<Site>>) {
        let heads = (0..4).flat_map(|layer| (0..4).map(move |head| Site::of_head(layer, head)));
        let mlps = (0..4).map(|layer| Site::everywhere(SiteKind::MlpOut, layer));
        let pathway = vec![Site::of_head(1, 2), Site::everywhere(SiteKind::MlpOut, 0), Site::of_head(2, 0)];
        (BTreeMap::from([("hiring".into(), pathway)]), BTreeMap::from([("hiring".into(), heads.chain(mlps).collect())]))
    }

    #[test]
    fn arms_differ_in_terms_and_sites_alone() {
        let (pathways, candidates) = sites();
        let base = TuneSpec { seed: 5, ..TuneSpec::default() };
        let specs = arms(&base, &Arm::ALL, &pathways, &candidates).expect("arms");
        for spec in &specs {
            let same = TuneSpec {
                arm: base.arm.clone(),
                weights: base.weights,
                penalty_sites: BTreeMap::new(),
                ..spec.clone()
            };
            assert_eq!(same, base);
        }
        let on = |spec: &TuneSpec| {
            [spec.weights.consistency, spec.weights.follow, spec.weights.mediation, spec.weights.anchor]
                .map(|w| w > 0.0)
        };
        assert_eq!(on(&specs[0]), [false; 4]);
        assert_eq!(on(&specs[1]), [true, true, false, false]);
        assert_eq!(on(&specs[2]), [false, false, true, false]);
        assert_eq!(on(&specs[3]), on(&specs[2]));
        assert_eq!(on(&specs[4]), [true; 4]);
        assert_eq!(specs[2].penalty_sites, specs[4].penalty_sites);
        assert!("causall".parse::<Arm>().expect_err("typo").to_string().contains("did you mean causal"));
    }

    #[test]
    fn random_sites_are_as_many_of_the_same_kinds_outside_the_pathway() {
        let (pathways, mut candidates) = sites();
        let draw = |seed| random_sites(&pathways, &candidates, Seed::new(seed)).expect("enough")["hiring"].clone();
        let drawn = draw(1);
        assert_eq!(
            drawn.iter().map(|site| site.kind).collect::<Vec<_>>(),
            [SiteKind::Z, SiteKind::MlpOut, SiteKind::Z]
        );
        assert!(drawn.iter().all(|site| !pathways["hiring"].contains(site)));
        assert!(drawn[0] != drawn[2] && draw(1) == drawn && (2..20).any(|seed| draw(seed) != drawn));
        candidates.get_mut("hiring").expect("sites").retain(|site| site.kind == SiteKind::Z);
        let error = random_sites(&pathways, &candidates, Seed::new(1)).expect_err("no MLP left").to_string();
        assert!(error.contains("1 random sites of kind mlp_out"), "{error}");
    }

    #[test]
    fn seeds_count_up() {
        let specs = with_seeds(&[TuneSpec { seed: 7, ..TuneSpec::default() }], 3);
        assert_eq!(specs.iter().map(|spec| spec.seed).collect::<Vec<_>>(), [7, 8, 9]);
    }
}
