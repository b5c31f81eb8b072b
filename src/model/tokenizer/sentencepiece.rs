//! sentencepiece's `tokenizer.model`: the few fields of its protocol buffer that say how text is cut.
//!
//! Field numbers are those of `sentencepiece_model.proto`. What would change the tokens and is not followed here is
//! refused by name.

use super::super::format::Cursor;
use super::pieces::{Algorithm, Piece, PieceKind, Pieces};

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Fixed(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
struct Message<'a>(Cursor<'a>);

impl<'a> Message<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::at(bytes, 0))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.0.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits".into())
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        if self.0.left() == 0 {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.0.u64()?;
                Field::Number(0)
            }
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| format!("a field of {length} bytes"))?;
                Field::Bytes(self.0.take(length)?)
            }
            5 => Field::Fixed(self.0.u32()?),
            other => return Err(format!("a field of unknown kind {other}: this is no sentencepiece model")),
        };
        Ok(Some((key >> 3, field)))
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a text that is not UTF-8".into())
}

/// What training and normalising said.
struct Spec {
    algorithm: Algorithm,
    bos: i64,
    eos: i64,
    dummy_prefix: bool,
    collapse_spaces: bool,
    charsmap: Vec<u8>,
}

/// Reads a model.
pub(super) fn read(bytes: &[u8]) -> Result<Pieces, String> {
    let mut spec = Spec {
        algorithm: Algorithm::Unigram,
        bos: 1,
        eos: 2,
        dummy_prefix: true,
        collapse_spaces: true,
        charsmap: Vec::new(),
    };
    let mut list = Vec::new();
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => {
                list.push(piece(bytes).map_err(|error| format!("piece {}: {error}", list.len()))?)
            }
            (2, Field::Bytes(bytes)) => trainer(bytes, &mut spec)?,
            (3, Field::Bytes(bytes)) => normalizer(bytes, &mut spec)?,
            (5, Field::Bytes(bytes)) => denormalizer(bytes)?,
            _ => {}
        }
    }
    if list.is_empty() {
        return Err("it holds no piece: this is no sentencepiece model".into());
    }
    let id = |id: i64| u32::try_from(id).ok().filter(|id| (*id as usize) < list.len());
    let (bos, eos) = (id(spec.bos), id(spec.eos));
    let mut pieces = Pieces::new(spec.algorithm, list);
    pieces.dummy_prefix = spec.dummy_prefix;
    pieces.collapse_spaces = spec.collapse_spaces;
    pieces.charsmap = spec.charsmap;
    (pieces.bos, pieces.eos) = (bos, eos);
    Ok(pieces)
}

fn piece(bytes: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => piece.text = text(bytes)?,
            (2, Field::Fixed(bits)) => piece.score = f32::from_bits(bits),
            (3, Field::Number(kind)) => {
                piece.kind = match kind {
                    1 => PieceKind::Normal,
                    2 => PieceKind::Unknown,
                    3 => PieceKind::Control,
                    4 => PieceKind::UserDefined,
                    5 => PieceKind::Unused,
                    6 => PieceKind::Byte,
                    other => return Err(format!("kind {other} is not known")),
                }
            }
            _ => {}
        }
    }
    match piece.text.is_empty() {
        true => Err("it is empty".into()),
        false => Ok(piece),
    }
}

fn trainer(bytes: &[u8], spec: &mut Spec) -> Result<(), String> {
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match (number, field) {
            (3, Field::Number(1)) => spec.algorithm = Algorithm::Unigram,
            (3, Field::Number(2)) => spec.algorithm = Algorithm::Bpe,
            (3, Field::Number(3)) => return Err("model_type WORD is not supported; UNIGRAM and BPE are".into()),
            (3, Field::Number(4)) => return Err("model_type CHAR is not supported; UNIGRAM and BPE are".into()),
            (24, Field::Number(1)) => return Err("treat_whitespace_as_suffix = true is not supported".into()),
            // Negative numbers (none) are written as 64-bit two's complement.
            (41, Field::Number(id)) => spec.bos = id as i64,
            (42, Field::Number(id)) => spec.eos = id as i64,
            _ => {}
        }
    }
    Ok(())
}

fn normalizer(bytes: &[u8], spec: &mut Spec) -> Result<(), String> {
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match (number, field) {
            (2, Field::Bytes(charsmap)) => spec.charsmap = charsmap.to_vec(),
            (3, Field::Number(flag)) => spec.dummy_prefix = flag != 0,
            (4, Field::Number(flag)) => spec.collapse_spaces = flag != 0,
            (5, Field::Number(0)) => return Err("escape_whitespaces = false is not supported".into()),
            _ => {}
        }
    }
    Ok(())
}

fn denormalizer(bytes: &[u8]) -> Result<(), String> {
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        if matches!((number, field), (2, Field::Bytes(charsmap)) if !charsmap.is_empty()) {
            return Err("a denormaliser is not supported".into());
        }
    }
    Ok(())
}
