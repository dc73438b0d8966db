//! Binance USDⓈ-M futures: combined and raw streams, and the REST answers that are recorded beside them.
//!
//! Read [`message`] first: each type stands under a message as the venue sends it.

mod history;
mod message;
mod parse;
mod rest;
pub mod session;

pub use parse::BinanceUsdm;

use super::symbols;

/// `BTCUSDT` is `BTC-USDT-PERP`, `BTCUSDT_240927` is `BTC-USDT-240927`; options and coin-margined contracts have no name here.
pub(super) fn canonical(symbol: &str) -> Option<(String, i64)> {
    let (pair, expiry) = symbol.split_once('_').unwrap_or((symbol, "PERP"));
    if expiry != "PERP" && (expiry.len() != 6 || !expiry.bytes().all(|b| b.is_ascii_digit())) || symbol.ends_with("_PERP") {
        return None;
    }
    let split = |quote: &'static str| pair.strip_suffix(quote).map(|base| (base, quote));
    let (base, quote) = ["USDT", "USDC", "FDUSD", "BUSD", "BTC"].into_iter().find_map(split)?;
    let (base, multiplier) = symbols::base(base)?;
    Some((format!("{base}-{quote}-{expiry}"), multiplier))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn symbols_become_canonical() {
        for (symbol, expected) in [
            ("BTCUSDT", Some(("BTC-USDT-PERP", 1))),
            ("ETHUSDC", Some(("ETH-USDC-PERP", 1))),
            ("ETHBTC", Some(("ETH-BTC-PERP", 1))),
            ("1000PEPEUSDT", Some(("PEPE-USDT-PERP", 1000))),
            ("1000PEPEUSDC", Some(("PEPE-USDC-PERP", 1000))),
            ("1MBABYDOGEUSDT", Some(("BABYDOGE-USDT-PERP", 1_000_000))),
            ("BTCUSDT_240927", Some(("BTC-USDT-240927", 1))),
            ("牛来USDT", Some(("牛来-USDT-PERP", 1))),
            ("BTCUSD_PERP", None),
            ("BTCUSD_210625", None),
            ("BTCUSDT_C", None),
            ("BTCUSDT_PERP", None),
            ("USDT", None),
            ("btcusdt", None),
            ("", None),
        ] {
            assert_eq!(canonical(symbol), expected.map(|(s, m)| (s.to_owned(), m)), "{symbol}");
        }
    }
}
