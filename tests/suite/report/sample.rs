//! A made-up run with the shape of the quickstart's, for the report's tests: three scenarios, six arms. The numbers
//! come from closed formulas, not from a model.

use std::collections::BTreeMap;

use counterpath::base::Digest;
use counterpath::compare::{CandidateComparison, Comparison, MetricComparison, Verdict};
use counterpath::record::{
    AdapterIdentity, Check, EvalSetIdentity, ModelIdentity, Refutation, Request, RunRecord, SiteSweep, StageTiming, Timings, Versions,
};
use counterpath::report::*;
use counterpath::stats::*;

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

fn score(metric: &str, population: &str, objective: Objective, unit: &str, direction: Direction, estimate: Estimate) -> MetricScore {
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
        scores.push(score("fairness.counterfactual_gap@log_odds", &at("invariant"), Fairness, "nats", Lower, estimate(left * (2.9 + 3.0 * wobble), 0.11)));
        scores.push(score("fairness.flip_rate", &at("invariant"), Fairness, "share", Lower, share(0.46 * left)));
        scores.push(score("robustness.consistency", &at("invariant"), Robustness, "share", Higher, share(1.0 - 0.46 * left)));
        scores.push(score("robustness.paraphrase_consistency", &at("paraphrase"), Robustness, "share", Higher, share(0.97 - 0.1 * left)));
        scores.push(score("robustness.worst_group", &at("shifted"), Robustness, "share", Higher, share(shifted - 0.2)));
        scores.push(score("sensitivity.follow_effect", &at("follow"), Sensitivity, "nats", Higher, estimate(1.9 - 0.1 * (1.0 - left) + wobble, 0.09)));
        let pathway_share = match arm {
            5 => Estimate::undefined("the total effect's interval covers 0, so a share of it means nothing", 240, 24),
            _ => estimate(0.83 - 0.5 * (1.0 - left.min(1.0)), 0.04),
        };
        scores.push(score("explainability.pathway_share", &at("invariant"), Explainability, "share", Direction::Descriptive, pathway_share));
        scores.push(score("calibration.ece", &at("shifted"), Calibration, "share", Lower, share(0.05 + 0.3 * left.min(1.0))));
    }
    scores.push(score("accuracy.perplexity", "held_out_text", Accuracy, "perplexity a token", Lower, estimate(6.2 + 0.05 * arm as f64, 0.2)));
    let exposure = if arm == 0 { 0.0 } else { 0.35 };
    scores.push(score("privacy.membership_effect", "canaries", Privacy, "nats a token", Lower, estimate(0.01 + exposure, 0.16)));
    scores.push(score("privacy.membership_auc", "canaries", Privacy, "probability", Lower, estimate(0.51 + exposure / 3.0, 0.09)));
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
    let positions: Vec<String> =
        ["[BOS]", "the", "applicant", "name", "has", "years", "of", "experience", "last"].iter().map(|p| (*p).to_owned()).collect();
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
    let values: Vec<Vec<Option<f64>>> = (0..rows.len()).map(|r| (0..columns.len()).map(|c| value(r, c)).collect()).collect();
    let q_values = values.iter().map(|row| row.iter().map(|v| v.map(|v| if v.abs() > 0.2 { 0.001 } else { 0.4 })).collect()).collect();
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
    let found = |set: &&str| Pathway {
        population: format!("{set}/invariant/evaluation"),
        sites: if arm == 5 { Vec::new() } else { vec!["blocks.2.attn.hook_z[head=1]".into(), "blocks.1.hook_resid_pre[slot=name]".into()] },
        rule: "Sites with q below 0.01 in both directions were added in order of strength until the joint effect reached 80 % of the total effect.".into(),
        share: if arm == 5 { Estimate::undefined("the total effect's interval covers 0", 240, 24) } else { estimate(0.84, 0.03) },
        share_denoised: if arm == 5 { Estimate::undefined("the total effect's interval covers 0", 240, 24) } else { estimate(0.79, 0.04) },
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
    let model = ModelIdentity { source: "embedded".into(), family: "llama".into(), parameters: 286_784, digest: Digest::of(b"weights") };
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
        .map(|set| EvalSetIdentity { id: (*set).into(), digest: Digest::of(set.as_bytes()), items: 480, pairs: 240, provenance: "generated".into() })
        .collect();
    record.seeds = BTreeMap::from([("run".to_owned(), 7)]);
    record.scores = scores(arm);
    record.effects = effects(arm);
    record.sites = sites(arm);
    record.grids = grids(arm);
    record.pathways = pathways(arm);
    if arm == 0 {
        record.checks = checks();
        record.refutations = refutations();
    }
    record
}

