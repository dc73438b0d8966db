//! View `cascades`: when liquidations feed on each other, from the second they cross to the end, as one row.
//!
//! Per (instrument, window of 5m, 1h, 4h): velocity = the trailing window's notional / its hours. A cascade begins at the
//! event second at which velocity rises above critical and notional above minimum, or, while they are, at which the 5m velocity
//! comes back to critical after an earlier cascade has ended. It is active while the 5m velocity is at least critical
//! (a 4h window holds a burst for 4 h after it is over), and ends five minutes after it was last active.
//!
//! Sums change only at event seconds and five minutes after them, so a small machine steps through those instants. It keeps
//! a copy of itself once a minute: a late event sets it back to the copy before it and it steps forward again, and what
//! then differs from the rows that are out is the correction.

mod machine;
mod prices;

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use crate::config::{Cascades, Config};
use crate::model::{
    Cascade, Clock, Coverage, InstrumentId, Instruments, Liquidation, Partial, Real, SECOND_MS, Severity, SideBias, Venue, Window,
};
use crate::operators::{KnownAt, NEVER, Watermarks, per_quantum, replace};
use machine::{Episode, Machine, Seconds};
use prices::Prices;

/// The windows that are watched, with the places of their thresholds.
const WINDOWS: [Window; 3] = [Window::M5, Window::H1, Window::H4];

#[derive(Clone)]
enum Input {
    Event(Liquidation),
    Prints(Partial),
}

/// Maintains the cascades of all instruments.
pub fn cascades<'scope>(
    events: StreamVec<'scope, KnownAt, Liquidation>,
    partials: StreamVec<'scope, KnownAt, Partial>,
    clocks: StreamVec<'scope, KnownAt, Clock>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> VecCollection<'scope, KnownAt, Cascade, isize> {
    let input = events.map(Input::Event).concat(partials.map(Input::Prints));
    let mut state = State {
        config: config.cascades,
        horizon_ms: config.correction_horizon_ms,
        watermarks: Watermarks::new(config.lateness_ms),
        names: instruments,
        by_instrument: FxHashMap::default(),
    };
    per_quantum(input, clocks, "cascades", move |_known_at, input, clocks, changes| state.quantum(&input, clocks, changes))
}

struct State {
    config: Cascades,
    horizon_ms: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    by_instrument: FxHashMap<InstrumentId, InstrumentCascades>,
}

struct InstrumentCascades {
    venue: Venue,
    coverage: Option<Coverage>,
    seconds: Seconds,
    prices: Prices,
    machine: Machine,
    /// Copies of the machine, by the second up to which it had stepped.
    copies: BTreeMap<i64, Machine>,
    /// Episodes that are over, with the second at which the machine ended them.
    ended: Vec<(i64, Episode)>,
    rows: BTreeMap<(Window, i64), Cascade>,
    /// The last second that was over when rows were last made.
    now: i64,
    /// The earliest event second that the machine has not seen.
    dirty_from: i64,
    prices_changed: bool,
    forgotten_to: i64,
}

impl State {
    fn quantum(&mut self, input: &[Input], clocks: &[Clock], changes: &mut Vec<(Cascade, isize)>) {
        for item in input {
            match item {
                Input::Event(event) => {
                    let second = event.ts.div_euclid(SECOND_MS);
                    let Some(instrument) = self.find(event.instrument) else { continue };
                    instrument.seconds.add(second, event);
                    instrument.coverage = instrument.coverage.max(Some(event.coverage));
                    instrument.dirty_from = instrument.dirty_from.min(second);
                }
                Input::Prints(Partial { instrument, second, prints }) => {
                    let Some(instrument) = self.find(*instrument) else { continue };
                    instrument.prices.add(*second, prints);
                    instrument.prices_changed |= instrument.rows.values().any(|row| second * SECOND_MS <= row.last_active);
                }
            }
        }
        self.watermarks.advance(clocks);
        for (&id, instrument) in &mut self.by_instrument {
            // The last second that is over. (The one at hand may still see events that keep a cascade alive.)
            let now = self.watermarks.of(instrument.venue).div_euclid(SECOND_MS) - 1;
            if now == instrument.now && instrument.dirty_from == i64::MAX && !instrument.prices_changed {
                continue;
            }
            instrument.now = now;
            instrument.step(&self.config, now);
            instrument.report(id, &self.config, changes);
            let reach = self.watermarks.reach(instrument.venue, self.horizon_ms);
            instrument.forget(now, reach.div_euclid(SECOND_MS));
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
            coverage: None,
            seconds: Seconds::default(),
            prices: Prices::default(),
            machine: Machine::default(),
            copies: BTreeMap::new(),
            ended: Vec::new(),
            rows: BTreeMap::new(),
            now: NEVER,
            dirty_from: i64::MAX,
            prices_changed: false,
            forgotten_to: NEVER,
        }
    }

