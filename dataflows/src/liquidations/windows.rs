//! The sums of the windows that end with each full minute, and their ratios.
//!
//! An event belongs to the whole event second that holds it, and a window ending at `ts` covers the seconds in
//! (ts − window, ts]. So windows that end at full minutes are unions of whole minute buckets, and a late event corrects the
//! rows of the windows that hold it. A window in which nothing happened has no row. Ratios follow from the same buckets, and what
//! corrects a bar or a sample of open interest corrects them.

use std::ops::Range;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::Sums;
use super::ratios::{LOOK_BACK_MINUTES, Market};
use crate::by_time::ByTime;
use crate::config::Config;
use crate::due::Due;
use crate::fixed::Notional;
use crate::keeping::{Kept, Load, Save};
use crate::model::{
    Bar, Clock, InstrumentId, Instruments, Liquidation, LiquidationRatio, LiquidationWindow, MINUTE_MS, SECOND_MS, Timeframe,
    Venue, Window,
};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks, per_quantum, replace};
use crate::quotes::InterestSample;

/// Both views.
pub struct Windows<'scope> {
    /// View `liquidation_windows`.
    pub windows: VecCollection<'scope, KnownAt, LiquidationWindow, isize>,
    /// View `liquidation_ratios`.
    pub ratios: VecCollection<'scope, KnownAt, LiquidationRatio, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Window(LiquidationWindow),
    Ratio(LiquidationRatio),
}

/// What is known of an instrument. A correction of what was traded or open is (old, −1) and (new, +1).
#[derive(Clone)]
enum Input {
    Event { bucket: i64, sums: Sums },
    Traded { minute: i64, notional: Notional, diff: isize },
    Open { minute: i64, notional: Option<Notional>, diff: isize },
}

impl Input {
    fn of_event(event: &Liquidation) -> (InstrumentId, Self) {
        let bucket = (event.ts.div_euclid(SECOND_MS) + 59).div_euclid(60);
        (event.instrument, Self::Event { bucket, sums: Sums::of(event) })
    }

    fn of_bar(bar: &Bar, diff: isize) -> Option<(InstrumentId, Self)> {
        let traded = Self::Traded { minute: bar.ts.div_euclid(MINUTE_MS), notional: bar.notional, diff };
        (bar.timeframe == Timeframe::M1).then_some((bar.instrument, traded))
    }

    fn of_sample(sample: &InterestSample, diff: isize) -> (InstrumentId, Self) {
        let notional = sample.mark.map(|mark| mark.notional(sample.base));
        (sample.instrument, Self::Open { minute: sample.ts.div_euclid(MINUTE_MS), notional, diff })
    }

    fn diff(&self) -> isize {
        match self {
            Self::Event { .. } => 1,
            Self::Traded { diff, .. } | Self::Open { diff, .. } => *diff,
        }
    }
}

/// Maintains both views for all instruments.
pub fn windows<'scope>(
    events: StreamVec<'scope, KnownAt, Liquidation>,
    closed: VecCollection<'scope, KnownAt, Bar, isize>,
    interest: VecCollection<'scope, KnownAt, InterestSample, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> Windows<'scope> {
    let events = events.map(|event| Input::of_event(&event));
    let bars = closed.inner.flat_map(|(bar, _, diff)| Input::of_bar(&bar, diff));
    let samples = interest.inner.map(|(sample, _, diff)| Input::of_sample(&sample, diff));
    let state = State {
        horizon_minutes: config.correction_horizon_ms / MINUTE_MS + 1,
        watermarks: Watermarks::new(config.lateness_ms),
        names: instruments,
        by_instrument: FxHashMap::default(),
        due: Due::default(),
        at_hand: Vec::new(),
    };
    let input = events.concat(bars).concat(samples);
    let rows = per_quantum(input, clocks, "liquidation_windows", state, |state, _known_at, input, clocks, changes| {
        state.quantum(input, clocks, changes);
    });
    Windows {
        windows: rows.clone().flat_map(|row| if let Row::Window(row) = row { Some(row) } else { None }),
        ratios: rows.flat_map(|row| if let Row::Ratio(row) = row { Some(row) } else { None }),
    }
}

struct State {
    horizon_minutes: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    by_instrument: FxHashMap<InstrumentId, Minutes>,
    /// By the minute that closes next for them.
    due: Due,
    /// Those that are due in this quantum.
    at_hand: Vec<InstrumentId>,
}

/// One instrument's minutes, numbered by their end: bucket m covers the seconds in (60 (m − 1), 60 m].
#[derive(serde::Serialize, serde::Deserialize)]
struct Minutes {
    venue: Venue,
    buckets: ByTime<Sums>,
    market: Market,
    /// Rows up to this minute are out. They aren't kept: they follow from the buckets and the market.
    closed_to: i64,
    /// Minutes whose rows are out and may be wrong, with these rows.
    dirty: ByTime<Rows>,
}

/// Of each window.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Rows {
    windows: [Option<LiquidationWindow>; Window::ALL.len()],
    ratios: [Option<LiquidationRatio>; Window::ALL.len()],
}

