//! One tensor as a file holds it: where its bytes are, what they stand for, and what turns them into the tensor that
//! the reference implementation would have saved.

use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml};
use candle_core::{DType, Device, Tensor};

use super::super::error::ModelError;
use crate::base::files::Map;

/// What the bytes of a stored tensor stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    /// One little-endian number after another.
    Plain(DType),
    /// Blocks of a GGUF file.
    Blocks(GgmlDType),
    /// Something that is no weight, by the name that its format gives it. Only buffers may be stored so.
    Other(String),
}

impl Element {
    /// Bytes of `count` elements; `None` where they do not fill whole blocks or cannot be counted.
    pub fn bytes(&self, count: usize) -> Option<usize> {
        match self {
            Self::Plain(dtype) => count.checked_mul(dtype.size_in_bytes()),
            Self::Blocks(kind) if count.is_multiple_of(kind.block_size()) => {
                (count / kind.block_size()).checked_mul(kind.type_size())
            }
            Self::Blocks(_) | Self::Other(_) => None,
        }
    }
}

/// What is done to a tensor after it was read, because its format stores it otherwise than the reference does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// Rows and columns change places.
    Transpose,
    /// The rows of each head stand in pairs (0, h/2, 1, h/2 + 1, …) and are put in two halves (0, 1, …, h/2, …): the
    /// order that rotary positions of this format turn against that of the reference.
    PairsToHalves {
        /// Number of heads.
        heads: usize,
    },
    /// One is taken off (gains that are stored as 1 + gain).
    MinusOne,
}

#[derive(Clone)]
enum Bytes {
    Static(&'static [u8]),
    Mapped(Arc<Map>, Range<usize>),
    #[cfg(test)]
    Owned(Arc<Vec<u8>>),
}

/// A tensor in a file.
#[derive(Clone)]
pub(crate) struct Stored {
    shape: Vec<usize>,
    element: Element,
    bytes: Bytes,
    change: Change,
}

/// The number of elements of a shape, where it can be counted.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size))
}

impl Stored {
    /// A tensor in a mapped file. What is wrong is said without the tensor's name.
    pub fn mapped(map: &Arc<Map>, range: Range<usize>, shape: Vec<usize>, element: Element) -> Result<Self, String> {
        if range.start > range.end || range.end > map.len() {
            return Err(format!("its bytes {range:?} lie outside the file of {} bytes", map.len()));
        }
        let length = range.end - range.start;
        Self { shape, element, bytes: Bytes::Mapped(map.clone(), range), change: Change::Nothing }.checked(length)
    }

    /// A tensor in a file inside the program.
    pub fn inside(bytes: &'static [u8], shape: Vec<usize>, element: Element) -> Result<Self, String> {
        Self { shape, element, bytes: Bytes::Static(bytes), change: Change::Nothing }.checked(bytes.len())
    }

