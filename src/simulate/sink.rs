//! Where frames go: into a frame log (zstd), or into batches in memory.

use std::io::{self, Write};

use super::digits::push_int;
use super::{Frame, Settings, SettingsError, Simulation, Truth};
use crate::frames::{Direction, FrameBatch, FrameRef};

/// Writes frames as a frame log, one line each.
pub struct LogSink<W: Write> {
    encoder: zstd::Encoder<'static, W>,
    line: Vec<u8>,
    /// Lines written.
    pub frames: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

impl<W: Write> LogSink<W> {
    /// A log at zstd's `level` (1 to 19).
    ///
    /// # Errors
    /// zstd's.
    pub fn new(out: W, level: i32) -> io::Result<Self> {
        Ok(Self { encoder: zstd::Encoder::new(out, level.clamp(1, 19))?, line: Vec::new(), frames: 0, bytes: 0 })
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// The file's.
    pub fn push(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let before = self.line.len();
        push_int(&mut self.line, frame.recv_ns);
        let direction = match frame.direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Http => "http",
        };
        for text in [frame.venue.as_str(), frame.connection, direction] {
            self.line.push(b'\t');
            self.line.extend_from_slice(text.as_bytes());
        }
        self.line.push(b'\t');
        self.line.extend_from_slice(frame.payload);
        self.line.push(b'\n');
        self.frames += 1;
        self.bytes += (self.line.len() - before) as u64;
        if self.line.len() >= 1 << 17 { self.flush_lines() } else { Ok(()) }
    }

    /// Ends the log and gives its writer back.
    ///
    /// # Errors
    /// The file's.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_lines()?;
        self.encoder.finish()
    }

    fn flush_lines(&mut self) -> io::Result<()> {
        self.encoder.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

/// Gathers frames into a batch.
#[derive(Debug, Default)]
pub struct Batcher {
    /// What has been gathered.
    pub batch: FrameBatch,
    line: u64,
}

impl Batcher {
    /// Takes a frame. Its line number is its running number, from 1.
    ///
    /// # Errors
    /// If the batch would exceed 4 GiB, which a second of the largest market does not.
    pub fn push(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let place = |n: usize| u32::try_from(n).map_err(|_| io::Error::other("gathering simulated frames: a batch over 4 GiB"));
        let (start, len) = (place(self.batch.bytes.len())?, place(frame.payload.len())?);
        place(self.batch.bytes.len() + frame.payload.len())?;
        self.batch.bytes.extend_from_slice(frame.payload);
        self.line += 1;
        let Frame { recv_ns, venue, direction, .. } = frame;
        self.batch.frames.push(FrameRef { recv_ns, line: self.line, start, len, venue, direction });
        Ok(())
    }

    /// Takes the batch out; numbering goes on.
    pub fn take(&mut self) -> FrameBatch {
        let (bytes, frames) = (self.batch.bytes.capacity(), self.batch.frames.capacity());
        let next = FrameBatch { bytes: Vec::with_capacity(bytes), frames: Vec::with_capacity(frames), defects: Vec::new() };
        std::mem::replace(&mut self.batch, next)
    }
}

/// A simulation as batches of at least `frames_min` frames (the last may hold fewer), cut at full seconds.
#[derive(Debug)]
pub struct Batches {
    simulation: Simulation,
    batcher: Batcher,
    frames_min: usize,
    over: bool,
}

impl Batches {
    /// A market about to open.
    ///
    /// # Errors
    /// A setting outside its limits.
    pub fn new(settings: Settings, frames_min: usize) -> Result<Self, SettingsError> {
        Ok(Self {
            simulation: Simulation::new(settings)?,
            batcher: Batcher::default(),
            frames_min: frames_min.max(1),
            over: false,
        })
    }

    /// How far the market has come, UTC ms.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.simulation.now_ms()
    }

    /// What was really going on. Complete once the iterator has ended.
    #[must_use]
    pub fn truth(&self) -> Truth {
        self.simulation.truth()
    }
}

impl Iterator for Batches {
    type Item = io::Result<FrameBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over && self.batcher.batch.frames.len() < self.frames_min {
            match self.simulation.second(&mut |frame| self.batcher.push(frame)) {
                Ok(more) => self.over = !more,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
        (!self.batcher.batch.frames.is_empty()).then(|| Ok(self.batcher.take()))
    }
}
