//! A thread that makes records durable in groups, and keeps at it when the disk doesn't want to.
//!
//! Records wait in memory until the group's interval is over, are written with one fsync, and count as acknowledged from then on. When
//! the disk fails, nothing is acknowledged, records wait (bounded), and the thread tries again, in a new segment, until it succeeds.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::writer::{Appender, Writer};
use crate::{Error, Refused, Seq};

/// Between attempts while the disk fails, at most.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Takes records from any thread; see the module.
pub struct GroupSync {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Seq, Error>>>,
}

/// How a journal is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The last record that was taken.
    pub taken: Seq,
    /// The last that is durable.
    pub durable: Seq,
    /// Bytes that wait to be.
    pub waiting_bytes: usize,
    /// How long the first of them has been waiting.
    pub waiting: Option<Duration>,
    /// Attempts that failed since the last that succeeded, and what the last one said.
    pub failing: Option<(u32, String)>,
}

struct Shared {
    bytes_max: usize,
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// Something became durable, or never will.
    progress: Condvar,
}

struct State {
    filling: Batch,
    filling_since: Option<Instant>,
    /// What the thread has in its hands.
    writing_bytes: usize,
    writing_since: Option<Instant>,
    durable: Seq,
    failing: Option<(u32, String)>,
    is_urgent: bool,
    is_closing: bool,
    is_over: bool,
}

impl GroupSync {
    /// Starts the thread. A record becomes durable `interval` after it was taken, and the time of a write and an fsync, at the latest.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(writer: Writer, interval: Duration) -> Result<Self, Error> {
        let Writer { appender, batch } = writer;
        let filling_since = (!batch.is_empty()).then(Instant::now);
        let state = State {
            filling: batch,
            filling_since,
            writing_bytes: 0,
            writing_since: None,
            durable: appender.durable,
            failing: None,
            is_urgent: false,
            is_closing: false,
            is_over: false,
        };
        let bytes_max = appender.options.buffer_bytes_max;
        let shared = Arc::new(Shared { bytes_max, state: Mutex::new(state), work: Condvar::new(), progress: Condvar::new() });
        let work = {
            let shared = Arc::clone(&shared);
            move || shared.work(appender, interval)
        };
        let thread = std::thread::Builder::new().name("journal".into()).spawn(work);
        let thread = thread.map_err(|error| Error::Asked(format!("can't start the journal's thread: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes a record, without waiting.
    ///
    /// # Errors
    /// If there is no room, or the record is none that a journal may hold.
    pub fn append(&self, known_at: u64, kind: u8, payload: &[u8]) -> Result<Seq, Refused> {
        self.shared.push(&mut self.shared.lock(), known_at, kind, payload)
    }

    /// Takes a record, and waits for room so long if it must.
    ///
    /// # Errors
    /// If there is no room even then, or the record is none that a journal may hold.
    pub fn append_within(&self, known_at: u64, kind: u8, payload: &[u8], timeout: Duration) -> Result<Seq, Refused> {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            match self.shared.push(&mut state, known_at, kind, payload) {
                Err(Refused::Full { waiting_bytes }) => {
                    let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                        return Err(Refused::Full { waiting_bytes });
                    };
                    state.is_urgent = true;
                    self.shared.work.notify_one();
                    state = wait(&self.shared.progress, state, left);
                }
                taken => return taken,
            }
        }
    }

    /// What was taken so far is to be durable soon: the interval is not waited for.
    pub fn hurry(&self) {
        self.shared.lock().is_urgent = true;
        self.shared.work.notify_one();
    }

    /// The last record that is durable.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.lock().durable
    }

    /// Waits until record `seq` is durable, so long at most. False: it isn't yet.
    #[must_use]
    pub fn wait_durable(&self, seq: Seq, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        while state.durable < seq && !state.is_over {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            state.is_urgent = true;
            self.shared.work.notify_one();
            state = wait(&self.shared.progress, state, left);
        }
        state.durable >= seq
    }

