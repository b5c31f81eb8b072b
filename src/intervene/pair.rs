//! Token pairs: the two sides of a counterfactual pair as a model reads them, aligned.

use super::align::Alignment;
use super::error::InterveneError;
use super::plan::Side;
use super::site::Positions;
use crate::model::{TextTokenizer, TokenizedPrompt, tokenize_prompt};
use crate::scenario::{CounterfactualPair, Expectation};

/// The landmark that names a prompt's last token. A slot of this name is not seen.
pub const LAST: &str = "last";
/// The landmark that names the last token of the first stretch in which the two sides differ (of the slot that holds
/// it, where one does). A slot of this name is not seen.
pub const CHANGED: &str = "changed";

/// Whether the pair's `do` runs in the direction that counts positive when effects of many pairs are averaged.
/// It depends on the design alone, never on a measured effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// It does, or the pair does not say.
    Forward,
    /// It runs the other way: its effects are counted with the opposite sign.
    Backward,
}

impl Orientation {
    /// 1 or −1.
    pub fn sign(self) -> f64 {
        match self {
            Orientation::Forward => 1.0,
            Orientation::Backward => -1.0,
        }
    }
}

/// Two tokenized prompts that differ by one intervention, with their aligned positions and two contrasted answers.
#[derive(Debug, Clone)]
pub struct TokenPair {
    /// Unique among the pairs of one job.
    pub id: String,
    /// The resampling unit.
    pub cluster: String,
    /// The factual side.
    pub factual: TokenizedPrompt,
    /// The counterfactual side.
    pub counterfactual: TokenizedPrompt,
    /// Indices of the answers a and b that outcomes contrast.
    pub contrast: [usize; 2],
    /// Which way the `do` runs.
    pub orientation: Orientation,
    /// The factual and the counterfactual value of the variable that was set, where the pair says.
    pub values: Option<[String; 2]>,
    alignment: Alignment,
}

impl TokenPair {
    /// Lays two prompts side by side. Both need at least one token and two answers, and each answer as many tokens
    /// on one side as on the other. The first two answers are contrasted.
    pub fn new(
        id: impl Into<String>,
        cluster: impl Into<String>,
        factual: TokenizedPrompt,
        counterfactual: TokenizedPrompt,
    ) -> Result<Self, InterveneError> {
        let id = id.into();
        if let Some(message) = unusable(&factual, &counterfactual) {
            return Err(InterveneError::Pair { pair: id, message });
        }
        let (left, right) = (factual.ids.len(), counterfactual.ids.len());
        match Alignment::of(&factual, &counterfactual) {
            Err(message) => Err(InterveneError::Unaligned { pair: id, factual: left, counterfactual: right, message }),
            Ok(alignment) => Ok(Self {
                id,
                cluster: cluster.into(),
                factual,
                counterfactual,
                contrast: [0, 1],
                orientation: Orientation::Forward,
                values: None,
                alignment,
            }),
        }
    }

    /// Tokenizes a scenario's pair. A *follow* pair with more than two answers contrasts the label that it moves to
    /// with the one that it leaves. The `do` counts as forward where it moves the label to an earlier answer
    /// (*follow*), else where it sets an alphabetically later value.
    pub fn from_pair(tokenizer: &TextTokenizer, pair: &CounterfactualPair) -> Result<Self, InterveneError> {
        let factual = tokenize_prompt(tokenizer, &pair.factual)?;
        let counterfactual = tokenize_prompt(tokenizer, &pair.counterfactual)?;
        let mut made = Self::new(&pair.id, &pair.cluster, factual, counterfactual)?;
        let mut backward = false;
        if let Some(change) = &pair.intervention {
            made.values = Some([change.from.clone(), change.to.clone()]);
            backward = change.from > change.to;
        }
        if let (Expectation::Follow { label: to }, Some(from)) = (&pair.expectation, pair.factual.label)
            && *to != from
        {
            let answers = made.factual.answers.len();
            if answers > 2 && *to < answers && from < answers {
                made.contrast = [(*to).min(from), (*to).max(from)];
            }
            backward = *to > from;
        }
        made.orientation = if backward { Orientation::Backward } else { Orientation::Forward };
        Ok(made)
    }

    /// One side.
    pub fn side(&self, side: Side) -> &TokenizedPrompt {
        match side {
            Side::Factual => &self.factual,
            Side::Counterfactual => &self.counterfactual,
        }
    }

