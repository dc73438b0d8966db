//! The task behind a [`super::Writer`]: collects quanta, sends batches, and goes over to the spool and back.
//!
//! It never waits inside itself, so a ClickHouse that is slow or away doesn't hold whoever pushes. It has two ways to send:
//! - *direct*: up to `inserts_max` inserts beside each other. One that keeps failing for `retry_for`, or fails in a way that doesn't pass, or
//!   a table that waits [`OVERDUE_MAX`] for a free place, makes it go over to
//! - *spooling*: what is due is packed once a second and handed to the [`Spool`], from which [`drain`] stores it. When that has caught up, direct
//!   inserts begin again, beside the last of the drain. Order doesn't matter: views go by `known_at`.
//!
//! Without a spool (a replay has its input) a failing insert is repeated for `retry_for`, and then the writer stops.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dataflows::model::Instruments;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use super::StoreError;
use super::batch::{Batch, Parcel, pack};
use super::drain::drain;
use super::error::Class;
use super::insert::Target;
use super::marks::Marks;
use super::spool::Spool;
use super::waiting::{Table, Waiting};
use super::writer::{Message, Shared, WriterOptions};

/// A table that is due waits so long for a free place among the inserts before it goes to the spool.
pub const OVERDUE_MAX: Duration = Duration::from_secs(5);
/// Rows that wait, in batches: beyond, whoever pushes waits, and if inserts are stuck the rows go to the spool.
pub const WAITING_BATCHES_MAX: usize = 5;
/// A flush lets inserts run so long before their rows go to the spool.
pub const FLUSH_DIRECT_MAX: Duration = Duration::from_secs(5);
/// A flush takes so long at most, where there is a spool.
pub const FLUSH_MAX: Duration = Duration::from_secs(9);

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The disk is looked at so often while something waits for it.
const PUMP_EVERY: Duration = Duration::from_millis(20);
/// Between attempts to open the spool. It may still belong to a writer that is ending.
const OPEN_EVERY: Duration = Duration::from_millis(100);
/// The spool's directory may be taken so long before that is an error.
const OPEN_QUIETLY: Duration = Duration::from_secs(10);

pub(crate) struct Collector {
    target: Arc<Target>,
    instruments: Arc<Instruments>,
    options: WriterOptions,
    shared: Arc<Shared>,
    spool: Option<Arc<Spool>>,
    waiting: Waiting,
    marks: Marks,
    /// Inserts under way, and what they carry.
    inserts: JoinSet<(u64, Result<(), StoreError>)>,
    in_flight: HashMap<u64, InFlight>,
    next_id: u64,
    spooling: bool,
    /// Of inserts that failed; packed with the next.
    rescued: Vec<(Arc<Batch>, u64)>,
    /// One at most.
    packing: JoinSet<Packed>,
    draining: JoinSet<u64>,
    drained_rows: u64,
    flush: Option<Flush>,
}

/// Parcels, and the marks of what is in them.
type Packed = Result<(Vec<Parcel>, Vec<u64>), StoreError>;

struct InFlight {
    since: Instant,
    mark: u64,
    batch: Arc<OnceLock<Arc<Batch>>>,
    abort: AbortHandle,
}

struct Flush {
    since: Instant,
    /// `None`: all writers are gone.
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Collector {
    pub fn new(
        target: Arc<Target>,
        instruments: Arc<Instruments>,
        options: WriterOptions,
        shared: Arc<Shared>,
        spool: Option<Arc<Spool>>,
    ) -> Self {
        Self {
            target,
            instruments,
            options,
            shared,
            spool,
            waiting: Waiting::default(),
            marks: Marks::default(),
            inserts: JoinSet::new(),
            in_flight: HashMap::new(),
            next_id: 0,
            spooling: false,
            rescued: Vec::new(),
            packing: JoinSet::new(),
            draining: JoinSet::new(),
            drained_rows: 0,
            flush: None,
        }
    }

    pub async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut opening = JoinSet::new();
        if let Some(spool) = self.spool.clone() {
            opening.spawn(open(spool));
        }
        if let Err(error) = self.collect(&mut queue).await {
            tracing::error!(%error, "the store's writer stops: rows are no longer kept");
            let _ = self.shared.failure.set(error.to_string()); // the first reason stays
        }
        // Dropping the queue makes every waiting and later call fail, with that reason.
        drop(queue);
        self.draining.shutdown().await;
        opening.shutdown().await;
        if let Some(spool) = self.spool {
            let _ = spawn_blocking(move || spool.close()).await;
        }
    }

