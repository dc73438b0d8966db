//! Venue symbols and what they stand for, remembered by their raw bytes: one look-up per message, no allocation on a hit.
//!
//! Contracts on many coins (`1000PEPEUSDT`, `SHIB1000USDT`, `1MBABYDOGEUSDT`) become contracts on one: the price is divided
//! by the multiplier, the quantity multiplied, so that their product stays what it was.

use std::sync::Arc;

use dataflows::model::{InstrumentId, Instruments, Venue};
use rustc_hash::FxHashMap;

use super::reason;
use super::wire::Text;

/// Venues list less than a thousand; beyond this something invents them.
const SYMBOLS_MAX: usize = 50_000;
const SYMBOL_BYTES_MAX: usize = 64;

/// What a venue's symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub instrument: InstrumentId,
    /// Coins per unit of the contract.
    pub multiplier: i64,
}

/// The canonical symbol (`PEPE-USDT-PERP`) and the multiplier (1000).
pub(super) type Canonical = fn(&str) -> Option<(String, i64)>;

pub(super) struct Symbols {
    venue: Venue,
    instruments: Arc<Instruments>,
    canonical: Canonical,
    known: FxHashMap<Box<[u8]>, Result<Symbol, &'static str>>,
}

impl Symbols {
    pub fn new(venue: Venue, instruments: Arc<Instruments>, canonical: Canonical) -> Self {
        Self { venue, instruments, canonical, known: FxHashMap::default() }
    }

    pub fn get(&mut self, text: &Text<'_>) -> Result<Symbol, &'static str> {
        let said = text.said().ok_or(reason::MISSING)?;
        self.of(&said)
    }

    pub fn of(&mut self, raw: &[u8]) -> Result<Symbol, &'static str> {
        if let Some(&known) = self.known.get(raw) {
            return known;
        }
        if raw.len() > SYMBOL_BYTES_MAX {
            return Err(reason::SYMBOL);
        }
        if self.known.len() >= SYMBOLS_MAX {
            return Err(reason::SYMBOLS_MANY);
        }
        let learned = self.learn(raw);
        self.known.insert(raw.into(), learned);
        learned
    }

    fn learn(&self, raw: &[u8]) -> Result<Symbol, &'static str> {
        let name = std::str::from_utf8(raw).map_err(|_| reason::SYMBOL)?;
        let (symbol, multiplier) = (self.canonical)(name).ok_or(reason::SYMBOL)?;
        let instrument = self.instruments.intern(self.venue, &symbol).ok_or(reason::SYMBOL_HASH)?;
        Ok(Symbol { instrument, multiplier })
    }
}

/// A base asset's name without its multiplier: `1000PEPE`, `SHIB1000`, `1MBABYDOGE`; `1INCH` has none.
pub(super) fn base(name: &str) -> Option<(&str, i64)> {
    let is_name = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() && !c.is_ascii_lowercase());
    if !is_name(name) {
        return None;
    }
    if let Some(rest) = name.strip_prefix("1M").filter(|rest| rest.len() > 3 && !rest.starts_with(|c: char| c.is_ascii_digit())) {
        return Some((rest, 1_000_000));
    }
    if let Some(digits) = name.strip_prefix('1') {
        let rest = digits.trim_start_matches('0');
        let zeros = digits.len() - rest.len();
        if (3..=9).contains(&zeros) && rest.starts_with(|c: char| !c.is_ascii_digit()) {
            return Some((rest, 10i64.pow(zeros as u32)));
        }
    }
    match name.strip_suffix("1000") {
        Some(rest) if rest.len() > 1 && !rest.ends_with(|c: char| c.is_ascii_digit()) => Some((rest, 1000)),
        _ => Some((name, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn multipliers_are_taken_off() {
        for (name, expected) in [
            ("BTC", Some(("BTC", 1))),
            ("1000PEPE", Some(("PEPE", 1000))),
            ("10000SATS", Some(("SATS", 10_000))),
            ("1000000MOG", Some(("MOG", 1_000_000))),
            ("1MBABYDOGE", Some(("BABYDOGE", 1_000_000))),
            ("SHIB1000", Some(("SHIB", 1000))),
            ("1INCH", Some(("1INCH", 1))),
            ("0G", Some(("0G", 1))),
            ("1000", Some(("1000", 1))),
            ("牛来", Some(("牛来", 1))),
            ("", None),
            ("btc", None),
            ("B-TC", None),
        ] {
            assert_eq!(base(name), expected, "{name}");
        }
    }
}
