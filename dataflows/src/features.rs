//! View `features`: what models read, a row for each closed bar.
//!
//! - `log_return`: ln(close / close before). None across a missing bar.
//! - `trend_24`: the return over 24 bars / (the deviation of the last 72 returns × √24).
//! - `log_volatility_14`, `volatility_14`: root mean square of the last 14 returns, and its logarithm.
//! - `rsi_14`, `adx_14`: Wilder's, over the bars that are there.
//! - `volume_z_50`: the bar's volume against the mean and deviation of the last 50, itself included.
//! - `taker_imbalance`: (bought − sold by takers) / volume.
//!
//! A window needs four fifths of its returns (or bars), else the feature is absent: a missing bar costs little, an outage makes a
//! warm-up. Finite memory: Wilder's recursions start afresh at each UTC midnight (frames over 1h: at the first of the month)
//! from the [`WARM_UP_BARS`] before it. A corrected bar corrects every row that depends on it.

mod wilder;

use std::collections::VecDeque;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Filter;

use crate::anchors::anchor_of;
use crate::by_time::ByTime;
use crate::config::Config;
use crate::minutes::Known;
use crate::model::{Bar, Change, Clock, FEATURES, Features, InstrumentId, Real, Timeframe};
use crate::operators::{KnownAt, per_quantum, replace};
use wilder::Wilder;

/// Bars before an anchor from which recursions start (L in ANALYTICS.md): what came before weighs (13/14)^256 < 1e-8.
pub const WARM_UP_BARS: i64 = 256;
/// The longest window, and the bar before it.
const LOOK_BACK_BARS: i64 = 73;
/// A stretch of missing bars after which nothing before it counts any more: longer than a day of minutes and their warm-up.
const FORGET_BARS: i64 = 4_096;
const COVERAGE_MIN: f64 = 0.8;

/// Maintains the features of all instruments on the configured time frames.
pub fn features<'scope>(
    closed: VecCollection<'scope, KnownAt, Bar, isize>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, Features, isize> {
    let horizon_ms = config.correction_horizon_ms;
    let wanted = config.features_timeframes.clone();
    let mut series: FxHashMap<(InstrumentId, Timeframe), Series> = FxHashMap::default();
    let bars = closed.inner.filter(move |(bar, _, _)| wanted.contains(&bar.timeframe));
    per_quantum(bars, clocks, "features", move |_known_at, mut bars: Vec<Change<Bar>>, _clocks, changes| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        bars.sort_unstable_by_key(|(bar, _, diff)| (bar.instrument, bar.timeframe, *diff));
        for bars in bars.chunk_by(|a, b| (a.0.instrument, a.0.timeframe) == (b.0.instrument, b.0.timeframe)) {
            let (instrument, timeframe) = (bars[0].0.instrument, bars[0].0.timeframe);
            let series = series.entry((instrument, timeframe)).or_insert_with(|| Series::new(timeframe, horizon_ms));
            bars.iter().for_each(|(bar, _, diff)| series.apply(bar, *diff));
            series.make_rows(instrument, changes);
        }
    })
}

/// The rows of one instrument's closed bars of one time frame, oldest first; bars may be missing, none may be twice.
#[must_use]
pub fn of_bars(bars: &[Bar]) -> Vec<Features> {
    let Some(first) = bars.first() else { return Vec::new() };
    let mut series = Series::new(first.timeframe, 0);
    let mut changes = Vec::new();
    for bar in bars {
        series.apply(bar, 1);
        series.make_rows(first.instrument, &mut changes);
    }
    changes.into_iter().map(|(row, _)| row).collect()
}

#[derive(Clone, Copy)]
struct Candle {
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    taker_buy_volume: f64,
}

impl Candle {
    fn of(bar: &Bar) -> Self {
        Self {
            high: bar.high.to_f64(),
            low: bar.low.to_f64(),
            close: bar.close.to_f64(),
            volume: bar.volume.to_f64(),
            taker_buy_volume: bar.taker_buy_volume.to_f64(),
        }
    }
}

/// What a row says.
type Values = [Known; FEATURES.len()];

/// One instrument's bars of one time frame, numbered since the epoch.
struct Series {
    timeframe: Timeframe,
    horizon_ms: i64,
    first: i64,
    candles: VecDeque<Option<Candle>>,
    /// Rows that can still be corrected, by number.
    rows: ByTime<Values>,
    /// The earliest bar whose row may be wrong.
    dirty_from: i64,
    /// Wilder's recursions up to and with the last bar that was looked at, begun for its anchor.
    wilder: Option<(i64, Wilder)>,
    /// The same with the last bar that can't be corrected any more: what came before it isn't needed to go on.
    settled: Option<(i64, Wilder)>,
}

impl Series {
    fn new(timeframe: Timeframe, horizon_ms: i64) -> Self {
        let (candles, rows) = (VecDeque::new(), ByTime::default());
        Self { timeframe, horizon_ms, first: 0, candles, rows, dirty_from: i64::MAX, wilder: None, settled: None }
    }

    fn forget_bars(&self) -> i64 {
        FORGET_BARS + self.horizon_ms / self.timeframe.ms()
    }

    fn number(&self, ts: i64) -> i64 {
        (ts - self.timeframe.open_of(0)).div_euclid(self.timeframe.ms())
    }

    fn opening(&self, number: i64) -> i64 {
        self.timeframe.open_of(0) + number * self.timeframe.ms()
    }

