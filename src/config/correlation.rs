//! Keys of `[views.correlation]`.

use dataflows::config as views;
use dataflows::model::Timeframe;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How symbols move together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Correlation {
    /// A pair needs this share of the window's bars in common.
    #[schemars(range(min = 0.1, max = 1.0))]
    pub coverage_min: f64,
    /// Half-life of the weighted correlation, as a share of the window.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub ewma_half_life: f64,
    /// Complete UTC days of a pair's own history.
    #[schemars(range(min = 1, max = 60))]
    pub baseline_days: u32,
    /// Days with a sample that a history needs.
    #[schemars(range(min = 1, max = 60))]
    pub baseline_days_min: u32,
    /// The symbol that betas are against.
    #[schemars(length(min = 1, max = 40))]
    pub benchmark: String,
    /// With more symbols than this, only changes of `row_step` are written and breaks compare each symbol with the market.
    #[schemars(range(min = 1, max = 1_024))]
    pub pairs_up_to: usize,
    /// By how much r must differ from the last written one.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub row_step: f64,
    /// The long horizon.
    pub long: CorrelationWindow,
    /// The short horizon.
    pub short: CorrelationWindow,
    /// When a pair breaks apart.
    pub breaks: CorrelationBreaks,
}

impl Default for Correlation {
    fn default() -> Self {
        Self {
            coverage_min: 0.8,
            ewma_half_life: 0.25,
            baseline_days: 30,
            baseline_days_min: 7,
            benchmark: "BTC-USDT-PERP".into(),
            pairs_up_to: 20,
            row_step: 0.02,
            long: CorrelationWindow { bars: CorrelationBars::M5, window_minutes: 1_440 },
            short: CorrelationWindow { bars: CorrelationBars::M1, window_minutes: 240 },
            breaks: CorrelationBreaks::default(),
        }
    }
}

/// A horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrelationWindow {
    /// Of which bars.
    pub bars: CorrelationBars,
    /// Its length.
    #[schemars(range(min = 10, max = 10_080))]
    pub window_minutes: u32,
}

/// Bars that returns may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum CorrelationBars {
    #[serde(rename = "1m")]
    M1,
    #[serde(rename = "5m")]
    M5,
    #[serde(rename = "15m")]
    M15,
    #[serde(rename = "1h")]
    H1,
}

impl CorrelationWindow {
    fn settings(&self) -> views::CorrelationWindow {
        let timeframe = match self.bars {
            CorrelationBars::M1 => Timeframe::M1,
            CorrelationBars::M5 => Timeframe::M5,
            CorrelationBars::M15 => Timeframe::M15,
            CorrelationBars::H1 => Timeframe::H1,
        };
        views::CorrelationWindow::of(timeframe, i64::from(self.window_minutes))
    }
}

/// When a pair breaks apart, and when that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CorrelationBreaks {
    /// r below this is a break, unless the pair has always been so.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub r_below: f64,
    /// Fisher's z so many deviations below the baseline is one.
    #[schemars(range(min = 0.5, max = 20.0))]
    pub fall_sd: f64,
    /// … if r is so far below the baseline's.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub fall_r: f64,
    /// The deviation counts as at least this.
    #[schemars(range(min = 0.001, max = 10.0))]
    pub sd_min: f64,
    /// It must hold for so many bars.
    #[schemars(range(min = 1, max = 1_000))]
    pub hold_bars: u32,
    /// It is over when z is less than so many deviations below the baseline.
    #[schemars(range(min = 0.0, max = 20.0))]
    pub clear_sd: f64,
    /// A pair trade where the baseline's r was at least this.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub pair_trade_r: f64,
}

impl Default for CorrelationBreaks {
    fn default() -> Self {
        Self { r_below: -0.5, fall_sd: 3.0, fall_r: 0.3, sd_min: 0.15, hold_bars: 3, clear_sd: 2.0, pair_trade_r: 0.5 }
    }
}

impl Correlation {
    /// As the views are told.
    #[must_use]
    pub fn settings(&self) -> views::Correlation {
        let CorrelationBreaks { r_below, fall_sd, fall_r, sd_min, hold_bars, clear_sd, pair_trade_r } = self.breaks;
        views::Correlation {
            horizons: vec![self.long.settings(), self.short.settings()],
            coverage_min: self.coverage_min,
            ewma_half_life: self.ewma_half_life,
            baseline_days: i64::from(self.baseline_days),
            baseline_days_min: i64::from(self.baseline_days_min),
            benchmark: self.benchmark.clone(),
            pairs_up_to: self.pairs_up_to,
            row_step: self.row_step,
            breaks: views::CorrelationBreaks { r_below, fall_sd, fall_r, sd_min, hold_bars, clear_sd, pair_trade_r },
        }
    }
}
