//! Reads a frame log, of one or several files, as batches in order of arrival.
//!
//! A single file is framed where it was decoded. Several are merged by time of receipt (equal times: in the order in which
//! the files were given), which costs one copy of each payload; lines are then numbered in the merged order.
//! Every line becomes a frame or a defect, so the two add up to [`FrameLogReader::lines_read`].

use std::path::PathBuf;

use super::FrameBatch;
use super::error::FrameLogError;
use super::source::Source;

/// How large a batch may become.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// A batch is handed out once it holds this many bytes (one frame may exceed it).
    pub bytes: usize,
    /// The most frames and defects of a batch.
    pub frames: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { bytes: 1 << 20, frames: 16 * 1024 }
    }
}

/// Reads one or several files, zstd or not.
pub struct FrameLogReader {
    inputs: Vec<Input>,
    limits: BatchLimits,
    merged_lines: u64,
}

/// A file with the batch that is being merged from it.
struct Input {
    source: Source,
    batch: FrameBatch,
    next_frame: usize,
    next_defect: usize,
}

impl Input {
    /// The time of the next line (a defect goes at once). `None`: the file has ended.
    fn head(&mut self, limits: &BatchLimits) -> Result<Option<i64>, FrameLogError> {
        if self.next_frame == self.batch.frames.len() && self.next_defect == self.batch.defects.len() {
            (self.next_frame, self.next_defect) = (0, 0);
            if !self.source.fill(&mut self.batch, limits)? {
                return Ok(None);
            }
        }
        Ok(Some(if self.defect_is_next() { i64::MIN } else { self.batch.frames[self.next_frame].recv_ns }))
    }

    fn defect_is_next(&self) -> bool {
        match (self.batch.defects.get(self.next_defect), self.batch.frames.get(self.next_frame)) {
            (Some(defect), Some(frame)) => defect.line < frame.line,
            (defect, _) => defect.is_some(),
        }
    }

    fn pass_on(&mut self, out: &mut FrameBatch, line: u64) {
        if self.defect_is_next() {
            let mut defect = self.batch.defects[self.next_defect].clone();
            defect.line = line;
            out.defects.push(defect);
            self.next_defect += 1;
        } else {
            let mut frame = self.batch.frames[self.next_frame];
            let payload = self.batch.payload(&frame);
            (frame.line, frame.start) = (line, out.bytes.len() as u32);
            out.bytes.extend_from_slice(payload);
            out.frames.push(frame);
            self.next_frame += 1;
        }
    }
}

impl FrameLogReader {
    /// Opens the files. Nothing is decoded yet.
    ///
    /// # Errors
    /// [`FrameLogError::Open`], naming the file.
    pub fn open(paths: &[PathBuf], limits: BatchLimits) -> Result<Self, FrameLogError> {
        let input = |path: &PathBuf| {
            Ok(Input { source: Source::open(path)?, batch: FrameBatch::default(), next_frame: 0, next_defect: 0 })
        };
        let limits = BatchLimits { bytes: limits.bytes.clamp(1, 1 << 28), frames: limits.frames.max(1) };
        Ok(Self { inputs: paths.iter().map(input).collect::<Result<_, FrameLogError>>()?, limits, merged_lines: 0 })
    }

    /// Fills `batch` anew, reusing its memory. `false`: the log has ended and the batch is empty.
    ///
    /// # Errors
    /// [`FrameLogError::Read`]; a damaged line or stream is a defect in the batch instead.
    pub fn next_batch(&mut self, batch: &mut FrameBatch) -> Result<bool, FrameLogError> {
        if let [input] = &mut self.inputs[..] {
            return input.source.fill(batch, &self.limits);
        }
        batch.bytes.clear();
        batch.frames.clear();
        batch.defects.clear();
        while batch.bytes.len() < self.limits.bytes && batch.frames.len() + batch.defects.len() < self.limits.frames {
            let mut earliest: Option<(i64, usize)> = None;
            for (i, input) in self.inputs.iter_mut().enumerate() {
                if let Some(recv_ns) = input.head(&self.limits)?
                    && earliest.is_none_or(|(t, _)| recv_ns < t)
                {
                    earliest = Some((recv_ns, i));
                }
            }
            let Some((_, i)) = earliest else { break };
            self.merged_lines += 1;
            self.inputs[i].pass_on(batch, self.merged_lines);
        }
        Ok(!batch.frames.is_empty() || !batch.defects.is_empty())
    }

    /// Lines read so far: frames and defects together. A stream that breaks off counts as one.
    #[must_use]
    pub fn lines_read(&self) -> u64 {
        match &self.inputs[..] {
            [input] => input.source.lines,
            _ => self.merged_lines,
        }
    }

    /// Bytes decoded so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.inputs.iter().map(|i| i.source.bytes).sum()
    }

    /// Bytes taken from the files so far, to be compared with [`Self::compressed_bytes_total`].
    #[must_use]
    pub fn compressed_bytes_read(&self) -> u64 {
        self.inputs.iter().map(|i| i.source.taken()).sum()
    }

    /// The files' sizes together, as they were when they were opened.
    #[must_use]
    pub fn compressed_bytes_total(&self) -> u64 {
        self.inputs.iter().map(|i| i.source.size).sum()
    }
}
