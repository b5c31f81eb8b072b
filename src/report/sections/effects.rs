//! Total, direct and indirect effects, arm by arm.

use super::{View, distinct, optional_cell, paragraph, set_of, titled};
use crate::report::document::{Block, Cell, Column, Section, Table};
use crate::report::glossary::Glossary;
use crate::report::words::{capitalised, population_in_words, site_in_words};
use crate::stats::{Effect, EffectKind, EffectScale, Regime};

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let effects = keyed(view);
    if effects.is_empty() {
        return None;
    }
    let mut blocks: Vec<Block> = glossary.introduce(&["total", "direct", "indirect"]).into_iter().collect();
    blocks.push(paragraph(
        "Means over pairs; pairs whose change runs the other way round are turned first, so that opposite pairs do not \
         cancel. In log-odds the total effect equals the natural direct effect less the reversed natural indirect effect; \
         the two sides come from separately executed runs, so that a mistake in the machinery would show (see the \
         checks below).",
    ));
    let (shown, folded): (Vec<_>, Vec<_>) =
        effects.into_iter().partition(|effect| effect.scale == EffectScale::LogOdds);
    blocks.extend(tables(view, &shown));
    if !folded.is_empty() {
        blocks.push(Block::Details("The same effects on other scales".to_owned(), tables(view, &folded)));
    }
    titled("effects", "How large the effects are", blocks)
}

/// One effect of every kind, scale, population and pathway, whichever arm has it first.
fn keyed<'a>(view: &View<'a>) -> Vec<&'a Effect> {
    let mut found: Vec<&Effect> = Vec::new();
    for effect in view.arms.iter().flat_map(|arm| &arm.record.effects) {
        if !found.iter().any(|known| same(known, effect)) {
            found.push(effect);
        }
    }
    found
}

fn same(a: &Effect, b: &Effect) -> bool {
    (a.kind, a.scale, a.regime, &a.population, &a.through) == (b.kind, b.scale, b.regime, &b.population, &b.through)
}

fn tables(view: &View<'_>, effects: &[&Effect]) -> Vec<Block> {
    distinct(effects.iter().map(|effect| set_of(&effect.population)))
        .into_iter()
        .map(|set| {
            let own: Vec<&&Effect> = effects.iter().filter(|effect| set_of(&effect.population) == set).collect();
            let mut rows = Vec::new();
            let groups = distinct(own.iter().map(|effect| effect.population.as_str()));
            for group in &groups {
                if groups.len() > 1 {
                    rows.push(vec![Cell::new(population_in_words(group))]);
                }
                rows.extend(own.iter().filter(|effect| effect.population == *group).map(|effect| row(view, effect)));
            }
            let columns = std::iter::once(Column::text("effect"))
                .chain(view.columns().into_iter().map(|arm| Column::number(arm.label())));
            let caption = match groups.as_slice() {
                [only] => population_in_words(only),
                _ => set.to_owned(),
            };
            Block::Table(Table { caption: capitalised(&caption), columns: columns.collect(), rows })
        })
        .collect()
}

fn row(view: &View<'_>, effect: &Effect) -> Vec<Cell> {
    let unit = scale_unit(effect.scale);
    let mut detail = scale_in_words(effect.scale).to_owned();
    if let Some(through) = &effect.through {
        detail = format!("{}; {detail}", through_in_words(view, set_of(&effect.population), through));
    }
    if effect.regime == Regime::Observational {
        detail = format!("{detail}; observational");
    }
    let head = Cell::new(kind_in_words(effect.kind)).with(detail);
    let cells = view.columns().into_iter().map(|arm| {
        let own = arm.record.effects.iter().find(|own| same(own, effect));
        optional_cell(own.map(|own| &own.estimate), unit)
    });
    std::iter::once(head).chain(cells).collect()
}

/// Whose pathway the mediating sites are; their names where they are nobody's.
fn through_in_words(view: &View<'_>, set: &str, through: &str) -> String {
    let sorted = |sites: Vec<&str>| {
        let mut sites = sites;
        sites.sort_unstable();
        sites.join(" + ")
    };
    let wanted = sorted(through.split(" + ").collect());
    let owner = view.arms.iter().find(|arm| {
        let pathways = arm.record.pathways.iter().filter(|pathway| set_of(&pathway.population) == set);
        pathways.into_iter().any(|pathway| sorted(pathway.sites.iter().map(String::as_str).collect()) == wanted)
    });
    match owner {
        Some(arm) if arm.index == 0 => "through the pathway".to_owned(),
        Some(arm) => format!("through the pathway rediscovered in {}", arm.label()),
        None => {
            let sites: Vec<String> = through.split(" + ").map(site_in_words).collect();
            format!("through {}", sites.join(" + "))
        }
    }
}

fn kind_in_words(kind: EffectKind) -> &'static str {
    match kind {
        EffectKind::Total => "Total (TE)",
        EffectKind::NaturalDirect => "Natural direct (NDE)",
        EffectKind::NaturalIndirect => "Natural indirect (NIE)",
        EffectKind::ReversedNaturalIndirect => "Reversed natural indirect",
    }
}

fn scale_in_words(scale: EffectScale) -> &'static str {
    match scale {
        EffectScale::LogOdds => "log-odds, nats",
        EffectScale::LogitDifference => "logit difference, nats",
        EffectScale::Probability => "probability, percentage points",
        EffectScale::OddsRatio => "odds ratio less 1",
        EffectScale::Kl => "KL divergence, nats",
    }
}

fn scale_unit(scale: EffectScale) -> &'static str {
    match scale {
        EffectScale::LogOdds | EffectScale::LogitDifference | EffectScale::Kl => "nats",
        EffectScale::Probability => "probability",
        EffectScale::OddsRatio => "",
    }
}
