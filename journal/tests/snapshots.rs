//! Snapshots: whole or passed over; forgetting leaves what is needed.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io;
use std::path::PathBuf;

use journal::{Disk, Error, Found, Journal, Seq};
use world::disk::{Keep, SimDisk};
use world::{dir, open, payloads, segment};

/// A journal of `records`, and a snapshot after each of `at`, in one life.
fn with_snapshots(records: u64, at: &[Seq]) -> SimDisk {
    let disk = SimDisk::default();
    let journal = open(&disk).unwrap();
    let snapshots = journal.snapshots();
    let mut writer = journal.writer().unwrap();
    for seq in 1..=records {
        writer.append(seq, 1, "x".repeat(100).as_bytes()).unwrap();
        writer.sync().unwrap();
        if at.contains(&seq) {
            write(&snapshots, seq, format!("state at {seq}").as_bytes());
        }
    }
    disk
}

fn write(snapshots: &journal::Snapshots, up_to: Seq, state: &[u8]) {
    let mut new = snapshots.begin(up_to, "views 3").unwrap();
    new.part("state", |out| out.write_all(state)).unwrap();
    new.part("more", |out| (0..100_000u32).try_for_each(|number| out.write_all(&number.to_le_bytes()))).unwrap();
    new.commit().unwrap();
}

type Damaged = Vec<(PathBuf, String)>;

fn newest(journal: &Journal) -> (Option<(Seq, String)>, Damaged) {
    let Found { snapshot, damaged } = journal.snapshots().newest_good().unwrap();
    let read = snapshot.map(|snapshot| {
        let state = io::read_to_string(snapshot.open("state").unwrap().unwrap()).unwrap();
        assert!(snapshot.open("nothing").unwrap().is_none());
        assert_eq!(snapshot.manifest.fingerprint, "views 3");
        (snapshot.manifest.up_to, state)
    });
    (read, damaged)
}

fn file(up_to: Seq, rest: &str) -> PathBuf {
    dir().join(format!("snapshot-{up_to:020}-0001.{rest}"))
}

#[test]
fn the_newest_is_taken_and_survives_a_power_failure() {
    let disk = with_snapshots(6, &[2, 4]);
    disk.restart(Keep::Synced);
    let journal = open(&disk).unwrap();
    assert_eq!(newest(&journal), (Some((4, "state at 4".into())), vec![]));
    assert_eq!(payloads(&journal, 5).unwrap().len(), 2);
    assert_eq!(newest(&open(&SimDisk::default()).unwrap()), (None, vec![]));
    // Nothing else was made durable since.
    let disk = with_snapshots(4, &[2, 4]);
    disk.restart(Keep::Synced);
    assert_eq!(newest(&open(&disk).unwrap()), (Some((4, "state at 4".into())), vec![]));
}

#[test]
fn a_damaged_one_is_passed_over_with_a_report() {
    let disk = with_snapshots(6, &[2, 4]);
    for rest in ["manifest", "state.part", "more.part"] {
        let good = disk.bytes(&file(4, rest));
        for at in (0..good.len()).step_by(good.len().div_ceil(200)) {
            for bad in [[&good[..at], &[good[at] ^ 4], &good[at + 1..]].concat(), good[..at].to_vec(), [&good[..], &[0]].concat()]
            {
                let disk = disk.fork();
                disk.put(&file(4, rest), &bad);
                let journal = open(&disk).unwrap();
                let (found, damaged) = newest(&journal);
                assert_eq!(found, Some((2, "state at 2".into())), "{rest}, byte {at}");
                assert_eq!(damaged.len(), 1);
                assert_eq!(damaged[0].0, file(4, rest), "{damaged:?}");
                assert_eq!(payloads(&journal, 3).unwrap().len(), 4);
            }
        }
        let disk = disk.fork();
        disk.take(&file(4, rest));
        let (found, _) = newest(&open(&disk).unwrap());
        assert_eq!(found, Some((2, "state at 2".into())), "without its {rest}");
    }
}

#[test]
fn of_two_of_one_record_the_later_counts() {
    let disk = with_snapshots(2, &[2]);
    let journal = open(&disk).unwrap();
    write(&journal.snapshots(), 2, b"another");
    assert_eq!(newest(&journal).0, Some((2, "another".into())));
}

