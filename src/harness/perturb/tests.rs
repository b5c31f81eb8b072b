//! What every perturbation keeps to, whatever the question.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::catalogue::{CATALOGUE, Touches};
use super::choose::Chosen;
use super::lists::Lists;
use super::suite::{Material, Perturbed, Suite};
use super::surface::parts;
use crate::base::{Digest, Seed};
use crate::harness::question::{Question, Request, Target};
use crate::harness::{OutputType, Task};

/// A multiple-choice question.
pub(crate) fn question(id: &str, doc: Value, context: &str, choices: &[&str], right: usize) -> Question {
    let request =
        |choice: &&str| Request::Loglikelihood { context: context.into(), continuation: format!(" {choice}") };
    let Value::Object(doc) = doc else { panic!("a document is an object") };
    Question {
        id: id.into(),
        doc_id: 0,
        cluster: id.into(),
        doc,
        requests: choices.iter().map(request).collect(),
        choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
        target: Target::Choices { indexes: vec![right] },
        columns: BTreeMap::new(),
        variant: None,
    }
}

/// A task of these questions.
pub(crate) fn task(questions: Vec<Question>, num_fewshot: usize) -> Task {
    Task {
        id: "t".into(),
        alias: None,
        version: "1".into(),
        output_type: OutputType::MultipleChoice,
        documents: questions.len(),
        questions,
        metrics: vec![],
        num_fewshot,
        digest: Digest::of(b"t"),
        bad_rows: vec![],
        config: Map::new(),
    }
}

/// What a list of perturbations makes of a task.
pub(crate) fn perturbed(list: &str, task: &Task, seed: u64) -> Perturbed {
    let chosen = Chosen::parse(list).expect("a list");
    let material = Material::new(Lists::builtin().expect("lists"));
    Suite::new(chosen, material, Seed::new(seed)).expect("a suite").apply(task).expect("variants")
}

/// The only variant's first context after one perturbation of a plain question.
fn said(list: &str, text: &str) -> String {
    let question = question("id0", json!({"text": text}), &format!("{text}\nAnswer:"), &["yes", "no"], 0);
    let made = perturbed(list, &task(vec![question], 0), 1);
    let context = made.task.questions.get(1).map(|variant| parts(&variant.requests[0]).0.to_owned());
    context.expect("a variant").trim_end_matches("\nAnswer:").to_owned()
}

#[test]
fn spelling_and_layout() {
    assert_eq!(said("lower_case", "Is Ann HERE?"), "is ann here?");
    assert_eq!(said("upper_case", "Is Ann here?"), "IS ANN HERE?");
    assert_eq!(said("title_case", "it isn't a well-known FACT"), "It Isn't A Well-known FACT");
    assert_eq!(said("punctuation_drop", "Well, 3.5 of U.S. troops; is it so?"), "Well 3.5 of U.S troops is it so");
    assert_eq!(
        said("contractions", "He is not here and I am as big as he is."),
        "He's not here and I'm as big as he is."
    );
    assert_eq!(said("expansions", "It’s so. Don't go, I'm here"), "It is so. Do not go, I am here");
    assert_eq!(said("misspellings:p=1", "Receive").to_lowercase().len(), 7);
    assert!(["Recieve", "Receeve"].contains(&said("misspellings:p=1", "Receive").as_str()));
    assert_eq!(said("whitespace:max=1", "a  b   c"), "a b c");
}

#[test]
fn slips_stay_inside_words() {
    let text = "Winter brought extraordinary quantities";
    for list in ["typos_keyboard:p=1", "typos_swap:p=1"] {
        let slipped = said(list, text);
        assert_ne!(slipped, text);
        for (slip, word) in slipped.split(' ').zip(text.split(' ')) {
            assert_ne!(slip, word, "{list}");
            assert_eq!(
                (slip.len(), slip.chars().next(), slip.chars().last()),
                (word.len(), word.chars().next(), word.chars().last())
            );
        }
    }
    assert_eq!(said("typos_keyboard:p=1", "A cat is on it"), "A cat is on it", "short words stay");
}

