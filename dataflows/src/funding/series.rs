//! One value a minute (a predicted rate, a spread of rates) against its own last 24 hours and 30 days.
//!
//! The 24 hours' baseline is the minutes before the sample, the 30 days' the means of the full hours before the sample's hour,
//! so neither holds the sample itself. The first slides by exact up- and down-dates, the second is made once an hour.

use crate::config::Funding as Settings;
use crate::minutes::Minutes;

use super::machine::{Machine, State, start_of};
use super::scores::{Baseline, Sample, Signs, Sums, Verdict};

const DAY_MINUTES: i64 = 1_440;
const DAY_HOURS: i64 = 24;
const MONTH_HOURS: i64 = 720;
/// The value "an hour ago" may be older by this.
const LOOK_BACK_MINUTES: i64 = 15;

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Series {
    /// Per 8 h.
    rates: Minutes<Rate>,
    horizon_minutes: i64,
    signs: Minutes<Signs>,
    hours: Minutes<Sums>,
    /// The 24 h before a minute.
    day: (i64, Sums),
    /// The 30 days before an hour.
    month: Option<(i64, Option<Baseline>)>,
    machine: Machine,
    /// The earliest minute of which something else may have to be said.
    dirty_from: i64,
}

const CLEAN: i64 = i64::MAX;

/// A rate that may be absent, in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Rate(i64);

const ABSENT: i64 = i64::MIN;

impl Default for Rate {
    fn default() -> Self {
        Self(ABSENT)
    }
}

impl Rate {
    fn known(self) -> Option<i64> {
        (self.0 != ABSENT).then_some(self.0)
    }
}

/// What is to be said of a minute, if there is a sample.
pub(crate) type Said = (i64, Option<(Verdict, State)>);

impl Series {
    /// Samples up to `horizon_minutes` before the newest may still be corrected.
    pub fn new(horizon_minutes: i64) -> Self {
        let hours = MONTH_HOURS + DAY_HOURS + horizon_minutes / 60 + 2;
        Self {
            rates: Minutes::new(DAY_MINUTES + LOOK_BACK_MINUTES + horizon_minutes + 2),
            horizon_minutes,
            signs: Minutes::new(super::machine::WARM_UP_MINUTES + DAY_MINUTES + horizon_minutes + 2),
            hours: Minutes::new(hours),
            day: (0, Sums::default()),
            month: None,
            machine: Machine::default(),
            dirty_from: CLEAN,
        }
    }

    /// The value of `minute`, or that there is none.
    pub fn set(&mut self, minute: i64, rate: Option<i64>) {
        let Some(slot) = self.rates.slot(minute) else { return }; // beyond all horizons
        let old = std::mem::replace(slot, Rate(rate.unwrap_or(ABSENT))).known();
        if old == rate {
            return;
        }
        let hour = minute.div_euclid(60);
        let in_day = (self.day.0 - DAY_MINUTES..self.day.0).contains(&minute);
        let mut no_hour = Sums::default();
        let sums = self.hours.slot(hour).unwrap_or(&mut no_hour);
        for (rate, sign) in [(old, -1), (rate, 1)] {
            let Some(rate) = rate else { continue };
            let one = Sums::of(rate);
            sums.merge(&one, sign);
            if in_day {
                self.day.1.merge(&one, sign);
            }
        }
        if self.month.is_some_and(|(at, _)| hour < at) {
            self.month = None;
        }
        self.dirty_from = self.dirty_from.min(minute);
    }

    /// Whether what has changed must be judged before a value of `minute` is set, which may push out what that needs: several
    /// hours can come in one quantum.
    pub fn is_due_before(&self, minute: i64) -> bool {
        minute - self.dirty_from > self.horizon_minutes
    }

    /// After the newest sample.
    pub fn end(&self) -> i64 {
        self.rates.end()
    }

    /// What is now to be said of the minutes from the first that changed.
    pub fn judge(&mut self, settings: &Settings) -> Vec<Said> {
        let from = std::mem::replace(&mut self.dirty_from, CLEAN).max(self.rates.first());
        (from..self.rates.end()).map(|minute| (minute, self.judge_minute(minute, settings))).collect()
    }

    fn judge_minute(&mut self, minute: i64, settings: &Settings) -> Option<(Verdict, State)> {
        let rate = self.rates.get(minute).and_then(Rate::known);
        let verdict = rate.map(|rate| {
            self.move_day(minute);
            let hour_ago = self.rates.last_in(minute - 60 - LOOK_BACK_MINUTES + 1, minute - 60).and_then(Rate::known);
            self.make_month(minute.div_euclid(60), settings);
            let month = self.month.as_ref().and_then(|(_, month)| month.as_ref());
            Verdict::of(&Sample { rate, day: (&self.day.1, settings.minutes_min), month, hour_ago }, settings)
        });
        *self.signs.slot(minute)? = verdict.map_or(Signs::default(), |verdict| verdict.signs);
        let verdict = verdict?;
        if !self.machine.reaches(minute + 1) {
            self.machine = Machine::default();
            for earlier in start_of(minute + 1).max(self.signs.first())..minute {
                if let Some(signs) = self.signs.get(earlier) {
                    self.machine.step(earlier, earlier + 1, signs, settings);
                }
            }
        }
        Some((verdict, self.machine.step(minute, minute + 1, verdict.signs, settings)))
    }

    /// Makes `day` the sums of the 24 h before `minute`.
    fn move_day(&mut self, minute: i64) {
        let (at, sums) = &mut self.day;
        let moves = minute - *at;
        // What has left the window must still be there to be taken away.
        if !(0..DAY_MINUTES).contains(&moves) || *at - DAY_MINUTES < self.rates.first() {
            (*at, *sums) = (minute, Sums::default());
            for earlier in (minute - DAY_MINUTES).max(self.rates.first())..minute {
                self.rates.get(earlier).and_then(Rate::known).inspect(|&rate| sums.add(rate));
            }
            return;
        }
        for next in *at..minute {
            self.rates.get(next).and_then(Rate::known).inspect(|&rate| sums.add(rate));
            self.rates.get(next - DAY_MINUTES).and_then(Rate::known).inspect(|&rate| sums.remove(rate));
        }
        *at = minute;
    }

    /// Makes `month` the baseline of `hour`.
    fn make_month(&mut self, hour: i64, settings: &Settings) {
        if self.month.is_some_and(|(at, _)| at == hour) {
            return;
        }
        let of = |hour| self.hours.get(hour).unwrap_or_default();
        let means = (hour - MONTH_HOURS..hour).filter_map(|hour| of(hour).mean()).collect();
        let mut day = Sums::default();
        (hour - MONTH_HOURS - DAY_HOURS + 1..hour - MONTH_HOURS + 1).for_each(|hour| day.merge(&of(hour), 1));
        let mut volatilities = Vec::new();
        for end in hour - MONTH_HOURS + 1..=hour {
            volatilities.extend(day.deviation(settings.minutes_min));
            day.merge(&of(end), 1);
            day.merge(&of(end - DAY_HOURS), -1);
        }
        self.month = Some((hour, Baseline::of(means, volatilities, settings.hours_min, settings)));
    }
}
