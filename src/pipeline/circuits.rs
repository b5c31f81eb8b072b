//! Which edges carry the unwanted effect, eval set by eval set, and what they still carry in a tuned checkpoint.
//!
//! Files of a set `S` below an arm's folder: `circuits/S.json` is the circuit (EAP-IG's JSON, which `circuit evaluate`
//! reads), `circuits/S.result.json` what was measured. The result is written last and names the request that it
//! answers: a run that is started again reads it, and one of another request makes it anew.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::PipelineError;
use super::mediation::MediationPairs;
use super::recipe::CircuitRecipe;
use super::records::{NO_CIRCUIT, circuit_line};
use super::scoring::Subject;
use crate::base::digest::Hasher;
use crate::base::{Digest, Progress, files};
use crate::intervene::path::PathRunner;
use crate::intervene::{Orientation, Outcome, Side, TokenPair};
use crate::mediate::MediateError;
use crate::mediate::attribution::{AttributionSpec, Method, MetricSign};
use crate::mediate::circuit::{
    CircuitFile, DiscoverSpec, Discovery, Evaluator, Evidence, Rule, compare, discover, read_circuit, write_circuit,
};
use crate::model::LanguageModel;
use crate::record::{CircuitChange, CircuitRecord};
use crate::stats::Bootstrap;
use crate::stats::circuit::{CircuitReport, Judgement, Ranking};

/// Edges that a record keeps of a circuit.
pub const KEPT_EDGES: usize = 200;

/// How circuits are traced in a run.
#[derive(Clone, Copy)]
pub struct Tracer<'a> {
    /// What the recipe asks for.
    pub recipe: &'a CircuitRecipe,
    /// How intervals are made.
    pub bootstrap: Bootstrap,
    /// Told of every batch.
    pub progress: &'a dyn Progress,
}

/// A circuit of the base, and the pairs that it was found and measured on.
pub struct Traced {
    /// What the base's record keeps.
    pub record: CircuitRecord,
    file: CircuitFile,
    discovery: Vec<TokenPair>,
    evaluation: Vec<TokenPair>,
}

/// A stage's result with the request that it answers.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    request: Digest,
    result: T,
}

