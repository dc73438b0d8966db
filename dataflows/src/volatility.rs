//! View `volatility`: how much a price moves a day, by six estimators, and its regime.
//!
//! A row at the end of each closed minute. Close-to-close from 1m returns; Parkinson, Garman–Klass, Rogers–Satchell and
//! Yang–Zhang from 15m bars (on 1m bars the bid-ask bounce and the few ticks bias them); EWMA of squared 1m returns. The regime is that of
//! max(close-to-close, Parkinson) over 24 h, with hysteresis. Returns span adjacent minutes only: across an outage there is none.
//!
//! Finite memory: the EWMA and the hysteresis start afresh each UTC midnight from the day before it. A corrected bar corrects
//! every row that depends on it.

mod estimators;

use std::collections::{BTreeMap, VecDeque};

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Filter;

use crate::config::{Config, Volatility as Settings};
use crate::model::{Bar, Change, Clock, Estimators, InstrumentId, MINUTE_MS, Real, Timeframe, Volatility, VolatilityRegime};
use crate::operators::{KnownAt, per_quantum, replace};
use estimators::{Candle, garman_klass, parkinson, rogers_satchell, yang_zhang};

const DAY_MINUTES: i64 = 1_440;
const QUARTER_MINUTES: i64 = 15;
/// Minutes of the day before midnight from which the recursions start (L in ANALYTICS.md).
const WARM_UP_MINUTES: i64 = DAY_MINUTES;

/// Maintains the volatility of all instruments from closed bars.
pub fn volatility<'scope>(
    closed: VecCollection<'scope, KnownAt, Bar, isize>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, Volatility, isize> {
    let settings = config.volatility;
    let horizon_minutes = config.correction_horizon_ms / MINUTE_MS + 1;
    let mut by_instrument: FxHashMap<InstrumentId, Series> = FxHashMap::default();
    let bars = closed.inner.filter(|(bar, _, _)| matches!(bar.timeframe, Timeframe::M1 | Timeframe::M15));
    per_quantum(bars, clocks, "volatility", move |_known_at, mut bars: Vec<Change<Bar>>, _clocks, changes| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        bars.sort_unstable_by_key(|(_, _, diff)| *diff);
        let mut touched = Vec::new();
        for (bar, _, diff) in &bars {
            let series = by_instrument.entry(bar.instrument).or_default();
            if series.dirty_from == CLEAN {
                touched.push(bar.instrument);
            }
            series.apply(bar, *diff);
        }
        for id in touched {
            if let Some(series) = by_instrument.get_mut(&id) {
                series.make_rows(id, &settings, horizon_minutes, changes);
            }
        }
    })
}

/// One instrument's bars of three days, and what was said about them.
struct Series {
    /// The number of the first of `minutes`, counted by their opening since the epoch.
    first: i64,
    minutes: VecDeque<Minute>,
    /// 15m bars by number since the epoch.
    quarters: BTreeMap<i64, Candle>,
    /// Rows that can still be corrected, by minute.
    rows: BTreeMap<i64, Volatility>,
    /// The earliest minute whose row may be wrong.
    dirty_from: i64,
    recursion: Recursion,
    ranges: Option<(i64, Ranges, Ranges)>,
}

#[derive(Clone, Copy)]
struct Minute {
    /// 0: no bar.
    close: i64,
    /// Squared return from the minute before. NaN: absent.
    square: f64,
    /// max(close-to-close, Parkinson) over the 24 h that end with this minute. NaN: absent.
    level: f64,
}

/// What is carried from minute to minute of one day.
#[derive(Clone, Copy, Default)]
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

impl Default for Series {
    fn default() -> Self {
        Self {
            first: 0,
            minutes: VecDeque::new(),
            quarters: BTreeMap::new(),
            rows: BTreeMap::new(),
            dirty_from: CLEAN,
            recursion: Recursion::default(),
            ranges: None,
        }
    }
}

impl Series {
    fn apply(&mut self, bar: &Bar, diff: isize) {
        let minute = bar.ts.div_euclid(MINUTE_MS);
        if bar.timeframe == Timeframe::M15 {
            let quarter = minute.div_euclid(QUARTER_MINUTES);
            if diff > 0 {
                self.quarters.insert(quarter, Candle::of(bar));
            } else {
                self.quarters.remove(&quarter);
            }
            self.ranges = None;
            self.dirty_from = self.dirty_from.min(minute + QUARTER_MINUTES - 1); // it counts once it is over
            return;
        }
        self.make_room(minute);
        if let Some(slot) = self.place(minute).and_then(|at| self.minutes.get_mut(at)) {
            slot.close = if diff > 0 { bar.close.0 } else { 0 };
            self.dirty_from = self.dirty_from.min(minute);
        }
    }

    fn place(&self, minute: i64) -> Option<usize> {
        usize::try_from(minute - self.first).ok()
    }

