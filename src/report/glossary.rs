//! The words of the report, each explained in one sentence where it is first used, and the metrics in plain English.

use std::collections::BTreeSet;

use super::document::Block;

/// The terms: key, the word as printed, the sentence.
static TERMS: &[(&str, &str, &str)] = &[
    (
        "pair",
        "Counterfactual pair",
        "Two prompts that differ by one intervention: one variable is set to another value, everything that depends on it \
         follows, and everything else stays word for word the same.",
    ),
    (
        "invariant",
        "Invariant and follow pairs",
        "In an invariant pair only something spurious changed, so a sound answer stays; in a follow pair a legitimate cause \
         changed, so a sound answer follows it.",
    ),
    (
        "log-odds",
        "Log-odds",
        "The natural logarithm of how many times likelier the model finds one answer than the other: 0 is even, 1 nat is \
         about 2.7 to 1, 3 nats are about 20 to 1.",
    ),
    (
        "interval",
        "Interval",
        "The range in brackets would cover the true value in about 95 of 100 repetitions; it comes from resampling whole \
         templates or units, not single prompts.",
    ),
    (
        "environment",
        "Training and shifted environment",
        "In the training environment the shortcut agrees with the true label; in the shifted one that agreement is \
         reversed, so whoever relies on the shortcut is wrong there.",
    ),
    (
        "verdict",
        "Verdict",
        "Better and worse mean that the paired difference from the first arm is beyond chance after correction for the number \
         of questions asked (Holm); equivalent means that its interval lies within the margin; undecided means that neither is shown.",
    ),
    (
        "margin",
        "Equivalence margin",
        "The largest change that still counts as no harm, fixed before training.",
    ),
    (
        "detectable",
        "Minimum detectable effect",
        "The smallest true difference that this many items would reveal four times out of five.",
    ),
    (
        "total",
        "Total effect (TE)",
        "How far the log-odds move when one variable in the prompt is changed and everything that depends on it follows.",
    ),
    (
        "direct",
        "Natural direct effect (NDE)",
        "How far they move when the prompt changes but the mediator (here: the activations at the stated sites) keeps the \
         value that it had before.",
    ),
    (
        "indirect",
        "Natural indirect effect (NIE)",
        "How far they move when the prompt stays as it was and only the mediator takes the value that it would have had \
         after the change.",
    ),
    (
        "site",
        "Site",
        "One place inside the network where an activation can be read or replaced: a layer, a kind of activation, and a \
         position in the prompt or an attention head.",
    ),
    (
        "direction",
        "Noising and denoising",
        "Noising puts the counterfactual's activation into the factual run and asks how much of the effect \
         comes in; denoising puts the factual's activation into the counterfactual run and asks how much of it goes away.",
    ),
    (
        "pathway",
        "Pathway",
        "The set of sites that together carry an effect from the prompt to the answer.",
    ),
    ("share", "Share carried", "The part of the total effect that appears when the pathway's sites alone are exchanged."),
    (
        "q-value",
        "q-value",
        "A p-value after the Benjamini–Hochberg correction over all sites of the sweep: among sites with q below 0.05, at \
         most one in twenty is expected to be a false alarm.",
    ),
    (
        "refuter",
        "Refuter",
        "The same measurement repeated where nothing should be found; a finding that also shows up there is not one.",
    ),
    (
        "canary",
        "Canary",
        "A made-up line whose place in the tuning data was decided by a recorded coin flip, so that whatever the model knows \
         of it more than of the others was caused by training on it.",
    ),
    (
        "auc",
        "AUC",
        "The chance that an attacker who sees one trained-on and one left-out canary tells them apart by their loss: 50 % is \
         guessing, 100 % is certain.",
    ),
    (
        "seed",
        "Seed",
        "The number from which all randomness of the run is derived: the same seed and request give the same record, byte \
         for byte.",
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

/// The metrics: id, plain name, one sentence.
static METRICS: &[(&str, &str, &str)] = &[
    ("accuracy.exact", "Accuracy", "Share of prompts whose likelier answer is the true one."),
    ("accuracy.perplexity", "Perplexity", "How many equally likely next words the held-out text feels like; smaller is better."),
    (
        "fairness.counterfactual_gap",
        "Counterfactual gap",
        "Mean absolute change of the answer when only the protected attribute changes; 0 is ideal.",
    ),
    (
        "robustness.counterfactual_gap",
        "Counterfactual gap",
        "Mean absolute change of the answer when only something spurious changes; 0 is ideal.",
    ),
    ("fairness.flip_rate", "Flip rate", "Share of invariant pairs whose likelier answer changes."),
    ("fairness.direct", "Direct part", "The part of the effect that does not run through the mediator."),
    ("fairness.indirect", "Indirect part", "The part of the effect that runs through the mediator."),
    ("robustness.consistency", "Consistency", "Share of spurious edits that leave the likelier answer as it was."),
    (
        "robustness.paraphrase_consistency",
        "Paraphrase consistency",
        "Share of paraphrases, unseen in tuning, that leave the likelier answer as it was.",
    ),
    ("robustness.worst_group", "Worst-group accuracy", "Accuracy in the group of label and shortcut where it is lowest."),
    ("robustness.shift_drop", "Drop under shift", "Accuracy in the training environment less that in the shifted one."),
    (
        "explainability.pathway_share",
        "Share through the original pathway",
        "Part of the total effect that the pathway found before tuning still carries.",
    ),
    (
        "explainability.rediscovered_share",
        "Share through the rediscovered pathway",
        "Part of the total effect that the pathway found afresh after tuning carries.",
    ),
    ("explainability.sufficiency", "Sufficiency", "Part of the effect that the pathway's sites bring in on their own."),
    ("explainability.necessity", "Necessity", "Part of the effect that disappears when the pathway's sites are set back."),
    (
        "privacy.membership_effect",
        "Membership effect",
        "Mean loss of canaries that the coin left out, less that of canaries that were trained on; 0 is ideal.",
    ),
    ("privacy.membership_auc", "Membership AUC", "How well membership of a canary can be told from its loss; 50 % is ideal."),
    ("calibration.brier", "Brier score", "Mean squared distance between the probabilities and what was true; 0 is ideal."),
    ("calibration.ece", "Calibration error", "Mean distance between stated confidence and actual accuracy, over equal bins."),
    (
        "sensitivity.follow_effect",
        "Effect of legitimate causes",
        "Mean change of the log-odds towards the new true answer when a legitimate cause changes.",
    ),
    ("sensitivity.follow_rate", "Follow rate", "Share of follow pairs whose likelier answer follows the legitimate cause."),
];

/// A metric's plain name with its variant in brackets, and its definition: the built-in sentence, else the score's note.
pub(super) fn metric_in_words(metric: &str, note: &str) -> (String, String) {
    let (id, variant) = match metric.split_once('@') {
        Some((id, variant)) => (id, Some(variant)),
        None => (metric, None),
    };
    let known = METRICS.iter().find(|(known, _, _)| *known == id);
    let name = known.map_or_else(|| capitalised(id.rsplit('.').next().unwrap_or(id)), |(_, name, _)| (*name).to_owned());
    let sentence = match known {
        Some((_, _, sentence)) => *sentence,
        None => note,
    };
    let name = match variant {
        Some(variant) => format!("{name} ({})", plain(variant)),
        None => name,
    };
    (name, sentence.to_owned())
}

/// An identifier as words: underscores become spaces.
pub(super) fn plain(identifier: &str) -> String {
    identifier.replace('_', " ")
}

/// The same with a capital first letter.
pub(super) fn capitalised(identifier: &str) -> String {
    let words = plain(identifier);
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => words,
    }
}

/// A population as words: `hiring/invariant/evaluation` becomes `hiring · invariant · evaluation`.
pub(super) fn population_in_words(population: &str) -> String {
    plain(population).replace('/', " · ")
}

/// A site as words: `blocks.2.attn.hook_z[head=1]` becomes `layer 2, output of attention head 1`.
pub(super) fn site_in_words(site: &str) -> String {
    site_parts(site).unwrap_or_else(|| site.to_owned())
}

fn site_parts(site: &str) -> Option<String> {
    let (point, selection) = match site.split_once('[') {
        Some((point, rest)) => (point, rest.strip_suffix(']')?),
        None => (site, ""),
    };
    let (layer, kind) = point.strip_prefix("blocks.")?.split_once('.')?;
    let head = selection.split(',').find_map(|part| part.trim().strip_prefix("head="));
    let kind = match (kind, head) {
        ("hook_resid_pre", _) => "residual stream entering the layer".to_owned(),
        ("hook_resid_mid", _) => "residual stream after attention".to_owned(),
        ("hook_resid_post", _) => "residual stream leaving the layer".to_owned(),
        ("hook_attn_out", _) => "attention output".to_owned(),
        ("hook_mlp_out", _) => "MLP output".to_owned(),
        ("attn.hook_z", Some(head)) => format!("output of attention head {head}"),
        ("attn.hook_z", None) => "outputs of all attention heads".to_owned(),
        _ => return None,
    };
    let place = selection.split(',').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        match (key, value) {
            ("slot", "last") => Some(" at the last token of the prompt".to_owned()),
            ("slot", slot) => Some(format!(" at the word for “{slot}”")),
            ("position" | "pos", index) => Some(format!(" at token {index}")),
            _ => None,
        }
    });
    Some(format!("layer {layer}, {kind}{}", place.unwrap_or_default()))
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

    #[test]
    fn identifiers_become_words_and_unknown_ones_stay() {
        assert_eq!(site_in_words("blocks.2.attn.hook_z[head=1]"), "layer 2, output of attention head 1");
        assert_eq!(
            site_in_words("blocks.1.hook_resid_pre[slot=name]"),
            "layer 1, residual stream entering the layer at the word for “name”"
        );
        assert_eq!(site_in_words("blocks.x"), "blocks.x");
        assert_eq!(metric_in_words("accuracy.exact@mean_2", "").0, "Accuracy (mean 2)");
        assert_eq!(metric_in_words("new.shiny_one", "what it is"), ("Shiny one".into(), "what it is".into()));
    }
}
