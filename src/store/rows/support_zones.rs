//! Support zones and the price's returns to them.

use clickhouse::Row;
use dataflows::model::{Change, InstrumentId, SupportZone, ZoneTouch};
use serde::Serialize;

use super::{Names, Stored, consolidate, coverage, position_side};

stored!(SupportZone => StoredSupportZone in "support_zones_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    side: &'static str = position_side(row.side),
    rank: u32 = row.rank,
    price_low: f64 = row.price_low.to_f64(),
    price_high: f64 = row.price_high.to_f64(),
    notional: f64 = row.notional.to_f64(),
    distance_bps: f64 = row.distance_bps.0,
    touches: u32 = row.touches,
    coverage: &'static str = coverage(row.coverage),
});

stored!(ZoneTouch => StoredZoneTouch in "zone_touches_changes", |row| row.instrument => {
    side: &'static str = position_side(row.side),
    onset: i64 = row.onset,
    price_low: f64 = row.price_low.to_f64(),
    price_high: f64 = row.price_high.to_f64(),
    ended_at: Option<i64> = row.ended_at,
    rank: u32 = row.rank,
    notional: f64 = row.notional.to_f64(),
    touches: u32 = row.touches,
    coverage: &'static str = coverage(row.coverage),
});
