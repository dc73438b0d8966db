//! Rows of the view `features`.

use super::*;

stored!(Features => StoredFeatures in "features_changes", |row| row.instrument => {
    timeframe: &'static str = row.timeframe.as_str(),
    ts: i64 = row.ts,
    log_return: Option<f64> = real(row.values[0]),
    trend_24: Option<f64> = real(row.values[1]),
    log_volatility_14: Option<f64> = real(row.values[2]),
    rsi_14: Option<f64> = real(row.values[3]),
    volatility_14: Option<f64> = real(row.values[4]),
    volume_z_50: Option<f64> = real(row.values[5]),
    adx_14: Option<f64> = real(row.values[6]),
    taker_imbalance: Option<f64> = real(row.values[7]),
    log_liquidated_long_usd: Option<f64> = real(row.values[8]),
    log_liquidated_short_usd: Option<f64> = real(row.values[9]),
    oi_change: Option<f64> = real(row.values[10]),
    funding_z_score: Option<f64> = real(row.values[11]),
});
