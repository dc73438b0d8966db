//! `regimeflow status`: how a live run is doing, as it last wrote it down. Of several processes each of those whose journals lie here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::report::grouped;
use super::{EX_UNAVAILABLE, Failure, print, print_json, read_config, store_location};
use crate::clock;
use crate::status::Report;
use crate::status::lag::Spread;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run's configuration; it says where its journal is.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The run's store: a directory or a ClickHouse URL.
    #[arg(long)]
    store: Option<String>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command. It ends with 69 if no run has written anything there.
///
/// # Errors
/// A configuration without a journal, or a file that can't be read.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let mut config = read_config(args.config.as_deref())?;
    store_location(&mut config, args.store.as_deref());
    let unavailable = |message: String| Failure { code: EX_UNAVAILABLE, message };
    let Some(journal) = config.journal(false) else {
        return Err(
            unavailable("no journal is kept, so no status is: set journal.enabled and a store or journal.dir".into()).into()
        );
    };
    if let Some(report) = read(&journal.dir)? {
        if args.json {
            print_json(&json(&report))?
        } else {
            print(&text_now(&report))?
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut processes = Vec::new();
    for (name, dir) in process_dirs(&journal.dir) {
        processes.extend(read(&dir)?.map(|report| (name, report)));
    }
    if processes.is_empty() {
        let path = Report::path(&journal.dir);
        let path = path.display();
        return Err(unavailable(format!("there is no {path}: no run has been there; give the --config or --store of one")).into());
    }
    if args.json {
        let all: serde_json::Map<_, _> = processes.into_iter().map(|(name, report)| (name, json(&report))).collect();
        print_json(&all)?;
    } else {
        let all: Vec<_> = processes.iter().map(|(name, report)| format!("{name}\n{}", text_now(report))).collect();
        print(&all.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(dir: &Path) -> anyhow::Result<Option<Report>> {
    Report::read(dir).with_context(|| format!("reading {}", Report::path(dir).display()))
}

/// Where several processes keep their journals, if they do.
fn process_dirs(dir: &Path) -> Vec<(String, PathBuf)> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut dirs: Vec<_> = names.filter(|name| name.starts_with("process-")).map(|name| (name.clone(), dir.join(name))).collect();
    dirs.sort_unstable();
    dirs
}

fn age_ms(report: &Report) -> i64 {
    (clock::now_ms() - report.written_at).max(0)
}

fn json(report: &Report) -> serde_json::Value {
    json!({ "age_ms": age_ms(report), "lives": report.lives(), "status": report })
}

fn text_now(report: &Report) -> String {
    text(report, age_ms(report), report.lives())
}

fn text(report: &Report, age_ms: i64, lives: Option<bool>) -> String {
    let process = match lives {
        Some(true) => "runs",
        Some(false) => "has ended; this is what it said last",
        None => "may or may not run",
    };
    let spread = |spread: &Spread| format!("{} ms usual, 99 of 100 within {}, at most {}", spread.p50, spread.p99, spread.max);
    let mut lines = vec![
        (
            "process",
            format!("{} {process}; written {} s ago; {} restarts", report.pid, seconds(age_ms.unsigned_abs()), report.restarts),
        ),
        ("lag", format!("{} ms now; last minute: {}", report.lag_now_ms, spread(&report.lag_ms))),
        ("intake", format!("last minute: {}", spread(&report.intake_ms))),
        ("kept", format!("{} quanta, {} rows", grouped(report.quanta), grouped(report.rows))),
    ];
    if report.lagging_since.is_some() {
        lines.push(("alarm", "the pipeline lags, and people were told".into()));
    }
    let behind = |known_at: u64| seconds(report.written_at.unsigned_abs().saturating_sub(known_at));
    match report.snapshot_known_at {
        0 => lines.push(("snapshot", "none in this run yet".into())),
        known_at => lines.push(("snapshot", format!("{} s old", behind(known_at)))),
    }
    if let Some(journal) = &report.journal {
        let failing = journal.failing.as_deref().map_or(String::new(), |why| format!("; FAILING: {why}"));
        let (waiting, ms) = (grouped(journal.waiting_bytes), journal.waiting_ms);
        lines.push((
            "journal",
            format!("record {}, durable {}; {waiting} bytes wait since {ms} ms{failing}", journal.taken, journal.durable),
        ));
    }
    if let Some(store) = &report.store {
        let state = match (store.full, store.away, store.draining) {
            (true, ..) => "FULL, everything waits",
            (_, true, _) => "ClickHouse is AWAY",
            (_, _, true) => "draining",
            _ => "takes rows",
        };
        let oldest = store.spool_oldest_age_ms.map_or(String::new(), |age| format!(", the oldest {} s old", seconds(age)));
        let error = store.last_error.as_deref().map_or(String::new(), |error| format!("; {error}"));
        let (rows, bytes) = (grouped(store.spool_rows), grouped(store.spool_bytes));
        lines.push((
            "store",
            format!("{state}; spool {rows} rows, {bytes} bytes{oldest}; {} dead letters{error}", store.dead_letters),
        ));
    }
    let (mib, files, threads) = (report.rss_bytes >> 20, report.open_files, report.threads);
    lines.push(("memory", format!("{mib} MiB, {files} open files, {threads} threads")));
    lines.into_iter().map(|(name, what)| format!("{name:9} {what}\n")).collect()
}

fn seconds(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_out() {
        let store = crate::status::report::Store { away: true, spool_rows: 12_000, ..Default::default() };
        let report = Report { pid: 7, written_at: 5_000, snapshot_known_at: 2_000, store: Some(store), ..Report::default() };
        let text = text(&report, 1_500, Some(false));
        for part in ["7 has ended", "written 1.5 s ago", "3.0 s old", "AWAY; spool 12,000 rows"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
