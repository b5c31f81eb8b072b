//! Attribution on every family, against finite differences and by hand.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};
use counterpath::base::Silent;
use counterpath::intervene::path::{Ablation, Edge, EdgeMask, PathRunner, Receiver, Sender};
use counterpath::intervene::{Outcome, Side, TokenPair};
use counterpath::mediate::attribution::{
    AttributionSpec, EdgeScores, Grid, Method, MetricSign, edge_scores, information_flow, node_scores,
};
use counterpath::model::{HookKind, HookPoint, Hooks, LanguageModel, NoHooks, Readout, Record, TokenizedPrompt};

use crate::paths::{alone, close, ids, kept, metric, models, pairs, plain};
use crate::tiny::tiny_model;

/// The derivative at 0 of a function of a share, by five points. A mixture's choice of experts jumps and OPT's activation
/// has a kink, so that the points have to lie close there; SmolLM3's fixture bends so strongly that the widest step is off
/// by 0.024 of 31.7 at the embedding, and the closest is lost in rounding.
fn slope(model: &LanguageModel, at: impl Fn(f64) -> f64) -> f64 {
    let architecture = model.architecture();
    let step = match architecture.family.as_str() {
        "opt" => 0.002,
        "smollm3" => 0.005,
        _ if architecture.experts.is_some() => 0.002,
        _ => 0.01,
    };
    (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step)
}

/// Adds a share of a difference at one point.
struct Nudge(HookPoint, Tensor, f64);

impl Hooks for Nudge {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.0
    }

    fn at(&mut self, _: HookPoint, activation: Tensor) -> candle_core::Result<Tensor> {
        activation + (&self.1 * self.2)?
    }
}

fn contrast(model: &LanguageModel, pair: &TokenPair, hooks: &mut dyn Hooks) -> f64 {
    let last = pair.factual.ids.len() - 1;
    let logits = model.forward(&ids(pair, Side::Factual), Readout::Rows(&[(0, last)]), hooks).expect("pass");
    let logits = logits.flatten_all().and_then(|all| all.to_vec1::<f32>()).expect("logits");
    let [a, b] = pair.answers(Side::Factual).map(|answer| f64::from(logits[answer[0] as usize]));
    a - b
}

#[test]
fn node_scores_are_derivatives_along_the_difference() {
    // OPT's activation has kinks that lie too close for a difference here; its nodes are the sums of their edges, below,
    // and those are held to their derivatives.
    let mut largest: BTreeMap<HookKind, f64> = BTreeMap::new();
    for (name, model) in models().into_iter().filter(|(name, _)| name != "opt") {
        let pairs = pairs(&model, 2, false);
        let architecture = model.architecture();
        let kinds = [
            HookKind::ResidPre,
            HookKind::Q,
            HookKind::K,
            HookKind::V,
            HookKind::Z,
            HookKind::AttnOut,
            HookKind::ResidMid,
            HookKind::MlpPost,
            HookKind::MlpOut,
            HookKind::ResidPost,
        ];
        let inner = (0..2).flat_map(|layer| kinds.map(|kind| HookPoint::new(kind, layer)));
        let points: Vec<HookPoint> = [HookPoint::new(HookKind::Embed, 0)]
            .into_iter()
            .chain(inner)
            .filter(|point| architecture.has(*point))
            .collect();
        let scores =
            node_scores(&model, &pairs, &points, &AttributionSpec::new(Method::Gradient), &Silent).expect("scores");
        for point in points {
            let found = scores.at(point).expect("asked for");
            for (number, pair) in pairs.iter().enumerate() {
                let [clean, corrupted] = [Side::Factual, Side::Counterfactual]
                    .map(|side| kept(&model, &ids(pair, side), BTreeMap::new(), point));
                let difference = (corrupted - clean).expect("difference");
                for unit in 0..found.units {
                    let difference = match found.units {
                        1 => difference.clone(),
                        _ => alone(&difference, Some(unit)),
                    };
                    let slope =
                        slope(&model, |share| contrast(&model, pair, &mut Nudge(point, difference.clone(), share)));
                    let total = (contrast(&model, pair, &mut NoHooks)).abs().max(1.0);
                    close(
                        found.of_pair(number, unit),
                        slope,
                        total.max(slope.abs()),
                        2e-3,
                        &format!("{name} {point} unit {unit}"),
                    );
                    let seen = largest.entry(point.kind).or_default();
                    *seen = seen.max(slope.abs());
                    if matches!(point.kind, HookKind::ResidPre | HookKind::ResidPost) && point.layer == 1 {
                        assert!(slope.abs() > 1e-4, "{name} {point}: zero against zero");
                    }
                }
            }
        }
    }
    assert_eq!(largest.len(), 11, "every kind was there somewhere: {largest:?}");
    assert!(largest.values().all(|slope| *slope > 0.1), "none was held as zero against zero alone: {largest:?}");
}

