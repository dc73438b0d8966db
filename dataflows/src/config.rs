//! What the views are told: thresholds, windows, limits. Plain numbers; the program's configuration file is read elsewhere.

use crate::fixed::{Notional, ONE};

/// Settings of all views.
#[derive(Clone, Debug)]
pub struct Config {
    /// How late an event may be without being called late.
    pub lateness_ms: i64,
    /// Late events inside it correct the views; older ones are only listed.
    pub correction_horizon_ms: i64,
    /// Open bars are published when this much knowledge time has passed.
    pub open_bars_every_ms: u64,
    /// Liquidation cascades.
    pub cascades: Cascades,
    /// Volatility and its regimes.
    pub volatility: Volatility,
}

/// When liquidations are a cascade (ANALYTICS: "Cascade").
#[derive(Clone, Copy, Debug)]
pub struct Cascades {
    /// Which thresholds count.
    pub mode: CascadeMode,
    /// The 5m, 1h and 4h windows, in this order.
    pub thresholds: [Threshold; 3],
    /// The thresholds out of a symbol's own past.
    pub adaptive: Adaptive,
    /// A side with at least this share of notional bears the cascade.
    pub side_bias_share: f64,
    /// A cascade ends this long after it was last active.
    pub end_after_secs: i64,
    /// How liquidations beget liquidations.
    pub self_excitation: SelfExcitation,
    /// Cascades of several assets at once.
    pub market: MarketCascades,
}

/// How liquidations beget liquidations.
#[derive(Clone, Copy, Debug)]
pub struct SelfExcitation {
    /// A side with fewer events in 24 h is not fitted.
    pub events_min: usize,
    /// The branching ratio from which a cascade can be called self-feeding.
    pub feeding_ratio: f64,
}

/// Cascades of several assets at once.
#[derive(Clone, Copy, Debug)]
pub struct MarketCascades {
    /// So many base assets.
    pub assets_min: usize,
    /// Must have a 5m onset inside this time.
    pub within_secs: i64,
}

/// Which thresholds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CascadeMode {
    /// The configured dollars.
    Absolute,
    /// The quantile of the symbol's own windows; no cascade before enough days are known, or where the quantile is zero.
    Adaptive,
    /// The configured dollars, and as soon as enough days are known the quantile too.
    Both,
}

/// A window must be above the quantile of the symbol's same windows at every second of the known days before.
#[derive(Clone, Copy, Debug)]
pub struct Adaptive {
    /// Which.
    pub quantile: f64,
    /// Complete UTC days to look back.
    pub days: i64,
    /// Fewer known ones give no quantile.
    pub known_days_min: i64,
    /// A day is known if the venue was heard in this share of its minutes (and the symbol before it began).
    pub heard_min: f64,
}

/// A window's limits.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// The window's notional must be above this.
    pub minimum: Notional,
    /// The window's velocity must be above this, per hour.
    pub critical_per_hour: Notional,
}

impl Threshold {
    /// From whole or fractional USD.
    #[must_use]
    pub fn usd(minimum: f64, critical_per_hour: f64) -> Self {
        Self { minimum: usd(minimum), critical_per_hour: usd(critical_per_hour) }
    }
}

/// USD to fixed point, at a millionth of a dollar.
fn usd(amount: f64) -> Notional {
    Notional((amount * 1e6).round() as i128 * (ONE * ONE / 1_000_000))
}

/// Volatility estimators and regimes (ANALYTICS: "Volatility").
#[derive(Clone, Copy, Debug)]
pub struct Volatility {
    /// The upper bounds of STABLE, HIGH_VOL and EXPLOSIVE, per day.
    pub boundaries: [f64; 3],
    /// A regime changes only beyond the boundary by this fraction of it.
    pub hysteresis: f64,
    /// Half-life of the EWMA.
    pub ewma_half_life_minutes: f64,
    /// A window with less than this share of its bars has no estimate.
    pub coverage_min: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lateness_ms: 2_000,
            correction_horizon_ms: 7_200_000,
            open_bars_every_ms: 1_000,
            cascades: Cascades {
                mode: CascadeMode::Both,
                thresholds: [
                    Threshold::usd(250_000.0, 3_000_000.0),
                    Threshold::usd(500_000.0, 500_000.0),
                    Threshold::usd(500_000.0, 200_000.0),
                ],
                adaptive: Adaptive { quantile: 0.995, days: 30, known_days_min: 7, heard_min: 0.8 },
                side_bias_share: 0.65,
                end_after_secs: 300,
                self_excitation: SelfExcitation { events_min: 200, feeding_ratio: 0.8 },
                market: MarketCascades { assets_min: 3, within_secs: 60 },
            },
            volatility: Volatility {
                boundaries: [0.01, 0.05, 0.10],
                hysteresis: 0.10,
                ewma_half_life_minutes: 360.0,
                coverage_min: 0.8,
            },
        }
    }
}
