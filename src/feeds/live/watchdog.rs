//! A watchdog per *stream*: a socket that carries nine streams and delivers eight looks healthy from outside.
//!
//! Two alarms: a stream that *went silent*, and one that was acknowledged and never said anything (Binance acknowledges
//! streams that don't exist or that live on another route). An alarm is raised once, and again only after the stream was
//! heard in between.

use std::time::Duration;

use tokio::time::Instant;

/// A stream has said nothing for longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Which stream, by its number.
    pub stream: usize,
    /// For how long.
    pub silent_for: Duration,
    /// Acknowledged, but not heard since the connection was made.
    pub never_heard: bool,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    limit: Option<Duration>,
    /// `None`: not acknowledged yet, so not watched.
    since: Option<Instant>,
    heard: bool,
    alarmed: bool,
}

/// Watches one connection's streams.
#[derive(Debug)]
pub struct Watchdog {
    streams: Vec<Watched>,
}

impl Watchdog {
    /// One limit per stream; `None`: silence is normal.
    pub fn new(limits: impl IntoIterator<Item = Option<Duration>>) -> Self {
        let watched = |limit| Watched { limit, since: None, heard: false, alarmed: false };
        Self { streams: limits.into_iter().map(watched).collect() }
    }

    /// The venue acknowledged this stream: from now on it should be heard.
    pub fn acknowledged(&mut self, stream: usize, now: Instant) {
        if let Some(watched) = self.streams.get_mut(stream) {
            watched.since.get_or_insert(now);
        }
    }

    /// The venue refused this stream: nothing is expected of it.
    pub fn refused(&mut self, stream: usize) {
        if let Some(watched) = self.streams.get_mut(stream) {
            watched.limit = None;
        }
    }

    /// A frame of this stream came.
    pub fn heard(&mut self, stream: usize, now: Instant) {
        if let Some(watched) = self.streams.get_mut(stream) {
            (watched.since, watched.heard, watched.alarmed) = (Some(now), true, false);
        }
    }

    /// We ourselves didn't read for so long (a full queue behind us), which is nobody's silence.
    pub fn excuse(&mut self, pause: Duration) {
        for since in self.streams.iter_mut().filter_map(|watched| watched.since.as_mut()) {
            *since += pause;
        }
    }

    /// The streams whose alarm is due now.
    pub fn due(&mut self, now: Instant) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for (stream, watched) in self.streams.iter_mut().enumerate() {
            let Some(limit) = watched.limit.filter(|_| !watched.alarmed) else { continue };
            let Some(since) = watched.since else { continue };
            let silent_for = now.saturating_duration_since(since);
            if silent_for >= limit {
                watched.alarmed = true;
                alarms.push(Alarm { stream, silent_for, never_heard: !watched.heard });
            }
        }
        alarms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn alarm(stream: usize, secs: u64, never_heard: bool) -> Alarm {
        Alarm { stream, silent_for: Duration::from_secs(secs), never_heard }
    }

    #[test]
    fn one_stream_goes_silent_while_another_flows() {
        let start = Instant::now();
        let mut dog = Watchdog::new([Some(15 * SEC), Some(60 * SEC)]);
        for stream in 0..2 {
            dog.acknowledged(stream, start);
            dog.heard(stream, start);
        }
        for second in 1..=14 {
            dog.heard(1, start + second * SEC);
            assert_eq!(dog.due(start + second * SEC), []);
        }
        assert_eq!(dog.due(start + 15 * SEC), [alarm(0, 15, false)]);
        assert_eq!(dog.due(start + 16 * SEC), [], "an alarm is raised once");
        dog.heard(0, start + 20 * SEC);
        assert_eq!(dog.due(start + 35 * SEC), [alarm(0, 15, false)], "and again after it was heard");
    }

    #[test]
    fn acknowledged_but_never_heard_is_its_own_alarm() {
        let start = Instant::now();
        let mut dog = Watchdog::new([Some(15 * SEC)]);
        assert_eq!(dog.due(start + 100 * SEC), [], "not acknowledged: the ack timeout's business");
        dog.acknowledged(0, start);
        assert_eq!(dog.due(start + 15 * SEC), [alarm(0, 15, true)]);
    }

    #[test]
    fn silence_of_liquidations_is_normal_and_so_is_that_of_a_refused_stream() {
        let start = Instant::now();
        let mut dog = Watchdog::new([None, Some(SEC)]);
        dog.acknowledged(0, start);
        dog.acknowledged(1, start);
        dog.refused(1);
        assert_eq!(dog.due(start + 100_000 * SEC), []);
    }

    #[test]
    fn our_own_pause_is_excused() {
        let start = Instant::now();
        let mut dog = Watchdog::new([Some(15 * SEC)]);
        dog.heard(0, start);
        dog.excuse(10 * SEC);
        assert_eq!(dog.due(start + 24 * SEC), []);
        assert_eq!(dog.due(start + 25 * SEC), [alarm(0, 15, false)]);
    }
}
