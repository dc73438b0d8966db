//! Bybit linear perpetuals.

pub mod session;
