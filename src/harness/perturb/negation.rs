//! Negation by rule: the last sentence of the input, behind its first auxiliary verb. What the rule cannot do is declined and counted.

use super::catalogue::{Declined, Given, Made};
use super::words::{match_case, pieces};
use crate::harness::question::Target;

const AUXILIARIES: &[&str] =
    &["am", "is", "are", "was", "were", "can", "could", "will", "would", "should", "must", "may", "might", "shall"];
const OTHER_NEGATIONS: &[&str] = &["never", "no", "none", "nobody", "nothing", "neither", "nor", "without", "hardly"];
const CLAUSES: &[&str] = &["who", "which", "that", "if", "because", "when", "while", "although", "unless", "since"];
/// Answers of which one holds where the other does not.
const OPPOSITES: &[(&str, &str)] = &[("yes", "no"), ("true", "false"), ("correct", "incorrect"), ("right", "wrong")];

pub(super) fn negate(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    let (place, text) = given.inputs().last().ok_or(Declined("it has no input text"))?;
    let start = last_sentence(text);
    let (before, sentence) = text.split_at(start);
    let negated = negated(sentence)?;
    let mut texts: Vec<String> = given.surface.texts.iter().map(|text| text.text.clone()).collect();
    if let Some(slot) = texts.get_mut(place) {
        *slot = format!("{before}{negated}");
    }
    let mut question = given.surface.rebuilt(given.question, &texts);
    question.target = flipped(&question.target, &question.choices);
    Ok(vec![Made::of(question)])
}

/// Where the last sentence begins: behind a mark and blanks.
fn last_sentence(text: &str) -> usize {
    let body = text.trim_end().trim_end_matches(['.', '!', '?', '"', ')']);
    let mut ends = body.char_indices().filter(|(at, c)| {
        matches!(c, '.' | '!' | '?' | '\n')
            && body.get(at + 1..).is_some_and(|rest| *c == '\n' || rest.starts_with([' ', '\n']))
    });
    let end = ends.next_back().map_or(0, |(at, _)| at + 1);
    end + text.get(end..).map_or(0, |rest| rest.len() - rest.trim_start().len())
}

/// The sentence with its negation put in or taken out.
fn negated(sentence: &str) -> Result<String, Declined> {
    let cut = pieces(sentence);
    let words: Vec<(usize, String)> = cut
        .iter()
        .enumerate()
        .filter(|(_, piece)| piece.word)
        .map(|(at, piece)| (at, piece.text.to_lowercase().replace('’', "'")))
        .collect();
    let is = |list: &[&str], word: &str| list.contains(&word);
    if words.iter().any(|(_, word)| is(OTHER_NEGATIONS, word)) {
        return Err(Declined("it holds a negation other than `not`"));
    }
    let mut auxiliary = None;
    for (number, (at, word)) in words.iter().enumerate() {
        if number > 0 && auxiliary.is_none() && is(CLAUSES, word) {
            return Err(Declined("a clause stands before its first auxiliary verb"));
        }
        if let Some(plain) = without_not(word) {
            return Ok(with(&cut, *at, &match_case(cut.get(*at).map_or("", |piece| piece.text), plain), 0));
        }
        if word == "not" && number > 0 {
            // The blanks before it go with it.
            return Ok(with(&cut, *at, "", 1));
        }
        if is(AUXILIARIES, word) && auxiliary.is_none() {
            auxiliary = Some((number, *at));
        }
    }
    match auxiliary {
        None => Err(Declined("it has no auxiliary verb that the rule knows")),
        Some((0, _)) => Err(Declined("it begins with its verb")),
        Some((_, at)) => {
            let verb = cut.get(at).map_or("", |piece| piece.text);
            let put = if verb.eq_ignore_ascii_case("can") { format!("{verb}not") } else { format!("{verb} not") };
            Ok(with(&cut, at, &put, 0))
        }
    }
}

/// `isn't` is `is`, `can't` is `can`, `won't` is `will`.
fn without_not(word: &str) -> Option<&str> {
    match word {
        "won't" => Some("will"),
        "can't" | "cannot" => Some("can"),
        "shan't" => Some("shall"),
        _ => word.strip_suffix("n't").filter(|verb| AUXILIARIES.contains(verb)),
    }
}

/// The pieces with one of them replaced and `before` of those before it left out.
fn with(cut: &[super::words::Piece<'_>], at: usize, put: &str, before: usize) -> String {
    let kept = cut.iter().enumerate().filter(|(i, _)| *i >= at || *i + before < at);
    kept.map(|(i, piece)| if i == at { put } else { piece.text }).collect()
}

/// The other answer where there are two opposite ones; else nothing.
fn flipped(target: &Target, choices: &[String]) -> Target {
    let opposite = |text: &str| {
        let text = text.trim().to_lowercase();
        OPPOSITES.iter().find_map(|(a, b)| match text.as_str() {
            t if t == *a => Some(*b),
            t if t == *b => Some(*a),
            _ => None,
        })
    };
    match (target, choices) {
        (Target::Choices { indexes }, [first, second]) if indexes.len() == 1 => {
            match opposite(first).is_some_and(|other| other == second.trim().to_lowercase()) {
                true => Target::Choices { indexes: indexes.iter().map(|index| 1 - index.min(&1)).collect() },
                false => Target::None,
            }
        }
        (Target::Texts { texts }, _) => match texts.as_slice() {
            [text] => opposite(text)
                .map_or(Target::None, |other| Target::Texts { texts: vec![match_case(text.trim(), other)] }),
            _ => Target::None,
        },
        _ => Target::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_negated_and_back() {
        let pairs = [
            ("The sky is blue.", "The sky is not blue."),
            ("Who was comfortable using the phone?", "Who was not comfortable using the phone?"),
            ("Birds can fly.", "Birds cannot fly."),
        ];
        for (plain, not) in pairs {
            assert_eq!(negated(plain).as_deref(), Ok(not));
            assert_eq!(negated(not).as_deref(), Ok(plain));
        }
        assert_eq!(negated("It isn't so.").as_deref(), Ok("It is so."));
        assert_eq!(negated("We won't go.").as_deref(), Ok("We will go."));
    }

    #[test]
    fn what_the_rule_cannot_do_is_declined() {
        let reason = |text: &str| negated(text).expect_err("declined").0;
        assert!(reason("Is the sky blue?").contains("begins with its verb"));
        assert!(reason("The dog barks.").contains("no auxiliary"));
        assert!(reason("Nobody is here.").contains("negation other"));
        assert!(reason("The man who is here left.").contains("a clause"));
    }

    #[test]
    fn only_the_last_sentence_is_negated() {
        let text = "It is late. Ann was here. Who was it?";
        assert_eq!(&text[last_sentence(text)..], "Who was it?");
        assert_eq!(last_sentence("One sentence."), 0);
    }

    #[test]
    fn the_target_flips_or_is_undefined() {
        let choice = |index| Target::Choices { indexes: vec![index] };
        let yes_no = ["yes".to_owned(), "no".to_owned()];
        assert_eq!(flipped(&choice(0), &yes_no), choice(1));
        assert_eq!(flipped(&choice(0), &["Ann".into(), "Bo".into()]), Target::None);
        let texts = |text: &str| Target::Texts { texts: vec![text.into()] };
        assert_eq!(flipped(&texts("True"), &[]), texts("False"));
        assert_eq!(flipped(&texts("blue"), &[]), Target::None);
    }
}
