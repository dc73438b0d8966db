//! Frames: what came over the wire, with the time at which it came.
//!
//! A frame log is UTF-8 lines, zstd: `recv_ns <TAB> venue <TAB> connection <TAB> in|out|http <TAB> payload`
//! (`http`: URL, a space, the body). Live feeds make the same batches, so everything behind them is one path.

mod error;
mod line;
mod log;
mod recorder;
mod source;
mod writer;

use dataflows::model::Venue;

pub use error::FrameLogError;
pub use log::{BatchLimits, FrameLogReader};
pub use recorder::Recorder;
pub use writer::FrameLogWriter;

/// Frames longer than this are refused.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// What is kept of a refused frame.
pub const EXCERPT_BYTES_MAX: usize = 4096;

/// How a frame travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the venue, over a WebSocket.
    In,
    /// From us.
    Out,
    /// A REST answer: URL, a space, the body.
    Http,
}

/// Where one frame lies in its batch.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef {
    /// When it was received, ns since the epoch.
    pub recv_ns: i64,
    /// Its number in the log (from 1), or its running number in a live run.
    pub line: u64,
    /// Where its payload begins in [`FrameBatch::bytes`].
    pub start: u32,
    /// The payload's length.
    pub len: u32,
    /// From which venue.
    pub venue: Venue,
    /// How it travelled.
    pub direction: Direction,
}

/// Some frames in order of arrival, their payloads in one buffer.
#[derive(Clone, Debug, Default)]
pub struct FrameBatch {
    /// The payloads (and whatever lies between them).
    pub bytes: Vec<u8>,
    /// In order of arrival.
    pub frames: Vec<FrameRef>,
    /// Lines that are no frames.
    pub defects: Vec<Defect>,
}

impl FrameBatch {
    /// A frame's payload.
    #[must_use]
    pub fn payload(&self, frame: &FrameRef) -> &[u8] {
        &self.bytes[frame.start as usize..(frame.start + frame.len) as usize]
    }
}

/// A line of a frame log that is no frame, or a frame that was refused before it was looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Its number in the log, from 1.
    pub line: u64,
    /// When it was received, where it says so.
    pub recv_ns: Option<i64>,
    /// Its venue, as written.
    pub venue: String,
    /// Why: a constant sentence (`frame over 1 MiB`, `torn last line`, `unknown venue`).
    pub reason: &'static str,
    /// The beginning of the line.
    pub excerpt: Vec<u8>,
}