/// The strongest edge into each kind of receiver.
fn strongest(scores: &EdgeScores) -> Vec<(Edge, f64)> {
    let kind = |receiver| match receiver {
        Receiver::Attention { part, .. } => part as usize,
        Receiver::Mlp { .. } => 3,
        Receiver::Logits => 4,
    };
    let best = |wanted| {
        let of_kind = scores.iter().filter(|(edge, _)| kind(edge.receiver) == wanted);
        // The input's queries in the first block see one stream for all; deeper edges have more to go wrong.
        of_kind.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
    };
    (0..5).filter_map(best).collect()
}

#[test]
fn edge_scores_are_derivatives_of_path_patching() {
    for (name, model) in models() {
        let pairs = pairs(&model, 2, false);
        let runner = PathRunner::new(&model).expect("runner");
        let scores = edge_scores(&model, &pairs, &AttributionSpec::new(Method::Gradient), &Silent).expect("scores");
        let largest = scores.iter().map(|(_, score)| score.abs()).fold(0.0, f64::max);
        assert!(largest > 1e-3, "{name}: all scores are zero");
        let spread = scores.iter().step_by(scores.graph.edge_count() / 4 + 1);
        for (edge, score) in strongest(&scores).into_iter().chain(spread) {
            let at = |share| metric(&runner, &pairs, &EdgeMask::whole(runner.graph()).with(edge, share as f32));
            let slope = slope(&model, at);
            // L = −m: the loss rises where the metric falls.
            close(score, -slope, largest.max(score.abs()), 1e-2, &format!("{name} {}", runner.graph().name(edge)));
        }
    }
}

#[test]
fn edges_out_of_a_sender_add_up_to_its_node() {
    for (name, model) in models() {
        let pairs = pairs(&model, 2, true);
        let layers = model.architecture().n_layers;
        let post_norm = ["gemma2", "gemma3_text", "olmo2"].contains(&name.as_str());
        for method in [
            Method::Gradient,
            Method::integrated(3),
            Method::IntegratedActivations { steps: 2, grid: Grid::ToClean },
            Method::CleanCorrupted,
        ] {
            let spec = AttributionSpec { batch_tokens: 20, stretch_bytes: 4096, ..AttributionSpec::new(method) };
            let edges = edge_scores(&model, &pairs, &spec, &Silent).expect("edges");
            let mut points = vec![HookPoint::new(HookKind::Embed, 0)];
            points.extend(
                (0..layers).flat_map(|layer| [HookKind::Z, HookKind::MlpOut].map(|kind| HookPoint::new(kind, layer))),
            );
            // Another batching gives the same scores.
            let nodes = node_scores(&model, &pairs, &points, &AttributionSpec::new(method), &Silent).expect("nodes");
            let graph = edges.graph;
            let out =
                |sender| edges.iter().filter(|(edge, _)| edge.sender == sender).map(|(_, score)| score).sum::<f64>();
            let scale = (0..graph.senders()).map(|at| out(graph.sender(at)).abs()).fold(0.0, f64::max);
            assert!(scale > 1e-3, "{name} {}", method.name());
            for sender in (0..graph.senders()).map(|at| graph.sender(at)) {
                let (point, unit) = match sender {
                    Sender::Input => (HookPoint::new(HookKind::Embed, 0), 0),
                    // Under a norm behind attention a head's share of the stream is not linear in z.
                    Sender::Head { .. } if post_norm => continue,
                    Sender::Head { layer, head } => (HookPoint::new(HookKind::Z, layer), head),
                    Sender::Mlp { layer } => (HookPoint::new(HookKind::MlpOut, layer), 0),
                };
                let node = nodes.at(point).expect("asked for").mean(unit);
                close(out(sender), node, scale, 1e-3, &format!("{name} {} {sender}", method.name()));
            }
        }
    }
}

