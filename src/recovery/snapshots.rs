//! Snapshots: the states of all operators after one quantum, so that a restart need not read the journal from its beginning.
//!
//! A snapshot of the quantum `known_at` has the parts
//!
//! | part | what it is |
//! |---|---|
//! | `about` | [`About`]: the quantum, who is heard, which gaps are open or unfilled, the names of instruments (JSON, so that every version can read it) |
//! | `alerts` | the view `alerts` (JSON) |
//! | `states` | the operators' states (see `dataflows::keeping`), each as name, worker, length, bytes; zstd |
//!
//! and its manifest names the last record that they include. It is written by a thread of its own while the dataflow goes on (which stood still only as long
//! as its operators wrote their states into memory), and not before everything up to the quantum has been stored: what a snapshot includes is never
//! made again. Two are kept, and the records since the older one; more of them as long as the configuration says, so that the states can
//! be made again after a change of the configuration or of the program.
//!
//! Several processes go on from one that all of them have. So each keeps what is not older than the newest of these, and one more; it makes none
//! while [`WAITING_MAX`] of its own wait for the others, and removes nothing before there is one that all have.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};
use dataflows::keeping::{SavedState, States};
use dataflows::model::Venue;
use journal::{Removed, Seq, Snapshot, Snapshots};
use serde::{Deserialize, Serialize};

use super::ongoing::Ongoing;
use crate::crash;
use crate::engine::CommonSnapshots;
use crate::rules::Rules;

/// Good snapshots that are kept.
const KEPT: usize = 2;
/// With several processes: no more than so many are made that others may have yet to make.
const WAITING_MAX: usize = 3;
/// How often is looked whether everything has been stored.
const LOOK: Duration = Duration::from_millis(50);
/// Quick, and a third of the size.
const ZSTD_LEVEL: i32 = 1;
/// A name or a number that is larger is none.
const NAME_BYTES_MAX: u64 = 200;

/// What a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The last quantum that it includes.
    pub known_at: u64,
    /// What goes on beside the dataflow.
    pub ongoing: Ongoing,
    /// All instruments.
    pub names: Vec<(Venue, String)>,
}

/// One quantum's cut through everything.
#[derive(Debug)]
pub struct Cut {
    pub(super) seq: Seq,
    pub(super) about: About,
    pub(super) states: Vec<SavedState>,
    /// The view `alerts`.
    pub(super) alerts: Vec<u8>,
}

/// Asks how far everything is stored: the last quantum of which all is.
pub type Stored = Box<dyn Fn() -> u64 + Send>;

impl Cut {
    /// What the view `alerts` remembers.
    pub fn set_alerts(&mut self, alerts: Vec<u8>) {
        self.alerts = alerts;
    }
}

/// The thread's other end. Dropped, it lets a snapshot that is under way end.
pub struct Snapshotter {
    cuts: Sender<Cut>,
    is_busy: Arc<AtomicBool>,
    last_known_at: Arc<AtomicU64>,
}

impl Snapshotter {
    /// Starts the thread.
    pub(super) fn start(
        snapshots: Snapshots,
        fingerprint: String,
        keep_for: Duration,
        stored: Stored,
        common: Option<Common>,
    ) -> io::Result<Self> {
        let (cuts, received) = bounded(1);
        let (is_busy, last_known_at) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (busy, last) = (Arc::clone(&is_busy), Arc::clone(&last_known_at));
        let work = Work { snapshots, fingerprint, keep_for, stored, common, is_busy: busy, last_known_at: last };
        std::thread::Builder::new().name("snapshots".into()).spawn(move || work.run(&received))?;
        Ok(Self { cuts, is_busy, last_known_at })
    }

    /// One is being made.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }

    /// The quantum of the last one that this run made; 0: none yet.
    #[must_use]
    pub fn last_known_at(&self) -> u64 {
        self.last_known_at.load(Ordering::Relaxed)
    }

    /// Hands a cut over; if there is one already, it is not needed.
    pub fn take(&self, cut: Cut) {
        self.is_busy.store(true, Ordering::Release);
        let _ = self.cuts.try_send(cut);
    }
}

/// With several processes: what the others have, and what is in this one's directory.
pub(super) struct Common {
    pub snapshots: CommonSnapshots,
    /// By age, each with its last record.
    pub on_disk: Vec<(u64, Seq)>,
}

impl Common {
    /// How many are kept. `None`: nothing is removed.
    fn keep(&self) -> Option<usize> {
        let newest = self.snapshots.newest()?;
        Some(KEPT.max(self.on_disk.iter().filter(|(known_at, _)| *known_at >= newest).count() + 1))
    }
}

struct Work {
    snapshots: Snapshots,
    fingerprint: String,
    keep_for: Duration,
    stored: Stored,
    common: Option<Common>,
    is_busy: Arc<AtomicBool>,
    last_known_at: Arc<AtomicU64>,
}

