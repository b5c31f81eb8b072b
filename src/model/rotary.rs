//! Rotary position tables, computed as the reference does: frequencies, angles and their cosines in single precision.

use std::ops::Range;
use std::sync::Mutex;

use candle_core::{Device, Result, Tensor};
use serde::Serialize;

use crate::ops::Span;

/// A rotary embedding: channel i of the first half is turned with channel i of the second by position · frequency i.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rotary {
    /// One frequency (radians a position) for each channel pair; channels beyond twice their number are not turned.
    pub frequencies: Vec<f32>,
    /// The frequencies of sequences longer than `long_from`, where they differ.
    pub long: Option<LongRotary>,
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

impl Rotary {
    /// The plain form: frequency i = base^(−2i/dims).
    pub fn plain(base: f64, dims: usize) -> Self {
        let frequency = |i: usize| 1.0 / (base as f32).powf(2.0 * i as f32 / dims as f32);
        Self { frequencies: (0..dims / 2).map(frequency).collect(), long: None, scale: 1.0 }
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
        Self { frequencies: divided(short), long: Some(long), scale: scale as f32 }
    }

    /// Whether sequences of these two lengths are turned alike, so that keys of the one serve the other.
    pub(crate) fn alike(&self, one: usize, other: usize) -> bool {
        self.long.as_ref().is_none_or(|long| (one > long.from) == (other > long.from))
    }

    /// Cosines and sines of `positions` of a sequence of `length` tokens, each `[positions, pairs]`.
    fn values(&self, positions: Range<usize>, length: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = match &self.long {
            Some(long) if length > long.from => &long.frequencies,
            _ => &self.frequencies,
        };
        let angles = positions.flat_map(|position| frequencies.iter().map(move |f| f64::from(position as f32 * f)));
        angles.map(|angle| (angle.cos() as f32 * self.scale, angle.sin() as f32 * self.scale)).unzip()
    }
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

    /// Cosines and sines of the `tokens` positions from each row's start, each `[b, tokens, pairs]`; a row's length is
    /// where its own tokens end.
    pub fn of_spans(&self, spans: &[Span], tokens: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        let row = |span: &Span| self.rotary.values(span.start..span.start + tokens, span.start + span.tokens);
        let (cos, sin): (Vec<_>, Vec<_>) = spans.iter().map(row).unzip();
        let table = |rows: Vec<Vec<f32>>| {
            Tensor::from_vec(rows.concat(), (spans.len(), tokens, self.rotary.frequencies.len()), device)
        };
        Ok((table(cos)?, table(sin)?))
    }

    pub fn alike(&self, one: usize, other: usize) -> bool {
        self.rotary.alike(one, other)
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
