//! How the spool is doing, and what was said about it: each trouble once.

use std::path::Path;
use std::time::Instant;

/// How the spool is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolHealth {
    /// Rows that ClickHouse has yet to take, on disk or on the way there.
    pub rows: u64,
    /// Their bytes on disk, packed.
    pub bytes: u64,
    /// When the oldest of them became known, UTC ms.
    pub oldest_known_at: Option<u64>,
    /// ClickHouse took none at the last attempt.
    pub away: bool,
    /// ClickHouse takes rows again, and there are some left.
    pub draining: bool,
    /// There is no room for more, or the disk fails: whoever pushes waits.
    pub full: bool,
    /// Why ClickHouse or the disk failed last; `None` once it is over.
    pub last_error: Option<String>,
    /// Rows that ClickHouse refuses for what is in them, in this run.
    pub dead_letters: u64,
}

impl SpoolHealth {
    /// How long the oldest row has been waiting, ms.
    #[must_use]
    pub fn oldest_age_ms(&self, now_ms: u64) -> Option<u64> {
        self.oldest_known_at.map(|known_at| now_ms.saturating_sub(known_at))
    }
}

/// What was said already, and what health shows.
#[derive(Default)]
pub(super) struct Told {
    pub away: Option<Away>,
    pub full: bool,
    pub disk_error: Option<String>,
    pub note_failed: bool,
}

pub(super) struct Away {
    pub since: Instant,
    pub error: String,
    /// The last attempt succeeded.
    pub answers: bool,
    /// Only a person can mend it.
    pub must_act: bool,
}

impl Away {
    pub fn begin() -> Self {
        Self { since: Instant::now(), error: String::new(), answers: false, must_act: false }
    }
}

impl Told {
    pub fn say_full(&mut self, dir: &Path, bytes_max: u64) {
        if !std::mem::replace(&mut self.full, true) {
            tracing::error!(dir = %dir.display(), bytes_max, "the spool is full: the pipeline waits; bring ClickHouse back, or raise store.spool_bytes_max");
        }
    }

    pub fn say_disk(&mut self, error: &str) {
        if self.disk_error.is_none() {
            tracing::error!(
                error,
                "rows can't be written to the spool: some wait in memory, then the pipeline waits; it goes on when the disk does"
            );
        }
        self.disk_error = Some(error.to_owned());
    }

    pub fn disk_is_well(&mut self, all_taken: bool) {
        if self.disk_error.take().is_some() {
            tracing::info!("the spool can be written again");
        }
        if all_taken && std::mem::take(&mut self.full) {
            tracing::info!("the spool has room again");
        }
    }
}
