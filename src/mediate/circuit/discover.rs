//! From pairs to a judged circuit: score every edge on some pairs, take a circuit, and measure it on others.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ablation::{AblationKind, even};
use super::confirm::{ConfirmSpec, Confirmed, confirm};
use super::curve::{FRACTIONS, faithfulness_curve};
use super::edges::Circuit;
use super::evaluate::Evaluator;
use super::file::CircuitFile;
use super::judge::{JudgeSpec, judge};
use super::kept::{KeptRuns, circuit_request};
use super::select::{Rule, select};
use crate::base::seed::shuffle;
use crate::base::{Digest, Progress, Seed};
use crate::intervene::TokenPair;
use crate::intervene::path::{Edge, PathRunner};
use crate::mediate::MediateError;
use crate::mediate::attribution::{AttributionSpec, edge_scores};
use crate::model::LanguageModel;
use crate::stats::Bootstrap;
use crate::stats::circuit::{CircuitEvaluation, CircuitReport, FaithfulnessCurve, Ranking};

/// How much is done to find out whether a circuit is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// What a cut edge brings.
    pub ablation: AblationKind,
    /// Random circuits, and random parts for completeness; none leaves the tests out.
    pub random: usize,
    /// Edges whose effect inside the circuit is measured (minimality), the first by score.
    pub edges: usize,
    /// For intervals and draws.
    pub bootstrap: Bootstrap,
}

/// Measures and judges a circuit.
pub fn report(
    evaluator: &Evaluator<'_>,
    file: &CircuitFile,
    evidence: &Evidence,
) -> Result<CircuitReport, MediateError> {
    let circuit = &file.circuit;
    let bootstrap = &evidence.bootstrap;
    let mut edges: Vec<Edge> = circuit.edges().collect();
    edges.sort_by(|a, b| file.scores.get(*b).abs().total_cmp(&file.scores.get(*a).abs()).then(a.cmp(b)));
    edges.truncate(evidence.edges);
    let random = evidence.random;
    let asked = random > 0 && !circuit.is_empty();
    let seed = bootstrap.seed;
    let parts = random.clamp(1, 20);
    Ok(CircuitReport {
        pairs: evaluator.pairs().len(),
        evaluation: evaluator.evaluate(circuit, bootstrap)?,
        completeness: asked.then(|| evaluator.completeness(circuit, parts, seed.fork("completeness"))).transpose()?,
        minimality: evaluator.edge_effects(&edges, Some(circuit), bootstrap)?,
        judgement: asked
            .then(|| {
                let spec = JudgeSpec::new(random, seed.fork("judge"));
                judge(evaluator, circuit, &JudgeSpec { edges: evidence.edges, ..spec })
            })
            .transpose()?,
    })
}

/// How a circuit is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiscoverSpec {
    /// The scores, and the metric.
    pub attribution: AttributionSpec,
    /// The order of edges.
    pub ranking: Ranking,
    /// How many, and how they are taken.
    pub rule: Rule,
    /// What is measured.
    pub evidence: Evidence,
    /// Edges that are run exactly; none leaves the confirmation out.
    pub confirm: usize,
    /// Edges sampled from each of four strata of the rest, to bound what the screen has missed.
    pub sample: usize,
}

/// A discovery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discovery {
    /// The scores' and the metric's definition.
    pub attribution: AttributionSpec,
    /// The order of edges.
    pub ranking: Ranking,
    /// The rule.
    pub rule: Rule,
    /// Pairs that the scores were made on.
    pub discovery_pairs: usize,
    /// Whether the circuit was measured on those same pairs; its numbers are then too good.
    pub same_pairs: bool,
    /// Edges of the decoder.
    pub decoder_edges: usize,
    /// Edges that the rule took.
    pub requested: usize,
    /// Edges after pruning.
    pub realised: usize,
    /// The circuit on held-out pairs.
    pub report: CircuitReport,
    /// Faithfulness over size, on held-out pairs: by signed score (CPR) and by absolute score (CMD).
    pub curves: Vec<FaithfulnessCurve>,
    /// The top of the screen, run exactly on the discovery pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
}

