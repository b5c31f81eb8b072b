//! The prompts of compiled models: eight tokens, of which one is the core, one the attribute, one neutral and one
//! filler, in an order that the model's seed draws.

use serde::Serialize;

use super::super::error::PlantedError;
use super::basis::TOKENS;
use super::wiring::Wiring;
use crate::base::Seed;
use crate::base::seed::index;
use crate::intervene::TokenPair;
use crate::model::TokenizedPrompt;

/// The token that starts a prompt.
pub const BOS: u32 = 0;
/// The token between the slots and the last one.
pub const SEPARATOR: u32 = 1;
/// The last token, after which the answer comes.
pub const QUERY: u32 = 2;
/// The answers a and b that outcomes contrast.
pub const ANSWERS: [u32; 2] = [3, 4];
/// First of the tokens of c = 0 and c = 1.
pub const CORE: u32 = 5;
/// First of the tokens of s = 0, followed by as many of s = 1.
pub const ATTRIBUTE: u32 = 7;
/// First of the tokens of n = 0 and n = 1.
pub const NEUTRAL: u32 = ATTRIBUTE + 2 * SURFACES.len() as u32;
/// First of the filler tokens.
pub const FILLER: u32 = NEUTRAL + 2;
/// Filler tokens.
pub const FILLERS: u32 = 4;
/// Tokens in all.
pub const VOCABULARY: usize = (FILLER + FILLERS) as usize;
/// e of each surface form of an attribute value: three contrasts, each with mean 0 and variance 1 over the forms, no two
/// of them correlated; the same for both values.
pub const SURFACES: [[f64; CONTRASTS]; 4] = [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]];
/// Contrasts between surface forms.
pub const CONTRASTS: usize = 3;

/// What one prompt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Content {
    /// s.
    pub attribute: bool,
    /// Which surface form of it.
    pub surface: usize,
    /// c.
    pub core: bool,
    /// n.
    pub neutral: bool,
    /// Which filler token.
    pub filler: u32,
}

impl Content {
    /// s as a number.
    pub fn s(&self) -> f64 {
        f64::from(u8::from(self.attribute))
    }

    /// c as a number.
    pub fn c(&self) -> f64 {
        f64::from(u8::from(self.core))
    }

    /// n as a number.
    pub fn n(&self) -> f64 {
        f64::from(u8::from(self.neutral))
    }

    /// e, the surface form in numbers.
    pub fn e(&self) -> [f64; CONTRASTS] {
        SURFACES.get(self.surface).copied().unwrap_or_default()
    }

    /// The prompt that says it, in a model's order of slots.
    pub fn prompt(&self, wiring: &Wiring) -> TokenizedPrompt {
        let [core, attribute, neutral, filler] = wiring.slots;
        let value = SURFACES.len() as u32 * u32::from(self.attribute);
        let token = |position: usize| match position {
            0 => BOS,
            _ if position == core => CORE + u32::from(self.core),
            _ if position == attribute => ATTRIBUTE + value + self.surface as u32,
            _ if position == neutral => NEUTRAL + u32::from(self.neutral),
            _ if position == filler => FILLER + self.filler,
            _ if position + 1 == TOKENS => QUERY,
            _ => SEPARATOR,
        };
        let slots = [("core", core), ("attribute", attribute), ("neutral", neutral), ("filler", filler)];
        TokenizedPrompt {
            ids: (0..TOKENS).map(token).collect(),
            answers: ANSWERS.map(|answer| vec![answer]).to_vec(),
            slots: slots.into_iter().map(|(name, at)| (name.to_owned(), at..at + 1)).collect(),
        }
    }
}

/// A pair with what its two sides say.
#[derive(Debug, Clone)]
pub struct PlantedPair {
    /// x, with s = 1.
    pub factual: Content,
    /// x′, with s = 0, another surface form and all else the same.
    pub counterfactual: Content,
    /// The same as tokens.
    pub tokens: TokenPair,
}

/// Draws independent pairs: c, n, the filler and the surface forms of both sides are uniform. Each is its own cluster.
pub fn draw_pairs(wiring: &Wiring, count: usize, seed: &Seed) -> Result<Vec<PlantedPair>, PlantedError> {
    let pair = |number: usize| {
        let id = format!("p{number:03}");
        let mut rng = seed.fork(&id).rng();
        let mut below = |n: usize| index(&mut rng, n);
        let factual = Content {
            attribute: true,
            surface: below(SURFACES.len()),
            core: below(2) == 1,
            neutral: below(2) == 1,
            filler: below(FILLERS as usize) as u32,
        };
        let counterfactual = Content { attribute: false, surface: below(SURFACES.len()), ..factual };
        let tokens = TokenPair::new(&id, &id, factual.prompt(wiring), counterfactual.prompt(wiring))?;
        Ok(PlantedPair { factual, counterfactual, tokens })
    };
    (0..count).map(pair).collect()
}
