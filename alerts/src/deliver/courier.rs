//! The courier: carries one channel's events, tries again what may work later, gives up what is too old to matter.
//!
//! Everything is in memory and bounded: at most [`Options::queue_max`] events, waiting ones included, each for at most
//! [`Options::age_max`]. Events about the same thing keep their order, so that no "resolved" overtakes its "firing"; others
//! don't wait for each other. Each courier is a task of its own: a slow receiver holds up nobody else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Attempt, AttemptResult, Channel, Clock, Message, Outcome, Verdict};
use crate::event::{Event, EventType};

/// Is told of every attempt. It must not block.
pub type OnAttempt = Arc<dyn Fn(Attempt) + Send + Sync>;

/// A courier's limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most events at a time, those that wait for their next attempt included.
    pub queue_max: usize,
    /// Most attempts at the same time.
    pub in_flight_max: usize,
    /// An event that was not delivered within this is given up: a stale signal is noise.
    pub age_max: Duration,
    /// Pauses after the first, second, … attempt; the last one repeats. ±20 % by event and attempt.
    pub schedule: Vec<Duration>,
    /// Which events it carries; empty: all.
    pub event_types: Vec<EventType>,
}

impl Default for Options {
    fn default() -> Self {
        let schedule = [5, 15, 60, 180, 300].map(Duration::from_secs).to_vec();
        Self { queue_max: 1_024, in_flight_max: 4, age_max: Duration::from_secs(1_800), schedule, event_types: Vec::new() }
    }
}

/// Why an event was not accepted. It was reported as an [`Attempt`] with number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full.
    #[error("queue an event: {max} events wait already; the receiver is too slow or down")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The receiver wants nothing any more.
    #[error("queue an event: the receiver answered 410 and wants no more; remove the webhook or renew its url")]
    Gone,
}

impl Refused {
    /// Whether it may be accepted later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// A handle to the task that delivers to one channel.
///
/// Dropping it lets the task finish what it has; [`Courier::drain`] also waits for that.
pub struct Courier {
    queue: mpsc::UnboundedSender<Parcel>, // bounded by `room`
    room: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
    desk: Arc<Desk>,
}

/// What the handle and the task share.
struct Desk {
    channel: String,
    options: Options,
    clock: Clock,
    on_attempt: OnAttempt,
    gone: AtomicBool,
}

/// A message with its history.
struct Parcel {
    message: Message,
    accepted: Instant,
    due: Instant,
    attempts: u32,
    sent_at_ms: i64,
    http_status: u16,
    _room: Option<OwnedSemaphorePermit>,
}

impl Courier {
    /// Starts a courier on the current runtime.
    pub fn start<C: Channel>(channel: C, options: Options, clock: Clock, on_attempt: OnAttempt) -> Self {
        let room = Arc::new(Semaphore::new(options.queue_max));
        let desk =
            Arc::new(Desk { channel: channel.name().to_owned(), options, clock, on_attempt, gone: AtomicBool::new(false) });
        let (queue, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let round = Round {
            channel: Arc::new(channel),
            desk: Arc::clone(&desk),
            waiting: VecDeque::new(),
            tasks: JoinSet::new(),
            in_flight: HashMap::new(),
        };
        let task = tokio::spawn(round.run(inbox, stopped));
        Self { queue, room, stop, task, desk }
    }

    /// The channel's name.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.desk.channel
    }

