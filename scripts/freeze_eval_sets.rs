//! Draws the shipped eval sets anew and writes their items, pairs and digests.
//!
//! ```text
//! cargo run --release --example freeze-eval-sets -- eval_sets
//! ```
//!
//! Run it after a change of a scenario or its prompts; the tests fail until the frozen bytes agree again.

use std::path::PathBuf;

use anyhow::{Context, Result};
use counterpath::scenario::{EvalSet, Scenario};

fn main() -> Result<()> {
    let root = PathBuf::from(std::env::args().nth(1).context("usage: freeze-eval-sets FOLDER")?);
    for id in Scenario::builtin_ids() {
        let folder = root.join(id);
        let set = EvalSet::generate(Scenario::load(&folder)?)?;
        set.freeze(&folder)?;
        println!("{id}: {} items, {} pairs, {}", set.items.len(), set.pairs.len(), set.digest);
    }
    Ok(())
}
