//! View `open_interest`: each minute's, how it has changed, and what that says together with the price.
//!
//! Changes are of base units, which a price does not move, against the last minute known by then (not older than 15 minutes). The
//! quadrant is of one hour; its price is the mark price, or the last trade where no mark price is known.

use differential_dataflow::VecCollection;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Filter, Map};

use crate::by_time::ByTime;
use crate::config::{Config, OpenInterest as Settings};
use crate::fixed::Price;
use crate::keeping::ById;
use crate::minutes::{Known, Minutes};
use crate::model::{Bar, Clock, InstrumentId, InterestChanges, MINUTE_MS, OpenInterestRow, Quadrant, Real, Timeframe};
use crate::operators::{Clocks, KnownAt, NEVER, per_quantum, replace};
use crate::quotes::{InterestSample, KNOWN_MINUTES};

const DAY_MINUTES: i64 = 1_440;

#[derive(Clone)]
enum Input {
    Interest(InterestSample, isize),
    Bar(Bar, isize),
}

impl Input {
    fn order(&self) -> (InstrumentId, isize, i64) {
        match self {
            Self::Interest(sample, diff) => (sample.instrument, *diff, sample.ts),
            Self::Bar(bar, diff) => (bar.instrument, *diff, bar.ts),
        }
    }
}

/// Maintains the open interest of all instruments.
pub fn open_interest<'scope>(
    interest: VecCollection<'scope, KnownAt, InterestSample, isize>,
    closed: VecCollection<'scope, KnownAt, Bar, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, OpenInterestRow, isize> {
    let settings = config.open_interest;
    let horizon_minutes = config.correction_horizon_ms / MINUTE_MS + 1;
    let bars = closed.inner.filter(|(bar, _, _)| bar.timeframe == Timeframe::M1).map(|(bar, _, diff)| Input::Bar(bar, diff));
    let input = interest.inner.map(|(sample, _, diff)| Input::Interest(sample, diff)).concat(bars);
    let logic = move |by_instrument: &mut ById<Series>,
                      _known_at,
                      mut input: Vec<Input>,
                      _: &[Clock],
                      changes: &mut Vec<(OpenInterestRow, isize)>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        input.sort_unstable_by_key(Input::order);
        for input in input.chunk_by(|a, b| a.order().0 == b.order().0) {
            let id = input[0].order().0;
            let series = by_instrument.entry(id).or_insert_with(|| Series::new(horizon_minutes));
            for input in input {
                // Several hours can come in one quantum, and push out the day before what is to be told.
                if input.order().2.div_euclid(MINUTE_MS) - series.dirty_from > horizon_minutes {
                    series.make_rows(id, &settings, horizon_minutes, changes);
                }
                series.apply(id, input, &settings);
            }
            series.make_rows(id, &settings, horizon_minutes, changes);
        }
    };
    per_quantum(input, clocks, "open_interest", ById::default(), logic)
}

/// One instrument's open interest and prices.
#[derive(serde::Serialize, serde::Deserialize)]
struct Series {
    /// Base units by minute, of a day.
    base: Minutes<Known>,
    /// Samples by minute, of the time in which rows can change and the hour before it.
    samples: ByTime<InterestSample>,
    /// Closes of 1m bars, of the same time.
    closes: ByTime<Price>,
    /// Minutes whose rows are out and may be wrong, with these rows. Others aren't kept: they follow from the samples.
    dirty: ByTime<Option<OpenInterestRow>>,
    dirty_from: i64,
    /// The newest minute whose row is out.
    told_to: i64,
    /// Rows before it are out for good.
    kept_from: i64,
}

const CLEAN: i64 = i64::MAX;

impl Series {
    fn new(horizon_minutes: i64) -> Self {
        Self {
            base: Minutes::new(DAY_MINUTES + KNOWN_MINUTES + horizon_minutes + 2),
            samples: ByTime::default(),
            closes: ByTime::default(),
            dirty: ByTime::default(),
            dirty_from: CLEAN,
            told_to: NEVER,
            kept_from: NEVER,
        }
    }

