//! Small markets as text, one event a line, and the rows that come of them.
//!
//! `time symbol what … [@seconds]`: the time is of 2025-10-13, a Monday, UTC; `@seconds` is how much later the event arrives;
//! symbols are of Binance unless `bybit/` stands before them.

use std::fmt::Write as _;
use std::sync::Arc;

use dataflows::config::Config;
use dataflows::fixed::{Price, Quantity, Rate};
use dataflows::model::*;

use crate::oracle::Events;
use crate::run::{Arrival, History, Plan, current, feed, run};

const MONDAY: i64 = 1_760_313_600_000;

/// Runs `market` with the usual settings, compares with the oracle, and prints the current rows of `view`.
fn check(view: &str, market: &str, expected: &str) {
    let (history, instruments) = history(market);
    let rows = rows(view, &history, &instruments);
    assert_eq!(rows, lines(expected), "\n{view} is\n{}\n", rows.join("\n"));
}

pub fn history(market: &str) -> (History, Arc<Instruments>) {
    let instruments = Arc::new(Instruments::default());
    let arrivals: Vec<Arrival> =
        lines(market).into_iter().enumerate().map(|(i, line)| parse(&instruments, i as u64, line)).collect();
    let plan = Plan::default();
    let (history, _) = run(&Config::default(), &instruments, feed(&instruments, &arrivals, plan), plan);
    let ticks = arrivals.into_iter().map(|(_, tick)| tick);
    Events::new(&instruments, &Config::default(), ticks).check(&history);
    (history, instruments)
}

/// Those that hold something, trimmed.
pub fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn time(text: &str) -> i64 {
    let mut parts = text.split(':').map(|part| part.parse::<f64>().unwrap());
    let (hours, minutes, seconds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(0.0));
    MONDAY + ((hours * 3_600.0 + minutes * 60.0 + seconds) * 1_000.0).round() as i64
}

fn parse(instruments: &Instruments, i: u64, line: &str) -> Arrival {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (words, delay) = match words.split_last() {
        Some((last, words)) if last.starts_with('@') => (words, last[1..].parse::<f64>().unwrap()),
        _ => (&words[..], 0.0),
    };
    let ts = time(words[0]);
    let (venue, symbol) = match words[1].strip_prefix("bybit/") {
        Some(symbol) => (Venue::BybitLinear, symbol),
        None => (Venue::BinanceUsdm, words[1]),
    };
    let instrument = instruments.intern(venue, &format!("{symbol}-USDT-PERP")).unwrap();
    let price = |at: usize| Price::parse(words[at].as_bytes()).unwrap();
    let qty = |at: usize| Quantity::parse(words[at].as_bytes()).unwrap();
    let rate = |at: usize| Rate::parse(words[at].as_bytes()).unwrap();
    let tick = match words[2] {
        side @ ("buy" | "sell" | "block") => Tick::Trade(Trade {
            instrument,
            ts,
            order: (i, 0),
            id: TradeId::Dense(i, i),
            price: price(3),
            qty: qty(4),
            taker_buy: side == "buy",
            fills: 1,
            kind: if side == "block" { TradeKind::Block } else { TradeKind::Market },
        }),
        side @ ("long" | "short") => Tick::Liquidation(Liquidation {
            instrument,
            ts,
            position_side: if side == "long" { PositionSide::Long } else { PositionSide::Short },
            price: price(3),
            qty: qty(4),
            seq: 0,
            price_kind: PriceKind::Fill,
            coverage: Coverage::Sampled1s,
        }),
        "mark" => Tick::Mark(Mark { instrument, ts, order: i, mark: Some(price(3)), index: None }),
        kind @ ("predicted" | "settled") => Tick::Funding(Funding {
            instrument,
            ts,
            order: i,
            kind: if kind == "settled" { FundingKind::Settled } else { FundingKind::Predicted },
            rate: (words[3] != "-").then(|| rate(3)),
            interval_hours: words.get(4).map(|hours| hours.trim_end_matches('h').parse().unwrap()),
            next_ts: None,
        }),
        "interest" => Tick::OpenInterest(OpenInterest { instrument, ts, order: i, base: qty(3) }),
        kind @ ("kline1m" | "backfill1m") => Tick::Kline(Box::new(Kline {
            instrument,
            timeframe: Timeframe::M1,
            open_ts: ts,
            ts: ts + MINUTE_MS,
            closed: true,
            source: if kind == "kline1m" { KlineSource::Stream } else { KlineSource::Backfill },
            open: price(3),
            high: price(4),
            low: price(5),
            close: price(6),
            volume: qty(7),
            notional: None,
            taker_buy_volume: None,
            trades: Some(words[8].parse().unwrap()),
        })),
        other => panic!("no such event: {other}"),
    };
    let at = if matches!(tick, Tick::Kline(_)) { ts + MINUTE_MS } else { ts };
    ((at + (delay * 1_000.0) as i64) as u64, tick)
}