/// The defects of HELM's swaps that the reference lists, each as a test of ours.
#[test]
fn swaps_have_none_of_the_known_defects() {
    // First and last words, and neighbours that share a separator.
    assert_eq!(said("pronouns", "He saw him"), "She saw her");
    assert_eq!(said("pronouns", "him him him"), "her her her");
    // "her" reads both ways, by what follows.
    assert_eq!(said("pronouns:from=female", "I saw her. Her cat saw her too."), "I saw him. His cat saw him too.");
    assert_eq!(said("pronouns", "It is his, and his cat is with him"), "It is hers, and her cat is with her");
    // A swap of both directions does not undo itself.
    assert_eq!(said("pronouns:from=both", "He told her; she told him"), "She told him; he told her");
    assert_eq!(said("gender_terms:from=both", "The king and the queen"), "The queen and the king");
    // "grandfathers".
    assert_eq!(said("gender_terms:from=female", "Two GRANDMOTHERS"), "Two GRANDFATHERS");
    assert_eq!(said("gender_terms:from=male", "Two grandfathers"), "Two grandmothers");
    // Words inside words stay.
    assert_eq!(said("gender_terms:from=male", "The mankind of Kingston"), "The mankind of Kingston");
    // The same in HELM's version, with its defects.
    assert_eq!(said("pronouns@helm", "He saw him"), "He saw him");
    assert_eq!(said("pronouns@helm", "a him him him b"), "a her him her b");
    assert_eq!(said("pronouns@helm", "so: it is his, and"), "so: it is her, and");
}

#[test]
fn names_go_to_names_of_their_gender() {
    let made = said("first_names", "EMILY met Jake. Emily likes Jake's cat; emily is a word here.");
    let lists = Lists::builtin().expect("lists");
    let words: Vec<&str> = made.split([' ', '.', '\'', ';']).collect();
    let female = lists.names_of("black_american", "female");
    assert!(female.iter().any(|name| name.to_uppercase() == words[0]), "{made}");
    assert!(lists.names_of("black_american", "male").iter().any(|name| name == words[2]), "{made}");
    assert_eq!(
        (words[0].to_lowercase(), words[2]),
        (words[4].to_lowercase(), words[6]),
        "one person, one name: {made}"
    );
    assert!(made.contains("emily is a word"));
    let swapped = said("first_names:how=swapped", "Emily met Jake and Lakisha.");
    assert_eq!(swapped, "Lakisha met Jamal and Emily.");
    assert_eq!(said("first_names:how=swapped", &swapped), "Emily met Jake and Lakisha.");
    let everyone = lists.names_of("white_american", "female").join(" and ");
    let drawn = said("first_names", &everyone);
    let distinct: std::collections::BTreeSet<&str> = drawn.split(" and ").collect();
    assert_eq!(distinct.len(), 16, "two people stay two people: {drawn}");
}

#[test]
fn dialect_and_entities() {
    assert_eq!(said("dialect", "This is not the thing"), "Dis ain't da thang");
    assert_eq!(said("dialect@helm", "This is not the thing here"), "This ain't the thang here");
    let places = said("swap_places", "From Paris to Rome, from Paris to France");
    let words: Vec<&str> = places.split([' ', ',']).collect();
    assert!(words[1] != "Paris" && words[1] == words[6] && words[8] != "France", "{places}");
    let numbers = said("swap_numbers", "In 1987 he had 3 cats and 45 dogs, 2.5 each");
    let found: Vec<&str> = numbers.split([' ', ',']).collect();
    assert!(found[1].starts_with("19") && found[1] != "1987" && found[1].len() == 4, "{numbers}");
    assert!(found[4].len() == 1 && found[7].len() == 2 && numbers.ends_with("2.5 each"), "{numbers}");
}

