//! The terms of the report, each explained in one sentence where it is first used.

use std::collections::BTreeSet;

use super::document::Block;

/// The terms: key, the word as printed, the sentence.
static TERMS: &[(&str, &str, &str)] = &[
    (
        "pair",
        "Counterfactual pair",
        "Two prompts that differ by one intervention: one variable is set to another value, everything that \
         depends on it follows, and everything else stays word for word the same.",
    ),
    (
        "invariant",
        "Invariant and follow pairs",
        "In an invariant pair only something spurious changed, so a sound answer stays; in a follow pair a \
         legitimate cause changed, so a sound answer follows it.",
    ),
    (
        "log-odds",
        "Log-odds",
        "The natural logarithm of how many times likelier the model finds one answer than the other: 0 is even, 1 \
         nat is about 2.7 to 1, 3 nats are about 20 to 1.",
    ),
    (
        "interval",
        "Interval",
        "The range in brackets would cover the true value in about 95 of 100 repetitions; it comes from \
         resampling whole templates or units, not single prompts.",
    ),
    (
        "environment",
        "Training and shifted environment",
        "In the training environment the shortcut agrees with the true label; in the shifted one that agreement \
         is reversed, so whoever relies on the shortcut is wrong there.",
    ),
    (
        "verdict",
        "Verdict",
        "Better and worse mean that the paired difference from the first arm is beyond chance after correction \
         for the number of questions asked (Holm); equivalent means that its interval lies within the margin; \
         undecided means that neither is shown.",
    ),
    ("margin", "Equivalence margin", "The largest change that still counts as no harm, fixed before training."),
    (
        "detectable",
        "Minimum detectable effect",
        "The smallest true difference that this many items would reveal four times out of five.",
    ),
    (
        "total",
        "Total effect (TE)",
        "How far the log-odds move when one variable in the prompt is changed and everything that depends on it \
         follows.",
    ),
    (
        "direct",
        "Natural direct effect (NDE)",
        "How far they move when the prompt changes but the mediator (here: the activations at the stated sites) \
         keeps the value that it had before.",
    ),
    (
        "indirect",
        "Natural indirect effect (NIE)",
        "How far they move when the prompt stays as it was and only the mediator takes the value that it would \
         have had after the change.",
    ),
    (
        "site",
        "Site",
        "One place inside the network where an activation can be read or replaced: a layer, a kind of activation, \
         and a position in the prompt or an attention head.",
    ),
    (
        "direction",
        "Noising and denoising",
        "Noising puts the counterfactual's activation into the factual run and asks how much of the effect comes \
         in; denoising puts the factual's activation into the counterfactual run and asks how much of it goes \
         away.",
    ),
    ("pathway", "Pathway", "The set of sites that together carry an effect from the prompt to the answer."),
    (
        "share",
        "Share carried",
        "The part of the total effect that appears when the pathway's sites alone are exchanged.",
    ),
    (
        "circuit",
        "Circuit",
        "Some of the edges between the network's parts (what one head or MLP writes, as another one reads it); it is \
         run with every edge outside it cut.",
    ),
    (
        "faithfulness",
        "Faithfulness",
        "The share of the effect that is there when only the circuit's edges are left: 100 % is the whole model, 0 % the \
         model with every edge cut; it may exceed 100 % where the rest works against the effect.",
    ),
    (
        "cpr",
        "CPR and CMD",
        "Areas over the size of circuits, from a thousandth of the edges to all: CPR under the faithfulness (edges that \
         help first), CMD between it and 1 (edges that matter first); over the share that was asked for, over the share \
         left after pruning, or over its natural logarithm, where every doubling counts alike.",
    ),
    (
        "hypothesis-tests",
        "Tests of a circuit",
        "Equivalence and independence ask whether the circuit does what the model does and the rest nothing, and pass \
         where that is not rejected; sufficiency and partial necessity ask whether it beats nine in ten random circuits \
         of its size, kept or cut, and pass where that is shown.",
    ),
    (
        "q-value",
        "q-value",
        "A p-value after the Benjamini–Hochberg correction over all sites of the sweep: among sites with q below \
         0.05, at most one in twenty is expected to be a false alarm.",
    ),
    (
        "refuter",
        "Refuter",
        "The same measurement repeated where nothing should be found; a finding that also shows up there is not one.",
    ),
    (
        "canary",
        "Canary",
        "A made-up line whose place in the tuning data was decided by a recorded coin flip, so that whatever the \
         model knows of it more than of the others was caused by training on it.",
    ),
    (
        "auc",
        "AUC",
        "The chance that an attacker who sees one trained-on and one left-out canary tells them apart by their \
         loss: 50 % is guessing, 100 % is certain.",
    ),
    (
        "seed",
        "Seed",
        "The number from which all randomness of the run is derived: the same seed and request give the same \
         record, byte for byte.",
    ),
];

/// Remembers which terms the reader has met.
#[derive(Debug, Default)]
pub(super) struct Glossary {
    met: BTreeSet<&'static str>,
}

impl Glossary {
    /// The explanations of those terms that were not explained yet; `None` where there are none.
    pub(super) fn introduce(&mut self, keys: &[&str]) -> Option<Block> {
        let new: Vec<_> = TERMS
            .iter()
            .filter(|(key, _, _)| keys.contains(key) && self.met.insert(key))
            .map(|(_, word, sentence)| (*word, *sentence))
            .collect();
        (!new.is_empty()).then_some(Block::Terms(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_explained_once() {
        let mut glossary = Glossary::default();
        assert!(matches!(glossary.introduce(&["log-odds", "share"]), Some(Block::Terms(terms)) if terms.len() == 2));
        assert!(matches!(glossary.introduce(&["log-odds", "seed"]), Some(Block::Terms(terms)) if terms.len() == 1));
        assert_eq!(glossary.introduce(&["share"]), None);
    }
}
