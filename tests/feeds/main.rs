//! Live feeds against the mock venue on the loopback: whatever goes wrong, each frame arrives or a row says that it
//! didn't, and the feed comes back by itself. What it then asks for is in [`backfill`].

#![allow(clippy::unwrap_used)]

mod backfill;
mod case;
#[path = "../recordings/mod.rs"]
mod recordings;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use dataflows::model::Venue;
use regimeflow::feeds::live::{End, State, Tempo, run_feed_at};
use regimeflow::mock_venue::{MockConfig, RestMode, Speed, start};
use regimeflow::store::edge::FeedGap;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::case::{Case, Heard, binance, bybit, data, line, recorded};

/// All frames came exactly once and in order.
fn check_complete(heard: &Heard, log: &str) {
    assert_eq!(heard.data().len(), data(log).len(), "ends: {:?}, report: {:?}", heard.ends(), heard.report);
    assert_eq!(heard.data(), data(log));
}

/// After frame number `last` there is a gap of each kind until the next frame, ±1 s, and nothing else is missing.
fn check_gap(heard: &Heard, log: &str, last: usize, cause: &str) {
    check_complete(heard, log);
    let gaps = heard.closed_gaps();
    let kinds: Vec<_> = gaps.iter().map(|gap| (gap.0, gap.2)).collect();
    assert_eq!(kinds, [("aggTrades", cause), ("mark", cause)], "{gaps:?}");
    for (_, symbol, _, from, to) in gaps {
        assert_eq!(symbol, "BTCUSDT");
        assert!((from - heard.at(last)).abs() <= 1_000, "gap from {from}, last frame {}", heard.at(last));
        assert!((to - heard.at(last + 1)).abs() <= 1_000, "gap to {to}, next frame {}", heard.at(last + 1));
        assert!(from <= to && to - from < 5_000, "{from} to {to}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binance_over_two_routes() {
    let mut log = binance(500);
    for n in 0..500 {
        let trade = format!(
            r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{n},"T":{n},"s":"BTCUSDT","t":{n},"p":"61800.30","q":"0.006","X":"MARKET","m":false}}}}"#
        );
        log += &line(5_000 + n, Venue::BinanceUsdm, "in", &trade);
    }
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .feed(|feed| feed.streams.push("trades".into()))
        .mock(|mock| mock.wait_for_subscriptions = Some(3))
        .play()
        .await;
    let of =
        |frames: Vec<String>, public| frames.into_iter().filter(|text| text.contains("@trade\"") == public).collect::<Vec<_>>();
    assert_eq!(of(heard.data(), false), of(data(&log), false));
    assert_eq!(of(heard.data(), true), of(data(&log), true));
    assert_eq!((heard.report.sent, heard.report.connections, heard.silent.len()), (1_500, 2, 0));
    assert_eq!(heard.ends(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bybit_in_batches_of_ten() {
    let symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT", "ADAUSDT"];
    let log = bybit(100, &symbols);
    let heard = Case::new(Venue::BybitLinear, log.clone())
        .feed(|feed| feed.symbols = symbols.map(str::to_owned).to_vec())
        .mock(|mock| mock.wait_for_subscriptions = Some(12))
        .play()
        .await;
    check_complete(&heard, &log);
    assert_eq!((heard.report.sent, heard.report.no_stream, heard.report.out), (1_200, 1, 1));
    assert!(heard.states.contains(&State::Subscribed { streams: 12 }));
    assert_eq!(heard.frames.len() - heard.data().len(), 2, "two requests were acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_close_leaves_a_gap_and_is_healed() {
    let log = binance(20);
    let heard = Case::new(Venue::BinanceUsdm, log.clone()).fault("drop:after=15").play().await;
    check_gap(&heard, &log, 14, "disconnect");
    assert!(matches!(heard.ends()[..], [End::Closed { code: 1001, .. }]), "{:?}", heard.ends());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_reset() {
    let log = binance(20);
    let heard = Case::new(Venue::BinanceUsdm, log.clone()).fault("drop:after=15,how=rst").play().await;
    check_gap(&heard, &log, 14, "disconnect");
    assert!(matches!(heard.ends()[..], [End::Broken(_)]), "{:?}", heard.ends());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_close_in_mid_frame() {
    let log = binance(20);
    let heard = Case::new(Venue::BinanceUsdm, log.clone()).fault("drop:after=15,how=cut").play().await;
    check_gap(&heard, &log, 14, "disconnect");
    assert!(matches!(heard.ends()[..], [End::Broken(_)]), "{:?}", heard.ends());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_socket_is_found_by_a_ping() {
    let log = binance(20);
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .fault("half-open:after=15")
        .tempo(|tempo| (tempo.ping_every, tempo.pong_max) = (Duration::from_millis(200), Duration::from_millis(200)))
        .play()
        .await;
    check_gap(&heard, &log, 14, "no pong");
    assert_eq!(heard.ends(), [End::NoPong]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_disconnects_of_three_kinds_lose_nothing() {
    let log = binance(1_000);
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .fault("drop:after=15,how=cut,times=34")
        .fault("drop:after=15,how=close,times=33")
        .fault("drop:after=15,how=rst,times=33")
        .feed(|feed| (feed.backoff_ms_min, feed.backoff_ms_max) = (5, 5))
        .play()
        .await;
    check_complete(&heard, &log);
    assert_eq!((heard.ends().len(), heard.closed_gaps().len()), (100, 200));
    let longest = heard.closed_gaps().iter().map(|gap| gap.4 - gap.3).max().unwrap();
    assert!(longest < 5_000, "{longest} ms until it was back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_without_answer_is_given_up() {
    let log = binance(20);
    let heard =
        Case::new(Venue::BinanceUsdm, log.clone()).fault("no-ack:times=1").feed(|feed| feed.ack_timeout_ms = 200).play().await;
    check_complete(&heard, &log);
    assert_eq!(heard.ends(), [End::AckTimeout]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_but_silent_is_its_own_alarm() {
    let log = binance(20);
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .fault("ack-only:times=1")
        .feed(|feed| feed.silence_ms = [("mark".to_owned(), 500)].into())
        .play()
        .await;
    check_complete(&heard, &log);
    let [alarm] = &heard.silent[..] else { panic!("{:?}", heard.silent) };
    assert!(alarm.never_heard && alarm.silent_for_ms >= 500);
    assert_eq!((alarm.key.as_str(), alarm.stream.as_str()), ("btcusdt@markPrice@1s", "mark"));
    assert_eq!(heard.ends(), [End::Silent("btcusdt@markPrice@1s".into())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_falls_silent_while_another_flows() {
    let log = binance(150);
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .fault("silent:stream=btcusdt@markPrice@1s,after=10")
        .feed(|feed| feed.silence_ms = [("mark".to_owned(), 400)].into())
        .mock(|mock| mock.speed = Speed::Times(1.0))
        .play()
        .await;
    let [alarm] = &heard.silent[..] else { panic!("{:?}", heard.silent) };
    assert!(!alarm.never_heard && alarm.key == "btcusdt@markPrice@1s", "{alarm:?}");
    let is_trade = |text: &String| text.contains("@aggTrade");
    let trades = |frames: Vec<String>| frames.into_iter().filter(is_trade).collect::<Vec<_>>();
    let distinct = |frames: Vec<String>| trades(frames).into_iter().collect::<BTreeSet<_>>();
    assert!(heard.report.withheld > 20, "{:?}", heard.report);
    assert!(
        distinct(heard.data()).len() + 3 >= distinct(data(&log)).len(),
        "the other stream lost no more than what was on the way"
    );
    let marks = heard.frames.iter().filter(|(_, text)| text.contains("@markPrice")).map(|(at, _)| *at).collect::<Vec<_>>();
    let gap = heard.closed_gaps().into_iter().find(|gap| gap.0 == "mark").unwrap();
    assert_eq!((gap.1, gap.2), ("BTCUSDT", "silence"));
    assert!((gap.3 - marks[9]).abs() <= 1_000 && (gap.4 - marks[10]).abs() <= 1_000, "{gap:?}: {} to {}", marks[9], marks[10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_overlaps_and_leaves_no_gap() {
    let log = binance(150);
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .feed(|feed| (feed.rotate_after_ms, feed.rotate_overlap_ms) = (500, 200))
        .mock(|mock| mock.speed = Speed::Times(1.0))
        .play()
        .await;
    assert!(heard.states.iter().filter(|state| **state == State::Rotated).count() >= 1, "{:?}", heard.states);
    assert_eq!(heard.ends(), []);
    let before_the_end = |gap: &&FeedGap| gap.to_ts.is_some();
    assert_eq!(heard.gaps.iter().filter(before_the_end).count(), 0, "{:?}", heard.gaps);
    let (got, want): (BTreeSet<_>, BTreeSet<_>) = (heard.data().into_iter().collect(), data(&log).into_iter().collect());
    assert_eq!(got, want);
    assert!(heard.data().len() > want.len(), "while both run, both deliver");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bybit_must_answer_pings() {
    let log = bybit(100, &["BTCUSDT"]);
    let heard = Case::new(Venue::BybitLinear, log.clone())
        .fault("no-pong:times=1")
        .tempo(|tempo| (tempo.ping_every, tempo.pong_max) = (Duration::from_millis(300), Duration::from_millis(200)))
        .mock(|mock| mock.speed = Speed::Times(1.0))
        .play()
        .await;
    assert_eq!(heard.ends(), [End::NoPong]);
    let pongs = heard.frames.iter().filter(|(_, text)| text.contains("pong")).count();
    assert!(pongs >= 1, "the second connection is answered");
    let gaps = heard.closed_gaps();
    assert_eq!(gaps.iter().map(|gap| (gap.0, gap.2)).collect::<Vec<_>>(), [("tickers", "no pong"), ("trades", "no pong")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_topic_costs_only_itself() {
    let log = bybit(20, &["BTCUSDT"]);
    let heard = Case::new(Venue::BybitLinear, log.clone())
        .feed(|feed| feed.streams.push("nonsense.7".into()))
        .mock(|mock| mock.wait_for_subscriptions = Some(2))
        .play()
        .await;
    check_complete(&heard, &log);
    let refused = State::Refused { stream: "nonsense.7.BTCUSDT".into(), reason: "Invalid topic: nonsense.7.BTCUSDT".into() };
    assert_eq!(heard.states.iter().filter(|state| **state == refused).count(), 1, "{:?}", heard.states);
    assert_eq!(heard.ends(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_handshake_is_not_repeated_before_the_venue_allows_it() {
    let log = binance(20);
    let heard = Case::new(Venue::BinanceUsdm, log.clone()).fault("refuse:status=503,retry-after=1").play().await;
    check_complete(&heard, &log);
    assert_eq!(heard.ends(), [End::Rejected { status: 503, retry_after: Some(Duration::from_secs(1)) }]);
    assert!(heard.took >= Duration::from_secs(1), "{:?}", heard.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_two_mebibytes_is_refused_and_told() {
    let log = binance(20);
    let heard = Case::new(Venue::BinanceUsdm, log.clone()).fault("oversize:after=15").play().await;
    check_gap(&heard, &log, 14, "frame over 1 MiB");
    assert_eq!(heard.ends(), [End::Oversize { size: 2 << 20 }]);
    assert_eq!(heard.defects.iter().map(|defect| defect.reason).collect::<Vec<_>>(), ["frame over 1 MiB"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_served_without_its_damaged_lines() {
    let log = binance(20);
    let (first, second) = log.split_at(log.len() / 2 + log[log.len() / 2..].find('\n').unwrap() + 1);
    let torn = line(200, Venue::BinanceUsdm, "in", r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTr"#);
    let damaged = [
        first,
        "not a frame\n",
        &line(100, Venue::BinanceUsdm, "sideways", "{}"),
        &line(100, Venue::BinanceUsdm, "in", &"x".repeat((1 << 20) + 1)),
        second,
        torn.trim_end(),
    ];
    let heard = Case::new(Venue::BinanceUsdm, damaged.concat()).play().await;
    check_complete(&heard, &log);
    assert_eq!(heard.ends(), []);
    assert_eq!((heard.report.sent, heard.report.malformed), (40, 4), "{:?}", heard.report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_goes_on_to_be_counted_and_disturbs_nothing() {
    let log = binance(50);
    let heard = Case::new(Venue::BinanceUsdm, log.clone()).fault("garbage:every=10").play().await;
    assert_eq!(heard.ends(), []);
    let whole: BTreeSet<_> = data(&log).into_iter().collect();
    let (good, bad): (Vec<_>, Vec<_>) = heard.data().into_iter().partition(|text| whole.contains(text));
    assert_eq!(good, data(&log));
    assert_eq!(bad.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_venues_pings_are_answered_at_once() {
    let heard = Case::new(Venue::BinanceUsdm, binance(50))
        .mock(|mock| {
            mock.speed = Speed::Times(1.0);
            (mock.ping_every, mock.pong_max) = (Duration::from_millis(50), Duration::from_millis(500));
        })
        .play()
        .await;
    assert_eq!(heard.ends(), []);
    assert!(heard.report.pongs >= 5, "{:?}", heard.report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polled_answers_come_once_and_in_order() {
    let open_interest = |n: i64| {
        let body = format!(r#"{{"openInterest":"1065{n}.509","symbol":"BTCUSDT","time":{n}}}"#);
        line(n * 100, Venue::BinanceUsdm, "http", &format!("https://fapi.binance.com/fapi/v1/openInterest?symbol=BTCUSDT {body}"))
    };
    let log: String = (0..5).map(|n| binance(1) + &open_interest(n)).collect();
    let heard = Case::new(Venue::BinanceUsdm, log)
        .feed(|feed| {
            feed.streams.push("open_interest".into());
            feed.poll_every_ms = 50;
        })
        .mock(|mock| mock.rest = RestMode::Gate)
        .play()
        .await;
    let times: Vec<_> = heard.http.iter().map(|text| text.rsplit(':').next().unwrap().to_owned()).collect();
    assert_eq!(times, ["0}", "1}", "2}", "3}", "4}"]);
    assert!(heard.http[0].contains("/fapi/v1/openInterest?symbol=BTCUSDT {"), "{}", heard.http[0]);
    assert_eq!((heard.report.http, heard.report.http_unasked), (5, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_is_left_alone_for_as_long_as_it_asks() {
    let url = "https://fapi.binance.com/fapi/v1/openInterest?symbol=BTCUSDT";
    let body = r#"{"openInterest":"10659.509","symbol":"BTCUSDT","time":1}"#;
    let log = line(0, Venue::BinanceUsdm, "http", &format!("{url} {body}")) + &binance(150);
    let heard = Case::new(Venue::BinanceUsdm, log)
        .fault("refuse:status=429,retry-after=1,rest=true")
        .feed(|feed| {
            feed.streams.push("open_interest".into());
            feed.poll_every_ms = 20;
        })
        .mock(|mock| mock.speed = Speed::Times(1.0))
        .play()
        .await;
    let failed = |state: &&State| matches!(state, State::PollFailed { reason, .. } if reason == "answered with status 429");
    assert_eq!(heard.states.iter().filter(failed).count(), 1, "{:?}", heard.states);
    // 1.6 s at 50 a second, of which the first second is a pause (and the budget is 20 a second).
    assert!((5..45).contains(&heard.http.len()), "{} answers", heard.http.len());
    assert_eq!(heard.ends(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_and_old_frames_are_handed_on() {
    let log = binance(200);
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .fault("duplicate:percent=30")
        .fault("stale-first")
        .fault("drop:after=100")
        .play()
        .await;
    let mut seen = BTreeSet::new();
    let firsts: Vec<_> = heard.data().into_iter().filter(|text| seen.insert(text.clone())).collect();
    assert_eq!(firsts, data(&log));
    let again = heard.data().len() - firsts.len();
    assert!((60..180).contains(&again), "{again} of 400 came twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_shuffled_frames_arrives_whole() {
    let log = binance(2_000);
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .fault("reorder:within=50")
        .fault("burst:frames=4000")
        .mock(|mock| mock.speed = Speed::Times(0.01))
        .play()
        .await;
    assert_ne!(heard.data(), data(&log));
    let sorted = |mut frames: Vec<String>| {
        frames.sort_unstable();
        frames
    };
    assert_eq!(sorted(heard.data()), sorted(data(&log)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_recording_of_binance_arrives_whole() {
    let Some(log) = recorded("wire/binance-usdm-20240808.frames.zst") else { return };
    let heard = Case::new(Venue::BinanceUsdm, log.clone())
        .feed(|feed| {
            feed.symbols = ["BTCUSDT", "ETHUSDT"].map(str::to_owned).to_vec();
            feed.streams = ["trades", "@bookTicker", "@depth@0ms"].map(str::to_owned).to_vec();
        })
        .mock(|mock| mock.wait_for_subscriptions = Some(6))
        .play()
        .await;
    println!("{} frames in {:?}", heard.report.sent, heard.took);
    assert!(heard.data() == data(&log), "{:?}", heard.report);
    assert_eq!((heard.report.sent, heard.report.http_unasked), (168_607, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_recording_of_bybit_arrives_whole() {
    let Some(log) = recorded("wire/bybit-linear-20260809.frames.zst") else { return };
    let heard = Case::new(Venue::BybitLinear, log.clone())
        .feed(|feed| {
            feed.symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"].map(str::to_owned).to_vec();
            feed.streams = ["trades", "tickers", "klines", "liquidations", "orderbook.200"].map(str::to_owned).to_vec();
        })
        .mock(|mock| mock.wait_for_subscriptions = Some(20))
        .play()
        .await;
    let is_data = |text: &String| text.contains("\"topic\"");
    let got: Vec<_> = heard.frames.iter().map(|(_, text)| text.clone()).filter(is_data).collect();
    let want: Vec<_> = data(&log).into_iter().filter(is_data).collect();
    assert!(got == want, "{:?}", heard.report);
    assert_eq!(heard.report.sent as usize, want.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_takes_less_than_two_seconds_even_if_nobody_listens() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(binance(20_000).as_bytes()).unwrap();
    let mock = start(MockConfig::new(file.path().to_owned())).await.unwrap();
    let mut feed = Case::new(Venue::BinanceUsdm, String::new()).feed;
    feed.ws_url = Some(format!("ws://{}", mock.addr));
    let (out, _said) = mpsc::channel(1);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run_feed_at(Tempo::default(), Venue::BinanceUsdm, feed, None, out, shutdown.clone()));
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let before = Instant::now();
    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    mock.stop().await;
}
