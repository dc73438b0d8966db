//! View `funding_spreads`, and the spread's episodes: how the venues' predicted rates of one symbol differ.
//!
//! A row each minute in which any venue quotes the symbol and at least two venues' rates are known (a rate counts for a quarter of
//! an hour). The spread is judged like a rate, by the same limits, and its anomalies are those of `funding_anomalies` with venue ''.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Exchange};

use crate::by_time::ByTime;
use crate::config::{Config, Funding as Settings};
use crate::fixed::{Quantity, Rate};
use crate::funding::{Episodes, Series, per_8h};
use crate::keeping::ById;
use crate::model::{AnomalyKind, FundingAnomaly, FundingKind, FundingSpread, InstrumentId, Instruments, MINUTE_MS, Real, Venue};
use crate::operators::{Clocks, KnownAt, per_quantum, replace};
use crate::quotes::{InterestSample, KNOWN_MINUTES, RateSample};
use crate::venues::{Due, Said, Symbols, keep_minutes};

/// The view and its episodes.
pub struct Spreads<'scope> {
    /// By the minute.
    pub rows: VecCollection<'scope, KnownAt, FundingSpread, isize>,
    /// Where venues disagree more than they use to.
    pub anomalies: VecCollection<'scope, KnownAt, FundingAnomaly, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Spread(FundingSpread),
    Anomaly(FundingAnomaly),
}

/// What a venue says of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
enum Leg {
    /// Per 8 h.
    Rate(i64),
    /// Base units.
    Interest(Quantity),
}

/// A leg of a symbol: (symbol, diff, venue, minute, what it says). Sorted, what is taken away comes before what is added.
type Input = (InstrumentId, isize, Venue, i64, Leg);

