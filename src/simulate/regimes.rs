//! Regimes: Markov chains that step once a minute and govern volatility and drift.
//!
//! The market's chain has three states; each symbol has a chain of its own with two, which multiplies its idiosyncratic
//! volatility. A symbol's state is the pair. Durations are geometric with the means given here.

use super::chance::Chance;

/// What a state of the market means.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarketState {
    /// Deviation of the factor's log return, per day.
    pub(super) sigma_day: f64,
    /// Mean of the factor's log return, per day.
    pub(super) drift_day: f64,
    /// Minutes that a stay lasts in the mean.
    pub(super) stay_minutes: f64,
    /// Trading compared with the average.
    pub(super) activity: f64,
    /// Where log open interest is drawn to, relative to its base.
    pub(super) open_interest: f64,
    /// Chances of the next state, once this one is left.
    next: [f64; 3],
}

/// The market's states: calm, normal, turbulent.
pub(super) const MARKET: [MarketState; 3] = [
    MarketState {
        sigma_day: 0.008,
        drift_day: 0.001,
        stay_minutes: 14.0 * 60.0,
        activity: 0.7,
        open_interest: 0.06,
        next: [0.0, 0.85, 0.15],
    },
    MarketState {
        sigma_day: 0.025,
        drift_day: 0.004,
        stay_minutes: 9.0 * 60.0,
        activity: 1.0,
        open_interest: 0.0,
        next: [0.6, 0.0, 0.4],
    },
    MarketState {
        sigma_day: 0.085,
        drift_day: -0.02,
        stay_minutes: 3.0 * 60.0,
        activity: 2.2,
        open_interest: -0.06,
        next: [0.25, 0.75, 0.0],
    },
];

/// Minutes that a symbol's own chain stays quiet and agitated in the mean.
const OWN_STAY_MINUTES: [f64; 2] = [24.0 * 60.0, 90.0];
/// By how much an agitated symbol's idiosyncratic volatility is multiplied.
pub(super) const OWN_FACTOR: [f64; 2] = [1.0, 3.0];

/// The names of a symbol's states, `market + 3 × own`.
pub(super) const NAMES: [&str; 6] =
    ["calm", "normal", "turbulent", "calm, own agitation", "normal, own agitation", "turbulent, own agitation"];

/// The market's chain.
#[derive(Debug)]
pub(super) struct MarketChain {
    chance: Chance,
    /// Index into [`MARKET`].
    pub(super) state: usize,
}

impl MarketChain {
    pub(super) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed, "market", "regime"), state: 1 }
    }

    /// One minute.
    pub(super) fn step(&mut self) {
        let current = &MARKET[self.state];
        let stays = self.chance.unit() * current.stay_minutes > 1.0;
        let mut draw = self.chance.unit();
        if stays {
            return;
        }
        for (next, share) in current.next.iter().enumerate() {
            if *share > 0.0 {
                self.state = next;
                if draw <= *share {
                    return;
                }
                draw -= share;
            }
        }
    }
}

/// A symbol's own chain: quiet (0) or agitated (1).
#[derive(Debug)]
pub(super) struct OwnChain {
    chance: Chance,
    /// Index into [`OWN_FACTOR`].
    pub(super) state: usize,
}

impl OwnChain {
    pub(super) fn new(seed: u64, base: &str) -> Self {
        Self { chance: Chance::new(seed, base, "regime"), state: 0 }
    }

    /// One minute.
    pub(super) fn step(&mut self) {
        if self.chance.unit() * OWN_STAY_MINUTES[self.state] <= 1.0 {
            self.state = 1 - self.state;
        }
    }
}

/// A symbol's deviation per day in a pair of states.
pub(super) fn sigma_day(market: usize, own: usize, beta: f64, idiosyncratic: f64) -> f64 {
    MARKET[market].sigma_day * beta.hypot(idiosyncratic * OWN_FACTOR[own])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_last_as_long_as_the_chain_says() {
        let mut chain = MarketChain::new(3);
        let mut minutes = [0u64; 3];
        let mut stays = [0u64; 3];
        for _ in 0..4_000_000 {
            let before = chain.state;
            chain.step();
            minutes[before] += 1;
            stays[before] += u64::from(chain.state != before);
        }
        for (state, expected) in MARKET.iter().enumerate() {
            let mean = minutes[state] as f64 / stays[state] as f64;
            assert!((mean / expected.stay_minutes - 1.0).abs() < 0.1, "{}: {mean} minutes", NAMES[state]);
            assert!((expected.next.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
