//! Where the views meet: the whole dataflow on one page.
//!
//! ```text
//! ticks ─▶ base rows ─┬▶ bars ──────┬▶ volatility ─▶ volatility_regimes
//!                     │   klines ───┼▶ kline_checks
//!                     │             ├▶ features (◀ liquidations, quotes, funding) ─▶ regimes, window_regimes, … ◀ models
//!                     │             │                └▶ confirmations, drift ─▶ regime_episodes
//!                     │             └▶ correlations, market_mode, betas, correlation_breaks (all symbols)
//!                     ├▶ lead_lag, lead_scores, leaders (configured symbols)
//!                     ├▶ liquidations;  windows, ratios ◀ bars, quotes
//!                     ├▶ cascades, self_excitation ◀ prices;  cascades ─▶ market_cascades
//!                     ├▶ support_zones, zone_touches ◀ prices, marks
//!                     └▶ quotes ─▶ basis
//!                               ├▶ funding, funding_anomalies
//!                               ├▶ open_interest ◀ bars;  oi_shocks ◀ cascades
//!                               └▶ funding_spreads, open_interest_totals (by symbol)
//! ```
//!
//! To add a view: one file with one function from collections to a collection, and one line here.

use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::{Data, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Concatenate, Exchange};
use timely::dataflow::{Scope, StreamVec};

use crate::config::Config;
use crate::hot::{Counters, Mode, base};
use crate::keeping::Keeping;
use crate::model::{BaseRow, Change, Changes, Clock, Instruments, LateEvent, Tick};
use crate::models::Release;
use crate::operators::{Clocks, KnownAt, per_quantum};
use crate::processes::{Processes, agreed};
use crate::{
    bars, cascades, correlations, features, funding, funding_spreads, kline_checks, lead_lag, liquidations, market_cascades,
    oi_shocks, open_interest, open_interest_totals, quotes, support_zones, volatility, volatility_regimes,
};
use crate::{confirmations, drift, regime_episodes, regimes};

/// A view: its changes, each instrument's on one worker.
pub type View<'scope, R> = VecCollection<'scope, KnownAt, R, isize>;

macro_rules! views {
    ($($view:ident: $kind:ident($row:ty),)*) => {
        /// Every view.
        #[allow(missing_docs)]
        pub struct Views<'scope> {
            $(pub $view: View<'scope, $row>,)*
        }

        impl<'scope> Views<'scope> {
            /// Hands all changes to `tell`. What a quantum changed has been told once the stream that comes back has passed it.
            pub fn tell(self, scope: Scope<'scope, KnownAt>, tell: impl Fn(Changes) + 'static) -> StreamVec<'scope, KnownAt, ()> {
                let tell: Tell = Rc::new(tell);
                scope.concatenate([$(told(self.$view, &tell, Changes::$kind),)*])
            }
        }
    };
}
crate::for_each_view!(views);

type Tell = Rc<dyn Fn(Changes)>;

/// One small operator a view: each is compiled for its row.
fn told<'scope, R: Data>(
    view: View<'scope, R>,
    tell: &Tell,
    changes: fn(Vec<Change<R>>) -> Changes,
) -> StreamVec<'scope, KnownAt, ()> {
    let tell = Rc::clone(tell);
    view.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "told", move |_capability, _info| {
        move |input, _output| input.for_each(|_capability, batch| tell(changes(std::mem::take(batch))))
    })
}

/// What goes in. It may lie on any worker.
pub struct Inputs<'scope> {
    /// What venues say.
    pub ticks: StreamVec<'scope, KnownAt, Tick>,
    /// How far they have come.
    pub clocks: StreamVec<'scope, KnownAt, Clock>,
    /// Models.
    pub releases: StreamVec<'scope, KnownAt, Release>,
    /// After a restart, what a journal kept. `None`: no journal is kept.
    pub restored: Option<StreamVec<'scope, KnownAt, BaseRow>>,
    /// Where states are saved to and loaded from.
    pub keeping: Keeping,
    /// What other processes say. `None`: there are none.
    pub processes: Option<Processes<'scope>>,
}