    fn make_room(&mut self, minute: i64) {
        const ABSENT: Minute = Minute { close: 0, square: f64::NAN, level: f64::NAN };
        let end = self.first + self.minutes.len() as i64;
        if self.minutes.is_empty() || minute - end > KEEP_MINUTES {
            self.minutes.clear(); // silent for days: nothing of it counts any more
            self.first = minute;
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
            let row = self.row(id, minute, settings);
            let old = match row {
                Some(row) => self.rows.insert(minute, row),
                None => self.rows.remove(&minute),
            };
            replace(old, row, |row| row, changes);
        }
        self.rows = self.rows.split_off(&(end - horizon));
        self.quarters = self.quarters.split_off(&((end - horizon - DAY_MINUTES) / QUARTER_MINUTES - 2));
    }

    fn row(&mut self, instrument: InstrumentId, minute: i64, settings: &Settings) -> Option<Volatility> {
        let at = self.place(minute)?;
        let before = at.checked_sub(1).map_or(0, |before| self.minutes[before].close);
        let close = self.minutes[at].close;
        let log_return = (close as f64 / before as f64).ln();
        self.minutes[at].square = if close > 0 && before > 0 { log_return * log_return } else { f64::NAN };

        let day = self.estimators(minute, DAY_MINUTES, settings);
        let hour = self.estimators(minute, 60, settings);
        let level = |e: Estimators| e.close_to_close.0.max(e.parkinson.map_or(0.0, |p| p.0));
        // Without a bar there is no row and no level, or the regime would depend on which minutes happened to be recomputed.
        self.minutes[at].level = day.filter(|_| close > 0).map_or(f64::NAN, level);
        self.recur(minute, settings);
        let enough = f64::from(self.recursion.squares) >= settings.ewma_half_life_minutes;
        let mean = self.recursion.weighted_squares / self.recursion.weights;
        let ewma = enough.then(|| Real((mean * DAY_MINUTES as f64).sqrt()));
        let regime = self.recursion.regime.filter(|_| day.is_some());
        let is_empty = day.is_none() && hour.is_none() && ewma.is_none();
        let ts = (minute + 1) * MINUTE_MS;
        (close > 0 && !is_empty).then_some(Volatility { instrument, ts, day, hour, ewma, regime })
    }

    /// Takes `minute` into the recursions; after a correction or a change of day, from the warm-up before midnight.
    fn recur(&mut self, minute: i64, settings: &Settings) {
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
                recursion.regime = Some(next_regime(recursion.regime, slot.level, settings));
            }
        }
        recursion.at = minute;
        self.recursion = recursion;
    }

    /// The estimators over the `window` minutes that end with `minute`; absent where too few returns are there.
    fn estimators(&mut self, minute: i64, window: i64, settings: &Settings) -> Option<Estimators> {
        let to = self.place(minute)?;
        let from = (to + 1).saturating_sub(window as usize);
        let squares = self.minutes.range(from..=to).map(|slot| slot.square).filter(|square| square.is_finite());
        let (count, sum) = squares.fold((0u32, 0.0), |(count, sum), square| (count + 1, sum + square));
        if f64::from(count) < settings.coverage_min * window as f64 {
            return None;
        }
        let [parkinson, garman_klass, rogers_satchell, yang_zhang] = self.ranges(minute, window, settings);
        let close_to_close = Real((sum / f64::from(count) * DAY_MINUTES as f64).sqrt());
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
            let close_before = self.quarters.get(&(quarter - 1)).map(|before| before.close);
            candles.push((*candle, close_before));
        }
        if (candles.len() as f64) < settings.coverage_min * count as f64 {
            return [None; 4];
        }
        let per_day = |variance: f64| (variance >= 0.0).then(|| Real((variance * (DAY_MINUTES / QUARTER_MINUTES) as f64).sqrt()));
        let plain: Vec<Candle> = candles.iter().map(|(candle, _)| *candle).collect();
        [
            per_day(parkinson(&plain)),
            per_day(garman_klass(&plain)),
            per_day(rogers_satchell(&plain)),
            yang_zhang(&candles).and_then(per_day),
        ]
    }
}

/// A regime is left only when the level is beyond its boundary by the hysteresis fraction; several steps are one change.
fn next_regime(regime: Option<VolatilityRegime>, level: f64, settings: &Settings) -> VolatilityRegime {
    use VolatilityRegime::{Explosive, Extreme, HighVol, Stable};
    const REGIMES: [VolatilityRegime; 4] = [Stable, HighVol, Explosive, Extreme];
    let class = |scale: f64| settings.boundaries.iter().filter(|&&boundary| level > boundary * scale).count();
    let Some(regime) = regime else { return REGIMES[class(1.0)] };
    let current = REGIMES.iter().position(|&r| r == regime).unwrap_or(0); // always there
    let (at_least, at_most) = (class(1.0 + settings.hysteresis), class(1.0 - settings.hysteresis));
    REGIMES[current.clamp(at_least, at_most)]
}
