//! Views `liquidations` (each event) and `liquidation_windows` (trailing sums, a row each full minute).
//!
//! An event belongs to the whole event second that holds it, and a window ending at `ts` covers the seconds in
//! (ts − window, ts]. So windows that end at full minutes are unions of whole minute buckets, and a late event corrects the
//! rows of the windows that hold it. A window in which nothing happened has no row.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::due::Due;
use crate::fixed::Notional;
use crate::model::{
    Clock, Coverage, InstrumentId, Instruments, Liquidation, LiquidationRow, LiquidationWindow, MINUTE_MS, PositionSide,
    SECOND_MS, Venue, Window,
};
use crate::operators::{KnownAt, NEVER, Watermarks, per_quantum, replace};

/// View `liquidations`: every event as a row.
pub fn liquidations<'scope>(
    events: StreamVec<'scope, KnownAt, Liquidation>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
) -> VecCollection<'scope, KnownAt, LiquidationRow, isize> {
    per_quantum(events, clocks, "liquidations", |_known_at, events, _clocks, changes| {
        changes.extend(events.into_iter().map(|event| (to_row(&event), 1)));
    })
}

fn to_row(event: &Liquidation) -> LiquidationRow {
    LiquidationRow {
        instrument: event.instrument,
        ts: event.ts,
        position_side: event.position_side,
        price: event.price,
        qty: event.qty,
        seq: event.seq,
        price_kind: event.price_kind,
        notional: event.price.notional(event.qty),
        coverage: event.coverage,
    }
}

/// Sums over liquidations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub long: Notional,
    pub short: Notional,
    /// Number of events by coverage, in the order of [`Coverage`].
    pub counts: [u32; 3],
    pub largest: Notional,
}

impl Sums {
    pub fn of(event: &Liquidation) -> Self {
        let notional = event.price.notional(event.qty);
        let (long, short) = match event.position_side {
            PositionSide::Long => (notional, Notional(0)),
            PositionSide::Short => (Notional(0), notional),
        };
        let mut counts = [0; 3];
        counts[event.coverage as usize] = 1;
        Self { long, short, counts, largest: notional }
    }

    pub fn merge(&mut self, other: &Self) {
        self.long += other.long;
        self.short += other.short;
        self.counts.iter_mut().zip(other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.largest = self.largest.max(other.largest);
    }

    /// Takes out what was merged. `largest` cannot be taken out and stays.
    pub fn remove(&mut self, other: &Self) {
        self.long = self.long - other.long;
        self.short = self.short - other.short;
        self.counts.iter_mut().zip(other.counts).for_each(|(ours, theirs)| *ours -= theirs);
    }

    pub fn total(&self) -> Notional {
        self.long + self.short
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().map(|&n| u64::from(n)).sum()
    }

    /// The least complete coverage among the events.
    pub fn coverage(&self) -> Coverage {
        let [_, sampled, partial] = self.counts;
        match () {
            () if partial > 0 => Coverage::Partial,
            () if sampled > 0 => Coverage::Sampled1s,
            () => Coverage::Full,
        }
    }
}

/// View `liquidation_windows`: for each full minute, the sums of the windows that end with it.
pub fn liquidation_windows<'scope>(
    events: StreamVec<'scope, KnownAt, Liquidation>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> VecCollection<'scope, KnownAt, LiquidationWindow, isize> {
    let mut state = State {
        horizon_minutes: config.correction_horizon_ms / MINUTE_MS + 1,
        watermarks: Watermarks::new(config.lateness_ms),
        names: instruments,
        by_instrument: FxHashMap::default(),
        due: Due::default(),
        at_hand: Vec::new(),
    };
    per_quantum(events, clocks, "liquidation_windows", move |_known_at, events, clocks, changes| {
        state.quantum(&events, clocks, changes);
    })
}

struct State {
    horizon_minutes: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    by_instrument: FxHashMap<InstrumentId, Minutes>,
    /// By the minute that closes next for them.
    due: Due,
    /// Those of this quantum.
    at_hand: Vec<InstrumentId>,
}

/// One instrument's minutes, numbered by their end: bucket m covers the seconds in (60 (m − 1), 60 m].
struct Minutes {
    venue: Venue,
    buckets: ByTime<Sums>,
    /// Rows up to this minute are out. They aren't kept: they follow from the buckets.
    closed_to: i64,
    /// Minutes whose rows are out and may be wrong, with these rows.
    dirty: ByTime<Rows>,
}

/// Of each window.
type Rows = [Option<LiquidationWindow>; Window::ALL.len()];

impl State {
    fn quantum(&mut self, events: &[Liquidation], clocks: &[Clock], changes: &mut Vec<(LiquidationWindow, isize)>) {
        for event in events {
            let Some(instrument) = self.names.get(event.instrument) else { continue };
            let minutes = self.by_instrument.entry(event.instrument).or_insert_with(|| Minutes::new(instrument.venue));
            let second = event.ts.div_euclid(SECOND_MS);
            let bucket = (second + 59).div_euclid(60);
            minutes.add(event.instrument, bucket, &Sums::of(event));
            self.at_hand.push(event.instrument);
        }
        self.watermarks.advance(clocks);
        // The second that a window ends with must be over.
        let closed_to = |venue| (self.watermarks.of(venue) - SECOND_MS).div_euclid(MINUTE_MS);
        for venue in Venue::ALL {
            self.due.take(venue, closed_to(venue), &mut self.at_hand);
        }
        self.at_hand.sort_unstable();
        self.at_hand.dedup();
        for id in self.at_hand.drain(..) {
            let Some(minutes) = self.by_instrument.get_mut(&id) else { continue };
            minutes.make_rows(id, closed_to(minutes.venue), self.horizon_minutes, changes);
            let is_over = minutes.buckets.is_empty();
            self.due.set(minutes.venue, id, (!is_over).then_some(minutes.closed_to + 1));
            if is_over {
                self.by_instrument.remove(&id);
            }
        }
    }
}

impl Minutes {
    fn new(venue: Venue) -> Self {
        Self { venue, buckets: ByTime::default(), closed_to: NEVER, dirty: ByTime::default() }
    }