    async fn collect(&mut self, queue: &mut mpsc::Receiver<Message>) -> Result<(), StoreError> {
        loop {
            self.start_what_is_due();
            self.shared.acknowledged.fetch_max(self.marks.acknowledged(), Ordering::AcqRel);
            if self.flush_is_over() {
                return Ok(());
            } else if self.is_hopeless() {
                return Err(StoreError::Spool(
                    "the run ends, ClickHouse takes no rows, and the spool is full: the newest are lost".into(),
                ));
            }
            let pulse = self.next_pulse();
            tokio::select! {
                message = queue.recv(), if self.may_take() => match message {
                    Some(Message::Quantum(quantum)) => {
                        let known_at = quantum.known_at;
                        let tables = self.waiting.add(quantum);
                        self.marks.reach(known_at, tables);
                    }
                    Some(Message::Flush(done)) => self.flush = Some(Flush { since: Instant::now(), done: Some(done) }),
                    None => self.flush = Some(Flush { since: Instant::now(), done: None }),
                },
                Some(ended) = self.inserts.join_next() => self.inserted(ended)?,
                Some(packed) = self.packing.join_next() => self.packed(packed)?,
                Some(rows) = self.draining.join_next() => self.caught_up(rows.unwrap_or_default()),
                () = sleep_until(pulse) => {}
            }
        }
    }

    /// The run is to end, and there is no room for its last rows.
    fn is_hopeless(&self) -> bool {
        self.shared.closing.get().is_some_and(|limit| *limit <= Instant::now())
            && self.flush.is_none()
            && self.spool.as_ref().is_some_and(|spool| !spool.has_room())
    }

    /// While it may not, whoever pushes waits.
    fn may_take(&self) -> bool {
        let batch_rows = self.options.batch_rows.max(1);
        self.flush.is_none()
            && match &self.spool {
                Some(spool) => spool.has_room() && self.waiting.count() < batch_rows.saturating_mul(WAITING_BATCHES_MAX),
                None => self.waiting.largest() < batch_rows || self.has_place(),
            }
    }

    fn has_place(&self) -> bool {
        self.inserts.len() < self.options.inserts_max.max(1)
    }

    /// When to look again if nothing happens before.
    fn next_pulse(&self) -> Instant {
        let now = Instant::now();
        let mut pulse = now + Duration::from_secs(1);
        let can_start = if self.spooling { self.packing.is_empty() } else { self.has_place() };
        if let Some(oldest) = self.waiting.oldest() {
            let due = oldest + self.options.batch_age;
            // Where nothing can start, whatever ends wakes the loop: looking all the time would help nobody.
            pulse = pulse.min(if can_start { due } else { (due + OVERDUE_MAX).max(now + PUMP_EVERY) });
        }
        if self.spool.as_ref().is_some_and(|spool| spool.is_busy()) || self.flush.is_some() {
            pulse = pulse.min(now + PUMP_EVERY);
        }
        pulse.max(now + Duration::from_millis(1))
    }

    fn start_what_is_due(&mut self) {
        if let Some(spool) = self.spool.clone() {
            spool.pump().into_iter().for_each(|mark| self.marks.done(mark));
            if self.draining.is_empty() && !spool.is_empty() {
                self.draining.spawn(drain(Arc::clone(&spool), Arc::clone(&self.target), self.options.inserts_max));
            }
            self.hurry(&spool);
        }
        self.pack();
        let (rows, age) = self.due();
        while !self.spooling
            && self.has_place()
            && let Some(table) = self.waiting.take_due(rows, age)
        {
            self.insert(table);
        }
    }

