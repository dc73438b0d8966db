//! Bybit linear's messages and its REST answers.

use super::super::digits::push_uuid;
use super::super::listing::Listing;
use super::super::tape::{MinuteBar, Print};
use super::{Forced, Quote, put};

/// A symbol's texts.
#[derive(Debug)]
pub(in super::super) struct BybitText {
    symbol: String,
    trade_head: String,
    ticker_head: String,
    forced_head: String,
    kline_head: String,
    price: u32,
    qty: u32,
}

impl BybitText {
    pub(in super::super) fn new(listing: &Listing) -> Self {
        let symbol = &listing.symbol;
        Self {
            symbol: symbol.clone(),
            trade_head: format!(r#"{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":"#),
            ticker_head: format!(r#"{{"topic":"tickers.{symbol}","type":""#),
            forced_head: format!(r#"{{"topic":"allLiquidation.{symbol}","type":"snapshot","ts":"#),
            kline_head: format!(r#"{{"topic":"kline.1.{symbol}","data":[{{"start":"#),
            price: listing.price_decimals,
            qty: listing.qty_decimals,
        }
    }

    /// A taker's order: one item per fill, all at one price and one sequence number.
    pub(in super::super) fn public_trade(
        &self,
        out: &mut Vec<u8>,
        sent: i64,
        print: &Print,
        direction: &str,
        seq: i64,
        mut unique: impl FnMut() -> (u64, u64),
    ) {
        put!(out; self.trade_head, int sent, r#","data":["#);
        let mut left = print.steps;
        for fill in (1..=i64::from(print.fills)).rev() {
            let steps = left / fill;
            left -= steps;
            let side = if print.taker_buy { "Buy" } else { "Sell" };
            put!(out; r#"{"T":"#, int print.ts, r#","s":""#, self.symbol, r#"","S":""#, side, r#"","v":""#, trim(steps, self.qty));
            put!(out; r#"","p":""#, dec(print.ticks, self.price), r#"","L":""#, direction, r#"","i":""#);
            let (high, low) = unique();
            push_uuid(out, high, low);
            put!(out; r#"","BT":false,"RPI":false,"seq":"#, int seq, if fill == 1 { "}]}" } else { "}," });
        }
    }

    /// All fields. Open interest counts both sides.
    pub(in super::super) fn ticker_snapshot(&self, out: &mut Vec<u8>, sent: i64, quote: &Quote, last_ticks: i64, seq: i64) {
        put!(out; self.ticker_head, r#"snapshot","data":{"symbol":""#, self.symbol, r#"","tickDirection":"ZeroPlusTick""#);
        put!(out; r#","price24hPcnt":"0","lastPrice":""#, dec(last_ticks, self.price), r#"","prevPrice24h":""#);
        put!(out; dec(last_ticks, self.price), r#"","markPrice":""#, dec(quote.mark_e8, 8), r#"","indexPrice":""#);
        put!(out; dec(quote.index_e8, 8), r#"","openInterest":""#, trim(2 * quote.interest, self.qty));
        put!(out; r#"","openInterestValue":""#, trim(self.value(quote), 2), r#"","fundingIntervalHour":"8","fundingCap":"0.03""#);
        put!(out; r#","nextFundingTime":""#, int quote.next_ms, r#"","fundingRate":""#, trim(quote.rate_e8, 8));
        put!(out; r#"","preOpenPrice":"","preQty":"","curPreListingPhase":""},"cs":"#, int seq, r#","ts":"#, int sent, "}");
    }

    /// What changed since `before`.
    pub(in super::super) fn ticker_delta(
        &self,
        out: &mut Vec<u8>,
        sent: i64,
        quote: &Quote,
        before: &Quote,
        last_ticks: Option<i64>,
        seq: i64,
    ) {
        put!(out; self.ticker_head, r#"delta","data":{"symbol":""#, self.symbol, "\"");
        if let Some(ticks) = last_ticks {
            put!(out; r#","lastPrice":""#, dec(ticks, self.price), "\"");
        }
        if quote.mark_e8 != before.mark_e8 {
            put!(out; r#","markPrice":""#, dec(quote.mark_e8, 8), "\"");
        }
        if quote.index_e8 != before.index_e8 {
            put!(out; r#","indexPrice":""#, dec(quote.index_e8, 8), "\"");
        }
        if quote.interest != before.interest {
            put!(out; r#","openInterest":""#, trim(2 * quote.interest, self.qty));
            put!(out; r#"","openInterestValue":""#, trim(self.value(quote), 2), "\"");
        }
        if quote.next_ms != before.next_ms {
            put!(out; r#","nextFundingTime":""#, int quote.next_ms, "\"");
        }
        if quote.rate_e8 != before.rate_e8 {
            put!(out; r#","fundingRate":""#, trim(quote.rate_e8, 8), "\"");
        }
        put!(out; r#"},"cs":"#, int seq, r#","ts":"#, int sent, "}");
    }

    /// Both sides' open interest in cents.
    fn value(&self, quote: &Quote) -> i128 {
        2 * i128::from(quote.interest) * i128::from(quote.mark_e8) / 10i128.pow(6 + self.qty)
    }

    /// Half a second's liquidations, with their bankruptcy prices.
    pub(in super::super) fn all_liquidation(&self, out: &mut Vec<u8>, sent: i64, forced: &[Forced]) {
        put!(out; self.forced_head, int sent, r#","data":["#);
        for (i, one) in forced.iter().enumerate() {
            let side = if one.long { "Buy" } else { "Sell" };
            put!(out; if i == 0 { r#"{"T":"# } else { r#",{"T":"# }, int one.ts, r#","s":""#, self.symbol, r#"","S":""#, side);
            put!(out; r#"","v":""#, trim(one.steps, self.qty), r#"","p":""#, dec(one.ticks, self.price), r#""}"#);
        }
        put!(out; "]}");
    }

    /// A closed bar.
    pub(in super::super) fn kline(&self, out: &mut Vec<u8>, sent: i64, bar: &MinuteBar) {
        let [open, high, low, close] = bar.ohlc;
        put!(out; self.kline_head, int bar.open_ts, r#","end":"#, int bar.open_ts + 59_999, r#","interval":"1","open":""#);
        put!(out; dec(open, self.price), r#"","close":""#, dec(close, self.price), r#"","high":""#, dec(high, self.price));
        put!(out; r#"","low":""#, dec(low, self.price), r#"","volume":""#, trim(bar.volume, self.qty), r#"","turnover":""#);
        put!(out; trim(bar.notional, self.price + self.qty), r#"","confirm":true,"timestamp":"#, int sent, r#"}],"ts":"#);
        put!(out; int sent, r#","type":"snapshot"}"#);
    }

    pub(in super::super) fn funding_rate(&self, out: &mut Vec<u8>, settled: i64, rate_e8: i64, time: i64) {
        put!(out; "https://api.bybit.com/v5/market/funding/history?category=linear&symbol=", self.symbol);
        put!(out; r#"&limit=1 {"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":""#, self.symbol);
        put!(out; r#"","fundingRate":""#, trim(rate_e8, 8), r#"","fundingRateTimestamp":""#, int settled);
        put!(out; r#""}]},"retExtInfo":{},"time":"#, int time, "}");
    }
}