    /// A tensor of numbers that a reader made (frequencies, mostly).
    #[cfg(test)]
    pub fn made(values: &[f32], shape: Vec<usize>) -> Result<Self, String> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let length = bytes.len();
        let bytes = Bytes::Owned(Arc::new(bytes));
        Self { shape, element: Element::Plain(DType::F32), bytes, change: Change::Nothing }.checked(length)
    }

    fn checked(self, found: usize) -> Result<Self, String> {
        if matches!(self.element, Element::Other(_)) {
            return Ok(self);
        }
        match count(&self.shape).and_then(|count| self.element.bytes(count)) {
            Some(needed) if needed == found => Ok(self),
            Some(needed) => Err(format!(
                "shape {:?} of {} takes {needed} bytes, the file has {found} for it",
                self.shape,
                self.stored_as()
            )),
            None => Err(format!("shape {:?} cannot be stored as {}", self.shape, self.stored_as())),
        }
    }

    /// The same tensor with a change to make when it is read.
    pub fn changed(mut self, change: Change) -> Result<Self, String> {
        match (change, self.shape.as_slice()) {
            (Change::Transpose, [_, _]) => self.shape.reverse(),
            (Change::Transpose, shape) => return Err(format!("shape {shape:?} has no rows and columns")),
            (Change::PairsToHalves { heads }, [rows, ..]) if heads > 0 && rows.is_multiple_of(2 * heads) => {}
            (Change::PairsToHalves { heads }, shape) => {
                return Err(format!("shape {shape:?} does not divide into the pairs of {heads} heads"));
            }
            (Change::Nothing | Change::MinusOne, _) => {}
        }
        self.change = change;
        Ok(self)
    }

    /// The shape after the change.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What the bytes stand for.
    pub fn element(&self) -> &Element {
        &self.element
    }

    /// The name of the type in the file.
    pub fn stored_as(&self) -> String {
        match &self.element {
            Element::Plain(dtype) => dtype.as_str().to_uppercase(),
            Element::Blocks(kind) => format!("{kind:?}"),
            Element::Other(name) => name.clone(),
        }
    }

    fn data(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Static(bytes) => bytes,
            Bytes::Mapped(map, range) => map.get(range.clone()).unwrap_or_default(),
            #[cfg(test)]
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// Whether two tensors hold the same bytes that stand for the same.
    pub fn same(&self, other: &Self) -> bool {
        (&self.shape, &self.element, self.change) == (&other.shape, &other.element, other.change)
            && self.data() == other.data()
    }

    /// The tensor as `dtype` on the device. `name` is for errors.
    pub fn read(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor, ModelError> {
        let mut stored = self.shape.clone();
        if self.change == Change::Transpose {
            stored.reverse();
        }
        let plain = match &self.element {
            Element::Plain(kind @ (DType::F64 | DType::F32 | DType::F16 | DType::BF16)) => {
                Tensor::from_raw_buffer(self.data(), *kind, &stored, &Device::Cpu)?
            }
            Element::Blocks(kind) => self.blocks(name, *kind, stored)?.dequantize(&Device::Cpu)?,
            Element::Plain(_) | Element::Other(_) => {
                return Err(ModelError::WrongDtype { name: name.to_owned(), found: self.stored_as() });
            }
        };
        self.release();
        let changed = match self.change {
            Change::Nothing => plain,
            Change::Transpose => plain.t()?.contiguous()?,
            Change::MinusOne => (plain - 1.0)?,
            Change::PairsToHalves { heads } => halves(&plain, heads)?,
        };
        Ok(changed.to_dtype(dtype)?.to_device(device)?)
    }

    /// The blocks as candle holds them.
    fn blocks(&self, name: &str, kind: GgmlDType, shape: Vec<usize>) -> Result<QTensor, ModelError> {
        let data = self.data();
        // Candle reads blocks in place as structures of at most this alignment.
        if !data.as_ptr().addr().is_multiple_of(8) {
            return Err(ModelError::Request(format!("tensor {name} does not start at a multiple of 8 bytes")));
        }
        Ok(qtensor_from_ggml(kind, data, shape, &Device::Cpu)?)
    }

    /// Lets go of the file's memory behind this tensor.
    fn release(&self) {
        if let Bytes::Mapped(map, range) = &self.bytes {
            map.release(range.clone());
        }
    }
}

/// Rows of each head from pairs to halves.
fn halves(tensor: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let shape = tensor.dims().to_vec();
    let rows = shape.first().copied().unwrap_or(0);
    let columns: usize = shape.iter().skip(1).product();
    tensor.reshape((heads, rows / heads / 2, 2, columns))?.transpose(1, 2)?.contiguous()?.reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_held_against_shapes() {
        assert!(Stored::made(&[1.0; 6], vec![2, 3]).is_ok());
        assert!(Stored::made(&[1.0; 6], vec![2, 4]).err().expect("refused").contains("32 bytes"));
        assert!(Stored::made(&[1.0; 6], vec![usize::MAX, 3]).is_err());
        let row = Stored::made(&[1.0; 6], vec![6]).expect("stored");
        assert!(row.clone().changed(Change::Transpose).is_err());
        assert!(row.changed(Change::PairsToHalves { heads: 2 }).is_err());
    }

    #[test]
    fn pairs_become_halves() {
        // One head of 6 rows: rows 0 3 | 1 4 | 2 5 stand in pairs.
        let stored = Stored::made(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0], vec![6, 1]).expect("stored");
        let stored = stored.changed(Change::PairsToHalves { heads: 1 }).expect("changed");
        let tensor = stored.read("q", DType::F32, &Device::Cpu).expect("tensor");
        assert_eq!(
            tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values"),
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        );
        let table = Stored::made(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![2, 3]).expect("stored");
        let table = table.changed(Change::Transpose).expect("changed");
        assert_eq!(table.shape(), [3, 2]);
        let tensor = table.read("w", DType::F64, &Device::Cpu).expect("tensor");
        assert_eq!(tensor.to_vec2::<f64>().expect("values"), [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
    }
}