/// Differences and verdicts by rule of thumb; the real ones are made from items.
fn comparison(records: &[RunRecord]) -> Comparison {
    let base = &records[0];
    let candidates = records.iter().skip(1).map(|record| CandidateComparison {
        name: record.name.clone(),
        rows: record.scores.iter().map(|score| row(base.score(&score.metric, &score.population).expect("same metrics"), score)).collect(),
        unmatched: Vec::new(),
    });
    Comparison {
        baseline: base.name.clone(),
        candidates: candidates.collect(),
        family: 140,
        alpha: 0.05,
        power: 0.8,
        level: 0.95,
        replicates: 2000,
        permutations: 28_000,
    }
}

fn row(before: &MetricScore, after: &MetricScore) -> MetricComparison {
    let margin = (after.objective == Objective::Sensitivity).then_some(0.3);
    let values = before.estimate.value.zip(after.estimate.value);
    let large = values.is_some_and(|(a, b)| (b - a).abs() > 0.12 * a.abs().max(0.1));
    let up = values.is_some_and(|(a, b)| b > a);
    MetricComparison {
        metric: after.metric.clone(),
        population: after.population.clone(),
        objective: after.objective,
        unit: after.unit.clone(),
        direction: after.direction,
        baseline: before.estimate.clone(),
        candidate: after.estimate.clone(),
        difference: values.map_or_else(|| Estimate::undefined("undefined in one of the two", 240, 24), |(a, b)| estimate(b - a, 0.05)),
        standard_error: Some(0.02),
        p_value: Some(if large { 0.0004 } else { 0.61 }),
        headline: after.direction != Direction::Descriptive,
        adjusted_p: Some(if large { 0.008 } else { 1.0 }),
        margin,
        equivalence_interval: None,
        equivalence: None,
        no_harm: None,
        minimum_detectable: Some(0.04),
        verdict: match (large, after.direction) {
            (true, Direction::Descriptive) => Verdict::Changed,
            (true, direction) if up == (direction == Direction::Higher) => Verdict::Better,
            (true, _) => Verdict::Worse,
            (false, _) if margin.is_some() => Verdict::Equivalent,
            (false, _) => Verdict::Undecided,
        },
        flips: None,
        caution: None,
    }
}

fn graph(id: &str, question: &str, protected: &str, proxy: &str, cause: &str, label: &str) -> ReportGraph {
    let node = |name: &str, role: &str, detail: &str| GraphNode { name: name.into(), role: role.into(), detail: detail.into(), layer: None };
    let edge = |from: &str, to: &str, kind| GraphEdge { from: from.into(), to: to.into(), kind };
    ReportGraph {
        id: id.into(),
        question: question.into(),
        nodes: vec![
            node("pool", "latent", "a or b, never observed"),
            node(protected, "protected", "two values"),
            node(proxy, "proxy", "the word that stands in the prompt"),
            node(cause, "causal", "two or nine"),
            node(label, "label", "the true label"),
            node("answer", "answer", "what the model says"),
        ],
        edges: vec![
            edge("pool", protected, EdgeKind::Latent),
            edge("pool", cause, EdgeKind::Latent),
            edge(protected, proxy, EdgeKind::Structural),
            edge(cause, label, EdgeKind::Structural),
            edge(proxy, "answer", EdgeKind::Spurious),
            edge(cause, "answer", EdgeKind::Legitimate),
        ],
    }
}

fn examples() -> Vec<ExamplePair> {
    let responses = |from: f64, to: f64| {
        ARMS.iter()
            .enumerate()
            .map(|(arm, (name, _))| {
                let moved = from + (to - from) * LEFT[arm].min(1.0);
                ExampleResponse {
                    arm: (*name).into(),
                    factual: vec![from, 1.0 - from],
                    counterfactual: vec![moved, 1.0 - moved],
                    effect: Some((moved / (1.0 - moved)).ln() - (from / (1.0 - from)).ln()),
                }
            })
            .collect()
    };
    vec![
        ExamplePair {
            id: "hiring-17".into(),
            population: "hiring/invariant".into(),
            kind: ExampleKind::Invariant,
            intervention: "gender: female → male".into(),
            factual: "The applicant Maria has nine years of experience . The committee will".into(),
            counterfactual: "The applicant Paul has nine years of experience . The committee will".into(),
            answers: vec![" hire".into(), " reject".into()],
            responses: responses(0.36, 0.93),
        },
        ExamplePair {
            id: "hiring-90".into(),
            population: "hiring/follow".into(),
            kind: ExampleKind::Follow,
            intervention: "years: two → nine".into(),
            factual: "The applicant Omar has two years of experience . The committee will".into(),
            counterfactual: "The applicant Omar has nine years of experience . The committee will".into(),
            answers: vec![" hire".into(), " reject".into()],
            responses: responses(0.22, 0.86)
                .into_iter()
                .map(|mut response: ExampleResponse| {
                    response.counterfactual = vec![0.84, 0.16];
                    response.effect = Some(2.92);
                    response
                })
                .collect(),
        },
    ]
}

