//! Questions as people write them, and their answers as a whole: `P(y | do(x), z)` → estimand, assumptions and other ways
//! to the same number, or the hedge.

use serde::Serialize;
use serde_json::Value;

use super::adjustment::Adjustment;
use super::check::Checked;
use super::empirical::Empirical;
use super::evaluate::{EvaluateError, evaluate};
use super::graph::Graph;
use super::hedge::Remedy;
use super::identify::{Identified, IdentifyError, Query, Verdict};
use super::node_set::NodeSet;
use super::table::{Table, TableError};

/// A question by names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Asked {
    /// y.
    pub outcomes: Vec<String>,
    /// x.
    pub treatments: Vec<String>,
    /// z.
    pub given: Vec<String>,
}

/// Why a question has no answer at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AskError {
    /// The text is no question.
    #[error("cannot read the query `{text}`: {message}; write it as P(y | do(x), z)")]
    Query {
        /// The text.
        text: String,
        /// What is wrong.
        message: String,
    },
    /// The question cannot be asked of this graph.
    #[error(transparent)]
    Identify(#[from] IdentifyError),
    /// The data do not fit.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The data leave it open.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

impl Asked {
    /// Reads `P(y1, y2 | do(x1, x2), z)`; `do(…)` may come anywhere after the bar and more than once.
    pub fn parse(text: &str) -> Result<Self, AskError> {
        let error = |message: &str| AskError::Query { text: text.to_owned(), message: message.to_owned() };
        let inner = text.trim().strip_prefix(['P', 'p']).map(str::trim_start);
        let inner = inner.and_then(|rest| rest.strip_prefix('(')?.trim_end().strip_suffix(')'));
        let inner = inner.ok_or_else(|| error("it is not of the form P( … )"))?;
        let (left, right) = inner.split_once('|').unwrap_or((inner, ""));
        let mut asked = Self { outcomes: names(left), ..Self::default() };
        let mut rest = right;
        while let Some((before, after)) = rest.split_once("do(") {
            let (inside, after) = after.split_once(')').ok_or_else(|| error("`do(` is never closed"))?;
            asked.given.extend(names(before));
            asked.treatments.extend(names(inside));
            rest = after;
        }
        asked.given.extend(names(rest));
        let all = asked.outcomes.iter().chain(&asked.treatments).chain(&asked.given);
        if all.clone().any(|name| name.contains(['(', ')', '|', '='])) {
            return Err(error("a name holds a sign that does not belong there (values are not part of a query)"));
        }
        if asked.outcomes.is_empty() { Err(error("it has no outcome")) } else { Ok(asked) }
    }

    /// As it was written.
    pub fn text(&self) -> String {
        let intervened = (!self.treatments.is_empty()).then(|| format!("do({})", self.treatments.join(", ")));
        let conditions: Vec<String> = intervened.into_iter().chain(self.given.iter().cloned()).collect();
        let bar = if conditions.is_empty() { String::new() } else { format!(" | {}", conditions.join(", ")) };
        format!("P({}{bar})", self.outcomes.join(", "))
    }
}

fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The answer, ready to be printed or written as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The question.
    pub query: String,
    /// Whether it is identified.
    pub identified: bool,
    /// The formula, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimand: Option<String>,
    /// The formula for LaTeX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latex: Option<String>,
    /// The formula for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<Value>,
    /// What it rests on.
    pub assumptions: Vec<String>,
    /// How the formula was checked before it was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// For one treatment, one outcome and no conditions: the minimal adjustment sets.
    pub adjustment_sets: Vec<Vec<String>>,
    /// The adjustment set of the smallest asymptotic variance, where it is known to be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimal_set: Option<Vec<String>>,
    /// Minimal front-door sets.
    pub front_door_sets: Vec<Vec<String>>,
    /// Instruments with what to condition on; they identify linear effects only.
    pub instruments: Vec<(String, Vec<String>)>,
    /// The proof that no formula exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeText>,
    /// The value on data, where there are data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueAt>,
}

/// A hedge by names.
#[derive(Debug, Clone, Serialize)]
pub struct HedgeText {
    /// The larger set.
    pub outer: Vec<String>,
    /// The smaller one.
    pub inner: Vec<String>,
    /// Their roots.
    pub roots: Vec<String>,
    /// In words, with what would identify the effect.
    pub text: String,
    /// Single experiments that would identify it.
    pub experiments: Vec<String>,
}

/// An estimand's value at values of the query's variables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueAt {
    /// Variable and value, in the order outcomes, treatments, conditions.
    pub at: Vec<(String, String)>,
    /// The probability.
    pub probability: f64,
}

/// Rows of values beyond this number are not written out.
const ROWS: usize = 4096;

