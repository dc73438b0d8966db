//! Which symbols there are, and their returns out of closing prices.
//!
//! A symbol may trade on several venues: its return of a bar is that of the first venue, in the order of [`Venue::ALL`], that has
//! this bar and the one before it. A return never spans two venues, nor an outage.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::returns::{ABSENT, between};
use crate::by_time::ByTime;
use crate::fixed::Price;
use crate::model::{InstrumentId, Instruments, Venue};

/// So many symbols are compared; those that come after them are left out.
const SYMBOLS_MAX: usize = 1_024;

/// All symbols, numbered as they came.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Symbols {
    #[serde(skip)]
    names: Arc<Instruments>,
    /// The symbol and the place among its venues' closings of an instrument. `None`: left out.
    by_instrument: FxHashMap<InstrumentId, Option<(usize, Venue)>>,
    by_name: BTreeMap<String, usize>,
    symbols: Vec<Symbol>,
    /// Symbols by name: figures must not depend on the order in which they came.
    pub order: Vec<usize>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Symbol {
    id: InstrumentId,
    /// Closing prices by bar, of each venue.
    venues: BTreeMap<Venue, ByTime<Price>>,
}

impl Symbols {
    pub fn new(names: Arc<Instruments>) -> Self {
        let (by_instrument, by_name) = (FxHashMap::default(), BTreeMap::new());
        Self { names, by_instrument, by_name, symbols: Vec::new(), order: Vec::new() }
    }

    pub fn set_names(&mut self, names: Arc<Instruments>) {
        self.names = names;
    }

    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// The symbol's own id, across venues.
    pub fn id(&self, symbol: usize) -> InstrumentId {
        self.symbols[symbol].id
    }

    pub fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Notes a closing price, or that it is gone. Returns the symbol.
    pub fn close(&mut self, instrument: InstrumentId, bar: i64, close: Option<Price>) -> Option<usize> {
        let (symbol, venue) = match self.by_instrument.get(&instrument) {
            Some(known) => *known,
            None => {
                let found = self.find(instrument);
                self.by_instrument.insert(instrument, found);
                found
            }
        }?;
        self.symbols[symbol].venues.entry(venue).or_default().set(bar, close);
        Some(symbol)
    }

    fn find(&mut self, instrument: InstrumentId) -> Option<(usize, Venue)> {
        let known = self.names.get(instrument)?;
        if let Some(&symbol) = self.by_name.get(&known.symbol) {
            return Some((symbol, known.venue));
        }
        if self.symbols.len() == SYMBOLS_MAX {
            return None;
        }
        let id = self.names.across(&known.symbol)?;
        let symbol = self.symbols.len();
        self.symbols.push(Symbol { id, venues: BTreeMap::new() });
        self.by_name.insert(known.symbol.clone(), symbol);
        self.order = self.by_name.values().copied().collect();
        Some((symbol, known.venue))
    }

    /// The symbol's return of a bar.
    pub fn return_of(&self, symbol: usize, bar: i64) -> i32 {
        let pairs = self.symbols[symbol].venues.values().map(|closings| (closings.get(bar - 1), closings.get(bar)));
        let first = pairs.filter_map(|(before, after)| Some((before?, after?))).next();
        first.map_or(ABSENT, |(before, after)| between(before.to_f64(), after.to_f64()))
    }

    /// Drops closing prices of bars before `bar`.
    pub fn forget_before(&mut self, bar: i64) {
        for closings in self.symbols.iter_mut().flat_map(|symbol| symbol.venues.values_mut()) {
            closings.forget_before(bar);
        }
    }
}
