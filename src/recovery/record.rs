//! A record: one quantum of what entered, as bytes.
//!
//! Rows and clock records are written by postcard (varints; a partial takes some 60 bytes), what is rare as JSON, which a later
//! version can still read when it has more fields. A quantum that is larger than [`PART_BYTES_MAX`] lies in several records, all but the last of kind
//! [`PART`]; parts without a last one are dropped: the quantum was not complete. An instrument's name comes with its first row in this journal.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::model::{BaseRow, Clock, InstrumentId, Instruments, Venue};
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::engine::Bundle;
use crate::store::edge::EdgeRow;

// The kind is the form's version, too: bytes of another form get other kinds.

/// A record's kind: more of the same quantum follows.
pub(super) const PART: u8 = 1;
/// A record's kind: with it the quantum is complete.
pub(super) const QUANTUM: u8 = 2;

/// A record is cut here; the journal takes 16 MiB.
const PART_BYTES_MAX: usize = 8 << 20;
/// A row takes less, its instrument's name included.
const ROW_BYTES_MAX: usize = 250;

/// What a record holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// Which of the quantum's records, from 0. With 0 a quantum begins, whatever parts of another lie before it.
    pub part: u32,
    /// Instruments that no record before named.
    pub names: Vec<(Venue, String)>,
    pub rows: Vec<BaseRow>,
    pub clocks: Vec<Clock>,
    /// JSON, each an [`Entry`].
    pub entries: Vec<String>,
}

impl Record {
    /// # Errors
    /// If the bytes are of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }
}

/// Turns quanta into records.
pub(super) struct Encoder {
    /// Whose names are in the journal. Whoever restores an earlier run adds to it.
    named: Arc<Mutex<HashSet<InstrumentId>>>,
    /// A quantum that holds nothing has a record, too: with several processes it says that this one has nothing to add.
    keeps_empty: bool,
}

impl Encoder {
    pub fn new(named: Arc<Mutex<HashSet<InstrumentId>>>, keeps_empty: bool) -> Self {
        Self { named, keeps_empty }
    }

    /// The quantum's records, each with its kind. None: it holds nothing that must be kept.
    pub fn encode(&self, bundle: &mut Bundle, instruments: &Instruments) -> anyhow::Result<Vec<(u8, Vec<u8>)>> {
        let mut parts =
            Parts { record: Record { clocks: std::mem::take(&mut bundle.clocks), ..Record::default() }, ..Parts::default() };
        let kept = |entry: &&Entry| !matches!(entry, Entry::Row(EdgeRow::Alert(_) | EdgeRow::Model(_)));
        for entry in bundle.entries.iter().filter(kept) {
            let text = serde_json::to_string(entry)?;
            parts.make_room(text.len())?;
            parts.record.entries.push(text);
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        for row in std::mem::take(&mut bundle.base) {
            parts.make_room(ROW_BYTES_MAX)?;
            if named.insert(row.instrument())
                && let Some(instrument) = instruments.get(row.instrument())
            {
                parts.record.names.push((instrument.venue, instrument.symbol.clone()));
            }
            parts.record.rows.push(row);
        }
        parts.end(self.keeps_empty)
    }
}

/// The records of one quantum, as they are filled.
#[derive(Default)]
struct Parts {
    full: Vec<(u8, Vec<u8>)>,
    record: Record,
    /// What `record` takes, at most.
    bytes: usize,
}

impl Parts {
    /// For so many bytes.
    fn make_room(&mut self, bytes: usize) -> Result<(), postcard::Error> {
        if self.bytes > 0 && self.bytes + bytes > PART_BYTES_MAX {
            let next = Record { part: self.record.part + 1, ..Record::default() };
            self.full.push((PART, std::mem::replace(&mut self.record, next).encode()?));
            self.bytes = 0;
        }
        self.bytes += bytes;
        Ok(())
    }

    fn end(mut self, keeps_empty: bool) -> anyhow::Result<Vec<(u8, Vec<u8>)>> {
        if keeps_empty || self.record.part > 0 || self.bytes > 0 || !self.record.clocks.is_empty() {
            self.full.push((QUANTUM, self.record.encode()?));
        }
        Ok(self.full)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn encoded(keeps_empty: bool, clocks: &[Clock]) -> Vec<(u8, Vec<u8>)> {
        let mut bundle = Bundle { clocks: clocks.to_vec(), ..Bundle::default() };
        Encoder::new(Arc::default(), keeps_empty).encode(&mut bundle, &Instruments::default()).unwrap()
    }

    #[test]
    fn a_quantum_without_anything_has_a_record_where_others_wait_for_it() {
        assert_eq!(encoded(false, &[]), []);
        for (keeps_empty, clocks) in [(true, &[][..]), (false, &[Clock::Flush]), (true, &[Clock::Flush])] {
            let records = encoded(keeps_empty, clocks);
            let [(QUANTUM, bytes)] = &records[..] else { panic!("{records:?}") };
            let record = Record::decode(bytes).unwrap();
            assert_eq!((record.part, record.clocks.as_slice(), record.rows.len()), (0, clocks, 0));
        }
    }
}
