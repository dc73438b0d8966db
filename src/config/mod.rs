//! The configuration: one documented struct per section, unknown keys refused, units in the names.
//!
//! These structs are the only description of the keys. The JSON Schema is derived from them ([`schema`]), a file is checked
//! against that schema with every mistake reported where it stands ([`document`]), and what one key demands of another is
//! written out in [`rules`].

mod alerts;
mod correlation;
pub mod document;
mod journal;
pub mod load;
pub mod problem;
pub mod redact;
mod regimes;
pub mod rules;
pub mod schema;
pub mod timeframe;
mod training;
mod views;

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use alerts::{Alerts, BodyFormat, Channel, ChannelKind, Heartbeat, MailTls};
pub use correlation::{Correlation, CorrelationBreaks, CorrelationWindow, LeadLag};
pub use journal::Journal;
pub use problem::{ConfigErrors, Problem, nearest};
pub use regimes::Regimes;
pub use timeframe::Timeframe;
pub use training::{CovarianceShape, EmissionsKind, Training};
pub use views::{
    Adaptive, CascadeMode, Cascades, Funding, MarketCascades, OpenInterest, SelfExcitation, SupportZones, Threshold, Views,
    Volatility, VolatilityMode,
};

/// A count or a time as the views take it.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX / 4)
}

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
    /// What a restart goes on from.
    pub journal: Journal,
    /// What is computed.
    pub views: Views,
    /// Refits of regime models inside `run`.
    pub training: Training,
    /// Who is told: the short form, one JSON webhook each.
    pub webhooks: Vec<Webhook>,
    /// Who is told what, when, and through which channel.
    pub alerts: Alerts,
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
    /// A directory for rows that ClickHouse doesn't take, and for dead letters. Left out: `spool` in the store's directory, or
    /// `regimeflow-data/spool` if that is an address.
    pub spool_dir: Option<PathBuf>,
    /// What the spool may hold on disk before the pipeline waits, bytes.
    #[schemars(range(min = 1_048_576, max = 1_099_511_627_776_u64))]
    pub spool_bytes_max: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            location: "regimeflow-data".into(),
            database: "regimeflow".into(),
            user: None,
            password_file: None,
            spool_dir: None,
            spool_bytes_max: 4 << 30,
        }
    }
}

impl Store {
    /// Where the spool is.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        let usual = if self.location.contains("://") { "regimeflow-data" } else { &self.location };
        self.spool_dir.clone().unwrap_or_else(|| PathBuf::from(usual).join("spool"))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, database, user, password_file, spool_dir, spool_bytes_max } = self;
        let mut out = f.debug_struct("Store");
        out.field("location", &redact::location(location)).field("database", database);
        out.field("user", user).field("password_file", password_file);
        out.field("spool_dir", spool_dir).field("spool_bytes_max", spool_bytes_max).finish()
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
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Feed {
    /// The venue's own symbols: `BTCUSDT`.
    #[schemars(inner(length(min = 1, max = 40)))]
    pub symbols: Vec<String>,
    /// How much symbols say, compared with one that is not named here (1): several processes share them so that each has as much to do.
    pub weights: std::collections::BTreeMap<String, u64>,
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
    /// What was missed in a gap is asked for over REST afterwards.
    pub backfill: bool,
    /// How far back it is asked for. What is older than `time.correction_horizon_ms` when it comes is listed as late and not
    /// applied, settled funding aside.
    #[schemars(range(min = 1, max = 10_080))]
    pub backfill_minutes_max: u64,
    /// Silence limits by stream, overriding the built-in ones; 0: none.
    pub silence_ms: std::collections::BTreeMap<String, u64>,
}

/// Without what an address may hold: keys in its query, a password.
impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ws_url, rest_url) = (self.ws_url.as_deref().map(redact::location), self.rest_url.as_deref().map(redact::location));
        let mut out = f.debug_struct("Feed");
        out.field("symbols", &self.symbols).field("streams", &self.streams).field("ws_url", &ws_url).field("rest_url", &rest_url);
        out.finish_non_exhaustive()
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            weights: std::collections::BTreeMap::new(),
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
            backfill: true,
            backfill_minutes_max: 120,
            silence_ms: std::collections::BTreeMap::new(),
        }
    }
}
