//! What venues quote beside prices, sampled at each minute's end: funding rates, open interest, and the view `basis`.
//!
//! Venues repeat themselves or send only what changed, so each field is a step function of event time, and a minute in which the
//! instrument was quoted at all gets a sample with the last value by its end. A funding rate holds until the next one; open
//! interest and index prices count as unknown when they have not been reported for 15 minutes. Samples appear when their minute
//! is closed. The views `funding` and `open_interest` are made of them elsewhere.
//!
//! A settled rate's interval is the one that its own message states; else the last one that was stated by then; else, of a
//! settlement before the first statement, the first; else the usual one.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::fixed::{Price, Quantity, Rate};
use crate::keeping::{Kept, Load, Save};
use crate::model::{BasisRow, Clock, FundingKind, InstrumentId, Instruments, MINUTE_MS, Real, Tick, Venue};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks, per_quantum, replace};
use crate::steps::Steps;

/// Where a venue does not say how often it settles.
const USUAL_INTERVAL_HOURS: u8 = 8;
/// Open interest or an index price that was reported longer ago is unknown.
pub(crate) const KNOWN_MINUTES: i64 = 15;
/// Settled rates are remembered for so long, to tell repeats from corrections.
pub(crate) const SETTLED_MINUTES: i64 = 400 * 1_440;
/// Mean length of a year.
const YEAR_MS: f64 = 365.25 * 86_400_000.0;

/// No minutes.
const CLEAN: (i64, i64) = (i64::MAX, i64::MIN);

/// The samples.
pub struct Quotes<'scope> {
    /// Predicted rates by the minute, settled rates by the settlement.
    pub rates: VecCollection<'scope, KnownAt, RateSample, isize>,
    /// By the minute.
    pub interest: VecCollection<'scope, KnownAt, InterestSample, isize>,
    /// By the minute.
    pub basis: VecCollection<'scope, KnownAt, BasisRow, isize>,
}

/// A funding rate at the end of a minute, or at a settlement. Key: instrument, kind, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RateSample {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Predicted or settled.
    pub kind: FundingKind,
    /// The minute's opening (predicted) or the settlement (settled), UTC ms.
    pub ts: i64,
    /// Per interval.
    pub rate: Rate,
    /// Hours between settlements.
    pub interval_hours: u8,
}

/// Open interest at the end of a minute. Key: instrument, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InterestSample {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The minute's opening, UTC ms.
    pub ts: i64,
    /// One side, base units.
    pub base: Quantity,
    /// The last mark price up to the end of the minute.
    pub mark: Option<Price>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Rate(RateSample),
    Interest(InterestSample),
    Basis(BasisRow),
}

/// Samples the quotes of all instruments.
pub fn quotes<'scope>(
    quotes: StreamVec<'scope, KnownAt, Tick>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> Quotes<'scope> {
    let state = State {
        horizon_minutes: config.correction_horizon_ms / MINUTE_MS + 1,
        watermarks: Watermarks::new(config.lateness_ms),
        names: instruments,
        index: FxHashMap::default(),
        quoted: Vec::new(),
        of_venue: Default::default(),
        closed_to: [NEVER; Venue::ALL.len()],
    };
    let rows = per_quantum(quotes, clocks, "quotes", state, |state, _known_at, ticks, clocks, changes| {
        state.quantum(&ticks, clocks, changes);
    });
    Quotes {
        rates: rows.clone().flat_map(|row| if let Row::Rate(row) = row { Some(row) } else { None }),
        interest: rows.clone().flat_map(|row| if let Row::Interest(row) = row { Some(row) } else { None }),
        basis: rows.flat_map(|row| if let Row::Basis(row) = row { Some(row) } else { None }),
    }
}

