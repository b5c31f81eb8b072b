//! The manager's page: a few sentences made from the numbers themselves, and the targets.

use super::{ArmView, View, distinct, listed, paragraph, set_of, titled};
use crate::compare::Verdict;
use crate::report::data::{Headline, HeadlineRole, TargetStatus};
use crate::report::document::{Block, Inline, Section, Tone, strong, text};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::{plain, population_in_words};
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
    let scores: Vec<&MetricScore> = super::outcomes::headline_scores(view, headline);
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

/// What the movement means, from the verdicts of the comparison.
fn reading(view: &View<'_>, headline: &Headline, scores: &[&MetricScore]) -> Option<String> {
    let focus = view.focus()?;
    let verdicts: Vec<Verdict> =
        scores.iter().filter_map(|score| view.against_base(focus.name, score)).map(|row| row.verdict).collect();
    if verdicts.is_empty() || verdicts.len() < scores.len() {
        return None;
    }
    let all = |wanted: Verdict| verdicts.iter().all(|verdict| *verdict == wanted);
    let any = |wanted: Verdict| verdicts.contains(&wanted);
    let sentence = match headline.role {
        HeadlineRole::Unwanted if all(Verdict::Better) => "It fell in every set, beyond chance.",
        HeadlineRole::Unwanted if any(Verdict::Worse) => "In at least one set it grew.",
        HeadlineRole::Unwanted => "Not every fall is beyond chance.",
        HeadlineRole::Wanted if any(Verdict::Worse) => "In at least one set part of it was lost.",
        HeadlineRole::Wanted if any(Verdict::Undecided) => "Whether all of it was kept is not decided by these data.",
        HeadlineRole::Wanted => {
            "It was kept: every change is within the margin fixed before training, or for the better."
        }
        HeadlineRole::Outcome if all(Verdict::Better) => "It rose everywhere, beyond chance.",
        HeadlineRole::Outcome if any(Verdict::Worse) => {
            "Where it is lower, that is the price of no longer using the shortcut."
        }
        HeadlineRole::Outcome => return None,
    };
    Some(sentence.to_owned())
}

fn machinery(view: &View<'_>) -> Option<String> {
    let checks: Vec<bool> = view.arms.iter().flat_map(|arm| &arm.record.checks).map(|check| check.passed).collect();
    let refuters: Vec<bool> =
        view.arms.iter().flat_map(|arm| &arm.record.refutations).map(|refuter| refuter.passed).collect();
    let held = |outcomes: &[bool]| outcomes.iter().filter(|passed| **passed).count();
    match (checks.len(), refuters.len()) {
        (0, 0) => None,
        (n, 0) => Some(format!("{} of {n} checks of the measuring machinery held.", held(&checks))),
        (0, m) => Some(format!("The findings survived {} of {m} attempts to refute them.", held(&refuters))),
        (n, m) => Some(format!(
            "{} of {n} checks of the measuring machinery held, and the findings survived {} of {m} attempts to refute them.",
            held(&checks),
            held(&refuters)
        )),
    }
}
