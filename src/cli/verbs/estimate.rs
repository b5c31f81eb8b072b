//! `estimate`, `refute`, `audit`: an effect from observational data, what tries to break it, and its record run again.

use std::path::Path;

use anyhow::{Context, Result, bail};
use counterpath::base::{Digest, files};
use counterpath::causal::Format as GraphFormat;
use counterpath::causal::audit::{AuditRecord, Request, differences};
use counterpath::causal::estimate::EstimationSpec;
use counterpath::causal::refute::Refuter;
use serde_json::{Value, json};

use super::super::causal_args::{Audit, Estimate};
use super::identify::{read_graph, read_table};
use super::{Format, print_json};

/// Draws of each random refuter of `refute`.
const DRAWS: usize = 20;

/// Estimates an effect.
pub fn run(args: &Estimate, format: Format) -> Result<()> {
    let record = made(args, args.refuters.unwrap_or(0))?;
    match format {
        Format::Json => print_json(&record),
        Format::Text => {
            print(&record);
            Ok(())
        }
    }
}

/// Estimates it and tries to break it.
pub fn refute(args: &Estimate, format: Format) -> Result<()> {
    let record = made(args, args.refuters.unwrap_or(DRAWS))?;
    match format {
        Format::Json => print_json(&record),
        Format::Text => {
            print(&record);
            let failed: Vec<&str> =
                record.refuters.iter().filter(|refuter| !refuter.passed).map(|refuter| refuter.name.as_str()).collect();
            match failed.is_empty() {
                true => println!("\nno refuter broke the estimate"),
                false => println!("\nBROKEN by {}", failed.join(", ")),
            }
            Ok(())
        }
    }
}

fn made(args: &Estimate, draws: usize) -> Result<AuditRecord> {
    let document = read_graph(&args.graph)?;
    let name = |given: &Option<String>, marked, what: &str| match (given, document.graph.names(marked).as_slice()) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok(only.clone()),
        _ => bail!("name the {what}: --{what} NAME, or mark one in the graph"),
    };
    let default = if args.method.starts_with("plr") { "ols" } else { "logistic" };
    let estimation = EstimationSpec {
        treatment: name(&args.treatment, document.exposures, "treatment")?,
        outcome: name(&args.outcome, document.outcomes, "outcome")?,
        covariates: args.adjust.clone().unwrap_or_default(),
        method: args.method.clone(),
        outcome_learner: args.outcome_learner.clone(),
        treatment_learner: args.treatment_learner.clone().unwrap_or_else(|| default.to_owned()),
        folds: args.folds,
        fold_rule: args.fold_rule.clone(),
        repetitions: args.repetitions,
        clusters: args.clusters.clone(),
        clip: args.clip,
        neighbours: args.neighbours,
        level: args.level,
        seed: args.seed,
    };
    let [cf_y, cf_d] = args.confounder[..] else { bail!("--confounder takes two shares, such as 0.03,0.03") };
    let request = Request {
        graph: document.write(GraphFormat::Toml)?,
        data: args.data.display().to_string(),
        data_digest: digest(&args.data)?,
        drop_missing: args.drop_missing,
        estimation,
        covariates_stated: args.adjust.is_some(),
        refuter_draws: draws,
        negative_outcomes: args.negative_outcomes.clone(),
        negative_treatments: args.negative_treatments.clone(),
        confounder: [cf_y, cf_d],
    };
    let record = request.run(&read_table(&args.data, args.drop_missing)?)?;
    if let Some(path) = &args.output {
        files::write_json(path, &record)?;
    }
    Ok(record)
}

fn digest(path: &Path) -> Result<Digest> {
    Ok(Digest::of(files::read_text_or_gzip(path)?.as_bytes()))
}

fn print(record: &AuditRecord) {
    let effect = &record.effect;
    let spec = &record.request.estimation;
    println!("{} → {}: {} = {:.6}", spec.treatment, spec.outcome, effect.target, effect.value);
    let interval = effect.interval;
    println!(
        "  {:.0} % interval [{:.6}, {:.6}], error {:.6}, p = {:.3e}, n = {}, {} independent units",
        100.0 * interval.level,
        interval.low,
        interval.high,
        effect.error,
        record.p_value,
        effect.n,
        effect.clusters
    );
    println!("  by {}", effect.method);
    println!("  observational; adjusted for {{{}}} ({})", record.adjustment.join(", "), record.chosen);
    if let Some(plain) = &record.unadjusted {
        println!("  unadjusted difference {:.6} [{:.6}, {:.6}]", plain.value, plain.interval.low, plain.interval.high);
    }
    record.identification.assumptions.iter().for_each(|line| println!("  assuming {line}"));
    effect.warnings.iter().for_each(|warning| println!("  WARNING {warning}"));
    if let Some(bounds) = &record.omitted_variable {
        println!(
            "  an omitted confounder that explains {} of the outcome and {} of the treatment leaves [{:.4}, {:.4}]; robustness value {:.4}, of the limit {:.4}",
            bounds.cf_y, bounds.cf_d, bounds.bounds[0], bounds.bounds[1], bounds.robustness, bounds.robustness_of_limit
        );
    }
    if let Some(robustness) = &record.robustness {
        println!("  robustness value {:.4}, of significance {:.4}", robustness.value, robustness.value_alpha);
    }
    let told = |Refuter { name, passed, detail, .. }: &Refuter| {
        println!("  {} {name}: {detail}", if *passed { "passed" } else { "FAILED" });
    };
    record.refuters.iter().for_each(told);
}

/// Runs a record's request again and compares to the bit.
pub fn audit(args: &Audit, format: Format) -> Result<()> {
    let stored: Value = files::read_json(&args.record)?;
    let request: Request = serde_json::from_value(stored.get("request").cloned().unwrap_or_default())
        .with_context(|| format!("{}: its request cannot be read", args.record.display()))?;
    let path = args.data.clone().unwrap_or_else(|| request.data.clone().into());
    let found = digest(&path)?;
    if found != request.data_digest {
        bail!(
            "{} is not the table of the record: its digest is {}, the record's {}",
            path.display(),
            found.short(),
            request.data_digest.short()
        );
    }
    let graph = Digest::of(request.graph.as_bytes());
    let again = request.run(&read_table(&path, request.drop_missing)?)?;
    let again = serde_json::to_value(&again)?;
    let differences = differences(&stored, &again);
    if format == Format::Json {
        print_json(&json!({"reproduced": differences.is_empty(), "graph_digest": graph, "differences": differences}))?;
    } else if differences.is_empty() {
        println!("reproduced to the bit: graph {}, data {}", graph.short(), found.short());
    }
    match differences.as_slice() {
        [] => Ok(()),
        [first, ..] => {
            bail!("the record is not what its request gives, in {} places; the first: {first}", differences.len())
        }
    }
}
