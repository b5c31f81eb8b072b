//! Trains the models of the pathway benchmark's second tier and writes those that are accepted.
//!
//! ```text
//! cargo run --release --example planted-models -- models/planted
//! ```
//!
//! Each folder gets `config.json`, `model.safetensors` and `planted.json`: the training's spec, what the losses came to
//! and the acceptance record. A model that is not accepted is not written, and the program ends with an error. Same
//! seed, same processor features, same version of the passes: same bytes. A name after the folder trains that model alone.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use counterpath::base::{Progress, files};
use counterpath::planted::trained::{
    HighLevel, LossWeights, Pathway, SiitSpec, StepLosses, TrainedRecord, measure, train_strictly,
};
use counterpath::planted::{Node, write_checkpoint};

/// Pairs on which a model is judged.
const PAIRS: usize = 2000;

struct Terminal;

impl Progress for Terminal {
    fn start(&self, stage: &str, units: u64) {
        eprintln!("{stage}: {units}");
    }
    fn advance(&self, _: u64) {}
    fn note(&self, text: &str) {
        eprintln!("{text}");
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        false
    }
}

fn specs() -> Vec<(&'static str, SiitSpec)> {
    let head = |layer, head| Node::Head { layer, head };
    let weights = LossWeights { behaviour: 1.0, interchange: 1.0, strict: 0.4 };
    let two = SiitSpec {
        seed: 41,
        layers: 2,
        heads: 4,
        width: 32,
        steps: 1500,
        batch: 64,
        learning_rate: 4e-3,
        clip: 1.0,
        high_level: HighLevel { rho: 0.9, log_odds: 3.0 },
        pathway: Pathway { attribute: head(0, 2), majority: head(0, 1), output: Node::Mlp { layer: 1 } },
        weights,
    };
    let three = SiitSpec {
        seed: 42,
        layers: 3,
        high_level: HighLevel { rho: 0.8, log_odds: 3.0 },
        pathway: Pathway { attribute: head(1, 3), majority: head(0, 0), output: Node::Mlp { layer: 2 } },
        ..two.clone()
    };
    vec![("two-blocks", two), ("three-blocks", three)]
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("give the folder, such as models/planted")?);
    let only = arguments.next();
    for (name, spec) in specs().into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let started = Instant::now();
        let (model, log) = train_strictly(&spec, &Terminal)?;
        eprintln!("{name}: trained in {:.0} s", started.elapsed().as_secs_f64());
        let acceptance = measure(&model, &spec, PAIRS, &Terminal)?;
        acceptance.lines().iter().for_each(|line| println!("{name}: {line}"));
        let tail = log.get(log.len().saturating_sub(100)..).unwrap_or_default();
        let mean = |pick: fn(&StepLosses) -> f64| tail.iter().map(pick).sum::<f64>() / tail.len().max(1) as f64;
        let losses = StepLosses {
            behaviour: mean(|step| step.behaviour),
            interchange: mean(|step| step.interchange),
            strict: mean(|step| step.strict),
        };
        println!("{name}: losses of the last 100 steps {losses:?}, weighted {:?}", losses.weighted(&spec.weights));
        if !acceptance.accepted {
            bail!("{name} is not accepted, and is not written");
        }
        let target = folder.join(name);
        write_checkpoint(&target, &spec.config(), model.tensors())?;
        let record = TrainedRecord {
            name: name.to_owned(),
            command: "cargo run --release --example planted-models -- models/planted".to_owned(),
            weighted_losses: losses.weighted(&spec.weights),
            losses,
            acceptance,
            spec,
        };
        files::write_json(&target.join("planted.json"), &record)?;
    }
    Ok(())
}
