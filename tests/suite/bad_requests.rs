//! Requests that cannot be carried out, on the command line: one clear error each, which says what, where and what to
//! change, and exit code 2.

use std::path::PathBuf;
use std::process::Command;

/// A folder with pairs of every kind and a place for the rest.
struct Desk(PathBuf);

const EVEN: [&str; 2] = [
    r#"{"id":"a","factual_ids":[1,40,50,70],"counterfactual_ids":[1,60,50,70],"answer_ids":[80,90]}"#,
    r#"{"id":"b","factual_ids":[1,41,50],"counterfactual_ids":[1,62,50],"answer_ids":[80,90]}"#,
];

impl Desk {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("counterpath-bad-requests-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("scratch folder");
        let desk = Self(folder);
        desk.write("even.jsonl", &EVEN.join("\n"));
        desk.write(
            "slots.jsonl",
            r#"{"id":"s","factual_ids":[1,41,50,70,5],"counterfactual_ids":[1,62,50,5],"answer_ids":[80,90],"factual_slots":[{"name":"n","start":1,"end":3}],"counterfactual_slots":[{"name":"n","start":1,"end":2}]}"#,
        );
        desk.write(
            "uneven.jsonl",
            &format!(
                "{}\n{}",
                EVEN[0],
                r#"{"id":"u","factual_ids":[1,41,50,70,5],"counterfactual_ids":[1,62,50,5],"answer_ids":[80,90]}"#
            ),
        );
        desk.write(
            "long.jsonl",
            &format!(
                "{}\n{}",
                EVEN[0],
                r#"{"id":"l","factual_ids":[1,40,50,70],"counterfactual_ids":[1,60,50,70],"answer_ids":[[80,81],90]}"#
            ),
        );
        desk
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("written");
    }

    /// A plan of one set with one site.
    fn plan(&self, site: &str, extra: &str) -> String {
        self.write(
            "plan.toml",
            &format!(
                "version = 1\n{extra}\n[[set]]\nname = \"one\"\nsites = [\"{site}\"]\ninterventions = [{{ kind = \"interchange\" }}]\n"
            ),
        );
        self.path("plan.toml")
    }

    /// Runs a verb on a model; expects exit code 2 and one line that holds all of `wanted`.
    fn refused(&self, arguments: &[&str], wanted: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_counterpath"))
            .args(arguments)
            .args(["--quiet", "--output", &self.path("output.jsonl")])
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?} says: {said}");
        for wanted in wanted {
            assert!(said.contains(wanted), "{arguments:?} lacks {wanted:?}: {said}");
        }
        assert!(output.stdout.is_empty() && !self.0.join("output.jsonl").exists(), "{arguments:?}");
    }
}

fn mediate<'a>(pairs: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["mediate", "--model", "embedded", "--pairs", pairs], extra].concat()
}

#[test]
fn sites_that_the_architecture_does_not_have() {
    let desk = Desk::new("sites");
    let pairs = desk.path("even.jsonl");
    let sites = |sites: &str, wanted: &[&str]| desk.refused(&mediate(&pairs, &["--sites", sites]), wanted);
    sites("z,foo", &["site \"foo\"", "known are embed"]);
    sites("pos_embed", &["hook_pos_embed does not exist in this llama model", "use embed or resid_pre"]);
    let plan = |site: &str, wanted: &[&str]| {
        let plan = desk.plan(site, "");
        desk.refused(&mediate(&pairs, &["--plan", &plan]), wanted);
    };
    plan("blocks.9.attn.hook_z[head=1]", &["blocks.9.attn.hook_z[head=1] does not exist", "layers run from 0 to 3"]);
    plan("blocks.0.attn.hook_z[head=9]", &["heads run from 0 to 3"]);
    plan("blocks.0.mlp.hook_post[neuron=4000]", &["neurons run from 0 to 175"]);
    plan("blocks.0.attn.hook_zz", &["plan.toml line 5", "names no hook point", "blocks.0.hook_resid_pre"]);
    // The architecture alone is asked: there are no weights here, and nobody misses them.
    let config = std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/embedded/config.json"));
    std::fs::write(desk.0.join("config.json"), config.expect("config")).expect("config");
    let model = desk.0.display().to_string();
    let on_it = ["mediate", "--model", &model, "--pairs", &pairs];
    desk.refused(&[&on_it[..], &["--sites", "pos_embed"]].concat(), &["hook_pos_embed does not exist"]);
    let plan = desk.plan("blocks.9.hook_mlp_out", "");
    desk.refused(&[&on_it[..], &["--plan", &plan]].concat(), &["layers run from 0 to 3"]);
}

