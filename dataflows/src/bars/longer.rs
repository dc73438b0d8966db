//! Longer bars out of shorter ones, by the sums that the view adds up: history that comes as bars has no prints.

use super::to_bar;
use crate::model::{Aggregate, Bar, Timeframe};

/// The bars of `timeframe` that hold `bars` (one instrument's, shorter, oldest first). A bar that began before the first of them is
/// what is known of it; the last one is left out unless they reach its end.
#[must_use]
pub fn longer(bars: &[Bar], timeframe: Timeframe) -> Vec<Bar> {
    let sums = |bar: &Bar| Aggregate {
        open: ((bar.ts, 0, 0), bar.open),
        close: ((bar.ts + bar.timeframe.ms() - 1, 0, 0), bar.close),
        high: bar.high,
        low: bar.low,
        volume: bar.volume,
        notional: bar.notional,
        taker_buy_volume: bar.taker_buy_volume,
        trades: bar.trades,
    };
    let open_of = |bar: &Bar| timeframe.open_of(bar.ts);
    let end = bars.last().map_or(0, |last| last.ts + last.timeframe.ms());
    let groups = bars.chunk_by(|a, b| open_of(a) == open_of(b));
    let whole = groups.filter(|group| open_of(&group[0]) + timeframe.ms() <= end);
    let join = |group: &[Bar]| {
        let mut all = sums(&group[0]);
        group[1..].iter().for_each(|bar| all.merge(&sums(bar)));
        to_bar((group[0].instrument, timeframe, open_of(&group[0])), &all)
    };
    whole.map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::{Notional, ONE, Price, Quantity};
    use crate::model::{HOUR_MS, InstrumentId, Venue};

    #[test]
    fn four_hours_are_one_bar_and_a_begun_one_is_none() {
        let instrument = InstrumentId::of(Venue::Any, "X");
        let hour = |n: i64, open: i64, high: i64, low: i64, close: i64| Bar {
            instrument,
            timeframe: Timeframe::H1,
            ts: n * HOUR_MS,
            open: Price(open),
            high: Price(high),
            low: Price(low),
            close: Price(close),
            volume: Quantity(ONE),
            notional: Notional(ONE),
            taker_buy_volume: Quantity(0),
            trades: 2,
        };
        let hours = [hour(1, 10, 12, 9, 11), hour(2, 11, 15, 11, 14), hour(3, 14, 14, 8, 9), hour(4, 9, 9, 7, 8)];
        let bars = longer(&hours, Timeframe::H4);
        assert_eq!(bars.len(), 1);
        let (bar, trades) = (bars[0], 6);
        assert_eq!((bar.ts, bar.open, bar.high, bar.low, bar.close), (0, Price(10), Price(15), Price(8), Price(9)));
        assert_eq!((bar.volume, bar.trades, bar.timeframe), (Quantity(3 * ONE), trades, Timeframe::H4));
        assert_eq!(longer(&hours, Timeframe::H1), hours);
        assert_eq!(longer(&[], Timeframe::D1), []);
    }
}
