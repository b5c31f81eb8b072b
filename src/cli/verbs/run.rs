//! `quickstart` and `run`: the whole loop.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use counterpath::base::{Progress, files};
use counterpath::model::{Architecture, BaseType, LoadOptions};
use counterpath::pipeline::recipe::{ChatRecipe, QUICKSTART, Recipe};
use counterpath::pipeline::{RunFiles, RunRequest, run as run_loop};
use counterpath::report::terminal;
use serde_json::json;

use super::super::args::{ChatArgs, LoadArgs};
use super::super::load::{load_parts, parse_device};
use super::super::loop_args::{Quickstart, Run};
use super::super::needs::{self, Batch, Next};
use super::{Format, print_json};

/// The loop on the embedded model.
pub fn quickstart(args: &Quickstart, format: Format, progress: &dyn Progress) -> Result<()> {
    let mut recipe = Recipe::parse(Path::new("recipes/quickstart.toml"), QUICKSTART)?;
    recipe.seed = args.seed.unwrap_or(recipe.seed);
    let job = Job {
        recipe,
        written: QUICKSTART.to_owned(),
        near: None,
        device: &args.device,
        adapter: None,
        output: args.output.clone(),
        seeds: args.seeds as usize,
        dry_run: args.dry_run,
        chat: ChatArgs::default(),
    };
    job.run(format, progress)
}

/// The loop from a recipe.
pub fn run(args: &Run, format: Format, progress: &dyn Progress) -> Result<()> {
    let mut recipe = Recipe::load(&args.recipe)?;
    recipe.seed = args.seed.unwrap_or(recipe.seed);
    if let Some(model) = &args.model {
        recipe.model.clone_from(model);
    }
    if args.chat.chat_template {
        recipe.chat = Some(ChatRecipe { system: args.chat.system.clone() });
    }
    let chat = match &recipe.chat {
        Some(chat) => ChatArgs { chat_template: true, system: chat.system.clone() },
        None => ChatArgs::default(),
    };
    let output = args.output.clone().unwrap_or_else(|| Path::new("runs").join(&recipe.name));
    let job = Job {
        written: files::read_text(&args.recipe)?,
        near: args.recipe.parent().map(Path::to_path_buf),
        recipe,
        device: &args.device,
        adapter: args.adapter.as_deref(),
        output,
        seeds: args.seeds as usize,
        dry_run: args.dry_run,
        chat,
    };
    job.run(format, progress)
}

struct Job<'a> {
    recipe: Recipe,
    written: String,
    near: Option<PathBuf>,
    device: &'a str,
    adapter: Option<&'a Path>,
    output: PathBuf,
    seeds: usize,
    dry_run: bool,
    chat: ChatArgs,
}

impl Job<'_> {
    fn run(self, format: Format, progress: &dyn Progress) -> Result<()> {
        let load = LoadArgs {
            adapter: None,
            check_finite: false,
            device: self.device.to_owned(),
            base_dtype: BaseType::Compute,
            dry_run: self.dry_run,
            chat: self.chat.clone(),
        };
        let tuned = self.recipe.tune.arms.len() * self.seeds;
        let stages = |architecture: &Architecture| Ok(needs::whole_loop(&self.recipe, architecture, tuned));
        if needs::consider_stages(&self.recipe.model, &load, (Batch::Recipe, &stages), format)? == Next::Stop {
            return Ok(());
        }
        let options = LoadOptions { device: parse_device(self.device)?, ..LoadOptions::default() };
        let loaded = load_parts(&self.recipe.model, self.adapter, &self.chat, &options, progress)?;
        let (model, source) = match &loaded.adapter {
            None => (loaded.model, loaded.source),
            Some((folder, adapter)) => {
                let merged = loaded.base.merge(adapter, &loaded.base.probe()?)?;
                progress.note(&format!(
                    "{} is merged into the model (logits move by at most {:.1e}); what this run trains belongs to that \
                     checkpoint, which `counterpath convert --adapter` writes",
                    folder.display(),
                    merged.drift
                ));
                (merged.model, format!("{} with {} merged", loaded.source, folder.display()))
            }
        };
        let request = RunRequest {
            model,
            source,
            recipe: self.recipe,
            written: self.written,
            near: self.near,
            output: self.output,
            seeds: self.seeds,
            command: super::command(),
        };
        let folder = request.output.display().to_string();
        let finished = run_loop(&request, progress)
            .with_context(|| format!("the run in {folder} stopped; what is finished there is kept"))?;
        print(&finished, format)
    }
}

fn print(finished: &RunFiles, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(&json!({
            "report": finished.html,
            "markdown": finished.markdown,
            "targets": finished.data.summary.targets,
            "seconds": finished.data.timings.total_seconds(),
        }));
    }
    let width = if std::io::stdout().is_terminal() { terminal_width() } else { 120 };
    println!("{}", terminal::run(&finished.data, width));
    println!("report: {}", finished.html.display());
    Ok(())
}

/// The terminal's width as the shell exports it.
fn terminal_width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(120)
}
