//! The binary as a user meets it: the whole loop on a small recipe, its resumption and determinism, the script
//! interfaces, and bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-cli-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

fn counterpath(arguments: &[&str], threads: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_counterpath"))
        .args(arguments)
        .env("RAYON_NUM_THREADS", threads)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs and expects success; returns standard output.
pub fn done(arguments: &[&str]) -> String {
    let output = counterpath(arguments, "2");
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs and expects one clear error that holds `wanted`, and exit code 2.
pub fn refused(arguments: &[&str], wanted: &str) {
    let output = counterpath(arguments, "1");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.contains(wanted), "{arguments:?} says: {said}");
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("write");
    path.display().to_string()
}

const SMALL: &str = r#"
version = 1
name = "small"
eval_sets = ["hiring"]
[evaluate]
replicates = 200
canaries = 8
texts = 8
[mediate]
pairs = 12
sites = ["z"]
[circuit]
steps = 2
edges = 20
pairs = 10
random = 3
minimality = 2
[tune]
steps = 12
batch = 8
pairs = 4
arms = ["plain", "causal"]
"#;

#[test]
fn the_loop_runs_resumes_and_repeats_to_the_byte_at_any_thread_count() {
    let folder = scratch("loop");
    let recipe = write(&folder, "small.toml", SMALL);
    let run = |name: &str, threads: &str| {
        let output = folder.join(name);
        let arguments = ["run", recipe.as_str(), "--output", output.to_str().expect("path")];
        let finished = counterpath(&arguments, threads);
        assert!(finished.status.success(), "{}", text(&finished.stderr));
        assert!(text(&finished.stdout).contains("report:"));
        output
    };
    let (one, two) = (run("one", "1"), run("two", "2"));
    for arm in ["base", "plain", "causal"] {
        let record = |run: &Path| std::fs::read(run.join(arm).join("record.json")).expect("record");
        assert_eq!(record(&one), record(&two), "{arm}: the record's bytes depend on the thread count");
    }
    let weights = |run: &Path| std::fs::read(run.join("causal/adapter/adapter_model.safetensors")).expect("adapter");
    assert_eq!(weights(&one), weights(&two));
    let html = std::fs::read_to_string(one.join("report.html")).expect("report");
    assert!(html.contains("hiring") && html.contains("Targets"));

    // The same command again finds everything finished and changes nothing.
    let before = std::fs::read(one.join("causal/record.json")).expect("record");
    run("one", "2");
    assert_eq!(std::fs::read(one.join("causal/record.json")).expect("record"), before);
    // The circuit is in the record, the arm has its differences, and the page draws it.
    let record_of = |arm: &str| crate::shared::json(&one.join(arm).join("record.json"));
    assert_eq!(record_of("base")["circuits"][0]["report"]["pairs"], 10);
    assert_eq!(record_of("causal")["circuit_changes"][0]["comparison"]["contrasts"].as_array().map(Vec::len), Some(7));
    assert!(html.contains("<svg class=\"pathway\" ") && html.contains("The same circuit before and after"));
    // What is kept of the stage is read again, unless it answers another request.
    let kept = one.join("base/circuits/hiring.result.json");
    let text = std::fs::read_to_string(&kept).expect("kept");
    std::fs::write(&kept, text.replacen("\"discovery_pairs\": 12", "\"discovery_pairs\": 999", 1)).expect("marked");
    run("one", "2");
    assert_eq!(record_of("base")["circuits"][0]["discovery_pairs"], 999);
    let at = text.find("sha256:").expect("a digest") + 7;
    let mut other = text.clone();
    other.replace_range(at..=at, if &text[at..=at] == "0" { "1" } else { "0" });
    std::fs::write(&kept, other).expect("another request");
    run("one", "2");
    assert_eq!(std::fs::read_to_string(&kept).expect("kept"), text);
    // The circuit that the run wrote is one that the verb reads.
    let circuit = one.join("base/circuits/hiring.json").display().to_string();
    let result = folder.join("evaluated.json").display().to_string();
    let mut arguments = vec!["circuit", "evaluate", "--model", "embedded", "--eval-set", "hiring"];
    arguments.extend(["--circuit", &circuit, "--output", &result, "--random", "0", "--minimality", "0"]);
    done(&arguments);
    // Another request may not take the folder over.
    let other = write(&folder, "other.toml", &SMALL.replace("steps = 12", "steps = 13"));
    refused(&["run", &other, "--output", one.to_str().expect("path")], "another request (recipe differs)");

    // The records compare, the report is made again, the adapter loads.
    let record = |arm: &str| one.join(arm).join("record.json").display().to_string();
    let table = done(&["compare", &record("base"), &record("causal"), "--json"]);
    let comparison: serde_json::Value = serde_json::from_str(&table).expect("JSON");
    assert_eq!(comparison["baseline"], "base");
    let again = folder.join("again.html").display().to_string();
    done(&["report", one.to_str().expect("path"), "--html", &again]);
    assert_eq!(std::fs::read(&again).expect("again"), std::fs::read(one.join("report.html")).expect("first"));
    let adapter = one.join("causal/adapter").display().to_string();
    let described = done(&["inspect", "--model", "embedded", "--adapter", &adapter]);
    assert!(described.contains("adapter") && described.contains("blocks.3.attn.hook_z"));
}

#[test]
fn completions_on_the_terminal_and_for_scripts() {
    let folder = scratch("completions");
    let prompt = "maria has nine years of work . she was";
    let said = done(&["complete", "--model", "embedded", "--prompt", prompt, "--max-tokens", "3"]);
    assert!(said.starts_with(prompt) && said.len() > prompt.len() + 3, "{said}");
    let prompts = write(
        &folder,
        "p.jsonl",
        &format!("{{\"id\":1,\"prompt\":\"{prompt}\"}}\n{{\"id\":\"b\",\"prompt_ids\":[1,5,9]}}\n"),
    );
    let output = folder.join("o.jsonl").display().to_string();
    done(&["complete", "--model", "embedded", "--prompts", &prompts, "--max-tokens", "3", "--output", &output]);
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&output)
        .expect("completions")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((lines.len(), &lines[0]["id"], &lines[1]["id"]), (2, &1.into(), &"b".into()));
    let text = lines[0]["completion"].as_str().expect("text");
    assert_eq!(said.trim_end(), format!("{prompt}{text}").trim_end(), "both say the same");
    let again = ["--temperature", "1", "--seed", "7", "--max-tokens", "8", "--ignore-end", "--batch", "1"];
    let draw = |extra: &[&str]| done(&[&["complete", "--model", "embedded", "--prompts", &prompts], extra].concat());
    assert_eq!(draw(&again), draw(&[&again[..7], &["--batch", "2"]].concat()), "no draw depends on the batch");
    refused(&["complete", "--model", "embedded", "--prompt", "a", "--top-k", "5"], "need a --temperature above 0");
    let twice = write(&folder, "twice.jsonl", "{\"id\":1,\"prompt_ids\":[1]}\n{\"id\":1,\"prompt_ids\":[2]}\n");
    refused(&["complete", "--model", "embedded", "--prompts", &twice], "stands there twice");
}