    /// The tokens of the contrasted answers a and b on one side.
    pub fn answers(&self, side: Side) -> [&[u32]; 2] {
        self.contrast.map(|index| self.side(side).answers.get(index).map(Vec::as_slice).unwrap_or_default())
    }

    /// Which token stands for which.
    pub fn alignment(&self) -> &Alignment {
        &self.alignment
    }

    /// The pair of one side with itself: what every intervention between equals must leave unchanged.
    pub fn reflexive(&self, side: Side) -> Result<Self, InterveneError> {
        let prompt = self.side(side).clone();
        let made = Self::new(&self.id, &self.cluster, prompt.clone(), prompt)?;
        Ok(Self { contrast: self.contrast, orientation: self.orientation, ..made })
    }

    /// This pair's factual side with another prompt in the counterfactual's place, aligned anew.
    pub fn with_donor(&self, donor: &TokenizedPrompt) -> Result<Self, InterveneError> {
        let made = Self::new(&self.id, &self.cluster, self.factual.clone(), donor.clone())?;
        Ok(Self { contrast: self.contrast, orientation: self.orientation, ..made })
    }

    /// How many tokens at the front are the same on both sides. An interchange there changes nothing, exactly.
    pub fn shared_front(&self) -> usize {
        self.alignment.shared_front(&self.factual.ids, &self.counterfactual.ids)
    }

    /// The names that [`Positions::Slot`] knows on this pair, in text order: the slots that both sides fill (or
    /// [`CHANGED`] where there is none), then [`LAST`].
    pub fn landmarks(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (name, range) in &self.factual.slots {
            let filled = !range.is_empty() && slot_end(&self.counterfactual, name).is_some();
            let reserved = [LAST, CHANGED].contains(&name.as_str());
            if filled && !reserved && !names.contains(name) {
                names.push(name.clone());
            }
        }
        if names.is_empty() && self.changed().is_some() {
            names.push(CHANGED.to_owned());
        }
        names.push(LAST.to_owned());
        names
    }

    /// The factual and the counterfactual token that a landmark names.
    pub fn landmark(&self, name: &str) -> Option<(usize, usize)> {
        match name {
            LAST => Some((self.factual.ids.len().checked_sub(1)?, self.counterfactual.ids.len().checked_sub(1)?)),
            CHANGED => self.changed(),
            slot => Some((slot_end(&self.factual, slot)?, slot_end(&self.counterfactual, slot)?)),
        }
    }

    /// (receiver, donor) tokens of the prompt that `positions` names, in ascending order.
    pub fn resolve(&self, positions: &Positions, receiver: Side) -> Result<Vec<(usize, usize)>, InterveneError> {
        let partners = match positions {
            Positions::All => self.alignment.partners().to_vec(),
            Positions::Slot(slot) => vec![self.landmark(slot).ok_or_else(|| InterveneError::MissingSlot {
                pair: self.id.clone(),
                slot: slot.clone(),
                known: self.landmarks().join(", "),
            })?],
            Positions::Index(index) => vec![(*index, self.partner(*index)?)],
        };
        Ok(match receiver {
            Side::Factual => partners,
            Side::Counterfactual => {
                partners.into_iter().map(|(factual, counterfactual)| (counterfactual, factual)).collect()
            }
        })
    }

    fn partner(&self, index: usize) -> Result<usize, InterveneError> {
        self.alignment.partner(index).ok_or_else(|| {
            let tokens = self.factual.ids.len();
            let message = match index < tokens {
                true => "has no partner on the counterfactual side; name an aligned token or a slot".to_owned(),
                false => format!("lies outside the factual prompt of {tokens} tokens"),
            };
            InterveneError::Position { pair: self.id.clone(), position: index, message }
        })
    }

    /// The last token of the first differing stretch, on both sides; `None` where the prompts are the same.
    fn changed(&self) -> Option<(usize, usize)> {
        let front = self.shared_front();
        let holder = self.factual.slots.iter().find(|(_, range)| range.contains(&front));
        if let Some((name, _)) = holder
            && let (Some(factual), Some(counterfactual)) =
                (slot_end(&self.factual, name), slot_end(&self.counterfactual, name))
        {
            return Some((factual, counterfactual));
        }
        let differs = |&&(a, b): &&(usize, usize)| self.factual.ids.get(a) != self.counterfactual.ids.get(b);
        let rest = self.alignment.partners().iter().skip(front);
        rest.take_while(differs).last().copied()
    }
}

