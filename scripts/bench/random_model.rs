//! Hugging Face folders of random weights, written a tensor at a time, so that a model larger than memory can be made.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use counterpath::base::Seed;
use half::{bf16, f16};
use rand::RngCore;
use serde_json::{Map, Value, json};

/// A Llama's sizes.
struct Shape {
    width: usize,
    mlp: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    vocab: usize,
    tied: bool,
}

fn shape(name: &str) -> Result<Shape> {
    let shape =
        |width, mlp, layers, heads, kv_heads, vocab, tied| Shape { width, mlp, layers, heads, kv_heads, vocab, tied };
    Ok(match name {
        "llama-15m" => shape(288, 768, 6, 6, 6, 32000, true),
        "smollm-135m" => shape(576, 1536, 30, 9, 3, 49152, true),
        // Llama 3.2 1B and 3B.
        "llama-1b" => shape(2048, 8192, 16, 32, 8, 128_256, true),
        "llama-3b" => shape(3072, 8192, 28, 24, 8, 128_256, true),
        other => bail!("no shape {other:?}: llama-15m, smollm-135m, llama-1b, llama-3b"),
    })
}

impl Shape {
    fn config(&self) -> Value {
        json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": self.width,
            "intermediate_size": self.mlp, "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads, "head_dim": self.width / self.heads, "vocab_size": self.vocab,
            "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 500_000.0,
            "tie_word_embeddings": self.tied, "bos_token_id": 1, "eos_token_id": 2
        })
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (d, m, kv) = (self.width, self.mlp, self.width / self.heads * self.kv_heads);
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab, d])];
        for layer in 0..self.layers {
            let parts = [("self_attn.q_proj", d, d), ("self_attn.k_proj", kv, d), ("self_attn.v_proj", kv, d)];
            let others =
                [("self_attn.o_proj", d, d), ("mlp.gate_proj", m, d), ("mlp.up_proj", m, d), ("mlp.down_proj", d, m)];
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            tensors
                .extend(parts.into_iter().chain(others).map(|(part, rows, columns)| (name(part), vec![rows, columns])));
            tensors.extend(["input_layernorm", "post_attention_layernorm"].map(|part| (name(part), vec![d])));
        }
        tensors.push(("model.norm.weight".to_owned(), vec![d]));
        if !self.tied {
            tensors.push(("lm_head.weight".to_owned(), vec![self.vocab, d]));
        }
        tensors
    }
}

/// Roughly normal numbers of standard deviation 1: the sum of four uniform ones.
fn draw(rng: &mut impl RngCore) -> f32 {
    let bits = rng.next_u64();
    let part = |shift: u32| ((bits >> shift) & 0xffff) as f32 / 65536.0 - 0.5;
    (part(0) + part(16) + part(32) + part(48)) * 3f32.sqrt()
}

/// Writes `config.json` and `model.safetensors`.
pub fn write(name: &str, dtype: &str, folder: &Path) -> Result<()> {
    let shape = shape(name)?;
    let bytes = match dtype {
        "f32" => 4,
        "bf16" | "f16" => 2,
        other => bail!("no type {other:?}: f32, f16, bf16"),
    };
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("config.json"), shape.config().to_string())?;
    let tensors = shape.tensors();
    let mut header = Map::new();
    let mut offset = 0;
    for (name, dims) in &tensors {
        let end = offset + dims.iter().product::<usize>() * bytes;
        header
            .insert(name.clone(), json!({"dtype": dtype.to_uppercase(), "shape": dims, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let path = folder.join("model.safetensors");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).with_context(|| path.display().to_string())?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for (name, dims) in &tensors {
        let mut rng = Seed::new(1).fork(name).rng();
        let (centre, scale) = if dims.len() == 1 { (1.0, 0.1) } else { (0.0, 0.02) };
        for _ in 0..dims.iter().product::<usize>() {
            let value = centre + scale * draw(&mut rng);
            match dtype {
                "f32" => file.write_all(&value.to_le_bytes())?,
                "f16" => file.write_all(&f16::from_f32(value).to_le_bytes())?,
                _ => file.write_all(&bf16::from_f32(value).to_le_bytes())?,
            }
        }
    }
    file.flush()?;
    println!("{}", json!({"model": folder, "parameters": offset / bytes, "bytes": offset, "dtype": dtype}));
    Ok(())
}
