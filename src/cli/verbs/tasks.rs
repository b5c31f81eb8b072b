//! `evaluate --tasks`: tasks over data sets, into a record and lm-eval's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use counterpath::base::{Digest, Progress, Seed, files};
use counterpath::harness::output::groups::group_values;
use counterpath::harness::output::lm_eval::{Log, RunInfo, write};
use counterpath::harness::output::{Evaluated, samples};
use counterpath::harness::prompt::{FewshotTurns, PromptStyle};
use counterpath::harness::run::{Asker, Settings, TextStore, answer, measure};
use counterpath::harness::select::{Asked, Plan, plan};
use counterpath::harness::yaml::Overrides;
use counterpath::harness::yaml::build::Limit;
use counterpath::model::TextTokenizer;
use counterpath::pipeline::population::Population;
use counterpath::pipeline::recipe::EvaluateRecipe;
use counterpath::record::{EvalSetIdentity, RunRecord};
use counterpath::report::terminal::{Align, table};
use counterpath::stats::{Bootstrap, MetricScore};
use counterpath::trust::{Checkpoint, Pass, ScoreStore};
use serde_json::{Value, json};

use super::super::args::{ChatArgs, ModelArgs};
use super::super::load::{Loaded, hub_options, load};
use super::super::needs::{self, Batch, Next};
use super::super::stage_args::Evaluate;
use super::super::task_args::OutputFormat;
use super::{Format, print_json, work};

/// Width of printed tables.
const WIDTH: usize = 120;

/// `TASK=PATH`s.
pub fn data(given: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let pair = |text: &String| {
        let pair = text.split_once('=').filter(|(task, path)| !task.is_empty() && !path.is_empty());
        let (task, path) =
            pair.with_context(|| format!("--data {text}: TASK=PATH is expected, such as bbq=data/Age.jsonl"))?;
        Ok((task.to_owned(), PathBuf::from(path)))
    };
    given.iter().map(pair).collect()
}

/// `{"task": [0, 3]}`, or a file that holds it.
fn chosen_samples(given: Option<&str>) -> Result<BTreeMap<String, Vec<usize>>> {
    let Some(given) = given else { return Ok(BTreeMap::new()) };
    let text = match given.trim_start().starts_with('{') {
        true => given.to_owned(),
        false => files::read_text(Path::new(given))?,
    };
    serde_json::from_str(&text).context("--samples: an object of task names and lists of document numbers is expected")
}

fn limit(given: Option<f64>) -> Result<Option<Limit>> {
    Ok(match given {
        None => None,
        Some(share) if share > 0.0 && share < 1.0 => Some(Limit::Share(share)),
        Some(count) if count >= 1.0 && count.fract() == 0.0 => Some(Limit::Count(count as usize)),
        Some(other) => bail!("--limit {other}: a count from 1, or a share between 0 and 1, is expected"),
    })
}

/// Where the record goes, and the folder of everything else.
struct Output {
    record: PathBuf,
    folder: PathBuf,
}

impl Output {
    fn new(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "json") {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return Self { record: path.to_path_buf(), folder: folder.to_path_buf() };
        }
        Self { record: path.join(RunRecord::FILE), folder: path.to_path_buf() }
    }

    fn journal(&self, what: &str) -> PathBuf {
        self.record.with_extension(format!("{what}.jsonl"))
    }
}

/// Asks the tasks, measures the answers, and writes what was asked for.
pub fn evaluate(args: &Evaluate, format: Format, progress: &dyn Progress) -> Result<()> {
    let started = (SystemTime::now(), Instant::now());
    let output = Output::new(&args.output);
    files::check_writable(&output.folder).context("--output")?;
    let chat = &args.model.load.chat;
    // Prompts are put into the template here, with their examples: the model itself sees plain text.
    let plain = ModelArgs {
        load: super::super::args::LoadArgs { chat: ChatArgs::default(), ..args.model.load.clone() },
        ..args.model.clone()
    };
    let sets = work::open_evaluated(args)?;
    // Without a template, mistakes in tasks and data show before weights are read.
    let (planned, loaded) = match chat.chat_template {
        false => {
            let planned = planned(args, None, progress)?;
            if considered(args, &planned, &sets, format)? == Next::Stop {
                return Ok(());
            }
            (planned, load(&plain, progress)?)
        }
        true => {
            let loaded = load(&plain, progress)?;
            (planned(args, Some(loaded.base.tokenizer()?), progress)?, loaded)
        }
    };
    let mut record = work::record_of("checkpoint", &loaded, &sets, args.seed)?;
    record.request.written = super::command().into();
    let (evaluated, journals) = asked(args, &planned, &loaded, &output, progress)?;
    for task in &evaluated {
        add(&mut record, task);
    }
    let mut kept = journals;
    if !sets.is_empty() {
        let framed = match chat.chat_template {
            true => Loaded {
                model: loaded.model.with_chat_frame(chat.system.as_deref())?,
                base: loaded.base.with_chat_frame(chat.system.as_deref())?,
                ..loaded
            },
            false => loaded,
        };
        kept.extend(work::score_sets(args, &framed, &sets, &mut record, &output.record, progress)?);
        return finish(args, (&record, &evaluated, &planned), &framed, (&output, started), (kept, format));
    }
    finish(args, (&record, &evaluated, &planned), &loaded, (&output, started), (kept, format))
}

