//! Reading one segment, frame by frame, with bounded memory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::format::{BadHeader, FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::{Error, Seq};

/// Read at a time. A larger record makes the window grow to its size.
const WINDOW_BYTES: usize = 256 << 10;

/// A segment's file.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    pub path: PathBuf,
    /// By its name.
    pub first: Seq,
}

/// What lies at the reader's place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// A frame that verifies.
    Frame(FrameHeader),
    /// Something else, and why.
    Bad(&'static str),
    /// The end of the file.
    End,
}

impl SegmentFile {
    /// When its first record became known; `None`: it has none, or none that can be read.
    pub fn begins_at(&self, disk: &dyn Disk) -> Result<Option<u64>, Error> {
        let Opened::Reader(mut reader) = SegmentReader::open(disk, self)? else { return Ok(None) };
        loop {
            match reader.look()? {
                Look::Frame(frame) if frame.is_mark() => reader.step(&frame),
                Look::Frame(frame) => return Ok(Some(frame.known_at)),
                _ => return Ok(None),
            }
        }
    }
}

/// A place in a segment, and the bytes from there on.
pub(crate) struct SegmentReader {
    input: Box<dyn Read + Send>,
    path: PathBuf,
    header: SegmentHeader,
    /// `window[start..filled]` is read but not passed yet; its first byte is at `offset` of the file.
    window: Vec<u8>,
    start: usize,
    filled: usize,
    offset: u64,
    at_end: bool,
}

/// A segment that could be opened, or why not.
pub(crate) enum Opened {
    Reader(Box<SegmentReader>),
    /// It was never begun.
    Unwritten,
    /// Its header is damaged.
    Damaged(&'static str),
}

impl SegmentReader {
    /// Reads the header.
    pub fn open(disk: &dyn Disk, file: &SegmentFile) -> Result<Opened, Error> {
        let input = disk.read(&file.path).map_err(Error::io("open", &file.path))?;
        let mut reader = Self {
            input,
            path: file.path.clone(),
            header: SegmentHeader { first: file.first, salt: 0 },
            window: vec![0; WINDOW_BYTES],
            start: 0,
            filled: 0,
            offset: 0,
            at_end: false,
        };
        reader.want(SEGMENT_HEADER_BYTES)?;
        let available = reader.filled.min(SEGMENT_HEADER_BYTES);
        match SegmentHeader::decode(&reader.window[..available]) {
            Ok(header) if header.first != file.first => {
                Ok(Opened::Damaged("its header names another first record than its name does: it was renamed or misplaced"))
            }
            Ok(header) => {
                reader.header = header;
                reader.pass(SEGMENT_HEADER_BYTES);
                Ok(Opened::Reader(Box::new(reader)))
            }
            Err(BadHeader::Unwritten) => Ok(Opened::Unwritten),
            Err(BadHeader::Damaged(what)) => Ok(Opened::Damaged(what)),
            Err(BadHeader::Version(found)) => Err(Error::Version { path: file.path.clone(), found }),
        }
    }

    /// Where it stands.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whose bytes these are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What lies here. Doesn't move.
    pub fn look(&mut self) -> Result<Look, Error> {
        self.want(FRAME_HEADER_BYTES)?;
        let available = self.filled - self.start;
        if available == 0 {
            return Ok(Look::End);
        }
        if available < FRAME_HEADER_BYTES {
            return Ok(Look::Bad("the file ends inside a record's header"));
        }
        let Some(header) = FrameHeader::decode(&self.window[self.start..self.filled], self.header.salt, self.offset) else {
            return Ok(Look::Bad("the checksum of its header is wrong"));
        };
        self.want(header.frame_bytes())?;
        if self.filled - self.start < header.frame_bytes() {
            return Ok(Look::Bad("the file ends inside the record"));
        }
        if crc32c::crc32c(self.payload(&header)) != header.payload_crc {
            return Ok(Look::Bad("the checksum of its payload is wrong"));
        }
        Ok(Look::Frame(header))
    }

    /// The payload of the frame that [`Self::look`] has found here.
    pub fn payload(&self, header: &FrameHeader) -> &[u8] {
        &self.window[self.start + FRAME_HEADER_BYTES..self.start + header.frame_bytes()]
    }

    /// Moves behind the frame that is here.
    pub fn step(&mut self, header: &FrameHeader) {
        self.pass(header.frame_bytes());
    }

    /// Moves on, byte by byte, to the next frame that verifies. `None`: there is none.
    pub fn find_frame(&mut self) -> Result<Option<FrameHeader>, Error> {
        loop {
            self.want(1)?;
            if self.filled == self.start {
                return Ok(None);
            }
            self.pass(1);
            if let Look::Frame(header) = self.look()? {
                return Ok(Some(header));
            }
        }
    }

    /// Moves on to `offset`, or the end.
    pub fn seek_forward(&mut self, offset: u64) -> Result<(), Error> {
        while self.offset < offset {
            self.want(1)?;
            let available = self.filled - self.start;
            if available == 0 {
                break;
            }
            self.pass(available.min(usize::try_from(offset - self.offset).unwrap_or(available)));
        }
        Ok(())
    }

    fn pass(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads until `count` bytes are there, or the file ends.
    fn want(&mut self, count: usize) -> Result<(), Error> {
        while self.filled - self.start < count && !self.at_end {
            if self.start > 0 {
                self.window.copy_within(self.start..self.filled, 0);
                (self.start, self.filled) = (0, self.filled - self.start);
            }
            if self.window.len() < count {
                self.window.resize(count, 0);
            }
            match self.input.read(&mut self.window[self.filled..]) {
                Ok(0) => self.at_end = true,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
        Ok(())
    }
}
