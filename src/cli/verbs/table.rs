//! `table`: a scenario's variables and a model's outcomes, one row an item, for the verbs on graphs and tables.

use std::path::Path;

use anyhow::{Result, bail};
use counterpath::base::{Progress, Seed, files};
use counterpath::causal::Table as Columns;
use counterpath::causal::table::Column;
use counterpath::model::score::score;
use counterpath::model::{LanguageModel, ScoreRequest, split_tokens};
use counterpath::scenario::{Scenario, Split, TaskItem};
use serde_json::json;

use super::super::causal_args::Table;
use super::super::load::load;
use super::{Format, print_json};

/// Writes the table and, where it is asked for, the scenario's graph.
pub fn run(args: &Table, format: Format, progress: &dyn Progress) -> Result<()> {
    let scenario = match Scenario::builtin_ids().any(|id| id == args.eval_set) {
        true => Scenario::builtin(&args.eval_set)?,
        false => Scenario::load(Path::new(&args.eval_set))?,
    };
    if args.items == 0 {
        bail!("--items 0 asks for no rows");
    }
    let items = scenario.items(&args.environment, Split::Evaluation, args.items, Seed::new(args.seed))?;
    let model = load(&args.model, progress)?.model;
    let table = tabulate(&items, &log_odds(&model, &items, progress)?)?;
    files::write_atomic(&args.output, table.write().as_bytes())?;
    match format {
        Format::Json => print_json(&json!({"output": args.output, "rows": table.rows(), "columns": table.names()})),
        Format::Text => {
            println!("{} rows in {}: {}", table.rows(), args.output.display(), table.names().join(", "));
            println!(
                "`answer` is the log-odds of the first answer; the scenario's file is the graph that goes with it"
            );
            Ok(())
        }
    }
}

/// The log-odds of the first answer against all others together, in nats.
fn log_odds(model: &LanguageModel, items: &[TaskItem], progress: &dyn Progress) -> Result<Vec<f64>> {
    let tokenizer = model.tokenizer()?;
    let mut requests: Vec<ScoreRequest> = Vec::new();
    for item in items {
        for answer in &item.prompt.answers {
            requests.push(split_tokens(tokenizer, &item.prompt.text, answer)?);
        }
    }
    let mut scores = score(model, &requests, 4096, progress)?.into_iter().map(|score| score.loglikelihood);
    let odds = |item: &TaskItem| {
        let own: Vec<f64> = scores.by_ref().take(item.prompt.answers.len()).collect();
        let (first, rest) = own.split_first().unwrap_or((&f64::NAN, &[]));
        let most = rest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        first - most - rest.iter().map(|other| (other - most).exp()).sum::<f64>().ln()
    };
    Ok(items.iter().map(odds).collect())
}

fn tabulate(items: &[TaskItem], log_odds: &[f64]) -> Result<Columns> {
    let mut table = Columns::default();
    let labels = |of: &dyn Fn(&TaskItem) -> String| {
        let mut levels: Vec<String> = items.iter().map(of).collect();
        levels.sort();
        levels.dedup();
        let codes = items.iter().map(|item| levels.binary_search(&of(item)).unwrap_or(0)).collect();
        Column::Labels { levels, codes }
    };
    table.push("id", labels(&|item| item.id.clone()))?;
    table.push("template", labels(&|item| item.template.clone()))?;
    table.push("cluster", labels(&|item| item.cluster.clone()))?;
    let names: Vec<String> = items.first().map(|item| item.prompt.values.keys().cloned().collect()).unwrap_or_default();
    for name in names {
        let value = |item: &TaskItem| item.prompt.values.get(&name).cloned().unwrap_or_default();
        table.push(&name, labels(&value))?;
    }
    table.push("answer", Column::Numbers(log_odds.to_vec()))?;
    Ok(table)
}
