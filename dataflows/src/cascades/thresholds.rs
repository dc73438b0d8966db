//! What is a lot for a symbol: the absolute thresholds, and the quantile of its own past.
//!
//! A day is *known* for an instrument when the instrument had been heard (a market print or a liquidation) before the day began
//! and its venue was heard in most of the day's minutes. The adaptive threshold of a UTC day is the quantile, over the known ones
//! of the 30 days before it, of the trailing sum at every second; seconds of an outage count as what they show, which is why a
//! day with too many of them does not count. A late event that changes a day before corrects what follows.
//!
//! Sums that no accepted event can change any more are sealed into the histograms of their days; the stretch since is sampled
//! again when a threshold is wanted, which is once a day and after a correction across midnight.

use std::collections::BTreeMap;

use super::WINDOWS;
use super::heard::HeardDays;
use super::histogram::{DAY_SECS, Day, Histogram, sample};
use super::machine::Seconds;
use crate::config::{Adaptive, CascadeMode, Cascades, Threshold};
use crate::fixed::Notional;
use crate::model::{CriticalFrom, Venue, Window};
use crate::operators::NEVER;

/// A window's thresholds on one day. An episode keeps those of its onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Limits {
    /// The notional must be above this.
    pub minimum: Notional,
    /// The velocity must be above this, per hour.
    pub critical_per_hour: Notional,
    /// Which rule set it.
    pub from: CriticalFrom,
}

/// `None`: nothing is a cascade.
pub(super) type DayLimits = [Option<Limits>; WINDOWS.len()];

/// One instrument's past.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Thresholds {
    venue: Venue,
    /// The first second in which the instrument was heard.
    heard_from: i64,
    /// Sealed samples by day.
    days: BTreeMap<i64, Box<Day>>,
    /// Samples up to this second are sealed.
    sealed_to: i64,
    /// The sums at `sealed_to`.
    trailing: [Notional; WINDOWS.len()],
    /// What has been worked out.
    by_day: BTreeMap<i64, DayLimits>,
}

impl Thresholds {
    pub fn new(venue: Venue) -> Self {
        Self {
            venue,
            heard_from: i64::MAX,
            days: BTreeMap::new(),
            sealed_to: NEVER,
            trailing: Default::default(),
            by_day: BTreeMap::new(),
        }
    }

    /// The instrument was heard at `second`. Returns the first day that is now known and was not, if there may be one.
    pub fn hear(&mut self, second: i64) -> Option<i64> {
        if second >= self.heard_from {
            return None;
        }
        let day = |second: i64| (second - 1).div_euclid(DAY_SECS) + 1; // the first that begins at it or later
        let (new, old) = (day(second), if self.heard_from == i64::MAX { i64::MAX } else { day(self.heard_from) });
        self.heard_from = second;
        (new < old).then_some(new)
    }

    /// Something on `day` changed: what later days are measured by has to be worked out again. True if any was.
    pub fn correct_after(&mut self, day: i64) -> bool {
        !self.by_day.split_off(&(day + 1)).is_empty()
    }

    /// The thresholds of the day that holds `second`.
    pub fn at(&mut self, second: i64, seconds: &Seconds, heard: &HeardDays, config: &Cascades) -> DayLimits {
        let day = second.div_euclid(DAY_SECS);
        if let Some(limits) = self.by_day.get(&day) {
            return *limits;
        }
        let limits = self.of_day(day, seconds, heard, config);
        self.by_day.insert(day, limits);
        limits
    }

    fn of_day(&self, day: i64, seconds: &Seconds, heard: &HeardDays, config: &Cascades) -> DayLimits {
        let absolute = config.thresholds.map(absolute);
        if config.mode == CascadeMode::Absolute {
            return absolute.map(Some);
        }
        let quantiles = self.quantiles(day, seconds, heard, &config.adaptive);
        std::array::from_fn(|at| match (config.mode, quantiles) {
            (CascadeMode::Both, None) => Some(absolute[at]),
            (CascadeMode::Both, Some(quantiles)) => Some(both(absolute[at], quantiles[at].map(|q| adaptive(WINDOWS[at], q)))),
            (_, quantiles) => quantiles.and_then(|quantiles| quantiles[at]).map(|quantile| adaptive(WINDOWS[at], quantile)),
        })
    }

    /// By window; `None`: too few days are known, or the quantile is zero.
    fn quantiles(
        &self,
        day: i64,
        seconds: &Seconds,
        heard: &HeardDays,
        settings: &Adaptive,
    ) -> Option<[Option<Notional>; WINDOWS.len()]> {
        let is_known = |&day: &i64| self.heard_from <= day.saturating_mul(DAY_SECS) && heard.counts(self.venue, day);
        let known: Vec<i64> = (day - settings.days..day).filter(is_known).collect();
        if (known.len() as i64) < settings.known_days_min {
            return None;
        }
        let mut open = BTreeMap::new();
        let from = self.sealed_to.max(day.saturating_mul(DAY_SECS) - (settings.days + 1) * DAY_SECS);
        let mut trailing = if from == self.sealed_to { self.trailing } else { Default::default() };
        sample(seconds, &mut trailing, (from, (day * DAY_SECS - 1).max(from)), &mut open);
        let samples = known.len() as i64 * DAY_SECS;
        Some(std::array::from_fn(|at| {
            let mut sum = Histogram::default();
            for day in &known {
                let parts = [self.days.get(day), open.get(day)];
                parts.into_iter().flatten().for_each(|day| sum.merge(&day[at]));
            }
            sum.quantile(settings.quantile, samples)
        }))
    }

    /// Seals the samples of the seconds before `reach`, which nothing can change any more, and forgets days that no coming day is
    /// measured by. The machine may be set back to `back_to`.
    pub fn seal(&mut self, reach: i64, back_to: i64, seconds: &Seconds, config: &Cascades) {
        if config.mode == CascadeMode::Absolute || reach - 1 <= self.sealed_to {
            return;
        }
        let first = seconds.first().map_or(reach - 1, |second| second - 1);
        let from = if self.sealed_to == NEVER { first.min(reach - 1) } else { self.sealed_to };
        sample(seconds, &mut self.trailing, (from, reach - 1), &mut self.days);
        self.sealed_to = reach - 1;
        let today = reach.div_euclid(DAY_SECS);
        self.days = self.days.split_off(&(today - config.adaptive.days));
        self.by_day = self.by_day.split_off(&back_to.min(reach).div_euclid(DAY_SECS));
    }

    /// No second before it is needed to go on.
    pub fn needs_from(&self, mode: CascadeMode) -> i64 {
        if mode == CascadeMode::Absolute || self.sealed_to == NEVER { i64::MAX } else { self.sealed_to - Window::H4.secs() + 1 }
    }
}

fn absolute(threshold: Threshold) -> Limits {
    let Threshold { minimum, critical_per_hour } = threshold;
    Limits { minimum, critical_per_hour, from: CriticalFrom::Absolute }
}

/// The quantile as a velocity. The minimum is part of the absolute rule.
fn adaptive(window: Window, quantile: Notional) -> Limits {
    let per_hour = Notional(quantile.0.saturating_mul(3_600) / i128::from(window.secs()));
    Limits { minimum: Notional(0), critical_per_hour: per_hour, from: CriticalFrom::Adaptive }
}

fn both(absolute: Limits, adaptive: Option<Limits>) -> Limits {
    match adaptive.filter(|adaptive| adaptive.critical_per_hour > absolute.critical_per_hour) {
        Some(adaptive) => Limits { minimum: absolute.minimum, ..adaptive },
        None => absolute,
    }
}
