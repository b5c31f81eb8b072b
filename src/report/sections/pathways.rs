//! The pathways: their sites, the share that they carry, and what was found again after tuning.

use super::{ArmView, View, distinct, optional_cell, paragraph, set_of, titled};
use crate::report::document::{Block, Cell, Column, Inline, Section, Table, strong, text};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::{capitalised, population_in_words, site_in_words};
use crate::stats::{Estimate, PatchDirection, Pathway, SiteEffect};

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let base = view.base()?;
    let populations =
        distinct(view.arms.iter().flat_map(|arm| &arm.record.pathways).map(|pathway| pathway.population.as_str()));
    if populations.is_empty() {
        return None;
    }
    let mut blocks: Vec<Block> =
        glossary.introduce(&["site", "direction", "pathway", "share", "q-value"]).into_iter().collect();
    blocks.push(paragraph(
        "Sites were chosen on the discovery split; the shares are measured on held-out pairs. After tuning \
         the pathway was searched again: a repair that only moved the effect elsewhere would show up as an own pathway that \
         carries much of a total effect that is still large.",
    ));
    for population in populations {
        blocks.push(Block::Heading(capitalised(&population_in_words(population))));
        if let Some(pathway) = pathway_of(&base, population) {
            blocks.push(Block::Paragraph(rule(pathway)));
            blocks.push(Block::Table(sites_table(&base, pathway)));
        }
        blocks.push(Block::Table(share_table(view, population)));
    }
    titled("pathways", "The pathway", blocks)
}

fn pathway_of<'a>(arm: &ArmView<'a>, population: &str) -> Option<&'a Pathway> {
    arm.record.pathways.iter().find(|pathway| pathway.population == population)
}

fn rule(pathway: &Pathway) -> Vec<Inline> {
    let sites: Vec<String> = pathway.sites.iter().map(|site| site_in_words(site)).collect();
    let found = match sites.as_slice() {
        [] => "No site passed the rule.".to_owned(),
        [site] => format!("One site: {site}."),
        sites => format!("{} sites, strongest first: {}.", sites.len(), sites.join("; ")),
    };
    vec![strong(found), text(format!(" {}", pathway.rule))]
}

fn sites_table(arm: &ArmView<'_>, pathway: &Pathway) -> Table {
    let columns = vec![
        Column::text("site"),
        Column::number("noising, nats"),
        Column::number("q"),
        Column::number("denoising, nats"),
        Column::number("q"),
    ];
    let find = |site: &str, direction: PatchDirection| -> Option<&SiteEffect> {
        let sweeps = arm.record.sites.iter().filter(|sweep| set_of(&sweep.population) == set_of(&pathway.population));
        sweeps.flat_map(|sweep| &sweep.effects).find(|effect| effect.site == site && effect.direction == direction)
    };
    let rows = pathway.sites.iter().map(|site| {
        let mut cells = vec![Cell::code(site.as_str()).with(site_in_words(site))];
        for direction in [PatchDirection::Noise, PatchDirection::Denoise] {
            let effect = find(site, direction);
            cells.push(optional_cell(effect.map(|effect| &effect.estimate), "nats"));
            cells.push(Cell::new(
                effect.and_then(|effect| effect.q_value).map_or_else(|| "–".to_owned(), number::p_value),
            ));
        }
        cells
    });
    Table { caption: format!("Sites of the pathway, one by one, in {}", arm.label()), columns, rows: rows.collect() }
}

/// Which pathway carries how much in which arm.
fn share_table(view: &View<'_>, population: &str) -> Table {
    let columns = vec![
        Column::text("arm"),
        Column::number("original pathway, %"),
        Column::number("own pathway, noising, %"),
        Column::number("own pathway, denoising, %"),
        Column::text("sites of the own pathway"),
    ];
    let original = view.base().and_then(|base| pathway_of(&base, population)).map(|pathway| pathway.sites.as_slice());
    let rows = view.arms.iter().map(|arm| {
        let own = pathway_of(arm, population);
        let sites = match own.map(|pathway| pathway.sites.as_slice()) {
            None => "not searched again".to_owned(),
            Some([]) => "no site passed the rule".to_owned(),
            Some(_) if arm.index == 0 => "as above".to_owned(),
            Some(sites) if Some(sites) == original => "the same again".to_owned(),
            Some(sites) => sites.iter().map(|site| site_in_words(site)).collect::<Vec<_>>().join("; "),
        };
        vec![
            Cell::new(arm.label()),
            optional_cell(original_share(arm, population), "share"),
            optional_cell(own.map(|pathway| &pathway.share), "share"),
            optional_cell(own.map(|pathway| &pathway.share_denoised), "share"),
            Cell::new(sites),
        ]
    });
    Table { caption: "Share of the total effect that a pathway carries".to_owned(), columns, rows: rows.collect() }
}

fn original_share<'a>(arm: &ArmView<'a>, population: &str) -> Option<&'a Estimate> {
    let wanted = |score: &&crate::stats::MetricScore| {
        score.metric.split('@').next() == Some("explainability.pathway_share")
            && set_of(&score.population) == set_of(population)
    };
    arm.record.scores.iter().find(wanted).map(|score| &score.estimate)
}
