//! Rows as ClickHouse's RowBinary, with what each column turned out to be on the wire.
//!
//! A batch is turned into bytes once: the same bytes are sent, sent again, spooled, read back after a restart and bisected. So the
//! bytes must be understood without the structs that they came of: beside a column's name stands its [`Kind`], found while the rows
//! are written, and by it rows are told apart ([`row_ends`]), shown to people ([`row_json`]), and compared with the table's own
//! column types ([`Kind::fits`]) before a byte of them is sent.
//!
//! Only what our rows have: integers, doubles, strings; `Nullable` and `Array` of these; `Map(String, …)`. Anything else is an error
//! at the first row.

use serde::ser::{self, Impossible, Serialize};
use serde_json::{Map, Value, json};

use super::StoreError;

/// What a column's values are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    wrap: Wrap,
    leaf: Leaf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Plain,
    Nullable,
    Array,
    Map,
}

/// `Unknown`: there were only nulls, or empty lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    Unknown,
    I8,
    U8,
    U16,
    I32,
    U32,
    I64,
    U64,
    F64,
    Text,
}

const WRAPS: [Wrap; 4] = [Wrap::Plain, Wrap::Nullable, Wrap::Array, Wrap::Map];
const LEAVES: [Leaf; 10] =
    [Leaf::Unknown, Leaf::I8, Leaf::U8, Leaf::U16, Leaf::I32, Leaf::U32, Leaf::I64, Leaf::U64, Leaf::F64, Leaf::Text];

impl Kind {
    /// One byte, for the spool.
    pub fn to_byte(self) -> u8 {
        (self.wrap as u8) << 4 | self.leaf as u8
    }

    pub fn of_byte(byte: u8) -> Option<Self> {
        let (wrap, leaf) = (*WRAPS.get(usize::from(byte >> 4))?, *LEAVES.get(usize::from(byte & 15))?);
        Some(Self { wrap, leaf })
    }

    /// Whether a column of this ClickHouse type takes these bytes.
    pub fn fits(self, column_type: &str) -> bool {
        let inside = |name: &str| column_type.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        let (wrap, inner) = if let Some(inner) = inside("Nullable") {
            (Wrap::Nullable, inner)
        } else if let Some(inner) = inside("Array") {
            (Wrap::Array, inner)
        } else if let Some(inner) = inside("Map").and_then(|inner| inner.strip_prefix("String, ")) {
            (Wrap::Map, inner)
        } else {
            (Wrap::Plain, column_type)
        };
        let leaf = match inner {
            "Int8" => Leaf::I8,
            "UInt8" | "Bool" => Leaf::U8,
            "UInt16" => Leaf::U16,
            "Int32" => Leaf::I32,
            "UInt32" => Leaf::U32,
            "Int64" => Leaf::I64,
            "UInt64" => Leaf::U64,
            "Float64" => Leaf::F64,
            "String" | "LowCardinality(String)" => Leaf::Text,
            other if other.starts_with("DateTime64(") => Leaf::I64,
            _ => return false,
        };
        // An empty map is an empty list of unknown things.
        let same_wrap = self.wrap == wrap || (self == Self { wrap: Wrap::Array, leaf: Leaf::Unknown } && wrap == Wrap::Map);
        same_wrap && (self.leaf == leaf || self.leaf == Leaf::Unknown)
    }

    /// The kind of a column that holds both.
    pub fn with(self, other: Self) -> Option<Self> {
        let empty = Self { wrap: Wrap::Array, leaf: Leaf::Unknown };
        match (self, other) {
            (a, b) if a == b => Some(a),
            (a, b) if a.wrap == b.wrap && a.leaf == Leaf::Unknown => Some(b),
            (a, b) if a.wrap == b.wrap && b.leaf == Leaf::Unknown => Some(a),
            (a, b) if a == empty && b.wrap == Wrap::Map => Some(b),
            (a, b) if b == empty && a.wrap == Wrap::Map => Some(a),
            _ => None,
        }
    }
}

/// A column of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub name: String,
    pub kind: Kind,
}

/// Turns rows into bytes.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub bytes: Vec<u8>,
    pub columns: Vec<Column>,
    pub rows: u32,
    at: usize,
    wrap: Option<Wrap>,
}

impl Encoder {
    /// Appends a row; all of them must be of one struct.
    pub fn row(&mut self, row: &impl Serialize) -> Result<(), StoreError> {
        self.at = 0;
        let written = row.serialize(&mut *self);
        written.map_err(|Unfit(what)| StoreError::Config(format!("a row can't be written: {what}; please report it")))?;
        self.rows += 1;
        Ok(())
    }

