//! Funding, open interest and kline checks.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::fixed::Notional;
use dataflows::model::*;

use super::Events;

/// An instrument's quotes as observations (event time, the venue's order, value).
#[derive(Default)]
struct Quotes {
    heard: BTreeSet<i64>,
    rates: Vec<(i64, u64, dataflows::fixed::Rate)>,
    intervals: Vec<(i64, u64, u8)>,
    settled: Vec<(i64, u64, dataflows::fixed::Rate)>,
    interests: Vec<(i64, u64, dataflows::fixed::Quantity)>,
    marks: Vec<(i64, u64, dataflows::fixed::Price)>,
}

fn quotes(events: &Events<'_>) -> BTreeMap<InstrumentId, Quotes> {
    let mut all: BTreeMap<InstrumentId, Quotes> = BTreeMap::new();
    for tick in events.ticks() {
        let quotes = all.entry(tick.instrument()).or_default();
        match tick {
            Tick::Mark(m) => quotes.marks.extend(m.mark.map(|mark| (m.ts, m.order, mark))),
            Tick::OpenInterest(o) => quotes.interests.push((o.ts, o.order, o.base)),
            Tick::Funding(f) if f.kind == FundingKind::Settled => {
                quotes.settled.extend(f.rate.map(|rate| (f.ts, f.order, rate)));
                continue;
            }
            Tick::Funding(f) => {
                quotes.rates.extend(f.rate.map(|rate| (f.ts, f.order, rate)));
                quotes.intervals.extend(f.interval_hours.filter(|&hours| hours > 0).map(|hours| (f.ts, f.order, hours)));
            }
            _ => continue,
        }
        quotes.heard.insert(tick.ts().div_euclid(MINUTE_MS));
    }
    all
}

/// The last observation before the end of `minute`, with its time.
fn last<V: Copy + Ord>(observations: &[(i64, u64, V)], minute: i64) -> Option<(i64, V)> {
    let before = observations.iter().filter(|(ts, _, _)| ts.div_euclid(MINUTE_MS) <= minute);
    before.max().map(|&(ts, _, value)| (ts, value))
}

/// Minutes that are over in which the instrument was quoted.
fn minutes(events: &Events<'_>, id: InstrumentId, quotes: &Quotes) -> Vec<i64> {
    quotes.heard.iter().copied().filter(|minute| (minute + 1) * MINUTE_MS <= events.watermark(id)).collect()
}

pub fn funding(events: &Events<'_>) -> Vec<FundingRow> {
    let mut rows = Vec::new();
    for (instrument, quotes) in quotes(events) {
        let interval = |minute| last(&quotes.intervals, minute).map_or(8, |(_, hours)| hours);
        for minute in minutes(events, instrument, &quotes) {
            if let Some((_, rate)) = last(&quotes.rates, minute) {
                let ts = minute * MINUTE_MS;
                rows.push(FundingRow { instrument, kind: FundingKind::Predicted, ts, rate, interval_hours: interval(minute) });
            }
        }
        let times: BTreeSet<i64> = quotes.settled.iter().map(|(ts, _, _)| *ts).collect();
        for ts in times {
            let (_, _, rate) = *quotes.settled.iter().filter(|(at, _, _)| *at == ts).max().unwrap();
            let interval_hours = interval(ts.div_euclid(MINUTE_MS));
            rows.push(FundingRow { instrument, kind: FundingKind::Settled, ts, rate, interval_hours });
        }
    }
    rows.sort();
    rows
}

pub fn open_interest(events: &Events<'_>) -> Vec<OpenInterestRow> {
    let mut rows = Vec::new();
    for (instrument, quotes) in quotes(events) {
        for minute in minutes(events, instrument, &quotes) {
            let Some((seen, base)) = last(&quotes.interests, minute) else { continue };
            if minute - seen.div_euclid(MINUTE_MS) < 15 {
                let usd = last(&quotes.marks, minute).map(|(_, mark)| Notional(i128::from(mark.0) * base.0));
                rows.push(OpenInterestRow { instrument, ts: minute * MINUTE_MS, base, usd });
            }
        }
    }
    rows.sort();
    rows
}

pub fn kline_checks(events: &Events<'_>, closed: &[Bar]) -> Vec<KlineCheck> {
    let klines = events.by_instrument(|tick| if let Tick::Kline(k) = tick { k.closed.then_some(**k) } else { None });
    let mut rows = Vec::new();
    for bar in closed {
        let of_bar = |k: &&Kline| (k.timeframe, k.open_ts) == (bar.timeframe, bar.ts);
        let said = klines.get(&bar.instrument).and_then(|klines| klines.iter().filter(of_bar).max_by_key(|k| (k.ts, **k)));
        let Some(k) = said else { continue };
        let ohlc = [k.open, k.high, k.low, k.close];
        let agrees = ohlc == [bar.open, bar.high, bar.low, bar.close]
            && k.volume == bar.volume
            && (k.trades.is_none() || k.trades == Some(bar.trades))
            && (k.notional.is_none() || k.notional == Some(bar.notional))
            && (k.taker_buy_volume.is_none() || k.taker_buy_volume == Some(bar.taker_buy_volume));
        rows.push(KlineCheck { bar: *bar, kline_ohlc: ohlc, kline_volume: k.volume, kline_trades: k.trades, agrees });
    }
    rows.sort();
    rows
}
