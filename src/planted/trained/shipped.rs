//! The accepted models that come with the program, and the pairs that they are judged on.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::super::error::PlantedError;
use super::super::node::Node;
use super::super::truth::{NodeTruth, Truth};
use super::high_level::{Content, Template, Variable};
use super::record::TrainedRecord;
use crate::base::Seed;
use crate::base::seed::index;
use crate::intervene::TokenPair;
use crate::model::LanguageModel;

/// A trained model with its record.
#[derive(Clone)]
pub struct TrainedModel {
    /// How it was made, and what was measured.
    pub record: TrainedRecord,
    /// The weights.
    pub model: LanguageModel,
}

/// The models that come with the program.
pub fn shipped() -> Result<Vec<TrainedModel>, PlantedError> {
    [
        (
            include_str!("../../../models/planted/two-blocks/planted.json"),
            include_bytes!("../../../models/planted/two-blocks/model.safetensors").as_slice(),
        ),
        (
            include_str!("../../../models/planted/three-blocks/planted.json"),
            include_bytes!("../../../models/planted/three-blocks/model.safetensors").as_slice(),
        ),
    ]
    .into_iter()
    .map(|(record, weights)| read(record, weights))
    .collect()
}

fn read(record: &str, weights: &[u8]) -> Result<TrainedModel, PlantedError> {
    let refuse = |error: serde_json::Error| PlantedError::Request(format!("the record of a shipped model: {error}"));
    let record: TrainedRecord = serde_json::from_str(record).map_err(refuse)?;
    let tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu)?;
    let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    let model = LanguageModel::from_parts(&record.spec.config(), tensors, None, &Device::Cpu)?;
    Ok(TrainedModel { record, model })
}

impl TrainedModel {
    /// `count` pairs in which one variable's tokens change and its value with them: s from 1 to 0, or the majority from
    /// 1 to 0 by as many evidence tokens as it takes. All else is the same on both sides.
    pub fn pairs(&self, variable: Variable, name: &str, count: usize) -> Result<Vec<TokenPair>, PlantedError> {
        let seed = Seed::new(self.record.spec.seed);
        let template = Template::draw(&seed);
        let seed = seed.fork("pairs").fork(name).fork(&format!("{variable:?}"));
        let pair = |number: usize| {
            let id = format!("p{number:03}");
            let mut rng = seed.fork(&id).rng();
            let base = Content::draw(&mut rng);
            let (factual, counterfactual) = match variable {
                Variable::Attribute => (Content { attribute: true, ..base }, Content { attribute: false, ..base }),
                Variable::Majority | Variable::Output => {
                    // Two of three say 1; turning one of them turns the majority.
                    let (odd, turned) = (index(&mut rng, 3), index(&mut rng, 2));
                    let turned = (0..3).filter(|at| *at != odd).nth(turned).unwrap_or(odd);
                    let evidence = [0, 1, 2].map(|at| at != odd);
                    let after = [0, 1, 2].map(|at| at != odd && at != turned);
                    (Content { evidence, ..base }, Content { evidence: after, ..base })
                }
            };
            template.pair(&id, &factual, &counterfactual)
        };
        (0..count).map(pair).collect()
    }

    /// Which nodes carry a variable's effect: its own head and the output's MLP. Both directions have the whole effect,
    /// so that structural and functional truth are the same.
    pub fn truth(&self, variable: Variable) -> Truth {
        let pathway = &self.record.spec.pathway;
        let on = [pathway.node(variable), pathway.output];
        let label = |node: &Node| match Variable::ALL.into_iter().find(|variable| pathway.node(*variable) == *node) {
            Some(Variable::Attribute) => "carries s",
            Some(Variable::Majority) => "carries the majority",
            Some(Variable::Output) => "carries the output",
            None => "outside",
        };
        let node = |node: Node| {
            let structural = on.contains(&node);
            let label = label(&node).to_owned();
            (node, NodeTruth { structural, functional: structural, noise: None, denoise: None, label })
        };
        let nodes = Node::all(self.model.architecture()).into_iter().map(node).collect();
        Truth { nodes, positions: None, edges: None }
    }
}
