//! Batches: rows of one table as bytes; and parcels: batches as they lie in the spool.
//!
//! A parcel needs nothing but itself to be inserted: no registry of instruments, no struct of this version of the program. Its bytes:
//! rows (u32), bytes when unpacked (u32), then one zstd frame of batches. A batch: table, columns (name, kind), rows (u32), earliest
//! knowledge time (u64), length (u32), RowBinary. Numbers are little-endian, texts a length (u16) and UTF-8.

use std::borrow::Cow;

use super::row_binary::{Column, Kind, row_ends};

/// The form above, as the journal's kind of record.
pub(crate) const PARCEL_KIND: u8 = 1;
/// A parcel holds so many bytes when unpacked, or a single row.
pub(crate) const PARCEL_BYTES_MAX: usize = 4 << 20;
/// What a parcel may say that it unpacks to: a row has 16 MiB at most.
const UNPACKED_BYTES_MAX: usize = 20 << 20;
/// Rows compress to a third at the cheapest level; dearer ones would win a few per cent for twice the time.
const ZSTD_LEVEL: i32 = 1;

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub table: Cow<'static, str>,
    pub columns: Vec<Column>,
    pub rows: u32,
    /// Of the first quantum in it, UTC ms.
    pub known_at: u64,
    /// RowBinary.
    pub bytes: Vec<u8>,
}

impl Batch {
    /// Cut so that no piece has more bytes than that, a single larger row aside. `None`: the bytes are no rows of these columns.
    pub fn split(self, bytes_max: usize) -> Option<Vec<Self>> {
        if self.bytes.len() <= bytes_max {
            return Some(vec![self]);
        }
        let ends = row_ends(&self.columns, &self.bytes, self.rows)?;
        let (mut pieces, mut from, mut first) = (Vec::new(), 0, 0);
        for (row, &end) in ends.iter().enumerate() {
            let next_end = ends.get(row + 1).copied().unwrap_or(usize::MAX);
            if next_end - from > bytes_max {
                pieces.push(self.piece(first, row + 1, from, end));
                (from, first) = (end, row + 1);
            }
        }
        Some(pieces)
    }

    fn piece(&self, first: usize, after: usize, from: usize, to: usize) -> Self {
        Self {
            table: self.table.clone(),
            columns: self.columns.clone(),
            rows: (after - first) as u32,
            known_at: self.known_at,
            bytes: self.bytes[from..to].to_vec(),
        }
    }

    /// Takes the rows of another batch, unless it is of another table or has other columns (another version of the program wrote it).
    pub fn merge(&mut self, other: &Self) -> bool {
        let merged = self.columns.iter().zip(&other.columns).map(|(ours, theirs)| {
            let kind = (ours.name == theirs.name).then(|| ours.kind.with(theirs.kind))??;
            Some(Column { name: ours.name.clone(), kind })
        });
        let Some(columns) = merged.collect::<Option<Vec<_>>>() else { return false };
        if self.table != other.table || self.columns.len() != other.columns.len() {
            return false;
        }
        self.columns = columns;
        self.rows += other.rows;
        self.known_at = self.known_at.min(other.known_at);
        self.bytes.extend_from_slice(&other.bytes);
        true
    }
}

/// Batches, packed.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub rows: u32,
    /// Of the first quantum in it, UTC ms.
    pub known_at: u64,
    pub payload: Vec<u8>,
}

/// Packs batches into as many parcels as it takes. `None`: some bytes are no rows of their columns.
pub(crate) fn pack(batches: Vec<Batch>) -> Option<Vec<Parcel>> {
    let (mut parcels, mut raw, mut rows, mut known_at) = (Vec::new(), Vec::new(), 0, u64::MAX);
    for batch in batches {
        for piece in batch.split(PARCEL_BYTES_MAX)? {
            if !raw.is_empty() && raw.len() + piece.bytes.len() > PARCEL_BYTES_MAX {
                parcels.push(Parcel { rows, known_at, payload: compress(rows, &raw)? });
                raw.clear();
                (rows, known_at) = (0, u64::MAX);
            }
            write(&mut raw, &piece);
            rows += piece.rows;
            known_at = known_at.min(piece.known_at);
        }
    }
    if !raw.is_empty() {
        parcels.push(Parcel { rows, known_at, payload: compress(rows, &raw)? });
    }
    Some(parcels)
}

fn compress(rows: u32, raw: &[u8]) -> Option<Vec<u8>> {
    let packed = zstd::bulk::compress(raw, ZSTD_LEVEL).ok()?; // fails for want of memory only
    let mut payload = Vec::with_capacity(packed.len() + 8);
    payload.extend_from_slice(&rows.to_le_bytes());
    payload.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    payload.extend_from_slice(&packed);
    Some(payload)
}

