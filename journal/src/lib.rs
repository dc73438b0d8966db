//! The journal.
#![allow(missing_docs)]

/// A record's number.
pub type Seq = u64;

mod batch;
mod disk;
mod doctor;
mod error;
mod format;
mod group_sync;
mod journal;
mod records;
mod segment;
mod snapshot;
mod survey;
mod writer;

pub use disk::{AppendFile, Disk, Lock, RealDisk};
pub use doctor::{Report, doctor};
pub use error::{Error, Refused};
pub use format::{PAYLOAD_BYTES_MAX, VERSION};
pub use group_sync::{GroupSync, Health};
pub use journal::{Journal, OnDamage, Options, Tail};
pub use records::{Record, Records, Skipped};
pub use snapshot::{Found, Manifest, NewSnapshot, Part, Removed, Snapshot, Snapshots};
pub use writer::Writer;
