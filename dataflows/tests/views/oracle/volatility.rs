//! Volatility of closed bars, each figure from its formula and all the bars that it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::LN_2;

use dataflows::config::VolatilityMode;
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
        let levels: BTreeMap<i64, f64> = days.iter().filter_map(|(&minute, day)| Some((minute, level(day.as_ref()?)))).collect();
        let baselines = self.baselines(&squares, &levels);
        let baseline = |minute: i64| baselines.get(&minute.div_euclid(DAY)).copied().unwrap_or_default();
        let regimes: BTreeMap<i64, VolatilityRegime> = levels
            .keys()
            .map(|&minute| {
                // The recursion starts from the day before this minute's midnight, with this day's boundaries.
                let levels = levels.range(minute.div_euclid(DAY) * DAY - DAY..=minute);
                let own = baseline(minute).boundaries.filter(|_| settings.mode == VolatilityMode::Adaptive);
                let (boundaries, band) =
                    own.map_or((settings.boundaries, settings.hysteresis), |own| (own, settings.adaptive_hysteresis));
                let regime = levels.fold(None, |regime, (_, &level)| Some(next_regime(regime, level, boundaries, band)));
                (minute, regime.unwrap())
            })
            .collect();
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
            let regime = regimes.get(&minute).copied();
            let regime_share = regime.map(|now| {
                let last: Vec<VolatilityRegime> = regimes.range(minute - DAY + 1..=minute).map(|(_, &regime)| regime).collect();
                Real(last.iter().filter(|&&regime| regime == now).count() as f64 / last.len() as f64)
            });
            let Baseline { median, half_life_minutes, .. } = baseline(minute);
            let median = median.filter(|&median| median > 0.0);
            let reversion_potential = levels.get(&minute).zip(median).map(|(level, median)| Real((level - median) / median));
            rows.push(Volatility {
                instrument,
                ts: (minute + 1) * MINUTE_MS,
                day: *day,
                hour,
                ewma,
                regime,
                regime_share,
                reversion_potential,
                half_life_minutes: half_life_minutes.map(Real),
            });
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

    /// By UTC day: what the days before it were like.
    fn baselines(&self, squares: &BTreeMap<i64, f64>, levels: &BTreeMap<i64, f64>) -> BTreeMap<i64, Baseline> {
        let settings = &self.events.config.volatility;
        let days: BTreeSet<i64> =
            levels.keys().map(|minute| minute.div_euclid(DAY)).chain(squares.keys().map(|m| m.div_euclid(DAY))).collect();
        let variance = |day: i64| {
            let of_day: Vec<f64> = squares.range(day * DAY..(day + 1) * DAY).map(|(_, &square)| square).collect();
            (of_day.len() as f64 >= settings.coverage_min * DAY as f64).then(|| mean(of_day.into_iter()) * DAY as f64)
        };
        let baseline = |day: i64| {
            let first = day - settings.history_days;
            // The last minute of each hour.
            let past = levels.range(first * DAY..day * DAY).filter(|(minute, _)| (*minute + 1) % 60 == 0);
            let mut past: Vec<f64> = past.map(|(_, &level)| level).collect();
            past.sort_by(f64::total_cmp);
            let enough = past.len() as f64 >= settings.coverage_min * 24.0 * settings.history_days_min as f64;
            let logs = |day: i64| variance(day).filter(|&v| v > 0.0).map(f64::ln);
            let pairs: Vec<(f64, f64)> = (first..day - 1).filter_map(|day| logs(day).zip(logs(day + 1))).collect();
            Baseline {
                boundaries: enough.then(|| settings.quantiles.map(|q| quantile(&past, q))),
                median: enough.then(|| quantile(&past, 0.5)),
                half_life_minutes: half_life_days(&pairs)
                    .filter(|_| pairs.len() as i64 >= settings.history_days_min)
                    .map(|days| days * DAY as f64),
            }
        };
        days.into_iter().map(|day| (day, baseline(day))).collect()
    }
}

#[derive(Clone, Copy, Default)]
struct Baseline {
    boundaries: Option<[f64; 3]>,
    median: Option<f64>,
    half_life_minutes: Option<f64>,
}

fn level(day: &Estimators) -> f64 {
    day.close_to_close.0.max(day.parkinson.unwrap_or(Real(0.0)).0)
}

/// Between the two order statistics on either side of the share.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * q;
    let below = at as usize;
    let above = sorted.get(below + 1).copied().unwrap_or(sorted[below]);
    sorted[below] * (1.0 - at.fract()) + above * at.fract()
}

/// From the normal equations of y = a + φ·x.
fn half_life_days(pairs: &[(f64, f64)]) -> Option<f64> {
    let m = |f: fn(&(f64, f64)) -> f64| mean(pairs.iter().map(f));
    let xs = pairs.iter().map(|(x, _)| *x);
    if pairs.is_empty() || xs.clone().fold(f64::MIN, f64::max) == xs.fold(f64::MAX, f64::min) {
        return None;
    }
    let (x, y) = (m(|(x, _)| *x), m(|(_, y)| *y));
    let phi = mean(pairs.iter().map(|p| (p.0 - x) * (p.1 - y))) / mean(pairs.iter().map(|p| (p.0 - x).powi(2)));
    (phi > 0.0 && phi < 1.0).then(|| -(2f64.ln()) / phi.ln())
}

/// Up while beyond a boundary by the band, down while short of one by it.
fn next_regime(regime: Option<VolatilityRegime>, level: f64, boundaries: [f64; 3], band: f64) -> VolatilityRegime {
    use VolatilityRegime::{Explosive, Extreme, HighVol, Stable};
    const REGIMES: [VolatilityRegime; 4] = [Stable, HighVol, Explosive, Extreme];
    let (mut at, band) = match regime {
        None => (0, 0.0),
        Some(regime) => (REGIMES.iter().position(|&r| r == regime).unwrap(), band),
    };
    while at < 3 && level > boundaries[at] * (1.0 + band) {
        at += 1;
    }
    while at > 0 && level <= boundaries[at - 1] * (1.0 - band) {
        at -= 1;
    }
    REGIMES[at]
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
