//! Checkpoint formats: the same weights, however they are stored, are the same model; `convert` changes no bit.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use counterpath::base::Silent;
use counterpath::model::convert::{Finite, Origin, WriteOptions, convert};
use counterpath::model::generate::{Choice, Stop, generate};
use counterpath::model::{LanguageModel, LoadOptions, Special};
use serde_json::{Value, json};

use crate::shared::shared_dir;
use crate::small;

mod converting;
mod gguf;
mod llama2c;
mod memory;
mod pytorch;

pub use gguf::gguf;
use gguf::written;
use llama2c::pairs;
pub use llama2c::{llama2c, square_llama};
use pytorch::{pick, pytorch};

pub fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-format-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

pub fn load(path: &Path) -> LanguageModel {
    LanguageModel::load(path, &LoadOptions::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_dtype(DType::F32)?.to_vec1()).expect("values")
}

pub fn assert_same(found: &LanguageModel, expected: &LanguageModel) {
    let names = |model: &LanguageModel| model.tensors().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (name, tensor) in found.tensors() {
        assert_eq!(tensor.dims(), expected.tensors()[name].dims(), "{name}");
        let bits = |tensor: &Tensor| values(tensor).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(tensor), bits(&expected.tensors()[name]), "{name}");
    }
}
