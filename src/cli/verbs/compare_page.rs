//! The page of a comparison: items and tokens of the baseline beside those of each candidate.

use std::collections::BTreeMap;

use counterpath::compare::Comparison;
use counterpath::record::import::Imported;
use counterpath::report::{ComparisonPage, ItemPair, ItemTable, TokenPair, TokenTable};
use counterpath::stats::Item;

/// What the page shows.
pub fn page(runs: &[Imported], comparison: Comparison) -> ComparisonPage {
    let (mut items, mut tokens) = (Vec::new(), Vec::new());
    if let Some((baseline, candidates)) = runs.split_first() {
        for (run, compared) in candidates.iter().zip(&comparison.candidates) {
            items.extend(item_tables(baseline, run, &compared.name));
            tokens.extend(token_tables(baseline, run, &compared.name));
        }
    }
    ComparisonPage { comparison, items, tokens, command: super::command() }
}

fn item_tables(baseline: &Imported, run: &Imported, candidate: &str) -> Vec<ItemTable> {
    let mut tables = Vec::new();
    for score in &baseline.record.scores {
        let Some(other) = run.record.score(&score.metric, &score.population) else { continue };
        let others: BTreeMap<&str, &Item> = other.items.iter().map(|item| (item.id.as_str(), item)).collect();
        let prompts = baseline.prints.get(&score.population);
        let pair = |item: &Item| {
            Some(ItemPair {
                id: item.id.clone(),
                cluster: item.cluster.clone(),
                baseline: item.value,
                candidate: others.get(item.id.as_str())?.value,
                prompt: prompts.and_then(|all| all.get(&item.id)).map(|print| print.input.clone()).unwrap_or_default(),
            })
        };
        tables.push(ItemTable {
            candidate: candidate.to_owned(),
            metric: score.metric.clone(),
            population: score.population.clone(),
            direction: score.direction,
            items: score.items.iter().filter_map(pair).collect(),
        });
    }
    tables
}

/// Requests whose tokens both runs scored alike; runs with other tokens have nothing to set side by side.
fn token_tables(baseline: &Imported, run: &Imported, candidate: &str) -> Vec<TokenTable> {
    let mut tables = Vec::new();
    for (population, prints) in &baseline.prints {
        for (id, print) in prints {
            let Some(other) = run.prints.get(population).and_then(|prints| prints.get(id)) else { continue };
            for (index, (one, two)) in print.tokens.iter().zip(&other.tokens).enumerate() {
                let same = one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a.0 == b.0);
                let pairs =
                    one.iter().zip(two).map(|(a, b)| TokenPair { token: a.0.clone(), baseline: a.1, candidate: b.1 });
                tables.push(TokenTable {
                    candidate: candidate.to_owned(),
                    population: population.clone(),
                    id: id.clone(),
                    request: index + 1,
                    tokens: if same { pairs.collect() } else { Vec::new() },
                });
            }
        }
    }
    tables
}
