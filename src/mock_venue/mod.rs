//! A mock venue: serves a frame log over the venues' own WebSocket protocol and REST, with faults on demand.
//!
//! One playback task ([`playback`]) walks the log and writes each frame to the connections that subscribed to its stream,
//! itself, so that the recorded order holds across connections and "after N frames" means exactly that. A stream that was
//! subscribed once and has no subscriber now holds playback up until it has one again: a dropped connection loses nothing
//! unless the fault says so. REST also has the past: what playback has passed ([`archive`]). Limits: one log, one listen address; it knows the venues' rules only as far as a client can
//! break them (message rate, pongs, wrong routes, unknown topics).

mod archive;
pub mod fault;
mod log;
mod playback;
mod protocol;
mod rest;
mod server;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::fault::Fault;
pub use self::rest::RestMode;
use crate::frames::{BatchLimits, FrameLogError, FrameLogReader};

/// How fast frames are played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// Recorded time divided by this.
    Times(f64),
    /// As fast as they are read.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(format!("{text:?} is no speed; write max, or how many times faster than recorded: 10")),
        }
    }
}

/// What is served, and how.
#[derive(Clone, Debug)]
pub struct MockConfig {
    /// Where; port 0: any.
    pub listen: SocketAddr,
    /// The frame log.
    pub log: PathBuf,
    /// How fast.
    pub speed: Speed,
    /// Close with code 1000 and end after the last frame.
    pub once: bool,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Which answers REST gives.
    pub rest: RestMode,
    /// Playback starts when so many streams are subscribed; `None`: `settle` after the last subscription.
    pub wait_for_subscriptions: Option<usize>,
    /// How long no subscription must have come before playback starts.
    pub settle: Duration,
    /// How long playback waits for a stream's subscriber to come back, and for a REST question.
    pub patience: Duration,
    /// Binance pings its clients so often, and wants a pong within `pong_max`.
    pub ping_every: Duration,
    /// See `ping_every`.
    pub pong_max: Duration,
    /// For duplicates and shuffling.
    pub seed: u64,
}

impl MockConfig {
    /// Serves `log` on a free port of the loopback, once, as fast as it is read.
    #[must_use]
    pub fn new(log: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            speed: Speed::Max,
            once: true,
            faults: Vec::new(),
            rest: RestMode::Latest,
            wait_for_subscriptions: None,
            settle: Duration::from_millis(500),
            patience: Duration::from_secs(120),
            ping_every: Duration::from_secs(180),
            pong_max: Duration::from_secs(600),
            seed: 1,
        }
    }
}

/// What happened. Every line of the log is in exactly one of the counts up to `malformed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Frames that went to at least one connection.
    pub sent: u64,
    /// Frames of streams that nobody subscribed to.
    pub unsubscribed: u64,
    /// Frames withheld by a `silent` fault.
    pub withheld: u64,
    /// Frames whose subscriber did not come back, or was not waited for.
    pub lost: u64,
    /// Received frames that belong to no stream (acknowledgements).
    pub no_stream: u64,
    /// REST answers that could be given.
    pub http: u64,
    /// REST answers without address, or not asked for in time.
    pub http_unasked: u64,
    /// Questions about the past that were answered out of what had been played.
    pub about_the_past: u64,
    /// What the recorder sent.
    pub out: u64,
    /// Lines that are no frames.
    pub malformed: u64,
    /// Sockets that were accepted.
    pub connections: u64,
    /// Pongs that clients sent.
    pub pongs: u64,
    /// How many connections each fault hit, in the order of the faults.
    pub faults: Vec<u64>,
    /// Why the log ended before its end.
    pub failed: Option<String>,
}

/// It could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// No log.
    #[error(transparent)]
    Log(#[from] FrameLogError),
    /// No socket.
    #[error("listen on {listen}: {source}; choose another --listen address, port 0 takes a free one")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A mock venue that runs.
#[derive(Debug)]
pub struct Mock {
    /// Where it listens.
    pub addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Report>,
}

impl Mock {
    /// Waits until it has ended by itself (`once`).
    pub async fn finished(self) -> Report {
        self.task.await.unwrap_or_default()
    }

    /// Ends it now: all connections are dropped.
    pub async fn stop(self) -> Report {
        self.stop.cancel();
        self.finished().await
    }

    /// A handle to end it from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// Starts to listen and to play.
///
/// # Errors
/// If the log can't be opened or the address can't be had.
pub async fn start(config: MockConfig) -> Result<Mock, MockError> {
    let log = FrameLogReader::open(std::slice::from_ref(&config.log), BatchLimits::default())?;
    let listening = async {
        let listener = tokio::net::TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    };
    let (listener, addr) = listening.await.map_err(|source| MockError::Listen { listen: config.listen, source })?;
    let stop = CancellationToken::new();
    let venue = std::sync::Arc::new(server::MockVenue::new(config, stop.clone()));
    let accepting = tokio::spawn(venue.clone().accept(listener));
    let task = tokio::spawn(async move {
        let report = playback::play(&venue, log::spawn(log)).await;
        venue.stop.cancel();
        let _ = accepting.await;
        report
    });
    Ok(Mock { addr, stop, task })
}
