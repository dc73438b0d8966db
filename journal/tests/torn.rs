//! Bytes that changed or went: the longest valid prefix is taken, and what was lost is said; acknowledged records that are damaged
//! stop everything, unless they may be skipped.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::{Error, Journal, OnDamage, Options, Seq, Skipped};
use world::disk::SimDisk;
use world::{dir, payloads, segment};

const RECORDS: [&str; 6] = ["one", "two, somewhat longer", "three", "", "five, the last but one", "six, the last of all"];
/// Header, and each record with its own.
const HEADER: usize = 40;
const FRAME: usize = 32;

/// Segments of two records of 130 bytes, if these are made durable one by one.
const SHORT: u64 = 450;

fn open_with(disk: &SimDisk, on_damage: OnDamage, segment_bytes: u64) -> Result<Journal, Error> {
    Journal::open(Arc::new(disk.clone()), &dir(), Options { segment_bytes, buffer_bytes_max: 4_096, on_damage })
}

fn open(disk: &SimDisk) -> Result<Journal, Error> {
    open_with(disk, OnDamage::Stop, 1 << 20)
}

fn write_all(disk: &SimDisk, groups: &[&[&str]]) {
    let mut writer = open(disk).unwrap().writer().unwrap();
    for group in groups {
        for payload in *group {
            writer.append(1, 1, payload.as_bytes()).unwrap();
        }
        writer.sync().unwrap();
    }
}

/// Six records, each made durable by itself (`in_groups`) or all at once, and whether the last mark got to the disk.
fn written(in_groups: bool, with_last_mark: bool) -> (SimDisk, Vec<u8>) {
    let disk = SimDisk::default();
    let each: Vec<&[&str]> = RECORDS.chunks(1).collect();
    write_all(&disk, if in_groups { &each } else { &[&RECORDS] });
    let mut bytes = disk.bytes(&segment(1));
    if !with_last_mark {
        bytes.truncate(bytes.len() - FRAME);
        disk.put(&segment(1), &bytes);
    }
    (disk, bytes)
}

fn with_bytes(disk: &SimDisk, bytes: &[u8]) -> SimDisk {
    let disk = disk.fork();
    disk.put(&segment(1), bytes);
    disk
}

fn first(count: usize) -> BTreeMap<Seq, Vec<u8>> {
    (1..).zip(RECORDS.iter().take(count).map(|payload| payload.as_bytes().to_vec())).collect()
}

/// Opens, and expects the first `count` records and so many bytes dropped; goes on writing, and finds everything again.
fn check(disk: &SimDisk, count: usize, bytes_dropped: usize, what: &str) {
    let journal = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(journal.tail().last, count as u64, "{what}");
    assert_eq!(journal.tail().bytes_dropped, bytes_dropped as u64, "{what}");
    assert_eq!(journal.tail().dropped_at.is_some(), bytes_dropped > 0, "{what}");
    assert_eq!(payloads(&journal, 1).unwrap(), first(count), "{what}");
    let mut writer = journal.writer().unwrap();
    assert_eq!(writer.durable(), count as u64, "{what}");
    assert_eq!(writer.append(1, 1, b"new").unwrap(), count as u64 + 1);
    writer.close().unwrap();

    let journal = open(disk).unwrap_or_else(|error| panic!("{what}, afterwards: {error}"));
    let mut expected = first(count);
    expected.insert(count as u64 + 1, b"new".to_vec());
    assert_eq!(payloads(&journal, 1).unwrap(), expected, "{what}, afterwards");
    assert_eq!(journal.tail().bytes_dropped, 0, "{what}, afterwards");
}

/// Where each record begins, and the end of the last.
fn places(in_groups: bool) -> Vec<usize> {
    let mut at = HEADER + FRAME; // the mark with which a segment begins
    let mut places = vec![at];
    for payload in RECORDS {
        at += FRAME + payload.len();
        places.push(at);
        at += if in_groups { FRAME } else { 0 };
        *places.last_mut().unwrap() = at;
    }
    places
}

