//! What can go wrong with a frame log as a whole. What is wrong with one line is a [`super::Defect`], not an error.

use std::io;
use std::path::PathBuf;

/// Why a frame log can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameLogError {
    /// The file can't be opened.
    #[error("cannot open frame log {path}: {source}; {advice}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The file can't be read further.
    #[error("cannot read frame log {path}: {source}; check the disk, then start again: what was read before is kept")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file can't be written.
    #[error("cannot write the frame log: {0}; check that its disk has room and can be written to")]
    Write(#[from] io::Error),
    /// A frame that would not be readable again.
    #[error("cannot log a frame: {what}; {advice}")]
    Refused {
        /// What is wrong with it.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
}

impl FrameLogError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write(source) => {
                matches!(source.kind(), io::ErrorKind::Interrupted | io::ErrorKind::StorageFull | io::ErrorKind::TimedOut)
            }
            Self::Open { .. } | Self::Refused { .. } => false,
        }
    }

    pub(super) fn open(path: PathBuf, source: io::Error) -> Self {
        let advice = match source.kind() {
            io::ErrorKind::NotFound => "check the path: there is no such file",
            io::ErrorKind::PermissionDenied => "give this user the right to read it (chmod, chown)",
            io::ErrorKind::AlreadyExists => "a frame log is never overwritten: choose another name or move it away",
            io::ErrorKind::IsADirectory => "name a file inside that directory",
            _ => "check that it is a file that can be opened",
        };
        Self::Open { path, source, advice }
    }
}