pub fn clock(ts: i64) -> String {
    let seconds = (ts - MONDAY).div_euclid(1_000);
    let mut text = format!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60);
    if seconds % 60 != 0 {
        write!(text, ":{:02}", seconds % 60).unwrap();
    }
    text
}

fn rows(view: &str, history: &History, instruments: &Instruments) -> Vec<String> {
    let name = |id: InstrumentId| {
        let instrument = instruments.get(id).unwrap();
        let venue = if instrument.venue == Venue::BybitLinear { "bybit/" } else { "" };
        format!("{venue}{}", instrument.base())
    };
    let mut rows: Vec<(String, i64, String)> = Vec::new();
    if let Some(timeframe) = view.strip_prefix("bars ") {
        for b in current(&history.bars).iter().filter(|b| b.timeframe.as_str() == timeframe) {
            let [o, h, l, c] = [b.open, b.high, b.low, b.close].map(Price::to_f64);
            let (volume, bought) = (b.volume.to_f64(), b.taker_buy_volume.to_f64());
            rows.push((name(b.instrument), b.ts, format!("{o} {h} {l} {c} volume {volume} bought {bought} trades {}", b.trades)));
        }
    } else if let Some(window) = view.strip_prefix("windows ") {
        for w in current(&history.liquidation_windows).iter().filter(|w| w.window.as_str() == window) {
            let [long, short, largest] = [w.long_notional, w.short_notional, w.largest].map(|n| n.to_f64());
            rows.push((name(w.instrument), w.ts, format!("long {long} short {short} count {} largest {largest}", w.count)));
        }
    } else if view == "cascades" {
        for c in current(&history.cascades) {
            let text = format!(
                "{} active to {} {} total {} velocity {} severity {} {:?} {:?} move {}",
                c.window.as_str(),
                clock(c.last_active),
                c.ended_at.map_or("going on".to_owned(), |ts| format!("ended {}", clock(ts))),
                c.total.to_f64(),
                c.velocity(c.peak_window_notional),
                c.severity.0,
                c.severity_label,
                c.side_bias,
                c.price_move_bps.map_or("-".to_owned(), |bps| format!("{:.1}", bps.0)),
            );
            rows.push((name(c.instrument), c.onset, text));
        }
    } else if view == "funding" {
        for f in current(&history.funding) {
            rows.push((name(f.instrument), f.ts, format!("{:?} {} {}h", f.kind, f.rate.to_f64(), f.interval_hours)));
        }
    } else if view == "open_interest" {
        for o in current(&history.open_interest) {
            let usd = o.usd.map_or("-".to_owned(), |usd| usd.to_f64().to_string());
            rows.push((name(o.instrument), o.ts, format!("{} usd {usd}", o.base.to_f64())));
        }
    } else if view == "kline_checks" {
        for k in current(&history.kline_checks) {
            let verdict = if k.agrees { "agrees" } else { "differs" };
            rows.push((
                name(k.bar.instrument),
                k.bar.ts,
                format!("{verdict}: {} trades, venue {:?}", k.bar.trades, k.kline_trades),
            ));
        }
    } else if view == "late_events" {
        for (_, l, _) in &history.late_events {
            let fate = if l.applied { "applied" } else { "only listed" };
            rows.push((name(l.instrument), l.ts, format!("{:?} {} {fate}", l.stream, l.seq)));
        }
    } else {
        panic!("no such view: {view}");
    }
    rows.sort();
    rows.into_iter().map(|(name, ts, text)| format!("{} {name} {text}", clock(ts))).collect()
}

