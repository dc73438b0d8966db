//! One horizon: steps forward bar by bar, and back where a correction says so.
//!
//! All sums are integers, so a step back is exact: the bar goes out, the one that had left comes in again, and a short log restores what else
//! the step changed (which pairs were written, open breaks, midnight's turn). What the step had said is worked out again from the same state, to the bit, instead of being kept.
//! Then it steps forward over the corrected returns, and what differs is the correction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Output;
use super::baseline::{Histories, History};
use super::breaks::{Breaks, Undo, baseline};
use super::closings::Symbols;
use super::eigen;
use super::ewma::Columns;
use super::key::Key;
use super::market::Against;
use super::products::{CrossProducts, Joint, pair, value};
use super::returns::{ABSENT, UNITS, fisher_z};
use super::rolling::{bars_min, joint_min};
use super::rows::Rows;
use crate::config::{Correlation as Settings, CorrelationWindow};
use crate::model::{
    Bar, Beta, Change, Correlation, CorrelationBreak, DAY_MS, HOUR_MS, Horizon, InstrumentId, Instruments, MINUTE_MS, MarketMode,
    Real,
};
use crate::operators::NEVER;

/// Symbols that a market mode needs.
const MODE_SYMBOLS_MIN: usize = 3;
/// A venue may lie behind the newest by this and the correction horizon in any market, …
const LAG_MS_MIN: i64 = HOUR_MS;
/// … and by this as long as the log of that time holds no more than so many written pairs. What lies further behind is left out.
const LAG_MS_MAX: i64 = 8 * DAY_MS;
const LOGGED_PAIRS_MAX: usize = 500_000;

/// The state of one horizon.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct HorizonState {
    settings: Settings,
    horizon: Horizon,
    market: InstrumentId,
    bar_ms: i64,
    /// In bars.
    window: i64,
    joint_min: u32,
    /// Bars that can be corrected in any market, and in a small one.
    depths: [i64; 2],
    /// This bar and those before it can't be corrected any more.
    reach: i64,
    symbols: Symbols,
    returns: Rows,
    products: CrossProducts,
    against: Against,
    /// The bar that was last taken in.
    at: i64,
    day: i64,
    pairs: Series,
    markets: Series,
    /// Absorption ratio and number of symbols by bar, of a day and the bars that can be corrected.
    modes: BTreeMap<i64, (f64, u32)>,
    breaks: Breaks,
    log: VecDeque<Step>,
    /// Written pairs in the log.
    logged: usize,
    triangle: Vec<f64>,
}

/// What is known of pairs, or of symbols and the market, numbered from 0.
#[derive(serde::Serialize, serde::Deserialize)]
struct Series {
    /// r as last written on this day. NaN: not yet.
    written: Vec<f64>,
    histories: Histories,
}

/// How a step is taken back.
#[derive(serde::Serialize, serde::Deserialize)]
struct Step {
    bar: i64,
    /// What was written, and what had been written before it.
    written: Vec<Key>,
    before: Vec<f64>,
    /// The day before, and what had been written on it.
    midnight: Option<(i64, [Vec<f64>; 2])>,
    breaks: Vec<Undo>,
}

impl HorizonState {
    pub fn new(settings: &Settings, window: CorrelationWindow, correction_ms: i64, names: Arc<Instruments>) -> Option<Self> {
        let bar_ms = window.timeframe.ms();
        let depths = [LAG_MS_MIN, LAG_MS_MAX].map(|lag| (correction_ms + lag) / bar_ms + 2);
        let series = || {
            let back = depths[1] * bar_ms / DAY_MS + 1;
            Series { written: Vec::new(), histories: Histories::new(settings.baseline_days, settings.baseline_days_min, back) }
        };
        Some(Self {
            horizon: Horizon(u32::try_from(window.bars as i64 * bar_ms / MINUTE_MS).unwrap_or(u32::MAX)),
            market: names.across("")?,
            bar_ms,
            window: window.bars as i64,
            joint_min: joint_min(window.bars, settings.coverage_min),
            depths,
            reach: NEVER,
            symbols: Symbols::new(names),
            returns: Rows::default(),
            products: CrossProducts::default(),
            against: Against::default(),
            at: NEVER,
            day: NEVER,
            pairs: series(),
            markets: series(),
            modes: BTreeMap::new(),
            breaks: Breaks::new(settings.breaks, window.bars as i64),
            log: VecDeque::new(),
            logged: 0,
            triangle: Vec::new(),
            settings: settings.clone(),
        })
    }