#[test]
fn integrated_gradients_of_the_input_add_up_to_the_total_effect() {
    let model = tiny_model(2);
    let pairs = pairs(&model, 3, false);
    let (clean, corrupted) = (plain(&model, &pairs, Side::Factual), plain(&model, &pairs, Side::Counterfactual));
    let input = [HookPoint::new(HookKind::Embed, 0)];
    let scores = |sign| {
        let ends = [Grid::FromCorrupted, Grid::ToClean].map(|grid| {
            let method = Method::IntegratedInputs { steps: 64, grid };
            let spec = AttributionSpec { sign, ..AttributionSpec::new(method) };
            node_scores(&model, &pairs, &input, &spec, &Silent).expect("scores").points.remove(0)
        });
        let pair = |pair| (ends[0].of_pair(pair, 0) + ends[1].of_pair(pair, 0)) / 2.0;
        (0..pairs.len()).map(pair).collect::<Vec<f64>>()
    };
    let (plain, declared, measured) =
        (scores(MetricSign::Plain), scores(MetricSign::Declared), scores(MetricSign::Measured));
    for number in 0..pairs.len() {
        let total = clean[number] - corrupted[number];
        close(plain[number], total, total.abs(), 1e-2, "m(clean) − m(corrupted)");
        close(declared[number], -total, total.abs(), 1e-2, "the do of a forward pair raises the outcome");
        close(measured[number], total.abs(), total.abs(), 1e-2, "turned to be positive");
    }
    let ends = [Grid::FromCorrupted, Grid::ToClean].map(|grid| {
        let spec = AttributionSpec::new(Method::IntegratedInputs { steps: 1, grid });
        node_scores(&model, &pairs, &input, &spec, &Silent).expect("scores").points.remove(0).mean(0)
    });
    let clean = node_scores(&model, &pairs, &input, &AttributionSpec::new(Method::Gradient), &Silent).expect("scores");
    close(ends[1], clean.points[0].mean(0), 1.0, 1e-5, "one step at the clean end");
    assert!((ends[0] - ends[1]).abs() > 1e-3, "the ends differ");
}

