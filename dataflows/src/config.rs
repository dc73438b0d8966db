//! What the views are told: thresholds, windows, limits. Plain numbers; the program's configuration file is read elsewhere.

use crate::fixed::{Notional, ONE, Rate};
use crate::model::{MINUTE_MS, Timeframe};

/// Settings of all views.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Config {
    /// How late an event may be without being called late.
    pub lateness_ms: i64,
    /// Late events inside it correct the views; older ones are only listed.
    pub correction_horizon_ms: i64,
    /// What a venue says later than another by more than this is left out of the views across venues. At least the horizon counts.
    pub venue_lag_ms_max: i64,
    /// Open bars of a minute are published when this much knowledge time has passed, longer ones in proportion (60 times at most).
    pub open_bars_every_ms: u64,
    /// Liquidation cascades.
    pub cascades: Cascades,
    /// Volatility and its regimes.
    pub volatility: Volatility,
    /// Time frames whose closed bars have features.
    pub features_timeframes: Vec<Timeframe>,
    /// Support zones and returns to them.
    pub support_zones: SupportZones,
    /// Funding and its anomalies.
    pub funding: Funding,
    /// Open interest: quadrants and shocks.
    pub open_interest: OpenInterest,
    /// How symbols move together.
    pub correlation: Correlation,
    /// Who moves first.
    pub lead_lag: LeadLag,
    /// Regimes by hidden Markov models.
    pub regimes: Regimes,
}

/// When liquidations are a cascade (ANALYTICS: "Cascade").
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct SelfExcitation {
    /// A side with fewer events in 24 h is not fitted.
    pub events_min: usize,
    /// The branching ratio from which a cascade can be called self-feeding.
    pub feeding_ratio: f64,
}

/// Cascades of several assets at once.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct MarketCascades {
    /// So many base assets.
    pub assets_min: usize,
    /// Must have a 5m onset inside this time.
    pub within_secs: i64,
}

/// Which thresholds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum CascadeMode {
    /// The configured dollars.
    Absolute,
    /// The quantile of the symbol's own windows; no cascade before enough days are known, or where the quantile is zero.
    Adaptive,
    /// The configured dollars, and as soon as enough days are known the quantile too.
    Both,
}

/// A window must be above the quantile of the symbol's same windows at every second of the known days before.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
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

/// A fraction to fixed point.
#[must_use]
pub fn rate(fraction: f64) -> Rate {
    Rate((fraction * ONE as f64).round() as i64)
}

/// Volatility estimators and regimes (ANALYTICS: "Volatility").
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Volatility {
    /// Whose boundaries count.
    pub mode: VolatilityMode,
    /// The upper bounds of STABLE, HIGH_VOL and EXPLOSIVE, per day, in mode `absolute`.
    pub boundaries: [f64; 3],
    /// A regime changes only beyond the boundary by this fraction of it.
    pub hysteresis: f64,
    /// Half-life of the EWMA.
    pub ewma_half_life_minutes: f64,
    /// A window with less than this share of its bars has no estimate.
    pub coverage_min: f64,
    /// In mode `adaptive`: the shares of a symbol's own past levels that lie below those bounds.
    pub quantiles: [f64; 3],
    /// As `hysteresis`, in mode `adaptive`.
    pub adaptive_hysteresis: f64,
    /// Complete UTC days that are remembered.
    pub history_days: i64,
    /// Days' worth of samples that must be there before they say anything.
    pub history_days_min: i64,
}

/// Whose boundaries tell volatility regimes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum VolatilityMode {
    /// The same for all symbols.
    Absolute,
    /// Quantiles of the symbol's own past; absolute until enough of it is known.
    Adaptive,
}

/// Where much was liquidated (ANALYTICS: "Support zones").
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct SupportZones {
    /// Minutes of the trailing window.
    pub window_minutes: i64,
    /// Width of a price bucket.
    pub bucket_bps: u32,
    /// Buckets above this quantile of the non-empty ones make zones, millionths.
    pub quantile_ppm: u32,
    /// So many zones of a side are kept.
    pub zones_max: usize,
    /// The price has left a zone at this distance from its edge.
    pub leave_bps: u32,
}

/// When funding is unusual (ANALYTICS: "Funding"). Rates are per 8 h.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Funding {
    /// An anomaly has a |z| against 30 days above this.
    pub anomaly_z: f64,
    /// And is at least this far from the median.
    pub anomaly_deviation_min: Rate,
    /// Or has changed within an hour by more than this.
    pub change_max: Rate,
    /// It is over when |z| is below this.
    pub clear_z: f64,
    /// A |z| against 24 h above this is noted.
    pub deviation_z: f64,
    /// No z-score is taken against a smaller deviation, a fraction.
    pub scale_floor: f64,
    /// A reversal is from beyond this on one side to beyond it on the other.
    pub reversal_min: Rate,
    /// For so long, without a break.
    pub reversal_minutes: i64,
    /// Volatility above this quantile of its 30 days is high.
    pub high_volatility_quantile: f64,
    /// A baseline of 24 h has at least so many minutes.
    pub minutes_min: i64,
    /// A baseline of 30 days has at least so many hours.
    pub hours_min: i64,
    /// A baseline of settled rates has at least so many settlements.
    pub settlements_min: i64,
}

