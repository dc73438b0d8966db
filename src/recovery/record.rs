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

/// A record's kind: more of the same quantum follows.
pub(super) const PART: u8 = 1;
/// A record's kind: with it the quantum is complete.
pub(super) const QUANTUM: u8 = 2;

/// A record is cut here; the journal takes 16 MiB.
const PART_BYTES_MAX: usize = 8 << 20;
/// Rows that are encoded before the length is looked at.
const ROWS_AT_ONCE: usize = 4_096;

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
}

impl Encoder {
    pub fn new(named: Arc<Mutex<HashSet<InstrumentId>>>) -> Self {
        Self { named }
    }

    /// The quantum's records, each with its kind. Empty: it holds nothing that must be kept.
    pub fn encode(&self, bundle: &mut Bundle, instruments: &Instruments) -> anyhow::Result<Vec<(u8, Vec<u8>)>> {
        let mut record = Record { clocks: std::mem::take(&mut bundle.clocks), ..Record::default() };
        let kept = |entry: &&Entry| !matches!(entry, Entry::Row(EdgeRow::Alert(_) | EdgeRow::Model(_)));
        for entry in bundle.entries.iter().filter(kept) {
            record.entries.push(serde_json::to_string(entry)?);
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        let mut rows = std::mem::take(&mut bundle.base).into_iter();
        loop {
            record.rows.extend(rows.by_ref().take(ROWS_AT_ONCE));
            for row in &record.rows {
                if named.insert(row.instrument())
                    && let Some(instrument) = instruments.get(row.instrument())
                {
                    record.names.push((instrument.venue, instrument.symbol.clone()));
                }
            }
            let is_last = rows.len() == 0;
            if is_last && records.is_empty() && record.rows.is_empty() && record.clocks.is_empty() && record.entries.is_empty() {
                return Ok(records);
            }
            // A row takes far less than 200 bytes; entries (texts of at most 4 KiB) are looked at whole.
            let entries_bytes: usize = record.entries.iter().map(String::len).sum();
            if is_last || record.rows.len() * 200 + entries_bytes > PART_BYTES_MAX {
                records.push((if is_last { QUANTUM } else { PART }, record.encode()?));
                record = Record { part: record.part + 1, ..Record::default() };
            }
            if is_last {
                return Ok(records);
            }
        }
    }
}
