//! `score`: log-likelihoods of continuations, for other programs.

use anyhow::Result;
use counterpath::base::Progress;
use counterpath::trust::Checkpoint;
use counterpath::trust::requests::score_file;
use serde_json::json;

use super::super::args::Score;
use super::super::load::load;
use super::super::needs::{self, Next};
use super::{Format, print_json};

/// Answers a request file.
pub fn run(args: &Score, format: Format, progress: &dyn Progress) -> Result<()> {
    let job = needs::scoring(args.batch_tokens, needs::tokens_of(&args.requests));
    if needs::consider(&args.model.model, &args.model.load, &|_| job, format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let digest = loaded.adapter_digest()?;
    let checkpoint = Checkpoint { model: &loaded.model, adapter: digest.as_ref() };
    let answers = score_file(checkpoint, &args.requests, &args.output, args.batch_tokens, progress)?;
    match format {
        Format::Json => print_json(&json!({"answers": answers, "output": args.output})),
        Format::Text => {
            println!("{answers} answers written to {}", args.output.display());
            Ok(())
        }
    }
}
