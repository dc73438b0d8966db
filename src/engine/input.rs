//! The feeder's side of the engine.

use std::sync::Arc;

use crossbeam_channel::Sender;
use dataflows::model::{BaseRow, Clock, Timeframe, Venue};
use dataflows::models::Release;

use super::pace::Pace;
use super::source::Wakers;
use crate::accounts::{Accounts, Fate, Tally};
use crate::frames::{FrameBatch, FrameRef};
use crate::recovery::Entry;

/// To one worker.
#[derive(Debug)]
pub(super) enum Message {
    /// Frames to parse. `known_at` is the knowledge time reached before them; venues fell silent at the times given.
    Frames { batch: Arc<FrameBatch>, known_at: u64, idle: Vec<(u64, Venue)> },
    /// Nothing will be known before this any more.
    Advance(u64),
    /// Nothing came, but venues fell silent.
    Idle(Vec<(u64, Venue)>),
    /// What an earlier run had made of some quanta, in order.
    Restored(Vec<(u64, Past)>),
    /// Something enters beside the frames.
    Entry(u64, Box<Entry>),
    /// Nothing more comes of earlier runs.
    AllRestored,
    /// A model is released.
    Release { known_at: u64, release: Box<Release> },
    /// Operators save their states as they are after this quantum.
    Save(u64),
    /// The input ends.
    Flush(u64),
}

/// What an earlier run's journal holds of one quantum.
#[derive(Debug, Default)]
pub struct Past {
    /// What the hot path had made of ticks.
    pub rows: Vec<BaseRow>,
    /// How far venues had come.
    pub clocks: Vec<Clock>,
    /// What else had entered.
    pub entries: Vec<Entry>,
}

impl Past {
    /// Nothing had entered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.clocks.is_empty() && self.entries.is_empty()
    }

    /// Takes in what came after it.
    pub fn append(&mut self, mut later: Self) {
        self.rows.append(&mut later.rows);
        self.clocks.append(&mut later.clocks);
        self.entries.append(&mut later.entries);
    }
}

/// So many quanta of an earlier run are handed over at a time: each by itself would cost more than what is in it.
const RESTORED_TOGETHER: usize = 32;
/// Or so many rows: it is memory.
const RESTORED_ROWS_TOGETHER: usize = 50_000;

/// Takes frames in order of arrival and deals them out.
///
/// Knowledge time is the end of the quantum in which a frame arrived, so that nothing is known before it came; it never
/// falls, whatever the frames say.
pub struct Input {
    workers: Vec<Sender<Message>>,
    wakers: Wakers,
    quantum: Quantum,
    idle_ns: i64,
    known_at: u64,
    next: usize,
    heard_ns: [i64; Venue::ALL.len()],
    /// Frames of quanta up to here were taken by an earlier run, and are passed over.
    taken_to: u64,
    /// Of an earlier run, not handed over yet.
    past: Vec<(u64, Past)>,
    past_rows: usize,
    accounts: Arc<Accounts>,
    dealing: Dealing,
    paces: Paces,
}

/// With several processes: how far ahead of the others this one may be.
#[derive(Default)]
pub(super) struct Paces {
    /// In batches.
    pub batches: Option<Pace>,
    /// In hand-overs of what an earlier run left.
    pub restoring: Option<Pace>,
}

/// Which batches are this process's. Where several read the same frames, each has its turn, whatever its number of workers, and however many batches are passed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dealing {
    process: usize,
    processes: usize,
    /// Whose turn it is.
    next: usize,
}

impl Dealing {
    /// All are.
    pub fn alone() -> Self {
        Self::among(0, 1)
    }

    /// One in `processes`.
    pub fn among(process: usize, processes: usize) -> Self {
        Self { process, processes, next: 0 }
    }

    /// Whether the next one is.
    fn is_mine(&mut self) -> bool {
        let turn = self.next;
        self.next = (self.next + 1) % self.processes;
        turn == self.process
    }
}

/// How arrival is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantum {
    ns: i64,
    ms: u64,
}

impl Quantum {
    pub fn new(ms: u64) -> Self {
        Self { ns: i64::try_from(ms).unwrap_or(1_000).max(1) * 1_000_000, ms: ms.max(1) }
    }

    /// The end of the quantum that holds `recv_ns`, UTC ms.
    #[inline]
    pub fn end_of(self, recv_ns: i64) -> u64 {
        u64::try_from((recv_ns.max(0) - 1).div_euclid(self.ns) + 1).unwrap_or(0) * self.ms
    }

    /// The first end of a quantum after `known_at`, which need not be one itself.
    pub fn after(self, known_at: u64) -> u64 {
        (known_at / self.ms + 1) * self.ms
    }