    fn note(&mut self, wrap: Wrap, leaf: Leaf) -> Result<(), Unfit> {
        let column = self.columns.get_mut(self.at).ok_or_else(|| Unfit("a value outside a struct".into()))?;
        let kind = Kind { wrap, leaf };
        column.kind =
            column.kind.with(kind).ok_or_else(|| Unfit(format!("column {} is {:?} and {kind:?}", column.name, column.kind)))?;
        Ok(())
    }

    fn leaf(&mut self, leaf: Leaf, bytes: &[u8]) -> Result<(), Unfit> {
        self.note(self.wrap.unwrap_or(Wrap::Plain), leaf)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn begin(&mut self, wrap: Wrap) -> Result<(), Unfit> {
        match self.wrap.replace(wrap) {
            None => self.note(wrap, Leaf::Unknown),
            Some(outer) => Err(Unfit(format!("{wrap:?} inside {outer:?}"))),
        }
    }
}

/// A type that no row of ours has.
#[derive(Debug)]
pub(crate) struct Unfit(String);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl ser::Error for Unfit {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! numbers {
    ($($method:ident($kind:ty) => $leaf:ident,)*) => {
        $(fn $method(self, value: $kind) -> Result<(), Unfit> {
            self.leaf(Leaf::$leaf, &value.to_le_bytes())
        })*
    };
}

macro_rules! refused {
    ($($method:ident($($kind:ty),*) -> $answer:ty,)*) => {
        $(fn $method(self, $(_: $kind),*) -> Result<$answer, Unfit> {
            Err(Unfit(stringify!($method).trim_start_matches("serialize_").to_owned()))
        })*
    };
}

type Never = Impossible<(), Unfit>;

impl<'a> ser::Serializer for &'a mut Encoder {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = List<'a>;
    type SerializeTuple = Pair<'a>;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Never;

    numbers! {
        serialize_i8(i8) => I8, serialize_u8(u8) => U8, serialize_u16(u16) => U16, serialize_i32(i32) => I32,
        serialize_u32(u32) => U32, serialize_i64(i64) => I64, serialize_u64(u64) => U64, serialize_f64(f64) => F64,
    }

    refused! {
        serialize_i16(i16) -> (), serialize_f32(f32) -> (), serialize_char(char) -> (), serialize_bytes(&[u8]) -> (),
        serialize_unit() -> (), serialize_unit_struct(&'static str) -> (),
        serialize_unit_variant(&'static str, u32, &'static str) -> (),
        serialize_tuple_struct(&'static str, usize) -> Never,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never,
        serialize_map(Option<usize>) -> Never,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never,
    }

    fn serialize_bool(self, value: bool) -> Result<(), Unfit> {
        self.leaf(Leaf::U8, &[u8::from(value)])
    }

    fn serialize_str(self, value: &str) -> Result<(), Unfit> {
        self.leaf(Leaf::Text, &[])?;
        put_text(&mut self.bytes, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unfit> {
        self.begin(Wrap::Nullable)?;
        self.wrap = None;
        self.bytes.push(1);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unfit> {
        self.begin(Wrap::Nullable)?;
        self.bytes.push(0);
        value.serialize(&mut *self)?;
        self.wrap = None;
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unfit> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unfit> {
        Err(Unfit(format!("the variant of {name}")))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<List<'a>, Unfit> {
        self.begin(Wrap::Array)?;
        put_length(&mut self.bytes, len.ok_or_else(|| Unfit("a list of unknown length".into()))?);
        Ok(List(self))
    }

    /// An entry of a map: its key, which must be text, and its value.
    fn serialize_tuple(self, len: usize) -> Result<Pair<'a>, Unfit> {
        if len != 2 || self.wrap != Some(Wrap::Array) && self.wrap != Some(Wrap::Map) {
            return Err(Unfit(format!("a tuple of {len}")));
        }
        self.wrap = Some(Wrap::Map);
        Ok(Pair { encoder: self, key: true })
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Fields<'a>, Unfit> {
        if self.at > 0 || self.wrap.is_some() {
            return Err(Unfit("a struct inside a struct".into()));
        }
        Ok(Fields { first: self.columns.is_empty(), encoder: self, len })
    }
}

pub(crate) struct List<'a>(&'a mut Encoder);

impl ser::SerializeSeq for List<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        value.serialize(&mut *self.0)
    }

    fn end(self) -> Result<(), Unfit> {
        self.0.wrap = None;
        Ok(())
    }
}

pub(crate) struct Pair<'a> {
    encoder: &'a mut Encoder,
    key: bool,
}

impl ser::SerializeTuple for Pair<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        if !std::mem::take(&mut self.key) {
            return value.serialize(&mut *self.encoder);
        }
        let mut key = Encoder { columns: vec![Column { name: String::new(), kind: UNKNOWN }], ..Encoder::default() };
        value.serialize(&mut key)?;
        if key.columns[0].kind.leaf != Leaf::Text {
            return Err(Unfit("a map's key that is no text".into()));
        }
        self.encoder.bytes.append(&mut key.bytes);
        Ok(())
    }