#[test]
fn listed_options_move_with_their_target() {
    let doc = json!({"question": "What colour is grass?", "choices": ["red", "blue", "green"]});
    let context = "What colour is grass?\nA. red\nB. blue\nC. green\nAnswer:";
    let task = task(vec![question("q", doc, context, &["A", "B", "C"], 2)], 0);
    let made = perturbed("option_order:orders=5", &task, 3);
    assert_eq!(made.task.questions.len(), 6, "all orders but the original's");
    for variant in &made.task.questions[1..] {
        let Target::Choices { indexes } = &variant.target else { panic!("a target") };
        let label = &variant.choices[indexes[0]];
        assert!(parts(&variant.requests[0]).0.contains(&format!("{label}. green")), "{variant:?}");
        let made_of = variant.variant.as_ref().expect("a variant");
        assert!(made_of.changed);
        assert_eq!(made_of.original_choice(indexes[0]), 2);
        assert_eq!(parts(&variant.requests[1]).1, " B");
    }
    let made = perturbed("format", &task, 3);
    assert!(parts(&made.task.questions[1].requests[0]).0.contains("A) red\nB) blue\nC) green\nAnswer:"));
    assert!(parts(&made.task.questions[2].requests[0]).0.contains("A. red\n\nB. blue"));
    let digits = perturbed("format_labels:style=digit", &task, 3);
    let digits = &digits.task.questions[1];
    assert!(parts(&digits.requests[2]).0.contains("1. red\n2. blue"));
    assert_eq!((parts(&digits.requests[2]).1, digits.choices[2].as_str()), (" 3", "3"));
}

#[test]
fn options_that_are_named_in_the_text_move_too() {
    let doc = json!({"q": "Which is bigger, please say?", "a": "the cat", "b": "the whale"});
    let context = "Which is bigger, please say? Options: the cat or the whale\nAnswer:";
    let made = perturbed("option_order", &task(vec![question("q", doc, context, &["the cat", "the whale"], 1)], 0), 3);
    let variant = &made.task.questions[1];
    assert!(parts(&variant.requests[0]).0.contains("Options: the whale or the cat"), "{variant:?}");
    assert_eq!(variant.choices, ["the whale", "the cat"]);
    assert_eq!((parts(&variant.requests[0]).1, &variant.target), (" the whale", &Target::Choices { indexes: vec![0] }));
    // Where they are not shown their order cannot be read.
    let hidden =
        question("q", json!({"q": "Which is bigger, please?"}), "Which is bigger, please?", &["a cat", "a whale"], 1);
    let made = perturbed("option_order", &task(vec![hidden], 0), 3);
    assert_eq!((made.task.questions.len(), made.coverage[0].declined.len()), (1, 1));
}

#[test]
fn requests_without_the_question_keep_their_wording() {
    let doc = json!({"question": "What colour is grass here?"});
    let mut asked = question("q", doc, "What colour is grass here?\nA. red\nB. green\nAnswer:", &["red", "green"], 1);
    for choice in ["red", "green"] {
        asked.requests.push(Request::Loglikelihood { context: "Answer:".into(), continuation: format!(" {choice}") });
    }
    let made = perturbed("upper_case,option_order,format_labels", &task(vec![asked], 0), 3);
    assert_eq!(made.task.questions.len(), 4);
    for variant in &made.task.questions[1..] {
        assert_eq!(parts(&variant.requests[3]).0, "Answer:");
        assert_eq!(parts(&variant.requests[3]).1, format!(" {}", variant.choices[1]));
    }
}

