//! The measurements of the made-up arms.

use std::collections::BTreeMap;

use counterpath::base::Digest;
use counterpath::record::{AdapterIdentity, EvalSetIdentity, ModelIdentity, Request, RunRecord, SiteSweep, Versions};
use counterpath::stats::*;

use super::{ARMS, LEFT, SETS, estimate};

fn score(
    metric: &str,
    population: &str,
    objective: Objective,
    unit: &str,
    direction: Direction,
    estimate: Estimate,
) -> MetricScore {
    MetricScore {
        metric: metric.into(),
        version: 1,
        population: population.into(),
        objective,
        unit: unit.into(),
        direction,
        statistic: if metric.ends_with("gap@log_odds") { Statistic::MeanAbsolute } else { Statistic::Mean },
        estimate,
        items: vec![Item { id: "0".into(), cluster: "t0".into(), value: 0.5, group: None, weight: None }],
        note: String::new(),
    }
}

fn scores(arm: usize) -> Vec<MetricScore> {
    use Direction::{Higher, Lower};
    use Objective::*;
    let left = LEFT[arm];
    let mut scores = Vec::new();
    for (k, set) in SETS.iter().enumerate() {
        let wobble = 0.07 * (k as f64 - 1.0);
        let at = |split: &str| format!("{set}/{split}");
        let train = 0.91 - 0.11 * (1.0 - left.min(1.0)) + wobble / 2.0 + if arm == 1 { 0.03 } else { 0.0 };
        let shifted = 0.42 + 0.34 * (1.0 - left.min(1.0)) - wobble;
        let share = |value: f64| estimate(value.clamp(0.0, 1.0), 0.021);
        scores.push(score("accuracy.exact", &at("train"), Accuracy, "share", Higher, share(train)));
        scores.push(score("accuracy.exact", &at("shifted"), Accuracy, "share", Higher, share(shifted)));
        scores.push(score(
            "fairness.counterfactual_gap@log_odds",
            &at("invariant"),
            Fairness,
            "nats",
            Lower,
            estimate(left * (2.9 + 3.0 * wobble), 0.11),
        ));
        scores.push(score("fairness.flip_rate", &at("invariant"), Fairness, "share", Lower, share(0.46 * left)));
        scores.push(score(
            "robustness.consistency",
            &at("invariant"),
            Robustness,
            "share",
            Higher,
            share(1.0 - 0.46 * left),
        ));
        scores.push(score(
            "robustness.paraphrase_consistency",
            &at("paraphrase"),
            Robustness,
            "share",
            Higher,
            share(0.97 - 0.1 * left),
        ));
        scores.push(score("robustness.worst_group", &at("shifted"), Robustness, "share", Higher, share(shifted - 0.2)));
        scores.push(score(
            "sensitivity.follow_effect",
            &at("follow"),
            Sensitivity,
            "nats",
            Higher,
            estimate(1.9 - 0.1 * (1.0 - left) + wobble, 0.09),
        ));
        let pathway_share = match arm {
            5 => Estimate::undefined("the total effect's interval covers 0, so a share of it means nothing", 240, 24),
            _ => estimate(0.83 - 0.5 * (1.0 - left.min(1.0)), 0.04),
        };
        scores.push(score(
            "explainability.pathway_share",
            &at("invariant"),
            Explainability,
            "share",
            Direction::Descriptive,
            pathway_share,
        ));
        scores.push(score(
            "calibration.ece",
            &at("shifted"),
            Calibration,
            "share",
            Lower,
            share(0.05 + 0.3 * left.min(1.0)),
        ));
    }
    scores.push(score(
        "accuracy.perplexity",
        "held_out_text",
        Accuracy,
        "perplexity a token",
        Lower,
        estimate(6.2 + 0.05 * arm as f64, 0.2),
    ));
    let exposure = if arm == 0 { 0.0 } else { 0.35 };
    scores.push(score(
        "privacy.membership_effect",
        "canaries",
        Privacy,
        "nats a token",
        Lower,
        estimate(0.01 + exposure, 0.16),
    ));
    scores.push(score(
        "privacy.membership_auc",
        "canaries",
        Privacy,
        "probability",
        Lower,
        estimate(0.51 + exposure / 3.0, 0.09),
    ));
    scores
}

