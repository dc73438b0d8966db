//! Cutting off what came after a knowledge time: at every record, with a crash at every step of it.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::collections::BTreeMap;

use journal::{Disk, Error, Seq};
use world::disk::{Fault, Keep, SimDisk};
use world::{dir, open, payloads};

const RECORDS: Seq = 12;

/// Two records of each knowledge time.
fn known_at(seq: Seq) -> u64 {
    1_000 + seq.div_ceil(2)
}

fn payload(seq: Seq) -> Vec<u8> {
    format!("record {seq} {}", "x".repeat(90)).into_bytes()
}

/// Records of two lives in several segments, with a snapshot after each of `at`.
fn lived(at: &[Seq]) -> SimDisk {
    let disk = SimDisk::default();
    for records in [1..=5, 6..=RECORDS] {
        let journal = open(&disk).unwrap();
        let snapshots = journal.snapshots();
        let mut writer = journal.writer().unwrap();
        for seq in records {
            assert_eq!(writer.append(known_at(seq), 1, &payload(seq)).unwrap(), seq);
            writer.sync().unwrap();
            if at.contains(&seq) {
                let mut new = snapshots.begin(seq, "cut").unwrap();
                new.part("state", |out| out.write_all(b"state")).unwrap();
                new.commit().unwrap();
            }
        }
    }
    disk
}

fn all(to: Seq) -> BTreeMap<Seq, Vec<u8>> {
    (1..=to).map(|seq| (seq, payload(seq))).collect()
}

fn records(disk: &SimDisk) -> BTreeMap<Seq, Vec<u8>> {
    payloads(&open(disk).unwrap(), 1).unwrap()
}

/// Cuts, and goes on writing: one record more.
fn cut(disk: &SimDisk, to: u64) -> Result<Option<(Seq, Seq)>, Error> {
    let mut journal = open(disk)?;
    let gone = journal.cut_after(to)?;
    let mut writer = journal.writer()?;
    writer.append(to + 1, 1, b"new").unwrap();
    writer.sync()?;
    Ok(gone)
}

fn with_new(left: Seq) -> BTreeMap<Seq, Vec<u8>> {
    all(left).into_iter().chain([(left + 1, b"new".to_vec())]).collect()
}

/// The last record that is left of a cut after `to`.
fn left(to: u64) -> Seq {
    (1..=RECORDS).filter(|seq| known_at(*seq) <= to).max().unwrap_or(0)
}

#[test]
fn at_every_record() {
    let lived = lived(&[]);
    for to in 1_000..=known_at(RECORDS) + 1 {
        let disk = lived.fork();
        let left = left(to);
        assert_eq!(cut(&disk, to).unwrap(), (left < RECORDS).then_some((left + 1, RECORDS)), "to {to}");
        disk.restart(Keep::Synced);
        assert_eq!(records(&disk), with_new(left), "to {to}");
        // What was cut stays cut, also when more is cut later.
        assert_eq!(cut(&disk, to + 1).unwrap(), None, "to {to}");
        assert_eq!(cut(&disk, to).unwrap(), Some((left + 1, left + 2)), "to {to}");
        assert_eq!(records(&disk), with_new(left), "to {to}");
    }
}

#[test]
fn a_cut_may_be_broken_off_anywhere() {
    let lived = lived(&[]);
    for to in 1_000..known_at(RECORDS) {
        let (left, mut calls) = (left(to), 0);
        loop {
            calls += 1;
            let mut was_reached = false;
            for (fault, keep) in [
                (Fault::CrashBefore, Keep::All),
                (Fault::CrashAfter, Keep::Synced),
                (Fault::CrashBefore, Keep::Torn(calls)),
                (Fault::CrashAfter, Keep::Torn(to)),
            ] {
                let disk = lived.fork();
                disk.fail_at(calls, fault);
                let _ = cut(&disk, to);
                was_reached |= disk.is_down();
                disk.restart(keep);
                let mut found = records(&disk);
                found.retain(|seq, payload| *seq != left + 1 || payload != b"new");
                let count = found.len() as Seq;
                assert!(count >= left && found == all(count), "to {to}, {fault:?} at call {calls}: {:?}", found.keys());
                // Told again, it comes to its end.
                cut(&disk, to).unwrap();
                disk.restart(Keep::Synced);
                let mut found = records(&disk);
                found.retain(|seq, _| *seq <= left + 1);
                assert_eq!(found, with_new(left), "to {to}, {fault:?} at call {calls}");
            }
            if !was_reached {
                break;
            }
        }
        assert!(calls > 8, "{calls}");
    }
}

#[test]
fn a_snapshot_of_what_is_cut_goes_with_it() {
    let disk = lived(&[4, 8]);
    cut(&disk, known_at(6)).unwrap();
    let names = disk.list(&dir()).unwrap();
    assert!(!names.iter().any(|name| name.starts_with("snapshot-00000000000000000008")), "{names:?}");
    let journal = open(&disk).unwrap();
    let (good, damaged) = journal.snapshots().all_good().unwrap();
    assert_eq!((good.iter().map(|snapshot| snapshot.manifest.up_to).collect::<Vec<_>>(), damaged), (vec![4], vec![]));
    assert_eq!(journal.tail().last, 7);
    assert_eq!(payloads(&journal, 5).unwrap().len(), 3);
}

#[test]
fn all_good_ones_the_newest_first() {
    let disk = lived(&[2, 5, 9]);
    let bad = dir().join("snapshot-00000000000000000005-0001.state.part");
    disk.put(&bad, b"stat?");
    let (good, damaged) = open(&disk).unwrap().snapshots().all_good().unwrap();
    assert_eq!(good.iter().map(|snapshot| snapshot.manifest.up_to).collect::<Vec<_>>(), [9, 2]);
    assert_eq!(damaged.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&bad]);
}