#[test]
fn cut_at_every_byte() {
    for (in_groups, with_last_mark) in [(false, false), (false, true), (true, true)] {
        let (disk, bytes) = written(in_groups, with_last_mark);
        for length in 0..bytes.len() {
            let places = places(in_groups);
            // A record is whole without the mark that follows it.
            let ends: Vec<_> = (0..6).map(|at| places[at] + FRAME + RECORDS[at].len()).collect();
            let count = ends.iter().filter(|&&end| end <= length).count();
            let whole_to = match count {
                _ if length < HEADER => 0,
                0 if length < HEADER + FRAME => HEADER,
                0 => HEADER + FRAME,
                // The mark after the last whole record may be whole, too.
                _ if (in_groups || count == 6) && ends[count - 1] + FRAME <= length => ends[count - 1] + FRAME,
                _ => ends[count - 1],
            };
            check(&with_bytes(&disk, &bytes[..length]), count, length - whole_to, &format!("{in_groups}: cut at {length}"));
        }
    }
}

#[test]
fn every_bit_of_the_last_record_flipped() {
    for with_mark in [false, true] {
        let (disk, bytes) = written(false, with_mark);
        let from = places(false)[5];
        for bit in from * 8..(from + FRAME + RECORDS[5].len()) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let disk = with_bytes(&disk, &flipped);
            let lost = open(&disk).unwrap().tail().acknowledged_lost;
            assert_eq!(lost, with_mark.then_some((6, 6)), "a mark says that it had been acknowledged");
            check(&disk, 5, bytes.len() - from, &format!("bit {bit}"));
        }
    }
}

/// A flipped bit in a mark costs nothing: no record is lost.
#[test]
fn every_bit_of_every_mark_flipped() {
    let (disk, bytes) = written(true, true);
    for at in 1..6 {
        let mark = places(true)[at] - FRAME;
        for bit in mark * 8..(mark + FRAME) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&with_bytes(&disk, &flipped), 6, 0, &format!("bit {bit}"));
        }
    }
}

/// Any bit of an acknowledged record with others after it: stops, and says where; or skips just that record.
#[test]
fn every_bit_of_a_middle_record_flipped() {
    for in_groups in [false, true] {
        let (disk, bytes) = written(in_groups, true);
        let from = places(in_groups)[2];
        let length = FRAME + RECORDS[2].len();
        for bit in from * 8..(from + length) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let disk = with_bytes(&disk, &flipped);
            match open(&disk).err() {
                Some(Error::Damaged { path, offset, seq, .. }) => assert_eq!((path, offset, seq), (segment(1), from as u64, 3)),
                other => panic!("bit {bit}: {other:?}"),
            }
            let journal = open_with(&disk, OnDamage::Skip, 1 << 20).unwrap();
            let bytes = (length + if in_groups { FRAME } else { 0 }) as u64;
            let skipped = Skipped { path: segment(1), offset: from as u64, bytes, records: Some((3, 3)) };
            assert_eq!(journal.tail().skipped, std::slice::from_ref(&skipped));
            let mut expected = first(6);
            expected.remove(&3);
            let mut records = journal.records(1);
            let mut read = BTreeMap::new();
            while let Some(record) = records.read().unwrap() {
                read.insert(record.seq, record.payload.to_vec());
            }
            assert_eq!(read, expected);
            assert_eq!(records.skipped(), [skipped]);
            journal.writer().unwrap().close().unwrap();
            // It stays damaged: what follows is another segment.
            assert!(matches!(payloads(&open(&disk).unwrap(), 1), Err(Error::Damaged { seq: 3, .. })));
            assert_eq!(payloads(&open(&disk).unwrap(), 4).unwrap().len(), 3, "nobody asked for it");
        }
    }
}

/// Not acknowledged yet, with a good one after it: a hole that a power failure left, no damage.
#[test]
fn a_hole_behind_what_was_acknowledged_is_a_torn_end() {
    let (disk, bytes) = written(false, false);
    let places = places(false);
    let mut holed = bytes.clone();
    holed[places[3]..places[4]].fill(0);
    check(&with_bytes(&disk, &holed), 3, bytes.len() - places[3], "hole");
}

#[test]
fn zeros_at_the_end() {
    for (in_groups, with_mark) in [(false, false), (true, true)] {
        let (disk, bytes) = written(in_groups, with_mark);
        let mut longer = bytes.clone();
        longer.extend([0; 5_000]);
        check(&with_bytes(&disk, &longer), 6, 5_000, "zeros behind the last record");
        let from = places(in_groups)[4];
        for at in from..bytes.len() {
            let mut zeroed = bytes.clone();
            zeroed[at..].fill(0);
            let disk = with_bytes(&disk, &zeroed);
            let count = open(&disk).unwrap().tail().last;
            let whole =
                (0..6).filter(|&n| places_end(in_groups, n) <= at || bytes[at..places_end(in_groups, n)].iter().all(|b| *b == 0));
            assert_eq!(count as usize, whole.count(), "zeros from {at} on");
        }
    }
}

