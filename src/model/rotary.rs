//! Rotary position tables, computed as the reference does: frequencies, angles and their cosines in single precision.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use candle_core::{Device, Result, Tensor};
use serde::Serialize;

use crate::ops::{Span, Stand};

/// A rotary embedding: channel pair i is turned by position · frequency i.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rotary {
    /// One frequency (radians a position) for each channel pair; channels beyond twice their number are not turned.
    pub frequencies: Vec<f32>,
    /// The frequencies of sequences longer than `long_from`, where they differ.
    pub long: Option<LongRotary>,
    /// How frequencies follow the length of sequences beyond the trained one, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<DynamicRotary>,
    /// What cosine and sine are multiplied by.
    pub scale: f32,
}

/// Frequencies that hold for long sequences alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LongRotary {
    /// Sequences longer than this use them.
    pub from: usize,
    /// One frequency for each channel pair.
    pub frequencies: Vec<f32>,
}

/// A base that grows with the sequence ("NTK-aware" scaling): in a sequence of n > `from` tokens it is
/// base · (factor·n/from − (factor − 1))^(dims/(dims − 2)).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DynamicRotary {
    /// Sequences longer than this stretch the base.
    pub from: usize,
    /// The factor.
    pub factor: f64,
    /// The base of shorter sequences.
    pub base: f64,
}

/// frequency i = base^(−2i/dims).
fn powers(base: f64, dims: usize) -> Vec<f32> {
    let frequency = |i: usize| 1.0 / (base as f32).powf(2.0 * i as f32 / dims as f32);
    (0..dims / 2).map(frequency).collect()
}

impl Rotary {
    /// The plain form: frequency i = base^(−2i/dims).
    pub fn plain(base: f64, dims: usize) -> Self {
        Self { frequencies: powers(base, dims), long: None, dynamic: None, scale: 1.0 }
    }

    /// Frequencies that follow the sequence's length beyond `from` tokens.
    pub fn dynamic(self, base: f64, factor: f64, from: usize) -> Self {
        Self { dynamic: Some(DynamicRotary { from, factor, base }), ..self }
    }

    /// YaRN: frequencies that turn often within the trained length are kept, those that turn less than once divided by
    /// the factor, and those between interpolated by channel; cosines and sines are multiplied by `scale`.
    pub fn yarn(self, base: f64, scaling: YarnScaling) -> Self {
        let YarnScaling { factor, beta_fast, beta_slow, original, truncate, scale } = scaling;
        let pairs = self.frequencies.len();
        let dims = 2 * pairs;
        // The channel whose frequency turns this many times within the trained length.
        let channel = |turns: f64| dims as f64 * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * base.ln());
        let (low, high) = (channel(beta_fast), channel(beta_slow));
        let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
        let (low, high) = (low.max(0.0), high.min(dims as f64 - 1.0));
        let high = if low == high { high + 0.001 } else { high };
        let frequencies = self.frequencies.iter().enumerate().map(|(i, frequency)| {
            let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            frequency / factor as f32 * ramp + frequency * (1.0 - ramp)
        });
        Self { frequencies: frequencies.collect(), scale: scale as f32, ..self }
    }

    /// Every frequency divided by `factor` (position interpolation).
    pub fn linear(self, factor: f64) -> Self {
        let frequencies = self.frequencies.iter().map(|f| f / factor as f32).collect();
        Self { frequencies, ..self }
    }

    /// Llama 3's scaling: low frequencies are divided by the factor, high ones kept, those between interpolated.
    pub fn llama3(self, scaling: Llama3Scaling) -> Self {
        let Llama3Scaling { factor, low_freq_factor, high_freq_factor, original } = scaling;
        let frequencies = self.frequencies.iter().map(|&frequency| {
            let wavelength = 2.0 * std::f64::consts::PI / f64::from(frequency);
            if wavelength < original / high_freq_factor {
                return frequency;
            }
            if wavelength > original / low_freq_factor {
                return (f64::from(frequency) / factor) as f32;
            }
            let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
            ((1.0 - smooth) * f64::from(frequency) / factor + smooth * f64::from(frequency)) as f32
        });
        Self { frequencies: frequencies.collect(), ..self }
    }

    /// Phi-3's scaling: frequency i is divided by `short[i]`, or by `long[i]` in sequences longer than `original`;
    /// cosines and sines are multiplied by `scale`.
    pub fn long(self, short: &[f64], long: &[f64], original: usize, scale: f64) -> Self {
        let divided = |by: &[f64]| self.frequencies.iter().zip(by).map(|(f, by)| f / *by as f32).collect();
        let long = LongRotary { from: original, frequencies: divided(long) };
        Self { frequencies: divided(short), long: Some(long), scale: scale as f32, ..self }
    }

    /// The frequencies that hold in a sequence of this many tokens.
    fn frequencies_of(&self, tokens: usize) -> Cow<'_, [f32]> {
        if let Some(long) = self.long.as_ref().filter(|long| tokens > long.from) {
            return Cow::Borrowed(&long.frequencies);
        }
        let Some(DynamicRotary { from, factor, base }) = self.dynamic.as_ref().filter(|dynamic| tokens > dynamic.from)
        else {
            return Cow::Borrowed(&self.frequencies);
        };
        let dims = 2 * self.frequencies.len();
        let stretch = factor * tokens as f64 / *from as f64 - (factor - 1.0);
        Cow::Owned(powers(base * stretch.powf(dims as f64 / (dims as f64 - 2.0)), dims))
    }

    /// Sequences of the same class share their frequencies.
    pub fn length_class(&self, tokens: usize) -> usize {
        match (&self.long, &self.dynamic) {
            (Some(long), _) => usize::from(tokens > long.from),
            (None, Some(dynamic)) => tokens.max(dynamic.from),
            (None, None) => 0,
        }
    }

    /// Cosines and sines of `positions` of a sequence of `length` tokens, each `[positions, pairs]`.
    fn values(&self, positions: Range<usize>, length: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.frequencies_of(length);
        let frequencies = &frequencies;
        let angles = positions.flat_map(|position| frequencies.iter().map(move |f| f64::from(position as f32 * f)));
        angles.map(|angle| (angle.cos() as f32 * self.scale, angle.sin() as f32 * self.scale)).unzip()
    }
}

