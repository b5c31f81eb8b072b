//! `direction` as a user meets it, on the embedded model.

use serde_json::Value;

use super::cli::{done, refused};
use super::formats::scratch;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn fit_test_and_erase_on_the_embedded_model() {
    let folder = scratch("direction");
    let at = |name: &str| folder.join(name).display().to_string();
    let site = "blocks.2.hook_resid_post[slot=last]";
    let set = ["--model", "embedded", "--eval-set", "hiring"];
    let fit = |variable: &str, method: &str| {
        let output = at(&format!("{variable}-{method}"));
        let own = ["--variable", variable, "--site", site, "--method", method, "--steps", "40", "--fit-pairs", "48"];
        json(&done(&[&["direction", "fit"], &set[..], &own, &["--output", &output, "--json"]].concat()))
    };
    let years = fit("years", "das");
    let judged = &years["held_out"]["judged"];
    assert!(number(&judged["share"]["value"]) > 0.5, "{judged}");
    assert!(number(&judged["random"]["p_value"]) < 0.05, "{judged}");
    assert_eq!(years["fitted_on"]["variable"], "years");
    let _ = fit("gender", "das");
    let (years, gender) = (at("years-das"), at("gender-das"));
    let tested = json(&done(&[&["direction", "test", &years, &gender], &set[..], &["--json"]].concat()));
    let table = &tested["disentanglement"];
    assert_eq!(table["variables"], serde_json::json!(["years", "gender"]));
    assert!(number(&table["rows"][0]["shares"][0]["value"]) > number(&table["rows"][0]["shares"][1]["value"]));
    let text = done(&[&["direction", "test", &years], &set[..]].concat());
    assert!(text.contains("interchange accuracy") && text.contains("selectivity"), "{text}");

    let erased = json(&done(&[&["direction", "erase", &gender], &set[..], &["--json"]].concat()));
    let (variable, others) = (&erased["erasure"]["variable"], &erased["erasure"]["others"]);
    assert!(number(&variable["remaining"]["value"]) < number(&others["remaining"]["value"]), "{erased}");

    let refuse = |more: &[&str], wanted: &str| refused(&[more, &set[..]].concat(), wanted);
    let asked = ["direction", "fit", "--output", &gender, "--variable"];
    refuse(&[&asked[..], &["gender", "--site", site, "--rank", "65"]].concat(), "rank 65");
    refuse(
        &[&asked[..], &["gender", "--site", "blocks.9.hook_resid_post[slot=last]"]].concat(),
        "layers run from 0 to 3",
    );
    refuse(&[&asked[..], &["gander", "--site", site]].concat(), "the pairs set gender");
    refuse(&[&asked[..], &["gender", "--site", site, "--fit-pairs", "3"]].concat(), "pairs to fit on, at least 8");
    let out = at("folded");
    refuse(&["direction", "erase", &gender, "--write-checkpoint", &out], "names one");
    refuse(&["direction", "erase", &at("nowhere")], "direction.json");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch");
    let other = ["direction", "test", &gender, "--model", fixture, "--eval-set", "hiring"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_counterpath")).args(other).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
}
