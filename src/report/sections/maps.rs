//! Where in the network the effects live: heat maps before and after.

use super::{ArmView, View, distinct, paragraph, picture_note, titled};
use crate::report::document::{Block, Figure, Section};
use crate::report::figure::Heat;
use crate::report::glossary::Glossary;
use crate::report::words::{capitalised, population_in_words};
use crate::stats::EffectGrid;

/// At most so many maps stand open; the others are folded.
const OPEN: usize = 8;

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let base = view.base()?;
    let focus = view.focus().filter(|focus| focus.index != base.index);
    let titles = distinct(view.arms.iter().flat_map(|arm| &arm.record.grids).map(|grid| grid.title.as_str()));
    if titles.is_empty() {
        return None;
    }
    let mut blocks: Vec<Block> = glossary.introduce(&["site", "direction", "q-value"]).into_iter().collect();
    blocks.push(paragraph(
        "Each cell is one site: its activation was exchanged between the two prompts of a pair, and the number is the \
         mean movement of the answer's log-odds in nats.",
    ));
    blocks.push(picture_note(
        "Orange: the site carries the effect; violet: it works against it; a dot marks a q-value below 0.05. Maps of the \
         same sweep share one colour scale, so that a faded map after tuning means a smaller effect.",
    ));
    let (shown, folded): (Vec<&str>, Vec<&str>) = preferred(&titles);
    let first: Vec<ArmView<'_>> = std::iter::once(base).chain(focus).collect();
    let rest: Vec<ArmView<'_>> =
        view.arms.iter().filter(|arm| first.iter().all(|own| own.index != arm.index)).copied().collect();
    blocks.extend(shown.iter().flat_map(|title| figures(view, title, &first)));
    let other_sweeps: Vec<Block> = folded.iter().flat_map(|title| figures(view, title, &first)).collect();
    let other_arms: Vec<Block> = titles.iter().flat_map(|title| figures(view, title, &rest)).collect();
    for (name, blocks_of) in [("Further sweeps", other_sweeps), ("The same sweeps in the other arms", other_arms)] {
        if !blocks_of.is_empty() {
            blocks.push(Block::Details(name.to_owned(), blocks_of));
        }
    }
    titled("maps", "Where the effects live", blocks)
}

/// The sweeps that stand open: of the residual stream and of the heads, noising first. All, where they are few.
fn preferred<'a>(titles: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    if titles.len() <= OPEN / 2 {
        return (titles.to_vec(), Vec::new());
    }
    let first = |title: &&str| (title.starts_with("resid") || title.starts_with('z')) && !title.contains("denoise");
    let (mut shown, mut folded): (Vec<&str>, Vec<&str>) = titles.iter().partition(|title| first(title));
    if shown.is_empty() {
        std::mem::swap(&mut shown, &mut folded);
    }
    folded.extend(shown.iter().skip(OPEN));
    shown.truncate(OPEN);
    (shown, folded)
}

/// A sweep's name and its maps, side by side.
fn figures(view: &View<'_>, title: &str, arms: &[ArmView<'_>]) -> Vec<Block> {
    let of = |arm: &ArmView<'_>| arm.record.grids.iter().find(|grid| grid.title == title).cloned();
    let full = view.arms.iter().filter_map(of).map(|grid| strongest(&grid)).fold(0.0, f64::max);
    let figures: Vec<Figure> = arms
        .iter()
        .filter_map(|arm| {
            let grid = of(arm)?;
            Some(Figure::Heat(Heat { caption: arm.label(), axes: axes(title), grid, full }))
        })
        .collect();
    match figures.is_empty() {
        true => Vec::new(),
        false => vec![Block::Heading(capitalised(&sweep_in_words(title))), Block::Figures(figures)],
    }
}

/// `resid_pre, noise, hiring` becomes `residual stream entering each layer, noising, hiring`.
fn sweep_in_words(title: &str) -> String {
    let parts: Vec<String> = title
        .split(", ")
        .map(|part| match part {
            "resid_pre" => "residual stream entering each layer".to_owned(),
            "resid_mid" => "residual stream after attention".to_owned(),
            "resid_post" => "residual stream leaving each layer".to_owned(),
            "z" => "attention heads".to_owned(),
            "attn_out" => "attention output".to_owned(),
            "mlp_out" => "MLP output".to_owned(),
            "noise" => "noising".to_owned(),
            "denoise" => "denoising".to_owned(),
            other => population_in_words(other),
        })
        .collect();
    parts.join(", ")
}

fn strongest(grid: &EffectGrid) -> f64 {
    grid.values
        .iter()
        .flatten()
        .flatten()
        .filter(|value| value.is_finite())
        .map(|value| value.abs())
        .fold(0.0, f64::max)
}

fn axes(title: &str) -> (String, String) {
    let columns = if title.starts_with('z') { "head" } else { "position" };
    ("layer".to_owned(), columns.to_owned())
}
