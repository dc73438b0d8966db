//! Base rows: what the hot path makes of one quantum's ticks. All views start from them.

use serde::{Deserialize, Serialize};

use super::{InstrumentId, Kline, LateEvent, Liquidation, Tick, Trade};
use crate::fixed::{Notional, Price, Quantity};

/// A base row of any kind: what a journal keeps of a quantum, and gives back to [`crate::hot`] after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BaseRow {
    /// Sums of prints.
    Partial(Partial),
    /// The last price of a fraction of a second.
    LastPrice(LastPrice),
    /// A liquidation.
    Liquidation(Liquidation),
    /// A mark price, a funding rate or open interest.
    Quote(Tick),
    /// A venue's bar.
    Kline(Kline),
    /// An event that came late.
    Late(LateEvent),
    /// Prints that are not to count again.
    Seen(Seen),
}

impl BaseRow {
    /// Of which instrument.
    #[must_use]
    pub fn instrument(&self) -> InstrumentId {
        match self {
            Self::Partial(row) => row.instrument,
            Self::LastPrice(row) => row.instrument,
            Self::Liquidation(row) => row.instrument,
            Self::Quote(row) => row.instrument(),
            Self::Kline(row) => row.instrument,
            Self::Late(row) => row.instrument,
            Self::Seen(Seen::Dense { instrument, .. } | Seen::Unique { instrument, .. }) => *instrument,
        }
    }
}

/// Prints that have been seen, by the venue's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Seen {
    /// All ids of a stretch, both ends inclusive.
    Dense {
        /// Whose.
        instrument: InstrumentId,
        /// The first id.
        first: u64,
        /// The last id.
        last: u64,
    },
    /// One name.
    Unique {
        /// Whose.
        instrument: InstrumentId,
        /// Event time, UTC ms: it is forgotten by it.
        ts: i64,
        /// 128 bits.
        name: (u64, u64),
    },
}

/// Orders prints of one instrument: event time, then the venue's own order.
pub type PrintOrder = (i64, u64, u64);

/// The market prints of one instrument in one event second that arrived in one quantum. Two of them add up with
/// [`Aggregate::merge`], in any order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Partial {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The event second, seconds since the epoch.
    pub second: i64,
    /// Their sums.
    pub prints: Aggregate,
}

/// The last market print of an instrument in a bucket of a fraction of a second, among those that arrived in one quantum. Of two the later
/// print counts. Only of instruments that are watched so closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastPrice {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Event time / the bucket's length, since the epoch.
    pub bucket: i64,
    /// The print and its price.
    pub last: (PrintOrder, Price),
}

/// Sums over market prints. Merging is commutative and associative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Aggregate {
    /// The first print.
    pub open: (PrintOrder, Price),
    /// The last print.
    pub close: (PrintOrder, Price),
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// Base units.
    pub volume: Quantity,
    /// Quote units.
    pub notional: Notional,
    /// Base units in which the aggressor bought.
    pub taker_buy_volume: Quantity,
    /// Fills.
    pub trades: u64,
}

impl Aggregate {
    /// Of one print.
    #[must_use]
    pub fn of(trade: &Trade) -> Self {
        let print = ((trade.ts, trade.order.0, trade.order.1), trade.price);
        Self {
            open: print,
            close: print,
            high: trade.price,
            low: trade.price,
            volume: trade.qty,
            notional: trade.price.notional(trade.qty),
            taker_buy_volume: if trade.taker_buy { trade.qty } else { Quantity(0) },
            trades: u64::from(trade.fills),
        }
    }

    /// Adds one print.
    #[inline]
    pub fn add(&mut self, trade: &Trade) {
        let print = (trade.ts, trade.order.0, trade.order.1);
        if print > self.close.0 {
            self.close = (print, trade.price);
        } else {
            self.close = self.close.max((print, trade.price));
            self.open = self.open.min((print, trade.price));
        }
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.volume += trade.qty;
        self.notional += trade.price.notional(trade.qty);
        if trade.taker_buy {
            self.taker_buy_volume += trade.qty;
        }
        self.trades = self.trades.saturating_add(u64::from(trade.fills));
    }

    /// Adds other prints.
    pub fn merge(&mut self, other: &Self) {
        self.open = self.open.min(other.open);
        self.close = self.close.max(other.close);
        self.high = self.high.max(other.high);
        self.low = self.low.min(other.low);
        self.volume += other.volume;
        self.notional += other.notional;
        self.taker_buy_volume += other.taker_buy_volume;
        self.trades = self.trades.wrapping_add(other.trades); // a correction may take some away
    }
}
