//! The writer: quanta of changes in, acknowledged batches out.
//!
//! A task ([`super::collector`]) collects rows per table; a table with enough rows, or the first row of which is old enough, goes out as one insert.
//! A quantum never lies in two inserts of one table, and equal rows of one `known_at` are summed before they are sent, so
//! that a batch sent twice (its answer was lost) leaves the views as they are. Up to `inserts_max` inserts run beside each other.
//!
//! When ClickHouse takes no rows they go to a spool on disk, and from there to ClickHouse once it does: whoever pushes notices nothing.
//! [`Writer::acknowledged`] says up to when rows are safe in one of both.
//!
//! Limits: [`QUANTA_WAITING_MAX`] quanta wait before [`Writer::push`] does; `collector` and `spool` have the others. Push waits if the
//! spool is full. Only a defect stops a writer that spools; one that doesn't stops when an insert has failed for `retry_for`, or for
//! good. Every later call says why.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dataflows::model::{Changes, Instruments};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::StoreError;
use super::collector::Collector;
use super::edge::EdgeRow;
use super::insert::Target;
use super::spool::{Spool, SpoolHealth};

/// So many quanta may wait to be collected.
pub const QUANTA_WAITING_MAX: usize = 64;

const SETTLE_LOOK: Duration = Duration::from_millis(20);

/// Everything that became known in one quantum.
#[derive(Clone, Debug, Default)]
pub struct Quantum {
    /// When, UTC ms.
    pub known_at: u64,
    /// All changes of the views with this `known_at`.
    pub changes: Vec<Changes>,
    /// The edge's rows; they carry their own `known_at`.
    pub edge: Vec<EdgeRow>,
}

/// How the writer batches and how long it tries.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// A table with so many rows waiting is sent at once.
    pub batch_rows: usize,
    /// Rows don't wait longer than this.
    pub batch_age: Duration,
    /// Inserts beside each other.
    pub inserts_max: usize,
    /// A failing insert is repeated for so long, if it may heal, before it goes to the spool, or stops the writer.
    pub retry_for: Duration,
    /// Rows that ClickHouse doesn't take go to the spool.
    pub spool: bool,
}

impl WriterOptions {
    /// Live: a second at most between knowing and storing.
    #[must_use]
    pub fn live() -> Self {
        Self {
            batch_rows: 10_000,
            batch_age: Duration::from_secs(1),
            inserts_max: 2,
            retry_for: Duration::from_secs(2),
            spool: true,
        }
    }

    /// A replay at full speed: fewer, larger batches. It has its input, so it waits for ClickHouse instead of spooling, and gives up in the end.
    #[must_use]
    pub fn bulk() -> Self {
        Self { batch_rows: 150_000, retry_for: Duration::from_secs(300), spool: false, ..Self::live() }
    }
}

pub(crate) enum Message {
    Quantum(Quantum),
    Flush(oneshot::Sender<Result<(), StoreError>>),
}

/// What the task tells its writers.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub failure: OnceLock<String>,
    pub acknowledged: AtomicU64,
    /// From when on nobody waits for room in the spool any more.
    pub closing: OnceLock<Instant>,
}

/// Takes changes for the store. Copies share one queue.
#[derive(Clone)]
pub struct Writer {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    spool: Option<Arc<Spool>>,
    target: Arc<Target>,
}

impl Writer {
    pub(crate) fn start(target: Target, spool: Option<Spool>, instruments: Arc<Instruments>, options: WriterOptions) -> Self {
        let (messages, queue) = mpsc::channel(QUANTA_WAITING_MAX);
        let (shared, target, spool) = (Arc::new(Shared::default()), Arc::new(target), spool.map(Arc::new));
        let collector = Collector::new(Arc::clone(&target), instruments, options, Arc::clone(&shared), spool.clone());
        tokio::spawn(collector.run(queue));
        Self { messages, shared, spool, target }
    }

    /// Hands over one quantum; waits while too many are queued. One without rows only moves the mark.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] once the writer has failed for good.
    pub async fn push(&self, quantum: Quantum) -> Result<(), StoreError> {
        self.messages.send(Message::Quantum(quantum)).await.map_err(|_| self.stopped())
    }

    /// As [`Self::push`], from a thread outside tokio.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_blocking(&self, quantum: Quantum) -> Result<(), StoreError> {
        self.messages.blocking_send(Message::Quantum(quantum)).map_err(|_| self.stopped())
    }

    /// Returns when everything pushed before is stored by ClickHouse or durable in the spool: where there is a spool, ten seconds after its turn at
    /// the latest. Its turn comes after what was pushed before, so a full spool holds it, too, until there is room or [`Self::close_within`] ends that.
    ///
    /// # Errors
    /// As [`Self::push`]; [`StoreError::Spool`] if neither ClickHouse nor the disk took the rows in that time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (done, acknowledged) = oneshot::channel();
        self.messages.send(Message::Flush(done)).await.map_err(|_| self.stopped())?;
        acknowledged.await.map_err(|_| self.stopped())?
    }

    /// The knowledge time, UTC ms, up to which every quantum pushed so far is stored by ClickHouse or durable in the spool: a kill can't take it any
    /// more. Never falls. 0: nothing yet. Quanta must be pushed in order of `known_at`, each whole; quanta without rows move it on, too.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Acquire)
    }

    /// How the spool is doing. Cheap enough to ask every second.
    #[must_use]
    pub fn health(&self) -> SpoolHealth {
        let health = self.spool.as_ref().map(|spool| spool.health()).unwrap_or_default();
        SpoolHealth { dead_letters: self.target.dead_letters.count(), ..health }
    }

    /// The run ends: whoever pushes waits no longer than this for room in a full spool; then the writer stops, and rows that it didn't take are lost.
    pub fn close_within(&self, limit: Duration) {
        let _ = self.shared.closing.set(Instant::now() + limit); // the first call counts
    }

    /// Waits until the spool is empty, as long as ClickHouse takes rows, and so long at most.
    pub async fn settle(&self, timeout: Duration) -> SpoolHealth {
        let until = Instant::now() + timeout;
        loop {
            let health = self.health();
            if health.rows == 0 || !health.draining || Instant::now() >= until {
                return health;
            }
            sleep(SETTLE_LOOK).await;
        }
    }

    fn stopped(&self) -> StoreError {
        StoreError::Stopped(self.shared.failure.get().cloned().unwrap_or_else(|| "its task is gone".into()))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("acknowledged", &self.acknowledged()).field("health", &self.health()).finish()
    }
}
