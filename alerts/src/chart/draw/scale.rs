//! From times and values to pixels, with round ticks. Nothing here can overflow or run for long: ranges are checked first.

use chrono::{DateTime, Utc};

use super::ChartError;
use super::canvas::{LEFT, RIGHT};

/// Larger values are gaps: no price or amount is, and differences of what is left keep their digits.
const VALUE_MAX: f64 = 1e15;
const DAY_MS: i64 = 86_400_000;
const SPAN_MS_MAX: i64 = 20 * 366 * DAY_MS;
/// A time label's width and some air, in pixels.
const LABEL_WIDTH: i64 = 90;

pub(super) fn is_drawable(value: f64) -> bool {
    value.abs() <= VALUE_MAX
}

/// The horizontal scale: each point's interval begins at its time.
pub(super) struct Times {
    ts: Vec<i64>,
    /// The usual distance of two points: the width of the last one.
    step: i64,
}

impl Times {
    pub(super) fn new(ts: &[i64]) -> Result<Self, ChartError> {
        let (Some(first), Some(last)) = (ts.first(), ts.last()) else { return Err(ChartError::Empty) };
        let span = last.checked_sub(*first).ok_or(ChartError::Times)?;
        let is_shown = DateTime::<Utc>::from_timestamp_millis(*first).is_some() && first.checked_add(2 * SPAN_MS_MAX).is_some();
        if !is_shown || !(0..=SPAN_MS_MAX).contains(&span) || ts.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(ChartError::Times);
        }
        let step = ts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(60_000);
        Ok(Self { ts: ts.to_vec(), step })
    }

    pub(super) fn len(&self) -> usize {
        self.ts.len()
    }

    fn end(&self) -> i64 {
        self.ts[self.len() - 1] + self.step
    }

    fn x(&self, at: i64) -> i32 {
        let first = self.ts[0];
        let share = (at - first) as f64 / (self.end() - first) as f64;
        LEFT + (share * f64::from(RIGHT - LEFT)).round() as i32
    }

    /// The middle of a point's interval.
    pub(super) fn middle(&self, index: usize) -> i32 {
        self.x(self.ts[index] + self.step / 2)
    }

    /// From a point's time to the next one's.
    pub(super) fn step(&self, index: usize) -> (i32, i32) {
        (self.x(self.ts[index]), self.x(self.ts.get(index + 1).copied().unwrap_or(self.end())))
    }

    /// Of one step's width, with a gap to the next bar where there is room for it.
    pub(super) fn bar(&self, index: usize) -> (i32, i32) {
        let (left, right) = (self.x(self.ts[index]), self.x(self.ts[index] + self.step));
        (left, if right - left > 3 { right - 1 } else { right.max(left + 1) })
    }

    /// Round times with their labels: clock times, or dates where the steps are days.
    pub(super) fn ticks(&self) -> Vec<(i32, String)> {
        const MINUTES: [i64; 19] =
            [1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1_440, 2_880, 10_080, 20_160, 43_200, 129_600, 259_200, 525_600];
        let span = self.end() - self.ts[0];
        let most = i64::from(RIGHT - LEFT) / LABEL_WIDTH;
        let minutes = MINUTES.into_iter().find(|minutes| span / (minutes * 60_000) <= most).unwrap_or(5_256_000);
        let step = minutes * 60_000;
        let first = self.ts[0].div_euclid(step) * step;
        let format = if step >= DAY_MS {
            "%Y-%m-%d"
        } else if span > DAY_MS {
            "%m-%d %H:%M"
        } else {
            "%H:%M"
        };
        (0..=most + 1)
            .map(|index| first + index * step)
            .filter(|at| (self.ts[0]..=self.end()).contains(at))
            .filter_map(|at| Some((self.x(at), DateTime::<Utc>::from_timestamp_millis(at)?.format(format).to_string())))
            .collect()
    }

    /// The day on which it begins, for clock times to be read.
    pub(super) fn day(&self) -> String {
        DateTime::<Utc>::from_timestamp_millis(self.ts[0]).map_or(String::new(), |at| at.format("%Y-%m-%d UTC").to_string())
    }
}

/// The vertical scale: `low` < `high`, both finite.
pub(super) struct Values {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Values {
    /// Round what can be drawn, with some air. `None`: nothing can.
    pub(super) fn around(values: impl Iterator<Item = f64>) -> Option<Self> {
        let drawable = values.filter(|value| is_drawable(*value));
        let (low, high) =
            drawable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        // What is constant, or nearly so to an f64, gets a range of its own size.
        let size = low.abs().max(high.abs());
        let air = if high - low > size * 1e-9 {
            (high - low) * 0.06
        } else if size > 1e-12 {
            size * 0.01
        } else {
            1.0
        };
        Some(Self { low: low - air, high: high + air })
    }

    /// Round zero.
    pub(super) fn symmetric(largest: f64) -> Self {
        let largest = largest.max(1e-9) * 1.08;
        Self { low: -largest, high: largest }
    }

    /// From 0 to 1.
    pub(super) const fn unit() -> Self {
        Self { low: 0.0, high: 1.0 }
    }

    /// Up to seven round values: steps of 1, 2 or 5 times a power of ten.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil();
        (0..7)
            .map(|index| (first + f64::from(index)) * step)
            // Zero comes out as -0.
            .map(|tick| if tick.abs() < step * 1e-6 { 0.0 } else { tick })
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

/// Four significant digits, `1.2M` beyond them.
pub(super) fn short(value: f64) -> String {
    if value.abs() >= 1e5 {
        return crate::facts::words::usd(value).replace('$', "");
    }
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor().max(-9.0) as i32 };
    let text = format!("{value:.digits$}", digits = (3 - magnitude).clamp(0, 12) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
