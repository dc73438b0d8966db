//! Views `cascades` and `self_excitation`.
//!
//! View `cascades`: when liquidations feed on each other, from the second they cross to the end, as one row.
//!
//! Per (instrument, window of 5m, 1h, 4h): velocity = the trailing window's notional / its hours. A cascade begins at the
//! event second at which velocity rises above critical and notional above minimum, or, while they are, at which the 5m velocity
//! comes back to critical after an earlier cascade has ended. It is active while the 5m velocity is at least critical
//! (a 4h window holds a burst for 4 h after it is over), and ends five minutes after it was last active. What is critical
//! depends on the day (thresholds.rs); a cascade keeps what was critical at its onset, and its severity is peak velocity over that.
//!
//! Sums change only at event seconds and five minutes after them, so a small machine steps through those instants. It keeps
//! a copy of itself once a minute: a late event sets it back to the copy before it and it steps forward again, and what
//! then differs from the rows that are out is the correction.

mod excitation;
mod heard;
mod histogram;
mod machine;
mod thresholds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use crate::by_time::ByTime;
use crate::config::{Cascades, Config};
use crate::due::Due;
use crate::keeping::{Kept, Load, Save};
use crate::model::{
    Cascade, Clock, InstrumentId, Instruments, Liquidation, Partial, Real, SECOND_MS, SelfExcitation, Severity, SideBias, Venue,
    Window, fnv1a,
};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks, per_quantum, replace};
use crate::prices::Prices;
use excitation::{AtOnset, Excitation};
use heard::HeardDays;
use histogram::DAY_SECS;
use machine::{Episode, Machine, Seconds};
use thresholds::Thresholds;

/// The windows that are watched, in the order of their thresholds.
const WINDOWS: [Window; 3] = [Window::M5, Window::H1, Window::H4];

#[derive(Clone)]
enum Input {
    Event(Liquidation),
    Prints(Partial),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Cascade(Cascade),
    SelfExcitation(SelfExcitation),
}

/// Both views.
pub struct Views<'scope> {
    /// A row from the onset on.
    pub cascades: VecCollection<'scope, KnownAt, Cascade, isize>,
    /// A row an hour.
    pub self_excitation: VecCollection<'scope, KnownAt, SelfExcitation, isize>,
}

/// Maintains the cascades of all instruments.
pub fn cascades<'scope>(
    events: StreamVec<'scope, KnownAt, Liquidation>,
    partials: StreamVec<'scope, KnownAt, Partial>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> Views<'scope> {
    let input = events.map(Input::Event).concat(partials.map(Input::Prints));
    let state = State {
        config: config.cascades,
        horizon_ms: config.correction_horizon_ms,
        watermarks: Watermarks::new(config.lateness_ms),
        heard: HeardDays::new(config.cascades.adaptive.heard_min),
        names: instruments,
        by_instrument: FxHashMap::default(),
        due: Due::default(),
        at_hand: Vec::new(),
        spoilt: BTreeSet::new(),
    };
    let rows = per_quantum(input, clocks, "cascades", state, |state, _known_at, input, clocks, changes| {
        state.quantum(&input, clocks, changes);
    });
    Views {
        cascades: rows.clone().flat_map(|row| if let Row::Cascade(row) = row { Some(row) } else { None }),
        self_excitation: rows.flat_map(|row| if let Row::SelfExcitation(row) = row { Some(row) } else { None }),
    }
}

