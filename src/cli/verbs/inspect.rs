//! `inspect`: a model's architecture and hook points, or its activations on one prompt.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use counterpath::base::{Progress, files};
use counterpath::model::chat::{ChatOptions, Clock, GenerationPrompt};
use counterpath::model::needs::{Job, JobKind};
use counterpath::model::{HookPoint, LanguageModel, Readout, Record, Special};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::super::checkpoint_args::Inspect;
use super::super::load::{Loaded, load};
use super::super::needs::{self, Batch, Next};
use super::{Format, print_json};

/// Describes the model, or writes its activations.
pub fn run(args: &Inspect, format: Format, progress: &dyn Progress) -> Result<()> {
    let points: Vec<HookPoint> = args.hooks.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    if let (Some(path), None) = (&args.chat, &args.output) {
        return show_chat(args, path, format, progress);
    }
    if args.ids.is_empty() && args.text.is_none() && args.chat.is_none() {
        if args.output.is_some() || !points.is_empty() {
            bail!("--output and --hook need a prompt: add --ids 1,5,9, --text \"…\" or --chat messages.json");
        }
        let job = needs::scoring(1024, 1024);
        if needs::consider(&args.model.model, &args.model.load, (Batch::Fixed, &|_| Ok(job)), format)? == Next::Stop {
            return Ok(());
        }
        return describe(&load(&args.model, progress)?, format);
    }
    let Some(output) = &args.output else {
        bail!("a prompt needs --output FILE.safetensors, which receives `logits` and each --hook");
    };
    let tokens = args.text.as_ref().map_or(args.ids.len(), |text| text.len().div_ceil(4));
    let job = Job { rows: 1, tokens, read: tokens, total_tokens: tokens, kind: JobKind::Score };
    if needs::consider(&args.model.model, &args.model.load, (Batch::Fixed, &|_| Ok(job)), format)? == Next::Stop {
        return Ok(());
    }
    let Loaded { model, .. } = load(&args.model, progress)?;
    let known = model.hook_points();
    if let Some(point) = points.iter().find(|point| !known.contains(point)) {
        bail!("this model has no {point}; `counterpath inspect --model …` lists its hook points");
    }
    let ids = prompt_ids(args, &model)?;
    let tensors = activations(&model, &ids, &points)?;
    files::write_atomic(output, &to_safetensors(&tensors)?)?;
    match format {
        Format::Json => print_json(&json!({
            "output": output,
            "ids": ids,
            "tensors": tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims())).collect::<BTreeMap<_, _>>(),
        })),
        Format::Text => {
            println!("{} tokens: {ids:?}", ids.len());
            for (name, tensor) in &tensors {
                println!("{name:32} {:?}", tensor.dims());
            }
            println!("written to {}", output.display());
            Ok(())
        }
    }
}

/// A conversation file.
struct Conversation {
    messages: Value,
    options: ChatOptions,
}

impl Conversation {
    /// The text that the model's template makes of it, and its tokens.
    fn encode(&self, model: &LanguageModel) -> Result<(String, Vec<u32>)> {
        let tokenizer = model.tokenizer()?;
        let text = tokenizer.apply_chat_template(&self.messages, &self.options)?;
        let ids = tokenizer.encode(&text, Special::None)?.ids;
        Ok((text, ids))
    }
}

fn conversation(path: &Path) -> Result<Conversation> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| Clock(since.as_secs() as i64)).ok();
    let mut options = ChatOptions { now, ..ChatOptions::default() };
    let mut extra = match files::read_json(path)? {
        messages @ Value::Array(_) => return Ok(Conversation { messages, options }),
        Value::Object(extra) => extra,
        _ => bail!("{}: a list of messages is expected, or an object that holds one", path.display()),
    };
    let messages = extra.remove("messages").with_context(|| format!("{} has no `messages`", path.display()))?;
    options.tools = extra.remove("tools").filter(|tools| !tools.is_null());
    if extra.remove("add_generation_prompt") == Some(Value::Bool(false)) {
        options.generation_prompt = GenerationPrompt::Leave;
    }
    options.extra = extra;
    Ok(Conversation { messages, options })
}

