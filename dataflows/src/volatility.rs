//! View `volatility`: how much a price moves a day, by six estimators, and its regime.
//!
//! A row at the end of each closed minute. Close-to-close from 1m returns; Parkinson, Garman–Klass, Rogers–Satchell and
//! Yang–Zhang from 15m bars (on 1m bars the bid-ask bounce and the few ticks bias them); EWMA of squared 1m returns. The regime is that of
//! max(close-to-close, Parkinson) over 24 h, with hysteresis. Returns span adjacent minutes only: across an outage there is none.
//! Beside it, from the 90 days before ([`history`]): how far that level is from its median, and how fast volatility decays.
//!
//! Boundaries are absolute, or the symbol's own quantiles (mode `adaptive`; absolute until there is enough history: 30 days' worth of
//! samples). A day has one set of boundaries, from its midnight on, and the warm-up of its hysteresis over the day before uses the same.
//!
//! Finite memory: the EWMA and the hysteresis start afresh each UTC midnight from the day before it. A corrected bar corrects
//! every row that depends on it; if it lies before midnight, that is also what the day after knows of the past.

pub mod estimators;
mod history;
mod regimes;

use std::collections::VecDeque;

use differential_dataflow::VecCollection;
use timely::dataflow::operators::vec::Filter;

use crate::by_time::ByTime;
use crate::config::{Config, Volatility as Settings, VolatilityMode};
use crate::keeping::ById;
use crate::model::{Bar, Change, Estimators, InstrumentId, MINUTE_MS, Real, Timeframe, Volatility, VolatilityRegime};
use crate::operators::{Clocks, KnownAt, per_quantum, replace};
use estimators::{Candle, close_to_close, garman_klass, parkinson, per_day, rogers_satchell, yang_zhang};
use history::History;
pub use regimes::next_regime;

const DAY_MINUTES: i64 = 1_440;
const HOUR_MINUTES: i64 = 60;
const QUARTER_MINUTES: i64 = 15;
/// Minutes of the day before midnight from which the recursions start (L in ANALYTICS.md).
const WARM_UP_MINUTES: i64 = DAY_MINUTES;

/// Maintains the volatility of all instruments from closed bars.
pub fn volatility<'scope>(
    closed: VecCollection<'scope, KnownAt, Bar, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, Volatility, isize> {
    let settings = config.volatility;
    let horizon_minutes = config.correction_horizon_ms / MINUTE_MS + 1;
    let bars = closed.inner.filter(|(bar, _, _)| matches!(bar.timeframe, Timeframe::M1 | Timeframe::M15));
    let state: ById<Series> = ById::default();
    per_quantum(
        bars,
        clocks,
        "volatility",
        state,
        move |by_instrument, _known_at, mut bars: Vec<Change<Bar>>, _clocks, changes| {
            // By time; a correction is (old, −1) and (new, +1), in either order: take away before adding.
            bars.sort_unstable_by_key(|(bar, _, diff)| (bar.instrument, bar.ts + bar.timeframe.ms(), *diff));
            for bars in bars.chunk_by(|a, b| a.0.instrument == b.0.instrument) {
                let id = bars[0].0.instrument;
                let series = by_instrument.entry(id).or_insert_with(|| Series::new(&settings));
                for (bar, _, diff) in bars {
                    if series.would_lose(bar) {
                        series.make_rows(id, &settings, horizon_minutes, changes);
                    }
                    series.apply(bar, *diff, &settings);
                }
                series.make_rows(id, &settings, horizon_minutes, changes);
            }
        },
    )
}

/// One instrument's bars of three days, and what was said about them.
#[derive(serde::Serialize, serde::Deserialize)]
struct Series {
    /// The number of the first of `minutes`, counted by their opening since the epoch.
    first: i64,
    minutes: VecDeque<Minute>,
    /// Closes of 1m bars that can still be corrected.
    closes: ByTime<i64>,
    /// 15m bars by number since the epoch.
    quarters: ByTime<Candle>,
    /// Rows that can still be corrected, by minute.
    rows: ByTime<Volatility>,
    /// The earliest minute whose row may be wrong.
    dirty_from: i64,
    /// The UTC day of the last row, by number since the epoch: what the day before it came to is known.
    day: i64,
    recursion: Recursion,
    regimes: RegimeCounts,
    ranges: Option<(i64, Ranges, Ranges)>,
    history: History,
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Minute {
    /// Squared return from the minute before. NaN: absent.
    square: f64,
    /// max(close-to-close, Parkinson) over the 24 h that end with this minute. NaN: absent.
    level: f64,
    /// What its row says.
    regime: Option<VolatilityRegime>,
}

/// How many of the last 24 hours' minutes had each regime.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct RegimeCounts {
    /// The last minute that was counted.
    at: i64,
    minutes: [u32; 4],
}