struct State {
    config: Cascades,
    horizon_ms: i64,
    watermarks: Watermarks,
    heard: HeardDays,
    names: Arc<Instruments>,
    by_instrument: FxHashMap<InstrumentId, InstrumentCascades>,
    /// By the second at which something of theirs happens by itself.
    due: Due,
    /// Those of this quantum.
    at_hand: Vec<InstrumentId>,
    /// Those with fits to be made again.
    spoilt: BTreeSet<InstrumentId>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct InstrumentCascades {
    venue: Venue,
    seconds: Seconds,
    prices: Prices,
    thresholds: Thresholds,
    excitation: Excitation,
    machine: Machine,
    /// Copies of the machine, by the second up to which it had stepped.
    copies: ByTime<Box<Machine>>,
    /// Episodes that are over, with the second at which the machine ended them.
    ended: Vec<(i64, Episode)>,
    rows: BTreeMap<(Window, i64), Cascade>,
    /// The earliest second from which the machine has to step again.
    dirty_from: i64,
    prices_changed: bool,
    fits_changed: bool,
    forgotten_to: i64,
}

/// How far before the onset the last trade may lie.
const LOOK_BACK_SECS: i64 = 300;
/// What is kept is looked through so often, in seconds of event time, and when nothing happens so often.
const FORGET_EVERY_SECS: i64 = 60;
const FORGET_IDLE_EVERY_SECS: i64 = 600;

impl Kept for State {
    fn save(&self, save: &mut Save) {
        save.shared(&(&self.watermarks, &self.heard));
        for (&id, instrument) in &self.by_instrument {
            save.part(id, &(instrument, self.due.of(id), self.spoilt.contains(&id)));
        }
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        if let Some(shared) = load.shared()? {
            (self.watermarks, self.heard) = shared;
        }
        while let Some((id, (instrument, due, is_spoilt))) = load.part::<(InstrumentCascades, Option<i64>, bool)>()? {
            self.due.set(instrument.venue, id, due);
            self.spoilt.extend(is_spoilt.then_some(id));
            self.by_instrument.insert(id, instrument);
        }
        Ok(())
    }
}

impl State {
    fn quantum(&mut self, input: &[Input], clocks: &[Clock], changes: &mut Vec<(Row, isize)>) {
        for item in input {
            self.take(item);
        }
        for (venue, day) in self.heard.hear(clocks, &self.watermarks, self.horizon_ms) {
            self.correct_after(venue, day);
        }
        self.watermarks.advance(clocks);
        for venue in Venue::ALL {
            let (reach, now) = (self.watermarks.reach(venue, self.horizon_ms), self.now(venue));
            self.due.take(venue, now, &mut self.at_hand);
            self.heard.forget_before(venue, reach.div_euclid(SECOND_MS * DAY_SECS) - self.config.adaptive.days - 1);
        }
        let is_pressed = |venue| clocks.iter().any(|clock| *clock == Clock::Flush || *clock == Clock::Idle(venue));
        if clocks.iter().any(|clock| !matches!(clock, Clock::Active { .. })) {
            self.at_hand.extend(&self.spoilt);
        }
        self.at_hand.sort_unstable();
        self.at_hand.dedup();
        for id in std::mem::take(&mut self.at_hand) {
            let Some(venue) = self.by_instrument.get(&id).map(|known| known.venue) else { continue };
            let (now, reach) = (self.now(venue), self.watermarks.reach(venue, self.horizon_ms));
            let Some(instrument) = self.by_instrument.get_mut(&id) else { continue };
            instrument.step(&self.config, now, &self.heard);
            let fits = &self.config.self_excitation;
            instrument.fits_changed |= instrument.excitation.step(id, fits, now, is_pressed(venue), changes);
            if instrument.excitation.is_spoilt() {
                self.spoilt.insert(id);
            } else {
                self.spoilt.remove(&id);
            }
            instrument.report(id, &self.config, changes);
            instrument.forget(&self.config, now, reach.div_euclid(SECOND_MS));
            self.due.set(venue, id, instrument.due(&self.config, now));
        }
    }

    /// The last second that is over. (The one at hand may still see events that keep a cascade alive.)
    fn now(&self, venue: Venue) -> i64 {
        self.watermarks.of(venue).div_euclid(SECOND_MS) - 1
    }

    fn take(&mut self, item: &Input) {
        let (id, second) = match item {
            Input::Event(event) => (event.instrument, event.ts.div_euclid(SECOND_MS)),
            Input::Prints(partial) => (partial.instrument, partial.second),
        };
        let Some(instrument) = self.find(id) else { return };
        let mut is_touched = match item {
            Input::Event(event) => {
                instrument.seconds.add(second, event);
                instrument.excitation.add(event);
                instrument.dirty_from = instrument.dirty_from.min(second);
                instrument.thresholds.correct_after(second.div_euclid(DAY_SECS));
                true
            }
            Input::Prints(partial) => {
                let prints = &partial.prints;
                instrument.prices.add(second, (prints.low.0, prints.high.0), (prints.close.0, prints.close.1.0));
                let is_of_a_row = instrument.rows.values().any(|row| second * SECOND_MS <= row.last_active);
                instrument.prices_changed |= is_of_a_row;
                is_of_a_row || second > instrument.forgotten_to + FORGET_IDLE_EVERY_SECS
            }
        };
        if let Some(day) = instrument.thresholds.hear(second) {
            is_touched |= instrument.correct_after(day);
        }
        if is_touched {
            self.at_hand.push(id);
        }
    }

