//! Going on where the last run was: operators begin with the states of the newest good snapshot, and records since are given back to the hot
//! path, in order, before anything new comes.
//!
//! A snapshot of another configuration or form of states can't be gone on from. Then all records that are still kept make the states again: those
//! that the snapshot included in quanta of a minute, for remembering only; what reaches further back fills up again, and is told of.
//! Several processes begin together ([`super::joint`]).

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use dataflows::keeping::States;
use dataflows::model::{InstrumentId, Instruments};
use journal::{GroupSync, Journal, OnDamage, Options, RealDisk, Records, Seq, Snapshots, Tail};

use super::Entry;
use super::joint::{self, Joint};
use super::ongoing::Ongoing;
use super::record::{Encoder, PART, Record};
use super::recorder::{Bounds, Writing};
use super::snapshots::{self, About, Common, Snapshotter, Stored};
use crate::cluster::Joined;
use crate::crash;
use crate::engine::{self, CommonSnapshots, Input};
use crate::rules::Rules;

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
    /// Without that: the rules that counted when the snapshot was made.
    pub rules: Option<Rules>,
    /// With several processes: where all of them begin.
    pub start: Option<engine::Start>,
    snapshots: Option<Snapshots>,
    fingerprint: String,
    /// Good snapshots, each with its last record; told to those who have others to agree with.
    on_disk: Vec<(u64, Seq)>,
}

impl Opened {
    /// Starts the thread that makes snapshots. `stored` says how far everything is stored, `common` which of them all processes have, if there are several.
    ///
    /// # Errors
    /// If there can be no thread, or there is one already.
    pub fn snapshotter(
        &mut self,
        settings: &Settings,
        stored: Stored,
        common: Option<CommonSnapshots>,
    ) -> anyhow::Result<Arc<Snapshotter>> {
        let snapshots = self.snapshots.take().context("a journal's snapshots are made by one thread")?;
        let on_disk = std::mem::take(&mut self.on_disk);
        let common = common.map(|snapshots| Common { snapshots, on_disk });
        let thread = Snapshotter::start(snapshots, self.fingerprint.clone(), settings.keep_for, stored, common);
        Ok(Arc::new(thread.context("starting the thread that makes snapshots")?))
    }
}

/// What earlier runs left.
pub struct Past {
    records: Records,
    bounds: Arc<Bounds>,
    named: Arc<Mutex<HashSet<InstrumentId>>>,
    dir: PathBuf,
    about: About,
    /// Records up to here are only remembered.
    remembered_to: Option<u64>,
    /// Where the earlier run is known to have ended, whatever is read; 0: nowhere.
    ended_at: u64,
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Where the earlier run ended, knowledge time, UTC ms; `None`: there was none.
    pub known_at: Option<u64>,
    /// Quanta since.
    pub quanta: u64,
    /// Base rows since.
    pub rows: u64,
    /// How long reading took; the views may still be at it.
    pub took: Duration,
    /// What went on beside the dataflow.
    pub ongoing: Ongoing,
}

/// What a run begins with.
#[derive(Default)]
pub(super) struct Begin {
    pub about: About,
    pub states: States,
    /// The view `alerts`.
    pub alerts: Vec<u8>,
    pub rules: Option<Rules>,
    /// The first record that is to be read.
    pub from: Seq,
    /// Records up to here are only remembered.
    pub remembered_to: Option<u64>,
    /// With several processes.
    pub joint: Option<Joint>,
}

/// Takes the journal in `settings.dir`. `fingerprint` is that of the states that operators can go on from. `joined`: the other processes, which do the same.
///
/// # Errors
/// [`journal::Error`]: another process has it, it is damaged, or the disk fails; [`super::JournalsDiffer`]; [`crate::cluster::PeerLost`].
pub fn open(
    settings: &Settings,
    instruments: Arc<Instruments>,
    fingerprint: String,
    mut joined: Option<&mut Joined>,
) -> anyhow::Result<Opened> {
    let on_damage = if settings.skips_damage { OnDamage::Skip } else { OnDamage::Stop };
    let mut journal = Journal::open(Arc::new(RealDisk), &settings.dir, Options { on_damage, ..Options::default() })?;
    crash::point("journal: opened");
    tell_of(journal.tail(), &settings.dir);
    let snapshots = journal.snapshots();
    let begin = match &mut joined {
        None => alone(&journal, &snapshots, &fingerprint)?,
        Some(joined) => joint::begin(&mut journal, &fingerprint, joined)?,
    };
    crash::point("restore: snapshot read");
    let Begin { about, states, alerts, rules, from, remembered_to, joint } = begin;
    let records = journal.records(from);
    let writer = journal.writer()?;
    let last = writer.durable();
    if let Some(joined) = joined {
        joint::all_are_ready(joined)?;
    }
    let sync = Arc::new(GroupSync::start(writer, settings.fsync_every)?);
    let bounds = Arc::new(Bounds::restoring(remembered_to));
    if let Some(joint) = &joint {
        bounds.restored(Some(joint.last).filter(|last| *last > 0)); // whatever this process has to give back of it
    }
    let mut known: HashSet<_> = about.names.iter().filter_map(|(venue, symbol)| instruments.intern(*venue, symbol)).collect();
    if joint.is_some() {
        known.clear(); // the next start may go on from another snapshot than this one, whose names were told by other processes
    }
    let named = Arc::new(Mutex::new(known));
    let encoder = Encoder::new(Arc::clone(&named), joint.is_some());
    let writing = Writing {
        sync,
        encoder,
        instruments,
        bounds: Arc::clone(&bounds),
        held: VecDeque::new(),
        last,
        ongoing: about.ongoing.clone(),
        end_at: Arc::default(),
        in_step: None,
    };
    let (ended_at, start) = joint.as_ref().map_or((about.known_at, None), |joint| (joint.last, Some(joint.start)));
    let on_disk = joint.map(|joint| joint.on_disk).unwrap_or_default();
    let past = Past { records, bounds, named, dir: settings.dir.clone(), about, remembered_to, ended_at };
    let (states, snapshots) = (Arc::new(states), Some(snapshots));
    Ok(Opened { writing, past, states, alerts, rules, start, snapshots, fingerprint, on_disk })
}

