//! Rotary embeddings as a `config.json` describes them: every name of their fields, and every scaling.

use super::config::Config;
use super::error::ModelError;
use super::rotary::{Llama3Scaling, Rotary, YarnScaling};

impl Config<'_> {
    /// The share of a head's channels that is turned, under any of its names; `default` where none is there.
    pub fn rotary_dims(&self, head_dim: usize, default: f64) -> Result<usize, ModelError> {
        let nested = match self.object("rope_parameters")? {
            Some(nested) => Some(nested),
            None => self.object("rope_scaling")?,
        };
        let name = self.any(&["partial_rotary_factor", "rotary_pct", "rope_pct"]);
        let flat = name.map(|name| self.number(name)).transpose()?;
        let nested = nested.map(|nested| nested.optional_number("partial_rotary_factor")).transpose()?.flatten();
        let dims = (head_dim as f64 * nested.or(flat).unwrap_or(default)) as usize;
        match dims.is_multiple_of(2) && dims <= head_dim {
            true => Ok(dims),
            false => Err(self.unsupported("partial_rotary_factor", "an even number of channels can be turned")),
        }
    }

    /// The rotary embedding of `dims` channels, from `rope_parameters` (5.x) or `rope_theta` and `rope_scaling` (4.x).
    pub fn rotary(&self, dims: usize, default_theta: f64) -> Result<Rotary, ModelError> {
        let name = self.any(&["rotary_emb_base", "rope_theta"]).unwrap_or("rope_theta");
        let theta = self.positive_or(name, default_theta)?;
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
        let field = scaling.any(&["rope_type", "type"]).unwrap_or("rope_type");
        match scaling.optional_text(field)?.as_deref() {
            None | Some("default") => Ok(plain),
            Some("linear") => Ok(plain.linear(scaling.positive("factor")?)),
            Some("dynamic") => {
                // A length beside the factor is what the configs of some writers repeat; the limit is the model's.
                let from = self.size("max_position_embeddings")?;
                Ok(plain.dynamic(theta, scaling.positive("factor")?, from))
            }
            Some("llama3") => Ok(plain.llama3(Llama3Scaling {
                factor: scaling.positive("factor")?,
                low_freq_factor: scaling.positive("low_freq_factor")?,
                high_freq_factor: scaling.positive("high_freq_factor")?,
                original: self.original_positions(&scaling)? as f64,
            })),
            Some("yarn") => self.yarn(&scaling, plain, theta),
            Some("longrope" | "su") => self.long_rotary(&scaling, plain),
            Some(_) => Err(scaling.unsupported(field, "default, linear, dynamic, yarn, llama3 and longrope are")),
        }
    }

    /// The length that the model was trained at before its positions were scaled.
    fn original_positions(&self, scaling: &Config<'_>) -> Result<usize, ModelError> {
        const FIELD: &str = "original_max_position_embeddings";
        match (self.optional_size(FIELD)?, scaling.optional_size(FIELD)?) {
            (Some(original), _) | (None, Some(original)) => Ok(original),
            (None, None) => self.size("max_position_embeddings"),
        }
    }

    /// The factor of a scaling; the new length over the old one where it is not given.
    fn stretch(&self, scaling: &Config<'_>, original: usize) -> Result<f64, ModelError> {
        match scaling.get("factor") {
            Some(_) => scaling.positive("factor"),
            None => Ok(self.size("max_position_embeddings")? as f64 / original as f64),
        }
    }

    /// YaRN, with the scale of cosine and sine that its paper suggests where none is given.
    fn yarn(&self, scaling: &Config<'_>, plain: Rotary, theta: f64) -> Result<Rotary, ModelError> {
        let original = self.original_positions(scaling)?;
        let factor = self.stretch(scaling, original)?;
        let suggested = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        let [weight, all] = ["mscale", "mscale_all_dim"].map(|field| scaling.optional_number(field));
        let nonzero = |weight: Option<f64>| weight.filter(|weight| *weight != 0.0);
        let scale = match (scaling.optional_number("attention_factor")?, nonzero(weight?), nonzero(all?)) {
            (Some(scale), _, _) => scale,
            (None, Some(weight), Some(all)) => suggested(weight) / suggested(all),
            _ => suggested(1.0),
        };
        Ok(plain.yarn(
            theta,
            YarnScaling {
                factor,
                beta_fast: scaling.positive_or("beta_fast", 32.0)?,
                beta_slow: scaling.positive_or("beta_slow", 1.0)?,
                original: original as f64,
                truncate: scaling.flag("truncate", true)?,
                scale,
            },
        ))
    }

    /// Phi-3's scaling: a divisor a channel pair, one list for short and one for long sequences.
    fn long_rotary(&self, scaling: &Config<'_>, plain: Rotary) -> Result<Rotary, ModelError> {
        let original = self.original_positions(scaling)?;
        let pairs = plain.frequencies.len();
        let stretch = self.stretch(scaling, original)?;
        let scale = match scaling.optional_number("attention_factor")? {
            Some(scale) => scale,
            None if stretch <= 1.0 => 1.0,
            None => (1.0 + stretch.ln() / (original as f64).ln()).sqrt(),
        };
        let [short, long] = [scaling.numbers("short_factor", pairs)?, scaling.numbers("long_factor", pairs)?];
        Ok(plain.long(&short, &long, original, scale))
    }
}
