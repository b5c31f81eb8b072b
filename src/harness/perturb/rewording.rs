//! The input in other words: paraphrases from a file, and sentences around it.

use super::catalogue::{Declined, Given, Made};

/// One variant a paraphrase that the file has of the question.
pub(super) fn paraphrase(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    let set = given.material.paraphrases.get(&given.question.id).ok_or(Declined("no paraphrase of it is given"))?;
    let place = match &set.of {
        Some(of) => given.inputs().find(|(_, text)| text == &of.trim()).map(|(place, _)| place),
        None => {
            let mut inputs = given.inputs();
            inputs.next().filter(|_| inputs.next().is_none()).map(|(place, _)| place)
        }
    };
    let place = place.ok_or(Declined(
        "it has several input texts, or none that equals `of`: the paraphrase must say which text it rephrases",
    ))?;
    Ok(set.paraphrases.iter().map(|text| Made::of(with(given, place, text))).collect())
}

/// One variant a framing, around the last input text.
pub(super) fn framing(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    let (place, text) = given.inputs().last().ok_or(Declined("it has no input text"))?;
    let framed = given.lists().framings.iter().map(|framing| framing.replace("{text}", text));
    Ok(framed.map(|text| Made::of(with(given, place, &text))).collect())
}

fn with(given: &Given<'_>, place: usize, put: &str) -> crate::harness::Question {
    let mut texts: Vec<String> = given.surface.texts.iter().map(|text| text.text.clone()).collect();
    texts.iter_mut().skip(place).take(1).for_each(|text| *text = put.to_owned());
    given.surface.rebuilt(given.question, &texts)
}
