//! Numbers as people read them: as many digits as the interval supports, a unit, never a NaN.

use crate::stats::{Estimate, Interval};

/// What stands where a number is missing.
const MISSING: &str = "undefined";

/// How values of one unit are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// As it is.
    Plain,
    /// A share between 0 and 1, written in per cent.
    Percent,
}

impl Scale {
    /// The scale of a unit as metrics name it.
    pub(super) fn of(unit: &str) -> Self {
        match unit {
            "share" | "probability" => Self::Percent,
            _ => Self::Plain,
        }
    }

    fn apply(self, value: f64) -> f64 {
        match self {
            Self::Plain => value,
            Self::Percent => 100.0 * value,
        }
    }
}

/// The unit as a reader should see it.
pub(super) fn unit_in_words(unit: &str) -> &str {
    match unit {
        "share" | "probability" => "%",
        "perplexity a token" => "per token",
        "" | "1" => "no unit",
        other => other,
    }
}

/// `value` with `decimals` digits after the point and a true minus sign; a negative zero loses its sign.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let zero = text.chars().all(|c| c == '0' || c == '.');
    if value < 0.0 && !zero { format!("−{text}") } else { text }
}

/// `value` with three significant digits, plain up to a million and with a power of ten beyond.
pub(super) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-3.0..7.0).contains(&magnitude) {
        let mantissa = fixed(value / 10f64.powf(magnitude), 1);
        return format!("{}·10{}", mantissa.trim_end_matches(".0"), superscript(magnitude as i32));
    }
    fixed(value, (2.0 - magnitude).clamp(0.0, 7.0) as usize)
}

fn superscript(exponent: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raised = |c: char| c.to_digit(10).and_then(|digit| DIGITS.get(digit as usize)).copied();
    exponent.to_string().chars().map(|c| raised(c).unwrap_or('⁻')).collect()
}

/// Digits after the point such that the interval's half width keeps two significant ones where they start below 35,
/// else one (the rule of the Particle Data Group); two at most from 0.1 on,
/// three below. Percentages have one digit, or none where the
/// interval is wide.
fn decimals(value: f64, interval: Option<Interval>, scale: Scale) -> usize {
    let width = interval.map(|interval| scale.apply(interval.high - interval.low).abs() / 2.0);
    let reference = match width {
        Some(width) if width > 0.0 && width.is_finite() => width,
        _ => scale.apply(value).abs() / 10.0,
    };
    if reference <= 0.0 || !reference.is_finite() {
        return 2;
    }
    if scale == Scale::Percent {
        return if reference < 10.0 { 1 } else { 0 };
    }
    let magnitude = reference.log10().floor();
    let wanted = if reference / 10f64.powf(magnitude) < 3.55 { 1.0 } else { 0.0 };
    let most = if value.abs() >= 0.0995 { 2.0 } else { 3.0 };
    (wanted - magnitude).clamp(0.0, most) as usize
}

/// The value of an estimate, or `undefined`.
pub(super) fn value(estimate: &Estimate, unit: &str) -> String {
    let scale = Scale::of(unit);
    match estimate.value {
        Some(value) => fixed(scale.apply(value), decimals(value, estimate.interval, scale)),
        None => MISSING.to_owned(),
    }
}

/// The interval in brackets, where both bounds exist.
pub(super) fn interval(estimate: &Estimate, unit: &str) -> Option<String> {
    let scale = Scale::of(unit);
    let interval = estimate.interval.filter(|interval| interval.low.is_finite() && interval.high.is_finite())?;
    let digits = decimals(estimate.value.unwrap_or(interval.high), Some(interval), scale);
    Some(format!("[{}, {}]", fixed(scale.apply(interval.low), digits), fixed(scale.apply(interval.high), digits)))
}

/// Value and interval, with the unit behind them: `0.27 [0.21, 0.35] nats`. An undefined estimate gives its reason.
pub(super) fn in_full(estimate: &Estimate, unit: &str) -> String {
    let Some(number) = estimate.value.filter(|value| value.is_finite()) else {
        return format!("undefined ({})", reason(estimate));
    };
    let scale = Scale::of(unit);
    let mut text = fixed(scale.apply(number), decimals(number, estimate.interval, scale));
    if let Some(interval) = interval(estimate, unit) {
        text = format!("{text} {interval}");
    }
    match unit_in_words(unit) {
        "no unit" => text,
        unit => format!("{text} {unit}"),
    }
}

