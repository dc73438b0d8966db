//! The life of models: fitted from files and from the store, listed, promoted, gone back from, and refitted while a run goes on.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod program;
mod recordings;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dataflows::model::{Changes, Regime};
use program::built::{check_ends, json, ok, regimeflow};
use program::text;
use regimeflow::app::{Extras, Pace, Pipeline};
use regimeflow::config::{Config, Timeframe, Training};
use regimeflow::model_dir::promotion::{self, Bounds, PromotionError};
use regimeflow::model_dir::{self, Listing, Models};
use regimeflow::simulate::{Batches, START_MS, Settings};
use regimeflow::store::{Mode, Quantum, Store};
use regimeflow::training::live::LiveModels;
use regimeflow::training::refits::Refits;
use serde_json::Value;

/// A command that must fail with this code and say this.
fn check_refused(args: &[&str], code: i32, said: &str) {
    check_ends(&mut regimeflow(args), code, &[said]);
}

const HOUR_MS: i64 = 3_600_000;

/// Hourly bars that rise, rest and fall by turns of four days, from 2024-01-01 on.
fn write_bars(path: &Path, hours: i64) {
    let mut seed = 5u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        12f64.sqrt() * ((seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
    };
    let mut close = 100.0f64;
    let mut csv = "timestamp_ms,open,high,low,close,volume\n".to_owned();
    for hour in 0..hours {
        let (mean, deviation) = [(0.002, 0.004), (0.0, 0.002), (-0.002, 0.008)][(hour / 96 % 3) as usize];
        let open = close;
        close *= f64::exp(mean + deviation * noise());
        let (high, low) = (open.max(close) * 1.001, open.min(close) * 0.999);
        csv += &format!("{},{open:.6},{high:.6},{low:.6},{close:.6},{:.3}\n", 1_704_067_200_000 + hour * HOUR_MS, 10.0 + noise());
    }
    std::fs::write(path, csv).unwrap();
}

#[test]
fn a_model_from_a_file_of_bars_lives_and_is_gone_back_from() {
    let dir = tempfile::tempdir().unwrap();
    let (bars, models) = (dir.path().join("bars.csv"), dir.path().join("models"));
    write_bars(&bars, 3_000);
    let data = ["--bars", text(&bars), "--symbol", "X-USDT-PERP"];
    let of = ["--models", text(&models)];
    let fit = [&["model", "fit"][..], &data, &of, &["--timeframes", "1h"]].concat();

    let first = json(&fit);
    let figures = &first["models"][0]["evaluation"];
    assert_eq!((&first["models"][0]["model"], &first["models"][0]["version"]), (&"X-USDT-PERP-1h".into(), &1.into()));
    assert_eq!(figures["labels"], serde_json::json!(["BEAR", "CHOP", "BULL"]), "states rise by their returns: {figures}");
    let agreement = |version: u32| {
        let decoded =
            json(&[&["model", "decode", &format!("X-USDT-PERP-1h.v{version}"), "--by", "smoothed"][..], &data, &of].concat());
        let bars = decoded.as_array().unwrap();
        let right = bars.iter().filter(|bar| {
            let hour = (bar["ts"].as_i64().unwrap() - 1_704_067_200_000) / HOUR_MS;
            bar["label"] == ["BULL", "CHOP", "BEAR"][(hour / 96 % 3) as usize]
        });
        right.count() as f64 / bars.len() as f64
    };
    assert!(agreement(1) > 0.8, "{}", agreement(1)); // a trend over a day is a day late

    // The same again, to the byte.
    json(&fit);
    let read = |version: u32| std::fs::read(models.join(format!("X-USDT-PERP-1h.v{version}.json"))).unwrap();
    assert_eq!(read(1), read(2));

    let promote =
        |version: &'static str, more: &[&'static str]| [&["model", "promote", "X-USDT-PERP-1h", version][..], &of, more].concat();
    check_refused(&promote("3", &[]), 65, "X-USDT-PERP-1h.v3 is not listed in models.json; there are versions 1, 2");
    ok(&promote("1", &["--at", "2024-06-01"]));
    check_refused(&promote("1", &[]), 65, "X-USDT-PERP-1h.v1 is active already");
    // The second was fitted before the first was active, so nobody compared them.
    check_refused(&promote("2", &[]), 69, "it was not compared with X-USDT-PERP-1h.v1, which is active; fit again");
    // The third was, on bars that the first had seen.
    json(&fit);
    check_refused(&promote("3", &[]), 69, "0 bars that neither model was fitted to, at least 40 are asked for");
    check_refused(
        &promote("3", &["--force", "--at", "2024-05-30"]),
        65,
        "does from 1717200000000 on (UTC ms); take a later time",
    );
    ok(&promote("3", &["--force", "--at", "2024-06-02T00:30:00Z"]));
    let listed = json(&[&["model", "list"][..], &of].concat());
    let status = |listed: &Value| -> Vec<String> {
        listed["models"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(status(&listed), ["retired", "candidate", "active"]);
    assert_eq!(listed["models"][2]["active_from"], 1_717_290_000_000i64, "the first bar that opens after: 01:00");

    let rollback = |at: &'static str| [&["model", "rollback", "X-USDT-PERP-1h", "--at", at][..], &of].concat();
    ok(&rollback("2024-06-03"));
    assert_eq!(status(&json(&[&["model", "list"][..], &of].concat())), ["active", "candidate", "retired"]);
    check_refused(&rollback("2024-06-04"), 65, "has no version before the active one");

    let score =
        json(&[&["model", "score", "X-USDT-PERP-1h.v1", "X-USDT-PERP-1h.v2", "--from", "2024-02-01"][..], &data, &of].concat());
    assert_eq!(score[0]["log_likelihood_per_bar"], score[1]["log_likelihood_per_bar"], "the same model twice");
    assert_eq!((&score[0]["bars"], &score[0]["trained_on"]), (&2_256.into(), &2_256.into()));
    check_refused(
        &[&["model", "score", "Y.v1"][..], &data, &of].concat(),
        64,
        "models.json lists no Y.v1; there are X-USDT-PERP-1h.v1",
    );
}

#[test]
fn a_refit_on_newer_bars_is_promoted_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let (bars, models) = (dir.path().join("bars.csv"), dir.path().join("models"));
    write_bars(&bars, 3_000);
    let data = ["--bars", text(&bars), "--symbol", "X-USDT-PERP", "--models", text(&models), "--timeframes", "1h", "--promote"];
    let first = json(&[&["model", "fit", "--until", "2024-03-25", "--at", "2024-03-25"][..], &data].concat());
    assert_eq!(first["promoted"][0]["promoted"], true, "{first}");
    let second = json(&[&["model", "fit", "--at", "2024-05-10"][..], &data].concat());
    assert_eq!(second["promoted"][0]["promoted"], true, "{second}");
    let against = &second["models"][0]["evaluation"]["against"];
    assert_eq!(
        (&against["model"], &against["bars"]),
        (&"X-USDT-PERP-1h.v1".into(), &Value::from(588)),
        "all held-out bars: {against}"
    );

    // The same figures under tighter bounds: the refusal says both.
    let listing = model_dir::read_listing(&models).unwrap();
    let candidate = listing.releases.iter().find(|entry| entry.version == 2).unwrap();
    let before = Listing { releases: listing.releases.iter().filter(|entry| entry.version == 1).cloned().collect() };
    let reasons = |bounds: Bounds| promotion::reasons_against(&before, candidate, &bounds);
    assert_eq!(reasons(Bounds::default()), []);
    let figures = candidate.evaluation.as_ref().unwrap();
    let against = figures.against.as_ref().unwrap();
    let strict = Bounds { loss_per_bar_max: -10.0, switches_per_1000_bars_max: 0.0, ..Bounds::default() };
    let said: Vec<String> = reasons(strict).iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    let switches = figures.oos_switches as f64 * 1_000.0 / figures.oos_bars as f64;
    assert_eq!(said[0], format!("{switches:.1} switches per 1,000 bars, at most 0.0 are allowed"));
    let figures = format!(
        "log-likelihood per new bar {:.4}, the active model's {:.4}",
        against.own_log_likelihood_per_bar, against.log_likelihood_per_bar
    );
    assert!(said[1].starts_with(&figures), "{said:?}");
    let nan = model_dir::Against { own_log_likelihood_per_bar: f64::NAN, ..against.clone() };
    let evaluation = model_dir::Evaluation { against: Some(nan), ..candidate.evaluation.clone().unwrap() };
    let broken = model_dir::Entry { evaluation: Some(evaluation), ..candidate.clone() };
    assert_eq!(promotion::reasons_against(&before, &broken, &Bounds::default()).len(), 1, "a NaN doesn't pass");
    let evaluation = model_dir::Evaluation { degenerate_states: 1, ..candidate.evaluation.clone().unwrap() };
    let dead = model_dir::Entry { evaluation: Some(evaluation), ..candidate.clone() };
    let said = promotion::reasons_against(&before, &dead, &Bounds::default())[0].to_string();
    assert_eq!(said, "1 of its states died or shrank to a point; fit fewer states");
    let unknown = promotion::roll_back(&models, "nobody", 0).unwrap_err();
    assert!(matches!(unknown, PromotionError::NoneActive(_)), "{unknown}");
}

#[test]
fn what_is_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (bars, models) = (dir.path().join("bars.csv"), dir.path().join("models"));
    write_bars(&bars, 300);
    let fit = |more: &[&str]| -> Vec<String> {
        let all = [&["model", "fit", "--bars", text(&bars), "--symbol", "X", "--models", text(&models)][..], more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let check = |more: &[&str], code: i32, said: &str| {
        let args = fit(more);
        check_refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), code, said);
    };
    check(&["--timeframes", "1h"], 65, "X 1h: 242 bars with features are too few for 32 parameters; 320 are needed");
    check(&["--timeframes", "15m"], 65, "X: bars of 15m can't be made of bars of 1h");
    check(&["--timeframes", "2h"], 64, "`2h` is no time frame; there are 1m");
    check(&["--features", "moon"], 64, "`moon` is no feature; there are the sets trend and classic, and log_return");
    check(
        &["--timeframes", "1h", "--features", "log_return,taker_imbalance"],
        65,
        "a file of bars doesn't tell taker_imbalance; leave that out",
    );
    check(&["--window", "3m"], 64, "`3m` is no span of time");
    check(&["--until", "soon"], 64, "`soon` is no time");
    check(&["--timeframes", "1h,4h", "--name", "x"], 64, "2 models would all be called x; put {symbol} and {timeframe} into it");
    check(&["--name", "../x"], 64, "`../x` can't name a model");
    check(
        &["--walk-forward", "--timeframes", "1h", "--train", "20d", "--step", "1d"],
        65,
        "are too few to train and test for 21 days",
    );
    assert!(!models.exists() || model_dir::read_listing(&models).is_err(), "nothing was listed");

    let flat: String = (0..400).map(|hour| format!("{},10,10,10,10,1\n", hour * HOUR_MS)).collect();
    std::fs::write(&bars, format!("timestamp_ms,open,high,low,close,volume\n{flat}")).unwrap();
    check(
        &["--timeframes", "1h", "--features", "log_return"],
        65,
        "the feature log_return is the same in all 399 bars: a flat series",
    );
    std::fs::write(&bars, "timestamp_ms,open,high,low,close,volume\n0,1,1,1,one,1\n").unwrap();
    check(&[], 65, "line 2: the price `one`: not a decimal number");
    std::fs::remove_file(&bars).unwrap();
    check(&[], 74, "No such file");
}

