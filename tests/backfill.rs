//! Gaps heal, the whole program: a simulated market is played to `run`, both connections are lost while it goes on, and
//! afterwards bars are those of a replay that missed nothing.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod program;

use std::time::Duration;

use program::built::{answer, ok};
use program::market::feed;
use program::{Program, text};
use regimeflow::mock_venue::{Mock, MockConfig, Report, Speed, start};

/// The market is old, so event times are not compared with the clock; what is lost comes back after half a second.
fn config(mock: &Mock, venues: [(&str, &[&str]); 2]) -> String {
    let mut config = "[time]\nskew_ms_max = 0\n".to_owned();
    for (venue, streams) in venues {
        config += &(feed(venue, streams, &mock.addr.to_string()) + "backoff_ms_min = 500\nbackoff_ms_max = 500\n");
    }
    config
}

/// Plays a market to `run` with the streams and faults given; both stores, and what the venue has to report.
struct Healed {
    whole: std::path::PathBuf,
    healed: std::path::PathBuf,
    report: Report,
    _dir: tempfile::TempDir,
}

async fn heal(binance: &[&str], bybit: &[&str], fault: &str) -> Option<Healed> {
    if !engine::is_here() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let [whole, healed, file] = ["whole", "healed", "run.toml"].map(|name| dir.path().join(name));
    let market = Program::built().market(dir.path(), "--seed 7 --symbols 2 --hours 0.3 --bursts-per-day 96").unwrap();
    let mut mock = MockConfig::new(market.clone());
    mock.speed = Speed::Times(240.0); // 18 minutes in 4.5 s
    mock.once = false;
    mock.wait_for_subscriptions = Some(2 * (binance.len() + bybit.len()));
    mock.faults = vec![fault.parse().unwrap()];
    let mock = start(mock).await.unwrap();
    std::fs::write(&file, config(&mock, [("binance_usdm", binance), ("bybit_linear", bybit)])).unwrap();
    let run = ["run", "--config", text(&file), "--store", text(&healed), "--until-idle-secs", "2", "--json"].map(str::to_owned);
    let running = tokio::task::spawn_blocking(move || ok(&run.each_ref().map(String::as_str)));
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("run did not end").unwrap();
    let report = mock.stop().await;
    ok(&["replay", text(&market), "--store", text(&whole), "--json"]);
    Some(Healed { whole, healed, report, _dir: dir })
}

impl Healed {
    /// Both stores answer each question alike, and there is something to each. One query a store: each starts an engine.
    fn check_same(&self, questions: &[&str]) {
        let part = |(n, sql): (usize, &&str)| format!("SELECT {n} AS question, toString(tuple(*)) AS row FROM ({sql})");
        let all = questions.iter().enumerate().map(part).collect::<Vec<_>>().join(" UNION ALL ");
        let [whole, healed] =
            [&self.whole, &self.healed].map(|store| answer(store, &format!("SELECT * FROM ({all}) ORDER BY ALL")));
        for (n, question) in questions.iter().enumerate() {
            assert!(whole.lines().any(|row| row.starts_with(&format!("{n}\t"))), "nothing to compare: {question}");
        }
        let different: Vec<_> = whole.lines().zip(healed.lines()).filter(|(a, b)| a != b).take(3).collect();
        assert!(whole == healed, "{} and {} rows\n{different:#?}", whole.lines().count(), healed.lines().count());
    }

    /// `venue stream recovered` of the gaps that ended, and `venue stream reason` of what came late.
    fn gaps(&self) -> Vec<String> {
        let gaps =
            "SELECT concat(venue, ' ', stream, ' ', recovered) FROM feed_gaps WHERE cause = 'disconnect' AND to_ts IS NOT NULL";
        let late =
            "SELECT DISTINCT concat(venue, ' ', stream, ' ', reason) FROM late_events WHERE stream IN ('trades', 'klines')";
        answer(&self.healed, &format!("{gaps} UNION ALL {late}")).lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bars_are_those_of_an_unbroken_replay() {
    // The simulator's mark price is the stream of three seconds, which has no name of ours.
    let binance = ["aggTrades", "klines", "@markPrice", "liquidations"];
    let bybit = ["trades", "klines", "tickers", "liquidations"];
    let Some(healed) = heal(&binance, &bybit, "drop:after=600,lose=true,times=2").await else { return };
    assert!(healed.report.lost > 100, "{:?}", healed.report);
    let gaps = healed.gaps();
    for want in ["aggTrades full", "klines full", "@markPrice none", "liquidations none"] {
        assert!(gaps.contains(&format!("binance-usdm {want}")), "{want}: {gaps:?}");
    }
    for want in ["trades partial", "klines full", "liquidations none"] {
        assert!(gaps.contains(&format!("bybit-linear {want}")), "{want}: {gaps:?}");
    }
    for want in ["binance-usdm trades", "binance-usdm klines", "bybit-linear klines"] {
        assert!(gaps.contains(&format!("{want} late, applied as a correction")), "what came later is listed: {gaps:?}");
    }
    assert!(!gaps.iter().any(|gap| gap.contains("beyond")), "all of it counts: {gaps:?}");
    healed.check_same(&[
        "SELECT * FROM bars WHERE venue = 'binance-usdm'",
        "SELECT symbol, timeframe, ts, open, high, low, close, volume FROM bars WHERE venue = 'bybit-linear'",
        "SELECT symbol, ts, open, close, volume, kline_close, agrees FROM kline_checks WHERE venue = 'binance-usdm'",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prints_alone_make_the_same_bars() {
    let Some(healed) = heal(&["aggTrades"], &["trades"], "drop:after=400,how=rst,lose=true,times=2").await else { return };
    let gaps = healed.gaps();
    assert!(gaps.contains(&"binance-usdm aggTrades full".to_owned()), "{gaps:?}");
    assert!(!gaps.iter().any(|gap| gap.starts_with("binance-usdm klines")), "no minute had to be asked for: {gaps:?}");
    healed.check_same(&["SELECT * FROM bars WHERE venue = 'binance-usdm'"]);
}