#[test]
fn a_bar_opens_and_closes_by_event_time_and_the_venues_order() {
    check(
        "bars 1m",
        "00:00:10.5 BTC buy  101 2
         00:00:10.5 BTC sell 102 1
         00:00:02   BTC sell 100 1 @20
         00:00:59.9 BTC buy  99  1
         00:00:30   BTC block 500 9",
        "00:00 BTC 100 102 99 99 volume 5 bought 3 trades 4",
    );
}

#[test]
fn a_silent_instrument_gets_flat_bars_while_its_venue_is_heard() {
    check(
        "bars 1m",
        // Of 00:05 nobody knows yet whether BTC was traded: nothing later was heard.
        "00:00:30 BTC buy 100 1
         00:01:30 ETH buy 10 1
         00:05:30 ETH buy 11 1
         00:06:30 bybit/SOL buy 1 1",
        "00:00 BTC 100 100 100 100 volume 1 bought 1 trades 1
         00:01 BTC 100 100 100 100 volume 0 bought 0 trades 0
         00:01 ETH 10 10 10 10 volume 1 bought 1 trades 1
         00:05 ETH 11 11 11 11 volume 1 bought 1 trades 1
         00:06 bybit/SOL 1 1 1 1 volume 1 bought 1 trades 1",
    );
}

#[test]
fn a_late_print_corrects_the_flat_bars_after_it() {
    check(
        "bars 1m",
        "00:00:30 BTC buy 100 1
         00:01:30 BTC sell 90 1 @100
         00:01:40 ETH buy 10 1
         00:02:30 ETH buy 10 1
         00:03:30 ETH buy 10 1",
        "00:00 BTC 100 100 100 100 volume 1 bought 1 trades 1
         00:01 BTC 90 90 90 90 volume 1 bought 0 trades 1
         00:02 BTC 90 90 90 90 volume 0 bought 0 trades 0
         00:01 ETH 10 10 10 10 volume 1 bought 1 trades 1
         00:02 ETH 10 10 10 10 volume 1 bought 1 trades 1
         00:03 ETH 10 10 10 10 volume 1 bought 1 trades 1",
    );
}

