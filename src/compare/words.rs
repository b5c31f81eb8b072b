//! Numbers as tables of comparisons write them.

/// Four significant digits' worth, plain in the range that tables have.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e4).contains(&size) => {
            let decimals = if size >= 100.0 {
                1
            } else if size >= 10.0 {
                2
            } else {
                3
            };
            format!("{value:.decimals$}")
        }
        size if size < 1e-12 => "0".into(),
        _ => format!("{value:.1e}"),
    }
}

/// A p-value.
pub(super) fn p_text(p: f64) -> String {
    if p < 0.001 { "<0.001".into() } else { format!("{p:.3}") }
}

/// Whether a unit is a share, which changes by points of a hundred.
fn in_points(unit: &str) -> bool {
    matches!(unit, "share" | "probability")
}

/// A change with its sign, without unit: of shares in points of a hundred.
pub(super) fn signed(value: f64, unit: &str) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    let text = match (in_points(unit), (100.0 * value).abs()) {
        (true, size) if size >= 1.0 => format!("{:.1}", 100.0 * value),
        (true, size) if size >= 0.1 => format!("{:.2}", 100.0 * value),
        (true, _) => number(100.0 * value),
        (false, _) => number(value),
    };
    format!("{sign}{}", text.replace('-', "−"))
}

/// A change with its sign and unit.
pub(super) fn amount(value: f64, unit: &str) -> String {
    format!("{} {}", signed(value, unit), if in_points(unit) { "points" } else { unit })
}