/// Finds a circuit on `discovery` and measures it on `evaluation` (the same where that is empty). `adapter` is the digest
/// of the model's adapter. `keep` is a journal for the scores and for finished runs: after a stop the same call goes on
/// from there, and it is the caller's to remove once the result stands.
pub fn discover(
    (model, adapter): (&LanguageModel, Option<&Digest>),
    [discovery, evaluation]: [&[TokenPair]; 2],
    spec: &DiscoverSpec,
    keep: &Path,
    progress: &dyn Progress,
) -> Result<(Discovery, CircuitFile), MediateError> {
    // What is refused is refused before the long part.
    even(discovery)?;
    even(evaluation)?;
    spec.evidence.ablation.check(&[discovery, evaluation])?;
    let runner = PathRunner::new(model)?;
    let kind = spec.evidence.ablation;
    let means = kind.means(model, discovery)?;
    let what = format!("{:?} {kind:?}", spec.attribution);
    let kept = KeptRuns::open(keep, &circuit_request(&[(model, adapter)], &[discovery, evaluation], &what))?;
    let scores = kept.scores(|| {
        progress.start("attribution", discovery.len() as u64);
        let scores = edge_scores(model, discovery, &spec.attribution, progress)?;
        progress.finish();
        Ok(scores)
    })?;
    let same_pairs = evaluation.is_empty();
    let evaluation = if same_pairs { discovery } else { evaluation };
    let selection = select(&scores, spec.ranking, spec.rule);
    let how = (kind.with(means.as_ref()), spec.attribution.outcome, spec.attribution.sign);
    progress.start("circuit", 0);
    let evaluator = Evaluator::keeping(&runner, evaluation, how, progress, (&kept, adapter))?;
    let file = CircuitFile { circuit: selection.circuit, scores };
    let bootstrap = &spec.evidence.bootstrap;
    let curve = |ranking| faithfulness_curve(&evaluator, &file.scores, ranking, &FRACTIONS, bootstrap);
    let curves = vec![curve(Ranking::Signed)?, curve(Ranking::Absolute)?];
    let report = report(&evaluator, &file, &spec.evidence)?;
    let confirmed = match spec.confirm {
        0 => None,
        top => {
            let on_discovery = Evaluator::keeping(&runner, discovery, how, progress, (&kept, adapter))?;
            let bootstrap = *bootstrap;
            let spec = ConfirmSpec { top, strata: 4, sample: spec.sample, limit: None, alpha: 0.05, bootstrap };
            Some(confirm(&on_discovery, &file.scores, &spec)?)
        }
    };
    progress.finish();
    let found = Discovery {
        attribution: spec.attribution,
        ranking: spec.ranking,
        rule: spec.rule,
        discovery_pairs: discovery.len(),
        same_pairs,
        decoder_edges: file.scores.graph.edge_count(),
        requested: selection.requested,
        realised: selection.realised,
        report,
        curves,
        confirmed,
    };
    Ok((found, file))
}

/// Splits pairs by cluster, in the order of a seeded draw, until `share` of them are held out. Gives discovery and
/// held-out pairs; nothing is held out of a single cluster.
pub fn hold_out(pairs: Vec<TokenPair>, share: f64, seed: Seed) -> [Vec<TokenPair>; 2] {
    let mut clusters: Vec<String> = pairs.iter().map(|pair| pair.cluster.clone()).collect();
    clusters.sort();
    clusters.dedup();
    shuffle(&mut seed.fork("hold out").rng(), &mut clusters);
    let wanted = share.clamp(0.0, 1.0) * pairs.len() as f64;
    let (mut held, mut count) = (BTreeSet::new(), 0);
    for cluster in clusters.iter().skip(1) {
        if count as f64 >= wanted {
            break;
        }
        count += pairs.iter().filter(|pair| pair.cluster == *cluster).count();
        held.insert(cluster.clone());
    }
    let (evaluation, discovery) = pairs.into_iter().partition(|pair| held.contains(&pair.cluster));
    [discovery, evaluation]
}

/// A circuit under every ablation that its pairs allow: how far the answer hangs on what stands in for a cut edge. Runs
/// are kept as by [`Evaluator::keeping`].
pub fn sensitivity(
    runner: &PathRunner<'_>,
    (circuit, pairs): (&Circuit, &[TokenPair]),
    spec: &AttributionSpec,
    bootstrap: &Bootstrap,
    progress: &dyn Progress,
    keep: (&KeptRuns, Option<&Digest>),
) -> Result<Vec<CircuitEvaluation>, MediateError> {
    let mut rows = Vec::new();
    for kind in AblationKind::ALL {
        if kind.check(&[pairs]).is_err() {
            continue;
        }
        let means = kind.means(runner.model(), pairs)?;
        let how = (kind.with(means.as_ref()), spec.outcome, spec.sign);
        rows.push(Evaluator::keeping(runner, pairs, how, progress, keep)?.evaluate(circuit, bootstrap)?);
    }
    Ok(rows)
}
