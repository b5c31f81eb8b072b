//! What a metric is, in words: definition, formula, source, interval, golden cases, and how its variants differ.

use std::fmt;

use serde::Serialize;

use super::error::HarnessError;
use super::metric::{GoldenCase, TASK_METRICS, TaskMetric, golden_cases};
use crate::base::suggestion;
use crate::stats::{Direction, Objective};
use crate::trust::{METRICS, Metric};

/// How every interval is made.
const INTERVAL: &str = "Whole clusters are drawn with replacement (2000 draws unless told otherwise) and the value is computed anew on \
                        each; the interval's ends are BCa's. Where BCa is degenerate they are percentiles, and where all clusters say \
                        the same they are Wilson's; each value says which.";

/// All that is said of a metric.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Its name with the variant after `@`.
    pub metric: &'static str,
    /// The version of its definition.
    pub version: u32,
    /// The objective that it speaks of.
    pub objective: Objective,
    /// What it says.
    pub definition: &'static str,
    /// The formula; metrics of eval sets have it in their definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula: Option<&'static str>,
    /// Where it comes from.
    pub source: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// What is resampled together.
    pub cluster: &'static str,
    /// How the interval is made.
    pub interval: &'static str,
    /// Values that it must have on given answers.
    pub golden: Vec<GoldenCase>,
    /// How it differs from its variants, in words.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub differs: &'static str,
    /// The variants of the same name, itself among them, in the order of the list.
    pub variants: Vec<Variant>,
}

/// A variant in the table of those of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// Its full name.
    pub metric: &'static str,
    /// What is computed.
    pub formula: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// A line of the list of all metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its full name.
    pub metric: &'static str,
    /// The objective that it speaks of.
    pub objective: Objective,
    /// The unit.
    pub unit: &'static str,
    /// What it says.
    pub definition: &'static str,
}

/// Either kind of metric.
#[derive(Clone, Copy)]
enum Known {
    OfTasks(&'static TaskMetric),
    OfEvalSets(&'static Metric),
}

impl Known {
    fn all() -> impl Iterator<Item = Self> {
        let tasks = TASK_METRICS.iter().copied().flatten().map(Self::OfTasks);
        METRICS.iter().map(Self::OfEvalSets).chain(tasks)
    }

    fn id(self) -> &'static str {
        match self {
            Self::OfTasks(metric) => metric.id,
            Self::OfEvalSets(metric) => metric.id,
        }
    }

    /// The name that variants share.
    fn name(self) -> &'static str {
        self.id().split('@').next().unwrap_or_default()
    }

    fn variant(self) -> Variant {
        match self {
            Self::OfTasks(TaskMetric { id, formula, unit, source, .. }) => {
                Variant { metric: id, formula, unit, source }
            }
            Self::OfEvalSets(Metric { id, definition, unit, source, .. }) => {
                Variant { metric: id, formula: definition, unit, source }
            }
        }
    }

    fn listed(self) -> Listed {
        match self {
            Self::OfTasks(TaskMetric { id, objective, unit, definition, .. }) => {
                Listed { metric: id, objective: *objective, unit, definition }
            }
            Self::OfEvalSets(Metric { id, objective, unit, definition, .. }) => {
                Listed { metric: id, objective: *objective, unit, definition }
            }
        }
    }
}

/// All metrics: those of eval sets, then those of tasks.
pub fn listed() -> Vec<Listed> {
    Known::all().map(Known::listed).collect()
}

