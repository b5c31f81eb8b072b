//! Interchanges: which prompt receives, which gives, and what should be said afterwards.
//!
//! A variable V lives in a subspace at a site if setting that part of a receiver's activation to a donor's makes the
//! model answer as it does when V alone is set to the donor's value (Geiger et al. 2024, arXiv 2303.02536). Three kinds:
//!
//! * *minimal*: receiver and donor differ by V's intervention alone; wanted is what the model says to the donor.
//! * *crossed*: the donor is another prompt of V's wanted value, whose other variables may differ; wanted is what the
//!   model says to the receiver with V set, the rest as it was.
//! * *held*: receiver and donor differ by another variable's intervention; wanted is what the model says to the
//!   receiver as it is.
//!
//! What is wanted is the model's own answer, not the true one: the question is where it keeps V, not whether it is right.

use std::collections::BTreeMap;

use crate::base::Seed;
use crate::base::seed::index;
use crate::intervene::TokenPair;
use crate::model::TokenizedPrompt;

/// What sets receiver and donor apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeKind {
    /// The variable alone.
    Minimal,
    /// The variable, and others with it.
    Crossed,
    /// Another variable.
    Held,
}

/// One interchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// What sets the two apart.
    pub kind: ExchangeKind,
    /// The factual side receives from the counterfactual side.
    pub pair: TokenPair,
    /// The prompt whose answers are wanted of the receiver after the interchange.
    pub wanted: TokenizedPrompt,
}

/// Donors that are tried for a crossed interchange before the receiver is left out.
const TRIES: usize = 8;

/// Both directions of each pair: the factual prompt receives, then the counterfactual one. Pairs whose sides are the
/// same tokens are left out.
pub fn minimal(pairs: &[TokenPair]) -> Vec<Exchange> {
    both_ways(pairs)
        .map(|pair| Exchange { kind: ExchangeKind::Minimal, wanted: pair.counterfactual.clone(), pair })
        .collect()
}

/// Both directions of pairs that another variable moves.
pub fn held(pairs: &[TokenPair]) -> Vec<Exchange> {
    both_ways(pairs).map(|pair| Exchange { kind: ExchangeKind::Held, wanted: pair.factual.clone(), pair }).collect()
}

/// For each pair that names its values, one donor among the prompts of other pairs of the same cluster that have the
/// value which the pair sets, and other tokens than the pair's own side. Drawn from the pair's id; a receiver for
/// which no donor can be aligned is left out.
pub fn crossed(pairs: &[TokenPair], seed: &Seed) -> Vec<Exchange> {
    let mut donors: BTreeMap<(&str, &str), Vec<&TokenizedPrompt>> = BTreeMap::new();
    for pair in pairs {
        if let Some([from, to]) = &pair.values {
            donors.entry((&pair.cluster, from)).or_default().push(&pair.factual);
            donors.entry((&pair.cluster, to)).or_default().push(&pair.counterfactual);
        }
    }
    let cross = |pair: &TokenPair| {
        let [_, to] = pair.values.as_ref()?;
        let candidates = donors.get(&(pair.cluster.as_str(), to.as_str()))?;
        let mut rng = seed.fork(&pair.id).rng();
        (0..TRIES).find_map(|_| {
            let donor = candidates.get(index(&mut rng, candidates.len()))?;
            if donor.ids == pair.counterfactual.ids || donor.ids == pair.factual.ids {
                return None;
            }
            let mut made = pair.with_donor(donor).ok()?;
            made.id = format!("{}/crossed", pair.id);
            Some(Exchange { kind: ExchangeKind::Crossed, pair: made, wanted: pair.counterfactual.clone() })
        })
    };
    pairs.iter().filter_map(cross).collect()
}

fn both_ways(pairs: &[TokenPair]) -> impl Iterator<Item = TokenPair> + '_ {
    let differing = pairs.iter().filter(|pair| pair.factual.ids != pair.counterfactual.ids);
    differing.flat_map(|pair| [Some(pair.clone()), turned(pair)]).flatten()
}

/// The pair with its sides exchanged.
fn turned(pair: &TokenPair) -> Option<TokenPair> {
    let id = format!("{}/back", pair.id);
    let mut made = TokenPair::new(id, &pair.cluster, pair.counterfactual.clone(), pair.factual.clone()).ok()?;
    made.contrast = pair.contrast;
    made.values = pair.values.clone().map(|[from, to]| [to, from]);
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(ids: &[u32]) -> TokenizedPrompt {
        TokenizedPrompt { ids: ids.to_vec(), answers: vec![vec![1], vec![2]], slots: Vec::new() }
    }

    fn pair(id: &str, factual: &[u32], counterfactual: &[u32]) -> TokenPair {
        let mut made = TokenPair::new(id, "c", prompt(factual), prompt(counterfactual)).expect("pair");
        made.values = Some(["x".into(), "y".into()]);
        made
    }

    #[test]
    fn pairs_are_taken_both_ways() {
        let found = minimal(&[pair("a", &[5, 7], &[6, 7]), pair("same", &[5], &[5])]);
        let ids: Vec<&str> = found.iter().map(|exchange| exchange.pair.id.as_str()).collect();
        assert_eq!(ids, ["a", "a/back"]);
        assert_eq!(found[1].pair.factual.ids, [6, 7]);
        assert_eq!((&found[1].wanted.ids, found[1].pair.values.clone()), (&vec![5, 7], Some(["y".into(), "x".into()])));
        let kept = held(&[pair("a", &[5, 7], &[6, 7])]);
        assert!(kept.iter().all(|exchange| exchange.wanted.ids == exchange.pair.factual.ids));
    }

    #[test]
    fn a_crossed_donor_has_the_value_and_other_words() {
        let pairs = [pair("a", &[5, 7], &[6, 7]), pair("b", &[5, 8], &[6, 8])];
        let found = crossed(&pairs, &Seed::new(1));
        assert_eq!(found.len(), 2);
        for (exchange, (donor, wanted)) in found.iter().zip([([6, 8], [6, 7]), ([6, 7], [6, 8])]) {
            assert_eq!(exchange.pair.counterfactual.ids, donor);
            assert_eq!(exchange.wanted.ids, wanted);
        }
        let mut silent = pairs[0].clone();
        silent.values = None;
        assert!(crossed(&[silent], &Seed::new(1)).is_empty());
    }
}
