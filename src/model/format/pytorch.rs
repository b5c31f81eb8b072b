//! PyTorch's `.bin`: a zip of a pickle and raw storages, or the older stream of pickles with the storages behind them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;

use super::super::error::ModelError;
use super::cursor::Cursor;
use super::pickle::{Id, Pickle, Value};
use super::stored::{Change, Element, Stored, count};
use super::zip;
use crate::base::files::{self, Map};

/// The tensors of several files.
pub(super) fn open(paths: &[PathBuf]) -> Result<BTreeMap<String, Stored>, ModelError> {
    let mut tensors = BTreeMap::new();
    for path in paths {
        let map = Arc::new(files::map(path)?);
        for (name, stored) in read(&map).map_err(|message| damaged(path, message))? {
            if tensors.insert(name.clone(), stored).is_some() {
                return Err(ModelError::Request(format!("two weight files hold tensor {name}")));
            }
        }
    }
    Ok(tensors)
}

fn damaged(path: &Path, message: String) -> ModelError {
    ModelError::Weights { path: path.to_path_buf(), message }
}

/// Where the bytes of a storage are.
type Storages = BTreeMap<String, Range<usize>>;

fn read(map: &Arc<Map>) -> Result<Vec<(String, Stored)>, String> {
    let (pickle, storages) = match map.starts_with(b"PK") {
        true => zipped(map)?,
        false => stream(map)?,
    };
    let Value::Dict(items) = pickle.get(pickle.root) else {
        return Err("the file holds no dictionary of tensors; save a state_dict".into());
    };
    let mut tensors = Vec::with_capacity(items.len());
    for (key, value) in items {
        let name = pickle.text(*key).ok_or("a tensor whose name is no text")?;
        let stored = tensor(&pickle, *value, &storages, map).map_err(|message| format!("tensor {name}: {message}"))?;
        tensors.push((name.to_owned(), stored));
    }
    Ok(tensors)
}

fn zipped(bytes: &[u8]) -> Result<(Pickle, Storages), String> {
    let entries = zip::entries(bytes)?;
    let (name, range) =
        entries.iter().find(|(name, _)| name.ends_with("/data.pkl")).ok_or("the archive holds no data.pkl")?;
    let pickle = Pickle::read(&mut Cursor::at(bytes.get(range.clone()).unwrap_or_default(), 0))?;
    if entries.get(&name.replace("data.pkl", "byteorder")).and_then(|range| bytes.get(range.clone())) == Some(b"big") {
        return Err("its numbers are big-endian; save it on a little-endian machine".into());
    }
    let folder = name.replace("data.pkl", "data/");
    let key = |(name, range): (&String, &Range<usize>)| Some((name.strip_prefix(&folder)?.to_owned(), range.clone()));
    let storages = entries.iter().filter_map(key).collect();
    Ok((pickle, storages))
}

/// The form before PyTorch 1.6: magic number, version and system as pickles, the dictionary, the list of storages, then
/// each storage with its length in front.
fn stream(bytes: &[u8]) -> Result<(Pickle, Storages), String> {
    let mut cursor = Cursor::at(bytes, 0);
    if !matches!(bytes.first(), Some(0x80)) {
        return Err("neither a zip archive nor a pickle: this is no PyTorch checkpoint".into());
    }
    for _ in 0..3 {
        Pickle::read(&mut cursor)?;
    }
    let pickle = Pickle::read(&mut cursor)?;
    let keys = Pickle::read(&mut cursor)?;
    let keys = keys
        .members(keys.root)
        .and_then(|members| members.iter().map(|id| keys.text(*id).map(str::to_owned)).collect::<Option<Vec<_>>>());
    let sizes = storage_sizes(&pickle);
    let mut storages = Storages::new();
    for key in keys.ok_or("the list of storages is damaged")? {
        let size = sizes.get(&key).ok_or_else(|| format!("storage {key} belongs to no tensor"))?;
        let length = cursor.size()?.checked_mul(*size).ok_or("a storage that cannot be counted")?;
        let start = cursor.position();
        cursor.take(length).map_err(|error| format!("storage {key}: {error}"))?;
        storages.insert(key, start..start + length);
    }
    Ok((pickle, storages))
}

