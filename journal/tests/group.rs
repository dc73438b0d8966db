//! The thread that makes records durable: it acknowledges what is durable, holds back what isn't, and recovers by itself.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use journal::{GroupSync, Refused};
use world::disk::{EIO, Fault, Keep, SimDisk};
use world::{open, payloads};

const LONG: Duration = Duration::from_secs(10);

fn start(disk: &SimDisk, interval_ms: u64) -> GroupSync {
    GroupSync::start(open(disk).unwrap().writer().unwrap(), Duration::from_millis(interval_ms)).unwrap()
}

#[test]
fn a_group_becomes_durable_by_itself() {
    let disk = SimDisk::default();
    let journal = start(&disk, 5);
    for seq in 1..=10 {
        assert_eq!(journal.append(1, 1, b"payload").unwrap(), seq);
    }
    let begun = Instant::now();
    while journal.durable() < 10 {
        assert!(begun.elapsed() < LONG, "{:?}", journal.health());
        std::thread::sleep(Duration::from_millis(1));
    }
    let health = journal.health();
    assert_eq!((health.taken, health.durable, health.waiting_bytes, health.waiting, health.failing), (10, 10, 0, None, None));
    drop(journal);
    disk.restart(Keep::Synced);
    assert_eq!(payloads(&open(&disk).unwrap(), 1).unwrap().len(), 10);
}

#[test]
fn a_group_is_one_fsync() {
    let disk = SimDisk::default();
    let journal = start(&disk, 60_000);
    let fsyncs = || disk.log().iter().filter(|call| call.starts_with("fsync journal")).count();
    let before = fsyncs();
    (0..5).for_each(|_| assert!(journal.append(1, 1, b"payload").is_ok()));
    assert_eq!(journal.durable(), 0, "its time has not come");
    assert!(journal.wait_durable(5, LONG), "somebody waits, so it goes at once");
    assert_eq!(fsyncs() - before, 1);
    assert_eq!(journal.finish().unwrap(), 5);
}

#[test]
fn a_full_disk_holds_back_and_lets_go_when_space_returns() {
    let disk = SimDisk::default();
    let journal = start(&disk, 1);
    journal.append(1, 1, b"before").unwrap();
    assert!(journal.wait_durable(1, LONG));
    disk.set_full(true);
    let payload = [7; 100];
    let mut taken = 1;
    let refused = loop {
        match journal.append(1, 1, &payload) {
            Ok(seq) => taken = seq,
            Err(refused) => break refused,
        }
        assert!(taken < 100, "the buffer of 4096 bytes has a bound");
    };
    assert!(matches!(refused, Refused::Full { waiting_bytes } if waiting_bytes <= 4_096), "{refused}");
    assert_eq!(taken, 1 + 4_096 / 132);
    let waited = Instant::now();
    assert!(matches!(journal.append_within(1, 1, &payload, Duration::from_millis(30)), Err(Refused::Full { .. })));
    assert!(waited.elapsed() >= Duration::from_millis(30));
    assert!(!journal.wait_durable(2, Duration::from_millis(30)));
    let health = journal.health();
    assert_eq!(health.durable, 1, "nothing is acknowledged");
    assert!(health.failing.unwrap().1.contains("os error 28"));
    assert!(health.waiting.is_some());

    disk.set_full(false);
    let seq = journal.append_within(1, 1, &payload, LONG).unwrap();
    assert!(journal.wait_durable(seq, LONG));
    assert_eq!(journal.health().failing, None);
    assert_eq!(journal.finish().unwrap(), taken + 1);
    disk.restart(Keep::Synced);
    assert_eq!(payloads(&open(&disk).unwrap(), 1).unwrap().len() as u64, taken + 1);
}

/// Every call that the thread makes fails once. Nothing that was acknowledged is lost, and all comes through in the end.
#[test]
fn the_nth_call_of_the_thread_fails() {
    for fault in [Fault::Error(EIO), Fault::Short] {
        for n in 1..=30 {
            let disk = SimDisk::default();
            let journal = start(&disk, 0);
            disk.fail_at(n, fault);
            for _ in 0..12 {
                let seq = journal.append_within(1, 1, &[9; 90], LONG).unwrap();
                if seq.is_multiple_of(3) {
                    assert!(journal.wait_durable(seq, LONG), "{:?}", journal.health());
                    let power_failed = disk.fork();
                    power_failed.restart(Keep::Synced);
                    let found = payloads(&open(&power_failed).unwrap(), 1).unwrap().len() as u64;
                    assert!(found >= seq, "{fault:?} at {n}: {found} of {seq} acknowledged records");
                }
            }
            disk.heal();
            assert_eq!(journal.finish().unwrap(), 12, "{fault:?} at {n}");
        }
    }
}

#[test]
fn the_end_says_what_was_lost() {
    let disk = SimDisk::default();
    let journal = start(&disk, 60_000);
    journal.append(1, 1, b"payload").unwrap();
    disk.set_full(true);
    let error = journal.finish().unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("os error 28"), "{error}");
    disk.set_full(false);
    assert_eq!(open(&disk).unwrap().tail().last, 0);
}

#[test]
fn what_no_journal_may_hold() {
    let journal = start(&SimDisk::default(), 1);
    assert_eq!(journal.append(1, 0, b""), Err(Refused::Kind));
    assert_eq!(journal.append(1, 1, &[0; 5_000]), Err(Refused::TooLarge { bytes: 5_000, bytes_max: 4_064 }));
    assert_eq!(journal.append_within(1, 1, &[0; 5_000], LONG), Err(Refused::TooLarge { bytes: 5_000, bytes_max: 4_064 }));
    assert_eq!(journal.append(1, 255, &[0; 4_064]), Ok(1));
}
