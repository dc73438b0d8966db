//! What the views are told: thresholds, windows, limits. Plain numbers; the program's configuration file is read elsewhere.

use crate::fixed::{Notional, ONE};
use crate::model::{MINUTE_MS, Timeframe};

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
    /// How symbols move together.
    pub correlation: Correlation,
    /// Who moves first.
    pub lead_lag: LeadLag,
}

/// When liquidations are a cascade (ANALYTICS: "Cascade").
#[derive(Clone, Copy, Debug)]
pub struct Cascades {
    /// The 5m, 1h and 4h windows, in this order.
    pub thresholds: [Threshold; 3],
    /// A side with at least this share of notional bears the cascade.
    pub side_bias_share: f64,
    /// A cascade ends this long after it was last active.
    pub end_after_secs: i64,
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

/// Correlations, market mode, betas, breaks (ANALYTICS: "Correlation").
#[derive(Clone, Debug)]
pub struct Correlation {
    /// The windows. Time frames up to 1h.
    pub horizons: Vec<CorrelationWindow>,
    /// A pair needs this share of the window's bars in common.
    pub coverage_min: f64,
    /// The half-life of the weighted correlation, as a share of the window.
    pub ewma_half_life: f64,
    /// Complete UTC days of a pair's history, at most 60.
    pub baseline_days: i64,
    /// Days with a sample that a history needs.
    pub baseline_days_min: i64,
    /// The symbol that betas are against.
    pub benchmark: String,
    /// With more symbols than this, only changes of `row_step` are written and breaks compare each symbol with the market.
    pub pairs_up_to: usize,
    /// By how much r must differ from the last written one.
    pub row_step: f64,
    /// When a pair breaks apart.
    pub breaks: CorrelationBreaks,
}

/// A window of bars.
#[derive(Clone, Copy, Debug)]
pub struct CorrelationWindow {
    /// Of which bars.
    pub timeframe: Timeframe,
    /// How many.
    pub bars: usize,
}

impl CorrelationWindow {
    /// From the window's length.
    #[must_use]
    pub fn of(timeframe: Timeframe, minutes: i64) -> Self {
        Self { timeframe, bars: usize::try_from(minutes * MINUTE_MS / timeframe.ms()).unwrap_or(0).max(2) }
    }
}

/// When a pair breaks apart, and when that is over.
#[derive(Clone, Copy, Debug)]
pub struct CorrelationBreaks {
    /// r below this is a break, unless the pair has always been so.
    pub r_below: f64,
    /// Fisher's z so many deviations below the baseline is one.
    pub fall_sd: f64,
    /// … if r is so far below the baseline's.
    pub fall_r: f64,
    /// The deviation counts as at least this.
    pub sd_min: f64,
    /// It must hold for so many bars.
    pub hold_bars: u32,
    /// It is over when z is less than so many deviations below the baseline.
    pub clear_sd: f64,
    /// A pair trade where the baseline's r was at least this.
    pub pair_trade_r: f64,
}

/// Lead and lag (ANALYTICS: "Lead–lag").
#[derive(Clone, Debug)]
pub struct LeadLag {
    /// Canonical symbols that are compared.
    pub symbols: Vec<String>,
    /// A bucket's length.
    pub bucket_ms: i64,
    /// The window.
    pub window_minutes: i64,
    /// A pair needs this share of the window's buckets.
    pub coverage_min: f64,
    /// … and so many buckets with a move of each.
    pub moves_min: usize,
    /// A leader's (ρ₊₁ − ρ₋₁)/√(2/n) is above this.
    pub strength_min: f64,
    /// The leader changes when another has had the highest score for so many minutes.
    pub hold_minutes: i64,
}

impl Default for LeadLag {
    fn default() -> Self {
        Self {
            symbols: ["BTC", "ETH", "SOL"].map(|asset| format!("{asset}-USDT-PERP")).into(),
            bucket_ms: 100,
            window_minutes: 15,
            coverage_min: 0.8,
            moves_min: 30,
            strength_min: 3.0,
            hold_minutes: 3,
        }
    }
}

impl Default for Correlation {
    fn default() -> Self {
        Self {
            horizons: vec![CorrelationWindow::of(Timeframe::M5, 1_440), CorrelationWindow::of(Timeframe::M1, 240)],
            coverage_min: 0.8,
            ewma_half_life: 0.25,
            baseline_days: 30,
            baseline_days_min: 7,
            benchmark: "BTC-USDT-PERP".to_owned(),
            pairs_up_to: 20,
            row_step: 0.02,
            breaks: CorrelationBreaks {
                r_below: -0.5,
                fall_sd: 3.0,
                fall_r: 0.3,
                sd_min: 0.15,
                hold_bars: 3,
                clear_sd: 2.0,
                pair_trade_r: 0.5,
            },
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lateness_ms: 2_000,
            correction_horizon_ms: 7_200_000,
            open_bars_every_ms: 1_000,
            cascades: Cascades {
                thresholds: [
                    Threshold::usd(250_000.0, 3_000_000.0),
                    Threshold::usd(500_000.0, 500_000.0),
                    Threshold::usd(500_000.0, 200_000.0),
                ],
                side_bias_share: 0.65,
                end_after_secs: 300,
            },
            volatility: Volatility {
                boundaries: [0.01, 0.05, 0.10],
                hysteresis: 0.10,
                ewma_half_life_minutes: 360.0,
                coverage_min: 0.8,
            },
            correlation: Correlation::default(),
            lead_lag: LeadLag::default(),
        }
    }
}
