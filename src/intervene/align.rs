//! Which token of one prompt stands for which token of the other.
//!
//! Prompts of equal length whose slots stand at the same tokens are aligned token by token. Otherwise slots align
//! them: the stretches between slots must be of equal length and are aligned token by token, a slot is aligned from
//! its last token backwards, and the tokens that one side has more of in front have no partner.

use std::ops::Range;

use crate::model::TokenizedPrompt;

/// The partners of two prompts' tokens, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    partners: Vec<(usize, usize)>,
    whole: bool,
}

impl Alignment {
    /// Aligns two prompts, or says why that cannot be done and what to change.
    pub fn of(factual: &TokenizedPrompt, counterfactual: &TokenizedPrompt) -> Result<Self, String> {
        let equal = factual.ids.len() == counterfactual.ids.len();
        if equal && slots_coincide(factual, counterfactual) {
            return Ok(Self::identity(factual.ids.len()));
        }
        match by_slots(factual, counterfactual) {
            Ok(partners) => {
                let whole = equal && partners.len() == factual.ids.len();
                Ok(Self { partners, whole })
            }
            Err(_) if equal => Ok(Self::identity(factual.ids.len())),
            Err(message) => Err(message),
        }
    }

    fn identity(tokens: usize) -> Self {
        Self { partners: (0..tokens).map(|index| (index, index)).collect(), whole: true }
    }

    /// (factual, counterfactual) indices of the aligned tokens, ascending.
    pub fn partners(&self) -> &[(usize, usize)] {
        &self.partners
    }

    /// Whether every token of both sides has its partner at the same index.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The counterfactual partner of a factual token.
    pub fn partner(&self, factual: usize) -> Option<usize> {
        let found = self.partners.binary_search_by_key(&factual, |&(index, _)| index).ok()?;
        self.partners.get(found).map(|&(_, partner)| partner)
    }

    /// How many tokens at the front are the same on both sides: nothing can differ there at any layer.
    pub fn shared_front(&self, factual: &[u32], counterfactual: &[u32]) -> usize {
        let same = |(number, &(a, b)): (usize, &(usize, usize))| {
            a == number && b == number && factual.get(a) == counterfactual.get(b)
        };
        self.partners.iter().enumerate().take_while(|&entry| same(entry)).count()
    }
}

/// The slots that stand for at least one token, by their first token.
fn filled(prompt: &TokenizedPrompt) -> Vec<(&str, Range<usize>)> {
    let mut slots: Vec<_> = prompt
        .slots
        .iter()
        .filter(|(_, range)| !range.is_empty() && range.end <= prompt.ids.len())
        .map(|(name, range)| (name.as_str(), range.clone()))
        .collect();
    slots.sort_by_key(|(_, range)| range.start);
    slots
}

fn slots_coincide(factual: &TokenizedPrompt, counterfactual: &TokenizedPrompt) -> bool {
    let (a, b) = (filled(factual), filled(counterfactual));
    a.is_empty() || b.is_empty() || a == b
}

fn by_slots(factual: &TokenizedPrompt, counterfactual: &TokenizedPrompt) -> Result<Vec<(usize, usize)>, String> {
    let (left, right) = (filled(factual), filled(counterfactual));
    if left.is_empty() || right.is_empty() {
        return Err(
            "and no slots say which token stands for which; give prompts of equal length, or slots on both sides"
                .into(),
        );
    }
    let names = |slots: &[(&str, Range<usize>)]| slots.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if names(&left) != names(&right) {
        let (left, right) = (names(&left), names(&right));
        return Err(format!(
            "its slots differ or stand in another order ({left} against {right}); use one template for both sides"
        ));
    }
    let mut walk = Walk { partners: Vec::new(), at: (0, 0), place: "the start".into() };
    for ((name, a), (_, b)) in left.into_iter().zip(right) {
        walk.stretch(a.start, b.start, &format!("slot {name:?}"))?;
        let shared = a.len().min(b.len());
        walk.partners.extend((a.end - shared..a.end).zip(b.end - shared..b.end));
        walk.at = (a.end, b.end);
        walk.place = format!("slot {name:?}");
    }
    walk.stretch(factual.ids.len(), counterfactual.ids.len(), "the end")?;
    Ok(walk.partners)
}

