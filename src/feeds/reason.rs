//! Why a frame or an item of it was refused: constant sentences, so that they can be counted.

#![allow(missing_docs)]

pub const UTF8: &str = "invalid UTF-8";
pub const JSON: &str = "invalid JSON";
pub const JSON_TYPE: &str = "unexpected JSON type";
pub const DEPTH: &str = "JSON nested deeper than 64 levels";
pub const MISSING: &str = "missing field";
pub const PRICE: &str = "price not a decimal number";
pub const PRICE_RANGE: &str = "price out of range";
pub const PRICE_ORDER: &str = "high below or low above another price";
pub const QUANTITY: &str = "quantity not a decimal number";
pub const QUANTITY_RANGE: &str = "quantity out of range";
pub const QUANTITY_ZERO: &str = "quantity is zero";
pub const NOTIONAL: &str = "notional not a decimal number";
pub const NOTIONAL_RANGE: &str = "notional out of range";
pub const RATE: &str = "rate not a decimal number";
pub const RATE_RANGE: &str = "rate out of range";
pub const INTERVAL: &str = "funding interval not 1 to 168 hours";
pub const TIME: &str = "time not a number of milliseconds";
pub const TIME_RANGE: &str = "time outside the years 2009 to 2100";
pub const SKEW: &str = "event time more than skew_ms_max from arrival";
pub const ALIGNMENT: &str = "opening time does not open a bar";
pub const ID: &str = "id not a number";
pub const ID_ORDER: &str = "last id before first or too far from it";
pub const SIDE: &str = "unknown side";
pub const FLAG: &str = "flag neither true nor false";
pub const SYMBOL: &str = "symbol of no linear contract";
pub const SYMBOLS_MANY: &str = "more symbols than symbols_max";
pub const SYMBOL_HASH: &str = "symbol has the hash of another one";
pub const CATEGORY: &str = "category is not linear";
pub const VENUE_ERROR: &str = "the venue answered with an error";
pub const TIMEFRAME: &str = "unknown time frame";
pub const SPOT: &str = "print of the spot market";
