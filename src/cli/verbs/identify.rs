//! `identify`: what a causal graph says of a question, before any data are touched; then its value on data.

use anyhow::{Context, Result, bail};
use counterpath::base::files;
use counterpath::causal::table::Missing;
use counterpath::causal::{Among, Answer, Asked, Document, Format as GraphFormat, PathVerdict, Table, Verdict};
use serde_json::json;

use super::super::causal_args::Identify;
use super::{Format, print_json};

/// Answers the question.
pub fn run(args: &Identify, format: Format) -> Result<()> {
    let document = read_graph(&args.graph)?;
    if let Some(path) = &args.svg {
        files::write_atomic(path, document.svg().as_bytes())?;
    }
    if !args.paths.is_empty() {
        return along_paths(args, &document, format);
    }
    let asked = asked(args, &document)?;
    let (mut answer, verdict) = document.graph.ask(&asked)?;
    if let Some(path) = &args.data {
        let table = read_table(path, args.drop_missing)?;
        let weights = args.weight.as_ref().map(|name| table.numbers(name)).transpose()?;
        match &verdict {
            Verdict::Identified(found) => answer.values = found.on_table(&table, weights)?,
            Verdict::NotIdentified(hedge) => bail!("no number without identification: {}", hedge.text()),
        }
    }
    match format {
        Format::Json => print_json(&answer),
        Format::Text => {
            print(&answer);
            Ok(())
        }
    }
}

/// Reads a graph file of any format.
pub fn read_graph(path: &std::path::Path) -> Result<Document> {
    let text = files::read_text_or_gzip(path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Document::parse(GraphFormat::detect(&name, &text), &text).with_context(|| path.display().to_string())
}

/// Reads a table.
pub fn read_table(path: &std::path::Path, drop_missing: bool) -> Result<Table> {
    let missing = if drop_missing { Missing::DropRows } else { Missing::Refuse };
    Table::parse(&files::read_text_or_gzip(path)?, missing).with_context(|| path.display().to_string())
}

fn asked(args: &Identify, document: &Document) -> Result<Asked> {
    if let Some(query) = &args.query {
        return Ok(Asked::parse(query)?);
    }
    let or_marked = |named: &Vec<String>, marked| match named.is_empty() {
        true => document.graph.names(marked),
        false => named.clone(),
    };
    let outcomes = or_marked(&args.outcome, document.outcomes);
    if outcomes.is_empty() {
        bail!("say what is asked: --query \"P(y | do(x))\", or --treatment x --outcome y, or mark them in the graph");
    }
    let treatments = or_marked(&args.treatment, document.exposures);
    Ok(Asked { outcomes, treatments, given: args.given.clone() })
}

fn along_paths(args: &Identify, document: &Document, format: Format) -> Result<()> {
    if args.data.is_some() {
        bail!(
            "--path says whether an effect is identified; its value on data is `estimate`'s to give: leave --data out"
        );
    }
    let split = |path: &String| -> Vec<String> {
        path.replace('→', "->").split("->").map(|name| name.trim().to_owned()).collect()
    };
    let paths: Vec<Vec<String>> = args.paths.iter().map(split).collect();
    let names: Vec<Vec<&str>> = paths.iter().map(|path| path.iter().map(String::as_str).collect()).collect();
    let slices: Vec<&[&str]> = names.iter().map(Vec::as_slice).collect();
    let (graph, verdict) = document.graph.path_specific(&slices, Among::Everybody)?;
    let list = |set| graph.names(set).join(", ");
    let (estimand, reason) = match &verdict {
        PathVerdict::Identified(estimand) => (Some(estimand), String::new()),
        PathVerdict::RecantingWitness(node) => (
            None,
            format!(
                "`{}` is a recanting witness: it would have to take two values at once, one for the paths asked about and one for the others; ask about all paths through it",
                graph.name(*node)
            ),
        ),
        PathVerdict::RecantingDistrict(nodes) => {
            (None, format!("{} share latent causes and would see different values: measure those causes", list(*nodes)))
        }
        PathVerdict::NotIdentified(stuck) => {
            (None, format!("latent causes tie {} together: measure them, or set one by experiment", list(stuck.outer)))
        }
    };
    match format {
        Format::Json => print_json(&json!({
            "paths": paths, "identified": estimand.is_some(),
            "estimand": estimand.map(|estimand| estimand.text(&graph)),
            "latex": estimand.map(|estimand| estimand.latex(&graph)),
            "tree": estimand.map(|estimand| estimand.json(&graph)),
            "reason": reason,
        })),
        Format::Text => {
            match estimand {
                Some(estimand) => println!(
                    "identified along {}\n  {}\n  (₀ baseline value, ₁ active value)",
                    args.paths.join(" and "),
                    estimand.text(&graph)
                ),
                None => println!("not identified along {}\n  {reason}", args.paths.join(" and ")),
            }
            Ok(())
        }
    }
}

fn print(answer: &Answer) {
    if let Some(hedge) = &answer.hedge {
        println!("{}: {}", answer.query, hedge.text);
    }
    if let Some(estimand) = &answer.estimand {
        println!("{} = {estimand}", answer.query);
        println!("  LaTeX    {}", answer.latex.as_deref().unwrap_or_default());
        println!("  checked  {}", answer.checked.as_deref().unwrap_or_default());
        println!("assuming");
        answer.assumptions.iter().for_each(|line| println!("  - {line}"));
    }
    let sets = |title: &str, sets: &[Vec<String>]| {
        if !sets.is_empty() {
            let sets: Vec<String> = sets.iter().map(|set| format!("{{{}}}", set.join(", "))).collect();
            println!("{title}  {}", sets.join("  "));
        }
    };
    sets("minimal adjustment sets", &answer.adjustment_sets);
    sets("optimal adjustment set", answer.optimal_set.as_slice());
    sets("front-door sets", &answer.front_door_sets);
    for (instrument, given) in &answer.instruments {
        let given = if given.is_empty() { String::new() } else { format!(" given {}", given.join(", ")) };
        println!("instrument  {instrument}{given} (for a linear effect only)");
    }
    for row in &answer.values {
        let at: Vec<String> = row.at.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!("{:48} {:.6}", at.join("  "), row.probability);
    }
}
