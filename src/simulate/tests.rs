#![allow(clippy::unwrap_used)]
//! The simulated market is checked from outside: by its frames, as a parser sees them, and by its truth.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::fixed;
use dataflows::model::Venue;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::frames::{Direction, FrameBatch};

/// A frame with its payload taken apart.
struct Seen {
    recv_ns: i64,
    venue: Venue,
    value: Value,
}

fn settings(symbols: usize, minutes: i64) -> Settings {
    Settings { seed: 11, symbols, minutes, bursts_per_day: 24.0, ..Settings::default() }
}

/// The same with few prints and quotes, for long stretches.
fn sparse(symbols: usize, minutes: i64) -> Settings {
    Settings { trades_per_second: 0.01, mark_interval_secs: 60, ..settings(symbols, minutes) }
}

fn simulate(settings: Settings) -> (Vec<Seen>, Truth) {
    let mut seen = Vec::new();
    let truth = Simulation::new(settings)
        .unwrap()
        .run(&mut |frame| {
            let text = std::str::from_utf8(frame.payload).unwrap();
            let json = match frame.direction {
                Direction::Http => text.split_once(' ').unwrap().1,
                _ => text,
            };
            let value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {text}"));
            seen.push(Seen { recv_ns: frame.recv_ns, venue: frame.venue, value });
            Ok(())
        })
        .unwrap();
    (seen, truth)
}

fn log_and_truth(settings: Settings) -> (Vec<u8>, Vec<u8>) {
    let mut log = LogSink::new(Vec::new(), 1).unwrap();
    let truth = Simulation::new(settings).unwrap().run(&mut |frame| log.push(frame)).unwrap();
    let mut lines = Vec::new();
    truth.write(&mut lines).unwrap();
    (log.finish().unwrap(), lines)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

fn decimal(value: &Value, key: &str) -> i128 {
    fixed::parse(text(value, key).as_bytes()).unwrap()
}

fn float(value: &Value, key: &str) -> f64 {
    text(value, key).parse().unwrap()
}

/// Binance's payloads of one event type.
fn binance<'a>(seen: &'a [Seen], event: &'static str) -> impl Iterator<Item = &'a Value> {
    seen.iter().map(|s| &s.value["data"]).filter(move |d| d["e"] == event)
}

/// Bybit's items under a topic's beginning, with the symbol.
fn bybit<'a>(seen: &'a [Seen], topic: &'static str) -> impl Iterator<Item = &'a Value> {
    seen.iter().map(|s| &s.value).filter(move |v| v["topic"].as_str().is_some_and(|t| t.starts_with(topic)))
}

#[test]
fn equal_settings_give_equal_bytes_and_another_seed_others() {
    let hash = |seed| {
        let (log, truth) = log_and_truth(Settings { seed, ..settings(2, 60) });
        (Sha256::digest(log), Sha256::digest(truth))
    };
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5).0, hash(6).0);
    assert_ne!(hash(5).1, hash(6).1);
}

#[test]
fn a_further_symbol_leaves_the_others_as_they_were() {
    let frames = |symbols| {
        let mut frames = Vec::new();
        let sink = &mut |frame: Frame<'_>| {
            let payload = String::from_utf8(frame.payload.to_vec()).unwrap();
            if payload.contains("BTCUSDT") || payload.contains("ETHUSDT") {
                frames.push((frame.recv_ns, payload));
            }
            Ok(())
        };
        Simulation::new(settings(symbols, 30)).unwrap().run(sink).unwrap();
        frames.sort();
        frames
    };
    assert!(frames(2) == frames(5));
}

#[test]
fn a_log_is_lines_of_five_fields_and_batches_hold_the_same_frames() {
    let (log, _) = log_and_truth(settings(1, 20));
    let lines = String::from_utf8(zstd::decode_all(log.as_slice()).unwrap()).unwrap();
    let batches: Vec<FrameBatch> = Batches::new(settings(1, 20), 500).unwrap().map(Result::unwrap).collect();
    assert!(batches.len() > 3);
    let frames: Vec<_> = batches.iter().flat_map(|b| b.frames.iter().map(move |f| (f, b.payload(f)))).collect();
    assert_eq!(lines.lines().count(), frames.len());
    for (number, (line, (frame, payload))) in lines.lines().zip(frames).enumerate() {
        let fields: Vec<&str> = line.splitn(5, '\t').collect();
        assert_eq!(fields[0], frame.recv_ns.to_string());
        assert_eq!(Venue::from_name(fields[1].as_bytes()), Some(frame.venue));
        assert_eq!(fields[3], if frame.direction == Direction::Http { "http" } else { "in" });
        assert_eq!(fields[4].as_bytes(), payload);
        assert_eq!(frame.line, number as u64 + 1);
    }
}

