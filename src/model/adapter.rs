//! LoRA adapters: PEFT folders in memory.
//!
//! y = W x + b + s·B(A x), s = α/r, or α/√r for rank-stabilized adapters; a weight-decomposed one (DoRA) has a magnitude
//! m for each output, y = m/‖W + s·BA‖ · (W x + s·B(A x)) + b. A starts uniform in ±1/√in, B at 0, so a fresh adapter
//! changes nothing. Whole tensors may be replaced beside (`modules_to_save`). Names, files and formulas are PEFT's
//! (`peft/tuners/lora`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::adapter_config::AdapterConfig;
use super::error::ModelError;
use super::language_model::{LanguageModel, LinearModule};
use super::linear::Lora;
use super::weights;
use crate::base::digest::Hasher;
use crate::base::seed::uniform;
use crate::base::{Digest, Seed, files};

/// Which linear layers an adapter changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// A layer whose module path equals an entry or ends with a dot and the entry.
    List(Vec<String>),
    /// A regular expression that must match the whole module path, or `all-linear`: every linear layer but the head.
    Pattern(String),
}

/// The shape of a new adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSpec {
    /// Rank r.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// Which layers.
    pub target_modules: TargetModules,
    /// Whether the scale is α/√r.
    pub rslora: bool,
}

/// A LoRA adapter. Clones share their variables.
#[derive(Debug, Clone)]
pub struct Adapter {
    config: AdapterConfig,
    /// The updates by module path; their tensors are variables or plain.
    modules: BTreeMap<String, Lora>,
    /// Whole tensors that take the place of the model's, by its names.
    replaced: BTreeMap<String, Tensor>,
}

const PREFIX: &str = "base_model.model.";
const FILE: &str = "adapter_model.safetensors";
/// What the tensors of an update are called below their module.
const FACTORS: [&str; 3] = ["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"];

fn tensor_name(module: &str, factor: &str) -> String {
    format!("{PREFIX}{module}.{factor}")
}

impl Adapter {
    /// A fresh adapter that changes nothing yet, its factors variables.
    pub fn init(model: &LanguageModel, spec: &LoraSpec, seed: Seed) -> Result<Self, ModelError> {
        let targets = targets(&model.linear_modules(), &spec.target_modules)?;
        if spec.rank == 0 {
            return Err(ModelError::Request("a LoRA rank must be at least 1".into()));
        }
        let config = AdapterConfig::new(spec, &targets);
        let mut modules = BTreeMap::new();
        for LinearModule { name, in_features, out_features, .. } in targets {
            let bound = 1.0 / (in_features as f64).sqrt();
            let mut rng = seed.fork(&tensor_name(&name, FACTORS[0])).rng();
            let draw = (0..spec.rank * in_features).map(|_| (bound * (2.0 * uniform(&mut rng) - 1.0)) as f32);
            let a = Var::from_vec(draw.collect(), (spec.rank, in_features), model.device())?;
            let b = Var::zeros((out_features, spec.rank), DType::F32, model.device())?;
            let scale = config.scale(&name, spec.rank);
            modules.insert(name, Lora { a: a.into_inner(), b: b.into_inner(), scale, magnitude: None });
        }
        Ok(Self { config, modules, replaced: BTreeMap::new() })
    }