fn places_end(in_groups: bool, record: usize) -> usize {
    places(in_groups)[record] + FRAME + RECORDS[record].len()
}

/// A block of the same file, of another file, or of the same file of an earlier life, where a record should be.
#[test]
fn misplaced_blocks() {
    let same_size = ["aaaa", "bbbb", "cccc", "dddd"];
    let (disk, other) = (SimDisk::default(), SimDisk::default());
    write_all(&disk, &[&same_size]);
    write_all(&other, &[&same_size]);
    let (bytes, of_other) = (disk.bytes(&segment(1)), other.bytes(&segment(1)));
    let place = |record: usize| HEADER + FRAME + (record - 1) * (FRAME + 4);
    let block = FRAME + 4;
    let cases = [
        ("an earlier record of the file", &bytes, 2),
        ("a later record", &bytes, 4),
        ("the same record of another file", &of_other, 3),
    ];
    for (what, source, record) in cases {
        let mut swapped = bytes.clone();
        swapped[place(3)..place(3) + block].copy_from_slice(&source[place(record)..place(record) + block]);
        let found = open(&with_bytes(&disk, &swapped)).err();
        assert!(matches!(found, Some(Error::Damaged { seq: 3, .. })), "{what}: {found:?}");
    }
    // As the last record it is cut off.
    let mut swapped = bytes.clone();
    swapped[place(4)..place(4) + block].copy_from_slice(&of_other[place(4)..place(4) + block]);
    assert_eq!(open(&with_bytes(&disk, &swapped)).unwrap().tail().last, 3);
}

/// A record whose payload is a journal, as somebody may well journal.
#[test]
fn a_payload_that_looks_like_records() {
    let (_, bytes) = written(true, true);
    let disk = SimDisk::default();
    let mut writer = open(&disk).unwrap().writer().unwrap();
    writer.append(1, 1, b"first").unwrap();
    writer.append(1, 1, &bytes).unwrap();
    writer.sync().unwrap();
    drop(writer);
    let whole = disk.bytes(&segment(1));
    for at in HEADER + 2 * FRAME + 5..whole.len() - FRAME {
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        assert_eq!(open(&with_bytes(&disk, &flipped)).unwrap().tail().last, 1, "{at}: nothing inside the payload is a record");
    }
}

/// Four segments of two records.
fn segments() -> SimDisk {
    let disk = SimDisk::default();
    let long = "x".repeat(130);
    let mut writer = open_with(&disk, OnDamage::Stop, SHORT).unwrap().writer().unwrap();
    for _ in 0..8 {
        writer.append(1, 1, long.as_bytes()).unwrap();
        writer.sync().unwrap();
    }
    for first in [1, 3, 5, 7] {
        assert!(world::exists(&disk, &segment(first)), "{first}");
    }
    disk
}

#[test]
fn a_missing_segment() {
    let disk = segments();
    disk.take(&segment(3));
    let journal = open(&disk).unwrap();
    assert!(matches!(payloads(&journal, 1), Err(Error::Missing { from: 3, to: 4, .. })));
    assert!(matches!(payloads(&journal, 3), Err(Error::Missing { from: 3, to: 4, .. })));
    assert_eq!(payloads(&journal, 5).unwrap().len(), 4, "what a snapshot holds may be gone");
    drop(journal);
    let journal = open_with(&disk, OnDamage::Skip, 1 << 20).unwrap();
    let seqs: Vec<_> = payloads(&journal, 1).unwrap().into_keys().collect();
    assert_eq!(seqs, [1, 2, 5, 6, 7, 8]);
    drop(journal);

    let disk = segments();
    disk.take(&segment(1));
    assert!(matches!(payloads(&open(&disk).unwrap(), 1), Err(Error::Missing { from: 1, to: 2, .. })), "the first one");
}

