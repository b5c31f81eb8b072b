//! From the command line's words to a loaded checkpoint: device, environment, hub, adapter.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use counterpath::base::{Digest, Progress};
use counterpath::model::hub::{self, HubOptions, Network};
use counterpath::model::reference::CheckpointRef;
use counterpath::model::{Adapter, BaseType, LanguageModel, LoadOptions};

use super::args::{ChatArgs, ModelArgs};

/// A checkpoint and where it came from.
pub struct Loaded {
    /// The model, with its adapter where one was given.
    pub model: LanguageModel,
    /// The base alone.
    pub base: LanguageModel,
    /// The adapter.
    pub adapter: Option<(PathBuf, Adapter)>,
    /// What the user wrote, resolved.
    pub source: String,
}

impl Loaded {
    /// The digest of the adapter, where there is one.
    pub fn adapter_digest(&self) -> Result<Option<Digest>> {
        Ok(self.adapter.as_ref().map(|(_, adapter)| adapter.digest()).transpose()?)
    }
}

/// Loads what `--model`, `--adapter` and `--device` name.
pub fn load(args: &ModelArgs, progress: &dyn Progress) -> Result<Loaded> {
    let options =
        LoadOptions { device: parse_device(&args.load.device)?, base: args.load.base_dtype, dtype: DType::F32 };
    let loaded = load_parts(&args.model, args.load.adapter.as_deref(), &args.load.chat, &options, progress)?;
    if args.load.check_finite {
        loaded.base.check_finite()?;
    }
    Ok(loaded)
}

/// The same from parts.
pub fn load_parts(
    model: &str,
    adapter: Option<&Path>,
    chat: &ChatArgs,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Loaded> {
    let device = &options.device;
    let reference = CheckpointRef::parse(model)?;
    let base = match &reference {
        CheckpointRef::Embedded if options.base != BaseType::Compute => {
            bail!("--base-dtype {}: the embedded model is always kept in f32", options.base)
        }
        CheckpointRef::Embedded => LanguageModel::embedded(device)?,
        CheckpointRef::Folder(folder) => LanguageModel::load(folder, options)?,
        CheckpointRef::Hub { id, revision } => {
            let folder = hub::fetch(id, revision, &hub_options()?, progress)?;
            LanguageModel::load(&folder, options)?
        }
    };
    let base = match chat.chat_template {
        true => base.with_chat_frame(chat.system.as_deref()).context("--chat-template")?,
        false => base,
    };
    let adapter = match adapter {
        Some(folder) => Some((folder.to_path_buf(), Adapter::load(folder, device)?)),
        None => None,
    };
    let model = match &adapter {
        Some((folder, adapter)) => base
            .with_adapter(adapter)
            .with_context(|| format!("the adapter {} does not fit the model {reference}", folder.display()))?,
        None => base.clone(),
    };
    Ok(Loaded { model, base, adapter, source: reference.to_string() })
}

/// `cpu`, `cuda`, `cuda:N`, `metal`.
pub fn parse_device(text: &str) -> Result<Device> {
    let ordinal = |text: &str| text.parse().with_context(|| format!("`{text}` is no device number"));
    match text.split_once(':').unwrap_or((text, "0")) {
        ("cpu", _) => Ok(Device::Cpu),
        ("cuda", number) => Device::new_cuda(ordinal(number)?)
            .context("--device cuda: no usable device, or this program was built without `--features cuda`"),
        ("metal", number) => Device::new_metal(ordinal(number)?)
            .context("--device metal: no usable device, or this program was built without `--features metal`"),
        _ => bail!("--device {text}: known devices are cpu, cuda, cuda:N and metal"),
    }
}

/// The hub's settings from the variables that its other clients read.
pub fn hub_options() -> Result<HubOptions> {
    let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let home = match text("HF_HOME") {
        Some(home) => PathBuf::from(home),
        None => match text("HOME") {
            Some(home) => Path::new(&home).join(".cache").join("huggingface"),
            None => bail!("neither HF_HOME nor HOME is set: set HF_HOME to the folder of the hub's cache"),
        },
    };
    let offline = text("HF_HUB_OFFLINE").is_some_and(|value| !["0", "false", "no", "off"].contains(&value.as_str()));
    Ok(HubOptions {
        endpoint: text("HF_ENDPOINT"),
        token: text("HF_TOKEN"),
        cache: text("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
        network: if offline { Network::Offline } else { Network::Online },
    })
}
