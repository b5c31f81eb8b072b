//! Estimands as text, as LaTeX and as JSON.

use serde_json::{Value, json};

use super::estimand::{Estimand, Level, Regime};
use super::graph::Graph;
use super::node_set::NodeSet;

/// How signs are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Latex,
}

/// The names in force: a prime for each enclosing sum that binds a name anew, a level for a variable with two values.
struct Scope<'a> {
    graph: &'a Graph,
    style: Style,
    seen: NodeSet,
    primes: Vec<(usize, usize)>,
    levels: Vec<(usize, Level)>,
}

impl Estimand {
    /// `Σ_{Z} P(Y | X, Z) P(Z)`. A variable that a sum binds while it also has a value outside gets a prime; `P^1` is a
    /// probability of domain 1, `do(…)` one of an experiment, `X₀` and `X₁` the two values of a variable in effects that compare two worlds.
    pub fn text(&self, graph: &Graph) -> String {
        self.written(graph, Style::Plain)
    }

    /// The same for LaTeX.
    pub fn latex(&self, graph: &Graph) -> String {
        self.written(graph, Style::Latex)
    }

    fn written(&self, graph: &Graph, style: Style) -> String {
        let scope = Scope { graph, style, seen: self.free(), primes: Vec::new(), levels: Vec::new() };
        scope.write(self, false)
    }

    /// A tree of objects: `{"probability": {"of", "given", "domain", "do"}}`, `{"sum": {"over", "of"}}`, `{"product": […]}`,
    /// `{"quotient": [top, bottom]}`, `{"at": {"variable", "level", "of"}}`.
    pub fn json(&self, graph: &Graph) -> Value {
        match self {
            Self::Probability { of, given, regime } => json!({"probability": {
                "of": graph.names(*of), "given": graph.names(*given),
                "domain": regime.domain, "do": graph.names(regime.set),
            }}),
            Self::Sum { over, of } => json!({"sum": {"over": graph.names(*over), "of": of.json(graph)}}),
            Self::Product(factors) => {
                json!({"product": factors.iter().map(|factor| factor.json(graph)).collect::<Vec<_>>()})
            }
            Self::Quotient(top, bottom) => json!({"quotient": [top.json(graph), bottom.json(graph)]}),
            Self::At { variable, level, of } => json!({"at": {
                "variable": graph.name(*variable),
                "level": if *level == Level::Active { "active" } else { "baseline" },
                "of": of.json(graph),
            }}),
        }
    }
}

impl Scope<'_> {
    fn name(&self, node: usize) -> String {
        let count = self.primes.iter().rev().find(|(other, _)| *other == node).map_or(0, |(_, count)| *count);
        // An inner sum that binds the variable again stands above its level.
        let level = self.levels.iter().rev().find(|(other, _)| *other == node).map(|(_, level)| *level);
        let level = if count > 0 { None } else { level };
        let name = self.graph.name(node);
        match self.style {
            Style::Plain => {
                let mark = match level {
                    None => "",
                    Some(Level::Baseline) => "₀",
                    Some(Level::Active) => "₁",
                };
                format!("{name}{mark}{}", "'".repeat(count))
            }
            Style::Latex => {
                let escaped = name.replace('_', "\\_");
                let word = if name.chars().count() > 1 { format!("\\mathit{{{escaped}}}") } else { escaped };
                let mark = match level {
                    None => "",
                    Some(Level::Baseline) => "_{0}",
                    Some(Level::Active) => "_{1}",
                };
                let primes = if count == 0 { String::new() } else { format!("^{{{}}}", "\\prime".repeat(count)) };
                format!("{word}{mark}{primes}")
            }
        }
    }

    fn names(&self, set: NodeSet) -> String {
        set.iter().map(|node| self.name(node)).collect::<Vec<_>>().join(", ")
    }

    fn write(&self, estimand: &Estimand, inside: bool) -> String {
        match estimand {
            Estimand::Probability { of, given, regime } => self.probability(*of, *given, *regime),
            Estimand::Sum { over, of } => {
                let mut inner = Scope { primes: self.primes.clone(), levels: self.levels.clone(), ..*self };
                for node in over.iter().filter(|&node| self.seen.contains(node)) {
                    let outer = self.primes.iter().rev().find(|(other, _)| *other == node).map_or(0, |(_, n)| *n);
                    inner.primes.push((node, outer + 1));
                }
                inner.seen |= *over;
                let sign = if self.style == Style::Plain { "Σ_" } else { "\\sum_" };
                let text = format!("{sign}{{{}}} {}", inner.names(*over), inner.write(of, true));
                if inside { format!("[{text}]") } else { text }
            }
            Estimand::Product(factors) if factors.is_empty() => "1".to_owned(),
            Estimand::Product(factors) => {
                let last = factors.len() - 1;
                // A sum reaches to the end of the product, so only the last factor may be one without brackets.
                let part = |(place, factor): (usize, &Estimand)| {
                    let text = self.write(factor, inside || place != last);
                    match (factor, self.style) {
                        (Estimand::Quotient(..), Style::Plain) => format!("({text})"),
                        _ => text,
                    }
                };
                factors.iter().enumerate().map(part).collect::<Vec<_>>().join(" ")
            }
            Estimand::Quotient(top, bottom) => match self.style {
                Style::Plain => format!("[{}] / [{}]", self.write(top, false), self.write(bottom, false)),
                Style::Latex => format!("\\frac{{{}}}{{{}}}", self.write(top, false), self.write(bottom, false)),
            },
            Estimand::At { variable, level, of } => {
                let mut inner = Scope { primes: self.primes.clone(), levels: self.levels.clone(), ..*self };
                inner.levels.push((*variable, *level));
                inner.seen.insert(*variable);
                inner.write(of, inside)
            }
        }
    }

    fn probability(&self, of: NodeSet, given: NodeSet, regime: Regime) -> String {
        let (bar, given_text) = (if self.style == Style::Plain { " | " } else { " \\mid " }, self.names(given));
        let set = match (regime.set.is_empty(), self.style) {
            (true, _) => String::new(),
            (false, Style::Plain) => format!("do({})", self.names(regime.set)),
            (false, Style::Latex) => format!("\\operatorname{{do}}({})", self.names(regime.set)),
        };
        let conditions: Vec<String> = [set, given_text].into_iter().filter(|text| !text.is_empty()).collect();
        let domain = match (regime.domain, self.style) {
            (0, _) => String::new(),
            (domain, Style::Plain) => format!("^{domain}"),
            (domain, Style::Latex) => format!("^{{({domain})}}"),
        };
        match conditions.is_empty() {
            true => format!("P{domain}({})", self.names(of)),
            false => format!("P{domain}({}{bar}{})", self.names(of), conditions.join(", ")),
        }
    }
}
