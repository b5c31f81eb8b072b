//! Tokens coloured by the change of their ln p.

use maud::{Markup, html};

use super::document::TokenLine;
use super::number;

/// The change at which the colour is full, nats.
const FULL: f64 = 2.0;

/// How much of the colour is mixed in at most, per cent: the text stays readable.
const DEEPEST: f64 = 50.0;

/// One paragraph a request. Colour is not alone: what rose is underlined, what fell is dotted, and each token says its
/// numbers under the pointer.
pub(super) fn render(lines: &[TokenLine]) -> Markup {
    html! {
        @for line in lines {
            figure class="of-tokens" {
                figcaption { (line.title) }
                p class="tokens" { @for (token, baseline, candidate) in &line.tokens { (one(token, *baseline, *candidate)) } }
            }
        }
    }
}

fn one(token: &str, baseline: f64, candidate: f64) -> Markup {
    let change = candidate - baseline;
    let strength = (DEEPEST * (change.abs() / FULL).min(1.0)).round();
    let class = if change > 0.0 { "up" } else { "down" };
    let said = format!("{} → {} nats", number::significant(baseline), number::significant(candidate));
    html! {
        @if strength >= 1.0 {
            span class=(class) style={ "--strength:" (strength) "%" } data-tip=(said) title=(said) { (token) }
        } @else {
            span data-tip=(said) title=(said) { (token) }
        }
    }
}

/// The same as text: token and change.
pub(super) fn markdown(lines: &[TokenLine], escape: impl Fn(&str) -> String) -> String {
    let line = |line: &TokenLine| {
        let tokens = line.tokens.iter().map(|(token, baseline, candidate)| {
            format!("{} ({})", escape(token.trim()), number::significant(candidate - baseline))
        });
        format!("**{}**: {}\n\n", escape(&line.title), tokens.collect::<Vec<_>>().join(", "))
    };
    lines.iter().map(line).collect()
}
