//! What goes on from one quantum to the next beside the dataflow, and must go on after a restart: who is heard, which gaps are open, and which
//! ended but were not filled.
//!
//! A gap's row is told when it opens, when it ends, and a third time once the venue was asked for what was missed, whatever came of it
//! ([`crate::feeds::live`]). A program that ends between the second and the third leaves it unhealed; the next one asks.

use std::collections::{BTreeSet, VecDeque};

use dataflows::model::{Clock, DAY_MS, Venue};
use serde::{Deserialize, Serialize};

use crate::store::edge::{EdgeRow, FeedGap, Recovered};

/// Ended gaps that are remembered, of all venues; beyond them the oldest are dropped, and stay unhealed.
const ENDED_MAX: usize = 1_024;
/// Ended gaps are remembered for so long, in ms.
const ENDED_MS_MAX: i64 = DAY_MS;

/// After the quanta that it has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ongoing {
    /// Venues that were heard and have not fallen silent.
    pub heard: BTreeSet<Venue>,
    /// Gaps without an end, at most as many as a feed has streams.
    pub gaps: Vec<FeedGap>,
    /// Gaps that ended in the last 24 h and were not told a third time, in the order in which they ended; at most 1,024. What no venue has
    /// (liquidations) is among them.
    #[serde(default)]
    pub ended: VecDeque<FeedGap>,
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

    /// Takes in a row of the edge. One that was seen before changes nothing.
    pub(super) fn see(&mut self, row: &EdgeRow) {
        let EdgeRow::Gap(gap) = row else { return };
        let is_same = |known: &FeedGap| key(known) == key(gap);
        let was_open = self.gaps.iter().any(is_same);
        self.gaps.retain(|open| !is_same(open));
        // A third row that says `none` says that the venue was asked in vain.
        self.ended.retain(|ended| ended == gap || !is_same(ended));
        if gap.to_ts.is_none() {
            self.gaps.push(gap.clone());
        } else if was_open && gap.recovered == Recovered::None {
            self.ended.push_back(gap.clone());
        }
        self.ended.retain(|ended| is_recent(ended, gap.known_at));
        while self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }

    /// The rows that end the open gaps where the run ended, at `known_at` (UTC ms): what was not heard afterwards is the restart's own gap.
    #[must_use]
    pub fn ended_at(&self, known_at: u64, now_ms: i64) -> Vec<FeedGap> {
        let end_ms = i64::try_from(known_at).unwrap_or(i64::MAX);
        let known_at = u64::try_from(now_ms).unwrap_or_default();
        self.gaps.iter().map(|gap| FeedGap { to_ts: Some(end_ms.max(gap.from_ts)), known_at, ..gap.clone() }).collect()
    }

    /// The gaps of which the venues may still have something, if the run ended at `known_at` (UTC ms): those that had ended and were not filled,
    /// and those that ended with the run, as [`Self::ended_at`] has them.
    #[must_use]
    pub fn unhealed(&self, known_at: u64, now_ms: i64) -> Vec<FeedGap> {
        let ended = self.ended.iter().filter(|gap| is_recent(gap, known_at)).cloned();
        ended.chain(self.ended_at(known_at, now_ms)).collect()
    }
}

/// Of the view `feed_gaps`.
fn key(gap: &FeedGap) -> (&str, &str, &str, i64) {
    (&gap.venue, &gap.stream, &gap.symbol, gap.from_ts)
}

