//! Where the views meet: the whole dataflow on one page.
//!
//! ```text
//! ticks ─▶ base rows ─┬▶ bars ──────┬▶ volatility ─▶ volatility_regimes
//!                     │   klines ───┴▶ kline_checks
//!                     │             └▶ correlations, market_mode, betas, correlation_breaks
//!                     ├▶ lead_lag, lead_scores, leaders
//!                     ├▶ liquidations, windows
//!                     ├▶ cascades ◀ prices
//!                     └▶ funding, open_interest
//! ```
//!
//! To add a view: one file with one function from collections to a collection, and one line here.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Exchange;
use timely::dataflow::operators::vec::Broadcast;

use crate::config::Config;
use crate::hot::{Counters, base};
use crate::model::{Clock, Instruments, LateEvent, Tick};
use crate::operators::{KnownAt, per_quantum};
use crate::{bars, cascades, correlations, kline_checks, lead_lag, liquidations, quotes, volatility, volatility_regimes};

/// A view: its changes, each instrument's on one worker.
pub type View<'scope, R> = VecCollection<'scope, KnownAt, R, isize>;

macro_rules! views {
    ($($view:ident: $kind:ident($row:ty),)*) => {
        /// Every view.
        #[allow(missing_docs)]
        pub struct Views<'scope> {
            $(pub $view: View<'scope, $row>,)*
        }
    };
}
crate::for_each_view!(views);

/// Builds the dataflow behind `ticks` and `clocks`, which may lie on any worker.
pub fn build<'scope>(
    ticks: StreamVec<'scope, KnownAt, Tick>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
    instruments: &Arc<Instruments>,
    counters: &Arc<Counters>,
) -> Views<'scope> {
    let clocks = clocks.broadcast();
    let names = || Arc::clone(instruments);

    let base = base(ticks, clocks.clone(), config, names(), Arc::clone(counters));
    let bars = bars::bars(base.partials.clone(), clocks.clone(), config, names());
    let volatility = volatility::volatility(bars.closed.clone(), clocks.clone(), config);
    let cascades = cascades::cascades(base.liquidations.clone(), base.partials, clocks.clone(), config, names());
    let correlations = correlations::correlations(bars.closed.clone(), clocks.clone(), config, instruments);
    let lead_lag = lead_lag::lead_lag(base.last_prices, clocks.clone(), config, names());
    let quotes = quotes::quotes(base.quotes, clocks.clone(), config, names());
    Views {
        kline_checks: kline_checks::kline_checks(base.klines, bars.closed, clocks.clone(), config, names()),
        liquidation_windows: liquidations::liquidation_windows(base.liquidations.clone(), clocks.clone(), config, names()),
        liquidations: liquidations::liquidations(base.liquidations, clocks.clone()),
        volatility_regimes: volatility_regimes::volatility_regimes(volatility.clone(), clocks.clone(), config),
        late_events: late_events(base.late, clocks),
        bars: bars.bars,
        cascades,
        volatility,
        funding: quotes.funding,
        open_interest: quotes.open_interest,
        correlations: correlations.correlations,
        market_mode: correlations.market_mode,
        betas: correlations.betas,
        correlation_breaks: correlations.correlation_breaks,
        lead_lag: lead_lag.lead_lag,
        lead_scores: lead_lag.lead_scores,
        leaders: lead_lag.leaders,
    }
}

/// Numbers the late events of each (venue, stream) and quantum. A venue's meet on one worker and are sorted, so that numbers
/// depend neither on the number of workers nor on the order inside the quantum.
fn late_events<'scope>(
    late: StreamVec<'scope, KnownAt, LateEvent>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
) -> View<'scope, LateEvent> {
    let by_venue = late.exchange(|event| event.venue as u64);
    per_quantum(by_venue, clocks, "late_events", |_, mut events, _, changes| {
        events.sort_unstable_by_key(|event| (event.venue, event.stream, event.ts, event.instrument, event.applied));
        for events in events.chunk_by_mut(|a, b| (a.venue, a.stream) == (b.venue, b.stream)) {
            for (seq, event) in (0..).zip(events) {
                event.seq = seq;
                changes.push((*event, 1));
            }
        }
    })
}
