//! A direction's folder: `direction.json`, which says everything, and `direction.safetensors` with the tensors `basis`
//! `[k, w]`, `mean` `[w]`, `left` `[w, k]` and `right` `[k, w]` in single precision.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::eraser::Eraser;
use super::error::DirectionError;
use super::fit::{Direction, Fitted, HeldOut, Method, Training};
use super::matrix::{from_tensor, to_tensor};
use crate::base::{Digest, files};
use crate::intervene::Site;
use crate::model::LanguageModel;

const CARD: &str = "direction.json";
const TENSORS: &str = "direction.safetensors";
const NAMES: [&str; 4] = ["basis", "mean", "left", "right"];
/// A basis of more bytes than this is no direction.
const LIMIT: u64 = 1 << 30;

/// Which model and which pairs a direction comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedOn {
    /// The checkpoint as it was named.
    pub model: String,
    /// Its family.
    pub family: String,
    /// The digest of its weights, adapters left out.
    pub model_digest: Digest,
    /// The digest of the adapter on top of it.
    pub adapter: Option<Digest>,
    /// The eval set or the file of pairs.
    pub population: String,
    /// Its digest.
    pub population_digest: Digest,
    /// The variable; absent where a file of pairs does not say.
    pub variable: Option<String>,
    /// The root of all draws.
    pub seed: u64,
}

/// What a direction's folder says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Of the file's form: 1.
    pub version: u32,
    /// Where.
    pub site: Site,
    /// How it was found.
    pub method: Method,
    /// Dimensions.
    pub rank: usize,
    /// Width of the activation.
    pub width: usize,
    /// The digest of `direction.safetensors`.
    pub tensors: Digest,
    /// On what it was fitted.
    pub fitted_on: FittedOn,
    /// What the fit saw.
    pub training: Training,
    /// What other pairs say.
    pub held_out: HeldOut,
}

impl Card {
    /// Writes a folder and gives back its card.
    pub fn save(folder: &Path, fitted: &Fitted, fitted_on: FittedOn) -> Result<Self, DirectionError> {
        let Direction { site, method, basis_wk, eraser } = &fitted.direction;
        let [mean, left, right] = eraser.tensors(&Device::Cpu)?;
        let basis = to_tensor(&basis_wk.transpose(), &Device::Cpu)?;
        let bytes = serialized(&[basis, mean, left, right], folder)?;
        let card = Self {
            version: 1,
            site: site.clone(),
            method: *method,
            rank: basis_wk.ncols(),
            width: basis_wk.nrows(),
            tensors: Digest::of(&bytes),
            fitted_on,
            training: fitted.training.clone(),
            held_out: fitted.held_out.clone(),
        };
        files::create_folder(folder)?;
        files::write_atomic(&folder.join(TENSORS), &bytes)?;
        files::write_json(&folder.join(CARD), &card)?;
        Ok(card)
    }

    /// Reads a folder; refused where its parts do not belong together.
    pub fn load(folder: &Path) -> Result<(Self, Direction), DirectionError> {
        let card: Self = files::read_json(&folder.join(CARD))?;
        let path = folder.join(TENSORS);
        let wrong = |message: String| DirectionError::Folder { path: path.clone(), message };
        let bytes = files::read(&path, LIMIT)?;
        let found = Digest::of(&bytes);
        if found != card.tensors {
            return Err(wrong(format!(
                "its digest is {found}, {CARD} says {}: the two are not of one fit",
                card.tensors
            )));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for name in NAMES {
            let view = file.tensor(name).map_err(|error| wrong(error.to_string()))?;
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("tensor {name} is {:?}, not F32", view.dtype())));
            }
            tensors.insert(name, Tensor::from_raw_buffer(view.data(), DType::F32, view.shape(), &Device::Cpu)?);
        }
        let tensor = |name: &str| tensors.get(name).ok_or_else(|| wrong(format!("it has no tensor {name}")));
        let basis = tensor("basis")?;
        if basis.dims() != [card.rank, card.width] {
            return Err(wrong(format!("its basis is {:?}, {CARD} says [{}, {}]", basis.dims(), card.rank, card.width)));
        }
        let eraser = Eraser::from_tensors([tensor("mean")?, tensor("left")?, tensor("right")?])?;
        if (eraser.width(), eraser.rank()) != (card.width, card.rank) {
            return Err(wrong(format!("its eraser is of width {} and rank {}", eraser.width(), eraser.rank())));
        }
        let basis_wk = from_tensor(basis)?.transpose();
        let direction = Direction { site: card.site.clone(), method: card.method, basis_wk, eraser };
        direction.subspace()?;
        Ok((card, direction))
    }

    /// Refuses a model of another family; and one of other weights where `same_weights` is asked for.
    pub fn check(&self, model: &LanguageModel, same_weights: SameWeights) -> Result<(), DirectionError> {
        let family = &model.architecture().family;
        let FittedOn { family: expected, model: name, model_digest, .. } = &self.fitted_on;
        if family != expected {
            return Err(DirectionError::OtherModel {
                expected: format!("a {expected} model"),
                found: format!("a {family} model"),
                hint: "fit a direction on this model",
            });
        }
        if same_weights == SameWeights::Needed && model.digest() != model_digest {
            return Err(DirectionError::OtherModel {
                expected: format!("{name} ({})", model_digest.short()),
                found: format!("one with other weights ({})", model.digest().short()),
                hint: "add --other-model to use it there all the same",
            });
        }
        Ok(())
    }
}

/// Whether a direction may be used on weights other than those that it was fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameWeights {
    /// It may not.
    Needed,
    /// It may: that is the question.
    NotNeeded,
}

fn serialized(tensors: &[Tensor; 4], folder: &Path) -> Result<Vec<u8>, DirectionError> {
    let wrong = |error: safetensors::SafeTensorError| DirectionError::Folder {
        path: folder.join(TENSORS),
        message: error.to_string(),
    };
    let mut stored = Vec::new();
    for (name, tensor) in NAMES.into_iter().zip(tensors) {
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        stored.push((name, tensor.dims().to_vec(), bytes));
    }
    let mut views = Vec::new();
    for (name, shape, bytes) in &stored {
        views.push((*name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(wrong)?));
    }
    safetensors::serialize(views, None).map_err(wrong)
}
