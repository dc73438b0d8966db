//! The canonical dump: what is true now, as text that is equal whenever the answer is equal.
//!
//! Per view: a line of column names, then the rows sorted by key, tab-separated, doubles with ten significant digits, NULL
//! as `\N`. A sha256 over that text per view, and one over the views' hashes; views about arrival are dumped but not part of it.
//! `known_at` is no column of a view (where it is not its key), so neither batching nor the order of arrival shows. It streams.

use std::io::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::migrate::hex;
use super::views::View;
use super::{Store, StoreError};

/// One view's dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewDump {
    /// Its name.
    pub view: &'static str,
    /// Rows in it.
    pub rows: u64,
    /// Of its text, hex.
    pub sha256: String,
    /// Not part of the overall hash.
    pub about_arrival: bool,
}

/// Writes one view's text to `out` and returns its hash.
///
/// # Errors
/// What ClickHouse says, or [`StoreError::Io`] if `out` fails.
pub async fn view(store: &Store, view: &View, out: &mut (dyn Write + Send)) -> Result<ViewDump, StoreError> {
    let what = || format!("reading view {}", view.name);
    let condition = view.of_arrival.map(|rows| format!(" WHERE NOT ({rows})")).unwrap_or_default();
    let sql = format!("SELECT * FROM {}{condition} ORDER BY {}", view.name, view.key.join(", "));
    let query = store.client().query_raw(&sql).with_setting("max_bytes_before_external_sort", "500000000");
    let mut cursor = query.fetch_bytes("TabSeparatedWithNamesAndTypes").map_err(|e| StoreError::of(what(), &e))?;
    let mut text = Canonical::default();
    while let Some(chunk) = cursor.next().await.map_err(|e| StoreError::of(what(), &e))? {
        text.read(&chunk);
        out.write_all(&text.ready).map_err(StoreError::io("can't write the dump of", view.name))?;
        text.hash.update(&text.ready);
        text.ready.clear();
    }
    Ok(ViewDump {
        view: view.name,
        rows: text.lines.saturating_sub(2),
        sha256: hex(&text.hash.finalize()),
        about_arrival: view.about_arrival,
    })
}

/// The hash over all views that don't speak about arrival.
#[must_use]
pub fn overall(dumps: &[ViewDump]) -> String {
    let mut hash = Sha256::new();
    for dump in dumps.iter().filter(|dump| !dump.about_arrival) {
        hash.update(format!("{} {}\n", dump.view, dump.sha256));
    }
    hex(&hash.finalize())
}

/// Turns ClickHouse's lines into canonical ones, chunk by chunk.
#[derive(Default)]
struct Canonical {
    /// The beginning of a line whose end has not come yet.
    torn: Vec<u8>,
    lines: u64,
    /// Which columns are doubles.
    doubles: Vec<bool>,
    ready: Vec<u8>,
    hash: Sha256,
}

impl Canonical {
    fn read(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let mut line = std::mem::take(&mut self.torn);
            line.extend_from_slice(&rest[..end]);
            self.line(&line);
            line.clear();
            self.torn = line; // keeps its capacity
            rest = &rest[end + 1..];
        }
        self.torn.extend_from_slice(rest);
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        let fields = line.split(|&b| b == b'\t');
        match self.lines {
            1 => self.ready.extend_from_slice(line),
            2 => {
                self.doubles = fields.map(|kind| memchr::memmem::find(kind, b"Float64").is_some()).collect();
                return; // the types are the table's business
            }
            _ => {
                for (i, field) in fields.enumerate() {
                    if i > 0 {
                        self.ready.push(b'\t');
                    }
                    let double = self.doubles.get(i).copied().unwrap_or(false);
                    match std::str::from_utf8(field).ok().filter(|_| double).and_then(|text| text.parse::<f64>().ok()) {
                        Some(value) => write_double(&mut self.ready, value),
                        None => self.ready.extend_from_slice(field),
                    }
                }
            }
        }
        self.ready.push(b'\n');
    }
}

fn write_double(out: &mut Vec<u8>, value: f64) {
    let value = if value == 0.0 { 0.0 } else { value }; // there is one zero
    let _ = write!(out, "{value:.9e}"); // a Vec takes everything
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cut: usize) {
        let lines = "s\tx\ty\nString\tFloat64\tNullable(Float64)\na\\tb\t0.1\t\\N\n1.5\t-0\t61800.200000000001\n";
        let mut text = Canonical::default();
        for chunk in lines.as_bytes().chunks(cut) {
            text.read(chunk);
        }
        let expected = "s\tx\ty\na\\tb\t1.000000000e-1\t\\N\n1.5\t0.000000000e0\t6.180020000e4\n";
        assert_eq!(String::from_utf8_lossy(&text.ready), expected, "cut {cut}");
    }

    #[test]
    fn doubles_have_one_form_wherever_the_stream_is_cut() {
        for cut in [1, 2, 3, 7, 1000] {
            check(cut);
        }
    }
}
