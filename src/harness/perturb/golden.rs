//! HELM's perturbations against HELM's own code.

use serde::Deserialize;
use serde_json::json;

use super::surface::parts;
use super::tests::{perturbed, question, task};
use crate::harness::question::Question;

/// Made by the classes of crfm-helm 0.5.16 under CPython 3.11, with this project's word lists in the place of its own.
const GOLDEN: &str = include_str!("../../../tests/fixtures/perturbations/helm.json");

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    variants: Vec<Expected>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    text: String,
    references: Vec<String>,
}

#[derive(Deserialize)]
struct Expected {
    id: String,
    perturbation: String,
    text: String,
    references: Vec<String>,
}

#[test]
fn helms_perturbations_meet_helm_draw_by_draw() {
    let golden: Golden = serde_json::from_str(GOLDEN).expect("the fixture");
    let asked = |case: &Case| {
        let choices: Vec<&str> = case.references.iter().map(String::as_str).collect();
        let context = format!("Passage: {}\nAnswer:", case.text);
        question(&case.id, json!({"text": case.text, "instance": case.id}), &context, &choices, 0)
    };
    let task = task(golden.cases.iter().map(asked).collect(), 0);
    let list = "mild_mix@helm,dialect@helm,pronouns@helm,first_names@helm";
    let made = perturbed(list, &task, 1);
    // The seed is Python's, not ours, and the id may stand in a field of the document.
    let by_field = perturbed(&list.replace("mix@helm", "mix@helm:seed_field=instance"), &task, 2);
    assert_eq!(made.task.questions, by_field.task.questions);
    assert_eq!(golden.variants.len(), 16);
    for expected in &golden.variants {
        let id = format!("{}#{}", expected.id, expected.perturbation);
        let variant: &Question = made.task.questions.iter().find(|question| question.id == id).expect("a variant");
        let (context, _) = parts(&variant.requests[0]);
        assert_eq!(context, format!("Passage: {}\nAnswer:", expected.text), "{id}");
        assert_eq!(variant.choices, expected.references, "{id}");
    }
}
