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
        // Killed after 1 to 40 acknowledgements, at no particular place.
        for line in lines.by_ref().take(1 + (life as usize * 37) % 40) {
            acknowledged = line.strip_prefix("durable ").unwrap().parse().unwrap();
        }
        other.kill();
        let journal = open(dir.path()).unwrap();
        let mut records = journal.records(1);
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

/// Snapshots and forgetting, as on the disk of the other tests.
#[test]
fn a_snapshot_on_the_machines_own_disk() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    let snapshots = journal.snapshots();
    let mut writer = journal.writer().unwrap();
    for seq in 1..=1_000 {
        writer.append(seq * 10, 3, &payload(seq)).unwrap();
        if seq % 50 == 0 {
            writer.sync().unwrap();
        }
        if seq % 100 == 0 {
            let mut new = snapshots.begin(seq, "any").unwrap();
            new.part("state", |out| (0..300_000u32).try_for_each(|at| out.write_all(&at.to_le_bytes()))).unwrap();
            new.commit().unwrap();
            snapshots.retain(2, u64::MAX).unwrap();
        }
    }
    drop((snapshots, writer));
    let journal = open(dir.path()).unwrap();
    let snapshot = journal.snapshots().newest_good().unwrap().snapshot.unwrap();
    assert_eq!((snapshot.manifest.up_to, snapshot.manifest.parts[0].bytes), (1_000, 1_200_000));
    let mut state = Vec::new();
    std::io::Read::read_to_end(&mut snapshot.open("state").unwrap().unwrap(), &mut state).unwrap();
    assert!(state.chunks(4).zip(0u32..).all(|(bytes, at)| bytes == at.to_le_bytes()));
    let oldest = journal.oldest().unwrap();
    assert!(oldest > 1 && oldest <= 901, "{oldest}: the snapshot before can be used, too");
    let mut records = journal.records(901);
    for seq in 901..=1_000 {
        assert_eq!(records.read().unwrap().unwrap().payload, payload(seq));
    }
    assert!(records.read().unwrap().is_none());
}

#[test]
fn the_doctor_measures_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let report = doctor(&RealDisk, dir.path()).unwrap();
    assert!(report.fsync_p50 <= report.fsync_p99 && report.fsync_p99 <= report.fsync_max);
    assert!(report.fsync_max > Duration::ZERO && report.write_bytes_per_sec > 0 && report.free_bytes > 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
