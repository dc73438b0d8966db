//! Bybit v5, linear contracts: public topics, and the REST answers that are recorded beside them.
//!
//! Read [`message`] first: each type stands under a message as the venue sends it.

mod history;
mod message;
mod parse;
mod rest;
pub mod session;

pub use parse::BybitLinear;

use dataflows::model::Timeframe;

use super::symbols;

/// `BTCUSDT` is `BTC-USDT-PERP`, `BTCPERP` is `BTC-USDC-PERP`, `BTCUSDT-26DEC25` is `BTC-USDT-251226`, `BTC-26DEC25` is
/// settled in USDC; options, inverse contracts and spot pairs in USDC have no name here.
pub(super) fn canonical(symbol: &str) -> Option<(String, i64)> {
    let (pair, expiry) = match symbol.split_once('-') {
        Some((pair, expiry)) => (pair, date(expiry)?),
        None => (symbol, "PERP".to_owned()),
    };
    let (base, quote) = match (pair.strip_suffix("USDT"), pair.strip_suffix("PERP"), expiry.as_str()) {
        (Some(base), ..) => (base, "USDT"),
        (None, Some(base), "PERP") => (base, "USDC"),
        (None, None, "PERP") => return None,
        _ => (pair, "USDC"),
    };
    let (base, multiplier) = symbols::base(base)?;
    Some((format!("{base}-{quote}-{expiry}"), multiplier))
}

/// `26DEC25` as `251226`.
fn date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let month_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (day, rest) = text.split_at(month_at);
    let month = 1 + MONTHS.iter().position(|m| rest.starts_with(m))?;
    let (day, year) = (day.parse::<u8>().ok().filter(|d| (1..=31).contains(d))?, &rest[3..]);
    let is_year = year.len() == 2 && year.bytes().all(|b| b.is_ascii_digit());
    is_year.then(|| format!("{year}{month:02}{day:02}"))
}

/// The time frames that are kept, as the venue names them.
fn timeframe(name: &[u8]) -> Option<Timeframe> {
    Some(match name {
        b"1" => Timeframe::M1,
        b"5" => Timeframe::M5,
        b"15" => Timeframe::M15,
        b"60" => Timeframe::H1,
        b"240" => Timeframe::H4,
        b"D" => Timeframe::D1,
        b"W" => Timeframe::W1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn symbols_become_canonical() {
        for (symbol, expected) in [
            ("BTCUSDT", Some(("BTC-USDT-PERP", 1))),
            ("BTCPERP", Some(("BTC-USDC-PERP", 1))),
            ("1000PEPEUSDT", Some(("PEPE-USDT-PERP", 1000))),
            ("1000PEPEPERP", Some(("PEPE-USDC-PERP", 1000))),
            ("SHIB1000USDT", Some(("SHIB-USDT-PERP", 1000))),
            ("10000SATSUSDT", Some(("SATS-USDT-PERP", 10_000))),
            ("BTCUSDT-26DEC25", Some(("BTC-USDT-251226", 1))),
            ("BTC-5SEP25", Some(("BTC-USDC-250905", 1))),
            ("BTC-26DEC25-100000-C", None),
            ("BTCUSD", None),
            ("BTCUSDM21", None),
            ("BTCUSDC", None),
            ("BTC-99XXX25", None),
            ("PERP", None),
            ("", None),
        ] {
            assert_eq!(canonical(symbol), expected.map(|(s, m)| (s.to_owned(), m)), "{symbol}");
        }
    }
}
