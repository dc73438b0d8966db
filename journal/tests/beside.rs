//! Reading beside the writer: exactly what is durable, over segments that come and go.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use journal::{Journal, Options, RealDisk, Seq};

#[test]
fn what_is_durable_is_read_while_more_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 400, ..Options::default() };
    let journal = Journal::open(Arc::new(RealDisk), dir.path(), options).unwrap();
    let (reader, snapshots) = (journal.reader(), journal.snapshots());
    let mut writer = journal.writer().unwrap();
    let read = |from: Seq, to: Seq| {
        let (mut records, mut found) = (reader.records(from, to).unwrap(), Vec::new());
        while let Some(record) = records.read().unwrap() {
            assert_eq!(record.payload, [record.seq as u8; 50]);
            found.push(record.seq);
        }
        found
    };
    for seq in 1..=40 {
        writer.append(seq, 1, &[seq as u8; 50]).unwrap();
        if seq % 3 == 0 {
            let durable = writer.sync().unwrap();
            assert_eq!(durable, seq);
        }
    }
    let durable = writer.durable();
    assert_eq!(durable, 39);
    assert_eq!(read(1, durable), (1..=39).collect::<Vec<_>>());
    assert_eq!(read(17, 23), (17..=23).collect::<Vec<_>>());

    snapshots.begin(20, "any").unwrap().commit().unwrap();
    assert!(!snapshots.retain(1, u64::MAX).unwrap().segments.is_empty());
    assert_eq!(read(21, durable), (21..=39).collect::<Vec<_>>(), "segments before it are gone");
    writer.sync().unwrap();
    assert_eq!(read(40, 40), [40]);
}
