//! Listings: which symbols are traded, and how large each market is. BTC, ETH, SOL, then generated names.

use super::chance::Chance;
use super::digits::power;

/// A symbol of the simulated market.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    /// `BTC`.
    pub(super) base: String,
    /// `BTCUSDT`.
    pub(super) symbol: String,
    /// The first index price, USD.
    pub(super) price: f64,
    /// Sensitivity to the market's factor.
    pub(super) beta: f64,
    /// Own deviation, as a multiple of the factor's.
    pub(super) idiosyncratic: f64,
    /// Prices are multiples of 10^−this.
    pub(super) price_decimals: u32,
    /// Quantities are multiples of 10^−this.
    pub(super) qty_decimals: u32,
    /// Mean notional of a print, USD.
    pub(super) trade_usd: f64,
    /// Open interest on Binance at the start, one side, USD.
    pub(super) open_interest_usd: f64,
    /// Background liquidations per hour, both sides, USD.
    pub(super) liquidated_usd_per_hour: f64,
}

impl Listing {
    /// The first `count` symbols. A symbol's numbers depend on its name and the seed only.
    pub(super) fn first(count: usize, seed: u64) -> Vec<Self> {
        (0..count).map(|i| Self::nth(i, seed)).collect()
    }

    fn nth(i: usize, seed: u64) -> Self {
        let known = |base: &str, price, beta, idiosyncratic, decimals: (u32, u32), trade_usd, millions: f64, liquidated| Self {
            base: base.to_owned(),
            symbol: format!("{base}USDT"),
            price,
            beta,
            idiosyncratic,
            price_decimals: decimals.0,
            qty_decimals: decimals.1,
            trade_usd,
            open_interest_usd: millions * 1e6,
            liquidated_usd_per_hour: liquidated,
        };
        match i {
            0 => known("BTC", 93_500.0, 1.0, 0.3, (1, 3), 12_000.0, 8_000.0, 30_000.0),
            1 => known("ETH", 3_180.0, 1.25, 0.45, (2, 3), 8_000.0, 4_500.0, 25_000.0),
            2 => known("SOL", 137.5, 1.4, 0.7, (2, 2), 4_000.0, 1_200.0, 12_000.0),
            _ => {
                let letters = [i / 676, i / 26, i].map(|n| char::from(b'A' + (n % 26) as u8));
                let base: String = ['Z'].into_iter().chain(letters).collect();
                let mut chance = Chance::new(seed, &base, "listing");
                let price = chance.log_between(0.05, 800.0);
                // About 10,000 ticks to the price, and a smallest quantity worth about ten cents.
                let price_decimals = (4.0 - price.log10().floor()).clamp(1.0, 7.0) as u32;
                let qty_decimals = (1.0 + price.log10().floor()).clamp(0.0, 3.0) as u32;
                let beta = chance.between(0.8, 1.9);
                let idiosyncratic = chance.between(0.5, 1.1);
                let trade_usd = chance.log_between(500.0, 4_000.0);
                let millions = chance.log_between(20.0, 600.0);
                known(&base, price, beta, idiosyncratic, (price_decimals, qty_decimals), trade_usd, millions, 6_000.0)
            }
        }
    }

    /// `BTC-USDT-PERP`.
    pub(super) fn canonical(&self) -> String {
        format!("{}-USDT-PERP", self.base)
    }

    /// The price's grid: `price × this` is a number of ticks.
    pub(super) fn ticks_per_unit(&self) -> f64 {
        power(self.price_decimals)
    }

    /// The quantity's grid: `quantity × this` is a number of steps.
    pub(super) fn steps_per_unit(&self) -> f64 {
        power(self.qty_decimals)
    }

    /// Decimals of ticks × steps.
    pub(super) fn notional_decimals(&self) -> u32 {
        self.price_decimals + self.qty_decimals
    }

    /// Ticks × steps, in USD.
    pub(super) fn usd(&self, notional: i128) -> f64 {
        notional as f64 / power(self.notional_decimals())
    }

    /// How many steps a notional is worth at a price, at least one.
    pub(super) fn steps_for(&self, usd: f64, price: f64) -> i64 {
        ((usd / price * self.steps_per_unit()).round() as i64).max(1)
    }
}
