//! Correlations of closed bars, each figure from its formula and all the returns of its window.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::config::CorrelationWindow;
use dataflows::model::*;

use super::Events;

/// Onset, end, r and strength at the onset, the baseline then.
type Break = (i64, Option<i64>, f64, f64, Option<Baseline>);

/// The rows of all four views.
#[derive(Default)]
pub struct Rows {
    pub correlations: Vec<Correlation>,
    pub market_mode: Vec<MarketMode>,
    pub betas: Vec<Beta>,
    pub breaks: Vec<CorrelationBreak>,
}

pub fn correlations(events: &Events<'_>, closed: &[Bar]) -> Rows {
    let mut rows = Rows::default();
    for &window in &events.config.correlation.horizons {
        Window::new(events, closed, window).rows(&mut rows);
    }
    rows.correlations.sort();
    rows.market_mode.sort();
    rows.betas.sort();
    rows.breaks.sort();
    rows
}

/// Two symbols by name; `""` is the market.
type Pair = (String, String);

struct Window<'a> {
    events: &'a Events<'a>,
    window: i64,
    bar_ms: i64,
    /// The newest bar that has closed anywhere: time goes on without returns.
    last: Option<i64>,
    /// By symbol and bar, whole ten-millionths.
    returns: BTreeMap<String, BTreeMap<i64, i64>>,
}

impl<'a> Window<'a> {
    fn new(events: &'a Events<'a>, closed: &[Bar], window: CorrelationWindow) -> Self {
        let bar_ms = window.timeframe.ms();
        let mut closings: BTreeMap<(String, Venue), BTreeMap<i64, f64>> = BTreeMap::new();
        let closed = || closed.iter().filter(|bar| bar.timeframe == window.timeframe);
        for bar in closed() {
            let instrument = events.instruments.get(bar.instrument).unwrap();
            let of = closings.entry((instrument.symbol.clone(), instrument.venue)).or_default();
            of.insert(bar.ts / bar_ms, bar.close.to_f64());
        }
        let mut returns: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
        // In the order of venues: what an earlier one said stands.
        for ((symbol, _), closings) in &closings {
            for (bar, close) in closings {
                let Some(before) = closings.get(&(bar - 1)) else { continue };
                let log_return = (close / before).ln().clamp(-0.5, 0.5);
                returns.entry(symbol.clone()).or_default().entry(*bar).or_insert((log_return * 1e7).round() as i64);
            }
        }
        let last = closed().map(|bar| bar.ts / bar_ms).max();
        Self { events, window: window.bars as i64, bar_ms, last, returns }
    }

    /// The mean return of all others, where there are ten.
    fn market(&self, symbol: &str, bar: i64) -> Option<i64> {
        let others: Vec<i64> =
            self.returns.iter().filter(|(name, _)| *name != symbol).filter_map(|(_, of)| of.get(&bar).copied()).collect();
        let sum: i64 = others.iter().sum();
        let n = others.len() as i64;
        let rounded = || (sum.abs() * 2 + if n % 2 == 0 { n } else { n - 1 }) / (2 * n) * sum.signum();
        (n >= 10).then(rounded)
    }

    /// (bar, x, y) where both are there.
    fn joint(&self, pair: &Pair, bar: i64) -> Vec<(i64, f64, f64)> {
        let (a, b) = pair;
        let other = |bar: i64| if b.is_empty() { self.market(a, bar) } else { self.returns[b].get(&bar).copied() };
        let mine = self.returns[a].range(bar - self.window + 1..=bar);
        mine.filter_map(|(&bar, &x)| Some((bar, x as f64, other(bar)? as f64))).collect()
    }

    fn is_enough(&self, bars: usize) -> bool {
        bars >= 2 && bars as f64 >= self.events.config.correlation.coverage_min * self.window as f64
    }

    /// r, weighted r, and the number of bars.
    fn r(&self, pair: &Pair, bar: i64) -> Option<(f64, f64, u32)> {
        let joint = self.joint(pair, bar);
        let moves = |pick: fn(&(i64, f64, f64)) -> f64| joint.iter().map(pick).any(|x| x != pick(&joint[0]));
        if !self.is_enough(joint.len()) || !moves(|j| j.1) || !moves(|j| j.2) {
            return None;
        }
        let half_life = self.events.config.correlation.ewma_half_life * self.window as f64;
        let plain = pearson(&joint, |_| 1.0);
        let weighted = pearson(&joint, |at| 0.5f64.powf((bar - at) as f64 / half_life));
        Some((plain.clamp(-0.9999, 0.9999), weighted.clamp(-0.9999, 0.9999), joint.len() as u32))
    }

