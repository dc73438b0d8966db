//! Binance USDⓈ-M's messages, combined-stream form, and its REST answers.

use super::super::listing::Listing;
use super::super::tape::{Ids, MinuteBar, Print};
use super::{Forced, Quote, put};

/// A symbol's texts.
#[derive(Debug)]
pub(in super::super) struct BinanceText {
    symbol: String,
    trade_head: String,
    mark_head: String,
    forced_head: String,
    kline_head: String,
    price: u32,
    qty: u32,
}

impl BinanceText {
    pub(in super::super) fn new(listing: &Listing) -> Self {
        let (symbol, lower) = (&listing.symbol, listing.symbol.to_lowercase());
        let head = |stream: &str, event: &str| format!(r#"{{"stream":"{lower}@{stream}","data":{{"e":"{event}","E":"#);
        Self {
            symbol: symbol.clone(),
            trade_head: head("aggTrade", "aggTrade"),
            mark_head: head("markPrice", "markPriceUpdate"),
            forced_head: head("forceOrder", "forceOrder"),
            kline_head: head("kline_1m", "kline"),
            price: listing.price_decimals,
            qty: listing.qty_decimals,
        }
    }

    pub(in super::super) fn agg_trade(&self, out: &mut Vec<u8>, sent: i64, print: &Print, ids: Ids) {
        put!(out; self.trade_head, int sent, r#","s":""#, self.symbol, r#"","a":"#, int ids.own as i64);
        put!(out; r#","p":""#, dec(print.ticks, self.price), r#"","q":""#, dec(print.steps, self.qty));
        put!(out; r#"","nq":""#, dec(print.steps, self.qty), r#"","f":"#, int ids.first as i64, r#","l":"#, int ids.last as i64);
        put!(out; r#","T":"#, int print.ts, r#","m":"#, if print.taker_buy { "false" } else { "true" }, "}}");
    }

    pub(in super::super) fn mark_price(&self, out: &mut Vec<u8>, sent: i64, quote: &Quote) {
        put!(out; self.mark_head, int sent, r#","s":""#, self.symbol, r#"","p":""#, dec(quote.mark_e8, 8));
        put!(out; r#"","ap":""#, dec(quote.mark_e8, 8), r#"","i":""#, dec(quote.index_e8, 8), r#"","P":""#);
        put!(out; dec(quote.index_e8, 8), r#"","r":""#, dec(quote.rate_e8, 8), r#"","T":"#, int quote.next_ms, "}}");
    }

    /// `limit` is the order's price; it was filled at `forced.ticks`.
    pub(in super::super) fn force_order(&self, out: &mut Vec<u8>, sent: i64, forced: &Forced, limit: i64) {
        let side = if forced.long { "SELL" } else { "BUY" };
        put!(out; self.forced_head, int sent, r#","o":{"s":""#, self.symbol, r#"","S":""#, side, r#"","o":"LIMIT","f":"IOC","q":""#);
        put!(out; dec(forced.steps, self.qty), r#"","p":""#, dec(limit, self.price), r#"","ap":""#, dec(forced.ticks, self.price));
        put!(out; r#"","X":"FILLED","l":""#, dec(forced.steps, self.qty), r#"","z":""#, dec(forced.steps, self.qty));
        put!(out; r#"","T":"#, int forced.ts, "}}}");
    }

    /// A closed bar. Binance sends none for a minute without prints.
    pub(in super::super) fn kline(&self, out: &mut Vec<u8>, sent: i64, bar: &MinuteBar, (first, last): (u64, u64)) {
        let [open, high, low, close] = bar.ohlc;
        let both = self.price + self.qty;
        put!(out; self.kline_head, int sent, r#","s":""#, self.symbol, r#"","k":{"t":"#, int bar.open_ts, r#","T":"#);
        put!(out; int bar.open_ts + 59_999, r#","s":""#, self.symbol, r#"","i":"1m","f":"#, int first as i64, r#","L":"#);
        put!(out; int last as i64, r#","o":""#, dec(open, self.price), r#"","c":""#, dec(close, self.price), r#"","h":""#);
        put!(out; dec(high, self.price), r#"","l":""#, dec(low, self.price), r#"","v":""#, dec(bar.volume, self.qty));
        put!(out; r#"","n":"#, int (last - first + 1) as i64, r#","x":true,"q":""#, dec(bar.notional, both), r#"","V":""#);
        put!(out; dec(bar.taker_volume, self.qty), r#"","Q":""#, dec(bar.taker_notional, both), r#"","B":"0"}}}"#);
    }

    pub(in super::super) fn open_interest(&self, out: &mut Vec<u8>, time: i64, interest: i64) {
        put!(out; "https://fapi.binance.com/fapi/v1/openInterest?symbol=", self.symbol, r#" {"openInterest":""#);
        put!(out; dec(interest, self.qty), r#"","symbol":""#, self.symbol, r#"","time":"#, int time, "}");
    }

    pub(in super::super) fn funding_rate(&self, out: &mut Vec<u8>, settled: i64, rate_e8: i64, mark_e8: i64) {
        put!(out; "https://fapi.binance.com/fapi/v1/fundingRate?symbol=", self.symbol, r#"&limit=1 [{"symbol":""#, self.symbol);
        put!(out; r#"","fundingRate":""#, dec(rate_e8, 8), r#"","fundingTime":"#, int settled, r#","markPrice":""#);
        put!(out; dec(mark_e8, 8), r#""}]"#);
    }
}