    /// Brings the machine up to the newest event, and to `now` where sums have fallen since.
    fn step(&mut self, config: &Cascades, now: i64) {
        if self.dirty_from <= self.machine.at {
            let copy = self.copies.range(..self.dirty_from).next_back();
            self.machine = copy.map_or_else(Machine::default, |(_, machine)| machine.clone());
            let at = self.machine.at;
            self.copies.split_off(&(at + 1));
            self.ended.retain(|(ended, _)| *ended <= at);
        }
        while let Some(next) = self.machine.next_instant(&self.seconds, config, now) {
            if next.div_euclid(60) > self.machine.at.div_euclid(60) && self.machine.at > NEVER {
                self.copies.insert(self.machine.at, self.machine.clone());
            }
            self.machine.step(next, &self.seconds, config, &mut self.ended);
        }
    }

    /// What the rows should be now, against what they are.
    fn report(&mut self, id: InstrumentId, config: &Cascades, changes: &mut Vec<(Cascade, isize)>) {
        let is_dirty = self.dirty_from < i64::MAX || self.prices_changed || self.machine.changed;
        (self.dirty_from, self.prices_changed, self.machine.changed) = (i64::MAX, false, false);
        if !is_dirty || (self.rows.is_empty() && self.ended.is_empty() && self.machine.open.iter().all(Option::is_none)) {
            return;
        }
        let ended = self.ended.iter().map(|(_, episode)| (episode, true));
        let open = self.machine.open.iter().flatten().map(|episode| (episode, false));
        let coverage = self.coverage.unwrap_or(Coverage::Partial);
        let mut rows = BTreeMap::new();
        for (episode, is_over) in ended.chain(open) {
            let row = to_row(id, episode, is_over, config, coverage, &self.prices);
            rows.insert((row.window, row.onset), row);
        }
        for (key, &row) in &rows {
            replace(self.rows.get(key).copied(), Some(row), |row| row, changes);
        }
        for (key, &row) in &self.rows {
            if !rows.contains_key(key) {
                changes.push((row, -1));
            }
        }
        self.rows = rows;
    }

    /// Drops what no accepted event can reach any more. `reach` is a full minute: the machine is copied between minutes, so setting
    /// it back behind `reach` never brings back an episode that ended before it and was forgotten.
    fn forget(&mut self, now: i64, reach: i64) {
        if now < self.forgotten_to + 60 {
            return;
        }
        self.forgotten_to = now;
        while self.copies.range(..reach).nth(1).is_some() {
            self.copies.pop_first(); // the newest copy before the reach stays
        }
        let machine_needs = self.copies.first_key_value().map_or(self.machine.at, |(&at, _)| at);
        self.seconds.forget_before(machine_needs.min(reach) - Window::H4.secs() - 1);
        self.ended.retain(|(ended, _)| *ended >= reach);
        let episodes = || self.ended.iter().map(|(_, episode)| episode).chain(self.machine.open.iter().flatten());
        let onset = episodes().map(|episode| episode.onset).min().unwrap_or(reach);
        self.rows.retain(|&(window, onset), _| episodes().any(|e| e.window == window && e.onset * SECOND_MS == onset));
        self.prices.forget_before(onset.min(reach) - prices::LOOK_BACK_SECS);
    }
}

fn to_row(
    instrument: InstrumentId,
    episode: &Episode,
    is_over: bool,
    config: &Cascades,
    coverage: Coverage,
    prices: &Prices,
) -> Cascade {
    let threshold = &config.thresholds[place(episode.window)];
    let total = episode.sums.total();
    let share = |side: crate::fixed::Notional| side.to_f64() / total.to_f64();
    let side_bias = match () {
        () if share(episode.sums.long) >= config.side_bias_share => SideBias::Long,
        () if share(episode.sums.short) >= config.side_bias_share => SideBias::Short,
        () => SideBias::Balanced,
    };
    let hours = episode.window.secs() as f64 / 3_600.0;
    let severity = episode.peak.to_f64() / hours / threshold.critical_per_hour.to_f64();
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
        count: episode.sums.count,
        window_notional: episode.window_notional,
        peak_window_notional: episode.peak,
        severity: Real(severity),
        severity_label: if severity < 1.5 { Severity::Warning } else { Severity::Critical },
        side_bias,
        price_move_bps: prices.move_bps(episode.onset, episode.last_active).map(Real),
        coverage,
    }
}

fn place(window: Window) -> usize {
    WINDOWS.iter().position(|&w| w == window).unwrap_or(0) // episodes only have these windows
}

/// FNV-1a over what names a cascade.
fn cascade_id(instrument: InstrumentId, window: Window, onset: i64) -> u64 {
    let bytes = instrument.0.to_le_bytes().into_iter().chain(window.secs().to_le_bytes()).chain(onset.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
