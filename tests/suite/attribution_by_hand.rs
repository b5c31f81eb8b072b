//! Attribution's definitions carried out by hand on a small model: where each gradient is taken, at which position a
//! score stands, and what the signs say.

use std::collections::BTreeMap;

use candle_core::Tensor;
use counterpath::base::Silent;
use counterpath::intervene::{Job, NaiveEngine, Outcome, Plan, Side, SweepEngine, TokenPair};
use counterpath::mediate::attribution::{AttributionSpec, Grid, Method, MetricSign, information_flow, node_scores};
use counterpath::model::{HookKind, HookPoint, Hooks, LanguageModel, Readout};

use crate::paths::{close, ids, kept, pairs};
use crate::tiny::tiny_model;

fn embed() -> HookPoint {
    HookPoint::new(HookKind::Embed, 0)
}

/// Puts a value in at one point, and adds a share of a difference at another.
struct OnLine {
    put: Option<(HookPoint, Tensor)>,
    nudged: (HookPoint, Tensor, f64),
}

impl Hooks for OnLine {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.nudged.0 || self.put.as_ref().is_some_and(|(at, _)| *at == point)
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> candle_core::Result<Tensor> {
        let put = self.put.as_ref().filter(|(at, _)| *at == point);
        let activation = put.map_or(activation, |(_, value)| value.clone());
        let (at, difference, share) = &self.nudged;
        if *at == point { activation + (difference * *share)? } else { Ok(activation) }
    }
}

/// The slope of one side's log-odds along the difference at a point, with a value put in before.
fn slope(
    model: &LanguageModel,
    pair: &TokenPair,
    side: Side,
    put: Option<(HookPoint, Tensor)>,
    point: HookPoint,
) -> f64 {
    let difference = difference(model, pair, point);
    let at = |share| {
        let mut hooks = OnLine { put: put.clone(), nudged: (point, difference.clone(), share) };
        let last = pair.side(side).ids.len() - 1;
        let logits = model.forward(&ids(pair, side), Readout::Rows(&[(0, last)]), &mut hooks).expect("pass");
        let logits = logits.flatten_all().and_then(|all| all.to_vec1::<f32>()).expect("logits");
        let [a, b] = pair.answers(side).map(|answer| f64::from(logits[answer[0] as usize]));
        a - b
    };
    (8.0 * (at(0.01) - at(-0.01)) - (at(0.02) - at(-0.02))) / 0.12
}

fn both(model: &LanguageModel, pair: &TokenPair, point: HookPoint) -> [Tensor; 2] {
    [Side::Factual, Side::Counterfactual].map(|side| kept(model, &ids(pair, side), BTreeMap::new(), point))
}

fn difference(model: &LanguageModel, pair: &TokenPair, point: HookPoint) -> Tensor {
    let [clean, corrupted] = both(model, pair, point);
    (corrupted - clean).expect("difference")
}

fn points() -> Vec<HookPoint> {
    let blocks = (0..2).flat_map(|layer| [HookKind::Z, HookKind::MlpOut].map(|kind| HookPoint::new(kind, layer)));
    [embed()].into_iter().chain(blocks).collect()
}

#[test]
fn gradients_of_both_prompts_are_averaged() {
    let model = tiny_model(5);
    let pairs = pairs(&model, 2, false);
    let spec = AttributionSpec::new(Method::CleanCorrupted);
    let scores = node_scores(&model, &pairs, &points(), &spec, &Silent).expect("scores");
    for found in &scores.points {
        for (number, pair) in pairs.iter().enumerate() {
            let [clean, corrupted] =
                [Side::Factual, Side::Counterfactual].map(|side| slope(&model, pair, side, None, found.point));
            let sum: f64 = (0..found.units).map(|unit| found.of_pair(number, unit)).sum();
            close(sum, (clean + corrupted) / 2.0, 1.0, 5e-3, &format!("{}", found.point));
            assert!((clean - corrupted).abs() > 1e-2, "{}: one gradient would do", found.point);
        }
    }
}