    /// What the days after `day` are measured by has changed.
    fn correct_after(&mut self, venue: Venue, day: i64) {
        for (&id, instrument) in self.by_instrument.iter_mut().filter(|(_, instrument)| instrument.venue == venue) {
            if instrument.correct_after(day) {
                self.at_hand.push(id);
            }
        }
    }

    fn find(&mut self, id: InstrumentId) -> Option<&mut InstrumentCascades> {
        match self.by_instrument.entry(id) {
            std::collections::hash_map::Entry::Occupied(entry) => Some(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let venue = self.names.get(id)?.venue;
                Some(entry.insert(InstrumentCascades::new(venue)))
            }
        }
    }
}

impl InstrumentCascades {
    fn new(venue: Venue) -> Self {
        Self {
            venue,
            seconds: Seconds::default(),
            prices: Prices::default(),
            thresholds: Thresholds::new(venue),
            excitation: Excitation::default(),
            machine: Machine::default(),
            copies: ByTime::default(),
            ended: Vec::new(),
            rows: BTreeMap::new(),
            dirty_from: i64::MAX,
            prices_changed: false,
            fits_changed: false,
            forgotten_to: NEVER,
        }
    }

    /// What the days after `day` are measured by has changed. True if any of them was measured.
    fn correct_after(&mut self, day: i64) -> bool {
        let is_measured = self.thresholds.correct_after(day);
        if is_measured {
            self.dirty_from = self.dirty_from.min((day + 1) * DAY_SECS);
        }
        is_measured
    }

    /// Brings the machine up to the newest event, and to `now` where sums have fallen since.
    fn step(&mut self, config: &Cascades, now: i64, heard: &HeardDays) {
        if self.dirty_from <= self.machine.at {
            let copy = self.copies.range(..self.dirty_from).next_back();
            self.machine = copy.map_or_else(Machine::default, |(_, machine)| (**machine).clone());
            let at = self.machine.at;
            self.copies.split_off(at + 1);
            self.ended.retain(|(ended, _)| *ended <= at);
        }
        while let Some(next) = self.machine.next_instant(&self.seconds, config, now) {
            if next.div_euclid(60) > self.machine.at.div_euclid(60) && self.machine.at > NEVER {
                self.copies.insert(self.machine.at, Box::new(self.machine.clone()));
            }
            let limits = || self.thresholds.at(next, &self.seconds, heard, config);
            self.machine.step(next, &self.seconds, limits, config, &mut self.ended);
        }
    }

    /// What the rows should be now, against what they are.
    fn report(&mut self, id: InstrumentId, config: &Cascades, changes: &mut Vec<(Row, isize)>) {
        let is_dirty = self.dirty_from < i64::MAX || self.prices_changed || self.fits_changed || self.machine.changed;
        (self.dirty_from, self.prices_changed, self.fits_changed, self.machine.changed) = (i64::MAX, false, false, false);
        if !is_dirty || (self.rows.is_empty() && self.ended.is_empty() && self.machine.open.iter().all(Option::is_none)) {
            return;
        }
        let ended = self.ended.iter().map(|(_, episode)| (episode, true));
        let open = self.machine.open.iter().flatten().map(|episode| (episode, false));
        let mut rows = BTreeMap::new();
        for (episode, is_over) in ended.chain(open) {
            let at_onset = self.excitation.at_onset(episode.onset, &config.self_excitation);
            let row = to_row(id, episode, is_over, config, &self.prices, at_onset);
            rows.insert((row.window, row.onset), row);
        }
        for (key, &row) in &rows {
            replace(self.rows.get(key).copied(), Some(row), Row::Cascade, changes);
        }
        for (key, &row) in &self.rows {
            if !rows.contains_key(key) {
                changes.push((Row::Cascade(row), -1));
            }
        }
        self.rows = rows;
    }

