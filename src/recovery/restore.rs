//! Going on where the last run was: operators begin with the states of the newest good snapshot, and records since are given back to the hot
//! path, in order, before anything new comes.
//!
//! A snapshot of another configuration or form of states can't be gone on from. Then all records that are still kept make the states again: those
//! that the snapshot included in quanta of a minute, for remembering only; what reaches further back fills up again, and is told of.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use dataflows::keeping::States;
use dataflows::model::{InstrumentId, Instruments};
use journal::{GroupSync, Journal, OnDamage, Options, RealDisk, Records, Snapshots, Tail};

use super::Entry;
use super::ongoing::Ongoing;
use super::record::{Encoder, PART, Record};
use super::recorder::{Bounds, Writing};
use super::snapshots::{self, About, Snapshotter, Stored};
use crate::crash;
use crate::engine::{self, Input};

/// Quanta that are only remembered are put together to such stretches of knowledge time, in ms.
const REMEMBERED_MS: u64 = 60_000;

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory.
    pub dir: PathBuf,
    /// What enters is durable after this time, and that of an fsync, at the latest.
    pub fsync_every: Duration,
    /// So often a snapshot is made.
    pub snapshot_every: Duration,
    /// Records are kept for so long at least.
    pub keep_for: Duration,
    /// Damaged records are passed over.
    pub skips_damage: bool,
}

/// A journal that belongs to this process, with what earlier runs left in it.
pub struct Opened {
    /// For the recorder.
    pub(super) writing: Writing,
    /// For who restores.
    pub past: Past,
    /// For the engine.
    pub states: Arc<States>,
    /// For the view `alerts`; empty: nothing is remembered.
    pub alerts: Vec<u8>,
    snapshots: Option<Snapshots>,
    fingerprint: String,
}

impl Opened {
    /// Starts the thread that makes snapshots. `stored` says how far everything is stored.
    ///
    /// # Errors
    /// If there can be no thread, or there is one already.
    pub fn snapshotter(&mut self, settings: &Settings, stored: Stored) -> anyhow::Result<Arc<Snapshotter>> {
        let snapshots = self.snapshots.take().context("a journal's snapshots are made by one thread")?;
        let thread = Snapshotter::start(snapshots, self.fingerprint.clone(), settings.keep_for, stored);
        Ok(Arc::new(thread.context("starting the thread that makes snapshots")?))
    }
}

/// What earlier runs left.
pub struct Past {
    records: Records,
    tail: Tail,
    bounds: Arc<Bounds>,
    named: Arc<Mutex<HashSet<InstrumentId>>>,
    dir: PathBuf,
    about: About,
    /// Records up to here are only remembered.
    remembered_to: u64,
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Where the earlier run ended, knowledge time, UTC ms; `None`: there was none.
    pub known_at: Option<u64>,
    /// The quantum of the snapshot that it began with.
    pub snapshot_at: Option<u64>,
    /// Quanta since.
    pub quanta: u64,
    /// Base rows since.
    pub rows: u64,
    /// How long reading took; the views may still be at it.
    pub took: Duration,
    /// Bytes at the journal's end that held no whole record.
    pub bytes_dropped: u64,
    /// Records that were passed over because they are damaged.
    pub records_skipped: u64,
    /// What went on beside the dataflow.
    pub ongoing: Ongoing,
}

/// Takes the journal in `settings.dir`. `fingerprint` is that of the states that operators can go on from.
///
/// # Errors
/// [`journal::Error`]: another process has it, it is damaged, or the disk fails.
pub fn open(settings: &Settings, instruments: Arc<Instruments>, fingerprint: String) -> anyhow::Result<Opened> {
    let on_damage = if settings.skips_damage { OnDamage::Skip } else { OnDamage::Stop };
    let journal = Journal::open(Arc::new(RealDisk), &settings.dir, Options { on_damage, ..Options::default() })?;
    crash::point("journal: opened");
    let tail = journal.tail().clone();
    tell_of(&tail, &settings.dir);
    let snapshots = journal.snapshots();
    let found = snapshots.newest_good()?;
    for (path, how) in &found.damaged {
        tracing::error!(path = %path.display(), how, "a snapshot is damaged, the one before it is taken");
    }
    let (mut about, mut states, mut alerts) = (About::default(), States::new(), Vec::new());
    let (mut from, mut remembered_to) = (1, 0);
    if let Some(snapshot) = found.snapshot {
        about = snapshots::read_about(&snapshot)?;
        if snapshot.manifest.fingerprint == fingerprint {
            (states, alerts) = snapshots::read_rest(&snapshot)?;
            from = snapshot.manifest.up_to + 1;
        } else {
            from = journal.oldest().unwrap_or(1);
            remembered_to = about.known_at;
            let (of, now) = (&snapshot.manifest.fingerprint, &fingerprint);
            tracing::warn!(
                of,
                now,
                "the snapshot is of another configuration or version: states are made again from the records that are kept, what looks further back fills up again"
            );
        }
    }
    crash::point("restore: snapshot read");
    let records = journal.records(from);
    let writer = journal.writer()?;
    let last = writer.durable();
    let sync = Arc::new(GroupSync::start(writer, settings.fsync_every)?);
    let bounds = Arc::new(Bounds::restoring(remembered_to));
    let known = about.names.iter().filter_map(|(venue, symbol)| instruments.intern(*venue, symbol)).collect();
    let named = Arc::new(Mutex::new(known));
    let encoder = Encoder::new(Arc::clone(&named));
    let writing = Writing {
        sync,
        encoder,
        instruments,
        bounds: Arc::clone(&bounds),
        held: VecDeque::new(),
        last,
        ongoing: about.ongoing.clone(),
    };
    let past = Past { records, tail, bounds, named, dir: settings.dir.clone(), about, remembered_to };
    Ok(Opened { writing, past, states: Arc::new(states), alerts, snapshots: Some(snapshots), fingerprint })
}

