//! Gaps: which stretches of time were not heard, as rows.
//!
//! A lost connection opens one gap per kind of stream, from the last frame on the connection to the first one of that
//! kind afterwards; rare kinds (liquidations) are heard again as soon as their subscription stands and anything comes. A
//! stream that went silent on a living connection has a gap of its own. A gap is told twice under one key: when it opens
//! (`to_ts` none) and when it ends. All times are the wall clock's, UTC ms; they never decide anything but these rows.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::model::Venue;

use super::session::Stream;
use crate::store::edge::{FeedGap, Recovered};

/// Since when, and why.
type Open = Option<(i64, &'static str)>;

#[derive(Debug)]
struct StreamRecord {
    kind: usize,
    symbol: String,
    last: Option<i64>,
    open: Open,
    silences: u32,
}

#[derive(Debug)]
struct KindRecord {
    kind: String,
    symbol: String,
    sparse: bool,
    open: Open,
}

/// What was heard when on one connection and those that follow it.
#[derive(Debug)]
pub struct Ledger {
    venue: Venue,
    streams: Vec<StreamRecord>,
    kinds: Vec<KindRecord>,
    last: i64,
    open: usize,
}

impl Ledger {
    /// Nothing heard yet; `now` is where a gap would begin.
    #[must_use]
    pub fn new(venue: Venue, streams: &[Stream], now: i64) -> Self {
        let mut kinds: Vec<KindRecord> = Vec::new();
        let mut records = Vec::new();
        for stream in streams {
            let known = kinds.iter().position(|kind| kind.kind == stream.kind);
            let kind = known.unwrap_or_else(|| {
                let (kind, symbol) = (stream.kind.clone(), stream.symbol.clone());
                kinds.push(KindRecord { kind, symbol, sparse: stream.sparse, open: None });
                kinds.len() - 1
            });
            if kinds[kind].symbol != stream.symbol {
                kinds[kind].symbol.clear();
            }
            records.push(StreamRecord { kind, symbol: stream.symbol.clone(), last: None, open: None, silences: 0 });
        }
        Self { venue, streams: records, kinds, last: now, open: 0 }
    }

    /// A frame of `stream` came. `subscribed`: all of this connection's subscriptions stand.
    pub fn heard(&mut self, stream: usize, at: i64, subscribed: bool, rows: &mut Vec<FeedGap>) {
        self.last = at;
        let Some(record) = self.streams.get_mut(stream) else { return };
        (record.last, record.silences) = (Some(at), 0);
        if self.open == 0 {
            return;
        }
        let kind = record.kind;
        if let Some(open) = record.open.take() {
            let symbol = record.symbol.clone();
            self.open -= 1;
            rows.push(self.row(kind, symbol, open, Some(at), at));
        }
        for other in 0..self.kinds.len() {
            if other == kind || (subscribed && self.kinds[other].sparse) {
                self.close_kind(other, at, rows);
            }
        }
    }

    /// All subscriptions of a new connection stand. Where only rare streams are listened to, that is all that can be known.
    pub fn subscribed(&mut self, at: i64, rows: &mut Vec<FeedGap>) {
        if self.kinds.iter().all(|kind| kind.sparse) {
            self.last = at;
            (0..self.kinds.len()).for_each(|kind| self.close_kind(kind, at, rows));
        }
    }

    /// A stream is silent on a living connection. Says how many times in a row it was, this one included.
    pub fn silent(&mut self, stream: usize, since: i64, now: i64, rows: &mut Vec<FeedGap>) -> u32 {
        let Some(record) = self.streams.get_mut(stream) else { return 0 };
        record.silences += 1;
        let silences = record.silences;
        if record.open.is_none() {
            let open = (record.last.unwrap_or(since), "silence");
            record.open = Some(open);
            let (kind, symbol) = (record.kind, record.symbol.clone());
            self.open += 1;
            rows.push(self.row(kind, symbol, open, None, now));
        }
        silences
    }

    /// The connection is gone and no other one is there in its place.
    pub fn lost(&mut self, cause: &'static str, now: i64, rows: &mut Vec<FeedGap>) {
        for kind in 0..self.kinds.len() {
            if self.kinds[kind].open.is_none() {
                let open = (self.last, cause);
                self.kinds[kind].open = Some(open);
                self.open += 1;
                rows.push(self.row(kind, self.kinds[kind].symbol.clone(), open, None, now));
            }
        }
    }

    fn close_kind(&mut self, kind: usize, at: i64, rows: &mut Vec<FeedGap>) {
        if let Some(open) = self.kinds[kind].open.take() {
            self.open -= 1;
            rows.push(self.row(kind, self.kinds[kind].symbol.clone(), open, Some(at), at));
        }
    }

    fn row(&self, kind: usize, symbol: String, open: (i64, &'static str), to_ts: Option<i64>, known_at: i64) -> FeedGap {
        FeedGap {
            venue: self.venue.to_string(),
            stream: self.kinds[kind].kind.clone(),
            symbol,
            from_ts: open.0,
            to_ts,
            recovered: Recovered::None,
            cause: open.1.to_owned(),
            known_at: u64::try_from(known_at).unwrap_or(0),
        }
    }
}

/// A connection, its replacement and their keeper share a ledger.
pub(super) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::feeds::live::session;

    fn ledger(names: &[(&str, &str)]) -> Ledger {
        let session = session::of(Venue::BinanceUsdm).unwrap();
        let streams: Vec<_> = names.iter().map(|(name, symbol)| session.stream(name, symbol).unwrap()).collect();
        Ledger::new(Venue::BinanceUsdm, &streams, 1_000)
    }

    /// The rows that `act` makes, one a line: `stream symbol from to cause`.
    fn check(ledger: &mut Ledger, act: impl FnOnce(&mut Ledger, &mut Vec<FeedGap>), want: &[&str]) {
        let mut rows = Vec::new();
        act(ledger, &mut rows);
        let to = |row: &FeedGap| row.to_ts.map_or("…".to_owned(), |to| to.to_string());
        let line = |row: &FeedGap| format!("{} [{}] {} {} {}", row.stream, row.symbol, row.from_ts, to(row), row.cause);
        assert_eq!(rows.iter().map(line).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_disconnect_is_one_gap_per_kind() {
        let mut ledger =
            ledger(&[("aggTrades", "BTCUSDT"), ("mark", "BTCUSDT"), ("aggTrades", "ETHUSDT"), ("liquidations", "BTCUSDT")]);
        check(&mut ledger, |l, rows| l.heard(0, 2_000, true, rows), &[]);
        check(&mut ledger, |l, rows| l.heard(1, 2_100, true, rows), &[]);
        check(
            &mut ledger,
            |l, rows| l.lost("disconnect", 2_200, rows),
            &["aggTrades [] 2100 … disconnect", "mark [BTCUSDT] 2100 … disconnect", "liquidations [BTCUSDT] 2100 … disconnect"],
        );
        check(&mut ledger, |l, rows| l.lost("disconnect", 2_300, rows), &[]);
        check(&mut ledger, |l, rows| l.heard(2, 5_000, false, rows), &["aggTrades [] 2100 5000 disconnect"]);
        check(
            &mut ledger,
            |l, rows| l.heard(1, 5_100, true, rows),
            &["mark [BTCUSDT] 2100 5100 disconnect", "liquidations [BTCUSDT] 2100 5100 disconnect"],
        );
        check(&mut ledger, |l, rows| l.heard(0, 5_200, true, rows), &[]);
    }

    #[test]
    fn a_silent_stream_has_its_own_gap() {
        let mut ledger = ledger(&[("mark", "BTCUSDT"), ("mark", "ETHUSDT")]);
        check(&mut ledger, |l, rows| l.heard(0, 2_000, true, rows), &[]);
        check(&mut ledger, |l, rows| l.heard(1, 9_000, true, rows), &[]);
        check(&mut ledger, |l, rows| assert_eq!(l.silent(0, 1_500, 17_000, rows), 1), &["mark [BTCUSDT] 2000 … silence"]);
        check(&mut ledger, |l, rows| l.lost("silence", 17_000, rows), &["mark [] 9000 … silence"]);
        check(&mut ledger, |l, rows| assert_eq!(l.silent(0, 1_500, 32_000, rows), 2), &[]);
        check(
            &mut ledger,
            |l, rows| l.heard(0, 40_000, true, rows),
            &["mark [BTCUSDT] 2000 40000 silence", "mark [] 9000 40000 silence"],
        );
    }

    #[test]
    fn liquidations_alone_are_heard_when_their_subscription_stands() {
        let mut ledger = ledger(&[("liquidations", "BTCUSDT")]);
        check(&mut ledger, |l, rows| l.lost("disconnect", 2_000, rows), &["liquidations [BTCUSDT] 1000 … disconnect"]);
        check(&mut ledger, |l, rows| l.subscribed(3_000, rows), &["liquidations [BTCUSDT] 1000 3000 disconnect"]);
    }
}
