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
    blocks.extend(by_population(view, &shown, &first));
    let other_sweeps = by_population(view, &folded, &first);
    let other_arms = by_population(view, &titles, &rest);
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

/// For each population its sweeps, arms side by side.
fn by_population(view: &View<'_>, titles: &[&str], arms: &[ArmView<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for population in distinct(titles.iter().map(|title| sweep(title).1)) {
        let own = titles.iter().filter(|title| sweep(title).1 == population);
        let figures: Vec<Figure> = own.flat_map(|title| figures(view, title, arms)).collect();
        if !figures.is_empty() {
            blocks.push(Block::Heading(capitalised(&population_in_words(population))));
            blocks.push(Block::Figures(figures));
        }
    }
    blocks
}

fn figures(view: &View<'_>, title: &str, arms: &[ArmView<'_>]) -> Vec<Figure> {
    let of = |arm: &ArmView<'_>| arm.record.grids.iter().find(|grid| grid.title == title).cloned();
    let full = view.arms.iter().filter_map(of).map(|grid| strongest(&grid)).fold(0.0, f64::max);
    let figure = |arm: &ArmView<'_>| {
        let grid = of(arm)?;
        let caption = format!("{}: {}", arm.label(), in_words(sweep(title).0));
        Some(Figure::Heat(Heat { caption, axes: axes(title), grid, full }))
    };
    arms.iter().filter_map(figure).collect()
}

/// A sweep's title cut into what was swept (`resid_pre, noise`) and of which population.
fn sweep(title: &str) -> (&str, &str) {
    let second = title.match_indices(", ").nth(1).map(|(at, _)| at);
    second.and_then(|at| Some((title.get(..at)?, title.get(at + 2..)?))).unwrap_or((title, ""))
}

/// `resid_pre, noise` becomes `residual stream entering each layer, noising`.
fn in_words(swept: &str) -> String {
    let words: Vec<&str> = swept
        .split(", ")
        .map(|part| match part {
            "resid_pre" => "residual stream entering each layer",
            "resid_mid" => "residual stream after attention",
            "resid_post" => "residual stream leaving each layer",
            "z" => "attention heads",
            "attn_out" => "attention output",
            "mlp_out" => "MLP output",
            "noise" => "noising",
            "denoise" => "denoising",
            other => other,
        })
        .collect();
    words.join(", ")
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
