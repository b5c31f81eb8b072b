//! The deciding metrics at a glance: how far the arm in focus moved each, over all sets.

use super::outcomes::headline_scores;
use super::{ArmView, Course, View, course, principal};
use crate::report::data::{Headline, HeadlineRole};
use crate::report::document::{Block, Tile, Tone};
use crate::report::number::{self, Scale};

/// One tile a headline; `None` without a second arm.
pub(super) fn tiles(view: &View<'_>) -> Option<Block> {
    let base = view.base()?;
    let focus = view.focus().filter(|focus| focus.index != base.index)?;
    let tiles: Vec<Tile> =
        view.data.summary.headlines.iter().filter_map(|headline| tile(view, headline, base, focus)).collect();
    (!tiles.is_empty()).then_some(Block::Tiles(tiles))
}

fn tile(view: &View<'_>, headline: &Headline, base: ArmView<'_>, focus: ArmView<'_>) -> Option<Tile> {
    let (moved, unit) = changes(view, headline, base, focus)?;
    let mut notes = Vec::new();
    let tone = tone(view, headline, focus);
    if (headline.role, tone) == (HeadlineRole::Wanted, Tone::Good) {
        notes.push("no loss beyond the margin".to_owned());
    }
    if moved.len() > 1 {
        notes.push(format!("in {} sets", moved.len()));
    }
    let control = view.control().filter(|control| control.index != base.index && control.index != focus.index);
    if let Some((control, (moved, unit))) = control.and_then(|arm| Some((arm, changes(view, headline, base, arm)?))) {
        notes.push(format!("{} tuning: {}", control.label(), range(&moved, unit)));
    }
    Some(Tile { label: headline.title.clone(), value: range(&moved, unit), note: notes.join("; "), tone })
}

/// The change from base to arm in each population: in points where the metric is a share, else in per cent of the base.
fn changes(
    view: &View<'_>,
    headline: &Headline,
    base: ArmView<'_>,
    arm: ArmView<'_>,
) -> Option<(Vec<f64>, &'static str)> {
    let mut changes = Vec::new();
    let mut unit = "%";
    for score in principal(&headline_scores(view, headline)) {
        let of =
            |arm: ArmView<'_>| arm.record.score(&score.metric, &score.population).and_then(|own| own.estimate.value);
        let (before, after) = (of(base)?, of(arm)?);
        changes.push(match Scale::of(&score.unit) {
            Scale::Percent => {
                unit = "points";
                100.0 * (after - before)
            }
            Scale::Plain => 100.0 * (after - before) / before.abs(),
        });
    }
    (!changes.is_empty() && changes.iter().all(|change| change.is_finite())).then_some((changes, unit))
}

/// `−92 %` or `−93 to −91 %`.
fn range(changes: &[f64], unit: &str) -> String {
    let signed = |value: f64| format!("{}{}", if value.round() > 0.0 { "+" } else { "" }, number::fixed(value, 0));
    let low = signed(changes.iter().copied().fold(f64::INFINITY, f64::min));
    let high = signed(changes.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    if low == high { format!("{low} {unit}") } else { format!("{low} to {high} {unit}") }
}

fn tone(view: &View<'_>, headline: &Headline, focus: ArmView<'_>) -> Tone {
    let scores = principal(&headline_scores(view, headline));
    let courses: Vec<Course> =
        scores.iter().filter_map(|score| view.against_base(focus.name, score)).map(course).collect();
    let all = |good: &[Course]| !courses.is_empty() && courses.iter().all(|course| good.contains(course));
    let worse = courses.contains(&Course::Worse);
    match headline.role {
        HeadlineRole::Unwanted | HeadlineRole::Outcome if all(&[Course::Better]) => Tone::Good,
        HeadlineRole::Wanted if all(&[Course::Better, Course::Kept]) => Tone::Good,
        HeadlineRole::Unwanted | HeadlineRole::Wanted if worse => Tone::Bad,
        HeadlineRole::Outcome if worse => Tone::Unsure,
        _ => Tone::Neutral,
    }
}
