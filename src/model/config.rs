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

    /// The rotary embedding of `dims` channels, from `rope_parameters` (5.x) or `rope_theta` and `rope_scaling` (4.x).
    pub fn rotary(&self, dims: usize, default_theta: f64) -> Result<Rotary, ModelError> {
        let nested = self.object("rope_parameters")?;
        let scaling = match nested {
            Some(nested) => Some(nested),
            None => self.object("rope_scaling")?,
        };
        let flat_theta = self.positive_or("rope_theta", default_theta)?;
        let Some(scaling) = scaling else { return Ok(Rotary::plain(flat_theta, dims)) };
        let theta = scaling.positive_or("rope_theta", flat_theta)?;
        let plain = Rotary::plain(theta, dims);
        let kind_field = if scaling.get("rope_type").is_some() { "rope_type" } else { "type" };
        match scaling.optional_text(kind_field)?.as_deref() {
            None | Some("default") => Ok(plain),
            Some("linear") => Ok(plain.linear(scaling.number("factor")?)),
            Some("llama3") => {
                let original = match scaling.optional_number("original_max_position_embeddings")? {
                    Some(original) => original,
                    None => self.number("max_position_embeddings")?,
                };
                Ok(plain.llama3(Llama3Scaling {
                    factor: scaling.number("factor")?,
                    low_freq_factor: scaling.number("low_freq_factor")?,
                    high_freq_factor: scaling.number("high_freq_factor")?,
                    original,
                }))
            }
            Some(_) => Err(scaling.unsupported(kind_field, "default, linear and llama3 are")),
        }
    }
}
