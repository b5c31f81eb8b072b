//! What the report says beyond the records: questions, graphs, examples, curves.

use std::collections::BTreeMap;

use super::population::Population;
use super::tuning::TrainedArm;
use crate::causal::{Role, Visibility};
use crate::report::{
    Canary as ReportCanary, EdgeKind, ExampleKind, ExamplePair, ExampleResponse, GraphEdge, GraphNode, Headline,
    HeadlineRole, ReportGraph, TrainingCurve,
};
use crate::scenario::{Canary, CounterfactualPair, Expectation, PathKind, Scenario, Split};
use crate::trust::AnswerTable;

/// Pairs of each kind and eval set that the report shows.
const EXAMPLES: usize = 2;

/// What each arm is, in one sentence.
pub fn describe(arm: &str) -> &'static str {
    match super::targets::arm_of(arm) {
        "base" => "The checkpoint as it came.",
        "plain" => "Task loss alone, on data where the shortcut holds.",
        "consistency" => {
            "Task loss, equal answers on pairs that differ by something spurious, and the right answers where a legitimate cause changed."
        }
        "pathway" => "Task loss and a penalty on the effect that runs through the pathway found.",
        "random_sites" => "The same penalty at as many random sites of the same kind: a control.",
        "causal" => "Everything: paired terms, the penalty at the pathway, and an anchor to the base.",
        _ => "",
    }
}

/// The deciding metrics.
pub fn headlines(sets: &[Population]) -> Vec<Headline> {
    let environments = |set: &Population| match &set.scenario {
        Some(scenario) => scenario.environments(),
        None => set.pairs.iter().map(|pair| pair.environment.clone()).take(1).collect(),
    };
    let all =
        |set: &Population| environments(set).into_iter().map(|name| format!("{}/{name}", set.id)).collect::<Vec<_>>();
    // Paraphrases and bare word swaps have their own rows in the tables; a headline speaks of the pairs themselves.
    let populations: Vec<String> = sets.iter().flat_map(all).collect();
    let headline = |metrics: &[&str], title: &str, role| Headline {
        metrics: metrics.iter().map(|metric| (*metric).to_owned()).collect(),
        populations: populations.clone(),
        title: title.to_owned(),
        role,
    };
    vec![
        headline(&super::targets::UNWANTED, "Effect of spurious changes on the answer", HeadlineRole::Unwanted),
        headline(&["sensitivity.follow_rate"], "Answers that follow their legitimate cause", HeadlineRole::Wanted),
        headline(&["sensitivity.follow_effect"], "Effect of legitimate changes on the answer", HeadlineRole::Wanted),
        headline(&["accuracy.exact"], "Accuracy", HeadlineRole::Outcome),
    ]
}

/// The graph of a scenario, for the report.
pub fn graph(scenario: &Scenario) -> ReportGraph {
    let graph = scenario.graph();
    let variables = scenario.scm().variables();
    let nodes = graph
        .nodes()
        .iter()
        .enumerate()
        .map(|(index, node)| GraphNode {
            name: node.name.clone(),
            role: if node.visibility == Visibility::Latent { "latent".into() } else { role_name(node.role) },
            detail: variables.get(index).map(|variable| shortened(&variable.values)).unwrap_or_default(),
            layer: None,
        })
        .collect();
    let kind = |from: usize, to: usize| {
        let answer = to.checked_sub(variables.len()).and_then(|answer| scenario.answers().get(answer));
        match answer.and_then(|answer| answer.parents.get(&from)) {
            Some(PathKind::Spurious) => EdgeKind::Spurious,
            Some(PathKind::Legitimate) => EdgeKind::Legitimate,
            None if graph.nodes().get(from).is_some_and(|node| node.visibility == Visibility::Latent) => {
                EdgeKind::Latent
            }
            None => EdgeKind::Structural,
        }
    };
    let edges = graph
        .edges()
        .into_iter()
        .map(|(from, to)| GraphEdge {
            from: graph.name(from).to_owned(),
            to: graph.name(to).to_owned(),
            kind: kind(from, to),
        })
        .collect();
    ReportGraph { id: scenario.id.clone(), question: scenario.question.clone(), nodes, edges }
}

fn role_name(role: Role) -> String {
    format!("{role:?}").to_lowercase()
}

fn shortened(values: &[String]) -> String {
    let shown: Vec<&str> = values.iter().take(6).map(String::as_str).collect();
    let rest = values.len().saturating_sub(shown.len());
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// The evaluation pairs that the report shows: of each eval set the first invariant and the first follow pairs of
/// different framings.
pub fn example_pairs(sets: &[Population]) -> Vec<&CounterfactualPair> {
    let mut chosen = Vec::new();
    for set in sets {
        for pairs in [set.closable(Split::Evaluation), set.follows(Split::Evaluation)] {
            let mut templates = Vec::new();
            for pair in pairs {
                if templates.len() < EXAMPLES && !templates.contains(&&pair.template) {
                    templates.push(&pair.template);
                    chosen.push(pair);
                }
            }
        }
    }
    chosen
}

/// Example pairs with every arm's answers.
pub fn examples(pairs: &[&CounterfactualPair], answers: &[(String, AnswerTable)]) -> Vec<ExamplePair> {
    let example = |pair: &&CounterfactualPair| {
        let response = |(arm, table): &(String, AnswerTable)| {
            let (factual, counterfactual) = table.sides(pair).ok()?;
            Some(ExampleResponse {
                arm: arm.clone(),
                factual: factual.probabilities(),
                counterfactual: counterfactual.probabilities(),
                effect: Some(counterfactual.log_odds(0) - factual.log_odds(0)),
            })
        };
        ExamplePair {
            id: pair.id.clone(),
            population: pair.scenario.clone(),
            kind: if pair.expectation == Expectation::Invariant { ExampleKind::Invariant } else { ExampleKind::Follow },
            intervention: pair
                .intervention
                .as_ref()
                .map(|done| format!("{}: {} → {}", done.variable, done.from, done.to))
                .unwrap_or_default(),
            factual: pair.factual.text.clone(),
            counterfactual: pair.counterfactual.text.clone(),
            answers: pair.factual.answers.clone(),
            responses: answers.iter().filter_map(response).collect(),
        }
    };
    pairs.iter().map(example).collect()
}

/// Every term of every arm's objective over the steps.
pub fn curves(arms: &[TrainedArm]) -> Vec<TrainingCurve> {
    let mut curves = Vec::new();
    for arm in arms {
        type Points = Vec<(u64, f64)>;
        let mut terms: BTreeMap<&str, (f64, Points)> = BTreeMap::new();
        for step in &arm.curves {
            for (name, log) in &step.terms {
                let (weight, points) = terms.entry(name).or_default();
                *weight = weight.max(log.weight);
                points.push((step.step as u64, log.loss));
            }
        }
        curves.extend(terms.into_iter().map(|(term, (weight, points))| TrainingCurve {
            arm: arm.name.clone(),
            term: term.to_owned(),
            weight: Some(weight),
            points,
        }));
    }
    curves
}

/// The canaries for the report.
pub fn canaries(canaries: &[Canary]) -> Vec<ReportCanary> {
    canaries
        .iter()
        .map(|canary| ReportCanary { id: canary.id.clone(), text: canary.text.clone(), included: canary.included })
        .collect()
}
