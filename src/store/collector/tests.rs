//! What a flush does with inserts that are under way.

#![allow(clippy::unwrap_used)]

use super::super::batch::tests::batch;
use super::*;

fn collector(dir: &std::path::Path) -> (Collector, Arc<Spool>) {
    let target = Target::new(clickhouse::Client::default(), "nowhere".into(), true, dir);
    let spool = Arc::new(Spool::new(Arc::new(journal::RealDisk), dir, 1 << 20));
    let (instruments, shared) = (Arc::new(Instruments::default()), Arc::new(Shared::default()));
    (Collector::new(Arc::new(target), instruments, WriterOptions::live(), shared, Some(Arc::clone(&spool))), spool)
}

/// An insert that never ends, with its bytes or without.
fn begin(collector: &mut Collector, id: u64, mark: u64, bytes: Option<Batch>) -> Arc<OnceLock<Arc<Batch>>> {
    let slot = Arc::new(OnceLock::new());
    bytes.into_iter().for_each(|batch| slot.set(Arc::new(batch)).unwrap());
    collector.marks.reach(mark, 1);
    let abort = collector.inserts.spawn(std::future::pending());
    collector.in_flight.insert(id, InFlight { since: Instant::now(), mark, batch: Arc::clone(&slot), abort });
    slot
}

#[tokio::test]
async fn a_late_flush_takes_no_insert_that_has_no_bytes_yet() {
    let dir = tempfile::tempdir().unwrap();
    let (mut collector, spool) = collector(dir.path());
    begin(&mut collector, 0, 20, Some(batch("a", 0, 10, 20)));
    let slot = begin(&mut collector, 1, 30, None);
    let since = Instant::now().checked_sub(FLUSH_DIRECT_MAX + Duration::from_millis(1)).unwrap();
    collector.flush = Some(Flush { since, done: None });
    collector.hurry(&spool);
    assert_eq!((collector.rescued.len(), collector.in_flight.len()), (1, 1));
    assert!(collector.spooling && collector.marks.acknowledged() < 20, "neither is safe yet");

    slot.set(Arc::new(batch("a", 10, 20, 30))).unwrap();
    collector.hurry(&spool);
    assert_eq!((collector.rescued.len(), collector.in_flight.len()), (2, 0));
    assert!(collector.marks.acknowledged() < 20);
}
