//! What membership in the tuning data changes.
//!
//! Canaries are texts of which a recorded fair coin put about half into the tuning data. The coin is the only cause of
//! membership, so the difference of mean losses is an experimental effect: included and excluded canaries differ by
//! nothing but the coin, and a blind guess from the text alone has AUC ½ in expectation. (With few canaries the two halves
//! still differ by chance; the untuned base model shows by how much, so read the tuned value against the base's.)
//!
//! loss(x) = −log p(x) / tokens, nats.

use super::error::TrustError;
use super::metric::{Evidence, Membership, Metric, Sample};
use super::select::Populations;
use crate::stats::{Direction, Objective, Statistic};

pub(super) const MEMBERSHIP_EFFECT: Metric = Metric {
    id: "privacy.membership_effect",
    version: 1,
    objective: Objective::Privacy,
    unit: "nats a token",
    direction: Direction::Lower,
    definition: "Mean loss a token of canaries that a recorded coin kept out of the tuning data, less that of canaries that it \
                 put in; 0 where membership changes nothing.",
    source: "randomised inclusion: difference in means",
    collect: |evidence| canary_samples(evidence, statistic_of_effect(), |loss| loss),
};

pub(super) const MEMBERSHIP_AUC: Metric = Metric {
    id: "privacy.membership_auc",
    version: 1,
    objective: Objective::Privacy,
    unit: "probability",
    direction: Direction::Lower,
    definition: "Probability that an included canary has a lower loss a token than an excluded one, ties counting half (score = \
                 −loss). Inclusion was a coin flip, so a blind guess from the text has ½ in expectation; the untuned base \
                 shows the chance difference of the two halves.",
    source: "Yeom et al. 2018 loss attack; mink-plus-plus run.py for the sign",
    collect: |evidence| canary_samples(evidence, Statistic::Auc { positive: INCLUDED.into() }, |loss| -loss),
};

const INCLUDED: &str = "included";
const EXCLUDED: &str = "excluded";

fn statistic_of_effect() -> Statistic {
    Statistic::GroupDifference { minuend: EXCLUDED.into(), subtrahend: INCLUDED.into() }
}

fn canary_samples(
    evidence: &Evidence<'_>,
    statistic: Statistic,
    value: fn(f64) -> f64,
) -> Result<Vec<Sample>, TrustError> {
    let mut populations = Populations::default();
    for canary in &evidence.canaries {
        let text = &canary.text;
        let loss = -text.loglikelihood / text.tokens as f64;
        let group = match canary.membership {
            Membership::Included => INCLUDED,
            Membership::Excluded => EXCLUDED,
        };
        populations.add(text.population.clone(), &text.id, &text.cluster, (value(loss), Some(group.into()), None));
    }
    let mut samples = populations.samples(&statistic);
    for sample in &mut samples {
        let included = sample.items.iter().filter(|item| item.group.as_deref() == Some(INCLUDED)).count();
        let excluded = sample.items.len() - included;
        sample.note = Some(format!("{included} canaries included, {excluded} kept out."));
        if included == 0 || excluded == 0 {
            sample.undefined = Some(format!("all {} canaries fell on one side of the coin", sample.items.len()));
        }
    }
    Ok(samples)
}
