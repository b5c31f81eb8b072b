//! A made-up run with the shape of the quickstart's, for the report's tests: three scenarios, six arms. The numbers
//! come from closed formulas, not from a model.

pub mod circuits;
mod records;
mod told;

use counterpath::record::{RunRecord, StageTiming, Timings};
use counterpath::report::*;
use counterpath::stats::{Estimate, Interval};

pub use records::record;
use told::{comparison, curves, examples, graph, headlines, targets};

pub const ARMS: [(&str, &str); 6] = [
    ("base", "the checkpoint as it came, before any tuning"),
    ("plain", "LoRA on the task loss alone; the usual fine-tune"),
    ("consistency", "task loss plus paired consistency and follow terms at the prompt level"),
    ("pathway", "task loss plus the mediation penalty at the pathway that was found"),
    ("random_sites", "the same penalty at as many random sites of the same kind"),
    ("causal", "everything: paired terms, mediation penalty and the KL anchor"),
];
pub const SETS: [&str; 3] = ["hiring", "reviews", "admission"];

/// How much of the unwanted effect each arm leaves.
const LEFT: [f64; 6] = [1.0, 1.12, 0.31, 0.22, 0.97, 0.08];

pub fn estimate(value: f64, half: f64) -> Estimate {
    Estimate {
        value: Some(value),
        interval: Some(Interval { low: value - half, high: value + 1.1 * half, level: 0.95 }),
        undefined: None,
        n: 240,
        clusters: 24,
        method: "cluster bootstrap (percentile), 2000 replicates".into(),
    }
}

/// The whole run.
pub fn data() -> ReportData {
    let records: Vec<RunRecord> = (0..ARMS.len()).map(record).collect();
    let comparisons = vec![comparison(&records)];
    let summary = RunSummary {
        schema: SUMMARY_SCHEMA,
        title: "Quickstart: closing three shortcuts in the embedded model".into(),
        questions: vec![
            "Does gender, read off the applicant's name, move the hiring decision?".into(),
            "Does a film's genre word move the verdict on a review?".into(),
            "Does the district move admission other than through the school's preparation?".into(),
        ],
        arms: ARMS
            .iter()
            .map(|(name, description)| Arm {
                name: (*name).into(),
                description: (*description).into(),
                record: format!("{name}/record.json"),
            })
            .collect(),
        focus: Some("causal".into()),
        control: Some("plain".into()),
        headlines: headlines(),
        targets: targets(),
        graphs: vec![
            graph(
                "hiring",
                "Does gender, read off the name, move the decision?",
                "gender",
                "name",
                "years",
                "decision",
            ),
            graph("reviews", "Does the genre move the verdict?", "genre", "opening_word", "opinion", "verdict"),
            graph(
                "admission",
                "Does the district move admission other than through preparation?",
                "district",
                "school_name",
                "preparation",
                "admitted",
            ),
        ],
        examples: examples(),
        curves: curves(),
        canaries: (0..12)
            .map(|k| Canary {
                id: format!("canary-{k:02}"),
                text: format!("the token of agent {k} is blue seven {k}"),
                included: k * 7 % 5 < 2,
            })
            .collect(),
        caveats: vec![
            "The embedded model is small and speaks a narrow language; effect sizes do not carry over to other models."
                .into(),
            "Counterfactuals are those of the declared graph: a path that the graph does not have was not tested."
                .into(),
        ],
        command: "counterpath quickstart --seed 7 --output runs/quickstart".into(),
    };
    let stage = |stage: &str, arm: Option<&str>, seconds, work: &str| StageTiming {
        stage: stage.into(),
        arm: arm.map(str::to_owned),
        seconds,
        work: work.into(),
    };
    let timings = Timings {
        started: Some("2025-01-01T12:00:00Z".into()),
        stages: vec![
            stage("evaluate", Some("base"), 6.2, "1440 items, 720 pairs"),
            stage("mediate", Some("base"), 11.4, "34560 patched runs"),
            stage("tune", Some("plain"), 7.9, "240 steps"),
            stage("tune", Some("causal"), 22.8, "240 steps"),
        ],
        peak_memory_bytes: Some(412_000_000),
        machine: "2 threads, CPU".into(),
    };
    ReportData { summary, records, comparisons, timings }
}

/// The same run with one scenario and three arms: small enough to read whole.
pub fn small() -> ReportData {
    let mut data = data();
    let kept = |name: &str| ["base", "plain", "causal"].contains(&name);
    let ours = |population: &str| !population.starts_with("reviews") && !population.starts_with("admission");
    data.summary.arms.retain(|arm| kept(&arm.name));
    data.summary.curves.retain(|curve| kept(&curve.arm));
    data.summary.graphs.truncate(1);
    data.summary.questions.truncate(1);
    data.summary.headlines.iter_mut().for_each(|headline| headline.populations.retain(|population| ours(population)));
    data.records.retain(|record| kept(&record.name));
    for record in &mut data.records {
        record.eval_sets.truncate(1);
        record.scores.retain(|score| ours(&score.population));
        record.effects.retain(|effect| ours(&effect.population));
        record.sites.retain(|sweep| ours(&sweep.population));
        record.grids.retain(|grid| grid.title.ends_with("hiring"));
        record.pathways.retain(|pathway| ours(&pathway.population));
        record.circuits.retain(|circuit| ours(&circuit.population));
        record.circuit_changes.retain(|change| ours(&change.population));
    }
    for comparison in &mut data.comparisons {
        comparison.candidates.retain(|candidate| kept(&candidate.name));
        comparison.candidates.iter_mut().for_each(|candidate| candidate.rows.retain(|row| ours(&row.population)));
    }
    data
}