/// What is carried from minute to minute of one day.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Recursion {
    /// The last minute that was taken in.
    at: i64,
    weighted_squares: f64,
    weights: f64,
    squares: u32,
    regime: Option<VolatilityRegime>,
}

/// Parkinson, Garman–Klass, Rogers–Satchell, Yang–Zhang, per day.
type Ranges = [Option<Real>; 4];

const CLEAN: i64 = i64::MAX;
const KEEP_MINUTES: i64 = 3 * DAY_MINUTES;

impl Series {
    fn new(settings: &Settings) -> Self {
        Self {
            first: 0,
            minutes: VecDeque::new(),
            closes: ByTime::default(),
            quarters: ByTime::default(),
            rows: ByTime::default(),
            dirty_from: CLEAN,
            day: 0,
            recursion: Recursion::default(),
            regimes: RegimeCounts::default(),
            ranges: None,
            history: History::new(settings),
        }
    }

    /// What rows that are not made yet depend on would have to go to make room for this bar: only in a quantum of days. (A row needs the day
    /// before its midnight, and those minutes' windows are summed already: two of the three days.)
    fn would_lose(&self, bar: &Bar) -> bool {
        self.dirty_from < CLEAN && bar.ts.div_euclid(MINUTE_MS) >= self.dirty_from + DAY_MINUTES
    }

    fn apply(&mut self, bar: &Bar, diff: isize, settings: &Settings) {
        let minute = bar.ts.div_euclid(MINUTE_MS);
        if bar.timeframe == Timeframe::M15 {
            let quarter = minute.div_euclid(QUARTER_MINUTES);
            self.quarters.set(quarter, (diff > 0).then(|| Candle::of(bar)));
            self.ranges = None;
            self.dirty_from = self.dirty_from.min(minute + QUARTER_MINUTES - 1); // it counts once it is over
            return;
        }
        self.make_room(minute, settings);
        if self.place(minute).is_some() {
            self.closes.set(minute, (diff > 0).then_some(bar.close.0));
            self.dirty_from = self.dirty_from.min(minute);
        }
    }

    fn place(&self, minute: i64) -> Option<usize> {
        usize::try_from(minute - self.first).ok()
    }

    fn make_room(&mut self, minute: i64, settings: &Settings) {
        const ABSENT: Minute = Minute { square: f64::NAN, level: f64::NAN, regime: None };
        let end = self.first + self.minutes.len() as i64;
        if !self.minutes.is_empty() && minute - end >= DAY_MINUTES {
            self.close_day((end - 1).div_euclid(DAY_MINUTES), settings); // the next row may be days away
        }
        if self.minutes.is_empty() || minute - end > KEEP_MINUTES {
            self.minutes.clear(); // silent for days: nothing else of it counts any more
            self.first = minute;
        }
        if self.minutes.len() == self.minutes.capacity() {
            self.minutes.reserve_exact(self.minutes.len() / 4 + 2); // not twice as much: thousands of these are kept for months
        }
        while minute < self.first && self.first + self.minutes.len() as i64 - minute <= KEEP_MINUTES {
            self.minutes.push_front(ABSENT);
            self.first -= 1;
        }
        while minute >= self.first + self.minutes.len() as i64 {
            self.minutes.push_back(ABSENT);
        }
        while self.minutes.len() as i64 > KEEP_MINUTES {
            self.minutes.pop_front();
            self.first += 1;
        }
    }

