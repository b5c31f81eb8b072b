//! `perturb`: writes the variants of a task's questions and shows them beside their originals, before any model runs.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, Result};
use counterpath::base::{Digest, Seed, files};
use counterpath::harness::builtin::{Source, built_in};
use counterpath::harness::perturb::{
    CATALOGUE, Change, Chosen, Coverage, Lists, Material, Perturbed, Suite, checklist, difference,
};
use counterpath::harness::{OutputType, Question, Request, Task};
use serde_json::{Map, json};

use super::super::perturb_args::Perturb;
use super::{Format, print_json};

/// Makes the variants.
pub fn run(args: &Perturb, format: Format) -> Result<()> {
    if args.list {
        return list(format);
    }
    let output = args.output.as_ref().context("--output is missing: the file that receives the variants")?;
    let data = args.data.as_ref().context("--data is missing: the file of questions")?;
    let chosen = Chosen::parse(&args.suite)?;
    let lists = args.lists.as_ref().map_or_else(Lists::builtin, |folder| Lists::load(folder))?;
    let mut material = Material::new(lists);
    if let Some(path) = &args.paraphrases {
        material = material.with_paraphrases(path)?;
    }
    let task = match &args.task {
        Some(name) => built_in(name)?.read(&Source { num_fewshot: args.num_fewshot, ..Source::new(name, data) })?,
        None if args.checklist => checklist(data)?,
        None => questions(data, args.num_fewshot.unwrap_or(0))?,
    };
    let perturbed = Suite::new(chosen, material, Seed::new(args.seed))?.apply(&task)?;
    files::write_jsonl(output, &perturbed.task.questions)?;
    match format {
        Format::Json => print_json(&json!({
            "output": output,
            "questions": perturbed.task.questions.len(),
            "coverage": perturbed.coverage.iter().map(told).collect::<Vec<_>>(),
            "runner": perturbed.runner,
        })),
        Format::Text => {
            show(&perturbed, args.show);
            println!("{} questions in {}", perturbed.task.questions.len(), output.display());
            Ok(())
        }
    }
}

/// A task of questions that stand in a file.
fn questions(path: &Path, num_fewshot: usize) -> Result<Task> {
    let text = files::read_text(path)?;
    let questions: Vec<Question> = files::read_jsonl(path)?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let output_type = match questions.first().and_then(|question| question.requests.first()) {
        Some(Request::Generate { .. }) => OutputType::GenerateUntil,
        Some(Request::Rolling { .. }) => OutputType::LoglikelihoodRolling,
        _ => OutputType::MultipleChoice,
    };
    Ok(Task {
        id: name,
        alias: None,
        version: "1".into(),
        output_type,
        documents: questions.len(),
        questions,
        metrics: vec![],
        num_fewshot,
        digest: Digest::of(text.as_bytes()),
        bad_rows: vec![],
        config: Map::new(),
    })
}

fn list(format: Format) -> Result<()> {
    let row = |perturbation: &counterpath::harness::perturb::Perturbation| {
        let parameters: BTreeMap<&str, &str> =
            perturbation.parameters.iter().map(|parameter| (parameter.name, parameter.default)).collect();
        json!({
            "perturbation": perturbation.id,
            "version": perturbation.version,
            "intervention": perturbation.intervention(),
            "expectation": perturbation.expectation.name(),
            "definition": perturbation.definition,
            "parameters": parameters,
            "source": perturbation.source,
        })
    };
    if format == Format::Json {
        return print_json(&CATALOGUE.iter().map(row).collect::<Vec<_>>());
    }
    for perturbation in CATALOGUE {
        println!("{:<24} {}", perturbation.id, perturbation.definition);
        println!("{:<24} {}; the answer: {}", "", perturbation.intervention(), perturbation.expectation.name());
        for parameter in perturbation.parameters {
            println!("{:<24} {}={}: {}", "", parameter.name, parameter.default, parameter.meaning);
        }
    }
    Ok(())
}

fn told(coverage: &Coverage) -> serde_json::Value {
    let mut row = json!(coverage);
    if let Some(row) = row.as_object_mut() {
        row.insert("coverage".into(), json!(coverage.share()));
    }
    row
}

/// Coverage, and the first changed variants of each perturbation.
fn show(perturbed: &Perturbed, each: usize) {
    let questions = &perturbed.task.questions;
    let originals: BTreeMap<&str, &Question> = questions
        .iter()
        .filter(|question| question.variant.is_none())
        .map(|question| (question.id.as_str(), question))
        .collect();
    for coverage in &perturbed.coverage {
        let share = coverage.share().map_or("none".into(), |share| format!("{:.1} %", 100.0 * share));
        println!(
            "{}: {} of {} variants changed, coverage {share}",
            coverage.perturbation, coverage.changed, coverage.variants
        );
        println!("  {}; the answer: {}", coverage.intervention, coverage.expectation);
        for (reason, count) in &coverage.declined {
            println!("  {count} questions have no variant: {reason}");
        }
        let name = coverage.perturbation.split(':').next().unwrap_or_default();
        let changed = questions.iter().filter(|question| {
            question.variant.as_ref().is_some_and(|variant| variant.changed && variant.perturbation == name)
        });
        for variant in changed.take(each) {
            let of = variant.variant.as_ref().and_then(|made| originals.get(made.of.as_str()));
            if let Some(original) = of {
                println!("  {}", variant.id);
                println!("{}", beside(original, variant));
            }
        }
    }
}

/// The first request that differs, what was left out and what was put in marked.
fn beside(original: &Question, variant: &Question) -> String {
    let text = |request: &Request| match request {
        Request::Loglikelihood { context, continuation } => format!("{context}{continuation}"),
        Request::Rolling { text } => text.clone(),
        Request::Generate { context, .. } => context.clone(),
    };
    let pairs = original.requests.iter().map(text).zip(variant.requests.iter().map(text));
    let Some((first, second)) = pairs.into_iter().find(|(first, second)| first != second) else { return String::new() };
    let colour = std::io::stdout().is_terminal();
    let mark = |stretch: counterpath::harness::perturb::Stretch| match (stretch.change, colour) {
        (Change::Same, _) => stretch.text,
        (Change::Removed, true) => format!("\u{1b}[31;9m{}\u{1b}[0m", stretch.text),
        (Change::Added, true) => format!("\u{1b}[32;1m{}\u{1b}[0m", stretch.text),
        (Change::Removed, false) => format!("[-{}-]", stretch.text),
        (Change::Added, false) => format!("{{+{}+}}", stretch.text),
    };
    let marked: String = difference(&first, &second).into_iter().map(mark).collect();
    marked.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
