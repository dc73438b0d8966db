//! The spool on a disk that is full now and then, and over restarts.

#![allow(clippy::unwrap_used)]

use std::io::{Error, Read, Result};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use journal::{AppendFile, Lock, RealDisk};

use super::super::batch::pack;
use super::super::batch::tests::batch;
use super::*;

/// The machine's disk, which is full now and then.
#[derive(Clone, Default)]
struct FullDisk(Arc<AtomicBool>);

struct FullFile(Box<dyn AppendFile>, Arc<AtomicBool>);

impl FullDisk {
    fn check(full: &AtomicBool) -> Result<()> {
        if full.load(SeqCst) { Err(Error::from(std::io::ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

impl AppendFile for FullFile {
    fn append(&mut self, bytes: &[u8]) -> Result<usize> {
        FullDisk::check(&self.1)?;
        self.0.append(bytes)
    }
    fn fsync(&mut self) -> Result<()> {
        FullDisk::check(&self.1)?;
        self.0.fsync()
    }
}

impl Disk for FullDisk {
    fn create_dir(&self, dir: &Path) -> Result<()> {
        RealDisk.create_dir(dir)
    }
    fn create(&self, path: &Path) -> Result<Box<dyn AppendFile>> {
        Self::check(&self.0)?;
        Ok(Box::new(FullFile(RealDisk.create(path)?, Arc::clone(&self.0))))
    }
    fn read(&self, path: &Path) -> Result<Box<dyn Read + Send>> {
        RealDisk.read(path)
    }
    fn len(&self, path: &Path) -> Result<u64> {
        RealDisk.len(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        RealDisk.remove(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn fsync_dir(&self, dir: &Path) -> Result<()> {
        RealDisk.fsync_dir(dir)
    }
    fn free_space(&self, dir: &Path) -> Result<u64> {
        RealDisk.free_space(dir)
    }
    fn lock(&self, path: &Path) -> Result<Lock> {
        RealDisk.lock(path)
    }
}

fn opened(disk: &FullDisk, dir: &Path, bytes_max: u64) -> Spool {
    let spool = Spool::new(Arc::new(disk.clone()), dir, bytes_max);
    spool.open().unwrap();
    spool
}

fn append(spool: &Spool, from: u64, to: u64) {
    for parcel in pack(vec![batch("a", from, to, 100)]).unwrap() {
        spool.append(parcel, vec![to]);
    }
}

/// Pumps until that mark came out, or some time has passed.
fn pumped(spool: &Spool, mark: u64, limit_ms: u64) -> bool {
    let until = Instant::now() + Duration::from_millis(limit_ms);
    while Instant::now() < until {
        if spool.pump().contains(&mark) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn round(spool: &Spool) -> Round {
    match spool.next().unwrap() {
        Next::Round(round) => round,
        _ => panic!("nothing to store"),
    }
}

#[test]
fn what_is_durable_is_there_after_a_restart_until_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FullDisk::default();
    let spool = opened(&disk, dir.path(), 1 << 30);
    append(&spool, 0, 10);
    append(&spool, 10, 30);
    assert!(pumped(&spool, 30, 5_000));
    spool.close();

    let spool = opened(&disk, dir.path(), 1 << 30);
    let health = spool.health();
    assert_eq!((health.rows, health.oldest_known_at), (30, Some(0)));
    append(&spool, 30, 31);
    assert!(pumped(&spool, 31, 5_000));
    let first = round(&spool);
    assert!(first.is_last && first.batches.len() == 1, "two parcels of one table are one insert");
    assert_eq!(*first.batches[0], batch("a", 0, 31, 100));
    spool.done(&first);
    assert!(spool.is_empty() && spool.health() == SpoolHealth::default());
    spool.close();
    assert!(opened(&disk, dir.path(), 1 << 30).is_empty(), "it was noted");
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FullDisk::default();
    let spool = opened(&disk, dir.path(), 1 << 30);
    append(&spool, 0, 10);
    assert!(pumped(&spool, 10, 5_000));
    disk.0.store(true, SeqCst);
    append(&spool, 10, 20);
    assert!(!pumped(&spool, 20, 400), "it isn't safe");
    assert!(spool.health().full && spool.is_busy());
    // ClickHouse may come back first: then it is stored from memory.
    let on_disk = round(&spool);
    assert_eq!(on_disk.batches[0].rows, 10);
    spool.done(&on_disk);
    let in_memory = round(&spool);
    assert_eq!(*in_memory.batches[0], batch("a", 10, 20, 100));
    spool.done(&in_memory);
    assert!(pumped(&spool, 20, 400) && spool.is_empty());
    append(&spool, 20, 25);
    append(&spool, 25, 30);
    let in_memory = round(&spool);
    disk.0.store(false, SeqCst);
    assert!(pumped(&spool, 30, 5_000));
    append(&spool, 30, 40);
    spool.done(&in_memory); // what became durable meanwhile is stored once more, what came after it isn't forgotten
    assert!(pumped(&spool, 40, 5_000));
    let on_disk = round(&spool);
    assert_eq!(*on_disk.batches[0], batch("a", 20, 40, 100));
    spool.done(&on_disk);
    assert_eq!((spool.health().full, spool.health().rows), (false, 0));
}

#[test]
fn what_was_stored_before_the_directory_was_open_hides_nothing_older() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FullDisk::default();
    let spool = opened(&disk, dir.path(), 1 << 30);
    append(&spool, 0, 10);
    assert!(pumped(&spool, 10, 5_000));
    spool.close();

    let spool = Spool::new(Arc::new(disk.clone()), dir.path(), 1 << 30);
    append(&spool, 10, 15);
    let in_memory = round(&spool);
    assert_eq!(*in_memory.batches[0], batch("a", 10, 15, 100));
    spool.open().unwrap();
    disk.0.store(true, SeqCst);
    assert!(!spool.pump().contains(&15), "it has a place behind the old ones, and isn't durable");
    spool.done(&in_memory);
    assert!(spool.pump().contains(&15), "ClickHouse has it");
    assert_eq!((spool.health().rows, spool.health().oldest_known_at), (15, Some(0)));

    disk.0.store(false, SeqCst);
    append(&spool, 15, 16);
    assert!(pumped(&spool, 16, 5_000));
    let on_disk = round(&spool);
    assert_eq!(*on_disk.batches[0], batch("a", 0, 16, 100), "the old ones, and once more the stored ones");
    spool.done(&on_disk);
    assert!(spool.is_empty() && spool.health() == SpoolHealth::default());
}

#[test]
fn beyond_its_bound_it_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(&FullDisk::default(), dir.path(), 700);
    append(&spool, 0, 100); // one is always taken
    append(&spool, 100, 200);
    assert!(pumped(&spool, 100, 5_000) && !pumped(&spool, 200, 300));
    assert!(spool.health().full);
    spool.done(&round(&spool));
    assert!(pumped(&spool, 200, 5_000) && !spool.health().full);
}