impl Past {
    /// Puts everything into the engine. `progress` is told how many quanta have been read.
    ///
    /// # Errors
    /// If the journal can't be read, or the workers are gone.
    pub fn restore(
        mut self,
        input: &mut Input,
        instruments: &Instruments,
        mut progress: impl FnMut(u64),
    ) -> anyhow::Result<Restored> {
        let begun = Instant::now();
        let known_at = Some(self.about.known_at).filter(|known_at| *known_at > 0);
        let snapshot_at = known_at.filter(|_| self.remembered_to == 0);
        let mut restored = Restored { known_at, snapshot_at, bytes_dropped: self.tail.bytes_dropped, ..Restored::default() };
        restored.ongoing = self.about.ongoing.clone();
        let mut past = engine::Past::default();
        // Of quanta that are only remembered: the last one that is in `past`, and the first.
        let mut together: Option<(u64, u64)> = None;
        let mut has_begun = false;
        while let Some(record) = self.records.read()? {
            let (known_at, kind, seq) = (record.known_at, record.kind, record.seq);
            let unreadable = || {
                format!(
                    "record {seq} of {} is whole but says nothing to this version of regimeflow; go on with the version that wrote it, or move the directory away",
                    self.dir.display()
                )
            };
            let Record { part, names, rows, clocks, entries } = Record::decode(record.payload).with_context(unreadable)?;
            if let Some((last, first)) = together
                && (known_at > self.remembered_to || known_at > first + REMEMBERED_MS)
            {
                give(input, last, &mut past, &mut restored)?;
                together = None;
            }
            // The first segment that is kept may begin in the middle of a quantum.
            has_begun |= part == 0;
            if !has_begun {
                continue;
            }
            if part == 0 && together.is_none() {
                past = engine::Past::default(); // parts of a quantum that was not complete
            }
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            named.extend(names.iter().filter_map(|(venue, symbol)| instruments.intern(*venue, symbol)));
            drop(named);
            restored.ongoing.hear(&clocks);
            restored.rows += rows.len() as u64;
            past.rows.extend(rows);
            past.clocks.extend(clocks);
            for entry in entries {
                let entry = serde_json::from_str(&entry).with_context(unreadable)?;
                if let Entry::Row(row) = &entry {
                    restored.ongoing.see(row);
                }
                past.entries.push(entry);
            }
            crash::point("restore: a record read");
            if known_at <= self.remembered_to {
                together = Some((known_at, together.map_or(known_at, |(_, first)| first)));
            } else if kind != PART {
                give(input, known_at, &mut past, &mut restored)?;
            }
            progress(restored.quanta);
        }
        if let Some((last, _)) = together {
            give(input, last, &mut past, &mut restored)?;
        }
        let skipped = self.records.skipped().iter().filter_map(|skipped| skipped.records);
        restored.records_skipped = skipped.map(|(from, to)| to - from + 1).sum();
        self.bounds.restored(restored.known_at.unwrap_or(0));
        restored.took = begun.elapsed();
        crash::point("restore: done");
        Ok(restored)
    }
}

fn give(input: &mut Input, known_at: u64, past: &mut engine::Past, restored: &mut Restored) -> anyhow::Result<()> {
    anyhow::ensure!(input.restore(known_at, std::mem::take(past)), "the workers stopped before everything was restored");
    restored.quanta += 1;
    restored.known_at = restored.known_at.max(Some(known_at));
    Ok(())
}

fn tell_of(tail: &Tail, dir: &Path) {
    let dir = dir.display();
    if let Some((path, offset)) = &tail.dropped_at {
        let (path, bytes) = (path.display(), tail.bytes_dropped);
        tracing::warn!(%path, offset, bytes, "the journal's end was torn: what had not become durable is dropped");
    }
    if let Some((from, to)) = tail.acknowledged_lost {
        tracing::error!(%dir, from, to, "the disk has lost records that it had said were durable");
    }
}
