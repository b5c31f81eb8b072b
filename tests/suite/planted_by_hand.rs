//! The benchmark's methods and table against what defines them.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};
use counterpath::base::{Seed, Silent};
use counterpath::intervene::Side;
use counterpath::model::{HookKind, HookPoint, NoHooks, Readout, Record};
use counterpath::planted::{Grain, Method, Node, Scores, SuiteSpec, Task, Tier, judge, score_tasks, tasks};
use counterpath::stats::benjamini_hochberg;

fn suite(tier: Tier, models: usize) -> Vec<Task> {
    tasks(&SuiteSpec { models, pairs: 8, tiers: vec![tier], ..SuiteSpec::default() }).expect("tasks")
}

fn scored(tasks: &[Task], method: Method) -> BTreeMap<String, Scores> {
    let all = score_tasks(tasks, &Seed::new(0), &Silent).expect("scores");
    all.into_iter().find(|scores| scores.method == method.name()).expect("method").scores
}

fn close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1e-2), "{what}: {found} for {expected}");
}

fn ids(task: &Task, side: Side) -> Tensor {
    let rows: Vec<Vec<u32>> = task.pairs.iter().map(|pair| pair.side(side).ids.clone()).collect();
    Tensor::new(rows, task.model.device()).expect("ids")
}

#[test]
fn weight_norms_and_distances_are_of_each_head_s_own_weights() {
    let tasks = suite(Tier::Compiled, 2);
    let (norms, distances) = (scored(&tasks, Method::WeightNorm), scored(&tasks, Method::ActivationDistance));
    for task in &tasks {
        let mut seen = Vec::new();
        for (layer, head) in (0..3).flat_map(|layer| (0..4).map(move |head| (layer, head))) {
            let weight = |name: &str| &task.model.tensors()[&format!("model.layers.{layer}.self_attn.{name}.weight")];
            let [value, output] = [weight("v_proj").narrow(0, 8 * head, 8), weight("o_proj").narrow(1, 8 * head, 8)];
            let output = output.and_then(|output| output.contiguous()).expect("columns");
            let size =
                |x: &Tensor| f64::from(x.sqr().and_then(|x| x.sum_all()?.to_scalar::<f32>()).expect("a number")).sqrt();
            let expected = size(&value.expect("rows")) * size(&output);
            let node = Node::Head { layer, head };
            close(norms[&task.id].nodes[&node], expected, &format!("{} {node}", task.id));
            seen.push(expected);
            let point = HookPoint::new(HookKind::Z, layer);
            let written = [Side::Factual, Side::Counterfactual].map(|side| {
                let mut record = Record::new([point]);
                task.model.forward(&ids(task, side), Readout::All, &mut record).expect("pass");
                let z = record.take().remove(&point).expect("recorded").narrow(2, head, 1).and_then(|z| z.squeeze(2));
                z.and_then(|z| z.contiguous()?.broadcast_matmul(&output.t()?.contiguous()?)).expect("written")
            });
            let [from, to] = &written;
            let distance =
                (to - from).and_then(|x| x.sqr()?.sum(D::Minus1)?.sqrt()?.mean(0)?.sum_all()?.to_scalar::<f32>());
            close(distances[&task.id].nodes[&node], f64::from(distance.expect("a number")), &format!("{node} moves"));
        }
        assert!(seen.iter().any(|norm| (norm - seen[0]).abs() > 1e-2), "heads differ: {seen:?}");
    }
}

