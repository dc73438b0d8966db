//! The section `[views]`: what is computed, and when it is worth a row.

use dataflows::config as views;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Correlation, LeadLag, Regimes, Time, Timeframe, integer};

/// What is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Open bars of a minute are published when this much knowledge time has passed, longer ones in proportion (60 times at most). Closed ones at once.
    #[schemars(range(min = 10, max = 3_600_000))]
    pub open_bars_every_ms: u64,
    /// Time frames whose closed bars have features, which models read.
    pub features_timeframes: Vec<Timeframe>,
    /// Liquidation cascades.
    pub cascades: Cascades,
    /// Volatility regimes.
    pub volatility: Volatility,
    /// Support zones.
    pub support_zones: SupportZones,
    /// Funding anomalies.
    pub funding: Funding,
    /// Open interest.
    pub open_interest: OpenInterest,
    /// How symbols move together.
    pub correlation: Correlation,
    /// Who moves first.
    pub lead_lag: LeadLag,
    /// Regimes by hidden Markov models.
    pub regimes: Regimes,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            open_bars_every_ms: 1_000,
            features_timeframes: vec![Timeframe::M1, Timeframe::M15, Timeframe::H1, Timeframe::H4, Timeframe::D1, Timeframe::W1],
            cascades: Cascades::default(),
            volatility: Volatility::default(),
            support_zones: SupportZones::default(),
            funding: Funding::default(),
            open_interest: OpenInterest::default(),
            correlation: Correlation::default(),
            lead_lag: LeadLag::default(),
            regimes: Regimes::default(),
        }
    }
}

/// Liquidation cascades: a window's velocity above critical and its notional above minimum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cascades {
    /// Which thresholds count: `absolute`, the dollars below; `adaptive`, the quantile of the symbol's own past; `both`, once enough
    /// days are known, before that the dollars alone.
    pub mode: CascadeMode,
    /// The 5m window.
    pub m5: Threshold,
    /// The 1h window.
    pub h1: Threshold,
    /// The 4h window.
    pub h4: Threshold,
    /// The thresholds out of a symbol's own past.
    pub adaptive: Adaptive,
    /// A side with at least this share of notional bears the cascade.
    #[schemars(range(min = 0.5, max = 1.0))]
    pub side_bias_share: f64,
    /// A cascade ends this long after it was last active.
    #[schemars(range(min = 1, max = 86_400))]
    pub end_after_secs: u64,
    /// How liquidations beget liquidations.
    pub self_excitation: SelfExcitation,
    /// Cascades of several assets at once.
    pub market: MarketCascades,
}

impl Default for Cascades {
    fn default() -> Self {
        Self {
            mode: CascadeMode::Both,
            m5: Threshold { minimum_usd: 250_000.0, critical_usd_per_hour: 3_000_000.0 },
            h1: Threshold { minimum_usd: 500_000.0, critical_usd_per_hour: 500_000.0 },
            h4: Threshold { minimum_usd: 500_000.0, critical_usd_per_hour: 200_000.0 },
            side_bias_share: 0.65,
            end_after_secs: 300,
            adaptive: Adaptive::default(),
            self_excitation: SelfExcitation::default(),
            market: MarketCascades::default(),
        }
    }
}

/// Which thresholds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum CascadeMode {
    Absolute,
    Adaptive,
    Both,
}

/// A window must be above the quantile of the symbol's same windows at every second of the known days before today.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    /// Which quantile.
    #[schemars(range(min = 0.5, max = 0.9999))]
    pub quantile: f64,
    /// Complete UTC days to look back.
    #[schemars(range(min = 1, max = 90))]
    pub days: u64,
    /// Fewer known days give no quantile.
    #[schemars(range(min = 1, max = 90))]
    pub known_days_min: u64,
    /// A day is known if the venue was heard in this share of its minutes, and the symbol before it began.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub heard_min: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { quantile: 0.995, days: 30, known_days_min: 7, heard_min: 0.8 }
    }
}

/// How liquidations of one symbol and side beget others: a Hawkes process, fitted each hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelfExcitation {
    /// A side with fewer events in 24 h is not fitted.
    #[schemars(range(min = 20, max = 20_000))]
    pub events_min: u64,
    /// The branching ratio from which a cascade can be called self-feeding.
    #[schemars(range(min = 0.1, max = 1.0))]
    pub feeding_ratio: f64,
}

impl Default for SelfExcitation {
    fn default() -> Self {
        Self { events_min: 200, feeding_ratio: 0.8 }
    }
}

/// Cascades of several assets at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarketCascades {
    /// So many base assets.
    #[schemars(range(min = 2, max = 100))]
    pub assets_min: u64,
    /// Must have the onset of a 5m cascade inside this time.
    #[schemars(range(min = 1, max = 3_600))]
    pub within_secs: u64,
}

impl Default for MarketCascades {
    fn default() -> Self {
        Self { assets_min: 3, within_secs: 60 }
    }
}