    /// Nothing has been taken in.
    pub fn is_empty(&self) -> bool {
        self.symbols.len() == 0
    }

    /// One that was saved, with the names that it is to use.
    pub fn named(mut self, names: Arc<Instruments>) -> Self {
        self.symbols.set_names(names);
        self
    }

    /// Takes in one quantum's closed bars and their corrections, all of the horizon's time frame.
    pub fn quantum(&mut self, bars: &mut [Change<Bar>], changes: &mut Vec<(Output, isize)>) {
        let edits = self.edits(bars);
        let Some(newest) = edits.newest else { return };
        let (mut old, mut new) = (Vec::new(), Vec::new());
        while self.log.back().is_some_and(|step| step.bar >= edits.first) {
            self.step_back(&mut old);
        }
        self.at = self.at.min(edits.first - 1);
        for (bar, symbol, value) in edits.values {
            self.returns.set(bar, symbol, value);
        }
        while self.at < newest {
            let next = self.at + 1;
            let is_idle = self.products.bars() == 0 && self.returns.of(next).is_empty();
            // Across an outage longer than the window there is nothing to do.
            self.at = if is_idle { self.returns.next_from(next).map_or(newest, |bar| bar - 1).min(newest) } else { next };
            if !is_idle {
                self.step(next, &mut new);
            }
        }
        self.forget();
        differ(old, new, changes);
        self.breaks.report(Output::Break, changes);
    }

