//! The order of the examples before a question.

use super::catalogue::{Declined, Given, Made};
use super::surface::{conditional, parts, put};
use crate::base::seed::shuffle;

/// Examples parted by empty lines, as many as the task says, with or without an instruction before them.
pub(super) fn order(given: &Given<'_>) -> Result<Vec<Made>, Declined> {
    if given.shots < 2 {
        return Err(Declined("fewer than two examples stand before it"));
    }
    let own: Vec<usize> = (0..given.shots).collect();
    let mut order = own.clone();
    let mut rng = given.seed.rng();
    while order == own {
        shuffle(&mut rng, &mut order);
    }
    let mut made = given.question.clone();
    for request in made.requests.iter_mut().take(conditional(given.question)) {
        let (context, answer) = parts(request);
        let blocks: Vec<&str> = context.split("\n\n").collect();
        // The question is the last block; an instruction may be the first.
        let first = match blocks.len().checked_sub(given.shots + 1) {
            Some(first @ (0 | 1)) => first,
            _ => return Err(UNCLEAR),
        };
        let shown = blocks.iter().enumerate().map(|(at, block)| {
            let shot = at.checked_sub(first).and_then(|place| order.get(place));
            shot.and_then(|&own| blocks.get(first + own)).unwrap_or(block)
        });
        let shown: Vec<&str> = shown.copied().collect();
        let answer = answer.to_owned();
        put(request, shown.join("\n\n"), answer);
    }
    Ok(vec![Made::of(made)])
}

/// What the question alone does not show.
pub(super) const UNCLEAR: Declined =
    Declined("where its examples begin cannot be read off the prompt; the runner must build it with another order");
