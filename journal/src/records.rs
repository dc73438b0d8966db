//! The records of a journal, in order, over all its segments.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::format::FrameHeader;
use crate::segment::{Look, Opened, SegmentFile, SegmentReader};
use crate::{Error, OnDamage, Seq};

/// A record, as long as the next one isn't read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its sequence number: one more than that of the record before.
    pub seq: Seq,
    /// Knowledge time, UTC ms.
    pub known_at: u64,
    /// What the payload is, 1 to 255; the journal doesn't care.
    pub kind: u8,
    /// What it holds.
    pub payload: &'a [u8],
}

/// A stretch that was passed over because skipping was allowed, or because nothing but a mark lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// In which file.
    pub path: PathBuf,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The first and the last record that are lost by it; `None`: no record is.
    pub records: Option<(Seq, Seq)>,
}

/// Reads records in order. Holds one window of one file in memory, whatever the journal's size.
pub struct Records {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    on_damage: OnDamage,
    /// Segments to come, each with its last record.
    segments: VecDeque<(SegmentFile, Seq)>,
    reader: Option<Box<SegmentReader>>,
    /// The last record of the segment at hand; what lies behind is another segment's matter.
    last: Seq,
    /// The next record wanted; records before `from` are checked and passed over.
    wanted: Seq,
    from: Seq,
    /// The last record that there must be.
    end: Seq,
    /// The record that was given out last, and the frame that the reader still stands on.
    here: Option<FrameHeader>,
    passed: Option<FrameHeader>,
    skipped: Vec<Skipped>,
}

impl Records {
    /// `segments` rise; each ends where the next begins, the last one at `last`. `end`: a record that must have been there, if only by
    /// the word of a snapshot.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        on_damage: OnDamage,
        segments: &[SegmentFile],
        from: Seq,
        last: Seq,
        end: Seq,
    ) -> Self {
        let ends = segments.iter().skip(1).map(|next| next.first - 1).chain([last]);
        let wanted_segments: VecDeque<_> = segments.iter().cloned().zip(ends).filter(|(_, last)| *last >= from).collect();
        let wanted = wanted_segments.front().map_or(from, |(first, _)| first.first.min(from));
        Self {
            disk,
            dir,
            on_damage,
            segments: wanted_segments,
            reader: None,
            last: 0,
            wanted,
            from,
            end,
            here: None,
            passed: None,
            skipped: Vec::new(),
        }
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// If the disk fails, or a record is damaged or missing and that is not to be skipped.
    pub fn read(&mut self) -> Result<Option<Record<'_>>, Error> {
        self.here = None;
        while self.here.is_none() {
            if self.reader.is_none() && !self.next_segment()? {
                return Ok(None);
            }
            self.advance()?;
        }
        match (&self.here, &self.reader) {
            (Some(header), Some(reader)) => Ok(Some(Record {
                seq: header.seq,
                known_at: header.known_at,
                kind: header.kind,
                payload: reader.payload(header),
            })),
            _ => Ok(None), // not reached: `here` is set with a reader only
        }
    }

    /// What was passed over so far.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// False: there is none. All that must be there has been read, then.
    fn next_segment(&mut self) -> Result<bool, Error> {
        let Some((file, last)) = self.segments.pop_front() else {
            self.lose_to(self.end)?;
            return Ok(false);
        };
        self.lose_to(file.first.saturating_sub(1))?;
        self.last = last;
        match SegmentReader::open(&*self.disk, &file)? {
            Opened::Reader(reader) => self.reader = Some(reader),
            Opened::Damaged(_) | Opened::Unwritten if last < file.first => {} // it holds nothing anyway
            Opened::Unwritten => self.damaged(&file, "it is empty")?,
            Opened::Damaged(what) => self.damaged(&file, what)?,
        }
        Ok(true)
    }

    /// A whole segment can't be read.
    fn damaged(&mut self, file: &SegmentFile, what: &'static str) -> Result<(), Error> {
        if self.on_damage == OnDamage::Stop {
            return Err(Error::Damaged { path: file.path.clone(), offset: 0, seq: file.first, what });
        }
        let bytes = self.disk.len(&file.path).unwrap_or_default(); // for the report only
        self.skipped.push(Skipped { path: file.path.clone(), offset: 0, bytes, records: Some((file.first, self.last)) });
        self.wanted = self.last + 1;
        Ok(())
    }

    /// Records up to `to` should have come by now.
    fn lose_to(&mut self, to: Seq) -> Result<(), Error> {
        let from = self.wanted.max(self.from);
        if from <= to {
            if self.on_damage == OnDamage::Stop {
                return Err(Error::Missing { dir: self.dir.clone(), from, to });
            }
            self.skipped.push(Skipped { path: self.dir.clone(), offset: 0, bytes: 0, records: Some((from, to)) });
        }
        self.wanted = self.wanted.max(to.saturating_add(1));
        Ok(())
    }

    /// Looks at one frame.
    fn advance(&mut self) -> Result<(), Error> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        if let Some(passed) = self.passed.take() {
            reader.step(&passed);
        }
        if self.wanted > self.last {
            self.reader = None;
            return Ok(());
        }
        match reader.look()? {
            Look::Frame(frame) if frame.is_mark() => reader.step(&frame),
            Look::Frame(frame) if frame.seq == self.wanted => {
                self.wanted += 1;
                self.passed = Some(frame);
                self.here = (frame.seq >= self.from).then_some(frame);
            }
            Look::Frame(_) => self.find_next("another record lies here")?,
            Look::Bad(what) => self.find_next(what)?,
            // Cut off at a record's end: what is wanting shows where the next segment begins.
            Look::End => self.reader = None,
        }
        Ok(())
    }

    /// A bad frame among records that had been acknowledged.
    fn find_next(&mut self, what: &'static str) -> Result<(), Error> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let (path, offset) = (reader.path().to_owned(), reader.offset());
        let next = loop {
            match reader.find_frame()? {
                Some(frame) if !frame.is_mark() && (self.wanted..=self.last).contains(&frame.seq) => break frame.seq,
                Some(_) => {}
                None => break self.last + 1,
            }
        };
        let wanted = self.wanted.max(self.from);
        let lost = (next > wanted).then_some((wanted, next - 1)); // nobody asked for those before `from`
        if lost.is_some() && self.on_damage == OnDamage::Stop {
            return Err(Error::Damaged { path, offset, seq: wanted, what });
        }
        let bytes = reader.offset() - offset;
        self.skipped.push(Skipped { path, offset, bytes, records: lost });
        self.wanted = next;
        Ok(())
    }
}
