//! The views that the store keeps: their names and keys, as in SCHEMA and schemas/clickhouse.

/// A view of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// `bars`; its table is `bars_changes`.
    pub name: &'static str,
    /// What makes a row the same row.
    pub key: &'static [&'static str],
    /// It speaks about arrival, so two runs over the same input may differ in it: no part of the dump's overall hash.
    pub about_arrival: bool,
    /// Those of its rows that speak about arrival, as an SQL condition: they are left out of the dump.
    pub of_arrival: Option<&'static str>,
}

const fn view(name: &'static str, key: &'static [&'static str]) -> View {
    View { name, key, about_arrival: false, of_arrival: None }
}

const fn arrival(name: &'static str, key: &'static [&'static str]) -> View {
    View { name, key, about_arrival: true, of_arrival: None }
}

/// All views, in the order of the dump.
pub const VIEWS: &[View] = &[
    view("bars", &["venue", "symbol", "timeframe", "ts"]),
    view("liquidations", &["venue", "symbol", "ts", "position_side", "price", "qty", "seq"]),
    view("liquidation_windows", &["venue", "symbol", "window", "ts"]),
    view("liquidation_ratios", &["venue", "symbol", "window", "ts"]),
    view("cascades", &["cascade_id"]),
    view("market_cascades", &["onset"]),
    view("self_excitation", &["venue", "symbol", "position_side", "ts"]),
    view("volatility", &["venue", "symbol", "ts"]),
    view("volatility_regimes", &["venue", "symbol", "onset"]),
    view("funding", &["venue", "symbol", "kind", "ts"]),
    view("open_interest", &["venue", "symbol", "ts"]),
    view("funding_anomalies", &["venue", "symbol", "onset", "type"]),
    view("funding_spreads", &["venue", "symbol", "ts"]),
    view("open_interest_totals", &["venue", "symbol", "ts"]),
    view("oi_shocks", &["venue", "symbol", "onset"]),
    view("basis", &["venue", "symbol", "ts"]),
    view("kline_checks", &["venue", "symbol", "timeframe", "ts"]),
    view("features", &["venue", "symbol", "timeframe", "ts"]),
    view("regimes", &["venue", "symbol", "timeframe", "ts"]),
    view("candidate_regimes", &["venue", "symbol", "timeframe", "ts"]),
    view("window_regimes", &["venue", "symbol", "timeframe", "ts"]),
    view("confirmations", &["venue", "symbol", "ts"]),
    view("drift", &["venue", "symbol", "timeframe", "ts"]),
    view("regime_episodes", &["venue", "symbol", "type", "timeframe", "onset"]),
    view("models", &["name", "version", "symbol", "timeframe"]),
    view("support_zones", &["venue", "symbol", "ts", "side", "rank"]),
    view("zone_touches", &["venue", "symbol", "side", "onset", "price_low"]),
    view("correlations", &["symbol_a", "symbol_b", "horizon", "ts"]),
    view("market_mode", &["horizon", "ts"]),
    view("betas", &["symbol", "horizon", "ts"]),
    view("correlation_breaks", &["symbol_a", "symbol_b", "horizon", "onset"]),
    view("lead_lag", &["symbol_a", "symbol_b", "ts"]),
    view("lead_scores", &["symbol", "ts"]),
    view("leaders", &["onset"]),
    View { of_arrival: Some("event_type IN ('FEED_GAP', 'PIPELINE_LAG')"), ..view("alerts", &["id"]) },
    arrival("late_events", &["venue", "stream", "known_at", "seq"]),
    arrival("rejected_frames", &["venue", "stream", "known_at", "seq"]),
    arrival("feed_gaps", &["venue", "stream", "symbol", "from_ts"]),
    arrival("deliveries", &["alert_id", "channel", "attempt"]),
];

/// A view by its name.
#[must_use]
pub fn named(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}
