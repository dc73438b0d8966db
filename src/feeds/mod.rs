//! The venues: one folder each, with the same files. `message.rs` holds the wire's types with a real message above each,
//! `parse.rs` turns frames into ticks.

pub mod binance_usdm;
pub mod bybit_linear;
mod check;
pub mod live;
pub mod reason;
mod rest;
mod scan;
mod symbols;
mod tally;
mod wire;

use std::sync::Arc;

use dataflows::model::{Instruments, Tick, Venue};

use crate::frames::Direction;

/// What became of a frame. Each frame has exactly one outcome, so that all of them can be accounted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was used; the message type (`aggTrade`, `tickers`).
    Used(&'static str),
    /// It holds nothing for us; why (`bookTicker`, `acknowledgement`, `sent by us`, `unknown message type`).
    Skipped(&'static str),
    /// It should have held something, but does not; why (`price out of range`). Ticks that it held beside are kept.
    Rejected(Rejection),
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rejection {
    /// The stream's or message type's name.
    pub stream: &'static str,
    /// A constant sentence, so that it can be counted.
    pub reason: &'static str,
}

/// Turns one venue's frames into ticks. One per worker: it caches symbols and counts what it doesn't know.
pub trait Parser: Send {
    /// Reads a payload, appends its ticks to `ticks`. Never panics, whatever the bytes.
    fn parse(&mut self, payload: &[u8], direction: Direction, recv_ns: i64, ticks: &mut Vec<Tick>) -> Outcome;

    /// How many fields were met that the message types don't name (a venue added them).
    fn unknown_fields(&self) -> u64;
}

/// What every parser needs.
#[derive(Clone, Debug)]
pub struct ParseContext {
    /// The shared names.
    pub instruments: Arc<Instruments>,
    /// Event times further than this from `recv_ns` are refused (a unit mix-up: s, ms, µs, ns). 0: only the years
    /// 2009 to 2100 are checked.
    pub skew_ms_max: i64,
}

/// The parser of a venue, if it has one.
#[must_use]
pub fn parser_for(venue: Venue, context: ParseContext) -> Option<Box<dyn Parser>> {
    match venue {
        Venue::BinanceUsdm => Some(Box::new(binance_usdm::BinanceUsdm::new(&context))),
        Venue::BybitLinear => Some(Box::new(bybit_linear::BybitLinear::new(&context))),
        Venue::Any | Venue::OkxSwap | Venue::Hyperliquid | Venue::BinanceSpot | Venue::Coinbase => None,
    }
}