impl Tracer<'_> {
    /// A circuit of every eval set that has pairs for one; what was found, or why nothing, is told.
    pub fn trace_all(
        &self,
        subject: Subject<'_>,
        sets: &[MediationPairs],
        folder: &Path,
    ) -> Result<Vec<Traced>, PipelineError> {
        let mut traced = Vec::new();
        for pairs in sets {
            match self.trace(subject, pairs, folder)? {
                Some(found) => {
                    self.progress.note(&format!("{}: {}", pairs.id, circuit_line(&found.record)));
                    traced.push(found);
                }
                None => self.progress.note(&format!("{}: {NO_CIRCUIT}", pairs.id)),
            }
        }
        Ok(traced)
    }

    /// Finds a circuit on the discovery pairs of one eval set and measures it on held-out ones. `None` where no pair's two
    /// prompts have equally many tokens.
    pub fn trace(
        &self,
        subject: Subject<'_>,
        pairs: &MediationPairs,
        folder: &Path,
    ) -> Result<Option<Traced>, PipelineError> {
        let whole = |pairs: &[TokenPair]| -> Vec<TokenPair> {
            pairs.iter().filter(|pair| pair.alignment().is_whole()).cloned().collect()
        };
        let evaluation = dealt(whole(&pairs.evaluation), self.recipe.pairs);
        let [discovery, evaluation] = turned(subject.model, [whole(&pairs.discovery), evaluation], self.progress)?;
        if discovery.is_empty() || evaluation.is_empty() {
            return Ok(None);
        }
        let runner = PathRunner::new(subject.model)?;
        let bootstrap = self.bootstrap_of(&pairs.id);
        let CircuitRecipe { steps, edges, random, minimality, ablation, .. } = *self.recipe;
        let edges = edges.unwrap_or_else(|| runner.graph().edge_count().div_ceil(20));
        let spec = DiscoverSpec {
            attribution: AttributionSpec::new(Method::integrated(steps)),
            ranking: Ranking::Absolute,
            rule: Rule::Greedy { edges },
            evidence: Evidence { ablation, random, edges: minimality, bootstrap },
            confirm: 0,
            sample: 0,
        };
        let request = self.request(subject, [&discovery, &evaluation], &[format!("{spec:?}")]);
        let (circuit, result) = (file(folder, &pairs.id, "json"), file(folder, &pairs.id, "result.json"));
        let (found, file) = match kept::<Discovery>(&result, &request)? {
            Some(found) => (found, read_circuit(&circuit, runner.graph())?),
            None => {
                let journal = file(folder, &pairs.id, "runs.jsonl");
                let on = (subject.model, subject.adapter);
                let (mut found, file) = discover(on, [&discovery, &evaluation], &spec, &journal, self.progress)?;
                found.report = told(&found.report);
                write_circuit(&circuit, &file)?;
                keep(&result, request, &found)?;
                files::remove(&journal)?;
                (found, file)
            }
        };
        let record = record_of(&pairs.id, &found, &file);
        Ok(Some(Traced { record, file, discovery, evaluation }))
    }

    /// Runs the base's circuit in another checkpoint, on the same held-out pairs.
    pub fn remeasure(
        &self,
        base: &LanguageModel,
        subject: Subject<'_>,
        traced: &Traced,
        folder: &Path,
    ) -> Result<CircuitChange, PipelineError> {
        let population = traced.record.population.clone();
        let bootstrap = self.bootstrap_of(&population);
        let edges: Vec<String> = traced.file.circuit.edges().map(|edge| traced.file.scores.graph.name(edge)).collect();
        let told = [format!("{:?} {bootstrap:?}", self.recipe.ablation), edges.join(" ")];
        let request = self.request(subject, [&traced.discovery, &traced.evaluation], &told);
        let path = file(folder, &population, "result.json");
        let comparison = match kept(&path, &request)? {
            Some(found) => found,
            None => {
                let runners = [PathRunner::new(base)?, PathRunner::new(subject.model)?];
                let [first, second] = &runners;
                let kind = self.recipe.ablation;
                let means = [kind.means(base, &traced.discovery)?, kind.means(subject.model, &traced.discovery)?];
                let [own, other] = &means;
                self.progress.start("circuit", 0);
                let how = |ablation| (ablation, Outcome::Contrast, MetricSign::Declared);
                let (before, after) = (kind.with(own.as_ref()), kind.with(other.as_ref()));
                let before = Evaluator::new(first, &traced.evaluation, how(before), self.progress)?;
                let after = Evaluator::new(second, &traced.evaluation, how(after), self.progress)?;
                let found = compare([&before, &after], &traced.file.circuit, &bootstrap)?;
                self.progress.finish();
                keep(&path, request, &found)?;
                found
            }
        };
        Ok(CircuitChange { population, comparison })
    }

    fn bootstrap_of(&self, id: &str) -> Bootstrap {
        Bootstrap { seed: self.bootstrap.seed.fork("circuit").fork(id), ..self.bootstrap }
    }

    /// The digest of everything that a result depends on.
    fn request(&self, subject: Subject<'_>, pairs: [&[TokenPair]; 2], told: &[String]) -> Digest {
        let mut hasher = Hasher::default();
        hasher.part("version", env!("CARGO_PKG_VERSION").as_bytes());
        hasher.part("model", subject.model.digest().as_str().as_bytes());
        hasher.part("adapter", subject.adapter.map(Digest::as_str).unwrap_or_default().as_bytes());
        told.iter().for_each(|text| hasher.part("request", text.as_bytes()));
        for pair in pairs.into_iter().flatten() {
            hasher.part("pair", format!("{} {} {:?}", pair.id, pair.cluster, pair.orientation).as_bytes());
            for side in [Side::Factual, Side::Counterfactual] {
                let prompt = pair.side(side);
                hasher.part("prompt", format!("{:?} {:?}", prompt.ids, prompt.answers).as_bytes());
            }
        }
        hasher.finish()
    }
}

/// The path of one set's file.
fn file(folder: &Path, id: &str, ending: &str) -> PathBuf {
    folder.join("circuits").join(format!("{id}.{ending}"))
}

fn kept<T: DeserializeOwned>(path: &Path, request: &Digest) -> Result<Option<T>, PipelineError> {
    if !files::exists(path) {
        return Ok(None);
    }
    let found: Kept<T> = files::read_json(path)?;
    Ok((found.request == *request).then_some(found.result))
}

