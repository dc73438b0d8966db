//! One symbol's latent path, second by second: index price, premium, open interest, the cascade that is running.
//!
//! index: d ln S = β·dF + σ_own·dt₅ + cascade's push + rebound. dF is the market's return, t₅ a Student-t step.
//! premium: Ornstein–Uhlenbeck, τ = 20 min, stationary deviation 2.5 bp around 0.5 bp, or around an episode's target.
//! open interest: its logarithm is drawn to the market state's level with τ = 12 h, and cut by cascades.

use super::Settings;
use super::chance::Chance;
use super::listing::Listing;
use super::regimes::{MARKET, OWN_FACTOR, OwnChain};
use super::schedule::{self, PlannedBurst, PlannedEpisode};

pub(super) const PREMIUM_TAU_SECS: f64 = 1_200.0;
const PREMIUM_DEVIATION: f64 = 2.5e-4;
pub(super) const PREMIUM_MEAN: f64 = 0.5e-4;
const INTEREST_TAU_SECS: f64 = 43_200.0;
/// Deviation of log open interest per √s.
const INTEREST_DEVIATION: f64 = 4e-5;
/// The part of a cascade's push that comes back, and how fast.
const REBOUND_SHARE: f64 = 0.3;
const REBOUND_TAU_SECS: f64 = 600.0;
/// One second moves a price by no more than this.
const STEP_MAX: f64 = 0.03;
/// A price stays within e^±2.5 of its start.
const LOG_RANGE: f64 = 2.5;
const DAY_SECS: f64 = 86_400.0;

/// A symbol's latent path.
#[derive(Debug)]
pub(super) struct Path {
    returns: Chance,
    premiums: Chance,
    interests: Chance,
    /// The symbol's own chain.
    pub(super) own: OwnChain,
    beta: f64,
    idiosyncratic: f64,
    first_log: f64,
    log_index: f64,
    rebound: f64,
    /// The second's log return.
    pub(super) step: f64,
    /// The second's deviation, cascades aside.
    pub(super) step_sigma: f64,
    /// Perpetual over index, minus one.
    pub(super) premium: f64,
    /// Log of open interest over its base.
    pub(super) log_interest: f64,
    /// Planned cascades; their numbers name them.
    pub(super) bursts: Vec<PlannedBurst>,
    /// The last cascade that has begun.
    pub(super) current: Option<usize>,
    /// Planned funding episodes.
    pub(super) episodes: Vec<PlannedEpisode>,
    episode: usize,
}

impl Path {
    pub(super) fn new(settings: &Settings, listing: &Listing, shared: &[(i64, dataflows::model::PositionSide)]) -> Self {
        let (seed, base) = (settings.seed, listing.base.as_str());
        let log_index = listing.price.ln();
        Self {
            returns: Chance::new(seed, base, "returns"),
            premiums: Chance::new(seed, base, "premium"),
            interests: Chance::new(seed, base, "open interest"),
            own: OwnChain::new(seed, base),
            beta: listing.beta,
            idiosyncratic: listing.idiosyncratic,
            first_log: log_index,
            log_index,
            rebound: 0.0,
            step: 0.0,
            step_sigma: 1e-9,
            premium: PREMIUM_MEAN,
            log_interest: 0.0,
            bursts: schedule::bursts(settings, base, shared),
            current: None,
            episodes: schedule::episodes(settings, base),
            episode: 0,
        }
    }

    /// The index price.
    pub(super) fn index(&self) -> f64 {
        self.log_index.exp()
    }

    /// The cascade's share of this second, 0 outside cascades.
    pub(super) fn burst_share(&self, now: i64) -> f64 {
        self.current.map_or(0.0, |b| self.bursts[b].share(now))
    }

    /// One second. `factor` is the market's log return in it.
    pub(super) fn advance(&mut self, now: i64, factor: f64, market: usize) {
        let next = self.current.map_or(0, |b| b + 1);
        if self.bursts.get(next).is_some_and(|burst| now >= burst.onset) {
            self.current = Some(next);
        }
        let state = &MARKET[market];
        let own = state.sigma_day * self.idiosyncratic * OWN_FACTOR[self.own.state] / DAY_SECS.sqrt();
        self.step_sigma = own.hypot(self.beta * state.sigma_day / DAY_SECS.sqrt());
        let mut step = self.beta * factor + own * self.returns.student5();

        let (mut push, mut cut) = (0.0, 0.0);
        if let Some(burst) = self.current.map(|b| &self.bursts[b]) {
            let share = burst.share(now);
            (push, cut) = (share * burst.log_move, share * -(1.0 - burst.interest_cut).ln());
        }
        let back = self.rebound / REBOUND_TAU_SECS;
        self.rebound += -REBOUND_SHARE * push - back;
        step = (step + push + back).clamp(-STEP_MAX, STEP_MAX);
        let before = self.log_index;
        self.log_index = (before + step).clamp(self.first_log - LOG_RANGE, self.first_log + LOG_RANGE);
        self.step = self.log_index - before;

        self.advance_premium(now);
        let drawn = (state.open_interest - self.log_interest) / INTEREST_TAU_SECS;
        self.log_interest += drawn + INTEREST_DEVIATION * self.interests.normal() - cut;
    }

    fn advance_premium(&mut self, now: i64) {
        while self.episodes.get(self.episode).is_some_and(|e| now >= e.to) {
            self.episode += 1;
        }
        let target = self.episodes.get(self.episode).filter(|e| now >= e.from).map_or(PREMIUM_MEAN, |e| e.premium);
        let noise = PREMIUM_DEVIATION * (2.0 / PREMIUM_TAU_SECS).sqrt();
        self.premium += (target - self.premium) / PREMIUM_TAU_SECS + noise * self.premiums.normal();
    }
}
