//! Feeds: what a venue's wire shows of its market, and when it arrives.

use dataflows::model::Venue;

use super::arrivals::{Arrivals, Route, Wire};
use super::chance::Chance;
use super::listing::Listing;
use super::tally::Shown;
use super::tape::{Ids, MinuteBar, Print};
use super::wire::binance::BinanceText;
use super::wire::bybit::BybitText;
use super::wire::{Forced, Quote};
use crate::frames::Direction;

const TRADES: usize = 0;
const QUOTES: usize = 1;
const LIQUIDATIONS: usize = 2;
const KLINES: usize = 3;

const BINANCE: Route = Route { venue: Venue::BinanceUsdm, connection: "binance-market", direction: Direction::In };
const BINANCE_REST: Route = Route { venue: Venue::BinanceUsdm, connection: "binance-rest", direction: Direction::Http };
const BYBIT: Route = Route { venue: Venue::BybitLinear, connection: "bybit-linear", direction: Direction::In };
const BYBIT_REST: Route = Route { venue: Venue::BybitLinear, connection: "bybit-rest", direction: Direction::Http };

/// Seconds between two polls of Binance's open interest.
const POLL_SECS: i64 = 30;

/// One venue's feed of a symbol.
#[derive(Debug)]
pub(super) struct Feed {
    wire: Wire,
    text: Text,
    /// The second of each half minute in which open interest is polled.
    poll_phase: i64,
}

