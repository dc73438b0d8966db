//! Gaps: which stretches of time were not heard, as rows.
//!
//! A lost connection opens one gap per kind of stream, from the last frame on the connection to the first one of that
//! kind afterwards; rare kinds (liquidations) are heard again as soon as their subscription stands and anything comes. A
//! stream that went silent on a living connection has a gap of its own. A gap is told twice under one key: when it opens
//! (`to_ts` none) and when it ends; a third time when the venue's REST was asked for what was missed ([`super::backfill`]).
//! A row's times are the wall clock's, UTC ms. What to ask for is kept beside, in the venue's own time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::model::Venue;

use super::session::Stream;
use crate::store::edge::{FeedGap, Recovered};

/// A moment, UTC ms: when a frame came, and when that was at the venue, where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By our clock.
    pub ours: i64,
    /// By the venue's.
    pub venue: Option<i64>,
}

impl From<i64> for Moment {
    fn from(ours: i64) -> Self {
        Self { ours, venue: None }
    }
}

/// A row, and what was missed if it tells of a gap's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What is told.
    pub row: FeedGap,
    /// What the venue may still have.
    pub missed: Option<Missed>,
}

/// What a gap that ended has cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Of whom.
    pub symbols: Vec<String>,
    /// The last frame before it.
    pub from: Moment,
    /// The first frame after it.
    pub to: Moment,
}

/// `feed_gaps.cause` of what was missed while the program did not run.
const RESTART: &str = "restart";

