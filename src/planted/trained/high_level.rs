//! The causal model that trained models are made to carry, and its prompts.
//!
//! Three evidence tokens say 0 or 1, and M is their majority; the attribute s is 0 or 1; the answer Y is M, overridden
//! by s with strength ρ: where s = 1 the answer is the opposite of M with probability ρ. With p = σ(±L) for M = 1 or 0,
//!
//! ```text
//! P(yes) = p                        where s = 0
//! P(yes) = (1 − ρ)·p + ρ·(1 − p)    where s = 1
//! ```
//!
//! and the low-level model's log-odds of yes over no are to be log P(yes)/(1 − P(yes)). Nine tokens: start, three
//! evidence, one attribute and three filler tokens in an order that the model's seed draws, and the query.

use serde::{Deserialize, Serialize};

use super::super::error::PlantedError;
use crate::base::Seed;
use crate::base::seed::{index, shuffle};
use crate::intervene::TokenPair;
use crate::model::TokenizedPrompt;

/// Tokens of a prompt.
pub const TOKENS: usize = 9;
/// Surface forms of each value of each token.
const SURFACES: u32 = 4;
const QUERY: u32 = 1;
const ANSWERS: [u32; 2] = [2, 3];
const EVIDENCE: u32 = 4;
const ATTRIBUTE: u32 = EVIDENCE + 2 * SURFACES;
const FILLER: u32 = ATTRIBUTE + 2 * SURFACES;
/// Tokens in all.
pub const VOCABULARY: usize = (FILLER + SURFACES) as usize;

/// A variable of the causal model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// s.
    Attribute,
    /// M.
    Majority,
    /// Y.
    Output,
}

impl Variable {
    /// All.
    pub const ALL: [Variable; 3] = [Variable::Attribute, Variable::Majority, Variable::Output];
}

/// What one prompt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content {
    /// The three evidence values.
    pub evidence: [bool; 3],
    /// s.
    pub attribute: bool,
    /// Surface forms of evidence, attribute and filler tokens.
    pub surfaces: [u32; 7],
}

impl Content {
    /// Draws a prompt, every value and surface form uniform.
    pub fn draw(rng: &mut impl rand::Rng) -> Self {
        let mut bit = || index(rng, 2) == 1;
        let (evidence, attribute) = ([bit(), bit(), bit()], bit());
        Self { evidence, attribute, surfaces: [(); 7].map(|()| index(rng, SURFACES as usize) as u32) }
    }

    /// M.
    pub fn majority(&self) -> bool {
        self.evidence.iter().filter(|value| **value).count() >= 2
    }
}

/// The causal model with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighLevel {
    /// ρ: how strongly s overrides the majority; above ½, so that s decides which answer is likelier.
    pub rho: f64,
    /// L: the log-odds of the majority's answer where s = 0.
    pub log_odds: f64,
}

impl HighLevel {
    /// The log-odds of yes for values of the variables.
    pub fn output(&self, majority: bool, attribute: bool) -> f64 {
        let plain = if majority { self.log_odds } else { -self.log_odds };
        match attribute {
            false => plain,
            true => {
                let p = 1.0 / (1.0 + (-plain).exp());
                let p = (1.0 - self.rho) * p + self.rho * (1.0 - p);
                (p / (1.0 - p)).ln()
            }
        }
    }

    /// The log-odds that one prompt calls for.
    pub fn answer(&self, content: &Content) -> f64 {
        self.output(content.majority(), content.attribute)
    }

    /// The log-odds of `base` with one variable set to its value under `source`.
    pub fn interchanged(&self, base: &Content, source: &Content, variable: Variable) -> f64 {
        match variable {
            Variable::Attribute => self.output(base.majority(), source.attribute),
            Variable::Majority => self.output(source.majority(), base.attribute),
            Variable::Output => self.answer(source),
        }
    }

    /// |TE| of s: 1 → 0, which is the same for both majorities.
    pub fn total_effect(&self) -> f64 {
        (self.output(true, false) - self.output(true, true)).abs()
    }
}

/// Where each token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    order: [usize; 7],
}

impl Template {
    /// Draws the order of evidence, attribute and filler tokens.
    pub fn draw(seed: &Seed) -> Self {
        let mut order = [0, 1, 2, 3, 4, 5, 6];
        shuffle(&mut seed.fork("template").rng(), &mut order);
        Self { order }
    }

    /// The tokens of a prompt; its slots are `attribute` and `evidence-0` to `evidence-2`.
    pub fn prompt(&self, content: &Content) -> TokenizedPrompt {
        let mut ids = vec![0];
        let mut slots = Vec::new();
        for kind in self.order {
            let surface = content.surfaces.get(kind).copied().unwrap_or(0);
            let first = match (kind, content.evidence.get(kind)) {
                (_, Some(value)) => {
                    slots.push((format!("evidence-{kind}"), ids.len()..ids.len() + 1));
                    EVIDENCE + SURFACES * u32::from(*value)
                }
                (3, None) => {
                    slots.push(("attribute".to_owned(), ids.len()..ids.len() + 1));
                    ATTRIBUTE + SURFACES * u32::from(content.attribute)
                }
                _ => FILLER,
            };
            ids.push(first + surface);
        }
        ids.push(QUERY);
        TokenizedPrompt { ids, answers: ANSWERS.map(|answer| vec![answer]).to_vec(), slots }
    }

    /// A base and a source prompt side by side.
    pub fn pair(&self, id: &str, base: &Content, source: &Content) -> Result<TokenPair, PlantedError> {
        Ok(TokenPair::new(id, id, self.prompt(base), self.prompt(source))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_overrides_with_strength_rho() {
        let high = HighLevel { rho: 0.9, log_odds: 3.0 };
        // p = σ(3) = 0.952574; 0.1·p + 0.9·(1 − p) = 0.137941; its log-odds −1.832500.
        assert!((high.output(true, true) + 1.832_500).abs() < 1e-5, "{}", high.output(true, true));
        assert!((high.output(true, true) + high.output(false, true)).abs() < 1e-12);
        let draw = |seed| Content::draw(&mut Seed::new(seed).rng());
        let (base, source) = (draw(1), draw(2));
        assert_eq!(high.interchanged(&base, &source, Variable::Output), high.answer(&source));
        let mixed = Content { attribute: source.attribute, ..base };
        assert_eq!(high.interchanged(&base, &source, Variable::Attribute), high.answer(&mixed));
        let mixed = Content { evidence: source.evidence, ..base };
        assert_eq!(high.interchanged(&base, &source, Variable::Majority), high.answer(&mixed));
    }

    #[test]
    fn prompts_hold_every_token_once() {
        let content = Content { evidence: [true, false, true], attribute: true, surfaces: [0, 1, 2, 3, 0, 1, 2] };
        let prompt = Template::draw(&Seed::new(5)).prompt(&content);
        assert_eq!(prompt.ids.len(), TOKENS);
        assert!(prompt.ids.iter().all(|id| (*id as usize) < VOCABULARY));
        let at = |name: &str| prompt.slots.iter().find(|(slot, _)| slot == name).map(|(_, at)| prompt.ids[at.start]);
        assert_eq!(at("attribute"), Some(ATTRIBUTE + SURFACES + 3));
        assert_eq!(at("evidence-1"), Some(EVIDENCE + 1));
        assert_eq!(at("evidence-2"), Some(EVIDENCE + SURFACES + 2));
        assert_eq!(prompt.slots.len(), 4);
    }
}