#[test]
fn examples_trade_places() {
    let context = "Q: one\nA: 1\n\nQ: two\nA: 2\n\nQ: what is three?\nA:";
    let question = question("q", json!({"q": "what is three?"}), context, &["3", "4"], 0);
    let made = perturbed("fewshot_order", &task(vec![question.clone()], 2), 3);
    assert_eq!(parts(&made.task.questions[1].requests[0]).0, "Q: two\nA: 2\n\nQ: one\nA: 1\n\nQ: what is three?\nA:");
    let made = perturbed("fewshot_order", &task(vec![question], 4), 3);
    assert_eq!(made.runner.get("fewshot_order").map(|(_, count)| *count), Some(1), "the runner is asked");
    assert_eq!(made.coverage[0].share(), Some(0.0));
}

#[test]
fn an_instruction_goes_behind_the_input() {
    let context = "Read the text.\nText: The dog sat down today.\nAnswer:";
    let question = question("q", json!({"t": "The dog sat down today."}), context, &["a", "b"], 0);
    let made = perturbed("format_instruction_last", &task(vec![question], 0), 3);
    assert_eq!(parts(&made.task.questions[1].requests[0]).0, "Text: The dog sat down today.\nRead the text.\nAnswer:");
}

#[test]
fn a_suite_names_its_metrics() {
    let asked = question("q", json!({"t": "It is so."}), "It is so.", &["yes", "no"], 0);
    let made = perturbed("case", &task(vec![asked], 0), 3);
    let ids = |of| made.metrics(of).expect("metrics").into_iter().map(|used| used.id).collect::<Vec<_>>();
    assert!(ids(None).contains(&"perturbation.worst_case".to_owned()));
    assert!(ids(Some("perplexity@lm-eval")).contains(&"perturbation.worst_case@lower".to_owned()));
    assert!(made.metrics(Some("perplexityy")).is_err());
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "He",
        "his",
        "her",
        "she",
        "HIM",
        "Emily",
        "Jamal",
        "king",
        "Queens",
        "is not",
        "isn't",
        "the",
        "with",
        "Paris",
        "France",
        "1987",
        "12",
        "receive",
        "because",
        "Extraordinary",
        "well-known",
        ",",
        ".",
        "?",
        "can",
        "who",
        "\n",
        "  ",
        "naïve",
        "—",
    ]);
    prop::collection::vec(word, 3..14).prop_map(|words| words.join(" "))
}

fn shots() -> &'static str {
    "Question: He is not his king?\nA. Emily\nB. Jake\nAnswer: A\n\nQuestion: Is she here with Paris?\nA. yes\nB. no\nAnswer: B\n\n"
}

fn asked() -> impl Strategy<Value = Question> {
    (words(), words(), words(), 0..2usize, any::<u16>(), any::<bool>()).prop_map(|(text, a, b, right, id, labelled)| {
        let (a, b) = (format!("{} one", a.replace('\n', " ").trim()), format!("{} two", b.replace('\n', " ").trim()));
        let doc = json!({"question": text, "choices": [a, b], "source": "a made-up source"});
        let context = format!("{}Question: {}\nA. {a}\nB. {b}\nAnswer:", shots(), text.trim());
        let choices = if labelled { vec!["A", "B"] } else { vec![a.as_str(), b.as_str()] };
        question(&format!("q{id}"), doc, &context, &choices, right)
    })
}

