//! The spool: where rows go while ClickHouse takes none, and come from when it does again, oldest first.
//!
//! On disk it is a [`journal`] of parcels in `store.spool_dir`: a record is acknowledged after its fsync (at most [`SYNC_EVERY`] later), survives
//! kill -9, and is read back by whoever opens the directory next. How far it has been stored is a snapshot without parts; segments
//! before it are removed. A kill between storing and noting that stores some rows twice, which no view shows.
//!
//! A parcel stays in memory until it is durable. So a disk that is full or fails loses nothing: at most [`PENDING_BYTES_MAX`] wait, then whoever
//! pushes waits, and they go to ClickHouse from memory if that comes back first.
//!
//! Limits: `store.spool_bytes_max` of parcels, and one segment more that is not removed yet. In memory: what is pending, and 32 bytes a
//! parcel (a parcel a second). A disk without a single free block can't note progress, so it keeps stored segments until there is one.

mod round;
#[cfg(test)]
mod tests;
mod told;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::{Disk, GroupSync, Journal, OnDamage, Reader, Seq, Snapshots};

pub(crate) use round::{Next, Round};
pub use told::SpoolHealth;

use super::StoreError;
use super::batch::{PARCEL_KIND, Parcel, head};
use round::{Merged, Source};
use told::{Away, Told};

/// A parcel is durable so long after it was taken, and the time of an fsync.
pub const SYNC_EVERY: Duration = Duration::from_millis(100);
/// Parcels that are not durable yet.
pub const PENDING_BYTES_MAX: usize = 8 << 20;
/// Stored in one go when draining, unpacked: small batches of many seconds become one insert a table.
pub const ROUND_BYTES_MAX: usize = 8 << 20;

const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// Above the largest payload that a journal takes.
const BUFFER_BYTES_MAX: usize = 18 << 20;
/// A frame's header in the journal.
const FRAME_BYTES: u64 = 32;

/// See the module.
pub(crate) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

struct OnDisk {
    sync: GroupSync,
    reader: Reader,
    snapshots: Snapshots,
}

#[derive(Default)]
struct State {
    on_disk: Option<Arc<OnDisk>>,
    /// In the journal, not stored in ClickHouse.
    entries: VecDeque<Entry>,
    /// Not known to be durable. The first ones may have been given to the journal.
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Marks of parcels that are safe now, for [`Spool::pump`] to hand out.
    safe: Vec<u64>,
    /// Stored in ClickHouse up to here, and noted on disk up to there.
    stored: Seq,
    noted: Seq,
    rows: u64,
    bytes: u64,
    health: Told,
}

struct Entry {
    seq: Seq,
    rows: u32,
    bytes: u32,
    known_at: u64,
}

struct Pending {
    parcel: Arc<Parcel>,
    marks: Vec<u64>,
    seq: Option<Seq>,
}

