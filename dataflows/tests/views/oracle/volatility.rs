//! Volatility of closed bars, each figure from its formula and all the bars that it needs.

use std::collections::BTreeMap;
use std::f64::consts::LN_2;

use dataflows::model::*;

use super::Events;

const DAY: i64 = 1_440;

pub fn volatility(events: &Events<'_>, closed: &[Bar]) -> Vec<Volatility> {
    let mut rows = Vec::new();
    for bars in closed.chunk_by(|a, b| a.instrument == b.instrument) {
        let of = |timeframe: Timeframe| -> BTreeMap<i64, Bar> {
            let bars = bars.iter().filter(|bar| bar.timeframe == timeframe);
            bars.map(|bar| (bar.ts.div_euclid(timeframe.ms()), *bar)).collect()
        };
        let series = Series { minutes: of(Timeframe::M1), quarters: of(Timeframe::M15), events };
        rows.extend(series.rows(bars[0].instrument));
    }
    rows
}

struct Series<'a> {
    minutes: BTreeMap<i64, Bar>,
    quarters: BTreeMap<i64, Bar>,
    events: &'a Events<'a>,
}

impl Series<'_> {
    fn rows(&self, instrument: InstrumentId) -> Vec<Volatility> {
        let settings = &self.events.config.volatility;
        let squares: BTreeMap<i64, f64> = self.minutes.keys().filter_map(|&m| Some((m, self.square(m)?))).collect();
        let days: BTreeMap<i64, Option<Estimators>> =
            self.minutes.keys().map(|&m| (m, self.estimators(&squares, m, DAY))).collect();
        let mut rows = Vec::new();
        for (&minute, day) in &days {
            let hour = self.estimators(&squares, minute, 60);
            // The recursions start from the day before this minute's midnight.
            let start = minute.div_euclid(DAY) * DAY - DAY;
            let recent: Vec<(i64, f64)> = squares.range(start..=minute).map(|(&m, &square)| (m, square)).collect();
            let weight = |m: i64| 0.5f64.powf((minute - m) as f64 / settings.ewma_half_life_minutes);
            let ewma = (recent.len() as f64 >= settings.ewma_half_life_minutes).then(|| {
                let (weights, sum) =
                    recent.iter().fold((0.0, 0.0), |(weights, sum), &(m, x)| (weights + weight(m), sum + weight(m) * x));
                Real((sum / weights * DAY as f64).sqrt())
            });
            if day.is_none() && hour.is_none() && ewma.is_none() {
                continue;
            }
            let levels = days.range(start..=minute).filter_map(|(_, day)| day.as_ref());
            let regime = levels.fold(None, |regime, day| Some(self.next_regime(regime, day)));
            let regime = if day.is_some() { regime } else { None };
            rows.push(Volatility { instrument, ts: (minute + 1) * MINUTE_MS, day: *day, hour, ewma, regime });
        }
        rows
    }

    fn square(&self, minute: i64) -> Option<f64> {
        let (now, before) = (self.minutes.get(&minute)?, self.minutes.get(&(minute - 1))?);
        Some((now.close.to_f64() / before.close.to_f64()).ln().powi(2))
    }

    fn estimators(&self, squares: &BTreeMap<i64, f64>, minute: i64, window: i64) -> Option<Estimators> {
        let enough = |count: usize, of: i64| count as f64 >= self.events.config.volatility.coverage_min * of as f64;
        let inside: Vec<f64> = squares.range(minute - window + 1..=minute).map(|(_, &square)| square).collect();
        if !enough(inside.len(), window) {
            return None;
        }
        let close_to_close = Real((inside.iter().sum::<f64>() / inside.len() as f64 * DAY as f64).sqrt());
        // 15m bars that are over by the end of the minute.
        let last = (minute + 1).div_euclid(15) - 1;
        let bars: Vec<&Bar> = self.quarters.range(last - window / 15 + 1..=last).map(|(_, bar)| bar).collect();
        let ranges = enough(bars.len(), window / 15).then(|| {
            let after: Vec<(&Bar, &Bar)> = bars
                .iter()
                .filter_map(|bar| Some((self.quarters.get(&(bar.ts.div_euclid(15 * MINUTE_MS) - 1))?, *bar)))
                .collect();
            (parkinson(&bars), garman_klass(&bars), rogers_satchell(&bars), yang_zhang(&after))
        });
        let per_day = |variance: f64| Real((variance * 96.0).sqrt());
        Some(Estimators {
            close_to_close,
            parkinson: ranges.map(|r| per_day(r.0)),
            garman_klass: ranges.map(|r| per_day(r.1)),
            rogers_satchell: ranges.map(|r| per_day(r.2)),
            yang_zhang: ranges.and_then(|r| r.3).map(per_day),
        })
    }

    /// Up while beyond a boundary by the hysteresis, down while short of one by it.
    fn next_regime(&self, regime: Option<VolatilityRegime>, day: &Estimators) -> VolatilityRegime {
        use VolatilityRegime::{Explosive, Extreme, HighVol, Stable};
        const REGIMES: [VolatilityRegime; 4] = [Stable, HighVol, Explosive, Extreme];
        let settings = &self.events.config.volatility;
        let level = day.close_to_close.0.max(day.parkinson.unwrap_or(Real(0.0)).0);
        let (mut at, band) = match regime {
            None => (0, 0.0),
            Some(regime) => (REGIMES.iter().position(|&r| r == regime).unwrap(), settings.hysteresis),
        };
        while at < 3 && level > settings.boundaries[at] * (1.0 + band) {
            at += 1;
        }
        while at > 0 && level <= settings.boundaries[at - 1] * (1.0 - band) {
            at -= 1;
        }
        REGIMES[at]
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn ln(a: dataflows::fixed::Price, b: dataflows::fixed::Price) -> f64 {
    (a.to_f64() / b.to_f64()).ln()
}

fn parkinson(bars: &[&Bar]) -> f64 {
    mean(bars.iter().map(|b| ln(b.high, b.low).powi(2) / (4.0 * LN_2)))
}

fn garman_klass(bars: &[&Bar]) -> f64 {
    mean(bars.iter().map(|b| ln(b.high, b.low).powi(2) / 2.0 - (2.0 * LN_2 - 1.0) * ln(b.close, b.open).powi(2)))
}

fn rogers_satchell(bars: &[&Bar]) -> f64 {
    mean(bars.iter().map(|b| ln(b.high, b.close) * ln(b.high, b.open) + ln(b.low, b.close) * ln(b.low, b.open)))
}

/// Of bars with the bar before each.
fn yang_zhang(pairs: &[(&Bar, &Bar)]) -> Option<f64> {
    if pairs.len() < 2 {
        return None;
    }
    let n = pairs.len() as f64;
    let variance = |values: Vec<f64>| {
        let m = mean(values.iter().copied());
        values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1.0)
    };
    let overnight = variance(pairs.iter().map(|(before, bar)| ln(bar.open, before.close)).collect());
    let open_to_close = variance(pairs.iter().map(|(_, bar)| ln(bar.close, bar.open)).collect());
    let k = 0.34 / (1.34 + (n + 1.0) / (n - 1.0));
    let bars: Vec<&Bar> = pairs.iter().map(|(_, bar)| *bar).collect();
    Some(overnight + k * open_to_close + (1.0 - k) * rogers_satchell(&bars))
}

/// Every stretch of a regime that began with a change.
pub fn regimes(volatility: &[Volatility]) -> Vec<RegimeSpell> {
    let mut spells = Vec::new();
    let known: Vec<(InstrumentId, i64, VolatilityRegime, Estimators)> =
        volatility.iter().filter_map(|row| Some((row.instrument, row.ts, row.regime?, row.day?))).collect();
    for rows in known.chunk_by(|a, b| a.0 == b.0) {
        let changes: Vec<_> = rows.windows(2).filter(|pair| pair[0].2 != pair[1].2).collect();
        for (i, pair) in changes.iter().enumerate() {
            let (from, (instrument, onset, to, day)) = (pair[0].2, pair[1]);
            let (close_to_close, parkinson) = (day.close_to_close, day.parkinson);
            let ended_at = changes.get(i + 1).map(|next| next[1].1);
            spells.push(RegimeSpell { instrument, onset, ended_at, from, to, close_to_close, parkinson });
        }
    }
    spells.sort();
    spells
}
