//! The source operator: frames become ticks where timely calls for them, on every worker.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use dataflows::graph::Inputs;
use dataflows::keeping::Keeping;
use dataflows::model::{BaseRow, Clock, FundingKind, InstrumentId, Instruments, MINUTE_MS, Tick, Venue};
use dataflows::models::Release;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use super::Output;
use super::input::{Message, Past, Quantum};
use crate::accounts::{Accounts, Fate, Tally};
use crate::feeds::{Outcome, Parser, Rejection};
use crate::frames::{Defect, EXCERPT_BYTES_MAX, FrameBatch, FrameRef};
use crate::recovery::Entry;
use crate::store::edge::{EdgeRow, RejectedFrame};

/// Makes a worker's parser of a venue; `None`: there is none.
pub type ParserFactory = Arc<dyn Fn(Venue) -> Option<Box<dyn Parser>> + Send + Sync>;

/// Ticks go on in containers of about this many.
const TICKS_PER_CONTAINER: usize = 512;
/// Frames read before the graph gets its turn: their ticks stay in the cache until they are summed.
const FRAMES_PER_CALL: usize = 8_192;
/// Quanta read before the graph gets its turn. Each under way costs every operator a buffer, however little is in it.
const QUANTA_PER_CALL: usize = 16;

/// Ticks, clock records, models, what is restored. (What other processes are told comes on a fifth.)
const OUTPUTS_ALONE: usize = 4;

/// Wakes sleeping workers.
#[derive(Clone)]
pub(super) struct Wakers(Arc<Vec<Mutex<Option<SyncActivator>>>>);

impl Wakers {
    pub fn new(workers: usize) -> Self {
        Self(Arc::new((0..workers).map(|_| Mutex::new(None)).collect()))
    }

    pub fn wake(&self, worker: usize) {
        if let Some(waker) = self.0[worker].lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = waker.activate(); // fails only when the worker is gone
        }
    }

    pub fn wake_all(&self) {
        (0..self.0.len()).for_each(|worker| self.wake(worker));
    }
}

/// What one process tells all others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It reads of this instrument.
    Name(Venue, String),
    /// Its input has ended.
    Ends,
}

/// What the source needs beside its input.
pub(super) struct Parsing {
    /// The worker's number in this process.
    pub worker: usize,
    /// Where there are other processes: the names that they are told.
    pub names: Option<Arc<Instruments>>,
    pub parsers: ParserFactory,
    pub accounts: Arc<Accounts>,
    pub out: Sender<Output>,
    pub quantum: Quantum,
    /// Events further ahead of their arrival than this are refused: they would close everything before them.
    pub ahead_ms_max: i64,
}

