//! Rows into bytes, by way of serde, noting what each column is.

use serde::ser::{self, Impossible, Serialize};

use super::super::StoreError;
use super::{Column, Kind, Leaf, WRAPS, Wrap, put_length, put_text};

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
