//! Cascades, second by second.
//!
//! At each second s, with the sums over (s − window, s]: a cascade that is going on is active where the 5m velocity is at least its
//! window's critical velocity; five minutes after it was last active it has ended. If none is going on, one begins where the window
//! comes above the day's thresholds, or where it is above them and the 5m velocity comes back to critical. It keeps the thresholds
//! of its onset.

use std::collections::BTreeMap;

use dataflows::config::{CascadeMode, Threshold};
use dataflows::fixed::Notional;
use dataflows::model::*;

use super::liquidations::notional;
use super::{Events, excitation};

const WINDOWS: [Window; 3] = [Window::M5, Window::H1, Window::H4];
const DAY: i64 = 86_400;

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
    threshold: Threshold,
    from: CriticalFrom,
    last_active: i64,
    is_active: bool,
}

pub fn cascades(events: &Events<'_>) -> Vec<Cascade> {
    let prints = events.prints();
    let mut rows = Vec::new();
    for (instrument, liquidations) in events.liquidations() {
        let sides = Sides::new(&liquidations);
        let trades = prints.get(&instrument).map_or(&[][..], |trades| &trades[..]);
        let heard_from = liquidations.iter().map(|e| e.ts).chain(trades.iter().map(|t| t.ts)).min().unwrap().div_euclid(1_000);
        for (at, window) in WINDOWS.into_iter().enumerate() {
            let (mut days, mut bins) = (BTreeMap::new(), BTreeMap::new());
            let mut threshold = |second: i64| {
                let day = second.div_euclid(DAY);
                *days.entry(day).or_insert_with(|| threshold(events, instrument, &sides, heard_from, at, day, &mut bins))
            };
            for (life, ended) in lives(events, instrument, &sides, window, &mut threshold) {
                rows.push(row(events, &sides, &liquidations, instrument, window, &life, ended, trades));
            }
        }
    }
    rows.sort();
    rows
}

/// What holds on `day`, out of the settings and the known days before it.
fn threshold(
    events: &Events<'_>,
    instrument: InstrumentId,
    sides: &Sides,
    heard_from: i64,
    at: usize,
    day: i64,
    bins: &mut BTreeMap<i64, [i64; 128]>,
) -> Option<(Threshold, CriticalFrom)> {
    let settings = &events.config.cascades;
    let absolute = (settings.thresholds[at], CriticalFrom::Absolute);
    if settings.mode == CascadeMode::Absolute {
        return Some(absolute);
    }
    let minutes = |day: i64| (0..1_440).filter(|m| events.heard_in(instrument, (day * 1_440 + m) * MINUTE_MS)).count();
    let is_known =
        |&day: &i64| heard_from <= day * DAY && minutes(day) >= (settings.adaptive.heard_min * 1_440.0).ceil().max(1.0) as usize;
    let known: Vec<i64> = (day - settings.adaptive.days..day).filter(is_known).collect();
    if (known.len() as i64) < settings.adaptive.known_days_min {
        return (settings.mode == CascadeMode::Both).then_some(absolute);
    }
    let quantile = quantile(sides, WINDOWS[at], &known, settings.adaptive.quantile, bins);
    let per_hour = Notional((quantile * 3_600) / i128::from(WINDOWS[at].secs()));
    match settings.mode {
        CascadeMode::Both if per_hour <= absolute.0.critical_per_hour => Some(absolute),
        CascadeMode::Both => Some((Threshold { critical_per_hour: per_hour, ..absolute.0 }, CriticalFrom::Adaptive)),
        _ if quantile == 0 => None,
        _ => Some((Threshold { minimum: Notional(0), critical_per_hour: per_hour }, CriticalFrom::Adaptive)),
    }
}

/// The lower edge of a bin, a quarter of a doubling wide.
fn edge(i: i32) -> i128 {
    ((f64::from(i % 4) / 4.0).exp2() * 1e15).round() as i128 * (1 << (i / 4)) * 1_000_000_000
}

/// The seconds of a day by the bin of their sum. Zeros have none.
fn bins_of(sides: &Sides, window: Window, day: i64) -> [i64; 128] {
    let mut bins = [0i64; 128];
    let mut second = day * DAY;
    while second < (day + 1) * DAY {
        let total = sides.total(window, second);
        if total > 0 {
            let near = ((total as f64 / 1e24).log2() * 4.0).floor().clamp(0.0, 127.0) as i32;
            let bin = (near - 1..=near + 1).rev().find(|&bin| bin <= 0 || total >= edge(bin)).unwrap().clamp(0, 127);
            bins[bin as usize] += 1;
        } else if let Some((&next, _)) = sides.up_to.range(second..).next() {
            second = next.max(second + 1) - 1; // zeros until then
        } else {
            break;
        }
        second += 1;
    }
    bins
}

