//! What an earlier run has left to a feed: since when nothing was heard, and gaps that nobody filled.
//!
//! Gaps are taken one after the other, each for those symbols of its own that are still listened to; what no longer is isn't asked for. A
//! row has our clock's times only.

use super::gaps::{Missed, Told};
use super::plan::ConnectionPlan;
use super::session::Poll;
use crate::store::edge::FeedGap;

/// What [`super::run_feed`] goes on from. The default: there was no earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Up to when (our clock, UTC ms) it had heard what it listened to. From there to the first frame of each kind is a gap like any other,
    /// with cause `restart`.
    pub since_ms: Option<i64>,
    /// Gaps of this venue that have ended and that the venue was not asked about: they are filled under their own keys. See
    /// [`crate::recovery::Ongoing::unhealed`].
    pub unhealed: Vec<FeedGap>,
}

impl From<Option<i64>> for Earlier {
    fn from(since_ms: Option<i64>) -> Self {
        Self { since_ms, unhealed: Vec::new() }
    }
}

/// Kind and symbol of each stream that is listened to, and of each poll.
pub(super) type Listened = Vec<(String, String)>;

/// What these connections and polls listen to, in the order of the symbols.
pub(super) fn listened(plans: &[ConnectionPlan], polls: &[Poll]) -> Listened {
    let streams = plans.iter().flat_map(|plan| &plan.streams).map(|stream| (stream.kind.clone(), stream.symbol.clone()));
    let polls = polls.iter().filter(|poll| !poll.once).map(|poll| (poll.kind.to_owned(), poll.symbol.clone()));
    streams.chain(polls).collect()
}

/// Gaps that are still to be asked for.
pub(super) struct Unhealed {
    gaps: std::vec::IntoIter<FeedGap>,
    listened: Listened,
}

impl Unhealed {
    pub fn new(gaps: Vec<FeedGap>, listened: Listened) -> Self {
        Self { gaps: gaps.into_iter(), listened }
    }

    pub fn is_empty(&self) -> bool {
        self.gaps.as_slice().is_empty()
    }
}

impl Iterator for Unhealed {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        let listened = &self.listened;
        self.gaps.find_map(|row| {
            // A row without symbol is one of all symbols of its kind.
            let is_own =
                |(kind, symbol): &&(String, String)| *kind == row.stream && (row.symbol.is_empty() || *symbol == row.symbol);
            let symbols: Vec<_> = listened.iter().filter(is_own).map(|(_, symbol)| symbol.clone()).collect();
            let missed = Missed { symbols, from: row.from_ts.into(), to: row.to_ts?.into() };
            (!missed.symbols.is_empty()).then_some(Told { row, missed: Some(missed) })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dataflows::model::Venue;

    use super::*;
    use crate::config::Feed;
    use crate::feeds::live::{plan, session};
    use crate::store::edge::Recovered;

    /// What is asked for of a gap of `stream` and `symbol` from 5 to 9, where `streams` of two symbols are listened to.
    fn check(streams: &[&str], stream: &str, symbol: &str, want: Option<&[&str]>) {
        let (venue, session) = (Venue::BinanceUsdm, session::of(Venue::BinanceUsdm).unwrap());
        let cfg = Feed {
            symbols: vec!["BTCUSDT".into(), "ETHUSDT".into()],
            streams: streams.iter().map(|&name| name.to_owned()).collect(),
            streams_per_connection_max: 1,
            ..Feed::default()
        };
        let row = FeedGap {
            venue: venue.to_string(),
            stream: stream.into(),
            symbol: symbol.into(),
            from_ts: 5,
            to_ts: Some(9),
            recovered: Recovered::None,
            cause: "disconnect".into(),
            known_at: 10,
        };
        let listened = listened(&plan::plan(session, &cfg).unwrap(), &session.polls(&cfg));
        let symbols = want.map(|symbols| symbols.iter().map(|&symbol| symbol.to_owned()).collect());
        let missed = symbols.map(|symbols| Missed { symbols, from: 5.into(), to: 9.into() });
        let want = missed.map(|missed| Told { row: row.clone(), missed: Some(missed) });
        let open = FeedGap { to_ts: None, ..row.clone() };
        let asked: Vec<_> = Unhealed::new(vec![open, row], listened).collect();
        assert_eq!(asked, Vec::from_iter(want), "{streams:?}: {stream} [{symbol}]");
    }

    #[test]
    fn an_old_gap_is_asked_for_as_far_as_it_is_still_listened_to() {
        let streams = ["aggTrades", "klines", "open_interest"];
        check(&streams, "aggTrades", "", Some(&["BTCUSDT", "ETHUSDT"]));
        check(&streams, "klines", "ETHUSDT", Some(&["ETHUSDT"]));
        check(&streams, "open_interest", "BTCUSDT", Some(&["BTCUSDT"]));
        check(&streams, "aggTrades", "SOLUSDT", None);
        check(&streams, "trades", "", None);
        check(&streams, "funding_info", "", None);
        check(&["klines"], "open_interest", "BTCUSDT", None);
        check(&[], "mark", "", Some(&["BTCUSDT", "ETHUSDT"]));
    }
}
