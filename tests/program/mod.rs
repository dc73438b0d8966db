//! The program under test, as processes: run to its end, started, waited for, signalled, asked what it stored.
//!
//! For tests cargo builds it ([`built`]); examples/soak, which has this module too, is told where it is.

#![allow(dead_code, clippy::unwrap_used)] // cargo builds this into each test and the soak, and none uses all of it

#[cfg(test)]
pub mod built;
pub mod market;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

/// A built binary.
#[derive(Clone)]
pub struct Program {
    pub path: PathBuf,
}

impl Program {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs it to its end, which must be a success: its stdout.
    pub fn output(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.command(args).output().with_context(|| format!("starting {}", self.path.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "regimeflow {}: {}\n{said}", args.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What the store in a directory answers, a row a line, cells apart by tabs.
    pub fn answer(&self, store: &Path, sql: &str) -> anyhow::Result<String> {
        self.output(&["query", "--store", text(store), "--format", "TSV", sql])
    }

    /// The hashes of a store's views; `store` as on the command line.
    pub fn dump(&self, store: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.output(&[&["dump"], store, &["--json"]].concat())?)?)
    }

    /// The hash over all views of the store in a directory.
    pub fn hash(&self, store: &Path) -> anyhow::Result<String> {
        let dump = self.dump(&["--store", text(store)])?;
        Ok(dump["sha256"].as_str().context("the dump has no hash over all views")?.to_owned())
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Looks again and again, until it is so (true) or the time is up.
pub fn until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !is_so() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
    true
}

/// How it ended, if it does in that time.
pub fn ended_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut ended = None;
    until(limit, || {
        ended = child.try_wait().ok().flatten();
        ended.is_some()
    });
    ended
}

/// SIGKILL, and gone when this returns.
pub fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Sends a signal to a process that may be gone: whether it was there.
pub fn signal(pid: u32, name: &str) -> bool {
    let command = format!("kill -{name} {pid}");
    Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
