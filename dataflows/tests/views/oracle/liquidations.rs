//! Liquidations: each event a row; at each full minute that is over, sums over the event seconds in (minute − window, minute].

use std::collections::BTreeSet;

use dataflows::fixed::Notional;
use dataflows::model::*;

use super::Events;

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