/// Reads `input` until it is closed. With `keeps_journal`, what an earlier run left can be put in first.
pub(super) fn source<'scope>(
    scope: Scope<'scope, u64>,
    input: Receiver<Message>,
    wakers: &Wakers,
    parsing: Parsing,
    keeps_journal: bool,
    keeping: Keeping,
) -> (Inputs<'scope>, Option<StreamVec<'scope, u64, Told>>) {
    let mut builder = OperatorBuilder::new("frames".to_owned(), scope);
    let worker = scope.worker();
    let address = builder.operator_info().address;
    let (ticks_out, ticks) = builder.new_output();
    let (clocks_out, clocks) = builder.new_output();
    let (releases_out, releases) = builder.new_output();
    let (restored_out, restored) = builder.new_output();
    let (told_out, told) = parsing.names.is_some().then(|| builder.new_output()).unzip();
    *wakers.0[parsing.worker].lock().unwrap_or_else(PoisonError::into_inner) = Some(worker.sync_activator_for(address.to_vec()));
    let activator = worker.activator_for(address);

    builder.build(move |capabilities| {
        let mut ticks_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Tick>>>::from(ticks_out);
        let mut clocks_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Clock>>>::from(clocks_out);
        let mut releases_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Release>>>::from(releases_out);
        let mut restored_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<BaseRow>>>::from(restored_out);
        let mut told_out = told_out.map(OutputBuilder::<_, CapacityContainerBuilder<Vec<Told>>>::from);
        let mut times = Some(Times::new(capabilities, keeps_journal));
        let mut reading = Reading::new(parsing);
        move |_frontiers| {
            let Some(at) = times.as_mut() else { return };
            let mut tell = |at: &Times, told: &mut Vec<Told>| {
                if let (Some(told_out), Some(capability)) = (&mut told_out, &at.told) {
                    told_out.activate().session(capability).give_iterator(told.drain(..));
                }
            };
            let mut emit = |at: &Times, ticks: &mut Vec<Tick>, clocks: &mut Vec<Clock>, told: &mut Vec<Told>| {
                if !told.is_empty() {
                    tell(at, told);
                }
                if !ticks.is_empty() {
                    ticks_out.activate().session(&at.ticks).give_container(ticks);
                    ticks.clear();
                    ticks.reserve(TICKS_PER_CONTAINER);
                }
                clocks_out.activate().session(&at.clocks).give_iterator(clocks.drain(..));
            };
            if reading.go_on(at, &mut emit) {
                activator.activate();
                return;
            }
            match input.try_recv() {
                Ok(Message::Frames { batch, known_at, idle }) => {
                    reading.begin(batch, known_at, idle, at);
                    activator.activate();
                }
                Ok(Message::Advance(known_at)) => {
                    at.advance(known_at);
                    activator.activate();
                }
                Ok(Message::Idle(idle)) => {
                    for (known_at, venue) in idle {
                        at.advance(known_at);
                        emit(at, &mut Vec::new(), &mut vec![Clock::Idle(venue)], &mut Vec::new());
                    }
                    activator.activate();
                }
                Ok(Message::Restored(quanta)) => {
                    for (known_at, Past { rows, mut clocks, entries }) in quanta {
                        at.advance(known_at);
                        reading.name(rows.iter().map(BaseRow::instrument));
                        if let Some(capability) = &at.restored {
                            restored_out.activate().session(capability).give_iterator(rows.into_iter());
                        }
                        emit(at, &mut Vec::new(), &mut clocks, &mut reading.told);
                        entries.into_iter().for_each(|entry| reading.send(Output::Entered(known_at, entry)));
                    }
                    activator.activate();
                }
                Ok(Message::Entry(known_at, entry)) => {
                    at.advance(known_at);
                    reading.send(Output::Entered(known_at, *entry));
                    activator.activate();
                }
                Ok(Message::AllRestored) => {
                    at.restored = None;
                    activator.activate();
                }
                Ok(Message::Release { known_at, release }) => {
                    at.advance(known_at);
                    releases_out.activate().session(&at.releases).give(*release);
                    activator.activate();
                }
                Ok(Message::Save(known_at)) => {
                    at.advance(known_at);
                    emit(at, &mut Vec::new(), &mut vec![Clock::Save], &mut Vec::new());
                    activator.activate();
                }
                Ok(Message::Flush(known_at)) => {
                    at.advance(known_at);
                    emit(at, &mut Vec::new(), &mut vec![Clock::Flush], &mut Vec::new());
                    activator.activate();
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    emit(at, &mut Vec::new(), &mut Vec::new(), &mut vec![Told::Ends]);
                    times = None;
                }
            }
        }
    });
    (Inputs { ticks, clocks, releases, restored: keeps_journal.then_some(restored), keeping, processes: None }, told)
}

/// The capabilities of the outputs.
struct Times {
    ticks: Capability<u64>,
    clocks: Capability<u64>,
    releases: Capability<u64>,
    /// Until everything is restored.
    restored: Option<Capability<u64>>,
    /// Where there are other processes.
    told: Option<Capability<u64>>,
}

impl Times {
    fn new(mut capabilities: Vec<Capability<u64>>, keeps_journal: bool) -> Self {
        let told = (capabilities.len() > OUTPUTS_ALONE).then(|| capabilities.pop()).flatten();
        let restored = capabilities.pop().filter(|_| keeps_journal);
        let releases = capabilities.pop();
        let clocks = capabilities.pop();
        let ticks = capabilities.pop();
        match (ticks, clocks, releases) {
            (Some(ticks), Some(clocks), Some(releases)) => Self { ticks, clocks, releases, restored, told },
            _ => unreachable!("timely makes one capability an output, and there are four at least"),
        }
    }

    fn known_at(&self) -> u64 {
        *self.ticks.time()
    }

    fn advance(&mut self, known_at: u64) {
        if known_at > self.known_at() {
            self.ticks.downgrade(&known_at);
            self.clocks.downgrade(&known_at);
            self.releases.downgrade(&known_at);
            for capability in self.restored.iter_mut().chain(&mut self.told) {
                capability.downgrade(&known_at);
            }
        }
    }
}

/// A worker's parsers, and what it has read in the quantum at hand.
struct Reading {
    parsing: Parsing,
    parsers: Vec<Option<Box<dyn Parser>>>,
    counts: Counts,
    ticks: Vec<Tick>,
    clocks: Vec<Clock>,
    told: Vec<Told>,
    /// Whose names the other processes have been told.
    named: FxHashSet<InstrumentId>,
    heard: [Heard; Venue::ALL.len()],
    batch: Option<Pages>,
}

/// A batch that is being read.
struct Pages {
    batch: Arc<FrameBatch>,
    next: usize,
    idle: VecDeque<(u64, Venue)>,
}

