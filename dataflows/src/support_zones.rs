//! Views `support_zones` and `zone_touches`: price ranges in which much was liquidated, and the price's returns to them.
//!
//! At each full minute, per instrument and side: the notional liquidated over the window by price bucket; zones are the maximal runs of
//! adjacent buckets above the quantile of non-empty ones, the largest few. Only what the venue reported counts, nothing is estimated.
//!
//! - A liquidation lies in the bucket of the last trade price of its event second, or of the last second with trades in the five minutes
//!   before it: its own price is often the bankruptcy price, which is not where the market was. Without such a trade it is left out.
//! - Windows are whole event seconds: minute m covers the seconds in (60 (m − 1), 60 m], its row stands at 60 m and is published once
//!   that second is over.
//! - The reference price of the distance is the last mark price before the minute's end, not older than 15 minutes; else the last trade price,
//!   not older than 15 minutes; without either the minute has no rows (so an outage has none, whatever was in the window before it).
//! - A row stands at every minute, though often only the distance has changed: whoever takes the rows of one `ts` has all zones
//!   of that time, and an instrument without rows has none.
//! - A touch, in `zone_touches`, is of the zones published the minute before: nothing of the minute itself shapes them. It
//!   ends with the first minute that is away from the zone as it was then, or when the window has passed since.
//!
//! Everything is a function of the window's minutes, so nothing is carried on for ever. A late event takes the window back to
//! the minute before it, by the same exact sums, and goes forward again.

mod buckets;
mod episodes;
mod instrument;
mod prices;
mod sums;
mod visits;

use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use crate::config::{Config, SupportZones as Settings};
use crate::fixed::{Notional, Price};
use crate::hot::Base;
use crate::keeping::{Kept, Load, Save};
use crate::model::{
    Clock, Coverage, InstrumentId, Instruments, Liquidation, MINUTE_MS, Partial, PositionSide, PrintOrder, SECOND_MS,
    SupportZone, Tick, Venue, ZoneTouch,
};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks, per_quantum};
use buckets::Buckets;
use instrument::Zones;
use prices::Range;

/// The sides, by their number.
const SIDES: [PositionSide; 2] = [PositionSide::Long, PositionSide::Short];

/// How long before a liquidation the last trade may lie.
const LOOK_BACK_SECS: i64 = 300;

/// A mark price or a trade of longer ago says nothing about where the market is.
const REFERENCE_MINUTES: i64 = 15;

/// Both views.
pub struct Views<'scope> {
    /// By the minute.
    pub zones: VecCollection<'scope, KnownAt, SupportZone, isize>,
    /// The price's returns to zones.
    pub touches: VecCollection<'scope, KnownAt, ZoneTouch, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Zone(SupportZone),
    Touch(ZoneTouch),
}

/// What matters here of base rows.
#[derive(Clone, Copy)]
enum Input {
    Event { instrument: InstrumentId, second: i64, side: PositionSide, notional: Notional, coverage: Coverage },
    Prints { instrument: InstrumentId, close: (PrintOrder, i64), range: Range },
    Mark { instrument: InstrumentId, at: (i64, u64), price: Price },
}

/// Maintains both views for all instruments.
pub fn support_zones<'scope>(
    base: &Base<'scope>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> Views<'scope> {
    let events = base.liquidations.clone().map(|event| Input::of_event(&event));
    let prints = base.partials.clone().map(|partial| Input::of_prints(&partial));
    let marks = base.quotes.clone().flat_map(|quote| Input::of_mark(&quote));
    let state = State {
        settings: config.support_zones,
        buckets: Buckets::new(config.support_zones.bucket_bps),
        horizon_ms: config.correction_horizon_ms,
        watermarks: Watermarks::new(config.lateness_ms),
        closed_to: [NEVER; Venue::ALL.len()],
        names: instruments,
        index: FxHashMap::default(),
        zones: Vec::new(),
        due: Vec::new(),
    };
    let rows =
        per_quantum(events.concat(prints).concat(marks), clocks, "support_zones", state, |state, _, input, clocks, changes| {
            state.quantum(&input, clocks, changes);
        });
    Views {
        zones: rows.clone().flat_map(|row| if let Row::Zone(row) = row { Some(row) } else { None }),
        touches: rows.flat_map(|row| if let Row::Touch(row) = row { Some(row) } else { None }),
    }
}