fn show_chat(args: &Inspect, path: &Path, format: Format, progress: &dyn Progress) -> Result<()> {
    let conversation = conversation(path)?;
    let loaded = load(&args.model, progress)?;
    let (text, ids) = conversation.encode(&loaded.model)?;
    match format {
        Format::Json => print_json(&json!({"text": text, "ids": ids})),
        Format::Text => {
            println!("{text}");
            println!("{} tokens: {ids:?}", ids.len());
            Ok(())
        }
    }
}

fn prompt_ids(args: &Inspect, model: &LanguageModel) -> Result<Vec<u32>> {
    let ids = match (&args.text, &args.chat) {
        (Some(text), _) => model.tokenizer()?.encode_prompt(text)?.ids,
        (None, Some(path)) => conversation(path)?.encode(model)?.1,
        (None, None) => args.ids.clone(),
    };
    let size = model.architecture().vocab_size;
    match ids.iter().find(|id| **id as usize >= size) {
        Some(id) => bail!("token id {id} is outside the vocabulary of {size}"),
        None if ids.is_empty() => bail!("the prompt has no tokens"),
        None => Ok(ids),
    }
}

/// `logits` `[1, t, v]` and the activations at `points`, with the batch dimension.
fn activations(model: &LanguageModel, ids: &[u32], points: &[HookPoint]) -> Result<BTreeMap<String, Tensor>> {
    let ids_bt = Tensor::new(ids, model.device())?.unsqueeze(0)?;
    let mut record = Record::new(points.iter().copied());
    let logits_btv = model.forward(&ids_bt, Readout::All, &mut record)?;
    let mut tensors: BTreeMap<String, Tensor> =
        record.take().into_iter().map(|(point, tensor)| (point.to_string(), tensor)).collect();
    tensors.insert("logits".into(), logits_btv);
    Ok(tensors)
}

fn to_safetensors(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    for (name, tensor) in tensors {
        let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        raw.push((name, tensor.dims().to_vec(), bytes));
    }
    let views = raw
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .context("cannot lay out the activations")?;
    Ok(safetensors::serialize(views, None)?)
}

fn describe(loaded: &Loaded, format: Format) -> Result<()> {
    let model = &loaded.model;
    let architecture = model.architecture();
    let shape = |point: HookPoint| {
        let dims: Vec<String> = model.hook_shape(point).iter().map(ToString::to_string).collect();
        format!("[{}]", dims.join(", "))
    };
    let modules = model.linear_modules();
    if format == Format::Json {
        return print_json(&json!({
            "source": loaded.source,
            "architecture": architecture,
            "parameters": model.parameter_count(),
            "digest": model.digest(),
            "adapter": loaded.adapter.as_ref().map(|(folder, _)| folder),
            "hook_points": model.hook_points().iter().map(|point| json!({"name": point, "shape": shape(*point)})).collect::<Vec<_>>(),
            "linear_modules": modules.iter().map(|module| &module.name).collect::<Vec<_>>(),
        }));
    }
    println!("model       {}", loaded.source);
    if let Some((folder, adapter)) = &loaded.adapter {
        println!("adapter     {} ({} parameters)", folder.display(), adapter.parameter_count());
    }
    println!("family      {}", architecture.family);
    println!("parameters  {}", model.parameter_count());
    println!("digest      {}", model.digest());
    println!(
        "shape       {} layers, width {}, {} heads of {} over {} key/value heads, MLP {}, vocabulary {}, up to {} positions",
        architecture.n_layers,
        architecture.d_model,
        architecture.n_heads,
        architecture.head_dim,
        architecture.n_kv_heads,
        architecture.d_mlp,
        architecture.vocab_size,
        architecture.max_positions
    );
    println!("\nhook points (b batch, t tokens)");
    for point in model.hook_points() {
        println!("  {:32} {}", point.to_string(), shape(point));
    }
    println!("\nlinear modules (targets of LoRA)");
    for module in &modules {
        println!("  {:44} {} → {}", module.name, module.in_features, module.out_features);
    }
    Ok(())
}
