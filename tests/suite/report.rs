//! The report on a made-up run: nothing is fetched, nothing is hidden, nothing is executed, nothing is NaN.

mod sample;

use counterpath::base::files;
use counterpath::compare::{Change, Cost, Dominance, Pareto, ParetoObjective, ParetoRun, Trade, Verdict};
use counterpath::record::{RunRecord, Timings};
use counterpath::report::{self, ReportData, ReportError, RunSummary, TargetStatus};
use counterpath::stats::{Direction, Estimate, Interval, Objective};

/// The text of the page without style and script.
fn visible(html: &str) -> String {
    let mut text = html.to_owned();
    for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
        while let Some(start) = text.find(open) {
            let end = text[start..].find(close).expect("closed") + start + close.len();
            text.replace_range(start..end, "");
        }
    }
    text
}

#[test]
fn the_page_needs_nothing_from_anywhere() {
    let html = report::html(&sample::data());
    for wanted in
        ["http://", "https://", "src=", "@import", "url(", "<iframe", "<object", "<embed", "fetch(", "XMLHttpRequest"]
    {
        assert!(!html.contains(wanted), "the page contains {wanted}");
    }
    for link in html.match_indices("href=").map(|(at, _)| &html[at + 6..at + 12]) {
        assert!(link.starts_with('#') || link.starts_with("data:"), "a link leads to {link}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn every_target_is_told_and_failures_loudly() {
    let data = sample::data();
    let (html, markdown) = (report::html(&data), report::markdown(&data));
    assert!(data.summary.targets.iter().any(|target| target.status == TargetStatus::Failed));
    for target in &data.summary.targets {
        assert!(html.contains(&target.claim) && markdown.contains(&target.claim), "{}", target.claim);
    }
    let failed = data.summary.targets.iter().filter(|target| target.status == TargetStatus::Failed);
    for target in failed {
        let row = markdown.lines().find(|line| line.contains("FAILED") && line.contains(&target.claim));
        assert!(row.is_some(), "{} in Markdown", target.claim);
        let at = html.find(&format!("1 FAILED: </strong>{}", target.claim));
        let summary = html.find("id=\"summary\"").expect("summary");
        assert!(at.is_some_and(|at| at - summary < 600), "the failure comes first on the page");
        assert!(html.contains("<li class=\"bad\"><span class=\"badge bad\">FAILED</span>"));
    }
    let terminal = report::terminal::run(&data, 100);
    assert!(terminal.lines().any(|line| line.starts_with("FAILED")), "{terminal}");
}

#[test]
fn hostile_text_is_shown_and_not_run() {
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)> | `x` [y](javascript:z)";
    let mut data = sample::data();
    data.summary.title = hostile.into();
    data.summary.examples[0].factual = hostile.into();
    data.summary.examples[0].answers = vec![hostile.into(), "b".into()];
    data.summary.graphs[0].nodes[0].detail = hostile.into();
    data.summary.canaries[0].text = hostile.into();
    data.records[0].grids[0].columns[1] = hostile.into();
    data.records[0].circuits[0].edges[0].from = hostile.into();
    data.records[0].circuits[1].population = hostile.into();
    data.records[0].scores[0].note = hostile.into();
    let html = report::html(&data);
    assert_eq!(html.matches("<script>").count(), 1, "our own script alone");
    assert!(!html.contains("<img") && html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let markdown = report::markdown(&data);
    assert!(!markdown.contains("<script") && !markdown.contains("<img") && !markdown.contains("[y](javascript"));
}

#[test]
fn undefined_values_give_their_reasons_and_nothing_is_nan() {
    let mut data = sample::data();
    data.records[0].scores[0].estimate = Estimate::undefined("no prompt had a label", 0, 0);
    data.records[1].effects[0].estimate = Estimate::undefined("one cluster only", 3, 1);
    data.records[2].pathways.clear();
    data.records[0].circuits[0].report.evaluation.faithfulness = Estimate::undefined("no total effect", 3, 1);
    data.records[0].circuits[0].curves[0].points[0].faithfulness = Estimate::undefined("no total effect", 3, 1);
    data.records[0].circuits[0].curves[0].log = None;
    data.records[0].circuits[1].edges[2].effect = f64::NAN;
    data.summary.curves[0].points = vec![(0, f64::NAN), (1, f64::INFINITY)];
    data.summary.examples[0].responses[0].factual = vec![f64::NAN, 0.5];
    data.summary.examples[0].responses[0].effect = Some(f64::NEG_INFINITY);
    data.records[0].grids[0].values[0][1] = Some(f64::NAN);
    let texts =
        [visible(&report::html(&data)), report::markdown(&data), report::terminal::scores(&data.records[0], 90)];
    for text in &texts {
        assert!(text.contains("no prompt had a label"));
        let words = text.split(|c: char| !c.is_alphanumeric());
        assert!(words.into_iter().all(|word| !["nan", "inf", "infinity"].contains(&word.to_lowercase().as_str())));
    }
    assert!(texts[0].contains("one cluster only") && texts[1].contains("one cluster only"));
}

#[test]
fn the_page_is_accessible() {
    let html = report::html(&sample::data());
    assert!(html.contains("<html lang=\"en\">") && html.contains("name=\"viewport\""));
    let pictures: Vec<&str> =
        html.split("<svg ").skip(1).map(|rest| rest.split('>').next().unwrap_or_default()).collect();
    assert!(pictures.len() > 20);
    for picture in pictures {
        assert!(picture.contains("aria-labelledby=") || picture.contains("aria-hidden="), "{picture}");
    }
    let mut ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "ids are unique");
    for label in html.split("aria-labelledby=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(label.split(' ').all(|id| ids.binary_search(&id).is_ok()), "{label} names nothing");
    }
    for head in html.split("<th ").skip(1) {
        assert!(head.starts_with("scope="), "{}", &head[..40]);
    }
}

#[test]
fn html_and_markdown_have_the_same_sections() {
    let data = sample::data();
    let (html, markdown) = (report::html(&data), report::markdown(&data));
    let titles: Vec<&str> = markdown.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(titles.len(), 13);
    for title in titles {
        assert!(html.contains(&format!("-title\">{title}</h2>")), "{title}");
    }
}

#[test]
fn a_run_folder_renders_again_to_the_same_bytes() {
    let folder = std::env::temp_dir().join(format!("counterpath-report-{}", std::process::id()));
    let data = sample::data();
    data.save(&folder).expect("save");
    let back = ReportData::load(&folder).expect("load");
    assert_eq!(report::html(&back), report::html(&data));
    assert_eq!(report::markdown(&back), report::markdown(&data));

    // A single record is a report too, and a folder of something else is none.
    let single = ReportData::load(&folder.join("base")).expect("one record");
    assert!(report::html(&single).contains("Record of base"));
    let nothing = ReportData::load(&folder.join("nowhere")).expect_err("nothing there");
    assert!(matches!(nothing, ReportError::NothingToReport { .. }), "{nothing}");

    // A record of another arm in the wrong place is named.
    let plain = RunRecord::load(&folder.join("plain/record.json")).expect("plain");
    plain.save(&folder.join("causal/record.json")).expect("overwrite");
    let wrong = ReportData::load(&folder).expect_err("wrong arm").to_string();
    assert!(wrong.contains("`plain`") && wrong.contains("`causal`"), "{wrong}");

    files::write_atomic(&folder.join(RunSummary::FILE), br#"{"schema": 9}"#).expect("newer");
    assert!(matches!(ReportData::load(&folder), Err(ReportError::Newer { found: 9, .. })));
    std::fs::remove_dir_all(&folder).expect("clean");
}

#[test]
fn a_report_of_little_still_reads() {
    let mut record = sample::record(0);
    record.scores.clear();
    record.effects.clear();
    record.grids.clear();
    record.sites.clear();
    record.pathways.clear();
    record.circuits.clear();
    record.checks.clear();
    record.refutations.clear();
    for data in [
        ReportData::default(),
        ReportData::of_records(vec![record]),
        ReportData::of_records((0..3).map(sample::record).collect()),
    ] {
        let html = report::html(&data);
        assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"));
        assert!(report::markdown(&data).starts_with("# "));
    }
}

#[test]
fn a_broken_check_and_a_refuted_finding_shout() {
    let mut data = sample::data();
    data.records[0].checks[2].passed = false;
    data.records[0].refutations[0].passed = false;
    data.records[0].refutations[1].passed = false;
    data.records[0].refutations[1].estimate = Estimate::undefined("no two pairs share their value", 0, 0);
    for text in [report::html(&data), report::markdown(&data)] {
        assert!(text.contains("BROKEN") && text.contains("REFUTED"));
        assert!(text.contains("2 of 3 checks") && text.contains("1 of 2 attempts"));
        // What could not be tried is told as such, neither for the finding nor against it.
        assert!(text.contains("not run") && text.contains("could not be made"));
    }
}

#[test]
fn a_verdict_that_no_data_could_reach_is_told_as_such() {
    let mut data = sample::data();
    assert!(!report::html(&data).contains("although their interval excludes 0"));
    for row in &mut data.comparisons[0].candidates[4].rows {
        row.verdict = Verdict::Undecided;
        row.caution = Some("with 4 clusters no p-value is below 0.125".into());
    }
    for text in [report::html(&data), report::markdown(&data)] {
        assert!(text.contains("although their interval excludes 0: with 4 clusters no p-value is below 0.125"));
        assert!(
            text.contains("the interval of every fall excludes 0"),
            "the summary does not claim a test that was not passed"
        );
        assert!(!text.contains("It fell everywhere, beyond chance"));
    }
}

#[test]
fn the_clock_stays_out_of_the_records() {
    let data = sample::data();
    let text = serde_json::to_string(&data.records).expect("json");
    assert!(!text.contains("seconds") && !text.contains("2025-01-01"));
    assert_ne!(data.timings, Timings::default());
}

#[test]
fn the_circuit_is_drawn_and_told_with_its_curve_its_null_and_what_tuning_left_of_it() {
    let data = sample::data();
    let (html, markdown) = (report::html(&data), report::markdown(&data));
    let section = html.split("<section id=\"circuit\"").nth(1).expect("a section");
    let section = section.split("</section>").next().expect("its end");
    // Two sets have one: a diagram with all seven edges each, a curve with three lines and the random circuits.
    assert_eq!(section.matches("<svg class=\"pathway\" ").count(), 2);
    assert_eq!(
        (
            section.matches("g class=\"edge carries\"><title>").count(),
            section.matches("g class=\"edge against\"><title>").count()
        ),
        (10, 4)
    );
    assert_eq!(section.matches("<svg class=\"curves chart\" ").count(), 2);
    assert!(section.contains("random circuits of its size at 0.0146: 2 from −0.130 to 0.0200"), "{section}");
    for text in [section, &markdown] {
        for wanted in [
            "7 of 479 edges carry 93.1 [91.1, 95.3] % of the effect",
            "a0.h1 → m0",
            "6.908 and 0",
            "4.912",
            "1.996",
            "beaten",
            "p = 0.002",
            "the mean total effect, 0.232, may be 0",
        ] {
            assert!(text.replace('\\', "").contains(wanted), "{wanted}");
        }
    }
    // A difference stands below the value that it led to: causal leaves 2.9 · 0.08 of 2.9 nats.
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| causal | 0.23 (−2.67 ")).collect();
    assert_eq!(rows.len(), 2);
    // Without circuits there is no section.
    let mut without = data;
    without.records.iter_mut().for_each(|record| record.circuits.clear());
    assert!(!report::html(&without).contains("id=\"circuit\""));
}

#[test]
fn a_circuit_page_says_what_the_report_says() {
    let page = report::CircuitPage {
        title: "A circuit <found>".into(),
        model: "embedded".into(),
        circuits: vec![sample::circuits::circuit("hiring")],
        changes: vec![("tuned".into(), sample::circuits::change("hiring", 1))],
        command: "counterpath circuit discover".into(),
    };
    let (html, markdown) = (page.html(), page.markdown());
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("A circuit &lt;found&gt;"));
    assert!(html.contains("<svg class=\"pathway\" ") && html.contains("class=\"ideal\""));
    for wanted in ["479 edges", "counterpath circuit discover", "embedded"] {
        assert!(html.contains(wanted) && markdown.contains(wanted), "{wanted}");
    }
    assert!(markdown.contains("| tuned |"), "{markdown}");
}

#[test]
fn numbers_of_a_circuit_that_are_none_are_not_saved() {
    let file = std::env::temp_dir().join(format!("counterpath-circuit-record-{}.json", std::process::id()));
    let mut record = sample::record(0);
    record.save(&file).expect("finite");
    assert_eq!(RunRecord::load(&file).expect("read"), record);
    record.circuits[0].curves[1].log = Some(counterpath::stats::circuit::Areas { cpr: f64::NAN, cmd: 0.0 });
    let message = record.save(&file).expect_err("not finite").to_string();
    assert!(message.contains("circuit of hiring: area"), "{message}");
    files::remove(&file).expect("remove");
}

/// Every section, table and sentence of a small made-up run.
#[test]
fn golden_markdown() {
    insta::with_settings!({ snapshot_path => "report/snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("markdown", report::markdown(&sample::small()));
    });
}

#[test]
fn golden_terminal() {
    let data = sample::small();
    let text = format!(
        "{}\n{}\n{}\n{}",
        report::terminal::run(&data, 100),
        report::terminal::scores(&data.records[2], 78),
        report::terminal::effects(&data.records[0], 100),
        report::terminal::strongest_sites(&data.records[0], 2, 90)
    );
    insta::with_settings!({ snapshot_path => "report/snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("terminal", text);
    });
}

/// Two objectives of two runs, of which the second trades one for the other.
fn pareto() -> Pareto {
    let objective = |objective, metric: &str, unit: &str, direction| ParetoObjective {
        objective,
        metric: metric.into(),
        populations: vec!["hiring/train".into()],
        unit: unit.into(),
        direction,
    };
    let value = |value: f64| Estimate {
        value: Some(value),
        interval: Some(Interval { low: value - 0.05, high: value + 0.05, level: 0.95 }),
        undefined: None,
        n: 120,
        clusters: 60,
        method: "joint cluster bootstrap (percentile), 500 replicates".into(),
    };
    let change = |objective, metric: &str, unit: &str, by| Change {
        objective,
        metric: metric.into(),
        unit: unit.into(),
        change: value(by),
    };
    let lost = change(Objective::Accuracy, "accuracy.exact", "share", -0.1);
    Pareto {
        objectives: vec![
            objective(Objective::Accuracy, "accuracy.exact", "share", Direction::Higher),
            objective(Objective::Fairness, "fairness.gap", "nats", Direction::Lower),
        ],
        runs: [("base", [0.9, 0.5], 0.4), ("causal", [0.8, 0.2], 0.97)]
            .map(|(name, values, front_share)| ParetoRun {
                name: name.into(),
                values: values.map(value).to_vec(),
                on_front: true,
                front_share,
            })
            .to_vec(),
        dominance: vec![Dominance { by: "causal".into(), over: "base".into(), observed: false, share: 0.25 }],
        trades: vec![Trade {
            candidate: "causal".into(),
            gained: change(Objective::Fairness, "fairness.gap", "nats", -0.3),
            costs: vec![Cost { lost, supported: true, price: value(0.33) }],
        }],
        missing: vec![Objective::Privacy],
        replicates: 500,
        level: 0.95,
    }
}

#[test]
fn all_objectives_stand_in_one_table_with_what_a_gain_cost() {
    let mut data = sample::data();
    assert!(!report::html(&data).contains("What each gain cost"), "no table, no section");
    data.comparisons[0].pareto = Some(pareto());
    let (html, markdown) = (report::html(&data), report::markdown(&data));
    let sentence = "causal: fairness −0.300 nats [−0.350, −0.250] at accuracy −10.0 points [−15.0, −5.0]";
    for page in [visible(&html), markdown.replace('\\', "")] {
        assert!(page.contains("All objectives at once") && page.contains(sentence), "{page}");
        assert!(page.contains("causal dominates base in 0.25 of the replicates, not on the values themselves"));
        assert!(page.contains("without a metric that all runs have item by item: privacy"));
    }
}
