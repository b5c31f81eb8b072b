//! The names of GGUF's tensors in Hugging Face's terms, and what is done to each.

use super::super::stored::Change;
use super::Family;

/// The Hugging Face name of a tensor and the change that undoes the converter's; `None` for what is no weight.
pub(super) fn translate(name: &str, family: Family, heads: usize, kv_heads: usize) -> Option<(String, Change)> {
    let plain = |name: &str| Some((name.to_owned(), Change::Nothing));
    let norm = |name: String| {
        let change = if family.gains_plus_one() { Change::MinusOne } else { Change::Nothing };
        Some((name, change))
    };
    match name {
        "token_embd.weight" => return plain("model.embed_tokens.weight"),
        "output.weight" => return plain("lm_head.weight"),
        "output_norm.weight" => return norm("model.norm.weight".into()),
        "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight" => return None,
        _ => {}
    }
    let unknown = || plain(name);
    let Some((layer, rest)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else { return unknown() };
    let Some((part, end)) = rest.rsplit_once('.') else { return unknown() };
    let below = |module: &str| format!("model.layers.{layer}.{module}.{end}");
    let change = |change: Change| if family.pairs() { change } else { Change::Nothing };
    match part {
        "attn_q" => Some((below("self_attn.q_proj"), change(Change::PairsToHalves { heads }))),
        "attn_k" => Some((below("self_attn.k_proj"), change(Change::PairsToHalves { heads: kv_heads }))),
        "attn_v" => plain(&below("self_attn.v_proj")),
        "attn_qkv" => plain(&below("self_attn.qkv_proj")),
        "attn_output" => plain(&below("self_attn.o_proj")),
        "attn_q_norm" => norm(below("self_attn.q_norm")),
        "attn_k_norm" => norm(below("self_attn.k_norm")),
        "attn_norm" => norm(below("input_layernorm")),
        "post_attention_norm" => norm(below("post_attention_layernorm")),
        "ffn_norm" if family.sandwich() => norm(below("pre_feedforward_layernorm")),
        "ffn_norm" => norm(below("post_attention_layernorm")),
        "post_ffw_norm" => norm(below("post_feedforward_layernorm")),
        "ffn_gate" => plain(&below("mlp.gate_proj")),
        "ffn_up" if family == Family::Phi3 => plain(&below("mlp.gate_up_proj")),
        "ffn_up" => plain(&below("mlp.up_proj")),
        "ffn_down" => plain(&below("mlp.down_proj")),
        _ => unknown(),
    }
}