fn curves() -> Vec<TrainingCurve> {
    let terms = [
        ("task loss", 0.9, [0, 1, 1, 1, 1, 1]),
        ("consistency on invariant pairs", 1.4, [0, 0, 1, 0, 0, 1]),
        ("follow loss", 0.8, [0, 0, 1, 0, 0, 1]),
        ("mediation penalty", 1.1, [0, 0, 0, 1, 1, 1]),
        ("KL to the base", 0.05, [0, 0, 0, 0, 0, 1]),
    ];
    let mut curves = Vec::new();
    for (term, start, trained) in terms {
        for (arm, (name, _)) in ARMS.iter().enumerate().skip(1) {
            let on = trained[arm] == 1;
            let points = (0..=48u64).map(|k| {
                let t = k as f64 / 48.0;
                let decay = if on { (-3.0 * t).exp() } else { 1.0 + 0.1 * t };
                (5 * k, start * (0.12 + 0.88 * decay) * (1.0 + 0.05 * ((k * (arm as u64 + 3)) as f64).sin()))
            });
            curves.push(TrainingCurve { arm: (*name).into(), term: term.into(), weight: on.then_some(1.0), points: points.collect() });
        }
    }
    curves
}

fn headlines() -> Vec<Headline> {
    let sets = |split: &str| SETS.iter().map(|set| format!("{set}/{split}")).collect::<Vec<_>>();
    let headline = |metric: &str, split: &str, title: &str, role| Headline { metrics: vec![metric.into()], populations: sets(split), title: title.into(), role };
    vec![
        headline("fairness.counterfactual_gap@log_odds", "invariant", "Effect of spurious changes on the answer", HeadlineRole::Unwanted),
        headline("sensitivity.follow_effect", "follow", "Effect of legitimate changes on the answer", HeadlineRole::Wanted),
        headline("accuracy.exact", "shifted", "Accuracy where the shortcut misleads", HeadlineRole::Outcome),
        headline("accuracy.exact", "train", "Accuracy where the shortcut pays", HeadlineRole::Outcome),
    ]
}

fn targets() -> Vec<Target> {
    let target = |claim: &str, criterion: &str, measured: &str, status, detail: &str| Target {
        claim: claim.into(),
        criterion: criterion.into(),
        measured: measured.into(),
        status,
        detail: detail.into(),
    };
    vec![
        target("The causal adapter removes the effect of spurious changes", "mean |TE| over invariant pairs falls by at least 80 %", "−92 % [−94, −90] %", TargetStatus::Met, "held-out names and templates"),
        target("The plain fine-tune does not", "mean |TE| stays within 20 % of the base", "+12 % [+8, +16] %", TargetStatus::Met, ""),
        target("The pathway penalty beats random sites", "smaller mean |TE| at equal budget, p < 0.05", "0.64 against 2.81 nats, p < 0.001", TargetStatus::Met, ""),
        target("Legitimate causes keep their effect", "change within ±0.3 nats", "−0.09 [−0.18, 0.01] nats", TargetStatus::Met, "margin fixed in the recipe"),
        target("Accuracy in the shifted environment rises", "difference above 0, corrected", "+31 points [+27, +35]", TargetStatus::Met, ""),
        target("The repair holds on paraphrases that no penalty saw", "mean |TE| falls by at least 80 %", "−74 % [−79, −69] %", TargetStatus::Failed, "two of nine paraphrase templates keep a third of the effect"),
        target("No rediscovered pathway carries the effect", "rediscovered share undefined or below 20 % of the base's effect", "undefined in two sets, 24 [9, 41] % in admission", TargetStatus::Undecided, ""),
    ]
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
            .map(|(name, description)| Arm { name: (*name).into(), description: (*description).into(), record: format!("{name}/record.json") })
            .collect(),
        focus: Some("causal".into()),
        control: Some("plain".into()),
        headlines: headlines(),
        targets: targets(),
        graphs: vec![
            graph("hiring", "Does gender, read off the name, move the decision?", "gender", "name", "years", "decision"),
            graph("reviews", "Does the genre move the verdict?", "genre", "opening_word", "opinion", "verdict"),
            graph("admission", "Does the district move admission other than through preparation?", "district", "school_name", "preparation", "admitted"),
        ],
        examples: examples(),
        curves: curves(),
        canaries: (0..12)
            .map(|k| Canary { id: format!("canary-{k:02}"), text: format!("the token of agent {k} is blue seven {k}"), included: k * 7 % 5 < 2 })
            .collect(),
        caveats: vec![
            "The embedded model is small and speaks a narrow language; effect sizes do not carry over to other models.".into(),
            "Counterfactuals are those of the declared graph: a path that the graph does not have was not tested.".into(),
        ],
        command: "counterpath quickstart --seed 7 --output runs/quickstart".into(),
    };
    let stage = |stage: &str, arm: Option<&str>, seconds, work: &str| StageTiming { stage: stage.into(), arm: arm.map(str::to_owned), seconds, work: work.into() };
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
    }
    for comparison in &mut data.comparisons {
        comparison.candidates.retain(|candidate| kept(&candidate.name));
        comparison.candidates.iter_mut().for_each(|candidate| candidate.rows.retain(|row| ours(&row.population)));
    }
    data
}
