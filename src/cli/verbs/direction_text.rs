//! What `direction` prints for people.

use counterpath::direction::{Card, Disentanglement, ErasedEffect, HeldOut};
use counterpath::report::terminal::{Align, properties, table as grid};
use counterpath::stats::Estimate;

const WIDTH: usize = 120;

/// A value with its interval, or the reason that there is none.
fn shown(estimate: &Estimate) -> String {
    match (estimate.value, estimate.interval) {
        (Some(value), Some(interval)) => format!("{value:.3} [{:.3}, {:.3}]", interval.low, interval.high),
        (Some(value), None) => format!("{value:.3} ({})", estimate.undefined.as_deref().unwrap_or("no interval")),
        _ => format!("undefined: {}", estimate.undefined.as_deref().unwrap_or("no reason given")),
    }
}

fn line(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// A fit.
pub fn card(card: &Card) -> String {
    let lines = [
        line("method", format!("{}, rank {} of {}", card.method, card.rank, card.width)),
        line("site", card.site.to_string()),
        line("variable", card.fitted_on.variable.as_deref().unwrap_or("that of the pairs")),
        line(
            "fitted on",
            format!(
                "{} pairs (those of other variables among them), values {}",
                card.training.pairs.len(),
                card.training.values.join(", ")
            ),
        ),
        line("  interchange accuracy", shown(&card.training.accuracy)),
        line("  share of the effect", shown(&card.training.share)),
    ];
    format!("{}held out: {} pairs\n{}", properties(&lines, WIDTH), card.held_out.pairs, held_out(&card.held_out))
}

/// The held-out checks.
pub fn held_out(found: &HeldOut) -> String {
    let judged = &found.judged;
    let [minimal, crossed, held] = judged.interchanges;
    let (random, dormant) = (&judged.random, &judged.dormant);
    let unread = match (dormant.unread_part, dormant.read_dimensions) {
        (Some(part), Some(read)) => format!("{part:.3} of the basis ({read} directions are read)"),
        _ => "not known at this site".to_owned(),
    };
    let lines = [
        line("interchanges", format!("{minimal} minimal, {crossed} crossed, {held} of other variables")),
        line("interchange accuracy", shown(&judged.accuracy)),
        line("  nothing interchanged", shown(&judged.accuracy_of_nothing)),
        line("  whole activation", shown(&judged.accuracy_of_all)),
        line("  where the answer turns", shown(&judged.accuracy_of_turning)),
        line("share of the effect", shown(&judged.share)),
        line("  whole activation", shown(&judged.share_of_all)),
        line("  outside the subspace", shown(&judged.share_outside)),
        line("  other variables' effect", shown(&judged.share_of_others)),
        line(
            "  random subspaces",
            format!(
                "{:.3} on average, {:.3} at most, p = {:.3}",
                random.mean_share, random.largest_share, random.p_value
            ),
        ),
        line("beyond the whole", shown(&dormant.beyond_all)),
        line("unread part", unread),
        line("  effect that needs it", shown(&dormant.unread_effect)),
        line("read by a probe", shown(&found.readable.accuracy)),
        line("  commonest value", format!("{:.3}", found.readable.majority)),
        line("  inside the subspace", shown(&found.readable_inside.accuracy)),
        line("  after the eraser", shown(&found.readable_erased.accuracy)),
        line(
            "  selectivity",
            format!("{}, {} word types", shown(&found.readable.selectivity), found.readable.word_types),
        ),
    ];
    let verdict = match found.objections.is_empty() {
        true => "accepted: no check objects\n".to_owned(),
        false => found.objections.iter().map(|objection| format!("rejected: {objection}\n")).collect(),
    };
    format!("{}{verdict}", properties(&lines, WIDTH))
}

/// Which variables have a subspace of their own.
pub fn table(found: &Disentanglement) -> String {
    let mut heads = vec![("subspace of", Align::Left)];
    heads.extend(found.variables.iter().map(|variable| (variable.as_str(), Align::Right)));
    heads.push(("own", Align::Left));
    let rows: Vec<Vec<String>> = (found.rows.iter())
        .map(|row| {
            let own = if row.own { "yes" } else { "no" };
            let shares = row.shares.iter().map(shown);
            [row.variable.clone()].into_iter().chain(shares).chain([own.to_owned()]).collect()
        })
        .collect();
    let mut angles = String::new();
    for (number, row) in found.rows.iter().enumerate() {
        for (other, degrees) in found.variables.iter().zip(&row.angles).skip(number + 1) {
            let degrees: Vec<String> = degrees.iter().map(|angle| format!("{angle:.1}°")).collect();
            let degrees =
                if degrees.is_empty() { "not comparable: other sites".to_owned() } else { degrees.join(", ") };
            angles.push_str(&format!("angles of {} and {other}: {degrees}\n", row.variable));
        }
    }
    format!(
        "share of each variable's effect that a subspace moves\n{}own: at least {} of its own effect, at most {} of any other's, by the whole interval\n{angles}",
        grid(&heads, &rows, WIDTH),
        found.rule.own,
        found.rule.other
    )
}

/// An effect with and without an eraser.
pub fn erased(of: &str, effect: &ErasedEffect) -> String {
    let lines = [
        line(&format!("effect of {of}"), shown(&effect.before)),
        line("  erased", shown(&effect.after)),
        line("  difference", shown(&effect.difference)),
        line("  remaining share", shown(&effect.remaining)),
    ];
    properties(&lines, WIDTH)
}
