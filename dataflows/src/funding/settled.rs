//! Settled rates against the settlements before them. They are few and may be corrected for as long as they are remembered, so
//! each is judged from scratch.

use std::collections::BTreeMap;

use crate::config::Funding as Settings;
use crate::fixed::Rate;
use crate::model::{FundingRow, MINUTE_MS, Paid};
use crate::quotes::{RateSample, SETTLED_MINUTES};

use super::machine::{Machine, State, start_of};
use super::scores::{Baseline, Sample, Sums, Verdict, per_8h};

const DAY_MINUTES: i64 = 1_440;
/// A sum over settlements that cover less than this of its stretch is absent.
const PAID_COVERAGE_PERCENT: i64 = 95;

#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Settled {
    by_ts: BTreeMap<i64, Settlement>,
    dirty_from: Option<i64>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Settlement {
    sample: RateSample,
    rate_8h: i64,
    /// What was last said of it.
    said: Option<(Verdict, State, FundingRow)>,
}

impl Settled {
    pub fn insert(&mut self, sample: RateSample) {
        let rate_8h = per_8h(sample.rate, sample.interval_hours);
        self.by_ts.insert(sample.ts, Settlement { sample, rate_8h, said: None });
        self.touch(sample.ts);
    }

    /// Returns the row that is out.
    pub fn remove(&mut self, ts: i64) -> Option<FundingRow> {
        self.touch(ts);
        self.by_ts.remove(&ts)?.said.map(|(_, _, row)| row)
    }

    fn touch(&mut self, ts: i64) {
        self.dirty_from = Some(self.dirty_from.map_or(ts, |from| from.min(ts)));
    }

    /// Judges the settlements from the first that changed; returns the rows before and after. `None`: nothing changed.
    pub fn judge(&mut self, settings: &Settings) -> Option<Vec<(Option<FundingRow>, FundingRow)>> {
        let from = self.dirty_from.take()?;
        let times: Vec<i64> = self.by_ts.range(from..).map(|(&ts, _)| ts).collect();
        let mut machine = Machine::default();
        let mut rows = Vec::with_capacity(times.len());
        for ts in times {
            let Some(settlement) = self.by_ts.get(&ts) else { continue };
            let verdict = self.verdict(ts, settlement.rate_8h, settings);
            let sample = settlement.sample;
            let to = ts.div_euclid(MINUTE_MS);
            if !machine.reaches(to) {
                machine = self.machine_before(ts, settings);
            }
            let state = machine.step(to - 60 * i64::from(sample.interval_hours), to, verdict.signs, settings);
            let RateSample { instrument, kind, rate, interval_hours, .. } = sample;
            let row = FundingRow { instrument, kind, ts, rate, interval_hours, scores: verdict.scores, paid: self.paid(ts) };
            let old = self.by_ts.get_mut(&ts).and_then(|settlement| settlement.said.replace((verdict, state, row)));
            rows.push((old.map(|(_, _, row)| row), row));
        }
        self.forget();
        Some(rows)
    }

    /// What is said of the settlements before `limit` (UTC ms).
    pub fn said_before(&self, limit: i64) -> impl Iterator<Item = (i64, Verdict, State)> {
        self.by_ts.range(..limit).filter_map(|(&ts, settlement)| settlement.said.map(|(verdict, state, _)| (ts, verdict, state)))
    }

    fn verdict(&self, ts: i64, rate: i64, settings: &Settings) -> Verdict {
        let count_min = settings.settlements_min;
        let mut day = Sums::default();
        self.before(ts, DAY_MINUTES).for_each(|s| day.add(s.rate_8h));
        let month = self.before(ts, 30 * DAY_MINUTES).map(|s| s.rate_8h).collect();
        let volatility = |s: &Settlement| s.said.and_then(|(verdict, _, _)| verdict.scores.volatility);
        let volatilities = self.before(ts, 30 * DAY_MINUTES).filter_map(volatility).map(|v| v.0).collect();
        let month = Baseline::of(month, volatilities, count_min, settings);
        let an_hour = (ts.div_euclid(MINUTE_MS) - 74) * MINUTE_MS..(ts.div_euclid(MINUTE_MS) - 59) * MINUTE_MS;
        let hour_ago = self.by_ts.range(an_hour).next_back().map(|(_, s)| s.rate_8h);
        Verdict::of(&Sample { rate, day: (&day, count_min), month: month.as_ref(), hour_ago }, settings)
    }

    /// The settlements of the `minutes` before the one at `ts`.
    fn before(&self, ts: i64, minutes: i64) -> impl Iterator<Item = &Settlement> {
        let from = (ts.div_euclid(MINUTE_MS) - minutes) * MINUTE_MS;
        self.by_ts.range(from..ts).map(|(_, settlement)| settlement)
    }

    fn machine_before(&self, ts: i64, settings: &Settings) -> Machine {
        let mut machine = Machine::default();
        // The sample that ends at the machine's start is the day's before.
        let from = (start_of(ts.div_euclid(MINUTE_MS)) + 1) * MINUTE_MS;
        for (ts, settlement) in self.by_ts.range(from..ts) {
            let Some((verdict, _, _)) = settlement.said else { continue };
            let to = ts.div_euclid(MINUTE_MS);
            machine.step(to - 60 * i64::from(settlement.sample.interval_hours), to, verdict.signs, settings);
        }
        machine
    }

    fn paid(&self, ts: i64) -> Paid {
        let over = |days: i64| {
            let from = (ts.div_euclid(MINUTE_MS) - days * DAY_MINUTES + 1) * MINUTE_MS;
            let (mut hours, mut sum) = (0, 0i64);
            for settlement in self.by_ts.range(from..=ts).map(|(_, settlement)| settlement.sample) {
                hours += i64::from(settlement.interval_hours);
                sum = sum.saturating_add(settlement.rate.0);
            }
            (hours * 100 >= days * 24 * PAID_COVERAGE_PERCENT).then_some(Rate(sum))
        };
        Paid { day: over(1), week: over(7), month: over(30) }
    }

    fn forget(&mut self) {
        let Some((&newest, _)) = self.by_ts.last_key_value() else { return };
        let limit = newest - SETTLED_MINUTES * MINUTE_MS;
        while self.by_ts.first_key_value().is_some_and(|(&ts, _)| ts < limit) {
            self.by_ts.pop_first();
        }
    }

    /// Nothing before it will be judged again, UTC ms.
    pub fn first(&self) -> Option<i64> {
        self.by_ts.first_key_value().map(|(&ts, _)| ts)
    }
}
