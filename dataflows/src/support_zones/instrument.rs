//! One instrument's window, which goes forward minute by minute, and back when something late came.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::by_time::ByTime;
use crate::config::SupportZones as Settings;
use crate::fixed::Price;
use crate::model::{Coverage, InstrumentId, MINUTE_MS, PositionSide, SupportZone, Venue, ZoneTouch};
use crate::operators::{NEVER, replace};
use crate::steps::Steps;

use super::buckets::Buckets;
use super::episodes::Episodes;
use super::prices::Prices;
use super::sums::{Covered, Minute, Run, Sums};
use super::visits::{Edges, Visits, distance_bps};
use super::{Input, LOOK_BACK_SECS, REFERENCE_MINUTES, Row, SIDES, minute_of};

#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Zones {
    id: InstrumentId,
    pub venue: Venue,
    /// The first minute that an event may still correct.
    pub reach: i64,
    prices: Prices,
    /// By calendar minute: minute k is [60 k, 60 k + 60), and is over where row k + 1 stands.
    marks: Steps<Price>,
    /// Liquidations of the correction horizon, by second.
    recent: ByTime<Second>,
    /// What each minute of the window (and of the horizon before it) added to the sums.
    minutes: ByTime<Minute>,
    /// The minute up to which sums, zones and episodes have gone.
    at: i64,
    sums: Sums,
    zones: Vec<Zone>,
    episodes: Episodes,
    /// The rows that are out and can still change.
    rows: ByTime<Said>,
    /// The earliest minute that something late has changed.
    dirty_from: i64,
    is_due: bool,
}