impl Spool {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, bytes_max: u64) -> Self {
        Self { dir: dir.to_owned(), bytes_max, disk, state: Mutex::default() }
    }

    /// Opens the directory and finds what an earlier run left. Blocks.
    pub fn open(&self) -> Result<(), StoreError> {
        let segment_bytes = (self.bytes_max / 8).clamp(64 << 10, SEGMENT_BYTES_MAX);
        let options = journal::Options { segment_bytes, buffer_bytes_max: BUFFER_BYTES_MAX, on_damage: OnDamage::Skip };
        let failed = |error: journal::Error| StoreError::Spool(format!("the spool can't be opened: {error}"));
        let journal = Journal::open(Arc::clone(&self.disk), &self.dir, options).map_err(failed)?;
        let (reader, snapshots) = (journal.reader(), journal.snapshots());
        let found = snapshots.newest_good().map_err(failed)?;
        let stored = found.snapshot.map_or(0, |snapshot| snapshot.manifest.up_to);
        let mut entries = VecDeque::new();
        let mut records = journal.records(stored + 1);
        while let Some(record) = records.read().map_err(failed)? {
            let Some((rows, _)) = head(record.payload).filter(|_| record.kind == PARCEL_KIND) else {
                return Err(StoreError::Spool(format!(
                    "record {} of the spool in {} is of another form (kind {}): use the version that wrote it, or move the directory away",
                    record.seq,
                    self.dir.display(),
                    record.kind
                )));
            };
            let bytes = record.payload.len() as u32; // 16 MiB at most
            entries.push_back(Entry { seq: record.seq, rows, bytes, known_at: record.known_at });
        }
        for lost in records.skipped().iter().chain(&journal.tail().skipped) {
            tracing::error!(file = %lost.path.display(), offset = lost.offset, records = ?lost.records, "the spool is damaged: rows are lost");
        }
        let sync = GroupSync::start(journal.writer().map_err(failed)?, SYNC_EVERY).map_err(failed)?;
        let mut state = self.lock();
        state.rows += entries.iter().map(|entry| u64::from(entry.rows)).sum::<u64>();
        state.bytes += entries.iter().map(Entry::frame_bytes).sum::<u64>();
        if state.rows > 0 {
            let (rows, bytes, dir) = (state.rows, state.bytes, self.dir.display());
            tracing::info!(rows, bytes, %dir, "rows of an earlier run are in the spool; they are stored now, beside new ones");
        }
        (state.entries, state.stored, state.noted) = (entries, stored, stored);
        state.on_disk = Some(Arc::new(OnDisk { sync, reader, snapshots }));
        Ok(())
    }

    /// Lets go of the directory after a last attempt to make everything durable. Blocks.
    pub fn close(&self) {
        let on_disk = self.lock().on_disk.take();
        drop(on_disk); // its thread syncs before it ends
    }

    /// Takes a parcel. Its marks come out of [`Self::pump`] once it is safe.
    pub fn append(&self, parcel: Parcel, marks: Vec<u64>) {
        let mut state = self.lock();
        state.rows += u64::from(parcel.rows);
        state.bytes += frame_bytes(parcel.payload.len());
        state.pending_bytes += parcel.payload.len();
        state.pending.push_back(Pending { parcel: Arc::new(parcel), marks, seq: None });
    }

    /// Moves parcels on to the disk, and answers with the marks of those that became safe.
    pub fn pump(&self) -> Vec<u64> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(disk) = state.on_disk.clone() {
            let mut room = None;
            let waiting_from = state.pending.iter().take_while(|pending| pending.seq.is_some()).count();
            for pending in state.pending.iter_mut().skip(waiting_from) {
                let parcel = &pending.parcel;
                let used: u64 = *room.get_or_insert_with(|| state.entries.iter().map(Entry::frame_bytes).sum());
                let bytes = frame_bytes(parcel.payload.len());
                if used + bytes > self.bytes_max && !state.entries.is_empty() {
                    state.health.say_full(&self.dir, self.bytes_max);
                    break;
                }
                match disk.sync.append(parcel.known_at, PARCEL_KIND, &parcel.payload) {
                    Ok(seq) => {
                        pending.seq = Some(seq);
                        room = Some(used + bytes);
                        let (rows, bytes) = (parcel.rows, parcel.payload.len() as u32);
                        state.entries.push_back(Entry { seq, rows, bytes, known_at: parcel.known_at });
                    }
                    Err(journal::Refused::Full { .. }) => break,
                    Err(refused) => {
                        state.health.say_disk(&refused.to_string());
                        break;
                    }
                }
            }
            let durable = disk.sync.durable();
            while let Some(first) = state.pending.front().filter(|first| first.seq.is_some_and(|seq| seq <= durable)) {
                state.safe.extend_from_slice(&first.marks);
                state.pending_bytes -= first.parcel.payload.len();
                state.pending.pop_front();
            }
            match disk.sync.health().failing {
                Some((_, error)) => state.health.say_disk(&error),
                None => state.health.disk_is_well(state.pending.iter().all(|pending| pending.seq.is_some())),
            }
        }
        std::mem::take(&mut state.safe)
    }

    /// Parcels wait for the disk.
    pub fn is_busy(&self) -> bool {
        !self.lock().pending.is_empty()
    }

    /// Whether more may be taken.
    pub fn has_room(&self) -> bool {
        self.lock().pending_bytes < PENDING_BYTES_MAX
    }

    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && state.pending.is_empty()
    }

    /// What is to be stored next. Blocks.
    pub fn next(&self) -> Result<Next, StoreError> {
        let state = self.lock();
        let durable = state.on_disk.as_ref().map_or(0, |disk| disk.sync.durable());
        if let Some(first) = state.entries.front().map(|entry| entry.seq).filter(|&first| first <= durable)
            && let Some(disk) = state.on_disk.clone()
        {
            let last = state.entries.back().map_or(first, |entry| entry.seq.min(durable));
            drop(state);
            return self.round_from_disk(&disk, first, last).map(Next::Round);
        }
        let is_stuck = state.on_disk.is_none() || state.health.full || state.health.disk_error.is_some();
        if state.pending.is_empty() {
            return Ok(Next::Nothing);
        } else if !is_stuck {
            return Ok(Next::Soon);
        }
        let mut parcels: Vec<_> = state.pending.iter().map(|pending| Arc::clone(&pending.parcel)).collect();
        drop(state);
        let (mut round, mut taken) = (Merged::default(), 0);
        while taken < parcels.len() && round.bytes < ROUND_BYTES_MAX {
            round.add(&parcels[taken].payload)?;
            taken += 1;
        }
        let is_last = taken == parcels.len();
        parcels.truncate(taken);
        Ok(Next::Round(round.done(is_last, Source::Memory { parcels })))
    }

    fn round_from_disk(&self, disk: &OnDisk, first: Seq, last: Seq) -> Result<Round, StoreError> {
        let failed = |error: journal::Error| StoreError::Spool(format!("the spool can't be read: {error}"));
        let mut records = disk.reader.records(first, last).map_err(failed)?;
        let (mut round, mut up_to) = (Merged::default(), last);
        while let Some(record) = records.read().map_err(failed)? {
            let next_bytes = head(record.payload).map_or(0, |(_, bytes)| bytes);
            if round.bytes > 0 && round.bytes + next_bytes > ROUND_BYTES_MAX {
                up_to = record.seq - 1;
                break;
            }
            round.add(record.payload)?;
        }
        for lost in records.skipped() {
            tracing::error!(file = %lost.path.display(), offset = lost.offset, records = ?lost.records, "the spool is damaged: rows are lost");
        }
        Ok(round.done(up_to == last, Source::Disk { up_to }))
    }

    /// ClickHouse has stored this. Blocks.
    pub fn done(&self, round: &Round) {
        let mut state = self.lock();
        match &round.from {
            Source::Disk { up_to } => state.stored = *up_to,
            // Some of its first may have become durable meanwhile, and are pending no more; with them the rest is still at the front.
            Source::Memory { parcels } => {
                let is_of_round = |pending: &Pending| parcels.iter().any(|parcel| Arc::ptr_eq(parcel, &pending.parcel));
                while let Some(first) = state.pending.pop_front_if(|first| is_of_round(first)) {
                    state.safe.extend_from_slice(&first.marks);
                    state.pending_bytes -= first.parcel.payload.len();
                    match first.seq {
                        Some(seq) => {
                            // Not if older ones are before it: the directory was opened meanwhile, or its first became durable. Then it is
                            // stored once more with them, which no view shows.
                            if state.entries.front().is_some_and(|entry| entry.seq == seq) {
                                state.stored = seq;
                                state.forget_stored();
                            }
                        }
                        None => {
                            state.rows -= u64::from(first.parcel.rows);
                            state.bytes -= frame_bytes(first.parcel.payload.len());
                        }
                    }
                }
            }
        }
        state.forget_stored();
        if let Some(away) = &mut state.health.away {
            away.answers = true;
        }
        let Some(disk) = state.on_disk.clone() else { return };
        let (stored, noted) = (state.stored.min(disk.sync.durable()), state.noted);
        drop(state);
        if stored > noted {
            let outcome = disk.snapshots.begin(stored, "stored").and_then(journal::NewSnapshot::commit);
            let outcome = outcome.and_then(|_| disk.snapshots.retain(1, u64::MAX));
            let mut state = self.lock();
            match outcome {
                Ok(_) => (state.noted, state.health.note_failed) = (stored, false),
                Err(error) if !std::mem::replace(&mut state.health.note_failed, true) => {
                    tracing::warn!(%error, "how far the spool is stored can't be noted; it is tried again");
                }
                Err(_) => {}
            }
        }
    }

    /// ClickHouse takes no rows.
    pub fn say_away(&self, error: &StoreError, must_act: bool) {
        let mut state = self.lock();
        let text = error.to_string();
        let known = state.health.away.as_ref().map(|away| (away.error == text, away.must_act));
        if must_act && known.is_none_or(|(same, acting)| !(same && acting)) {
            tracing::error!(%error, advice = error.advice(), "ClickHouse refuses rows until somebody acts; they wait in the spool, and it is tried again");
        } else if known.is_none() {
            tracing::warn!(%error, dir = %self.dir.display(), "ClickHouse takes no rows: they go to the spool");
        }
        let away = state.health.away.get_or_insert_with(Away::begin);
        (away.error, away.answers, away.must_act) = (text, false, must_act);
    }

    /// Everything is stored.
    pub fn say_drained(&self, rows: u64) {
        let Some(away) = self.lock().health.away.take() else { return };
        let secs = away.since.elapsed().as_secs();
        tracing::info!(rows, secs, "ClickHouse has all rows of the spool");
    }

    pub fn health(&self) -> SpoolHealth {
        let state = self.lock();
        let told = &state.health;
        // Not the first: what was rescued from a failing insert is older than what was packed before it.
        let times = state.entries.iter().map(|entry| entry.known_at);
        let oldest = times.chain(state.pending.iter().map(|pending| pending.parcel.known_at)).min();
        let answers = told.away.as_ref().is_none_or(|away| away.answers);
        SpoolHealth {
            rows: state.rows,
            bytes: state.bytes,
            oldest_known_at: oldest,
            away: !answers,
            draining: answers && state.rows > 0,
            full: told.full || told.disk_error.is_some(),
            last_error: told.disk_error.clone().or_else(|| told.away.as_ref().filter(|a| !a.answers).map(|a| a.error.clone())),
            dead_letters: 0, // the target counts them
        }
    }

    /// Why the directory can't be had, while it can't.
    pub fn say_disk(&self, error: &str) {
        self.lock().health.say_disk(error);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_stored(&mut self) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.seq <= self.stored) {
            self.rows -= u64::from(entry.rows);
            self.bytes -= entry.frame_bytes();
        }
    }
}

impl Entry {
    fn frame_bytes(&self) -> u64 {
        frame_bytes(self.bytes as usize)
    }
}

fn frame_bytes(payload: usize) -> u64 {
    payload as u64 + FRAME_BYTES
}
