//! Noise as ROME adds it (Meng et al. 2022, causal tracing): Gaussian, with three times the standard deviation of the
//! subjects' embeddings, at the subject's token embeddings, its outcome averaged over the draws.

use candle_core::{DType, Tensor};

use super::error::InterveneError;
use crate::base::Seed;
use crate::base::seed::normal;
use crate::model::{HookKind, HookPoint, LanguageModel, Readout, Record};

/// Where a draw of noise is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoisePlace<'a> {
    /// The pair's id.
    pub pair: &'a str,
    /// The hook point.
    pub point: HookPoint,
    /// The position in the receiver's prompt.
    pub position: usize,
    /// The head, 0 where the point has none.
    pub head: usize,
}

/// The values that draw number `draw` of the stream `seed` adds at a place: `width` independent normal numbers of
/// standard deviation `deviation`, the same for every engine, batch and order.
pub fn noise(seed: u64, place: NoisePlace<'_>, draw: u32, deviation: f64, width: usize) -> Vec<f32> {
    let NoisePlace { pair, point, position, head } = place;
    let stream = Seed::new(seed).fork(&format!("{pair}|{point}|{position}|{head}"));
    let mut rng = stream.fork(&format!("draw {draw}")).rng();
    (0..width).map(|_| (deviation * normal(&mut rng)) as f32).collect()
}

/// The standard deviation of all coordinates of the embeddings of the subjects' tokens, about their common mean, with
/// n − 1 in the denominator (ROME's `collect_embedding_std`). Cost: one pass over the subjects' tokens.
pub fn subject_deviation(model: &LanguageModel, subjects: &[&[u32]]) -> Result<f64, InterveneError> {
    let point = HookPoint::new(HookKind::Embed, 0);
    let mut values: Vec<f64> = Vec::new();
    for subject in subjects.iter().filter(|subject| !subject.is_empty()) {
        let ids_bt = Tensor::from_slice(subject, (1, subject.len()), model.device())?;
        let mut record = Record::new([point]);
        model.forward(&ids_bt, Readout::Rows(&[(0, 0)]), &mut record)?;
        for embed_btd in record.take().values() {
            values.extend(embed_btd.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
        }
    }
    if values.len() < 2 {
        let message = "no subject has a token, so their embeddings do not vary; name a slot that the prompts fill";
        return Err(InterveneError::Source { name: "subjects".into(), message: message.into() });
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    Ok((squares / (values.len() - 1) as f64).sqrt())
}
