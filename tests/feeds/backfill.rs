//! Gaps are filled over REST: a market of some minutes is played fast, the connection is lost while it goes on.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use dataflows::model::Venue;
use regimeflow::feeds::live::{Earlier, FeedOutput, State, Tempo, run_feed_at};
use regimeflow::mock_venue::{MockConfig, Speed, start};
use regimeflow::store::edge::{FeedGap, Recovered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::case::{Case, Heard, T0_NS, line};

/// When markets open, ms after the recordings' beginning: at 00:05:00 UTC, so that no hour ends in them.
const OPEN: i64 = 645_000;
/// Three minutes before midnight, when funding is settled.
const BEFORE_MIDNIGHT: i64 = 165_000;
/// Market seconds in a second.
const FAST: f64 = 240.0;

/// Binance, two symbols, so many minutes: a trade a second (ids count seconds), each minute's bar, marks, liquidations.
fn binance(minutes: i64) -> String {
    binance_from(OPEN, minutes)
}

fn binance_from(open: i64, minutes: i64) -> String {
    let mut log = String::new();
    for second in 0..minutes * 60 + 30 {
        let at = open + second * 1_000;
        let t = T0_NS / 1_000_000 + at;
        let mut push = |key: &str, data: String| {
            log += &line(at + 5, Venue::BinanceUsdm, "in", &format!(r#"{{"stream":"{key}","data":{{{data}}}}}"#));
        };
        for (symbol, lower) in [("BTCUSDT", "btcusdt"), ("ETHUSDT", "ethusdt")] {
            push(
                &format!("{lower}@aggTrade"),
                format!(
                    r#""e":"aggTrade","E":{t},"s":"{symbol}","a":{second},"p":"61800.30","q":"0.006","nq":"0.006","f":{second},"l":{second},"T":{t},"m":false"#
                ),
            );
            if second % 3 == 0 {
                push(
                    &format!("{lower}@markPrice@1s"),
                    format!(
                        r#""e":"markPriceUpdate","E":{t},"s":"{symbol}","p":"61800.1","ap":"61800.1","i":"61810.5","P":"61790.0","r":"0.0001","T":1723190400000"#
                    ),
                );
            }
            if second % 60 == 0 && second > 0 {
                let (open_ms, end_ms) = (t - 60_000, t - 1);
                push(
                    &format!("{lower}@kline_1m"),
                    format!(
                        r#""e":"kline","E":{t},"s":"{symbol}","k":{{"t":{open_ms},"T":{end_ms},"s":"{symbol}","i":"1m","f":1,"L":2,"o":"61800.30","c":"61800.30","h":"61800.30","l":"61800.30","v":"0.36","n":60,"x":true,"q":"22248.1","V":"0.36","Q":"22248.1","B":"0"}}"#
                    ),
                );
            }
            if second % 40 == 0 {
                push(
                    &format!("{lower}@forceOrder"),
                    format!(
                        r#""e":"forceOrder","E":{t},"o":{{"s":"{symbol}","S":"SELL","o":"LIMIT","f":"IOC","q":"1","p":"1","ap":"1","X":"FILLED","l":"1","z":"1","T":{t}}}"#
                    ),
                );
            }
        }
    }
    log
}

/// Bybit, one symbol: trades, tickers, each minute's bar.
fn bybit(minutes: i64) -> String {
    let mut log = String::new();
    for second in 0..minutes * 60 + 30 {
        let at = OPEN + second * 1_000;
        let t = T0_NS / 1_000_000 + at;
        let mut push = |text: String| log += &line(at + 5, Venue::BybitLinear, "in", &text);
        push(format!(
            r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{t},"data":[{{"T":{t},"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"{second}","BT":false,"seq":{second}}}]}}"#
        ));
        push(format!(
            r#"{{"topic":"tickers.BTCUSDT","type":"delta","data":{{"symbol":"BTCUSDT","markPrice":"66660.10","openInterest":"{second}"}},"cs":{second},"ts":{t}}}"#
        ));
        if second % 60 == 0 && second > 0 {
            push(format!(
                r#"{{"topic":"kline.1.BTCUSDT","data":[{{"start":{},"end":{},"interval":"1","open":"1","close":"1","high":"1","low":"1","volume":"1","turnover":"1","confirm":true,"timestamp":{t}}}],"ts":{t},"type":"snapshot"}}"#,
                t - 60_000,
                t - 1
            ));
        }
    }
    log
}

fn case(venue: Venue, log: String) -> Case {
    Case::new(venue, log)
        .feed(|feed| {
            feed.streams = if venue == Venue::BinanceUsdm {
                feed.symbols.push("ETHUSDT".into());
                ["aggTrades", "klines", "mark", "liquidations"].map(str::to_owned).to_vec()
            } else {
                ["trades", "klines", "tickers"].map(str::to_owned).to_vec()
            };
            (feed.backoff_ms_min, feed.backoff_ms_max) = (400, 400);
        })
        .mock(|mock| mock.speed = Speed::Times(FAST))
}

/// The ids of all trades that were heard of one symbol, live or asked for.
fn ids(heard: &Heard, symbol: &str) -> BTreeSet<i64> {
    let id = |text: &str| text.split(r#""a":"#).nth(1)?.split(',').next()?.parse().ok();
    let live = heard.frames.iter().filter(|(_, text)| text.contains("@aggTrade") && text.contains(symbol));
    let asked = heard.http.iter().filter(|text| text.contains("aggTrades?") && text.contains(symbol));
    let rows = asked.flat_map(|text| text.split('}')).filter_map(id);
    live.filter_map(|(_, text)| id(text)).chain(rows).collect()
}

fn is_told_thrice(heard: &Heard, streams: &[&str]) -> bool {
    let done = heard.recovered();
    streams.iter().all(|stream| done.iter().any(|gap| gap.starts_with(stream) && gap.ends_with(" 3")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_filled_print_by_print() {
    let heard = case(Venue::BinanceUsdm, binance(8))
        .fault("drop:after=200,lose=true")
        .until(|heard| is_told_thrice(heard, &["aggTrades", "klines"]) && ids(heard, "ETHUSDT").len() == 8 * 60 + 30)
        .play()
        .await;
    assert!(heard.report.lost > 50, "{:?}", heard.report);
    assert_eq!(
        heard.recovered(),
        ["aggTrades disconnect full 3", "klines disconnect full 3", "liquidations disconnect none 2", "mark disconnect none 2"]
    );
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        assert_eq!(ids(&heard, symbol), (0..8 * 60 + 30).collect(), "{symbol}: every trade was heard");
        let minutes = heard.http.iter().filter(|text| text.contains("/fapi/v1/klines?") && text.contains(symbol)).count();
        assert_eq!(minutes, 1, "{symbol}: the minutes of the bars that were missed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bybits_gaps_are_filled_minute_by_minute() {
    let heard = case(Venue::BybitLinear, bybit(10))
        .fault("drop:after=350,how=rst,lose=true")
        .feed(|feed| (feed.backoff_ms_min, feed.backoff_ms_max) = (1_000, 1_000))
        .until(|heard| is_told_thrice(heard, &["trades", "klines", "tickers"]))
        .play()
        .await;
    // From 00:07:55 on for a second, four minutes of market: a fifth minute is among them, a settlement is not.
    let want = ["klines disconnect full 3", "tickers disconnect partial 3", "trades disconnect partial 3"];
    assert_eq!(heard.recovered(), want, "{:#?}", heard.http);
    let asked = |path: &str| heard.http.iter().filter(|text| text.contains(path)).count();
    assert_eq!((asked("/v5/market/open-interest?"), asked("funding")), (1, 0));
    // The bars' gap ends later than the trades', with the next bar: no minute is asked for twice.
    let number = |text: &str, name: &str| text.split(name).nth(1).unwrap().split('&').next().unwrap().parse::<i64>().unwrap();
    let spans: Vec<_> = heard
        .http
        .iter()
        .filter(|text| text.contains("kline?"))
        .map(|text| (number(text, "&start="), number(text, "&end=")))
        .collect();
    assert!(spans.len() <= 2 && spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_gap_comes_as_minutes_and_no_further_back_than_asked_for() {
    for (minutes_max, want) in [(120, "full"), (15, "partial")] {
        let heard = case(Venue::BinanceUsdm, binance(60))
            .fault("drop:after=200,lose=true")
            .feed(|feed| {
                feed.streams = vec!["aggTrades".into()];
                feed.backfill_minutes_max = minutes_max;
            })
            // 400 ms are 24 minutes at least.
            .mock(|mock| mock.speed = Speed::Times(4_500.0))
            .until(|heard| is_told_thrice(heard, &["aggTrades"]))
            .play()
            .await;
        assert_eq!(heard.recovered(), [format!("aggTrades disconnect {want} 3")], "{:?}", heard.report);
        assert!(heard.http.iter().all(|text| text.contains("/fapi/v1/klines?")), "{} answers", heard.http.len());
        assert_eq!(heard.http.len(), 2, "one question a symbol");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_was_missed_is_asked_for() {
    // From 23:58:52 on for 400 ms, a minute and a half of market. Only one of the two symbols was settled.
    let midnight = T0_NS / 1_000_000 + 345_000;
    let settled = format!(
        r#"https://fapi.binance.com/fapi/v1/fundingRate?symbol=BTCUSDT&limit=1 [{{"symbol":"BTCUSDT","fundingRate":"0.0001","fundingTime":{},"markPrice":"1"}}]"#,
        midnight + 3
    );
    let heard = case(Venue::BinanceUsdm, line(0, Venue::BinanceUsdm, "http", &settled) + &binance_from(BEFORE_MIDNIGHT, 8))
        .fault("drop:after=300,lose=true")
        .until(|heard| is_told_thrice(heard, &["mark"]))
        .play()
        .await;
    assert_eq!(heard.recovered().last().unwrap(), "mark disconnect partial 3");
    let asked: Vec<_> = heard.http.iter().filter(|text| text.contains("fundingRate?")).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].contains(&format!("startTime={midnight}&")) && asked[0].contains(&(midnight + 3).to_string()), "{asked:?}");
}

/// How long nothing came at worst.
fn check_undelayed(heard: &Heard) {
    let recv: Vec<_> = heard.frames.iter().filter(|(_, text)| text.contains("@aggTrade")).map(|(at, _)| *at).collect();
    let longest = recv.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    assert!(longest < 1_500, "{longest} ms between two frames; the gap itself takes half a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_that_fails_is_asked_ten_times_and_delays_no_frame() {
    let heard = case(Venue::BinanceUsdm, binance(8))
        .fault("drop:after=200,lose=true")
        .fault("refuse:status=500,rest=true,times=1000")
        .feed(|feed| (feed.backoff_ms_min, feed.backoff_ms_max) = (60, 60))
        .until(|heard| is_told_thrice(heard, &["aggTrades", "klines"]) && heard.frames.len() > 1_000)
        .play()
        .await;
    let want =
        ["aggTrades disconnect none 3", "klines disconnect none 3", "liquidations disconnect none 2", "mark disconnect none 2"];
    assert_eq!(heard.recovered(), want);
    assert_eq!((heard.report.faults[1], heard.http.len()), (20, 0), "ten tries of each gap's first question");
    check_undelayed(&heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_is_waited_for_and_then_the_gap_is_filled() {
    for status in ["429", "418"] {
        let refusal: &'static str = format!("refuse:status={status},retry-after=1,rest=true").leak();
        let heard = case(Venue::BinanceUsdm, binance(8))
            .fault("drop:after=200,lose=true")
            .fault(refusal)
            .until(|heard| is_told_thrice(heard, &["aggTrades"]) && heard.frames.len() > 1_000)
            .play()
            .await;
        assert_eq!(heard.recovered()[0], "aggTrades disconnect full 3", "{status}");
        let filled = heard.gaps.iter().find(|gap| gap.recovered == regimeflow::store::edge::Recovered::Full).unwrap();
        let waited_ms = filled.known_at as i64 - filled.to_ts.unwrap();
        assert!(waited_ms >= 1_000, "{waited_ms} ms: the venue wanted a second");
        check_undelayed(&heard);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_venue_calls_our_mistake_is_asked_once() {
    // Nothing was ever played of SOLUSDT: the venue doesn't know it.
    let heard = case(Venue::BinanceUsdm, binance(8))
        .fault("drop:after=100,lose=true")
        .feed(|feed| {
            feed.symbols.push("SOLUSDT".into());
            feed.streams = vec!["klines".into(), "mark".into()];
        })
        .until(|heard| is_told_thrice(heard, &["klines"]))
        .play()
        .await;
    assert_eq!(heard.recovered(), ["klines disconnect partial 3", "mark disconnect none 2"]);
    assert_eq!(heard.http.len(), 2, "{:?}", heard.http);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_for_if_nobody_wants_it() {
    let heard = case(Venue::BinanceUsdm, binance(6))
        .fault("drop:after=200,lose=true")
        .feed(|feed| feed.backfill = false)
        .until(|heard| heard.data().last().is_some_and(|text| text.contains(r#""a":389"#)))
        .play()
        .await;
    assert!(heard.recovered().iter().all(|gap| gap.ends_with(" none 2")), "{:?}", heard.recovered());
    assert_eq!((heard.http.len(), heard.report.about_the_past), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_between_two_runs_is_a_gap_too() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(binance(12).as_bytes()).unwrap();
    let mut config = MockConfig::new(file.path().to_owned());
    let speed = 120;
    (config.speed, config.once, config.settle) = (Speed::Times(f64::from(speed)), false, Duration::from_millis(100));
    config.faults = vec!["drop:after=800,lose=true".parse().unwrap()];
    let mock = start(config).await.unwrap();
    let mut feed = case(Venue::BinanceUsdm, String::new()).feed;
    feed.streams.push("open_interest".into());
    (feed.ws_url, feed.rest_url) = (Some(format!("ws://{}", mock.addr)), Some(format!("http://{}", mock.addr)));

    // The first run hears the market's beginning, then it is killed.
    let mut heard = Heard::default();
    let run = |since_ms| {
        let (out, said) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let running = run_feed_at(Tempo::default(), Venue::BinanceUsdm, feed.clone(), since_ms, out, shutdown.clone());
        (tokio::spawn(running), said, shutdown)
    };
    let (first, mut said, shutdown) = run(None);
    while let Some(output) = said.recv().await {
        if matches!(&output, FeedOutput::Status(status) if matches!(status.state, State::Lost { .. })) {
            shutdown.cancel();
        }
        heard.add(output);
    }
    first.await.unwrap().unwrap();
    assert!(heard.recovered().is_empty() && ids(&heard, "BTCUSDT").len() < 400, "{:?}", heard.recovered());
    heard.gaps.clear();
    tokio::time::sleep(Duration::from_millis(500)).await;

    // The market goes faster than our clock, which says how long we were away. Two minutes more than were missed do no harm.
    let (now_ms, last_ms) = (regimeflow::clock::now_ms(), heard.frames.last().unwrap().0);
    let since_ms = now_ms - (now_ms - last_ms) * i64::from(speed) - 150_000;
    let (second, mut said, shutdown) = run(Some(since_ms));
    let is_whole = |heard: &Heard| ["BTCUSDT", "ETHUSDT"].iter().all(|symbol| ids(heard, symbol).len() == 12 * 60 + 30);
    while let Ok(Some(output)) = tokio::time::timeout(Duration::from_secs(20), said.recv()).await {
        heard.add(output);
        if is_told_thrice(&heard, &["aggTrades", "klines"]) && is_whole(&heard) {
            shutdown.cancel();
        }
    }
    second.await.unwrap().unwrap();
    mock.stop().await;
    assert!(is_whole(&heard), "{} and {}", ids(&heard, "BTCUSDT").len(), ids(&heard, "ETHUSDT").len());
    assert!(heard.gaps.iter().all(|gap| gap.from_ts == since_ms && gap.cause == "restart"), "{:?}", heard.gaps);
    let want = ["aggTrades restart full 3", "klines restart full 3", "liquidations restart none 2", "mark restart none 2"];
    assert_eq!(heard.recovered(), want);
    let open: Vec<_> =
        heard.gaps.iter().filter(|gap| gap.stream == "open_interest").map(|gap| (&*gap.symbol, gap.to_ts)).collect();
    assert_eq!(open, [("BTCUSDT", None), ("ETHUSDT", None)], "no poll was answered yet, and both say so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_run_left_is_filled_under_its_own_key() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(binance(12).as_bytes()).unwrap();
    let mut config = MockConfig::new(file.path().to_owned());
    (config.speed, config.once, config.settle) = (Speed::Times(120.0), false, Duration::from_millis(100));
    let mock = start(config).await.unwrap();
    let mut feed = case(Venue::BinanceUsdm, String::new()).feed;
    (feed.ws_url, feed.rest_url) = (Some(format!("ws://{}", mock.addr)), Some(format!("http://{}", mock.addr)));
    let run = |earlier: Earlier| {
        let (out, said) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let running = run_feed_at(Tempo::default(), Venue::BinanceUsdm, feed.clone(), earlier, out, shutdown.clone());
        (tokio::spawn(running), said, shutdown)
    };
    // Five minutes of market; then playback waits for who comes back.
    let (first, mut said, shutdown) = run(Earlier::default());
    let mut heard = Heard::default();
    while let Some(output) = said.recv().await {
        heard.add(output);
        if ids(&heard, "BTCUSDT").len() > 300 {
            shutdown.cancel();
        }
    }
    first.await.unwrap().unwrap();
    let now_ms = regimeflow::clock::now_ms();
    let old = |symbol: &str| FeedGap {
        venue: "binance-usdm".into(),
        stream: "aggTrades".into(),
        symbol: symbol.into(),
        from_ts: now_ms - 90_000,
        to_ts: Some(now_ms - 60_000),
        recovered: Recovered::None,
        cause: "disconnect".into(),
        known_at: now_ms as u64,
    };
    let (second, mut said, shutdown) = run(Earlier { since_ms: Some(now_ms), unhealed: vec![old("SOLUSDT"), old("BTCUSDT")] });
    let (mut heard, mut told) = (Heard::default(), Vec::new());
    while let Ok(Some(output)) = tokio::time::timeout(Duration::from_secs(20), said.recv()).await {
        heard.add(output);
        told = heard.gaps.iter().filter(|gap| gap.from_ts == now_ms - 90_000).cloned().collect();
        if !told.is_empty() && is_told_thrice(&heard, &["aggTrades restart"]) {
            shutdown.cancel();
        }
    }
    second.await.unwrap().unwrap();
    mock.stop().await;
    assert_eq!(told.len(), 1, "what isn't listened to isn't asked for: {told:?}");
    assert_eq!(told[0], FeedGap { recovered: Recovered::Full, known_at: told[0].known_at, ..old("BTCUSDT") });
    let prints = heard.http.iter().filter(|text| text.contains("aggTrades?symbol=BTCUSDT"));
    assert!(prints.map(|text| text.matches(r#""a":"#).count()).max() >= Some(30), "{:?}", heard.http);
    assert!(heard.gaps.iter().filter(|gap| gap.cause == "restart").all(|gap| gap.from_ts == now_ms), "heard until then");
}