impl Work {
    fn run(mut self, cuts: &Receiver<Cut>) {
        while let Ok(cut) = cuts.recv() {
            let (begun, known_at) = (Instant::now(), cut.about.known_at);
            if self.common.as_ref().is_some_and(|common| common.snapshots.waiting() >= WAITING_MAX) {
                tracing::warn!(known_at, "no snapshot is made: the other processes have yet to make the last ones");
                self.is_busy.store(false, Ordering::Release);
                continue;
            }
            while (self.stored)() < known_at {
                // The store is away, or the run ends: without its word this snapshot would hide what is not stored.
                if matches!(cuts.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected)) {
                    return;
                }
                std::thread::sleep(LOOK);
            }
            let bytes: usize = cut.states.iter().map(|state| state.bytes.len()).sum();
            match self.write(cut) {
                Ok(()) => {
                    self.last_known_at.store(known_at, Ordering::Relaxed);
                    let took_ms = begun.elapsed().as_millis();
                    tracing::info!(known_at, bytes, took_ms, "a snapshot is made");
                }
                // The records that it would have replaced are all there.
                Err(error) => tracing::error!(known_at, "a snapshot could not be made, the one before it stays: {error:#}"),
            }
            self.is_busy.store(false, Ordering::Release);
        }
    }

    fn write(&mut self, cut: Cut) -> anyhow::Result<()> {
        let Cut { seq, about, states, alerts } = cut;
        crash::point("snapshot: begin");
        let mut snapshot = self.snapshots.begin(seq, &self.fingerprint)?;
        let (known_at, about) = (about.known_at, serde_json::to_vec(&about)?);
        snapshot.part("about", |out| out.write_all(&about))?;
        snapshot.part("alerts", |out| out.write_all(&alerts))?;
        crash::point("snapshot: first parts");
        snapshot.part("states", |out| {
            let mut out = zstd::Encoder::new(out, ZSTD_LEVEL)?;
            states.iter().try_for_each(|state| write_state(&mut out, state))?;
            out.finish().map(drop)
        })?;
        drop(states);
        crash::point("snapshot: before commit");
        snapshot.commit()?;
        crash::point("snapshot: committed");
        if let Some(common) = &mut self.common {
            common.on_disk.push((known_at, seq));
            common.snapshots.made(known_at);
        }
        let removed = self.retain(known_at)?;
        crash::point("snapshot: old ones removed");
        tracing::debug!(?removed, "old snapshots and records are removed");
        Ok(())
    }

    fn retain(&mut self, known_at: u64) -> anyhow::Result<Removed> {
        let keep = match &self.common {
            None => KEPT,
            Some(common) => match common.keep() {
                None => return Ok(Removed::default()),
                Some(keep) => keep,
            },
        };
        let keep_ms = u64::try_from(self.keep_for.as_millis()).unwrap_or(u64::MAX);
        let removed = self.snapshots.retain(keep, known_at.saturating_sub(keep_ms))?;
        if let Some(common) = &mut self.common {
            common.on_disk.retain(|(_, seq)| !removed.snapshots.contains(seq));
        }
        Ok(removed)
    }
}

fn write_state(out: &mut impl Write, state: &SavedState) -> io::Result<()> {
    out.write_all(&(state.view.len() as u64).to_le_bytes())?;
    out.write_all(state.view.as_bytes())?;
    out.write_all(&(state.worker as u64).to_le_bytes())?;
    out.write_all(&(state.bytes.len() as u64).to_le_bytes())?;
    out.write_all(&state.bytes)
}

/// What a snapshot, the bytes of which have been checked, is of.
pub(super) fn read_about(snapshot: &Snapshot) -> anyhow::Result<About> {
    let mut bytes = Vec::new();
    part(snapshot, "about")?.read_to_end(&mut bytes).context("reading a snapshot's part about")?;
    serde_json::from_slice(&bytes).context("reading a snapshot's part about")
}

/// The operators' states in it, and the view `alerts`.
pub(super) fn read_rest(snapshot: &Snapshot) -> anyhow::Result<(States, Vec<u8>)> {
    let mut alerts = Vec::new();
    part(snapshot, "alerts")?.read_to_end(&mut alerts).context("reading a snapshot's part alerts")?;
    let states = read_states(&mut zstd::Decoder::new(part(snapshot, "states")?)?);
    Ok((states.context("reading a snapshot's part states")?, alerts))
}

/// The rules that counted then. `None`: this version can't read them.
pub(super) fn read_rules(snapshot: &Snapshot) -> Option<Rules> {
    let read = part(snapshot, "alerts").and_then(|part| Rules::of_saved(BufReader::new(part)));
    read.inspect_err(|error| tracing::warn!("alerts are quiet until the rules of this run count: {error:#}")).ok()
}

fn part(snapshot: &Snapshot, name: &str) -> anyhow::Result<Box<dyn Read + Send>> {
    let found = snapshot.open(name)?;
    found.with_context(|| format!("the snapshot of record {} has no part {name}", snapshot.manifest.up_to))
}

fn read_states(from: &mut impl Read) -> io::Result<States> {
    let mut by_place: Vec<(String, u64, Vec<u8>)> = Vec::new();
    while let Some(length) = number(from)? {
        let mut view = String::new();
        from.by_ref().take(length.min(NAME_BYTES_MAX)).read_to_string(&mut view)?;
        let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (worker, length) = (number(from)?.ok_or_else(cut_off)?, number(from)?.ok_or_else(cut_off)?);
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(1 << 32)).unwrap_or_default());
        from.by_ref().take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(cut_off());
        }
        by_place.push((view, worker, bytes));
    }
    by_place.sort_by_key(|(_, worker, _)| *worker);
    let mut states = States::new();
    for (view, _, bytes) in by_place {
        states.entry(view).or_default().push(bytes);
    }
    Ok(states)
}

/// `None` at the end.
fn number(from: &mut impl Read) -> io::Result<Option<u64>> {
    let mut bytes = [0; 8];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u64::from_le_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
