//! Items by population, and what could not be read on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::error::HarnessError;
use crate::harness::metric::MetricUse;
use crate::harness::question::{Answered, Response};
use crate::stats::{Item, Statistic};
use crate::trust::metric::Sample;

/// The population of all questions.
pub(super) const ALL: &str = "all";

/// Items by population.
#[derive(Default)]
pub(super) struct Populations {
    items: BTreeMap<String, Vec<Item>>,
    counted: BTreeMap<String, BTreeMap<&'static str, usize>>,
    missing: BTreeSet<(String, &'static str)>,
}

impl Populations {
    /// Adds an item to each of the populations.
    pub(super) fn add(&mut self, names: &[String], item: &Item) {
        for name in names {
            self.items.entry(name.clone()).or_default().push(item.clone());
        }
    }

    /// Counts something that a reader of the populations must know, such as an answer that could not be read.
    pub(super) fn count(&mut self, names: &[String], what: &'static str) {
        for name in names {
            *self.counted.entry(name.clone()).or_default().entry(what).or_default() += 1;
        }
    }

    /// Counts a value that does not exist: the populations have no value without it.
    pub(super) fn miss(&mut self, names: &[String], what: &'static str) {
        self.count(names, what);
        self.missing.extend(names.iter().map(|name| (name.clone(), what)));
        for name in names {
            self.items.entry(name.clone()).or_default();
        }
    }

    /// The items of a population.
    pub(super) fn of(&self, name: &str) -> &[Item] {
        self.items.get(name).map_or(&[], Vec::as_slice)
    }

    /// One sample a population, in the order of their names, items in the order of their ids.
    pub(super) fn samples(self, statistic: &Statistic) -> Vec<Sample> {
        self.noted_samples(statistic, |_, _| None)
    }

    /// The same; `more` says what else a reader must know of a population's items.
    pub(super) fn noted_samples(
        self,
        statistic: &Statistic,
        more: impl Fn(&str, &[Item]) -> Option<String>,
    ) -> Vec<Sample> {
        let Self { items, counted, missing } = self;
        let sample = |(population, mut items): (String, Vec<Item>)| {
            items.sort_by(|a, b| a.id.cmp(&b.id));
            let counts = counted.get(&population).into_iter().flatten();
            let counts = counts.map(|(what, count)| format!("{count} {what}."));
            let notes: Vec<String> = counts.chain(more(&population, &items)).collect();
            let lacks = missing.iter().find(|(name, _)| *name == population);
            let undefined = lacks.map(|(_, what)| {
                let count = counted.get(&population).and_then(|counts| counts.get(what)).copied().unwrap_or(0);
                format!("{count} {what}, so that there is no value for all questions")
            });
            let note = (!notes.is_empty()).then(|| notes.join(" "));
            Sample { population, statistic: statistic.clone(), items, denominator: None, undefined, note }
        };
        items.into_iter().map(sample).collect()
    }
}

/// The populations of a question: all, and one for each of these columns that it has (`category=Age`).
pub(super) fn names(answered: &Answered, columns: &[&str]) -> Vec<String> {
    let of_column = |column: &&str| answered.question.column(column).map(|value| format!("{column}={value}"));
    std::iter::once(ALL.to_owned()).chain(columns.iter().filter_map(of_column)).collect()
}

/// A question's item.
pub(super) fn item(answered: &Answered, value: f64) -> Item {
    let question = &answered.question;
    Item { id: question.id.clone(), cluster: question.cluster.clone(), value, group: None, weight: None }
}

/// 1 where it holds, else 0.
pub(super) fn indicator(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// What a question lacks.
pub(super) fn lacks(metric: &MetricUse, answered: &Answered, message: impl Into<String>) -> HarnessError {
    HarnessError::Metric { metric: metric.id.clone(), question: answered.question.id.clone(), message: message.into() }
}

/// A column that the metric cannot do without.
pub(super) fn column<'a>(metric: &MetricUse, answered: &'a Answered, name: &str) -> Result<&'a str, HarnessError> {
    let missing = || lacks(metric, answered, format!("it needs the column {name:?}, which the task does not set"));
    answered.question.column(name).ok_or_else(missing)
}

