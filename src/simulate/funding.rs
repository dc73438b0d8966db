//! Funding: the predicted rate follows the premium's weighted mean since the last settlement.
//!
//! rate = P̄ + clamp(interest − P̄, ±5 bp), interest 1 bp per 8 h, P̄ the mean of the premium weighted by its place in the
//! interval (1, 2, 3, …), the whole inside ±3 %: the venues' published rule. Settlements at 00:00, 08:00, 16:00 UTC.

use super::path::{PREMIUM_MEAN, PREMIUM_TAU_SECS};
use super::schedule::PlannedEpisode;

/// Seconds between settlements.
pub(super) const INTERVAL_SECS: i64 = 8 * 3_600;
const INTEREST: f64 = 1e-4;
const CLAMP: f64 = 5e-4;
const CAP: f64 = 0.03;
/// A rate this far from the usual one is extreme (ANALYTICS.md, "Anomaly").
const EXTREME: f64 = 1.5e-4;

/// The rate per 8 h that a mean premium settles at.
pub(super) fn rate(mean_premium: f64) -> f64 {
    (mean_premium + (INTEREST - mean_premium).clamp(-CLAMP, CLAMP)).clamp(-CAP, CAP)
}

/// The end of the interval that holds second `now`.
pub(super) fn next_settlement(now: i64) -> i64 {
    (now.div_euclid(INTERVAL_SECS) + 1) * INTERVAL_SECS
}

/// One venue's meter of a symbol's premium.
#[derive(Debug, Default)]
pub(super) struct Meter {
    weighted: f64,
    weight: f64,
}

impl Meter {
    /// Second `now` begins. At a settlement: the rate that is paid, once an interval was metered.
    pub(super) fn settle(&mut self, now: i64) -> Option<f64> {
        if now % INTERVAL_SECS != 0 {
            return None;
        }
        let settled = (self.weight > 0.0).then(|| self.predicted());
        *self = Self::default();
        settled
    }

    /// Second `now` had this premium.
    pub(super) fn second(&mut self, now: i64, premium: f64) {
        let weight = (now % INTERVAL_SECS + 1) as f64;
        self.weighted += weight * premium;
        self.weight += weight;
    }

    /// The rate that would be paid if the interval ended now.
    pub(super) fn predicted(&self) -> f64 {
        rate(if self.weight > 0.0 { self.weighted / self.weight } else { 0.0 })
    }
}

/// The first and the last second at which the rate that follows from an episode's premium alone, noise aside, is extreme.
pub(super) fn felt(episode: &PlannedEpisode) -> Option<(i64, i64)> {
    let mut meter = Meter::default();
    let mut premium = PREMIUM_MEAN;
    let mut felt: Option<(i64, i64)> = None;
    let begin = next_settlement(episode.from) - INTERVAL_SECS;
    for now in begin..next_settlement(episode.to) + INTERVAL_SECS {
        meter.settle(now);
        let target = if (episode.from..episode.to).contains(&now) { episode.premium } else { PREMIUM_MEAN };
        premium += (target - premium) / PREMIUM_TAU_SECS;
        meter.second(now, premium);
        if (meter.predicted() - INTEREST).abs() >= EXTREME {
            felt = Some((felt.map_or(now, |(from, _)| from), now));
        }
    }
    felt
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_felt_soon_after_it_begins_and_until_its_interval_is_settled() {
        let hour = 3_600;
        let at = |from: i64, to: i64, premium| felt(&PlannedEpisode { from: from * hour, to: to * hour, premium }).unwrap();
        let (from, to) = at(8, 13, 0.003);
        assert!((8 * hour..8 * hour + 600).contains(&from), "the premium is at 6.5 bp after five minutes: {from}");
        assert_eq!(to, 16 * hour - 1);
        let (from, _) = at(14, 20, 0.003);
        assert!((14 * hour + 1_800..16 * hour).contains(&from), "six hours of the usual premium weigh against it: {from}");
        assert_eq!(felt(&PlannedEpisode { from: 0, to: hour, premium: 0.0004 }), None, "inside the clamp");
    }

    fn check(premium: f64, expected: f64) {
        assert!((rate(premium) - expected).abs() < 1e-12, "premium {premium}: {} instead of {expected}", rate(premium));
    }

    #[test]
    fn rates_follow_the_published_rule() {
        check(0.0, 0.0001);
        check(0.0005, 0.0001);
        check(-0.0003, 0.0001);
        check(0.002, 0.0015);
        check(-0.002, -0.0015);
        check(0.5, 0.03);
    }

    #[test]
    fn later_premiums_weigh_more_and_settlement_starts_anew() {
        let mut meter = Meter::default();
        assert_eq!(meter.settle(0), None);
        (0..INTERVAL_SECS).for_each(|now| meter.second(now, if now < INTERVAL_SECS / 2 { 0.0 } else { 0.004 }));
        // Three quarters of the weight lie in the second half.
        assert!((meter.predicted() - (0.003 - 0.0005)).abs() < 1e-6);
        assert!(meter.settle(INTERVAL_SECS).is_some());
        assert!((meter.predicted() - 0.0001).abs() < 1e-12);
    }
}
