//! What lasts from sample to sample: an anomaly until it is calm, a rate's side until it has been on the other for hours.
//!
//! A side is the first one beyond its limit that is seen; it is left by [`Settings::reversal_minutes`] on the other one without a
//! break, and that is a reversal. A few samples across the limit are none. The reversal stands while the rate stays there.
//!
//! Finite memory: the machine starts afresh each UTC midnight from the samples of the [`WARM_UP_MINUTES`] before it.

use crate::config::Funding as Settings;
use crate::operators::NEVER;

use super::scores::Signs;

/// L in ANALYTICS.md.
pub(crate) const WARM_UP_MINUTES: i64 = 7 * 1_440;
/// A rate that was not heard for longer may have been anywhere in between.
const BREAK_MINUTES: i64 = 15;

/// What holds after a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct State {
    pub anomaly: bool,
    pub deviation: bool,
    /// The side that the rate has reversed to and not left since, or 0.
    pub reversed: i8,
    /// For how many minutes it has been on its side.
    pub held: i64,
}

/// Steps through samples in order of time.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Machine {
    /// The end of the last sample, in minutes.
    pub at: i64,
    state: State,
    side: i8,
    run: i8,
    run_from: i64,
}

impl Default for Machine {
    fn default() -> Self {
        Self { at: NEVER, state: State::default(), side: 0, run: 0, run_from: NEVER }
    }
}

impl Machine {
    /// Takes in the sample that speaks of `from..to`, in minutes.
    pub fn step(&mut self, from: i64, to: i64, signs: Signs, settings: &Settings) -> State {
        let side = signs.side();
        if side != self.run || from > self.at + BREAK_MINUTES {
            (self.run, self.run_from) = (side, from);
        }
        self.at = to;
        let state = &mut self.state;
        state.held = to - self.run_from;
        if side != state.reversed {
            state.reversed = 0;
        }
        if self.side == 0 {
            self.side = side;
        } else if side == -self.side && state.held >= settings.reversal_minutes {
            self.side = side;
            state.reversed = side;
        }
        state.anomaly = signs.anomaly(state.anomaly);
        state.deviation = signs.deviation(state.deviation);
        *state
    }

    /// Whether it can go on with a sample that ends at `to`: it is later, and of the same day.
    pub fn reaches(&self, to: i64) -> bool {
        self.at < to && start_of(self.at) == start_of(to)
    }
}

/// Where the machine of a sample that ends at `to` starts, in minutes.
pub(crate) fn start_of(to: i64) -> i64 {
    // The sample that ends at midnight is the day's before.
    (to - 1).div_euclid(1_440) * 1_440 - WARM_UP_MINUTES
}