fn effects(arm: usize) -> Vec<Effect> {
    let kinds = [
        (EffectKind::Total, 1.0),
        (EffectKind::NaturalDirect, 0.17),
        (EffectKind::NaturalIndirect, 0.81),
        (EffectKind::ReversedNaturalIndirect, -0.83),
    ];
    let mut effects = Vec::new();
    for set in SETS {
        for (kind, part) in kinds {
            for (scale, factor) in [(EffectScale::LogOdds, 1.0), (EffectScale::Probability, 0.18)] {
                effects.push(Effect {
                    kind,
                    scale,
                    regime: Regime::Experimental,
                    population: format!("{set}/invariant/evaluation"),
                    through: (kind != EffectKind::Total)
                        .then(|| "blocks.1.hook_resid_pre[slot=name] + blocks.2.attn.hook_z[head=1]".to_owned()),
                    estimate: estimate(2.9 * part * LEFT[arm] * factor, 0.12 * factor),
                    items: Vec::new(),
                    p_value: Some(0.0004),
                });
            }
        }
    }
    effects
}

fn grids(arm: usize) -> Vec<EffectGrid> {
    let layers: Vec<String> = (0..4).map(|layer| layer.to_string()).collect();
    let positions: Vec<String> = ["[BOS]", "the", "applicant", "name", "has", "years", "of", "experience", "last"]
        .iter()
        .map(|p| (*p).to_owned())
        .collect();
    let mut grids = Vec::new();
    for set in SETS {
        for direction in ["noise", "denoise"] {
            let resid = |layer: usize, position: usize| {
                let (layer, wave) = (layer as f64, ((layer * 7 + position * 3) as f64).sin());
                let value = match position {
                    3 => 2.9 * (1.0 - layer / 3.2),
                    8 => 2.9 * layer / 3.2,
                    7 => -0.5 * layer / 3.0,
                    _ => 0.06 * wave,
                };
                (position > 0).then_some(value * LEFT[arm])
            };
            let head = |layer: usize, head: usize| {
                let peak = if (layer, head) == (2, 1) { 2.3 } else { 0.15 * ((layer * 5 + head * 11) as f64).cos() };
                Some(peak * LEFT[arm])
            };
            grids.push(grid(format!("resid_pre, {direction}, {set}"), &layers, &positions, resid));
            grids.push(grid(format!("z, {direction}, {set}"), &layers, &["0", "1", "2", "3"].map(String::from), head));
        }
    }
    grids
}

fn grid(title: String, rows: &[String], columns: &[String], value: impl Fn(usize, usize) -> Option<f64>) -> EffectGrid {
    let values: Vec<Vec<Option<f64>>> =
        (0..rows.len()).map(|r| (0..columns.len()).map(|c| value(r, c)).collect()).collect();
    let q_values = values
        .iter()
        .map(|row| row.iter().map(|v| v.map(|v| if v.abs() > 0.2 { 0.001 } else { 0.4 })).collect())
        .collect();
    EffectGrid { title, rows: rows.to_vec(), columns: columns.to_vec(), values, q_values }
}

fn sites(arm: usize) -> Vec<SiteSweep> {
    let site = |site: &str, layer, position: Option<&str>, head, direction, value: f64| SiteEffect {
        site: site.into(),
        layer,
        position: position.map(str::to_owned),
        head,
        direction,
        estimate: estimate(value * LEFT[arm], 0.1),
        p_value: Some(0.0003),
        q_value: Some(0.0008),
    };
    SETS.iter()
        .map(|set| SiteSweep {
            population: format!("{set}/invariant/discovery"),
            effects: vec![
                site("blocks.1.hook_resid_pre[slot=name]", 1, Some("name"), None, PatchDirection::Noise, 2.0),
                site("blocks.1.hook_resid_pre[slot=name]", 1, Some("name"), None, PatchDirection::Denoise, 1.9),
                site("blocks.2.attn.hook_z[head=1]", 2, None, Some(1), PatchDirection::Noise, 2.3),
            ],
        })
        .collect()
}