    fn end(self) -> Result<(), Unfit> {
        Ok(())
    }
}

const UNKNOWN: Kind = Kind { wrap: Wrap::Plain, leaf: Leaf::Unknown };

pub(crate) struct Fields<'a> {
    encoder: &'a mut Encoder,
    first: bool,
    len: usize,
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unfit> {
        if self.first {
            let kind = kind_of(value)?;
            self.encoder.columns.reserve_exact(if self.encoder.at == 0 { self.len } else { 0 });
            self.encoder.columns.push(Column { name: name.to_owned(), kind });
        }
        value.serialize(&mut *self.encoder)?;
        self.encoder.at += 1;
        Ok(())
    }

    fn end(self) -> Result<(), Unfit> {
        let columns = self.encoder.columns.len();
        if self.encoder.at == columns { Ok(()) } else { Err(Unfit(format!("{} of {columns} columns", self.encoder.at))) }
    }
}

/// Of a first value. `UNKNOWN` merges with plain kinds only, so the wrapping must be known before.
fn kind_of<T: Serialize + ?Sized>(value: &T) -> Result<Kind, Unfit> {
    for wrap in WRAPS {
        let column = Column { name: String::new(), kind: Kind { wrap, leaf: Leaf::Unknown } };
        let mut probe = Encoder { columns: vec![column], ..Encoder::default() };
        if value.serialize(&mut probe).is_ok() {
            return Ok(probe.columns[0].kind);
        }
    }
    Err(Unfit("a value of a type that no column has".into()))
}

fn put_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// A string as RowBinary has it, also in the header of names and types.
pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// The header of RowBinaryWithNamesAndTypes.
pub(crate) fn header<'a>(columns: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1_024);
    put_length(&mut bytes, columns.len());
    columns.clone().for_each(|(name, _)| put_text(&mut bytes, name));
    columns.for_each(|(_, column_type)| put_text(&mut bytes, column_type));
    bytes
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Row<'a> {
        name: &'a str,
        ts: i64,
        price: f64,
        gone: Option<f64>,
        labels: Vec<&'a str>,
        share: Vec<(String, f64)>,
        diff: i8,
    }

    fn rows() -> Encoder {
        let mut encoder = Encoder::default();
        let none = Row { name: "a", ts: -1, price: 0.5, gone: None, labels: vec![], share: vec![], diff: 1 };
        let some = Row {
            name: "größer",
            ts: 7,
            price: -2.0,
            gone: Some(3.0),
            labels: vec!["x", "yy"],
            share: vec![("k".into(), 0.25)],
            diff: -1,
        };
        for row in [&none, &some, &none] {
            encoder.row(row).unwrap();
        }
        encoder
    }

    #[test]
    fn rows_are_told_apart_and_shown() {
        let encoder = rows();
        let ends = row_ends(&encoder.columns, &encoder.bytes, 3).unwrap();
        let second = row_json(&encoder.columns, &encoder.bytes[ends[0]..ends[1]]).unwrap();
        let expected = json!({"name": "größer", "ts": 7, "price": -2.0, "gone": 3.0, "labels": ["x", "yy"], "share": [["k", 0.25]], "diff": -1});
        assert_eq!(second, expected);
        assert_eq!(row_ends(&encoder.columns, &encoder.bytes[..encoder.bytes.len() - 1], 3), None, "cut");
        assert_eq!(row_ends(&encoder.columns, &encoder.bytes, 2), None, "too much");
    }

    #[test]
    fn a_column_takes_what_it_is() {
        let encoder = rows();
        let types = [
            ("LowCardinality(String)", "Float64"),
            ("DateTime64(3, 'UTC')", "Float64"),
            ("Float64", "Nullable(Float64)"),
            ("Nullable(Float64)", "Float64"),
            ("Array(String)", "Array(Float64)"),
            ("Map(String, Float64)", "Array(Float64)"),
            ("Int8", "UInt8"),
        ];
        for (column, (right, wrong)) in encoder.columns.iter().zip(types) {
            assert!(column.kind.fits(right) && !column.kind.fits(wrong), "{column:?}");
            assert_eq!(Kind::of_byte(column.kind.to_byte()), Some(column.kind));
        }
        assert_eq!(Kind::of_byte(0xff), None);
    }

    #[test]
    fn a_type_that_no_column_has_is_refused() {
        #[derive(serde::Serialize)]
        struct Odd {
            letter: char,
        }
        assert!(Encoder::default().row(&Odd { letter: 'x' }).is_err());
    }
}