#[test]
fn information_flow_shares_what_a_receiver_reads() {
    for (name, model) in models() {
        let pairs = pairs(&model, 2, false);
        let spec = AttributionSpec::new(Method::Gradient);
        let scores = information_flow(&model, &pairs, &spec, &Silent).expect("scores");
        let graph = scores.graph;
        for receiver in (0..graph.receivers()).map(|at| graph.receiver(at)) {
            let into: Vec<f64> =
                scores.iter().filter(|(edge, _)| edge.receiver == receiver).map(|(_, score)| score).collect();
            assert!(into.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
            assert!(into.iter().sum::<f64>() <= 1.0 + 1e-5, "{name}");
        }
        // By hand, for the first MLP.
        let receiver = Receiver::Mlp { layer: 0 };
        let mut by_hand = 0.0;
        for pair in &pairs {
            let at = |kind| kept(&model, &ids(pair, Side::Factual), BTreeMap::new(), HookPoint::new(kind, 0));
            let (stream, input) = (at(HookKind::MlpIn), at(HookKind::Embed));
            let norm = |x: &Tensor| {
                x.abs().and_then(|x| x.sum(D::Minus1)).and_then(|x| x.flatten_all()?.to_vec1::<f32>()).expect("norm")
            };
            let near = |part: &Tensor| -> Vec<f32> {
                let left = norm(&(&stream - part).expect("left"));
                norm(&stream).iter().zip(left).map(|(own, left)| (own - left).max(0.0)).collect()
            };
            let mut total = near(&input);
            if graph.parallel {
                by_hand += total.iter().filter(|near| **near > 0.0).count() as f64 / total.len() as f64;
                continue;
            }
            let z = at(HookKind::Z);
            if ["gemma2", "gemma3_text", "olmo2"].contains(&name.as_str()) {
                by_hand = f64::NAN;
                break;
            }
            let own = near(&input);
            let out = |z: Tensor| {
                let point = HookPoint::new(HookKind::AttnOut, 0);
                kept(&model, &ids(pair, Side::Factual), [(HookPoint::new(HookKind::Z, 0), z)].into(), point)
            };
            let nothing = out(alone(&z, None));
            for head in 0..graph.n_heads {
                let part = (out(alone(&z, Some(head))) - &nothing).expect("part");
                total.iter_mut().zip(near(&part)).for_each(|(total, near)| *total += near);
            }
            let shares = own.iter().zip(&total).map(|(own, total)| f64::from(own / total.max(f32::MIN_POSITIVE)));
            by_hand += shares.sum::<f64>() / own.len() as f64;
        }
        if by_hand.is_finite() {
            let found = scores.get(Edge { sender: Sender::Input, receiver });
            close(found, by_hand / pairs.len() as f64, 1.0, 1e-4, &name);
        }
    }
}

#[test]
fn what_cannot_be_attributed_is_refused() {
    let model = tiny_model(1);
    let spec = AttributionSpec::new(Method::integrated(0));
    let refused = |spec: &AttributionSpec, pairs: &[TokenPair]| {
        edge_scores(&model, pairs, spec, &Silent).expect_err("refused").to_string()
    };
    let good = pairs(&model, 2, false);
    assert!(refused(&spec, &good).contains("at least one step"));
    assert!(refused(&AttributionSpec::new(Method::Gradient), &[]).contains("no pairs"));
    let side = |ids: &[u32], slot| TokenizedPrompt {
        ids: ids.to_vec(),
        answers: vec![vec![3], vec![4]],
        slots: vec![("name".into(), slot)],
    };
    let uneven =
        TokenPair::new("odd", "c", side(&[1, 5, 6, 2], 1..3), side(&[1, 7, 2], 1..2)).expect("aligned by slots");
    let message = refused(&AttributionSpec::new(Method::Gradient), std::slice::from_ref(&uneven));
    assert!(message.contains("\"odd\"") && message.contains("equally many tokens"), "{message}");
    let points = [HookPoint::new(HookKind::Z, 2)];
    let message = node_scores(&model, &good, &points, &AttributionSpec::new(Method::Gradient), &Silent);
    assert!(message.expect_err("no such block").to_string().contains("blocks.2.attn.hook_z"));
    let mut record = Record::new([HookPoint::new(HookKind::MlpIn, 0)]);
    model.forward(&ids(&good[0], Side::Factual), Readout::All, &mut record).expect("pass");
    assert_eq!(record.take().len(), 1);
    let runner = PathRunner::new(&model).expect("runner");
    let masks = [EdgeMask::whole(runner.graph())];
    let how = (Ablation::Counterfactual, Outcome::Contrast);
    let error = runner.outcomes(&[uneven], &masks, Side::Factual, how, &Silent).expect_err("refused").to_string();
    assert!(error.contains("equal length"), "{error}");
}
