//! Which sites carry the unwanted effect, eval set by eval set.

use std::path::Path;

use super::error::PipelineError;
use super::population::Population;
use super::recipe::MediateRecipe;
use super::scoring::Subject;
use crate::base::{Progress, Seed};
use crate::intervene::{NaiveEngine, Site, SiteKind, TokenPair};
use crate::mediate::{
    FoundPathway, Grid, JointEffects, PathwayPairs, PathwaySearch, RefuteSpec, Runner, SweepSpec, aggregate, effects,
    find_pathway, grids, joint_effects, refute, sweep_kept,
};
use crate::model::LanguageModel;
use crate::record::SiteSweep;
use crate::scenario::Split;
use crate::stats::{Bootstrap, Check, Effect, EffectGrid, PatchDirection, Pathway, Refutation, SiteEffect};
use crate::trust::{PathwayEffects, PathwayEvidence};

/// Random sets and directions that each refuter averages.
const REFUTER_DRAWS: usize = 4;

/// How mediation is done.
#[derive(Clone, Copy)]
pub struct Mediator<'a> {
    /// What the recipe asks for.
    pub recipe: &'a MediateRecipe,
    /// How intervals are made.
    pub bootstrap: Bootstrap,
    /// The root of the draws.
    pub seed: Seed,
    /// Tokens a forward.
    pub batch_tokens: usize,
    /// Told of every batch.
    pub progress: &'a dyn Progress,
}

/// The pairs of one eval set that mediation runs on, tokenized.
pub struct MediationPairs {
    /// The eval set.
    pub id: String,
    /// Pairs that the choice of sites may see.
    pub discovery: Vec<TokenPair>,
    /// Pairs that it has not seen: other names, other framings.
    pub evaluation: Vec<TokenPair>,
}

impl MediationPairs {
    /// Those of an eval set whose effect a penalty may close.
    pub fn of(set: &Population, model: &LanguageModel) -> Result<Self, PipelineError> {
        let tokenizer = model.tokenizer()?;
        let pairs = |split| -> Result<Vec<TokenPair>, PipelineError> {
            let pairs = set.closable(split);
            if pairs.is_empty() {
                let what = format!("pairs of the {split:?} split on which nothing but a spurious cause moves");
                let hint = "mediation needs such pairs: add a spurious parent of the answer, or more declared pairs";
                return Err(PipelineError::Lacking { set: set.id.clone(), what, hint: hint.into() });
            }
            Ok(pairs.into_iter().map(|pair| TokenPair::from_pair(tokenizer, pair)).collect::<Result<_, _>>()?)
        };
        Ok(Self { id: set.id.clone(), discovery: pairs(Split::Discovery)?, evaluation: pairs(Split::Evaluation)? })
    }
}

/// Everything that mediation finds on one eval set of the base.
pub struct Mediated {
    /// The eval set.
    pub id: String,
    /// Each site alone, on discovery pairs.
    pub sites: SiteSweep,
    /// The same as heat maps.
    pub grids: Vec<EffectGrid>,
    /// The pathway, its share measured on evaluation pairs.
    pub found: FoundPathway,
    /// TE, NDE, NIE and reversed NIE through the pathway, on evaluation pairs.
    pub effects: Vec<Effect>,
    /// The identities that were checked.
    pub checks: Vec<Check>,
    /// The refuters.
    pub refutations: Vec<Refutation>,
    /// All sites of the pathway's kinds, from which the control draws.
    pub candidates: Vec<Site>,
}

/// A pathway searched anew in another checkpoint, and what the base's pathway still carries there.
pub struct Remeasured {
    /// The pathway found anew.
    pub rediscovered: FoundPathway,
    /// Joint effects through the base's pathway.
    pub base: Option<JointEffects>,
    /// TE, NDE and NIE through the base's pathway.
    pub effects: Vec<Effect>,
    /// The identities that were checked.
    pub checks: Vec<Check>,
}

