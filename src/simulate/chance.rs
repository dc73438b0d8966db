//! Chance: one random stream per owner and purpose, so that adding a symbol or a venue never changes what the others do.
//!
//! Xoshiro256++ seeded from (seed, owner, purpose). The distributions are those the model needs and no others.

use dataflows::model::fnv1a;
use rand_distr::{Distribution, Exp1, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A random stream.
#[derive(Clone, Debug)]
pub(super) struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// The stream of `owner` (`BTC`, `market`) for `purpose` (`returns`).
    pub(super) fn new(seed: u64, owner: &str, purpose: &str) -> Self {
        let names = owner.bytes().chain([0]).chain(purpose.bytes());
        Self(Xoshiro256PlusPlus::seed_from_u64(fnv1a(names) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform on (0, 1].
    pub(super) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform between two bounds.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Between two positive bounds, uniform in the logarithm.
    pub(super) fn log_between(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// Standard normal.
    pub(super) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// Exponential of mean one.
    pub(super) fn exponential(&mut self) -> f64 {
        Exp1.sample(&mut self.0)
    }

    /// Student-t with five degrees of freedom, scaled to variance one (raw variance 5/3).
    /// A chi-square of five degrees is −2 ln(u₁u₂) plus a squared normal, so this needs no gamma sampler.
    pub(super) fn student5(&mut self) -> f64 {
        let z = self.normal();
        let w = self.normal();
        let chi = w * w - 2.0 * (self.unit() * self.unit()).ln();
        z * (3.0 / chi).sqrt()
    }

    /// Lognormal of mean one.
    pub(super) fn lognormal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal() - 0.5 * sigma * sigma).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student5_has_variance_one_and_heavy_tails() {
        let mut chance = Chance::new(1, "test", "t");
        let draws: Vec<f64> = (0..400_000).map(|_| chance.student5()).collect();
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
        let beyond_four = draws.iter().filter(|x| x.abs() > 4.0).count();
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
        // A normal has 25 of 400,000 beyond four deviations; t₅ scaled to variance one has P(|t| > 5.16) = 0.0036, 1,430.
        assert!((1_200..1_700).contains(&beyond_four), "{beyond_four} beyond four deviations");
    }

    #[test]
    fn streams_depend_on_seed_owner_and_purpose() {
        let first = |seed, owner, purpose| Chance::new(seed, owner, purpose).bits();
        assert_eq!(first(1, "BTC", "returns"), first(1, "BTC", "returns"));
        assert_ne!(first(1, "BTC", "returns"), first(2, "BTC", "returns"));
        assert_ne!(first(1, "BTC", "returns"), first(1, "ETH", "returns"));
        assert_ne!(first(1, "BTC", "returns"), first(1, "BTC", "trades"));
    }
}