#[test]
fn flat_bars_last_for_a_day_or_two_bars() {
    let market = "00:00:30 BTC buy 100 1
                  23:59:30 ETH buy 10 1
                  24:00:30 ETH buy 10 1
                  47:59:30 ETH buy 10 1
                  48:00:30 ETH buy 10 1
                  72:00:30 ETH buy 10 1";
    let of_btc = |view: &str| {
        let (history, instruments) = history(market);
        rows(view, &history, &instruments)
            .into_iter()
            .filter(|row| row.contains("BTC"))
            .map(|row| row[..5].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_btc("bars 1m"), ["00:00", "23:59"]);
    assert_eq!(of_btc("bars 1h"), ["00:00", "23:00"]);
    assert_eq!(of_btc("bars 1d"), ["00:00", "24:00"]);
    assert_eq!(of_btc("bars 1w"), ["00:00"], "the week is not over");
}

#[test]
fn a_window_holds_the_seconds_up_to_its_end() {
    check(
        "windows 1m",
        "00:00:30   BTC long  100 2
         00:01:00.9 BTC short 100 1
         00:01:01   BTC long  100 5",
        "00:01 BTC long 200 short 100 count 2 largest 200
         00:02 BTC long 500 short 0 count 1 largest 500",
    );
}

#[test]
fn the_check_value() {
    // ANALYTICS: 1,500,000 USD in 4 h → velocity 375,000, severity 1.875, CRITICAL.
    check(
        "cascades",
        "00:09:58 BTC buy 100 1
         00:10:00 BTC long 100 15000
         00:12:00 BTC sell 99 1
         00:16:00 BTC sell 50 1
         00:30:00 BTC buy 100 1",
        "00:10 BTC 1h active to 00:14:59 ended 00:19:59 total 1500000 velocity 1500000 severity 3 Critical Long move -100.0
         00:10 BTC 4h active to 00:14:59 ended 00:19:59 total 1500000 velocity 375000 severity 1.875 Critical Long move -100.0
         00:10 BTC 5m active to 00:14:59 ended 00:19:59 total 1500000 velocity 18000000 severity 6 Critical Long move -100.0",
    );
}

#[test]
fn a_cascade_goes_on_until_five_minutes_of_quiet() {
    let market = "00:10:00 BTC long  100 4000
                  00:14:59 BTC short 100 4000
                  00:23:00 BTC buy 100 1";
    // 800,000 USD in 4 h are 200,000 an hour, which is not above 200,000.
    check(
        "cascades",
        market,
        "00:10 BTC 5m active to 00:19:58 going on total 800000 velocity 9600000 severity 3.2 Critical Balanced move -
         00:14:59 BTC 1h active to 00:19:58 going on total 800000 velocity 800000 severity 1.6 Critical Balanced move -",
    );
}

#[test]
fn a_cascade_may_peak_while_it_is_not_active() {
    // A million at once, then just enough to stay active, until 00:56. The 30,000 at 00:57 are too little to be active, but they are
    // the hour's peak: when the cascade is active again, at 01:00:30, the million has left the hour.
    let steady: String = (1..=12).map(|i| format!("00:{:02}:00 BTC long 100 500\n", 4 * i)).collect();
    let market = format!(
        "00:00:00 BTC long 100 10000
         {steady}
         00:51:00 BTC long 100 500
         00:57:00 BTC long 100 300
         01:00:30 BTC long 100 200
         02:00:00 BTC buy 100 1"
    );
    let (history, instruments) = history(&market);
    let of_the_hour: Vec<String> =
        rows("cascades", &history, &instruments).into_iter().filter(|row| row.contains(" 1h ")).collect();
    assert_eq!(
        of_the_hour,
        ["00:00 BTC 1h active to 01:01:59 ended 01:06:59 total 1700000 velocity 1680000 severity 3.36 Critical Long move -"]
    );
}

#[test]
fn quotes_are_sampled_at_the_minutes_end() {
    let market = "00:00:10 BTC predicted 0.0001 4h
                  00:00:50 BTC predicted 0.0002
                  00:02:10 BTC mark 60000
                  00:02:20 BTC interest 10
                  00:02:30 BTC mark 61000
                  00:16:30 BTC mark 62000
                  00:17:30 BTC mark 63000
                  00:00:00 BTC settled 0.00005 @30";
    check(
        "funding",
        market,
        "00:00 BTC Predicted 0.0002 4h
         00:00 BTC Settled 0.00005 4h
         00:02 BTC Predicted 0.0002 4h
         00:16 BTC Predicted 0.0002 4h
         00:17 BTC Predicted 0.0002 4h",
    );
    // Open interest of fifteen minutes ago is unknown.
    check("open_interest", market, "00:02 BTC 10 usd 610000\n00:16 BTC 10 usd 620000");
}

#[test]
fn a_settlement_keeps_its_interval() {
    // The interval is told again hours later, when nothing of the first hour can be corrected any more.
    check(
        "funding",
        "00:00:10 BTC predicted - 1h
         01:00:00 BTC settled 0.0001
         04:00:00 BTC mark 60000
         04:10:00 BTC predicted - 4h
         08:00:00 BTC settled 0.0003
         08:20:00 BTC mark 60000",
        "01:00 BTC Settled 0.0001 1h
         08:00 BTC Settled 0.0003 4h",
    );
}

#[test]
fn venue_bars_are_compared_with_ours() {
    check(
        "kline_checks",
        "00:00:10 BTC buy 100 1
         00:00:20 BTC buy 101 1
         00:01:20 BTC buy 102 1
         00:00    BTC kline1m 100 101 100 101 2 2
         00:01    BTC kline1m 102 103 102 103 2 2
         00:03:00 BTC mark 100",
        "00:00 BTC agrees: 2 trades, venue Some(2)
         00:01 BTC differs: 1 trades, venue Some(2)",
    );
}

#[test]
fn late_events_are_listed_in_order_of_event_time() {
    check(
        "late_events",
        "00:10:00 BTC buy 100 1
         00:00:30 ETH buy 10 1 @600
         00:00:20 BTC buy 100 1 @610.5
         00:09:50 BTC buy 100 1 @40.5",
        "00:00:20 BTC Trades 0 applied
         00:09:50 BTC Trades 2 applied
         00:00:30 ETH Trades 1 applied",
    );
}
