//! Keeps frames on disk: a directory with a log per hour (UTC), `2024-08-08T12Z.frames.zst`.
//!
//! An hour that is begun again, after a restart, gets a file of its own (`2024-08-08T12Z.2.frames.zst`): nothing is
//! overwritten, and `replay` merges files by the time of receipt. After a crash everything before the last
//! [`Recorder::flush`] can be read; a finished hour is synced. The line's connection is `live` or `rest`: batches don't say
//! which of a venue's sockets a frame came over.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use chrono::DateTime;

use super::error::FrameLogError;
use super::{Direction, FrameBatch, FrameLogWriter};

const HOUR_NS: i64 = 3_600_000_000_000;
/// So often can an hour be begun.
const FILES_PER_HOUR_MAX: u32 = 1_000;

/// Writes batches, an hour to a file.
pub struct Recorder {
    dir: PathBuf,
    current: Option<(i64, FrameLogWriter<File>)>,
    frames: u64,
    files: Vec<PathBuf>,
    is_flushed: bool,
}

impl Recorder {
    /// Makes the directory if need be. The first file is made with the first frame.
    ///
    /// # Errors
    /// [`FrameLogError::Write`] if the directory can't be made.
    pub fn new(dir: &Path) -> Result<Self, FrameLogError> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), current: None, frames: 0, files: Vec::new(), is_flushed: true })
    }

    /// Appends a batch's frames. Its defects were refused unread and can't be kept.
    ///
    /// # Errors
    /// [`FrameLogError`]; the frames before the one that failed are written.
    pub fn push(&mut self, batch: &FrameBatch) -> Result<(), FrameLogError> {
        for frame in &batch.frames {
            let hour = frame.recv_ns.div_euclid(HOUR_NS);
            // Connections overlap by a quantum: an earlier hour's last frames stay where the later hour has begun.
            if self.current.as_ref().is_none_or(|(current, _)| hour > *current) {
                self.end_file()?;
                self.current = Some((hour, self.begin_file(hour)?));
            }
            let Some((_, writer)) = &mut self.current else { continue };
            let connection = if frame.direction == Direction::Http { "rest" } else { "live" };
            writer.append(frame.recv_ns, frame.venue, connection, frame.direction, batch.payload(frame))?;
            self.frames += 1;
            self.is_flushed = false;
        }
        Ok(())
    }

    /// What was pushed so far can be read back, even if nothing follows.
    ///
    /// # Errors
    /// [`FrameLogError::Write`].
    pub fn flush(&mut self) -> Result<(), FrameLogError> {
        if let Some((_, writer)) = self.current.as_mut().filter(|_| !self.is_flushed) {
            writer.flush()?;
            self.is_flushed = true;
        }
        Ok(())
    }

    /// Ends the last file.
    ///
    /// # Errors
    /// [`FrameLogError::Write`].
    pub fn finish(&mut self) -> Result<(), FrameLogError> {
        self.end_file()
    }

    /// Frames written.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The files in the order in which they were begun.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn begin_file(&mut self, hour: i64) -> Result<FrameLogWriter<File>, FrameLogError> {
        let begin = DateTime::from_timestamp(hour * 3_600, 0).unwrap_or_default();
        let name = begin.format("%Y-%m-%dT%HZ");
        for number in 1..=FILES_PER_HOUR_MAX {
            let nth = if number == 1 { String::new() } else { format!(".{number}") };
            let path = self.dir.join(format!("{name}{nth}.frames.zst"));
            match FrameLogWriter::create(&path) {
                Err(FrameLogError::Open { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists && number < FILES_PER_HOUR_MAX => {}
                Ok(writer) => {
                    self.files.push(path);
                    return Ok(writer);
                }
                Err(error) => return Err(error),
            }
        }
        Err(FrameLogError::Write(io::ErrorKind::AlreadyExists.into()))
    }

    fn end_file(&mut self) -> Result<(), FrameLogError> {
        if let Some((_, writer)) = self.current.take() {
            writer.finish()?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dataflows::model::Venue;

    use super::*;
    use crate::frames::{BatchLimits, FrameLogReader, FrameRef};

    /// 2024-08-08 12:00.
    const NOON_NS: i64 = 1_723_118_400_000_000_000;

    fn batch(times: &[i64]) -> FrameBatch {
        let mut batch = FrameBatch::default();
        for (line, &recv_ns) in (1..).zip(times) {
            let (start, len) = (batch.bytes.len() as u32, 2);
            batch.bytes.extend_from_slice(b"{}");
            let (venue, direction) = (Venue::OkxSwap, Direction::In);
            batch.frames.push(FrameRef { recv_ns, line, start, len, venue, direction });
        }
        batch
    }

    fn read(path: &Path) -> Vec<i64> {
        let mut reader = FrameLogReader::open(&[path.to_owned()], BatchLimits::default()).unwrap();
        let mut batch = FrameBatch::default();
        reader.next_batch(&mut batch).unwrap();
        batch.frames.iter().map(|frame| frame.recv_ns - NOON_NS).collect()
    }

    #[test]
    fn an_hour_is_a_file_and_none_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made/with/it");
        for _ in 0..2 {
            let mut recorder = Recorder::new(&dir).unwrap();
            recorder.push(&batch(&[NOON_NS, NOON_NS + HOUR_NS - 1, NOON_NS + HOUR_NS])).unwrap();
            recorder.push(&batch(&[NOON_NS + HOUR_NS - 2, NOON_NS + 5 * HOUR_NS])).unwrap();
            recorder.finish().unwrap();
            assert_eq!(recorder.frames(), 5);
        }
        let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        let expected = ["12Z.2", "12Z", "13Z.2", "13Z", "17Z.2", "17Z"];
        assert_eq!(names, expected.map(|hour| dir.join(format!("2024-08-08T{hour}.frames.zst"))));
        let [_, noon, _, one, _, five] = &names[..] else { panic!("{names:?}") };
        assert_eq!(read(noon), [0, HOUR_NS - 1]);
        assert_eq!(read(one), [HOUR_NS, HOUR_NS - 2], "a late frame stays in the later hour");
        assert_eq!(read(five), [5 * HOUR_NS]);
    }

    #[test]
    fn what_was_flushed_outlives_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::new(dir.path()).unwrap();
        recorder.push(&batch(&[NOON_NS, NOON_NS + 1])).unwrap();
        recorder.flush().unwrap();
        recorder.push(&batch(&[NOON_NS + 2])).unwrap();
        let path = recorder.files()[0].clone();
        std::mem::forget(recorder); // nothing is finished
        assert_eq!(read(&path), [0, 1]);
    }
}
