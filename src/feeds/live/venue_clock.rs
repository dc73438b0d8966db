//! What time it is at the venue, by its own frames.
//!
//! A gap is asked for in the venue's time: our own clock may be wrong, and recorded frames that are played tell another
//! year. Between frames time goes on as ours does. Before the first frame our clock is all there is.
//!
//! Limit: a time that is wrong, far ahead, is believed for [`BELIEVED_FOR`], unless a still newer one comes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// After so long without a newer time the next one counts, whatever it is.
pub const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// The newest event time that was heard, and when.
#[derive(Debug, Default)]
pub struct VenueClock(Mutex<Option<(i64, Instant)>>);

impl VenueClock {
    /// A frame says that it is `event_ms` (UTC ms) at the venue.
    pub fn heard(&self, event_ms: i64, now: Instant) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none_or(|(known, at)| event_ms > known || now.saturating_duration_since(at) > BELIEVED_FOR) {
            *newest = Some((event_ms, now));
        }
    }

    /// Has anything told it? Until then it is ours.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// UTC ms at the venue.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.at(Instant::now(), clock::now_ms())
    }

    fn at(&self, now: Instant, ours_ms: i64) -> i64 {
        let newest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((event_ms, heard)) = newest else { return ours_ms };
        event_ms.saturating_add(i64::try_from(now.saturating_duration_since(heard).as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_newest_frame_and_goes_on_in_silence() {
        let (clock, start) = (VenueClock::default(), Instant::now());
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(clock.at(after(1), 77), 77, "nothing was heard: ours");
        clock.heard(5_000, start);
        clock.heard(4_000, after(1));
        assert_eq!(clock.at(after(2), 77), 7_000);
        clock.heard(90_000, after(2));
        assert_eq!(clock.at(after(2), 77), 90_000);
        assert_eq!(clock.at(start, 77), 90_000, "never back");
    }

    #[test]
    fn a_wrong_time_is_forgotten() {
        let (clock, start) = (VenueClock::default(), Instant::now());
        let after = |secs| start + Duration::from_secs(secs);
        clock.heard(5_000, start);
        clock.heard(900_000_000, after(1));
        clock.heard(65_000, after(61));
        assert_eq!(clock.at(after(61), 77), 900_060_000, "it may be right");
        clock.heard(66_000, after(62));
        assert_eq!(clock.at(after(63), 77), 67_000);
    }
}