    /// How many rows, or which age, make a table due.
    fn due(&self) -> (usize, Duration) {
        if self.flush.is_some() { (1, Duration::ZERO) } else { (self.options.batch_rows.max(1), self.options.batch_age) }
    }

    /// Goes over to the spool where inserts hold things up.
    fn hurry(&mut self, spool: &Spool) {
        let overdue = self.waiting.oldest().is_some_and(|oldest| oldest.elapsed() > self.options.batch_age + OVERDUE_MAX);
        // A burst alone is no reason: then whoever pushes waits for inserts that do end.
        let is_stuck = self.in_flight.values().any(|insert| insert.since.elapsed() > self.options.retry_for);
        let crowded = is_stuck && self.waiting.count() >= self.options.batch_rows.saturating_mul(WAITING_BATCHES_MAX);
        if !self.spooling && !self.has_place() && (overdue || crowded) {
            let what = format!("{} inserts", self.inserts.len());
            spool.say_away(&StoreError::Unavailable { what, message: "no answer for too long".into() }, false);
            self.spooling = true;
        }
        if self.flush.as_ref().is_some_and(|flush| flush.since.elapsed() > FLUSH_DIRECT_MAX) {
            // One without bytes yet has its rows nowhere else: it has its turn at a later look.
            let with_bytes: Vec<_> = self.in_flight.extract_if(|_, insert| insert.batch.get().is_some()).collect();
            if with_bytes.is_empty() {
                return;
            }
            for (_, InFlight { mark, batch, abort, .. }) in with_bytes {
                abort.abort();
                // If it arrived after all, it is one row twice.
                self.rescued.extend(batch.get().map(|batch| (Arc::clone(batch), mark)));
            }
            let what = "the last inserts".to_owned();
            spool.say_away(&StoreError::Unavailable { what, message: "no answer in time".into() }, false);
            self.spooling = true;
        }
    }

    fn insert(&mut self, table: Table) {
        let (target, instruments, batch) = (Arc::clone(&self.target), Arc::clone(&self.instruments), Arc::new(OnceLock::new()));
        let (id, mark, slot, options) = (self.next_id, table.known_at, Arc::clone(&batch), self.options);
        self.next_id += 1;
        let abort = self.inserts.spawn(async move {
            let outcome = match table.encode(&instruments) {
                Ok(Some(batch)) => patiently(&target, slot.get_or_init(|| Arc::new(batch)), options).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            (id, outcome)
        });
        self.in_flight.insert(id, InFlight { since: Instant::now(), mark, batch, abort });
    }

    fn inserted(&mut self, ended: Result<(u64, Result<(), StoreError>), JoinError>) -> Result<(), StoreError> {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(StoreError::Stopped(format!("an insert's task ended: {error}"))),
        };
        let Some(InFlight { mark, batch, .. }) = self.in_flight.remove(&id) else { return Ok(()) };
        match (outcome, &self.spool, batch.get()) {
            (Ok(()), ..) => self.marks.done(mark),
            (Err(error), Some(spool), Some(batch)) => {
                spool.say_away(&error, error.class() != Class::Retry);
                self.rescued.push((Arc::clone(batch), mark));
                self.spooling = true;
            }
            (Err(error), ..) => return Err(error),
        }
        Ok(())
    }

    /// Packs what was rescued and, when spooling, what is due.
    fn pack(&mut self) {
        if !self.packing.is_empty() {
            return;
        }
        let (rows, age) = self.due();
        let mut tables = Vec::new();
        while self.spooling
            && let Some(table) = self.waiting.take_due(rows, age)
        {
            tables.push(table);
        }
        let rescued = std::mem::take(&mut self.rescued);
        if tables.is_empty() && rescued.is_empty() {
            return;
        }
        let instruments = Arc::clone(&self.instruments);
        self.packing.spawn_blocking(move || {
            let marks = tables.iter().map(|table| table.known_at).chain(rescued.iter().map(|(_, mark)| *mark)).collect();
            let mut batches: Vec<Batch> = rescued.into_iter().map(|(batch, _)| Arc::unwrap_or_clone(batch)).collect();
            for table in tables {
                batches.extend(table.encode(&instruments)?);
            }
            let parcels = pack(batches).ok_or_else(|| StoreError::Config("rows can't be packed; please report it".into()))?;
            Ok((parcels, marks))
        });
    }

