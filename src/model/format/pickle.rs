//! Python's pickle, as far as a file of tensors needs it.
//!
//! The machine below calls nothing: the few constructors that PyTorch writes become values, any other is refused by
//! name. Values live in one arena and refer to each other by index, so that nothing is copied, no recursion is needed
//! however deep a hostile file nests, and memory grows with the bytes that were read alone. (Candle's reader copies
//! values out of its memo, takes lengths on trust, and panics on short argument lists; a test holds this one against it.)

use std::collections::BTreeMap;

use super::cursor::Cursor;

/// A value's place in the arena.
pub(super) type Id = u32;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Mark,
    /// None, a float, and what no tensor needs.
    Nothing,
    Int(i64),
    Text(String),
    Global(String),
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The result of a constructor that was not called.
    Call {
        constructor: Id,
        arguments: Id,
    },
    /// A reference to data outside the pickle.
    Persistent(Id),
}

/// What a pickle holds.
pub(super) struct Pickle {
    values: Vec<Value>,
    /// The value that it stands for.
    pub root: Id,
}

impl Pickle {
    /// Reads one pickle and leaves the cursor behind it.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let mut machine = Machine::default();
        while machine.step(cursor)? == Step::Next {}
        let root = machine.pop()?;
        Ok(Self { values: machine.values, root })
    }

    /// A value.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id as usize).unwrap_or(&Value::Nothing)
    }

    /// A text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A length or position.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The members of a tuple or list.
    pub fn members(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Sequence(members) => Some(members),
            _ => None,
        }
    }

    /// Lengths or positions.
    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.members(id)?.iter().map(|id| self.size(*id)).collect()
    }

    /// The name of the constructor of a value and its arguments.
    pub fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        let Value::Call { constructor, arguments } = self.get(id) else { return None };
        match self.get(*constructor) {
            Value::Global(name) => Some((name, self.members(*arguments)?)),
            _ => None,
        }
    }

    /// The name of a class.
    pub fn global(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Global(name) => Some(name),
            _ => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Next,
    Done,
}

#[derive(Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    memo: BTreeMap<u32, Id>,
}