#[test]
fn needs_are_told_and_held_against_the_machine_before_anything_loads() {
    let folder = scratch("needs");
    // A model that no machine holds, and no weights: the config alone is read.
    let config = r#"{"model_type":"llama","hidden_size":16384,"intermediate_size":65536,"num_hidden_layers":800,
        "num_attention_heads":128,"num_key_value_heads":128,"vocab_size":32000,"max_position_embeddings":4096,
        "rms_norm_eps":1e-5,"hidden_act":"silu","rope_theta":10000.0,"tie_word_embeddings":false}"#;
    write(&folder, "config.json", config);
    let model = folder.display().to_string();
    refused(&["inspect", "--model", &model, "--dry-run"], "no type or batch makes it fit");
    refused(
        &["complete", "--model", &model, "--ids", "1,2", "--max-tokens", "4"],
        "are free; no type or batch makes it fit",
    );
    let requests = write(&folder, "r.jsonl", "{\"id\":1,\"context\":\"a\",\"continuation\":\" b\"}\n");
    for arguments in [
        &["inspect"] as &[&str],
        &["complete", "--prompt", "she was"],
        &["score", "--requests", &requests, "--output", "never.jsonl"],
        &["evaluate", "--eval-set", "hiring", "--output", "never.json"],
        &["mediate", "--eval-set", "hiring", "--output", "never.json"],
        &["tune", "--eval-set", "hiring", "--output", "never"],
    ] {
        let said = done(&[arguments, &["--model", "embedded", "--dry-run"]].concat());
        for word in ["weights", "at its peak", "free here", "GFLOP/s"] {
            assert!(said.contains(word), "{arguments:?} says: {said}");
        }
    }
    let said = done(&["quickstart", "--dry-run", "--json", "--output", "never"]);
    let needs: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let bytes = needs["bytes"].as_u64().expect("bytes");
    assert!(bytes > 500_000 && bytes < 2_000_000_000 && needs["seconds"].as_f64().expect("seconds") > 0.0, "{needs}");
    let stages = needs["stages"].as_array().expect("stages");
    let named = |name: &str| stages.iter().find(|stage| stage["stage"] == name).expect(name);
    let seconds = |name: &str| named(name)["seconds"].as_f64().expect("seconds");
    let parts: f64 = ["tuning", "scoring", "sweeps", "attribution", "circuits"].map(seconds).iter().sum();
    assert!((parts - needs["seconds"].as_f64().expect("seconds")).abs() < 1e-9 * parts, "{needs}");
    refused(&["inspect", "--model", "embedded", "--base-dtype", "q9"], "no base type");
    refused(&["inspect", "--model", "embedded", "--base-dtype", "q8_0"], "always kept in f32");
    assert!(!Path::new("never").exists() && !Path::new("never.json").exists());
}

