//! What has to be asked for over REST: one task per address, all under the venue's weight budget and one circuit breaker.
//!
//! Answers become `http` frames (URL, a space, the body). Open interest that can't be had for a minute is a silent stream
//! like any other. Bodies over 1 MiB are refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::batch::Collector;
use super::bucket::retry_after;
use super::gaps::Ledger;
use super::session::{Poll, Stream};
use super::watchdog::Watchdog;
use super::{FeedOutput, Shared, Silent, State};
use crate::clock;
use crate::frames::{Direction, FRAME_BYTES_MAX};

/// Open interest is overdue after this.
const SILENCE: Duration = Duration::from_secs(60);
/// A question that is asked once is asked at most so often until it is answered.
const ONCE_TRIES: u32 = 3;
const BAN: Duration = Duration::from_secs(120);

/// Why an answer could not be used.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error("asked in vain: {0}")]
    Request(#[from] reqwest::Error),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("body over 1 MiB")]
    Oversize,
}

/// Asks again and again (or once) until `stop`.
pub async fn poll(shared: Arc<Shared>, client: reqwest::Client, root: String, what: Poll, index: usize, stop: CancellationToken) {
    let asked = async {
        // Hundreds of symbols don't ask in the same instant.
        sleep(Duration::from_millis(20) * u32::try_from(index).unwrap_or(0)).await;
        Poller::new(shared, client, format!("{root}{}", what.path), what).run().await;
    };
    let _ = stop.run_until_cancelled(asked).await;
}

struct Poller {
    shared: Arc<Shared>,
    client: reqwest::Client,
    url: String,
    what: Poll,
    watchdog: Watchdog,
    ledger: Ledger,
    failing: bool,
    since_ms: i64,
}

impl Poller {
    fn new(shared: Arc<Shared>, client: reqwest::Client, url: String, what: Poll) -> Self {
        let limit = match shared.cfg.silence_ms.get(what.kind) {
            Some(0) => None,
            Some(&ms) => Some(Duration::from_millis(ms)),
            None => Some(SILENCE),
        };
        let silence = limit.filter(|_| !what.once);
        let (key, kind, symbol) = (what.path.clone(), what.kind.to_owned(), what.symbol.clone());
        let stream = Stream { key, kind, symbol, route: "rest", silence, sparse: false };
        let mut watchdog = Watchdog::new([silence]);
        watchdog.acknowledged(0, Instant::now());
        let since_ms = clock::now_ms();
        let ledger = Ledger::new(shared.venue, &[stream], since_ms);
        Self { shared, client, url, what, watchdog, ledger, failing: false, since_ms }
    }

    async fn run(&mut self) {
        let every = Duration::from_millis(self.shared.cfg.poll_every_ms.max(1));
        let mut tries = 0;
        loop {
            let began = Instant::now();
            tries += 1;
            let answered = match self.ask().await {
                Ok(body) => {
                    self.answered(&body).await;
                    true
                }
                Err(error) => {
                    self.failed(&error).await;
                    false
                }
            };
            if self.what.once && (answered || tries >= ONCE_TRIES) {
                return;
            }
            self.watch().await;
            let pause = if self.what.once { Duration::from_secs(5) * tries } else { every };
            tokio::time::sleep_until(began + pause).await;
        }
    }

    async fn ask(&self) -> Result<Vec<u8>, PollError> {
        self.shared.rest_host.permit(self.what.weight).await;
        let mut response = self.client.get(&self.url).send().await?;
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        if let Some(pause) = retry_after(status, header, BAN, clock::now_ms()) {
            self.shared.rest_host.stay_away(pause);
        }
        if status != 200 {
            return Err(PollError::Status(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if self.url.len() + 1 + body.len() + chunk.len() > FRAME_BYTES_MAX {
                return Err(PollError::Oversize);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn answered(&mut self, body: &[u8]) {
        let (now, recv_ns) = (Instant::now(), clock::now_ns());
        let payload = [self.url.as_bytes(), b" ", body].concat();
        let mut collector = Collector::new(self.shared.venue, Duration::ZERO, self.shared.numbers.clone());
        collector.push(&payload, Direction::Http, recv_ns, now);
        if let Some(batch) = collector.take() {
            self.shared.send(FeedOutput::Frames(batch)).await;
        }
        self.failing = false;
        self.watchdog.heard(0, now);
        let mut gaps = Vec::new();
        self.ledger.heard(0, recv_ns / 1_000_000, true, &mut gaps);
        self.shared.gaps(gaps).await;
    }

    /// The first failure of a row of them is told.
    async fn failed(&mut self, error: &PollError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(venue = %self.shared.venue, url = %self.url, %error, "a poll failed");
            let state = State::PollFailed { url: self.url.clone(), reason: error.to_string() };
            self.shared.status("rest", state).await;
        }
    }

    async fn watch(&mut self) {
        for alarm in self.watchdog.due(Instant::now()) {
            let (mut gaps, now_ms) = (Vec::new(), clock::now_ms());
            self.ledger.silent(0, self.since_ms, now_ms, &mut gaps);
            let silent = Silent {
                venue: self.shared.venue,
                stream: self.what.kind.to_owned(),
                symbol: self.what.symbol.clone(),
                key: self.what.path.clone(),
                silent_for_ms: u64::try_from(alarm.silent_for.as_millis()).unwrap_or(u64::MAX),
                never_heard: alarm.never_heard,
                at_ms: now_ms,
            };
            self.shared.send(FeedOutput::Silent(silent)).await;
            self.shared.gaps(gaps).await;
        }
    }
}
