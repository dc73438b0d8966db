//! Changes of rule files and configuration while it runs: looked for once a second, and at SIGHUP at once.
//!
//! Only what alerts are about is taken over: rules, channels, routes. A bad edit is refused with all that is wrong, and what was in force stays.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use alerts::desk::Setup;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::plan;
use crate::config::{Alerts, Config, Webhook};
use crate::rules::{self, Rules};

/// Files are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What has changed.
pub enum Reload {
    /// Another set of rules.
    Rules(Rules),
    /// Other channels or routes.
    Setup(Box<Setup>),
}

/// A file as it was when it was last read.
type Seen = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// Watches the files until `stop`, and gives what changes in them.
pub async fn watch(path: Option<PathBuf>, config: Config, stop: CancellationToken, changed: mpsc::Sender<Reload>) {
    let mut watcher = Watcher { seen: files(path.as_deref(), &config), path, rules: None, config };
    watcher.rules =
        watcher.config.alerts.rules.as_deref().and_then(|directory| Rules::load(directory).ok()).map(|(rules, _)| rules);
    let Ok(mut hangup) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) else { return };
    loop {
        let forced = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        for reload in watcher.look(forced) {
            if changed.send(reload).await.is_err() {
                return;
            }
        }
    }
}

struct Watcher {
    path: Option<PathBuf>,
    config: Config,
    rules: Option<Rules>,
    seen: Seen,
}

impl Watcher {
    fn look(&mut self, forced: bool) -> Vec<Reload> {
        let now = files(self.path.as_deref(), &self.config);
        if now == self.seen && !forced {
            return Vec::new();
        }
        self.seen = now;
        let mut reloads = Vec::new();
        let rules_were = self.config.alerts.rules.clone();
        match self.configuration(forced) {
            Ok(setup) => reloads.extend(setup.map(|setup| Reload::Setup(Box::new(setup)))),
            Err(e) => {
                tracing::error!("the configuration is refused, the old one stays in force:\n{e:#}");
                return reloads;
            }
        }
        let loaded = match self.config.alerts.rules.as_deref() {
            Some(directory) => Rules::load(directory).map(|(rules, warnings)| {
                warnings.iter().for_each(|warning| tracing::warn!(%warning, "a rule may not do what was meant"));
                rules
            }),
            None => Ok(Rules::default()),
        };
        match loaded {
            Ok(rules) if self.rules.as_ref() != Some(&rules) || rules_were != self.config.alerts.rules => {
                tracing::info!(rules = rules.0.len(), "rules read anew");
                self.rules = Some(rules.clone());
                reloads.push(Reload::Rules(rules));
            }
            Ok(_) => {}
            Err(errors) => tracing::error!("the rules are refused, the old ones stay in force:\n{errors}"),
        }
        reloads
    }

    /// Another setup, if what it follows from has changed.
    fn configuration(&mut self, forced: bool) -> anyhow::Result<Option<Setup>> {
        let Some(path) = &self.path else { return Ok(None) };
        let read = Config::load(path)?;
        let of = |config: &Config| -> (Alerts, Vec<Webhook>) { (config.alerts.clone(), config.webhooks.clone()) };
        // Secrets are in files of their own, which SIGHUP reads again.
        if of(&read) == of(&self.config) && !forced {
            return Ok(None);
        }
        let setup = plan(&read)?.setup;
        (self.config.alerts, self.config.webhooks) = of(&read);
        tracing::info!(channels = setup.channels.len(), "channels and routes read anew");
        Ok(Some(setup))
    }
}

fn files(path: Option<&Path>, config: &Config) -> Seen {
    let rules = config.alerts.rules.as_deref().map(|directory| rules::files(directory).unwrap_or_default()).unwrap_or_default();
    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    path.map(Path::to_path_buf).into_iter().chain(rules).map(|path| (path.clone(), stamp(&path))).collect()
}