fn slot_end(prompt: &TokenizedPrompt, name: &str) -> Option<usize> {
    let (_, range) = prompt.slots.iter().find(|(slot, range)| slot == name && !range.is_empty())?;
    range.end.checked_sub(1).filter(|&last| last < prompt.ids.len())
}

fn unusable(factual: &TokenizedPrompt, counterfactual: &TokenizedPrompt) -> Option<String> {
    if factual.ids.is_empty() || counterfactual.ids.is_empty() {
        return Some("a prompt has no tokens; give a text or the start token".into());
    }
    let counts = [factual, counterfactual].map(|prompt| prompt.answers.iter().map(Vec::len).collect::<Vec<_>>());
    let [left, right] = &counts;
    if left.len() < 2 || right.len() < 2 {
        return Some(format!("effects contrast two answers, found {}", left.len().min(right.len())));
    }
    if left.contains(&0) || right.contains(&0) {
        return Some("an answer has no tokens".into());
    }
    if left != right {
        return Some(format!(
            "its answers have {left:?} tokens after the factual prompt and {right:?} after the counterfactual one; end both prompts alike"
        ));
    }
    let [a, b] = [factual.answers.first(), factual.answers.get(1)];
    (a == b).then(|| "its two answers are the same tokens".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(ids: &[u32], slots: &[(&str, std::ops::Range<usize>)]) -> TokenizedPrompt {
        let slots = slots.iter().map(|(name, range)| ((*name).to_owned(), range.clone())).collect();
        TokenizedPrompt { ids: ids.to_vec(), answers: vec![vec![1], vec![2]], slots }
    }

    #[test]
    fn landmarks_are_slots_and_the_last_token() {
        let a = prompt(&[1, 10, 11, 2, 3], &[("name", 1..3)]);
        let b = prompt(&[1, 12, 2, 3], &[("name", 1..2)]);
        let pair = TokenPair::new("p", "c", a, b).expect("aligned");
        assert_eq!(pair.landmarks(), ["name", "last"]);
        let at = |name: &str, side| pair.resolve(&Positions::Slot(name.into()), side).expect("landmark");
        assert_eq!(at("name", Side::Factual), [(2, 1)]);
        assert_eq!(at("name", Side::Counterfactual), [(1, 2)]);
        assert_eq!(at(LAST, Side::Counterfactual), [(3, 4)]);
        assert_eq!(at(CHANGED, Side::Factual), [(2, 1)]);
        let missing =
            pair.resolve(&Positions::Slot("age".into()), Side::Factual).expect_err("no such slot").to_string();
        assert!(missing.contains("no slot \"age\"") && missing.contains("name, last"), "{missing}");
        let lonely = pair.resolve(&Positions::Index(1), Side::Factual).expect_err("no partner").to_string();
        assert!(lonely.contains("no partner"), "{lonely}");
        let outside = pair.resolve(&Positions::Index(5), Side::Factual).expect_err("outside").to_string();
        assert!(outside.contains("5 tokens"), "{outside}");
    }

    #[test]
    fn without_slots_the_first_difference_is_a_landmark() {
        let pair =
            TokenPair::new("p", "c", prompt(&[1, 5, 6, 2, 7], &[]), prompt(&[1, 8, 9, 2, 3], &[])).expect("pair");
        assert_eq!(pair.landmarks(), ["changed", "last"]);
        assert_eq!(pair.landmark(CHANGED), Some((2, 2)));
        assert_eq!(pair.shared_front(), 1);
        assert_eq!(pair.reflexive(Side::Factual).expect("same prompt").landmarks(), ["last"]);
    }

    #[test]
    fn unusable_pairs_say_why() {
        let good = prompt(&[1, 2], &[]);
        let refuse = |a: &TokenizedPrompt, b: &TokenizedPrompt| {
            TokenPair::new("p7", "c", a.clone(), b.clone()).expect_err("unusable").to_string()
        };
        let empty = prompt(&[], &[]);
        assert!(refuse(&good, &empty).contains("no tokens"));
        let one = TokenizedPrompt { answers: vec![vec![1]], ..good.clone() };
        assert!(refuse(&one, &one).contains("found 1"));
        let longer = TokenizedPrompt { answers: vec![vec![1], vec![2, 3]], ..good.clone() };
        let text = refuse(&good, &longer);
        assert!(text.contains("p7") && text.contains("[1, 2] after the counterfactual"), "{text}");
        let same = TokenizedPrompt { answers: vec![vec![1], vec![1]], ..good.clone() };
        assert!(refuse(&same, &same).contains("same tokens"));
    }
}
