//! Whatever lies in the directory: no panic, no invented record, and bounded work.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::sync::Arc;

use journal::{Disk, Error, Journal, OnDamage, Options};
use world::disk::{Random, SimDisk};
use world::{dir, is_soak};

/// What is written afterwards.
const NEW: &[u8] = b"new";

fn payload(seq: u64) -> Vec<u8> {
    (0..seq * 13 % 150).map(|at| (seq * 7 + at) as u8).collect()
}

fn options(on_damage: OnDamage) -> Options {
    Options { segment_bytes: 700, buffer_bytes_max: 4_096, on_damage }
}

/// Some segments and two snapshots.
fn journal() -> SimDisk {
    let disk = SimDisk::default();
    let journal = Journal::open(Arc::new(disk.clone()), &dir(), options(OnDamage::Stop)).unwrap();
    let snapshots = journal.snapshots();
    let mut writer = journal.writer().unwrap();
    for seq in 1..=20 {
        writer.append(seq, 1, &payload(seq)).unwrap();
        if seq % 3 == 0 {
            writer.sync().unwrap();
        }
        if seq == 6 || seq == 12 {
            let mut new = snapshots.begin(seq, "any").unwrap();
            new.part("state", |out| out.write_all(&payload(seq))).unwrap();
            new.commit().unwrap();
        }
    }
    writer.close().unwrap();
    disk
}

/// Spoils a file: bytes changed, cut out, put in, put elsewhere, all of them replaced.
fn spoil(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let length = random.below(60) as usize;
    let end = (at + length).min(bytes.len());
    match random.below(6) {
        0 => bytes[at..end].iter_mut().for_each(|byte| *byte = random.next() as u8),
        1 => drop(bytes.drain(at..end)),
        2 => drop(bytes.splice(at..at, (0..length).map(|_| random.next() as u8).collect::<Vec<_>>())),
        3 => {
            let block = bytes[at..end].to_vec();
            let to = random.below(bytes.len() as u64 + 1) as usize;
            drop(bytes.splice(to..to, block));
        }
        4 => bytes.truncate(at),
        _ => bytes.iter_mut().for_each(|byte| *byte = random.next() as u8),
    }
}

/// Opens and reads everything; answers with the records that came.
fn read(disk: &SimDisk, on_damage: OnDamage) -> Result<Vec<u64>, Error> {
    let journal = Journal::open(Arc::new(disk.clone()), &dir(), options(on_damage))?;
    let mut records = journal.records(1);
    let mut read: Vec<u64> = Vec::new();
    while let Some(record) = records.read()? {
        let last = read.last().copied().unwrap_or(0);
        assert!(record.seq > last && (on_damage == OnDamage::Skip || record.seq == last + 1));
        let expected = (record.seq, payload(record.seq));
        let is_good = record.payload == NEW || (record.known_at, record.payload) == (expected.0, &expected.1);
        assert!(is_good, "record {} was invented", record.seq);
        read.push(record.seq);
    }
    let lost: u64 = records.skipped().iter().filter_map(|skipped| skipped.records).map(|(from, to)| to - from + 1).sum();
    assert!(on_damage == OnDamage::Skip || lost == 0);
    Ok(read)
}

#[test]
fn spoilt_files() {
    let good = journal();
    let names = good.list(&dir()).unwrap();
    let (mut stopped, mut whole) = (0, 0_u64);
    for seed in 0..if is_soak() { 200_000 } else { 4_000 } {
        let mut random = Random(seed);
        let disk = good.fork();
        for _ in 0..=random.below(2) {
            let path = dir().join(&names[random.below(names.len() as u64) as usize]);
            let mut bytes = disk.bytes(&path);
            spoil(&mut bytes, &mut random);
            disk.put(&path, &bytes);
        }
        match read(&disk, OnDamage::Stop) {
            Ok(read) => whole += u64::from(read.len() == 20),
            Err(Error::Damaged { .. } | Error::Missing { .. }) => stopped += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
        let mut left = read(&disk, OnDamage::Skip).unwrap_or_else(|error| panic!("seed {seed}, skipping: {error}"));
        // Behind a snapshot, what lies before it doesn't matter.
        let journal = Journal::open(Arc::new(disk.clone()), &dir(), options(OnDamage::Skip)).unwrap();
        let found = journal.snapshots().newest_good().unwrap();
        assert_eq!(found.snapshot.is_some_and(|snapshot| snapshot.manifest.up_to == 12), found.damaged.is_empty(), "seed {seed}");
        // Skipping, it goes on; and what was left, and what is written then, is read again.
        let mut writer = journal.writer().unwrap();
        let seq = writer.append(1, 1, NEW).unwrap();
        writer.close().unwrap();
        left.push(seq);
        assert_eq!(read(&disk, OnDamage::Skip).unwrap(), left, "seed {seed}");
    }
    assert!(stopped > 500 && whole > 500, "{stopped} stopped, {whole} whole");
}