fn everything() -> String {
    let ids: Vec<&str> = CATALOGUE.iter().map(|perturbation| perturbation.id).collect();
    ids.join(",")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_not_declared_is_not_touched(question in asked()) {
        let made = perturbed(&everything(), &task(vec![question.clone()], 2), 5);
        for variant in &made.task.questions[1..] {
            let of = variant.variant.clone().expect("a variant");
            let touches = super::perturbation(&of.perturbation).expect("known").touches;
            prop_assert_eq!(&variant.doc, &question.doc);
            prop_assert_eq!(&variant.cluster, &question.cluster);
            prop_assert_eq!(&variant.columns, &question.columns);
            prop_assert_eq!(of.of.as_str(), question.id.as_str());
            prop_assert_eq!(variant.requests.len(), question.requests.len());
            let context = parts(&variant.requests[0]).0;
            if touches != Touches::Shots {
                prop_assert!(context.starts_with(shots()), "{}: the examples stay: {context}", of.perturbation);
            }
            prop_assert!(context.contains("Answer:"));
            if matches!(touches, Touches::Context | Touches::Wording | Touches::Shots) {
                prop_assert_eq!(&variant.choices, &question.choices);
                let answers = |question: &Question| -> Vec<String> {
                    question.requests.iter().map(|request| parts(request).1.to_owned()).collect()
                };
                prop_assert_eq!(answers(variant), answers(&question));
            }
            if !matches!(touches, Touches::Options) && !matches!(variant.target, Target::None) {
                prop_assert_eq!(&variant.target, &question.target, "{}", of.perturbation);
            }
        }
    }

    #[test]
    fn changed_says_whether_the_model_reads_something_else(question in asked()) {
        let made = perturbed(&everything(), &task(vec![question.clone()], 2), 5);
        for variant in &made.task.questions[1..] {
            let of = variant.variant.as_ref().expect("a variant");
            prop_assert_eq!(of.changed, variant.requests != question.requests, "{}", of.perturbation);
        }
        for coverage in &made.coverage {
            let changed = made.task.questions.iter().filter_map(|question| question.variant.as_ref());
            let id = coverage.perturbation.split(':').next().unwrap_or_default();
            prop_assert_eq!(coverage.changed, changed.filter(|of| of.changed && of.perturbation == id).count());
        }
    }

    #[test]
    fn draws_hang_on_the_question_alone(first in asked(), second in asked()) {
        prop_assume!(first.id != second.id);
        let bytes = |questions: Vec<Question>, seed| {
            let made = perturbed(&everything(), &task(questions, 2), seed);
            let line = |question: &Question| (question.id.clone(), serde_json::to_string(question).expect("JSON"));
            made.task.questions.iter().map(line).collect::<BTreeMap<_, _>>()
        };
        let forward = bytes(vec![first.clone(), second.clone()], 9);
        prop_assert_eq!(&forward, &bytes(vec![second, first.clone()], 9));
        let alone = bytes(vec![first], 9);
        prop_assert!(alone.iter().all(|(id, line)| forward.get(id) == Some(line)));
    }

    #[test]
    fn swaps_that_are_bijections_are_their_own_inverse(text in words()) {
        let text = text.trim().replace('\n', " ");
        prop_assume!(text.chars().any(char::is_alphabetic));
        for list in ["gender_terms:from=both", "first_names:how=swapped"] {
            let once = said(list, &text);
            prop_assert_eq!(said(list, &once), text.clone(), "{} {}", list, once);
        }
    }

    #[test]
    fn the_gold_text_stays_the_gold_text(question in asked(), seed in any::<u64>()) {
        let gold = |question: &Question| {
            let Target::Choices { indexes } = &question.target else { panic!("a target") };
            let choice = question.choices[indexes[0]].clone();
            let context = parts(&question.requests[0]).0;
            let line = context.lines().rev().find(|line| line.starts_with(&format!("{choice}. ")));
            line.map_or(choice, |line| line[3..].to_owned())
        };
        let made = perturbed("option_order", &task(vec![question.clone()], 2), seed);
        prop_assert_eq!(gold(&made.task.questions[1]), gold(&question));
    }

    #[test]
    fn words_and_case_are_kept_by_swaps(text in words()) {
        let text = text.trim().to_owned();
        for list in ["pronouns:from=both", "gender_terms:from=both", "first_names:how=swapped", "swap_names", "swap_places"] {
            let made = said(list, &text);
            let kind = |text: &str| -> Vec<String> {
                let shape = |word: &str| word.chars().next().map_or(String::new(), |c| format!("{}{}", c.is_uppercase(), c.is_alphanumeric()));
                text.split_whitespace().map(shape).collect()
            };
            prop_assert_eq!(kind(&made), kind(&text), "{}: {}", list, made);
        }
    }
}
