//! In how many bits the matrices of a frozen base stand in memory.

use std::str::FromStr;

use candle_core::quantized::GgmlDType;

use super::error::ModelError;

/// The type that embedding and linear layers are kept in. Gains, biases and positions are always kept in the type that
/// is computed in, and so is a matrix whose rows fill no whole blocks of any type asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BaseType {
    /// That which is computed in.
    #[default]
    Compute,
    /// That of the file, where it has fewer bits than what is computed in.
    Stored,
    /// This one.
    Packed(GgmlDType),
}

/// The types by their names.
const NAMES: [(&str, GgmlDType); 8] = [
    ("bf16", GgmlDType::BF16),
    ("f16", GgmlDType::F16),
    ("q8_0", GgmlDType::Q8_0),
    ("q5_0", GgmlDType::Q5_0),
    ("q4_0", GgmlDType::Q4_0),
    ("q6_k", GgmlDType::Q6K),
    ("q5_k", GgmlDType::Q5K),
    ("q4_k", GgmlDType::Q4K),
];

impl FromStr for BaseType {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let named = NAMES.iter().find(|(name, _)| *name == text.to_lowercase());
        match (text, named) {
            ("f32", _) => Ok(Self::Compute),
            ("keep", _) => Ok(Self::Stored),
            (_, Some((_, kind))) => Ok(Self::Packed(*kind)),
            _ => {
                let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                Err(ModelError::Request(format!("no base type {text:?}: known are f32, keep, {}", known.join(", "))))
            }
        }
    }
}

impl std::fmt::Display for BaseType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compute => f.write_str("f32"),
            Self::Stored => f.write_str("keep"),
            Self::Packed(kind) => {
                f.write_str(NAMES.iter().find(|(_, named)| named == kind).map_or("?", |(name, _)| *name))
            }
        }
    }
}

impl BaseType {
    /// The types in which a matrix of these columns may stand, widest first: what `--base-dtype` may be lowered to.
    pub(crate) const NARROWER: [BaseType; 3] =
        [BaseType::Packed(GgmlDType::BF16), BaseType::Packed(GgmlDType::Q8_0), BaseType::Packed(GgmlDType::Q4K)];

    /// What a matrix of `columns` is kept in, whose file has it in `stored` where that has fewer bits than what is
    /// computed in; none where it is kept in the type of computation. Rows that fill no blocks of 256 are kept in blocks
    /// of 32, and those that fill none of these in bf16.
    pub(crate) fn kind(self, stored: Option<GgmlDType>, columns: usize) -> Option<GgmlDType> {
        let wanted = match self {
            Self::Compute => None,
            Self::Packed(kind) => Some(kind),
            Self::Stored => stored,
        }?;
        let fits = |kind: &GgmlDType| columns > 0 && columns.is_multiple_of(kind.block_size());
        [wanted, GgmlDType::Q8_0, GgmlDType::BF16].into_iter().find(fits)
    }

    /// Bytes of one number, blocks' scales included.
    pub(crate) fn bytes(self, stored: Option<GgmlDType>, columns: usize) -> f64 {
        self.kind(stored, columns).map_or(4.0, |kind| kind.type_size() as f64 / kind.block_size() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_rows_that_fill_no_blocks_get_the_next_type() {
        for name in ["f32", "keep", "bf16", "q8_0", "q4_k"] {
            assert_eq!(name.parse::<BaseType>().expect("type").to_string(), name);
        }
        assert!("q3".parse::<BaseType>().expect_err("refused").to_string().contains("q4_k"));
        let q4 = BaseType::Packed(GgmlDType::Q4K);
        assert_eq!(q4.kind(None, 512), Some(GgmlDType::Q4K));
        assert_eq!(q4.kind(None, 576), Some(GgmlDType::Q8_0));
        assert_eq!(q4.kind(None, 50), Some(GgmlDType::BF16));
        assert_eq!(BaseType::Stored.kind(None, 512), None);
        assert_eq!(BaseType::Stored.kind(Some(GgmlDType::F16), 512), Some(GgmlDType::F16));
        assert_eq!(
            (BaseType::Compute.bytes(Some(GgmlDType::BF16), 256), q4.bytes(Some(GgmlDType::BF16), 256)),
            (4.0, 144.0 / 256.0)
        );
    }
}
