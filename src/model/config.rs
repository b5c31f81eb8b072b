//! Reading a `config.json`: typed fields, the flat 4.x and the nested 5.x forms, and refusal by name of what the
//! decoder does not do. A field that no family reads and that is not known to leave the computation alone is refused,
//! too: what is not understood is never ignored.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use super::error::ModelError;
use crate::ops::Activation;

/// Fields of any family that do not change what a trained model computes: who wrote the file, training, generation,
/// and what to return. Fields whose names begin with an underscore are the writer's own.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    // Provenance and storage.
    "architectures", "auto_map", "dtype", "model_type", "name_or_path", "torch_dtype", "transformers_version",
    "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache", "use_flash_attn", "flash_attn", "fused_dense",
    "fused_mlp", "flash_rotary", "torchscript", "attn_implementation",
    // Training.
    "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "classifier_dropout", "embd_pdrop", "embedding_dropout", "gradient_checkpointing", "hidden_dropout", "hidden_dropout_prob", "dropout",
    "init_std", "initializer_factor", "initializer_range", "layerdrop", "pretraining_tp", "resid_pdrop",
    "residual_dropout", "router_aux_loss_coef", "router_jitter_noise",
    // Heads of other tasks.
    "finetuning_task", "id2label", "label2id", "num_labels", "problem_type", "task_specific_params",
    "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    // What is returned, and how the model is used.
    "is_decoder", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict",
    // Generation and tokens.
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "decoder_start_token_id", "diversity_penalty",
    "do_sample", "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty",
    "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "max_length", "min_length",
    "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences", "output_scores", "pad_token_id",
    "prefix", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "sep_token_id",
    "suppress_tokens", "temperature", "tokenizer_class", "top_k", "top_p", "typical_p",
];

/// Features that no family has here: harmless where they are off.
#[rustfmt::skip]
const OFF: &[&str] = &[
    "add_cross_attention", "alibi", "cross_attention_hidden_size", "is_encoder_decoder", "mtp_num_layers",
    "num_nextn_predict_layers", "rope_interleaved", "tie_encoder_decoder", "use_bidirectional_attention", "use_mrope",
];

/// A `config.json`. A field that is null counts as absent, as the reference treats it.
pub(crate) struct Config<'a> {
    value: &'a Value,
    path: String,
    /// Paths of the fields that somebody has looked at.
    read: Rc<RefCell<BTreeSet<String>>>,
}

impl<'a> Config<'a> {
    /// Wraps a config, which must be an object.
    pub fn new(value: &'a Value) -> Result<Self, ModelError> {
        match value.is_object() {
            true => Ok(Self { value, path: String::new(), read: Rc::default() }),
            false => Err(ModelError::Config { field: "config".into(), message: "must be an object".into() }),
        }
    }

    /// The field's value, where it is there.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(self.name(field));
        self.value.get(field).filter(|value| !value.is_null())
    }

    fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    pub fn malformed(&self, field: &str, what: &str) -> ModelError {
        let found = self.get(field).map(Value::to_string).unwrap_or_else(|| "nothing".into());
        ModelError::Config { field: self.name(field), message: format!("{what} is expected, {found} found") }
    }

    pub fn missing(&self, field: &str) -> ModelError {
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
            Some(value) if value.is_object() => {
                Ok(Some(Config { value, path: format!("{}{field}.", self.path), read: self.read.clone() }))
            }
            Some(_) => Err(self.malformed(field, "an object")),
        }
    }

    /// Refuses the first field that nobody has looked at, unless it is null or known to be harmless.
    pub fn finish(&self, harmless: &[&str]) -> Result<(), ModelError> {
        if self.path.is_empty() {
            OFF.iter().try_for_each(|field| self.refuse(field, "false is"))?;
        }
        let hint =
            "no family of this name is known to have that field; remove it if the model computes the same without it";
        let read = self.read.borrow().clone();
        let known = |path: &str, field: &str| {
            read.contains(path)
                || self.path.is_empty() && (HARMLESS.contains(&field) || harmless.contains(&field))
                || field.starts_with('_')
        };
        for (field, value) in self.value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let path = self.name(field);
            if !known(&path, field) {
                return Err(self.unsupported(field, hint));
            }
            // Of an object that somebody opened, every field must have been read.
            let opened = format!("{path}.");
            if value.is_object() && read.iter().any(|path| path.starts_with(&opened)) {
                Config { value, path: opened, read: self.read.clone() }.finish(&[])?;
            }
        }
        Ok(())
    }

    /// The name under which a field stands that families call differently; all of its names count as read.
    pub fn any<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        let present: Vec<&str> = names.iter().copied().filter(|name| self.get(name).is_some()).collect();
        present.first().copied()
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

    /// A positive number.
    pub fn positive(&self, field: &str) -> Result<f64, ModelError> {
        let number = self.number(field)?;
        match number > 0.0 {
            true => Ok(number),
            false => Err(self.malformed(field, "a positive number")),
        }
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
            Some(value) if value.as_f64() == Some(0.0) => Ok(()),
            Some(_) => Err(self.unsupported(field, hint)),
        }
    }

    /// The MLP's activation.
    pub fn activation(&self, field: &str) -> Result<Activation, ModelError> {
        match self.text(field)?.as_str() {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "gelu" | "gelu_python" => Ok(Activation::GeluErf),
            "relu" => Ok(Activation::Relu),
            _ => Err(self.unsupported(field, "silu, gelu, gelu_new, gelu_pytorch_tanh and relu are")),
        }
    }

    /// Whether the field is there and null, which for some fields differs from its absence.
    pub fn is_null(&self, field: &str) -> bool {
        self.value.get(field).is_some_and(Value::is_null)
    }

    /// Numbers of layers, none where the field is absent.
    pub fn layer_numbers(&self, field: &str) -> Result<Vec<usize>, ModelError> {
        let wrong = || self.malformed(field, "a list of layer numbers");
        let Some(value) = self.get(field) else { return Ok(Vec::new()) };
        let number = |item: &Value| item.as_u64().map(|number| number as usize).ok_or_else(wrong);
        value.as_array().ok_or_else(wrong)?.iter().map(number).collect()
    }

    /// Numbers, one for each of `count` channel pairs.
    pub fn numbers(&self, field: &str, count: usize) -> Result<Vec<f64>, ModelError> {
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
}
