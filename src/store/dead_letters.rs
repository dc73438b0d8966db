//! Dead letters: rows that ClickHouse refuses whatever is done, kept in a file for people to look at.
//!
//! `dead_letter/rows.jsonl` in the spool's directory, one JSON object a line: `at_ms`, `table`, `reason`, `row` (by column), and `hex`,
//! the row's RowBinary, from which it can be inserted again once the cause is mended. A line is on the disk before the row counts as dealt with;
//! one that a kill cut off stays as it is, and the next begins on a line of its own.
//! Limit: two files of [`FILE_BYTES_MAX`]; when the second is full the older one goes, with an ERROR that says so.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::StoreError;
use super::batch::Batch;
use super::migrate::hex;
use super::row_binary::row_json;
use crate::clock;

/// Of `rows.jsonl`, and of `rows.jsonl.1`, the older one.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// Where the rows go that can't be stored.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    path: PathBuf,
    count: AtomicU64,
    only: Mutex<()>,
}

impl DeadLetters {
    pub fn in_dir(spool_dir: &Path) -> Self {
        Self { path: spool_dir.join("dead_letter").join("rows.jsonl"), count: AtomicU64::new(0), only: Mutex::new(()) }
    }

    /// How many there were in this run.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Writes rows (ranges of the batch's bytes, with ClickHouse's words about each), durably.
    pub fn write(&self, batch: &Batch, rows: &[(std::ops::Range<usize>, String)]) -> Result<(), StoreError> {
        let mut lines = Vec::new();
        for (range, reason) in rows {
            let row = &batch.bytes[range.clone()];
            let line = json!({
                "at_ms": clock::now_ms(),
                "table": batch.table,
                "reason": reason,
                "row": row_json(&batch.columns, row),
                "hex": hex(row),
            });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        let _only = self.only.lock().unwrap_or_else(PoisonError::into_inner);
        self.append(&lines).map_err(StoreError::io("can't write rows that ClickHouse refuses to", &self.path))?;
        self.count.fetch_add(rows.len() as u64, Ordering::Relaxed);
        let (table, file) = (&batch.table, self.path.display());
        for (_, reason) in rows {
            tracing::error!(%table, %file, reason, "ClickHouse refuses a row; it is kept as a dead letter, the others are stored");
        }
        Ok(())
    }

    fn append(&self, lines: &[u8]) -> std::io::Result<()> {
        let older = self.path.with_extension("jsonl.1");
        let dir = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        let open = || File::options().create(true).read(true).append(true).open(&self.path);
        let mut file = open()?;
        if file.metadata()?.len() + lines.len() as u64 > FILE_BYTES_MAX {
            if older.exists() {
                tracing::error!(file = %older.display(), "the dead letters are full: the older file goes");
            }
            std::fs::rename(&self.path, &older)?;
            file = open()?;
        }
        let is_new = file.metadata()?.len() == 0;
        if is_torn(&mut file)? {
            file.write_all(b"\n")?;
        }
        file.write_all(lines)?;
        file.sync_all()?;
        if is_new {
            // A new name is durable once its directory is, and so is the directory's own.
            for dir in dir.ancestors().take(2).filter(|dir| !dir.as_os_str().is_empty()) {
                File::open(dir)?.sync_all()?;
            }
        }
        Ok(())
    }
}

/// The last line has no end.
fn is_torn(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::batch::tests::batch;
    use super::super::row_binary::row_ends;
    use super::*;

    #[test]
    fn a_letter_can_be_read_and_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let letters = DeadLetters::in_dir(dir.path());
        let batch = batch("bars_changes", 40, 43, 4);
        let ends = row_ends(&batch.columns, &batch.bytes, batch.rows).unwrap();
        letters.write(&batch, &[(ends[0]..ends[1], "Code: 469. no".into())]).unwrap();
        let text = std::fs::read_to_string(dir.path().join("dead_letter/rows.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["table"], &line["row"]), (&json!("bars_changes"), &json!({"number": 41, "text": "  41"})));
        assert_eq!(line["hex"], "29000000000000000420203431");
        assert_eq!(letters.count(), 1);
    }

    #[test]
    fn a_letter_after_a_torn_one_has_its_own_line() {
        let dir = tempfile::tempdir().unwrap();
        let letters = DeadLetters::in_dir(dir.path());
        let batch = batch("bars_changes", 40, 41, 4);
        let write = || letters.write(&batch, &[(0..batch.bytes.len(), "no".into())]).unwrap();
        let path = dir.path().join("dead_letter/rows.jsonl");
        write();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..20])).unwrap();
        write();
        write();
        let text = std::fs::read_to_string(&path).unwrap();
        let good = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
        assert_eq!(good.collect::<Vec<_>>(), [true, false, true, true], "{text}");
    }
}
