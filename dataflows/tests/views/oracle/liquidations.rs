//! Liquidations: each event a row; at each full minute that is over, sums over the event seconds in (minute − window, minute].

use std::collections::{BTreeMap, BTreeSet};

use dataflows::fixed::Notional;
use dataflows::model::*;

use super::{Events, near, quotes};

pub fn rows(events: &Events<'_>) -> Vec<LiquidationRow> {
    let mut rows: Vec<LiquidationRow> = events
        .liquidations()
        .into_values()
        .flatten()
        .map(|e| LiquidationRow {
            instrument: e.instrument,
            ts: e.ts,
            position_side: e.position_side,
            price: e.price,
            qty: e.qty,
            seq: e.seq,
            price_kind: e.price_kind,
            notional: notional(&e),
            coverage: e.coverage,
        })
        .collect();
    rows.sort();
    rows
}

pub fn notional(event: &Liquidation) -> Notional {
    Notional(i128::from(event.price.0) * event.qty.0)
}

pub fn windows(events: &Events<'_>) -> Vec<LiquidationWindow> {
    let mut rows = Vec::new();
    for (instrument, liquidations) in events.liquidations() {
        // The second that a window ends with must be over.
        let last_minute = (events.watermark(instrument) - SECOND_MS).div_euclid(MINUTE_MS);
        let minute_after = |event: &Liquidation| event.ts.div_euclid(MINUTE_MS);
        let minutes: BTreeSet<i64> = liquidations.iter().flat_map(|e| minute_after(e)..=minute_after(e) + 241).collect();
        for minute in minutes.into_iter().filter(|&minute| minute <= last_minute) {
            for window in Window::ALL {
                let seconds = minute * 60 - window.secs() + 1..=minute * 60;
                let inside: Vec<_> = liquidations.iter().filter(|e| seconds.contains(&e.ts.div_euclid(1_000))).collect();
                if inside.is_empty() {
                    continue;
                }
                let sum = |side| inside.iter().filter(|e| e.position_side == side).map(|e| notional(e).0).sum();
                rows.push(LiquidationWindow {
                    instrument,
                    window,
                    ts: minute * MINUTE_MS,
                    long_notional: Notional(sum(PositionSide::Long)),
                    short_notional: Notional(sum(PositionSide::Short)),
                    count: inside.len() as u64,
                    largest: inside.iter().map(|e| notional(e)).max().unwrap(),
                    coverage: inside.iter().map(|e| e.coverage).max().unwrap(),
                });
            }
        }
    }
    rows.sort();
    rows
}

/// Each window beside the open interest of the quarter of an hour before its start and the bars of all its minutes.
pub fn ratios(events: &Events<'_>, closed: &[Bar]) -> Vec<LiquidationRatio> {
    // A sample is of its minute's end.
    let samples = quotes::interest(events).into_iter().map(|sample| ((sample.instrument, sample.ts + MINUTE_MS), sample));
    let samples: BTreeMap<(InstrumentId, i64), quotes::InterestSample> = samples.collect();
    let minutes = closed.iter().filter(|bar| bar.timeframe == Timeframe::M1);
    let minutes: BTreeMap<(InstrumentId, i64), &Bar> = minutes.map(|bar| ((bar.instrument, bar.ts), bar)).collect();
    let mut rows = Vec::new();
    for LiquidationWindow { instrument, window, ts, long_notional, short_notional, coverage, .. } in windows(events) {
        let start = ts - window.secs() * SECOND_MS;
        let sample = samples.range((instrument, start - 14 * MINUTE_MS)..=(instrument, start)).next_back();
        let open = sample.and_then(|(_, s)| Some(Notional(i128::from(s.mark?.0) * s.base.0))).filter(|open| open.0 > 0);

        let bars: Vec<&Bar> = minutes.range((instrument, start)..(instrument, ts)).map(|(_, bar)| *bar).collect();
        let traded = Notional(bars.iter().map(|bar| bar.notional.0).sum());
        let traded = (bars.len() as i64 * MINUTE_MS == ts - start && traded.0 > 0).then_some(traded);

        let of = |part: Notional, whole: Option<Notional>| whole.map(|whole| Real(part.to_f64() / whole.to_f64()));
        if open.is_some() || traded.is_some() {
            rows.push(LiquidationRatio {
                instrument,
                window,
                ts,
                long_to_open_interest: of(long_notional, open),
                short_to_open_interest: of(short_notional, open),
                to_volume: of(Notional(long_notional.0 + short_notional.0), traded),
                open_interest: open.map(|open| Real(open.to_f64())),
                traded: traded.map(|traded| Real(traded.to_f64())),
                coverage,
            });
        }
    }
    rows.sort();
    rows
}

pub fn near_ratio(a: &LiquidationRatio, b: &LiquidationRatio) -> bool {
    let key = |r: &LiquidationRatio| (r.instrument, r.window, r.ts, r.coverage);
    key(a) == key(b)
        && near(a.long_to_open_interest, b.long_to_open_interest)
        && near(a.short_to_open_interest, b.short_to_open_interest)
        && near(a.to_volume, b.to_volume)
        && near(a.open_interest, b.open_interest)
        && near(a.traded, b.traded)
}