/// When a window's liquidations are a cascade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The window's notional must be above this, USD.
    #[schemars(range(min = 0.0, max = 1e12))]
    pub minimum_usd: f64,
    /// The window's velocity must be above this, USD per hour.
    #[schemars(range(min = 1.0, max = 1e12))]
    pub critical_usd_per_hour: f64,
}

/// Volatility regimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Volatility {
    /// `absolute`: the same boundaries for all symbols. `adaptive`: quantiles of the symbol's own past levels, once enough of it is known.
    pub mode: VolatilityMode,
    /// The upper bounds of STABLE, HIGH_VOL and EXPLOSIVE, fractions per day.
    #[schemars(inner(range(min = 0.0001, max = 10.0)))]
    pub boundaries: [f64; 3],
    /// A regime changes only beyond the boundary by this fraction of it.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub hysteresis: f64,
    /// Half-life of the EWMA, minutes.
    #[schemars(range(min = 1.0, max = 43_200.0))]
    pub ewma_half_life_minutes: f64,
    /// A window with less than this share of its bars has no estimate.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub coverage_min: f64,
    /// In mode `adaptive`: the shares of past levels below the upper bounds of STABLE, HIGH_VOL and EXPLOSIVE.
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub quantiles: [f64; 3],
    /// As `hysteresis`, in mode `adaptive`.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub adaptive_hysteresis: f64,
    /// Complete UTC days that quantiles, the median and the half-life are taken from.
    #[schemars(range(min = 2, max = 366))]
    pub history_days: u64,
    /// Days' worth of samples that must be there before they say anything.
    #[schemars(range(min = 1, max = 366))]
    pub history_days_min: u64,
}

impl Default for Volatility {
    fn default() -> Self {
        Self {
            mode: VolatilityMode::Absolute,
            boundaries: [0.01, 0.05, 0.10],
            hysteresis: 0.10,
            ewma_half_life_minutes: 360.0,
            coverage_min: 0.8,
            quantiles: [0.25, 0.85, 0.98],
            adaptive_hysteresis: 0.15,
            history_days: 90,
            history_days_min: 30,
        }
    }
}

/// Whose boundaries tell volatility regimes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum VolatilityMode {
    Absolute,
    Adaptive,
}

/// Support zones: price ranges in which much was liquidated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SupportZones {
    /// The trailing window, hours.
    #[schemars(range(min = 1, max = 168))]
    pub window_hours: u32,
    /// Width of a price bucket, basis points.
    #[schemars(range(min = 1, max = 1_000))]
    pub bucket_bps: u32,
    /// Buckets above this quantile of those that hold anything make zones.
    #[schemars(range(min = 0.0, max = 0.999))]
    pub quantile: f64,
    /// So many zones of a symbol and side are kept, those with the most notional.
    #[schemars(range(min = 1, max = 100))]
    pub zones_max: usize,
    /// The price has left a zone at this distance from its edge, basis points.
    #[schemars(range(min = 1, max = 1_000))]
    pub leave_bps: u32,
}

impl Default for SupportZones {
    fn default() -> Self {
        Self { window_hours: 24, bucket_bps: 10, quantile: 0.9, zones_max: 5, leave_bps: 10 }
    }
}

/// When funding is unusual. Rates are per 8 h, as fractions (0.0001 is one basis point).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Funding {
    /// An anomaly has a |z| against 30 days above this.
    #[schemars(range(min = 0.1, max = 100.0))]
    pub anomaly_z: f64,
    /// And is at least this far from the median of the 30 days.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub anomaly_deviation_min: f64,
    /// Or the rate has changed within an hour by more than this.
    #[schemars(range(min = 0.000_000_1, max = 1.0))]
    pub change_max: f64,
    /// An anomaly is over when |z| is below this.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub clear_z: f64,
    /// A |z| against 24 h above this is noted, without an alert.
    #[schemars(range(min = 0.1, max = 100.0))]
    pub deviation_z: f64,
    /// No z-score is taken against a smaller deviation.
    #[schemars(range(min = 0.000_000_1, max = 1.0))]
    pub scale_floor: f64,
    /// A reversal is from beyond this on one side to beyond it on the other.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reversal_min: f64,
    /// For so long, without a break.
    #[schemars(range(min = 1, max = 10_080))]
    pub reversal_minutes: u64,
    /// Volatility above this quantile of its 30 days is high.
    #[schemars(range(min = 0.5, max = 1.0))]
    pub high_volatility_quantile: f64,
    /// A baseline of 24 h has at least so many minutes.
    #[schemars(range(min = 2, max = 1_440))]
    pub minutes_min: u64,
    /// A baseline of 30 days has at least so many hours.
    #[schemars(range(min = 2, max = 720))]
    pub hours_min: u64,
    /// A baseline of settled rates has at least so many settlements.
    #[schemars(range(min = 2, max = 720))]
    pub settlements_min: u64,
}

