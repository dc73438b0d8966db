//! Who speaks when: the releases of one symbol and time frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chain::Prepared;
use crate::model::ModelId;
use crate::models::{Release, Status};

/// Releases beyond this are forgotten, the oldest first.
const RELEASES_MAX: usize = 256;

/// In order of the bars from which they count.
#[derive(Default)]
pub(super) struct Timeline(BTreeMap<Release, Arc<Prepared>>);

impl Timeline {
    /// False: it was known.
    pub fn add(&mut self, release: Release, prepare: impl FnOnce() -> Option<Prepared>) -> bool {
        if self.0.contains_key(&release) {
            return false;
        }
        let known = self.0.values().find(|known| known.model.id == release.model.id).cloned();
        let Some(prepared) = known.or_else(|| prepare().map(Arc::new)) else { return false };
        self.0.insert(release, prepared);
        if self.0.len() > RELEASES_MAX {
            self.0.pop_first();
        }
        true
    }

    /// The active model of the bar that opens at `ts`.
    pub fn speaking(&self, ts: i64) -> Option<&Arc<Prepared>> {
        let mut retired: Vec<&ModelId> = Vec::new();
        for (release, prepared) in self.0.iter().rev().filter(|(release, _)| release.from() <= ts) {
            match release.status {
                Status::Active if retired.contains(&&release.model.id) => return None,
                Status::Active => return Some(prepared),
                Status::Retired => retired.push(&release.model.id),
                Status::Candidate => {}
            }
        }
        None
    }

    /// The newest candidate that has become nothing else by the bar that opens at `ts`.
    pub fn candidate(&self, ts: i64) -> Option<&Arc<Prepared>> {
        let mut decided: Vec<&ModelId> = Vec::new();
        for (release, prepared) in self.0.iter().rev().filter(|(release, _)| release.from() <= ts) {
            match release.status {
                Status::Candidate if !decided.contains(&&release.model.id) => return Some(prepared),
                Status::Candidate => {}
                Status::Active | Status::Retired => decided.push(&release.model.id),
            }
        }
        None
    }
}
