//! How a prompt is laid out: labels of options, what stands between them, where the instruction stands.

use super::catalogue::{Declined, Given, Made};
use super::listing::{Listing, Style};
use super::options::bare;
use super::surface::{Stretch, conditional, parts, put};
use crate::harness::question::{Question, Target};

const NO_LABELS: Declined = Declined("its options are not listed with labels");

pub(super) fn labels(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    let style = match given.parameters.text("style") {
        "brackets" => Style::Brackets,
        "colon" => Style::Colon,
        "dot" | "digit" => Style::Dot,
        _ => Style::Bracket,
    };
    let digits = given.parameters.text("style") == "digit";
    let mut renamed: Vec<(String, String)> = Vec::new();
    let mut made = laid_out(given.question, "\n", |listing| {
        listing.style = style;
        if digits {
            let numbers: Vec<String> = (1..=listing.labels.len()).map(|number| number.to_string()).collect();
            renamed = listing.labels.iter().cloned().zip(numbers.iter().cloned()).collect();
            listing.labels = numbers;
        }
    })?;
    rename(&mut made, &renamed);
    Ok(vec![Made::of(made)])
}

/// Answers that are labels, under their new names.
fn rename(question: &mut Question, renamed: &[(String, String)]) {
    let rename = |text: &str| match renamed.iter().find(|(old, _)| old == bare(text)) {
        Some((old, new)) => text.replacen(old.as_str(), new, 1),
        None => text.to_owned(),
    };
    question.choices.iter_mut().for_each(|choice| *choice = rename(choice));
    for request in &mut question.requests {
        let (context, answer) = parts(request);
        let (context, answer) = (context.to_owned(), rename(answer));
        put(request, context, answer);
    }
    if let Target::Texts { texts } = &mut question.target {
        texts.iter_mut().for_each(|text| *text = rename(text));
    }
}

pub(super) fn separator(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    let separator = match given.parameters.text("separator") {
        "bar" => " | ",
        "semicolon" => "; ",
        _ => "\n\n",
    };
    Ok(vec![Made::of(laid_out(given.question, separator, |_| {})?)])
}

/// The question with its options listed otherwise, before every answer.
fn laid_out(question: &Question, separator: &str, mut change: impl FnMut(&mut Listing)) -> Result<Question, Declined> {
    let count = Some(question.choices.len()).filter(|&count| count > 0);
    let mut made = question.clone();
    for request in made.requests.iter_mut().take(conditional(question)) {
        let (context, answer) = parts(request);
        let mut listing = Listing::of(context, count).ok_or(NO_LABELS)?;
        let answer = answer.to_owned();
        change(&mut listing);
        put(request, listing.text(separator), answer);
    }
    Ok(made)
}

pub(super) fn instruction_last(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    if given.shots > 0 {
        return Err(Declined("examples stand between its instruction and its input"));
    }
    let mut made = given.question.clone();
    let laid = given.surface.requests.iter().take(conditional(given.question));
    for (request, (stretches, _)) in made.requests.iter_mut().zip(laid) {
        let context =
            instructed_behind(stretches, given).ok_or(Declined("no line of instruction stands before its input"))?;
        let answer = parts(request).1.to_owned();
        put(request, context, answer);
    }
    Ok(vec![Made::of(made)])
}

/// Whole lines before the first text move behind the last one.
fn instructed_behind(stretches: &[Stretch], given: &Given<'_>) -> Option<String> {
    let Some(Stretch::Wording(lead)) = stretches.first() else { return None };
    let (instruction, cue) = lead.split_at(lead.rfind('\n')? + 1);
    let instruction = instruction.trim();
    let last = stretches.iter().rposition(|stretch| matches!(stretch, Stretch::Text(_)))?;
    if instruction.is_empty() {
        return None;
    }
    let mut context = cue.to_owned();
    for (at, stretch) in stretches.iter().enumerate().skip(1) {
        context.push_str(match stretch {
            Stretch::Wording(text) => text,
            Stretch::Text(index) => given.surface.texts.get(*index).map_or("", |text| text.text.as_str()),
        });
        if at == last {
            context.push('\n');
            context.push_str(instruction);
        }
    }
    Some(context)
}