#[test]
fn scores_and_patches_for_scripts() {
    let folder = scratch("scripts");
    let requests = write(
        &folder,
        "r.jsonl",
        "{\"id\":1,\"context\":\"maria has nine years of work . she was\",\"continuation\":\" hired\"}\n\
         {\"id\":\"b\",\"context_ids\":[1,5,9],\"continuation_ids\":[7,8]}\n",
    );
    let answers = folder.join("o.jsonl").display().to_string();
    done(&["score", "--model", "embedded", "--requests", &requests, "--output", &answers]);
    let lines = std::fs::read_to_string(&answers).expect("answers");
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("row")).collect();
    assert_eq!((rows.len(), &rows[0]["id"], &rows[1]["num_tokens"]), (2, &1.into(), &2.into()));
    assert!(rows[0]["loglikelihood"].as_f64().expect("number") < 0.0);

    let pairs = write(
        &folder,
        "p.jsonl",
        "{\"id\":\"x\",\"cluster\":\"c\",\"factual_ids\":[1,40,50,60],\"counterfactual_ids\":[1,41,50,60],\"answer_ids\":[70,80]}\n",
    );
    let rows = folder.join("e.jsonl").display().to_string();
    let sites = "resid_pre,z";
    done(&["mediate", "--model", "embedded", "--pairs", &pairs, "--sites", sites, "--output", &rows]);
    let lines = std::fs::read_to_string(&rows).expect("rows");
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("row")).collect();
    // 4 layers × (4 positions + 4 heads) × 2 directions.
    assert_eq!(rows.len(), 64);
    for row in &rows {
        let number = |name: &str| row[name].as_f64().expect("number");
        assert!((number("patched") - number("base") - number("effect")).abs() < 1e-9);
        assert_eq!(row["position"].is_null(), row["site"] == "z");
        assert_eq!(row["outcome"], "logit_difference");
    }
    // At the first layer the one changed position carries the whole effect.
    let whole = rows.iter().find(|row| {
        row["site"] == "resid_pre" && row["layer"] == 0 && row["position"] == 1 && row["direction"] == "noise"
    });
    let whole = whole.expect("that row");
    let gap = whole["patched"].as_f64().expect("number") - whole["source"].as_f64().expect("number");
    assert!(gap.abs() < 1e-4, "{whole}");

    let plan = write(
        &folder,
        "plan.toml",
        "version = 1\n[[set]]\nname = \"start\"\nsites = [\"blocks.0.hook_resid_pre\"]\n\
         interventions = [{ kind = \"interchange\" }, { kind = \"zero\" }, { kind = \"noise\" }]\n",
    );
    let rows = folder.join("a.jsonl").display().to_string();
    let said = done(&["mediate", "--model", "embedded", "--pairs", &pairs, "--plan", &plan, "--output", &rows]);
    assert!(said.contains("self-repair") && said.contains("GMAC") && said.contains("noise"), "{said}");
    let lines = std::fs::read_to_string(&rows).expect("rows");
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("row")).collect();
    assert_eq!(rows.len(), 3 * 2);
    let number = |name: &str| rows[0][name].as_f64().expect("number");
    assert!((number("patched") - number("source")).abs() < 1e-4, "the whole stream carries all: {:?}", rows[0]);
    refused(&["mediate", "--model", "embedded", "--plan", &plan, "--output", "never"], "--pairs");
}