    fn make_rows(&mut self, id: InstrumentId, settings: &Settings, horizon: i64, changes: &mut Vec<(Volatility, isize)>) {
        let from = std::mem::replace(&mut self.dirty_from, CLEAN).max(self.first);
        let end = self.first + self.minutes.len() as i64;
        for minute in from..end {
            let day = minute.div_euclid(DAY_MINUTES);
            if day != self.day {
                self.close_day(day - 1, settings);
                self.day = day;
            }
            let row = self.row(id, minute, settings);
            replace(self.rows.set(minute, row), row, |row| row, changes);
        }
        self.rows.forget_before(end - horizon);
        self.closes.forget_before(end - horizon - 1);
        self.quarters.forget_before((end - horizon - DAY_MINUTES) / QUARTER_MINUTES - 2);
    }

    fn row(&mut self, instrument: InstrumentId, minute: i64, settings: &Settings) -> Option<Volatility> {
        let at = self.place(minute)?;
        let closed = |minute| self.closes.get(minute).copied().unwrap_or(0); // 0: no bar
        let (before, close) = (closed(minute - 1), closed(minute));
        let log_return = (close as f64 / before as f64).ln();
        self.minutes[at].square = if close > 0 && before > 0 { log_return * log_return } else { f64::NAN };

        let day = self.estimators(minute, DAY_MINUTES, settings);
        let hour = self.estimators(minute, 60, settings);
        let level = |e: Estimators| e.close_to_close.0.max(e.parkinson.map_or(0.0, |p| p.0));
        // Without a bar there is no row and no level, or the regime would depend on which minutes happened to be recomputed.
        let level = day.filter(|_| close > 0).map_or(f64::NAN, level);
        self.minutes[at].level = level;
        let baseline = self.history.before(minute.div_euclid(DAY_MINUTES), settings);
        let bands = match baseline.boundaries.filter(|_| settings.mode == VolatilityMode::Adaptive) {
            Some(own) => (own, settings.adaptive_hysteresis),
            None => (settings.boundaries, settings.hysteresis),
        };
        self.recur(minute, settings, bands);
        if (minute + 1) % HOUR_MINUTES == 0 {
            self.history.set_sample(minute.div_euclid(HOUR_MINUTES), level);
        }
        let enough = f64::from(self.recursion.squares) >= settings.ewma_half_life_minutes;
        let mean = self.recursion.weighted_squares / self.recursion.weights;
        let ewma = enough.then(|| Real((mean * DAY_MINUTES as f64).sqrt()));
        let regime = self.recursion.regime.filter(|_| level.is_finite());
        self.minutes[at].regime = regime;
        let regime_share = self.regime_share(minute).filter(|_| regime.is_some());
        let away = |median: f64| Real((level - median) / median);
        let reversion_potential = baseline.median.filter(|&median| median > 0.0 && level.is_finite()).map(away);
        let half_life_minutes = baseline.half_life_minutes;
        let is_empty = day.is_none() && hour.is_none() && ewma.is_none();
        let ts = (minute + 1) * MINUTE_MS;
        let row = Volatility { instrument, ts, day, hour, ewma, regime, regime_share, reversion_potential, half_life_minutes };
        (close > 0 && !is_empty).then_some(row)
    }

    /// The share of the minutes of the 24 h that end with `minute` and have a regime that has the same as it.
    fn regime_share(&mut self, minute: i64) -> Option<Real> {
        let (from, to) = (self.place(minute - DAY_MINUTES + 1).unwrap_or(0), self.place(minute)?);
        let mut counts = self.regimes;
        if counts.at + 1 == minute {
            let gone = self.place(minute - DAY_MINUTES).and_then(|gone| self.minutes[gone].regime);
            gone.into_iter().for_each(|regime| counts.minutes[regime as usize] -= 1);
            self.minutes[to].regime.into_iter().for_each(|regime| counts.minutes[regime as usize] += 1);
        } else {
            counts.minutes = [0; 4];
            let regimes = self.minutes.range(from..=to).filter_map(|slot| slot.regime);
            regimes.for_each(|regime| counts.minutes[regime as usize] += 1);
        }
        counts.at = minute;
        self.regimes = counts;
        let same = counts.minutes[self.minutes[to].regime? as usize];
        Some(Real(f64::from(same) / f64::from(counts.minutes.iter().sum::<u32>())))
    }

