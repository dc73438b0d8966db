//! What the crate's head says of the bytes is so.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use journal::Disk;
use world::disk::SimDisk;
use world::{dir, open, segment};

/// The example in the crate's head. Its checksums were not made by this crate.
fn example() -> Vec<u8> {
    let lines = include_str!("../src/lib.rs").lines().filter_map(|line| line.strip_prefix("//! 00")?.split_once("  "));
    lines.flat_map(|(_, bytes)| bytes.split(' ')).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn with_salt_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[24..32].try_into().unwrap())
}

#[test]
fn the_example_is_read_as_it_says() {
    let disk = SimDisk::default();
    disk.put(&segment(42), &example());
    let journal = open(&disk).unwrap();
    assert_eq!((journal.tail().last, journal.tail().bytes_dropped), (42, 0));
    let mut records = journal.records(42);
    let record = records.read().unwrap().unwrap();
    assert_eq!((record.seq, record.known_at, record.kind, record.payload), (42, 1_767_225_600_000, 1, b"bars".as_slice()));
    assert!(records.read().unwrap().is_none());
}

/// What is written differs from the example in nothing but the salt, and the checksums that it goes into.
#[test]
fn the_example_is_written_as_it_says() {
    let disk = SimDisk::default();
    // As if 41 records were gone.
    let mut first = example();
    first.truncate(72);
    disk.put(&segment(42), &first);
    let mut writer = open(&disk).unwrap().writer().unwrap();
    assert_eq!(writer.append(1_767_225_600_000, 1, b"bars").unwrap(), 42);
    writer.close().unwrap();
    let (mut written, mut expected) = (disk.bytes(&segment(42)), example());
    assert_ne!(with_salt_of(&written), with_salt_of(&expected), "it is random");
    for bytes in [&mut written, &mut expected] {
        for covered in [24..32, 36..40, 40..44, 72..76, 108..112] {
            bytes[covered].fill(0);
        }
    }
    assert_eq!(written, expected);
}

#[test]
fn a_manifest_is_as_it_says() {
    let disk = SimDisk::default();
    let journal = open(&disk).unwrap();
    let snapshots = journal.snapshots();
    let mut new = snapshots.begin(4711, "views-3 5f2c").unwrap();
    new.part("bars", |out| out.write_all(b"123456789")).unwrap();
    new.part("none", |_| Ok(())).unwrap();
    new.commit().unwrap();
    let path = dir().join("snapshot-00000000000000004711-0001.manifest");
    // e3069283 is the check value of CRC32C.
    let expected =
        "regimeflow snapshot 1\nup_to 4711\nfingerprint views-3 5f2c\npart bars 9 e3069283\npart none 0 00000000\nend ";
    let written = String::from_utf8(disk.bytes(&path)).unwrap();
    assert!(written.starts_with(expected), "{written}");
    let names = disk.list(&dir()).unwrap();
    assert!(names.contains(&"snapshot-00000000000000004711-0001.bars.part".to_owned()), "{names:?}");
}
