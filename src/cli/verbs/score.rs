//! `score`: log-likelihoods of continuations, for other programs.

use std::path::Path;

use anyhow::{Context, Result};
use counterpath::base::Progress;
use counterpath::model::{Adapter, AdapterBank, LanguageModel};
use counterpath::trust::requests::score_file;
use counterpath::trust::{Checkpoint, Scorer};
use serde_json::json;

use super::super::load::load;
use super::super::needs::{self, Batch, Next};
use super::super::text_args::Score;
use super::{Format, print_json};

/// Answers a request file.
pub fn run(args: &Score, format: Format, progress: &dyn Progress) -> Result<()> {
    let job = needs::scoring(args.batch_tokens, needs::tokens_of(&args.requests));
    if needs::consider(&args.model.model, &args.model.load, (Batch::Tokens, &|_| Ok(job)), format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let digest = loaded.adapter_digest()?;
    let bank;
    let scorer = match args.adapters.is_empty() {
        true => Scorer::Checkpoint(Checkpoint { model: &loaded.model, adapter: digest.as_ref() }),
        false => {
            bank = bank_of(&loaded.base, &args.adapters)?;
            Scorer::Bank(&bank)
        }
    };
    let answers = score_file(scorer, &args.requests, &args.output, args.batch_tokens, progress)?;
    match format {
        Format::Json => print_json(&json!({"answers": answers, "output": args.output})),
        Format::Text => {
            println!("{answers} answers written to {}", args.output.display());
            Ok(())
        }
    }
}

/// The adapters of `NAME=FOLDER` over one base.
fn bank_of(base: &LanguageModel, adapters: &[String]) -> Result<AdapterBank> {
    let mut bank = AdapterBank::new(base);
    for text in adapters {
        let (name, folder) =
            text.split_once('=').filter(|(name, folder)| !name.is_empty() && !folder.is_empty()).with_context(
                || format!("--with-adapter {text}: NAME=FOLDER is expected, such as causal=runs/x/adapter"),
            )?;
        let adapter = Adapter::load(Path::new(folder), base.device())?.frozen();
        bank.add(name, &adapter).with_context(|| format!("--with-adapter {text}"))?;
    }
    Ok(bank)
}
