//! A suite: perturbations that are done to every question of a task.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::catalogue::{Apply, Declined, Expectation, Given, Made, Touches};
use super::choose::Chosen;
use super::lists::Lists;
use super::surface::{Role, Surface};
use super::words::{Matching, Phrases};
use crate::base::{Seed, files};
use crate::harness::metric::{MetricUse, SUITE_METRICS, SUITE_TEXT_METRICS, task_metric};
use crate::harness::question::{Answered, Question, Target, Variant};
use crate::harness::{HarnessError, OutputType, Task};
use crate::stats::Direction;

/// What perturbations work with: word lists and paraphrases.
pub struct Material {
    /// The word lists.
    pub(super) lists: Lists,
    /// By question id.
    pub(super) paraphrases: BTreeMap<String, ParaphraseSet>,
    pub(super) finders: Finders,
}

/// Paraphrases of one question.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ParaphraseSet {
    /// The question.
    id: String,
    /// The text that is rephrased; the only input where it is not given.
    #[serde(default)]
    pub of: Option<String>,
    /// Its paraphrases.
    pub paraphrases: Vec<String>,
}

/// The lists, ready to be looked for.
pub(super) struct Finders {
    pub expanded: Phrases,
    pub contracted: Phrases,
    pub misspellings: Phrases,
    pub misspellings_in_order: Phrases,
    pub dialect: Phrases,
}

impl Material {
    /// Word lists without paraphrases.
    pub fn new(lists: Lists) -> Self {
        let expanded = Phrases::longest(lists.contractions.iter().map(|(long, _)| long.as_str()), Matching::AnyCase);
        let contracted =
            Phrases::longest(lists.contractions.iter().map(|(_, short)| short.as_str()), Matching::AnyCase);
        let words = || lists.misspellings.iter().map(|(word, _)| word.as_str());
        let dialect = Phrases::longest(lists.dialect.iter().map(|(word, _)| word.as_str()), Matching::AnyCase);
        let finders = Finders {
            expanded,
            contracted,
            misspellings: Phrases::longest(words(), Matching::AnyCase),
            misspellings_in_order: Phrases::new(words(), Matching::Exact, &[]),
            dialect,
        };
        Self { lists, paraphrases: BTreeMap::new(), finders }
    }

    /// The same with the paraphrases of a file (JSONL): `{"id", "paraphrases": [text, …]}`, and `of`, the text that is rephrased,
    /// where a question has several.
    ///
    /// # Errors
    /// A file that cannot be read; a question that has two rows.
    pub fn with_paraphrases(mut self, path: &Path) -> Result<Self, HarnessError> {
        for set in files::read_jsonl::<ParaphraseSet>(path)? {
            let id = set.id.clone();
            if self.paraphrases.insert(id.clone(), set).is_some() {
                let message = format!("{}: question {id} has two rows; put its paraphrases in one", path.display());
                return Err(HarnessError::Perturbation { perturbation: "paraphrase".into(), message });
            }
        }
        Ok(self)
    }
}

/// Perturbations, their material and the root of their draws.
pub struct Suite {
    chosen: Vec<Chosen>,
    material: Material,
    seed: Seed,
}

/// What the runner must do because a question alone does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerRequest {
    /// Build the prompts again with the examples in another order.
    FewshotOrder,
}

/// What a perturbation did to a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// The perturbation with its parameters.
    pub perturbation: String,
    /// The intervention in symbols.
    pub intervention: String,
    /// What should become of the answer.
    pub expectation: &'static str,
    /// Questions of the task.
    pub questions: usize,
    /// Variants that were made of them.
    pub variants: usize,
    /// Variants that differ in something that the model reads.
    pub changed: usize,
    /// Questions of which no variant could be made, by reason.
    pub declined: BTreeMap<&'static str, usize>,
}

