//! `complete`: continue prompts, to the terminal as the text comes or as JSON lines.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result, bail};
use counterpath::base::{Progress, Seed, Silent, files};
use counterpath::model::generate::{
    Choice, Completion, GenerateOptions, GenerateRequest, Piece, Sampling, Stop, complete,
};
use counterpath::model::needs::{Job, JobKind};
use counterpath::model::{LanguageModel, NoHooks};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::load::load;
use super::super::needs::{Batch, Next, consider};
use super::super::text_args::Complete;
use super::Format;

/// One line of a prompt file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Value,
    prompt: Option<String>,
    prompt_ids: Option<Vec<u32>>,
}

/// A prompt, its id as it was written, and its tokens.
struct Prompt {
    id: Value,
    ids: Vec<u32>,
}

/// Continues the prompts.
pub fn run(args: &Complete, format: Format, progress: &dyn Progress) -> Result<()> {
    let options = options(args)?;
    let lines = lines(args)?;
    if consider(&args.model.model, &args.model.load, (Batch::Rows, &|_| Ok(job(args, &lines))), format)? == Next::Stop {
        return Ok(());
    }
    let model = load(&args.model, progress)?.model;
    let prompts = lines.into_iter().map(|line| prompt(line, &model)).collect::<Result<Vec<_>>>()?;
    let requests: Vec<GenerateRequest> =
        prompts.iter().map(|prompt| GenerateRequest { id: name(&prompt.id), prompt: prompt.ids.clone() }).collect();
    let streams = args.prompts.is_none() && format == Format::Text && args.output.is_none();
    if !streams {
        let completions = complete(&model, &requests, &options, &mut NoHooks, &mut |_| {}, progress)?;
        return write(args, &prompts, &completions);
    }
    let mut out = std::io::stdout().lock();
    // A turn of a conversation is answered, a text goes on.
    if let Some(text) = args.prompt.as_ref().filter(|_| !args.model.load.chat.chat_template) {
        write!(out, "{text}")?;
    }
    // A terminal that has gone away is noticed once, after the text.
    let mut broken = Ok(());
    let mut show = |piece: Piece<'_>| broken = out.write_all(piece.text.as_bytes()).and_then(|()| out.flush());
    let quiet = Interruptible(progress);
    let completions = complete(&model, &requests, &options, &mut NoHooks, &mut show, &quiet)?;
    broken?;
    match completions.first() {
        Some(Completion { text: None, ids, .. }) => writeln!(out, "{ids:?}")?,
        _ => writeln!(out)?,
    }
    Ok(())
}

/// Passes the wish to stop on, and draws nothing: the text itself is the progress.
struct Interruptible<'a>(&'a dyn Progress);

impl Progress for Interruptible<'_> {
    fn start(&self, stage: &str, total: u64) {
        Silent.start(stage, total);
    }
    fn advance(&self, units: u64) {
        Silent.advance(units);
    }
    fn note(&self, line: &str) {
        Silent.note(line);
    }
    fn finish(&self) {
        Silent.finish();
    }
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

fn options(args: &Complete) -> Result<GenerateOptions> {
    let choice = match args.temperature {
        0.0 if args.top_k.is_some() || args.top_p.is_some() || args.min_p.is_some() => {
            bail!("--top-k, --top-p and --min-p need a --temperature above 0; without one the likeliest token is taken")
        }
        0.0 => Choice::Greedy,
        temperature => {
            Choice::Sample(Sampling { temperature, top_k: args.top_k, top_p: args.top_p, min_p: args.min_p })
        }
    };
    Ok(GenerateOptions {
        max_tokens: args.max_tokens,
        choice,
        repetition_penalty: args.repetition_penalty,
        seed: Seed::new(args.seed),
        stop: if args.ignore_end { Stop::AtLimit } else { Stop::AtEnd },
        stop_strings: args.stop.clone(),
        batch: args.batch,
    })
}

/// What the prompts will take, four bytes a token.
fn job(args: &Complete, lines: &[Line]) -> Job {
    let length = |line: &Line| match (&line.prompt, &line.prompt_ids) {
        (_, Some(ids)) => ids.len(),
        (text, None) => text.as_ref().map_or(0, |text| text.len().div_ceil(4)),
    };
    let lengths = lines.iter().map(|line| length(line) + args.max_tokens);
    let rows = args.batch.min(lines.len());
    let tokens = lengths.clone().max().unwrap_or(0);
    Job { rows, tokens, read: rows, total_tokens: lengths.sum(), kind: JobKind::Generate }
}

fn lines(args: &Complete) -> Result<Vec<Line>> {
    let Some(path) = &args.prompts else {
        let ids = (!args.ids.is_empty()).then(|| args.ids.clone());
        return Ok(vec![Line { id: json!("prompt"), prompt: args.prompt.clone(), prompt_ids: ids }]);
    };
    let lines: Vec<Line> = files::read_jsonl(path)?;
    let mut seen = BTreeSet::new();
    for line in &lines {
        if !(line.id.is_string() || line.id.is_number()) {
            bail!("{}: id {} is neither a string nor a number", path.display(), line.id);
        }
        if !seen.insert(name(&line.id)) {
            bail!("{}: id {} stands there twice; draws hang on it, so it must be unique", path.display(), line.id);
        }
    }
    match lines.is_empty() {
        true => bail!("{} holds no prompt", path.display()),
        false => Ok(lines),
    }
}

fn name(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn prompt(line: Line, model: &LanguageModel) -> Result<Prompt> {
    let ids = match (line.prompt, line.prompt_ids) {
        (Some(text), None) => model.tokenizer()?.encode_prompt(&text)?.ids,
        (None, Some(ids)) => ids,
        _ => bail!("prompt {}: give either `prompt` (text) or `prompt_ids` (token ids)", line.id),
    };
    let size = model.architecture().vocab_size;
    match ids.iter().find(|id| **id as usize >= size) {
        Some(id) => bail!("prompt {}: token id {id} is outside the vocabulary of {size}", line.id),
        None => Ok(Prompt { id: line.id, ids }),
    }
}

fn write(args: &Complete, prompts: &[Prompt], completions: &[Completion]) -> Result<()> {
    let row = |(prompt, completion): (&Prompt, &Completion)| {
        json!({
            "id": prompt.id, "completion": completion.text, "ids": completion.ids, "finish": completion.finish,
            "prompt_tokens": prompt.ids.len(),
        })
    };
    let rows: Vec<Value> = prompts.iter().zip(completions).map(row).collect();
    match &args.output {
        Some(path) => {
            files::write_jsonl(path, &rows)?;
            println!("{} completions written to {}", rows.len(), path.display());
        }
        None => {
            let mut out = std::io::stdout().lock();
            for row in rows {
                writeln!(out, "{row}").context("standard output")?;
            }
        }
    }
    Ok(())
}