    /// What a UTC day came to, all its rows made.
    fn close_day(&mut self, day: i64, settings: &Settings) {
        let from = self.place(day * DAY_MINUTES).unwrap_or(0);
        let to = self.place((day + 1) * DAY_MINUTES).unwrap_or(0).min(self.minutes.len());
        let squares = || self.minutes.range(from.min(to)..to).map(|slot| slot.square).filter(|square| square.is_finite());
        let enough = squares().count() as f64 >= settings.coverage_min * DAY_MINUTES as f64;
        let variance = close_to_close(squares()).filter(|_| enough).map_or(f64::NAN, |mean| mean * DAY_MINUTES as f64);
        self.history.set_variance(day, variance);
    }

    /// Takes `minute` into the recursions; after a correction or a change of day, from the warm-up before midnight.
    fn recur(&mut self, minute: i64, settings: &Settings, (boundaries, hysteresis): ([f64; 3], f64)) {
        let midnight = minute.div_euclid(DAY_MINUTES) * DAY_MINUTES;
        let goes_on = self.recursion.at + 1 == minute && minute != midnight;
        let start = if goes_on { minute } else { (midnight - WARM_UP_MINUTES).max(self.first) };
        let mut recursion = if goes_on { self.recursion } else { Recursion::default() };
        let decay = 0.5f64.powf(1.0 / settings.ewma_half_life_minutes);
        let (Some(from), Some(to)) = (self.place(start), self.place(minute)) else { return };
        for slot in self.minutes.range(from..=to) {
            recursion.weighted_squares *= decay;
            recursion.weights *= decay;
            if slot.square.is_finite() {
                recursion.weighted_squares += slot.square;
                recursion.weights += 1.0;
                recursion.squares += 1;
            }
            if slot.level.is_finite() {
                recursion.regime = Some(next_regime(recursion.regime, slot.level, &boundaries, hysteresis));
            }
        }
        recursion.at = minute;
        self.recursion = recursion;
    }

    /// The estimators over the `window` minutes that end with `minute`; absent where too few returns are there.
    fn estimators(&mut self, minute: i64, window: i64, settings: &Settings) -> Option<Estimators> {
        let to = self.place(minute)?;
        let from = (to + 1).saturating_sub(window as usize);
        let squares = || self.minutes.range(from..=to).map(|slot| slot.square).filter(|square| square.is_finite());
        if (squares().count() as f64) < settings.coverage_min * window as f64 {
            return None;
        }
        let close_to_close = Real(per_day(close_to_close(squares())?, 1.0)?);
        let [parkinson, garman_klass, rogers_satchell, yang_zhang] = self.ranges(minute, window, settings);
        Some(Estimators { close_to_close, parkinson, garman_klass, rogers_satchell, yang_zhang })
    }

    /// They change with each 15m bar only, so the last ones are kept.
    fn ranges(&mut self, minute: i64, window: i64, settings: &Settings) -> Ranges {
        let last = (minute + 1).div_euclid(QUARTER_MINUTES) - 1;
        if self.ranges.is_none_or(|(at, _, _)| at != last) {
            let over = |minutes| self.ranges_over(last, minutes / QUARTER_MINUTES, settings);
            self.ranges = Some((last, over(DAY_MINUTES), over(60)));
        }
        self.ranges.map_or([None; 4], |(_, day, hour)| if window == DAY_MINUTES { day } else { hour })
    }

    fn ranges_over(&self, last: i64, count: i64, settings: &Settings) -> Ranges {
        let mut candles = Vec::with_capacity(count as usize);
        for (quarter, candle) in self.quarters.range(last - count + 1..=last) {
            let close_before = self.quarters.get(quarter - 1).map(|before| before.close);
            candles.push((*candle, close_before));
        }
        if (candles.len() as f64) < settings.coverage_min * count as f64 {
            return [None; 4];
        }
        let per_day = |variance: f64| per_day(variance, QUARTER_MINUTES as f64).map(Real);
        let plain: Vec<Candle> = candles.iter().map(|(candle, _)| *candle).collect();
        [
            per_day(parkinson(&plain)),
            per_day(garman_klass(&plain)),
            per_day(rogers_satchell(&plain)),
            yang_zhang(&candles).and_then(per_day),
        ]
    }
}