#[test]
fn bad_input_is_one_clear_error_and_exit_code_2() {
    let folder = scratch("bad");
    let output = folder.join("o").display().to_string();
    refused(&["inspect", "--model", "no/such/model/at/all"], "is no model");
    refused(&["inspect", "--model", "org/never-cached"], "offline mode forbids the network");
    refused(&["inspect", "--model", "embedded", "--device", "tpu"], "known devices are");
    refused(
        &["inspect", "--model", "embedded", "--hook", "blocks.9.attn.hook_q", "--ids", "1", "--output", &output],
        "has no blocks.9.attn.hook_q",
    );
    refused(&["evaluate", "--model", "embedded", "--eval-set", "hirin", "--output", &output], "is no eval set");

    let unknown = folder.join("unknown");
    std::fs::create_dir_all(&unknown).expect("folder");
    write(&unknown, "config.json", "{\"model_type\": \"mamba\"}");
    refused(&["inspect", "--model", unknown.to_str().expect("path")], "unknown architecture \"mamba\"; known are");

    let half = folder.join("half");
    std::fs::create_dir_all(&half).expect("folder");
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/embedded");
    std::fs::copy(embedded.join("config.json"), half.join("config.json")).expect("copy");
    refused(&["inspect", "--model", half.to_str().expect("path")], "model.safetensors");
    let weights = std::fs::read(embedded.join("model.safetensors")).expect("weights");
    std::fs::write(half.join("model.safetensors"), &weights[..weights.len() / 2]).expect("half a file");
    refused(&["inspect", "--model", half.to_str().expect("path")], "model.safetensors");

    let recipe =
        write(&folder, "typo.toml", "version = 1\nname = \"x\"\neval_sets = [\"hiring\"]\n[tune]\nstepz = 3\n");
    refused(&["run", &recipe], "line 5");
    let requests = write(&folder, "bad.jsonl", "{\"id\":1,\"context\":\"a\",\"continuation\":\"b\"}\n{\"id\":2}\n");
    refused(&["score", "--model", "embedded", "--requests", &requests, "--output", &output], "line 2");
    let pairs = write(
        &folder,
        "bad-pairs.jsonl",
        "{\"id\":\"x\",\"cluster\":\"c\",\"factual_ids\":[1],\"counterfactual_ids\":[1,2],\"answer_ids\":[3,4]}\n",
    );
    refused(&["mediate", "--model", "embedded", "--pairs", &pairs, "--output", &output], "x");
    let blocked = folder.join("file-in-the-way");
    std::fs::write(&blocked, "x").expect("write");
    let inside = blocked.join("report.html").display().to_string();
    let good = write(&folder, "good.jsonl", "{\"id\":1,\"context\":\"maria\",\"continuation\":\" was\"}\n");
    refused(&["score", "--model", "embedded", "--requests", &good, "--output", &inside], "file-in-the-way");
    let said =
        text(&counterpath(&["score", "--model", "embedded", "--requests", &good, "--output", &inside], "1").stderr);
    assert_eq!(said.lines().count(), 1, "a cause is told once: {said}");
}

