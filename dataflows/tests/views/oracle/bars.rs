//! Bars: prints grouped by time frame; a time frame without prints in which the venue was heard is flat once it is over, for a day
//! (or two bars) after the last traded one.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::fixed::{Notional, Quantity};
use dataflows::model::*;

use super::Events;

/// All bars in order, and whether each is over.
pub fn bars(events: &Events<'_>) -> Vec<(Bar, bool)> {
    let mut bars = Vec::new();
    for (&instrument, trades) in &events.prints() {
        let (watermark, newest) = (events.watermark(instrument), events.newest(instrument));
        for timeframe in Timeframe::ALL {
            let mut by_open: BTreeMap<i64, Vec<&Trade>> = BTreeMap::new();
            for trade in trades {
                by_open.entry(timeframe.open_of(trade.ts)).or_default().push(trade);
            }
            let traded: BTreeMap<i64, Bar> =
                by_open.iter().map(|(&ts, trades)| (ts, traded_bar(instrument, timeframe, ts, trades))).collect();
            let is_over = |ts: i64| ts + timeframe.ms() <= watermark;
            bars.extend(traded.iter().map(|(&ts, bar)| (*bar, is_over(ts))));

            let heard: BTreeSet<i64> = events.heard[&events.venue(instrument)].iter().map(|&m| timeframe.open_of(m)).collect();
            let was_heard_after = |ts: i64| ts + timeframe.ms() <= newest;
            for ts in heard.into_iter().filter(|ts| !traded.contains_key(ts) && is_over(*ts) && was_heard_after(*ts)) {
                let Some((&last_ts, last)) = traded.range(..ts).next_back() else { continue };
                if ts - last_ts < DAY_MS.max(2 * timeframe.ms()) {
                    let close = last.close;
                    let flat = Bar { ts, open: close, high: close, low: close, trades: 0, ..*last };
                    let flat = Bar { volume: Quantity(0), notional: Notional(0), taker_buy_volume: Quantity(0), ..flat };
                    bars.push((flat, true));
                }
            }
        }
    }
    bars.sort();
    bars
}

fn traded_bar(instrument: InstrumentId, timeframe: Timeframe, ts: i64, trades: &[&Trade]) -> Bar {
    Bar {
        instrument,
        timeframe,
        ts,
        open: trades[0].price,
        high: trades.iter().map(|t| t.price).max().unwrap(),
        low: trades.iter().map(|t| t.price).min().unwrap(),
        close: trades[trades.len() - 1].price,
        volume: Quantity(trades.iter().map(|t| t.qty.0).sum()),
        notional: Notional(trades.iter().map(|t| i128::from(t.price.0) * t.qty.0).sum()),
        taker_buy_volume: Quantity(trades.iter().filter(|t| t.taker_buy).map(|t| t.qty.0).sum()),
        trades: trades.iter().map(|t| u64::from(t.fills)).sum(),
    }
}
