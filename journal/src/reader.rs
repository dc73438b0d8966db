//! Reading durable records while the journal is being written.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::journal::{Held, segments_of};
use crate::records::Records;
use crate::{Error, OnDamage, Seq};

/// Reads beside the writer. May be used from any thread.
pub struct Reader {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) on_damage: OnDamage,
    pub(crate) _held: Arc<Held>,
}

impl Reader {
    /// The records from `from` up to `to`, which must be durable ([`crate::GroupSync::durable`]) and not removed
    /// ([`crate::Snapshots::retain`]). A segment that ends before `from` isn't opened.
    ///
    /// # Errors
    /// If the directory can't be listed.
    pub fn records(&self, from: Seq, to: Seq) -> Result<Records, Error> {
        let names = self.disk.list(&self.dir).map_err(Error::io("list", &self.dir))?;
        let mut segments = segments_of(&self.dir, &names);
        segments.retain(|segment| segment.first <= to); // what is not durable yet may be written again elsewhere
        let disk = Arc::clone(&self.disk);
        Ok(Records::new(disk, self.dir.clone(), self.on_damage, &segments, from.max(1), to, to))
    }
}