    fn add(&mut self, id: InstrumentId, bucket: i64, sums: &Sums) {
        for minute in bucket..=self.closed_to.min(bucket + Window::H4.secs() / 60 - 1) {
            if !self.dirty.contains(minute) {
                self.dirty.insert(minute, self.rows(id, minute));
            }
        }
        self.buckets.get_or_insert_with(bucket, Sums::default).merge(sums);
    }

    fn make_rows(&mut self, id: InstrumentId, closed_to: i64, horizon: i64, changes: &mut Vec<(LiquidationWindow, isize)>) {
        for (minute, old) in std::mem::take(&mut self.dirty).iter() {
            replace_all(*old, self.rows(id, minute), changes);
        }
        let (Some((first, _)), Some((last, _))) = (self.buckets.first(), self.buckets.last()) else { return };
        // Later windows are empty, however long the silence.
        for minute in (self.closed_to + 1).max(first)..=closed_to.min(last + Window::H4.secs() / 60) {
            replace_all(Rows::default(), self.rows(id, minute), changes);
        }
        if closed_to > self.closed_to {
            self.closed_to = closed_to;
            self.buckets.forget_before(closed_to - horizon - Window::H4.secs() / 60);
        }
    }

    fn rows(&self, id: InstrumentId, minute: i64) -> Rows {
        Window::ALL.map(|window| self.row(id, window, minute))
    }

    fn row(&self, instrument: InstrumentId, window: Window, minute: i64) -> Option<LiquidationWindow> {
        let mut sums = Sums::default();
        for bucket in self.buckets.range(minute - window.secs() / 60 + 1..=minute) {
            sums.merge(bucket.1);
        }
        (sums.count() > 0).then_some(LiquidationWindow {
            instrument,
            window,
            ts: minute * MINUTE_MS,
            long_notional: sums.long,
            short_notional: sums.short,
            count: sums.count(),
            largest: sums.largest,
            coverage: sums.coverage(),
        })
    }
}

fn replace_all(old: Rows, new: Rows, changes: &mut Vec<(LiquidationWindow, isize)>) {
    old.into_iter().zip(new).for_each(|(old, new)| replace(old, new, |row| row, changes));
}