fn planned(args: &Evaluate, chat: Option<&TextTokenizer>, progress: &dyn Progress) -> Result<Plan> {
    let tasks = &args.tasks;
    let samples = chosen_samples(tasks.samples.as_deref())?;
    let overrides = Overrides {
        limit: limit(tasks.limit)?,
        samples: None,
        num_fewshot: tasks.num_fewshot,
        fewshot_seed: Some(tasks.fewshot_seed),
    };
    let hub = hub_options()?;
    let asked = Asked {
        names: &tasks.tasks,
        include: &tasks.source.include,
        data: &data(&tasks.source.data)?,
        max_bad_rows: tasks.source.max_bad_rows,
        overrides: &overrides,
        samples: &samples,
        hub: Some(&hub),
    };
    let turns = if tasks.fewshot_as_one_turn { FewshotTurns::One } else { FewshotTurns::Several };
    let style = PromptStyle { system: args.model.load.chat.system.as_deref(), chat, turns };
    Ok(plan(&asked, &style, progress)?)
}

fn considered(args: &Evaluate, plan: &Plan, sets: &[Population], format: Format) -> Result<Next> {
    let questions = plan.tasks.iter().flat_map(|task| &task.task.questions);
    let requests: usize = questions.map(|question| question.requests.len()).sum();
    let prompts: usize = sets.iter().map(|set| set.items.len() + 2 * set.pairs.len()).sum();
    let recipe = EvaluateRecipe::default();
    let job = needs::scoring(recipe.batch_tokens, (requests + prompts) * needs::PROMPT_TOKENS);
    needs::consider(&args.model.model, &args.model.load, (Batch::Fixed, &|_| Ok(job)), format)
}

/// The tasks with their answers and numbers, and the journals behind them.
fn asked(
    args: &Evaluate,
    plan: &Plan,
    loaded: &Loaded,
    output: &Output,
    progress: &dyn Progress,
) -> Result<(Vec<Evaluated>, Vec<PathBuf>)> {
    let recipe = EvaluateRecipe::default();
    let digest = loaded.adapter_digest()?;
    let seed = Seed::new(args.seed);
    let journals = vec![output.journal("tasks"), output.journal("texts")];
    let [scores, texts] = journals.as_slice() else { bail!("two journals") };
    let mut store = ScoreStore::open(scores)?;
    let mut texts = TextStore::open(texts)?;
    let mut asker = Asker {
        checkpoint: Checkpoint { model: &loaded.model, adapter: digest.as_ref() },
        pass: Pass { store: &mut store, batch_tokens: recipe.batch_tokens, progress },
        texts: &mut texts,
        rows: 8,
        seed,
    };
    let answers = answer(&mut asker, &plan.tasks)?;
    let settings = Settings {
        bootstrap: Bootstrap { replicates: recipe.replicates, level: recipe.level, seed: seed.fork("bootstrap") },
        iterations: args.tasks.bootstrap_iters,
    };
    let mut evaluated = Vec::with_capacity(plan.tasks.len());
    for (planned, answered) in plan.tasks.iter().zip(answers) {
        progress.start(&format!("measure {}", planned.task.id), 0);
        let result = measure(planned, &answered, &settings)?;
        progress.finish();
        evaluated.push(Evaluated { planned: planned.clone(), answered, result });
    }
    Ok((evaluated, journals))
}

/// A task's scores in the record, and what they were made of: equal digests prove equal prompts.
fn add(record: &mut RunRecord, task: &Evaluated) {
    let own = &task.planned.task;
    record.eval_sets.push(EvalSetIdentity {
        id: own.id.clone(),
        digest: Digest::of(format!("{} {}", own.version, samples::hash(task)).as_bytes()),
        items: own.questions.len(),
        pairs: 0,
        provenance: "task".into(),
    });
    for filter in &task.result.filters {
        record.scores.extend(filter.metrics.iter().flat_map(|metric| metric.scores.iter().cloned()));
    }
}

fn finish(
    args: &Evaluate,
    (record, evaluated, plan): (&RunRecord, &[Evaluated], &Plan),
    loaded: &Loaded,
    (output, started): (&Output, (SystemTime, Instant)),
    (journals, format): (Vec<PathBuf>, Format),
) -> Result<()> {
    record.save(&output.record)?;
    let mut written = Vec::new();
    if args.tasks.output_format == OutputFormat::LmEval {
        let log = if args.tasks.log_samples { Log::Samples } else { Log::Results };
        let info = info(args, loaded, started)?;
        let to = if output.record == args.output { args.output.clone() } else { output.folder.clone() };
        let done = write(&to, evaluated, &plan.groups, &info, log)?;
        written.push(done.results);
        written.extend(done.samples);
    }
    journals.iter().try_for_each(|journal| files::remove(journal))?;
    let rows = rows(evaluated, plan);
    if format == Format::Json {
        return print_json(&json!({"record": output.record, "written": written, "results": rows}));
    }
    print!("{}", text(&rows));
    if !args.eval_sets.is_empty() {
        println!();
        print!("{}", counterpath::report::terminal::scores(record, WIDTH));
    }
    println!("\nrecord: {}", output.record.display());
    written.iter().for_each(|path| println!("written: {}", path.display()));
    Ok(())
}

