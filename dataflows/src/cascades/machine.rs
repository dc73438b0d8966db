//! The machine that steps through the instants at which a trailing sum changes.

use super::WINDOWS;
use super::thresholds::{DayLimits, Limits};
use crate::by_time::ByTime;
use crate::config::Cascades;
use crate::fixed::Notional;
use crate::liquidations::Sums;
use crate::model::{Liquidation, Window};
use crate::operators::NEVER;

/// An instrument's liquidations by event second.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Seconds(ByTime<Sums>);

impl Seconds {
    pub fn add(&mut self, second: i64, event: &Liquidation) {
        self.0.get_or_insert_with(second, Sums::default).merge(&Sums::of(event));
    }

    pub fn first(&self) -> Option<i64> {
        self.0.first().map(|(second, _)| second)
    }

    /// What was liquidated in each second of `from..=to`.
    pub fn totals(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, Notional)> + '_ {
        self.0.range(from..(to + 1).max(from)).map(|(second, sums)| (second, sums.total()))
    }

    pub fn forget_before(&mut self, second: i64) {
        self.0.forget_before(second);
    }
}

/// One cascade while it is being followed. Seconds since the epoch.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Episode {
    pub window: Window,
    pub onset: i64,
    /// The thresholds at its onset.
    pub limits: Limits,
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
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
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
        let event = seconds.0.range(self.at + 1..).next().map(|(second, _)| second);
        let limit = event.unwrap_or(now).max(now);
        let expiry = if self.open.iter().flatten().any(|episode| episode.is_active) {
            seconds.0.range(self.at - ACTIVE_SECS + 1..).next().map(|(second, _)| second + ACTIVE_SECS)
        } else {
            None
        };
        let end = self.open.iter().flatten().filter(|e| !e.is_active).map(|e| e.last_active + config.end_after_secs).min();
        [event, expiry.filter(|&s| s <= limit), end.filter(|&s| s <= limit)].into_iter().flatten().min()
    }

    /// When something happens by itself, if no event comes before.
    pub fn due(&self, seconds: &Seconds, config: &Cascades) -> Option<i64> {
        self.next_instant(seconds, config, i64::MAX)
    }

    /// Moves to `second` and settles what happens there. `limits` are the thresholds of its day, wanted where there are events.
    pub fn step(
        &mut self,
        second: i64,
        seconds: &Seconds,
        limits: impl FnOnce() -> DayLimits,
        config: &Cascades,
        ended: &mut Vec<(i64, Episode)>,
    ) {
        self.depart(second - 1, seconds);
        let before = self.trailing; // at the second before
        self.depart(second, seconds);
        let event = seconds.0.get(second);
        if let Some(event) = event {
            self.trailing.iter_mut().for_each(|trailing| trailing.merge(event));
        }
        for at in 0..WINDOWS.len() {
            self.settle(at, config, ended);
        }
        let Some(event) = event else { return };
        for (at, limits) in limits().into_iter().enumerate() {
            match (&mut self.open[at], limits) {
                (Some(_), _) => self.go_on(at, event),
                (None, Some(limits)) => self.begin(at, limits, &before),
                (None, None) => {}
            }
        }
    }

    /// Nothing goes on, and nothing happens up to `second`.
    pub fn rest_until(&mut self, second: i64, seconds: &Seconds) {
        if self.at < second && self.open.iter().all(Option::is_none) {
            self.depart(second, seconds);
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

    /// What ends at this second: an episode's activity, or the episode.
    fn settle(&mut self, at: usize, config: &Cascades, ended: &mut Vec<(i64, Episode)>) {
        let Some(episode) = &mut self.open[at] else { return };
        if episode.is_active && !is_active(&self.trailing, &episode.limits) {
            episode.last_active = self.at - 1; // it fell when this second's departures left
            episode.is_active = false;
            self.changed = true;
        }
        if !episode.is_active && self.at >= episode.last_active + config.end_after_secs {
            ended.extend(self.open[at].take().map(|episode| (self.at, episode)));
            self.changed = true;
        }
    }

    /// An event while an episode lasts: it joins it if the episode is active with it, or as soon as it is again.
    fn go_on(&mut self, at: usize, event: &Sums) {
        let Some(episode) = &mut self.open[at] else { return };
        episode.tail.merge(event);
        episode.tail_peak = episode.tail_peak.max(self.trailing[at].total());
        if is_active(&self.trailing, &episode.limits) {
            let tail = std::mem::take(&mut episode.tail);
            episode.sums.merge(&tail);
            episode.last_active = self.at;
            episode.is_active = true;
            episode.window_notional = self.trailing[at].total();
            episode.peak = episode.peak.max(std::mem::take(&mut episode.tail_peak));
            self.changed = true;
        }
    }

    /// An event begins an episode if the window crosses with it, or if the 5m velocity comes back while the window is above.
    /// `before` are the sums at the second before; they are judged by the same day's thresholds, so midnight itself crosses nothing.
    fn begin(&mut self, at: usize, limits: Limits, before: &[Sums; WINDOWS.len()]) {
        let is_above = |trailing: &[Sums; WINDOWS.len()]| is_above(trailing[at].total(), WINDOWS[at], &limits);
        let active = is_active(&self.trailing, &limits);
        if !is_above(&self.trailing) || (is_above(before) && (!active || is_active(before, &limits))) {
            return;
        }
        let window_notional = self.trailing[at].total();
        self.open[at] = Some(Episode {
            window: WINDOWS[at],
            onset: self.at,
            limits,
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
}

/// Velocity above critical and notional above minimum.
fn is_above(notional: Notional, window: Window, limits: &Limits) -> bool {
    // velocity = notional × 3600 / window seconds, compared without a division
    let velocity = notional.0.saturating_mul(3_600 / gcd(window));
    velocity > limits.critical_per_hour.0.saturating_mul(i128::from(window.secs()) / gcd(window)) && notional > limits.minimum
}

/// Velocity of the 5m window at least the critical velocity.
fn is_active(trailing: &[Sums; WINDOWS.len()], limits: &Limits) -> bool {
    trailing[0].total().0.saturating_mul(i128::from(3_600 / ACTIVE_SECS)) >= limits.critical_per_hour.0
}

/// The part that 3600 and the window share, so that the products stay small.
fn gcd(window: Window) -> i128 {
    i128::from(window.secs().min(3_600))
}
