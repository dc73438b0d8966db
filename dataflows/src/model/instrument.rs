//! Venues and instruments. An instrument's id is a hash of its names, so every worker and process gives it the same one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};

use super::time::{DAY_MS, HOUR_MS};

/// An exchange's market segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Venue {
    BinanceUsdm,
    BybitLinear,
    OkxSwap,
    Hyperliquid,
    BinanceSpot,
    Coinbase,
    /// All venues together: of views that speak of a symbol, an asset or the market. No event is of it.
    Any,
}

impl Venue {
    /// All venues that a frame log may name.
    pub const ALL: [Self; 6] =
        [Self::BinanceUsdm, Self::BybitLinear, Self::OkxSwap, Self::Hyperliquid, Self::BinanceSpot, Self::Coinbase];

    /// As the frame log and SQL write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BinanceUsdm => "binance-usdm",
            Self::BybitLinear => "bybit-linear",
            Self::OkxSwap => "okx-swap",
            Self::Hyperliquid => "hyperliquid",
            Self::BinanceSpot => "binance-spot",
            Self::Coinbase => "coinbase",
            Self::Any => "",
        }
    }

    /// Reads a venue's name. `okx` is `okx-swap` in old recordings.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        if name == b"okx" {
            return Some(Self::OkxSwap);
        }
        Self::ALL.into_iter().find(|v| v.as_str().as_bytes() == name)
    }
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every release.
#[must_use]
pub fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Names an instrument of one venue: a stable hash of (venue, canonical symbol).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstrumentId(pub u64);

impl InstrumentId {
    /// A hash of the venue's and the symbol's name, mixed so that its low bits spread over workers.
    #[must_use]
    pub fn of(venue: Venue, symbol: &str) -> Self {
        let bytes = venue.as_str().bytes().chain([0]).chain(symbol.bytes());
        let hash = fnv1a(bytes);
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed ^ (mixed >> 29))
    }
}

/// What is known of an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Where it trades.
    pub venue: Venue,
    /// Canonical symbol: `BTC-USDT-PERP`.
    pub symbol: String,
}

impl Instrument {
    /// The base asset: `BTC`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.symbol.split('-').next().unwrap_or(&self.symbol)
    }

    /// When a dated future (`BTC-USDT-250926`) expires: 08:00 UTC of its day, as all venues have it. UTC ms. `None` for the rest.
    #[must_use]
    pub fn expiry_ms(&self) -> Option<i64> {
        let date = self.symbol.rsplit('-').next().filter(|last| last.len() == 6)?;
        let part = |at: usize| date.get(at..at + 2)?.parse::<i64>().ok();
        let (year, month, day) = (2_000 + part(0)?, part(2)?, part(4)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Days since the epoch, counting years from March, so that a leap day is a year's last (Hinnant, "chrono-compatible
        // low-level date algorithms").
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let of_year = (153 * month + 2) / 5 + day - 1;
        let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468;
        Some(days * DAY_MS + 8 * HOUR_MS)
    }
}

/// The names behind the ids, shared by all threads of a process. It only grows.
#[derive(Debug, Default)]
pub struct Instruments {
    by_id: RwLock<HashMap<InstrumentId, Arc<Instrument>>>,
}

impl Instruments {
    /// The id of (venue, symbol), registering it if it is new. `None` if another instrument has the same 64-bit hash,
    /// which a caller reports and skips (the odds at 10,000 symbols are 3e-12).
    #[must_use]
    pub fn intern(&self, venue: Venue, symbol: &str) -> Option<InstrumentId> {
        let id = InstrumentId::of(venue, symbol);
        if let Some(known) = self.get(id) {
            return (known.venue == venue && known.symbol == symbol).then_some(id);
        }
        if venue != Venue::Any {
            // What speaks of it on all venues together has its name too, whoever asks for it: a view that was restored doesn't ask again.
            let base = symbol.split('-').next().unwrap_or(symbol);
            let _ = (self.across(symbol), self.across(base)); // a hash that is another's is refused to those who ask
        }
        let mut by_id = self.by_id.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = by_id.entry(id).or_insert_with(|| Arc::new(Instrument { venue, symbol: symbol.to_owned() }));
        (known.venue == venue && known.symbol == symbol).then_some(id)
    }

    /// The id of what `name` stands for on all venues together: a symbol (`BTC-USDT-PERP`), an asset (`BTC`), or `` for the market.
    #[must_use]
    pub fn across(&self, name: &str) -> Option<InstrumentId> {
        self.intern(Venue::Any, name)
    }

    /// All that trade somewhere, in no order.
    #[must_use]
    pub fn listed(&self) -> Vec<Arc<Instrument>> {
        let by_id = self.by_id.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        by_id.values().filter(|instrument| instrument.venue != Venue::Any).cloned().collect()
    }

    /// What an id stands for.
    #[must_use]
    pub fn get(&self, id: InstrumentId) -> Option<Arc<Instrument>> {
        self.by_id.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_futures_expire() {
        let check = |symbol: &str, expiry: Option<i64>| {
            let instrument = Instrument { venue: Venue::BinanceUsdm, symbol: symbol.into() };
            assert_eq!(instrument.expiry_ms(), expiry, "{symbol}");
        };
        check("BTC-USDT-250926", Some(1_758_873_600_000));
        check("BTC-USDT-240229", Some(1_709_193_600_000));
        check("BTC-USDT-PERP", None);
        check("BTC-USDT-251301", None);
        check("BTC", None);
    }
}
