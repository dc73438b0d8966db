//! A gap that was healed: three minutes of one venue are lost, then the venue's REST gives the same minutes as bars.
//!
//! Afterwards every view that bars determine says what an unbroken run says, and `NAME_asof` still shows what was believed meanwhile.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod program;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use program::built::{answer, ok};
use program::{Program, text};
use serde_json::Value;

struct Line {
    recv_ms: i64,
    text: String,
}

impl Line {
    fn is_binance(&self) -> bool {
        self.text.contains("\tbinance-usdm\t")
    }

    /// The closed minute that it tells of, as the venue's REST writes it: symbol, opening, row.
    fn kline(&self) -> Option<(String, i64, Value)> {
        let payload = self.text.splitn(5, '\t').nth(4).filter(|payload| self.is_binance() && payload.contains("\"kline\""))?;
        let message: Value = serde_json::from_str(payload).unwrap();
        let k = &message.get("data").unwrap_or(&message)["k"];
        let row =
            serde_json::json!([k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"], k["q"], k["n"], k["V"], k["Q"], "0"]);
        (k["x"] == true && k["i"] == "1m").then(|| (k["s"].as_str().unwrap().to_owned(), k["t"].as_i64().unwrap(), row))
    }
}

fn read(path: &Path) -> Vec<Line> {
    let log = BufReader::new(zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap());
    let line = |text: String| Line { recv_ms: text.split('\t').next().unwrap().parse::<i64>().unwrap() / 1_000_000, text };
    log.lines().map(|text| line(text.unwrap())).collect()
}

fn write<'a>(path: &Path, lines: impl Iterator<Item = &'a Line>) {
    let mut out = zstd::Encoder::new(std::fs::File::create(path).unwrap(), 1).unwrap();
    lines.for_each(|line| writeln!(out, "{}", line.text).unwrap());
    out.finish().unwrap();
}

/// Horizons that the market fills twice over, before the gap and after it.
const CONFIG: &str = "[views.correlation.short]\nbars = '1m'\nwindow_minutes = 30\n\
                      [views.correlation.long]\nbars = '5m'\nwindow_minutes = 60\n";

fn replay(frames: &Path, store: PathBuf) -> PathBuf {
    let config = store.with_extension("toml");
    std::fs::write(&config, CONFIG).unwrap();
    ok(&["replay", text(frames), "--config", text(&config), "--store", text(&store), "--json"]);
    store
}

/// The answers of both stores to one question are equal, and there are some.
fn check_same(a: &Path, b: &Path, sql: &str) {
    let [a, b] = [a, b].map(|store| answer(store, sql));
    assert!(!a.is_empty(), "nothing to compare: {sql}");
    let different = || a.lines().zip(b.lines()).find(|(a, b)| a != b);
    assert!(a == b, "{sql}: {} and {} rows\n{:?}", a.lines().count(), b.lines().count(), different());
}

/// Views that bars determine, with their order. (What else flowed is not in a kline.)
const OF_BARS: [&str; 7] = [
    "* FROM bars ORDER BY ALL",
    "* FROM volatility ORDER BY ALL",
    "* EXCEPT (log_liquidated_long_usd, log_liquidated_short_usd, oi_change, funding_z_score) FROM features ORDER BY ALL",
    "* FROM correlations ORDER BY ALL",
    "* FROM market_mode ORDER BY ALL",
    "* FROM betas ORDER BY ALL",
    "venue, symbol, timeframe, ts, open, close, volume, kline_close, agrees FROM kline_checks WHERE venue = 'bybit-linear' ORDER BY ALL",
];

#[test]
fn a_healed_gap_leaves_no_trace_but_in_history() {
    if !engine::is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let market = Program::built().market(dir.path(), "--seed 11 --symbols 3 --hours 3 --bursts-per-day 24").unwrap();
    let lines = read(&market);
    let begun = lines[0].recv_ms;
    let gap = begun + 70 * 60_000 + 20_000..begun + 73 * 60_000 + 20_000;
    let lost = |line: &Line| line.is_binance() && gap.contains(&line.recv_ms);
    assert!(lines.iter().filter(|line| lost(line)).count() > 100, "frames are lost");

    // What the venue says of the minutes that the gap touches, asked for ten seconds after the last of them.
    let healed_ms = gap.end + 60_000 + 10_000;
    let mut fills: Vec<Line> = Vec::new();
    for (symbol, open_ms, row) in lines.iter().filter_map(Line::kline) {
        if open_ms + 60_000 > gap.start && open_ms < gap.end {
            let url = format!("https://fapi.binance.com/fapi/v1/klines?symbol={symbol}&interval=1m&startTime={open_ms}&limit=1");
            let text = format!("{}\tbinance-usdm\trest\thttp\t{url} [{row}]", healed_ms * 1_000_000);
            fills.push(Line { recv_ms: healed_ms, text });
        }
    }
    assert_eq!(fills.len(), 3 * 4, "four minutes of three symbols");
    let (before, after): (Vec<&Line>, Vec<&Line>) =
        lines.iter().filter(|line| !lost(line)).partition(|line| line.recv_ms < healed_ms);

    let (broken, healed) = (dir.path().join("broken.frames.zst"), dir.path().join("healed.frames.zst"));
    write(&broken, before.iter().copied().chain(after.iter().copied()));
    write(&healed, before.iter().copied().chain(&fills).chain(after.iter().copied()));
    let whole = replay(&market, dir.path().join("whole"));
    let broken = replay(&broken, dir.path().join("broken"));
    let healed = replay(&healed, dir.path().join("healed"));

    for what in OF_BARS {
        check_same(&healed, &whole, &format!("SELECT {what}"));
    }
    let before_ms = healed_ms - 2_000;
    for view in ["bars", "volatility", "correlations", "market_mode", "betas"] {
        let believed = format!("SELECT * FROM {view}_asof(t = fromUnixTimestamp64Milli({before_ms})) ORDER BY ALL");
        check_same(&healed, &broken, &believed);
    }
    // Of what the gap's minutes determine something else was believed than is true, and still is in history.
    for (view, touched) in [("bars", "venue = 'binance-usdm' AND timeframe = '1m'"), ("correlations", "horizon = '30m'")] {
        let of_the_gap = format!(
            "SELECT * FROM {view}_asof(t = fromUnixTimestamp64Milli({before_ms})) WHERE {touched} \
             AND ts >= fromUnixTimestamp64Milli({}) ORDER BY ALL",
            gap.start
        );
        let [unbroken, believed] = [&whole, &healed].map(|store| answer(store, &of_the_gap));
        assert!(!unbroken.is_empty() && unbroken != believed, "{view}: the gap was there");
    }
    let late = "SELECT count() FROM late_events WHERE stream = 'klines'";
    assert_eq!(answer(&healed, late).trim(), "12", "each back-filled bar is listed");
}
