//! Ticks: what one message of a venue says, normalised, one variant per kind of event.
//!
//! Every field present in a message is an observation of its own: a delta that leaves a field out says nothing about it.
//! So partial updates need no merging, and the order in which they arrive does not matter.

use serde::{Deserialize, Serialize};

use super::{InstrumentId, Timeframe, Venue};
use crate::fixed::{Notional, Price, Quantity, Rate};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tick {
    /// A print.
    Trade(Trade),
    /// A position closed by force.
    Liquidation(Liquidation),
    /// Mark and index price.
    Mark(Mark),
    /// A funding rate, predicted or settled.
    Funding(Funding),
    /// Open interest.
    OpenInterest(OpenInterest),
    /// A venue's own bar.
    Kline(Box<Kline>),
}

/// A print, or several fills at one price reported as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trade {
    /// What was traded.
    pub instrument: InstrumentId,
    /// When it was matched, event time, UTC ms.
    pub ts: i64,
    /// Breaks ties inside one millisecond: the venue's sequence or trade id, then the place inside the message.
    pub order: (u64, u64),
    /// Names the print, for de-duplication.
    pub id: TradeId,
    /// Price in quote units.
    pub price: Price,
    /// Size in base units.
    pub qty: Quantity,
    /// The aggressor bought.
    pub taker_buy: bool,
    /// Fills behind it (an aggregate trade has several).
    pub fills: u32,
    /// Whether it belongs into bars.
    pub kind: TradeKind,
}

/// A print's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TradeId {
    /// Dense ids of an instrument, first and last inclusive (an aggregate trade covers several).
    Dense(u64, u64),
    /// A unique name without order (a UUID's 128 bits).
    Unique(u64, u64),
}

/// Market prints make bars; the others are counted and kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TradeKind {
    /// On the book.
    Market,
    /// Insurance fund or auto-deleveraging.
    Administrative,
    /// Negotiated off the book.
    Block,
}

/// The side of the position that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PositionSide {
    Long,
    Short,
}

/// What a liquidation's price means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PriceKind {
    Fill,
    Bankruptcy,
    Order,
}

/// How much of the venue's liquidations its feed shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Coverage {
    /// All of them.
    Full,
    /// At most one per symbol and second.
    Sampled1s,
    /// An unknown part.
    Partial,
}

/// A position closed by force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Liquidation {
    /// What was liquidated.
    pub instrument: InstrumentId,
    /// Event time, UTC ms.
    pub ts: i64,
    /// The side of the position (not of the closing order).
    pub position_side: PositionSide,
    /// Price in quote units.
    pub price: Price,
    /// Size in base units.
    pub qty: Quantity,
    /// The n-th of otherwise equal events inside one message, from 0: equal events are distinct, repeats of a message are not.
    pub seq: u32,
    /// What `price` means.
    pub price_kind: PriceKind,
    /// How complete the feed is.
    pub coverage: Coverage,
}

/// Mark and index price; what a message leaves out is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Event time, UTC ms.
    pub ts: i64,
    /// The venue's sequence, breaks ties inside one millisecond.
    pub order: u64,
    /// Mark price.
    pub mark: Option<Price>,
    /// Index price.
    pub index: Option<Price>,
}

/// Whether a funding rate may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FundingKind {
    /// The venue's estimate for the coming settlement.
    Predicted,
    /// What was paid at `ts`.
    Settled,
}

/// A funding rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Funding {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Event time (predicted) or settlement time (settled), UTC ms.
    pub ts: i64,
    /// The venue's sequence, breaks ties inside one millisecond.
    pub order: u64,
    /// Predicted or settled.
    pub kind: FundingKind,
    /// Per interval, as the venue states it. `None`: the message only told the interval or the next time.
    pub rate: Option<Rate>,
    /// Hours between settlements, where the message says it.
    pub interval_hours: Option<u8>,
    /// The next settlement, UTC ms, where the message says it.
    pub next_ts: Option<i64>,
}

/// Open interest, counted on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenInterest {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Event time, UTC ms.
    pub ts: i64,
    /// The venue's sequence, breaks ties inside one millisecond.
    pub order: u64,
    /// In base units.
    pub base: Quantity,
}

/// How a venue's bar came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KlineSource {
    /// Pushed beside the prints: it checks our own bar.
    Stream,
    /// Asked for over REST, because prints are missing: it takes the place of our own minute.
    Backfill,
}

/// A venue's own bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kline {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Its length.
    pub timeframe: Timeframe,
    /// Opening time, UTC ms.
    pub open_ts: i64,
    /// When the venue said so, UTC ms.
    pub ts: i64,
    /// It will not change any more.
    pub closed: bool,
    /// How it came.
    pub source: KlineSource,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// In base units.
    pub volume: Quantity,
    /// In quote units, where given, 24 decimals.
    pub notional: Option<Notional>,
    /// In base units, where given.
    pub taker_buy_volume: Option<Quantity>,
    /// Number of trades, where given.
    pub trades: Option<u64>,
}

impl Kline {
    /// It takes the place of our own minute.
    #[must_use]
    pub fn fills(&self) -> bool {
        self.source == KlineSource::Backfill && self.timeframe == Timeframe::M1
    }
}

impl Tick {
    /// Of which instrument.
    #[inline]
    #[must_use]
    pub fn instrument(&self) -> InstrumentId {
        match self {
            Self::Trade(t) => t.instrument,
            Self::Liquidation(l) => l.instrument,
            Self::Mark(m) => m.instrument,
            Self::Funding(f) => f.instrument,
            Self::OpenInterest(o) => o.instrument,
            Self::Kline(k) => k.instrument,
        }
    }

    /// Event time, UTC ms.
    #[inline]
    #[must_use]
    pub fn ts(&self) -> i64 {
        match self {
            Self::Trade(t) => t.ts,
            Self::Liquidation(l) => l.ts,
            Self::Mark(m) => m.ts,
            Self::Funding(f) => f.ts,
            Self::OpenInterest(o) => o.ts,
            Self::Kline(k) => k.ts,
        }
    }

    /// The stream's name, as counters and tables write it.
    #[must_use]
    pub fn stream(&self) -> &'static str {
        match self {
            Self::Trade(_) => "trades",
            Self::Liquidation(_) => "liquidations",
            Self::Mark(_) => "mark",
            Self::Funding(_) => "funding",
            Self::OpenInterest(_) => "open_interest",
            Self::Kline(_) => "klines",
        }
    }
}

/// Time as data: how far a venue's events have come. The maths knows no other clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Clock {
    /// Events of this venue were seen; `minute` (its opening, UTC ms) held one of them, the newest was at `newest_ts`.
    Active {
        /// Whose events.
        venue: Venue,
        /// A minute with at least one event.
        minute: i64,
        /// The newest event time among them.
        newest_ts: i64,
    },
    /// The venue has been silent for its idle limit: what has been heard is closed without waiting for more.
    Idle(Venue),
    /// The input ends: as `Idle` for every venue.
    Flush,
    /// States are saved as they are after this quantum. It is no news to any view.
    Save,
}
