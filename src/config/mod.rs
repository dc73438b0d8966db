//! The configuration: one documented struct per section, unknown keys refused, units in the names.
//!
//! These structs are the only description of the keys. The JSON Schema is derived from them ([`schema`]), a file is checked
//! against that schema with every mistake reported where it stands ([`document`]), and what one key demands of another is
//! written out in [`rules`].

mod correlation;
pub mod document;
pub mod load;
pub mod problem;
pub mod redact;
mod regimes;
pub mod rules;
pub mod schema;
pub mod timeframe;

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use correlation::{Correlation, CorrelationBreaks, CorrelationWindow, LeadLag};
pub use problem::{ConfigErrors, Problem};
pub use regimes::Regimes;
pub use timeframe::Timeframe;

/// Everything that can be set. Every key has a default; `config/full.toml` lists them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How time is cut.
    pub time: Time,
    /// How the work is spread.
    pub engine: Engine,
    /// Where the views are kept.
    pub store: Store,
    /// What is computed.
    pub views: Views,
    /// Who is told.
    pub webhooks: Vec<Webhook>,
    /// What is listened to.
    pub feeds: Feeds,
}

/// How time is cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// Frames that arrive in one quantum share a timestamp. `None`: 20 live, 1000 in a replay.
    #[schemars(range(min = 1, max = 60_000))]
    pub quantum_ms: Option<u64>,
    /// How late an event may be without being called late.
    #[schemars(range(max = 3_600_000))]
    pub lateness_ms: u64,
    /// A venue that has been silent for so long no longer holds anything up.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub idle_ms: u64,
    /// Late events inside it correct the views; older ones are only listed.
    #[schemars(range(max = 604_800_000))]
    pub correction_horizon_ms: u64,
    /// What a venue says later than another by more than this is left out of the views across venues. Not less than
    /// `correction_horizon_ms`.
    #[schemars(range(max = 604_800_000))]
    pub venue_lag_ms_max: u64,
    /// Events whose time is further than this from their arrival are refused. 0 turns the check off (for replaying old
    /// frames live).
    #[schemars(range(max = 31_536_000_000u64))]
    pub skew_ms_max: u64,
    /// Events whose time is later than their arrival by more than this are refused: one of them would close all that comes before
    /// it. Not checked if `skew_ms_max` is 0.
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub ahead_ms_max: u64,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            quantum_ms: None,
            lateness_ms: 2_000,
            idle_ms: 10_000,
            correction_horizon_ms: 7_200_000,
            venue_lag_ms_max: 14_400_000,
            skew_ms_max: 86_400_000,
            ahead_ms_max: 60_000,
        }
    }
}

/// How the work is spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Worker threads.
    #[schemars(range(min = 1, max = 64))]
    pub workers: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Self { workers: 1 }
    }
}

/// Where the views are kept.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// A directory (embedded engine), a ClickHouse URL (http, https), or `none`.
    #[schemars(length(min = 1))]
    pub location: String,
    /// The database's name on a server.
    #[schemars(length(min = 1, max = 200))]
    pub database: String,
    /// User on a server.
    pub user: Option<String>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
}

impl Default for Store {
    fn default() -> Self {
        Self { location: "regimeflow-data".into(), database: "regimeflow".into(), user: None, password_file: None }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, database, user, password_file } = self;
        let mut out = f.debug_struct("Store");
        out.field("location", &redact::location(location)).field("database", database);
        out.field("user", user).field("password_file", password_file).finish()
    }
}

/// What is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Open bars are published when this much knowledge time has passed. Closed ones at once.
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

/// Who is told.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// A name for logs and the `deliveries` table.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Where events are posted.
    #[schemars(length(min = 1))]
    pub url: String,
    /// A file that holds the signing secret (`whsec_…`). With `secret_env` too, both sign: that is how a secret is replaced.
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds the signing secret.
    pub secret_env: Option<String>,
    /// Event types to send; empty: all.
    #[serde(default)]
    pub event_types: Vec<String>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, url, secret_file, secret_env, event_types } = self;
        let mut out = f.debug_struct("Webhook");
        out.field("name", name).field("url", &redact::url(url)).field("secret_file", secret_file);
        out.field("secret_env", secret_env).field("event_types", event_types).finish()
    }
}

/// What is listened to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Feeds {
    /// Binance USDⓈ-M futures.
    pub binance_usdm: Option<Feed>,
    /// Bybit linear perpetuals.
    pub bybit_linear: Option<Feed>,
}

/// One venue's feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Feed {
    /// The venue's own symbols: `BTCUSDT`.
    #[schemars(inner(length(min = 1, max = 40)))]
    pub symbols: Vec<String>,
    /// Which streams: `trades`, `aggTrades`, `klines`, `mark`, `liquidations`, `tickers`, `open_interest`; or by the venue's own
    /// name (`@bookTicker`, `orderbook.50`); empty: the venue's usual ones.
    #[schemars(inner(length(min = 1, max = 100)))]
    pub streams: Vec<String>,
    /// WebSocket root; `None`: the venue's own.
    pub ws_url: Option<String>,
    /// REST root; `None`: the venue's own.
    pub rest_url: Option<String>,
    /// Most streams on one connection.
    #[schemars(range(min = 1, max = 1_024))]
    pub streams_per_connection_max: usize,
    /// An acknowledgement must come within this.
    #[schemars(range(min = 100, max = 60_000))]
    pub ack_timeout_ms: u64,
    /// First pause before a reconnect; doubles up to `backoff_ms_max`.
    #[schemars(range(min = 10, max = 60_000))]
    pub backoff_ms_min: u64,
    /// Longest pause before a reconnect.
    #[schemars(range(min = 10, max = 3_600_000))]
    pub backoff_ms_max: u64,
    /// The pause shrinks back to `backoff_ms_min` only after healthy data for this long.
    #[schemars(range(max = 3_600_000))]
    pub healthy_after_ms: u64,
    /// A connection is replaced, with overlap, at this age.
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub rotate_after_ms: u64,
    /// How long the old and the new connection run together.
    #[schemars(range(max = 600_000))]
    pub rotate_overlap_ms: u64,
    /// How often open interest is asked for over REST, where the venue doesn't push it.
    #[schemars(range(min = 1_000, max = 3_600_000))]
    pub poll_every_ms: u64,
    /// Silence limits by stream, overriding the built-in ones; 0: none.
    pub silence_ms: std::collections::BTreeMap<String, u64>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            streams: Vec::new(),
            ws_url: None,
            rest_url: None,
            streams_per_connection_max: 200,
            ack_timeout_ms: 10_000,
            backoff_ms_min: 250,
            backoff_ms_max: 60_000,
            healthy_after_ms: 60_000,
            rotate_after_ms: 84_600_000,
            rotate_overlap_ms: 10_000,
            poll_every_ms: 15_000,
            silence_ms: std::collections::BTreeMap::new(),
        }
    }
}
