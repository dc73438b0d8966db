//! Rows out of bytes, by their columns' kinds.

use serde_json::{Map, Value, json};

use super::{Column, Kind, Leaf, Wrap};

/// Where each row ends. `None`: the bytes are not rows of these columns.
pub(crate) fn row_ends(columns: &[Column], bytes: &[u8], rows: u32) -> Option<Vec<usize>> {
    let mut reader = Reader { bytes, at: 0 };
    let mut ends = Vec::with_capacity(rows as usize);
    for _ in 0..rows {
        for column in columns {
            reader.column(column.kind, None)?;
        }
        ends.push(reader.at);
    }
    (reader.at == bytes.len()).then_some(ends)
}

/// A row by its columns' names.
pub(crate) fn row_json(columns: &[Column], row: &[u8]) -> Option<Value> {
    let mut reader = Reader { bytes: row, at: 0 };
    let mut object = Map::new();
    for column in columns {
        let mut value = Value::Null;
        reader.column(column.kind, Some(&mut value))?;
        object.insert(column.name.clone(), value);
    }
    Some(Value::Object(object))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(length).ok();
            }
        }
        None
    }

    fn column(&mut self, kind: Kind, mut value: Option<&mut Value>) -> Option<()> {
        match kind.wrap {
            Wrap::Plain => self.leaf(kind.leaf, value),
            Wrap::Nullable => match self.take(1)?[0] {
                0 => self.leaf(kind.leaf, value),
                1 => Some(()),
                _ => None,
            },
            Wrap::Array | Wrap::Map => {
                let length = self.length()?;
                let mut list = Vec::new();
                for _ in 0..length {
                    let (mut key, mut element) = (Value::Null, Value::Null);
                    if kind.wrap == Wrap::Map {
                        self.leaf(Leaf::Text, value.is_some().then_some(&mut key))?;
                    }
                    self.leaf(kind.leaf, value.is_some().then_some(&mut element))?;
                    if value.is_some() {
                        list.push(if kind.wrap == Wrap::Map { json!([key, element]) } else { element });
                    }
                }
                if let Some(value) = &mut value {
                    **value = Value::Array(list);
                }
                Some(())
            }
        }
    }

    fn leaf(&mut self, leaf: Leaf, value: Option<&mut Value>) -> Option<()> {
        let length = match leaf {
            Leaf::Unknown => return None, // nothing of it was ever written
            Leaf::I8 | Leaf::U8 => 1,
            Leaf::U16 => 2,
            Leaf::I32 | Leaf::U32 => 4,
            Leaf::I64 | Leaf::U64 | Leaf::F64 => 8,
            Leaf::Text => self.length()?,
        };
        let bytes = self.take(length)?;
        let Some(value) = value else { return Some(()) };
        let mut eight = [0; 8];
        if leaf != Leaf::Text {
            eight[..length].copy_from_slice(bytes);
        }
        let number = u64::from_le_bytes(eight);
        *value = match leaf {
            Leaf::I8 => json!(number as u8 as i8),
            Leaf::I32 => json!(number as u32 as i32),
            Leaf::I64 => json!(number as i64),
            Leaf::F64 => json!(f64::from_bits(number)),
            Leaf::Text => json!(String::from_utf8_lossy(bytes)),
            Leaf::Unknown | Leaf::U8 | Leaf::U16 | Leaf::U32 | Leaf::U64 => json!(number),
        };
        Some(())
    }
}