    /// Accepts an event without waiting. `false`: this channel doesn't carry events of its type.
    pub fn enqueue(&self, event: &Event) -> Result<bool, Refused> {
        let wanted = &self.desk.options.event_types;
        if !wanted.is_empty() && !wanted.contains(&event.event_type) {
            return Ok(false);
        }
        let now = Instant::now();
        let message = Message::of(event);
        let mut parcel = Parcel {
            message,
            accepted: now,
            due: now,
            attempts: 0,
            sent_at_ms: (self.desk.clock)(),
            http_status: 0,
            _room: None,
        };
        let refused = match Arc::clone(&self.room).try_acquire_owned() {
            _ if self.desk.gone.load(Ordering::Acquire) => Refused::Gone,
            Err(_) => Refused::Full { max: self.desk.options.queue_max },
            Ok(room) => {
                parcel._room = Some(room);
                match self.queue.send(parcel) {
                    Ok(()) => return Ok(true),
                    // The task ends only after `drain`, which takes the handle; were it to panic, this says so.
                    Err(mpsc::error::SendError(returned)) => {
                        parcel = returned;
                        Refused::Gone
                    }
                }
            }
        };
        self.desk.report(&parcel, AttemptResult::Failed, refused.to_string());
        Err(refused)
    }

    /// Accepts nothing more, and waits until every event is delivered or given up, at most for `within`. What is left then
    /// is reported as failed; returns how many those are.
    pub async fn drain(self, within: Duration) -> usize {
        let Self { queue, stop, mut task, .. } = self;
        drop(queue);
        let left = tokio::select! {
            left = &mut task => left,
            () = sleep(within) => {
                stop.send_replace(true);
                task.await
            }
        };
        left.unwrap_or(0)
    }
}

impl Desk {
    fn report(&self, parcel: &Parcel, result: AttemptResult, reason: String) {
        (self.on_attempt)(Attempt {
            event_id: parcel.message.event_id.clone(),
            status: parcel.message.status,
            channel: self.channel.clone(),
            attempt: parcel.attempts,
            sent_at_ms: parcel.sent_at_ms,
            result,
            http_status: parcel.http_status,
            latency_ms: parcel.accepted.elapsed().as_secs_f64() * 1_000.0,
            reason,
        });
    }

