//! How a live run is doing: measured in the keeper's thread, written to `status.json` every two seconds, told of when it lags.
//!
//! Lag is the wall clock less `known_at` of the quantum that has just been handed to the store; while nothing gets there that should it grows. (Where
//! nothing is heard there is nothing to hand over, and no lag.) What people
//! are told of it ([`alarm`]) goes to the alert desk directly: what lags can't be told through what lags. So it is in the outbox
//! and in `deliveries`, and not in the view `alerts`.
//!
//! Limits: what waits in sockets is not seen. What waits between feeds and engine is measured on its own (`intake_ms`), because knowledge
//! time goes on meanwhile. Without a journal's directory nothing is written, and what was told by a run that died is not ended.

mod alarm;
pub mod lag;
pub mod report;
mod teller;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::engine::Reached;
use lag::{Lags, Spread};

pub use report::Report;
pub use teller::{Sources, Teller};

/// What the keeper and the feeds' intake write and the teller reads.
#[derive(Default)]
pub struct Status {
    quanta: AtomicU64,
    rows: AtomicU64,
    /// The newest quantum of this run that was kept; before the first, when the run went live. 0: it has not.
    reached: AtomicU64,
    /// How far there is nothing to keep any more.
    kept_to: Arc<Reached>,
    /// The longest that a batch of frames has waited since that was asked for last, ms.
    waited: AtomicU64,
    lags: Mutex<Lags>,
    intake: Mutex<Lags>,
}

impl Status {
    /// `kept_to`: the engine's.
    #[must_use]
    pub fn new(kept_to: Arc<Reached>) -> Self {
        Self { kept_to, ..Self::default() }
    }

    /// From here on time counts: what is known since then is of this run.
    pub fn go_live(&self) {
        self.reached.fetch_max(clock::known_at(), Ordering::Relaxed);
    }

    /// A quantum has been handed to the store.
    pub fn kept(&self, known_at: u64, rows: u64) {
        self.quanta.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
        let live_from = self.reached.load(Ordering::Relaxed);
        if live_from == 0 || known_at < live_from {
            return; // it is made again after a restart
        }
        self.reached.store(known_at, Ordering::Relaxed);
        let now = clock::known_at();
        self.lags.lock().unwrap_or_else(PoisonError::into_inner).add(now, now.saturating_sub(known_at));
    }

    /// Frames go into the engine, the first of which was received then (UTC ns).
    pub fn taken(&self, recv_ns: i64) {
        let waited = (clock::now_ns() - recv_ns).max(0).unsigned_abs() / 1_000_000;
        self.waited.fetch_max(waited, Ordering::Relaxed);
        self.intake.lock().unwrap_or_else(PoisonError::into_inner).add(clock::known_at(), waited);
    }

    /// As of now: grows while something that should be kept is not.
    fn lag_now_ms(&self) -> u64 {
        match self.reached.load(Ordering::Relaxed) {
            0 => 0,
            reached => clock::known_at().saturating_sub(reached.max(self.kept_to.kept_to())),
        }
    }

    /// The longest that frames have waited since this was asked for last, ms.
    fn take_waited_ms(&self) -> u64 {
        self.waited.swap(0, Ordering::Relaxed)
    }

    fn spreads(&self) -> (Spread, Spread) {
        let of = |lags: &Mutex<Lags>| lags.lock().unwrap_or_else(PoisonError::into_inner).spread(clock::known_at());
        (of(&self.lags), of(&self.intake))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_heard_there_is_no_lag() {
        let kept_to = Arc::new(Reached::default());
        let status = Status::new(Arc::clone(&kept_to));
        assert_eq!(status.lag_now_ms(), 0, "not live yet");
        status.go_live();
        status.reached.store(clock::known_at() - 60_000, Ordering::Relaxed);
        assert!(status.lag_now_ms() >= 60_000, "something is not kept");
        kept_to.set(clock::known_at());
        assert!(status.lag_now_ms() < 60_000, "there is nothing to keep");
    }

    #[test]
    fn the_longest_wait_is_told_once() {
        let status = Status::default();
        for secs in [5, 0] {
            status.taken(clock::now_ns() - secs * 1_000_000_000);
        }
        assert!(status.take_waited_ms() >= 5_000);
        assert_eq!(status.take_waited_ms(), 0);
    }
}