#[test]
fn processes_that_write_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (bars, models) = (dir.path().join("bars.csv"), dir.path().join("models"));
    write_bars(&bars, 1_000);
    let args = ["model", "fit", "--bars", text(&bars), "--symbol", "X", "--models", text(&models), "--timeframes", "1h"];
    let fit = |name: &str| {
        let of = ["--starts", "1", "--threads", "1", "--name", name];
        regimeflow(&args).args(of).stdout(Stdio::null()).spawn().unwrap()
    };
    let running: Vec<_> = ["a", "b", "a", "a", "b", "c"].into_iter().map(fit).collect();
    for mut process in running {
        assert!(process.wait().unwrap().success());
    }
    let mut listed: Vec<String> =
        model_dir::read_listing(&models).unwrap().releases.iter().map(|entry| entry.id().to_string()).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["a.v1", "a.v2", "a.v3", "b.v1", "b.v2", "c.v1"]);
    assert_eq!(model_dir::load(&models).unwrap().releases.len(), 6, "and every file is whole");
}

/// What regimes said at the end, by (model, bar).
type Said = Arc<Mutex<BTreeMap<Regime, isize>>>;

fn watching(said: &Said) -> Extras {
    let said = Arc::clone(said);
    let watch = move |quantum: &Quantum| {
        let mut said = said.lock().unwrap();
        for changes in &quantum.changes {
            let Changes::Regimes(rows) = changes else { continue };
            for (row, _, diff) in rows {
                *said.entry(row.clone()).or_default() += diff;
            }
            said.retain(|_, count| *count != 0);
        }
    };
    Extras { watch: Some(Box::new(watch)), ..Extras::default() }
}