/// Maintains the spreads of all symbols.
pub fn funding_spreads<'scope>(
    rates: VecCollection<'scope, KnownAt, RateSample, isize>,
    interest: VecCollection<'scope, KnownAt, InterestSample, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> Spreads<'scope> {
    let settings = config.funding;
    let keep = keep_minutes(config);
    let (mut of_rates, mut of_interest) = (Symbols::new(Arc::clone(&instruments)), Symbols::new(instruments));
    let rates = rates.inner.flat_map(move |(sample, _, diff)| {
        let (venue, symbol) = of_rates.of(sample.instrument).filter(|_| sample.kind == FundingKind::Predicted)?;
        Some((symbol, diff, venue, sample.ts.div_euclid(MINUTE_MS), Leg::Rate(per_8h(sample.rate, sample.interval_hours))))
    });
    let interest = interest.inner.flat_map(move |(sample, _, diff)| {
        let (venue, symbol) = of_interest.of(sample.instrument)?;
        Some((symbol, diff, venue, sample.ts.div_euclid(MINUTE_MS), Leg::Interest(sample.base)))
    });
    let places = clocks.keeping.places();
    let legs = rates.concat(interest).exchange(move |leg: &Input| places.of(leg.0.0));
    let state: ById<Symbol> = ById::default();
    let rows = per_quantum(
        legs,
        clocks,
        "funding_spreads",
        state,
        move |by_symbol, _known_at, mut legs: Vec<Input>, _clocks, changes| {
            legs.sort_unstable();
            for legs in legs.chunk_by(|a, b| a.0 == b.0) {
                let id = legs[0].0;
                let symbol = by_symbol.entry(id).or_insert_with(|| Symbol::new(id, keep));
                legs.iter().for_each(|leg| symbol.apply(leg));
                symbol.report(&settings, changes);
            }
        },
    );
    Spreads {
        rows: rows.clone().flat_map(|row| if let Row::Spread(row) = row { Some(row) } else { None }),
        anomalies: rows.flat_map(|row| if let Row::Anomaly(row) = row { Some(row) } else { None }),
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Symbol {
    id: InstrumentId,
    rates: Said<i64>,
    interest: Said<Quantity>,
    due: Due,
    series: Series,
    /// By minute, without scores and as they are out.
    rows: ByTime<(Option<FundingSpread>, Option<FundingSpread>)>,
    episodes: Episodes,
}

impl Symbol {
    fn new(id: InstrumentId, keep: i64) -> Self {
        Self {
            id,
            rates: Said::new(),
            interest: Said::new(),
            due: Due::new(keep),
            series: Series::new(keep),
            rows: ByTime::default(),
            episodes: Episodes::new(id, &[AnomalyKind::Spread]),
        }
    }

    fn apply(&mut self, &(_, diff, venue, minute, leg): &Input) {
        match leg {
            Leg::Rate(rate) => self.rates.set(venue, minute, (diff > 0).then_some(rate)),
            Leg::Interest(base) => self.interest.set(venue, minute, (diff > 0).then_some(base)),
        }
        self.due.touch(minute);
    }

    fn report(&mut self, settings: &Settings, changes: &mut Vec<(Row, isize)>) {
        let Some(newest) = self.rates.newest() else { return };
        let due = self.due.take(newest);
        for minute in due.clone() {
            let spread = self.spread(minute);
            if spread.is_some() || self.rows.contains(minute) {
                if self.series.is_due_before(minute) {
                    self.judge(due.start, settings, changes);
                }
                self.series.set(minute, spread.map(|spread| spread.spread.0));
                self.rows.get_or_insert_with(minute, Default::default).0 = spread;
            }
        }
        self.judge(due.start, settings, changes);
        let limit = self.due.limit();
        self.rates.forget_before(limit - KNOWN_MINUTES);
        self.interest.forget_before(limit - KNOWN_MINUTES);
        self.rows.forget_before(limit);
        self.episodes.settle((limit + 1) * MINUTE_MS);
    }

    fn judge(&mut self, from: i64, settings: &Settings, changes: &mut Vec<(Row, isize)>) {
        let said = self.series.judge(settings);
        for &(minute, said) in &said {
            self.episodes.set((minute + 1) * MINUTE_MS, said.map(|(verdict, state)| (Some(verdict), state)));
            if let Some((Some(plain), _)) = self.rows.get_mut(minute) {
                plain.scores = said.map(|(verdict, _)| verdict.scores).unwrap_or_default();
            }
        }
        // Scores reach further than what is due; a mean's weights may change without the spread.
        let first = said.first().map_or(from, |&(minute, _)| minute.min(from));
        for (plain, out) in self.rows.range_mut(first..).map(|(_, rows)| rows) {
            replace(std::mem::replace(out, *plain), *plain, Row::Spread, changes);
        }
        if !said.is_empty() {
            self.episodes.report(Row::Anomaly, changes);
        }
    }

    fn spread(&self, minute: i64) -> Option<FundingSpread> {
        if !self.rates.has(minute) {
            return None;
        }
        let rates: Vec<(Venue, i64)> = self.rates.at(minute).collect();
        if rates.len() < 2 {
            return None;
        }
        // Of equal rates the venue that comes first.
        let &(high_at, high) = rates.iter().max_by_key(|(venue, rate)| (*rate, std::cmp::Reverse(*venue)))?;
        let &(low_at, low) = rates.iter().min_by_key(|(venue, rate)| (*rate, *venue))?;
        Some(FundingSpread {
            instrument: self.id,
            ts: minute * MINUTE_MS,
            spread: Rate(high - low),
            highest: (high_at, Rate(high)),
            lowest: (low_at, Rate(low)),
            venues: rates.len() as u8,
            weighted_mean: self.weighted_mean(&rates, minute),
            scores: self.rows.get(minute).and_then(|(plain, _)| *plain).map(|plain| plain.scores).unwrap_or_default(),
        })
    }

    fn weighted_mean(&self, rates: &[(Venue, i64)], minute: i64) -> Option<Real> {
        let weighted = rates.iter().filter_map(|&(venue, rate)| Some((self.interest.of(venue, minute)?.to_f64(), rate)));
        let (weights, sum) =
            weighted.fold((0.0, 0.0), |(weights, sum), (weight, rate)| (weights + weight, sum + weight * Rate(rate).to_f64()));
        (weights > 0.0).then(|| Real(sum / weights))
    }
}
