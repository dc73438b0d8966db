//! A dense corpus for benches: the mix of a busy minute, 20,000 messages a second, made without the market's model.
//!
//! 85 % trades, 13 % mark prices, 2 % liquidations, some 200 bytes each; prices are random walks on the symbols' grids. Unlike the
//! simulated market it shows more than one of Binance's liquidations per symbol and second, and has no klines.

use std::io;

use dataflows::model::Venue;

use super::arrivals::Frame;
use super::chance::Chance;
use super::listing::Listing;
use super::sink::Batcher;
use super::tape::{Print, Tape};
use super::wire::binance::BinanceText;
use super::wire::bybit::BybitText;
use super::wire::{Forced, Quote};
use crate::frames::{Direction, FrameBatch};

/// Frames per batch.
const BATCH_FRAMES: usize = 16_384;
/// From one frame to the next, ns: 20,000 a second.
const STEP_NS: i64 = 50_000;
/// Trades were matched this long before they arrive.
const LATENCY_MS: i64 = 10;

struct Ticker {
    listing: Listing,
    binance: BinanceText,
    bybit: BybitText,
    tape: Tape,
    log_price: f64,
    /// Bybit's last ticker.
    before: Option<Quote>,
    seq: i64,
}

/// `frames` frames of `symbols` symbols (1 to 1,000), spread evenly over `venues` (Binance alone if none is given).
///
/// # Errors
/// None in practice: a batch of 16,384 frames stays far below 4 GiB.
pub fn dense_corpus(frames: usize, symbols: usize, seed: u64, venues: &[Venue]) -> io::Result<Vec<FrameBatch>> {
    let venues = if venues.is_empty() { &[Venue::BinanceUsdm] } else { venues };
    let mut chance = Chance::new(seed, "market", "dense");
    let mut tickers: Vec<Ticker> = Listing::first(symbols.clamp(1, 1_000), seed).into_iter().map(Ticker::new).collect();
    let mut batcher = Batcher::default();
    let mut batches = Vec::with_capacity(frames / BATCH_FRAMES + 1);
    let mut payload = Vec::new();
    for number in 0..frames {
        let bits = chance.bits();
        let ticker = &mut tickers[(bits >> 32) as usize % symbols.clamp(1, 1_000)];
        let venue = venues[(bits >> 16) as usize % venues.len()];
        let recv_ns = super::START_MS * 1_000_000 + number as i64 * STEP_NS;
        payload.clear();
        ticker.message(venue, bits % 100, recv_ns / 1_000_000, &mut chance, &mut payload);
        batcher.push(Frame { recv_ns, venue, connection: "dense", direction: Direction::In, payload: &payload })?;
        if batcher.batch.frames.len() == BATCH_FRAMES {
            batches.push(batcher.take());
        }
    }
    if !batcher.batch.frames.is_empty() {
        batches.push(batcher.take());
    }
    Ok(batches)
}

impl Ticker {
    fn new(listing: Listing) -> Self {
        Self {
            binance: BinanceText::new(&listing),
            bybit: BybitText::new(&listing),
            tape: Tape::new(1_000_000_000),
            log_price: listing.price.ln(),
            before: None,
            seq: 40_000_000_000,
            listing,
        }
    }

    fn message(&mut self, venue: Venue, draw: u64, recv_ms: i64, chance: &mut Chance, out: &mut Vec<u8>) {
        self.log_price += 2e-6 * chance.normal();
        self.seq += 1;
        let price = self.log_price.exp();
        let ticks = ((price * self.listing.ticks_per_unit()).round() as i64).max(1);
        let ts = recv_ms - LATENCY_MS;
        let sent = ts + (chance.bits() >> 60) as i64 % 6;
        let bybit = venue == Venue::BybitLinear;
        match draw {
            0..85 => {
                let usd = self.listing.trade_usd * chance.lognormal(1.3);
                let steps = self.listing.steps_for(usd, price);
                let bits = chance.bits();
                let fills = (1 + (bits | 1 << 3).trailing_zeros()).min(steps.min(4) as u32);
                let print = Print { ts, ticks, steps, taker_buy: bits >> 63 == 1, fills: if bybit { 1 } else { fills } };
                if bybit {
                    self.bybit.public_trade(out, sent, &print, "ZeroPlusTick", self.seq, || (chance.bits(), chance.bits()));
                } else {
                    let ids = self.tape.print(&print);
                    self.binance.agg_trade(out, sent, &print, ids);
                }
            }
            85..98 => {
                let e8 = (price * 1e8) as i64;
                let wobble = (1e4 * chance.normal()) as i64;
                let interest = self.listing.steps_for(self.listing.open_interest_usd, price);
                let next_ms = super::START_MS + 28_800_000;
                let quote =
                    Quote { mark_e8: e8, index_e8: (e8 - wobble).max(1), rate_e8: 10_000 + wobble / 100, next_ms, interest };
                match (bybit, self.before.replace(quote)) {
                    (false, _) => self.binance.mark_price(out, sent, &quote),
                    (true, None) => self.bybit.ticker_snapshot(out, sent, &quote, ticks, self.seq),
                    (true, Some(before)) => self.bybit.ticker_delta(out, sent, &quote, &before, Some(ticks), self.seq),
                }
            }
            _ => {
                let steps = self.listing.steps_for(self.listing.trade_usd * chance.lognormal(1.1), price);
                let forced = Forced { ts, long: chance.bits() >> 63 == 1, ticks, steps, of_cascade: false };
                if bybit {
                    self.bybit.all_liquidation(out, sent, &[forced]);
                } else {
                    self.binance.force_order(out, sent, &forced, ticks);
                }
            }
        }
    }
}