    /// Reads a PEFT folder; the factors become variables. [`Adapter::frozen`] gives the same adapter without gradients.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = AdapterConfig::load(folder)?;
        let path = folder.join(FILE);
        let map = files::map(&path)?;
        let wrong = |message: String| ModelError::AdapterFile { path: path.clone(), message };
        let file = SafeTensors::deserialize(&map).map_err(|error| wrong(error.to_string()))?;
        let mut found: BTreeMap<String, [Option<Tensor>; 3]> = BTreeMap::new();
        let mut replaced = BTreeMap::new();
        for (name, view) in file.tensors() {
            let tensor = Var::from_tensor(&weights::tensor(&name, &view, DType::F32, device)?)?.into_inner();
            match parse_name(&name, &config) {
                Some(Part::Factor(module, slot)) => {
                    if let Some(slot) = found.entry(module).or_default().get_mut(slot) {
                        *slot = Some(tensor);
                    }
                }
                Some(Part::Whole(name)) => drop(replaced.insert(name, tensor)),
                None => {
                    return Err(wrong(format!("tensor {name} is neither a LoRA factor nor of modules_to_save")));
                }
            }
        }
        if found.is_empty() && replaced.is_empty() {
            return Err(wrong("it holds no tensors".into()));
        }
        let mut modules = BTreeMap::new();
        for (module, factors) in found {
            modules.insert(module.clone(), update(&module, factors, &config).map_err(wrong)?);
        }
        if let Some(missing) = config.saved().iter().find(|saved| !replaced.keys().any(|name| within(name, saved))) {
            return Err(wrong(format!("modules_to_save names {missing}, but no tensor of that module is there")));
        }
        Ok(Self { config, modules, replaced })
    }

    /// Writes a PEFT folder. What is written loads again bit for bit.
    pub fn save(&self, folder: &Path, base: &str) -> Result<(), ModelError> {
        let mut stored = Vec::new();
        for (name, tensor) in self.tensors() {
            stored.push((name, tensor.dims().to_vec(), bytes(&tensor)?));
        }
        let path = folder.join(FILE);
        let wrong = |error: safetensors::SafeTensorError| ModelError::AdapterFile {
            path: path.clone(),
            message: error.to_string(),
        };
        let mut views = Vec::new();
        for (name, shape, data) in &stored {
            views.push((name, TensorView::new(Dtype::F32, shape.clone(), data).map_err(wrong)?));
        }
        let format = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
        let file = safetensors::serialize(views, Some(format)).map_err(wrong)?;
        files::write_atomic(&path, &file)?;
        self.config.save(folder, base)?;
        Ok(())
    }

    /// The factors that a gradient step may change, sorted by their PEFT names; none for a frozen adapter.
    pub fn trainable(&self) -> Vec<(String, Var)> {
        let var = |(name, tensor): (String, Tensor)| {
            // A variable is handed out as itself: what is set there is seen here.
            tensor.is_variable().then(|| Var::from_tensor(&tensor).ok()).flatten().map(|var| (name, var))
        };
        self.tensors().into_iter().filter_map(var).collect()
    }

    /// The same values without gradients: a model with this adapter tracks nothing. The values are shared, so a later
    /// step on the variables is seen here too.
    pub fn frozen(&self) -> Self {
        let freeze = |(name, lora): (&String, &Lora)| {
            let magnitude = lora.magnitude.as_ref().map(Tensor::detach);
            (name.clone(), Lora { a: lora.a.detach(), b: lora.b.detach(), scale: lora.scale, magnitude })
        };
        let replaced = self.replaced.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect();
        Self { config: self.config.clone(), modules: self.modules.iter().map(freeze).collect(), replaced }
    }

    /// All tensors by their PEFT names.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let factors = self.modules.iter().flat_map(|(module, lora)| {
            let parts = [Some(&lora.a), Some(&lora.b), lora.magnitude.as_ref()];
            let named =
                |(factor, tensor): (&str, Option<&Tensor>)| Some((tensor_name(module, factor), tensor?.clone()));
            FACTORS.into_iter().zip(parts).filter_map(named)
        });
        factors.chain(self.replaced.iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor.clone()))).collect()
    }

    /// Sets every factor of a trainable adapter, as when a training run is resumed.
    pub fn set_tensors(&self, values: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
        let vars = self.trainable();
        let ours: BTreeSet<_> = vars.iter().map(|(name, _)| name).collect();
        if ours != values.keys().collect() {
            let message = "the tensors to set are not those of the adapter (or it is frozen)";
            return Err(ModelError::AdapterMismatch(message.into()));
        }
        for (name, var) in &vars {
            let Some(value) = values.get(name) else { continue };
            if value.dims() != var.dims() {
                let message = format!("{name} has shape {:?}, {:?} was given", var.dims(), value.dims());
                return Err(ModelError::AdapterMismatch(message));
            }
            var.set(&value.detach().to_device(var.device())?.copy()?)?;
        }
        Ok(())
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.tensors().values().map(Tensor::elem_count).sum()
    }

    /// The digest of what the adapter does: scales and values by module.
    pub fn digest(&self) -> Result<Digest, ModelError> {
        let mut hasher = Hasher::default();
        for (module, lora) in &self.modules {
            hasher.part(module, &lora.scale.to_le_bytes());
            hasher.part("lora_A", &bytes(&lora.a)?);
            hasher.part("lora_B", &bytes(&lora.b)?);
            if let Some(magnitude) = &lora.magnitude {
                hasher.part("lora_magnitude_vector", &bytes(magnitude)?);
            }
        }
        for (name, tensor) in &self.replaced {
            hasher.part(name, &bytes(tensor)?);
        }
        Ok(hasher.finish())
    }

    /// The module paths that it changes.
    pub fn modules(&self) -> Vec<&str> {
        self.modules.keys().map(String::as_str).collect()
    }

    /// The whole tensors that take the place of the model's, by its names.
    pub(crate) fn replaced(&self) -> &BTreeMap<String, Tensor> {
        &self.replaced
    }

    /// Checks that every module is there with its sizes, and hands out the updates.
    pub(crate) fn updates(&self, known: &[LinearModule]) -> Result<&BTreeMap<String, Lora>, ModelError> {
        for (module, Lora { a, b, .. }) in &self.modules {
            let Some(place) = known.iter().find(|place| &place.name == module) else {
                return Err(ModelError::AdapterMismatch(format!("the model has no linear layer {module}")));
            };
            let found = (a.dim(1)?, b.dim(0)?);
            if found != (place.in_features, place.out_features) {
                let message = format!(
                    "{module} maps {} to {} values, the adapter's factors {} to {}",
                    place.in_features, place.out_features, found.0, found.1
                );
                return Err(ModelError::AdapterMismatch(message));
            }
        }
        Ok(&self.modules)
    }
}