    /// The last arrival, ns, that is known at `known_at` at the latest: one comparison a frame instead of a division.
    pub fn last_ns(self, known_at: u64) -> i64 {
        i64::try_from(known_at / self.ms).unwrap_or(i64::MAX).saturating_mul(self.ns)
    }
}

const NOT_HEARD: i64 = i64::MIN;

impl Input {
    pub(super) fn new(
        workers: Vec<Sender<Message>>,
        wakers: Wakers,
        quantum: Quantum,
        idle_ms: u64,
        accounts: Arc<Accounts>,
        dealing: Dealing,
        paces: Paces,
    ) -> Self {
        Self {
            workers,
            wakers,
            quantum,
            idle_ns: i64::try_from(idle_ms).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000),
            known_at: 0,
            next: 0,
            heard_ns: [NOT_HEARD; Venue::ALL.len()],
            taken_to: 0,
            past: Vec::new(),
            past_rows: 0,
            accounts,
            dealing,
            paces,
        }
    }

    /// Hands over a quantum of an earlier run; they come in order, before anything else. False: the workers are gone.
    #[must_use]
    pub fn restore(&mut self, known_at: u64, past: Past) -> bool {
        self.past_rows += past.rows.len();
        self.past.push((known_at, past));
        (self.past.len() < RESTORED_TOGETHER && self.past_rows < RESTORED_ROWS_TOGETHER) || self.hand_over_past()
    }

    /// Each process gives back what is its own.
    fn hand_over_past(&mut self) -> bool {
        let past = std::mem::take(&mut self.past);
        self.past_rows = 0;
        let Some(&(known_at, _)) = past.last() else { return true };
        let worker = self.next_worker();
        let sent = self.send(worker, Message::Restored(past));
        sent && self.advance_others(Some(worker), known_at) && keep(&mut self.paces.restoring, known_at)
    }

    /// The earlier run is restored, up to `known_at`; live frames come next. `heard` are the venues that had not fallen silent: they do so now,
    /// unless they are heard again.
    #[must_use]
    pub fn go_live(&mut self, known_at: u64, heard: impl Iterator<Item = Venue>) -> bool {
        self.known_at = self.quantum.after(known_at);
        for venue in heard {
            self.heard_ns[venue as usize] = i64::try_from(known_at).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        }
        self.all_restored(known_at)
    }

    /// The earlier run is restored, up to `known_at`; the same frames come again, and go on from there.
    #[must_use]
    pub fn go_on_behind(&mut self, known_at: u64) -> bool {
        self.taken_to = known_at;
        self.all_restored(known_at)
    }

    /// Others may have more to give back, and don't wait for this process.
    fn all_restored(&mut self, known_at: u64) -> bool {
        let all_given = self.hand_over_past();
        let goes_on = all_given && (self.paces.restoring.is_none() || self.advance_others(None, known_at));
        goes_on && (0..self.workers.len()).all(|worker| self.send(worker, Message::AllRestored))
    }

    /// Hands frames to a worker. Waits while it has too much to do. False: the workers are gone.
    #[must_use]
    pub fn push(&mut self, batch: impl Into<Arc<FrameBatch>>) -> bool {
        let mut batch = batch.into();
        let before = self.known_at.max(self.taken_to);
        let mut idle = Vec::new();
        let mut last_ns = self.quantum.last_ns(self.known_at);
        let is_mine = self.dealing.is_mine();
        let mut taken = 0;
        for frame in &batch.frames {
            if frame.recv_ns > last_ns {
                self.known_at = self.quantum.end_of(frame.recv_ns);
                last_ns = self.quantum.last_ns(self.known_at);
                self.find_idle(frame.recv_ns, &mut idle);
            }
            taken += usize::from(self.known_at <= self.taken_to);
            let heard = &mut self.heard_ns[frame.venue as usize];
            *heard = (*heard).max(frame.recv_ns);
        }
        let is_past = self.taken_to > 0 && self.known_at <= self.taken_to; // what it says of damaged lines, too
        if taken > 0 || is_past {
            if is_mine {
                self.pass_over(&batch.frames[..taken]);
            }
            if is_past {
                return !self.workers.is_empty();
            }
            Arc::make_mut(&mut batch).frames.drain(..taken); // knowledge time never falls, so they are the first ones
            idle.retain(|(known_at, _)| *known_at > self.taken_to);
        }
        let worker = is_mine.then(|| self.next_worker());
        let sent = worker.is_none_or(|worker| self.send(worker, Message::Frames { batch, known_at: before, idle }));
        let known_at = self.known_at;
        sent && self.advance_others(worker, known_at) && keep(&mut self.paces.batches, known_at)
    }

    fn pass_over(&self, frames: &[FrameRef]) {
        let mut tally = Tally::default();
        for frame in frames {
            *tally.entry((Some(frame.venue), Fate::Skipped("taken by an earlier run"))).or_default() += 1;
        }
        self.accounts.add(&mut tally);
    }

    /// Of this process's.
    fn next_worker(&mut self) -> usize {
        let worker = self.next;
        self.next = (self.next + 1) % self.workers.len();
        worker
    }

    fn advance_others(&self, worker: Option<usize>, known_at: u64) -> bool {
        (0..self.workers.len()).filter(|&other| Some(other) != worker).all(|other| self.send(other, Message::Advance(known_at)))
    }

    /// Time passes without frames: knowledge time moves on, and venues that fell silent are let go. False: the workers are gone.
    #[must_use]
    pub fn heartbeat(&mut self, now_ns: i64) -> bool {
        let known_at = self.quantum.end_of(now_ns);
        if known_at <= self.known_at {
            return true;
        }
        self.known_at = known_at;
        let mut idle = Vec::new();
        self.find_idle(now_ns, &mut idle);
        let idle_told = idle.is_empty() || self.send(0, Message::Idle(idle));
        idle_told && (0..self.workers.len()).all(|worker| self.send(worker, Message::Advance(known_at)))
    }

    /// Something enters beside the frames, at a time in UTC ns. False: the workers are gone.
    #[must_use]
    pub fn enter(&mut self, entry: Entry, now_ns: i64) -> bool {
        self.heartbeat(now_ns) && self.send(0, Message::Entry(self.known_at, Box::new(entry)))
    }

    /// A model is released. Once frames have come, it counts from the next bar of its time frame at the earliest: what has been said
    /// stays, and a replay that knows of the release from the start says the same. Answers from when on it counts, UTC ms; `None`: the workers are gone.
    pub fn release(&mut self, mut release: Release) -> Option<i64> {
        release.active_from = release.active_from.max(self.next_bar(release.timeframe));
        let from = release.from();
        let sent = self.send(0, Message::Release { known_at: self.known_at, release: Box::new(release) });
        sent.then_some(from)
    }

    /// Has all operators save their states as they are after the quantum at hand. False: the workers are gone, or nothing has come yet.
    #[must_use]
    pub fn save(&mut self) -> bool {
        let known_at = self.known_at.max(self.taken_to);
        known_at > 0 && self.send(0, Message::Save(known_at))
    }

    /// Knowledge time so far, UTC ms: 0 before the first frame.
    #[must_use]
    pub fn known_at(&self) -> i64 {
        i64::try_from(self.known_at).unwrap_or(i64::MAX / 2)
    }

    /// The opening of the first bar from which a release counts that comes now, UTC ms.
    #[must_use]
    pub fn next_bar(&self, timeframe: Timeframe) -> i64 {
        if self.known_at == 0 { i64::MIN } else { timeframe.open_of(self.known_at()) + timeframe.ms() }
    }

    /// Ends the input as it is: a later run goes on from the journal. (Dropping it does the same.)
    pub fn stop(self) {}

    /// Ends the input: everything heard is closed, the workers finish and stop.
    pub fn finish(mut self) {
        // As in a run that was not interrupted, which may have come as far as this.
        self.known_at = (self.known_at + self.quantum.ms).max(self.taken_to);
        let _ = self.send(0, Message::Flush(self.known_at)); // workers that are gone have nothing to finish
    }

    fn send(&self, worker: usize, message: Message) -> bool {
        let sent = self.workers[worker].send(message).is_ok();
        self.wakers.wake(worker);
        sent
    }

    fn find_idle(&mut self, now_ns: i64, idle: &mut Vec<(u64, Venue)>) {
        for (venue, heard) in Venue::ALL.into_iter().zip(&mut self.heard_ns) {
            if *heard != NOT_HEARD && now_ns.saturating_sub(*heard) > self.idle_ns {
                *heard = NOT_HEARD;
                idle.push((self.known_at, venue));
            }
        }
    }
}

/// Waits for the other processes. False: one is lost.
fn keep(pace: &mut Option<Pace>, known_at: u64) -> bool {
    pace.as_mut().is_none_or(|pace| pace.keep(known_at))
}

impl Drop for Input {
    fn drop(&mut self) {
        self.workers.clear();
        self.wakers.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_its_turn() {
        let mut dealings = [0, 1, 2].map(|process| Dealing::among(process, 3));
        for batch in 0..10 {
            let mine = [0, 1, 2].map(|process: usize| dealings[process].is_mine());
            assert_eq!(mine, [0, 1, 2].map(|process| process == batch % 3), "batch {batch}");
        }
        let mut alone = Dealing::alone();
        assert!((0..3).all(|_| alone.is_mine()));
    }
}
