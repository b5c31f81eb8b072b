//! `benchmark`: methods on models whose answers are known.

use anyhow::Result;
use counterpath::base::{Progress, files};
use counterpath::pipeline::benchmark_page;
use counterpath::planted::{
    CalibrationSpec, SuiteSpec, Tier, markdown, read_scores, run_benchmark, tasks, write_models,
};
use serde_json::json;

use super::super::benchmark_args::{Benchmark, Pathways};
use super::{Format, print_json};

/// Runs a benchmark.
pub fn run(args: &Benchmark, format: Format, progress: &dyn Progress) -> Result<()> {
    match args {
        Benchmark::Pathways(args) => pathways(args, format, progress),
    }
}

fn pathways(args: &Pathways, format: Format, progress: &dyn Progress) -> Result<()> {
    let tiers = match args.tiers.as_slice() {
        [] => vec![Tier::Compiled, Tier::Trained],
        tiers => tiers.iter().map(|tier| Tier::from(*tier)).collect(),
    };
    let spec = SuiteSpec { stream: args.stream.clone(), models: args.models, pairs: args.pairs, tiers };
    let tasks = tasks(&spec)?;
    if let Some(folder) = &args.write_models {
        write_models(folder, &spec, &tasks)?;
        return match format {
            Format::Json => print_json(&json!({"tasks": tasks.len(), "output": folder})),
            Format::Text => {
                println!("{} tasks written to {}", tasks.len(), folder.display());
                Ok(())
            }
        };
    }
    let others = args.scores.iter().map(|path| read_scores(path, &tasks)).collect::<Result<_, _>>()?;
    let calibration = args.calibration.map(|models| CalibrationSpec { models, ..CalibrationSpec::default() });
    let found = run_benchmark(&spec, &tasks, others, calibration.as_ref(), progress)?;
    let text = markdown(&found);
    if let Some(folder) = &args.output {
        files::create_folder(folder)?;
        files::write_json(&folder.join("pathways.json"), &found)?;
        files::write_atomic(&folder.join("pathways.md"), text.as_bytes())?;
        let page = benchmark_page(&found, &super::command());
        files::write_atomic(&folder.join("pathways.html"), page.html().as_bytes())?;
    }
    match format {
        Format::Json => print_json(&found),
        Format::Text => {
            print!("{text}");
            Ok(())
        }
    }
}