impl Default for Funding {
    fn default() -> Self {
        Self {
            anomaly_z: 2.5,
            anomaly_deviation_min: 0.000_15,
            change_max: 0.000_5,
            clear_z: 1.5,
            deviation_z: 2.0,
            scale_floor: 0.000_02,
            reversal_min: 0.000_05,
            reversal_minutes: 240,
            high_volatility_quantile: 0.95,
            minutes_min: 720,
            hours_min: 168,
            settlements_min: 21,
        }
    }
}

/// Open interest: quadrants of an hour, and shocks. Fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpenInterest {
    /// An hour's change of open interest below it is none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub quadrant_interest_min: f64,
    /// An hour's change of the price below it is none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub quadrant_price_min: f64,
    /// A fall within 5 minutes by at least this, during a cascade, is a shock.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub shock_drop: f64,
}

impl Default for OpenInterest {
    fn default() -> Self {
        Self { quadrant_interest_min: 0.005, quadrant_price_min: 0.002_5, shock_drop: 0.03 }
    }
}

impl Views {
    /// As the views are told.
    #[must_use]
    pub fn settings(&self, time: &Time) -> views::Config {
        let threshold = |t: &Threshold| views::Threshold::usd(t.minimum_usd, t.critical_usd_per_hour);
        let (cascades, volatility, zones) = (&self.cascades, &self.volatility, &self.support_zones);
        let (funding, interest) = (&self.funding, &self.open_interest);
        views::Config {
            lateness_ms: integer(time.lateness_ms),
            correction_horizon_ms: integer(time.correction_horizon_ms),
            venue_lag_ms_max: integer(time.venue_lag_ms_max),
            open_bars_every_ms: self.open_bars_every_ms,
            features_timeframes: self.features_timeframes.iter().map(|&timeframe| timeframe.into()).collect(),
            cascades: views::Cascades {
                mode: match cascades.mode {
                    CascadeMode::Absolute => views::CascadeMode::Absolute,
                    CascadeMode::Adaptive => views::CascadeMode::Adaptive,
                    CascadeMode::Both => views::CascadeMode::Both,
                },
                adaptive: views::Adaptive {
                    quantile: cascades.adaptive.quantile,
                    days: integer(cascades.adaptive.days),
                    known_days_min: integer(cascades.adaptive.known_days_min),
                    heard_min: cascades.adaptive.heard_min,
                },
                self_excitation: views::SelfExcitation {
                    events_min: usize::try_from(cascades.self_excitation.events_min).unwrap_or(usize::MAX),
                    feeding_ratio: cascades.self_excitation.feeding_ratio,
                },
                market: views::MarketCascades {
                    assets_min: usize::try_from(cascades.market.assets_min).unwrap_or(usize::MAX),
                    within_secs: integer(cascades.market.within_secs),
                },
                thresholds: [threshold(&cascades.m5), threshold(&cascades.h1), threshold(&cascades.h4)],
                side_bias_share: cascades.side_bias_share,
                end_after_secs: integer(cascades.end_after_secs),
            },
            volatility: views::Volatility {
                mode: match volatility.mode {
                    VolatilityMode::Absolute => views::VolatilityMode::Absolute,
                    VolatilityMode::Adaptive => views::VolatilityMode::Adaptive,
                },
                boundaries: volatility.boundaries,
                hysteresis: volatility.hysteresis,
                ewma_half_life_minutes: volatility.ewma_half_life_minutes,
                coverage_min: volatility.coverage_min,
                quantiles: volatility.quantiles,
                adaptive_hysteresis: volatility.adaptive_hysteresis,
                history_days: integer(volatility.history_days),
                history_days_min: integer(volatility.history_days_min),
            },
            support_zones: views::SupportZones {
                window_minutes: i64::from(zones.window_hours) * 60,
                bucket_bps: zones.bucket_bps,
                quantile_ppm: (zones.quantile * 1e6).round() as u32,
                zones_max: zones.zones_max,
                leave_bps: zones.leave_bps,
            },
            funding: views::Funding {
                anomaly_z: funding.anomaly_z,
                anomaly_deviation_min: views::rate(funding.anomaly_deviation_min),
                change_max: views::rate(funding.change_max),
                clear_z: funding.clear_z,
                deviation_z: funding.deviation_z,
                scale_floor: funding.scale_floor,
                reversal_min: views::rate(funding.reversal_min),
                reversal_minutes: integer(funding.reversal_minutes),
                high_volatility_quantile: funding.high_volatility_quantile,
                minutes_min: integer(funding.minutes_min),
                hours_min: integer(funding.hours_min),
                settlements_min: integer(funding.settlements_min),
            },
            open_interest: views::OpenInterest {
                quadrant_interest_min: interest.quadrant_interest_min,
                quadrant_price_min: interest.quadrant_price_min,
                shock_drop: interest.shock_drop,
            },
            regimes: self.regimes.settings(),
            correlation: self.correlation.settings(),
            lead_lag: self.lead_lag.settings(),
        }
    }
}
