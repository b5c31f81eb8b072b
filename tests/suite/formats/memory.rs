//! What loading takes.

use super::*;

/// A field of /proc/self/status, in bytes.
#[cfg(target_os = "linux")]
pub fn status(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect(field);
    let kib: usize = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number");
    kib * 1024
}

/// A checkpoint of about `bytes` bytes.
pub fn large(name: &str, bytes: usize) -> PathBuf {
    let folder = scratch(name);
    let (width, layers) = (1024usize, bytes / (4 * 12 * 1024 * 1024));
    let config = json!({
        "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 16,
        "intermediate_size": 8 * width / 3 / 256 * 256 + 256, "vocab_size": 1024, "tie_word_embeddings": true,
    });
    let mlp = config["intermediate_size"].as_u64().expect("size") as usize;
    let mut shapes = vec![("model.embed_tokens".to_owned(), vec![1024, width]), ("model.norm".into(), vec![width])];
    for layer in 0..layers {
        let mut add =
            |part: &str, shape: &[usize]| shapes.push((format!("model.layers.{layer}.{part}"), shape.to_vec()));
        ["q", "k", "v", "o"].iter().for_each(|part| add(&format!("self_attn.{part}_proj"), &[width, width]));
        ["gate", "up"].iter().for_each(|part| add(&format!("mlp.{part}_proj"), &[mlp, width]));
        add("mlp.down_proj", &[width, mlp]);
        ["input_layernorm", "post_attention_layernorm"].iter().for_each(|part| add(part, &[width]));
    }
    let tensors: HashMap<String, Tensor> = shapes
        .into_iter()
        .map(|(name, shape)| (format!("{name}.weight"), Tensor::ones(shape, DType::F32, &Device::Cpu).expect("tensor")))
        .collect();
    std::fs::write(folder.join("config.json"), config.to_string()).expect("config");
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("save");
    folder
}

/// Memory of a load: the weights and one tensor more, where a plain read takes the weights twice. The numbers in
/// `docs/performance.md` come from here.
#[test]
#[ignore = "writes a checkpoint of 1 GB; run it alone"]
#[cfg(target_os = "linux")]
fn memory_of_loading_one_gigabyte() {
    let folder = large("gigabyte", 1 << 30);
    let size = std::fs::metadata(folder.join("model.safetensors")).expect("file").len() as usize;
    let reset = || std::fs::write("/proc/self/clear_refs", "5").expect("reset of the peak");
    let peak_over = |before: usize| status("VmHWM:").saturating_sub(before) as f64 / size as f64;
    reset();
    let before = status("VmRSS:");
    let model = load(&folder);
    let (mapped, after) = (peak_over(before), status("VmRSS:").saturating_sub(before) as f64 / size as f64);
    let count = model.parameter_count();
    drop(model);
    // The allocator may have kept what the model held, so that this peak, too, counts from the start.
    reset();
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("file");
    let plain: usize = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .expect("tensors")
        .values()
        .map(Tensor::elem_count)
        .sum();
    let read = peak_over(before);
    drop(bytes);
    let _ = std::fs::remove_dir_all(&folder);
    println!(
        "{size} bytes on disk: mapped load peaks at {mapped:.3} and keeps {after:.3} of it, plain read peaks at {read:.3}"
    );
    assert_eq!(count, plain);
    assert!(mapped < 1.25 && read > 1.9, "mapped {mapped:.3}, plain {read:.3}");
}
