//! Views `funding` and `open_interest`: what venues quote beside prices, sampled at each minute's end.
//!
//! Venues repeat themselves or send only what changed, so each field is a step function of event time, and a minute in which the
//! instrument was quoted at all gets a row with the last value by its end. A funding rate holds until the next one; open
//! interest counts as unknown when it has not been reported for 15 minutes. Rows appear when their minute is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;

use crate::config::Config;
use crate::fixed::{Price, Quantity, Rate};
use crate::model::{Clock, FundingKind, FundingRow, InstrumentId, Instruments, MINUTE_MS, OpenInterestRow, Tick, Venue};
use crate::operators::{KnownAt, NEVER, Watermarks, per_quantum, replace};
use crate::steps::Steps;

/// Where a venue does not say how often it settles.
const USUAL_INTERVAL_HOURS: u8 = 8;
/// Open interest that was reported longer ago is unknown.
const OPEN_INTEREST_MINUTES: i64 = 15;
/// Settled rates are remembered for so long, to tell repeats from corrections.
const SETTLED_MINUTES: i64 = 400 * 1_440;

/// No minutes.
const CLEAN: (i64, i64) = (i64::MAX, i64::MIN);

/// Both views.
pub struct Quotes<'scope> {
    /// Predicted rates by the minute, settled rates by the settlement.
    pub funding: VecCollection<'scope, KnownAt, FundingRow, isize>,
    /// By the minute.
    pub open_interest: VecCollection<'scope, KnownAt, OpenInterestRow, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Funding(FundingRow),
    OpenInterest(OpenInterestRow),
}

/// Maintains both views for all instruments.
pub fn quotes<'scope>(
    quotes: StreamVec<'scope, KnownAt, Tick>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> Quotes<'scope> {
    let mut state = State {
        horizon_minutes: config.correction_horizon_ms / MINUTE_MS + 1,
        watermarks: Watermarks::new(config.lateness_ms),
        names: instruments,
        by_instrument: FxHashMap::default(),
    };
    let rows = per_quantum(quotes, clocks, "quotes", move |_known_at, ticks, clocks, changes| {
        state.quantum(&ticks, clocks, changes);
    });
    Quotes {
        funding: rows.clone().flat_map(|row| if let Row::Funding(row) = row { Some(row) } else { None }),
        open_interest: rows.flat_map(|row| if let Row::OpenInterest(row) = row { Some(row) } else { None }),
    }
}

struct State {
    horizon_minutes: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    by_instrument: FxHashMap<InstrumentId, Quoted>,
}

struct Quoted {
    venue: Venue,
    /// Minutes in which anything was quoted.
    heard: BTreeSet<i64>,
    mark: Steps<Price>,
    rate: Steps<Rate>,
    interval: Steps<u8>,
    base: Steps<Quantity>,
    settled: BTreeMap<i64, (u64, Rate)>,
    settled_rows: BTreeMap<i64, FundingRow>,
    rows: BTreeMap<i64, (Option<FundingRow>, Option<OpenInterestRow>)>,
    closed_to: i64,
    /// Minutes whose rows may be wrong: from the first to before the second.
    dirty: (i64, i64),
    /// The same of settlements.
    settled_dirty: (i64, i64),
}

impl State {
    fn quantum(&mut self, ticks: &[Tick], clocks: &[Clock], changes: &mut Vec<(Row, isize)>) {
        for tick in ticks {
            let id = tick.instrument();
            let Some(venue) = self.by_instrument.get(&id).map(|q| q.venue).or_else(|| Some(self.names.get(id)?.venue)) else {
                continue;
            };
            self.by_instrument.entry(id).or_insert_with(|| Quoted::new(venue)).observe(tick);
        }
        self.watermarks.advance(clocks);
        for (&id, quoted) in &mut self.by_instrument {
            let closed_to = self.watermarks.of(quoted.venue).div_euclid(MINUTE_MS);
            quoted.make_rows(id, closed_to, changes);
            quoted.make_settled_rows(id, changes);
            quoted.forget(self.horizon_minutes);
        }
    }
}

impl Quoted {
    fn new(venue: Venue) -> Self {
        Self {
            venue,
            heard: BTreeSet::new(),
            mark: Steps::default(),
            rate: Steps::default(),
            interval: Steps::default(),
            base: Steps::default(),
            settled: BTreeMap::new(),
            settled_rows: BTreeMap::new(),
            rows: BTreeMap::new(),
            closed_to: NEVER,
            dirty: CLEAN,
            settled_dirty: CLEAN,
        }
    }

