//! Views `correlations`, `market_mode`, `betas`, `correlation_breaks`: how symbols move together.
//!
//! Per horizon (5m bars over 24 h, 1m bars over 4 h): Pearson's r of all pairs of symbols and of each symbol with the rest of the market, the
//! first eigenvector's share, slopes on a benchmark, and pairs that break apart. Read [`returns`], [`products`], [`eigen`], then [`horizon`],
//! which steps through bars. [`RollingCorrelation`] is the core for whoever has rows of returns and no dataflow.
//!
//! A row stands at the end of a bar of which both symbols have a return. What a corrected bar touches is said anew from that bar on, as far
//! back as the correction horizon and an hour between venues reach. Above 20 symbols a pair is written when r has moved by 0.02 since its last
//! row; that chain starts afresh each UTC day.
//!
//! Cost: one step a bar and horizon, about a millisecond at 500 symbols; a correction pays for each bar from the corrected one on, there and back.

mod baseline;
mod breaks;
mod closings;
mod eigen;
mod ewma;
mod horizon;
mod key;
mod market;
mod products;
mod returns;
mod rolling;
mod rows;

use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Exchange;
use timely::dataflow::operators::core::Partition;
use timely::dataflow::operators::vec::Filter;

use crate::config::Config;
use crate::keeping::{Kept, Load, Save};
use crate::model::{Bar, Beta, Change, Correlation, CorrelationBreak, InstrumentId, Instruments, MarketMode, Timeframe};
use crate::operators::{Clocks, KnownAt, per_quantum};
pub use eigen::{First, first};
use horizon::HorizonState;
pub use products::{CrossProducts, Joint, pair};
pub use returns::{ABSENT, CLIP, UNITS, between, fisher_z, units};
pub use rolling::RollingCorrelation;

/// The views.
pub struct Correlations<'scope> {
    /// Pairs.
    pub correlations: VecCollection<'scope, KnownAt, Correlation, isize>,
    /// The market as one.
    pub market_mode: VecCollection<'scope, KnownAt, MarketMode, isize>,
    /// Symbols against the benchmark.
    pub betas: VecCollection<'scope, KnownAt, Beta, isize>,
    /// Pairs that broke apart.
    pub correlation_breaks: VecCollection<'scope, KnownAt, CorrelationBreak, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Output {
    Correlation(Correlation),
    Mode(MarketMode),
    Beta(Beta),
    Break(CorrelationBreak),
}

/// Maintains the views from closed bars. All of one time frame are on one worker.
pub fn correlations<'scope>(
    closed: VecCollection<'scope, KnownAt, Bar, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: &Arc<Instruments>,
) -> Correlations<'scope> {
    let settings = config.correlation.clone();
    let timeframes: Vec<Timeframe> = settings.horizons.iter().map(|window| window.timeframe).collect();
    let state = |&window| {
        let state = HorizonState::new(&settings, window, config.correction_horizon_ms, Arc::clone(instruments));
        state.map(|state| (window.timeframe, state))
    };
    let states: Vec<(Timeframe, HorizonState)> = settings.horizons.iter().filter_map(state).collect();
    let bars = closed.inner.filter(move |(bar, _, _)| timeframes.contains(&bar.timeframe));
    let places = clocks.keeping.places();
    let bars = bars.exchange(move |(bar, _, _)| places.of(bar.timeframe as u64));
    let state = Horizons { states, names: Arc::clone(instruments) };
    let all = per_quantum(bars, clocks, "correlations", state, |state, _, mut bars: Vec<Change<Bar>>, _, changes| {
        if bars.is_empty() {
            return;
        }
        bars.sort_unstable_by_key(|(bar, _, _)| bar.timeframe);
        for bars in bars.chunk_by_mut(|a, b| a.0.timeframe == b.0.timeframe) {
            let of = bars[0].0.timeframe;
            for (_, state) in state.states.iter_mut().filter(|(timeframe, _)| *timeframe == of) {
                state.quantum(bars, changes);
            }
        }
    });
    // Apart, not four times over: at midnight there is a row of every pair.
    let kind = |(row, known_at, diff): (Output, KnownAt, isize)| {
        let kind = match row {
            Output::Correlation(_) => 0,
            Output::Mode(_) => 1,
            Output::Beta(_) => 2,
            Output::Break(_) => 3,
        };
        (kind, (row, known_at, diff))
    };
    let mut kinds =
        all.inner.partition::<CapacityContainerBuilder<Vec<_>>, _, _>(4, kind).into_iter().map(|kind| kind.as_collection());
    let mut next = || kinds.next().unwrap_or_else(|| unreachable!("there are four"));
    Correlations {
        correlations: next().flat_map(|row| if let Output::Correlation(row) = row { Some(row) } else { None }),
        market_mode: next().flat_map(|row| if let Output::Mode(row) = row { Some(row) } else { None }),
        betas: next().flat_map(|row| if let Output::Beta(row) = row { Some(row) } else { None }),
        correlation_breaks: next().flat_map(|row| if let Output::Break(row) = row { Some(row) } else { None }),
    }
}

struct Horizons {
    states: Vec<(Timeframe, HorizonState)>,
    names: Arc<Instruments>,
}

impl Kept for Horizons {
    fn save(&self, save: &mut Save) {
        for (place, (timeframe, state)) in self.states.iter().enumerate().filter(|(_, (_, state))| !state.is_empty()) {
            save.part(InstrumentId(*timeframe as u64), &(place, state));
        }
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        while let Some((_, (place, state))) = load.part::<(usize, HorizonState)>()? {
            if let Some((_, known)) = self.states.get_mut(place) {
                *known = state.named(Arc::clone(&self.names));
            }
        }
        Ok(())
    }
}
