//! How many tokens a pass has best.

use super::language_model::LanguageModel;

/// Bytes of a block's intermediate values that stay close to the processor.
const NEAR_BYTES: usize = 16 << 20;

/// Multiply–accumulates in a block beside which what every pass costs besides them (choosing rows, waking threads) is
/// small.
const BLOCK_PRODUCTS: u64 = 4_000_000_000;

/// How many tokens a pass has best. More of them share what it costs besides its products, until their values no longer
/// stay close to the processor; measured in docs/performance.md.
pub fn worthwhile_tokens(model: &LanguageModel) -> usize {
    let architecture = model.architecture();
    let heads = (architecture.n_heads + 2 * architecture.n_kv_heads) * architecture.head_dim;
    let values = 3 * architecture.d_model + heads + 3 * architecture.d_mlp;
    let near = NEAR_BYTES / (4 * values).max(1);
    let shared = BLOCK_PRODUCTS / weights_of_a_block(model).max(1);
    near.max(shared as usize).clamp(256, 8192)
}

/// Weights of a block that one token meets; of a mixture those of the chosen experts.
pub fn weights_of_a_block(model: &LanguageModel) -> u64 {
    let architecture = model.architecture();
    let modules = model.linear_modules();
    let blocks = modules.iter().filter(|module| !module.is_output_embedding);
    let all = blocks.map(|module| {
        let weights = (module.in_features * module.out_features) as u64;
        match architecture.experts {
            Some(experts) if module.name.contains("experts.") => {
                weights * experts.chosen as u64 / (experts.number as u64).max(1)
            }
            _ => weights,
        }
    });
    all.sum::<u64>() / (architecture.n_layers as u64).max(1)
}
