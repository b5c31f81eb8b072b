//! The verbs `compare`, `gate` and `export` as a pipeline meets them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cli::{done, refused};
use crate::shared::json;

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-gate-cli-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logs").join(name).display().to_string()
}

fn gate(folder: &Path, rules: &str, records: &[&str]) -> (Option<i32>, String) {
    let file = folder.join("gate.toml");
    std::fs::write(&file, rules).expect("rules");
    let output = Command::new(env!("CARGO_BIN_EXE_counterpath"))
        .args(["gate", "--rules"])
        .arg(&file)
        .arg("--junit")
        .arg(folder.join("gate.xml"))
        .arg("--markdown")
        .arg(folder.join("gate.md"))
        .args(records)
        .output()
        .expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_gate_opens_closes_and_refuses() {
    let folder = scratch("gate");
    let [a, b] = ["lm-eval/A", "lm-eval/B"].map(fixture);
    let held = |rules: &str| gate(&folder, rules, &[&a, &b]);
    let (code, said) = held("[[rule]]\nmetric = \"acc\"\nmargin = 0.9\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The gate is open: 0 FAILED, 0 MISSING, 0 undecided, 1 passed"), "{said}");
    // Noise in the weights cost far more than a twentieth of a bit a byte.
    let (code, said) = held(
        "require = [\"acc\"]\n[[rule]]\nname = \"text\"\nmetric = \"bits_per_byte\"\nmargin = 0.05\n\
         [[rule]]\nmetric = \"acc\"\npopulation = \"story_*\"\nmargin = 0.01\n[[rule]]\nmetric = \"mc1\"\nmargin = 0.01\n",
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAILED     text: bits_per_byte@lm-eval of story_texts"), "{said}");
    assert!(said.contains("MISSING    mc1: mc1 of *"), "{said}");
    assert!(said.contains("items would decide it with 80 % power"), "{said}");
    let xml = std::fs::read_to_string(folder.join("gate.xml")).expect("JUnit");
    assert!(xml.starts_with("<?xml") && xml.contains("tests=\"4\" failures=\"2\" errors=\"0\" skipped=\"1\""), "{xml}");
    assert_eq!(xml.matches("<testcase").count(), 4);
    let told = std::fs::read_to_string(folder.join("gate.md")).expect("Markdown");
    assert!(told.contains("| FAILED | B | text |"), "{told}");
    let (code, said) = held("[[rule]]\nmetrik = \"acc\"\n");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("did you mean `metric`"), "{said}");
    let (code, said) = gate(&folder, "[[rule]]\nmetric = \"acc\"\nmin_pass_rate = 0.8\n", &[&a]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is 0.750"), "{said}");
}

#[test]
fn logs_are_compared_in_words_in_markdown_and_as_a_page() {
    let folder = scratch("compare");
    let path = |name: &str| folder.join(name).display().to_string();
    let [a, b] = ["lm-eval/A", "lm-eval/B"].map(fixture);
    let (page, told, file) = (path("page.html"), path("told.md"), path("c.json"));
    let mut arguments =
        vec!["compare", &a, &b, "--cluster", "doc.question_index", "--html", &page, "--markdown", &told];
    arguments.extend(["--output", &file, "--objective", "exact_match=robustness", "--better", "exact_match=higher"]);
    let said = done(&arguments);
    assert!(said.contains("McNemar exact p") && said.contains("all objectives at once"), "{said}");
    assert!(said.contains("items are clustered by `doc.question_index`"), "{said}");
    let markdown = std::fs::read_to_string(&told).expect("Markdown");
    assert!(markdown.contains("| acc@lm-eval (accuracy) | story_choices |"), "{markdown}");
    let html = std::fs::read_to_string(&page).expect("page");
    assert!(html.contains("Items side by side") && html.contains("Lily had a red ball"), "items with their prompts");
    assert!(!html.contains("http://") && !html.contains("src="), "nothing is fetched");
    let comparison = json(Path::new(&file));
    assert_eq!(comparison["pareto"]["objectives"].as_array().expect("objectives").len(), 2);
    let again: Value = serde_json::from_str(&done(&[&arguments[..], &["--json"]].concat())).expect("JSON");
    assert_eq!(again, comparison);
    refused(&["compare", &a, &fixture("lm-eval/few-shot")], "asked differently");
    refused(&["compare", &a, &b, "--objective", "acc=fairnes"], "did you mean `fairness`");
    refused(&["compare", &a, &b, "--better", "acc=up"], "none of higher, lower, neither");
    refused(&["compare", &a, "Cargo.toml"], "JSON");
}

#[test]
fn tokens_of_both_runs_stand_side_by_side() {
    let folder = scratch("tokens");
    let side = |name: &str, logprob: f64| {
        let line = format!(
            "{{\"doc_id\":0,\"target\":\"x\",\"arguments\":{{}},\"filter\":\"none\",\"metrics\":[\"acc\"],\"acc\":1.0,\
             \"tokens\":[[\" red\",\" <ball>\"]],\"logprobs\":[[-0.5,{logprob}]]}}\n{{\"doc_id\":1,\"target\":\"x\",\
             \"arguments\":{{\"gen_args_0\":{{\"arg_0\":\"a\",\"arg_1\":\" blue car\"}}}},\"logprobs\":[[{logprob},-1.0]],\
             \"filter\":\"none\",\"metrics\":[\"acc\"],\"acc\":0.0}}\n"
        );
        let path = folder.join(name).join("samples_t.jsonl");
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        std::fs::write(&path, line).expect("samples");
        path.display().to_string()
    };
    let (a, b, page) = (side("a", -3.0), side("b", -1.5), folder.join("page.html").display().to_string());
    done(&["compare", &a, &b, "--html", &page]);
    let html = std::fs::read_to_string(&page).expect("page");
    assert!(html.contains("Token by token") && html.contains("&lt;ball&gt;"), "{}", html.len());
    assert!(html.contains("> blue</span>") && html.contains("> car</span>"), "words where tokens have no text");
    assert!(html.contains("class=\"up\"") && html.contains("−3.00 → −1.50 nats"), "the rise is coloured and told");
}

#[test]
fn items_are_exported_as_rows_and_inspect_logs() {
    let folder = scratch("export");
    let path = |name: &str| folder.join(name).display().to_string();
    let (lines, columns, logs) = (path("items.jsonl"), path("items.parquet"), path("logs"));
    let run = fixture("lm-eval/A");
    done(&["export", &run, "--items", &lines, "--cluster", "doc.question_index"]);
    done(&["export", &run, "--items", &columns, "--inspect", &logs]);
    let text = std::fs::read_to_string(&lines).expect("rows");
    // 24 documents with four metrics, 12 with three, 12 under two filters.
    assert_eq!(text.lines().count(), 24 * 4 + 12 * 3 + 12 * 2);
    let first: Value = serde_json::from_str(text.lines().next().expect("a row")).expect("JSON");
    assert!(first["cluster"].is_string() && first["value"].is_number() && first["metric"].is_string(), "{first}");
    assert!(std::fs::read(&columns).expect("Parquet").starts_with(b"PAR1"));
    assert_eq!(std::fs::read_dir(&logs).expect("logs").count(), 3);
    refused(&["export", &run], "--inspect FOLDER or --items FILE");
}