/// Bytes of an element of each storage that the pickle refers to.
fn storage_sizes(pickle: &Pickle) -> BTreeMap<String, usize> {
    let mut sizes = BTreeMap::new();
    let Value::Dict(items) = pickle.get(pickle.root) else { return sizes };
    for (_, value) in items {
        if let Ok(view) = View::of(pickle, *value)
            && let Some(size) = element_size(&view.class)
        {
            sizes.insert(view.key, size);
        }
    }
    sizes
}

/// A tensor as PyTorch describes it: a view on a storage.
struct View {
    class: String,
    key: String,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl View {
    fn of(pickle: &Pickle, id: Id) -> Result<Self, String> {
        let (constructor, arguments) = pickle.call(id).ok_or("is no tensor")?;
        match (constructor, arguments) {
            ("torch._utils._rebuild_parameter", [inner, ..])
                if pickle.call(*inner).is_some_and(|(name, _)| name.ends_with("_rebuild_tensor_v2")) =>
            {
                Self::of(pickle, *inner)
            }
            ("torch._utils._rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
                let parts = match pickle.get(*storage) {
                    Value::Persistent(id) => pickle.members(*id).unwrap_or_default(),
                    _ => &[],
                };
                let [_, class, key, ..] = parts else { return Err("refers to no storage".into()) };
                let damaged = "its description is damaged";
                Ok(Self {
                    class: pickle.global(*class).ok_or(damaged)?.to_owned(),
                    key: pickle.text(*key).ok_or(damaged)?.to_owned(),
                    offset: pickle.size(*offset).ok_or(damaged)?,
                    shape: pickle.sizes(*shape).ok_or(damaged)?,
                    strides: pickle.sizes(*strides).ok_or(damaged)?,
                })
            }
            (other, _) => Err(format!("is made by {other}, which is no constructor of a plain tensor")),
        }
    }
}

fn element_size(class: &str) -> Option<usize> {
    match class.strip_prefix("torch.")? {
        "DoubleStorage" | "LongStorage" => Some(8),
        "FloatStorage" | "IntStorage" => Some(4),
        "HalfStorage" | "BFloat16Storage" | "ShortStorage" => Some(2),
        "ByteStorage" | "CharStorage" | "BoolStorage" => Some(1),
        _ => None,
    }
}

fn element(class: &str) -> Element {
    match class {
        "torch.DoubleStorage" => Element::Plain(DType::F64),
        "torch.FloatStorage" => Element::Plain(DType::F32),
        "torch.HalfStorage" => Element::Plain(DType::F16),
        "torch.BFloat16Storage" => Element::Plain(DType::BF16),
        other => Element::Other(other.to_owned()),
    }
}

fn tensor(pickle: &Pickle, id: Id, storages: &Storages, map: &Arc<Map>) -> Result<Stored, String> {
    let view = View::of(pickle, id)?;
    let storage = storages.get(&view.key).ok_or_else(|| format!("storage {} is missing", view.key))?;
    let element = element(&view.class);
    let Some(size) = element_size(&view.class) else {
        return Stored::mapped(map, storage.clone(), view.shape, element);
    };
    let range = (|| {
        let start = view.offset.checked_mul(size)?.checked_add(storage.start)?;
        let end = count(&view.shape)?.checked_mul(size)?.checked_add(start)?;
        (end <= storage.end).then_some(start..end)
    })();
    let range = range.ok_or_else(|| {
        format!(
            "shape {:?} from element {} on lies outside its storage of {} bytes",
            view.shape,
            view.offset,
            storage.len()
        )
    })?;
    let transposed = match view.shape.as_slice() {
        shape if is_contiguous(shape, &view.strides) => false,
        [rows, _] if view.strides == [1, *rows] => true,
        shape => return Err(format!("shape {shape:?} with strides {:?} is no plain table", view.strides)),
    };
    match transposed {
        false => Stored::mapped(map, range, view.shape, element),
        true => {
            let shape = view.shape.iter().rev().copied().collect();
            Stored::mapped(map, range, shape, element)?.changed(Change::Transpose)
        }
    }
}

/// Whether the rows of a tensor follow each other.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(size, stride)| {
            // The stride of a dimension of size 1 says nothing.
            let fits = *size == 1 || *stride == expected;
            expected = expected.saturating_mul(*size);
            fits
        })
}