#[derive(Debug)]
enum Text {
    Binance(BinanceText),
    Bybit { text: BybitText, seq: i64, before: Option<(Quote, i64)>, direction: (i64, &'static str), batch: Vec<Forced> },
}

impl Feed {
    pub(super) fn new(venue: Venue, listing: &Listing, mut chance: Chance) -> Self {
        let poll_phase = (chance.bits() % POLL_SECS as u64) as i64;
        let text = match venue {
            Venue::BybitLinear => Text::Bybit {
                text: BybitText::new(listing),
                seq: 40_000_000_000,
                before: None,
                direction: (0, "ZeroPlusTick"),
                batch: Vec::new(),
            },
            _ => Text::Binance(BinanceText::new(listing)),
        };
        Self { wire: Wire::new(chance), text, poll_phase }
    }

    /// A print.
    pub(super) fn trade(&mut self, arrivals: &mut Arrivals, print: &Print, ids: Ids) {
        let sent = print.ts + self.wire.delay_ms(8);
        let recv = self.wire.recv_ns(TRADES, sent);
        match &mut self.text {
            Text::Binance(text) => arrivals.push(recv, BINANCE, |out| text.agg_trade(out, sent, print, ids)),
            Text::Bybit { text, seq, direction, .. } => {
                *seq += 1;
                *direction = match (print.ticks.cmp(&direction.0), direction.1) {
                    (std::cmp::Ordering::Greater, _) => (print.ticks, "PlusTick"),
                    (std::cmp::Ordering::Less, _) => (print.ticks, "MinusTick"),
                    (_, "PlusTick" | "ZeroPlusTick") => (print.ticks, "ZeroPlusTick"),
                    _ => (print.ticks, "ZeroMinusTick"),
                };
                let wire = &mut self.wire;
                arrivals.push(recv, BYBIT, |out| text.public_trade(out, sent, print, direction.1, *seq, || wire.unique()));
            }
        }
    }

    /// Second `now`'s liquidations in order of time. Binance shows the largest, Bybit all of them each half second.
    pub(super) fn liquidations(&mut self, arrivals: &mut Arrivals, now: i64, forced: &[Forced]) -> Shown {
        let mut shown = Shown::default();
        match &mut self.text {
            Text::Binance(text) => {
                if let Some(largest) = forced.iter().max_by_key(|f| f.notional()) {
                    // The order's limit lies beyond the fill, where the market would have had to go.
                    let beyond = 1.0 + self.wire.between(0.001, 0.005) * if largest.long { -1.0 } else { 1.0 };
                    let limit = ((largest.ticks as f64 * beyond) as i64).max(1);
                    let sent = (now + 1) * 1_000 + self.wire.delay_ms(10);
                    let recv = self.wire.recv_ns(LIQUIDATIONS, sent);
                    shown.add(1, largest.notional(), recv);
                    arrivals.push(recv, BINANCE, |out| text.force_order(out, sent, largest, limit));
                }
            }
            Text::Bybit { text, batch, .. } => {
                for half in [now * 1_000, now * 1_000 + 500] {
                    batch.clear();
                    for one in forced.iter().filter(|f| (half..half + 500).contains(&f.ts)) {
                        let beyond = 1.0 + self.wire.between(0.0005, 0.004) * if one.long { -1.0 } else { 1.0 };
                        let bankruptcy = ((one.ticks as f64 * beyond) as i64).max(1);
                        batch.push(Forced { ticks: bankruptcy, ..*one });
                    }
                    if !batch.is_empty() {
                        let sent = half + 500 + self.wire.delay_ms(10);
                        let recv = self.wire.recv_ns(LIQUIDATIONS, sent);
                        shown.add(batch.len(), batch.iter().map(Forced::notional).sum(), recv);
                        arrivals.push(recv, BYBIT, |out| text.all_liquidation(out, sent, batch));
                    }
                }
            }
        }
        shown
    }

    /// Mark price and what goes with it, at the beginning of second `now`.
    pub(super) fn quote(&mut self, arrivals: &mut Arrivals, now: i64, quote: &Quote, last_ticks: i64) {
        match &mut self.text {
            Text::Binance(text) => {
                let recv = self.wire.recv_ns(QUOTES, now * 1_000);
                arrivals.push(recv, BINANCE, |out| text.mark_price(out, now * 1_000, quote));
            }
            Text::Bybit { text, seq, before, .. } => {
                *seq += 1;
                let sent = now * 1_000 + self.wire.delay_ms(100);
                let recv = self.wire.recv_ns(QUOTES, sent);
                arrivals.push(recv, BYBIT, |out| match before {
                    None => text.ticker_snapshot(out, sent, quote, last_ticks, *seq),
                    Some((old, ticks)) => {
                        let moved = (*ticks != last_ticks).then_some(last_ticks);
                        text.ticker_delta(out, sent, quote, old, moved, *seq);
                    }
                });
                *before = Some((*quote, last_ticks));
            }
        }
    }

    /// A minute's closed bar, sent after second `now`.
    pub(super) fn kline(&mut self, arrivals: &mut Arrivals, now: i64, bar: &MinuteBar) {
        let sent = (now + 1) * 1_000 + self.wire.delay_ms(60);
        match (&self.text, bar.fills) {
            (Text::Binance(text), Some(fills)) => {
                let recv = self.wire.recv_ns(KLINES, sent);
                arrivals.push(recv, BINANCE, |out| text.kline(out, sent, bar, fills));
            }
            (Text::Binance(_), None) => {}
            (Text::Bybit { text, .. }, _) => {
                let recv = self.wire.recv_ns(KLINES, sent);
                arrivals.push(recv, BYBIT, |out| text.kline(out, sent, bar));
            }
        }
    }

    /// Binance has no stream of open interest: it is polled twice a minute.
    pub(super) fn poll(&mut self, arrivals: &mut Arrivals, now: i64, interest: i64) {
        if now % POLL_SECS != self.poll_phase {
            return;
        }
        if let Text::Binance(text) = &self.text {
            let time = now * 1_000 + self.wire.delay_ms(500);
            let recv = self.wire.recv_ns(QUOTES, time) + 20_000_000;
            arrivals.push(recv, BINANCE_REST, |out| text.open_interest(out, time, interest));
        }
    }

    /// What was paid at second `now`, asked for shortly after.
    pub(super) fn settlement(&mut self, arrivals: &mut Arrivals, now: i64, rate_e8: i64, mark_e8: i64) {
        let asked = now * 1_000 + 2_000 + self.wire.delay_ms(1_000);
        let recv = asked * 1_000_000 + 60_000_000;
        match &self.text {
            Text::Binance(text) => {
                arrivals.push(recv, BINANCE_REST, |out| text.funding_rate(out, now * 1_000, rate_e8, mark_e8));
            }
            Text::Bybit { text, .. } => {
                arrivals.push(recv, BYBIT_REST, |out| text.funding_rate(out, now * 1_000, rate_e8, asked));
            }
        }
    }
}