/// Since when, and why.
type Open = Option<(Moment, &'static str)>;

#[derive(Debug)]
struct StreamRecord {
    kind: usize,
    symbol: String,
    last: Option<Moment>,
    open: Open,
    silences: u32,
}

#[derive(Debug)]
struct KindRecord {
    kind: String,
    /// The one symbol, or empty: several.
    symbol: String,
    symbols: Vec<String>,
    sparse: bool,
    open: Open,
}

/// What was heard when on one connection and those that follow it.
#[derive(Debug)]
pub struct Ledger {
    venue: Venue,
    streams: Vec<StreamRecord>,
    kinds: Vec<KindRecord>,
    last: Moment,
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
                kinds.push(KindRecord { kind, symbol, symbols: Vec::new(), sparse: stream.sparse, open: None });
                kinds.len() - 1
            });
            if kinds[kind].symbol != stream.symbol {
                kinds[kind].symbol.clear();
            }
            kinds[kind].symbols.push(stream.symbol.clone());
            records.push(StreamRecord { kind, symbol: stream.symbol.clone(), last: None, open: None, silences: 0 });
        }
        Self { venue, streams: records, kinds, last: now.into(), open: 0 }
    }

    /// A frame of `stream` came. `subscribed`: all of this connection's subscriptions stand.
    pub fn heard(&mut self, stream: usize, at: Moment, subscribed: bool, rows: &mut Vec<Told>) {
        // A frame that doesn't tell the venue's time is no earlier than the one before.
        self.last = Moment { venue: at.venue.or(self.last.venue), ..at };
        let Some(record) = self.streams.get_mut(stream) else { return };
        (record.last, record.silences) = (Some(self.last), 0);
        if self.open == 0 {
            return;
        }
        let kind = record.kind;
        if let Some(open) = record.open.take() {
            let symbol = record.symbol.clone();
            self.open -= 1;
            let missed = Missed { symbols: vec![symbol.clone()], from: open.0, to: at };
            rows.push(Told { missed: Some(missed), row: self.row(kind, symbol, open, Some(at.ours), at.ours) });
        }
        for other in 0..self.kinds.len() {
            if other == kind || (subscribed && self.kinds[other].sparse) {
                self.close_kind(other, at, rows);
            }
        }
    }

    /// All subscriptions of a new connection stand. Where only rare streams are listened to, that is all that can be known.
    pub fn subscribed(&mut self, at: Moment, rows: &mut Vec<Told>) {
        if self.kinds.iter().all(|kind| kind.sparse) {
            self.last = at;
            (0..self.kinds.len()).for_each(|kind| self.close_kind(kind, at, rows));
        }
    }

    /// A stream is silent on a living connection. Says how many times in a row it was, this one included.
    pub fn silent(&mut self, stream: usize, since: i64, now: i64, rows: &mut Vec<Told>) -> u32 {
        let Some(record) = self.streams.get_mut(stream) else { return 0 };
        record.silences += 1;
        let silences = record.silences;
        if record.open.is_none() {
            let open = (record.last.unwrap_or(since.into()), "silence");
            record.open = Some(open);
            let (kind, symbol) = (record.kind, record.symbol.clone());
            self.open += 1;
            rows.push(Told { missed: None, row: self.row(kind, symbol, open, None, now) });
        }
        silences
    }

    /// The connection is gone and no other one is there in its place.
    pub fn lost(&mut self, cause: &'static str, now: i64, rows: &mut Vec<Told>) {
        self.open_kinds(self.last, cause, now, rows);
    }

    /// The program was not there since `since`.
    pub fn restarted(&mut self, since: i64, now: i64, rows: &mut Vec<Told>) {
        self.open_kinds(since.min(now).into(), RESTART, now, rows);
    }

    fn open_kinds(&mut self, from: Moment, cause: &'static str, now: i64, rows: &mut Vec<Told>) {
        for kind in 0..self.kinds.len() {
            if self.kinds[kind].open.is_none() {
                let open = (from, cause);
                self.kinds[kind].open = Some(open);
                self.open += 1;
                rows.push(Told { missed: None, row: self.row(kind, self.kinds[kind].symbol.clone(), open, None, now) });
            }
        }
    }

    fn close_kind(&mut self, kind: usize, at: Moment, rows: &mut Vec<Told>) {
        if let Some(open) = self.kinds[kind].open.take() {
            self.open -= 1;
            let missed = Missed { symbols: self.kinds[kind].symbols.clone(), from: open.0, to: at };
            let row = self.row(kind, self.kinds[kind].symbol.clone(), open, Some(at.ours), at.ours);
            rows.push(Told { missed: Some(missed), row });
        }
    }

    fn row(&self, kind: usize, symbol: String, open: (Moment, &'static str), to_ts: Option<i64>, known_at: i64) -> FeedGap {
        FeedGap {
            venue: self.venue.to_string(),
            stream: self.kinds[kind].kind.clone(),
            symbol,
            from_ts: open.0.ours,
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

    /// A moment at a venue whose clock is ten minutes behind ours.
    fn at(ours: i64) -> Moment {
        Moment { ours, venue: Some(ours - 600_000) }
    }

    /// The rows that `act` makes, one a line: `stream symbol from to cause`.
    fn check(ledger: &mut Ledger, act: impl FnOnce(&mut Ledger, &mut Vec<Told>), want: &[&str]) {
        let mut rows = Vec::new();
        act(ledger, &mut rows);
        let to = |row: &FeedGap| row.to_ts.map_or("…".to_owned(), |to| to.to_string());
        let line = |row: &FeedGap| format!("{} [{}] {} {} {}", row.stream, row.symbol, row.from_ts, to(row), row.cause);
        assert_eq!(rows.iter().map(|told| line(&told.row)).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_disconnect_is_one_gap_per_kind() {
        let mut ledger =
            ledger(&[("aggTrades", "BTCUSDT"), ("mark", "BTCUSDT"), ("aggTrades", "ETHUSDT"), ("liquidations", "BTCUSDT")]);
        check(&mut ledger, |l, rows| l.heard(0, at(2_000), true, rows), &[]);
        check(&mut ledger, |l, rows| l.heard(1, at(2_100), true, rows), &[]);
        check(
            &mut ledger,
            |l, rows| l.lost("disconnect", 2_200, rows),
            &["aggTrades [] 2100 … disconnect", "mark [BTCUSDT] 2100 … disconnect", "liquidations [BTCUSDT] 2100 … disconnect"],
        );
        check(&mut ledger, |l, rows| l.lost("disconnect", 2_300, rows), &[]);
        check(&mut ledger, |l, rows| l.heard(2, at(5_000), false, rows), &["aggTrades [] 2100 5000 disconnect"]);
        check(
            &mut ledger,
            |l, rows| l.heard(1, at(5_100), true, rows),
            &["mark [BTCUSDT] 2100 5100 disconnect", "liquidations [BTCUSDT] 2100 5100 disconnect"],
        );
        check(&mut ledger, |l, rows| l.heard(0, at(5_200), true, rows), &[]);
    }

    #[test]
    fn a_silent_stream_has_its_own_gap() {
        let mut ledger = ledger(&[("mark", "BTCUSDT"), ("mark", "ETHUSDT")]);
        check(&mut ledger, |l, rows| l.heard(0, at(2_000), true, rows), &[]);
        check(&mut ledger, |l, rows| l.heard(1, at(9_000), true, rows), &[]);
        check(&mut ledger, |l, rows| assert_eq!(l.silent(0, 1_500, 17_000, rows), 1), &["mark [BTCUSDT] 2000 … silence"]);
        check(&mut ledger, |l, rows| l.lost("silence", 17_000, rows), &["mark [] 9000 … silence"]);
        check(&mut ledger, |l, rows| assert_eq!(l.silent(0, 1_500, 32_000, rows), 2), &[]);
        check(
            &mut ledger,
            |l, rows| l.heard(0, at(40_000), true, rows),
            &["mark [BTCUSDT] 2000 40000 silence", "mark [] 9000 40000 silence"],
        );
    }

    #[test]
    fn liquidations_alone_are_heard_when_their_subscription_stands() {
        let mut ledger = ledger(&[("liquidations", "BTCUSDT")]);
        check(&mut ledger, |l, rows| l.lost("disconnect", 2_000, rows), &["liquidations [BTCUSDT] 1000 … disconnect"]);
        check(&mut ledger, |l, rows| l.subscribed(at(3_000), rows), &["liquidations [BTCUSDT] 1000 3000 disconnect"]);
    }

    /// What the rows that `act` makes ask for, one a line: `symbols from to`, each time as `ours/the venue's`.
    fn check_missed(ledger: &mut Ledger, act: impl FnOnce(&mut Ledger, &mut Vec<Told>), want: &[&str]) {
        let mut rows = Vec::new();
        act(ledger, &mut rows);
        let time = |moment: &Moment| format!("{}/{}", moment.ours, moment.venue.map_or("?".to_owned(), |ms| ms.to_string()));
        let line = |m: &Missed| format!("{} {} {}", m.symbols.join("+"), time(&m.from), time(&m.to));
        assert_eq!(rows.iter().filter_map(|told| told.missed.as_ref()).map(line).collect::<Vec<_>>(), want);
    }

    #[test]
    fn what_was_missed_is_told_in_the_venues_time() {
        let mut ledger = ledger(&[("aggTrades", "BTCUSDT"), ("mark", "BTCUSDT"), ("aggTrades", "ETHUSDT")]);
        check_missed(&mut ledger, |l, rows| l.heard(0, at(602_000), true, rows), &[]);
        check_missed(&mut ledger, |l, rows| l.heard(1, 602_100.into(), true, rows), &[]);
        check_missed(&mut ledger, |l, rows| l.lost("disconnect", 602_200, rows), &[]);
        check_missed(&mut ledger, |l, rows| l.heard(2, at(605_000), true, rows), &["BTCUSDT+ETHUSDT 602100/2000 605000/5000"]);
        check_missed(&mut ledger, |l, rows| l.heard(1, at(606_000), true, rows), &["BTCUSDT 602100/2000 606000/6000"]);
    }

    #[test]
    fn a_restart_is_a_gap_of_all_streams_until_each_is_heard() {
        let mut ledger = ledger(&[("aggTrades", "BTCUSDT"), ("mark", "BTCUSDT")]);
        check(
            &mut ledger,
            |l, rows| l.restarted(400, 1_000, rows),
            &["aggTrades [BTCUSDT] 400 … restart", "mark [BTCUSDT] 400 … restart"],
        );
        check(&mut ledger, |l, rows| l.lost("disconnect", 1_500, rows), &[]);
        check_missed(&mut ledger, |l, rows| l.heard(0, at(700_000), true, rows), &["BTCUSDT 400/? 700000/100000"]);
        check(&mut ledger, |l, rows| l.heard(1, at(700_100), true, rows), &["mark [BTCUSDT] 400 700100 restart"]);
    }
}