/// A limit on the size of files stands for a disk that takes no more: writes fail half-way, with bytes already there.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    let folder = scratch("full");
    let recipe = write(&folder, "small.toml", SMALL);
    let output = folder.join("run");
    let arguments = ["run", recipe.as_str(), "--output", output.to_str().expect("path")];
    let limited = |blocks: u32| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_counterpath")]).args(arguments);
        command.env("RAYON_NUM_THREADS", "2").output().expect("the binary runs")
    };
    let mut last = 0;
    // Blocks of 512 bytes: the first limit stops the sweep's journal, the next ones an adapter and the report.
    for blocks in [20, 300, 700] {
        let stopped = limited(blocks);
        let said = text(&stopped.stderr);
        assert_eq!(stopped.status.code(), Some(2), "{blocks}: {said}");
        assert!(said.contains("File too large") && said.contains("what is finished there is kept"), "{said}");
        let finished = std::fs::read_dir(&output).expect("run folder").count();
        assert!(finished >= last, "finished work is gone");
        last = finished;
        for entry in walk(&output) {
            assert!(!entry.display().to_string().ends_with(".partial"), "half a file is left: {}", entry.display());
            if entry.extension().is_some_and(|extension| extension == "json") {
                let content = std::fs::read_to_string(&entry).expect("record");
                serde_json::from_str::<serde_json::Value>(&content).expect("a whole file");
            }
        }
    }
    done(&arguments);
    let fresh = folder.join("fresh");
    done(&["run", &recipe, "--output", fresh.to_str().expect("path")]);
    for file in
        ["base/record.json", "plain/record.json", "causal/record.json", "causal/adapter/adapter_model.safetensors"]
    {
        let bytes = |run: &Path| std::fs::read(run.join(file)).expect("file");
        assert!(bytes(&output) == bytes(&fresh), "{file} differs from that of a run that was never stopped");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn several_training_seeds_are_averaged_and_their_spread_is_in_the_intervals() {
    let folder = scratch("seeds");
    let recipe = write(&folder, "small.toml", &SMALL.replace("steps = 12", "steps = 4"));
    let output = folder.join("run");
    let said = done(&["run", &recipe, "--output", output.to_str().expect("path"), "--seeds", "2", "--json"]);
    let finished: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let targets = finished["targets"].as_array().expect("targets");
    let plain = targets.iter().find(|target| target["claim"] == "Tuning alone does not remove it").expect("target");
    let effects = |arm: &str| -> f64 {
        let record = std::fs::read_to_string(output.join(arm).join("record.json")).expect("record");
        let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
        let score = record["scores"].as_array().expect("scores").iter().find(|score| {
            score["metric"] == "fairness.counterfactual_gap@log_odds" && score["population"] == "hiring/train"
        });
        let items = score.expect("gap")["items"].as_array().expect("items");
        items.iter().map(|item| item["value"].as_f64().expect("value").abs()).sum()
    };
    let base = effects("base");
    let (first, second) = (100.0 * effects("plain") / base, 100.0 * effects("plain-seed-2") / base);
    assert!((first - second).abs() > 0.1, "the seeds do not differ: {first} {second}");
    let measured = plain["measured"].as_str().expect("text");
    let shown: f64 = measured.split(' ').next().expect("number").parse().expect("number");
    assert!((shown - (first + second) / 2.0).abs() < 0.051, "{measured}: {first} {second}");
    let interval =
        measured.split(['[', ',', ']']).skip(1).take(2).map(|bound| bound.trim().parse::<f64>().expect("bound"));
    let [low, high] = interval.collect::<Vec<_>>()[..] else { panic!("no interval in {measured}") };
    assert!(low <= first.min(second) && high >= first.max(second), "{measured} leaves out {first} or {second}");
    assert!(plain["detail"].as_str().expect("detail").contains("2 training seeds"));
}

/// The pairs of a shipped eval set as a user without a causal model would bring them.
fn declared_pairs(with_labels: bool) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_sets/hiring/pairs.jsonl");
    let words = |text: &serde_json::Value| text.as_str().expect("text").split_whitespace().count();
    let mut lines = Vec::new();
    for line in std::fs::read_to_string(path).expect("pairs").lines() {
        let pair: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let (factual, counterfactual) = (&pair["factual"], &pair["counterfactual"]);
        if !pair["paraphrase_of"].is_null() || words(&factual["text"]) != words(&counterfactual["text"]) {
            continue;
        }
        let mut row = serde_json::json!({
            "id": pair["id"], "cluster": pair["template"], "answers": factual["answers"],
            "factual": factual["text"], "counterfactual": counterfactual["text"],
        });
        let follows = pair["expectation"]["kind"] == "follow";
        if follows && !with_labels {
            continue;
        }
        if follows {
            row["expectation"] = serde_json::json!({"follow": counterfactual["label"]});
        }
        if with_labels {
            row["label"] = factual["label"].clone();
        }
        lines.push(row.to_string());
    }
    lines.join("\n")
}