/// Why an estimate has no value or no interval.
pub(super) fn reason(estimate: &Estimate) -> &str {
    match &estimate.undefined {
        Some(reason) => reason,
        None => "no reason was recorded",
    }
}

/// A p- or q-value: `0.034`, `< 0.001`.
pub(super) fn p_value(p: f64) -> String {
    match p {
        p if !p.is_finite() => MISSING.to_owned(),
        p if p < 0.001 => "< 0.001".to_owned(),
        p => fixed(p, 3),
    }
}

/// A probability in per cent with enough digits that nearly sure is not written as sure.
pub(super) fn percent(p: f64) -> String {
    if !p.is_finite() {
        return MISSING.to_owned();
    }
    let rest = p.min(1.0 - p);
    let digits = if rest <= 0.0 || rest >= 0.01 { 1 } else { 2 };
    match 100.0 * p {
        p if p > 0.0 && p < 0.005 => "< 0.01 %".to_owned(),
        p if p < 100.0 && p > 99.995 => "> 99.99 %".to_owned(),
        p => format!("{} %", fixed(p, digits)),
    }
}

/// A change as a signed per cent of where it started: `−91 %`; `None` where it started at 0.
pub(super) fn relative_change(from: f64, to: f64) -> Option<String> {
    let change = 100.0 * (to - from) / from.abs();
    if !change.is_finite() {
        return None;
    }
    let sign = if change > 0.0 { "+" } else { "" };
    Some(format!("{sign}{} %", fixed(change, 0)))
}

/// A count with thin groups of three: `1 234 567`.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A duration: `0.42 s`, `12 s`, `3 min 20 s`.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => MISSING.to_owned(),
        s if s < 9.95 => format!("{} s", significant(s)),
        s if s < 119.5 => format!("{} s", fixed(s, 0)),
        s => format!("{} min {:02} s", fixed((s.round() / 60.0).floor(), 0), s.round() as u64 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, low: f64, high: f64) -> Estimate {
        Estimate {
            value: Some(value),
            interval: Some(Interval { low, high, level: 0.95 }),
            undefined: None,
            n: 10,
            clusters: 5,
            method: String::new(),
        }
    }

    #[test]
    fn digits_follow_the_interval() {
        assert_eq!(in_full(&estimate(3.1379, 2.8, 3.5), "nats"), "3.14 [2.80, 3.50] nats");
        assert_eq!(in_full(&estimate(1234.5, 1100.0, 1400.0), "nats"), "1234 [1100, 1400] nats");
        assert_eq!(in_full(&estimate(0.8125, 0.78, 0.85), "share"), "81.2 [78.0, 85.0] %");
        assert_eq!(in_full(&estimate(1.0, 1.0, 1.0), "share"), "100 [100, 100] %");
        assert_eq!(value(&estimate(1.83, 1.74, 1.92), "nats"), "1.83");
        assert_eq!(value(&estimate(-0.0004, -0.2, 0.2), "nats"), "0.00");
    }

    #[test]
    fn what_is_not_a_number_is_never_printed_as_one() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut broken = estimate(bad, bad, 1.0);
            for text in
                [fixed(bad, 2), significant(bad), percent(bad), p_value(bad), seconds(bad), value(&broken, "nats")]
            {
                assert_eq!(text, "undefined");
            }
            broken.undefined = Some("the loss overflowed".into());
            assert_eq!(in_full(&broken, "nats"), "undefined (the loss overflowed)");
            assert_eq!(relative_change(1.0, bad), None);
        }
    }

    #[test]
    fn small_and_large_numbers() {
        assert_eq!(significant(0.0), "0");
        assert_eq!(significant(0.01234), "0.0123");
        assert_eq!(significant(-12.34), "−12.3");
        assert_eq!(significant(1e-6), "1·10⁻⁶");
        assert_eq!(significant(1.5e-9), "1.5·10⁻⁹");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(percent(0.99999), "> 99.99 %");
        assert_eq!(percent(1.0), "100.0 %");
        assert_eq!(p_value(0.0002), "< 0.001");
        assert_eq!(relative_change(3.0, 0.3).as_deref(), Some("−90 %"));
        assert_eq!(relative_change(0.0, 0.3), None);
        assert_eq!(seconds(200.0), "3 min 20 s");
        assert_eq!(seconds(119.7), "2 min 00 s");
    }
}