    fn packed(&mut self, packed: Result<Packed, JoinError>) -> Result<(), StoreError> {
        let (parcels, mut marks) = packed.map_err(|e| StoreError::Stopped(format!("packing ended: {e}")))??;
        let Some(spool) = &self.spool else { return Ok(()) };
        let last = parcels.len();
        for (at, parcel) in parcels.into_iter().enumerate() {
            // They are made durable in order, so the last one's word is good for all.
            spool.append(parcel, if at + 1 == last { std::mem::take(&mut marks) } else { Vec::new() });
        }
        marks.into_iter().for_each(|mark| self.marks.done(mark)); // there was nothing in them
        Ok(())
    }

    /// ClickHouse takes rows, and has what was spooled before.
    fn caught_up(&mut self, rows: u64) {
        self.spooling = false;
        self.drained_rows += rows;
        if let Some(spool) = self.spool.as_ref().filter(|spool| spool.is_empty() && self.packing.is_empty()) {
            spool.say_drained(std::mem::take(&mut self.drained_rows));
        }
    }

    /// Answers a flush that is done or was too long. True: it was the last.
    fn flush_is_over(&mut self) -> bool {
        let Some(flush) = &self.flush else { return false };
        let busy = self.spool.as_ref().is_some_and(|spool| spool.is_busy());
        let is_done =
            self.waiting.is_empty() && self.in_flight.is_empty() && self.rescued.is_empty() && self.packing.is_empty() && !busy;
        let is_late = self.spool.is_some() && flush.since.elapsed() > FLUSH_MAX;
        if !is_done && !is_late {
            return false;
        }
        let answer = if is_done {
            Ok(())
        } else {
            let why =
                self.spool.as_ref().and_then(|spool| spool.health().last_error).unwrap_or_else(|| "the spool is full".into());
            Err(StoreError::Spool(format!("the newest rows could be neither stored nor spooled: {why}")))
        };
        let Some(Flush { done, .. }) = self.flush.take() else { return false };
        match done {
            Some(done) => {
                let _ = done.send(answer); // a caller that no longer waits needs no answer
                false
            }
            None => {
                if let Err(error) = answer {
                    tracing::error!(%error, "rows are lost");
                }
                true
            }
        }
    }
}

/// Tries for so long as the failure may pass.
async fn patiently(target: &Arc<Target>, batch: &Arc<Batch>, options: WriterOptions) -> Result<(), StoreError> {
    let (start, mut pause) = (Instant::now(), PAUSE_MIN);
    loop {
        match target.store(batch).await {
            Err(error) if error.class() == Class::Retry && start.elapsed() + pause < options.retry_for => {
                // The spool tells its own story; without one somebody may wonder why nothing happens.
                if !options.spool {
                    let (rows, pause_ms) = (batch.rows, pause.as_millis());
                    tracing::warn!(table = %batch.table, rows, pause_ms, %error, "insert failed, trying again");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            outcome => return outcome,
        }
    }
}

/// Until it is open.
async fn open(spool: Arc<Spool>) {
    let start = Instant::now();
    loop {
        let opened = Arc::clone(&spool);
        match spawn_blocking(move || opened.open()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) if start.elapsed() > OPEN_QUIETLY => spool.say_disk(&error.to_string()),
            Ok(Err(error)) => tracing::debug!(%error, "the spool can't be opened yet"),
            Err(error) => tracing::error!(%error, "opening the spool ended"),
        }
        sleep(OPEN_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
