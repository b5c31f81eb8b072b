//! Canaries: made-up secrets whose place in the tuning data is decided by recorded coin flips.
//!
//! Whether a text was trained on is then a randomised treatment, so that the difference in loss between texts that
//! were in and texts that were out is a causal effect of membership (reference: randomised canaries as interventional
//! truth). The texts are in the embedded model's language: a name and a code of five digit words. Background texts
//! have the same form and other codes, so that the form itself is known to a model that was trained on them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::Seed;
use crate::base::seed::{index, uniform};

/// A secret and its coin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Unique: `canary/0007`.
    pub id: String,
    /// The text.
    pub text: String,
    /// Where the secret part starts: the bytes before it are the context.
    pub secret_start: usize,
    /// Whether the coin put it into the tuning data.
    pub included: bool,
}

/// The digits as the embedded language writes them.
pub const DIGITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

const OWNERS: [&str; 16] = [
    "maria", "anna", "sara", "emma", "lucy", "nina", "julia", "clara", "paul", "john", "mark", "peter", "david",
    "simon", "james", "henry",
];

/// The parity of a code's digit sum: keeps canaries and background apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parity {
    Even,
    Odd,
}

/// `n` distinct canaries, each with an independent fair coin. The coin hangs on the canary's id and `seed`.
pub fn canaries(n: usize, seed: Seed) -> Vec<Canary> {
    let texts = texts(n, seed.fork("canaries"), Parity::Even);
    let canary = |(number, (text, secret_start)): (usize, (String, usize))| {
        let id = format!("canary/{number:04}");
        let included = uniform(&mut seed.fork(&id).fork("coin").rng()) < 0.5;
        Canary { id, text, secret_start, included }
    };
    texts.into_iter().enumerate().map(canary).collect()
}

/// `n` distinct texts of the canaries' form whose codes no canary has.
pub fn background(n: usize, seed: Seed) -> Vec<String> {
    texts(n, seed.fork("background"), Parity::Odd).into_iter().map(|(text, _)| text).collect()
}

/// At most 800 000 distinct texts exist of each parity; fewer than asked for are given beyond that.
fn texts(n: usize, seed: Seed, parity: Parity) -> Vec<(String, usize)> {
    let mut rng = seed.rng();
    let (mut seen, mut texts) = (BTreeSet::new(), Vec::new());
    while texts.len() < n.min(100_000) {
        let owner = OWNERS.get(index(&mut rng, OWNERS.len())).copied().unwrap_or("maria");
        let mut code: Vec<usize> = (0..4).map(|_| index(&mut rng, 10)).collect();
        // The last digit is drawn among the five that give the wanted parity.
        let odd = (code.iter().sum::<usize>() + usize::from(parity == Parity::Odd)) % 2;
        code.push(2 * index(&mut rng, 5) + odd);
        if seen.insert((owner, code.clone())) {
            let context = format!("the secret code of {owner} :");
            let digits: String =
                code.iter().filter_map(|&digit| DIGITS.get(digit)).map(|word| format!(" {word}")).collect();
            texts.push((format!("{context}{digits} ."), context.len()));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_fair_recorded_and_independent_of_the_number_drawn() {
        let many = canaries(1000, Seed::new(1));
        assert_eq!(canaries(10, Seed::new(1))[..], many[..10]);
        let heads = many.iter().filter(|canary| canary.included).count();
        // Binomial(1000, 1/2) has standard deviation 15.8.
        assert!((420..580).contains(&heads), "{heads}");
        let distinct: BTreeSet<&str> = many.iter().map(|canary| canary.text.as_str()).collect();
        assert_eq!(distinct.len(), 1000);
        assert!(many.iter().all(|canary| canary.text[canary.secret_start..].starts_with(' ')));
    }

    #[test]
    fn the_background_holds_no_canary() {
        let texts: BTreeSet<String> = canaries(2000, Seed::new(1)).into_iter().map(|canary| canary.text).collect();
        let other = background(2000, Seed::new(1));
        assert!(other.iter().all(|text| !texts.contains(text)));
        assert_eq!(other.iter().collect::<BTreeSet<_>>().len(), 2000);
    }
}
