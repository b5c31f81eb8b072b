//! What one checkpoint answers: the log-likelihood of each answer of each prompt, scored once and read by every metric.
//!
//! For a prompt x with answers a₀ … a_k (k ≥ 1), ℓ_j(x) = log p(a_j | x) is the sum over the tokens of the whole
//! continuation, in nats, never normalised by length. From it:
//!
//! * the *answer* of the model is argmax_j ℓ_j, the first of equals (as lm-eval's `acc`);
//! * the *probability* of answer j is exp ℓ_j / Σ_i exp ℓ_i: the model's mass restricted to the answers offered;
//! * the *log-odds* of answer j is ℓ_j − log Σ_{i≠j} exp ℓ_i, which for two answers is ℓ_j − ℓ_i.

use std::collections::BTreeMap;

use super::error::TrustError;
use crate::scenario::{CounterfactualPair, Prompt};

/// The answer log-likelihoods of every prompt of an eval set, looked up by the prompt's text and answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerTable {
    rows: BTreeMap<String, BTreeMap<Vec<String>, Vec<f64>>>,
}

impl AnswerTable {
    /// Takes up one prompt's answer log-likelihoods (nats, one an answer). `item` names the prompt in errors.
    ///
    /// # Errors
    /// Fewer than two answers, another number of values than answers, or a value that is not finite.
    pub fn insert(&mut self, item: &str, prompt: &Prompt, loglikelihoods: Vec<f64>) -> Result<(), TrustError> {
        if prompt.answers.len() < 2 {
            return Err(TrustError::TooFewAnswers { item: item.into(), found: prompt.answers.len() });
        }
        if loglikelihoods.len() != prompt.answers.len() {
            return Err(TrustError::Unscored { item: item.into() });
        }
        if let Some((value, answer)) = loglikelihoods.iter().zip(&prompt.answers).find(|(value, _)| !value.is_finite())
        {
            return Err(TrustError::NotFinite { item: item.into(), what: format!("answer {answer:?}"), value: *value });
        }
        self.rows.entry(prompt.text.clone()).or_default().insert(prompt.answers.clone(), loglikelihoods);
        Ok(())
    }

    /// The answers of one prompt. `item` names it in errors.
    pub fn of(&self, item: &str, prompt: &Prompt) -> Result<Answers<'_>, TrustError> {
        let found = self.rows.get(&prompt.text).and_then(|rows| rows.get(&prompt.answers));
        match found {
            Some(loglikelihoods) => Ok(Answers { loglikelihoods }),
            None => Err(TrustError::Unscored { item: item.into() }),
        }
    }

    /// Both sides of a pair, the factual first.
    pub fn sides(&self, pair: &CounterfactualPair) -> Result<(Answers<'_>, Answers<'_>), TrustError> {
        if pair.factual.answers != pair.counterfactual.answers {
            return Err(TrustError::AnswersDiffer {
                pair: pair.id.clone(),
                factual: pair.factual.answers.clone(),
                counterfactual: pair.counterfactual.answers.clone(),
            });
        }
        Ok((self.of(&factual_name(pair), &pair.factual)?, self.of(&counterfactual_name(pair), &pair.counterfactual)?))
    }

    /// Number of distinct prompts.
    pub fn len(&self) -> usize {
        self.rows.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing was scored.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// How errors call the factual side of a pair.
pub fn factual_name(pair: &CounterfactualPair) -> String {
    format!("pair {}, factual side", pair.id)
}

/// How errors call the counterfactual side of a pair.
pub fn counterfactual_name(pair: &CounterfactualPair) -> String {
    format!("pair {}, counterfactual side", pair.id)
}

/// What the model says to one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answers<'a> {
    loglikelihoods: &'a [f64],
}

impl<'a> Answers<'a> {
    /// Wraps the log-likelihoods of one prompt's answers.
    pub fn new(loglikelihoods: &'a [f64]) -> Self {
        Self { loglikelihoods }
    }

    /// log p(answer | prompt) of every answer, nats.
    pub fn loglikelihoods(&self) -> &'a [f64] {
        self.loglikelihoods
    }

    /// The index of the model's answer: the most likely one, the first of equals.
    pub fn chosen(&self) -> usize {
        let mut best = 0;
        let mut highest = f64::NEG_INFINITY;
        for (index, &value) in self.loglikelihoods.iter().enumerate() {
            if value > highest {
                (best, highest) = (index, value);
            }
        }
        best
    }

    /// The answers' probabilities, normalised over the answers offered.
    pub fn probabilities(&self) -> Vec<f64> {
        let total = log_sum_exp(self.loglikelihoods.iter().copied());
        self.loglikelihoods.iter().map(|value| (value - total).exp()).collect()
    }

    /// The log-odds of one answer against all others together, nats; NaN where there is no such answer.
    pub fn log_odds(&self, answer: usize) -> f64 {
        let others =
            self.loglikelihoods.iter().enumerate().filter(|(index, _)| *index != answer).map(|(_, value)| *value);
        self.loglikelihoods.get(answer).copied().unwrap_or(f64::NAN) - log_sum_exp(others)
    }
}

/// log Σ exp of finite values; −∞ for none.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + values.map(|value| (value - highest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn probabilities_and_log_odds_of_known_shares() {
        // ℓ = log(0.7, 0.2, 0.1) + c: the constant cancels.
        let values: Vec<f64> = [0.7f64, 0.2, 0.1].iter().map(|p| p.ln() - 800.0).collect();
        let answers = Answers::new(&values);
        let probabilities = answers.probabilities();
        for (found, wanted) in probabilities.iter().zip([0.7, 0.2, 0.1]) {
            close(*found, wanted);
        }
        close(answers.log_odds(0), (0.7f64 / 0.3).ln());
        close(answers.log_odds(2), (0.1f64 / 0.9).ln());
        assert_eq!(answers.chosen(), 0);
        let two = [-1.5, -4.0];
        close(Answers::new(&two).log_odds(1), -2.5);
    }

    #[test]
    fn the_first_of_equal_answers_is_chosen() {
        assert_eq!(Answers::new(&[-2.0, -1.0, -1.0]).chosen(), 1);
    }

    #[test]
    fn what_is_not_a_number_is_named() {
        let prompt = Prompt {
            text: "Q".into(),
            slots: vec![],
            values: BTreeMap::new(),
            answers: vec![" a".into(), " b".into()],
            label: None,
        };
        let mut table = AnswerTable::default();
        let error = table.insert("item 7", &prompt, vec![-1.0, f64::NAN]).expect_err("NaN").to_string();
        assert!(error.contains("item 7") && error.contains("\" b\"") && error.contains("NaN"), "{error}");
        assert!(table.insert("item 7", &prompt, vec![-1.0]).is_err());
        assert!(matches!(table.of("item 7", &prompt), Err(TrustError::Unscored { .. })));
        table.insert("item 7", &prompt, vec![-1.0, -2.0]).expect("finite");
        assert_eq!(table.of("item 7", &prompt).expect("there").loglikelihoods(), [-1.0, -2.0]);
        assert_eq!(table.len(), 1);
    }
}
