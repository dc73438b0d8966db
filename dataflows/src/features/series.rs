//! What bars say by themselves: one instrument's bars of one time frame, and the rows that are out.

use std::collections::VecDeque;

use super::flows::FLOWS;
use super::wilder::Wilder;
use super::{FORGET_BARS, WARM_UP_BARS};
use crate::anchors::anchor_of;
use crate::by_time::ByTime;
use crate::minutes::Known;
use crate::model::{Bar, FEATURES, FEATURES_OF_BARS, Features, InstrumentId, Real, Timeframe};
use crate::operators::replace;

/// The longest window, and the bar before it.
const LOOK_BACK_BARS: i64 = 73;
const COVERAGE_MIN: f64 = 0.8;

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Candle {
    pub high: f64,
    pub low: f64,
    pub close: f64,
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
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Series {
    timeframe: Timeframe,
    horizon_ms: i64,
    first: i64,
    candles: VecDeque<Option<Candle>>,
    /// Rows that can still be corrected, by number.
    rows: ByTime<Values>,
    /// The earliest bar whose row may be wrong.
    dirty_from: i64,
    /// Bars before it of whose rows only what flowed beside them may be wrong.
    dirty_flows: Vec<i64>,
    /// Wilder's recursions up to and with the last bar that was looked at, begun for its anchor.
    wilder: Option<(i64, Wilder)>,
    /// The same with the last bar that can't be corrected any more: what came before it isn't needed to go on.
    settled: Option<(i64, Wilder)>,
}

impl Series {
    pub fn new(timeframe: Timeframe, horizon_ms: i64) -> Self {
        Self {
            timeframe,
            horizon_ms,
            first: 0,
            candles: VecDeque::new(),
            rows: ByTime::default(),
            dirty_from: i64::MAX,
            dirty_flows: Vec::new(),
            wilder: None,
            settled: None,
        }
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

    pub fn apply(&mut self, bar: &Bar, diff: isize) {
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

    /// What flowed beside the bar that opens at `ts` may have been something else.
    pub fn doubt_flows(&mut self, ts: i64) {
        let number = self.number(ts);
        if self.rows.contains(number) {
            self.dirty_flows.push(number);
        }
    }

    /// The same of all bars from there on.
    pub fn doubt_flows_from(&mut self, ts: i64) {
        let from = self.number(ts);
        self.dirty_flows.extend(self.rows.range(from..).map(|(number, _)| number));
    }

    /// Whether some row may be wrong.
    pub fn is_dirty(&self) -> bool {
        self.dirty_from != i64::MAX || !self.dirty_flows.is_empty()
    }

    /// What has changed. `flows` says what flowed beside the bar that opens at a time.
    pub fn make_rows(
        &mut self,
        instrument: InstrumentId,
        flows: impl Fn(i64) -> [Known; FLOWS],
        changes: &mut Vec<(Features, isize)>,
    ) {
        let from = std::mem::replace(&mut self.dirty_from, i64::MAX).max(self.first);
        let row = |series: &Self, number: i64, values: Values| Features {
            instrument,
            timeframe: series.timeframe,
            ts: series.opening(number),
            values: values.map(|value| (!value.0.is_nan()).then_some(Real(value.0))),
        };
        let mut beside = std::mem::take(&mut self.dirty_flows);
        beside.sort_unstable();
        beside.dedup();
        for number in beside.into_iter().filter(|&number| number < from) {
            let Some(old) = self.rows.get(number).copied() else { continue };
            let mut new = old;
            new[FEATURES_OF_BARS..].copy_from_slice(&flows(self.opening(number)));
            self.rows.set(number, Some(new));
            replace(Some(old), Some(new), |values| row(self, number, values), changes);
        }
        for number in from..self.end() {
            let new = self.values(number, &flows);
            let old = self.rows.set(number, new);
            replace(old, new, |values| row(self, number, values), changes);
        }
        self.forget();
    }

    /// A bar that ended before the horizon is not corrected any more.
    fn forget(&mut self) {
        let kept = self.number(self.opening(self.end()) - self.horizon_ms) - 1;
        self.rows.forget_before(kept);
        self.settled = Some((kept - 1, self.wilder_from(self.settled, kept - 1)));
        let needed = kept - LOOK_BACK_BARS.max(WARM_UP_BARS); // the next anchor may be the next bar
        while self.first < needed && self.candles.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn values(&mut self, number: i64, flows: impl Fn(i64) -> [Known; FLOWS]) -> Option<Values> {
        let wilder = self.wilder_at(number);
        let candle = *self.candle(number)?;
        let volatility = self.volatility(number);
        let of_bars: [Option<f64>; FEATURES_OF_BARS] = [
            self.log_return(number),
            self.trend(number),
            volatility.filter(|&v| v > 0.0).map(f64::ln),
            wilder.rsi(),
            volatility,
            self.volume_z(number, candle.volume),
            wilder.adx(),
            (candle.volume > 0.0).then(|| (2.0 * candle.taker_buy_volume - candle.volume) / candle.volume),
        ];
        let mut values = [Known::default(); FEATURES.len()];
        for (slot, value) in values.iter_mut().zip(of_bars) {
            *slot = value.filter(|v| v.is_finite()).map_or_else(Known::default, Known::of);
        }
        values[FEATURES_OF_BARS..].copy_from_slice(&flows(self.opening(number)));
        Some(values)
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
