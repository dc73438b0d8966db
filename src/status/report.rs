//! What `status.json` says, and how it gets there and back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lag::Spread;

/// The file's name, in the journal's directory.
pub const FILE: &str = "status.json";

/// How a live run is doing. Times are UTC ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started_at: i64,
    /// When this was written.
    pub written_at: i64,
    /// Starts before this one with the same journal.
    pub restarts: u64,
    /// Between a quantum's end and its way to the store, as of now: of the newest quantum that got there.
    pub lag_now_ms: u64,
    /// The same over the last minute.
    pub lag_ms: Spread,
    /// Between a frame's receipt and its way into the engine, over the last minute.
    pub intake_ms: Spread,
    /// People were told of a lag that began then.
    pub lagging_since: Option<i64>,
    /// Quanta that were kept.
    pub quanta: u64,
    /// Rows in them.
    pub rows: u64,
    /// The newest quantum that was kept.
    pub known_at: u64,
    /// The last snapshot's quantum; 0: none yet.
    pub snapshot_known_at: u64,
    /// `None`: no journal is kept.
    pub journal: Option<Journal>,
    /// `None`: there is no store.
    pub store: Option<Store>,
    /// Memory in RAM, bytes; 0: this system doesn't say.
    pub rss_bytes: u64,
    /// Open files; 0: this system doesn't say.
    pub open_files: u64,
    /// Threads; 0: this system doesn't say.
    pub threads: u64,
}

/// The journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// Records taken.
    pub taken: u64,
    /// Records durable.
    pub durable: u64,
    /// What waits for the disk.
    pub waiting_bytes: u64,
    /// For how long the first of it does.
    pub waiting_ms: u64,
    /// Why the disk fails; `None`: it doesn't.
    pub failing: Option<String>,
}

/// The store, and the spool before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Store {
    /// Up to this quantum everything is stored or in the spool.
    pub acknowledged: u64,
    /// Rows in the spool.
    pub spool_rows: u64,
    /// Their bytes on disk.
    pub spool_bytes: u64,
    /// How long the oldest of them has been waiting.
    pub spool_oldest_age_ms: Option<u64>,
    /// ClickHouse takes no rows.
    pub away: bool,
    /// The spool is being emptied.
    pub draining: bool,
    /// The spool is full, and the pipeline waits.
    pub full: bool,
    /// What failed last.
    pub last_error: Option<String>,
    /// Rows that ClickHouse refuses.
    pub dead_letters: u64,
}

impl Report {
    /// Where it lies.
    #[must_use]
    pub fn path(journal: &Path) -> PathBuf {
        journal.join(FILE)
    }

    /// Reads it. `None`: there is none.
    ///
    /// # Errors
    /// If the file can't be read, or is none of ours.
    pub fn read(journal: &Path) -> io::Result<Option<Self>> {
        match fs::read(Self::path(journal)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it whole: who reads sees the old one or the new one. (Not fsynced: it tells of a process that a power cut ends, too.)
    ///
    /// # Errors
    /// If the directory can't be written.
    pub fn write(&self, journal: &Path) -> io::Result<()> {
        let new = journal.join("status.json.tmp");
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        fs::rename(new, Self::path(journal))
    }

    /// Its process still lives. `None`: this system doesn't say.
    #[must_use]
    pub fn lives(&self) -> Option<bool> {
        if !Path::new("/proc/self").exists() {
            return None;
        }
        // A pid may belong to somebody else by now.
        let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
        Some(fs::read_to_string(format!("/proc/{}/comm", self.pid)).is_ok_and(|name| name == own))
    }

    /// Adds what the system says of this process.
    pub fn measure_self(&mut self) {
        self.rss_bytes = self_number("VmRSS:").unwrap_or(0) * 1_024;
        self.threads = self_number("Threads:").unwrap_or(0);
        // The directory that is being read is open, too.
        self.open_files = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1) as u64);
    }
}

/// A number of `/proc/self/status`, such as `VmRSS:` (KiB). `None` where the system does not tell.
#[must_use]
pub fn self_number(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Report::read(dir.path()).unwrap(), None);
        let mut report = Report { pid: std::process::id(), journal: Some(Journal::default()), ..Report::default() };
        report.measure_self();
        report.write(dir.path()).unwrap();
        let read = Report::read(dir.path()).unwrap().unwrap();
        assert_eq!(read, report);
        if let Some(lives) = read.lives() {
            assert!(lives && read.rss_bytes > 1 << 20 && read.open_files > 2 && read.threads > 0, "{read:?}");
            assert_eq!(Report { pid: u32::MAX, ..read }.lives(), Some(false));
        }
        std::fs::write(Report::path(dir.path()), "{").unwrap();
        assert!(Report::read(dir.path()).is_err());
    }
}
