//! REST answers into ticks. Their times may be long ago, so they are not compared with the arrival.

use dataflows::model::{self, Funding, FundingKind, Kline, KlineSource, MINUTE_MS, Tick, Timeframe};

use super::super::check::{self, Arrival};
use super::super::rest::{self, Answer};
use super::super::symbols::Symbol;
use super::super::tally::Tally;
use super::super::wire::{self, Row};
use super::super::{Outcome, Rejection, reason};
use super::message::{AggTrade, Envelope, FundingInfo, FundingPast, OpenInterest, OpenInterestPast};
use super::parse::{BinanceUsdm, agg_trade, timeframe};

impl BinanceUsdm {
    pub(super) fn rest(&mut self, payload: &[u8], arrival: Arrival, ticks: &mut Vec<Tick>) -> Outcome {
        // Only what is used is looked into: an exchangeInfo of half a megabyte is not.
        let url_end = memchr::memchr(b' ', payload).unwrap_or(payload.len());
        let url = std::str::from_utf8(&payload[..url_end]).unwrap_or_default();
        let stream = match rest::answer(url).path {
            "/fapi/v1/aggTrades" => "aggTrades",
            "/fapi/v1/openInterest" => "openInterest",
            "/fapi/v1/fundingRate" => "fundingRate",
            "/fapi/v1/fundingInfo" => "fundingInfo",
            "/fapi/v1/klines" => "klines",
            "/futures/data/openInterestHist" => "openInterestHist",
            "/fapi/v1/depth" => return Outcome::Skipped("REST: depth"),
            "/fapi/v1/exchangeInfo" => return Outcome::Skipped("REST: exchangeInfo"),
            "" => return Outcome::Skipped("REST: answer without its URL"),
            _ => return Outcome::Skipped("REST: other answer"),
        };
        let rejected = |reason| Outcome::Rejected(Rejection { stream, reason });
        let answer = match wire::text(payload) {
            Ok(text) => rest::answer(text),
            Err(reason) => return rejected(reason),
        };
        if answer.body.starts_with('{') && wire::read::<Envelope<'_>>(answer.body).is_ok_and(|e| e.code.said().is_some()) {
            return rejected(reason::VENUE_ERROR);
        }
        let mut tally = Tally::new(stream);
        match stream {
            "openInterest" => {
                let tick = self.open_interest(answer.body);
                tally.push(tick, ticks);
            }
            "aggTrades" => self.agg_trades(&answer, ticks, &mut tally),
            "klines" => self.klines(&answer, arrival, ticks, &mut tally),
            _ => {
                for item in wire::items(answer.body) {
                    let tick = item.and_then(|item| match stream {
                        "fundingRate" => self.funding_past(item.json()),
                        "fundingInfo" => self.funding_info(item.json(), arrival),
                        _ => self.open_interest_past(item.json()),
                    });
                    tally.push(tick, ticks);
                }
            }
        }
        tally.outcome("REST: empty answer")
    }

    fn open_interest(&mut self, json: &str) -> Result<Tick, &'static str> {
        let m: OpenInterest<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let symbol = self.symbols.get(&m.symbol)?;
        let (ts, base) = (check::time(&m.ts)?, check::quantity(&m.base, symbol)?);
        Ok(Tick::OpenInterest(model::OpenInterest { instrument: symbol.instrument, ts, order: 0, base }))
    }

    fn open_interest_past(&mut self, json: &str) -> Result<Tick, &'static str> {
        let m: OpenInterestPast<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let symbol = self.symbols.get(&m.symbol)?;
        let (ts, base) = (check::time(&m.ts)?, check::quantity(&m.base, symbol)?);
        Ok(Tick::OpenInterest(model::OpenInterest { instrument: symbol.instrument, ts, order: 0, base }))
    }

    /// The venue's settlement times are some milliseconds late (`…000003`): the minute is what was meant.
    fn funding_past(&mut self, json: &str) -> Result<Tick, &'static str> {
        let m: FundingPast<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let instrument = self.symbols.get(&m.symbol)?.instrument;
        let ts = check::time(&m.ts)?.div_euclid(MINUTE_MS) * MINUTE_MS;
        let rate = Some(check::rate(&m.rate)?.ok_or(reason::MISSING)?);
        let (kind, order) = (FundingKind::Settled, 0);
        Ok(Tick::Funding(Funding { instrument, ts, order, kind, rate, interval_hours: None, next_ts: None }))
    }

    fn funding_info(&mut self, json: &str, arrival: Arrival) -> Result<Tick, &'static str> {
        let m: FundingInfo<'_> = wire::read(json)?;
        self.unknown_fields += m.unknown;
        let instrument = self.symbols.get(&m.symbol)?.instrument;
        let interval_hours = Some(check::interval_hours(&m.interval)?.ok_or(reason::MISSING)?);
        let (ts, kind, order) = (arrival.ms, FundingKind::Predicted, 0);
        Ok(Tick::Funding(Funding { instrument, ts, order, kind, rate: None, interval_hours, next_ts: None }))
    }

    /// The same aggregates as the stream's, by the same ids: those that were heard already are dropped behind.
    fn agg_trades(&mut self, answer: &Answer<'_>, ticks: &mut Vec<Tick>, tally: &mut Tally) {
        let symbol = answer.parameter("symbol").ok_or(reason::MISSING).and_then(|s| self.symbols.of(&s));
        let Some(symbol) = tally.note(symbol) else { return };
        for row in wire::items(answer.body) {
            let trade = row.and_then(|row| {
                let m: AggTrade<'_> = wire::read(row.json())?;
                self.unknown_fields += m.unknown;
                agg_trade(&m, symbol, check::time(&m.ts)?)
            });
            tally.push(trade.map(Tick::Trade), ticks);
        }
    }

    fn klines(&mut self, answer: &Answer<'_>, arrival: Arrival, ticks: &mut Vec<Tick>, tally: &mut Tally) {
        let symbol = answer.parameter("symbol").ok_or(reason::MISSING).and_then(|s| self.symbols.of(&s));
        let Some(symbol) = tally.note(symbol) else { return };
        let interval = answer.parameter("interval").ok_or(reason::MISSING);
        let timeframe = interval.and_then(|i| timeframe(&i).ok_or(reason::TIMEFRAME));
        let Some(timeframe) = tally.note(timeframe) else { return };
        for row in wire::items(answer.body) {
            let kline = row.and_then(|row| kline(row.json(), symbol, timeframe));
            match kline {
                Ok(kline) if kline.ts > arrival.ms => {} // still open: its stream tells the rest
                kline => tally.push(kline.map(|k| Tick::Kline(Box::new(k))), ticks),
            }
        }
    }
}

/// `[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]`
fn kline(json: &str, symbol: Symbol, timeframe: Timeframe) -> Result<Kline, &'static str> {
    let Row([open_ts, open, high, low, close, volume, _, turnover, trades, taker_buy]) = wire::read(json)?;
    let open_ts = check::time(&open_ts)?;
    check::kline(Kline {
        instrument: symbol.instrument,
        timeframe,
        open_ts,
        ts: open_ts + timeframe.ms(),
        closed: true,
        source: KlineSource::Backfill,
        open: check::price(&open, symbol)?,
        high: check::price(&high, symbol)?,
        low: check::price(&low, symbol)?,
        close: check::price(&close, symbol)?,
        volume: check::quantity(&volume, symbol)?,
        notional: check::turnover(&turnover)?,
        taker_buy_volume: check::quantity_if_said(&taker_buy, symbol)?,
        trades: Some(check::id(&trades)?),
    })
}
