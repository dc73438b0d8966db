//! How long to wait before the next attempt: doubles from a minimum to a maximum, ±20 % jitter.
//!
//! It begins anew only after data flowed for a while. A venue that accepts, sends one frame and closes would otherwise be
//! hammered: a backoff that resets on connect is a hot loop.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Each pause is multiplied by 1 ± this.
const JITTER: f64 = 0.20;

/// The pauses of one connection.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    healthy_after: Duration,
    next: Duration,
    rng: StdRng,
}

impl Backoff {
    /// Pauses from `min` to `max` (before jitter), beginning anew after `healthy_after` of data.
    #[must_use]
    pub fn new(min: Duration, max: Duration, healthy_after: Duration, seed: u64) -> Self {
        let min = min.max(Duration::from_millis(1));
        Self { min, max: max.max(min), healthy_after, next: min, rng: StdRng::seed_from_u64(seed) }
    }

    /// The pause after a connection on which data flowed for `healthy` (zero: it never came so far).
    pub fn pause(&mut self, healthy: Duration) -> Duration {
        if healthy >= self.healthy_after && !healthy.is_zero() {
            self.next = self.min;
        }
        let pause = self.next.mul_f64(self.rng.random_range(1.0 - JITTER..=1.0 + JITTER));
        self.next = (self.next * 2).min(self.max);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn backoff() -> Backoff {
        Backoff::new(250 * MS, 60_000 * MS, 60_000 * MS, 7)
    }

    /// The pause lies within ±20 % of `ms`.
    fn check(pause: Duration, ms: u32) {
        assert!(pause >= MS * ms * 8 / 10 && pause <= MS * ms * 12 / 10, "{pause:?} is not {ms} ms ± 20 %");
    }

    #[test]
    fn doubles_up_to_the_maximum() {
        let mut backoff = backoff();
        for ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000] {
            check(backoff.pause(Duration::ZERO), ms);
        }
    }

    #[test]
    fn a_short_life_does_not_reset_it() {
        let mut backoff = backoff();
        for ms in [250, 500, 1_000] {
            check(backoff.pause(59_999 * MS), ms);
        }
    }

    #[test]
    fn healthy_data_resets_it() {
        let mut backoff = backoff();
        for ms in [250, 500, 1_000] {
            check(backoff.pause(Duration::ZERO), ms);
        }
        check(backoff.pause(60_000 * MS), 250);
        check(backoff.pause(Duration::ZERO), 500);
    }

    #[test]
    fn two_connections_do_not_come_back_together() {
        let pauses: std::collections::BTreeSet<_> =
            (0..50).map(|seed| Backoff::new(1_000 * MS, 60_000 * MS, MS, seed).pause(Duration::ZERO)).collect();
        assert!(pauses.len() > 40, "only {} different pauses of 50", pauses.len());
    }
}
