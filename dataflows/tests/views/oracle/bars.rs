//! Bars: prints grouped by time frame; a time frame without prints in which the venue was heard is flat once it is over, for a day
//! (or two bars) after the last traded one.
//!
//! A minute that the venue gave again counts with what the venue says of it, and with our prints where it says nothing; all prices
//! that anybody saw are in its range. One without volume only tells that the venue was there.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::fixed::{Notional, Quantity};
use dataflows::model::*;

use super::Events;

/// All bars in order, and whether each is over.
pub fn bars(events: &Events<'_>) -> Vec<(Bar, bool)> {
    let mut bars = Vec::new();
    let (prints, fills) = (events.prints(), fills(events));
    let instruments: BTreeSet<InstrumentId> = prints.keys().chain(fills.keys()).copied().collect();
    for instrument in instruments {
        let minutes = minutes(instrument, prints.get(&instrument), fills.get(&instrument));
        let none = Vec::new();
        let told: Vec<i64> =
            fills.get(&instrument).unwrap_or(&none).iter().filter(|k| k.volume.0 == 0).map(|k| k.open_ts).collect();
        let (watermark, newest) = (events.watermark(instrument), events.newest(instrument));
        for timeframe in Timeframe::ALL {
            let mut by_open: BTreeMap<i64, Vec<&Bar>> = BTreeMap::new();
            for minute in &minutes {
                by_open.entry(timeframe.open_of(minute.ts)).or_default().push(minute);
            }
            let traded: BTreeMap<i64, Bar> = by_open.iter().map(|(&ts, minutes)| (ts, joined(timeframe, ts, minutes))).collect();
            let is_over = |ts: i64| ts + timeframe.ms() <= watermark;
            bars.extend(traded.iter().map(|(&ts, bar)| (*bar, is_over(ts))));

            let heard = events.heard.get(&events.venue(instrument)).into_iter().flatten().chain(&told);
            let heard: BTreeSet<i64> = heard.map(|&m| timeframe.open_of(m)).collect();
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

fn fills(events: &Events<'_>) -> BTreeMap<InstrumentId, Vec<Kline>> {
    events.by_instrument(|tick| if let Tick::Kline(k) = tick { (k.closed && k.fills()).then_some(**k) } else { None })
}

/// Minutes in which something was traded.
fn minutes(instrument: InstrumentId, prints: Option<&Vec<Trade>>, fills: Option<&Vec<Kline>>) -> Vec<Bar> {
    let mut by_minute: BTreeMap<i64, (Vec<&Trade>, Vec<&Kline>)> = BTreeMap::new();
    for trade in prints.into_iter().flatten() {
        by_minute.entry(Timeframe::M1.open_of(trade.ts)).or_default().0.push(trade);
    }
    for kline in fills.into_iter().flatten().filter(|kline| kline.volume.0 > 0) {
        by_minute.entry(kline.open_ts).or_default().1.push(kline);
    }
    by_minute.into_iter().map(|(ts, (trades, klines))| minute(instrument, ts, &trades, &klines)).collect()
}

fn minute(instrument: InstrumentId, ts: i64, trades: &[&Trade], klines: &[&Kline]) -> Bar {
    let own = (!trades.is_empty()).then(|| traded_bar(instrument, Timeframe::M1, ts, trades));
    let Some(latest) = klines.iter().max_by_key(|kline| (kline.ts, **kline)) else { return own.unwrap() };
    let seen = own.map(|own| (own.high, own.low));
    let highs = klines.iter().map(|k| k.high.max(k.open).max(k.close)).chain(seen.map(|seen| seen.0));
    let lows = klines.iter().map(|k| k.low.min(k.open).min(k.close)).chain(seen.map(|seen| seen.1));
    Bar {
        instrument,
        timeframe: Timeframe::M1,
        ts,
        open: klines.iter().map(|k| k.open).min().unwrap(),
        high: highs.max().unwrap(),
        low: lows.min().unwrap(),
        close: klines.iter().map(|k| k.close).max().unwrap(),
        volume: latest.volume,
        notional: latest.notional.or(own.map(|own| own.notional)).unwrap_or_default(),
        taker_buy_volume: latest.taker_buy_volume.or(own.map(|own| own.taker_buy_volume)).unwrap_or_default(),
        trades: latest.trades.or(own.map(|own| own.trades)).unwrap_or(0),
    }
}

/// A longer bar out of its traded minutes.
fn joined(timeframe: Timeframe, ts: i64, minutes: &[&Bar]) -> Bar {
    let (first, last) = (minutes[0], minutes[minutes.len() - 1]);
    Bar {
        timeframe,
        ts,
        high: minutes.iter().map(|m| m.high).max().unwrap(),
        low: minutes.iter().map(|m| m.low).min().unwrap(),
        close: last.close,
        volume: Quantity(minutes.iter().map(|m| m.volume.0).sum()),
        notional: Notional(minutes.iter().map(|m| m.notional.0).sum()),
        taker_buy_volume: Quantity(minutes.iter().map(|m| m.taker_buy_volume.0).sum()),
        trades: minutes.iter().map(|m| m.trades).sum(),
        ..*first
    }
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
