//! Binance USDⓈ-M futures.

pub mod session;