impl Graph {
    /// Everything that identification can say of a question.
    pub fn ask(&self, asked: &Asked) -> Result<(Answer, Verdict), AskError> {
        fn short(names: &[String]) -> Vec<&str> {
            names.iter().map(String::as_str).collect()
        }
        let verdict = self.identify_given(&short(&asked.outcomes), &short(&asked.treatments), &short(&asked.given))?;
        let mut answer = Answer {
            query: asked.text(),
            identified: false,
            estimand: None,
            latex: None,
            tree: None,
            assumptions: Vec::new(),
            checked: None,
            adjustment_sets: Vec::new(),
            optimal_set: None,
            front_door_sets: Vec::new(),
            instruments: Vec::new(),
            hedge: None,
            values: Vec::new(),
        };
        match &verdict {
            Verdict::Identified(found) => answer.tell(found),
            Verdict::NotIdentified(hedge) => {
                let names = |set| hedge.graph.names(set);
                let experiments = hedge.remedies().into_iter().filter_map(|remedy| match remedy {
                    Remedy::Experiment(name) => Some(name),
                    Remedy::Unconfound { .. } => None,
                });
                answer.hedge = Some(HedgeText {
                    outer: names(hedge.outer),
                    inner: names(hedge.inner),
                    roots: names(hedge.roots),
                    experiments: experiments.collect(),
                    text: hedge.text(),
                });
            }
        }
        if let ([x], [y], true) = (&asked.treatments[..], &asked.outcomes[..], asked.given.is_empty()) {
            let (x, y) = (self.id(x).map_err(IdentifyError::from)?, self.id(y).map_err(IdentifyError::from)?);
            answer.criteria(self, x, y);
        }
        Ok((answer, verdict))
    }
}

impl Answer {
    fn tell(&mut self, found: &Identified) {
        self.identified = true;
        self.estimand = Some(found.text());
        self.latex = Some(found.estimand.latex(&found.graph));
        self.tree = Some(found.estimand.json(&found.graph));
        self.assumptions = found.assumptions();
        self.checked = Some(match found.checked {
            Checked::Models(n) => {
                format!("equal to the truth of {n} random models with explicit latents, in fractions")
            }
            Checked::TooLarge => "too large to enumerate: rests on the algorithm's proof".to_owned(),
        });
    }

    fn criteria(&mut self, graph: &Graph, x: usize, y: usize) {
        let names = |sets: Vec<NodeSet>| sets.into_iter().map(|set| graph.names(set)).collect();
        if let Adjustment::Sets(sets) = graph.adjustment(x, y) {
            self.adjustment_sets = names(sets);
        }
        self.optimal_set = graph.optimal_adjustment_set(x, y).map(|set| graph.names(set));
        self.front_door_sets = names(graph.front_door_sets(x, y));
        let instruments = graph.instruments(x, y).into_iter();
        self.instruments =
            instruments.map(|found| (graph.name(found.instrument).to_owned(), graph.names(found.given))).collect();
    }
}

impl Identified {
    /// The estimand's value on a table at all values of the query's variables. Variables that the estimand leaves
    /// free take the value that most rows have.
    pub fn on_table(&self, table: &Table, weights: Option<&[f64]>) -> Result<Vec<ValueAt>, AskError> {
        let needed = self.graph.ids(self.named()).map_err(IdentifyError::from)?;
        let data = Empirical::new(&self.graph, needed, table, weights)?;
        let asked: Vec<usize> = [self.query.outcomes, self.query.treatments, self.query.given]
            .into_iter()
            .flat_map(NodeSet::iter)
            .collect();
        let mut values = vec![None; self.graph.len()];
        for node in self.arbitrary().iter() {
            let most = data.most_frequent(node);
            values.iter_mut().skip(node).take(1).for_each(|slot| *slot = Some(most));
        }
        let mut found = Vec::new();
        let mut states = vec![Vec::new()];
        for &node in &asked {
            let extend = |state: &Vec<usize>| {
                let state = state.clone();
                (0..data.values(node).len()).map(move |value| state.iter().copied().chain([value]).collect())
            };
            states = states.iter().flat_map(extend).take(ROWS).collect();
        }
        for state in states {
            for (&node, &value) in asked.iter().zip(&state) {
                values.iter_mut().skip(node).take(1).for_each(|slot| *slot = Some(value));
            }
            let probability = evaluate(&self.estimand, &data, &mut values, &[])?;
            let named = |(&node, &value): (&usize, &usize)| {
                let value = data.values(node).get(value).cloned().unwrap_or_default();
                (self.graph.name(node).to_owned(), value)
            };
            found.push(ValueAt { at: asked.iter().zip(&state).map(named).collect(), probability });
        }
        Ok(found)
    }

    /// The names of all variables that the estimand or the query reads.
    fn named(&self) -> Vec<&str> {
        let Query { outcomes, treatments, given } = self.query;
        let read = self.estimand.probabilities().into_iter().map(|(of, given, regime)| of | given | regime.set);
        let all = read.fold(outcomes | treatments | given, |all, set| all | set);
        all.iter().map(|node| self.graph.name(node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_they_are_written() {
        let asked = Asked::parse("P(y, w | a, do(x), do( v , u ), b)").expect("query");
        assert_eq!(asked.outcomes, ["y", "w"]);
        assert_eq!(asked.treatments, ["x", "v", "u"]);
        assert_eq!(asked.given, ["a", "b"]);
        assert_eq!(asked.text(), "P(y, w | do(x, v, u), a, b)");
        assert_eq!(Asked::parse(&asked.text()), Ok(asked));
        for bad in ["y | do(x)", "P(y | do(x)", "P( | do(x))", "P(y | do(x=1))", "P(y | z"] {
            assert!(Asked::parse(bad).is_err(), "{bad}");
        }
    }
}