fn info<'a>(args: &Evaluate, loaded: &'a Loaded, (when, begun): (SystemTime, Instant)) -> Result<RunInfo<'a>> {
    let tokenizer = loaded.base.tokenizer()?;
    let chat = &args.model.load.chat;
    let template = match chat.chat_template {
        true => Some(tokenizer.chat_template(false)?.source().to_owned()),
        false => None,
    };
    Ok(RunInfo {
        model: loaded.source.clone(),
        parameters: loaded.base.parameter_count(),
        max_length: loaded.base.architecture().max_positions,
        tokenizer: Some(tokenizer),
        device: args.model.load.device.clone(),
        limit: args.tasks.limit,
        iterations: args.tasks.bootstrap_iters,
        fewshot_seed: args.tasks.fewshot_seed,
        system: chat.system.clone(),
        chat_template: template,
        fewshot_as_multiturn: !args.tasks.fewshot_as_one_turn,
        started: when.duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64()).unwrap_or_default(),
        seconds: begun.elapsed().as_secs_f64(),
        stamp: stamp(SystemTime::now()),
    })
}

/// A moment as lm-eval's file names show it, in UTC: `2024-07-26T12-00-00.123456`.
fn stamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = counterpath::model::chat::Clock(since.as_secs() as i64);
    let seconds = clock.format("%Y-%m-%dT%H-%M-%S").unwrap_or_default();
    format!("{seconds}.{:06}", since.subsec_micros())
}

/// One row a task, filter and metric, then one a group and metric.
fn rows(evaluated: &[Evaluated], plan: &Plan) -> Vec<Value> {
    let mut rows = Vec::new();
    for task in evaluated {
        for filter in &task.result.filters {
            for metric in &filter.metrics {
                let whole = metric.scores.first().map(|score| &score.estimate);
                rows.push(json!({
                    "task": task.planned.task.id, "filter": filter.filter, "metric": metric.name, "value": metric.value,
                    "stderr": metric.standard_error, "interval": whole.and_then(|estimate| estimate.interval),
                    "n": task.planned.task.questions.len(), "refused": filter.refused, "nan": metric.not_numbers,
                    "num_fewshot": task.planned.task.num_fewshot, "bad_rows": task.planned.task.bad_rows.len(),
                    "undefined": undefined(metric.scores.first()),
                }));
            }
        }
    }
    for group in &plan.groups {
        for value in group_values(group, evaluated) {
            rows.push(json!({
                "group": group.name, "filter": value.filter, "metric": value.metric, "value": value.value,
                "stderr": value.standard_error, "n": value.documents,
            }));
        }
    }
    rows
}

fn undefined(score: Option<&MetricScore>) -> Option<String> {
    score.and_then(|score| score.estimate.undefined.clone())
}

fn text(rows: &[Value]) -> String {
    let heads = [
        ("task", Align::Left),
        ("metric", Align::Left),
        ("filter", Align::Left),
        ("value ± stderr", Align::Right),
        ("interval", Align::Right),
        ("n", Align::Right),
        ("refused", Align::Right),
        ("NaN", Align::Right),
    ];
    let number = |value: &Value| value.as_f64().map(|number| format!("{number:.4}"));
    let cell = |row: &Value, key: &str| match &row[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let line = |row: &Value| {
        let name = if row["group"].is_null() { cell(row, "task") } else { format!("{} (group)", cell(row, "group")) };
        let value = number(&row["value"]).unwrap_or_else(|| "undefined".into());
        let error = number(&row["stderr"]).map(|error| format!(" ± {error}")).unwrap_or_default();
        let ends = number(&row["interval"]["low"]).zip(number(&row["interval"]["high"]));
        let interval = ends.map(|(low, high)| format!("[{low}, {high}]")).unwrap_or_default();
        vec![
            name,
            cell(row, "metric"),
            cell(row, "filter"),
            format!("{value}{error}"),
            interval,
            cell(row, "n"),
            cell(row, "refused"),
            cell(row, "nan"),
        ]
    };
    let mut out = table(&heads, &rows.iter().map(line).collect::<Vec<_>>(), WIDTH);
    for row in rows.iter().filter(|row| row["bad_rows"].as_u64().is_some_and(|bad| bad > 0)) {
        out.push_str(&format!(
            "! {}: {} rows of its data could not be read and are left out\n",
            cell(row, "task"),
            row["bad_rows"]
        ));
    }
    out
}