/// How far both prompts are aligned.
struct Walk {
    partners: Vec<(usize, usize)>,
    at: (usize, usize),
    place: String,
}

impl Walk {
    /// Aligns the text up to the two given tokens, which both sides must have at equal length.
    fn stretch(&mut self, a: usize, b: usize, next: &str) -> Result<(), String> {
        let (Some(left), Some(right)) = (a.checked_sub(self.at.0), b.checked_sub(self.at.1)) else {
            return Err(format!("{} and {next} overlap; slots must stand apart", self.place));
        };
        if left != right {
            let place = &self.place;
            return Err(format!(
                "between {place} and {next} stand {left} and {right} tokens; only slots may differ in length, so make the text around them the same or put it into a slot"
            ));
        }
        self.partners.extend((self.at.0..a).zip(self.at.1..b));
        self.at = (a, b);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(ids: &[u32], slots: &[(&str, Range<usize>)]) -> TokenizedPrompt {
        let slots = slots.iter().map(|(name, range)| ((*name).to_owned(), range.clone())).collect();
        TokenizedPrompt { ids: ids.to_vec(), answers: vec![vec![1], vec![2]], slots }
    }

    #[test]
    fn equal_lengths_are_aligned_token_by_token() {
        let (a, b) = (prompt(&[5, 6, 7], &[]), prompt(&[5, 8, 7], &[]));
        let alignment = Alignment::of(&a, &b).expect("equal lengths");
        assert!(alignment.is_whole());
        assert_eq!(alignment.partners(), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(alignment.shared_front(&a.ids, &b.ids), 1);
    }

    #[test]
    fn slots_are_aligned_from_their_last_token() {
        // "<a> NAME is AGE years" with a name of three and of one token, an age of one and of two tokens.
        let a = prompt(&[1, 10, 11, 12, 2, 20, 3], &[("name", 1..4), ("age", 5..6)]);
        let b = prompt(&[1, 13, 2, 21, 22, 3], &[("name", 1..2), ("age", 3..5)]);
        let alignment = Alignment::of(&a, &b).expect("slots align it");
        assert_eq!(alignment.partners(), [(0, 0), (3, 1), (4, 2), (5, 4), (6, 5)]);
        assert!(!alignment.is_whole());
        assert_eq!((alignment.partner(1), alignment.partner(3), alignment.partner(6)), (None, Some(1), Some(5)));
        assert_eq!(alignment.shared_front(&a.ids, &b.ids), 1);
    }

    #[test]
    fn slots_rule_where_lengths_agree_by_accident() {
        let a = prompt(&[1, 10, 11, 2, 20, 3], &[("name", 1..3), ("age", 4..5)]);
        let b = prompt(&[1, 13, 2, 21, 22, 3], &[("name", 1..2), ("age", 3..5)]);
        let alignment = Alignment::of(&a, &b).expect("slots align it");
        assert_eq!(alignment.partners(), [(0, 0), (2, 1), (3, 2), (4, 4), (5, 5)]);
        assert!(!alignment.is_whole());
    }

    #[test]
    fn what_cannot_be_aligned_says_where() {
        let message = |a, b| Alignment::of(a, b).expect_err("cannot be aligned");
        let (a, b) = (prompt(&[1, 2], &[]), prompt(&[1, 2, 3], &[]));
        assert!(message(&a, &b).contains("slots on both sides"));
        let (a, b) = (prompt(&[1, 9, 2], &[("name", 1..2)]), prompt(&[1, 9, 2, 3], &[("name", 1..2)]));
        assert!(message(&a, &b).contains("between slot \"name\" and the end stand 1 and 2 tokens"));
        let (a, b) = (prompt(&[1, 9, 2], &[("name", 1..2)]), prompt(&[1, 9, 2, 3], &[("age", 1..2)]));
        assert!(message(&a, &b).contains("name against age"));
        let overlap = [("name", 0..2), ("age", 1..3)];
        let (a, b) = (prompt(&[1, 9, 2], &overlap), prompt(&[1, 9, 2, 3], &overlap));
        assert!(message(&a, &b).contains("overlap"));
    }
}