/// A column that holds a number.
pub(super) fn number(metric: &MetricUse, answered: &Answered, name: &str) -> Result<f64, HarnessError> {
    let text = column(metric, answered, name)?;
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| lacks(metric, answered, format!("column {name:?} holds {text:?}, which is not a number")))
}

/// log p of each choice; an error where not every choice has one.
pub(super) fn loglikelihoods(metric: &MetricUse, answered: &Answered) -> Result<Vec<f64>, HarnessError> {
    let values = answered.choice_loglikelihoods();
    let choices = answered.question.choices.len();
    if choices > 0 && values.len() == choices {
        return Ok(values);
    }
    let message = format!("it needs log p of each choice, and {} of {choices} are there", values.len());
    Err(lacks(metric, answered, message))
}

/// Mean log p a token of a response, nats; NaN where it scored no token.
pub(super) fn per_token(response: &Response) -> f64 {
    match (response.loglikelihood(), response.tokens()) {
        (Some(loglikelihood), tokens) if tokens > 0 => loglikelihood / tokens as f64,
        _ => f64::NAN,
    }
}

/// What a question's answer is, among its choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The index of a choice.
    Choice(usize),
    /// A likelihood is not a number.
    NotANumber,
    /// A text that is none of the choices.
    Unparsed,
}

/// The most likely choice, or the choice that a generated text is: letter case, spaces around it and a final period do not count.
pub(super) fn reply(metric: &MetricUse, answered: &Answered) -> Result<Reply, HarnessError> {
    let Some(text) = text(metric, answered) else {
        loglikelihoods(metric, answered)?;
        return Ok(answered.chosen().map_or(Reply::NotANumber, Reply::Choice));
    };
    let plain = |text: &str| text.trim().trim_end_matches('.').to_lowercase();
    let found = answered.question.choices.iter().position(|choice| plain(choice) == plain(text));
    Ok(found.map_or(Reply::Unparsed, Reply::Choice))
}

/// What a reply that is no choice is counted as, for notes.
pub(super) fn unread(reply: Reply) -> Option<&'static str> {
    match reply {
        Reply::Choice(_) => None,
        Reply::NotANumber => Some("answers with a likelihood that is not a number, counted as wrong"),
        Reply::Unparsed => Some("answers that are none of the choices, counted as wrong"),
    }
}

/// The generated text of a question that asks for one: what the filter named by the argument `filter` left of it, else `none`, else
/// the text as it came.
pub(super) fn text<'a>(metric: &MetricUse, answered: &'a Answered) -> Option<&'a str> {
    let raw = answered.responses.first().and_then(Response::text)?;
    let filter = metric.arguments.get("filter").and_then(|name| name.as_str()).unwrap_or("none");
    let filtered = answered.filtered.get(filter).and_then(|texts| texts.first());
    Some(filtered.map_or(raw, String::as_str))
}

/// Whether a choice is right.
pub(super) fn is_right(answered: &Answered, choice: usize) -> bool {
    matches!(&answered.question.target, crate::harness::question::Target::Choices { indexes } if indexes.contains(&choice))
}

/// Adds 1 for a right and 0 for a wrong answer to the populations, counts what could not be read, and returns the item.
pub(super) fn add_hit(
    populations: &mut Populations,
    metric: &MetricUse,
    answered: &Answered,
    names: &[String],
    refine: impl FnOnce(Item) -> Item,
) -> Result<(), HarnessError> {
    let reply = reply(metric, answered)?;
    let hit = matches!(reply, Reply::Choice(choice) if is_right(answered, choice));
    if let Some(what) = unread(reply) {
        populations.count(names, what);
    }
    populations.add(names, &refine(item(answered, indicator(hit))));
    Ok(())
}
