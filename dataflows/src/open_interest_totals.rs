//! View `open_interest_totals`: open interest of one symbol on all venues together.
//!
//! A row each minute in which any venue's is known; a venue's counts for a quarter of an hour.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::dataflow::operators::Exchange;
use timely::dataflow::operators::vec::Map;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::fixed::{Notional, Price, Quantity};
use crate::keeping::ById;
use crate::model::{InstrumentId, Instruments, MINUTE_MS, OpenInterestTotal, Venue};
use crate::operators::{Clocks, KnownAt, per_quantum, replace};
use crate::quotes::{InterestSample, KNOWN_MINUTES};
use crate::venues::{Due, Said, Symbols, keep_minutes};

/// A venue's open interest and mark price in a minute: (symbol, diff, venue, minute, both).
type Input = (InstrumentId, isize, Venue, i64, (Quantity, Option<Price>));

/// Maintains the totals of all symbols.
pub fn open_interest_totals<'scope>(
    interest: VecCollection<'scope, KnownAt, InterestSample, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> VecCollection<'scope, KnownAt, OpenInterestTotal, isize> {
    let keep = keep_minutes(config);
    let mut symbols = Symbols::new(instruments);
    let legs = interest.inner.flat_map(move |(sample, _, diff)| {
        let (venue, symbol) = symbols.of(sample.instrument)?;
        Some((symbol, diff, venue, sample.ts.div_euclid(MINUTE_MS), (sample.base, sample.mark)))
    });
    let places = clocks.keeping.places();
    let legs = legs.exchange(move |leg: &Input| places.of(leg.0.0));
    let state: ById<Symbol> = ById::default();
    per_quantum(
        legs,
        clocks,
        "open_interest_totals",
        state,
        move |by_symbol, _known_at, mut legs: Vec<Input>, _clocks, changes| {
            // A correction is (old, −1) and (new, +1), in either order: take away before adding.
            legs.sort_unstable();
            for legs in legs.chunk_by(|a, b| a.0 == b.0) {
                let id = legs[0].0;
                let symbol = by_symbol.entry(id).or_insert_with(|| Symbol::new(keep));
                for &(_, diff, venue, minute, said) in legs {
                    symbol.touch(id, minute);
                    symbol.said.set(venue, minute, (diff > 0).then_some(said));
                }
                symbol.report(id, changes);
            }
        },
    )
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Symbol {
    said: Said<(Quantity, Option<Price>)>,
    due: Due,
    /// Minutes whose rows are out and may be wrong, with these rows. Others aren't kept: they follow from what venues said.
    dirty: ByTime<Option<OpenInterestTotal>>,
}

impl Symbol {
    fn new(keep: i64) -> Self {
        Self { said: Said::new(), due: Due::new(keep), dirty: ByTime::default() }
    }

    /// What a venue says of `minute` is about to change: keeps the rows that are out of the minutes for which it holds.
    fn touch(&mut self, id: InstrumentId, minute: i64) {
        for minute in minute.max(self.due.limit())..(minute + KNOWN_MINUTES).min(self.due.newest()) {
            if !self.dirty.contains(minute) {
                self.dirty.insert(minute, self.total(id, minute));
            }
        }
        self.due.touch(minute);
    }

    fn report(&mut self, id: InstrumentId, changes: &mut Vec<(OpenInterestTotal, isize)>) {
        let Some(newest) = self.said.newest() else { return };
        let told_to = self.due.newest();
        let due = self.due.take(newest);
        for (minute, old) in std::mem::take(&mut self.dirty).iter() {
            replace(*old, self.total(id, minute), |row| row, changes);
        }
        for minute in due.start.max(told_to)..due.end {
            replace(None, self.total(id, minute), |row| row, changes);
        }
        self.said.forget_before(self.due.limit() - KNOWN_MINUTES);
    }

    fn total(&self, instrument: InstrumentId, minute: i64) -> Option<OpenInterestTotal> {
        if !self.said.has(minute) {
            return None;
        }
        let mut total =
            OpenInterestTotal { instrument, ts: minute * MINUTE_MS, base: Quantity(0), usd: Some(Notional(0)), venues: 0 };
        for (_, (base, mark)) in self.said.at(minute) {
            total.base += base;
            total.usd = total.usd.zip(mark).map(|(usd, mark)| usd + mark.notional(base));
            total.venues += 1;
        }
        Some(total)
    }
}
