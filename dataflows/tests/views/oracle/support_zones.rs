//! Support zones, from scratch at every minute: what was liquidated in the window, by bucket; then runs, visits, distances.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::config::SupportZones as Settings;
use dataflows::fixed::{Notional, Price};
use dataflows::model::*;

use super::Events;
use super::liquidations::notional;

/// A liquidation where the market was: its minute, side, bucket, amount.
struct Placed {
    minute: i64,
    side: PositionSide,
    bucket: i64,
    amount: i128,
    coverage: Coverage,
}

/// All that is needed of one instrument.
struct Instrument {
    id: InstrumentId,
    placed: Vec<Placed>,
    /// (second, price) of prints, in order.
    prints: Vec<(i64, i64)>,
    /// Lowest and highest price by minute.
    ranges: BTreeMap<i64, (i64, i64)>,
    /// (time, order, price) of marks.
    marks: Vec<(i64, u64, Price)>,
    /// The last minute that is over.
    now: i64,
}

/// One zone at one minute, with the prices of its edges.
#[derive(Clone, Copy)]
struct Zone {
    side: PositionSide,
    rank: u32,
    amount: i128,
    low: i64,
    high: i64,
}

fn minute_of(second: i64) -> i64 {
    // (60 (m − 1), 60 m]
    if second.rem_euclid(60) == 0 { second.div_euclid(60) } else { second.div_euclid(60) + 1 }
}

fn width(settings: &Settings) -> f64 {
    (f64::from(settings.bucket_bps) / 1e4).ln_1p()
}

fn bucket_of(price: i64, settings: &Settings) -> i64 {
    ((price as f64).ln() / width(settings)).floor() as i64
}

fn edge(bucket: i64, settings: &Settings) -> i64 {
    (bucket as f64 * width(settings)).exp().ceil() as i64
}

fn instruments(events: &Events<'_>) -> Vec<Instrument> {
    let prints = events.prints();
    let marks = events.by_instrument(|tick| if let Tick::Mark(m) = tick { Some((m.ts, m.order, m.mark?)) } else { None });
    let mut all = Vec::new();
    for (id, liquidations) in events.liquidations() {
        let prints: Vec<(i64, i64)> =
            prints.get(&id).map_or(&[][..], |p| p).iter().map(|t| (t.ts.div_euclid(1_000), t.price.0)).collect();
        let mut ranges: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for &(second, price) in &prints {
            let (low, high) = ranges.entry(minute_of(second)).or_insert((price, price));
            (*low, *high) = ((*low).min(price), (*high).max(price));
        }
        let mut placed = Vec::new();
        for event in &liquidations {
            let second = event.ts.div_euclid(1_000);
            let last = prints.iter().rfind(|(at, _)| *at <= second && *at >= second - 300);
            if let Some((_, price)) = last.filter(|_| notional(event).0 > 0) {
                let bucket = bucket_of(*price, &events.config.support_zones);
                let (side, amount) = (event.position_side, notional(event).0);
                placed.push(Placed { minute: minute_of(second), side, bucket, amount, coverage: event.coverage });
            }
        }
        let now = (events.watermark(id) - 1_000).div_euclid(MINUTE_MS);
        all.push(Instrument { id, placed, prints, ranges, marks: marks.get(&id).cloned().unwrap_or_default(), now });
    }
    all
}

impl Instrument {
    fn in_window(&self, minute: i64, settings: &Settings) -> impl Iterator<Item = &Placed> {
        let after = minute - settings.window_minutes;
        self.placed.iter().filter(move |p| p.minute > after && p.minute <= minute)
    }

    /// Minutes that are over at which something is in the window.
    fn minutes(&self, settings: &Settings) -> BTreeSet<i64> {
        let of = |p: &Placed| p.minute..p.minute + settings.window_minutes;
        self.placed.iter().flat_map(of).filter(|minute| *minute <= self.now).collect()
    }

    fn zones(&self, minute: i64, settings: &Settings) -> Vec<Zone> {
        let mut zones = Vec::new();
        for side in [PositionSide::Long, PositionSide::Short] {
            let mut buckets: BTreeMap<i64, i128> = BTreeMap::new();
            for p in self.in_window(minute, settings).filter(|p| p.side == side) {
                *buckets.entry(p.bucket).or_default() += p.amount;
            }
            let is_above = above_quantile(buckets.values().copied().collect(), settings);
            buckets.retain(|_, amount| is_above(*amount));
            let mut runs: Vec<(i128, i64, i64)> = Vec::new();
            for (&bucket, &amount) in &buckets {
                match runs.last_mut() {
                    Some((sum, _, last)) if *last == bucket - 1 => (*sum, *last) = (*sum + amount, bucket),
                    _ => runs.push((amount, bucket, bucket)),
                }
            }
            runs.sort_by_key(|(sum, first, _)| (-sum, *first));
            for (rank, (amount, first, last)) in (1..).zip(runs).take(settings.zones_max) {
                zones.push(Zone { side, rank, amount, low: edge(first, settings), high: edge(last + 1, settings) });
            }
        }
        zones
    }