struct State {
    horizon_minutes: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    index: FxHashMap<InstrumentId, usize>,
    quoted: Vec<Quoted>,
    /// The places of each venue's instruments.
    of_venue: [Vec<usize>; Venue::ALL.len()],
    /// Per venue: the minute before which all are closed, when its instruments were last gone through.
    closed_to: [i64; Venue::ALL.len()],
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Quoted {
    id: InstrumentId,
    venue: Venue,
    expiry: Option<i64>,
    /// Minutes in which anything was quoted.
    heard: ByTime<()>,
    mark: Steps<Price>,
    index: Steps<Price>,
    rate: Steps<Rate>,
    interval: Steps<u8>,
    base: Steps<Quantity>,
    /// The venue's order, the rate, the interval that the message states.
    settled: ByTime<(u64, Rate, Option<u8>)>,
    settled_rows: ByTime<RateSample>,
    /// The rows of minutes before it are out. They aren't kept: they follow from what was observed.
    closed_to: i64,
    /// Minutes whose rows are out and may be wrong, with these rows.
    dirty: ByTime<Samples>,
    /// Settlements whose rows may be wrong: those of minutes from the first to before the second.
    settled_dirty: (i64, i64),
}

/// Of one minute.
type Samples = (Option<RateSample>, Option<InterestSample>, Option<BasisRow>);

impl Kept for State {
    fn save(&self, save: &mut Save) {
        save.shared(&(&self.watermarks, &self.closed_to));
        self.quoted.iter().for_each(|quoted| save.part(quoted.id, quoted));
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        if let Some(shared) = load.shared()? {
            (self.watermarks, self.closed_to) = shared;
        }
        while let Some((id, quoted)) = load.part::<Quoted>()? {
            self.index.insert(id, self.quoted.len());
            self.of_venue[quoted.venue as usize].push(self.quoted.len());
            self.quoted.push(quoted);
        }
        Ok(())
    }
}

impl State {
    fn quantum(&mut self, ticks: &[Tick], clocks: &[Clock], changes: &mut Vec<(Row, isize)>) {
        let mut touched = Vec::new();
        for tick in ticks {
            let Some(at) = self.find(tick.instrument()) else { continue };
            let quoted = &mut self.quoted[at];
            let was_clean = quoted.is_clean();
            quoted.observe(tick);
            if was_clean && !quoted.is_clean() {
                touched.push(at);
            }
        }
        self.watermarks.advance(clocks);
        // An instrument costs something only where it was touched, or once a minute.
        for venue in Venue::ALL {
            let closed_to = self.watermarks.of(venue).div_euclid(MINUTE_MS);
            if closed_to > std::mem::replace(&mut self.closed_to[venue as usize], closed_to) {
                for &at in &self.of_venue[venue as usize] {
                    self.quoted[at].settle(closed_to, changes);
                    self.quoted[at].forget(self.horizon_minutes);
                }
            }
        }
        for at in touched {
            let quoted = &mut self.quoted[at];
            quoted.settle(self.closed_to[quoted.venue as usize], changes);
        }
    }

    fn find(&mut self, id: InstrumentId) -> Option<usize> {
        if let Some(&at) = self.index.get(&id) {
            return Some(at);
        }
        let instrument = self.names.get(id)?;
        let at = self.quoted.len();
        self.quoted.push(Quoted::new(id, instrument.venue, instrument.expiry_ms()));
        self.of_venue[instrument.venue as usize].push(at);
        self.index.insert(id, at);
        Some(at)
    }
}

impl Quoted {
    fn new(id: InstrumentId, venue: Venue, expiry: Option<i64>) -> Self {
        Self {
            id,
            venue,
            expiry,
            heard: ByTime::default(),
            mark: Steps::default(),
            index: Steps::default(),
            rate: Steps::default(),
            interval: Steps::default(),
            base: Steps::default(),
            settled: ByTime::default(),
            settled_rows: ByTime::default(),
            closed_to: NEVER,
            dirty: ByTime::default(),
            settled_dirty: CLEAN,
        }
    }

    fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.settled_dirty == CLEAN
    }

    fn observe(&mut self, tick: &Tick) {
        let minute = tick.ts().div_euclid(MINUTE_MS);
        match tick {
            Tick::Funding(funding) if funding.kind == FundingKind::Settled => {
                if let Some(rate) = funding.rate {
                    let said = (funding.order, rate, funding.interval_hours.filter(|&hours| hours > 0));
                    let slot = self.settled.get_or_insert_with(funding.ts, || said);
                    *slot = (*slot).max(said);
                    widen(&mut self.settled_dirty, minute, Some(minute + 1));
                }
                return;
            }
            Tick::Mark(mark) => {
                if let Some(price) = mark.mark {
                    self.touch(minute, self.mark.next_after(minute));
                    self.mark.observe(minute, (mark.ts, mark.order), price);
                }
                if let Some(price) = mark.index {
                    self.touch(minute, self.index.next_after(minute));
                    self.index.observe(minute, (mark.ts, mark.order), price);
                }
            }
            Tick::Funding(funding) => {
                let at = (funding.ts, funding.order);
                if let Some(rate) = funding.rate {
                    self.touch(minute, self.rate.next_after(minute));
                    self.rate.observe(minute, at, rate);
                }
                if let Some(hours) = funding.interval_hours.filter(|&hours| hours > 0) {
                    let next = self.interval.next_after(minute);
                    self.touch(minute, next);
                    self.interval.observe(minute, at, hours);
                    // The first statement holds for the settlements before it too.
                    let from = if self.interval.at(minute - 1).is_some() { minute } else { i64::MIN };
                    widen(&mut self.settled_dirty, from, next);
                }
            }
            Tick::OpenInterest(interest) => {
                self.touch(minute, self.base.next_after(minute));
                self.base.observe(minute, (interest.ts, interest.order), interest.base);
            }
            Tick::Trade(_) | Tick::Liquidation(_) | Tick::Kline(_) => return, // not quotes
        }
        self.touch(minute, Some(minute + 1));
        self.heard.insert(minute, ());
    }

    /// The minutes from `from` to before `until` (`None`: all that follow) are about to change: keeps what was said of them.
    fn touch(&mut self, from: i64, until: Option<i64>) {
        let until = until.unwrap_or(i64::MAX).min(self.closed_to);
        if from >= until {
            return; // the usual case: nothing has been said yet
        }
        let heard = self.heard.range(from..until).map(|(minute, ())| minute);
        let minutes: Vec<i64> = heard.chain([from]).filter(|&minute| !self.dirty.contains(minute)).collect();
        for minute in minutes {
            self.dirty.insert(minute, self.samples(minute));
        }
    }