/// Of the sums at every second of the days; inside a bin they count as evenly spread.
fn quantile(sides: &Sides, window: Window, days: &[i64], quantile: f64, by_day: &mut BTreeMap<i64, [i64; 128]>) -> i128 {
    let mut bins = [0i64; 128];
    for &day in days {
        let of_day = by_day.entry(day).or_insert_with(|| bins_of(sides, window, day));
        bins.iter_mut().zip(of_day).for_each(|(sum, bin)| *sum += *bin);
    }
    let samples = days.len() as i64 * DAY;
    let mut rank = (quantile * samples as f64).ceil() as i64 - (samples - bins.iter().sum::<i64>());
    for (i, &count) in (0..).zip(&bins) {
        if rank > 0 && rank <= count {
            return edge(i) + (edge(i + 1) - edge(i)) / i128::from(count) * i128::from(rank);
        }
        rank -= count;
        if rank <= 0 {
            break;
        }
    }
    0
}

fn lives(
    events: &Events<'_>,
    instrument: InstrumentId,
    sides: &Sides,
    window: Window,
    threshold: &mut impl FnMut(i64) -> Option<(Threshold, CriticalFrom)>,
) -> Vec<(Life, bool)> {
    // Seconds that are over.
    let now = events.watermark(instrument).div_euclid(SECOND_MS) - 1;
    let end_after = events.config.cascades.end_after_secs;
    // velocity ≥ critical is notional × 3600 ≥ critical × seconds, in integers.
    let critical = |threshold: &Threshold, window: Window| threshold.critical_per_hour.0 * i128::from(window.secs());
    let above = |s: i64, threshold: &Threshold| {
        let total = sides.total(window, s);
        total * 3_600 > critical(threshold, window) && total > threshold.minimum.0
    };
    let active = |s: i64, threshold: &Threshold| sides.total(Window::M5, s) * 3_600 >= critical(threshold, Window::M5);
    let mut lives: Vec<(Life, bool)> = Vec::new();
    let mut life: Option<Life> = None;
    let mut second = sides.up_to.first_key_value().map_or(now + 1, |(&first, _)| first);
    while second <= now {
        if let Some(open) = &mut life {
            if second >= open.last_active + end_after {
                lives.extend(life.take().map(|life| (life, true)));
            } else {
                open.is_active = active(second, &open.threshold);
                if open.is_active {
                    open.last_active = second;
                }
            }
        }
        let has_event = sides.up_to.contains_key(&second);
        let threshold = if has_event && life.is_none() { threshold(second) } else { None };
        if let Some((threshold, from)) = threshold {
            let is_active = active(second, &threshold);
            if above(second, &threshold) && (!above(second - 1, &threshold) || (is_active && !active(second - 1, &threshold))) {
                life = Some(Life { onset: second, threshold, from, last_active: second, is_active });
            }
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
    liquidations: &[Liquidation],
    instrument: InstrumentId,
    window: Window,
    life: &Life,
    ended: bool,
    trades: &[Trade],
) -> Cascade {
    let settings = &events.config.cascades;
    let (long, short, count) = sides.over(life.onset - window.secs(), life.last_active);
    let seconds = sides.up_to.range(life.onset..=life.last_active).map(|(&second, _)| second);
    let notionals: Vec<i128> = seconds.map(|second| sides.total(window, second)).collect();
    let peak = *notionals.iter().max().unwrap();
    let severity = Notional(peak).to_f64() * 3_600.0 / window.secs() as f64 / life.threshold.critical_per_hour.to_f64();
    let side = if short > long { PositionSide::Short } else { PositionSide::Long };
    let at_onset = excitation::at_onset(events, liquidations, side, life.onset);
    let inside = liquidations.iter().filter(|e| {
        let second = e.ts.div_euclid(1_000);
        second > life.onset - window.secs() && second <= life.last_active
    });
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
        critical_per_hour: life.threshold.critical_per_hour,
        critical_from: life.from,
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
        branching_ratio: at_onset.map(|(ratio, _)| ratio),
        self_feeding: at_onset.is_some_and(|(_, feeds)| feeds),
        coverage: inside.map(|e| e.coverage).max().unwrap(),
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
