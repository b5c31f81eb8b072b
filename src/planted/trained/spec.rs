//! How a model is trained to carry a known pathway.

use candle_core::{Device, Var};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::error::PlantedError;
use super::super::node::Node;
use super::high_level::{HighLevel, TOKENS, VOCABULARY, Variable};
use crate::base::Seed;
use crate::base::seed::normal;
use crate::tune::{AdamWSpec, Decline, Schedule, Warmup};

/// Weights of the three losses, each applied once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Of the plain answers.
    pub behaviour: f64,
    /// Of answers with one variable's node taken from another prompt.
    pub interchange: f64,
    /// Of answers with a node outside the pathway taken from another prompt.
    pub strict: f64,
}

/// Which node carries which variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pathway {
    /// The head that carries s.
    pub attribute: Node,
    /// The head that carries M.
    pub majority: Node,
    /// The MLP that carries Y.
    pub output: Node,
}

impl Pathway {
    /// The node of a variable.
    pub fn node(&self, variable: Variable) -> Node {
        match variable {
            Variable::Attribute => self.attribute,
            Variable::Majority => self.majority,
            Variable::Output => self.output,
        }
    }
}

/// One model's training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiitSpec {
    /// Root of all randomness.
    pub seed: u64,
    /// Blocks.
    pub layers: usize,
    /// Heads of a block.
    pub heads: usize,
    /// Width of the stream.
    pub width: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Pairs of each of the two interventions of a step.
    pub batch: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Largest global norm of the gradient.
    pub clip: f64,
    /// What is to be computed.
    pub high_level: HighLevel,
    /// Where.
    pub pathway: Pathway,
    /// The losses' weights.
    pub weights: LossWeights,
}

impl SiitSpec {
    /// Refuses settings without a meaning.
    pub fn check(&self) -> Result<(), PlantedError> {
        let refuse = |message: String| Err(PlantedError::Request(message));
        let Pathway { attribute, majority, output } = self.pathway;
        let head = |node: Node| matches!(node, Node::Head { layer, head } if layer < self.layers && head < self.heads);
        if !head(attribute) || !head(majority) || attribute == majority {
            return refuse(format!("{attribute} and {majority}: s and M must be carried by two heads of the model"));
        }
        if !matches!(output, Node::Mlp { layer } if layer < self.layers)
            || output.layer() < attribute.layer().max(majority.layer())
        {
            return refuse(format!(
                "{output}: Y must be carried by an MLP of the model, not before {attribute} and {majority}"
            ));
        }
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) || self.batch == 0 || self.steps == 0 {
            return refuse("heads must divide the width; batch and steps must be above 0".into());
        }
        let HighLevel { rho, log_odds } = self.high_level;
        if !(rho > 0.5 && rho < 1.0 && log_odds > 0.0 && log_odds.is_finite()) {
            return refuse(format!("rho {rho} must lie between ½ and 1, log_odds {log_odds} above 0"));
        }
        let numbers = [self.learning_rate, self.clip, self.weights.behaviour, self.weights.interchange];
        if numbers.iter().chain([&self.weights.strict]).any(|number| !(number.is_finite() && *number > 0.0)) {
            return refuse("learning_rate, clip and weights must be above 0".into());
        }
        Ok(())
    }

    /// The nodes that carry nothing.
    pub fn outside(&self) -> Vec<Node> {
        let on = Variable::ALL.map(|variable| self.pathway.node(variable));
        let block = |layer| (0..self.heads).map(move |head| Node::Head { layer, head }).chain([Node::Mlp { layer }]);
        (0..self.layers).flat_map(block).filter(|node| !on.contains(node)).collect()
    }

    /// The checkpoint's config: a GPT-2, so that other libraries load it.
    pub fn config(&self) -> Value {
        json!({
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": self.width, "n_layer": self.layers,
            "n_head": self.heads, "n_inner": 4 * self.width, "n_positions": TOKENS, "vocab_size": VOCABULARY,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": false,
            "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32",
        })
    }

    /// AdamW's constants: no decay, and a second moment that follows within fifty steps.
    pub fn optimizer(&self) -> AdamWSpec {
        AdamWSpec { beta2: 0.98, ..AdamWSpec::default() }
    }

    /// The learning rate over steps.
    pub fn schedule(&self) -> Schedule {
        Schedule { warmup: Warmup::Ratio(0.02), decline: Decline::Cosine { floor: 0.0 } }
    }

    /// Fresh parameters: matrices N(0, 0.08²), those that write to the stream less, gains 1, biases 0.
    pub fn parameters(&self) -> Result<Vec<(String, Var)>, PlantedError> {
        let width = self.width;
        let mut shapes = vec![
            ("transformer.wte.weight".to_owned(), vec![VOCABULARY, width]),
            ("transformer.wpe.weight".to_owned(), vec![TOKENS, width]),
            ("lm_head.weight".to_owned(), vec![VOCABULARY, width]),
            ("transformer.ln_f.weight".to_owned(), vec![width]),
            ("transformer.ln_f.bias".to_owned(), vec![width]),
        ];
        for layer in 0..self.layers {
            let mut add =
                |part: &str, shape: &[usize]| shapes.push((format!("transformer.h.{layer}.{part}"), shape.to_vec()));
            for (part, inputs, outputs) in [
                ("attn.c_attn", width, 3 * width),
                ("attn.c_proj", width, width),
                ("mlp.c_fc", width, 4 * width),
                ("mlp.c_proj", 4 * width, width),
            ] {
                add(&format!("{part}.weight"), &[inputs, outputs]);
                add(&format!("{part}.bias"), &[outputs]);
            }
            for part in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
                add(part, &[width]);
            }
        }
        let seed = Seed::new(self.seed).fork("init");
        let draw = |(name, shape): (String, Vec<usize>)| {
            let count: usize = shape.iter().product();
            let mut rng = seed.fork(&name).rng();
            let scale = if name.contains("c_proj") { 0.08 / (2.0 * self.layers as f64).sqrt() } else { 0.08 };
            let values: Vec<f32> = match shape.len() {
                1 if name.contains(".ln_") && name.ends_with("weight") => vec![1.0; count],
                1 => vec![0.0; count],
                _ => (0..count).map(|_| (scale * normal(&mut rng)) as f32).collect(),
            };
            Ok((name, Var::from_vec(values, shape, &Device::Cpu)?))
        };
        shapes.into_iter().map(draw).collect()
    }
}
