//! Results go to stdout, as text or (`--json`) as one JSON value, and nothing else does.

#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::built::regimeflow;
use program::text;
use serde_json::{Value, json};

/// Runs a command that must succeed: its stdout and stderr.
fn ok(args: &[&str]) -> (String, String) {
    let output = regimeflow(args).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "regimeflow {args:?}: {}\n{err}", output.status);
    (out, err)
}

#[test]
fn simulate_counts_what_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (log, truth) = (dir.path().join("market.frames.zst"), dir.path().join("truth.jsonl"));
    let args = ["simulate", "--seed", "7", "--symbols", "1", "--hours", "2", "--bursts-per-day", "48"];
    let args = [&args[..], &["--out", text(&log), "--truth", text(&truth)]].concat();
    let (out, err) = ok(&[&args[..], &["--json"]].concat());
    assert_eq!(err, "");

    let figures: Value = serde_json::from_str(&out).unwrap();
    let written = zstd::decode_all(std::fs::File::open(&log).unwrap()).unwrap();
    let lines = written.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!((&figures["frames"], &figures["bytes"]), (&json!(lines), &json!(written.len())));
    assert_eq!((&figures["seed"], &figures["minutes"], &figures["out"]), (&json!(7), &json!(120), &json!(text(&log))));

    let truth = std::fs::read_to_string(&truth).unwrap();
    let lines: Vec<Value> = truth.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bursts: Vec<_> = lines.iter().filter(|line| line["kind"] == "burst").collect();
    let decoys = bursts.iter().filter(|burst| burst["decoy"] == true).count();
    assert!(!bursts.is_empty(), "{truth}");
    assert_eq!((&figures["cascades"], &figures["decoys"]), (&json!(bursts.len() - decoys), &json!(decoys)));

    let (out, err) = ok(&args);
    assert!(err.is_empty() && out.ends_with(&format!(": {}\n", text(&log))) && out.lines().count() == 1, "{out}{err}");
}

#[test]
fn the_mock_venue_reports_on_stdout_and_talks_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::fs::write(&log, "7\tbybit-linear\tc\tout\t{\"op\":\"ping\"}\nnot a frame\n7\tbybit-linear\tc\tin\t{\"to").unwrap();
    let args = ["mock-venue", text(&log), "--listen", "127.0.0.1:0", "--once"];
    let (out, err) = ok(&[&args[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["out"], &report["malformed"], &report["sent"]), (&json!(1), &json!(2), &json!(0)), "{report}");
    assert!(err.starts_with("listening on 127.0.0.1:"), "{err}");
    let (out, _) = ok(&args);
    assert!(out.ends_with("0 lines of no stream, 1 of ours, 2 malformed\n"), "{out}");
}