#[test]
fn places_outside_a_prompt() {
    let desk = Desk::new("places");
    let refuse = |pairs: &str, site: &str, wanted: &[&str]| {
        let (pairs, plan) = (desk.path(pairs), desk.plan(site, ""));
        desk.refused(&mediate(&pairs, &["--plan", &plan]), wanted);
    };
    // Inside the first pair's prompt and outside the second's: known before the first is run.
    let outside = ["set \"one\" has blocks.0.hook_resid_pre[pos=3]", "pair \"b\"", "3 tokens, at positions 0 to 2"];
    refuse("even.jsonl", "blocks.0.hook_resid_pre[pos=3]", &outside);
    assert!(!desk.0.join("output.jsonl.journal").exists(), "nothing was run");
    let unknown = ["pair \"s\"", "no slot \"name\"", "but n, last", "name one of those"];
    refuse("slots.jsonl", "blocks.0.hook_resid_pre[slot=name]", &unknown);
    refuse("even.jsonl", "blocks.1.attn.hook_pattern[head=1,slot=last,from=3]", &["pair \"b\"", "positions 0 to 2"]);
}

#[test]
fn pairs_of_unequal_length() {
    let desk = Desk::new("uneven");
    let wanted =
        ["uneven.jsonl line 2", "pair \"u\"", "5 and 4 tokens", "prompts of equal length, or slots on both sides"];
    desk.refused(&mediate(&desk.path("uneven.jsonl"), &[]), &wanted);
    // Slots align them for a sweep, and not for what goes position by position.
    let (pairs, circuit) = (desk.path("slots.jsonl"), desk.path("circuit.json"));
    let discover = ["circuit", "discover", "--model", "embedded", "--pairs", &pairs, "--circuit", &circuit];
    let why = ["pair \"s\" has 5 and 4 tokens", "position by position", "leave the pair out"];
    desk.refused(&discover, &why);
    // Nor does a request that was refused stand in the way of the next.
    assert!(std::fs::read(desk.0.join("output.jsonl.journal")).unwrap_or_default().is_empty());
    let even = desk.path("even.jsonl");
    let found = desk.path("found.json");
    let make =
        ["circuit", "discover", "--model", "embedded", "--pairs", &even, "--circuit", &circuit, "--output", &found];
    crate::cli::done(&[&make[..], &["--random", "0", "--confirm", "0"]].concat());
    let evaluate = ["circuit", "evaluate", "--model", "embedded", "--pairs", &pairs, "--circuit", &circuit];
    desk.refused(&evaluate, &why);
}

#[test]
fn answers_of_several_tokens_where_one_is_needed() {
    let desk = Desk::new("answers");
    let pairs = desk.path("long.jsonl");
    let plan = desk.plan("blocks.0.hook_mlp_out", "outcome = \"logit_difference\"");
    let wanted = ["pair \"l\"", "one token each, found [2, 1]", "use log odds"];
    desk.refused(&mediate(&pairs, &["--plan", &plan]), &wanted);
    // Log odds take them.
    let plan = desk.plan("blocks.0.hook_mlp_out", "outcome = \"log_odds\"");
    let rows = desk.path("rows.jsonl");
    crate::cli::done(&mediate(&pairs, &["--plan", &plan, "--output", &rows]));
    // A continuation stands at positions that no prompt has a mean for, as does what a shorter prompt lacks.
    let circuit = desk.path("circuit.json");
    let refuse = |pairs: &str, wanted: &[&str]| {
        let discover = ["circuit", "discover", "--model", "embedded", "--pairs", pairs, "--circuit", &circuit];
        desk.refused(&[&discover[..], &["--ablation", "mean-positional"]].concat(), wanted);
    };
    refuse(&pairs, &["pair \"l\" has answers of 2 and 1 tokens", "use mean ablation"]);
    refuse(&desk.path("even.jsonl"), &["tokens and pair", "use mean ablation, or leave the pair out"]);
}

#[test]
fn circuits_of_other_architectures_and_files_that_are_none() {
    let desk = Desk::new("circuits");
    let pairs = desk.path("even.jsonl");
    let evaluate = |text: &str, wanted: &[&str]| {
        desk.write("circuit.json", text);
        let circuit = desk.path("circuit.json");
        let arguments = ["circuit", "evaluate", "--model", "embedded", "--pairs", &pairs, "--circuit", &circuit];
        desk.refused(&arguments, wanted);
    };
    let other = r#"{"cfg":{"n_layers":12,"n_heads":12,"parallel_attn_mlp":false,"d_model":768},"nodes":{},"edges":{}}"#;
    evaluate(
        other,
        &[
            "circuit.json: it is a circuit of 12 sequential layers of 12 heads and width 768",
            "this model has 4 sequential layers of 4 heads and width 64",
            "give the model that it was made on",
        ],
    );
    evaluate(EVEN[0], &["circuit.json: it is no circuit in EAP-IG's JSON", "missing field `cfg`"]);
    evaluate("version = 1", &["circuit.json: it is no circuit in EAP-IG's JSON"]);
}

#[test]
fn a_record_is_not_written_as_parquet() {
    let desk = Desk::new("record");
    let output = desk.path("record.parquet");
    crate::cli::refused(
        &["mediate", "--model", "embedded", "--eval-set", "hiring", "--output", &output],
        "record, which is JSON",
    );
}