impl Mediator<'_> {
    /// Sweeps, finds the pathway, measures and attacks it.
    /// `journal` keeps the patched runs, so that a mediation that was stopped goes on.
    pub fn mediate(
        &self,
        subject: Subject<'_>,
        pairs: &MediationPairs,
        journal: &Path,
    ) -> Result<Mediated, PipelineError> {
        let model = subject.model;
        let engine = NaiveEngine { batch_tokens: self.batch_tokens, ..NaiveEngine::default() };
        let runner = Runner { model, engine: &engine, progress: self.progress };
        let kinds = parse_kinds(&self.recipe.sites)?;
        let swept = self.sweep(runner, subject, pairs, &kinds, journal)?;
        let found = self.find(runner, pairs, &swept)?;
        let report = effects(runner, &pairs.evaluation, &found.sites, &pairs.id, &self.bootstrap_of(&pairs.id))?;
        let seed = self.seed.fork("refute").fork(&pairs.id);
        let spec =
            RefuteSpec { population: &pairs.id, draws: REFUTER_DRAWS, bootstrap: self.bootstrap_of(&pairs.id), seed };
        let refutations =
            if found.sites.is_empty() { Vec::new() } else { refute(runner, &pairs.evaluation, &found.sites, &spec)? };
        let wanted = parse_kinds(&self.recipe.pathway)?;
        let mut candidates: Vec<Site> = swept
            .iter()
            .filter_map(|effect| effect.site.parse().ok())
            .filter(|site: &Site| wanted.contains(&site.kind))
            .collect();
        candidates.sort();
        candidates.dedup();
        Ok(Mediated {
            id: pairs.id.clone(),
            grids: grids(&swept, &pairs.id),
            sites: SiteSweep { population: pairs.id.clone(), effects: swept },
            effects: report.effects().cloned().collect(),
            checks: named(report.checks, &pairs.id),
            found,
            refutations,
            candidates,
        })
    }

    /// What the base's pathway carries in another checkpoint, and which pathway a new search finds there.
    pub fn remeasure(
        &self,
        subject: Subject<'_>,
        pairs: &MediationPairs,
        base: &[Site],
        journal: &Path,
    ) -> Result<Remeasured, PipelineError> {
        let model = subject.model;
        let engine = NaiveEngine { batch_tokens: self.batch_tokens, ..NaiveEngine::default() };
        let runner = Runner { model, engine: &engine, progress: self.progress };
        let swept = self.sweep(runner, subject, pairs, &parse_kinds(&self.recipe.pathway)?, journal)?;
        let rediscovered = self.find(runner, pairs, &swept)?;
        let (joint, effects, checks) = match base.is_empty() {
            true => (None, Vec::new(), Vec::new()),
            false => {
                let joint = joint_effects(runner, &pairs.evaluation, base)?;
                let report = effects(runner, &pairs.evaluation, base, &pairs.id, &self.bootstrap_of(&pairs.id))?;
                (Some(joint), report.effects().cloned().collect(), named(report.checks, &pairs.id))
            }
        };
        Ok(Remeasured { rediscovered, base: joint, effects, checks })
    }

    fn sweep(
        &self,
        runner: Runner<'_>,
        subject: Subject<'_>,
        pairs: &MediationPairs,
        kinds: &[SiteKind],
        journal: &Path,
    ) -> Result<Vec<SiteEffect>, PipelineError> {
        let spec = SweepSpec::new(kinds, Grid::Landmarks, &[PatchDirection::Noise, PatchDirection::Denoise]);
        let runs = sweep_kept(runner, &pairs.discovery, &spec, subject.adapter, journal)?;
        Ok(aggregate(&runs, &pairs.discovery, &self.bootstrap_of(&pairs.id)))
    }

    fn find(
        &self,
        runner: Runner<'_>,
        pairs: &MediationPairs,
        swept: &[SiteEffect],
    ) -> Result<FoundPathway, PipelineError> {
        let search = PathwaySearch {
            kinds: parse_kinds(&self.recipe.pathway)?,
            share: self.recipe.share,
            max_sites: self.recipe.max_sites,
            ..PathwaySearch::new(self.bootstrap_of(&pairs.id))
        };
        let pairs = PathwayPairs { population: &pairs.id, discovery: &pairs.discovery, evaluation: &pairs.evaluation };
        Ok(find_pathway(runner, pairs, swept, &search)?)
    }

    fn bootstrap_of(&self, id: &str) -> Bootstrap {
        Bootstrap { seed: self.bootstrap.seed.fork("mediate").fork(id), ..self.bootstrap }
    }
}

impl Mediated {
    /// What the metrics of explainability read.
    pub fn evidence(&self) -> PathwayEvidence {
        let found = evidence_of(&self.found.evaluation);
        let carried = (!self.found.sites.is_empty()).then_some(found);
        PathwayEvidence { population: self.id.clone(), base: carried.clone(), rediscovered: carried }
    }
}

impl Remeasured {
    /// What the metrics of explainability read.
    pub fn evidence(&self, id: &str) -> PathwayEvidence {
        let found = evidence_of(&self.rediscovered.evaluation);
        PathwayEvidence {
            population: id.to_owned(),
            base: self.base.as_ref().map(evidence_of),
            rediscovered: (!self.rediscovered.sites.is_empty()).then_some(found),
        }
    }

    /// The pathway found anew.
    pub fn pathway(&self) -> &Pathway {
        &self.rediscovered.pathway
    }
}

fn evidence_of(joint: &JointEffects) -> PathwayEffects {
    PathwayEffects { total: joint.total.clone(), noised: joint.noised.clone(), denoised: joint.denoised.clone() }
}

/// Kinds by name.
pub fn parse_kinds(names: &[String]) -> Result<Vec<SiteKind>, PipelineError> {
    Ok(names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?)
}

fn named(checks: Vec<Check>, id: &str) -> Vec<Check> {
    checks.into_iter().map(|check| Check { name: format!("{id}: {}", check.name), ..check }).collect()
}
