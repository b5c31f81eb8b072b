//! The pairs of one variable, and the interchanges that are made of them.

use std::collections::BTreeSet;

use super::error::DirectionError;
use super::exchange::{Exchange, crossed, held, minimal};
use crate::base::Seed;
use crate::intervene::{InterveneError, TokenPair};
use crate::model::TextTokenizer;
use crate::scenario::CounterfactualPair;
use crate::scenario::eval_set::{is_reframed, is_word_swap};

/// Pairs that move one variable, pairs that move others, and the interchanges of both.
#[derive(Debug, Clone)]
pub struct Material {
    /// Pairs that set the variable.
    pub pairs: Vec<TokenPair>,
    /// Pairs that set another variable and leave this one.
    pub others: Vec<TokenPair>,
    /// Minimal, crossed and held interchanges.
    pub exchanges: Vec<Exchange>,
}

impl Material {
    /// Makes the interchanges: both ways of every pair, one crossed donor a pair where values are known, both ways of
    /// every pair of another variable. `seed` draws the crossed donors.
    pub fn new(pairs: Vec<TokenPair>, others: Vec<TokenPair>, seed: &Seed) -> Self {
        let mut exchanges = minimal(&pairs);
        exchanges.extend(crossed(&pairs, &seed.fork("crossed")));
        exchanges.extend(held(&others));
        Self { pairs, others, exchanges }
    }

    /// The pairs of `variable` among counterfactual pairs, and those of other variables between whose sides it keeps
    /// its value. Paraphrases and rewordings are left out, and bare swaps of a word too, unless the variable has no
    /// other pairs.
    pub fn of_variable(
        tokenizer: &TextTokenizer,
        pairs: &[&CounterfactualPair],
        variable: &str,
        seed: &Seed,
    ) -> Result<Self, DirectionError> {
        let plain = |pair: &&&CounterfactualPair| {
            pair.paraphrase_of.is_none() && !is_reframed(pair) && pair.factual.text != pair.counterfactual.text
        };
        let sets = |pair: &CounterfactualPair| pair.intervention.as_ref().is_some_and(|done| done.variable == variable);
        let own: Vec<&CounterfactualPair> = pairs.iter().filter(plain).copied().filter(|pair| sets(pair)).collect();
        let swaps_alone = own.iter().all(|pair| is_word_swap(pair));
        let own = own.into_iter().filter(|pair| swaps_alone || !is_word_swap(pair)).collect::<Vec<_>>();
        if own.is_empty() {
            let known: BTreeSet<&str> =
                pairs.iter().filter_map(|pair| Some(pair.intervention.as_ref()?.variable.as_str())).collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(DirectionError::Variable { variable: variable.to_owned(), known });
        }
        let keeps =
            |pair: &CounterfactualPair| pair.factual.values.get(variable) == pair.counterfactual.values.get(variable);
        let others = pairs.iter().filter(plain).copied();
        let others =
            others.filter(|pair| pair.intervention.is_some() && !sets(pair) && !is_word_swap(pair) && keeps(pair));
        let tokens = |pair: &CounterfactualPair| TokenPair::from_pair(tokenizer, pair);
        let own = own.into_iter().map(tokens).collect::<Result<Vec<_>, InterveneError>>()?;
        let others = others.map(tokens).collect::<Result<Vec<_>, InterveneError>>()?;
        Ok(Self::new(own, others, seed))
    }

    /// The same without the pairs of these ids, and how many of the variable's own those were.
    pub fn without(&self, seen: &BTreeSet<String>, seed: &Seed) -> (Self, usize) {
        let rest = |pairs: &[TokenPair]| pairs.iter().filter(|pair| !seen.contains(&pair.id)).cloned().collect();
        let made = Self::new(rest(&self.pairs), rest(&self.others), seed);
        let left_out = self.pairs.len() - made.pairs.len();
        (made, left_out)
    }

    /// Deals pairs out by cluster (by pair, where each is a cluster of its own): about `share` of the clusters come
    /// first. Both parts hold at least one cluster where there are two.
    pub fn split(pairs: Vec<TokenPair>, share: f64, seed: &Seed) -> (Self, Self) {
        let clusters: BTreeSet<&String> = pairs.iter().map(|pair| &pair.cluster).collect();
        let mut clusters: Vec<String> = clusters.into_iter().cloned().collect();
        crate::base::seed::shuffle(&mut seed.fork("split").rng(), &mut clusters);
        let count = clusters.len();
        let first = ((share * count as f64).round() as usize).clamp(count.min(1), count.saturating_sub(1).max(1));
        let chosen: BTreeSet<String> = clusters.into_iter().take(first).collect();
        let (fitted, rest): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|pair| chosen.contains(&pair.cluster));
        (Self::new(fitted, Vec::new(), seed), Self::new(rest, Vec::new(), seed))
    }

    /// Refuses fewer than `needed` pairs that move the prompt.
    pub fn at_least(&self, needed: usize, what: &str) -> Result<(), DirectionError> {
        let found = self.pairs.iter().filter(|pair| pair.factual.ids != pair.counterfactual.ids).count();
        match found < needed {
            true => Err(DirectionError::TooFew { what: what.to_owned(), found, needed }),
            false => Ok(()),
        }
    }
}
