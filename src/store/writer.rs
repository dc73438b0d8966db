//! The writer: quanta of changes in, acknowledged batches out.
//!
//! One task collects rows per table; a table with enough rows, or the first row of which is old enough, goes out as one insert.
//! A quantum never lies in two inserts of one table, and equal rows of one `known_at` are summed before they are sent, so
//! that a batch sent twice (its answer was lost) leaves the views as they are. Up to `inserts_max` inserts run beside each
//! other: while ClickHouse sorts one batch, the next is being turned into bytes.
//!
//! Limits: [`QUANTA_WAITING_MAX`] quanta wait before [`Writer::push`] does, so memory is bounded by that, one batch per
//! table, and the batches on their way. An insert that fails for a passing reason is tried again with growing pauses for
//! `retry_for`; any other failure stops the writer, and every later call says why.

use std::sync::Arc;
use std::time::Duration;

use dataflows::model::{Change, Changes, Instruments};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::StoreError;
use super::edge::EdgeRow;
use super::rows::{self, Names, Stored, millis};

/// So many quanta may wait to be collected.
pub const QUANTA_WAITING_MAX: usize = 64;

const SEND_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(120);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

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
    /// A failing insert is repeated for so long, if it may heal.
    pub retry_for: Duration,
}

impl WriterOptions {
    /// Live: a second at most between knowing and storing.
    #[must_use]
    pub fn live() -> Self {
        Self { batch_rows: 10_000, batch_age: Duration::from_secs(1), inserts_max: 2, retry_for: Duration::from_secs(300) }
    }

    /// A replay at full speed: fewer, larger batches.
    #[must_use]
    pub fn bulk() -> Self {
        Self { batch_rows: 150_000, ..Self::live() }
    }
}

enum Message {
    Quantum(Quantum),
    Flush(oneshot::Sender<()>),
}

/// Takes changes for the store. Copies share one queue.
#[derive(Clone, Debug)]
pub struct Writer {
    messages: mpsc::Sender<Message>,
    failure: Arc<std::sync::OnceLock<String>>,
}

impl Writer {
    pub(crate) fn start(client: clickhouse::Client, instruments: Arc<Instruments>, options: WriterOptions) -> Self {
        let (messages, queue) = mpsc::channel(QUANTA_WAITING_MAX);
        let failure = Arc::new(std::sync::OnceLock::new());
        let client = client
            .with_setting("async_insert", "0")
            .with_setting("optimize_on_insert", "0") // equal rows are summed here already
            .with_setting("max_insert_block_size", "4194304") // a batch stays one block
            .with_setting("max_partitions_per_insert_block", "4800"); // months from 1900 to 2299, so no history is refused
        let collector = Collector {
            target: Arc::new(Target { client, instruments, retry_for: options.retry_for }),
            options,
            waiting: Waiting::default(),
            oldest: None,
            inserts: JoinSet::new(),
            failure: Arc::clone(&failure),
        };
        tokio::spawn(collector.run(queue));
        Self { messages, failure }
    }

    /// Hands over one quantum; waits while too many are queued.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] once an insert has failed for good.
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

    /// Returns when everything pushed before is acknowledged by ClickHouse.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (done, acknowledged) = oneshot::channel();
        self.messages.send(Message::Flush(done)).await.map_err(|_| self.stopped())?;
        acknowledged.await.map_err(|_| self.stopped())
    }

    fn stopped(&self) -> StoreError {
        StoreError::Stopped(self.failure.get().cloned().unwrap_or_else(|| "its task is gone".into()))
    }
}

/// Rows by table, not yet sent.
#[derive(Default)]
struct Waiting {
    tables: Vec<Box<dyn Table>>,
}

/// The waiting rows of one table.
trait Table: Send + std::any::Any {
    fn rows(&self) -> usize;
    fn insert(self: Box<Self>, target: Arc<Target>) -> BoxFuture<'static, Result<(), StoreError>>;
    fn as_any(&mut self) -> &mut dyn std::any::Any;
}

impl<R: Stored> Table for Vec<Change<R>> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn insert(self: Box<Self>, target: Arc<Target>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move { target.insert(*self).await })
    }
    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

impl Waiting {
    /// There are a dozen tables: a scan is as quick as a map.
    fn extend<R: Stored>(&mut self, mut changes: Vec<Change<R>>) {
        for table in &mut self.tables {
            if let Some(rows) = table.as_any().downcast_mut::<Vec<Change<R>>>() {
                rows.append(&mut changes);
                return;
            }
        }
        if !changes.is_empty() {
            self.tables.push(Box::new(changes));
        }
    }