const DAY_MS: i64 = 24 * HOUR_MS;

fn market() -> Settings {
    let venues = vec![dataflows::model::Venue::BinanceUsdm];
    Settings { symbols: 1, minutes: 3 * 1_440, venues, trades_per_second: 0.1, ..Settings::default() }
}

async fn rows(store: &Store, sql: &str) -> Vec<String> {
    engine::query(store, sql).await.lines().map(str::to_owned).collect()
}

/// A run that refits each day of market time: its first model speaks from the bar after it was made, the second takes over in mid-stream, a
/// promotion by hand reaches it, and a replay that reads `models.json` says the same of every bar.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_refits_and_a_replay_says_the_same() {
    if !engine::is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    let mut config = Config::default();
    config.store.location = text(&dir.path().join("store")).to_owned();
    config.training = Training {
        enabled: true,
        every_hours: 24,
        timeframes: vec![Timeframe::M1],
        symbols: vec!["BTC*".into()],
        starts: 3,
        promote_loss_per_bar_max: 0.2,
        ..Training::default()
    };
    let store = Store::open(&config.store, Mode::Write("test")).await.unwrap();
    let said = Said::default();
    let extras = Extras { models: Some(Models::default()), ..watching(&said) };
    let mut pipeline = Pipeline::start(&config, Pace::Replay, Some(&store), extras).unwrap();
    let regimes = &config.views.regimes;
    let refits = Refits::start(&config.training, regimes, store.client().clone(), &models, &Listing::default()).unwrap();
    let bounds = Some(config.training.bounds());
    let mut live = LiveModels::new(models.clone(), Listing::default(), Some(refits), bounds, pipeline.edge());

    let mut frames = Batches::new(market(), 2_048).unwrap();
    let mut versions = 0;
    for batch in frames.by_ref() {
        let batch = batch.unwrap();
        let day = (batch.frames.first().unwrap().recv_ns / 1_000_000 - START_MS) / DAY_MS;
        tokio::task::block_in_place(|| {
            assert!(pipeline.input.push(batch));
            if day as usize == versions {
                return;
            }
            // Midnight has passed. What was said of the day before is in the store after a moment.
            versions += 1;
            std::thread::sleep(Duration::from_millis(2_500));
            let begun = Instant::now();
            let listed = |models: &Path| {
                model_dir::read_listing(models)
                    .map_or(0, |listing| listing.releases.iter().map(|entry| entry.version as usize).max().unwrap_or(0))
            };
            while listed(&models) < versions {
                assert!(begun.elapsed() < Duration::from_secs(90), "no version {versions}");
                live.look(&mut pipeline.input);
                std::thread::sleep(Duration::from_millis(20));
            }
            live.look(&mut pipeline.input);
            if versions == 2 {
                // By hand, while the run goes on: back to the first version an hour later.
                let now = pipeline.input.known_at();
                let listing = model_dir::read_listing(&models).unwrap();
                let active = promotion::active(&listing, "BTC-USDT-PERP", "1m").unwrap();
                assert_eq!(active.version, 2, "{listing:?}");
                promotion::roll_back(&models, "BTC-USDT-PERP-1m", now + HOUR_MS).unwrap();
                live.look(&mut pipeline.input);
            }
        });
    }
    assert_eq!(versions, 2);
    tokio::task::block_in_place(|| live.finish());
    pipeline.finish().await.unwrap();

    let listing = model_dir::read_listing(&models).unwrap();
    let from =
        |nth: usize| listing.releases.iter().filter(|e| format!("{:?}", e.status) == "Active").nth(nth).unwrap().active_from;
    let said = std::mem::take(&mut *said.lock().unwrap());
    let spans: Vec<(String, i64)> = said.keys().map(|row| (row.model.to_string(), row.ts)).collect();
    let first_of = |model: &str, after: i64| spans.iter().filter(|(m, ts)| m == model && *ts >= after).map(|(_, ts)| *ts).min();
    let (one, two) = ("BTC-USDT-PERP-1m.v1", "BTC-USDT-PERP-1m.v2");
    assert_eq!(first_of(one, 0), Some(from(0)), "the first speaks from its bar on");
    assert_eq!(first_of(two, 0), Some(from(1)), "the second takes over");
    assert_eq!(first_of(one, from(1)), Some(from(2)), "and gives back");
    assert_eq!(from(2) - from(1), HOUR_MS);

    let stored = rows(&store, "SELECT model, count() FROM regimes GROUP BY model ORDER BY model").await;
    let count = |model: &str| format!("{model}\t{}", spans.iter().filter(|(m, _)| m == model).count());
    assert_eq!(stored, [count(one), count(two)]);
    let standing = rows(&store, "SELECT name, version, symbol, timeframe, status FROM models ORDER BY version").await;
    let name = "BTC-USDT-PERP-1m\t1\tBTC-USDT-PERP\t1m\tactive";
    assert_eq!(standing, [name.to_owned(), name.replace("\t1\t", "\t2\t").replace("active", "retired")]);
    let before = format!("SELECT version, status FROM models_asof(t = fromUnixTimestamp64Milli({}, 'UTC'))", from(0) + HOUR_MS);
    assert_eq!(rows(&store, &before).await, ["1\tactive"]);

    // What the command line fits from the same store, while it is open.
    let location = config.store.location.as_str();
    let fit = tokio::task::block_in_place(|| {
        json(&[
            "model",
            "fit",
            "--store",
            location,
            "--timeframes",
            "1m",
            "--symbols",
            "BTC*",
            "--starts",
            "2",
            "--models",
            text(&dir.path().join("other")),
        ])
    });
    assert_eq!(fit["models"][0]["evaluation"]["bars"], said_bars(&store).await, "{fit}");
    store.close().await.unwrap();

    let again = Said::default();
    let extras = Extras { models: Some(model_dir::load(&models).unwrap()), ..watching(&again) };
    let mut replay = Pipeline::start(&config, Pace::Replay, None, extras).unwrap();
    tokio::task::block_in_place(|| {
        for batch in Batches::new(market(), 8_192).unwrap() {
            assert!(replay.input.push(batch.unwrap()));
        }
    });
    replay.finish().await.unwrap();
    assert!(said == *again.lock().unwrap(), "a replay with the same models says the same");
}

