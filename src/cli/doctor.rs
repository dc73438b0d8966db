//! `regimeflow doctor`: whether this machine can keep what it is asked to keep, measured where it would be kept.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use journal::RealDisk;
use serde::Serialize;

use super::{EX_IO, print, print_json, read_config, report, store_location};
use crate::config::Config;
use crate::notify;
use crate::store::install;

/// Less free space than this is told of.
const FREE_BYTES_MIN: u64 = 2 << 30;
/// Connections, ClickHouse and segments want some hundreds.
const OPEN_FILES_MIN: u64 = 1_024;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Configuration; it says where things are kept.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A directory (embedded engine), a ClickHouse URL, or `none`.
    #[arg(long)]
    store: Option<String>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// How it is with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    /// It works, and somebody should know.
    Doubtful,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do about it; empty if nothing is.
    advice: String,
}

/// Runs the command. It ends with 74 if anything is bad.
///
/// # Errors
/// A configuration that is wrong.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut config = read_config(args.config.as_deref())?;
    store_location(&mut config, args.store.as_deref());
    let findings = look(&config);
    if args.json {
        print_json(&findings)?;
    } else {
        let row = |finding: &Finding| {
            let verdict = format!("{:?}", finding.verdict).to_lowercase();
            vec![finding.what.to_owned(), verdict, finding.found.clone(), finding.advice.clone()]
        };
        print(&format!("{}\n", report::table(&["what", "verdict", "found", "what to do"], findings.iter().map(row))))?;
    }
    let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if is_bad { ExitCode::from(EX_IO) } else { ExitCode::SUCCESS })
}

fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match config.journal(false) {
        Some(journal) => disk("the journal's disk", &journal.dir, Some(config.journal.fsync_ms), &mut findings),
        None => findings.push(Finding {
            what: "the journal",
            verdict: Verdict::Doubtful,
            found: "none is kept".into(),
            advice: "a restart begins with nothing: set journal.enabled and journal.dir to keep one".into(),
        }),
    }
    let outbox = notify::outbox_path(config);
    let beside = outbox.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk("the outbox's disk", beside, None, &mut findings);
    let location = config.store.location.as_str();
    if location != "none" && !location.contains("://") {
        disk("the store's disk", Path::new(location), None, &mut findings);
        findings.push(engine());
    }
    findings.extend(open_files());
    findings
}

/// Measures a disk, in a second or so.
fn disk(what: &'static str, dir: &Path, fsync_ms: Option<u64>, findings: &mut Vec<Finding>) {
    let finding = match journal::doctor(&RealDisk, dir) {
        Err(error) => Finding {
            what,
            verdict: Verdict::Bad,
            found: error.to_string(),
            advice: "give it a directory that can be written".into(),
        },
        Ok(measured) => {
            let journal::Report { fsync_p50, fsync_p99, fsync_max, write_bytes_per_sec, free_bytes } = measured;
            let found = format!(
                "fsync {:.1} ms (99 of 100 within {:.1}, at most {:.1}); writes {} MB/s; {:.1} GB free in {}",
                fsync_p50.as_secs_f64() * 1e3,
                fsync_p99.as_secs_f64() * 1e3,
                fsync_max.as_secs_f64() * 1e3,
                write_bytes_per_sec / 1_000_000,
                free_bytes as f64 / 1e9,
                dir.display()
            );
            let is_slow = fsync_ms.is_some_and(|limit| fsync_p99.as_millis() > u128::from(limit));
            let (verdict, advice) = match (free_bytes < FREE_BYTES_MIN, is_slow) {
                (true, _) => (Verdict::Doubtful, "make room: on a full disk everything waits"),
                (_, true) => {
                    (Verdict::Doubtful, "its fsync takes longer than journal.fsync_ms: answers will come later than they could")
                }
                _ => (Verdict::Good, ""),
            };
            Finding { what, verdict, found, advice: advice.into() }
        }
    };
    findings.push(finding);
}

fn engine() -> Finding {
    let what = "the embedded engine";
    match install::library() {
        Ok(path) => Finding { what, verdict: Verdict::Good, found: path.display().to_string(), advice: String::new() },
        Err(error) => Finding {
            what,
            verdict: Verdict::Bad,
            found: error.to_string(),
            advice: "or give a ClickHouse URL with --store".into(),
        },
    }
}

/// Linux says it in a file; elsewhere nothing is said.
fn open_files() -> Option<Finding> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let soft = line.split_whitespace().nth(3)?;
    let is_enough = soft == "unlimited" || soft.parse::<u64>().is_ok_and(|files| files >= OPEN_FILES_MIN);
    let (verdict, advice) = if is_enough { (Verdict::Good, "") } else { (Verdict::Doubtful, "raise it: ulimit -n 4096") };
    Some(Finding { what: "open files", verdict, found: format!("{soft} at most"), advice: advice.into() })
}
