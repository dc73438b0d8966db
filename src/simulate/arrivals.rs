//! Arrivals: frames are made in the order of events and leave in the order of arrival.
//!
//! A bounded re-order buffer: what is made in a second of the market waits until every frame that may still be made arrives
//! later. Payloads lie in one buffer, so a frame costs no allocation. Inside one stream of one symbol arrival keeps the order
//! of sending, as a socket does; across streams event times invert by up to the latency's spread.

use std::io;

use dataflows::model::Venue;

use super::chance::Chance;
use crate::frames::Direction;

/// A frame as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When, ns since the epoch.
    pub recv_ns: i64,
    /// From which venue.
    pub venue: Venue,
    /// Over which connection: `binance-market`, `binance-rest`, `bybit-linear`, `bybit-rest`.
    pub connection: &'static str,
    /// How it travelled.
    pub direction: Direction,
    /// What it says.
    pub payload: &'a [u8],
}

#[derive(Debug)]
struct Waiting {
    recv_ns: i64,
    made: u64,
    start: usize,
    end: usize,
    route: Route,
}

/// Which way a frame takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) venue: Venue,
    pub(super) connection: &'static str,
    pub(super) direction: Direction,
}

/// The re-order buffer.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
    kept: (Vec<u8>, Vec<Waiting>),
    made: u64,
}

impl Arrivals {
    /// Takes a frame that `write` appends.
    pub(super) fn push(&mut self, recv_ns: i64, route: Route, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.waiting.push(Waiting { recv_ns, made: self.made, start, end: self.bytes.len(), route });
        self.made += 1;
    }

    /// Hands over what arrives before `until_ns`, in order, and keeps the rest.
    pub(super) fn release(&mut self, until_ns: i64, sink: &mut impl FnMut(Frame<'_>) -> io::Result<()>) -> io::Result<()> {
        self.waiting.sort_unstable_by_key(|w| (w.recv_ns, w.made));
        let ready = self.waiting.partition_point(|w| w.recv_ns < until_ns);
        for w in &self.waiting[..ready] {
            let Route { venue, connection, direction } = w.route;
            sink(Frame { recv_ns: w.recv_ns, venue, connection, direction, payload: &self.bytes[w.start..w.end] })?;
        }
        let (bytes, waiting) = &mut self.kept;
        for mut w in self.waiting.drain(ready..) {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[w.start..w.end]);
            (w.start, w.end) = (start, bytes.len());
            waiting.push(w);
        }
        self.bytes.clear();
        self.waiting.clear();
        std::mem::swap(&mut self.bytes, bytes);
        std::mem::swap(&mut self.waiting, waiting);
        Ok(())
    }
}

/// A symbol's streams over one venue's wire: how late each message is.
#[derive(Debug)]
pub(super) struct Wire {
    chance: Chance,
    last_ns: [i64; STREAMS],
}

/// Streams that keep their own order.
pub(super) const STREAMS: usize = 4;

impl Wire {
    pub(super) fn new(chance: Chance) -> Self {
        Self { chance, last_ns: [0; STREAMS] }
    }

    /// When a message sent at `sent_ms` on a stream arrives: 5 to 80 ms later, but after the one sent before it.
    pub(super) fn recv_ns(&mut self, stream: usize, sent_ms: i64) -> i64 {
        let late_us = 5_000 + (self.chance.exponential() * 12_000.0).min(75_000.0) as i64;
        let arrives = (sent_ms * 1_000 + late_us) * 1_000;
        self.last_ns[stream] = arrives.max(self.last_ns[stream] + 500);
        self.last_ns[stream]
    }

    /// A few milliseconds that the venue takes before it sends.
    pub(super) fn delay_ms(&mut self, most: u64) -> i64 {
        1 + (self.chance.bits() >> 32) as i64 % most as i64
    }

    /// 128 random bits.
    pub(super) fn unique(&mut self) -> (u64, u64) {
        (self.chance.bits(), self.chance.bits())
    }

    /// Uniform between two bounds.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        self.chance.between(low, high)
    }
}