#[test]
fn attention_mass_is_that_of_both_sides() {
    let tasks = suite(Tier::Trained, 1);
    let masses = scored(&tasks, Method::AttentionMass);
    let mut apart = 0.0f64;
    for task in &tasks {
        let point = HookPoint::new(HookKind::Pattern, 0);
        let by_side = [Side::Factual, Side::Counterfactual].map(|side| {
            let mut record = Record::new([point]);
            task.model.forward(&ids(task, side), Readout::All, &mut record).expect("pass");
            let pattern = record.take().remove(&point).expect("recorded");
            let head = pattern.narrow(1, 1, 1).and_then(|head| head.squeeze(1)?.to_vec3::<f32>()).expect("head 1");
            let mass = |(pair, rows): (&counterpath::intervene::TokenPair, &Vec<Vec<f32>>)| {
                let differs = |key: usize| pair.factual.ids[key] != pair.counterfactual.ids[key];
                let of_row = |row: &Vec<f32>| {
                    row.iter().enumerate().filter(|(key, _)| differs(*key)).map(|(_, p)| f64::from(*p)).sum::<f64>()
                };
                rows.iter().map(of_row).sum::<f64>()
            };
            task.pairs.iter().zip(&head).map(mass).sum::<f64>() / task.pairs.len() as f64
        });
        let node = Node::Head { layer: 0, head: 1 };
        close(masses[&task.id].nodes[&node], (by_side[0] + by_side[1]) / 2.0, &task.id);
        apart = apart.max((by_side[0] - by_side[1]).abs());
    }
    assert!(apart > 1e-3, "the sides attend differently somewhere: {apart}");
}

/// The AND gate has a slope where both of its inputs are there: on the clean prompt alone, with the core.
#[test]
fn gradients_are_of_the_clean_prompt() {
    let tasks = suite(Tier::Compiled, 4);
    let norms = scored(&tasks, Method::GradientNorm);
    let mut gated = 0;
    for task in &tasks {
        let has_core = task.pairs.iter().any(|pair| {
            let plain = [Side::Factual, Side::Counterfactual].map(|side| {
                let rows: Vec<(usize, usize)> = vec![(0, 7)];
                let ids = Tensor::new(vec![pair.side(side).ids.clone()], task.model.device()).expect("ids");
                task.model.forward(&ids, Readout::Rows(&rows), &mut NoHooks).expect("pass")
            });
            plain.len() == 2 && pair.factual.ids.contains(&6)
        });
        for (node, truth) in &task.truth.nodes {
            if truth.label == "AND with the core" && truth.structural && has_core {
                assert!(norms[&task.id].nodes[node] > 1e-3, "{} {node}", task.id);
                gated += 1;
            }
            if ["OR back-up", "saturated gate"].contains(&truth.label.as_str()) {
                assert!(norms[&task.id].nodes[node] < 1e-4, "{} {node}: flat at both ends", task.id);
            }
        }
    }
    assert!(gated >= 3, "{gated} gated heads");
}

#[test]
fn tasks_of_one_model_are_one_cluster_and_p_values_are_adjusted_together() {
    let compiled = suite(Tier::Compiled, 5);
    let methods = score_tasks(&compiled, &Seed::new(0), &Silent).expect("scores");
    let table = judge(&compiled, &methods, &Seed::new(0));
    let section = table.sections.iter().find(|section| section.grain == Grain::NodesStructural).expect("section");
    let raw: Vec<f64> = section.differences.iter().map(|difference| difference.p_value.unwrap_or(f64::NAN)).collect();
    for (difference, expected) in section.differences.iter().zip(benjamini_hochberg(&raw)) {
        assert_eq!(difference.adjusted, Some(expected).filter(|value| value.is_finite()), "{difference:?}");
    }
    assert!(section.differences.iter().any(|difference| difference.adjusted > difference.p_value));

    let trained = suite(Tier::Trained, 1);
    assert_eq!(trained.len(), 4, "two variables of each of two models");
    let methods = score_tasks(&trained, &Seed::new(0), &Silent).expect("scores");
    let table = judge(&trained, &methods, &Seed::new(0));
    for row in table.sections.iter().flat_map(|section| &section.rows) {
        assert_eq!((row.auroc.n, row.auroc.clusters), (4, 2), "{}", row.method);
    }
}