    fn add(&mut self, quantum: Quantum) {
        let Quantum { changes: of_views, edge, .. } = quantum;
        macro_rules! extend {
            ($($view:ident: $kind:ident($row:ty),)*) => {
                for changes in of_views {
                    match changes { $(Changes::$kind(rows) => self.extend(rows),)* }
                }
            };
        }
        dataflows::for_each_view!(extend);
        for row in edge {
            match row {
                EdgeRow::Rejected(row) => self.extend(vec![entered((row.known_at, row))]),
                EdgeRow::Gap(row) => self.extend(vec![entered((row.known_at, row))]),
                EdgeRow::Delivery(row) => self.extend(vec![entered((row.known_at, row))]),
                EdgeRow::Model(row) => {
                    let (known_at, diff) = (row.known_at, isize::from(row.diff));
                    self.extend(vec![(*row, known_at, diff)]);
                }
                EdgeRow::Alert(row) => {
                    let (known_at, diff) = (row.known_at, isize::from(row.diff));
                    self.extend(vec![(row, known_at, diff)]);
                }
            }
        }
    }
}

fn entered<R>((known_at, row): (u64, R)) -> Change<R> {
    (row, known_at, 1)
}

/// The task behind a [`Writer`].
struct Collector {
    target: Arc<Target>,
    options: WriterOptions,
    waiting: Waiting,
    oldest: Option<Instant>,
    inserts: JoinSet<Result<(), StoreError>>,
    failure: Arc<std::sync::OnceLock<String>>,
}

impl Collector {
    async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        if let Err(error) = self.collect(&mut queue).await {
            tracing::error!(%error, "the store's writer stops: rows are no longer kept");
            self.note(&error);
        }
        // Dropping the queue makes every waiting and later call fail, with that reason.
    }

    fn note(&self, error: &StoreError) {
        let _ = self.failure.set(error.to_string()); // the first reason stays
    }

    async fn collect(&mut self, queue: &mut mpsc::Receiver<Message>) -> Result<(), StoreError> {
        loop {
            let due = self.oldest.map(|oldest| oldest + self.options.batch_age);
            let message = tokio::select! {
                message = queue.recv() => message,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.send(1).await?;
                    continue;
                }
                Some(done) = self.inserts.join_next(), if !self.inserts.is_empty() => {
                    finished(done)?;
                    continue;
                }
            };
            match message {
                Some(Message::Quantum(quantum)) => {
                    self.waiting.add(quantum);
                    self.oldest.get_or_insert_with(Instant::now);
                    self.send(self.options.batch_rows.max(1)).await?;
                }
                Some(Message::Flush(done)) => {
                    // The reason must be there before the caller learns that there is one: dropping `done` tells it.
                    self.drain().await.inspect_err(|error| self.note(error))?;
                    let _ = done.send(()); // a caller that no longer waits needs no answer
                }
                None => return self.drain().await,
            }
        }
    }

    /// Sends every table with at least `rows_min` rows, waiting for a free place among the inserts.
    async fn send(&mut self, rows_min: usize) -> Result<(), StoreError> {
        let mut at = 0;
        while at < self.waiting.tables.len() {
            if self.waiting.tables[at].rows() < rows_min {
                at += 1;
                continue;
            }
            while self.inserts.len() >= self.options.inserts_max.max(1) {
                match self.inserts.join_next().await {
                    Some(done) => finished(done)?,
                    None => break,
                }
            }
            let table = self.waiting.tables.swap_remove(at);
            self.inserts.spawn(table.insert(Arc::clone(&self.target)));
        }
        if self.waiting.tables.is_empty() {
            self.oldest = None;
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), StoreError> {
        self.send(1).await?;
        while let Some(done) = self.inserts.join_next().await {
            finished(done)?;
        }
        Ok(())
    }
}

fn finished(done: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Result<(), StoreError> {
    done.unwrap_or_else(|e| Err(StoreError::Stopped(format!("an insert's task ended: {e}"))))
}

/// Where inserts go.
struct Target {
    client: clickhouse::Client,
    instruments: Arc<Instruments>,
    retry_for: Duration,
}

impl Target {
    async fn insert<R: Stored>(&self, mut changes: Vec<Change<R>>) -> Result<(), StoreError> {
        R::consolidate(&mut changes);
        if changes.is_empty() {
            return Ok(());
        }
        let names = rows::names(&changes, &self.instruments)?;
        let start = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            match self.attempt(&changes, &names).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_retryable() && start.elapsed() < self.retry_for => {
                    tracing::warn!(table = R::TABLE, rows = changes.len(), pause_ms = pause.as_millis(), %error, "insert failed, trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt<R: Stored>(&self, changes: &[Change<R>], names: &Names) -> Result<(), StoreError> {
        let failed = |error: clickhouse::error::Error| StoreError::of(format!("{} rows for {}", changes.len(), R::TABLE), &error);
        let insert = self.client.insert::<R::Stored>(R::TABLE).await.map_err(failed)?;
        let mut insert = insert.with_timeouts(Some(SEND_MAX), Some(ANSWER_MAX));
        for (row, known_at, diff) in changes {
            let diff = (*diff).clamp(-1, 1) as i8;
            let written = match row.stored(millis(*known_at), diff, names) {
                Some(stored) => insert.write(&stored), // serialised here; the future only sends full buffers
                None => continue,                      // never: `names` has all of this batch
            };
            written.await.map_err(failed)?;
        }
        insert.end().await.map_err(failed)
    }
}