    /// Takes in closing prices, and says which returns change by them.
    fn edits(&mut self, bars: &mut [Change<Bar>]) -> Edits {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        bars.sort_unstable_by_key(|(bar, _, diff)| (bar.ts, *diff, bar.instrument));
        let mut touched = Vec::new();
        let mut newest = None;
        for (bar, _, diff) in bars.iter() {
            let number = bar.ts.div_euclid(self.bar_ms);
            if number <= self.reach {
                continue;
            }
            newest = newest.max(Some(number));
            if let Some(symbol) = self.symbols.close(bar.instrument, number, (*diff > 0).then_some(bar.close)) {
                touched.extend([(number, symbol), (number + 1, symbol)]);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        let edited = touched.into_iter().filter_map(|(bar, symbol)| {
            let (old, new) = (value(self.returns.of(bar), symbol).unwrap_or(ABSENT), self.symbols.return_of(symbol, bar));
            (old != new).then_some((bar, symbol, new))
        });
        let values: Vec<(i64, usize, i32)> = edited.collect();
        let first = values.first().map_or(i64::MAX, |(bar, _, _)| *bar);
        if self.at == NEVER
            && let Some(start) = bars.first()
        {
            self.at = start.0.ts.div_euclid(self.bar_ms) - 1;
        }
        Edits { values, first, newest: newest.map(|newest| newest.max(self.at)) }
    }

    /// Takes the bar after `at` in and says its rows.
    fn step(&mut self, bar: i64, rows: &mut Vec<Output>) {
        self.products.grow(self.symbols.len());
        self.against.grow(self.symbols.len());
        let (added, removed) = (self.returns.of(bar), self.returns.of(bar - self.window));
        self.products.exchange(added, removed);
        self.against.exchange(added, removed);
        let mut step = Step { bar, written: Vec::new(), before: Vec::new(), midnight: None, breaks: Vec::new() };
        let day = self.day_of(bar);
        if day != self.day {
            let written = [&mut self.pairs, &mut self.markets].map(|series| std::mem::take(&mut series.written));
            step.midnight = Some((self.day, written));
            self.turn_to(day);
        }
        let present = self.present(bar);
        self.compare(bar, &present, &mut step);
        self.breaks.expire(bar, |bar| (bar + 1) * self.bar_ms);
        step.breaks = self.breaks.take_undo();
        if let Some(mode) = self.mode(&present) {
            self.modes.insert(bar, mode);
        }
        self.say(bar, &present, &step.written, rows);
        self.logged += step.written.len();
        self.log.push_back(step);
    }

    /// Takes the last bar out again and says what its rows had been.
    fn step_back(&mut self, rows: &mut Vec<Output>) {
        let Some(step) = self.log.pop_back() else { return };
        self.logged -= step.written.len();
        let bar = step.bar;
        let present = self.present(bar);
        self.say(bar, &present, &step.written, rows);
        if self.is_sampled(bar) {
            self.sample(bar, &present, -1);
        }
        for (&key, &before) in step.written.iter().zip(&step.before) {
            let (series, number) = self.series(key);
            series.written[number] = before;
        }
        if let Some((day, [pairs, markets])) = step.midnight {
            self.turn_to(day);
            (self.pairs.written, self.markets.written) = (pairs, markets);
        }
        self.breaks.undo(step.breaks);
        self.modes.remove(&bar);
        let (added, removed) = (self.returns.of(bar - self.window), self.returns.of(bar));
        self.products.exchange(added, removed);
        self.against.exchange(added, removed);
    }

    fn turn_to(&mut self, day: i64) {
        self.day = day;
        self.pairs.histories.turn_to(day);
        self.markets.histories.turn_to(day);
    }

    /// The day of a bar is that of its opening: the row of midnight ends a day.
    fn day_of(&self, bar: i64) -> i64 {
        (bar * self.bar_ms).div_euclid(DAY_MS)
    }

    fn is_sampled(&self, bar: i64) -> bool {
        ((bar + 1) * self.bar_ms) % HOUR_MS == 0
    }

    /// Symbols that have this bar, enough others and any variance, by name.
    fn present(&self, bar: i64) -> Vec<usize> {
        let row = self.returns.of(bar);
        let is_there = |&symbol: &usize| {
            value(row, symbol).is_some()
                && self.products.bars_of(symbol) >= self.joint_min
                && self.products.variance(symbol) > 0.0
        };
        self.symbols.order.iter().copied().filter(is_there).collect()
    }

    /// Works out all pairs: which are written, sampled, watched.
    fn compare(&mut self, bar: i64, present: &[usize], step: &mut Step) {
        let mut triangle = std::mem::take(&mut self.triangle);
        self.products.triangle(present, self.joint_min, &mut triangle);
        let is_large = present.len() > self.settings.pairs_up_to;
        for (high, &b) in present.iter().enumerate() {
            let row = &triangle[high * high.saturating_sub(1) / 2..][..high];
            for (&a, &r) in present.iter().zip(row).filter(|(_, r)| !r.is_nan()) {
                self.write(Key::pair(a, b), r, is_large, step);
                if !is_large {
                    self.watch(Key::pair(a, b), bar, r);
                }
            }
        }
        self.triangle = triangle;
        for &a in present {
            let Some(r) = self.market_r(a) else { continue };
            self.write(Key::market(a), r, is_large, step);
            if is_large {
                self.watch(Key::market(a), bar, r);
            }
        }
        if self.is_sampled(bar) {
            self.sample(bar, present, 1);
        }
    }

    /// Among many symbols a row is written when r has moved by a step since the last one of the day.
    fn write(&mut self, key: Key, r: f64, is_large: bool, step: &mut Step) {
        let row_step = self.settings.row_step;
        let (series, number) = self.series(key);
        if series.written.len() <= number {
            series.written.resize(number + 1, f64::NAN);
        }
        let before = series.written[number];
        if !is_large || before.is_nan() || (r - before).abs() >= row_step {
            series.written[number] = r;
            step.written.push(key);
            step.before.push(before);
        }
    }

    fn watch(&mut self, key: Key, bar: i64, r: f64) {
        let history = self.history(key);
        let (symbol_a, symbol_b) = self.names(key);
        let (horizon, onset) = (self.horizon, (bar + 1) * self.bar_ms);
        let nothing = Real(0.0);
        self.breaks.observe(key, bar, r, history, || CorrelationBreak {
            symbol_a,
            symbol_b,
            horizon,
            onset,
            ended_at: None,
            return_correlation: nothing,
            divergence_strength: nothing,
            is_pair_trade: false,
            baseline: None,
        });
    }

    /// Counts all pairs' z among the day's samples, or takes them out.
    fn sample(&mut self, bar: i64, present: &[usize], sign: i32) {
        let day = self.day_of(bar);
        let mut triangle = std::mem::take(&mut self.triangle);
        self.products.triangle(present, self.joint_min, &mut triangle);
        for (high, &b) in present.iter().enumerate() {
            let row = &triangle[high * high.saturating_sub(1) / 2..][..high];
            for (&a, &r) in present.iter().zip(row).filter(|(_, r)| !r.is_nan()) {
                self.pairs.histories.sample(day, pair(a, b), r, sign);
            }
        }
        self.triangle = triangle;
        for &a in present {
            if let Some(r) = self.market_r(a) {
                self.markets.histories.sample(day, a, r, sign);
            }
        }
    }

    fn market_r(&self, symbol: usize) -> Option<f64> {
        let joint = self.against.joint(symbol);
        if joint.bars >= self.joint_min { joint.r() } else { None }
    }

    /// The first eigenvector's share, among symbols any two of which have enough bars in common.
    fn mode(&self, present: &[usize]) -> Option<(f64, u32)> {
        let enough = bars_min(self.window as usize, self.joint_min);
        let among: Vec<usize> = present.iter().copied().filter(|&symbol| self.products.bars_of(symbol) >= enough).collect();
        if among.len() < MODE_SYMBOLS_MIN {
            return None;
        }
        let first = if among.len() == present.len() {
            eigen::first(among.len(), &self.triangle) // of the same symbols, just worked out
        } else {
            let mut triangle = Vec::new();
            self.products.triangle(&among, self.joint_min, &mut triangle);
            eigen::first(among.len(), &triangle)
        };
        first.map(|first| (first.value / among.len() as f64, among.len() as u32))
    }

    /// The rows of the bar that was last taken in.
    fn say(&self, bar: i64, present: &[usize], written: &[Key], rows: &mut Vec<Output>) {
        let ts = (bar + 1) * self.bar_ms;
        let half_life = self.settings.ewma_half_life * self.window as f64;
        let window = (bar - self.window + 1..=bar).map(|bar| self.returns.of(bar)).collect();
        let mut columns = Columns::new(window, half_life, self.symbols.len());
        for &key in written {
            let joint = self.joint(key);
            let ewma = match key.b() {
                Some(b) => columns.pair(key.a(), b),
                None => columns.market(key.a()),
            };
            let (Some(r), Some(ewma)) = (joint.r(), ewma) else { continue }; // both are there: it was written
            let (symbol_a, symbol_b) = self.names(key);
            let fisher = fisher_z(r);
            let baseline = baseline(fisher, self.history(key), self.settings.breaks.sd_min);
            let (r, ewma_r, fisher_z, bars) = (Real(r), Real(ewma), Real(fisher), joint.bars);
            let horizon = self.horizon;
            rows.push(Output::Correlation(Correlation { symbol_a, symbol_b, horizon, ts, r, ewma_r, fisher_z, baseline, bars }));
        }
        let benchmark = self.symbols.named(&self.settings.benchmark).filter(|benchmark| present.contains(benchmark));
        for &symbol in present.iter().filter(|&&symbol| Some(symbol) != benchmark) {
            rows.extend(benchmark.and_then(|benchmark| self.beta(symbol, benchmark, ts)).map(Output::Beta));
        }
        if let Some(&(ratio, symbols)) = self.modes.get(&bar) {
            let before = self.modes.get(&(bar - DAY_MS / self.bar_ms));
            let change_24h = before.map(|&(before, _)| Real(ratio - before));
            let (market, horizon, absorption_ratio) = (self.market, self.horizon, Real(ratio));
            rows.push(Output::Mode(MarketMode { market, horizon, ts, absorption_ratio, change_24h, symbols }));
        }
    }

    fn beta(&self, symbol: usize, benchmark: usize, ts: i64) -> Option<Beta> {
        let joint = self.products.joint(symbol, benchmark);
        let [covariance, own, of_benchmark] = joint.moments();
        if joint.bars < self.joint_min.max(3) || own <= 0.0 || of_benchmark <= 0.0 {
            return None;
        }
        let r2 = (covariance * covariance / (own * of_benchmark)).min(1.0);
        let n = f64::from(joint.bars);
        let residual = own / n * (1.0 - r2) / (n - 2.0) * (DAY_MS / self.bar_ms) as f64;
        Some(Beta {
            instrument: self.symbols.id(symbol),
            horizon: self.horizon,
            ts,
            beta: Real(covariance / of_benchmark),
            residual_volatility: Real(residual.sqrt() / UNITS),
            r2: Real(r2),
            bars: joint.bars,
        })
    }

    fn joint(&self, key: Key) -> Joint {
        key.b().map_or_else(|| self.against.joint(key.a()), |b| self.products.joint(key.a(), b))
    }

    fn series(&mut self, key: Key) -> (&mut Series, usize) {
        match key.b() {
            Some(b) => (&mut self.pairs, pair(key.a(), b)),
            None => (&mut self.markets, key.a()),
        }
    }

    fn history(&self, key: Key) -> Option<History> {
        match key.b() {
            Some(b) => self.pairs.histories.of(pair(key.a(), b)),
            None => self.markets.histories.of(key.a()),
        }
    }

    fn names(&self, key: Key) -> (InstrumentId, InstrumentId) {
        (self.symbols.id(key.a()), key.b().map_or(self.market, |b| self.symbols.id(b)))
    }

    fn forget(&mut self) {
        let [any, small] = self.depths.map(|depth| self.at - depth);
        while let Some(step) = self.log.pop_front_if(|step| step.bar < small || step.bar < any && self.logged > LOGGED_PAIRS_MAX)
        {
            self.logged -= step.written.len();
            self.reach = step.bar;
        }
        self.reach = self.reach.max(small);
        if self.at % 16 == 0 {
            self.returns.forget_before(self.reach - self.window - 1);
            self.symbols.forget_before(self.reach - 1);
            self.modes = self.modes.split_off(&(self.reach - DAY_MS / self.bar_ms - 1));
            self.breaks.settle((self.reach + 1) * self.bar_ms);
        }
    }
}

struct Edits {
    /// Bar, symbol, its new return; in order.
    values: Vec<(i64, usize, i32)>,
    /// The first bar that changes.
    first: i64,
    /// The newest bar to be taken in; `None`: nothing came that counts.
    newest: Option<i64>,
}

/// What is only in `old` goes, what is only in `new` comes.
fn differ(mut old: Vec<Output>, mut new: Vec<Output>, changes: &mut Vec<(Output, isize)>) {
    if !old.is_empty() {
        old.sort_unstable();
        new.sort_unstable();
        let mut kept = Vec::with_capacity(new.len());
        let mut gone = old.into_iter().peekable();
        for row in new {
            while let Some(gone) = gone.next_if(|gone| *gone < row) {
                changes.push((gone, -1));
            }
            if gone.next_if(|gone| *gone == row).is_none() {
                kept.push(row);
            }
        }
        changes.extend(gone.map(|row| (row, -1)));
        new = kept;
    }
    changes.extend(new.into_iter().map(|row| (row, 1)));
}