    fn apply(&mut self, id: InstrumentId, input: &Input, settings: &Settings) {
        let minute = input.order().2.div_euclid(MINUTE_MS);
        self.touch(id, minute, settings);
        match input {
            Input::Interest(sample, diff) => {
                let sample = (*diff > 0).then_some(*sample);
                if let Some(slot) = self.base.slot(minute) {
                    *slot = sample.map_or_else(Known::default, |sample| Known::of(sample.base.to_f64()));
                }
                self.samples.set(minute, sample);
            }
            Input::Bar(bar, diff) => drop(self.closes.set(minute, (*diff > 0).then_some(bar.close))),
        }
        self.dirty_from = self.dirty_from.min(minute);
    }

    /// `minute` is about to change, and with it all that look back to it: keeps what was said of them.
    fn touch(&mut self, id: InstrumentId, minute: i64, settings: &Settings) {
        let from = minute.max(self.kept_from);
        if from > self.told_to {
            return; // the usual case: nothing has been said yet
        }
        let told = self.samples.range(from..=self.told_to).map(|(minute, _)| minute).chain([from]);
        let minutes: Vec<i64> = told.filter(|&minute| !self.dirty.contains(minute)).collect();
        for minute in minutes {
            self.dirty.insert(minute, self.row(id, minute, settings));
        }
    }

    fn make_rows(&mut self, id: InstrumentId, settings: &Settings, horizon: i64, changes: &mut Vec<(OpenInterestRow, isize)>) {
        self.dirty_from = CLEAN;
        for (minute, old) in std::mem::take(&mut self.dirty).iter() {
            replace(*old, self.row(id, minute, settings), |row| row, changes);
        }
        for (minute, _) in self.samples.range((self.told_to + 1).max(self.kept_from)..) {
            replace(None, self.row(id, minute, settings), |row| row, changes);
        }
        self.told_to = self.samples.last().map_or(self.told_to, |(newest, _)| newest.max(self.told_to));
        let newest = self.samples.last().map(|(minute, _)| minute).max(self.closes.last().map(|(minute, _)| minute));
        let Some(limit) = newest.map(|newest| newest - horizon) else { return };
        self.kept_from = limit;
        self.samples.forget_before(limit - 60 - KNOWN_MINUTES);
        self.closes.forget_before(limit - 60 - 2 * KNOWN_MINUTES);
    }

    fn row(&self, instrument: InstrumentId, minute: i64, settings: &Settings) -> Option<OpenInterestRow> {
        let sample = self.samples.get(minute)?;
        let now = sample.base.to_f64();
        let against = |minutes: i64| {
            let before = self.base.last_in(minute - minutes - KNOWN_MINUTES + 1, minute - minutes)?;
            (before.0 > 0.0).then(|| change(before.0, now))
        };
        let changes = InterestChanges { m5: against(5), h1: against(60), h24: against(DAY_MINUTES) };
        let quadrant = changes.h1.zip(self.price_change(minute)).map(|(interest, price)| quadrant(interest, price, settings));
        let usd = sample.mark.map(|mark| mark.notional(sample.base));
        Some(OpenInterestRow { instrument, ts: sample.ts, base: sample.base, usd, changes, quadrant })
    }

    /// Over the hour up to `minute`, between prices of one kind.
    fn price_change(&self, minute: i64) -> Option<Real> {
        let mark = |sample: Option<&InterestSample>| sample.and_then(|sample| sample.mark);
        let before = self.samples.range(minute - 60 - KNOWN_MINUTES + 1..=minute - 60).next_back().map(|(_, sample)| sample);
        let close = |minute: i64| self.closes.range(minute - KNOWN_MINUTES + 1..=minute).next_back().map(|(_, &close)| close);
        let marks = mark(before).zip(mark(self.samples.get(minute)));
        let (before, now) = marks.or_else(|| close(minute - 60).zip(close(minute)))?;
        Some(change(before.to_f64(), now.to_f64()))
    }
}

/// As a fraction, to nine decimals, so that a limit can be met exactly.
fn change(before: f64, now: f64) -> Real {
    Real(((now - before) / before * 1e9).round() / 1e9)
}

fn quadrant(interest: Real, price: Real, settings: &Settings) -> Quadrant {
    let is_flat = interest.0.abs() < settings.quadrant_interest_min || price.0.abs() < settings.quadrant_price_min;
    match (interest.0 > 0.0, price.0 > 0.0) {
        _ if is_flat => Quadrant::Neutral,
        (true, true) => Quadrant::LongBuildUp,
        (true, false) => Quadrant::ShortBuildUp,
        (false, true) => Quadrant::ShortCovering,
        (false, false) => Quadrant::LongUnwinding,
    }
}
