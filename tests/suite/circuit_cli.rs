//! The verb `circuit` as a user meets it.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::{done, refused};
use crate::shared::json;

fn scratch() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-circuit-cli-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

fn pairs() -> String {
    let line = |at: usize| {
        let (a, b) = (40 + at, 60 + 2 * at);
        format!(
            "{{\"id\":\"p{at}\",\"cluster\":\"c{}\",\"factual_ids\":[1,{a},50,70],\"counterfactual_ids\":[1,{b},50,70],\"answer_ids\":[80,90]}}\n",
            at / 2
        )
    };
    (0..8).map(line).collect()
}

#[test]
fn a_circuit_is_discovered_evaluated_and_compared() {
    let folder = scratch();
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("pairs.jsonl"), pairs()).expect("pairs");
    let (pairs, circuit, found, svg) = (path("pairs.jsonl"), path("circuit.json"), path("found.json"), path("c.svg"));
    let (page, told) = (path("page.html"), path("page.md"));
    let small = ["--random", "4", "--minimality", "2"];
    let discover = |extra: &[&str]| {
        let mut arguments = vec!["circuit", "discover", "--model", "embedded", "--pairs", &pairs, "--sign", "measured"];
        arguments.extend(["--circuit", &circuit, "--output", &found, "--svg", &svg, "--edges", "60", "--steps", "2"]);
        arguments.extend(["--confirm", "3", "--sample", "2", "--html", &page, "--markdown", &told]);
        arguments.extend(small);
        arguments.extend(extra);
        done(&arguments)
    };
    let printed = discover(&[]);
    for wanted in ["of 479 edges (60 taken", "CPR (signed)", "edges confirmed; of 476 edges", "equivalence"] {
        assert!(printed.contains(wanted), "{wanted}: {printed}");
    }
    let result = json(folder.join("found.json").as_path());
    assert_eq!(result["requested"], 60);
    assert_eq!(
        (&result["same_pairs"], &result["discovery_pairs"], &result["report"]["pairs"]),
        (&Value::Bool(false), &4.into(), &4.into())
    );
    assert_eq!(result["curves"][1]["points"].as_array().expect("points").len(), 10);
    assert!(!folder.join("found.json.journal").exists(), "the journal goes once the result stands");
    assert!(std::fs::read_to_string(path("c.svg")).expect("drawing").contains("logits"));
    // The page: every edge is drawn, the curve has its two lines, and both files give the areas on all three axes.
    let read = |name: &str| std::fs::read_to_string(path(name)).expect("page");
    let (html, markdown) = (read("page.html"), read("page.md"));
    let drawn = html.matches("<g class=\"edge carries\"><title>").count()
        + html.matches("<g class=\"edge against\"><title>").count();
    assert_eq!(drawn as u64, result["realised"].as_u64().expect("edges").min(40));
    let log = result["curves"][1]["log"]["cmd"].as_f64().expect("an area on the log axis");
    for text in [&html, &markdown] {
        for wanted in ["by signed score", "random circuits", "What the scores may have missed", &format!("{log:.3}")] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
    // The same request gives the same bytes.
    let before = std::fs::read(path("found.json")).expect("result");
    discover(&["--json"]);
    assert_eq!(before, std::fs::read(path("found.json")).expect("result"));

    let again = path("again.json");
    let mut arguments = vec!["circuit", "evaluate", "--model", "embedded", "--pairs", &pairs, "--sign", "measured"];
    arguments.extend(["--circuit", &circuit, "--output", &again, "--sensitivity", "--html", &page]);
    arguments.extend(small);
    let printed = done(&arguments);
    assert!(printed.contains("mean_positional") && printed.contains("f(M-C)"), "{printed}");
    assert!(read("page.html").contains("The same circuit under every ablation"));
    let evaluated = json(folder.join("again.json").as_path());
    assert_eq!(evaluated["sensitivity"].as_array().expect("ablations").len(), 4);
    assert_eq!(evaluated["report"]["pairs"], 8);
    assert_eq!(evaluated["report"]["evaluation"]["edges"], result["realised"]);

    let compared = path("compared.json");
    let mut arguments = vec!["circuit", "compare", "--model", "embedded", "--against", "embedded", "--pairs", &pairs];
    arguments.extend(["--circuit", &circuit, "--output", &compared, "--markdown", &told]);
    assert!(done(&arguments).contains("carried"));
    assert!(read("page.md").contains("below each value its paired difference"), "{}", read("page.md"));
    let compared = json(folder.join("compared.json").as_path());
    for contrast in compared["contrasts"].as_array().expect("contrasts") {
        assert!(contrast["difference"]["value"].as_f64().expect("value").abs() < 1e-9, "{contrast}");
    }

    // A file for another architecture, an edge that is not there, no pairs.
    let text = std::fs::read_to_string(&circuit).expect("circuit");
    std::fs::write(path("other.json"), text.replacen("\"n_layers\": 4", "\"n_layers\": 5", 1)).expect("other");
    let other = path("other.json");
    let evaluate = |file: &str, wanted: &str| {
        refused(
            &["circuit", "evaluate", "--model", "embedded", "--pairs", &pairs, "--circuit", file, "--output", &again],
            wanted,
        );
    };
    evaluate(&other, "5 sequential layers of 4 heads and width 64, this model has 4");
    evaluate(&path("missing.json"), "missing.json");
    std::fs::remove_dir_all(&folder).expect("cleared");
}