/// Builds the dataflow. Beside the views, the rows that a journal is to keep (where none is kept there are none).
pub fn build<'scope>(
    inputs: Inputs<'scope>,
    config: &Config,
    instruments: &Arc<Instruments>,
    counters: &Arc<Counters>,
) -> (Views<'scope>, StreamVec<'scope, KnownAt, BaseRow>) {
    let Inputs { ticks, clocks, releases, restored, keeping, processes } = inputs;
    let names = || Arc::clone(instruments);
    let mode = Mode { keeps_journal: restored.is_some(), is_alone: processes.is_none() };
    let mut records = clocks.broadcast();
    if let Some(processes) = processes {
        records = agreed(records, processes, &keeping, names());
    }
    let clocks = Clocks { records, keeping };

    let restored = restored.unwrap_or_else(|| empty(ticks.scope()));
    let base = base(ticks, clocks.clone(), restored, mode, config, names(), Arc::clone(counters));
    let journal = base.journal.clone();
    let bars = bars::bars(base.partials.clone(), base.klines.clone(), clocks.clone(), config, names());
    let zones = support_zones::support_zones(&base, clocks.clone(), config, names());
    let volatility = volatility::volatility(bars.closed.clone(), clocks.clone(), config);
    let cascades = cascades::cascades(base.liquidations.clone(), base.partials, clocks.clone(), config, names());
    let correlations = correlations::correlations(bars.closed.clone(), clocks.clone(), config, instruments);
    let lead_lag = lead_lag::lead_lag(base.last_prices, clocks.clone(), config, names());
    let quotes = quotes::quotes(base.quotes, clocks.clone(), config, names());
    let funding = funding::funding(quotes.rates.clone(), clocks.clone(), config);
    let features = features::Inputs {
        closed: bars.closed.clone(),
        liquidations: base.liquidations.clone(),
        interest: quotes.interest.clone(),
        funding: funding.rows.clone(),
    };
    let features = features::features(features, clocks.clone(), config, names());
    let regimes = regimes::regimes(features.clone(), releases.broadcast(), clocks.clone(), config, names());
    let confirmations = confirmations::confirmations(regimes.ballots, clocks.clone(), config, names());
    let drift = drift::drift(regimes.surprises, clocks.clone(), config);
    let seen = (confirmations.sightings, drift.sightings);
    let spreads = funding_spreads::funding_spreads(quotes.rates, quotes.interest.clone(), clocks.clone(), config, names());
    let open_interest = open_interest::open_interest(quotes.interest.clone(), bars.closed.clone(), clocks.clone(), config);
    let (liquidated, interest) = (base.liquidations.clone(), quotes.interest.clone());
    let windows = liquidations::windows(liquidated, bars.closed.clone(), interest, clocks.clone(), config, names());
    let views = Views {
        kline_checks: kline_checks::kline_checks(base.klines, bars.closed.clone(), clocks.clone(), config, names()),
        funding_anomalies: funding.anomalies.concat(spreads.anomalies),
        funding_spreads: spreads.rows,
        open_interest_totals: open_interest_totals::open_interest_totals(quotes.interest, clocks.clone(), config, names()),
        oi_shocks: oi_shocks::oi_shocks(open_interest.clone(), cascades.cascades.clone(), clocks.clone(), config),
        basis: quotes.basis,
        liquidation_windows: windows.windows,
        liquidation_ratios: windows.ratios,
        liquidations: liquidations::liquidations(base.liquidations, clocks.clone()),
        volatility_regimes: volatility_regimes::volatility_regimes(volatility.clone(), clocks.clone(), config),
        regime_episodes: regime_episodes::regime_episodes(regimes.regimes.clone(), seen.0, seen.1, clocks.clone(), config),
        features,
        regimes: regimes.regimes,
        candidate_regimes: regimes.candidate_regimes,
        window_regimes: regimes.window_regimes,
        confirmations: confirmations.confirmations,
        drift: drift.drift,
        late_events: late_events(base.late, clocks.clone()),
        bars: bars.bars,
        market_cascades: market_cascades::market_cascades(cascades.cascades.clone(), clocks.clone(), config, names()),
        cascades: cascades.cascades,
        self_excitation: cascades.self_excitation,
        volatility,
        support_zones: zones.zones,
        zone_touches: zones.touches,
        funding: funding.rows,
        open_interest,
        correlations: correlations.correlations,
        market_mode: correlations.market_mode,
        betas: correlations.betas,
        correlation_breaks: correlations.correlation_breaks,
        lead_lag: lead_lag.lead_lag,
        lead_scores: lead_lag.lead_scores,
        leaders: lead_lag.leaders,
    };
    (views, journal)
}

/// Numbers the late events of each (venue, stream) and quantum. A venue's meet on one worker and are sorted, so that numbers
/// depend neither on the number of workers nor on the order inside the quantum.
fn late_events<'scope>(late: StreamVec<'scope, KnownAt, LateEvent>, clocks: Clocks<'scope>) -> View<'scope, LateEvent> {
    let places = clocks.keeping.places();
    let by_venue = late.exchange(move |event| places.of(event.venue as u64));
    per_quantum(by_venue, clocks, "late_events", (), |(), _, mut events, _, changes| {
        events.sort_unstable_by_key(|event| (event.venue, event.stream, event.ts, event.instrument, event.applied));
        for events in events.chunk_by_mut(|a, b| (a.venue, a.stream) == (b.venue, b.stream)) {
            for (seq, event) in (0..).zip(events) {
                event.seq = seq;
                changes.push((*event, 1));
            }
        }
    })
}