/// What a stored tensor is.
enum Part {
    /// A factor of the update at a module: 0 for A, 1 for B, 2 for the magnitude.
    Factor(String, usize),
    /// A tensor of the model's, by its name.
    Whole(String),
}

fn parse_name(name: &str, config: &AdapterConfig) -> Option<Part> {
    let rest = name.strip_prefix(PREFIX)?;
    // Files of older writers call the magnitude a weight.
    let rest = rest
        .strip_suffix("lora_magnitude_vector.weight")
        .map_or(rest.to_owned(), |module| format!("{module}lora_magnitude_vector"));
    let factor = |(slot, factor): (usize, &&str)| {
        Some(Part::Factor(rest.strip_suffix(*factor)?.strip_suffix('.')?.to_owned(), slot))
    };
    FACTORS.iter().enumerate().find_map(factor).or_else(|| {
        let saved = config.saved().iter().any(|saved| within(&rest, saved));
        saved.then(|| Part::Whole(rest.clone()))
    })
}

/// Whether a tensor belongs to a module that `modules_to_save` names: its path equals the entry or ends with it on a dot.
fn within(tensor: &str, module: &str) -> bool {
    let Some((path, _)) = tensor.rsplit_once('.') else { return false };
    path == module || path.strip_suffix(module).is_some_and(|rest| rest.ends_with('.'))
}

