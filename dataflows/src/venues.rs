//! One symbol on several venues: whose row goes to whom, and what each venue last said.
//!
//! Venues' clocks differ. A minute counts once any of the symbol's venues has one after it, so that the others have had a minute to
//! close theirs; what comes later corrects it. What a venue says later than another by more than the configured lag is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::model::{InstrumentId, Instruments, MINUTE_MS, Venue};
use crate::operators::NEVER;
use crate::quotes::KNOWN_MINUTES;

/// An instrument's venue and its symbol on all venues, looked up once each.
pub(crate) struct Symbols {
    names: Arc<Instruments>,
    known: FxHashMap<InstrumentId, (Venue, InstrumentId)>,
}

impl Symbols {
    pub fn new(names: Arc<Instruments>) -> Self {
        Self { names, known: FxHashMap::default() }
    }

    /// `None`: nobody has named the instrument, or its symbol's hash is another's.
    pub fn of(&mut self, id: InstrumentId) -> Option<(Venue, InstrumentId)> {
        if let Some(&known) = self.known.get(&id) {
            return Some(known);
        }
        let instrument = self.names.get(id)?;
        let known = (instrument.venue, self.names.across(&instrument.symbol)?);
        self.known.insert(id, known);
        Some(known)
    }
}

/// How many minutes of a symbol can still change: the correction horizon, or how far venues may be apart.
pub(crate) fn keep_minutes(config: &Config) -> i64 {
    config.correction_horizon_ms.max(config.venue_lag_ms_max) / MINUTE_MS + 1
}

/// The minutes of a symbol for which rows are due.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Due {
    newest: i64,
    dirty: (i64, i64),
    keep: i64,
}

const CLEAN: (i64, i64) = (i64::MAX, i64::MIN);

impl Due {
    /// Minutes up to `keep` before the newest can still change.
    pub fn new(keep: i64) -> Self {
        Self { newest: NEVER, dirty: CLEAN, keep }
    }

    /// A venue said something else of `minute`: it holds until it says something new, for a quarter of an hour at most.
    pub fn touch(&mut self, minute: i64) {
        self.dirty = (self.dirty.0.min(minute), self.dirty.1.max(minute + KNOWN_MINUTES));
    }

    /// Rows of the minutes before it are out.
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Rows before it are out for good.
    pub fn limit(&self) -> i64 {
        self.newest - self.keep
    }

    /// The minutes of which rows must be made anew, `newest` being the last of which anything is known.
    pub fn take(&mut self, newest: i64) -> std::ops::Range<i64> {
        let (from, to) = std::mem::replace(&mut self.dirty, CLEAN);
        let (counted_to, limit) = (self.newest, self.limit());
        self.newest = counted_to.max(newest);
        match counted_to {
            NEVER => from..self.newest,
            _ if self.newest > counted_to => from.max(limit).min(counted_to)..self.newest,
            _ => from.max(limit)..to.min(self.newest),
        }
    }
}

/// What each venue said, by minute.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Said<V>(BTreeMap<Venue, ByTime<V>>);

impl<V: Copy> Said<V> {
    pub fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub fn set(&mut self, venue: Venue, minute: i64, value: Option<V>) {
        self.0.entry(venue).or_default().set(minute, value);
    }

    /// The newest minute of any venue.
    pub fn newest(&self) -> Option<i64> {
        self.0.values().filter_map(|minutes| minutes.last()).map(|(minute, _)| minute).max()
    }

    /// Whether any venue spoke of `minute`.
    pub fn has(&self, minute: i64) -> bool {
        self.0.values().any(|minutes| minutes.contains(minute))
    }

    /// What each venue last said by `minute`, if it is not too old.
    pub fn at(&self, minute: i64) -> impl Iterator<Item = (Venue, V)> {
        let range = minute - KNOWN_MINUTES + 1..=minute;
        self.0.iter().filter_map(move |(&venue, minutes)| Some((venue, *minutes.range(range.clone()).next_back()?.1)))
    }

    /// What one venue last said by `minute`.
    pub fn of(&self, venue: Venue, minute: i64) -> Option<V> {
        self.0.get(&venue)?.range(minute - KNOWN_MINUTES + 1..=minute).next_back().map(|(_, &value)| value)
    }

    pub fn forget_before(&mut self, minute: i64) {
        self.0.values_mut().for_each(|minutes| minutes.forget_before(minute));
    }
}
