//! Speed. Run by hand: `cargo test --release -p journal --test figures -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{GroupSync, Journal, Options, RealDisk, doctor};

const PAYLOAD_BYTES: usize = 2_000;
const MIB: f64 = (1 << 20) as f64;

fn payload(seq: u64) -> Vec<u8> {
    let mut state = seq;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..PAYLOAD_BYTES).map(|_| next()).collect()
}

#[test]
#[ignore = "measures"]
fn appending_and_recovery() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = doctor(&RealDisk, dir.path()).unwrap();
    eprintln!("disk: {report:?}");
    let open = || Journal::open(Arc::new(RealDisk), dir.path(), Options::default()).unwrap();
    let journal = GroupSync::start(open().writer().unwrap(), Duration::from_millis(20)).unwrap();
    let payloads: Vec<_> = (0..64).map(payload).collect();

    // As live: a record each millisecond, how long until it is durable.
    let mut waits: Vec<_> = (0..300)
        .map(|at| {
            std::thread::sleep(Duration::from_millis(1));
            let seq = journal.append(1, 1, &payloads[at % 64]).unwrap();
            let begun = Instant::now();
            while journal.durable() < seq {
                std::thread::sleep(Duration::from_micros(200));
            }
            begun.elapsed()
        })
        .collect();
    waits.sort_unstable();
    eprintln!("durable after: p50 {:?}, p99 {:?} (groups of 20 ms)", waits[150], waits[297]);

    // As fast as it goes.
    let (begun, records) = (Instant::now(), 500_000_u64);
    for at in 0..records {
        journal.append_within(1, 1, &payloads[at as usize % 64], Duration::from_secs(60)).unwrap();
    }
    let taken = journal.finish().unwrap();
    let took = begun.elapsed().as_secs_f64();
    eprintln!("appended {:.0} records/s, {:.0} MiB/s, all durable", records as f64 / took, (records * 2_032) as f64 / MIB / took);

    for what in ["opening", "again"] {
        let begun = Instant::now();
        let journal = open();
        let opened = begun.elapsed();
        let begun = Instant::now();
        let (mut records, mut count, mut bytes) = (journal.records(1), 0, 0);
        while let Some(record) = records.read().unwrap() {
            count += 1;
            bytes += record.payload.len();
        }
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(count, taken);
        eprintln!(
            "{what}: the end found in {opened:?}; {count} records read in {took:.2} s, {:.0} MiB/s",
            bytes as f64 / MIB / took
        );
    }
    let begun = Instant::now();
    let journal = open();
    let snapshots = journal.snapshots();
    let mut new = snapshots.begin(taken, "figures").unwrap();
    new.part("rows", |out| (0..256 * 512).try_for_each(|at| out.write_all(&payloads[at % 64]))).unwrap();
    new.commit().unwrap();
    let wrote = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    snapshots.newest_good().unwrap().snapshot.unwrap();
    let size = (256 * 512 * PAYLOAD_BYTES) as f64 / MIB;
    eprintln!(
        "snapshot of {size:.0} MiB: written at {:.0} MiB/s, checked at {:.0} MiB/s",
        size / wrote,
        size / begun.elapsed().as_secs_f64()
    );
}
