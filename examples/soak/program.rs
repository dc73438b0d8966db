//! The program under test, as processes: started, signalled, looked at. Nothing of it is linked in.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The built binary.
#[derive(Clone)]
pub struct Program {
    pub path: PathBuf,
}

impl Program {
    /// Runs it to its end; its stdout.
    pub fn output(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.path).args(args).stdin(Stdio::null()).output().context("starting the program")?;
        if !output.status.success() {
            bail!("regimeflow {}: {}\n{}", args.join(" "), output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it; stdout and stderr are added to files beside each other. What is still alive at the end of the soak dies with [`Running`].
    pub fn start(&self, args: &[&str], log: &Path, env: &[(&str, &str)]) -> anyhow::Result<Running> {
        let file = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let (err, out) = (file(log)?, file(&log.with_extension("out"))?);
        let mut command = Command::new(&self.path);
        command.args(args).envs(env.iter().copied()).stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().with_context(|| format!("starting {}", self.path.display()))?;
        Ok(Running { child })
    }
}

/// A process of ours.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may be gone already
        let _ = self.child.wait();
    }

    /// Waits so long for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal(self.pid(), "CONT");
        self.kill();
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).stderr(Stdio::null()).status(); // it may be gone
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