#[test]
fn swapped_segments() {
    let disk = segments();
    let (three, five) = (disk.bytes(&segment(3)), disk.bytes(&segment(5)));
    disk.put(&segment(3), &five);
    disk.put(&segment(5), &three);
    match payloads(&open(&disk).unwrap(), 1) {
        Err(Error::Damaged { path, what, .. }) => {
            assert_eq!(path, segment(3));
            assert!(what.contains("renamed or misplaced"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    // The last one in another's place.
    let disk = segments();
    disk.put(&segment(7), &five);
    assert!(matches!(open(&disk).err(), Some(Error::Damaged { seq: 7, .. })));
}

#[test]
fn damage_in_an_earlier_segment() {
    let disk = segments();
    let good = disk.bytes(&segment(3));
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        disk.put(&segment(3), &flipped);
        let read = payloads(&open(&disk).unwrap(), 1);
        // Nothing is wanting when only a mark is damaged: each record is followed by one, the first mark is the segment's own only after
        // a restart.
        let record = FRAME + 130;
        let in_mark = at >= HEADER && (at - HEADER) % (record + FRAME) >= record;
        match read {
            Ok(read) if in_mark => assert_eq!(read.len(), 8),
            Err(Error::Damaged { path, .. }) if !in_mark => assert_eq!(path, segment(3)),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    for length in 0..good.len() - FRAME {
        disk.put(&segment(3), &good[..length]);
        let read = payloads(&open(&disk).unwrap(), 1);
        assert!(matches!(read, Err(Error::Damaged { .. } | Error::Missing { .. })), "cut at {length}: {read:?}");
    }
}

#[test]
fn empty_and_half_written_last_segments() {
    let header = segments().bytes(&segment(7))[..HEADER].to_vec();
    for length in 0..HEADER {
        let disk = segments();
        disk.put(&segment(9), &header[..length]);
        let journal = open(&disk).unwrap();
        assert_eq!((journal.tail().last, journal.tail().bytes_dropped), (8, length as u64));
        let mut writer = journal.writer().unwrap();
        assert_eq!(writer.append(1, 1, b"nine").unwrap(), 9);
        writer.close().unwrap();
        assert_eq!(payloads(&open(&disk).unwrap(), 1).unwrap().len(), 9);
    }
    let disk = SimDisk::default();
    disk.put(&segment(1), &[]);
    check(&disk, 0, 0, "nothing but an empty file");
}

#[test]
fn reading_from_anywhere() {
    let disk = segments();
    let journal = open(&disk).unwrap();
    assert_eq!(journal.oldest(), Some(1));
    for from in 0..=9 {
        let read: Vec<_> = payloads(&journal, from).unwrap().into_keys().collect();
        assert_eq!(read, (from.max(1)..=8).collect::<Vec<_>>());
    }
    assert!(payloads(&journal, 1_000).unwrap().is_empty());
}

/// The last segment's own header: stops; or, when skipping is allowed, puts the file aside and goes on behind the records before it.
#[test]
fn a_damaged_header_of_the_last_segment() {
    let good = segments();
    let bytes = good.bytes(&segment(7));
    for bit in 0..HEADER * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let disk = good.fork();
        disk.put(&segment(7), &flipped);
        assert!(matches!(open(&disk).err(), Some(Error::Damaged { offset: 0, seq: 7, .. })), "bit {bit}");
        let journal = open_with(&disk, OnDamage::Skip, 1 << 20).unwrap();
        assert_eq!((journal.tail().last, journal.tail().bytes_dropped), (6, bytes.len() as u64));
        let mut writer = journal.writer().unwrap();
        assert_eq!(writer.append(1, 1, b"seven").unwrap(), 7);
        writer.close().unwrap();
        assert_eq!(disk.bytes(&segment(7).with_extension("damaged")), flipped, "somebody may want to look at it");
        assert_eq!(payloads(&open(&disk).unwrap(), 1).unwrap().len(), 7);
    }
    let mut zeroed = bytes;
    zeroed.fill(0);
    good.put(&segment(7), &zeroed);
    assert!(matches!(open(&good).err(), Some(Error::Damaged { offset: 0, .. })), "no crash leaves that");
}

/// Numbers that no journal reaches, in names.
#[test]
fn names_beyond_reason_are_not_ours() {
    let disk = segments();
    for name in [
        "journal-18446744073709551615.log",
        "snapshot-18446744073709551615-0001.manifest",
        "journal-7.log",
        "journal-.log",
        "notes",
    ] {
        disk.put(&dir().join(name), b"anything");
    }
    assert_eq!(payloads(&open(&disk).unwrap(), 1).unwrap().len(), 8);
}

#[test]
fn a_version_to_come_is_refused_by_name() {
    let disk = segments();
    for first in [3, 7] {
        let mut bytes = disk.bytes(&segment(first));
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        let disk = disk.fork();
        disk.put(&segment(first), &bytes);
        let error = open(&disk).and_then(|journal| payloads(&journal, 1)).unwrap_err();
        assert!(matches!(error, Error::Version { found: 2, .. }), "{error}");
        assert!(error.to_string().contains(&format!("{first:020}.log is of format version 2")), "{error}");
    }
}