    /// How often the price came back to the zone in the window that ends with `minute`, and whether it has left it since.
    fn visits(&self, zone: &Zone, minute: i64, settings: &Settings) -> (u32, bool) {
        let (mut visits, mut left) = (0u32, false);
        for range in self.ranges.range(minute - settings.window_minutes + 1..=minute).map(|(_, range)| range) {
            if is_inside(range, zone) {
                visits += u32::from(visits == 0 || left);
                left = false;
            } else {
                left |= is_away(range, zone, settings);
            }
        }
        (visits.saturating_sub(1), left && visits > 0)
    }

    fn reference(&self, minute: i64) -> Option<i64> {
        let before = |ts: i64| ts < minute * MINUTE_MS && ts >= (minute - 15) * MINUTE_MS;
        let mark = self.marks.iter().filter(|(ts, _, _)| before(*ts)).max().map(|(_, _, price)| price.0);
        let is_recent = |second: i64| second <= 60 * minute && second >= 60 * minute - 900;
        mark.or_else(|| self.prints.iter().rfind(|(second, _)| is_recent(*second)).map(|(_, price)| *price))
    }

    fn coverage(&self, minute: i64, settings: &Settings) -> Coverage {
        self.in_window(minute, settings).map(|p| p.coverage).max().unwrap()
    }
}

/// Whether an amount is above the quantile: between the neighbours of place (n − 1) q, by its fraction. In integers, since two amounts
/// may differ in their last digits only.
fn above_quantile(mut amounts: Vec<i128>, settings: &Settings) -> impl Fn(i128) -> bool {
    amounts.sort_unstable();
    let place = amounts.len().saturating_sub(1) * settings.quantile_ppm as usize;
    let neighbour = |at: usize| amounts.get(at).or(amounts.last()).copied().unwrap_or(0);
    let (low, high) = (neighbour(place / 1_000_000), neighbour(place / 1_000_000 + 1));
    let fraction = (place % 1_000_000) as i128;
    move |amount| (amount - low) * 1_000_000 > (high - low) * fraction
}

fn is_inside(range: &(i64, i64), zone: &Zone) -> bool {
    range.1 >= zone.low && range.0 < zone.high
}

fn is_away(range: &(i64, i64), zone: &Zone, settings: &Settings) -> bool {
    let leave = f64::from(settings.leave_bps) / 1e4;
    (zone.low - range.1) as f64 >= leave * zone.low as f64 || (range.0 - zone.high) as f64 >= leave * zone.high as f64
}

pub fn zones(events: &Events<'_>) -> Vec<SupportZone> {
    let settings = &events.config.support_zones;
    let mut rows = Vec::new();
    for instrument in instruments(events) {
        for minute in instrument.minutes(settings) {
            let Some(reference) = instrument.reference(minute) else { continue };
            for zone in instrument.zones(minute, settings) {
                let distance = match () {
                    () if reference < zone.low => (zone.low - reference) as f64,
                    () if reference > zone.high => (zone.high - reference) as f64,
                    () => 0.0,
                };
                rows.push(SupportZone {
                    instrument: instrument.id,
                    ts: minute * MINUTE_MS,
                    side: zone.side,
                    rank: zone.rank,
                    price_low: Price(zone.low),
                    price_high: Price(zone.high),
                    notional: Notional(zone.amount),
                    distance_bps: Real(distance * 1e4 / reference as f64),
                    touches: instrument.visits(&zone, minute, settings).0,
                    coverage: instrument.coverage(minute, settings),
                });
            }
        }
    }
    rows.sort();
    rows
}

pub fn touches(events: &Events<'_>) -> Vec<ZoneTouch> {
    let settings = &events.config.support_zones;
    let mut rows = Vec::new();
    for instrument in instruments(events) {
        for before in instrument.minutes(settings) {
            let minute = before + 1;
            let Some(range) = instrument.ranges.get(&minute).filter(|_| minute <= instrument.now) else { continue };
            for zone in instrument.zones(before, settings) {
                let (touches, has_left) = instrument.visits(&zone, before, settings);
                if !has_left || !is_inside(range, &zone) {
                    continue;
                }
                let lasts_to = minute + settings.window_minutes;
                let mut later = instrument.ranges.range(minute + 1..lasts_to);
                let left = later.find(|(_, range)| is_away(range, &zone, settings)).map(|(&minute, _)| minute);
                rows.push(ZoneTouch {
                    instrument: instrument.id,
                    side: zone.side,
                    onset: minute * MINUTE_MS,
                    price_low: Price(zone.low),
                    price_high: Price(zone.high),
                    ended_at: Some(left.unwrap_or(lasts_to)).filter(|&end| end <= instrument.now).map(|end| end * MINUTE_MS),
                    rank: zone.rank,
                    notional: Notional(zone.amount),
                    touches: touches + 1,
                    coverage: instrument.coverage(before, settings),
                });
            }
        }
    }
    rows.sort();
    rows
}
