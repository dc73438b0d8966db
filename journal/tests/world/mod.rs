//! A program's lives on one disk, and what must be true after each: everything acknowledged is there, nothing is invented,
//! a snapshot is whole or not there.

#![allow(dead_code, reason = "each test binary uses some of it")]

pub mod disk;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::SimDisk;
use journal::{Error, Journal, OnDamage, Options, Seq, Snapshots, Writer};

pub fn dir() -> PathBuf {
    PathBuf::from("/state/journal")
}

/// Segments of a few records.
pub fn small() -> Options {
    Options { segment_bytes: 400, buffer_bytes_max: 4_096, on_damage: OnDamage::Stop }
}

pub fn segment(first: Seq) -> PathBuf {
    dir().join(format!("journal-{first:020}.log"))
}

pub fn open(disk: &SimDisk) -> Result<Journal, Error> {
    Journal::open(Arc::new(disk.clone()), &dir(), small())
}

/// The records' payloads from `from` on.
pub fn payloads(journal: &Journal, from: Seq) -> Result<BTreeMap<Seq, Vec<u8>>, Error> {
    let mut records = journal.records(from);
    let mut read = BTreeMap::new();
    while let Some(record) = records.read()? {
        read.insert(record.seq, record.payload.to_vec());
    }
    Ok(read)
}

/// What was ever written, and what was ever acknowledged.
pub struct World {
    pub disk: SimDisk,
    offered: BTreeMap<Seq, Vec<Vec<u8>>>,
    acknowledged: BTreeMap<Seq, Vec<u8>>,
    life: u32,
}

impl World {
    pub fn new(disk: SimDisk) -> Self {
        Self { disk, offered: BTreeMap::new(), acknowledged: BTreeMap::new(), life: 0 }
    }

    pub fn fork(&self) -> Self {
        let (offered, acknowledged) = (self.offered.clone(), self.acknowledged.clone());
        Self { disk: self.disk.fork(), offered, acknowledged, life: self.life }
    }

    /// Opens the journal and looks at everything in it. Errors are the disk's; anything untrue panics.
    pub fn recover(&self) -> Result<(Journal, BTreeMap<Seq, Vec<u8>>), Error> {
        let journal = open(&self.disk)?;
        let tail = journal.tail().clone();
        assert_eq!(tail.acknowledged_lost, None, "a crash took what was acknowledged");
        assert!(tail.skipped.iter().all(|skipped| skipped.records.is_none()), "{:?}", tail.skipped);
        let found = journal.snapshots().newest_good()?;
        if let Some((path, why)) = found.damaged.iter().find(|(_, why)| !why.contains("can't be read")) {
            panic!("a crash left a damaged snapshot: {} {why}", path.display());
        }
        if !found.damaged.is_empty() {
            return Err(Error::Asked("the disk failed".into()));
        }
        let (mut state, mut up_to) = (BTreeMap::new(), 0);
        if let Some(snapshot) = found.snapshot {
            up_to = snapshot.manifest.up_to;
            let mut text = String::new();
            let read = snapshot.open("state")?.unwrap().read_to_string(&mut text);
            read.unwrap();
            state = text.lines().zip(1..).map(|(line, seq)| (seq, line.as_bytes().to_vec())).collect();
            assert_eq!(state.len() as u64, up_to, "a snapshot holds what it says");
        }
        state.extend(payloads(&journal, up_to + 1)?);
        self.check(&state);
        Ok((journal, state))
    }

    fn check(&self, state: &BTreeMap<Seq, Vec<u8>>) {
        for (at, (seq, payload)) in (1..).zip(state) {
            assert_eq!(at, *seq, "records have no holes");
            assert!(self.offered[seq].contains(payload), "record {seq} was invented: {:?}", String::from_utf8_lossy(payload));
        }
        for (seq, payload) in &self.acknowledged {
            assert_eq!(state.get(seq), Some(payload), "record {seq} was acknowledged");
        }
    }

    /// One life: recover, then write, make durable, take snapshots and forget, whatever the disk does. Ends early when the machine stops.
    pub fn live(&mut self) -> Result<(), Error> {
        self.life += 1;
        let (journal, mut state) = self.recover()?;
        let snapshots = journal.snapshots();
        let mut writer = journal.writer()?;
        self.acknowledge(&state, &writer);
        for round in 0..3 {
            for size in [1, 90, 17] {
                self.append(&mut writer, &mut state, size + round);
            }
            self.sync(&mut writer, &state);
            self.append(&mut writer, &mut state, 60);
            self.append(&mut writer, &mut state, 120);
            self.sync(&mut writer, &state);
            if round != 1 {
                let _ = self.snapshot(&snapshots, &state, writer.durable()); // its failure must not matter
                let _ = snapshots.retain(2, u64::MAX);
            }
        }
        self.append(&mut writer, &mut state, 30);
        if self.life.is_multiple_of(2) {
            return Ok(()); // killed with a record in its hands
        }
        let durable = writer.close()?;
        self.acknowledged.extend(state.range(..=durable).map(|(seq, payload)| (*seq, payload.clone())));
        Ok(())
    }

    fn append(&mut self, writer: &mut Writer, state: &mut BTreeMap<Seq, Vec<u8>>, size: usize) {
        let seq = writer.next();
        let payload = format!("life {} record {seq} {}", self.life, "x".repeat(size)).into_bytes();
        let taken = writer.append(1_000 + seq, 7, &payload).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(taken, seq);
        self.offered.entry(seq).or_default().push(payload.clone());
        state.insert(seq, payload);
    }

    fn sync(&mut self, writer: &mut Writer, state: &BTreeMap<Seq, Vec<u8>>) {
        for _ in 0..3 {
            let synced = writer.sync();
            self.acknowledge(state, writer);
            match synced {
                Ok(durable) => {
                    assert_eq!(durable + 1, writer.next());
                    break;
                }
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            // Once failed, the disk works again: then so does the journal, by itself.
            assert!(self.disk.is_down() || writer.durable() + 1 < writer.next());
        }
    }

    fn acknowledge(&mut self, state: &BTreeMap<Seq, Vec<u8>>, writer: &Writer) {
        self.acknowledged.extend(state.range(..=writer.durable()).map(|(seq, payload)| (*seq, payload.clone())));
    }

    fn snapshot(&self, snapshots: &Snapshots, state: &BTreeMap<Seq, Vec<u8>>, up_to: Seq) -> Result<(), Error> {
        let mut new = snapshots.begin(up_to, "a test")?;
        new.part("state", |out| {
            state.range(..=up_to).try_for_each(|(_, payload)| {
                out.write_all(payload)?;
                out.write_all(b"\n")
            })
        })?;
        new.part("empty", |_| Ok(()))?;
        new.commit().map(|_| ())
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }
}

/// More cases, for the long run.
pub fn is_soak() -> bool {
    std::env::var_os("REGIMEFLOW_SOAK").is_some()
}

pub fn exists(disk: &SimDisk, path: &Path) -> bool {
    use journal::Disk;
    disk.len(path).is_ok()
}