/// Open interest (ANALYTICS: "Open interest"). Changes are fractions.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct OpenInterest {
    /// A change over an hour below it is none.
    pub quadrant_interest_min: f64,
    /// A price change over an hour below it is none.
    pub quadrant_price_min: f64,
    /// A fall within 5 minutes by at least this, during a cascade, is a shock.
    pub shock_drop: f64,
}

/// Correlations, market mode, betas, breaks (ANALYTICS: "Correlation").
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
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

/// Regimes by hidden Markov models (ANALYTICS: "HMM regimes").
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Regimes {
    /// Bars of which regimes are told. Empty: none, at no cost.
    pub timeframes: Vec<Timeframe>,
    /// A state is entered at this probability.
    pub enter: f64,
    /// Below this probability a decided state is no longer firm.
    pub leave: f64,
    /// Bars that the fixed-lag smoother looks back.
    pub lag: usize,
    /// Bars before an anchor from which a chain begins (L in ANALYTICS).
    pub warm_up_bars: usize,
    /// Bars ahead of which a forecast is made.
    pub forecast_bars: usize,
    /// Bars of a window.
    pub window_bars: usize,
    /// Bars whose windows are looked at by themselves: it costs a window's length a bar.
    pub window_timeframes: Vec<Timeframe>,
    /// When time frames confirm each other.
    pub confirmation: Confirmation,
    /// A model drifts when its score is above this for some bars.
    pub drift_score: f64,
    /// For so many.
    pub drift_bars: usize,
    /// Bars whose changes of regime are told to people.
    pub change_timeframes: Vec<Timeframe>,
}

/// When time frames confirm each other.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Confirmation {
    /// Who votes, from the fastest, with its weight.
    pub weights: Vec<(Timeframe, f64)>,
    /// Fewer votes say nothing.
    pub present_min: usize,
    /// Confirmed when the share of weight that agrees is at least this …
    pub enter: f64,
    /// … for so many bars of the fastest frame.
    pub hold_bars: usize,
    /// No longer confirmed below this.
    pub leave: f64,
}

impl Confirmation {
    /// A frame's weight; `None`: it doesn't vote.
    #[must_use]
    pub fn weight(&self, timeframe: Timeframe) -> Option<f64> {
        self.weights.iter().find(|(voter, _)| *voter == timeframe).map(|(_, weight)| *weight)
    }
}

impl Default for Regimes {
    fn default() -> Self {
        use Timeframe::{D1, H1, H4, W1};
        let weights = [H1, H4, D1, W1].map(|timeframe| (timeframe, 1.0)).to_vec();
        Self {
            timeframes: Vec::new(),
            enter: 0.8,
            leave: 0.5,
            lag: 20,
            warm_up_bars: 256,
            forecast_bars: 12,
            window_bars: 256,
            window_timeframes: vec![H1, H4, D1, W1],
            confirmation: Confirmation { weights, present_min: 3, enter: 0.70, hold_bars: 2, leave: 0.5 },
            drift_score: 0.5,
            drift_bars: 3,
            change_timeframes: vec![H1, H4, D1, W1],
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lateness_ms: 2_000,
            correction_horizon_ms: 7_200_000,
            venue_lag_ms_max: 14_400_000,
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
                mode: VolatilityMode::Absolute,
                boundaries: [0.01, 0.05, 0.10],
                hysteresis: 0.10,
                ewma_half_life_minutes: 360.0,
                coverage_min: 0.8,
                quantiles: [0.25, 0.85, 0.98],
                adaptive_hysteresis: 0.15,
                history_days: 90,
                history_days_min: 30,
            },
            features_timeframes: vec![Timeframe::M1, Timeframe::M15, Timeframe::H1, Timeframe::H4, Timeframe::D1, Timeframe::W1],
            support_zones: SupportZones {
                window_minutes: 1_440,
                bucket_bps: 10,
                quantile_ppm: 900_000,
                zones_max: 5,
                leave_bps: 10,
            },
            funding: Funding {
                anomaly_z: 2.5,
                anomaly_deviation_min: rate(1.5e-4),
                change_max: rate(5e-4),
                clear_z: 1.5,
                deviation_z: 2.0,
                scale_floor: 2e-5,
                reversal_min: rate(5e-5),
                reversal_minutes: 240,
                high_volatility_quantile: 0.95,
                minutes_min: 720,
                hours_min: 168,
                settlements_min: 21,
            },
            open_interest: OpenInterest { quadrant_interest_min: 0.005, quadrant_price_min: 0.0025, shock_drop: 0.03 },
            correlation: Correlation::default(),
            lead_lag: LeadLag::default(),
            regimes: Regimes::default(),
        }
    }
}