impl Machine {
    fn push(&mut self, value: Value) -> Result<(), String> {
        let id = Id::try_from(self.values.len()).map_err(|_| "too many values")?;
        self.values.push(value);
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "the pickle takes from an empty stack".into())
    }

    fn last(&mut self) -> Result<&mut Value, String> {
        let id = self.stack.last().copied();
        id.and_then(|id| self.values.get_mut(id as usize)).ok_or_else(|| "the pickle takes from an empty stack".into())
    }

    /// The values above the last mark.
    fn above_mark(&mut self) -> Result<Vec<Id>, String> {
        let is_mark = |id: &Id| matches!(self.values.get(*id as usize), Some(Value::Mark));
        let at = self.stack.iter().rposition(is_mark).ok_or("the pickle has no mark")?;
        let members = self.stack.split_off(at + 1);
        self.stack.pop();
        Ok(members)
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let at = self.stack.len().checked_sub(count).ok_or("the pickle takes from an empty stack")?;
        let members = self.stack.split_off(at);
        self.push(Value::Sequence(members))
    }

    fn append(&mut self, members: Vec<Id>) -> Result<(), String> {
        match self.last()? {
            Value::Sequence(list) => list.extend(members),
            _ => return Err("the pickle appends to what is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, members: &[Id]) -> Result<(), String> {
        match self.last()? {
            Value::Dict(dict) => dict.extend(members.chunks_exact(2).filter_map(|pair| match pair {
                [key, value] => Some((*key, *value)),
                _ => None,
            })),
            _ => return Err("the pickle sets an item of what is no dictionary".into()),
        }
        Ok(())
    }

    /// A call: an ordered dictionary is a dictionary, anything else stays a call.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, constructor) = (self.pop()?, self.pop()?);
        match self.values.get(constructor as usize) {
            Some(Value::Global(name)) if name == "collections.OrderedDict" => self.push(Value::Dict(Vec::new())),
            Some(Value::Global(_)) => self.push(Value::Call { constructor, arguments }),
            _ => Err("the pickle calls what is no class".into()),
        }
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let id = self.stack.last().copied().ok_or("the pickle takes from an empty stack")?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let id = self
            .memo
            .get(&key)
            .copied()
            .ok_or_else(|| format!("the pickle recalls value {key}, which is not there"))?;
        self.stack.push(id);
        Ok(())
    }

    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Step, String> {
        match cursor.u8()? {
            0x80 => drop(cursor.u8()?),
            0x95 => drop(cursor.u64()?),
            b'.' => return Ok(Step::Done),
            b'(' => self.push(Value::Mark)?,
            b'0' => drop(self.pop()?),
            b'N' | 0x88 | 0x89 => self.push(Value::Nothing)?,
            b'G' => {
                cursor.u64()?;
                self.push(Value::Nothing)?;
            }
            b'K' => {
                let value = cursor.u8()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = cursor.u16()?;
                self.push(Value::Int(value.into()))?;
            }
            b'J' => {
                let value = cursor.i32()?;
                self.push(Value::Int(value.into()))?;
            }
            0x8a => {
                let length = cursor.u8()?;
                let value = long(cursor.take(usize::from(length))?)?;
                self.push(Value::Int(value))?;
            }
            b'X' => {
                let length = cursor.u32()?;
                self.text(cursor.take(length as usize)?)?;
            }
            0x8c => {
                let length = cursor.u8()?;
                self.text(cursor.take(usize::from(length))?)?;
            }
            b'c' => {
                let (module, class) = (cursor.line()?, cursor.line()?);
                let name = format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(class));
                self.push(Value::Global(name))?;
            }
            0x93 => self.stack_global()?,
            b'q' => self.remember(cursor.u8()?.into())?,
            b'r' => self.remember(cursor.u32()?)?,
            0x94 => self.remember(u32::try_from(self.memo.len()).map_err(|_| "too many values")?)?,
            b'h' => self.recall(cursor.u8()?.into())?,
            b'j' => self.recall(cursor.u32()?)?,
            other => self.structure(other)?,
        }
        Ok(Step::Next)
    }

    /// The operations on tuples, lists and dictionaries.
    fn structure(&mut self, operation: u8) -> Result<(), String> {
        match operation {
            b')' | b']' => self.push(Value::Sequence(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' | b'l' => {
                let members = self.above_mark()?;
                self.push(Value::Sequence(members))
            }
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b'a' => {
                let member = self.pop()?;
                self.append(vec![member])
            }
            b'e' => {
                let members = self.above_mark()?;
                self.append(members)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])
            }
            b'u' => {
                let members = self.above_mark()?;
                self.set(&members)
            }
            b'R' | 0x81 => self.reduce(),
            // State that is set on a value (the metadata of a module's dictionary) is left out.
            b'b' => self.pop().map(drop),
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))
            }
            other => Err(format!("pickle operation {other:#04x} is none that a file of tensors needs")),
        }
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?;
        self.push(Value::Text(text.to_owned()))
    }

    fn stack_global(&mut self) -> Result<(), String> {
        let (class, module) = (self.pop()?, self.pop()?);
        let name = match (self.values.get(module as usize), self.values.get(class as usize)) {
            (Some(Value::Text(module)), Some(Value::Text(class))) => format!("{module}.{class}"),
            _ => return Err("the pickle names a class by what is no text".into()),
        };
        self.push(Value::Global(name))
    }
}

/// A little-endian number in two's complement; what does not fit into 64 bits is refused.
fn long(bytes: &[u8]) -> Result<i64, String> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut wide = [fill; 16];
    let low = wide.get_mut(..bytes.len()).ok_or("a number of more than 128 bits")?;
    low.copy_from_slice(bytes);
    // The magic number of old files has 80 bits and is of no use here.
    Ok(i64::try_from(i128::from_le_bytes(wide)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_nest_is_no_recursion() {
        let mut bytes = vec![b')'];
        bytes.extend(std::iter::repeat_n(0x85, 1_000_000));
        bytes.push(b'.');
        let pickle = Pickle::read(&mut Cursor::at(&bytes, 0)).expect("value");
        assert_eq!(pickle.members(pickle.root).map(<[Id]>::len), Some(1));
    }

    #[test]
    fn numbers_and_damage() {
        let read = |bytes: &[u8]| Pickle::read(&mut Cursor::at(bytes, 0)).map(|pickle| pickle.get(pickle.root).clone());
        assert_eq!(read(b"\x8a\x02\x00\xff."), Ok(Value::Int(-256)));
        assert_eq!(read(b"\x8a\x01\x05."), Ok(Value::Int(5)));
        assert_eq!(read(b"J\xff\xff\xff\xff."), Ok(Value::Int(-1)));
        for bad in [&b"X\xff\xff\xff\x7fabc."[..], b"h\x01.", b"t.", b"R.", b"\x85.", b".", b"", b"i.", b"NNs.", b"Na."]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