#[test]
fn a_version_to_come_is_refused_by_name() {
    let disk = with_snapshots(4, &[2, 4]);
    let text = String::from_utf8(disk.bytes(&file(4, "manifest"))).unwrap().replace("snapshot 1\n", "snapshot 2\n");
    let body = &text[..text.rfind("end ").unwrap()];
    disk.put(&file(4, "manifest"), format!("{body}end {:08x}\n", crc32c::crc32c(body.as_bytes())).as_bytes());
    let error = open(&disk).unwrap().snapshots().newest_good().err().unwrap();
    assert!(matches!(error, Error::Version { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("snapshot-00000000000000000004-0001.manifest"), "{error}");
}

#[test]
fn what_is_not_committed_never_was() {
    let disk = with_snapshots(4, &[2]);
    let journal = open(&disk).unwrap();
    let snapshots = journal.snapshots();
    let mut new = snapshots.begin(4, "views 3").unwrap();
    new.part("state", |out| out.write_all(b"half")).unwrap();
    let failed = new.part("more", |_| Err(io::Error::other("the caller gave up")));
    assert!(failed.unwrap_err().to_string().contains("the caller gave up"));
    drop(new);
    assert_eq!(newest(&journal).0, Some((2, "state at 2".into())));
    drop((snapshots, journal));
    let journal = open(&disk).unwrap();
    let names = disk.list(&dir()).unwrap();
    assert!(!names.iter().any(|name| name.contains("00000004-")), "{names:?}");
    assert_eq!(newest(&journal).0, Some((2, "state at 2".into())));
}

#[test]
fn names_that_are_none() {
    let journal = open(&SimDisk::default()).unwrap();
    let snapshots = journal.snapshots();
    for fingerprint in ["two\nlines", "ümlaut", &"x".repeat(201)] {
        assert!(matches!(snapshots.begin(1, fingerprint), Err(Error::Asked(_))), "{fingerprint}");
    }
    let mut new = snapshots.begin(1, "").unwrap();
    new.part("twice", |_| Ok(())).unwrap();
    for name in ["", "twice", "../up", "Upper", "dot.", &"x".repeat(41)] {
        assert!(matches!(new.part(name, |_| Ok(())), Err(Error::Asked(_))), "{name}");
    }
}

/// What is left after forgetting recovers from each snapshot that was kept.
#[test]
fn forgetting() {
    // Segments hold two records of 132 bytes and their marks.
    for (snapshots, keep, kept, oldest_segment) in [
        (&[2, 4, 6][..], 2, &[4, 6][..], 5),
        (&[2, 4, 6], 1, &[6], 7),
        (&[2, 4, 6], 3, &[2, 4, 6], 3),
        (&[3, 5], 2, &[3, 5], 3),
        (&[4], 2, &[4], 1), // fewer than are to be kept: the records from the first on stand in
        (&[], 1, &[], 1),
        (&[8], 1, &[8], 9), // the last segment always stays
        (&[6], 0, &[6], 7),
    ] {
        let disk = with_snapshots(10, snapshots);
        let journal = open(&disk).unwrap();
        let removed = journal.snapshots().retain(keep, u64::MAX).unwrap();
        assert_eq!(removed.snapshots.len(), snapshots.len() - kept.len());
        let names = disk.list(&dir()).unwrap();
        let of_snapshots = names.iter().filter(|name| name.starts_with("snapshot-")).count();
        assert_eq!(of_snapshots, 3 * kept.len(), "a manifest and two parts each: {names:?}");
        let oldest = names.iter().filter(|name| name.ends_with(".log")).min().unwrap();
        assert_eq!(dir().join(oldest), segment(oldest_segment), "{snapshots:?} {keep}");
        drop(journal);
        disk.restart(Keep::Synced);
        for (at, up_to) in kept.iter().enumerate().rev() {
            let journal = open(&disk).unwrap();
            let (found, damaged) = newest(&journal);
            assert_eq!(found.unwrap().0, *up_to);
            assert_eq!(damaged.len(), kept.len() - 1 - at);
            assert_eq!(payloads(&journal, up_to + 1).unwrap().len() as u64, 10 - up_to);
            disk.put(&file(*up_to, "state.part"), b"damaged");
        }
    }
}

/// Records known at the time given or later stay, whatever the snapshots; a segment that can't be read holds nothing up.
#[test]
fn forgetting_by_knowledge_time() {
    for (known_from, damaged, oldest_segment) in
        [(4, None, 3), (5, None, 5), (9, None, 9), (9, Some(7), 9), (8, Some(7), 5), (8, None, 7)]
    {
        let disk = with_snapshots(10, &[8, 10]);
        let journal = open(&disk).unwrap();
        damaged.into_iter().for_each(|first| disk.put(&segment(first), b"damaged"));
        journal.snapshots().retain(2, known_from).unwrap();
        let names = disk.list(&dir()).unwrap();
        let oldest = names.iter().filter(|name| name.ends_with(".log")).min().unwrap();
        assert_eq!(dir().join(oldest), segment(oldest_segment), "{known_from} {damaged:?}");
    }
}

/// One whose file was cut doesn't count, so one more is kept.
#[test]
fn a_cut_snapshot_is_not_what_is_kept() {
    let disk = with_snapshots(10, &[2, 4, 6]);
    disk.put(&file(6, "more.part"), b"cut");
    let journal = open(&disk).unwrap();
    let removed = journal.snapshots().retain(2, u64::MAX).unwrap();
    assert_eq!((removed.snapshots.len(), removed.segments.len()), (0, 1));
    assert_eq!(newest(&journal).0, Some((4, "state at 4".into())));
}

/// The last segment is gone, a snapshot is ahead of what is left: numbers are not given twice, and the loss is said if the snapshot is bad.
#[test]
fn a_snapshot_ahead_of_the_records() {
    let disk = with_snapshots(10, &[2, 10]);
    for first in [5, 7, 9] {
        disk.take(&segment(first));
    }
    let journal = open(&disk).unwrap();
    assert_eq!(journal.tail().last, 4);
    assert_eq!(newest(&journal).0, Some((10, "state at 10".into())));
    assert_eq!(payloads(&journal, 11).unwrap().len(), 0);
    assert!(matches!(payloads(&journal, 3), Err(Error::Missing { from: 5, to: 10, .. })));
    let mut writer = journal.writer().unwrap();
    assert_eq!(writer.append(1, 1, b"eleven").unwrap(), 11);
    writer.close().unwrap();
    let journal = open(&disk).unwrap();
    assert_eq!(payloads(&journal, 11).unwrap().len(), 1);
    assert!(matches!(payloads(&journal, 3), Err(Error::Missing { from: 5, to: 10, .. })));
}