/// When events of a venue happened, in the quantum at hand.
#[derive(Default)]
struct Heard {
    minutes: BTreeSet<i64>,
    last_minute: i64,
    newest_ts: i64,
}

impl Reading {
    fn new(parsing: Parsing) -> Self {
        Self {
            parsers: Venue::ALL.into_iter().map(|venue| (parsing.parsers)(venue)).collect(),
            parsing,
            counts: Counts::default(),
            ticks: Vec::with_capacity(TICKS_PER_CONTAINER),
            clocks: Vec::new(),
            told: Vec::new(),
            named: FxHashSet::default(),
            heard: Default::default(),
            batch: None,
        }
    }

    fn begin(&mut self, batch: Arc<FrameBatch>, known_at: u64, idle: Vec<(u64, Venue)>, at: &mut Times) {
        at.advance(known_at);
        self.batch = Some(Pages { batch, next: 0, idle: idle.into() });
    }

    /// Reads some frames of the batch at hand, so that the graph works on their ticks before more are made. False: there is none.
    fn go_on(&mut self, at: &mut Times, emit: &mut impl FnMut(&Times, &mut Vec<Tick>, &mut Vec<Clock>, &mut Vec<Told>)) -> bool {
        let Some(mut pages) = self.batch.take() else { return false };
        let batch = Arc::clone(&pages.batch);
        let mut end = batch.frames.len().min(pages.next + FRAMES_PER_CALL);
        let mut last_ns = self.parsing.quantum.last_ns(at.known_at());
        let mut quanta = 0;
        for (place, frame) in (pages.next..end).zip(&batch.frames[pages.next..end]) {
            if frame.recv_ns > last_ns {
                quanta += 1;
                if quanta > QUANTA_PER_CALL {
                    end = place;
                    break;
                }
                let quantum_end = self.parsing.quantum.end_of(frame.recv_ns);
                self.hand_over(at, emit);
                at.advance(quantum_end);
                last_ns = self.parsing.quantum.last_ns(quantum_end);
                while let Some((_, venue)) = pages.idle.pop_front_if(|(since, _)| *since <= quantum_end) {
                    self.clocks.push(Clock::Idle(venue));
                }
            }
            self.parse(batch.payload(frame), frame, at.known_at());
            if self.ticks.len() >= TICKS_PER_CONTAINER {
                emit(at, &mut self.ticks, &mut self.clocks, &mut self.told);
            }
        }
        if end < batch.frames.len() {
            pages.next = end;
            self.batch = Some(pages);
        } else {
            for defect in &batch.defects {
                self.refuse(defect, at.known_at());
            }
            self.parsing.accounts.add(self.counts.drain());
        }
        self.hand_over(at, emit);
        true
    }

    fn hand_over(&mut self, at: &Times, emit: &mut impl FnMut(&Times, &mut Vec<Tick>, &mut Vec<Clock>, &mut Vec<Told>)) {
        for (venue, heard) in Venue::ALL.into_iter().zip(&mut self.heard) {
            let newest_ts = heard.newest_ts;
            self.clocks.extend(heard.minutes.iter().map(|&minute| Clock::Active { venue, minute, newest_ts }));
            if !heard.minutes.is_empty() {
                *heard = Heard::default();
            }
        }
        emit(at, &mut self.ticks, &mut self.clocks, &mut self.told);
    }

    #[inline]
    fn parse(&mut self, payload: &[u8], frame: &FrameRef, known_at: u64) {
        let before = self.ticks.len();
        let mut outcome = match &mut self.parsers[frame.venue as usize] {
            Some(parser) => parser.parse(payload, frame.direction, frame.recv_ns, &mut self.ticks),
            None => Outcome::Skipped("venue without a parser"),
        };
        if self.ticks.len() > before {
            let latest = (frame.recv_ns / 1_000_000).saturating_add(self.parsing.ahead_ms_max);
            if self.ticks[before..].iter().any(|tick| tick.ts() > latest) {
                outcome = drop_ahead(&mut self.ticks, before, latest);
            }
            let heard = &mut self.heard[frame.venue as usize];
            self.ticks[before..].iter().for_each(|tick| heard.note(tick));
            if self.parsing.names.is_some() {
                let ticks = std::mem::take(&mut self.ticks);
                self.name(ticks[before..].iter().map(Tick::instrument));
                self.ticks = ticks;
            }
        }
        self.counts.add(frame.venue, &outcome);
        if let Outcome::Rejected(rejection) = outcome {
            self.send_rejected(frame.venue.as_str(), rejection.stream, rejection.reason, payload, frame.line, known_at);
        }
    }