fn is_recent(gap: &FeedGap, known_at: u64) -> bool {
    let oldest_ms = i64::try_from(known_at).unwrap_or(i64::MAX).saturating_sub(ENDED_MS_MAX);
    gap.to_ts.is_some_and(|to_ms| to_ms >= oldest_ms)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// When runs end.
    const END: u64 = 4 * DAY_MS as u64;

    /// A row known `n` ms after its gap's end, or after its beginning.
    fn row(stream: &str, from_ts: i64, to_ts: Option<i64>, recovered: Recovered, n: i64) -> FeedGap {
        FeedGap {
            venue: "binance-usdm".into(),
            stream: stream.into(),
            symbol: String::new(),
            from_ts,
            to_ts,
            recovered,
            cause: "disconnect".into(),
            known_at: (to_ts.unwrap_or(from_ts) + n) as u64,
        }
    }

    fn open(stream: &str, from_ts: i64) -> FeedGap {
        row(stream, from_ts, None, Recovered::None, 0)
    }

    fn ended(stream: &str, from_ts: i64, to_ts: i64) -> FeedGap {
        row(stream, from_ts, Some(to_ts), Recovered::None, 0)
    }

    fn asked(stream: &str, from_ts: i64, to_ts: i64, recovered: Recovered) -> FeedGap {
        row(stream, from_ts, Some(to_ts), recovered, 7)
    }

    fn seen(rows: &[FeedGap]) -> Ongoing {
        let mut ongoing = Ongoing::default();
        rows.iter().for_each(|row| ongoing.see(&EdgeRow::Gap(row.clone())));
        ongoing
    }

    /// After these rows this is unhealed if the run ends at `END`, each as `stream from to`.
    fn check(rows: &[FeedGap], want: &[&str]) {
        let line = |gap: &FeedGap| format!("{} {} {}", gap.stream, gap.from_ts, gap.to_ts.unwrap_or_default());
        let ongoing = seen(rows);
        assert_eq!(ongoing.unhealed(END, 0).iter().map(line).collect::<Vec<_>>(), want, "{rows:#?}");
        let twice: Vec<_> = rows.iter().chain(rows).cloned().collect();
        assert_eq!(seen(&twice).unhealed(END, 0), ongoing.unhealed(END, 0), "seen again from the beginning");
    }

    #[test]
    fn a_gap_is_unhealed_until_it_is_told_a_third_time() {
        let (from, to) = (END as i64 - 9_000, END as i64 - 5_000);
        let (opens, ends) = (open("trades", from), ended("trades", from, to));
        let (still, unhealed) = (format!("trades {from} {END}"), format!("trades {from} {to}"));
        check(&[], &[]);
        check(&[opens.clone()], &[&still]);
        check(&[opens.clone(), ends.clone()], &[&unhealed]);
        check(&[opens.clone(), ends.clone(), ends.clone()], &[&unhealed]);
        for recovered in [Recovered::None, Recovered::Partial, Recovered::Full] {
            let third = asked("trades", from, to, recovered);
            check(&[opens.clone(), ends.clone(), third.clone()], &[]);
            check(&[opens.clone(), ends.clone(), third.clone(), third.clone()], &[]);
            check(&[third], &[]);
        }
        // Streams have gaps of their own, and one stream several.
        let others = [open("klines", from), open("trades", to), ended("klines", from, to)];
        let rows: Vec<_> = [opens, ends].into_iter().chain(others).collect();
        check(&rows, &[&unhealed, &format!("klines {from} {to}"), &format!("trades {to} {END}")]);
    }

    #[test]
    fn what_ended_long_ago_is_forgotten() {
        let day_ago = END as i64 - DAY_MS;
        let gap = |to: i64| [open("trades", to - 10), ended("trades", to - 10, to)];
        check(&gap(day_ago), &[&format!("trades {} {day_ago}", day_ago - 10)]);
        check(&gap(day_ago - 1), &[]);
        let later = [gap(day_ago - 1), [open("klines", END as i64 - 1), ended("klines", END as i64 - 1, END as i64)]].concat();
        assert_eq!(seen(&later).ended.len(), 1, "it isn't kept either");
        let many: Vec<_> = (0..2_000).flat_map(|n| gap(END as i64 - 10_000 + n)).collect();
        let ongoing = seen(&many);
        assert_eq!((ongoing.ended.len(), ongoing.ended[0].to_ts), (ENDED_MAX, Some(END as i64 - 10_000 + 2_000 - 1_024)));
    }

    #[test]
    fn a_gap_that_was_open_ends_with_the_run() {
        let ongoing = seen(&[open("trades", 5), open("klines", 7), ended("trades", 5, 9)]);
        assert_eq!(ongoing.gaps, [open("klines", 7)]);
        let ends = FeedGap { to_ts: Some(40), known_at: 50, ..open("klines", 7) };
        assert_eq!(ongoing.ended_at(40, 50), [ends.clone()]);
        assert_eq!(ongoing.unhealed(40, 50), [ended("trades", 5, 9), ends.clone()]);
        // The next run sees the row, and its own end before the gap was filled.
        let mut next = ongoing;
        next.see(&EdgeRow::Gap(ends.clone()));
        assert_eq!(next.unhealed(90, 95), [ended("trades", 5, 9), ends]);
        assert_eq!(seen(&[open("klines", 7)]).ended_at(6, 50)[0].to_ts, Some(7), "a gap has no negative length");
    }

    #[test]
    fn a_snapshot_of_an_older_version_has_no_ended_gaps() {
        let older: Ongoing = serde_json::from_str(r#"{"heard":["binance-usdm"],"gaps":[]}"#).unwrap();
        assert_eq!(older, Ongoing { heard: [Venue::BinanceUsdm].into(), ..Ongoing::default() });
    }
}
