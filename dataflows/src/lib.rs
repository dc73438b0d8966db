//! The maintained views of regimeflow: ticks in, view changes out.
//!
//! Read in this order: [`model`] (what flows), [`fixed`] (exact numbers), [`operators`] (how a view sees one quantum of
//! input at a time), then one file per view, and [`graph`], where they meet.
//!
//! This crate has no clock and no socket: everything it knows arrives as data, time included.

pub mod anchors;
pub mod bars;
mod by_time;
pub mod cascades;
pub mod config;
pub mod confirmations;
pub mod correlations;
pub mod drift;
mod due;
pub mod features;
pub mod fixed;
pub mod funding;
pub mod funding_spreads;
pub mod graph;
pub mod hawkes;
pub mod hot;
pub mod keeping;
pub mod kline_checks;
pub mod lead_lag;
pub mod liquidations;
pub mod market_cascades;
mod minutes;
pub mod model;
pub mod models;
pub mod oi_shocks;
pub mod open_interest;
pub mod open_interest_totals;
pub mod operators;
mod prices;
mod prints;
pub mod processes;
pub mod quotes;
pub mod regime_episodes;
pub mod regimes;
mod standing;
mod steps;
pub mod support_zones;
mod venues;
pub mod volatility;
pub mod volatility_regimes;