#[test]
fn pairs_without_a_causal_model_go_through_every_verb() {
    let folder = scratch("declared");
    let pairs = write(&folder, "mine.jsonl", &declared_pairs(true));
    let at = |name: &str| folder.join(name).display().to_string();
    let (scores, sites, adapter) = (at("scores.json"), at("sites.json"), at("adapter"));
    let table = done(&["evaluate", "--model", "embedded", "--eval-set", &pairs, "--output", &scores]);
    assert!(table.contains("mine/declared") && table.contains("accuracy.exact"), "{table}");
    let found = done(&["mediate", "--model", "embedded", "--eval-set", &pairs, "--sites", "z", "--output", &sites]);
    assert!(found.contains("mine: "), "{found}");
    let recipe =
        write(&folder, "few.toml", "version = 1\nname = \"few\"\neval_sets = [\"mine.jsonl\"]\n[tune]\nsteps = 3\n");
    done(&[
        "tune",
        "--model",
        "embedded",
        "--eval-set",
        &pairs,
        "--mediation",
        &sites,
        "--recipe",
        &recipe,
        "--output",
        &adapter,
    ]);
    let run = |recipe: &str, output: &str| {
        let said = done(&["run", recipe, "--output", &at(output), "--json"]);
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON")
    };
    let small = "[evaluate]\nreplicates = 200\ncanaries = 0\n[mediate]\nsites = [\"z\"]\n";
    let recipe = write(&folder, "all.toml", &format!("{}{small}", std::fs::read_to_string(&recipe).expect("recipe")));
    let finished = run(&recipe, "labelled");
    let kept = finished["targets"]
        .as_array()
        .expect("targets")
        .iter()
        .find(|target| target["claim"] == "Tuning alone does not remove it");
    assert!(kept.expect("target")["measured"].as_str().expect("text").contains("of the base's effect is left"));
    let report = std::fs::read_to_string(folder.join("labelled/report.md")).expect("report");
    assert!(report.contains("declared: nothing vouches"), "the report says where the pairs come from");

    // Without labels there is no task to learn: the arm that has nothing else is left out, the others train.
    write(&folder, "mine.jsonl", &declared_pairs(false));
    run(&recipe, "unlabelled");
    assert!(!folder.join("unlabelled/plain").exists() && folder.join("unlabelled/causal/adapter").exists());
    let nothing = ["tune", "--model", "embedded", "--eval-set", &pairs, "--arm", "plain", "--output", &adapter];
    refused(&nothing, "arm plain has nothing to learn from");
}

#[test]
fn a_run_goes_on_from_an_adapter_as_if_it_were_merged() {
    let folder = scratch("merged");
    let at = |name: &str| folder.join(name).display().to_string();
    let recipe = write(&folder, "small.toml", &SMALL.replace("[\"plain\", \"causal\"]", "[\"causal\"]"));
    done(&["run", &recipe, "--output", &at("first")]);
    let adapter = at("first/causal/adapter");
    done(&["run", &recipe, "--adapter", &adapter, "--output", &at("second")]);
    let effect = |record: &str| -> f64 {
        let record = std::fs::read_to_string(folder.join(record)).expect("record");
        let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
        let score = record["scores"].as_array().expect("scores").iter().find(|score| {
            score["metric"] == "fairness.counterfactual_gap@log_odds" && score["population"] == "hiring/train"
        });
        score.expect("gap")["estimate"]["value"].as_f64().expect("value")
    };
    let (tuned, base) = (effect("first/causal/record.json"), effect("second/base/record.json"));
    assert!((tuned - base).abs() < 1e-4, "the second run begins where the first ended: {tuned} and {base}");
    assert!((effect("first/base/record.json") - base).abs() > 0.1);

    // The same checkpoint as a folder: what base and adapter say side by side, the merged weights say alone.
    done(&["convert", "--model", "embedded", "--adapter", &adapter, "--output", &at("folder")]);
    let requests = write(
        &folder,
        "r.jsonl",
        "{\"id\":1,\"context\":\"maria has nine years of work . she was\",\"continuation\":\" hired\"}\n",
    );
    let score = |model: &[&str]| -> f64 {
        let answers = at("o.jsonl");
        done(&[&["score", "--requests", requests.as_str(), "--output", answers.as_str()], model].concat());
        let row: serde_json::Value =
            serde_json::from_str(std::fs::read_to_string(&answers).expect("answers").trim()).expect("row");
        row["loglikelihood"].as_f64().expect("number")
    };
    let beside = score(&["--model", "embedded", "--adapter", &adapter]);
    let merged = score(&["--model", &at("folder")]);
    assert!(
        (beside - merged).abs() < 1e-4 && (beside - score(&["--model", "embedded"])).abs() > 1e-3,
        "{beside} {merged}"
    );
}
