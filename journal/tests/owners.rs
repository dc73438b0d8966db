//! Two processes on one directory, and a process that is killed while it writes, on the machine's own disk.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use journal::{Error, GroupSync, Journal, Options, RealDisk, doctor};

/// Where the process that this test starts finds its directory. Unset: the test is run by somebody else, and does nothing.
const DIR: &str = "REGIMEFLOW_JOURNAL_TEST_DIR";

fn open(dir: &Path) -> Result<Journal, Error> {
    Journal::open(Arc::new(RealDisk), dir, Options { segment_bytes: 100_000, buffer_bytes_max: 32_000, ..Options::default() })
}

fn payload(seq: u64) -> Vec<u8> {
    (0..100 + seq % 400).map(|at| (seq * 31 + at) as u8).collect()
}

/// The other process: writes, and says what was acknowledged.
#[test]
fn other_process() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let journal = GroupSync::start(open(Path::new(&dir)).unwrap().writer().unwrap(), Duration::from_millis(1)).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nready").unwrap();
    let mut told = 0;
    loop {
        let next = journal.health().taken + 1;
        journal.append_within(next * 10, 3, &payload(next), Duration::from_secs(10)).unwrap();
        let durable = journal.durable();
        if durable > told {
            told = durable;
            writeln!(out, "durable {told}").unwrap();
            out.flush().unwrap();
        }
    }
}

struct Other(Child);

impl Other {
    fn start(dir: &Path) -> (Self, impl Iterator<Item = String>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture", "--test-threads", "1"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        (Self(child), lines)
    }

    /// kill -9.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_second_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let (other, mut lines) = Other::start(dir.path());
    assert!(lines.any(|line| line == "ready"));
    match open(dir.path()).err() {
        Some(Error::Locked { holder, .. }) => assert_eq!(holder, other.0.id().to_string()),
        other => panic!("{other:?}"),
    }
    other.kill();
    open(dir.path()).unwrap();
}

#[test]
fn one_process_opens_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    let (snapshots, writer) = (journal.snapshots(), journal.writer().unwrap());
    assert!(matches!(open(dir.path()).err(), Some(Error::Locked { holder, .. }) if holder == std::process::id().to_string()));
    drop(writer);
    assert!(open(dir.path()).is_err(), "its snapshots are still in use");
    drop(snapshots);
    open(dir.path()).unwrap();
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for life in 0..20_u64 {
        let (other, mut lines) = Other::start(dir.path());
        assert!(lines.any(|line| line == "ready"));
        let mut acknowledged = before;
        // Killed after 1 to some 100 acknowledgements, at no particular place.
        for line in lines.by_ref().take(1 + (life as usize * 37) % 100) {
            acknowledged = line.strip_prefix("durable ").unwrap().parse().unwrap();
        }
        other.kill();
        let journal = open(dir.path()).unwrap();
        let mut records = journal.records(1).unwrap();
        let mut seq = 0;
        while let Some(record) = records.read().unwrap() {
            seq += 1;
            assert_eq!((record.seq, record.known_at, record.kind), (seq, seq * 10, 3));
            assert_eq!(record.payload, payload(seq));
        }
        assert!(seq >= acknowledged && acknowledged > before, "life {life}: {seq} of {acknowledged}");
        before = seq;
    }
}

#[test]
fn the_doctor_measures_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let report = doctor(&RealDisk, dir.path()).unwrap();
    assert!(report.fsync_p50 <= report.fsync_p99 && report.fsync_p99 <= report.fsync_max);
    assert!(report.fsync_max > Duration::ZERO && report.write_bytes_per_sec > 0 && report.free_bytes > 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