#[test]
fn frames_arrive_in_order_and_soon() {
    let (seen, _) = simulate(settings(2, 60));
    assert!(seen.windows(2).all(|w| w[0].recv_ns <= w[1].recv_ns));
    let mut newest = 0;
    let mut inversions = 0;
    for frame in &seen {
        let Some(sent) = frame.value["data"]["E"].as_i64().or(frame.value["ts"].as_i64()) else { continue };
        let late = frame.recv_ns - sent * 1_000_000;
        assert!((5_000_000..=81_000_000).contains(&late), "{late} ns late: {}", frame.value);
        inversions += usize::from(sent < newest);
        newest = newest.max(sent);
    }
    assert!(inversions > 100, "{inversions} inversions across streams");
}

#[test]
fn ids_are_dense_and_times_ascend() {
    let (seen, _) = simulate(settings(2, 60));
    let mut last: BTreeMap<&str, (u64, u64, i64)> = BTreeMap::new();
    let mut several = 0;
    for trade in binance(&seen, "aggTrade") {
        let [own, first, end] = ["a", "f", "l"].map(|k| trade[k].as_u64().unwrap());
        let ts = trade["T"].as_i64().unwrap();
        if let Some(&(before, fill, then)) = last.get(text(trade, "s")) {
            assert_eq!((own, first), (before + 1, fill + 1));
            assert!(ts >= then && end >= first);
        }
        several += usize::from(end > first);
        assert!(decimal(trade, "q") > 0 && decimal(trade, "p") > 0);
        last.insert(text(trade, "s"), (own, end, ts));
    }
    assert_eq!(last.len(), 2);
    assert!(several > 100);
    let ids: Vec<&str> =
        bybit(&seen, "publicTrade").flat_map(|m| m["data"].as_array().unwrap()).map(|item| text(item, "i")).collect();
    assert!(ids.len() > 1_000);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

/// open, high, low, close, volume, notional (24 decimals), taker volume, fills
type Bar = ([i128; 4], i128, i128, i128, u64);

fn add(bars: &mut BTreeMap<(Venue, String, i64), Bar>, key: (Venue, String, i64), price: i128, qty: i128, buy: bool, fills: u64) {
    let bar = bars.entry(key).or_insert(([price; 4], 0, 0, 0, 0));
    bar.0 = [bar.0[0], bar.0[1].max(price), bar.0[2].min(price), price];
    bar.1 += qty;
    bar.2 += price * qty;
    bar.3 += if buy { qty } else { 0 };
    bar.4 += fills;
}

#[test]
fn klines_equal_the_sums_of_their_trades_exactly() {
    let (seen, _) = simulate(settings(3, 90));
    let mut bars = BTreeMap::new();
    let minute = |ts: &Value| ts.as_i64().unwrap() / 60_000 * 60_000;
    for trade in binance(&seen, "aggTrade") {
        let key = (Venue::BinanceUsdm, text(trade, "s").to_owned(), minute(&trade["T"]));
        let fills = trade["l"].as_u64().unwrap() - trade["f"].as_u64().unwrap() + 1;
        add(&mut bars, key, decimal(trade, "p"), decimal(trade, "q"), trade["m"] == false, fills);
    }
    for item in bybit(&seen, "publicTrade").flat_map(|m| m["data"].as_array().unwrap()) {
        let key = (Venue::BybitLinear, text(item, "s").to_owned(), minute(&item["T"]));
        add(&mut bars, key, decimal(item, "p"), decimal(item, "v"), item["S"] == "Buy", 1);
    }
    let exact = |value: &Value, key: &str| {
        // Both factors had at most 12 decimals, the product at most 24: compare at 24 by padding the text.
        let (whole, part) = text(value, key).split_once('.').unwrap_or((text(value, key), ""));
        format!("{whole}{part:0<24}").parse::<i128>().unwrap()
    };
    for kline in binance(&seen, "kline").map(|k| &k["k"]) {
        assert!(kline["x"] == true);
        let key = (Venue::BinanceUsdm, text(kline, "s").to_owned(), kline["t"].as_i64().unwrap());
        let bar = bars.remove(&key).unwrap_or_else(|| panic!("no trades behind {kline}"));
        let ohlc = ["o", "h", "l", "c"].map(|k| decimal(kline, k));
        assert_eq!(
            (ohlc, decimal(kline, "v"), exact(kline, "q"), decimal(kline, "V"), kline["n"].as_u64().unwrap()),
            bar,
            "{kline}"
        );
    }
    let mut flat = 0;
    for message in bybit(&seen, "kline") {
        let kline = &message["data"][0];
        let symbol = text(message, "topic").rsplit('.').next().unwrap().to_owned();
        let ohlc = ["open", "high", "low", "close"].map(|k| decimal(kline, k));
        let sums = (decimal(kline, "volume"), exact(kline, "turnover"));
        match bars.remove(&(Venue::BybitLinear, symbol, kline["start"].as_i64().unwrap())) {
            Some(bar) => assert_eq!((ohlc, sums), (bar.0, (bar.1, bar.2)), "{kline}"),
            None => {
                flat += 1;
                assert_eq!((ohlc, sums), ([ohlc[3]; 4], (0, 0)), "{kline}");
            }
        }
    }
    assert!(bars.is_empty(), "{} minutes without a kline", bars.len());
    assert!(flat < 20);
}

#[test]
fn force_orders_are_sampled_and_bybit_shows_all() {
    let (seen, truth) = simulate(sparse(3, 12 * 60));
    let mut seconds = BTreeSet::new();
    for order in binance(&seen, "forceOrder").map(|f| &f["o"]) {
        let second = order["T"].as_i64().unwrap() / 1_000;
        assert!(seconds.insert((text(order, "s"), second)), "two in one second: {order}");
        // The limit lies beyond the fill: below for the sale that closes a long.
        assert!(if order["S"] == "SELL" {
            float(order, "p") <= float(order, "ap")
        } else {
            float(order, "p") >= float(order, "ap")
        });
    }
    let shown = |venue: Venue| {
        let at = truth.bursts.iter().flat_map(|b| &b.venues).filter(|at| at.venue == venue);
        at.fold((0.0, 0.0), |sum, at| (sum.0 + at.realised_notional_usd, sum.1 + at.liquidated_notional_usd))
    };
    let (binance_shown, binance_all) = shown(Venue::BinanceUsdm);
    let (bybit_shown, bybit_all) = shown(Venue::BybitLinear);
    assert!(binance_shown < 0.9 * binance_all, "{binance_shown} of {binance_all} shown");
    assert!((bybit_shown / bybit_all - 1.0).abs() < 0.1, "{bybit_shown} of {bybit_all} shown");
}

/// Trailing 300 s sums of what the wire shows, per event second with a liquidation.
fn windows(seen: &[Seen], venue: Venue, symbol: &str) -> BTreeMap<i64, f64> {
    let mut seconds: BTreeMap<i64, f64> = BTreeMap::new();
    match venue {
        Venue::BinanceUsdm => {
            for o in binance(seen, "forceOrder").map(|f| &f["o"]).filter(|o| o["s"] == symbol) {
                *seconds.entry(o["T"].as_i64().unwrap() / 1_000).or_default() += float(o, "z") * float(o, "ap");
            }
        }
        _ => {
            let items = bybit(seen, "allLiquidation").flat_map(|m| m["data"].as_array().unwrap());
            for o in items.filter(|o| o["s"] == symbol) {
                *seconds.entry(o["T"].as_i64().unwrap() / 1_000).or_default() += float(o, "v") * float(o, "p");
            }
        }
    }
    seconds.keys().map(|&now| (now, seconds.range(now - 299..=now).map(|(_, usd)| usd).sum())).collect()
}

#[test]
fn the_truth_about_cascades_is_what_the_wire_shows() {
    let (seen, truth) = simulate(sparse(3, 12 * 60));
    let mut findable = 0;
    for venue in [Venue::BinanceUsdm, Venue::BybitLinear] {
        for symbol in ["BTC", "ETH", "SOL"] {
            let windows = windows(&seen, venue, &format!("{symbol}USDT"));
            let bursts: Vec<&Burst> = truth.bursts.iter().filter(|b| b.symbol == format!("{symbol}-USDT-PERP")).collect();
            assert!(bursts.len() >= 3);
            let mut explained = BTreeSet::new();
            for burst in bursts {
                let at = burst.venues.iter().find(|at| at.venue == venue).unwrap();
                let until = at.last_event_ts.unwrap_or(burst.end_ts) / 1_000 + 300;
                let inside = windows.range(burst.onset_ts / 1_000..=until);
                let peak = inside.clone().map(|(_, usd)| *usd).fold(0.0, f64::max);
                assert!((peak - at.peak_5m_notional_usd).abs() < 1.0, "{peak} against {at:?}");
                let crossed = inside.clone().find(|(_, usd)| **usd > 250_000.0).map(|(now, _)| now * 1_000);
                assert_eq!(crossed, at.crossed_5m_ts);
                assert!(!burst.decoy || crossed.is_none(), "a decoy crossed: {burst:?}");
                explained.extend(inside.map(|(now, _)| *now));
                findable += usize::from(crossed.is_some());
            }
            // Outside cascades nothing comes near the threshold.
            let quiet = windows.iter().filter(|(now, _)| !explained.contains(now)).map(|(_, usd)| *usd).fold(0.0, f64::max);
            assert!(quiet < 125_000.0, "{quiet} USD in 5 minutes of {symbol} on {venue} without a cascade");
        }
    }
    assert_eq!(findable, truth.findable(Venue::BinanceUsdm).count() + truth.findable(Venue::BybitLinear).count());
    assert!(findable > 10);
}

#[test]
fn cascades_realise_what_is_expected_of_them() {
    let truth = Simulation::new(sparse(12, 24 * 60)).unwrap().run(&mut |_| Ok(())).unwrap();
    let pairs = truth.bursts.iter().flat_map(|b| b.venues.iter().map(|at| (b.expected_notional_usd, at.liquidated_notional_usd)));
    let (count, ratios) = pairs.fold((0.0, 0.0), |sum, (expected, real)| (sum.0 + 1.0, sum.1 + real / expected));
    assert!(count > 200.0, "{count} cascades");
    assert!((ratios / count - 1.0).abs() < 0.1, "mean ratio {}", ratios / count);
    let big = truth.bursts.iter().filter(|b| !b.decoy).count();
    for venue in [Venue::BinanceUsdm, Venue::BybitLinear] {
        let found = truth.findable(venue).count();
        assert!(found as f64 > 0.85 * big as f64, "{found} of {big} can be found on {venue}");
    }
}

/// Log returns of each `every`-th mark price.
fn returns(seen: &[Seen], symbol: &str, every: usize) -> Vec<f64> {
    let marks: Vec<f64> = binance(seen, "markPriceUpdate").filter(|m| m["s"] == symbol).map(|m| float(m, "p").ln()).collect();
    marks.iter().step_by(every).zip(marks.iter().step_by(every).skip(1)).map(|(a, b)| b - a).collect()
}

#[test]
fn returns_have_heavy_tails_and_symbols_move_together() {
    let (seen, _) =
        simulate(Settings { bursts_per_day: 0.0, mark_interval_secs: 3, venues: vec![Venue::BinanceUsdm], ..sparse(3, 24 * 60) });
    let minutes = ["BTCUSDT", "ETHUSDT", "SOLUSDT"].map(|symbol| returns(&seen, symbol, 20));
    for symbol in &minutes {
        let moment = |n| symbol.iter().map(|r| r.powi(n)).sum::<f64>() / symbol.len() as f64;
        let kurtosis = moment(4) / moment(2).powi(2);
        assert!(symbol.len() > 1_400 && kurtosis > 3.2, "kurtosis {kurtosis} of {} returns", symbol.len());
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let (x, y) = (&minutes[a], &minutes[b]);
        let r = dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
        assert!((0.5..0.98).contains(&r), "correlation {r} of {a} and {b}");
    }
}

#[test]
fn regime_runs_are_whole_minutes_without_gaps_and_say_the_volatility() {
    let settings = Settings { bursts_per_day: 0.0, venues: vec![Venue::BinanceUsdm], ..sparse(1, 4 * 1_440) };
    let (seen, truth) = simulate(settings.clone());
    let end = settings.start_ms + settings.minutes * 60_000;
    assert_eq!((truth.regimes[0].from_ts, truth.regimes[truth.regimes.len() - 1].to_ts), (settings.start_ms, end));
    assert!(truth.regimes.windows(2).all(|w| w[0].to_ts == w[1].from_ts && w[0].state != w[1].state));
    let returns = returns(&seen, "BTCUSDT", 1);
    let mut checked = 0;
    for run in truth.regimes.iter().filter(|run| run.to_ts - run.from_ts > 120 * 60_000) {
        let minute = |ts: i64| ((ts - settings.start_ms) / 60_000) as usize;
        let inside = &returns[minute(run.from_ts)..minute(run.to_ts).min(returns.len())];
        let sigma = (inside.iter().map(|r| r * r).sum::<f64>() / inside.len() as f64 * 1_440.0).sqrt();
        assert!((0.75..1.4).contains(&(sigma / run.sigma_per_day)), "{sigma} in {run:?}");
        checked += 1;
    }
    assert!(checked >= 3);
}

#[test]
fn open_interest_falls_in_cascades_and_bybit_counts_both_sides() {
    let (seen, truth) = simulate(settings(1, 6 * 60));
    let ticks = bybit(&seen, "tickers").filter(|m| m["data"]["openInterest"].is_string());
    let both: Vec<(i64, f64)> = ticks.map(|m| (m["ts"].as_i64().unwrap(), float(&m["data"], "openInterest"))).collect();
    let polls: Vec<(i64, f64)> = seen
        .iter()
        .filter(|s| s.venue == Venue::BinanceUsdm && s.value["openInterest"].is_string())
        .map(|s| (s.value["time"].as_i64().unwrap(), float(&s.value, "openInterest")))
        .collect();
    assert!((719..=721).contains(&polls.len()));
    let at = |series: &[(i64, f64)], ts: i64| series.iter().rfind(|(when, _)| *when <= ts).unwrap().1;
    // Bybit holds 0.6 of Binance's positions, and its field counts each twice.
    let ratio = at(&both, polls[300].0) / polls[300].1;
    assert!((ratio / 1.2 - 1.0).abs() < 0.01, "ratio {ratio}");
    for burst in &truth.bursts {
        let drop = 1.0 - at(&both, burst.end_ts + 3_200) / at(&both, burst.onset_ts);
        assert!((drop - burst.open_interest_drop).abs() < 0.005, "{drop} in {burst:?}");
    }
}

#[test]
fn funding_settles_by_the_rule_and_episodes_are_extreme() {
    let settings = Settings { seed: 2, episodes_per_day: 4.0, ..sparse(1, 3 * 1_440) };
    let (seen, truth) = simulate(settings);
    let settled = seen.iter().filter_map(|s| s.value.as_array()).map(|list| float(&list[0], "fundingRate")).collect::<Vec<_>>();
    let bybit_settled = seen.iter().filter(|s| s.value["retCode"] == 0).count();
    assert_eq!((settled.len(), bybit_settled), (8, 8));
    assert!(truth.funding_episodes.len() >= 2);
    for episode in &truth.funding_episodes {
        let during =
            binance(&seen, "markPriceUpdate").filter(|m| (episode.from_ts..episode.to_ts).contains(&m["E"].as_i64().unwrap()));
        let extreme = during.map(|m| float(m, "r").abs()).fold(0.0, f64::max);
        assert!(episode.rate_8h.abs() >= 0.001 && extreme > 0.0003, "{extreme} in {episode:?}");
    }
}

#[test]
fn a_truth_file_is_read_back_and_a_torn_one_is_refused() {
    let truth = Simulation::new(settings(2, 180)).unwrap().run(&mut |_| Ok(())).unwrap();
    let mut file = Vec::new();
    truth.write(&mut file).unwrap();
    assert_eq!(Truth::read(file.as_slice()).unwrap(), truth);
    let torn = Truth::read(&file[..file.len() - 9]).unwrap_err();
    assert!(matches!(torn, TruthError::Line { line, .. } if line == file.iter().filter(|b| **b == b'\n').count()));
    assert!(matches!(Truth::read(&b""[..]), Err(TruthError::NoHeader)));
}

#[test]
fn the_dense_corpus_has_its_mix() {
    let batches = dense_corpus(20_000, 3, 1, &[Venue::BinanceUsdm, Venue::BybitLinear]).unwrap();
    let payloads: Vec<&[u8]> = batches.iter().flat_map(|b| b.frames.iter().map(|f| b.payload(f))).collect();
    assert_eq!(payloads.len(), 20_000);
    let share = |names: [&str; 2]| {
        let has = |p: &&&[u8]| names.iter().any(|n| std::str::from_utf8(p).unwrap().contains(n));
        payloads.iter().filter(has).count() as f64 / 20_000.0
    };
    assert!((share(["@aggTrade", "\"publicTrade."]) - 0.85).abs() < 0.01);
    assert!((share(["@markPrice", "\"tickers."]) - 0.13).abs() < 0.01);
    assert!((share(["@forceOrder", "\"allLiquidation."]) - 0.02).abs() < 0.005);
    let mean = payloads.iter().map(|p| p.len()).sum::<usize>() / payloads.len();
    assert!((180..=260).contains(&mean), "{mean} bytes");
    assert!(payloads.iter().all(|p| serde_json::from_slice::<Value>(p).is_ok()));
    let times: Vec<i64> = batches.iter().flat_map(|b| b.frames.iter().map(|f| f.recv_ns)).collect();
    assert_eq!(times[19_999] - times[0], 19_999 * 50_000);
}
