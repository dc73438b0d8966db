//! Gaps that wait to be filled, oldest first. Neighbours of one kind are filled together; there is room for so many.

use crate::feeds::live::history::Span;
use crate::store::edge::FeedGap;

/// Gaps that wait. A venue that is lost more often than once a minute has its gaps merged long before.
pub(super) const JOBS_MAX: usize = 256;
/// Gaps that are filled together.
const ROWS_MAX: usize = 256;
/// Gaps this near to each other touch the same or neighbouring minutes.
const MERGE_MS: i64 = 60_000;

/// A stretch of one kind of stream to be asked for.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// `aggTrades`, `tickers`, …
    pub kind: String,
    /// Of whom.
    pub symbols: Vec<String>,
    /// In the venue's time.
    pub span: Span,
    /// The gaps of which it makes up, as they were told last.
    pub rows: Vec<FeedGap>,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queue(Vec<Job>);

impl Queue {
    /// Adds a gap, to one that waits if they are near. False: there is no room, and it stays unfilled.
    pub fn push(&mut self, job: Job) -> bool {
        let near = |known: &&mut Job| {
            let union = known.span.to_ms.max(job.span.to_ms) - known.span.from_ms.min(job.span.from_ms);
            let apart = (job.span.from_ms - known.span.to_ms).max(known.span.from_ms - job.span.to_ms);
            (known.kind == job.kind && known.symbols == job.symbols)
                && (apart <= MERGE_MS && union <= super::plan::PRINTS_MS_MAX)
                && known.rows.len() + job.rows.len() <= ROWS_MAX
        };
        if let Some(known) = self.0.iter_mut().find(near) {
            known.span.from_ms = known.span.from_ms.min(job.span.from_ms);
            known.span.to_ms = known.span.to_ms.max(job.span.to_ms);
            known.rows.extend(job.rows);
        } else if self.0.len() < JOBS_MAX {
            self.0.push(job);
        } else {
            return false;
        }
        true
    }

    /// The oldest of those that are due.
    pub fn take_due(&mut self, now_ms: i64, due_ms: impl Fn(&Job) -> i64) -> Option<Job> {
        let due = self.0.iter().enumerate().filter(|(_, job)| due_ms(job) <= now_ms);
        let (oldest, _) = due.min_by_key(|(_, job)| job.span.from_ms)?;
        Some(self.0.remove(oldest))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn job(kind: &str, from_ms: i64, to_ms: i64) -> Job {
        let row = FeedGap {
            venue: "binance-usdm".into(),
            stream: kind.into(),
            symbol: String::new(),
            from_ts: from_ms,
            to_ts: Some(to_ms),
            recovered: crate::store::edge::Recovered::None,
            cause: "disconnect".into(),
            known_at: 0,
        };
        Job { kind: kind.into(), symbols: vec!["BTCUSDT".into()], span: Span { from_ms, to_ms }, rows: vec![row] }
    }

    /// All that waits, in the order in which it is taken: `kind from to rows`.
    fn check(queue: &mut Queue, want: &[&str]) {
        let taken = std::iter::from_fn(|| queue.take_due(i64::MAX, |_| 0));
        let line = |job: Job| format!("{} {} {} {}", job.kind, job.span.from_ms, job.span.to_ms, job.rows.len());
        assert_eq!(taken.map(line).collect::<Vec<_>>(), want);
    }

    #[test]
    fn neighbours_of_a_kind_are_filled_together() {
        let mut queue = Queue::default();
        for (kind, from, to) in [
            ("aggTrades", 0, 5_000),
            ("klines", 0, 5_000),
            ("aggTrades", 40_000, 41_000),
            ("aggTrades", 101_001, 102_000),
            ("aggTrades", 99_000, 100_000),
        ] {
            assert!(queue.push(job(kind, from, to)));
        }
        check(&mut queue, &["aggTrades 0 100000 3", "klines 0 5000 1", "aggTrades 101001 102000 1"]);
        let mut other = job("aggTrades", 0, 5_000);
        other.symbols.push("ETHUSDT".into());
        assert!(queue.push(job("aggTrades", 0, 5_000)) && queue.push(other));
        check(&mut queue, &["aggTrades 0 5000 1", "aggTrades 0 5000 1"]);
    }

    #[test]
    fn what_is_merged_stays_short_enough_to_be_filled_print_by_print() {
        let mut queue = Queue::default();
        for minute in 0..40 {
            assert!(queue.push(job("aggTrades", minute * 60_000, minute * 60_000 + 30_000)));
        }
        check(&mut queue, &["aggTrades 0 870000 15", "aggTrades 900000 1770000 15", "aggTrades 1800000 2370000 10"]);
    }

    #[test]
    fn the_oldest_of_those_that_are_due_comes_first() {
        let mut queue = Queue::default();
        let hour = 3_600_000;
        for start in [2 * hour, 0, hour] {
            assert!(queue.push(job("mark", start, start + 1)));
        }
        let mut next = |now| queue.take_due(now, |job| job.span.to_ms + 10).map(|job| job.span.from_ms);
        assert_eq!([next(0), next(hour + 11), next(hour + 11), next(hour + 11)], [None, Some(0), Some(hour), None]);
    }

    #[test]
    fn it_holds_so_many() {
        let mut queue = Queue::default();
        let taken = (0..1_000).filter(|n| queue.push(job("mark", n * 3_600_000, n * 3_600_000 + 1))).count();
        assert_eq!(taken, JOBS_MAX);
    }
}