    /// How it is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.shared.lock();
        Health {
            taken: state.filling.next() - 1,
            durable: state.durable,
            waiting_bytes: state.writing_bytes + state.filling.len_bytes(),
            waiting: state.writing_since.or(state.filling_since).map(|since| since.elapsed()),
            failing: state.failing.clone(),
        }
    }

    /// Makes everything durable, tries once more if the disk fails, and lets go of the directory. Answers with the last record.
    ///
    /// # Errors
    /// If the disk fails: the records after [`Self::durable`] are lost, then.
    pub fn finish(mut self) -> Result<Seq, Error> {
        self.close();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(Error::Asked("the journal's thread died".into())),
        }
    }

    fn close(&self) {
        self.shared.lock().is_closing = true;
        self.shared.work.notify_one();
    }
}

impl Drop for GroupSync {
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // who wants to know calls `finish`
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, state: &mut State, known_at: u64, kind: u8, payload: &[u8]) -> Result<Seq, Refused> {
        if state.is_closing || state.is_over {
            return Err(Refused::Closed);
        }
        let waiting_bytes = state.writing_bytes + state.filling.len_bytes();
        let seq = state.filling.push(known_at, kind, payload, waiting_bytes, self.bytes_max)?;
        if state.filling_since.is_none() {
            state.filling_since = Some(Instant::now());
            self.work.notify_one();
        } else if state.filling.len_bytes() >= self.bytes_max / 4 && !state.is_urgent {
            state.is_urgent = true;
            self.work.notify_one();
        }
        Ok(seq)
    }

    /// The thread.
    fn work(&self, appender: Appender, interval: Duration) -> Result<Seq, Error> {
        let _over = Over(self);
        let mut appender = appender;
        let mut writing = Batch::default();
        let mut last_chance = true;
        loop {
            let is_closing = self.next_group(&mut writing, interval);
            if writing.is_empty() && is_closing {
                return appender.close();
            }
            let written = appender.write(&mut writing);
            let failures = self.account(appender.durable, &writing, written.as_ref().err());
            if let Err(error) = written {
                if is_closing && !std::mem::take(&mut last_chance) {
                    return Err(error);
                }
                self.pause(interval.saturating_mul(1 << failures.min(10)).clamp(Duration::from_millis(1), RETRY_MAX));
            }
        }
    }

    /// Waits for a group that is due, unless there is one that wasn't written. True: no more will come.
    fn next_group(&self, writing: &mut Batch, interval: Duration) -> bool {
        let mut state = self.lock();
        if !writing.is_empty() {
            return state.is_closing;
        }
        loop {
            let due = state.filling_since.map(|since| interval.saturating_sub(since.elapsed()));
            match due {
                _ if state.is_closing || (state.is_urgent && due.is_some()) => break,
                Some(left) if left.is_zero() => break,
                Some(left) => state = wait(&self.work, state, left),
                None => state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        writing.restart(state.filling.next());
        std::mem::swap(writing, &mut state.filling);
        state.writing_bytes = writing.len_bytes();
        state.writing_since = state.filling_since.take();
        state.is_urgent = false;
        state.is_closing
    }

    /// Says what became of a group. Answers with how many attempts have failed in a row.
    fn account(&self, durable: Seq, writing: &Batch, failed: Option<&Error>) -> u32 {
        let mut state = self.lock();
        state.durable = durable;
        state.writing_bytes = writing.len_bytes();
        state.writing_since = state.writing_since.filter(|_| !writing.is_empty());
        let failures = state.failing.as_ref().map_or(0, |(count, _)| *count);
        state.failing = failed.map(|error| (failures.saturating_add(1), error.to_string()));
        self.progress.notify_all();
        failures
    }

    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero() && !state.is_closing) {
            state = wait(&self.work, state, left);
        }
    }
}

/// However the thread ends, nobody waits for it any more.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.progress.notify_all();
    }
}

fn wait<'a>(condvar: &Condvar, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
    condvar.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
}
