//! One file of a frame log, decoded as a stream: memory stays bounded whatever the file holds.
//!
//! Decoded bytes go straight into the batch that is handed out; only the line that a batch's end cuts is copied, to the
//! beginning of the next one. A line without an end in sight is skipped without being kept.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr_iter;

use super::error::FrameLogError;
use super::line;
use super::log::BatchLimits;
use super::{Defect, EXCERPT_BYTES_MAX, FRAME_BYTES_MAX, FrameBatch, FrameRef};

/// A frame and its head: beyond this a line can't be a frame.
const LINE_BYTES_MAX: usize = FRAME_BYTES_MAX + 4096;
/// How much is asked of the decoder at a time.
const READ_BYTES: usize = 128 * 1024;

/// Counts what is taken from the file, so that a progress bar can be drawn against its size.
struct Counted {
    file: File,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.taken.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

enum Stream {
    Plain(BufReader<Counted>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Counted>>>),
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(r) => r.read(buf),
            Self::Zstd(r) => r.read(buf),
        }
    }
}

/// One file.
pub(super) struct Source {
    path: PathBuf,
    stream: Stream,
    taken: Arc<AtomicU64>,
    /// The beginning of a line whose rest has not been decoded, or whose batch was full.
    carry: Vec<u8>,
    /// A line that is too long is being passed over.
    skipping: bool,
    ended: bool,
    /// Why the stream ended before its end; told once, after the last line.
    failure: Option<&'static str>,
    pub lines: u64,
    pub bytes: u64,
    pub size: u64,
}

impl Source {
    pub fn open(path: &Path) -> Result<Self, FrameLogError> {
        let fail = |source| FrameLogError::open(path.to_owned(), source);
        let mut file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        let mut magic = Vec::with_capacity(4);
        Read::by_ref(&mut file).take(4).read_to_end(&mut magic).map_err(fail)?;
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, taken: Arc::clone(&taken) };
        let is_zstd = magic == [0x28, 0xb5, 0x2f, 0xfd] || matches!(magic[..], [0x50..=0x5f, 0x2a, 0x4d, 0x18]);
        let stream = if is_zstd {
            Stream::Zstd(Box::new(zstd::Decoder::new(counted).map_err(fail)?))
        } else {
            Stream::Plain(BufReader::with_capacity(READ_BYTES, counted))
        };
        let (carry, path) = (Vec::new(), path.to_owned());
        Ok(Self {
            path,
            stream,
            taken,
            carry,
            skipping: false,
            ended: false,
            failure: None,
            lines: 0,
            bytes: 0,
            size: metadata.len(),
        })
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Fills a batch anew. `false`: the file has ended and the batch is empty.
    pub fn fill(&mut self, batch: &mut FrameBatch, limits: &BatchLimits) -> Result<bool, FrameLogError> {
        batch.bytes.clear();
        batch.frames.clear();
        batch.defects.clear();
        batch.bytes.append(&mut self.carry);
        let mut at = 0;
        loop {
            at = self.frame_lines(batch, at, limits);
            if batch.frames.len() + batch.defects.len() >= limits.frames {
                break;
            }
            if self.ended {
                self.end(batch, at);
                at = batch.bytes.len();
                break;
            }
            if batch.bytes.len() - at > LINE_BYTES_MAX {
                let end = batch.bytes.len();
                self.line(batch, at, end, Some("frame over 1 MiB"));
                batch.bytes.truncate(at);
                self.skipping = true;
            }
            if at >= limits.bytes {
                break;
            }
            let decoded_from = batch.bytes.len();
            self.decode(&mut batch.bytes)?;
            if self.skipping {
                self.pass_over(batch, decoded_from);
            }
        }
        self.carry.extend_from_slice(&batch.bytes[at..]);
        batch.bytes.truncate(at);
        Ok(!batch.frames.is_empty() || !batch.defects.is_empty())
    }

    /// Decodes some more. A stream that breaks off is reported by name, only the system's own errors are errors.
    fn decode(&mut self, bytes: &mut Vec<u8>) -> Result<(), FrameLogError> {
        let before = bytes.len();
        bytes.resize(before + READ_BYTES, 0);
        let mut filled = before;
        let outcome = loop {
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break Ok(());
                }
                Ok(n) => {
                    filled += n;
                    if filled == bytes.len() {
                        break Ok(());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error().is_some() => break Err(FrameLogError::Read { path: self.path.clone(), source: e }),
                Err(e) => {
                    self.ended = true;
                    let truncated = e.kind() == io::ErrorKind::UnexpectedEof;
                    self.failure = Some(if truncated { "truncated zstd stream" } else { "corrupt zstd stream" });
                    break Ok(());
                }
            }
        };
        bytes.truncate(filled);
        self.bytes += (filled - before) as u64;
        outcome
    }

    /// Drops what belongs to a line that is too long.
    fn pass_over(&mut self, batch: &mut FrameBatch, from: usize) {
        match memchr::memchr(b'\n', &batch.bytes[from..]) {
            Some(at) => {
                batch.bytes.drain(from..=from + at);
                self.skipping = false;
            }
            None => batch.bytes.truncate(from),
        }
    }

    /// Frames the complete lines from `at` on; where the first line that is not framed begins.
    fn frame_lines(&mut self, batch: &mut FrameBatch, mut at: usize, limits: &BatchLimits) -> usize {
        let bytes = std::mem::take(&mut batch.bytes);
        let from = at;
        for newline in memchr_iter(b'\n', &bytes[from..]) {
            if batch.frames.len() + batch.defects.len() >= limits.frames {
                break;
            }
            let end = from + newline;
            self.lines += 1;
            push(batch, &bytes, at, end, self.lines, None);
            at = end + 1;
        }
        batch.bytes = bytes;
        at
    }

    /// The last line has no newline: whole, torn, or not there. A broken stream counts as one line more.
    fn end(&mut self, batch: &mut FrameBatch, at: usize) {
        let end = batch.bytes.len();
        if at < end {
            let torn = (!line::is_whole(&batch.bytes[at..])).then_some("torn last line");
            self.line(batch, at, end, torn);
        }
        if let Some(reason) = self.failure.take() {
            self.line(batch, end, end, Some(reason));
        }
    }

    fn line(&mut self, batch: &mut FrameBatch, start: usize, end: usize, defect: Option<&'static str>) {
        let bytes = std::mem::take(&mut batch.bytes);
        self.lines += 1;
        push(batch, &bytes, start, end, self.lines, defect);
        batch.bytes = bytes;
    }
}

/// Appends a line as what it is. `defect`: it is known to be none.
fn push(batch: &mut FrameBatch, bytes: &[u8], start: usize, end: usize, number: u64, defect: Option<&'static str>) {
    let text = &bytes[start..end];
    let head = defect.map_or_else(|| line::head(text), Err);
    match head {
        Ok(head) => batch.frames.push(FrameRef {
            recv_ns: head.recv_ns,
            line: number,
            start: (start + head.payload_at) as u32,
            len: (text.len() - head.payload_at) as u32,
            venue: head.venue,
            direction: head.direction,
        }),
        Err(reason) => {
            let (recv_ns, venue) = line::remains(text);
            let excerpt = text[..text.len().min(EXCERPT_BYTES_MAX)].to_vec();
            batch.defects.push(Defect { line: number, recv_ns, venue, reason, excerpt });
        }
    }
}
