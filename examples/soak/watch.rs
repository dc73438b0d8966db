//! What a run says of itself in `status.json`, over time, and what it logs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One look.
#[derive(Clone)]
pub struct Sample {
    pub at: Instant,
    pub pid: u64,
    pub lag_ms: u64,
    /// The worst of the minute before.
    pub lag_max_ms: u64,
    pub intake_max_ms: u64,
    pub rss_mib: f64,
    pub files: u64,
    pub threads: u64,
    pub spool_rows: u64,
    /// No fault could be felt.
    pub calm: bool,
}

/// See the module.
pub struct Watch {
    path: PathBuf,
    log: PathBuf,
    read_to: u64,
    written_at: i64,
    pub samples: Vec<Sample>,
    /// ERROR lines by their sentence, that a fault explains, and that none does.
    pub explained: BTreeMap<String, u64>,
    pub unexplained: BTreeMap<String, u64>,
}

impl Watch {
    pub fn new(journal: &Path, log: &Path) -> Self {
        Self {
            path: journal.join("status.json"),
            log: log.to_owned(),
            read_to: 0,
            written_at: 0,
            samples: Vec::new(),
            explained: BTreeMap::new(),
            unexplained: BTreeMap::new(),
        }
    }

    /// Takes a new status, if there is one.
    pub fn look(&mut self, calm: bool) -> Option<&Sample> {
        let status: Value = serde_json::from_slice(&std::fs::read(&self.path).ok()?).ok()?;
        let written_at = status["written_at"].as_i64()?;
        if written_at == self.written_at {
            return None;
        }
        self.written_at = written_at;
        let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        self.samples.push(Sample {
            at: Instant::now(),
            pid: number("/pid"),
            lag_ms: number("/lag_now_ms"),
            lag_max_ms: number("/lag_ms/max"),
            intake_max_ms: number("/intake_ms/max"),
            rss_mib: number("/rss_bytes") as f64 / f64::from(1 << 20),
            files: number("/open_files"),
            threads: number("/threads"),
            spool_rows: number("/store/spool_rows"),
            calm,
        });
        self.samples.last()
    }

    /// Counts new ERROR lines. One that has no end yet is being written: it is read the next time.
    pub fn read_log(&mut self, explained: bool) {
        let Ok(mut file) = File::open(&self.log) else { return };
        if file.seek(SeekFrom::Start(self.read_to)).is_err() {
            return;
        }
        let (mut log, mut bytes) = (BufReader::new(file), Vec::new());
        while log.read_until(b'\n', &mut bytes).is_ok() && bytes.ends_with(b"\n") {
            self.read_to += bytes.len() as u64;
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            let is_panic = line.contains("panicked at");
            let Some((_, said)) = line.split_once(" ERROR ").or(is_panic.then_some(("", line.as_str()))) else { continue };
            // A sentence that is constant, then fields that aren't.
            let sentence: String = said.trim().split('=').next().unwrap_or_default().chars().take(90).collect();
            let tally = if explained && !is_panic { &mut self.explained } else { &mut self.unexplained };
            *tally.entry(sentence).or_default() += 1;
        }
    }

    pub fn newest(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// Of one process, from so long after its first look on.
    pub fn of(&self, pid: u64, warm_up: Duration) -> Vec<&Sample> {
        let first = self.samples.iter().find(|sample| sample.pid == pid).map(|sample| sample.at);
        let warm = |sample: &&Sample| sample.pid == pid && first.is_some_and(|first| sample.at >= first + warm_up);
        self.samples.iter().filter(warm).collect()
    }
}
