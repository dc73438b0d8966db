//! Writes a frame log: one zstd stream, a line per frame.
//!
//! What was written before a [`FrameLogWriter::flush`] is readable after a crash: a flush ends a zstd block and hands it
//! to the system. Whoever owns the writer decides when to flush, when to sync, and when to begin the next file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use dataflows::model::Venue;

use super::error::FrameLogError;
use super::{Direction, FRAME_BYTES_MAX};

const LEVEL: i32 = 3;

/// Appends frames to a zstd stream.
pub struct FrameLogWriter<W: Write> {
    encoder: zstd::Encoder<'static, W>,
    line: Vec<u8>,
    lines: u64,
    bytes: u64,
}

impl FrameLogWriter<File> {
    /// Begins a new file. An existing one is never overwritten.
    ///
    /// # Errors
    /// [`FrameLogError::Open`], naming the file.
    pub fn create(path: &Path) -> Result<Self, FrameLogError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        Self::new(file.map_err(|e| FrameLogError::open(path.to_owned(), e))?)
    }
}

impl<W: Write> FrameLogWriter<W> {
    /// Begins a stream.
    ///
    /// # Errors
    /// [`FrameLogError::Write`].
    pub fn new(out: W) -> Result<Self, FrameLogError> {
        Ok(Self { encoder: zstd::Encoder::new(out, LEVEL)?, line: Vec::new(), lines: 0, bytes: 0 })
    }

    /// Appends a frame. A newline inside the payload is written as a space: in JSON it can only be white space.
    ///
    /// # Errors
    /// [`FrameLogError::Refused`] for a tab or a newline in `connection` and for a payload over 1 MiB; [`FrameLogError::Write`].
    pub fn append(
        &mut self,
        recv_ns: i64,
        venue: Venue,
        connection: &str,
        direction: Direction,
        payload: &[u8],
    ) -> Result<(), FrameLogError> {
        let refused = |what, advice| Err(FrameLogError::Refused { what, advice });
        if connection.contains(['\t', '\n', '\r']) {
            return refused("its connection's name holds a tab or a newline", "name the connection without them");
        }
        if payload.len() > FRAME_BYTES_MAX {
            return refused("its payload is over 1 MiB", "count it as rejected instead");
        }
        if recv_ns < 0 {
            return refused("its time of receipt is before 1970", "set the clock");
        }
        let direction = match direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Http => "http",
        };
        self.line.clear();
        write!(self.line, "{recv_ns}\t{venue}\t{connection}\t{direction}\t")?;
        self.line.extend(payload.iter().map(|&b| if b == b'\n' { b' ' } else { b }));
        self.line.push(b'\n');
        self.encoder.write_all(&self.line)?;
        self.lines += 1;
        self.bytes += self.line.len() as u64;
        Ok(())
    }

    /// Ends the current zstd block, so that everything appended so far can be read back even if nothing follows.
    ///
    /// # Errors
    /// [`FrameLogError::Write`].
    pub fn flush(&mut self) -> Result<(), FrameLogError> {
        Ok(self.encoder.flush()?)
    }

    /// Ends the stream and gives back what it was written to (a file's owner may want to sync it).
    ///
    /// # Errors
    /// [`FrameLogError::Write`].
    pub fn finish(self) -> Result<W, FrameLogError> {
        let mut out = self.encoder.finish()?;
        out.flush()?;
        Ok(out)
    }

    /// Lines appended.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Bytes appended, before compression.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
