//! Cascades, second by second.
//!
//! At each second s, with the sums over (s − window, s]: a cascade that is going on is active where the 5m velocity is at least its
//! window's critical velocity; five minutes after it was last active it has ended. If none is going on, one begins where the window
//! comes above its thresholds, or where it is above them and the 5m velocity comes back to critical.

use std::collections::BTreeMap;

use dataflows::config::Threshold;
use dataflows::fixed::Notional;
use dataflows::model::*;

use super::Events;
use super::liquidations::notional;

const WINDOWS: [Window; 3] = [Window::M5, Window::H1, Window::H4];

struct Sides {
    /// Totals of the events up to a second: long, short, number.
    up_to: BTreeMap<i64, (i128, i128, u64)>,
}

impl Sides {
    fn new(events: &[Liquidation]) -> Self {
        let mut events: Vec<&Liquidation> = events.iter().collect();
        events.sort_by_key(|event| event.ts);
        let mut up_to = BTreeMap::new();
        let (mut long, mut short, mut count) = (0, 0, 0);
        for event in events {
            match event.position_side {
                PositionSide::Long => long += notional(event).0,
                PositionSide::Short => short += notional(event).0,
            }
            count += 1;
            up_to.insert(event.ts.div_euclid(1_000), (long, short, count));
        }
        Self { up_to }
    }

    /// Over the seconds in (after, to].
    fn over(&self, after: i64, to: i64) -> (i128, i128, u64) {
        let at = |second: i64| self.up_to.range(..=second).next_back().map_or((0, 0, 0), |(_, sums)| *sums);
        let (a, b) = (at(after), at(to));
        (b.0 - a.0, b.1 - a.1, b.2 - a.2)
    }

    fn total(&self, window: Window, second: i64) -> i128 {
        let (long, short, _) = self.over(second - window.secs(), second);
        long + short
    }
}

struct Life {
    onset: i64,
    last_active: i64,
    is_active: bool,
}

pub fn cascades(events: &Events<'_>) -> Vec<Cascade> {
    let prints = events.prints();
    let mut rows = Vec::new();
    for (instrument, liquidations) in events.liquidations() {
        let sides = Sides::new(&liquidations);
        let coverage = liquidations.iter().map(|event| event.coverage).max().unwrap();
        // Seconds that are over.
        let now = events.watermark(instrument).div_euclid(SECOND_MS) - 1;
        for (window, threshold) in WINDOWS.into_iter().zip(&events.config.cascades.thresholds) {
            for (life, ended) in lives(&sides, window, threshold, now, events.config.cascades.end_after_secs) {
                let trades = prints.get(&instrument).map_or(&[][..], |trades| &trades[..]);
                rows.push(row(events, &sides, instrument, window, threshold, &life, ended, coverage, trades));
            }
        }
    }
    rows.sort();
    rows
}

fn lives(sides: &Sides, window: Window, threshold: &Threshold, now: i64, end_after: i64) -> Vec<(Life, bool)> {
    // velocity ≥ critical is notional × 3600 ≥ critical × seconds, in integers.
    let critical = |window: Window| threshold.critical_per_hour.0 * i128::from(window.secs());
    let above = |s: i64| {
        let total = sides.total(window, s);
        total * 3_600 > critical(window) && total > threshold.minimum.0
    };
    let active = |s: i64| sides.total(Window::M5, s) * 3_600 >= critical(Window::M5);
    let mut lives: Vec<(Life, bool)> = Vec::new();
    let mut life: Option<Life> = None;
    let mut second = sides.up_to.first_key_value().map_or(now + 1, |(&first, _)| first);
    while second <= now {
        let is_active = active(second);
        if let Some(open) = &mut life {
            if second >= open.last_active + end_after {
                lives.extend(life.take().map(|life| (life, true)));
            } else {
                open.is_active = is_active;
                if is_active {
                    open.last_active = second;
                }
            }
        }
        let crosses = above(second) && (!above(second - 1) || (is_active && !active(second - 1)));
        if life.is_none() && crosses {
            life = Some(Life { onset: second, last_active: second, is_active });
        }
        second += 1;
        if life.is_none() && sides.total(Window::H4, second) == 0 {
            let next = sides.up_to.range(second..).next(); // nothing happens until then
            second = next.map_or(now + 1, |(&next, _)| next);
        }
    }
    if let Some(mut open) = life {
        if open.is_active {
            // How long it will stay active is not known yet: so far, up to its last event.
            open.last_active = *sides.up_to.range(..=now).next_back().unwrap().0;
        }
        lives.push((open, false));
    }
    lives
}

#[allow(clippy::too_many_arguments)]
fn row(
    events: &Events<'_>,
    sides: &Sides,
    instrument: InstrumentId,
    window: Window,
    threshold: &Threshold,
    life: &Life,
    ended: bool,
    coverage: Coverage,
    trades: &[Trade],
) -> Cascade {
    let settings = &events.config.cascades;
    let (long, short, count) = sides.over(life.onset - window.secs(), life.last_active);
    let seconds = sides.up_to.range(life.onset..=life.last_active).map(|(&second, _)| second);
    let notionals: Vec<i128> = seconds.map(|second| sides.total(window, second)).collect();
    let peak = *notionals.iter().max().unwrap();
    let severity = Notional(peak).to_f64() * 3_600.0 / window.secs() as f64 / threshold.critical_per_hour.to_f64();
    let share = |side: i128| Notional(side).to_f64() / Notional(long + short).to_f64();
    Cascade {
        cascade_id: cascade_id(instrument, window, life.onset),
        instrument,
        window,
        onset: life.onset * 1_000,
        last_active: life.last_active * 1_000,
        ended_at: ended.then_some((life.last_active + settings.end_after_secs) * 1_000),
        total: Notional(long + short),
        long_notional: Notional(long),
        short_notional: Notional(short),
        count,
        window_notional: Notional(*notionals.last().unwrap()),
        peak_window_notional: Notional(peak),
        severity: Real(severity),
        severity_label: if severity < 1.5 { Severity::Warning } else { Severity::Critical },
        side_bias: if share(long) >= settings.side_bias_share {
            SideBias::Long
        } else if share(short) >= settings.side_bias_share {
            SideBias::Short
        } else {
            SideBias::Balanced
        },
        price_move_bps: price_move_bps(trades, life).map(Real),
        coverage,
    }
}

/// From the last print up to the onset (of the five minutes before it) to the print furthest from it.
fn price_move_bps(trades: &[Trade], life: &Life) -> Option<f64> {
    let second = |trade: &Trade| trade.ts.div_euclid(1_000);
    let before = |trade: &&Trade| second(trade) <= life.onset && second(trade) >= life.onset - 300;
    let base = trades.iter().rfind(before)?.price.to_f64();
    let during = trades.iter().filter(|trade| second(trade) > life.onset && second(trade) <= life.last_active);
    let moves: Vec<f64> = during.map(|trade| (trade.price.to_f64() - base) / base * 1e4).collect();
    let up = moves.iter().copied().fold(0.0, f64::max);
    let down = moves.iter().copied().fold(0.0, f64::min);
    Some(if up >= -down { up } else { down })
}

/// FNV-1a of instrument, window and onset.
fn cascade_id(instrument: InstrumentId, window: Window, onset: i64) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for word in [instrument.0, window.secs() as u64, onset as u64] {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
