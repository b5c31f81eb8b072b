//! A clustered paired difference resampled many times: `bootstrap`.

use anyhow::{Context, Result};
use counterpath::base::{Seed, seed};
use counterpath::stats::{Bootstrap, Item, Paired, Statistic};
use serde_json::{Value, json};

use super::{Args, timed};

/// Items of 0 and 1 in clusters of `per`, right with a chance that a cluster shares.
fn items(name: &str, count: usize, per: usize) -> Vec<Item> {
    let (mut easy, mut rng) = (Seed::new(11).fork("clusters").rng(), Seed::new(11).fork(name).rng());
    let mut chance = 0.0;
    let item = |id: usize| {
        if id.is_multiple_of(per) {
            chance = seed::uniform(&mut easy);
        }
        let value = f64::from(u8::from(seed::uniform(&mut rng) < chance));
        Item { id: format!("{id:06}"), cluster: format!("{:06}", id / per), value, group: None, weight: None }
    };
    (0..count).map(item).collect()
}

/// Times the replicates alone: the items are paired before the clock starts.
pub fn run(args: &Args) -> Result<Value> {
    let count = args.items.unwrap_or(10_000);
    let (first, second) = (items("first", count, args.cluster_size), items("second", count, args.cluster_size));
    let paired = Paired::new(&first, &second, &Statistic::Mean)?;
    let bootstrap = Bootstrap { replicates: args.replicates, level: 0.95, seed: Seed::new(1) };
    let mut interval = None;
    let mut result = timed(args, 0, || {
        let distribution = paired.distribution(&bootstrap)?;
        interval = distribution.estimate(0.95).interval;
        Ok(())
    })?;
    let interval = interval.context("an interval")?;
    result["items"] = json!(count);
    result["clusters"] = json!(paired.clusters());
    result["replicates"] = json!(args.replicates);
    result["interval"] = json!([interval.low, interval.high]);
    Ok(result)
}
