//! Whether a trained model carries its pathway, measured on prompts that training did not see, by the same engine that
//! sweeps run on.

use serde::{Deserialize, Serialize};

use super::super::error::PlantedError;
use super::super::node::Node;
use super::high_level::{Content, Template, Variable};
use super::spec::SiitSpec;
use crate::base::{Progress, Seed};
use crate::intervene::{Job, Outcome, Plan, ReuseEngine, Side, SweepEngine, TokenPair};
use crate::model::LanguageModel;

/// The least accuracy of each kind.
pub const ACCURACY: f64 = 0.995;
/// The effect of an outside node, as a share of TE, from which a model is refused.
pub const OUTSIDE: f64 = 0.01;

/// What was measured. Accuracies are shares of answers on the causal model's side of 0; effects are differences of
/// log-odds as shares of |TE| of the attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Whether all bounds are kept.
    pub accepted: bool,
    /// Pairs of prompts that were measured, drawn from a stream of their own.
    pub pairs: usize,
    /// |TE| that the causal model asks for, in nats.
    pub total_effect: f64,
    /// Of plain answers.
    pub accuracy: f64,
    /// The largest distance of a plain answer from what the causal model asks for, in nats.
    pub largest_error: f64,
    /// Of answers with one variable interchanged, by variable.
    pub interchange_accuracy: Vec<(Variable, f64)>,
    /// Of answers with an outside node interchanged, the worst node's.
    pub strict_accuracy: f64,
    /// The largest effect of any outside node on any pair.
    pub largest_outside_effect: f64,
    /// The node that had it.
    pub largest_outside_node: Node,
}

impl Acceptance {
    /// One line a bound.
    pub fn lines(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.3} %", 100.0 * share);
        let mut lines = vec![
            format!("accepted: {}; {} pairs, |TE| {:.4} nats", self.accepted, self.pairs, self.total_effect),
            format!("accuracy {}, largest error {:.4} nats", percent(self.accuracy), self.largest_error),
        ];
        for (variable, accuracy) in &self.interchange_accuracy {
            lines.push(format!("interchange accuracy of {variable:?} {}", percent(*accuracy)));
        }
        let (effect, node) = (percent(self.largest_outside_effect), self.largest_outside_node);
        lines.push(format!(
            "strict accuracy {}, largest outside effect {effect} of TE ({node})",
            percent(self.strict_accuracy)
        ));
        lines
    }
}

/// Measures a model on `count` pairs of random prompts.
pub fn measure(
    model: &LanguageModel,
    spec: &SiitSpec,
    count: usize,
    progress: &dyn Progress,
) -> Result<Acceptance, PlantedError> {
    let seed = Seed::new(spec.seed);
    let template = Template::draw(&seed);
    let mut rng = seed.fork("acceptance").rng();
    let contents: Vec<(Content, Content)> =
        (0..count).map(|_| (Content::draw(&mut rng), Content::draw(&mut rng))).collect();
    let pairs = contents.iter().enumerate();
    let pairs: Vec<TokenPair> =
        pairs.map(|(at, (base, source))| template.pair(&format!("{at}"), base, source)).collect::<Result<_, _>>()?;
    let outside = spec.outside();
    let on = Variable::ALL.map(|variable| spec.pathway.node(variable));
    let plan = |node: &Node| Plan::interchange(Side::Factual, &[node.site()]);
    let plans: Vec<Plan> =
        [Plan::nothing(Side::Factual)].into_iter().chain(on.iter().chain(&outside).map(plan)).collect();
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    let outcomes = ReuseEngine::default().outcomes(model, &jobs, Outcome::LogitDifference, progress)?;
    Ok(judge(spec, &contents, &outcomes, &outside))
}

