//! A gate as JUnit XML, which pipelines show as tests.

use std::collections::BTreeMap;

use super::{Gate, GateCheck, Outcome};

/// One suite a candidate, one case a check. An undecided check is a skipped case: neither met nor refuted.
pub(super) fn render(gate: &Gate) -> String {
    let mut suites: BTreeMap<&str, Vec<&GateCheck>> = BTreeMap::new();
    for check in &gate.checks {
        suites.entry(check.candidate.as_str()).or_default().push(check);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str(&format!("<testsuites {}>\n", counts(&gate.checks.iter().collect::<Vec<_>>())));
    for (candidate, checks) in suites {
        let against = gate.baseline.as_ref().map_or_else(String::new, |baseline| format!(" against {baseline}"));
        let name = format!("counterpath gate: {candidate}{against}");
        out.push_str(&format!("  <testsuite name=\"{}\" {}>\n", escape(&name), counts(&checks)));
        checks.into_iter().for_each(|check| out.push_str(&case(check)));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts(checks: &[&GateCheck]) -> String {
    let count = |outcomes: &[Outcome]| checks.iter().filter(|check| outcomes.contains(&check.outcome)).count();
    let (failures, skipped) = (count(&[Outcome::Failed, Outcome::Missing]), count(&[Outcome::Undecided]));
    format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"", checks.len())
}

fn case(check: &GateCheck) -> String {
    let name = format!("{} of {}", check.metric, check.population);
    let head = format!("    <testcase classname=\"{}\" name=\"{}\"", escape(&check.rule), escape(&name));
    let message = escape(&check.message);
    match check.outcome {
        Outcome::Passed => format!("{head}>\n      <system-out>{message}</system-out>\n    </testcase>\n"),
        Outcome::Undecided => format!("{head}>\n      <skipped message=\"{message}\"/>\n    </testcase>\n"),
        Outcome::Failed => {
            let kind = if check.margin.is_some() { "regression" } else { "threshold" };
            format!("{head}>\n      <failure type=\"{kind}\" message=\"{message}\"/>\n    </testcase>\n")
        }
        Outcome::Missing => {
            format!("{head}>\n      <failure type=\"missing\" message=\"{message}\"/>\n    </testcase>\n")
        }
    }
}

/// Text that XML 1.0 can hold, in an attribute or an element: control characters become spaces.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