    /// Symbols with a return at `bar`, enough in the window, and any movement.
    fn present(&self, bar: i64) -> Vec<String> {
        let inside = |of: &BTreeMap<i64, i64>| of.range(bar - self.window + 1..=bar).map(|(_, &x)| x).collect::<Vec<_>>();
        let is_there = |of: &BTreeMap<i64, i64>| {
            let inside = inside(of);
            of.contains_key(&bar) && self.is_enough(inside.len()) && inside.iter().any(|&x| x != inside[0])
        };
        self.returns.iter().filter(|(_, of)| is_there(of)).map(|(name, _)| name.clone()).collect()
    }

    fn day(&self, bar: i64) -> i64 {
        bar * self.bar_ms / DAY_MS
    }

    fn rows(&self, rows: &mut Rows) {
        let settings = &self.events.config.correlation;
        let bars: BTreeSet<i64> = self.returns.values().flat_map(|of| of.keys().copied()).collect();
        let id = |name: &str| self.events.instruments.across(name).unwrap();
        let horizon = Horizon((self.window * self.bar_ms / MINUTE_MS) as u32);
        let ts = |bar: i64| (bar + 1) * self.bar_ms;

        // Everything that is known of each pair at each bar.
        let mut known: BTreeMap<Pair, BTreeMap<i64, (f64, f64, u32)>> = BTreeMap::new();
        let mut large: BTreeSet<i64> = BTreeSet::new();
        let mut modes: BTreeMap<i64, (f64, u32)> = BTreeMap::new();
        for &bar in &bars {
            let present = self.present(bar);
            if present.len() > settings.pairs_up_to {
                large.insert(bar);
            }
            for (i, a) in present.iter().enumerate() {
                let others = present[i + 1..].iter().cloned().chain([String::new()]);
                for pair in others.map(|b| (a.clone(), b)) {
                    if let Some(figures) = self.r(&pair, bar) {
                        known.entry(pair).or_default().insert(bar, figures);
                    }
                }
            }
            modes.extend(self.mode(&present, bar, &known).map(|mode| (bar, mode)));
            rows.betas.extend(self.betas(&present, bar, horizon));
        }
        for (&bar, &(ratio, symbols)) in &modes {
            let change_24h = modes.get(&(bar - DAY_MS / self.bar_ms)).map(|(before, _)| Real(ratio - before));
            let (market, absorption_ratio) = (id(""), Real(ratio));
            rows.market_mode.push(MarketMode { market, horizon, ts: ts(bar), absorption_ratio, change_24h, symbols });
        }
        for (pair, figures) in &known {
            let (symbol_a, symbol_b) = (id(&pair.0), id(&pair.1));
            let sampled = figures.iter().filter(|(bar, _)| (*bar + 1) * self.bar_ms % HOUR_MS == 0);
            let sampled: Vec<(i64, f64)> = sampled.map(|(&bar, &(r, _, _))| (self.day(bar), r.atanh())).collect();
            let baseline = |bar: i64, z: f64| self.baseline(&sampled, bar, z);
            let mut written: Option<(i64, f64)> = None;
            for (&bar, &(r, ewma, bars)) in figures {
                let is_due = written.is_none_or(|(day, last)| day != self.day(bar) || (r - last).abs() >= settings.row_step);
                if !large.contains(&bar) || is_due {
                    written = Some((self.day(bar), r));
                    let (ts, z) = (ts(bar), r.atanh());
                    let (r, ewma_r, fisher_z, baseline) = (Real(r), Real(ewma), Real(z), baseline(bar, z));
                    rows.correlations.push(Correlation { symbol_a, symbol_b, horizon, ts, r, ewma_r, fisher_z, baseline, bars });
                }
            }
            let watched = figures.iter().filter(|(bar, _)| large.contains(bar) == pair.1.is_empty());
            let watched: Vec<(i64, f64, Option<Baseline>)> =
                watched.map(|(&bar, &(r, _, _))| (bar, r, baseline(bar, r.atanh()))).collect();
            for (onset, end, r, strength, baseline) in self.breaks(&watched, self.last.unwrap()) {
                rows.breaks.push(CorrelationBreak {
                    symbol_a,
                    symbol_b,
                    horizon,
                    onset: ts(onset),
                    ended_at: end.map(ts),
                    return_correlation: Real(r),
                    divergence_strength: Real(strength),
                    is_pair_trade: baseline.is_some_and(|b| b.mean.0.tanh() >= settings.breaks.pair_trade_r),
                    baseline,
                });
            }
        }
    }

