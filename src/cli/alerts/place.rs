//! Where the outbox is, what it says, and how an order gets into it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alerts::outbox::{self, Look, Order, OutboxError};
use alerts::policy::{Policy, PolicyConfig, RestoreError, StateKey};

use super::Failure;
use crate::cli::{EX_DATA, EX_IO, read_config};
use crate::clock;
use crate::config::Config;
use crate::notify;

/// A run looks for orders every half second; it is waited for so long that it has taken one.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// Where the outbox is.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Configuration of the run; without it the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The outbox's file, instead of the one that the configuration names.
    #[arg(long, value_name = "PATH")]
    outbox: Option<PathBuf>,
}

impl Place {
    /// The configuration.
    pub fn config(&self) -> anyhow::Result<Config> {
        read_config(self.config.as_deref())
    }

    /// The outbox's file, whether it is there or not.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        match &self.outbox {
            Some(path) => Ok(path.clone()),
            None => Ok(notify::outbox_path(&self.config()?)),
        }
    }

    /// The file and what it says. Where there is none a person is told so.
    pub fn look(&self) -> anyhow::Result<(PathBuf, Look)> {
        let path = self.path()?;
        let Some(look) = outbox::look(&path).map_err(|e| failed(&e))? else {
            eprintln!("there is no outbox at {} yet: `regimeflow run` makes it, or --outbox names another", path.display());
            return Ok((path, Look::default()));
        };
        Ok((path, look))
    }

    /// The policy as the outbox has it: with the configuration's routes, where one is given.
    pub fn policy(&self, look: &Look) -> anyhow::Result<Policy> {
        let config = self.config()?;
        let ways = notify::ways(&config).unwrap_or_default(); // what is wrong with them is `check`'s business
        policy(notify::policy_of(&config, &ways), look)
    }
}

/// The policy as it was kept, under this configuration.
pub fn policy(config: PolicyConfig, look: &Look) -> anyhow::Result<Policy> {
    let rows = look.policy.iter().map(|(key, body)| (StateKey::new(key), body.clone()));
    Policy::restore(config, rows).map_err(|e| {
        let code = if matches!(e, RestoreError::Config(_)) { crate::cli::EX_CONFIG } else { EX_DATA };
        Failure { code, message: e.to_string() }.into()
    })
}

/// The exit code of an outbox that can't be read or written.
pub fn failed(error: &OutboxError) -> Failure {
    let code = if matches!(error, OutboxError::Content { .. } | OutboxError::Version { .. }) { EX_DATA } else { EX_IO };
    Failure { code, message: error.to_string() }
}

/// Leaves the order, and says on stderr what will become of it. True: a run has taken it.
pub fn leave(path: &Path, order: &Order) -> anyhow::Result<bool> {
    let number = outbox::leave_order(path, order, clock::now_ms()).map_err(|e| failed(&e))?;
    if !outbox::is_open(path) {
        eprintln!("no run has {} open: the order waits for the next start", path.display());
        return Ok(false);
    }
    let begin = Instant::now();
    while begin.elapsed() < TAKEN_WITHIN {
        if !outbox::is_order_waiting(path, number).map_err(|e| failed(&e))? {
            eprintln!("the run has taken the order");
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("no run has taken the order from {} yet: one that is busy will, or else the next start", path.display());
    Ok(false)
}