/// The update of a module from its stored factors.
fn update(module: &str, factors: [Option<Tensor>; 3], config: &AdapterConfig) -> Result<Lora, String> {
    let [Some(a), Some(b), magnitude] = factors else {
        return Err(format!("{module} lacks one of its factors lora_A and lora_B"));
    };
    let rank = config.rank(module);
    if a.dims().first() != Some(&rank) || b.dims().get(1) != Some(&rank) || a.rank() != 2 || b.rank() != 2 {
        return Err(format!("{module}: factors of shape {:?} and {:?} are not of rank {rank}", a.dims(), b.dims()));
    }
    if config.dora() != magnitude.is_some() {
        return Err(format!(
            "{module}: use_dora is {}, and its magnitude is {}there",
            config.dora(),
            if magnitude.is_some() { "" } else { "not " }
        ));
    }
    if let Some(magnitude) = magnitude.as_ref().filter(|magnitude| magnitude.dims().first() != b.dims().first()) {
        return Err(format!("{module}: a magnitude of shape {:?} beside factors {:?}", magnitude.dims(), b.dims()));
    }
    Ok(Lora { a, b, scale: config.scale(module, rank), magnitude })
}

fn bytes(tensor: &Tensor) -> Result<Vec<u8>, ModelError> {
    let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
}

/// The linear layers that the rules of PEFT select.
fn targets(known: &[LinearModule], rule: &TargetModules) -> Result<Vec<LinearModule>, ModelError> {
    let nothing = |what: &str| {
        let names: BTreeSet<_> = known.iter().filter_map(|module| module.name.rsplit('.').next()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        ModelError::Request(format!("target_modules: {what} names no linear layer of this model; it has {names}"))
    };
    let matched: Vec<LinearModule> = match rule {
        TargetModules::List(entries) => {
            let hits = |module: &LinearModule, entry: &String| {
                module.name == *entry
                    || module.name.strip_suffix(entry.as_str()).is_some_and(|rest| rest.ends_with('.'))
            };
            if let Some(entry) = entries.iter().find(|entry| !known.iter().any(|module| hits(module, entry))) {
                return Err(nothing(&format!("{entry:?}")));
            }
            known.iter().filter(|module| entries.iter().any(|entry| hits(module, entry))).cloned().collect()
        }
        TargetModules::Pattern(pattern) if pattern.eq_ignore_ascii_case("all-linear") => {
            known.iter().filter(|module| !module.is_output_embedding).cloned().collect()
        }
        TargetModules::Pattern(pattern) => {
            let regex = regex::Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|error| ModelError::Request(format!("target_modules: {error}")))?;
            known.iter().filter(|module| regex.is_match(&module.name)).cloned().collect()
        }
    };
    match matched.is_empty() {
        true => Err(nothing("the rule")),
        false => Ok(matched),
    }
}

impl AdapterConfig {
    /// The config of a new adapter over `targets`.
    fn new(spec: &LoraSpec, targets: &[LinearModule]) -> Self {
        let names = |modules: &[LinearModule]| modules.iter().map(|module| module.name.clone()).collect::<Vec<_>>();
        let target_modules = match &spec.target_modules {
            TargetModules::List(entries) => {
                let mut entries = entries.clone();
                entries.sort();
                json!(entries)
            }
            TargetModules::Pattern(pattern) if pattern.eq_ignore_ascii_case("all-linear") => json!(names(targets)),
            TargetModules::Pattern(pattern) => json!(pattern),
        };
        let mut fields = Map::new();
        let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
        set("peft_type", json!("LORA"));
        set("task_type", json!("CAUSAL_LM"));
        set("r", json!(spec.rank));
        set("lora_alpha", whole_or_float(spec.alpha));
        set("target_modules", target_modules);
        set("use_rslora", json!(spec.rslora));
        set("fan_in_fan_out", json!(targets.iter().any(|module| module.conv1d)));
        Self::from_fields(fields, spec.rank, spec.alpha, spec.rslora)
    }
}

/// A whole number without its fraction, as PEFT writes α.
fn whole_or_float(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => json!(value as i64),
        false => json!(value),
    }
}