fn write(raw: &mut Vec<u8>, batch: &Batch) {
    let text = |raw: &mut Vec<u8>, text: &str| {
        raw.extend_from_slice(&(text.len() as u16).to_le_bytes()); // names of ours
        raw.extend_from_slice(text.as_bytes());
    };
    text(raw, &batch.table);
    raw.extend_from_slice(&(batch.columns.len() as u16).to_le_bytes());
    for column in &batch.columns {
        text(raw, &column.name);
        raw.push(column.kind.to_byte());
    }
    raw.extend_from_slice(&batch.rows.to_le_bytes());
    raw.extend_from_slice(&batch.known_at.to_le_bytes());
    raw.extend_from_slice(&(batch.bytes.len() as u32).to_le_bytes());
    raw.extend_from_slice(&batch.bytes);
}

/// Rows, and bytes when unpacked, as a payload's head says.
pub(crate) fn head(payload: &[u8]) -> Option<(u32, usize)> {
    let mut rest = payload;
    let (rows, bytes) = (u32::from_le_bytes(take(&mut rest)?), u32::from_le_bytes(take(&mut rest)?) as usize);
    (bytes <= UNPACKED_BYTES_MAX).then_some((rows, bytes))
}

/// The batches of a payload. `None`: it is none of ours.
pub(crate) fn unpack(payload: &[u8]) -> Option<Vec<Batch>> {
    let (_, bytes) = head(payload)?;
    let raw = zstd::bulk::decompress(&payload[8..], bytes).ok()?;
    let (mut rest, mut batches) = (raw.as_slice(), Vec::new());
    while !rest.is_empty() {
        batches.push(read(&mut rest)?);
    }
    Some(batches)
}

fn read(rest: &mut &[u8]) -> Option<Batch> {
    let table = text(rest)?;
    let columns = (0..u16::from_le_bytes(take(rest)?))
        .map(|_| Some(Column { name: text(rest)?, kind: Kind::of_byte(take::<1>(rest)?[0])? }))
        .collect::<Option<Vec<_>>>()?;
    let (rows, known_at) = (u32::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Batch { table: table.into(), columns, rows, known_at, bytes: bytes.to_vec() })
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = u16::from_le_bytes(take(rest)?);
    let (text, after) = rest.split_at_checked(usize::from(length))?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::row_binary::Encoder;
    use super::*;

    #[derive(serde::Serialize)]
    struct Row {
        number: u64,
        text: String,
    }

    /// Rows `from..to`, with texts of so many bytes.
    pub(crate) fn batch(table: &'static str, from: u64, to: u64, text_bytes: usize) -> Batch {
        let mut encoder = Encoder::default();
        for number in from..to {
            encoder.row(&Row { number, text: format!("{number:>text_bytes$}") }).unwrap();
        }
        let Encoder { bytes, columns, rows, .. } = encoder;
        Batch { table: table.into(), columns, rows, known_at: from, bytes }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let batches = vec![batch("a", 5, 10, 3), batch("b", 2, 4, 300)];
        let parcels = pack(batches.clone()).unwrap();
        assert_eq!(parcels.len(), 1);
        assert_eq!((parcels[0].rows, parcels[0].known_at), (7, 2));
        assert_eq!(head(&parcels[0].payload).unwrap().0, 7);
        assert_eq!(unpack(&parcels[0].payload).unwrap(), batches);
        assert_eq!(unpack(&parcels[0].payload[..20]), None, "cut");
    }

    #[test]
    fn a_large_batch_is_cut_at_rows() {
        let whole = batch("a", 0, 1_000, 10_000);
        let parcels = pack(vec![whole.clone()]).unwrap();
        assert!(parcels.len() >= 3, "{}", parcels.len());
        let mut again: Option<Batch> = None;
        for piece in parcels.iter().flat_map(|parcel| unpack(&parcel.payload).unwrap()) {
            assert!(piece.bytes.len() <= PARCEL_BYTES_MAX);
            match &mut again {
                Some(batch) => assert!(batch.merge(&piece)),
                None => again = Some(piece),
            }
        }
        assert_eq!(again.unwrap(), whole);
        assert!(!batch("a", 0, 1, 1).merge(&batch("b", 0, 1, 1)), "another table");
        assert_eq!(batch("a", 0, 3, 100).split(1).unwrap().len(), 3, "rows are not cut");
    }
}
