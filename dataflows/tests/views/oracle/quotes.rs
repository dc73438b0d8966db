//! What venues quote by the minute, open interest, basis and kline checks.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::fixed::{Notional, Price, Quantity, Rate};
use dataflows::model::*;

use super::Events;

/// An instrument's quotes as observations (event time, the venue's order, value).
#[derive(Default)]
struct Quotes {
    heard: BTreeSet<i64>,
    rates: Vec<(i64, u64, Rate)>,
    intervals: Vec<(i64, u64, u8)>,
    settled: Vec<(i64, u64, (Rate, Option<u8>))>,
    interests: Vec<(i64, u64, Quantity)>,
    marks: Vec<(i64, u64, Price)>,
    indices: Vec<(i64, u64, Price)>,
}

/// A rate at the end of a minute, or at a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RateSample {
    pub instrument: InstrumentId,
    pub kind: FundingKind,
    pub ts: i64,
    pub rate: Rate,
    pub interval_hours: u8,
}

/// Open interest and the mark price at the end of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterestSample {
    pub instrument: InstrumentId,
    pub ts: i64,
    pub base: Quantity,
    pub mark: Option<Price>,
}

fn quotes(events: &Events<'_>) -> BTreeMap<InstrumentId, Quotes> {
    let mut all: BTreeMap<InstrumentId, Quotes> = BTreeMap::new();
    for tick in events.ticks() {
        let quotes = all.entry(tick.instrument()).or_default();
        match tick {
            Tick::Mark(m) => {
                quotes.marks.extend(m.mark.map(|mark| (m.ts, m.order, mark)));
                quotes.indices.extend(m.index.map(|index| (m.ts, m.order, index)));
            }
            Tick::OpenInterest(o) => quotes.interests.push((o.ts, o.order, o.base)),
            Tick::Funding(f) if f.kind == FundingKind::Settled => {
                let own = f.interval_hours.filter(|&hours| hours > 0);
                quotes.settled.extend(f.rate.map(|rate| (f.ts, f.order, (rate, own))));
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

/// Predicted rates by the minute and settled ones by the settlement.
pub fn rates(events: &Events<'_>) -> Vec<RateSample> {
    let mut rows = Vec::new();
    for (instrument, quotes) in quotes(events) {
        for minute in minutes(events, instrument, &quotes) {
            if let Some((_, rate)) = last(&quotes.rates, minute) {
                let interval_hours = last(&quotes.intervals, minute).map_or(8, |(_, hours)| hours);
                let (kind, ts) = (FundingKind::Predicted, minute * MINUTE_MS);
                rows.push(RateSample { instrument, kind, ts, rate, interval_hours });
            }
        }
        let times: BTreeSet<i64> = quotes.settled.iter().map(|(ts, _, _)| *ts).collect();
        // The last statement of the first minute with one.
        let first = quotes.intervals.iter().min().and_then(|(ts, _, _)| last(&quotes.intervals, ts.div_euclid(MINUTE_MS)));
        for ts in times {
            let (_, _, (rate, own)) = *quotes.settled.iter().filter(|(at, _, _)| *at == ts).max().unwrap();
            let stated = last(&quotes.intervals, ts.div_euclid(MINUTE_MS)).or(first).map(|(_, hours)| hours);
            let interval_hours = own.or(stated).unwrap_or(8);
            rows.push(RateSample { instrument, kind: FundingKind::Settled, ts, rate, interval_hours });
        }
    }
    rows.sort();
    rows
}

pub fn interest(events: &Events<'_>) -> Vec<InterestSample> {
    let mut rows = Vec::new();
    for (instrument, quotes) in quotes(events) {
        for minute in minutes(events, instrument, &quotes) {
            let Some((seen, base)) = last(&quotes.interests, minute) else { continue };
            if minute - seen.div_euclid(MINUTE_MS) < 15 {
                let mark = last(&quotes.marks, minute).map(|(_, mark)| mark);
                rows.push(InterestSample { instrument, ts: minute * MINUTE_MS, base, mark });
            }
        }
    }
    rows
}

pub fn open_interest(events: &Events<'_>, closed: &[Bar]) -> Vec<OpenInterestRow> {
    let settings = &events.config.open_interest;
    let samples = interest(events);
    let bars: Vec<&Bar> = closed.iter().filter(|bar| bar.timeframe == Timeframe::M1).collect();
    let mut rows = Vec::new();
    for &InterestSample { instrument, ts, base, mark } in &samples {
        // The last of the quarter of an hour up to some minutes before.
        let before = |minutes: i64| {
            let until = ts - minutes * MINUTE_MS;
            let inside = |s: &&InterestSample| s.instrument == instrument && s.ts <= until && s.ts > until - 15 * MINUTE_MS;
            samples.iter().filter(inside).max_by_key(|s| s.ts)
        };
        let change = |before: f64, now: f64| Real(((now / before - 1.0) * 1e9).round() / 1e9);
        let against = |minutes: i64| before(minutes).filter(|s| s.base.0 > 0).map(|s| change(s.base.to_f64(), base.to_f64()));
        let close = |minutes: i64| {
            let until = ts - minutes * MINUTE_MS;
            let inside = |b: &&&Bar| b.instrument == instrument && b.ts <= until && b.ts > until - 15 * MINUTE_MS;
            bars.iter().filter(inside).max_by_key(|b| b.ts).map(|b| b.close)
        };
        let prices = before(60).and_then(|s| s.mark).zip(mark).or_else(|| close(60).zip(close(0)));
        let changes = InterestChanges { m5: against(5), h1: against(60), h24: against(1_440) };
        let quadrant = changes.h1.zip(prices).map(|(interest, (before, now))| {
            let price = change(before.to_f64(), now.to_f64());
            match () {
                () if interest.0.abs() < settings.quadrant_interest_min => Quadrant::Neutral,
                () if price.0.abs() < settings.quadrant_price_min => Quadrant::Neutral,
                () if interest.0 > 0.0 && price.0 > 0.0 => Quadrant::LongBuildUp,
                () if interest.0 > 0.0 => Quadrant::ShortBuildUp,
                () if price.0 > 0.0 => Quadrant::ShortCovering,
                () => Quadrant::LongUnwinding,
            }
        });
        let usd = mark.map(|mark| Notional(i128::from(mark.0) * base.0));
        rows.push(OpenInterestRow { instrument, ts, base, usd, changes, quadrant });
    }
    rows.sort();
    rows
}

pub fn totals(events: &Events<'_>) -> Vec<OpenInterestTotal> {
    let mut by_symbol: BTreeMap<InstrumentId, BTreeMap<Venue, BTreeMap<i64, InterestSample>>> = BTreeMap::new();
    for sample in interest(events) {
        let instrument = events.instruments.get(sample.instrument).unwrap();
        let venues = by_symbol.entry(InstrumentId::of(Venue::Any, &instrument.symbol)).or_default();
        venues.entry(instrument.venue).or_default().insert(sample.ts, sample);
    }
    let mut rows = Vec::new();
    for (instrument, venues) in by_symbol {
        let heard: BTreeSet<i64> = venues.values().flat_map(|samples| samples.keys().copied()).collect();
        for &ts in heard.iter().filter(|ts| *ts < heard.last().unwrap()) {
            let known = venues.values().filter_map(|samples| samples.range(ts - 14 * MINUTE_MS..=ts).next_back());
            let known: Vec<&InterestSample> = known.map(|(_, sample)| sample).collect();
            let base = Quantity(known.iter().map(|s| s.base.0).sum());
            let usd: Option<i128> = known.iter().map(|s| Some(i128::from(s.mark?.0) * s.base.0)).sum();
            rows.push(OpenInterestTotal { instrument, ts, base, usd: usd.map(Notional), venues: known.len() as u8 });
        }
    }
    rows.sort();
    rows
}

/// Stretches of minutes whose fall over 5 minutes is large enough, with a cascade active in those 5 minutes.
pub fn shocks(events: &Events<'_>, interest: &[OpenInterestRow], cascades: &[Cascade]) -> Vec<OiShock> {
    let mut rows: Vec<OiShock> = Vec::new();
    for interest in interest.chunk_by(|a, b| a.instrument == b.instrument) {
        let mut open: Option<OiShock> = None;
        for row in interest {
            let (end, instrument) = (row.ts + MINUTE_MS, row.instrument);
            let active = |c: &&Cascade| c.instrument == instrument && c.onset < end && c.last_active >= end - 5 * MINUTE_MS;
            let cascade = cascades.iter().filter(active).min_by_key(|c| (c.onset, c.window));
            let fall = row.changes.m5.filter(|change| change.0 <= -events.config.open_interest.shock_drop);
            match (fall.zip(cascade), open) {
                (None, _) => rows.extend(open.take().map(|shock| OiShock { ended_at: Some(end), ..shock })),
                (Some(_), Some(_)) => {}
                (Some((change, cascade)), None) => {
                    let cascade_id = cascade.cascade_id;
                    open = Some(OiShock { instrument, onset: end, ended_at: None, change, cascade_id });
                }
            }
        }
        rows.extend(open);
    }
    rows.sort();
    rows
}

pub fn basis(events: &Events<'_>) -> Vec<BasisRow> {
    let mut rows = Vec::new();
    for (instrument, quotes) in quotes(events) {
        for minute in minutes(events, instrument, &quotes) {
            let fresh = |(ts, _): &(i64, Price)| minute - ts.div_euclid(MINUTE_MS) < 15;
            let (mark, index) = (last(&quotes.marks, minute).filter(fresh), last(&quotes.indices, minute).filter(fresh));
            if let Some(((_, mark), (_, index))) = mark.zip(index) {
                let basis_bps = Real((mark.0 - index.0) as f64 / index.0 as f64 * 1e4);
                rows.push(BasisRow { instrument, ts: minute * MINUTE_MS, mark, index, basis_bps, annualised: None });
            }
        }
    }
    rows.sort();
    rows
}

pub fn near_interest(a: &OpenInterestRow, b: &OpenInterestRow) -> bool {
    let plain = |r: &OpenInterestRow| OpenInterestRow { changes: InterestChanges::default(), ..*r };
    let near = |a: Option<Real>, b: Option<Real>| match (a, b) {
        (Some(Real(a)), Some(Real(b))) => (a - b).abs() <= 2e-9,
        (a, b) => a == b,
    };
    plain(a) == plain(b)
        && near(a.changes.m5, b.changes.m5)
        && near(a.changes.h1, b.changes.h1)
        && near(a.changes.h24, b.changes.h24)
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