#[test]
fn every_sub_layer_s_output_is_put_on_the_line() {
    let model = tiny_model(5);
    let pairs = pairs(&model, 2, false);
    for grid in [Grid::FromCorrupted, Grid::ToClean] {
        let spec = AttributionSpec::new(Method::IntegratedActivations { steps: 2, grid });
        let scores = node_scores(&model, &pairs, &points(), &spec, &Silent).expect("scores");
        let shares = if grid == Grid::ToClean { [0.5, 1.0] } else { [0.0, 0.5] };
        for found in &scores.points {
            for (number, pair) in pairs.iter().enumerate() {
                let mut slopes = Vec::new();
                for line in points() {
                    let [clean, corrupted] = both(&model, pair, line);
                    for share in shares {
                        let on =
                            (&corrupted + ((&clean - &corrupted).expect("line") * share).expect("share")).expect("on");
                        slopes.push(slope(&model, pair, Side::Factual, Some((line, on)), found.point));
                    }
                }
                let by_hand = slopes.iter().sum::<f64>() / slopes.len() as f64;
                let sum: f64 = (0..found.units).map(|unit| found.of_pair(number, unit)).sum();
                close(sum, by_hand, 1.0, 5e-3, &format!("{grid:?} {}", found.point));
            }
        }
    }
}

#[test]
fn scores_stand_at_their_positions() {
    let model = tiny_model(5);
    let pairs = pairs(&model, 4, false);
    let spec = AttributionSpec::new(Method::Gradient);
    let scores = node_scores(&model, &pairs, &points(), &spec, &Silent).expect("scores");
    for found in &scores.points {
        for (pair, positions) in pairs.iter().zip(&found.by_pair) {
            assert_eq!(positions.len(), pair.factual.ids.len(), "{}", found.point);
        }
    }
    // The pairs differ at positions 1 and 3, and embeddings nowhere else.
    for positions in &scores.at(embed()).expect("asked for").by_pair {
        for (at, units) in positions.iter().enumerate() {
            assert_eq!(units[0].abs() > 1e-6, [1, 3].contains(&at), "position {at}: {units:?}");
        }
    }
}

#[test]
fn a_divergence_s_metric_is_its_negative() {
    let model = tiny_model(2);
    let pairs = pairs(&model, 3, false);
    let whole = [Plan::interchange(
        Side::Factual,
        &[counterpath::intervene::Site::everywhere(counterpath::intervene::SiteKind::ResidPre, 0)],
    )];
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &whole }).collect();
    let divergence = NaiveEngine::default().outcomes(&model, &jobs, Outcome::Kl, &Silent).expect("divergences");
    for sign in [MetricSign::Plain, MetricSign::Declared, MetricSign::Measured] {
        let ends = [Grid::FromCorrupted, Grid::ToClean].map(|grid| {
            let method = Method::IntegratedInputs { steps: 64, grid };
            let spec = AttributionSpec { sign, outcome: Outcome::Kl, ..AttributionSpec::new(method) };
            node_scores(&model, &pairs, &[embed()], &spec, &Silent).expect("scores").points.remove(0)
        });
        for (number, divergence) in divergence.iter().enumerate() {
            // Corruption takes the metric from 0 down to −KL.
            let found = (ends[0].of_pair(number, 0) + ends[1].of_pair(number, 0)) / 2.0;
            assert!(divergence[0] > 1e-2, "{divergence:?}");
            close(found, divergence[0], divergence[0].max(0.1), 3e-2, "KL");
        }
    }
}

/// Answers of several tokens are several rows, of which each counts for its share.
#[test]
fn flow_is_a_share_also_over_several_rows() {
    let model = tiny_model(5);
    let spec = AttributionSpec::new(Method::Gradient);
    for long in [false, true] {
        let scores = information_flow(&model, &pairs(&model, 3, long), &spec, &Silent).expect("scores");
        let graph = scores.graph;
        for receiver in (0..graph.receivers()).map(|at| graph.receiver(at)) {
            let into: f64 = scores.iter().filter(|(edge, _)| edge.receiver == receiver).map(|(_, score)| score).sum();
            assert!(into > 0.5 && into <= 1.0 + 1e-5, "{receiver:?}: {into}");
        }
    }
}
