//! The model's own reading of a text as its embedding.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::pairs::text;
use crate::base::Progress;
use crate::harness::HarnessError;
use crate::harness::question::Answered;
use crate::model::{HookKind, HookPoint, LanguageModel, ModelError, Readout, Record, Special};

/// Embeddings of generated texts, by question id: the mean over a text's tokens of the stream behind the last block, before the last norm, as long as the
/// model is wide. A declared stand-in for a sentence encoder: the model that is judged reads its own texts. Tokens beyond the model's positions are
/// left out; texts without tokens have no embedding. Cost: a pass a text.
///
/// # Errors
/// A model without a tokenizer, or a pass that fails.
pub fn mean_hidden_states(
    model: &LanguageModel,
    answered: &[Answered],
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Vec<f64>>, HarnessError> {
    let architecture = model.architecture();
    let point = HookPoint::new(HookKind::ResidPost, architecture.n_layers.saturating_sub(1));
    let texts: Vec<(&str, &str)> =
        answered.iter().filter_map(|answer| Some((answer.question.id.as_str(), text(answer)?))).collect();
    progress.start("embeddings", texts.len() as u64);
    let mut embeddings = BTreeMap::new();
    for (id, text) in texts {
        let mut ids = model.tokenizer()?.encode(text, Special::Default)?.ids;
        ids.truncate(architecture.max_positions);
        if !ids.is_empty() {
            embeddings.insert(id.to_owned(), mean(model, &ids, point)?);
        }
        progress.advance(1);
    }
    progress.finish();
    Ok(embeddings)
}

fn mean(model: &LanguageModel, ids: &[u32], point: HookPoint) -> Result<Vec<f64>, ModelError> {
    let ids_bt = Tensor::new(ids, model.device())?.unsqueeze(0)?;
    let mut record = Record::new([point]);
    model.forward(&ids_bt, Readout::All, &mut record)?;
    let resid_btd = record.take().remove(&point);
    let mean_d = resid_btd.map(|resid_btd| resid_btd.to_dtype(DType::F64)?.mean((0, 1))?.to_vec1()).transpose()?;
    Ok(mean_d.unwrap_or_default())
}