/// What the only process begins with.
fn alone(journal: &Journal, snapshots: &Snapshots, fingerprint: &str) -> anyhow::Result<Begin> {
    let found = snapshots.newest_good()?;
    for (path, how) in &found.damaged {
        tracing::error!(path = %path.display(), how, "a snapshot is damaged, the one before it is taken");
    }
    let Some(snapshot) = found.snapshot else { return Ok(Begin { from: 1, ..Begin::default() }) };
    let about = snapshots::read_about(&snapshot)?;
    if snapshot.manifest.fingerprint == fingerprint {
        let (states, alerts) = snapshots::read_rest(&snapshot)?;
        return Ok(Begin { about, states, alerts, from: snapshot.manifest.up_to + 1, ..Begin::default() });
    }
    let (of, now) = (&snapshot.manifest.fingerprint, fingerprint);
    tracing::warn!(
        of,
        now,
        "the snapshot is of another configuration or version: states are made again from the records that are kept, what looks further back fills up again"
    );
    let (remembered_to, rules) = (Some(about.known_at), snapshots::read_rules(&snapshot));
    Ok(Begin { about, rules, from: journal.oldest().unwrap_or(1), remembered_to, ..Begin::default() })
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
        let known_at = Some(self.ended_at).filter(|known_at| *known_at > 0);
        let ongoing = self.about.ongoing.clone();
        let mut restored = Restored { known_at, ongoing, ..Restored::default() };
        // The quantum at hand, as far as its records have come. `None`: the first segment that is kept begins in the middle of one.
        let mut quantum: Option<engine::Past> = None;
        // Quanta that are only remembered, with the times of the first and the last of them.
        let mut together: Option<(engine::Past, u64, u64)> = None;
        while let Some(record) = self.records.read()? {
            let (known_at, kind, seq) = (record.known_at, record.kind, record.seq);
            let unreadable = || {
                format!(
                    "record {seq} of {} is whole but says nothing to this version of regimeflow; go on with the version that wrote it, or move the directory away",
                    self.dir.display()
                )
            };
            let Record { part, names, rows, clocks, entries } = Record::decode(record.payload).with_context(unreadable)?;
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            named.extend(names.iter().filter_map(|(venue, symbol)| instruments.intern(*venue, symbol)));
            drop(named);
            if part == 0 {
                quantum = Some(engine::Past::default()); // parts before it are of a quantum that was not complete
            }
            let Some(parts) = &mut quantum else { continue };
            parts.rows.extend(rows);
            parts.clocks.extend(clocks);
            for entry in entries {
                parts.entries.push(serde_json::from_str(&entry).with_context(unreadable)?);
            }
            crash::point("restore: a record read");
            let Some(complete) = quantum.take_if(|_| kind != PART) else { continue };
            restored.take_in(&complete);
            if complete.is_empty() {
                continue; // it says no more than that nothing was to be recorded
            }
            if let Some((past, _, last)) =
                together.take_if(|(_, first, _)| self.is_new(known_at) || known_at > *first + REMEMBERED_MS)
            {
                give(input, last, past, &mut restored)?;
            }
            if self.is_new(known_at) {
                give(input, known_at, complete, &mut restored)?;
            } else {
                let (past, _, last) = together.get_or_insert_with(|| (engine::Past::default(), known_at, known_at));
                past.append(complete);
                *last = known_at;
            }
            progress(restored.quanta);
        }
        if let Some((past, _, last)) = together {
            give(input, last, past, &mut restored)?;
        }
        for skipped in self.records.skipped() {
            let (path, offset, bytes) = (skipped.path.display(), skipped.offset, skipped.bytes);
            let (first, last) = skipped.records.unzip();
            tracing::error!(%path, offset, bytes, first, last, "damaged records of the journal were passed over, as you asked: they are lost");
        }
        self.bounds.restored(restored.known_at);
        restored.took = begun.elapsed();
        crash::point("restore: done");
        Ok(restored)
    }

    fn is_new(&self, known_at: u64) -> bool {
        self.remembered_to.is_none_or(|to| known_at > to)
    }
}

impl Restored {
    fn take_in(&mut self, quantum: &engine::Past) {
        self.rows += quantum.rows.len() as u64;
        self.ongoing.hear(&quantum.clocks);
        for entry in &quantum.entries {
            if let Entry::Row(row) = entry {
                self.ongoing.see(row);
            }
        }
    }
}

fn give(input: &mut Input, known_at: u64, past: engine::Past, restored: &mut Restored) -> anyhow::Result<()> {
    anyhow::ensure!(input.restore(known_at, past), "the workers stopped before everything was restored");
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