    fn observe(&mut self, tick: &Tick) {
        let minute = tick.ts().div_euclid(MINUTE_MS);
        match tick {
            Tick::Funding(funding) if funding.kind == FundingKind::Settled => {
                if let Some(rate) = funding.rate {
                    let slot = self.settled.entry(funding.ts).or_insert((funding.order, rate));
                    *slot = (*slot).max((funding.order, rate));
                    widen(&mut self.settled_dirty, minute, Some(minute + 1));
                }
                return;
            }
            Tick::Mark(mark) => {
                if let Some(price) = mark.mark {
                    self.mark.observe(minute, (mark.ts, mark.order), price);
                    self.touch(minute, self.mark.next_after(minute));
                }
            }
            Tick::Funding(funding) => {
                let at = (funding.ts, funding.order);
                if let Some(rate) = funding.rate {
                    self.rate.observe(minute, at, rate);
                    self.touch(minute, self.rate.next_after(minute));
                }
                if let Some(hours) = funding.interval_hours.filter(|&hours| hours > 0) {
                    self.interval.observe(minute, at, hours);
                    let next = self.interval.next_after(minute);
                    self.touch(minute, next);
                    widen(&mut self.settled_dirty, minute, next);
                }
            }
            Tick::OpenInterest(interest) => {
                self.base.observe(minute, (interest.ts, interest.order), interest.base);
                self.touch(minute, self.base.next_after(minute));
            }
            Tick::Trade(_) | Tick::Liquidation(_) | Tick::Kline(_) => return, // not quotes
        }
        self.heard.insert(minute);
        self.touch(minute, Some(minute + 1));
    }

    fn touch(&mut self, from: i64, until: Option<i64>) {
        widen(&mut self.dirty, from, until);
    }

    fn make_rows(&mut self, id: InstrumentId, closed_to: i64, changes: &mut Vec<(Row, isize)>) {
        if self.dirty == CLEAN && closed_to <= self.closed_to {
            return;
        }
        let corrected = self.heard.range(self.dirty.0..self.dirty.1.min(self.closed_to).max(self.dirty.0));
        let closing = self.heard.range(self.closed_to..closed_to.max(self.closed_to));
        let minutes: Vec<i64> = corrected.chain(closing).copied().collect();
        for minute in minutes {
            let new = (self.funding(id, minute), self.open_interest(id, minute));
            let old = self.rows.insert(minute, new).unwrap_or_default();
            replace(old.0, new.0, Row::Funding, changes);
            replace(old.1, new.1, Row::OpenInterest, changes);
        }
        self.closed_to = self.closed_to.max(closed_to);
        self.dirty = CLEAN;
    }

    fn funding(&self, instrument: InstrumentId, minute: i64) -> Option<FundingRow> {
        let (_, rate) = self.rate.at(minute)?;
        let interval_hours = self.interval.at(minute).map_or(USUAL_INTERVAL_HOURS, |(_, hours)| hours);
        Some(FundingRow { instrument, kind: FundingKind::Predicted, ts: minute * MINUTE_MS, rate, interval_hours })
    }

    fn open_interest(&self, instrument: InstrumentId, minute: i64) -> Option<OpenInterestRow> {
        let (_, base) = self.base.at(minute).filter(|(seen, _)| minute - seen < OPEN_INTEREST_MINUTES)?;
        let usd = self.mark.at(minute).map(|(_, mark)| mark.notional(base));
        Some(OpenInterestRow { instrument, ts: minute * MINUTE_MS, base, usd })
    }

    fn make_settled_rows(&mut self, instrument: InstrumentId, changes: &mut Vec<(Row, isize)>) {
        let (from, until) = std::mem::replace(&mut self.settled_dirty, CLEAN);
        if from >= until {
            return;
        }
        for (&ts, &(_, rate)) in self.settled.range(from.saturating_mul(MINUTE_MS)..until.saturating_mul(MINUTE_MS)) {
            let known = self.interval.at(ts.div_euclid(MINUTE_MS));
            let interval_hours = known.map_or(USUAL_INTERVAL_HOURS, |(_, hours)| hours);
            let row = FundingRow { instrument, kind: FundingKind::Settled, ts, rate, interval_hours };
            let old = self.settled_rows.insert(ts, row);
            replace(old, Some(row), Row::Funding, changes);
        }
    }

    fn forget(&mut self, horizon_minutes: i64) {
        let limit = self.closed_to - horizon_minutes;
        if self.heard.first().is_none_or(|&first| first >= limit - 5) {
            return; // a few at a time
        }
        self.heard = self.heard.split_off(&limit);
        self.rows = self.rows.split_off(&limit);
        self.mark.forget_before(limit);
        self.rate.forget_before(limit);
        self.base.forget_before(limit);
        // A settlement's interval must stay what it was for as long as the settlement is remembered.
        self.interval.forget_repeats_before(limit);
        self.interval.forget_before(self.closed_to - SETTLED_MINUTES);
        let settled_limit = (self.closed_to - SETTLED_MINUTES) * MINUTE_MS;
        self.settled = self.settled.split_off(&settled_limit);
        self.settled_rows = self.settled_rows.split_off(&settled_limit);
    }
}

/// Adds the minutes from `from` to before `until` (`None`: all that follow).
fn widen(dirty: &mut (i64, i64), from: i64, until: Option<i64>) {
    *dirty = (dirty.0.min(from), dirty.1.max(until.unwrap_or(i64::MAX)));
}
