//! Mediation penalty: on *invariant* pairs nothing may flow through the penalised sites.
//!
//! With y the log-odds of the answers, Z(x) the activations of all penalised sites under prompt x, patched jointly:
//!
//! ```text
//! loss(x, x') = ½ [y(x, Z ← Z(x')) − y(x)]² + ½ [y(x', Z ← Z(x)) − y(x')]²
//! ```
//!
//! the squared natural indirect effects of both directions (Vig et al. 2020, arXiv 2004.12265), in nats². The patched-in
//! value is attached (the penalty reaches what is written at the sites as well as what reads them) or detached (only the
//! reading). Low indirect effects with an unchanged total effect mean that the effect took another way: judge a repair
//! by the total effect and beside random sites. Unit: pair. Cost: the shared pass over both sides, and one more of the
//! same size, in which every row receives from its partner row.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};

use crate::intervene::{Part, PatchHooks, Positions, Replacement, Site, SiteKind, SourceGradient};
use crate::model::HookPoint;
use crate::tune::data::{Batch, PairExample};
use crate::tune::error::TuneError;
use crate::tune::objective::{Onset, StepContext, Term};
use crate::tune::pass::{PairPass, PairRows, squared_change, sum_groups};
use crate::tune::spec::TuneSpec;

struct Mediation {
    weight: f64,
    sites: BTreeMap<String, Vec<Site>>,
    source: SourceGradient,
}

pub(super) fn build(spec: &TuneSpec) -> Box<dyn Term> {
    let sites = spec.penalty_sites.iter().filter(|(_, sites)| !sites.is_empty());
    let sites = sites.map(|(scenario, sites)| (scenario.clone(), sites.clone())).collect();
    Box::new(Mediation { weight: spec.weights.mediation, sites, source: spec.mediation_source })
}

impl Term for Mediation {
    fn name(&self) -> &'static str {
        "mediation"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn onset(&self) -> Onset {
        Onset::Ramped
    }

    fn needs(&self) -> Option<&'static str> {
        Some("invariant pairs of a scenario with penalised sites")
    }

    fn units(&self, batch: &Batch<'_>) -> usize {
        batch.invariant.iter().filter(|example| self.sites.contains_key(&example.scenario)).count()
    }

    fn records(&self) -> Vec<HookPoint> {
        self.sites.values().flatten().map(Site::hook).collect()
    }

    fn loss(&self, context: &StepContext<'_>) -> Result<Tensor, TuneError> {
        let pass = context.invariant()?;
        let mut hooks = self.exchange(pass, &context.batch.invariant)?;
        let patched = pass.rows.scores(context.model, &mut hooks)?;
        let mut patched = patched.iter();
        sum_groups(&pass.groups, |plain| match patched.next() {
            Some(patched) => {
                let factual = squared_change(&patched.factual_pa, &plain.factual_pa)?.sum_all()?;
                let counterfactual = squared_change(&patched.counterfactual_pa, &plain.counterfactual_pa)?.sum_all()?;
                Ok(factual.add(&counterfactual)?.affine(0.5, 0.0)?)
            }
            None => Err(TuneError::state("mediation", "the patched pass grouped its answers differently".into())),
        })
    }
}

/// Which unit rows of a point receive, and from which.
#[derive(Default)]
struct Exchange {
    at: Vec<u32>,
    from: Vec<u32>,
}

impl Mediation {
    /// Hooks under which every row of the pass receives, at its scenario's sites, the activation of its partner row.
    fn exchange(&self, pass: &PairPass, pairs: &[&PairExample]) -> Result<PatchHooks, TuneError> {
        let mut exchanges: BTreeMap<HookPoint, Exchange> = BTreeMap::new();
        for row in 0..pass.rows.rows.len() {
            let sites = pass.rows.owners.get(row).and_then(|(pair, _)| self.sites.get(&pairs.get(*pair)?.scenario));
            for site in sites.into_iter().flatten() {
                if site.kind == SiteKind::Pattern || site.part != Part::All {
                    let message = "the penalty exchanges whole streams and heads; name another site".to_owned();
                    return Err(TuneError::state(&site.to_string(), message));
                }
                let point = site.hook();
                let activation = pass
                    .recorded
                    .get(&point)
                    .ok_or_else(|| TuneError::state(&point.to_string(), "was not recorded".into()))?;
                let exchange = exchanges.entry(point).or_default();
                exchange.add(site, activation.dims(), row, &pass.rows, pairs)?;
            }
        }
        let mut hooks = PatchHooks::new();
        for (point, Exchange { at, from }) in exchanges {
            let Some(activation) = pass.recorded.get(&point) else { continue };
            let activation = match self.source {
                SourceGradient::Attached => activation.clone(),
                SourceGradient::Detached => activation.detach(),
            };
            let width = activation.dim(D::Minus1)?;
            let units_uw = activation.reshape((activation.elem_count() / width.max(1), width))?;
            let from = Tensor::from_vec(from, at.len(), activation.device())?;
            hooks.replace(point, at, Replacement::Rows(units_uw.index_select(&from, 0)?));
        }
        Ok(hooks)
    }
}

impl Exchange {
    /// Adds one site of one row. `dims` are `[b, t, d]`, or `[b, t, h, k]` at points with heads.
    fn add(
        &mut self,
        site: &Site,
        dims: &[usize],
        row: usize,
        rows: &PairRows,
        pairs: &[&PairExample],
    ) -> Result<(), TuneError> {
        let tokens = dims.get(1).copied().unwrap_or_default();
        let heads = if dims.len() == 4 { dims.get(2).copied().unwrap_or(1) } else { 1 };
        let chosen = match site.head {
            Some(head) => head..head + 1,
            None => 0..heads,
        };
        let partner = rows.partner(row);
        for (receiver, donor) in positions(site, row, rows, pairs)? {
            for head in chosen.clone() {
                self.at.push(((row * tokens + receiver) * heads + head) as u32);
                self.from.push(((partner * tokens + donor) * heads + head) as u32);
            }
        }
        Ok(())
    }
}

/// (receiving, giving) positions of a site on one row; [`Positions::All`] includes the fed part of the continuation.
fn positions(
    site: &Site,
    row: usize,
    rows: &PairRows,
    pairs: &[&PairExample],
) -> Result<Vec<(usize, usize)>, TuneError> {
    let found = rows.owners.get(row).and_then(|(number, side)| Some((pairs.get(*number)?, *side)));
    let (Some((example, side)), Some(own)) = (found, rows.rows.get(row)) else { return Ok(Vec::new()) };
    let mut positions = example.pair.resolve(&site.positions, side)?;
    if site.positions == Positions::All {
        let (receiver, donor) = (example.pair.side(side).ids.len(), example.pair.side(side.other()).ids.len());
        positions.extend((0..own.ids.len().saturating_sub(receiver)).map(|offset| (receiver + offset, donor + offset)));
    }
    Ok(positions)
}