/// What is said of the metric of that name. A name without its variant (`acc` for `acc@lm-eval`) will do where it has one.
///
/// # Errors
/// [`HarnessError::Unknown`] with the nearest name.
pub fn explain(name: &str) -> Result<Explanation, HarnessError> {
    let only = || {
        let mut same = Known::all().filter(|known| known.name() == name);
        same.next().filter(|_| same.next().is_none())
    };
    let found = Known::all().find(|known| known.id() == name).or_else(only);
    let Some(known) = found else {
        let same = Known::all().find(|known| known.name() == name).map(Known::id);
        let hint = same.or_else(|| suggestion(name, Known::all().map(Known::id)));
        return Err(HarnessError::Unknown { what: "metric", given: name.into(), hint: hint.map(str::to_owned) });
    };
    let (version, objective, definition, formula, direction, cluster, differs) = match known {
        Known::OfTasks(metric) => (
            metric.version,
            metric.objective,
            metric.definition,
            Some(metric.formula),
            metric.direction,
            metric.cluster,
            metric.differs,
        ),
        Known::OfEvalSets(metric) => (
            metric.version,
            metric.objective,
            metric.definition,
            None,
            metric.direction,
            "the eval set's clusters: templates or units of its causal model; documents of a corpus",
            "",
        ),
    };
    let Variant { unit, source, .. } = known.variant();
    let variants = Known::all().filter(|other| other.name() == known.name()).map(Known::variant).collect();
    Ok(Explanation {
        metric: known.id(),
        version,
        objective,
        definition,
        formula,
        source,
        unit,
        direction,
        cluster,
        interval: INTERVAL,
        golden: golden_cases(known.id()),
        differs,
        variants,
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Higher => "larger is better",
            Direction::Lower => "smaller is better",
            Direction::Descriptive => "a description; neither way is better",
        };
        writeln!(f, "{} (version {})", self.metric, self.version)?;
        writeln!(f, "  {}", self.definition)?;
        if let Some(formula) = self.formula {
            writeln!(f, "  formula    {formula}")?;
        }
        writeln!(f, "  source     {}", self.source)?;
        writeln!(f, "  unit       {}; {direction}", self.unit)?;
        writeln!(f, "  cluster    {}", self.cluster)?;
        writeln!(f, "  interval   {}", self.interval)?;
        for case in &self.golden {
            let arguments = match case.arguments.is_empty() {
                true => String::new(),
                false => format!(" with {}", serde_json::Value::Object(case.arguments.clone())),
            };
            let GoldenCase { data, questions, value, source, .. } = case;
            writeln!(f, "  golden     {value} on the {questions} answers `{data}`{arguments} ({source})")?;
        }
        if !self.differs.is_empty() {
            writeln!(f, "  differs    {}", self.differs)?;
        }
        if self.variants.len() > 1 {
            writeln!(f, "  variants of `{}`:", self.metric.split('@').next().unwrap_or_default())?;
            let width = self.variants.iter().map(|variant| variant.metric.chars().count()).max().unwrap_or(0);
            for Variant { metric, formula, unit, source } in &self.variants {
                writeln!(f, "    {metric:width$}  {formula} [{unit}; {source}]")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_is_explained_with_what_it_must_say() {
        let mut seen = BTreeSet::new();
        for line in listed() {
            assert!(seen.insert(line.metric), "{} stands twice", line.metric);
            let said = explain(line.metric).expect(line.metric);
            assert!(!said.definition.is_empty() && !said.source.is_empty() && !said.unit.is_empty(), "{}", line.metric);
            assert!(
                !said.cluster.is_empty() && said.formula.is_none_or(|formula| !formula.is_empty()),
                "{}",
                line.metric
            );
            assert!(said.variants.iter().any(|variant| variant.metric == line.metric), "{}", line.metric);
            let text = said.to_string();
            assert!(text.contains(said.source) && text.contains("interval"), "{text}");
        }
        assert!(seen.len() > 60, "{}", seen.len());
    }

    #[test]
    fn variants_stand_in_one_table() {
        let said = explain("acc_norm@lighteval").expect("known");
        let names: Vec<&str> = said.variants.iter().map(|variant| variant.metric).collect();
        assert_eq!(names, ["acc_norm@lm-eval", "acc_norm@lighteval"]);
        let text = said.to_string();
        assert!(text.contains("variants of `acc_norm`") && text.contains("issue 3278"), "{text}");
        assert!(text.contains("golden     0.5 on the 40 answers `four`"), "{text}");
    }

    #[test]
    fn a_name_without_its_variant_will_do_where_it_has_one() {
        assert_eq!(explain("mcc").expect("one variant").metric, "mcc@lm-eval");
        let error = explain("acc_norm").expect_err("two variants").to_string();
        assert!(error.contains("did you mean \"acc_norm@lm-eval\""), "{error}");
        let error = explain("acc_nrom@lm-eval").expect_err("misspelt").to_string();
        assert!(error.contains("did you mean \"acc_norm@lm-eval\""), "{error}");
    }
}
