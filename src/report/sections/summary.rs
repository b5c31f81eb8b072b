//! The manager's page: a few sentences made from the numbers themselves, and the targets.

use super::{ArmView, Course, View, course, distinct, listed, paragraph, principal, set_of, titled};
use crate::compare::Verdict;
use crate::report::data::{Headline, HeadlineRole, TargetStatus};
use crate::report::document::{Block, Inline, Section, Tone, strong, text};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::{capitalised, plain, population_in_words};
use crate::stats::MetricScore;

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let mut blocks = Vec::new();
    if let Some(callout) = verdict_on_targets(view) {
        blocks.push(callout);
    }
    if let Some(sentence) = what_was_tested(view) {
        blocks.push(paragraph(sentence));
    }
    blocks.extend(super::tiles::tiles(view));
    let findings: Vec<Vec<Inline>> =
        view.data.summary.headlines.iter().filter_map(|headline| finding(view, headline)).collect();
    if !findings.is_empty() {
        blocks.push(Block::List(findings));
    }
    if let Some(sentence) = machinery(view) {
        blocks.push(paragraph(sentence));
    }
    if !view.data.summary.targets.is_empty() {
        blocks.push(Block::Heading("Targets, fixed before the held-out results were seen".to_owned()));
        blocks.push(Block::Targets(view.data.summary.targets.clone()));
    }
    blocks.extend(glossary.introduce(&["pair", "invariant", "log-odds", "interval", "environment"]));
    titled("summary", "Summary", blocks)
}

/// How many targets were met, and which were not, before anything else.
fn verdict_on_targets(view: &View<'_>) -> Option<Block> {
    let targets = &view.data.summary.targets;
    let with = |status| targets.iter().filter(move |target| target.status == status);
    let (met, failed, open) = (
        with(TargetStatus::Met).count(),
        with(TargetStatus::Failed).map(|target| target.claim.clone()).collect::<Vec<_>>(),
        with(TargetStatus::Undecided).count(),
    );
    if targets.is_empty() {
        return None;
    }
    let mut line = vec![strong(format!("{met} of {} targets met.", targets.len()))];
    if !failed.is_empty() {
        line.push(strong(format!(" {} FAILED: ", failed.len())));
        line.push(text(format!("{}.", failed.join("; ").trim_end_matches('.'))));
    }
    if open > 0 {
        line.push(text(format!(" {open} could not be decided.")));
    }
    let tone = match (failed.is_empty(), open) {
        (false, _) => Tone::Bad,
        (true, 0) => Tone::Good,
        (true, _) => Tone::Unsure,
    };
    Some(Block::Callout(tone, line))
}

fn what_was_tested(view: &View<'_>) -> Option<String> {
    let base = view.base()?;
    let record = base.record;
    let sets: Vec<String> = record.eval_sets.iter().map(|set| plain(&set.id)).collect();
    let pairs: usize = record.eval_sets.iter().map(|set| set.pairs).sum();
    let tuned = view.arms.len().saturating_sub(1);
    let on = match sets.as_slice() {
        [] => String::new(),
        [set] => format!(" on the eval set {set} ({} counterfactual pairs)", number::count(pairs)),
        sets => {
            format!(" on {} eval sets ({}; {} counterfactual pairs)", sets.len(), listed(sets), number::count(pairs))
        }
    };
    let then = match tuned {
        0 => String::new(),
        1 => ", before and after one fine-tune".to_owned(),
        n => format!(", before and after {n} fine-tunes of equal budget"),
    };
    Some(format!(
        "We tested the model {} ({}, {} parameters){on}{then}. Each pair asks what the model would have said had one thing in the prompt been different.",
        record.model.source,
        record.model.family,
        number::count(record.model.parameters)
    ))
}

/// One headline metric, set by set: before → after, and what the control did.
fn finding(view: &View<'_>, headline: &Headline) -> Option<Vec<Inline>> {
    let base = view.base()?;
    let focus = view.focus().filter(|focus| focus.name != base.name);
    let scores = principal(&super::outcomes::headline_scores(view, headline));
    let mut parts: Vec<String> = Vec::new();
    for score in &scores {
        parts.push(movement(view, base, focus, score, place(score, &scores))?);
    }
    if parts.is_empty() {
        return None;
    }
    let mut line = vec![strong(format!("{}: ", headline.title)), text(format!("{}.", parts.join("; ")))];
    if let Some(sentence) = reading(view, headline, &scores) {
        line.push(text(format!(" {sentence}")));
    }
    Some(line)
}

/// The shortest name that tells the populations of one headline apart.
fn place(score: &MetricScore, all: &[&MetricScore]) -> String {
    let sets = distinct(all.iter().map(|score| set_of(&score.population)));
    match sets.len() == all.len() {
        true => plain(set_of(&score.population)),
        false => population_in_words(&score.population),
    }
}

