//! What may be chosen about a simulated market, and its limits.

use dataflows::model::Venue;
use serde::{Deserialize, Serialize};

/// 2026-01-05T00:00:00Z, a Monday.
pub const START_MS: i64 = 1_767_571_200_000;

/// What may be chosen about a simulated market. Equal settings give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// All chance derives from it.
    pub seed: u64,
    /// BTC, ETH, SOL, then generated names; 1 to 1,000.
    pub symbols: usize,
    /// Simulated time, minutes; 1 to 527,040 (366 days).
    pub minutes: i64,
    /// Event time of the first second, UTC ms, a full minute from 2010 to 2099.
    pub start_ms: i64,
    /// Any of [`Venue::BinanceUsdm`], [`Venue::BybitLinear`].
    pub venues: Vec<Venue>,
    /// Prints per second and symbol in the normal regime (Bybit: half of it); above 0, up to 20,000.
    pub trades_per_second: f64,
    /// Seconds between mark prices (Bybit: ticker deltas); 1 to 60.
    pub mark_interval_secs: i64,
    /// Cascades of one symbol's own per day, decoys included (market-wide ones come on top, a quarter as often); 0 to 96.
    pub bursts_per_day: f64,
    /// Funding episodes per symbol and day; 0 to 4.
    pub episodes_per_day: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            symbols: 3,
            minutes: 7 * 1_440,
            start_ms: START_MS,
            venues: vec![Venue::BinanceUsdm, Venue::BybitLinear],
            trades_per_second: 0.5,
            mark_interval_secs: 3,
            bursts_per_day: 4.0,
            episodes_per_day: 0.35,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("setting up the simulated market: {name} is {value}, choose {limits}")]
pub struct SettingsError {
    /// The field.
    pub name: &'static str,
    /// What it was.
    pub value: String,
    /// What it may be.
    pub limits: &'static str,
}

impl Settings {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first field outside its limits.
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong = |name, value: &dyn std::fmt::Debug, limits| Err(SettingsError { name, value: format!("{value:?}"), limits });
        if !(1..=1_000).contains(&self.symbols) {
            return wrong("symbols", &self.symbols, "1 to 1000");
        }
        if !(1..=527_040).contains(&self.minutes) {
            return wrong("minutes", &self.minutes, "1 to 527040 (366 days)");
        }
        if self.start_ms % 60_000 != 0 || !(1_262_304_000_000..4_070_908_800_000).contains(&self.start_ms) {
            return wrong("start_ms", &self.start_ms, "a full UTC minute from 2010 to 2099");
        }
        let known = |v: &Venue| matches!(v, Venue::BinanceUsdm | Venue::BybitLinear);
        let twice = self.venues.len() > 1 && self.venues[1..].contains(&self.venues[0]);
        if self.venues.is_empty() || twice || !self.venues.iter().all(known) {
            return wrong("venues", &self.venues, "binance-usdm, bybit-linear or both");
        }
        if !(self.trades_per_second > 0.0 && self.trades_per_second <= 20_000.0) {
            return wrong("trades_per_second", &self.trades_per_second, "above 0, up to 20000");
        }
        if !(1..=60).contains(&self.mark_interval_secs) {
            return wrong("mark_interval_secs", &self.mark_interval_secs, "1 to 60");
        }
        if !(0.0..=96.0).contains(&self.bursts_per_day) {
            return wrong("bursts_per_day", &self.bursts_per_day, "0 to 96");
        }
        if !(0.0..=4.0).contains(&self.episodes_per_day) {
            return wrong("episodes_per_day", &self.episodes_per_day, "0 to 4");
        }
        Ok(())
    }

    /// Event time of the first second, s.
    pub(super) fn first_second(&self) -> i64 {
        self.start_ms / 1_000
    }

    /// Event time at which it is over, s.
    pub(super) fn end_second(&self) -> i64 {
        self.first_second() + self.minutes * 60
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut Settings), field: &str) {
        let mut settings = Settings::default();
        assert_eq!(settings.check(), Ok(()));
        change(&mut settings);
        assert_eq!(settings.check().err().map(|e| e.name), Some(field));
    }

    #[test]
    fn settings_outside_their_limits_are_named() {
        check(|s| s.symbols = 0, "symbols");
        check(|s| s.minutes = 0, "minutes");
        check(|s| s.start_ms += 1, "start_ms");
        check(|s| s.venues.clear(), "venues");
        check(|s| s.venues = vec![Venue::OkxSwap], "venues");
        check(|s| s.venues = vec![Venue::BybitLinear; 2], "venues");
        check(|s| s.trades_per_second = f64::NAN, "trades_per_second");
        check(|s| s.mark_interval_secs = 0, "mark_interval_secs");
        check(|s| s.bursts_per_day = -1.0, "bursts_per_day");
        check(|s| s.episodes_per_day = f64::INFINITY, "episodes_per_day");
    }
}
