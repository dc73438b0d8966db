//! What goes on from one quantum to the next beside the dataflow, and must go on after a restart: who is heard, and which gaps are open.

use std::collections::BTreeSet;

use dataflows::model::{Clock, Venue};
use serde::{Deserialize, Serialize};

use crate::store::edge::{EdgeRow, FeedGap};

/// After the quanta that it has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ongoing {
    /// Venues that were heard and have not fallen silent.
    pub heard: BTreeSet<Venue>,
    /// Gaps without an end, at most as many as a feed has streams.
    pub gaps: Vec<FeedGap>,
}

impl Ongoing {
    /// Takes in a quantum's clock records.
    pub(super) fn hear(&mut self, clocks: &[Clock]) {
        // Their order must not matter, and who is heard is not silent.
        for clock in clocks {
            if let Clock::Idle(venue) = clock {
                self.heard.remove(venue);
            }
        }
        self.heard
            .extend(clocks.iter().filter_map(|clock| if let Clock::Active { venue, .. } = clock { Some(*venue) } else { None }));
    }

    /// Takes in a row of the edge.
    pub(super) fn see(&mut self, row: &EdgeRow) {
        let EdgeRow::Gap(gap) = row else { return };
        let key = |gap: &FeedGap| (gap.venue.clone(), gap.stream.clone(), gap.symbol.clone(), gap.from_ts);
        self.gaps.retain(|open| key(open) != key(gap));
        if gap.to_ts.is_none() {
            self.gaps.push(gap.clone());
        }
    }

    /// The rows that end the open gaps where the run ended: what was not heard afterwards is the restart's own gap.
    #[must_use]
    pub fn ended_at(&self, known_at: u64, now_ms: i64) -> Vec<FeedGap> {
        let to_ts = i64::try_from(known_at).ok();
        let known_at = u64::try_from(now_ms).unwrap_or_default();
        self.gaps.iter().map(|gap| FeedGap { to_ts, known_at, ..gap.clone() }).collect()
    }

    /// From when on something is missing, UTC ms, if the run ended at `known_at`.
    #[must_use]
    pub fn missing_since(&self, known_at: u64) -> Option<i64> {
        let ended = i64::try_from(known_at).ok()?;
        self.gaps.iter().map(|gap| gap.from_ts).chain([ended]).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::edge::Recovered;

    #[test]
    fn a_gap_that_was_open_ends_with_the_run() {
        let gap = |stream: &str, from_ts, to_ts| FeedGap {
            venue: "binance-usdm".into(),
            stream: stream.into(),
            symbol: String::new(),
            from_ts,
            to_ts,
            recovered: Recovered::None,
            cause: "disconnect".into(),
            known_at: 1,
        };
        let mut ongoing = Ongoing::default();
        for row in [gap("trades", 5, None), gap("klines", 7, None), gap("trades", 5, Some(9)), gap("trades", 20, Some(30))] {
            ongoing.see(&EdgeRow::Gap(row));
        }
        assert_eq!(ongoing.gaps, [gap("klines", 7, None)]);
        assert_eq!(ongoing.missing_since(40), Some(7));
        assert_eq!(ongoing.ended_at(40, 50), [FeedGap { known_at: 50, ..gap("klines", 7, Some(40)) }]);
        assert_eq!(Ongoing::default().missing_since(40), Some(40));
    }
}
