//! How liquidations of one side beget others: hourly fits of a Hawkes process, and what they say of a cascade at its onset.
//!
//! The fit of a full hour is made from the 24 h before it and used for the hour after it. A late event spoils the fits that it
//! belongs to; they are made again once a minute, because a fit costs milliseconds and late events come in bursts.
//! An instrument of which too few events are known costs nothing.

use std::collections::{BTreeMap, VecDeque};

use super::Row;
use crate::config::SelfExcitation as Settings;
use crate::hawkes::{EVENTS_MAX, Fit, fit};
use crate::model::{Coverage, HOUR_MS, InstrumentId, Liquidation, PositionSide, Real, SECOND_MS, SelfExcitation};
use crate::operators::{NEVER, replace};

const HOUR_SECS: i64 = 3_600;
const WINDOW_HOURS: i64 = 24;
/// What an event adds to the intensity is nothing after so long (exp(−15) of it at the slowest).
const LOOK_BACK_SECS: i64 = 900;
/// Self-feeding: the intensity is above this many times its mean.
const FEEDING_TIMES: f64 = 5.0;
const SIDES: [PositionSide; 2] = [PositionSide::Long, PositionSide::Short];

/// What the fit before an onset says: the branching ratio, and whether the side fed itself.
pub(super) type AtOnset = (Real, bool);

/// Both sides of an instrument.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Excitation {
    sides: [Side; SIDES.len()],
    /// By the second of an onset.
    at_onset: BTreeMap<i64, [Option<AtOnset>; SIDES.len()]>,
    /// The minute in which spoilt fits were last made again.
    refitted_in: i64,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Side {
    /// Ascending.
    events: VecDeque<(i64, Coverage)>,
    /// By the number of the hour that they end with.
    fits: BTreeMap<i64, (Fit, SelfExcitation)>,
    /// Hours up to it have been looked at.
    fitted_to: i64,
    /// The first hour whose fit was spoilt.
    spoilt_from: i64,
}

impl Default for Side {
    fn default() -> Self {
        Self { events: VecDeque::new(), fits: BTreeMap::new(), fitted_to: NEVER, spoilt_from: i64::MAX }
    }
}

/// The first full hour that a second counts for: windows are (hour − 24 h, hour].
fn hour_of(second: i64) -> i64 {
    (second - 1).div_euclid(HOUR_SECS) + 1
}

impl Excitation {
    pub fn add(&mut self, event: &Liquidation) {
        let second = event.ts.div_euclid(SECOND_MS);
        let side = &mut self.sides[event.position_side as usize];
        let new = (event.ts, event.coverage);
        let at = side.events.partition_point(|known| *known <= new);
        side.events.insert(at, new);
        if hour_of(second) <= side.fitted_to {
            side.spoilt_from = side.spoilt_from.min(hour_of(second));
        }
        self.at_onset.split_off(&second);
    }

    pub fn is_spoilt(&self) -> bool {
        self.sides.iter().any(|side| side.spoilt_from < i64::MAX)
    }

    /// Makes the fits of the hours that are over at `now`, and the spoilt ones if a minute has passed or time is `pressed`.
    /// Returns whether any changed.
    pub fn step(
        &mut self,
        id: InstrumentId,
        settings: &Settings,
        now: i64,
        pressed: bool,
        changes: &mut Vec<(Row, isize)>,
    ) -> bool {
        let (hour, minute) = (now.div_euclid(HOUR_SECS), now.div_euclid(60));
        let refits = self.is_spoilt() && (pressed || minute > self.refitted_in);
        if refits {
            self.refitted_in = minute;
        }
        let mut changed_from = i64::MAX;
        for (side, which) in self.sides.iter_mut().zip(SIDES) {
            let mut from = side.fitted_to + 1;
            if refits {
                from = from.min(std::mem::replace(&mut side.spoilt_from, i64::MAX));
            }
            changed_from = changed_from.min(side.refit(id, which, settings, from, hour, changes));
        }
        if changed_from < i64::MAX {
            self.at_onset.split_off(&(changed_from * HOUR_SECS + 1));
        }
        changed_from < i64::MAX
    }

    /// What was to be said of each side at an onset.
    pub fn at_onset(&mut self, onset: i64, settings: &Settings) -> [Option<AtOnset>; SIDES.len()] {
        let Self { sides, at_onset, .. } = self;
        *at_onset.entry(onset).or_insert_with(|| std::array::from_fn(|side| sides[side].at_onset(onset, settings)))
    }