    /// The pause after a parcel's latest attempt.
    fn pause(&self, parcel: &Parcel, asked_for: Option<Duration>) -> Duration {
        let schedule = &self.options.schedule;
        let step = (parcel.attempts.max(1) as usize - 1).min(schedule.len().saturating_sub(1));
        let base = schedule.get(step).copied().unwrap_or(Duration::from_secs(60));
        base.mul_f64(jitter(&parcel.message.event_id, parcel.attempts)).max(asked_for.unwrap_or_default())
    }
}

/// Between 0.8 and 1.2, by FNV-1a of event and attempt: spread out, and the same when it is run again.
fn jitter(event_id: &str, attempt: u32) -> f64 {
    let bytes = event_id.bytes().chain(attempt.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    0.8 + 0.4 * (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// The task's state.
struct Round<C> {
    channel: Arc<C>,
    desk: Arc<Desk>,
    /// In the order of acceptance among those of one event.
    waiting: VecDeque<Parcel>,
    tasks: JoinSet<Outcome>,
    /// Kept outside the tasks, so that none is lost with a task that panics or is aborted.
    in_flight: HashMap<Id, Parcel>,
}

impl<C: Channel> Round<C> {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Parcel>, mut stopped: watch::Receiver<bool>) -> usize {
        let mut open = true;
        while open || !self.waiting.is_empty() || !self.tasks.is_empty() {
            let next = self.launch();
            tokio::select! {
                biased;
                Ok(()) = async { stopped.wait_for(|stop| *stop).await.map(drop) } => return self.give_up(inbox).await,
                Some(done) = self.tasks.join_next_with_id() => self.landed(done),
                parcel = inbox.recv(), if open => match parcel {
                    Some(parcel) => self.accept(parcel),
                    None => open = false,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
        0
    }

    fn accept(&mut self, parcel: Parcel) {
        if self.desk.gone.load(Ordering::Acquire) {
            self.desk.report(&parcel, AttemptResult::Failed, Refused::Gone.to_string());
        } else {
            self.waiting.push_back(parcel);
        }
    }

    /// Starts what is due, and says when the next parcel will be. `None`: not before something else happens.
    fn launch(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.tasks.len() < self.desk.options.in_flight_max.max(1) {
            let (index, due) = self.next()?;
            if due > now {
                return Some(due);
            }
            let mut parcel = self.waiting.remove(index)?;
            parcel.attempts += 1;
            parcel.sent_at_ms = (self.desk.clock)();
            let (channel, message, now_ms) = (Arc::clone(&self.channel), parcel.message.clone(), parcel.sent_at_ms);
            let id = self.tasks.spawn(async move { channel.send(&message, now_ms).await }).id();
            self.in_flight.insert(id, parcel);
        }
        None
    }

    /// The parcel that is due first, among those that have no elder one of the same event before them.
    fn next(&self) -> Option<(usize, Instant)> {
        let mut behind: HashSet<&str> = self.in_flight.values().map(|p| p.message.event_id.as_str()).collect();
        let heads = self.waiting.iter().enumerate().filter(|(_, p)| behind.insert(&p.message.event_id));
        heads.map(|(index, p)| (index, p.due)).min_by_key(|(_, due)| *due)
    }

    fn landed(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match done {
            Ok(done) => done,
            Err(e) => {
                let reason = "the channel's code panicked; please report it".to_owned();
                (e.id(), Outcome { verdict: Verdict::Failed, http_status: 0, reason })
            }
        };
        let Some(mut parcel) = self.in_flight.remove(&id) else { return };
        parcel.http_status = outcome.http_status;
        match outcome.verdict {
            Verdict::Delivered => self.desk.report(&parcel, AttemptResult::Delivered, outcome.reason),
            Verdict::Failed => self.desk.report(&parcel, AttemptResult::Failed, outcome.reason),
            Verdict::Retry { after } => self.put_off(parcel, after, outcome.reason),
            Verdict::Gone => {
                self.desk.gone.store(true, Ordering::Release);
                self.desk.report(&parcel, AttemptResult::Gone, outcome.reason);
                for parcel in self.waiting.drain(..) {
                    self.desk.report(&parcel, AttemptResult::Failed, Refused::Gone.to_string());
                }
            }
        }
    }

    fn put_off(&mut self, mut parcel: Parcel, after: Option<Duration>, reason: String) {
        let pause = self.desk.pause(&parcel, after);
        let age_max = self.desk.options.age_max;
        if self.desk.gone.load(Ordering::Acquire) {
            self.desk.report(&parcel, AttemptResult::Failed, format!("{reason}; given up: {}", Refused::Gone));
        } else if parcel.accepted.elapsed() + pause > age_max {
            let (pause, age_max) = (pause.as_secs(), age_max.as_secs());
            let reason = format!("{reason}; given up: the next attempt in {pause} s would come after the event's {age_max} s");
            self.desk.report(&parcel, AttemptResult::Failed, reason);
        } else {
            self.desk.report(&parcel, AttemptResult::Retry, reason);
            parcel.due = Instant::now() + pause;
            self.waiting.push_front(parcel);
        }
    }

    async fn give_up(mut self, mut inbox: mpsc::UnboundedReceiver<Parcel>) -> usize {
        self.tasks.abort_all();
        // An answer that came in the same instant still counts.
        while let Some(done) = self.tasks.join_next_with_id().await {
            match done {
                Err(e) if e.is_cancelled() => {}
                done => self.landed(done),
            }
        }
        let mut left = 0;
        for parcel in self.in_flight.values() {
            left += 1;
            self.desk.report(parcel, AttemptResult::Failed, "stopped before an answer came; the receiver may have it".to_owned());
        }
        self.waiting.extend(std::iter::from_fn(|| inbox.try_recv().ok()));
        for parcel in &self.waiting {
            left += 1;
            self.desk.report(parcel, AttemptResult::Failed, "stopped before it could be delivered".to_owned());
        }
        left
    }
}
