//! Open interest and the basis as ClickHouse stores them.

use clickhouse::Row;
use dataflows::model::{BasisRow, Change, InstrumentId, OiShock, OpenInterestRow, OpenInterestTotal};
use serde::Serialize;

use super::{Names, Stored, consolidate, real};

stored!(OpenInterestRow => StoredOpenInterest in "open_interest_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    base: f64 = row.base.to_f64(),
    usd: Option<f64> = row.usd.map(|usd| usd.to_f64()),
    change_5m: Option<f64> = real(row.changes.m5),
    change_1h: Option<f64> = real(row.changes.h1),
    change_24h: Option<f64> = real(row.changes.h24),
    quadrant: &'static str = row.quadrant.map_or("", |quadrant| quadrant.as_str()),
});

stored!(OpenInterestTotal => StoredOpenInterestTotal in "open_interest_totals_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    base: f64 = row.base.to_f64(),
    usd: Option<f64> = row.usd.map(|usd| usd.to_f64()),
    venues: u8 = row.venues,
});

stored!(OiShock => StoredOiShock in "oi_shocks_changes", |row| row.instrument => {
    onset: i64 = row.onset,
    ended_at: Option<i64> = row.ended_at,
    change: f64 = row.change.0,
    cascade_id: String = format!("{:016x}", row.cascade_id),
});

stored!(BasisRow => StoredBasis in "basis_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    mark: f64 = row.mark.to_f64(),
    index: f64 = row.index.to_f64(),
    basis_bps: f64 = row.basis_bps.0,
    annualised: Option<f64> = real(row.annualised),
});
