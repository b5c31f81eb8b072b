//! `validate`: reads tasks, renders their first documents and checks types, without a model and without the network.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use counterpath::base::Progress;
use counterpath::harness::HarnessError;
use counterpath::harness::prompt::PromptStyle;
use counterpath::harness::select::{self, Asked, Found};
use counterpath::harness::yaml::build::Limit;
use counterpath::harness::yaml::{Overrides, Planned};
use counterpath::model::hub::{HubOptions, Network};
use serde_json::{Value, json};

use super::super::load::hub_options;
use super::super::task_args::Validate;
use super::tasks::data;
use super::{Format, print_json};

/// Checks tasks, and says of each what was found.
pub fn run(args: &Validate, format: Format, progress: &dyn Progress) -> Result<()> {
    let hub = hub_options().ok().map(|hub| HubOptions { network: Network::Offline, ..hub });
    let overrides =
        Overrides { limit: Some(Limit::Count(args.limit)), num_fewshot: args.num_fewshot, ..Overrides::default() };
    let asked = Asked {
        names: &args.tasks,
        include: &args.source.include,
        data: &data(&args.source.data)?,
        max_bad_rows: args.source.max_bad_rows,
        overrides: &overrides,
        samples: &BTreeMap::new(),
        hub: hub.as_ref(),
    };
    let named = select::named(&asked)?;
    let mut reports = Vec::new();
    for found in &named.tasks {
        let planned = select::planned(found, &asked, &PromptStyle::default(), progress);
        reports.push((planned.is_ok(), report(found, planned)));
    }
    let failed = reports.iter().filter(|(fine, _)| !fine).count();
    let values: Vec<&Value> = reports.iter().map(|(_, report)| report).collect();
    match format {
        Format::Json => print_json(&values)?,
        Format::Text => values.into_iter().for_each(print),
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} tasks cannot be run as they are", reports.len()),
    }
}

fn report(found: &Found, planned: Result<Planned, HarnessError>) -> Value {
    let path = match found {
        Found::File(file) => Some(file.path.display().to_string()),
        Found::BuiltIn(_) => None,
    };
    let mut report = json!({"task": found.name(), "path": path});
    match planned {
        Err(error) => {
            report["valid"] = false.into();
            report["problem"] = error.to_string().into();
        }
        Ok(planned) => {
            let task = &planned.task;
            report["valid"] = true.into();
            report["output_type"] = task.output_type.name().into();
            report["documents"] = task.documents.into();
            report["rendered"] = task.questions.len().into();
            report["num_fewshot"] = task.num_fewshot.into();
            report["metrics"] = task.metrics.iter().map(|metric| metric.id.clone()).collect();
            report["bad_rows"] = task.bad_rows.clone().into();
            report["first"] =
                serde_json::to_value(task.questions.first().map(|question| &question.requests)).unwrap_or_default();
        }
    }
    report
}

fn print(report: &Value) {
    let text = |key: &str| report[key].as_str().unwrap_or_default();
    match report["valid"].as_bool() {
        Some(true) => {
            println!(
                "{}: {}, {} documents, {} rendered with {} examples",
                text("task"),
                text("output_type"),
                report["documents"],
                report["rendered"],
                report["num_fewshot"]
            );
            for request in report["first"].as_array().into_iter().flatten().take(1) {
                let prompt = ["context", "text"].iter().find_map(|key| request[*key].as_str()).unwrap_or_default();
                let lines: Vec<&str> = prompt.lines().collect();
                lines.iter().skip(lines.len().saturating_sub(4)).for_each(|line| println!("  | {line}"));
                if let Some(continuation) = request["continuation"].as_str() {
                    println!("  > {continuation:?}");
                }
            }
        }
        _ => println!("{}: {}", text("task"), text("problem")),
    }
}