    fn end(&self) -> i64 {
        self.first + self.candles.len() as i64
    }

    fn candle(&self, number: i64) -> Option<&Candle> {
        self.candles.get(usize::try_from(number - self.first).ok()?)?.as_ref()
    }

    fn apply(&mut self, bar: &Bar, diff: isize) {
        let number = self.number(bar.ts);
        if self.candles.is_empty() || number - self.end() > self.forget_bars() {
            self.candles.clear();
            self.first = number;
        }
        while number < self.first && self.end() - number <= self.forget_bars() {
            self.candles.push_front(None);
            self.first -= 1;
        }
        while number >= self.end() {
            self.candles.push_back(None);
        }
        if let Some(slot) = usize::try_from(number - self.first).ok().and_then(|at| self.candles.get_mut(at)) {
            *slot = (diff > 0).then(|| Candle::of(bar));
            self.dirty_from = self.dirty_from.min(number);
        }
    }

    fn make_rows(&mut self, instrument: InstrumentId, changes: &mut Vec<(Features, isize)>) {
        let from = std::mem::replace(&mut self.dirty_from, i64::MAX).max(self.first);
        for number in from..self.end() {
            let new = self.values(number);
            let old = self.rows.set(number, new);
            let row = |values: Values| Features {
                instrument,
                timeframe: self.timeframe,
                ts: self.opening(number),
                values: values.map(|value| (!value.0.is_nan()).then_some(Real(value.0))),
            };
            replace(old, new, row, changes);
        }
        // A bar that ended before the horizon is not corrected any more.
        let kept = self.number(self.opening(self.end()) - self.horizon_ms) - 1;
        self.rows.forget_before(kept);
        self.settled = Some((kept - 1, self.wilder_from(self.settled, kept - 1)));
        let needed = kept - LOOK_BACK_BARS.max(WARM_UP_BARS); // the next anchor may be the next bar
        while self.first < needed && self.candles.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn values(&mut self, number: i64) -> Option<Values> {
        let wilder = self.wilder_at(number);
        let candle = *self.candle(number)?;
        let volatility = self.volatility(number);
        let values = [
            self.log_return(number),
            self.trend(number),
            volatility.filter(|&v| v > 0.0).map(f64::ln),
            wilder.rsi(),
            volatility,
            self.volume_z(number, candle.volume),
            wilder.adx(),
            (candle.volume > 0.0).then(|| (2.0 * candle.taker_buy_volume - candle.volume) / candle.volume),
        ];
        Some(values.map(|value| value.filter(|v| v.is_finite()).map_or_else(Known::default, Known::of)))
    }

    fn log_return(&self, number: i64) -> Option<f64> {
        Some((self.candle(number)?.close / self.candle(number - 1)?.close).ln())
    }

    /// The returns of the last `count` bars, if enough of them are there.
    fn returns(&self, number: i64, count: i64) -> Option<Vec<f64>> {
        let returns: Vec<f64> = (number - count + 1..=number).filter_map(|n| self.log_return(n)).collect();
        (returns.len() as f64 >= COVERAGE_MIN * count as f64).then_some(returns)
    }

    fn trend(&self, number: i64) -> Option<f64> {
        let moved = (self.candle(number)?.close / self.candle(number - 24)?.close).ln();
        let deviation = deviation(&self.returns(number, 72)?);
        (deviation > 0.0).then(|| moved / (deviation * 24f64.sqrt()))
    }

    fn volatility(&self, number: i64) -> Option<f64> {
        let returns = self.returns(number, 14)?;
        Some((returns.iter().map(|r| r * r).sum::<f64>() / returns.len() as f64).sqrt())
    }

    fn volume_z(&self, number: i64, volume: f64) -> Option<f64> {
        let volumes: Vec<f64> = (number - 49..=number).filter_map(|n| Some(self.candle(n)?.volume)).collect();
        let deviation = (volumes.len() >= 40).then(|| deviation(&volumes)).filter(|&d| d > 0.0)?;
        Some((volume - volumes.iter().sum::<f64>() / volumes.len() as f64) / deviation)
    }

    /// The bar from which the recursions of a bar's day (or month) start.
    fn start_of(&self, number: i64) -> i64 {
        let anchor = anchor_of(self.timeframe, self.opening(number));
        // The first bar that opens at or after the anchor.
        self.number(anchor + self.timeframe.ms() - 1) - WARM_UP_BARS
    }

    fn wilder_at(&mut self, number: i64) -> Wilder {
        let base = self.wilder.filter(|(at, _)| at + 1 == number).or(self.settled);
        let wilder = self.wilder_from(base, number);
        self.wilder = Some((number, wilder));
        wilder
    }

    /// The recursions up to and with a bar: from `base` where that was begun for the same anchor, else from the start.
    fn wilder_from(&self, base: Option<(i64, Wilder)>, number: i64) -> Wilder {
        let start = self.start_of(number);
        let base = base.filter(|&(at, _)| at <= number && self.start_of(at) == start);
        let (from, mut wilder) = base.map_or_else(|| (start.max(self.first), Wilder::default()), |(at, wilder)| (at + 1, wilder));
        for candle in (from..=number).filter_map(|n| self.candle(n)) {
            wilder.add(candle);
        }
        wilder
    }
}

/// The sample deviation; zero of values that are all alike.
fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}