impl Kept for State {
    fn save(&self, save: &mut Save) {
        save.shared(&self.watermarks);
        self.by_instrument.iter().for_each(|(&id, minutes)| save.part(id, &(minutes, self.due.of(id))));
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        self.watermarks = load.shared()?.unwrap_or_else(|| self.watermarks.clone());
        while let Some((id, (minutes, due))) = load.part::<(Minutes, Option<i64>)>()? {
            self.due.set(minutes.venue, id, due);
            self.by_instrument.insert(id, minutes);
        }
        Ok(())
    }
}

impl State {
    fn quantum(&mut self, mut input: Vec<(InstrumentId, Input)>, clocks: &[Clock], changes: &mut Vec<(Row, isize)>) {
        self.watermarks.advance(clocks);
        for venue in Venue::ALL {
            let closed_to = self.closed_to(venue);
            self.due.take(venue, closed_to, &mut self.at_hand);
        }
        // A correction's parts come in either order: take away before adding.
        input.sort_unstable_by_key(|(id, input)| (*id, input.diff()));
        for input in input.chunk_by(|a, b| a.0 == b.0) {
            let id = input[0].0;
            if !self.by_instrument.contains_key(&id) {
                let Some(instrument) = self.names.get(id) else { continue };
                self.by_instrument.insert(id, Minutes::new(instrument.venue));
            }
            let Some(minutes) = self.by_instrument.get_mut(&id) else { continue };
            input.iter().for_each(|(_, input)| minutes.apply(id, input));
            self.settle(id, changes); // at once: what was said of its minutes is let go before another's is taken up
        }
        for id in std::mem::take(&mut self.at_hand) {
            self.settle(id, changes);
        }
    }

    /// The second that a window ends with must be over.
    fn closed_to(&self, venue: Venue) -> i64 {
        (self.watermarks.of(venue) - SECOND_MS).div_euclid(MINUTE_MS)
    }

    fn settle(&mut self, id: InstrumentId, changes: &mut Vec<(Row, isize)>) {
        let Some(venue) = self.by_instrument.get(&id).map(|minutes| minutes.venue) else { return };
        let closed_to = self.closed_to(venue);
        let Some(minutes) = self.by_instrument.get_mut(&id) else { return };
        minutes.make_rows(id, closed_to, changes);
        minutes.forget_before(minutes.closed_to - self.horizon_minutes);
        let is_over = minutes.buckets.is_empty() && minutes.market.is_empty();
        self.due.set(venue, id, (!is_over).then_some(minutes.closed_to + 1));
        if is_over {
            self.by_instrument.remove(&id);
        }
    }
}

impl Minutes {
    fn new(venue: Venue) -> Self {
        Self { venue, buckets: ByTime::default(), market: Market::default(), closed_to: NEVER, dirty: ByTime::default() }
    }

    fn apply(&mut self, id: InstrumentId, input: &Input) {
        match input {
            Input::Event { bucket, sums } => {
                self.touch(id, *bucket..bucket + Window::H4.secs() / 60);
                self.buckets.get_or_insert_with(*bucket, Sums::default).merge(sums);
            }
            Input::Traded { minute, notional, diff } => {
                self.touch(id, Market::told_by_trades(*minute));
                self.market.set_traded(*minute, (*diff > 0).then_some(*notional));
            }
            Input::Open { minute, notional, diff } => {
                self.touch(id, Market::told_by_interest(*minute));
                self.market.set_interest(*minute, notional.filter(|_| *diff > 0));
            }
        }
    }

    /// Rows of `minutes` are about to change: keeps what was said of them.
    fn touch(&mut self, id: InstrumentId, minutes: Range<i64>) {
        for minute in minutes.start..minutes.end.min(self.closed_to + 1) {
            if !self.dirty.contains(minute) {
                self.dirty.insert(minute, self.rows(id, minute));
            }
        }
    }

    fn make_rows(&mut self, id: InstrumentId, closed_to: i64, changes: &mut Vec<(Row, isize)>) {
        for (minute, old) in std::mem::take(&mut self.dirty).iter() {
            replace_all(*old, self.rows(id, minute), changes);
        }
        if let (Some((first, _)), Some((last, _))) = (self.buckets.first(), self.buckets.last()) {
            // Later windows are empty, however long the silence.
            for minute in (self.closed_to + 1).max(first)..=closed_to.min(last + Window::H4.secs() / 60) {
                replace_all(Rows::default(), self.rows(id, minute), changes);
            }
        }
        self.closed_to = self.closed_to.max(closed_to);
    }

    /// Rows before `minute` are out for good.
    fn forget_before(&mut self, minute: i64) {
        self.buckets.forget_before(minute - Window::H4.secs() / 60);
        self.market.forget_before(minute - LOOK_BACK_MINUTES - 1);
    }

    fn rows(&self, id: InstrumentId, minute: i64) -> Rows {
        if self.buckets.is_empty() {
            return Rows::default();
        }
        let windows = Window::ALL.map(|window| self.sums(id, window, minute));
        Rows { windows, ratios: windows.map(|sums| self.market.ratio(&sums?)) }
    }

    fn sums(&self, instrument: InstrumentId, window: Window, minute: i64) -> Option<LiquidationWindow> {
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

fn replace_all(old: Rows, new: Rows, changes: &mut Vec<(Row, isize)>) {
    old.windows.into_iter().zip(new.windows).for_each(|(old, new)| replace(old, new, Row::Window, changes));
    old.ratios.into_iter().zip(new.ratios).for_each(|(old, new)| replace(old, new, Row::Ratio, changes));
}
