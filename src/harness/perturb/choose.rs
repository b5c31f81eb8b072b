//! Which perturbations a suite has, as text: `typos_swap:p=0.2,case`.

use std::collections::BTreeMap;

use super::catalogue::{Perturbation, perturbation};
use crate::base::suggestion;
use crate::harness::HarnessError;

/// Named sets of perturbations.
pub static SUITES: &[(&str, &[&str])] = &[
    ("case", &["lower_case", "upper_case", "title_case"]),
    ("punctuation", &["punctuation_add", "punctuation_drop"]),
    ("forms", &["contractions", "expansions"]),
    ("typos", &["typos_keyboard", "typos_swap", "misspellings"]),
    ("format", &["format_labels", "format_separator", "format_instruction_last"]),
    (
        "robustness",
        &[
            "lower_case",
            "upper_case",
            "title_case",
            "punctuation_add",
            "punctuation_drop",
            "contractions",
            "expansions",
            "typos_keyboard",
            "typos_swap",
            "misspellings",
            "whitespace",
            "mild_mix",
            "framing",
            "option_order",
            "format_labels",
            "format_separator",
            "format_instruction_last",
            "fewshot_order",
        ],
    ),
    ("fairness", &["dialect", "pronouns", "gender_terms", "first_names"]),
    ("meaning", &["negation", "swap_names", "swap_places", "swap_numbers"]),
    ("helm-robustness", &["mild_mix@helm"]),
    ("helm-fairness", &["dialect@helm", "pronouns@helm", "first_names@helm"]),
    ("all", &["robustness", "fairness", "meaning"]),
];

/// A perturbation with its parameters.
#[derive(Clone)]
pub struct Chosen {
    /// The perturbation.
    pub perturbation: &'static Perturbation,
    /// Its parameters, all of them.
    pub parameters: Parameters,
}

impl Chosen {
    /// Reads a list such as `case,typos_swap:p=0.2,helm-fairness`: perturbations and suites, commas between them, parameters behind
    /// colons. What is named twice in the same words is taken once.
    ///
    /// # Errors
    /// Names and parameters that do not exist, with the nearest; values that a parameter cannot have; two choices of one perturbation
    /// with different parameters.
    pub fn parse(list: &str) -> Result<Vec<Self>, HarnessError> {
        let mut chosen: Vec<Self> = Vec::new();
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let mut parts = entry.split(':').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let given: Vec<&str> = parts.collect();
            for perturbation in named(name)? {
                let next = Self { perturbation, parameters: Parameters::read(perturbation, &given)? };
                match chosen.iter().find(|known| known.perturbation.id == perturbation.id) {
                    None => chosen.push(next),
                    Some(known) if known.parameters == next.parameters => {}
                    Some(_) => {
                        return Err(refused(
                            perturbation.id,
                            "is asked for twice with different parameters; run it in two runs",
                        ));
                    }
                }
            }
        }
        match chosen.is_empty() {
            true => Err(refused(list, "names no perturbation; name one, or a suite such as `robustness`")),
            false => Ok(chosen),
        }
    }

    /// The choice as text, as [`Chosen::parse`] reads it.
    pub fn text(&self) -> String {
        let parameters = self.parameters.0.iter().map(|(name, value)| format!(":{name}={value}"));
        std::iter::once(self.perturbation.id.to_owned()).chain(parameters).collect()
    }
}

fn named(name: &str) -> Result<Vec<&'static Perturbation>, HarnessError> {
    match SUITES.iter().find(|(suite, _)| *suite == name) {
        Some((_, members)) => {
            let lists: Vec<Vec<_>> = members.iter().map(|member| named(member)).collect::<Result<_, _>>()?;
            Ok(lists.concat())
        }
        None => {
            let one = perturbation(name).map_err(|error| match error {
                HarnessError::Unknown { what, given, hint: None } => {
                    let hint = suggestion(name, SUITES.iter().map(|(suite, _)| *suite)).map(str::to_owned);
                    HarnessError::Unknown { what, given, hint }
                }
                other => other,
            })?;
            Ok(vec![one])
        }
    }
}

