//! Rows as ClickHouse's RowBinary, with what each column turned out to be on the wire.
//!
//! A batch is turned into bytes once: the same bytes are sent, sent again, spooled, read back after a restart and bisected. So the
//! bytes must be understood without the structs that they came of: beside a column's name stands its [`Kind`], found while the rows
//! are written, and by it rows are told apart ([`row_ends`]), shown to people ([`row_json`]), and compared with the table's own
//! column types ([`Kind::fits`]) before a byte of them is sent.
//!
//! Only what our rows have: integers, doubles, strings; `Nullable` and `Array` of these; `Map(String, …)`. Anything else is an error
//! at the first row.

mod encode;
mod read;

pub(crate) use encode::Encoder;
pub(crate) use read::{row_ends, row_json};

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

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
