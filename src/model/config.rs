//! Reading a `config.json`: typed fields, the flat 4.x and the nested 5.x forms, and refusal by name of what the
//! decoder does not do.

use serde_json::Value;

use super::error::ModelError;
use super::rotary::{Llama3Scaling, Rotary};
use crate::ops::Activation;

/// A `config.json`. A field that is null counts as absent, as the reference treats it.
pub(crate) struct Config<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Config<'a> {
    /// Wraps a config, which must be an object.
    pub fn new(value: &'a Value) -> Result<Self, ModelError> {
        match value.is_object() {
            true => Ok(Self { value, path: String::new() }),
            false => Err(ModelError::Config { field: "config".into(), message: "must be an object".into() }),
        }
    }

    /// The field's value, where it is there.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.value.get(field).filter(|value| !value.is_null())
    }

    fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    fn malformed(&self, field: &str, what: &str) -> ModelError {
        let found = self.get(field).map(Value::to_string).unwrap_or_else(|| "nothing".into());
        ModelError::Config { field: self.name(field), message: format!("{what} is expected, {found} found") }
    }

    fn missing(&self, field: &str) -> ModelError {
        ModelError::Config { field: self.name(field), message: "is missing".into() }
    }

    /// An error that names the field, its value and what is supported.
    pub fn unsupported(&self, field: &str, hint: &str) -> ModelError {
        let value = self.get(field).map(Value::to_string).unwrap_or_else(|| "null".into());
        ModelError::Unsupported { field: self.name(field), value, hint: hint.into() }
    }

    /// An object inside this one.
    pub fn object(&self, field: &str) -> Result<Option<Config<'a>>, ModelError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) if value.is_object() => Ok(Some(Config { value, path: format!("{}{field}.", self.path) })),
            Some(_) => Err(self.malformed(field, "an object")),
        }
    }

    /// A text.
    pub fn text(&self, field: &str) -> Result<String, ModelError> {
        self.optional_text(field)?.ok_or_else(|| self.missing(field))
    }

    /// A text, where it is there.
    pub fn optional_text(&self, field: &str) -> Result<Option<String>, ModelError> {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| self.malformed(field, "a text"));
        self.get(field).map(text).transpose()
    }

    /// A positive whole number.
    pub fn size(&self, field: &str) -> Result<usize, ModelError> {
        self.optional_size(field)?.ok_or_else(|| self.missing(field))
    }

    /// A positive whole number, where it is there.
    pub fn optional_size(&self, field: &str) -> Result<Option<usize>, ModelError> {
        let size = |value: &Value| {
            let whole = value.as_u64().filter(|&n| n > 0 && n <= u64::from(u32::MAX));
            whole.map(|n| n as usize).ok_or_else(|| self.malformed(field, "a positive whole number"))
        };
        self.get(field).map(size).transpose()
    }

    /// A finite number.
    pub fn number(&self, field: &str) -> Result<f64, ModelError> {
        self.optional_number(field)?.ok_or_else(|| self.missing(field))
    }

    /// A finite number, where it is there.
    pub fn optional_number(&self, field: &str) -> Result<Option<f64>, ModelError> {
        let number = |value: &Value| {
            value.as_f64().filter(|n| n.is_finite()).ok_or_else(|| self.malformed(field, "a finite number"))
        };
        self.get(field).map(number).transpose()
    }

    /// A positive number, or `default` where it is absent.
    pub fn positive_or(&self, field: &str, default: f64) -> Result<f64, ModelError> {
        match self.optional_number(field)? {
            None => Ok(default),
            Some(number) if number > 0.0 => Ok(number),
            Some(_) => Err(self.malformed(field, "a positive number")),
        }
    }

    /// True or false, or `default` where it is absent.
    pub fn flag(&self, field: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.malformed(field, "true or false")),
        }
    }

    /// Token ids: one, a list, or none.
    pub fn tokens(&self, field: &str) -> Result<Vec<u32>, ModelError> {
        let wrong = || self.malformed(field, "a token id or a list of them");
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(ids)) => ids.iter().map(id).collect(),
            Some(value) => id(value).map(|id| vec![id]),
        }
    }

    /// Refuses a field that is there and neither false nor empty.
    pub fn refuse(&self, field: &str, hint: &str) -> Result<(), ModelError> {
        match self.get(field) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(_) => Err(self.unsupported(field, hint)),
        }
    }

    /// The MLP's activation.
    pub fn activation(&self, field: &str) -> Result<Activation, ModelError> {
        match self.text(field)?.as_str() {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "gelu" => Ok(Activation::GeluErf),
            "relu" => Ok(Activation::Relu),
            _ => Err(self.unsupported(field, "silu, gelu, gelu_new, gelu_pytorch_tanh and relu are")),
        }
    }

    /// Whether the field is there and null, which for some fields differs from its absence.
    pub fn is_null(&self, field: &str) -> bool {
        self.value.get(field).is_some_and(Value::is_null)
    }

    /// Numbers, one for each of `count` channel pairs.
    fn numbers(&self, field: &str, count: usize) -> Result<Vec<f64>, ModelError> {
        let wrong = || self.malformed(field, &format!("a list of {count} positive numbers"));
        let items = self.get(field).and_then(Value::as_array).filter(|items| items.len() == count).ok_or_else(wrong)?;
        items.iter().map(|item| item.as_f64().filter(|n| *n > 0.0).ok_or_else(wrong)).collect()
    }

    /// One flag a layer from a list of 0 and 1, where the list is there.
    pub fn layer_flags(&self, field: &str, layers: usize) -> Result<Option<Vec<bool>>, ModelError> {
        let wrong = || self.malformed(field, &format!("a list of {layers} times 0 or 1"));
        let Some(value) = self.get(field) else { return Ok(None) };
        let items = value.as_array().filter(|items| items.len() == layers).ok_or_else(wrong)?;
        let flag = |item: &Value| match item.as_u64() {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(wrong()),
        };
        items.iter().map(flag).collect::<Result<_, _>>().map(Some)
    }

    /// The sliding window of each layer: as `layer_types` (5.x) says, or else where `slides` does.
    pub fn windows(
        &self,
        layers: usize,
        window: Option<usize>,
        slides: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<usize>>, ModelError> {
        let Some(kinds) = self.get("layer_types") else {
            return Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect());
        };
        let wrong = || self.malformed("layer_types", &format!("a list of {layers} texts"));
        let kinds = kinds.as_array().filter(|kinds| kinds.len() == layers).ok_or_else(wrong)?;
        let of = |kind: &Value| match (kind.as_str(), window) {
            (Some("full_attention"), _) => Ok(None),
            (Some("sliding_attention"), Some(window)) => Ok(Some(window)),
            (Some("sliding_attention"), None) => Err(self.missing("sliding_window")),
            _ => Err(self.unsupported("layer_types", "full_attention and sliding_attention are")),
        };
        kinds.iter().map(of).collect()
    }

    /// The share of a head's channels that is turned, under any of its names; all where none is there.
    pub fn rotary_dims(&self, head_dim: usize, default: f64) -> Result<usize, ModelError> {
        let nested = self.object("rope_parameters")?;
        let flat = |field| self.optional_number(field);
        let share = match nested.map(|nested| nested.optional_number("partial_rotary_factor")).transpose()?.flatten() {
            Some(share) => share,
            None => flat("partial_rotary_factor")?.or(flat("rotary_pct")?).unwrap_or(default),
        };
        let dims = (head_dim as f64 * share) as usize;
        match dims.is_multiple_of(2) && dims <= head_dim {
            true => Ok(dims),
            false => Err(self.unsupported("partial_rotary_factor", "an even number of channels can be turned")),
        }
    }

    /// The rotary embedding of `dims` channels, from `rope_parameters` (5.x) or `rope_theta` and `rope_scaling` (4.x).
    pub fn rotary(&self, dims: usize, default_theta: f64) -> Result<Rotary, ModelError> {
        let theta = match self.get("rotary_emb_base") {
            Some(_) => self.positive_or("rotary_emb_base", default_theta)?,
            None => self.positive_or("rope_theta", default_theta)?,
        };
        match self.object("rope_parameters")? {
            Some(nested) => self.scaled(Some(nested), dims, theta),
            None => self.scaled(self.object("rope_scaling")?, dims, theta),
        }
    }

    /// A rotary embedding with the scaling that an object describes.
    pub fn scaled(&self, scaling: Option<Config<'_>>, dims: usize, theta: f64) -> Result<Rotary, ModelError> {
        let Some(scaling) = scaling else { return Ok(Rotary::plain(theta, dims)) };
        let theta = scaling.positive_or("rope_theta", theta)?;
        let plain = Rotary::plain(theta, dims);
        let kind_field = if scaling.get("rope_type").is_some() { "rope_type" } else { "type" };
        match scaling.optional_text(kind_field)?.as_deref() {
            None | Some("default") => Ok(plain),
            Some("linear") => Ok(plain.linear(scaling.number("factor")?)),
            Some("llama3") => Ok(plain.llama3(Llama3Scaling {
                factor: scaling.number("factor")?,
                low_freq_factor: scaling.number("low_freq_factor")?,
                high_freq_factor: scaling.number("high_freq_factor")?,
                original: self.original_positions(&scaling)? as f64,
            })),
            Some("longrope") => self.long_rotary(&scaling, plain),
            Some(_) => Err(scaling.unsupported(kind_field, "default, linear, llama3 and longrope are")),
        }
    }

    /// The length that the model was trained at before its positions were scaled.
    fn original_positions(&self, scaling: &Config<'_>) -> Result<usize, ModelError> {
        const FIELD: &str = "original_max_position_embeddings";
        match (scaling.optional_size(FIELD)?, self.optional_size(FIELD)?) {
            (Some(original), _) | (None, Some(original)) => Ok(original),
            (None, None) => self.size("max_position_embeddings"),
        }
    }

    /// Phi-3's scaling: a divisor a channel pair, one list for short and one for long sequences.
    fn long_rotary(&self, scaling: &Config<'_>, plain: Rotary) -> Result<Rotary, ModelError> {
        let original = self.original_positions(scaling)?;
        let pairs = plain.frequencies.len();
        let stretch = self.size("max_position_embeddings")? as f64 / original as f64;
        let scale = match scaling.optional_number("attention_factor")? {
            Some(scale) => scale,
            None if stretch <= 1.0 => 1.0,
            None => (1.0 + stretch.ln() / (original as f64).ln()).sqrt(),
        };
        let [short, long] = [scaling.numbers("short_factor", pairs)?, scaling.numbers("long_factor", pairs)?];
        Ok(plain.long(&short, &long, original, scale))
    }
}
