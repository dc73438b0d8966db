//! Token bucket: at most `capacity` at once, `refill` a second. Venues count connects, client messages and REST weight.
//!
//! The bucket itself has no clock: it is asked with the time, and says how long to wait. [`Host`] shares two of them
//! between a venue's connections, with a circuit breaker in front.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Nobody is told to wait longer than this, whatever a Retry-After says.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// A bucket of tokens.
#[derive(Debug)]
pub struct TokenBucket {
    capacity: f64,
    per_sec: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// Full at `now`. `capacity` tokens come back in `period`.
    #[must_use]
    pub fn new(capacity: u32, period: Duration, now: Instant) -> Self {
        let capacity = f64::from(capacity.max(1));
        Self { capacity, per_sec: capacity / period.as_secs_f64().max(0.001), tokens: capacity, at: now }
    }

    /// Takes `n` tokens, or says how long to wait before asking again. More than the capacity is taken as the capacity.
    ///
    /// # Errors
    /// The time until the tokens are there.
    pub fn take(&mut self, n: u32, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_sec).min(self.capacity);
        self.at = self.at.max(now);
        let n = f64::from(n).min(self.capacity);
        // A hair of tolerance: a wait computed from the missing part may round to a nanosecond too little.
        if self.tokens + 1e-6 >= n {
            self.tokens = (self.tokens - n).max(0.0);
            return Ok(());
        }
        Err(Duration::from_secs_f64((n - self.tokens) / self.per_sec))
    }
}

/// What all connections to one host share: its rate, and whether it told us to stay away.
#[derive(Debug)]
pub struct Host {
    bucket: Mutex<TokenBucket>,
    closed_until: Mutex<Option<Instant>>,
}

impl Host {
    /// `capacity` permits come back in `period`.
    #[must_use]
    pub fn new(capacity: u32, period: Duration) -> Self {
        Self { bucket: Mutex::new(TokenBucket::new(capacity, period, Instant::now())), closed_until: Mutex::new(None) }
    }

    /// Waits until the host may be asked for something of this weight.
    pub async fn permit(&self, weight: u32) {
        loop {
            let now = Instant::now();
            let wait = match self.closed_for(now) {
                Some(rest) => rest,
                None => match lock(&self.bucket).take(weight, now) {
                    Ok(()) => return,
                    Err(wait) => wait,
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Opens the circuit breaker: nothing is asked of this host for `pause` (at most an hour).
    pub fn stay_away(&self, pause: Duration) {
        let until = Instant::now() + pause.min(PAUSE_MAX);
        let mut closed = lock(&self.closed_until);
        *closed = Some(closed.map_or(until, |known| known.max(until)));
    }

    /// How long the breaker stays open.
    fn closed_for(&self, now: Instant) -> Option<Duration> {
        let until = (*lock(&self.closed_until))?;
        (until > now).then(|| until - now)
    }
}

/// How long an answer asks us to stay away. 429 and 503 say so in Retry-After (seconds or a date); without it a ban (418,
/// 403) counts as `ban`, and anything else asks for nothing.
#[must_use]
pub fn retry_after(status: u16, header: Option<&str>, ban: Duration, now_ms: i64) -> Option<Duration> {
    if !matches!(status, 403 | 418 | 429 | 503) {
        return None;
    }
    let written = header.map(str::trim).and_then(|text| {
        if let Ok(secs) = text.parse::<f64>() {
            return (secs.is_finite() && secs >= 0.0).then(|| Duration::from_secs_f64(secs.min(PAUSE_MAX.as_secs_f64())));
        }
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        Some(Duration::from_millis(u64::try_from(date.timestamp_millis() - now_ms).unwrap_or(0)).min(PAUSE_MAX))
    });
    written.or_else(|| matches!(status, 403 | 418).then_some(ban))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn ten_at_once_then_ten_a_second() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, SEC, start);
        for _ in 0..10 {
            assert_eq!(bucket.take(1, start), Ok(()));
        }
        let wait = bucket.take(1, start).unwrap_err();
        assert!((wait.as_secs_f64() - 0.1).abs() < 1e-6, "{wait:?}");
        assert_eq!(bucket.take(1, start + wait), Ok(()));
        assert!(bucket.take(1, start + wait).is_err());
    }

    #[test]
    fn never_more_than_the_limit_in_any_period() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, SEC, start);
        let taken = (0..10_000u32).filter(|ms| bucket.take(1, start + Duration::from_millis(u64::from(*ms))).is_ok()).count();
        assert!((109..=110).contains(&taken), "{taken} in 10 s of 10 a second and 10 saved up");
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1, SEC, start + SEC);
        assert_eq!(bucket.take(1, start), Ok(()));
        assert!(bucket.take(1, start).is_err());
    }

    #[test]
    fn more_than_the_capacity_waits_for_a_full_bucket() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(5, SEC, start);
        assert_eq!(bucket.take(50, start), Ok(()));
        assert!(bucket.take(50, start + SEC / 2).is_err());
        assert_eq!(bucket.take(50, start + SEC), Ok(()));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let ban = 120 * SEC;
        let check = |status, header, want: Option<u64>| {
            assert_eq!(retry_after(status, header, ban, 1_700_000_000_000), want.map(Duration::from_secs), "{status} {header:?}");
        };
        check(503, Some("2"), Some(2));
        check(429, Some(" 30 "), Some(30));
        check(429, Some("1e9"), Some(3_600));
        check(429, Some("NaN"), None);
        check(429, Some("-1"), None);
        check(429, None, None);
        check(418, None, Some(120));
        check(403, Some("rubbish"), Some(120));
        check(503, Some("Tue, 14 Nov 2023 22:13:30 GMT"), Some(10));
        check(503, Some("Tue, 14 Nov 2023 22:13:00 GMT"), Some(0));
        check(404, Some("5"), None);
    }
}