    /// What the samples should be, with all minutes before `closed_to` closed, against what they are.
    fn settle(&mut self, closed_to: i64, changes: &mut Vec<(Row, isize)>) {
        self.make_rows(closed_to, changes);
        self.make_settled_rows(changes);
    }

    fn make_rows(&mut self, closed_to: i64, changes: &mut Vec<(Row, isize)>) {
        let corrected = std::mem::take(&mut self.dirty);
        let corrected = corrected.iter().map(|(minute, old)| (minute, *old));
        let closing = self.heard.range(self.closed_to..closed_to).map(|(minute, ())| (minute, Samples::default()));
        for (minute, old) in corrected.chain(closing) {
            let new = self.samples(minute);
            replace(old.0, new.0, Row::Rate, changes);
            replace(old.1, new.1, Row::Interest, changes);
            replace(old.2, new.2, Row::Basis, changes);
        }
        self.closed_to = self.closed_to.max(closed_to);
    }

    fn samples(&self, minute: i64) -> Samples {
        let is_heard = self.heard.contains(minute);
        if is_heard { (self.rate(minute), self.interest(minute), self.basis(minute)) } else { Samples::default() }
    }

    fn rate(&self, minute: i64) -> Option<RateSample> {
        let (_, rate) = self.rate.at(minute)?;
        let interval_hours = self.interval.at(minute).map_or(USUAL_INTERVAL_HOURS, |(_, hours)| hours);
        let (instrument, ts) = (self.id, minute * MINUTE_MS);
        Some(RateSample { instrument, kind: FundingKind::Predicted, ts, rate, interval_hours })
    }

    fn interest(&self, minute: i64) -> Option<InterestSample> {
        let (_, base) = self.base.at(minute).filter(|(seen, _)| minute - seen < KNOWN_MINUTES)?;
        let mark = self.mark.at(minute).map(|(_, mark)| mark);
        Some(InterestSample { instrument: self.id, ts: minute * MINUTE_MS, base, mark })
    }

    fn basis(&self, minute: i64) -> Option<BasisRow> {
        let known = |price: &Steps<Price>| price.at(minute).filter(|(seen, _)| minute - seen < KNOWN_MINUTES);
        let ((_, mark), (_, index)) = (known(&self.mark)?, known(&self.index)?);
        let basis = (mark.0 - index.0) as f64 / index.0 as f64;
        // A year's worth of what the future loses until it expires.
        let left_ms = self.expiry.map(|expiry| expiry - (minute + 1) * MINUTE_MS).filter(|&left| left > 0);
        let annualised = left_ms.map(|left| Real(basis * YEAR_MS / left as f64));
        Some(BasisRow { instrument: self.id, ts: minute * MINUTE_MS, mark, index, basis_bps: Real(basis * 1e4), annualised })
    }

    fn make_settled_rows(&mut self, changes: &mut Vec<(Row, isize)>) {
        let (from, until) = std::mem::replace(&mut self.settled_dirty, CLEAN);
        if from >= until {
            return;
        }
        for (ts, &(_, rate, own)) in self.settled.range(from.saturating_mul(MINUTE_MS)..until.saturating_mul(MINUTE_MS)) {
            let interval_hours = own.unwrap_or_else(|| self.interval_of(ts.div_euclid(MINUTE_MS)));
            let row = RateSample { instrument: self.id, kind: FundingKind::Settled, ts, rate, interval_hours };
            let old = self.settled_rows.insert(ts, row);
            replace(old, Some(row), Row::Rate, changes);
        }
    }

    /// The interval that held at a settlement in `minute`.
    fn interval_of(&self, minute: i64) -> u8 {
        let first_after = || self.interval.at(self.interval.next_after(minute)?);
        self.interval.at(minute).or_else(first_after).map_or(USUAL_INTERVAL_HOURS, |(_, hours)| hours)
    }

    fn forget(&mut self, horizon_minutes: i64) {
        let limit = self.closed_to - horizon_minutes;
        if self.heard.first().is_none_or(|(first, ())| first >= limit - 5) {
            return; // a few at a time
        }
        self.heard.forget_before(limit);
        self.mark.forget_before(limit);
        self.index.forget_before(limit);
        self.rate.forget_before(limit);
        self.base.forget_before(limit);
        // A settlement's interval must stay what it was for as long as the settlement is remembered.
        self.interval.forget_repeats_before(limit);
        self.interval.forget_before(self.closed_to - SETTLED_MINUTES);
        let settled_limit = (self.closed_to - SETTLED_MINUTES) * MINUTE_MS;
        self.settled.forget_before(settled_limit);
        self.settled_rows.forget_before(settled_limit);
    }
}

/// Adds the minutes from `from` to before `until` (`None`: all that follow).
fn widen(dirty: &mut (i64, i64), from: i64, until: Option<i64>) {
    *dirty = (dirty.0.min(from), dirty.1.max(until.unwrap_or(i64::MAX)));
}