    /// Drops what no accepted event can reach any more, and onsets that are no longer spoken of.
    pub fn forget(&mut self, reach: i64, is_onset: impl Fn(i64) -> bool) {
        self.at_onset.retain(|&onset, _| is_onset(onset));
        let first_hour = hour_of(reach);
        for side in &mut self.sides {
            let events_from = (first_hour - WINDOW_HOURS - 1) * HOUR_SECS * SECOND_MS;
            while side.events.front().is_some_and(|(ts, _)| *ts < events_from) {
                side.events.pop_front();
            }
            side.fits = side.fits.split_off(&(first_hour - 1));
        }
    }

    /// The second at which there is something to fit.
    pub fn due(&self, settings: &Settings) -> Option<i64> {
        let fit = |side: &Side| (side.events.len() >= settings.events_min).then_some((side.fitted_to + 1) * HOUR_SECS);
        let again = self.is_spoilt().then_some((self.refitted_in + 1) * 60);
        self.sides.iter().filter_map(fit).chain(again).min()
    }
}

impl Side {
    /// Makes the fits of the hours in `from..=to`. Returns the first that changed.
    fn refit(
        &mut self,
        instrument: InstrumentId,
        position_side: PositionSide,
        settings: &Settings,
        from: i64,
        to: i64,
        changes: &mut Vec<(Row, isize)>,
    ) -> i64 {
        let mut changed_from = i64::MAX;
        let bounds = self.events.front().zip(self.events.back());
        if let Some(((first, _), (last, _))) = bounds {
            let hour = |ts: i64| hour_of(ts.div_euclid(SECOND_MS));
            let hours = from.max(hour(*first))..=to.min(hour(*last) + WINDOW_HOURS - 1);
            for hour in hours {
                let new = self.fit(instrument, position_side, settings, hour);
                let old = self.fits.get(&hour).map(|(_, row)| *row);
                let row = new.as_ref().map(|(_, row)| *row);
                if old != row {
                    changed_from = changed_from.min(hour);
                }
                replace(old, row, Row::SelfExcitation, changes);
                match new {
                    Some(new) => self.fits.insert(hour, new),
                    None => self.fits.remove(&hour),
                };
            }
        }
        self.fitted_to = self.fitted_to.max(to);
        changed_from
    }

    fn fit(
        &self,
        instrument: InstrumentId,
        position_side: PositionSide,
        settings: &Settings,
        hour: i64,
    ) -> Option<(Fit, SelfExcitation)> {
        let to = (hour * HOUR_SECS + 1) * SECOND_MS;
        let mut from = to - WINDOW_HOURS * HOUR_MS;
        let at = |ts: i64| self.events.partition_point(|(known, _)| *known < ts);
        let (mut first, end) = (at(from), at(to));
        if end - first < settings.events_min {
            return None;
        }
        if end - first > EVENTS_MAX {
            first = end - EVENTS_MAX;
            from = self.events.get(first)?.0.div_euclid(SECOND_MS) * SECOND_MS;
        }
        let events = || self.events.range(first..end);
        let times: Vec<i64> = events().map(|(ts, _)| *ts).collect();
        let fit = fit(&times, from, to)?;
        // The hour that follows has its hour of day at the window's beginning, unless that was cut off.
        let is_whole = fit.mu.len() as i64 == WINDOW_HOURS;
        let mu = if is_whole { *fit.mu.first()? } else { fit.mu.iter().sum::<f64>() / fit.mu.len() as f64 };
        let row = SelfExcitation {
            instrument,
            position_side,
            ts: hour * HOUR_MS,
            mu: Real(mu),
            alpha: Real(fit.alpha()),
            beta: Real(fit.beta),
            branching_ratio: Real(fit.branching_ratio),
            events: times.len() as u64,
            coverage: events().map(|(_, coverage)| *coverage).max()?,
        };
        Some((fit, row))
    }

    fn at_onset(&self, onset: i64, settings: &Settings) -> Option<AtOnset> {
        let (fit, row) = self.fits.get(&(hour_of(onset) - 1))?;
        let (mu, ratio) = (row.mu.0, row.branching_ratio);
        let at = |ts: i64| self.events.partition_point(|(known, _)| *known < ts);
        let end = (onset + 1) * SECOND_MS;
        let recent = self.events.range(at(end - LOOK_BACK_SECS * SECOND_MS)..at(end)).map(|(ts, _)| *ts);
        let mean = mu / (1.0 - ratio.0);
        let feeds = ratio.0 >= settings.feeding_ratio && fit.intensity(mu, end, recent) > FEEDING_TIMES * mean;
        Some((ratio, feeds))
    }
}