fn judge(spec: &SiitSpec, contents: &[(Content, Content)], outcomes: &[Vec<f64>], outside: &[Node]) -> Acceptance {
    let high = &spec.high_level;
    let (mut right, mut error) = (0usize, 0.0f64);
    let mut interchanged = [0usize; Variable::ALL.len()];
    let mut kept = vec![0usize; outside.len()];
    let mut largest = (0.0f64, outside.first().copied().unwrap_or(spec.pathway.output));
    let same = |found: f64, wanted: f64| usize::from(found.signum() == wanted.signum());
    for ((base, source), values) in contents.iter().zip(outcomes) {
        let Some((plain, patched)) = values.split_first() else { continue };
        let (on, idle) = patched.split_at(Variable::ALL.len().min(patched.len()));
        right += same(*plain, high.answer(base));
        error = error.max((plain - high.answer(base)).abs());
        for ((count, value), variable) in interchanged.iter_mut().zip(on).zip(Variable::ALL) {
            *count += same(*value, high.interchanged(base, source, variable));
        }
        for ((count, value), node) in kept.iter_mut().zip(idle).zip(outside) {
            *count += same(*value, high.answer(base));
            if (value - plain).abs() > largest.0 {
                largest = ((value - plain).abs(), *node);
            }
        }
    }
    let share = |count: usize| count as f64 / contents.len().max(1) as f64;
    let interchange_accuracy: Vec<(Variable, f64)> = Variable::ALL.into_iter().zip(interchanged.map(share)).collect();
    let strict_accuracy = kept.iter().copied().map(share).fold(1.0, f64::min);
    let largest_outside_effect = largest.0 / high.total_effect();
    let accuracies = interchange_accuracy.iter().map(|(_, share)| *share).chain([share(right), strict_accuracy]);
    let accepted =
        contents.len() >= 100 && accuracies.fold(1.0, f64::min) >= ACCURACY && largest_outside_effect < OUTSIDE;
    Acceptance {
        accepted,
        pairs: contents.len(),
        total_effect: high.total_effect(),
        accuracy: share(right),
        largest_error: error,
        interchange_accuracy,
        strict_accuracy,
        largest_outside_effect,
        largest_outside_node: largest.1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::shipped::shipped;
    use super::*;

    #[test]
    fn the_largest_outside_effect_of_any_pair_counts() {
        let spec = shipped().expect("shipped models").remove(0).record.spec;
        let mut rng = Seed::new(1).rng();
        let contents: Vec<(Content, Content)> =
            (0..200).map(|_| (Content::draw(&mut rng), Content::draw(&mut rng))).collect();
        let outside = spec.outside();
        let high = &spec.high_level;
        let exact = |(base, source): &(Content, Content)| {
            let on = Variable::ALL.map(|variable| high.interchanged(base, source, variable));
            [high.answer(base)].into_iter().chain(on).chain(outside.iter().map(|_| high.answer(base))).collect()
        };
        let mut outcomes: Vec<Vec<f64>> = contents.iter().map(exact).collect();
        let perfect = judge(&spec, &contents, &outcomes, &outside);
        assert!(perfect.accepted && perfect.largest_outside_effect == 0.0 && perfect.largest_error < 1e-12);
        // A small effect early, a larger one late, of another node.
        outcomes[3][4] += 0.001 * high.total_effect();
        outcomes[150][5] -= 0.02 * high.total_effect();
        let found = judge(&spec, &contents, &outcomes, &outside);
        assert!((found.largest_outside_effect - 0.02).abs() < 1e-9, "{found:?}");
        assert_eq!((found.accepted, found.largest_outside_node), (false, outside[1]));
        // One answer on the wrong side among 200.
        let mut wrong = outcomes.clone();
        wrong[150] = exact(&contents[150]);
        wrong[7][1] = -wrong[7][1];
        let found = judge(&spec, &contents, &wrong, &outside);
        assert_eq!(found.interchange_accuracy[0], (Variable::ALL[0], 0.995));
        assert!(found.accepted && found.interchange_accuracy[1].1 == 1.0, "{found:?}");
    }
}
