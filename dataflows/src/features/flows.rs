//! What flowed beside an instrument's bars: liquidations, open interest, funding.
//!
//! - What was liquidated in [open, close) is summed by side and bar as it comes, exactly. No liquidation is a zero only where somebody
//!   would have told: the instrument had one in the [`TOLD_DAYS`] days before the bar's UTC day or since, up to the bar's end (a venue that doesn't
//!   report them, and one that has ceased to, says nothing), and the venue was heard in four fifths of the bar's minutes (of an outage, whose bars
//!   may have been filled in later, nobody knows). Feeds of a sample of all liquidations make lower bounds, alike in all bars.
//! - Open interest and funding count as they stood at bars' edges: by the last minute before the edge that knew, at most 15 minutes back, as
//!   in the views `open_interest` and `funding`. Values at edges are set whenever a minute changes, and stay when the minutes are forgotten: so a bar
//!   of a week needs no week of minutes.
//!
//! Kept: minutes of the correction horizon, and per time frame the bars that reach into it: some 10 kB an instrument.

use crate::by_time::ByTime;
use crate::fixed::Notional;
use crate::minutes::Known;
use crate::model::{DAY_MS, FEATURES, FEATURES_OF_BARS, Liquidation, MINUTE_MS, PositionSide, Real, Timeframe};
use crate::quotes::KNOWN_MINUTES;

use super::series::Series;

/// How many features there are of what flows.
pub(super) const FLOWS: usize = FEATURES.len() - FEATURES_OF_BARS;
/// An instrument of which no liquidation was told for so many days isn't told of.
const TOLD_DAYS: i64 = 30;

/// What is sampled by the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Base units.
    Interest,
    /// Deviations from 30 days.
    Funding,
}

/// Of one instrument.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Flows {
    frames: Box<[Frame]>,
    /// UTC days with liquidations, by number, with the time of the first.
    told: ByTime<i64>,
    /// By [`Kind`]: what minutes said, by number.
    minutes: [ByTime<Known>; 2],
}

/// Of one time frame.
#[derive(serde::Serialize, serde::Deserialize)]
struct Frame {
    timeframe: Timeframe,
    /// Longs and shorts, by the bar's opening.
    liquidated: ByTime<[Notional; 2]>,
    /// By [`Kind`]: as it stood at a bar's edge.
    edges: [ByTime<Known>; 2],
}

impl Flows {
    pub fn new(timeframes: &[Timeframe]) -> Self {
        let frame = |&timeframe| Frame { timeframe, liquidated: ByTime::default(), edges: Default::default() };
        Self { frames: timeframes.iter().map(frame).collect(), told: ByTime::default(), minutes: Default::default() }
    }

    pub fn liquidate(&mut self, event: &Liquidation, series: &mut [Series]) {
        let day = event.ts.div_euclid(DAY_MS);
        let is_first = self.told.get(day).is_none_or(|&first| event.ts < first);
        if is_first {
            self.told.insert(day, event.ts);
        }
        for (frame, series) in self.frames.iter_mut().zip(series) {
            let open_ts = frame.timeframe.open_of(event.ts);
            let sums = frame.liquidated.get_or_insert_with(open_ts, Default::default);
            sums[usize::from(event.position_side == PositionSide::Short)] += event.price.notional(event.qty);
            // The first of a day may tell that those who said nothing since would have.
            if is_first { series.doubt_flows_from(open_ts) } else { series.doubt_flows(open_ts) }
        }
    }

    /// What a minute says. `None`: there is no such row.
    pub fn set(&mut self, kind: Kind, minute: i64, value: Option<Option<Real>>, series: &mut [Series]) {
        let minutes = &mut self.minutes[kind as usize];
        minutes.set(minute, value.map(|value| value.map_or_else(Known::default, |Real(value)| Known(value))));
        for (frame, series) in self.frames.iter_mut().zip(series) {
            let (edges, length) = (&mut frame.edges[kind as usize], frame.timeframe.ms());
            let mut edge = frame.timeframe.open_of(minute * MINUTE_MS) + length;
            while edge / MINUTE_MS <= minute + KNOWN_MINUTES {
                let at = edge / MINUTE_MS;
                let value = minutes.range(at - KNOWN_MINUTES..at).next_back().map(|(_, value)| *value);
                if edges.set(edge, value) != value {
                    series.doubt_flows(edge - length);
                    series.doubt_flows(edge);
                }
                edge += length;
            }
        }
    }

    /// What flowed beside the bar that opens at a time, in the order of the features. `is_heard`: the venue was, all along.
    pub fn beside(&self, frame: usize, open_ts: i64, is_heard: bool) -> [Known; FLOWS] {
        let Frame { timeframe, liquidated, edges } = &self.frames[frame];
        let end = open_ts + timeframe.ms();
        let is_told = is_heard && self.is_told(end);
        let sums = liquidated.get(open_ts).copied().unwrap_or_default();
        let [longs, shorts] = sums.map(|sum| if is_told { Known(sum.to_f64().ln_1p()) } else { Known::default() });
        let at_edge = |kind: Kind, ts: i64| edges[kind as usize].get(ts).copied().unwrap_or_default();
        let (before, after) = (at_edge(Kind::Interest, open_ts).0, at_edge(Kind::Interest, end).0);
        let change = if before > 0.0 { Known::of((after - before) / before) } else { Known::default() };
        [longs, shorts, change, at_edge(Kind::Funding, end)]
    }

    /// Whether liquidations before `end` would have been told.
    fn is_told(&self, end: i64) -> bool {
        let day = (end - 1).div_euclid(DAY_MS);
        self.told.range(day - TOLD_DAYS..=day).any(|(_, &first)| first < end)
    }

    /// Nothing that happened before `limit` is corrected any more.
    pub fn forget_before(&mut self, limit: i64) {
        for Frame { timeframe, liquidated, edges } in &mut self.frames {
            let open_ts = timeframe.open_of(limit);
            liquidated.forget_before(open_ts);
            edges.iter_mut().for_each(|edges| edges.forget_before(open_ts));
        }
        self.minutes.iter_mut().for_each(|minutes| minutes.forget_before(limit.div_euclid(MINUTE_MS) - KNOWN_MINUTES));
        self.told.forget_before(limit.div_euclid(DAY_MS) - TOLD_DAYS);
    }
}
