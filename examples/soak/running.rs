//! Processes of the program under test that go on: started, looked at, ended.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;

use crate::program::{ended_within, signal};

/// A process of ours.
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts it; stdout and stderr are added to files beside each other. What is still alive at the end of the soak dies with this.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let (err, out) = (file(log)?, file(&log.with_extension("out"))?);
        let child = command.stdout(out).stderr(err).spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.wait(Duration::ZERO)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may be gone already
        let _ = self.child.wait();
    }

    /// Waits so long for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        ended_within(&mut self.child, limit)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal(self.pid(), "CONT");
        self.kill();
    }
}

/// The engine that serves a store's directory.
pub fn engine_of(store: &Path) -> Option<u32> {
    let wanted = store.to_str()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains("engine-child") && line.contains(wanted)).then_some(pid)
    })
}

/// The last lines of a log, for a message.
pub fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(4).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n    ")
}
