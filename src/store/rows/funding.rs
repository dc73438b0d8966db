//! Funding as ClickHouse stores it.

use clickhouse::Row;
use dataflows::model::{Change, FundingAnomaly, FundingKind, FundingRow, FundingSpread, InstrumentId};
use serde::Serialize;

use super::{Names, Stored, consolidate, real, severity};

stored!(FundingRow => StoredFunding in "funding_changes", |row| row.instrument => {
    kind: &'static str = match row.kind { FundingKind::Predicted => "predicted", FundingKind::Settled => "settled" },
    ts: i64 = row.ts,
    rate: f64 = row.rate.to_f64(),
    interval_hours: u8 = row.interval_hours,
    rate_8h: f64 = per_hours(row, 8.0),
    annualised: f64 = per_hours(row, 8_760.0),
    z_24h: Option<f64> = real(row.scores.z_24h),
    z_30d: Option<f64> = real(row.scores.z_30d),
    robust_z: Option<f64> = real(row.scores.robust_z),
    volatility: Option<f64> = real(row.scores.volatility),
    paid_24h: Option<f64> = row.paid.day.map(|rate| rate.to_f64()),
    paid_7d: Option<f64> = row.paid.week.map(|rate| rate.to_f64()),
    paid_30d: Option<f64> = row.paid.month.map(|rate| rate.to_f64()),
});

stored!(FundingAnomaly => StoredFundingAnomaly in "funding_anomalies_changes", |row| row.instrument => {
    onset: i64 = row.onset,
    r#type: &'static str = row.kind.as_str(),
    ended_at: Option<i64> = row.ended_at,
    severity: &'static str = severity(row.kind.severity()),
    anomaly_score: f64 = row.score.0,
    reasons: Vec<String> = row.reasons.words(),
    rate_8h: f64 = row.rate_8h.to_f64(),
    z: Option<f64> = real(row.z),
});

stored!(FundingSpread => StoredFundingSpread in "funding_spreads_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    spread_8h: f64 = row.spread.to_f64(),
    highest_venue: &'static str = row.highest.0.as_str(),
    highest_8h: f64 = row.highest.1.to_f64(),
    lowest_venue: &'static str = row.lowest.0.as_str(),
    lowest_8h: f64 = row.lowest.1.to_f64(),
    venues: u8 = row.venues,
    weighted_mean_8h: Option<f64> = real(row.weighted_mean),
    z_24h: Option<f64> = real(row.scores.z_24h),
    z_30d: Option<f64> = real(row.scores.z_30d),
    robust_z: Option<f64> = real(row.scores.robust_z),
    volatility: Option<f64> = real(row.scores.volatility),
});

fn per_hours(row: &FundingRow, hours: f64) -> f64 {
    row.rate.to_f64() * hours / f64::from(row.interval_hours.max(1))
}
