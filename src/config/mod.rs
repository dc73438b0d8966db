//! The configuration: one documented struct per section, unknown keys refused, units in the names.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that can be set. Every key has a default; `config/full.toml` lists them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// Frames that arrive in one quantum share a timestamp. `None`: 20 live, 1000 in a replay.
    pub quantum_ms: Option<u64>,
    /// How late an event may be without being called late.
    pub lateness_ms: u64,
    /// A venue that has been silent for so long no longer holds anything up.
    pub idle_ms: u64,
    /// Late events inside it correct the views; older ones are only listed.
    pub correction_horizon_ms: u64,
    /// Events whose time is further than this from their arrival are refused. 0 turns the check off (for replaying old
    /// frames live).
    pub skew_ms_max: u64,
}

impl Default for Time {
    fn default() -> Self {
        Self { quantum_ms: None, lateness_ms: 2_000, idle_ms: 10_000, correction_horizon_ms: 7_200_000, skew_ms_max: 86_400_000 }
    }
}

/// How the work is spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Worker threads.
    pub workers: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Self { workers: 1 }
    }
}

/// Where the views are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// A directory (embedded engine), a ClickHouse URL, or `none`.
    pub location: String,
    /// The database's name on a server.
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

/// What is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Open bars are published when this much knowledge time has passed. Closed ones at once.
    pub open_bars_every_ms: u64,
    /// Liquidation cascades.
    pub cascades: Cascades,
    /// Volatility regimes.
    pub volatility: Volatility,
}

impl Default for Views {
    fn default() -> Self {
        Self { open_bars_every_ms: 1_000, cascades: Cascades::default(), volatility: Volatility::default() }
    }
}

/// Liquidation cascades: a window's velocity above critical and its notional above minimum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cascades {
    /// The 5m window.
    pub m5: Threshold,
    /// The 1h window.
    pub h1: Threshold,
    /// The 4h window.
    pub h4: Threshold,
    /// A side with at least this share of notional bears the cascade.
    pub side_bias_share: f64,
    /// A cascade ends this long after it was last active.
    pub end_after_secs: u64,
}

impl Default for Cascades {
    fn default() -> Self {
        Self {
            m5: Threshold { minimum_usd: 250_000.0, critical_usd_per_hour: 3_000_000.0 },
            h1: Threshold { minimum_usd: 500_000.0, critical_usd_per_hour: 500_000.0 },
            h4: Threshold { minimum_usd: 500_000.0, critical_usd_per_hour: 200_000.0 },
            side_bias_share: 0.65,
            end_after_secs: 300,
        }
    }
}

/// When a window's liquidations are a cascade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The window's notional must be above this, USD.
    pub minimum_usd: f64,
    /// The window's velocity must be above this, USD per hour.
    pub critical_usd_per_hour: f64,
}

/// Volatility regimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volatility {
    /// The upper bounds of STABLE, HIGH_VOL and EXPLOSIVE, fractions per day.
    pub boundaries: [f64; 3],
    /// A regime changes only beyond the boundary by this fraction of it.
    pub hysteresis: f64,
    /// Half-life of the EWMA, minutes.
    pub ewma_half_life_minutes: f64,
    /// A window with less than this share of its bars has no estimate.
    pub coverage_min: f64,
}

impl Default for Volatility {
    fn default() -> Self {
        Self { boundaries: [0.01, 0.05, 0.10], hysteresis: 0.10, ewma_half_life_minutes: 360.0, coverage_min: 0.8 }
    }
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// A name for logs and the `deliveries` table.
    pub name: String,
    /// Where events are posted.
    pub url: String,
    /// A file that holds the signing secret (`whsec_…`).
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds the signing secret.
    pub secret_env: Option<String>,
    /// Event types to send; empty: all.
    #[serde(default)]
    pub event_types: Vec<String>,
}

/// What is listened to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Feeds {
    /// Binance USDⓈ-M futures.
    pub binance_usdm: Option<Feed>,
    /// Bybit linear perpetuals.
    pub bybit_linear: Option<Feed>,
}

/// One venue's feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Feed {
    /// The venue's own symbols: `BTCUSDT`.
    pub symbols: Vec<String>,
    /// Which streams: `trades`, `aggTrades`, `klines`, `mark`, `liquidations`, `tickers`, `open_interest`; empty: the venue's usual ones.
    pub streams: Vec<String>,
    /// WebSocket root; `None`: the venue's own.
    pub ws_url: Option<String>,
    /// REST root; `None`: the venue's own.
    pub rest_url: Option<String>,
    /// Most streams on one connection.
    pub streams_per_connection_max: usize,
    /// An acknowledgement must come within this.
    pub ack_timeout_ms: u64,
    /// First pause before a reconnect; doubles up to `backoff_ms_max`.
    pub backoff_ms_min: u64,
    /// Longest pause before a reconnect.
    pub backoff_ms_max: u64,
    /// The pause shrinks back to `backoff_ms_min` only after healthy data for this long.
    pub healthy_after_ms: u64,
    /// A connection is replaced, with overlap, at this age.
    pub rotate_after_ms: u64,
    /// How long the old and the new connection run together.
    pub rotate_overlap_ms: u64,
    /// How often open interest is asked for over REST, where the venue doesn't push it.
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