fn refused(perturbation: &str, message: &str) -> HarnessError {
    HarnessError::Perturbation { perturbation: perturbation.into(), message: message.into() }
}

/// The parameters of a chosen perturbation, all of them, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    fn read(perturbation: &Perturbation, given: &[&str]) -> Result<Self, HarnessError> {
        let refuse = |message: String| HarnessError::Perturbation { perturbation: perturbation.id.into(), message };
        let declared = perturbation.parameters;
        let mut values: BTreeMap<&'static str, String> =
            declared.iter().map(|parameter| (parameter.name, parameter.default.to_owned())).collect();
        for part in given {
            let (name, value) =
                part.split_once('=').ok_or_else(|| refuse(format!("{part:?} is no parameter; write name=value")))?;
            let Some(known) = declared.iter().find(|parameter| parameter.name == name) else {
                let names: Vec<&str> = declared.iter().map(|parameter| parameter.name).collect();
                return Err(refuse(match names.is_empty() {
                    true => format!("has no parameters, and {name:?} is given"),
                    false => format!("has no parameter {name:?}; it has {}", names.join(", ")),
                }));
            };
            check(perturbation.id, known.name, value)
                .map_err(|expected| refuse(format!("{name}={value}: expected {expected}")))?;
            values.insert(known.name, value.to_owned());
        }
        Ok(Self(values))
    }

    /// A parameter's text; empty where there is none of that name.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A parameter that is a number; 0 where it is none.
    pub fn number(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or(0.0)
    }
}

fn check(perturbation: &str, name: &str, value: &str) -> Result<(), &'static str> {
    let one_of = |values: &[&str]| values.contains(&value);
    let number = value.parse::<f64>().ok();
    let whole = value.parse::<u32>().ok();
    let (held, expected) = match name {
        "p" => (number.is_some_and(|p| (0.0..=1.0).contains(&p)), "a probability from 0 to 1"),
        "max" => (whole.is_some_and(|n| (1..=20).contains(&n)), "a whole number from 1 to 20"),
        "orders" => (whole.is_some_and(|n| (1..=24).contains(&n)), "a whole number from 1 to 24"),
        "how" => (one_of(&["drawn", "swapped"]), "drawn or swapped"),
        "style" => {
            (one_of(&["bracket", "brackets", "colon", "dot", "digit"]), "bracket, brackets, colon, dot or digit")
        }
        "separator" => (one_of(&["blank", "bar", "semicolon"]), "blank, bar or semicolon"),
        "from" if !perturbation.starts_with("first_names") => {
            (one_of(&["male", "female", "both"]), "male, female or both")
        }
        _ => (!value.is_empty(), "a value"),
    };
    if held { Ok(()) } else { Err(expected) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &str) -> Vec<&'static str> {
        Chosen::parse(list).expect("a list").iter().map(|chosen| chosen.perturbation.id).collect()
    }

    #[test]
    fn suites_and_parameters_are_read() {
        assert_eq!(ids("case, typos_swap:p=0.2"), ["lower_case", "upper_case", "title_case", "typos_swap"]);
        assert_eq!(ids("typos,misspellings").len(), 3);
        assert!(ids("all").len() > 20 && !ids("all").iter().any(|id| id.ends_with("@helm")));
        let chosen = Chosen::parse("typos_swap:p=0.2").expect("read");
        assert_eq!(chosen[0].text(), "typos_swap:p=0.2");
        for (_, members) in SUITES {
            members.iter().for_each(|member| drop(named(member).expect("a member that exists")));
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_with_the_nearest() {
        let said = |list: &str| Chosen::parse(list).err().expect("refused").to_string();
        assert!(said("misspelings").contains("did you mean \"misspellings\""));
        assert!(said("typos_swap:q=1").contains("no parameter \"q\"; it has p"));
        assert!(said("typos_swap:p=2").contains("p=2: expected a probability"));
        assert!(said("typos_swap,typos_swap:p=1").contains("different parameters"));
        assert!(said(" , ").contains("names no perturbation"));
        assert!(said("lower_case:p=1").contains("has no parameters"));
    }
}
