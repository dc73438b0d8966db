//! Views `lead_lag`, `lead_scores`, `leaders`: which symbol moves first, by fractions of a second.
//!
//! Last-trade returns of 100 ms over 15 min, each full minute, for the symbols that are configured (on 1m and 5m bars nobody leads). ρ_k = cov(a_t, b_t+k)/(σ_a σ_b) for lags to
//! ±10: a leads where (ρ₊₁ − ρ₋₁)/√(2/n) > 3, b where it is below −3. A symbol's score is the number of symbols it leads minus those that
//! lead it; the leader is the one with the highest score above zero, alone, once it has been so for three minutes in a row.
//!
//! A symbol's prices in a window are those of the first venue, in the order of [`Venue::ALL`], that traded in it; returns begin after its first
//! trade in the window, so nothing before the window counts. All sums are of integers. A late trade corrects the minutes whose window holds it.

mod cross;
mod leaders;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Exchange;

use crate::config::{Config, LeadLag as Settings};
use crate::fixed::Price;
use crate::keeping::{Kept, Load, Save};
use crate::model::{
    Clock, HOUR_MS, InstrumentId, Instruments, LastPrice, LeadLag, LeadScore, Leader, MINUTE_MS, PrintOrder, Venue,
};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks, per_quantum, replace};
use cross::{Series, compare};
use leaders::Leaders;

/// The views.
pub struct LeadLags<'scope> {
    /// Pairs.
    pub lead_lag: VecCollection<'scope, KnownAt, LeadLag, isize>,
    /// Symbols.
    pub lead_scores: VecCollection<'scope, KnownAt, LeadScore, isize>,
    /// Who leads, from a change to the next.
    pub leaders: VecCollection<'scope, KnownAt, Leader, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Output {
    Pair(LeadLag),
    Score(LeadScore),
    Leader(Leader),
}

/// Maintains the views. All prices meet on one worker.
pub fn lead_lag<'scope>(
    prices: StreamVec<'scope, KnownAt, LastPrice>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> LeadLags<'scope> {
    let state = State::new(config, instruments);
    let all = per_quantum(prices.exchange(|_| 0), clocks, "lead_lag", state, |state, _, prices, clocks, changes| {
        state.quantum(&prices, clocks, changes);
    });
    LeadLags {
        lead_lag: all.clone().flat_map(|row| if let Output::Pair(row) = row { Some(row) } else { None }),
        lead_scores: all.clone().flat_map(|row| if let Output::Score(row) = row { Some(row) } else { None }),
        leaders: all.flat_map(|row| if let Output::Leader(row) = row { Some(row) } else { None }),
    }
}

type Prices = BTreeMap<i64, (PrintOrder, Price)>;

struct State {
    settings: Settings,
    horizon_ms: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    /// An instrument's symbol and venue.
    known: FxHashMap<InstrumentId, Option<(InstrumentId, Venue)>>,
    /// By symbol name: its id across venues, and each venue's last prices by bucket.
    symbols: BTreeMap<String, (InstrumentId, BTreeMap<Venue, Prices>)>,
    /// Minutes whose rows must be worked out once they are over.
    pending: BTreeSet<i64>,
    rows: BTreeMap<i64, (Vec<LeadLag>, Vec<LeadScore>)>,
    leaders: Leaders,
    /// This minute and those before it can't be corrected any more.
    reach: i64,
}

/// All prices are on the first worker.
const ROUTE: InstrumentId = InstrumentId(0);

impl Kept for State {
    fn save(&self, save: &mut Save) {
        let Self { watermarks, known, symbols, pending, rows, leaders, reach, .. } = self;
        save.shared(watermarks);
        if !symbols.is_empty() {
            save.part(ROUTE, &(known, symbols, pending, rows, leaders, reach));
        }
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        self.watermarks = load.shared()?.unwrap_or_else(|| self.watermarks.clone());
        while let Some((_, part)) = load.part()? {
            (self.known, self.symbols, self.pending, self.rows, self.leaders, self.reach) = part;
        }
        Ok(())
    }
}

impl State {
    fn new(config: &Config, names: Arc<Instruments>) -> Self {
        Self {
            settings: config.lead_lag.clone(),
            horizon_ms: config.correction_horizon_ms + HOUR_MS,
            watermarks: Watermarks::new(config.lateness_ms),
            names,
            known: FxHashMap::default(),
            symbols: BTreeMap::new(),
            pending: BTreeSet::new(),
            rows: BTreeMap::new(),
            leaders: Leaders::new(config.lead_lag.hold_minutes),
            reach: NEVER,
        }
    }