    /// Of the complete days before a bar's, one sample at each full hour.
    fn baseline(&self, sampled: &[(i64, f64)], bar: i64, z: f64) -> Option<Baseline> {
        let settings = &self.events.config.correlation;
        let complete = self.day(bar) - settings.baseline_days..self.day(bar);
        let inside: Vec<&(i64, f64)> = sampled.iter().filter(|(day, _)| complete.contains(day)).collect();
        let days: BTreeSet<i64> = inside.iter().map(|(day, _)| *day).collect();
        let samples: Vec<f64> = inside.iter().map(|(_, z)| (z * 1e3).round() / 1e3).collect();
        if (days.len() as i64) < settings.baseline_days_min || samples.len() < 2 {
            return None;
        }
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let sd = (samples.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        Some(Baseline { mean: Real(mean), sd: Real(sd), delta_z: Real((z - mean) / sd.max(settings.breaks.sd_min)) })
    }

    /// Onset, end, r, strength, baseline of each break among (bar, r, baseline).
    fn breaks(&self, figures: &[(i64, f64, Option<Baseline>)], last: i64) -> Vec<Break> {
        let settings = &self.events.config.correlation.breaks;
        let strength = |r: f64, baseline: &Option<Baseline>| {
            let below = r < settings.r_below && baseline.is_none_or(|b| b.delta_z.0 <= -settings.clear_sd);
            let fallen = baseline.filter(|b| b.delta_z.0 < -settings.fall_sd && r <= b.mean.0.tanh() - settings.fall_r);
            let fallen = fallen.map(|b| -b.delta_z.0 / settings.fall_sd);
            [below.then_some(r.abs()), fallen].into_iter().flatten().reduce(f64::max)
        };
        let is_clear =
            |r: f64, baseline: &Option<Baseline>| baseline.map_or(r >= settings.r_below, |b| b.delta_z.0 > -settings.clear_sd);
        let mut breaks: Vec<Break> = Vec::new();
        let mut held = 0;
        for (i, (bar, r, baseline)) in figures.iter().enumerate() {
            let open = breaks.last_mut().filter(|b| b.1.is_none());
            if let Some(open) = open {
                if bar - held >= self.window {
                    open.1 = Some(held + self.window);
                } else if is_clear(*r, baseline) {
                    open.1 = Some(*bar);
                }
            }
            let hold = settings.hold_bars as usize;
            if i + 1 < hold {
                continue;
            }
            let run = &figures[i + 1 - hold..=i];
            let together = run.windows(2).all(|two| two[1].0 - two[0].0 < self.window);
            if together && run.iter().all(|(_, r, baseline)| strength(*r, baseline).is_some()) {
                held = *bar;
                if breaks.last().is_none_or(|b| b.1.is_some()) {
                    breaks.push((*bar, None, *r, strength(*r, baseline).unwrap(), *baseline));
                }
            }
        }
        if let Some(open) = breaks.last_mut().filter(|b| b.1.is_none())
            && last - held >= self.window
        {
            open.1 = Some(held + self.window);
        }
        breaks
    }

    fn mode(&self, present: &[String], bar: i64, known: &BTreeMap<Pair, BTreeMap<i64, (f64, f64, u32)>>) -> Option<(f64, u32)> {
        let coverage = self.events.config.correlation.coverage_min;
        let joint_min = (2..).find(|&n| n as f64 >= coverage * self.window as f64).unwrap();
        let covered = |name: &&String| {
            let bars = self.returns[*name].range(bar - self.window + 1..=bar).count() as i64;
            2 * bars - self.window >= joint_min // any two of them have enough in common
        };
        let among: Vec<&String> = present.iter().filter(covered).collect();
        if among.len() < 3 {
            return None;
        }
        let at = |a: usize, b: usize| {
            let pair = (among[a.min(b)].clone(), among[a.max(b)].clone());
            if a == b { 1.0 } else { known.get(&pair).and_then(|of| of.get(&bar)).map_or(0.0, |figures| figures.0) }
        };
        let matrix: Vec<Vec<f64>> = (0..among.len()).map(|a| (0..among.len()).map(|b| at(a, b)).collect()).collect();
        Some((largest_eigenvalue(matrix) / among.len() as f64, among.len() as u32))
    }

    fn betas(&self, present: &[String], bar: i64, horizon: Horizon) -> Vec<Beta> {
        let benchmark = &self.events.config.correlation.benchmark;
        let mut rows = Vec::new();
        for name in present.iter().filter(|name| *name != benchmark && present.contains(benchmark)) {
            let joint = self.joint(&(name.clone(), benchmark.clone()), bar);
            let n = joint.len() as f64;
            let (mean_y, mean_x) = (mean(joint.iter().map(|j| j.1)), mean(joint.iter().map(|j| j.2)));
            let xx: f64 = joint.iter().map(|j| (j.2 - mean_x).powi(2)).sum();
            let yy: f64 = joint.iter().map(|j| (j.1 - mean_y).powi(2)).sum();
            let xy: f64 = joint.iter().map(|j| (j.2 - mean_x) * (j.1 - mean_y)).sum();
            let moves = joint.iter().any(|j| j.1 != joint[0].1) && joint.iter().any(|j| j.2 != joint[0].2);
            if !self.is_enough(joint.len()) || joint.len() < 3 || !moves {
                continue;
            }
            let beta = xy / xx;
            let errors: f64 = joint.iter().map(|j| (j.1 - mean_y - beta * (j.2 - mean_x)).powi(2)).sum();
            let per_day = (DAY_MS / self.bar_ms) as f64;
            rows.push(Beta {
                instrument: self.events.instruments.across(name).unwrap(),
                horizon,
                ts: (bar + 1) * self.bar_ms,
                beta: Real(beta),
                residual_volatility: Real((errors / (n - 2.0) * per_day).sqrt() / 1e7),
                r2: Real(xy * xy / (xx * yy)),
                bars: joint.len() as u32,
            });
        }
        rows
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn pearson(joint: &[(i64, f64, f64)], weight: impl Fn(i64) -> f64) -> f64 {
    let sum = |of: &dyn Fn(&(i64, f64, f64)) -> f64| joint.iter().map(|j| weight(j.0) * of(j)).sum::<f64>();
    let all = sum(&|_| 1.0);
    let (x, y) = (sum(&|j| j.1) / all, sum(&|j| j.2) / all);
    let product = |of: &dyn Fn(&(i64, f64, f64)) -> f64| sum(of);
    let xy = product(&|j| (j.1 - x) * (j.2 - y));
    xy / (product(&|j| (j.1 - x).powi(2)) * product(&|j| (j.2 - y).powi(2))).sqrt()
}

/// Jacobi's rotations until nothing is left beside the diagonal.
fn largest_eigenvalue(mut m: Vec<Vec<f64>>) -> f64 {
    let n = m.len();
    for _ in 0..60 {
        for p in 0..n {
            for q in p + 1..n {
                if m[p][q].abs() < 1e-14 {
                    continue;
                }
                let (s, c) = (0.5 * f64::atan2(2.0 * m[p][q], m[q][q] - m[p][p])).sin_cos();
                for row in &mut m {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                #[allow(clippy::needless_range_loop)]
                for k in 0..n {
                    (m[p][k], m[q][k]) = (c * m[p][k] - s * m[q][k], s * m[p][k] + c * m[q][k]);
                }
            }
        }
    }
    (0..n).map(|i| m[i][i]).fold(f64::MIN, f64::max)
}

fn close(a: Real, b: Real) -> bool {
    (a.0 - b.0).abs() <= 1e-9 * (1.0 + a.0.abs().max(b.0.abs()))
}

fn close_baselines(a: Option<Baseline>, b: Option<Baseline>) -> bool {
    match (a, b) {
        // A sample on the edge of a thousandth may fall on either side.
        (Some(a), Some(b)) => {
            (a.mean.0 - b.mean.0).abs() < 2e-3
                && (a.sd.0 - b.sd.0).abs() < 2e-3
                && (a.delta_z.0 - b.delta_z.0).abs() < 0.05 * (1.0 + a.delta_z.0.abs())
        }
        (None, None) => true,
        _ => false,
    }
}

pub fn near_correlation(a: &Correlation, b: &Correlation) -> bool {
    (a.symbol_a, a.symbol_b, a.horizon, a.ts, a.bars) == (b.symbol_a, b.symbol_b, b.horizon, b.ts, b.bars)
        && close(a.r, b.r)
        && close(a.ewma_r, b.ewma_r)
        && (a.fisher_z.0 - b.fisher_z.0).abs() < 1e-6
        && close_baselines(a.baseline, b.baseline)
}

pub fn near_mode(a: &MarketMode, b: &MarketMode) -> bool {
    let change = |r: &MarketMode| r.change_24h.unwrap_or_default();
    (a.horizon, a.ts, a.symbols, a.change_24h.is_some()) == (b.horizon, b.ts, b.symbols, b.change_24h.is_some())
        && close(a.absorption_ratio, b.absorption_ratio)
        && close(change(a), change(b))
}

pub fn near_beta(a: &Beta, b: &Beta) -> bool {
    (a.instrument, a.horizon, a.ts, a.bars) == (b.instrument, b.horizon, b.ts, b.bars)
        && close(a.beta, b.beta)
        && close(a.r2, b.r2)
        // All of the variance explained: what is left is rounding.
        && (a.residual_volatility.0 - b.residual_volatility.0).abs() < 1e-6 * (1.0 + a.residual_volatility.0)
}

pub fn near_break(a: &CorrelationBreak, b: &CorrelationBreak) -> bool {
    let plain = |r: &CorrelationBreak| (r.symbol_a, r.symbol_b, r.horizon, r.onset, r.ended_at, r.is_pair_trade);
    plain(a) == plain(b)
        && close(a.return_correlation, b.return_correlation)
        && (a.divergence_strength.0 - b.divergence_strength.0).abs() < 0.05 * (1.0 + a.divergence_strength.0)
        && close_baselines(a.baseline, b.baseline)
}
