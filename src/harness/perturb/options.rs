//! The order of listed options, the target moved with them.

use std::collections::BTreeSet;

use super::catalogue::{Declined, Given, Made};
use super::listing::Listing;
use super::surface::{Role, Stretch, conditional, parts, put};
use crate::base::seed::shuffle;
use crate::harness::question::{Question, Target};

const NOT_LISTED: Declined =
    Declined("its options are not listed in what the model reads, so that their order cannot change it");

pub(super) fn order(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    let question = given.question;
    let count = listed(question).ok_or(NOT_LISTED).or_else(|declined| match question.choices.len() {
        0 | 1 => Err(declined),
        choices => Ok(choices),
    })?;
    let orders = orders(given, count);
    orders.into_iter().map(|order| reordered(given, &order)).collect()
}

/// How many options stand in labelled lines before every answer.
fn listed(question: &Question) -> Option<usize> {
    let wanted = Some(question.choices.len()).filter(|&count| count > 0);
    let counts: BTreeSet<Option<usize>> = question
        .requests
        .iter()
        .take(conditional(question))
        .map(|request| Listing::of(parts(request).0, wanted).map(|listing| listing.options.len()))
        .collect();
    match counts.into_iter().collect::<Vec<_>>().as_slice() {
        [Some(count)] => Some(*count),
        _ => None,
    }
}

/// Different orders of `count` options, none the original's; by place, the original's index.
fn orders(given: &Given<'_>, count: usize) -> Vec<Vec<usize>> {
    let mut rng = given.seed.rng();
    let wanted = given.parameters.number("orders") as usize;
    let possible = (1..=count.min(5)).product::<usize>() - 1;
    let own: Vec<usize> = (0..count).collect();
    let mut drawn: Vec<Vec<usize>> = Vec::new();
    while drawn.len() < wanted.min(possible) {
        let mut next = own.clone();
        shuffle(&mut rng, &mut next);
        if next != own && !drawn.contains(&next) {
            drawn.push(next);
        }
    }
    drawn
}

fn reordered(given: &Given<'_>, order: &[usize]) -> Result<Made, Declined> {
    match listed(given.question) {
        Some(_) => lines(given.question, order),
        None => mentions(given, order),
    }
}

fn arranged<T: Clone>(items: &[T], order: &[usize]) -> Vec<T> {
    order.iter().filter_map(|&index| items.get(index).cloned()).collect()
}

/// Options in labelled lines: their texts move, the labels stay.
fn lines(question: &Question, order: &[usize]) -> Result<Made, Declined> {
    let mut made = question.clone();
    let mut labels = Vec::new();
    for request in made.requests.iter_mut().take(conditional(question)) {
        let (context, answer) = parts(request);
        let mut listing = Listing::of(context, Some(order.len())).ok_or(NOT_LISTED)?;
        listing.options = arranged(&listing.options, order);
        let answer = answer.to_owned();
        labels.clone_from(&listing.labels);
        put(request, listing.text("\n"), answer);
    }
    let by_label = question.choices.iter().zip(&labels).all(|(choice, label)| bare(choice) == label);
    if !by_label {
        arrange_choices(&mut made, question, order);
    }
    made.target = match &question.target {
        Target::Choices { indexes } => Target::Choices { indexes: moved(indexes, order) },
        Target::Texts { texts } => {
            Target::Texts { texts: texts.iter().map(|text| relabelled(text, &labels, order)).collect() }
        }
        Target::None => Target::None,
    };
    Ok(Made { question: made, order: if question.choices.is_empty() { vec![] } else { order.to_vec() } })
}

/// A label without what is around it.
pub(super) fn bare(text: &str) -> &str {
    text.trim().trim_matches(['(', ')', '.', ':'])
}

/// Where the options of these indexes stand now.
fn moved(indexes: &[usize], order: &[usize]) -> Vec<usize> {
    indexes.iter().filter_map(|index| order.iter().position(|own| own == index)).collect()
}

/// A right answer that is a label, as the label that its option has now.
fn relabelled(text: &str, labels: &[String], order: &[usize]) -> String {
    let own = labels.iter().position(|label| label == bare(text));
    let now = own.and_then(|own| order.iter().position(|&index| index == own)).and_then(|now| labels.get(now));
    match now {
        Some(label) => text.replacen(bare(text), label, 1),
        None => text.to_owned(),
    }
}

/// Requests and choices in the order in which the options are listed.
fn arrange_choices(made: &mut Question, question: &Question, order: &[usize]) {
    made.choices = arranged(&question.choices, order);
    let requests = std::mem::take(&mut made.requests);
    made.requests = requests.chunks(order.len()).flat_map(|chunk| arranged(chunk, order)).collect();
}

/// Options that are named without labels: each choice's text stands before every answer.
fn mentions(given: &Given<'_>, order: &[usize]) -> Result<Made, Declined> {
    let question = given.question;
    let texts = &given.surface.texts;
    let place = |choice: &String| {
        texts.iter().position(|text| text.role == Role::Reference && text.text == choice.trim()).ok_or(NOT_LISTED)
    };
    let places: Vec<usize> = question.choices.iter().map(place).collect::<Result<_, _>>()?;
    let mut made = question.clone();
    let laid = given.surface.requests.iter().take(conditional(question));
    for (request, (stretches, _)) in made.requests.iter_mut().zip(laid) {
        let slots: Vec<usize> = stretches
            .iter()
            .filter_map(|stretch| match stretch {
                Stretch::Text(index) => places.iter().position(|place| place == index),
                Stretch::Wording(_) => None,
            })
            .collect();
        if slots.len() != places.len() {
            return Err(NOT_LISTED);
        }
        // The slot that showed option i shows the option that stands at i's place in the new order.
        let shown = |index: &usize| {
            let slot = places.iter().position(|place| place == index);
            let option = slot.and_then(|slot| order.get(slot)).and_then(|own| places.get(*own)).unwrap_or(index);
            texts.get(*option).map(|text| text.text.as_str()).unwrap_or_default()
        };
        let context = stretches.iter().map(|stretch| match stretch {
            Stretch::Wording(text) => text.as_str(),
            Stretch::Text(index) => shown(index),
        });
        let context: String = context.collect();
        let answer = parts(request).1.to_owned();
        put(request, context, answer);
    }
    arrange_choices(&mut made, question, order);
    if let Target::Choices { indexes } = &question.target {
        made.target = Target::Choices { indexes: moved(indexes, order) };
    }
    Ok(Made { question: made, order: order.to_vec() })
}