/// The fields of YaRN's rotary scaling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YarnScaling {
    /// What low frequencies are divided by.
    pub factor: f64,
    /// Frequencies that turn more often than this within the trained length are kept.
    pub beta_fast: f64,
    /// Frequencies that turn less often are divided by the factor.
    pub beta_slow: f64,
    /// The trained length.
    pub original: f64,
    /// Whether the bounds are rounded to whole channels.
    pub truncate: bool,
    /// What cosine and sine are multiplied by.
    pub scale: f64,
}

/// The fields of Llama 3's rotary scaling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    /// What low frequencies are divided by.
    pub factor: f64,
    /// Wavelengths longer than `original / low_freq_factor` are low frequencies.
    pub low_freq_factor: f64,
    /// Wavelengths shorter than `original / high_freq_factor` are high frequencies.
    pub high_freq_factor: f64,
    /// The length that the model was trained at first.
    pub original: f64,
}

/// The tables of one rotary on a device; those of the last length are kept.
#[derive(Debug)]
pub(crate) struct RotaryTables {
    rotary: Rotary,
    last: Mutex<Option<(usize, Tensor, Tensor)>>,
}

impl RotaryTables {
    pub fn new(rotary: Rotary) -> Self {
        Self { rotary, last: Mutex::new(None) }
    }

    /// Cosines and sines of positions `0..tokens`, each `[tokens, pairs]`.
    pub fn of(&self, tokens: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        // A thread that panicked while it held the lock left a whole value or none.
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((length, cos, sin)) = last.as_ref()
            && *length == tokens
        {
            return Ok((cos.clone(), sin.clone()));
        }
        let (cos, sin) = self.rotary.values(0..tokens, tokens);
        let pairs = self.rotary.frequencies.len();
        let cos = Tensor::from_vec(cos, (tokens, pairs), device)?;
        let sin = Tensor::from_vec(sin, (tokens, pairs), device)?;
        *last = Some((tokens, cos.clone(), sin.clone()));
        Ok((cos, sin))
    }

    /// Cosines and sines of the positions from each row's start, each `[b, tokens, pairs]`; a row's length is where its
    /// own tokens end.
    pub fn of_spans(&self, spans: &[Span], stand: Stand, tokens: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        // Positions of all rows are slices of one table, but for lengths that are turned by other frequencies.
        let length = |span: &Span| if stand == Stand::Behind { span.tokens } else { tokens };
        let end = spans.iter().map(|span| span.start + length(span)).max().unwrap_or(0);
        let pairs = self.rotary.frequencies.len();
        let mut made: BTreeMap<usize, (Vec<f32>, Vec<f32>)> = BTreeMap::new();
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for span in spans {
            let whole = span.start + span.tokens;
            let (all_cos, all_sin) =
                made.entry(self.rotary.length_class(whole)).or_insert_with(|| self.rotary.values(0..end, whole));
            let range = span.start * pairs..(span.start + length(span)) * pairs;
            cos.extend_from_slice(all_cos.get(range.clone()).unwrap_or_default());
            sin.extend_from_slice(all_sin.get(range).unwrap_or_default());
        }
        let rows = if stand == Stand::Behind { 1 } else { spans.len() };
        let table = |values: Vec<f32>| Tensor::from_vec(values, (rows, tokens, pairs), device);
        Ok((table(cos)?, table(sin)?))
    }

    /// Whether sequences of these two lengths are turned alike, so that keys of the one serve the other.
    pub fn alike(&self, one: usize, other: usize) -> bool {
        self.rotary.length_class(one) == self.rotary.length_class(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_their_definitions() {
        let plain = Rotary::plain(10_000.0, 8);
        assert_eq!(plain.frequencies.len(), 4);
        for (i, frequency) in plain.frequencies.iter().enumerate() {
            let expected = 10_000f64.powf(-2.0 * i as f64 / 8.0);
            assert!((f64::from(*frequency) / expected - 1.0).abs() < 1e-6);
        }
        let scaling = Llama3Scaling { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 16.0 };
        let scaled = plain.clone().llama3(scaling);
        // Wavelengths 6.28, 62.8, 628, 6283 against the bounds 4 and 16: the first lies between, the others beyond.
        let smooth = (16.0 / std::f64::consts::TAU - 1.0) / 3.0;
        let expected = (1.0 - smooth) / 8.0 + smooth;
        let ratio = |i: usize| f64::from(scaled.frequencies[i] / plain.frequencies[i]);
        assert!(
            (ratio(0) - expected).abs() < 1e-6 && (ratio(1) - 0.125).abs() < 1e-6 && (ratio(3) - 0.125).abs() < 1e-6
        );
    }
}
