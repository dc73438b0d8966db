//! Liquidations beside what was open and traded, self-excitation and cascades of the market, as ClickHouse stores them.

use clickhouse::Row;
use dataflows::model::{Change, InstrumentId, LiquidationRatio, MarketCascade, SelfExcitation};
use serde::Serialize;

use super::{Names, Stored, consolidate, coverage, position_side, real, side_bias};

stored!(LiquidationRatio => StoredLiquidationRatio in "liquidation_ratios_changes", |row| row.instrument => {
    window: &'static str = row.window.as_str(),
    ts: i64 = row.ts,
    long_to_open_interest: Option<f64> = real(row.long_to_open_interest),
    short_to_open_interest: Option<f64> = real(row.short_to_open_interest),
    to_volume: Option<f64> = real(row.to_volume),
    open_interest_usd: Option<f64> = real(row.open_interest),
    volume_usd: Option<f64> = real(row.traded),
    coverage: &'static str = coverage(row.coverage),
    is_lower_bound: u8 = u8::from(row.is_lower_bound()),
});

stored!(SelfExcitation => StoredSelfExcitation in "self_excitation_changes", |row| row.instrument => {
    position_side: &'static str = position_side(row.position_side),
    ts: i64 = row.ts,
    mu: f64 = row.mu.0,
    alpha: f64 = row.alpha.0,
    beta: f64 = row.beta.0,
    branching_ratio: f64 = row.branching_ratio.0,
    events: u64 = row.events,
    coverage: &'static str = coverage(row.coverage),
    is_lower_bound: u8 = u8::from(row.is_lower_bound()),
});

stored!(MarketCascade => StoredMarketCascade in "market_cascades_changes", |row| row.instrument => {
    onset: i64 = row.onset,
    last_active: i64 = row.last_active,
    ended_at: Option<i64> = row.ended_at,
    assets: &'a [String] = &row.assets,
    cascades: u64 = row.cascades,
    total_liquidated_usd: f64 = row.total().to_f64(),
    long_notional: f64 = row.long_notional.to_f64(),
    short_notional: f64 = row.short_notional.to_f64(),
    count: u64 = row.count,
    side_bias: &'static str = side_bias(row.side_bias),
    largest_asset: &'a str = &row.largest_asset,
    largest_notional: f64 = row.largest_notional.to_f64(),
    coverage: &'static str = coverage(row.coverage),
});
