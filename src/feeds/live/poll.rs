//! What has to be asked for over REST: one task per address, all through [`Asker`].
//!
//! Open interest that can't be had for a minute is a silent stream like any other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::ask::{AskError, Asker};
use super::gaps::Ledger;
use super::session::{Poll, Stream};
use super::watchdog::Watchdog;
use super::{FeedOutput, Shared, Silent, State};
use crate::clock;

/// Open interest is overdue after this.
const SILENCE: Duration = Duration::from_secs(60);
/// A question that is asked once is asked at most so often until it is answered.
const ONCE_TRIES: u32 = 3;

/// Asks again and again (or once) until `stop`.
pub async fn poll(shared: Arc<Shared>, asker: Asker, what: Poll, index: usize, stop: CancellationToken) {
    let asked = async {
        // Hundreds of symbols don't ask in the same instant.
        sleep(Duration::from_millis(20) * u32::try_from(index).unwrap_or(0)).await;
        Poller::new(shared, asker, what).run().await;
    };
    let _ = stop.run_until_cancelled(asked).await;
}

struct Poller {
    shared: Arc<Shared>,
    asker: Asker,
    what: Poll,
    watchdog: Watchdog,
    ledger: Ledger,
    failing: bool,
    since_ms: i64,
}

impl Poller {
    fn new(shared: Arc<Shared>, asker: Asker, what: Poll) -> Self {
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
        Self { shared, asker, what, watchdog, ledger, failing: false, since_ms }
    }

    async fn run(&mut self) {
        let every = Duration::from_millis(self.shared.cfg.poll_every_ms.max(1));
        let mut tries = 0;
        if let Some(since_ms) = self.shared.since_ms.filter(|_| !self.what.once) {
            let mut gaps = Vec::new();
            self.ledger.restarted(since_ms, self.since_ms, &mut gaps);
            self.shared.gaps(gaps).await;
        }
        loop {
            let began = Instant::now();
            tries += 1;
            let answered = match self.asker.ask(&self.what.path, self.what.weight).await {
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

    async fn answered(&mut self, body: &[u8]) {
        let (now, recv_ns) = (Instant::now(), clock::now_ns());
        self.asker.hand_on(&self.what.path, body, recv_ns).await;
        self.failing = false;
        self.watchdog.heard(0, now);
        let mut gaps = Vec::new();
        self.ledger.heard(0, (recv_ns / 1_000_000).into(), true, &mut gaps);
        self.shared.gaps(gaps).await;
    }

    /// The first failure of a row of them is told.
    async fn failed(&mut self, error: &AskError) {
        if !std::mem::replace(&mut self.failing, true) {
            let url = self.asker.url(&self.what.path);
            tracing::warn!(venue = %self.shared.venue, %url, %error, "a poll failed");
            let state = State::PollFailed { url, reason: error.to_string() };
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
