//! Live feeds: raw frames of a venue, as they come, for as long as it takes.
//!
//! [`run_feed`] plans which streams go on which connection ([`plan`]) and keeps each of them alive ([`keeper`]); a
//! [`connection`] is one socket's life. The policies are small and have no clock of their own: [`backoff`], [`bucket`],
//! [`watchdog`], [`gaps`], [`subscription`]. What differs between venues is a [`session::Session`]. What a gap has cost is
//! asked of the venue's REST afterwards ([`backfill`]), and what an [`Earlier`] run has left beside it.
//!
//! Feeds don't parse market data and don't remove duplicates: both belong to the dataflow. What they owe is that nothing
//! is missing without a row that says so.

mod ask;
mod backfill;
pub mod backoff;
pub mod batch;
pub mod bucket;
pub mod connection;
mod earlier;
pub mod end;
pub mod gaps;
pub mod history;
pub mod keeper;
pub mod plan;
mod poll;
pub mod session;
pub mod subscription;
mod venue_clock;
pub mod watchdog;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use dataflows::model::Venue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::ask::Asker;
use self::bucket::Host;
pub use self::earlier::Earlier;
use self::earlier::Unhealed;
pub use self::end::End;
use self::gaps::Told;
pub use self::plan::PlanError;
use self::session::{Rate, Session};
use self::venue_clock::VenueClock;
use crate::clock;
use crate::config::Feed;
use crate::frames::FrameBatch;
use crate::store::edge::FeedGap;

/// What a feed says.
#[derive(Clone, Debug)]
pub enum FeedOutput {
    /// Frames of one connection in the order in which it received them. Batches of different connections may overlap in
    /// time by a quantum.
    Frames(FrameBatch),
    /// A gap opened (`to_ts` none), ended, or was back-filled: the same key, told again.
    Gap(FeedGap),
    /// A stream has been silent for longer than it may.
    Silent(Silent),
    /// Something changed about a connection.
    Status(Status),
}

/// An alarm of the watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Whose stream.
    pub venue: Venue,
    /// `mark`, `trades`, …
    pub stream: String,
    /// The venue's symbol, or empty: all.
    pub symbol: String,
    /// The venue's name of it: `btcusdt@markPrice@1s`.
    pub key: String,
    /// For how long nothing came.
    pub silent_for_ms: u64,
    /// Acknowledged, but never heard since the connection was made: a wrong route or name rather than a stall.
    pub never_heard: bool,
    /// UTC ms.
    pub at_ms: i64,
}

/// Something changed about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whose.
    pub venue: Venue,
    /// `market-0.3`: route, number in the plan, how many came before it. `rest` for polls.
    pub connection: String,
    /// UTC ms.
    pub at_ms: i64,
    /// What it is now.
    pub state: State,
}

/// What a connection is or does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The handshake succeeded.
    Connected,
    /// All subscriptions are answered.
    Subscribed {
        /// How many streams were accepted.
        streams: usize,
    },
    /// The venue refused a stream.
    Refused {
        /// The venue's name of it.
        stream: String,
        /// The venue's words.
        reason: String,
    },
    /// It ended.
    Lost {
        /// Why.
        end: End,
        /// When the next attempt comes.
        retry_in_ms: u64,
    },
    /// Its replacement is being opened.
    Rotating,
    /// It has taken the place of an older one.
    Rotated,
    /// A REST question was not answered. Told once per row of failures.
    PollFailed {
        /// What was asked.
        url: String,
        /// Why it failed.
        reason: String,
    },
}

/// The times that are not configured because the venues' rules leave little choice. Tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Tempo {
    /// Frames that arrive within it travel in one batch.
    pub quantum: Duration,
    /// Bybit wants a ping so often; elsewhere a socket that said nothing for so long is probed.
    pub ping_every: Duration,
    /// A ping must be answered within this. Together with `ping_every` this is how fast a half-open socket is found:
    /// 28 s, where 30 are allowed.
    pub pong_max: Duration,
    /// TCP, TLS and WebSocket handshakes together.
    pub handshake_max: Duration,
    /// One message of ours.
    pub write_max: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        let secs = Duration::from_secs;
        let quantum = Duration::from_millis(20);
        Self { quantum, ping_every: secs(20), pong_max: secs(8), handshake_max: secs(10), write_max: secs(5) }
    }
}

/// A feed could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The configuration asks for something that can't be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No REST client could be made.
    #[error("make a REST client: {0}; check the system's TLS set-up")]
    Rest(#[from] reqwest::Error),
}

