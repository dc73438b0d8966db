//! Named places at which a test may kill the process: what a power cut there would leave behind must be recovered from.
//!
//! `REGIMEFLOW_CRASH="journal: appended"` ends the process (abort, no destructors) where that point is passed for the first time, `…#7` the
//! seventh. Unset, which is the only sensible setting, a point costs a load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable.
pub const VARIABLE: &str = "REGIMEFLOW_CRASH";

/// All points, in the order in which a run first passes them.
pub const POINTS: [&str; 17] = [
    "journal: opened",
    "restore: snapshot read",
    "restore: a record read",
    "restore: done",
    "journal: before append",
    "journal: appended",
    "journal: durable",
    "keeper: before telling",
    "keeper: told",
    "keeper: handed to the store",
    "store: before an insert",
    "store: after an insert",
    "snapshot: begin",
    "snapshot: first parts",
    "snapshot: before commit",
    "snapshot: committed",
    "snapshot: old ones removed",
];

struct Wanted {
    point: String,
    times: u64,
    passed: AtomicU64,
}

static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();

/// A point is passed.
#[inline]
pub fn point(name: &'static str) {
    if let Some(wanted) = WANTED.get_or_init(wanted)
        && wanted.point == name
        && wanted.passed.fetch_add(1, Ordering::Relaxed) + 1 == wanted.times
    {
        std::process::abort();
    }
}

fn wanted() -> Option<Wanted> {
    let text = std::env::var(VARIABLE).ok()?;
    let (point, times) = text.rsplit_once('#').map_or((text.as_str(), 1), |(point, times)| (point, times.parse().unwrap_or(1)));
    Some(Wanted { point: point.to_owned(), times, passed: AtomicU64::new(0) })
}
