//! What can go wrong, said so that somebody who is woken by it knows what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Seq, VERSION};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("can't {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record that had been acknowledged can't be read any more.
    #[error(
        "{} is damaged at byte {offset}, where record {seq} should be: {what}; restore the file from a copy, or allow damaged records to be skipped (they are lost then)",
        path.display()
    )]
    Damaged {
        /// In which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// The first record that is wanting.
        seq: Seq,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Records are in no file.
    #[error("records {from} to {to} are missing from {}: restore the files from a copy, or allow missing records to be skipped", dir.display())]
    Missing {
        /// The journal.
        dir: PathBuf,
        /// The first that is wanting.
        from: Seq,
        /// The last.
        to: Seq,
    },
    /// Written by a program of another time.
    #[error("{} is of format version {found}; this program reads version {VERSION}: use the program that wrote it, or move the file away", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Another process writes here.
    #[error("{} is in use by process {holder}: stop it, or give this one a directory of its own", dir.display())]
    Locked {
        /// The journal.
        dir: PathBuf,
        /// The pid of the process that has it.
        holder: String,
    },
    /// The caller asked for what can't be.
    #[error("{0}")]
    Asked(String),
}

impl Error {
    /// It may succeed when tried again: the disk was full, or failed once.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// So much waits to be made durable that there is no room; the record may be offered again.
    #[error("the journal's buffer is full: {waiting_bytes} bytes wait for the disk")]
    Full {
        /// Bytes that wait.
        waiting_bytes: usize,
    },
    /// It is larger than a record may be.
    #[error("a record of {bytes} bytes is too large: the most is {bytes_max}")]
    TooLarge {
        /// The payload.
        bytes: usize,
        /// The most.
        bytes_max: usize,
    },
    /// Kind 0 is the journal's own.
    #[error("record kind 0 is the journal's own: use 1 to 255")]
    Kind,
    /// The journal is being closed.
    #[error("the journal is closed")]
    Closed,
}