fn keep<T: Serialize>(path: &Path, request: Digest, result: T) -> Result<(), PipelineError> {
    Ok(files::write_json(path, &Kept { request, result })?)
}

/// At most `number` pairs, one of each cluster in turn, in the order of the pairs.
fn dealt(pairs: Vec<TokenPair>, number: usize) -> Vec<TokenPair> {
    let mut turns: std::collections::BTreeMap<String, usize> = Default::default();
    let mut ranked: Vec<(usize, usize, TokenPair)> = Vec::with_capacity(pairs.len());
    for (at, pair) in pairs.into_iter().enumerate() {
        let turn = turns.entry(pair.cluster.clone()).or_default();
        ranked.push((*turn, at, pair));
        *turn += 1;
    }
    ranked.sort_by_key(|(turn, at, _)| (*turn, *at));
    ranked.truncate(number);
    ranked.sort_by_key(|(_, at, _)| *at);
    ranked.into_iter().map(|(.., pair)| pair).collect()
}

/// The pairs with their metric turned, all alike, so that the model's mean total effect on the discovery pairs (the first
/// list) is positive: edges that carry the effect then have positive scores, which the signed ranking asks for. A pair
/// of something spurious has no direction by design. What a tuned checkpoint is measured by stays as the base had it.
pub fn turned(
    model: &LanguageModel,
    [discovery, evaluation]: [Vec<TokenPair>; 2],
    progress: &dyn Progress,
) -> Result<[Vec<TokenPair>; 2], PipelineError> {
    if discovery.is_empty() {
        return Ok([discovery, evaluation]);
    }
    let runner = PathRunner::new(model)?;
    let kind = crate::intervene::path::Ablation::Counterfactual;
    let how = (kind, Outcome::Contrast, MetricSign::Declared);
    let evaluator = Evaluator::new(&runner, &discovery, how, progress)?;
    let total: f64 = evaluator.whole.iter().zip(&evaluator.empty).map(|(whole, empty)| whole - empty).sum();
    if total >= 0.0 {
        return Ok([discovery, evaluation]);
    }
    let turn = |pairs: Vec<TokenPair>| -> Vec<TokenPair> {
        let other = |orientation| match orientation {
            Orientation::Forward => Orientation::Backward,
            Orientation::Backward => Orientation::Forward,
        };
        let turn = |mut pair: TokenPair| {
            pair.orientation = other(pair.orientation);
            pair
        };
        pairs.into_iter().map(turn).collect()
    };
    Ok([turn(discovery), turn(evaluation)])
}

/// A discovery as records and reports keep it.
pub fn record_of(population: &str, found: &Discovery, file: &CircuitFile) -> CircuitRecord {
    CircuitRecord {
        population: population.to_owned(),
        method: found.attribution.method.name().to_owned(),
        discovery_pairs: found.discovery_pairs,
        same_pairs: found.same_pairs,
        curves: found.curves.clone(),
        missed: found.confirmed.as_ref().map(|confirmed| confirmed.statement.clone()),
        ..record_of_file(population, &found.report, file)
    }
}

/// The numbers of a circuit that came from a file.
pub fn record_of_file(population: &str, report: &CircuitReport, file: &CircuitFile) -> CircuitRecord {
    CircuitRecord {
        population: population.to_owned(),
        method: String::new(),
        discovery_pairs: 0,
        same_pairs: false,
        decoder_edges: file.scores.graph.edge_count(),
        edges: file.strongest(KEPT_EDGES),
        report: told(report),
        curves: Vec::new(),
        missed: None,
        sensitivity: Vec::new(),
    }
}

/// Without what has no number: a completeness where there is no total effect, a test that nothing could be put to.
fn told(report: &CircuitReport) -> CircuitReport {
    let mut report = report.clone();
    report.completeness = report.completeness.filter(|found| found.gaps.iter().all(|gap| gap.is_finite()));
    if let Some(Judgement { tests, minimality, .. }) = &mut report.judgement {
        tests.retain(|test| test.statistic.is_finite() && test.p_value.is_finite());
        minimality.retain(|(_, test)| test.statistic.is_finite() && test.p_value.is_finite());
    }
    report
}

/// Refuses early a model whose circuits cannot be run.
pub fn check(model: &LanguageModel) -> Result<(), PipelineError> {
    PathRunner::new(model).map(drop).map_err(|error| PipelineError::Mediate(MediateError::Intervene(error)))
}
