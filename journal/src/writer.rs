//! Writing: records become durable, or are written again elsewhere.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::Batch;
use crate::disk::{AppendFile, Disk, append_all};
use crate::format::{FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, seal, segment_path};
use crate::journal::Held;
use crate::{Error, Options, Refused, Seq};

/// Writes a journal's records. Whoever has it says when they are to be durable; see [`crate::GroupSync`] for a thread that does.
pub struct Writer {
    pub(crate) appender: Appender,
    pub(crate) batch: Batch,
}

impl Writer {
    /// Takes a record, which is durable after the next [`Self::sync`] that succeeds. Does no input or output.
    ///
    /// # Errors
    /// If there is no room, or the record is none that a journal may hold.
    pub fn append(&mut self, known_at: u64, kind: u8, payload: &[u8]) -> Result<Seq, Refused> {
        let waiting_bytes = self.batch.len_bytes();
        self.batch.push(known_at, kind, payload, waiting_bytes, self.appender.options.buffer_bytes_max)
    }

    /// Makes everything taken so far durable, and answers with the last record that is.
    ///
    /// # Errors
    /// If the disk fails. What was durable before still is, and the rest will be written again, elsewhere, by the next call.
    pub fn sync(&mut self) -> Result<Seq, Error> {
        self.appender.write(&mut self.batch)
    }

    /// The last record that is durable.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.appender.durable
    }

    /// The number of the next record.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.batch.next()
    }

    /// Makes everything durable and lets go of the directory.
    ///
    /// # Errors
    /// If the disk fails: records after [`Self::durable`] are lost, then.
    pub fn close(mut self) -> Result<Seq, Error> {
        self.sync()?;
        self.appender.close()
    }
}

/// The disk's side of writing.
pub(crate) struct Appender {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    pub options: Options,
    pub durable: Seq,
    segment: Option<OpenSegment>,
    _held: Arc<Held>,
}

struct OpenSegment {
    file: Box<dyn AppendFile>,
    path: PathBuf,
    header: SegmentHeader,
    offset: u64,
    /// Records in it, durable or not.
    records: u64,
}

impl Appender {
    /// Begins a segment behind record `durable`. `rest` are whole records of a crashed run that were not known to be durable: they
    /// appear with the segment, or not at all.
    pub fn begin(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: Options,
        held: Arc<Held>,
        durable: Seq,
        rest: impl FnOnce(&mut NewSegment<'_>) -> Result<Seq, Error>,
    ) -> Result<Self, Error> {
        let mut appender = Self { disk, dir, options, durable, segment: None, _held: held };
        let mut segment = NewSegment::create(&*appender.disk, &appender.dir, durable + 1)?;
        let last = rest(&mut segment)?;
        appender.segment = Some(segment.appear()?);
        appender.durable = last;
        appender.mark();
        Ok(appender)
    }

    /// Makes a batch durable and empties it.
    pub fn write(&mut self, batch: &mut Batch) -> Result<Seq, Error> {
        let written = self.try_write(batch);
        if written.is_err() {
            self.abandon();
        }
        batch.forget_to(self.durable);
        written
    }

    fn try_write(&mut self, batch: &mut Batch) -> Result<Seq, Error> {
        if batch.is_empty() {
            return Ok(self.durable);
        }
        let (mut at, mut written) = (0, self.durable);
        while at < batch.len_bytes() {
            let segment = match &mut self.segment {
                Some(segment) => segment,
                none => none.insert(NewSegment::create(&*self.disk, &self.dir, written + 1)?.appear()?),
            };
            let takes_any = segment.records == 0;
            let (end, count) = batch.place(at, &segment.header, segment.offset, self.options.segment_bytes, takes_any);
            if count > 0 {
                append_all(&mut *segment.file, batch.bytes(at, end)).map_err(Error::io("write to", &segment.path))?;
                segment.offset += (end - at) as u64;
                segment.records += count;
                (at, written) = (end, written + count);
            } else {
                // Full. The next segment's name says that everything before it is durable, so that comes first.
                segment.file.fsync().map_err(Error::io("fsync", &segment.path))?;
                self.durable = written;
                self.segment = None;
            }
        }
        if let Some(segment) = &mut self.segment {
            segment.file.fsync().map_err(Error::io("fsync", &segment.path))?;
        }
        self.durable = written;
        self.mark();
        Ok(written)
    }

    /// Says in the segment what is durable, for recovery to tell damage from a torn end. It need not be durable itself.
    fn mark(&mut self) {
        let Some(segment) = &mut self.segment else { return };
        let mut frame = FrameHeader::mark(self.durable).encode();
        seal(&mut frame, segment.header.salt, segment.offset);
        segment.offset += FRAME_HEADER_BYTES as u64;
        if append_all(&mut *segment.file, &frame).is_err() {
            self.abandon(); // nobody knows how much of it was written
        }
    }

    /// Nothing more is written to this segment: what it holds behind the durable records may be lost without a word, even if a later
    /// fsync succeeds.
    fn abandon(&mut self) {
        if let Some(segment) = self.segment.take()
            && segment.header.first > self.durable
        {
            // It holds nothing that counts, and the disk may be full. If it stays, the next segment takes its name and place.
            let _ = self.disk.remove(&segment.path);
        }
    }

    pub fn close(mut self) -> Result<Seq, Error> {
        if let Some(segment) = &mut self.segment {
            // The mark. The records are durable already.
            segment.file.fsync().map_err(Error::io("fsync", &segment.path))?;
        }
        Ok(self.durable)
    }
}

/// A segment that is being made, under another name until it is whole.
pub(crate) struct NewSegment<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    new_path: PathBuf,
    segment: OpenSegment,
}

impl<'a> NewSegment<'a> {
    fn create(disk: &'a dyn Disk, dir: &'a Path, first: Seq) -> Result<Self, Error> {
        let path = segment_path(dir, first);
        let new_path = path.with_extension("log.new");
        let header = SegmentHeader { first, salt: RandomState::new().build_hasher().finish() };
        let mut file = disk.create(&new_path).map_err(Error::io("create", &new_path))?;
        append_all(&mut *file, &header.encode()).map_err(Error::io("write to", &new_path))?;
        let segment = OpenSegment { file, path, header, offset: SEGMENT_HEADER_BYTES as u64, records: 0 };
        Ok(Self { disk, dir, new_path, segment })
    }

    /// Writes records that are to appear with it.
    pub fn write(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let (end, count) = batch.place(0, &self.segment.header, self.segment.offset, u64::MAX, true);
        append_all(&mut *self.segment.file, batch.bytes(0, end)).map_err(Error::io("write to", &self.new_path))?;
        self.segment.offset += end as u64;
        self.segment.records += count;
        batch.restart(batch.next());
        Ok(())
    }

    fn appear(mut self) -> Result<OpenSegment, Error> {
        self.segment.file.fsync().map_err(Error::io("fsync", &self.new_path))?;
        self.disk.rename(&self.new_path, &self.segment.path).map_err(Error::io("rename to", &self.segment.path))?;
        self.disk.fsync_dir(self.dir).map_err(Error::io("fsync", self.dir))?;
        Ok(self.segment)
    }
}
