//! Models with known pathways: what is planted is what is measured.

use candle_core::{Result as TensorResult, Tensor};
use counterpath::base::{Silent, Seed};
use counterpath::intervene::{Job, NaiveEngine, Outcome, Plan, ReuseEngine, Side, SweepEngine, TokenPair};
use counterpath::model::{HookKind, HookPoint, Hooks, LanguageModel, Readout};
use counterpath::planted::Node;
use counterpath::planted::compiled::{CompiledModel, CompiledSpec, PlantedPair, Role, TOKENS};

fn compiled(seed: u64, spec: CompiledSpec) -> (CompiledModel, Vec<PlantedPair>) {
    let planted = CompiledModel::new(&spec, &Seed::new(seed)).expect("a compiled model");
    let pairs = planted.pairs("test", 12).expect("pairs");
    (planted, pairs)
}

/// Plain runs of both sides, then each node patched into the factual and into the counterfactual run.
fn measured(model: &LanguageModel, pairs: &[TokenPair], nodes: &[Node], engine: &dyn SweepEngine) -> Vec<Vec<f64>> {
    let mut plans = vec![Plan::nothing(Side::Factual), Plan::nothing(Side::Counterfactual)];
    for node in nodes {
        plans.extend([Side::Factual, Side::Counterfactual].map(|side| Plan::interchange(side, &[node.site()])));
    }
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    engine.outcomes(model, &jobs, Outcome::LogitDifference, &Silent).expect("outcomes")
}

#[test]
fn effects_of_every_node_equal_their_closed_forms_on_both_engines() {
    let mut largest = 0.0f64;
    for (seed, hum) in [(0, 0.0), (1, 0.3), (2, 0.3)] {
        let (planted, pairs) = compiled(seed, CompiledSpec { hum, ..CompiledSpec::default() });
        let tokens: Vec<TokenPair> = pairs.iter().map(|pair| pair.tokens.clone()).collect();
        let nodes = Node::all(planted.model.architecture());
        assert_eq!(nodes.len(), 15);
        for engine in [&NaiveEngine::default() as &dyn SweepEngine, &ReuseEngine::default()] {
            for (pair, values) in pairs.iter().zip(measured(&planted.model, &tokens, &nodes, engine)) {
                let (from, to) = (values[0], values[1]);
                assert!((from - planted.wiring.outcome(&pair.factual)).abs() < 1e-4);
                for (node, patched) in nodes.iter().zip(values[2..].chunks(2)) {
                    let closed = planted.wiring.effects(&pair.factual, &pair.counterfactual, *node);
                    let (moved, held) = (patched[0], patched[1]);
                    for (name, found, expected) in [
                        ("TE", to - from, closed.total),
                        ("NDE", held - from, closed.direct),
                        ("NIE", moved - from, closed.indirect),
                        ("reversed NIE", held - to, closed.reversed),
                    ] {
                        assert!((found - expected).abs() < 1e-4, "seed {seed}, {node}: {name} {found}, not {expected}");
                        largest = largest.max(expected.abs());
                    }
                }
            }
        }
    }
    assert!(largest > 1.0, "there were effects to be equal to: {largest}");
}

/// Moves the stream after a block, at the last position, to another run's coordinate along one direction.
struct Along<'a> {
    point: HookPoint,
    direction_d: &'a Tensor,
    source: Option<Tensor>,
}

impl Hooks for Along<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.point
    }

    fn at(&mut self, _: HookPoint, resid_btd: Tensor) -> TensorResult<Tensor> {
        let Some(source) = &self.source else {
            self.source = Some(resid_btd.clone());
            return Ok(resid_btd);
        };
        let last = (source - &resid_btd)?.narrow(1, TOKENS - 1, 1)?;
        let along = last.broadcast_mul(self.direction_d)?.sum_keepdim(2)?.broadcast_mul(self.direction_d)?;
        Tensor::cat(&[resid_btd.narrow(1, 0, TOKENS - 1)?, (resid_btd.narrow(1, TOKENS - 1, 1)? + along)?], 1)
    }
}

#[test]
fn a_subspace_patch_wakes_the_dormant_direction() {
    let (planted, pairs) = compiled(3, CompiledSpec::default());
    let (layer, direction_d) = planted.dormant_direction().expect("direction");
    let difference = |ids: &[u32], hooks: &mut dyn Hooks| {
        let ids = Tensor::new(ids, planted.model.device()).and_then(|ids| ids.unsqueeze(0)).expect("ids");
        let logits = planted.model.forward(&ids, Readout::Rows(&[(0, TOKENS - 1)]), hooks).expect("logits");
        let logits = logits.to_vec2::<f32>().expect("values");
        f64::from(logits[0][3] - logits[0][4])
    };
    for pair in &pairs {
        let point = HookPoint::new(HookKind::ResidPost, layer);
        let mut hooks = Along { point, direction_d: &direction_d, source: None };
        difference(&pair.tokens.counterfactual.ids, &mut hooks);
        let patched = difference(&pair.tokens.factual.ids, &mut hooks);
        let effect = patched - planted.wiring.outcome(&pair.factual);
        let expected = planted.wiring.dormant_effect(&pair.factual, &pair.counterfactual);
        assert!((effect - expected).abs() < 1e-4 && expected.abs() > 0.4, "{effect}, not {expected}");
    }
    // The component that holds the direction has no effect as a whole.
    let decoy = planted.wiring.node(Role::Decoy).expect("decoy");
    let [first, ..] = pairs.as_slice() else { panic!("pairs") };
    assert_eq!(planted.wiring.effects(&first.factual, &first.counterfactual, decoy).indirect, 0.0);
}
