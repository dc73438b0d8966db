//! What a restart goes on from.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::recovery;

/// What a restart goes on from. A replay keeps a journal only with `--journal DIR`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// What enters is on disk before anything follows from it. Without it a restart begins with nothing.
    pub enabled: bool,
    /// The directory. Unset: `journal` in the store's directory, `regimeflow-journal` here if the store is a server; without a store
    /// none is kept.
    pub dir: Option<PathBuf>,
    /// What enters is on disk after this time at the latest; what people are to be told doesn't wait for it.
    #[schemars(range(min = 1, max = 250))]
    pub fsync_ms: u64,
    /// So often a snapshot takes the place of older records: a restart reads less, and the disk is freed.
    #[schemars(range(min = 1, max = 86_400))]
    pub snapshot_every_s: u64,
    /// Records are kept for so long at least, in hours: after a change of the configuration or of the program, views are made again from them.
    #[schemars(range(max = 8_760))]
    pub keep_h: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { enabled: true, dir: None, fsync_ms: 100, snapshot_every_s: 300, keep_h: 26 }
    }
}

impl Config {
    /// Where and how a run keeps its journal; `None`: it keeps none.
    #[must_use]
    pub fn journal(&self, skips_damage: bool) -> Option<recovery::Settings> {
        let location = &self.store.location;
        let usual = match location.as_str() {
            "none" => None,
            server if server.contains("://") => Some("regimeflow-journal".into()),
            directory => Some(PathBuf::from(directory).join("journal")),
        };
        let dir = self.journal.dir.clone().or(usual).filter(|_| self.journal.enabled)?;
        Some(self.journal_in(dir, skips_damage))
    }

    /// A journal in another directory.
    #[must_use]
    pub fn journal_in(&self, dir: PathBuf, skips_damage: bool) -> recovery::Settings {
        recovery::Settings {
            dir,
            fsync_every: Duration::from_millis(self.journal.fsync_ms),
            snapshot_every: Duration::from_secs(self.journal.snapshot_every_s),
            keep_for: Duration::from_secs(self.journal.keep_h * 3_600),
            skips_damage,
        }
    }
}