impl Coverage {
    /// Changed variants as a share of questions that were asked for one; `None` where there are none. A perturbation that makes several variants
    /// a question counts each, and each declined question once.
    pub fn share(&self) -> Option<f64> {
        let asked = self.variants + self.declined.values().sum::<usize>();
        (asked > 0).then(|| self.changed as f64 / asked as f64)
    }
}

/// A task with its variants.
#[derive(Debug, Clone)]
pub struct Perturbed {
    /// The task: its questions in their order, then the variants, perturbation by perturbation.
    pub task: Task,
    /// What each perturbation did.
    pub coverage: Vec<Coverage>,
    /// What is left to the runner, with the number of questions.
    pub runner: BTreeMap<&'static str, (RunnerRequest, usize)>,
}

impl Suite {
    /// A suite of perturbations.
    ///
    /// # Errors
    /// Parameters that ask for names which the lists do not have.
    pub fn new(chosen: Vec<Chosen>, material: Material, seed: Seed) -> Result<Self, HarnessError> {
        let groups = material.lists.groups();
        for choice in chosen.iter().filter(|choice| choice.perturbation.id.starts_with("first_names")) {
            for group in ["from", "to"].map(|name| choice.parameters.text(name)) {
                if !groups.contains(&group) {
                    let perturbation = choice.perturbation.id.into();
                    let message = format!("no names of the group {group:?}; there are {}", groups.join(", "));
                    return Err(HarnessError::Perturbation { perturbation, message });
                }
            }
        }
        Ok(Self { chosen, material, seed: seed.fork("perturb") })
    }

    /// The perturbations of the suite.
    pub fn chosen(&self) -> &[Chosen] {
        &self.chosen
    }

    /// Makes the variants of every question. What is drawn for a question hangs on the seed, the perturbation and the question's id, and
    /// on nothing else. Questions that are variants already are left alone.
    ///
    /// # Errors
    /// Two questions with one id.
    pub fn apply(&self, task: &Task) -> Result<Perturbed, HarnessError> {
        let mut ids = BTreeSet::new();
        if let Some(twice) = task.questions.iter().find(|question| !ids.insert(question.id.as_str())) {
            let message = format!("two questions have the id {:?}; ids must be unique", twice.id);
            return Err(HarnessError::Task { task: task.id.clone(), message });
        }
        let originals: Vec<&Question> = task.questions.iter().filter(|question| question.variant.is_none()).collect();
        let surfaces: Vec<Surface> =
            originals.par_iter().map(|question| Surface::of(question, task.num_fewshot)).collect();
        let mut made = Perturbed { task: task.clone(), coverage: Vec::new(), runner: BTreeMap::new() };
        for choice in &self.chosen {
            let of = |(question, surface): (&&Question, &Surface)| {
                self.variants(choice, question, surface, task.num_fewshot)
            };
            let variants: Vec<_> = originals.par_iter().zip(surfaces.par_iter()).map(of).collect();
            self.gather(choice, variants, &mut made);
        }
        Ok(made)
    }

    fn gather(&self, choice: &Chosen, variants: Vec<Result<Vec<Question>, Declined>>, made: &mut Perturbed) {
        let perturbation = choice.perturbation;
        let mut coverage = Coverage {
            perturbation: choice.text(),
            intervention: perturbation.intervention(),
            expectation: perturbation.expectation.name(),
            questions: variants.len(),
            variants: 0,
            changed: 0,
            declined: BTreeMap::new(),
        };
        for outcome in variants {
            match outcome {
                Ok(variants) => {
                    coverage.variants += variants.len();
                    let changed = |question: &&Question| question.variant.as_ref().is_some_and(|v| v.changed);
                    coverage.changed += variants.iter().filter(changed).count();
                    made.task.questions.extend(variants);
                }
                Err(reason) => {
                    *coverage.declined.entry(reason.0).or_default() += 1;
                    if let (Apply::Shots(_, request), true) = (&perturbation.apply, reason == super::shots::UNCLEAR) {
                        made.runner.entry(perturbation.id).or_insert((*request, 0)).1 += 1;
                    }
                }
            }
        }
        made.coverage.push(coverage);
    }