    /// The other processes, if there are any, are to be told these names in the quantum at hand, unless they know them.
    fn name(&mut self, instruments: impl Iterator<Item = InstrumentId>) {
        let Some(names) = &self.parsing.names else { return };
        let fresh = instruments.filter(|id| self.named.insert(*id));
        self.told.extend(fresh.filter_map(|id| names.get(id)).map(|known| Told::Name(known.venue, known.symbol.clone())));
    }

    fn refuse(&mut self, defect: &Defect, known_at: u64) {
        let venue = Venue::from_name(defect.venue.as_bytes());
        *self.counts.rare.entry((venue, Fate::Rejected("frame log", defect.reason))).or_default() += 1;
        self.send_rejected(&defect.venue, "frame log", defect.reason, &defect.excerpt, defect.line, known_at);
    }

    #[cold]
    fn send_rejected(&self, venue: &str, stream: &str, reason: &str, payload: &[u8], seq: u64, known_at: u64) {
        let excerpt = &payload[..payload.len().min(EXCERPT_BYTES_MAX)];
        let row = RejectedFrame {
            venue: venue.to_owned(),
            stream: stream.to_owned(),
            known_at,
            seq,
            reason: reason.to_owned(),
            payload: String::from_utf8_lossy(excerpt).into_owned(),
        };
        self.send(Output::Entered(known_at, Entry::Row(EdgeRow::Rejected(row))));
    }

    fn send(&self, output: Output) {
        let _ = self.parsing.out.send(output); // the collector is gone only when the run is being torn down
    }
}

/// Drops the ticks that are ahead of their arrival; the frame counts as refused.
#[cold]
fn drop_ahead(ticks: &mut Vec<Tick>, before: usize, latest: i64) -> Outcome {
    let stream = ticks[before..].iter().find(|tick| tick.ts() > latest).map_or("", Tick::stream);
    let mut at = 0;
    ticks.retain(|tick| {
        at += 1;
        at <= before || tick.ts() <= latest
    });
    Outcome::Rejected(Rejection { stream, reason: "event time more than ahead_ms_max after arrival" })
}

impl Heard {
    /// Settled funding and venue bars speak of the past, and say nothing about how far the venue has come.
    #[inline]
    fn note(&mut self, tick: &Tick) {
        let ts = match tick {
            Tick::Kline(_) => return,
            Tick::Funding(funding) if funding.kind == FundingKind::Settled => return,
            other => other.ts(),
        };
        if self.minutes.is_empty() || !(0..MINUTE_MS).contains(&(ts - self.last_minute)) {
            if self.minutes.is_empty() {
                self.newest_ts = ts;
            }
            self.last_minute = ts.div_euclid(MINUTE_MS) * MINUTE_MS;
            self.minutes.insert(self.last_minute);
        }
        self.newest_ts = self.newest_ts.max(ts);
    }
}

/// Counts outcomes by the addresses of their constant names, which is cheaper than hashing the names.
#[derive(Default)]
struct Counts {
    frequent: Vec<(Venue, Outcome, u64)>,
    /// Where the last one was: like follows like.
    last: usize,
    rare: Tally,
}

impl Counts {
    #[inline]
    fn add(&mut self, venue: Venue, outcome: &Outcome) {
        match self.frequent.get_mut(self.last) {
            Some((v, o, count)) if *v == venue && is_same(o, outcome) => *count += 1,
            _ => self.add_other(venue, outcome),
        }
    }

    fn add_other(&mut self, venue: Venue, outcome: &Outcome) {
        let known = self.frequent.iter().position(|(v, o, _)| *v == venue && is_same(o, outcome));
        self.last = known.unwrap_or(self.frequent.len());
        match known {
            Some(at) => self.frequent[at].2 += 1,
            None => self.frequent.push((venue, outcome.clone(), 1)),
        }
    }

    fn drain(&mut self) -> &mut Tally {
        for (venue, outcome, count) in self.frequent.iter_mut().filter(|(_, _, count)| *count > 0) {
            *self.rare.entry((Some(*venue), Fate::from(&*outcome))).or_default() += std::mem::take(count);
        }
        &mut self.rare
    }
}

/// The same constants (equal names at other addresses are counted apart and meet in the sums).
#[inline]
fn is_same(a: &Outcome, b: &Outcome) -> bool {
    match (a, b) {
        (Outcome::Used(a), Outcome::Used(b)) | (Outcome::Skipped(a), Outcome::Skipped(b)) => std::ptr::eq(*a, *b),
        (Outcome::Rejected(a), Outcome::Rejected(b)) => std::ptr::eq(a.stream, b.stream) && std::ptr::eq(a.reason, b.reason),
        _ => false,
    }
}