    fn quantum(&mut self, prices: &[LastPrice], clocks: &[Clock], changes: &mut Vec<(Output, isize)>) {
        let mut touched = BTreeSet::new();
        for price in prices {
            if self.add(price) {
                touched.insert(((price.bucket + 1) * self.settings.bucket_ms + MINUTE_MS - 1).div_euclid(MINUTE_MS));
            }
        }
        for minute in touched {
            self.pending.extend(minute..minute + self.settings.window_minutes);
        }
        self.watermarks.advance(clocks);
        let newest = Venue::ALL.into_iter().map(|venue| self.watermarks.of(venue)).max().unwrap_or(NEVER);
        let over = newest.div_euclid(MINUTE_MS);
        if self.pending.first().is_none_or(|&minute| minute > over) {
            return;
        }
        // By what was known before this quantum: a long one must say what short ones say.
        let reach = self.reach;
        let later = self.pending.split_off(&(over + 1));
        for minute in std::mem::replace(&mut self.pending, later).into_iter().filter(|&minute| minute > reach) {
            self.refresh(minute, changes);
        }
        self.leaders.report(changes, Output::Leader);
        self.reach = (newest - self.horizon_ms).div_euclid(MINUTE_MS);
        self.forget(self.reach);
    }

    /// Notes a last price. False: it changes nothing.
    fn add(&mut self, price: &LastPrice) -> bool {
        let names = &self.names;
        let find = || {
            let instrument = names.get(price.instrument)?;
            Some((names.across(&instrument.symbol)?, instrument.venue))
        };
        let Some((id, venue)) = *self.known.entry(price.instrument).or_insert_with(find) else { return false };
        let Some(name) = self.names.get(id).map(|across| across.symbol.clone()) else { return false };
        let (_, venues) = self.symbols.entry(name).or_insert_with(|| (id, BTreeMap::new()));
        let slot = venues.entry(venue).or_default().entry(price.bucket).or_insert(price.last);
        let is_new = price.last >= *slot;
        *slot = (*slot).max(price.last);
        is_new
    }

    /// Works out a minute's rows anew.
    fn refresh(&mut self, minute: i64, changes: &mut Vec<(Output, isize)>) {
        let ts = minute * MINUTE_MS;
        let last = ts.div_euclid(self.settings.bucket_ms) - 1;
        let first = last + 1 - self.settings.window_minutes * MINUTE_MS / self.settings.bucket_ms;
        let series: Vec<(InstrumentId, Series)> = self
            .symbols
            .values()
            .filter_map(|(id, venues)| {
                let traded = venues.values().find(|prices| prices.range(first..=last).next().is_some())?;
                let prices = traded.range(first..=last).map(|(&bucket, (_, price))| ((bucket - first) as usize, price.to_f64()));
                Some((*id, Series::of(prices, (last + 1 - first) as usize)))
            })
            .collect();
        let mut pairs = Vec::new();
        let mut scores: BTreeMap<InstrumentId, [u32; 2]> = BTreeMap::new();
        for (i, (symbol_a, a)) in series.iter().enumerate() {
            for (symbol_b, b) in &series[i + 1..] {
                let Some(found) = compare(a, b, &self.settings) else { continue };
                let leader = match found.strength {
                    s if s > self.settings.strength_min => Some((*symbol_a, *symbol_b)),
                    s if s < -self.settings.strength_min => Some((*symbol_b, *symbol_a)),
                    _ => None,
                };
                for symbol in [symbol_a, symbol_b] {
                    scores.entry(*symbol).or_default();
                }
                if let Some((leads, lags)) = leader {
                    scores.entry(leads).or_default()[0] += 1;
                    scores.entry(lags).or_default()[1] += 1;
                }
                pairs.push(found.row(*symbol_a, *symbol_b, ts, leader.map(|(leads, _)| leads)));
            }
        }
        let of = |(instrument, [leads, lags]): (InstrumentId, [u32; 2])| LeadScore { instrument, ts, leads, lags };
        let scores: Vec<LeadScore> = scores.into_iter().map(of).collect();
        self.leaders.observe(minute, &scores);
        let old =
            if pairs.is_empty() { self.rows.remove(&minute) } else { self.rows.insert(minute, (pairs.clone(), scores.clone())) };
        let (old_pairs, old_scores) = old.unwrap_or_default();
        differ(old_pairs, pairs, |row| (row.symbol_a, row.symbol_b), Output::Pair, changes);
        differ(old_scores, scores, |row| row.instrument, Output::Score, changes);
    }

    fn forget(&mut self, reach: i64) {
        self.rows = self.rows.split_off(&reach);
        self.leaders.settle(reach);
        let bucket = (reach - self.settings.window_minutes - 1) * MINUTE_MS / self.settings.bucket_ms;
        for prices in self.symbols.values_mut().flat_map(|(_, venues)| venues.values_mut()) {
            while prices.first_key_value().is_some_and(|(&first, _)| first < bucket) {
                prices.pop_first();
            }
        }
    }
}

fn differ<R: Copy + PartialEq, K: Ord>(
    old: Vec<R>,
    new: Vec<R>,
    key: impl Fn(&R) -> K,
    wrap: impl Fn(R) -> Output,
    changes: &mut Vec<(Output, isize)>,
) {
    let mut old: BTreeMap<K, R> = old.into_iter().map(|row| (key(&row), row)).collect();
    for row in new {
        replace(old.remove(&key(&row)), Some(row), &wrap, changes);
    }
    changes.extend(old.into_values().map(|row| (wrap(row), -1)));
}
