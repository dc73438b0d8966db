//! What is recorded from a venue replays like the original.

#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::built::json;
use program::{Program, kill, text};

#[test]
fn a_recording_of_the_mock_venue_replays_like_what_it_served() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("record.toml");
    let market = Program::built().market(dir.path(), "--seed 3 --symbols 1 --hours 0.5 --venues bybit-linear").unwrap();
    let log = String::from_utf8(zstd::decode_all(std::fs::File::open(&market).unwrap()).unwrap()).unwrap();
    let served = dir.path().join("served");
    let sockets: String = log.lines().filter(|line| line.contains("\tin\t")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&served, &sockets).unwrap();

    let (mut venue, address) = Program::built().venue(&served, "--wait-for-subscriptions 4");
    let feed = format!(
        "[time]\nskew_ms_max = 0\n[feeds.bybit_linear]\nsymbols = [\"BTCUSDT\"]\n\
         streams = [\"trades\", \"klines\", \"tickers\", \"liquidations\"]\nws_url = \"ws://{address}\"\n"
    );
    std::fs::write(&config, feed).unwrap();
    let out = dir.path().join("recorded");
    let recorded = json(&["record", "--config", text(&config), "--out", text(&out), "--for-secs", "4"]);
    kill(&mut venue);

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