/// Bars that know all features of `trend`.
async fn said_bars(store: &Store) -> Value {
    let sql = "SELECT countIf(ts >= first) FROM features, (SELECT min(ts) AS first FROM features WHERE timeframe = '1m' AND \
               symbol = 'BTC-USDT-PERP' AND trend_24 IS NOT NULL AND rsi_14 IS NOT NULL AND log_volatility_14 IS NOT NULL AND \
               log_return IS NOT NULL) AS known WHERE timeframe = '1m' AND symbol = 'BTC-USDT-PERP'";
    rows(store, sql).await[0].parse::<u64>().unwrap().into()
}

/// Recorded hourly bars made to 4h: a refit a quarter keeps what its states mean. (The README has five symbols.)
#[test]
fn quarterly_refits_agree_on_recorded_bars() {
    let Some(bars) = recordings::find("bars/1h/binance-usdm/BTCUSDT.csv.gz") else { return };
    let walked =
        json(&["model", "fit", "--bars", text(&bars), "--symbol", "BTC-USDT-PERP", "--timeframes", "4h", "--walk-forward"]);
    let refits = walked["refits"].as_array().unwrap();
    assert!(refits.len() >= 18, "{}", refits.len());
    assert!(walked["median_agreement"].as_f64().unwrap() >= 0.95, "{}", walked["median_agreement"]);
    assert_eq!((&walked["opposed_states"], &walked["firm_contradictions"]), (&0.into(), &0.into()));
    for pair in refits.windows(2) {
        let (train, test) = (&pair[1]["train"], &pair[0]["test"]);
        assert!(
            train[1] == test[1] && train[0].as_i64() > pair[0]["train"][0].as_i64(),
            "trained up to what was tested: {train} {test}"
        );
    }
}