fn movement(
    view: &View<'_>,
    base: ArmView<'_>,
    focus: Option<ArmView<'_>>,
    score: &MetricScore,
    place: String,
) -> Option<String> {
    let unit = &score.unit;
    let of = |arm: ArmView<'_>| arm.record.score(&score.metric, &score.population).map(|score| score.estimate.clone());
    let before = of(base)?;
    let Some(after) = focus.and_then(of) else {
        return Some(format!("{place} {}", number::in_full(&before, unit)));
    };
    let unit_word = match number::unit_in_words(unit) {
        "no unit" => String::new(),
        unit => format!(" {unit}"),
    };
    let (Some(a), Some(b)) = (before.value, after.value) else {
        return Some(format!(
            "{place} {} before, {} after",
            number::in_full(&before, unit),
            number::in_full(&after, unit)
        ));
    };
    let percent = number::Scale::of(unit) == number::Scale::Percent;
    let change = match (percent, number::relative_change(a, b)) {
        (false, Some(change)) => format!(" ({change})"),
        _ => String::new(),
    };
    let control = view
        .control()
        .filter(|control| control.name != base.name && Some(control.name) != focus.map(|focus| focus.name))
        .and_then(|control| Some(format!(", {} tuning {}", control.label(), number::value(&of(control)?, unit))))
        .unwrap_or_default();
    Some(format!(
        "{place} {} → {}{unit_word}{change}{control}",
        number::value(&before, unit),
        number::value(&after, unit)
    ))
}

/// What the movement means, from the comparison.
fn reading(view: &View<'_>, headline: &Headline, scores: &[&MetricScore]) -> Option<String> {
    let focus = view.focus()?;
    let rows: Vec<_> = scores.iter().filter_map(|score| view.against_base(focus.name, score)).collect();
    if rows.is_empty() || rows.len() < scores.len() {
        return None;
    }
    let courses: Vec<Course> = rows.iter().map(|row| course(row)).collect();
    let all = |wanted: &[Course]| courses.iter().all(|course| wanted.contains(course));
    let any = |wanted: Course| courses.contains(&wanted);
    let tested = rows.iter().all(|row| row.verdict == Verdict::Better);
    let everywhere = if rows.len() > 1 { "everywhere" } else { "here" };
    let sentence = match headline.role {
        HeadlineRole::Unwanted if tested => format!("It fell {everywhere}, beyond chance."),
        HeadlineRole::Unwanted if all(&[Course::Better]) => format!(
            "It fell {everywhere}, and the interval of every fall excludes 0; the test corrected for all questions has \
             too few clusters to confirm it."
        ),
        HeadlineRole::Unwanted if any(Course::Worse) => "In at least one set it grew.".to_owned(),
        HeadlineRole::Unwanted => "Not every fall is beyond chance.".to_owned(),
        HeadlineRole::Wanted if any(Course::Worse) => "In at least one set part of it was lost.".to_owned(),
        HeadlineRole::Wanted if all(&[Course::Better, Course::Kept]) => {
            "It was kept: no set lost more than the margin fixed before training.".to_owned()
        }
        HeadlineRole::Wanted => "Whether all of it was kept is not decided by these data.".to_owned(),
        HeadlineRole::Outcome if all(&[Course::Better]) => format!("It rose {everywhere}."),
        HeadlineRole::Outcome if any(Course::Worse) && any(Course::Better) => {
            "Where it fell, hold the fall against what the shortcut was worth there.".to_owned()
        }
        HeadlineRole::Outcome if any(Course::Worse) => {
            "It fell; hold the fall against what the shortcut was worth.".to_owned()
        }
        HeadlineRole::Outcome => return None,
    };
    Some(sentence)
}

fn machinery(view: &View<'_>) -> Option<String> {
    let checks: Vec<bool> = view.arms.iter().flat_map(|arm| &arm.record.checks).map(|check| check.passed).collect();
    let refuters: Vec<Tone> = view
        .arms
        .iter()
        .flat_map(|arm| &arm.record.refutations)
        .map(|refuter| super::checks::outcome(refuter).0)
        .collect();
    let count = |tone| refuters.iter().filter(|own| **own == tone).count();
    let (survived, refuted, not_run) = (count(Tone::Good), count(Tone::Bad), count(Tone::Unsure));
    let held = checks.iter().filter(|passed| **passed).count();
    let mut parts = Vec::new();
    if !checks.is_empty() {
        parts.push(format!("{held} of {} checks of the measuring machinery held", checks.len()));
    }
    if survived + refuted > 0 {
        parts.push(format!("the findings survived {survived} of {} attempts to refute them", survived + refuted));
    }
    if not_run > 0 {
        parts.push(format!("{not_run} could not be made"));
    }
    (!parts.is_empty()).then(|| format!("{}.", capitalised(&listed(&parts))))
}