impl FeedError {
    /// Would trying again help? Both kinds need a person.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

/// Listens to a venue until `shutdown`, or until nobody takes what it says. Ends within 2 s of either.
///
/// What an [`Earlier`] run did not hear, and what it left unfilled, is asked for like any gap.
///
/// # Errors
/// If the configuration can't be followed. What the venue does is never an error: it is retried, and told.
pub async fn run_feed(
    venue: Venue,
    cfg: Feed,
    earlier: Earlier,
    out: mpsc::Sender<FeedOutput>,
    shutdown: CancellationToken,
) -> Result<(), FeedError> {
    run_feed_at(Tempo::default(), venue, cfg, earlier, out, shutdown).await
}

/// [`run_feed`] with other times. Without gaps to be filled, [`Earlier::since_ms`] alone will do.
///
/// # Errors
/// As [`run_feed`].
pub async fn run_feed_at(
    tempo: Tempo,
    venue: Venue,
    cfg: Feed,
    earlier: impl Into<Earlier>,
    out: mpsc::Sender<FeedOutput>,
    shutdown: CancellationToken,
) -> Result<(), FeedError> {
    let Earlier { since_ms, unhealed } = earlier.into();
    let session = session::of(venue).ok_or(PlanError::NoSuchFeed(venue))?;
    let (plans, rest_root) = (plan::plan(session, &cfg)?, plan::rest_root(session, &cfg)?);
    let polls = session.polls(&cfg);
    let unhealed = Unhealed::new(unhealed, earlier::listened(&plans, &polls));
    let stop = shutdown.child_token();
    let (ended_gaps, told) = mpsc::channel(backfill::TOLD_MAX);
    let ended_gaps = cfg.backfill.then_some(ended_gaps);
    let shared = Arc::new(Shared::new(tempo, session, cfg, ended_gaps, since_ms, out, stop.clone()));
    if plans.is_empty() {
        // Polls don't tell the venue's time.
        shared.venue_clock.heard(clock::now_ms(), Instant::now());
    }
    tracing::info!(%venue, connections = plans.len(), polls = polls.len(), "a feed starts");
    // TLS panics without a provider. main has installed this one already, and then this does nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asker = Asker::new(shared.clone(), rest_root)?;
    let mut tasks = JoinSet::new();
    for (index, plan) in plans.into_iter().enumerate() {
        tasks.spawn(keeper::keep(shared.clone(), Arc::new(plan), index, stop.clone()));
    }
    for (index, what) in polls.into_iter().enumerate() {
        tasks.spawn(poll::poll(shared.clone(), asker.clone(), what, index, stop.clone()));
    }
    if shared.cfg.backfill {
        tasks.spawn(backfill::run(shared.clone(), asker, told, unhealed, stop.clone()));
    }
    drop(shared);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%venue, %error, "a feed's task failed; this is a defect in this program, please report it");
        }
    }
    Ok(())
}

/// What all tasks of a feed have in common.
pub struct Shared {
    venue: Venue,
    session: &'static dyn Session,
    tempo: Tempo,
    cfg: Feed,
    out: mpsc::Sender<FeedOutput>,
    /// Numbers the frames.
    numbers: Arc<AtomicU64>,
    ws_host: Host,
    rest_host: Host,
    venue_clock: VenueClock,
    /// Where gaps go that ended, if they are to be filled.
    ended_gaps: Option<mpsc::Sender<Told>>,
    since_ms: Option<i64>,
    /// Cancelled when nobody takes what the feed says.
    unwanted: CancellationToken,
}

impl Shared {
    fn new(
        tempo: Tempo,
        session: &'static dyn Session,
        cfg: Feed,
        ended_gaps: Option<mpsc::Sender<Told>>,
        since_ms: Option<i64>,
        out: mpsc::Sender<FeedOutput>,
        unwanted: CancellationToken,
    ) -> Self {
        let host = |Rate(capacity, period)| Host::new(capacity, period);
        Self {
            venue: session.venue(),
            session,
            tempo,
            cfg,
            out,
            numbers: Arc::new(AtomicU64::new(0)),
            ws_host: host(session.connects()),
            rest_host: host(session.rest_weight()),
            venue_clock: VenueClock::default(),
            ended_gaps,
            since_ms,
            unwanted,
        }
    }

    /// Says something. If the feed must end while nobody listens, it isn't said.
    async fn send(&self, output: FeedOutput) {
        tokio::select! {
            biased;
            sent = self.out.send(output) => if sent.is_err() { self.unwanted.cancel() },
            () = async { self.unwanted.cancelled().await; tokio::time::sleep(Duration::from_millis(500)).await } => {}
        }
    }

    async fn status(&self, connection: &str, state: State) {
        tracing::debug!(venue = %self.venue, connection, ?state, "a connection changed");
        let status = Status { venue: self.venue, connection: connection.to_owned(), at_ms: clock::now_ms(), state };
        self.send(FeedOutput::Status(status)).await;
    }

    /// Tells gaps, and has those filled that ended. Nobody waits for the filling.
    async fn gaps(&self, gaps: Vec<Told>) {
        for told in gaps {
            self.send(FeedOutput::Gap(told.row.clone())).await;
            let (Some(ended), true) = (&self.ended_gaps, told.missed.is_some()) else { continue };
            if let Err(mpsc::error::TrySendError::Full(Told { row, .. })) = ended.try_send(told) {
                tracing::warn!(venue = %self.venue, stream = row.stream, from_ms = row.from_ts, "a gap stays unfilled: too many wait");
            }
        }
    }
}