/// A minute's rows. Often only the distance differs from those of the minute before, so the rest is shared.
#[derive(serde::Serialize, serde::Deserialize)]
struct Said {
    /// Of the minute that first said them.
    zones: Rc<[SupportZone]>,
    reference: i64,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Second {
    /// By side.
    amounts: [i128; SIDES.len()],
    coverage: Covered,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Zone {
    side: PositionSide,
    rank: u32,
    run: Run,
    edges: Edges,
    visits: Visits,
}

impl Zones {
    /// Whose they are.
    pub fn id(&self) -> InstrumentId {
        self.id
    }

    pub fn new(id: InstrumentId, venue: Venue, reach: i64) -> Self {
        Self {
            id,
            venue,
            reach,
            prices: Prices::default(),
            marks: Steps::default(),
            recent: ByTime::default(),
            minutes: ByTime::default(),
            at: NEVER,
            sums: Sums::default(),
            zones: Vec::new(),
            episodes: Episodes::default(),
            rows: ByTime::default(),
            dirty_from: i64::MAX,
            is_due: false,
        }
    }

    pub fn take(&mut self, input: &Input, settings: &Settings) {
        match *input {
            Input::Event { second, side, notional, coverage, .. } if notional.0 > 0 => {
                let known = self.recent.get_or_insert_with(second, Second::default);
                let amount = &mut known.amounts[side as usize];
                *amount = amount.saturating_add(notional.0);
                known.coverage[coverage as usize] += 1;
                self.is_due = true;
                self.dirty_from = self.dirty_from.min(minute_of(second));
            }
            Input::Event { .. } => {}
            Input::Prints { close, range, .. } => {
                self.forget_prices(settings);
                let minute = minute_of(close.0.0.div_euclid(1_000));
                if self.prices.add(close, range) && minute <= self.at && self.depends_on_prices() {
                    self.is_due = true;
                    self.dirty_from = self.dirty_from.min(minute);
                }
            }
            Input::Mark { at, price, .. } => {
                let minute = at.0.div_euclid(MINUTE_MS);
                let before = self.marks.at(minute);
                self.marks.observe(minute, at, price);
                if minute < self.at && self.depends_on_prices() && self.marks.at(minute) != before {
                    self.is_due = true;
                    self.dirty_from = self.dirty_from.min(minute + 1);
                }
                self.marks.forget_before(self.reach - 1 - REFERENCE_MINUTES);
            }
        }
    }

    fn depends_on_prices(&self) -> bool {
        !self.recent.is_empty() || !self.minutes.is_empty() || !self.episodes.is_empty()
    }

    /// Something came that may change rows of minutes that are over.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    /// There will be rows, or an end of an episode, without anything coming in.
    pub fn is_active(&self) -> bool {
        !self.is_idle() || self.next_event().is_some()
    }

    fn is_idle(&self) -> bool {
        self.sums.is_empty() && self.zones.is_empty() && !self.episodes.any_open()
    }

    /// The minute of the next liquidation.
    fn next_event(&self) -> Option<i64> {
        self.recent.range(self.at.saturating_mul(60).saturating_add(1)..).next().map(|(second, _)| minute_of(second))
    }

    /// Brings the rows up to the minute `closed_to`, and right where something late has changed them.
    pub fn settle(&mut self, closed_to: i64, settings: &Settings, buckets: &Buckets, changes: &mut Vec<(Row, isize)>) {
        let dirty_from = std::mem::replace(&mut self.dirty_from, i64::MAX);
        self.is_due = false;
        if dirty_from <= self.at {
            self.go_back(dirty_from - 1, settings, buckets);
        }
        let mut old_rows = self.rows.split_off(self.at + 1);
        while self.at < closed_to {
            if self.is_idle() {
                let next = self.next_event().map_or(closed_to, |minute| minute - 1).min(closed_to);
                if next > self.at {
                    self.at = next;
                    continue;
                }
            }
            self.step(settings, buckets);
            let new = self.rows_now();
            let rows_of = |said: Option<&Said>| said.map(|said| said.rows(self.at)).unwrap_or_default();
            replace_all(&rows_of(old_rows.remove(self.at).as_ref()), &rows_of(new.as_ref()), changes);
            self.rows.set(self.at, new);
        }
        for (minute, old) in old_rows.iter() {
            replace_all(&old.rows(minute), &[], changes);
        }
        self.episodes.report(|touch, diff| changes.push((Row::Touch(touch), diff)));
        self.forget(settings);
    }

    fn step(&mut self, settings: &Settings, buckets: &Buckets) {
        let minute = self.at + 1;
        let range = self.prices.ranges(self.at, minute).next().map(|(_, range)| *range);
        self.episodes.step(minute, range, settings);
        if let Some(range) = range {
            let coverage = self.sums.coverage();
            for zone in self.zones.iter().filter(|zone| zone.visits.has_left() && zone.edges.holds(range)) {
                self.episodes.begin(zone.touched(self.id, minute, coverage));
            }
        }
        self.at = minute;
        let is_same = !self.slide(settings, buckets);
        for zone in &mut self.zones {
            if let Some(range) = range {
                zone.visits.step(&zone.edges, minute, range);
            }
            zone.visits.forget_to(minute - settings.window_minutes);
        }
        if !is_same {
            self.find_zones(settings, buckets);
        }
    }

    /// The minute's liquidations come in, those of a window ago go out. False: there were none.
    fn slide(&mut self, settings: &Settings, buckets: &Buckets) -> bool {
        let new = self.liquidated(self.at, buckets);
        self.sums.apply(&new, 1);
        let is_new = !new.amounts.is_empty();
        if is_new {
            self.minutes.insert(self.at, new);
        }
        let old = self.minutes.get(self.at - settings.window_minutes);
        old.inspect(|old| self.sums.apply(old, -1));
        is_new || old.is_some()
    }

    /// A minute's liquidations by the bucket of the last trade price.
    fn liquidated(&self, minute: i64, buckets: &Buckets) -> Minute {
        let mut sums: BTreeMap<(PositionSide, u32), i128> = BTreeMap::new();
        let mut coverage = Covered::default();
        for (second, known) in self.recent.range(60 * (minute - 1) + 1..=60 * minute) {
            let Some(price) = self.prices.at(second, LOOK_BACK_SECS) else { continue };
            let bucket = buckets.of(price);
            for side in SIDES.into_iter().filter(|&side| known.amounts[side as usize] != 0) {
                let sum = sums.entry((side, bucket)).or_default();
                *sum = sum.saturating_add(known.amounts[side as usize]);
            }
            coverage.iter_mut().zip(known.coverage).for_each(|(sum, count)| *sum += count);
        }
        Minute { amounts: sums.into_iter().map(|((side, bucket), amount)| (side, bucket, amount)).collect(), coverage }
    }

    /// The zones as of now. The visits of one that was there before have been followed already.
    fn find_zones(&mut self, settings: &Settings, buckets: &Buckets) {
        let mut before = std::mem::take(&mut self.zones);
        for side in SIDES {
            let runs = self.sums.runs(side, settings.quantile_ppm, settings.zones_max);
            for (rank, run) in (1..).zip(runs) {
                let same = |zone: &Zone| (zone.run.first, zone.run.last) == (run.first, run.last);
                let (edges, visits) = match before.iter_mut().find(|zone| zone.side == side && same(zone)) {
                    Some(zone) => (zone.edges, std::mem::take(&mut zone.visits)),
                    None => {
                        let edges = Edges::new(buckets.low(run.first).0, buckets.low(run.last + 1).0, settings.leave_bps);
                        (edges, Visits::of(&edges, &self.prices, self.at, settings.window_minutes))
                    }
                };
                self.zones.push(Zone { side, rank, run, edges, visits });
            }
        }
    }

    /// Undoes all minutes after `minute`.
    fn go_back(&mut self, minute: i64, settings: &Settings, buckets: &Buckets) {
        while self.at > minute {
            if let Some(new) = self.minutes.remove(self.at) {
                self.sums.apply(&new, -1);
            }
            if let Some(old) = self.minutes.get(self.at - settings.window_minutes) {
                self.sums.apply(old, 1);
            }
            self.at -= 1;
        }
        self.episodes.go_back(minute);
        self.zones.clear(); // what they had been visited by is not known any more
        self.find_zones(settings, buckets);
    }

    fn rows_now(&self) -> Option<Said> {
        let reference = self.reference().filter(|_| !self.zones.is_empty())?;
        let coverage = self.sums.coverage();
        let rows = || self.zones.iter().map(|zone| zone.row(self.id, self.at, reference, coverage));
        let is_same = |said: &Said| said.rows_at(self.at, reference).eq(rows());
        let before = self.rows.last().map(|(_, said)| said).filter(|said| is_same(said));
        let zones = before.map_or_else(|| rows().collect(), |said| Rc::clone(&said.zones));
        Some(Said { zones, reference })
    }

    /// The mark price, else the last trade's, by the end of the minute.
    fn reference(&self) -> Option<i64> {
        let last = self.at - 1;
        let mark = self.marks.at(last).filter(|(seen, _)| last - seen < REFERENCE_MINUTES);
        mark.map(|(_, price)| price.0).or_else(|| self.prices.at(60 * self.at, 60 * REFERENCE_MINUTES))
    }

    /// Drops what no accepted event can reach any more.
    fn forget(&mut self, settings: &Settings) {
        let window_before = self.reach - settings.window_minutes;
        self.recent.forget_before(60 * (self.reach - 1) + 1);
        self.minutes.forget_before(window_before);
        self.rows.forget_before(self.reach);
        self.episodes.forget_before(self.reach);
        self.forget_prices(settings);
    }

    fn forget_prices(&mut self, settings: &Settings) {
        let second = 60 * (self.reach - 1) - LOOK_BACK_SECS.max(60 * REFERENCE_MINUTES);
        self.prices.forget_before(second, self.reach - settings.window_minutes);
    }
}

impl Said {
    fn rows(&self, minute: i64) -> Vec<SupportZone> {
        self.rows_at(minute, self.reference).collect()
    }

    fn rows_at(&self, minute: i64, reference: i64) -> impl Iterator<Item = SupportZone> {
        let at = move |zone: &SupportZone| {
            let distance_bps = distance_bps(zone.price_low.0, zone.price_high.0, reference);
            SupportZone { ts: minute * MINUTE_MS, distance_bps, ..*zone }
        };
        self.zones.iter().map(at)
    }
}

impl Zone {
    fn row(&self, instrument: InstrumentId, minute: i64, reference: i64, coverage: Coverage) -> SupportZone {
        SupportZone {
            instrument,
            ts: minute * MINUTE_MS,
            side: self.side,
            rank: self.rank,
            price_low: Price(self.edges.low),
            price_high: Price(self.edges.high),
            notional: self.run.notional,
            distance_bps: distance_bps(self.edges.low, self.edges.high, reference),
            touches: self.visits.touches(),
            coverage,
        }
    }

    /// The price came back to it in `minute`, which its visits do not know yet.
    fn touched(&self, instrument: InstrumentId, minute: i64, coverage: Coverage) -> ZoneTouch {
        ZoneTouch {
            instrument,
            side: self.side,
            onset: minute * MINUTE_MS,
            price_low: Price(self.edges.low),
            price_high: Price(self.edges.high),
            ended_at: None,
            rank: self.rank,
            notional: self.run.notional,
            touches: self.visits.touches() + 1,
            coverage,
        }
    }
}

/// Says how a minute's rows changed.
fn replace_all(old: &[SupportZone], new: &[SupportZone], changes: &mut Vec<(Row, isize)>) {
    let key = |row: &SupportZone| (row.side, row.rank);
    for row in new {
        replace(old.iter().find(|other| key(other) == key(row)).copied(), Some(*row), Row::Zone, changes);
    }
    let is_gone = |row: &&SupportZone| !new.iter().any(|other| key(other) == key(row));
    changes.extend(old.iter().filter(is_gone).map(|row| (Row::Zone(*row), -1)));
}
