//! The machine that steps through the instants at which a trailing sum changes.

use std::collections::BTreeMap;

use super::{WINDOWS, place};
use crate::config::Cascades;
use crate::fixed::Notional;
use crate::liquidations::Sums;
use crate::model::{Liquidation, Window};
use crate::operators::NEVER;

/// An instrument's liquidations by event second.
#[derive(Debug, Default)]
pub(super) struct Seconds(BTreeMap<i64, Sums>);

impl Seconds {
    pub fn add(&mut self, second: i64, event: &Liquidation) {
        self.0.entry(second).or_default().merge(&Sums::of(event));
    }

    pub fn forget_before(&mut self, second: i64) {
        while self.0.first_key_value().is_some_and(|(&first, _)| first < second) {
            self.0.pop_first();
        }
    }
}

/// One cascade while it is being followed. Seconds since the epoch.
#[derive(Clone, Debug)]
pub(super) struct Episode {
    pub window: Window,
    pub onset: i64,
    /// The last second at which the 5m velocity was at least critical, as far as it is certain.
    pub last_active: i64,
    /// Events from (onset − window) to `last_active`.
    pub sums: Sums,
    /// Events after `last_active`: they join if it becomes active again.
    tail: Sums,
    /// The window's notional at the last event second up to `last_active`.
    pub window_notional: Notional,
    /// Its maximum at event seconds up to `last_active`.
    pub peak: Notional,
    /// Its maximum after `last_active`.
    tail_peak: Notional,
    is_active: bool,
}

/// Trailing sums and open episodes at one instant.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// The last instant that was stepped through.
    pub at: i64,
    /// A row may have changed since the rows were last made.
    pub changed: bool,
    trailing: [Sums; WINDOWS.len()],
    pub open: [Option<Episode>; WINDOWS.len()],
}

impl Default for Machine {
    fn default() -> Self {
        Self { at: NEVER, changed: true, trailing: Default::default(), open: [const { None }; WINDOWS.len()] }
    }
}

const ACTIVE_SECS: i64 = Window::M5.secs();

impl Machine {
    /// The next second at which something happens: an event; or, up to `now`, five minutes after one, or an episode's end.
    pub fn next_instant(&self, seconds: &Seconds, config: &Cascades, now: i64) -> Option<i64> {
        let event = seconds.0.range(self.at + 1..).next().map(|(&second, _)| second);
        let limit = event.unwrap_or(now).max(now);
        let expiry = if self.open.iter().flatten().any(|episode| episode.is_active) {
            seconds.0.range(self.at - ACTIVE_SECS + 1..).next().map(|(&second, _)| second + ACTIVE_SECS)
        } else {
            None
        };
        let end = self.open.iter().flatten().filter(|e| !e.is_active).map(|e| e.last_active + config.end_after_secs).min();
        [event, expiry.filter(|&s| s <= limit), end.filter(|&s| s <= limit)].into_iter().flatten().min()
    }

    /// Moves to `second` and settles what happens there.
    pub fn step(&mut self, second: i64, seconds: &Seconds, config: &Cascades, ended: &mut Vec<(i64, Episode)>) {
        self.depart(second - 1, seconds);
        let before = self.trailing; // at the second before
        self.depart(second, seconds);
        let event = seconds.0.get(&second).copied();
        if let Some(event) = &event {
            self.trailing.iter_mut().for_each(|trailing| trailing.merge(event));
        }
        for window in WINDOWS {
            self.settle(window, &before, event.as_ref(), config, ended);
        }
    }

    /// Moves to `second`, at which nothing comes in.
    fn depart(&mut self, second: i64, seconds: &Seconds) {
        if self.at > NEVER {
            for (window, trailing) in WINDOWS.into_iter().zip(&mut self.trailing) {
                for (_, gone) in seconds.0.range(self.at - window.secs() + 1..second - window.secs() + 1) {
                    trailing.remove(gone);
                }
            }
        }
        self.at = second;
    }

    fn settle(
        &mut self,
        window: Window,
        before: &[Sums; 3],
        event: Option<&Sums>,
        config: &Cascades,
        ended: &mut Vec<(i64, Episode)>,
    ) {
        let at = place(window);
        let is_above = |sums: &Sums| is_above(sums.total(), window, at, config);
        let is_active = |five: &Sums| is_active(five.total(), at, config);
        let (above, active) = (is_above(&self.trailing[at]), is_active(&self.trailing[0]));
        if let Some(episode) = &mut self.open[at] {
            if episode.is_active && !active {
                episode.last_active = self.at - 1; // it fell when this second's departures left
                episode.is_active = false;
                self.changed = true;
            }
            if !episode.is_active && self.at >= episode.last_active + config.end_after_secs {
                ended.extend(self.open[at].take().map(|episode| (self.at, episode)));
                self.changed = true;
            }
        }
        let Some(event) = event else { return };
        match &mut self.open[at] {
            Some(episode) => {
                episode.tail.merge(event);
                episode.tail_peak = episode.tail_peak.max(self.trailing[at].total());
                if active {
                    let tail = std::mem::take(&mut episode.tail);
                    episode.sums.merge(&tail);
                    episode.last_active = self.at;
                    episode.is_active = true;
                    episode.window_notional = self.trailing[at].total();
                    episode.peak = episode.peak.max(std::mem::take(&mut episode.tail_peak));
                    self.changed = true;
                }
            }
            none if above && (!is_above(&before[at]) || (active && !is_active(&before[0]))) => {
                let window_notional = self.trailing[at].total();
                *none = Some(Episode {
                    window,
                    onset: self.at,
                    last_active: self.at,
                    sums: self.trailing[at],
                    tail: Sums::default(),
                    window_notional,
                    peak: window_notional,
                    tail_peak: Notional(0),
                    is_active: active,
                });
                self.changed = true;
            }
            _ => {}
        }
    }
}

/// Velocity above critical and notional above minimum.
fn is_above(notional: Notional, window: Window, at: usize, config: &Cascades) -> bool {
    let threshold = &config.thresholds[at];
    // velocity = notional × 3600 / window seconds, compared without a division
    let velocity = notional.0.saturating_mul(3_600 / gcd(window));
    velocity > threshold.critical_per_hour.0.saturating_mul(i128::from(window.secs()) / gcd(window))
        && notional > threshold.minimum
}

/// Velocity of the 5m window at least the window's critical velocity.
fn is_active(five: Notional, at: usize, config: &Cascades) -> bool {
    five.0.saturating_mul(i128::from(3_600 / ACTIVE_SECS)) >= config.thresholds[at].critical_per_hour.0
}

/// The part that 3600 and the window share, so that the products stay small.
fn gcd(window: Window) -> i128 {
    i128::from(window.secs().min(3_600))
}
