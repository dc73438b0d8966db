//! What is recorded from a venue replays like the original.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn regimeflow() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
    command.stdin(Stdio::null());
    command
}

fn json(args: &[&str]) -> Value {
    let output = regimeflow().args(args).arg("--json").output().unwrap();
    assert!(output.status.success(), "regimeflow {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_recording_of_the_mock_venue_replays_like_what_it_served() {
    let dir = tempfile::tempdir().unwrap();
    let (market, config) = (dir.path().join("market"), dir.path().join("record.toml"));
    json(&["simulate", "--seed", "3", "--symbols", "1", "--hours", "0.5", "--venues", "bybit-linear", "--out", text(&market)]);
    let log = String::from_utf8(zstd::decode_all(std::fs::File::open(&market).unwrap()).unwrap()).unwrap();
    let served = dir.path().join("served");
    let sockets: String = log.lines().filter(|line| line.contains("\tin\t")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&served, &sockets).unwrap();

    let args = ["mock-venue", text(&served), "--listen", "127.0.0.1:0", "--speed", "max", "--wait-for-subscriptions", "4"];
    let mut mock = regimeflow().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(mock.stderr.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    let address = first.strip_prefix("listening on ").unwrap().split(": ").next().unwrap();
    let feed = format!(
        "[time]\nskew_ms_max = 0\n[feeds.bybit_linear]\nsymbols = [\"BTCUSDT\"]\n\
         streams = [\"trades\", \"klines\", \"tickers\", \"liquidations\"]\nws_url = \"ws://{address}\"\n"
    );
    std::fs::write(&config, feed).unwrap();
    let out = dir.path().join("recorded");
    let recorded = json(&["record", "--config", text(&config), "--out", text(&out), "--for-secs", "4"]);
    mock.kill().unwrap();
    mock.wait().unwrap();

    let files: Vec<&str> = recorded["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    let mut payloads = Vec::new();
    for file in &files {
        let recorded = zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap();
        payloads.extend(String::from_utf8(recorded).unwrap().lines().map(|line| line.splitn(5, '\t').nth(4).unwrap().to_owned()));
    }
    assert_eq!(recorded["frames"], payloads.len(), "{recorded}");
    payloads.retain(|payload| payload.starts_with(r#"{"topic""#)); // no acknowledgements
    let original: Vec<_> = sockets.lines().map(|line| line.splitn(5, '\t').nth(4).unwrap()).collect();
    assert!(!original.is_empty() && payloads == original, "{} of {}: {recorded}", payloads.len(), original.len());

    let replay = |logs: &[&str]| json(&[&["replay"], logs, &["--config", text(&config), "--store", "none"]].concat());
    let (again, before) = (replay(&files), replay(&[text(&served)]));
    assert!(before["prints"].as_u64().unwrap() > 100, "{before}");
    assert_eq!(again["prints"], before["prints"], "{again}\n{before}");
    assert_eq!(again["rejected"], 0, "{again}");
}