fn pathways(arm: usize) -> Vec<Pathway> {
    let found = |set: &&str| {
        Pathway {
        population: format!("{set}/invariant/evaluation"),
        sites: if arm == 5 { Vec::new() } else { vec!["blocks.2.attn.hook_z[head=1]".into(), "blocks.1.hook_resid_pre[slot=name]".into()] },
        rule: "Sites with q below 0.01 in both directions were added in order of strength until the joint effect reached 80 % of the total effect.".into(),
        share: if arm == 5 { Estimate::undefined("the total effect's interval covers 0", 240, 24) } else { estimate(0.84, 0.03) },
        share_denoised: if arm == 5 { Estimate::undefined("the total effect's interval covers 0", 240, 24) } else { estimate(0.79, 0.04) },
    }
    };
    if [0, 1, 3, 5].contains(&arm) { SETS.iter().map(found).collect() } else { Vec::new() }
}

fn checks() -> Vec<Check> {
    let check = |name: &str, worst, tolerance, detail: &str| Check {
        name: name.into(),
        passed: true,
        worst: Some(worst),
        tolerance: Some(tolerance),
        detail: detail.into(),
    };
    vec![
        check("patching nothing changes nothing", 0.0, 1e-6, "every pair, both directions"),
        check("patching the first residual everywhere gives the total effect", 2.4e-7, 1e-4, "720 pairs"),
        check("TE = NDE − reversed NIE", 3.1e-6, 1e-4, "720 pairs, the two sides from separately executed plans"),
    ]
}

fn refutations() -> Vec<Refutation> {
    let refuter = |name: &str, value: f64, detail: &str| Refutation {
        name: name.into(),
        population: "hiring/invariant/evaluation".into(),
        estimate: estimate(value, 0.05),
        finding: Some(estimate(2.43, 0.1)),
        passed: true,
        detail: detail.into(),
    };
    vec![
        refuter("placebo site", 0.02, "as many sites at words that did not change"),
        refuter("shuffled pairs", 0.11, "the donor comes from another pair of the same template"),
        refuter("random direction", 0.04, "a random direction of the same length"),
    ]
}

pub fn record(arm: usize) -> RunRecord {
    let (name, _) = ARMS[arm];
    let model = ModelIdentity {
        source: "embedded".into(),
        family: "llama".into(),
        parameters: 286_784,
        digest: Digest::of(b"weights"),
    };
    let mut record = RunRecord::new(name, model, Versions { counterpath: "0.1.0".into(), candle: "0.11.1".into() });
    record.request = Request {
        written: serde_json::json!({ "recipe": "quickstart" }),
        resolved: serde_json::json!({ "recipe": "quickstart", "seed": 7, "margin": { "follow_effect": 0.3 } }),
    };
    record.adapter = (arm > 0).then(|| AdapterIdentity {
        folder: format!("{name}/adapter"),
        digest: Digest::of(name.as_bytes()),
        parameters: 16_384,
        rank: 8,
        targets: vec!["q_proj".into(), "v_proj".into(), "o_proj".into()],
    });
    record.tokenizer = Some(Digest::of(b"tokenizer"));
    record.eval_sets = SETS
        .iter()
        .map(|set| EvalSetIdentity {
            id: (*set).into(),
            digest: Digest::of(set.as_bytes()),
            items: 480,
            pairs: 240,
            provenance: "generated".into(),
        })
        .collect();
    record.seeds = BTreeMap::from([("run".to_owned(), 7)]);
    record.scores = scores(arm);
    record.effects = effects(arm);
    record.sites = sites(arm);
    record.grids = grids(arm);
    record.pathways = pathways(arm);
    // The district has no pairs of equal length, so no circuit.
    let traced = SETS.iter().take(2);
    match arm {
        0 => record.circuits = traced.map(|set| super::circuits::circuit(set)).collect(),
        _ => record.circuit_changes = traced.map(|set| super::circuits::change(set, arm)).collect(),
    }
    if arm == 0 {
        record.checks = checks();
        record.refutations = refutations();
    }
    record
}