impl Input {
    fn of_event(event: &Liquidation) -> Self {
        Self::Event {
            instrument: event.instrument,
            second: event.ts.div_euclid(SECOND_MS),
            side: event.position_side,
            notional: event.price.notional(event.qty),
            coverage: event.coverage,
        }
    }

    fn of_prints(Partial { instrument, prints, .. }: &Partial) -> Self {
        let (order, close) = prints.close;
        let range = Range { low: prints.low.0, high: prints.high.0 };
        Self::Prints { instrument: *instrument, close: (order, close.0), range }
    }

    fn of_mark(quote: &Tick) -> Option<Self> {
        let Tick::Mark(mark) = quote else { return None };
        mark.mark.map(|price| Self::Mark { instrument: mark.instrument, at: (mark.ts, mark.order), price })
    }

    fn instrument(&self) -> InstrumentId {
        match self {
            Self::Event { instrument, .. } | Self::Prints { instrument, .. } | Self::Mark { instrument, .. } => *instrument,
        }
    }
}

struct State {
    settings: Settings,
    buckets: Buckets,
    horizon_ms: i64,
    watermarks: Watermarks,
    /// Per venue: minutes up to this one are over.
    closed_to: [i64; Venue::ALL.len()],
    names: Arc<Instruments>,
    index: FxHashMap<InstrumentId, usize>,
    zones: Vec<Zones>,
    /// Whose rows may have to change in this quantum.
    due: Vec<usize>,
}

impl Kept for State {
    fn save(&self, save: &mut Save) {
        save.shared(&(&self.watermarks, &self.closed_to));
        self.zones.iter().for_each(|zones| save.part(zones.id(), zones));
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        if let Some(shared) = load.shared()? {
            (self.watermarks, self.closed_to) = shared;
        }
        while let Some((id, zones)) = load.part()? {
            self.index.insert(id, self.zones.len());
            self.zones.push(zones);
        }
        Ok(())
    }
}

impl State {
    fn quantum(&mut self, input: &[Input], clocks: &[Clock], changes: &mut Vec<(Row, isize)>) {
        for item in input {
            let Some(at) = self.find(item.instrument()) else { continue };
            let zones = &mut self.zones[at];
            zones.take(item, &self.settings);
            if zones.is_due() && self.due.last() != Some(&at) {
                self.due.push(at);
            }
        }
        self.watermarks.advance(clocks);
        for (venue, closed_to) in Venue::ALL.into_iter().zip(&mut self.closed_to) {
            // The second that a window ends with must be over.
            let now = (self.watermarks.of(venue) - SECOND_MS).div_euclid(MINUTE_MS);
            if now > *closed_to {
                *closed_to = now;
                let reach = minute_of(self.watermarks.reach(venue, self.horizon_ms).div_euclid(SECOND_MS));
                let of_venue = self.zones.iter_mut().enumerate().filter(|(_, zones)| zones.venue == venue);
                for (at, zones) in of_venue {
                    zones.reach = reach;
                    if zones.is_active() {
                        self.due.push(at);
                    }
                }
            }
        }
        self.due.sort_unstable();
        self.due.dedup();
        for at in self.due.drain(..) {
            let zones = &mut self.zones[at];
            zones.settle(self.closed_to[zones.venue as usize], &self.settings, &self.buckets, changes);
        }
    }

    fn find(&mut self, id: InstrumentId) -> Option<usize> {
        if let Some(&at) = self.index.get(&id) {
            return Some(at);
        }
        let venue = self.names.get(id)?.venue;
        self.closed_to.get(venue as usize)?; // no event is of all venues together
        let reach = minute_of(self.watermarks.reach(venue, self.horizon_ms).div_euclid(SECOND_MS));
        self.zones.push(Zones::new(id, venue, reach));
        self.index.insert(id, self.zones.len() - 1);
        Some(self.zones.len() - 1)
    }
}

/// The number of the minute that holds `second`: minute m covers (60 (m − 1), 60 m].
fn minute_of(second: i64) -> i64 {
    (second + 59).div_euclid(60)
}