    fn variants(
        &self,
        choice: &Chosen,
        question: &Question,
        surface: &Surface,
        shots: usize,
    ) -> Result<Vec<Question>, Declined> {
        let perturbation = choice.perturbation;
        let given = Given {
            question,
            surface,
            shots,
            parameters: &choice.parameters,
            material: &self.material,
            seed: self.seed.fork(perturbation.id).fork(&question.id),
        };
        let made = match &perturbation.apply {
            Apply::Texts(change) => vec![Made::of(with_texts(&given, perturbation.touches, *change)?)],
            Apply::Question(change) | Apply::Shots(change, _) => change(&given)?,
        };
        let several = made.len() > 1;
        let named = |(number, made): (usize, Made)| {
            let suffix = if several { format!(".{}", number + 1) } else { String::new() };
            let id = format!("{}#{}{suffix}", question.id, perturbation.id);
            finished(made, question, id, (perturbation.id, perturbation.expectation))
        };
        Ok(made.into_iter().enumerate().map(named).collect())
    }
}

/// The question with its texts changed: of all texts where references may be touched, else of the input alone.
fn with_texts(
    given: &Given<'_>,
    touches: Touches,
    change: fn(&mut [String], &Given<'_>) -> Result<(), Declined>,
) -> Result<Question, Declined> {
    let touched = |role: Role| role == Role::Input || touches == Touches::ContextAndReferences;
    let all = &given.surface.texts;
    let mut changed: Vec<String> = all.iter().filter(|text| touched(text.role)).map(|text| text.text.clone()).collect();
    change(&mut changed, given)?;
    let mut changed = changed.into_iter();
    let texts: Vec<String> = all
        .iter()
        .map(|text| touched(text.role).then(|| changed.next()).flatten().unwrap_or_else(|| text.text.clone()))
        .collect();
    Ok(given.surface.rebuilt(given.question, &texts))
}

/// The variant as it stands in the task.
fn finished(made: Made, original: &Question, id: String, (name, expectation): (&str, Expectation)) -> Question {
    let mut question = made.question;
    let changed = read(&question) != read(original);
    if changed && expectation == Expectation::Undefined {
        question.target = Target::None;
    }
    question.id = id;
    question.cluster.clone_from(&original.cluster);
    question.variant = Some(Variant { of: original.id.clone(), perturbation: name.into(), changed, order: made.order });
    question
}

/// What the model reads: the requests, whatever their order.
fn read(question: &Question) -> Vec<String> {
    let mut requests: Vec<String> = question.requests.iter().map(|request| format!("{request:?}")).collect();
    requests.sort();
    requests
}

impl Perturbed {
    /// The metrics of the suite, for choices or for generated texts as the task has it. Each compares `of` between originals and
    /// variants, correctness where that is `None`; all read originals and variants together, while the task's own metrics are
    /// measured on [`originals`] alone.
    ///
    /// # Errors
    /// No metric is called `of`.
    pub fn metrics(&self, of: Option<&str>) -> Result<Vec<MetricUse>, HarnessError> {
        let lower = of.map(task_metric).transpose()?.is_some_and(|metric| metric.direction == Direction::Lower);
        let ids = match self.task.output_type {
            OutputType::GenerateUntil => SUITE_TEXT_METRICS,
            _ => SUITE_METRICS,
        };
        let used = |id: &&str| {
            let mut used = MetricUse::plain(match *id {
                "perturbation.worst_case" if lower => "perturbation.worst_case@lower",
                id => id,
            });
            if let Some(of) = of {
                used.arguments.insert("of".into(), of.into());
            }
            used
        };
        Ok(ids.iter().map(used).collect())
    }
}

/// The answers to questions that no perturbation made.
pub fn originals(answered: &[Answered]) -> Vec<Answered> {
    answered.iter().filter(|answer| answer.question.variant.is_none()).cloned().collect()
}
