//! Identifiers in plain English: metrics, populations, sites.

/// The metrics: id, plain name, one sentence.
static METRICS: &[(&str, &str, &str)] = &[
    ("accuracy.exact", "Accuracy", "Share of prompts whose likelier answer is the true one."),
    (
        "accuracy.perplexity",
        "Perplexity",
        "How many equally likely next words the held-out text feels like; smaller is better.",
    ),
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
    (
        "robustness.worst_group",
        "Worst-group accuracy",
        "Accuracy in the group of label and shortcut where it is lowest.",
    ),
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
    (
        "explainability.necessity",
        "Necessity",
        "Part of the effect that disappears when the pathway's sites are set back.",
    ),
    (
        "privacy.membership_effect",
        "Membership effect",
        "Mean loss of canaries that the coin left out, less that of canaries that were trained on; 0 is ideal.",
    ),
    (
        "privacy.membership_auc",
        "Membership AUC",
        "How well membership of a canary can be told from its loss; 50 % is ideal.",
    ),
    (
        "calibration.brier",
        "Brier score",
        "Mean squared distance between the probabilities and what was true; 0 is ideal.",
    ),
    (
        "calibration.ece",
        "Calibration error",
        "Mean distance between stated confidence and actual accuracy, over equal bins.",
    ),
    (
        "sensitivity.follow_effect",
        "Effect of legitimate causes",
        "Mean change of the log-odds towards the new true answer when a legitimate cause changes.",
    ),
    (
        "sensitivity.follow_rate",
        "Follow rate",
        "Share of follow pairs whose likelier answer follows the legitimate cause.",
    ),
];

/// A metric's plain name with its variant in brackets, and its definition: the built-in sentence, else the score's note.
pub(super) fn metric_in_words(metric: &str, note: &str) -> (String, String) {
    let (id, variant) = match metric.split_once('@') {
        Some((id, variant)) => (id, Some(variant)),
        None => (metric, None),
    };
    let known = METRICS.iter().find(|(known, _, _)| *known == id);
    let name =
        known.map_or_else(|| capitalised(id.rsplit('.').next().unwrap_or(id)), |(_, name, _)| (*name).to_owned());
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
