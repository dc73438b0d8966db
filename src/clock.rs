//! The only place that reads the wall clock. Durations are measured with `tokio::time::Instant` instead.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch, UTC.
#[must_use]
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch, UTC.
#[must_use]
pub fn now_ms() -> i64 {
    now_ns() / 1_000_000
}

/// As knowledge time: UTC ms, never before the epoch.
#[must_use]
pub fn known_at() -> u64 {
    u64::try_from(now_ms()).unwrap_or_default()
}
