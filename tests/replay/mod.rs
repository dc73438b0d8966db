//! A replay with a journal and a webhook that can be killed and started again and again: its places, its command line, what it came to.

use std::path::{Path, PathBuf};
use std::process::Command;

use regimeflow::crash;

use crate::hook::{Hook, Told};
use crate::program::{Program, text};

/// The hash over all views, and what was told.
pub type Outcome = (String, Told);

/// See the module. `D`: a directory of its own.
pub struct Replay<D> {
    dir: D,
    frames: PathBuf,
    hook: Hook,
    pub speed: String,
}

impl<D: AsRef<Path>> Replay<D> {
    /// `journal` are that section's lines of the configuration.
    pub fn new(dir: D, frames: &Path, speed: &str, journal: &str) -> std::io::Result<Self> {
        let hook = Hook::start()?;
        std::fs::write(dir.as_ref().join("config.toml"), format!("[journal]\n{journal}\n{}", hook.config()))?;
        Ok(Self { dir, frames: frames.to_owned(), hook, speed: speed.to_owned() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.as_ref().join(name)
    }

    pub fn command(&self, program: &Program, workers: usize, crash_at: Option<&str>) -> Command {
        let args = ["replay", text(&self.frames), "--json", "--workers", &workers.to_string(), "--speed", &self.speed];
        let mut command = program.command(&args);
        command.arg("--config").arg(self.path("config.toml")).arg("--store").arg(self.path("store"));
        command.arg("--journal").arg(self.path("journal"));
        match crash_at {
            Some(point) => command.env(crash::VARIABLE, point),
            None => command.env_remove(crash::VARIABLE),
        };
        command
    }

    pub fn outcome(&self, program: &Program) -> anyhow::Result<Outcome> {
        Ok((program.hash(&self.path("store"))?, self.hook.told()))
    }
}