    /// Drops what no accepted event can reach any more. `reach` is a full minute: the machine is copied between minutes, so setting
    /// it back behind `reach` never brings back an episode that ended before it and was forgotten.
    fn forget(&mut self, config: &Cascades, now: i64, reach: i64) {
        if now < self.forgotten_to + FORGET_EVERY_SECS {
            return;
        }
        self.forgotten_to = now;
        self.machine.rest_until(reach - 1, &self.seconds);
        if self.machine.at < reach {
            self.copies = ByTime::default(); // no event can set the machine back
        }
        while self.copies.range(..reach).nth(1).is_some() {
            self.copies.pop_first(); // the newest copy before the reach stays
        }
        let back_to = self.copies.first().map_or(self.machine.at, |(at, _)| at);
        self.thresholds.seal(reach, back_to, &self.seconds, config);
        self.seconds.forget_before(back_to.min(reach).min(self.thresholds.needs_from(config.mode)) - Window::H4.secs() - 1);
        self.ended.retain(|(ended, _)| *ended >= reach);
        let episodes = || self.ended.iter().map(|(_, episode)| episode).chain(self.machine.open.iter().flatten());
        let onset = episodes().map(|episode| episode.onset).min().unwrap_or(reach);
        self.excitation.forget(reach, |onset| episodes().any(|e| e.onset == onset));
        self.rows.retain(|&(window, onset), _| episodes().any(|e| e.window == window && e.onset * SECOND_MS == onset));
        self.prices.forget_before(onset.min(reach) - LOOK_BACK_SECS);
    }

    /// When something happens by itself.
    fn due(&self, config: &Cascades, now: i64) -> Option<i64> {
        let idle = self.seconds.first().map(|_| now + FORGET_IDLE_EVERY_SECS);
        let fit = self.excitation.due(&config.self_excitation);
        [self.machine.due(&self.seconds, config), fit, idle].into_iter().flatten().min()
    }
}

fn to_row(
    instrument: InstrumentId,
    episode: &Episode,
    is_over: bool,
    config: &Cascades,
    prices: &Prices,
    at_onset: [Option<AtOnset>; 2],
) -> Cascade {
    let at_onset = at_onset[usize::from(episode.sums.short > episode.sums.long)];
    let total = episode.sums.total();
    let hours = episode.window.secs() as f64 / 3_600.0;
    let severity = episode.peak.to_f64() / hours / episode.limits.critical_per_hour.to_f64();
    Cascade {
        cascade_id: cascade_id(instrument, episode.window, episode.onset),
        instrument,
        window: episode.window,
        onset: episode.onset * SECOND_MS,
        last_active: episode.last_active * SECOND_MS,
        ended_at: is_over.then_some((episode.last_active + config.end_after_secs) * SECOND_MS),
        total,
        long_notional: episode.sums.long,
        short_notional: episode.sums.short,
        count: episode.sums.count(),
        window_notional: episode.window_notional,
        peak_window_notional: episode.peak,
        critical_per_hour: episode.limits.critical_per_hour,
        critical_from: episode.limits.from,
        severity: Real(severity),
        severity_label: if severity < 1.5 { Severity::Warning } else { Severity::Critical },
        side_bias: SideBias::of(episode.sums.long, episode.sums.short, config.side_bias_share),
        price_move_bps: prices.move_bps(episode.onset, episode.last_active, LOOK_BACK_SECS).map(Real),
        branching_ratio: at_onset.map(|(ratio, _)| ratio),
        self_feeding: at_onset.is_some_and(|(_, feeds)| feeds),
        coverage: episode.sums.coverage(),
    }
}

/// Over what names a cascade.
fn cascade_id(instrument: InstrumentId, window: Window, onset: i64) -> u64 {
    let bytes = instrument.0.to_le_bytes().into_iter().chain(window.secs().to_le_bytes()).chain(onset.to_le_bytes());
    fnv1a(bytes)
}
