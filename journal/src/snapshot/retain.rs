//! Forgetting: old snapshots, and the segments that no kept snapshot needs.

use std::path::PathBuf;
use std::sync::PoisonError;

use super::{Id, Snapshots, ids, remove_debris};
use crate::journal::segments_of;
use crate::segment::SegmentFile;
use crate::{Error, Seq};

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The last records of the snapshots that went.
    pub snapshots: Vec<Seq>,
    /// The segments that went.
    pub segments: Vec<PathBuf>,
}

impl Snapshots {
    /// Keeps the newest `keep` snapshots (1 at least), the records after the oldest of them, and those known at `known_from` (UTC ms) or later. As long as
    /// there are fewer, all records are kept: the first of them is as good as a snapshot. One whose manifest or lengths are wrong doesn't count.
    ///
    /// May be killed anywhere: a snapshot's manifest goes before its parts, snapshots before segments, segments from the oldest on, each
    /// step made durable before the next. So what is left can always be recovered from, and the next call finishes the work.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn retain(&self, keep: usize, known_from: u64) -> Result<Removed, Error> {
        let _only = self.held.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Removed::default();
        let mut ids = ids(&self.names()?);
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept = Vec::new();
        for id in ids {
            if kept.len() == keep.max(1) {
                self.remove_snapshot(id)?;
                removed.snapshots.push(id.up_to);
            } else if self.seems_whole(id)? {
                kept.push(id.up_to);
            }
        }
        remove_debris(&*self.disk, &self.dir, &self.names()?)?;
        if kept.len() == keep.max(1)
            && let Some(&floor) = kept.last()
        {
            self.remove_segments(floor, known_from, &mut removed)?;
        }
        Ok(removed)
    }

    /// Removes those that include more than the records up to `last`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn remove_after(&self, last: Seq) -> Result<(), Error> {
        let _only = self.held.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.names()?;
        let gone: Vec<Id> = ids(&names).into_iter().filter(|id| id.up_to > last).collect();
        gone.iter().try_for_each(|id| self.remove_snapshot(*id))?;
        if gone.is_empty() { Ok(()) } else { remove_debris(&*self.disk, &self.dir, &self.names()?) }
    }

    fn remove_snapshot(&self, id: Id) -> Result<(), Error> {
        let path = id.manifest(&self.dir);
        self.disk.remove(&path).map_err(Error::io("remove", &path))?;
        self.disk.fsync_dir(&self.dir).map_err(Error::io("fsync", &self.dir)) // its parts are debris from here on
    }

    fn remove_segments(&self, floor: Seq, known_from: u64, removed: &mut Removed) -> Result<(), Error> {
        let segments = segments_of(&self.dir, &self.names()?);
        // A segment ends where the next begins, and knowledge time never falls.
        for (segment, later) in segments.iter().zip((1..).map_while(|at| segments.get(at..).filter(|later| !later.is_empty()))) {
            if later[0].first > floor.saturating_add(1) || self.begin_at(later)?.is_none_or(|known_at| known_at > known_from) {
                break;
            }
            self.disk.remove(&segment.path).map_err(Error::io("remove", &segment.path))?;
            self.disk.fsync_dir(&self.dir).map_err(Error::io("fsync", &self.dir))?;
            removed.segments.push(segment.path.clone());
        }
        Ok(())
    }

    /// When the first record of these became known. One without records, or with none that can be read, is passed over.
    fn begin_at(&self, files: &[SegmentFile]) -> Result<Option<u64>, Error> {
        files.iter().find_map(|file| file.begins_at(&*self.disk).transpose()).transpose()
    }

    fn seems_whole(&self, id: Id) -> Result<bool, Error> {
        let Ok(manifest) = self.manifest(id)? else { return Ok(false) };
        let has_length =
            |part: &super::Part| self.disk.len(&id.part(&self.dir, &part.name)).is_ok_and(|bytes| bytes == part.bytes);
        Ok(manifest.parts.iter().all(has_length))
    }
}
