//! Opening a journal: what is there, where it ends, and how writing goes on.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::batch::Batch;
use crate::disk::{Disk, Lock};
use crate::format::{SEGMENT_HEADER_BYTES, segment_first};
use crate::reader::Reader;
use crate::records::{Records, Skipped};
use crate::segment::{Opened, SegmentFile, SegmentReader};
use crate::snapshot::{Snapshots, newest_named, remove_debris};
use crate::survey::{End, survey};
use crate::writer::{Appender, Writer};
use crate::{Error, Seq};

/// Records of a crashed run are written again in pieces of this size.
const REST_BYTES: usize = 1 << 20;

/// What is done about records that had been acknowledged and are damaged or missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Stop, and say where.
    #[default]
    Stop,
    /// Go on with the next good one, and report what was skipped.
    Skip,
}

/// How a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment that would grow beyond this is followed by another.
    pub segment_bytes: u64,
    /// Records that wait for the disk have so many bytes at most (and take twice the memory, while buffers grow).
    pub buffer_bytes_max: usize,
    /// What is done about damage.
    pub on_damage: OnDamage,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, buffer_bytes_max: 32 << 20, on_damage: OnDamage::Stop }
    }
}

/// The lock on a journal's directory, for as long as anybody has it.
pub(crate) struct Held {
    _lock: Box<dyn Any + Send + Sync>,
    /// Who writes a snapshot, or removes some.
    pub snapshots: Mutex<()>,
}

/// A journal that was opened, and belongs to this process until what came of it is dropped. Nothing has been changed by then except
/// that files which had not been finished were removed.
pub struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    held: Arc<Held>,
    segments: Vec<SegmentFile>,
    /// Last files that can't count as segments: their header was never written, or can't be read and skipping is allowed.
    headless: Vec<PathBuf>,
    end: End,
    /// The newest snapshot's last record: numbers up to it are taken, whatever the segments hold.
    floor: Seq,
    tail: Tail,
}

/// What was found at the end of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The last whole record; 0: there is none.
    pub last: Seq,
    /// Bytes after it that hold no whole record and are dropped.
    pub bytes_dropped: u64,
    /// In which file, and from which byte on.
    pub dropped_at: Option<(PathBuf, u64)>,
    /// The first and the last of the records that were dropped although they had been acknowledged: the disk lost them.
    pub acknowledged_lost: Option<(Seq, Seq)>,
    /// Damage in the last segment that was passed over.
    pub skipped: Vec<Skipped>,
}

impl Journal {
    /// Opens the journal in `dir`, which is made if need be, and finds its end.
    ///
    /// # Errors
    /// If another process has it, the disk fails, a file is of another version, or acknowledged records of the last segment are damaged
    /// with good ones after them and that is not to be skipped.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Self, Error> {
        check(&options)?;
        disk.create_dir(dir).map_err(Error::io("create", dir))?;
        let lock_path = dir.join("journal.lock");
        let held = match disk.lock(&lock_path).map_err(Error::io("lock", &lock_path))? {
            Lock::Mine(lock) => Arc::new(Held { _lock: lock, snapshots: Mutex::new(()) }),
            Lock::Theirs(holder) => return Err(Error::Locked { dir: dir.to_owned(), holder }),
        };
        let names = disk.list(dir).map_err(Error::io("list", dir))?;
        remove_unfinished(&*disk, dir, &names)?;
        let floor = newest_named(&names);
        let mut segments = segments_of(dir, &names);
        let (mut headless, mut tail) = (Vec::new(), Tail::default());
        let mut end = End { last: floor, durable: floor, ..End::default() };
        while let Some(file) = segments.last() {
            let what = match SegmentReader::open(&*disk, file)? {
                Opened::Reader(reader) => {
                    end = survey(&*disk, file, *reader, options.on_damage, floor)?;
                    break;
                }
                Opened::Unwritten => None,
                Opened::Damaged(what) => Some(what),
            };
            let bytes = disk.len(&file.path).map_err(Error::io("look at", &file.path))?;
            match what {
                Some(what) if options.on_damage == OnDamage::Stop => {
                    return Err(Error::Damaged { path: file.path.clone(), offset: 0, seq: file.first, what });
                }
                None if bytes > SEGMENT_HEADER_BYTES as u64 && options.on_damage == OnDamage::Stop => {
                    let what = "its header is all zeros, and more follows";
                    return Err(Error::Damaged { path: file.path.clone(), offset: 0, seq: file.first, what });
                }
                _ => {}
            }
            tail.bytes_dropped += bytes;
            tail.dropped_at = (bytes > 0).then(|| (file.path.clone(), 0));
            headless.extend(segments.pop().map(|file| file.path));
        }
        if end.dropped_bytes > 0 {
            tail.bytes_dropped += end.dropped_bytes;
            tail.dropped_at = segments.last().map(|file| (file.path.clone(), end.offset));
        }
        tail.last = if segments.is_empty() { 0 } else { end.last };
        (tail.acknowledged_lost, tail.skipped) = (end.acknowledged_lost, end.skipped.clone());
        Ok(Self { disk, dir: dir.to_owned(), options, held, segments, headless, end, floor, tail })
    }

    /// What was found at its end.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The first record that is still there; `None`: there is no segment.
    #[must_use]
    pub fn oldest(&self) -> Option<Seq> {
        self.segments.first().map(|segment| segment.first)
    }

    /// Its snapshots.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(Arc::clone(&self.disk), self.dir.clone(), Arc::clone(&self.held))
    }

    /// The records from `from` on: 1 for all, a snapshot's last record + 1 for those after it. What is damaged or missing is told where
    /// it should have been read.
    #[must_use]
    pub fn records(&self, from: Seq) -> Records {
        let end = self.end.last.max(self.floor);
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        Records::new(disk, dir, self.options.on_damage, &self.segments, from.max(1), self.end.last, end)
    }

    /// Cuts off the records that became known after `known_at` (knowledge time must not fall anywhere in it), acknowledged or not, and the
    /// snapshots that include any of them. Answers with the first and the last of those that went.
    ///
    /// They are gone for good once [`Self::writer`] has begun: its segment says where the one before it ends, so no file is changed. Whole segments are
    /// removed before that, the newest first, each step made durable before the next. A crash meanwhile leaves some of the records, from the oldest on.
    ///
    /// # Errors
    /// If the disk fails, or records that must be looked at are damaged.
    pub fn cut_after(&mut self, known_at: u64) -> Result<Option<(Seq, Seq)>, Error> {
        let (last, before) = (self.last_known_by(known_at)?, self.end.last);
        if last >= before || self.segments.is_empty() {
            return Ok(None);
        }
        self.snapshots().remove_after(last)?;
        self.floor = self.floor.min(last);
        let is_in_last = self.segments.last().is_some_and(|file| file.first <= last);
        while let Some(file) = self.segments.pop_if(|file| file.first > last) {
            self.disk.remove(&file.path).map_err(Error::io("remove", &file.path))?;
            self.disk.fsync_dir(&self.dir).map_err(Error::io("fsync", &self.dir))?;
        }
        // The segments that went said that everything before them is durable.
        let durable = if is_in_last { self.end.durable.min(last) } else { last };
        self.end = End { last, durable, ..std::mem::take(&mut self.end) };
        self.tail.last = if self.segments.is_empty() { 0 } else { last };
        Ok(Some((last + 1, before)))
    }

    /// The last record that was known at `known_at`; the one before the first if none was.
    fn last_known_by(&self, known_at: u64) -> Result<Seq, Error> {
        let oldest = self.oldest().unwrap_or(1);
        let mut from = oldest;
        for file in self.segments.iter().rev() {
            if file.begins_at(&*self.disk)?.is_some_and(|first| first <= known_at) {
                from = file.first;
                break;
            }
        }
        let (mut records, mut last) = (self.records(from), from - 1);
        while let Some(record) = records.read()?
            && record.known_at <= known_at
        {
            last = record.seq;
        }
        Ok(last)
    }

    /// Reads what is durable while it is written.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        Reader { disk, dir, on_damage: self.options.on_damage, _held: Arc::clone(&self.held) }
    }

    /// Goes on writing behind the last record, in a segment of its own. The whole records at the end that were not known to be durable
    /// are written again and are durable when this returns.
    ///
    /// # Errors
    /// If the disk fails. The journal is as it was, then, and may be opened again.
    pub fn writer(self) -> Result<Writer, Error> {
        for path in &self.headless {
            // Aside if it holds anything that somebody may want to look at, and never again in the way.
            let aside = path.with_extension("damaged");
            self.disk.rename(path, &aside).map_err(Error::io("rename", path))?;
        }
        // A snapshot that is ahead of the records holds what they held.
        let is_ahead = self.floor > self.end.last;
        let durable = if is_ahead { self.floor } else { self.end.durable.min(self.end.last) };
        let mut records = (!is_ahead).then(|| self.records(durable + 1));
        let options = self.options;
        let write_rest = |segment: &mut crate::writer::NewSegment<'_>| {
            let mut batch = Batch::starting_at(durable + 1);
            while let Some(records) = &mut records
                && let Some(record) = records.read()?
            {
                let taken = batch.push(record.known_at, record.kind, record.payload, 0, usize::MAX);
                if taken != Ok(record.seq) {
                    return Err(Error::Asked(format!("record {} can't be written again: {taken:?}", record.seq))); // a hole: a defect of `survey`
                }
                if batch.len_bytes() >= REST_BYTES {
                    segment.write(&mut batch)?;
                }
            }
            segment.write(&mut batch)?;
            Ok(batch.next() - 1)
        };
        let appender = Appender::begin(self.disk, self.dir, options, self.held, durable, write_rest)?;
        let batch = Batch::starting_at(appender.durable + 1);
        Ok(Writer { appender, batch })
    }
}

fn check(options: &Options) -> Result<(), Error> {
    if options.buffer_bytes_max < 1_024 || options.segment_bytes < 128 {
        return Err(Error::Asked(format!(
            "a journal with a buffer of {} bytes and segments of {} can't work: give it 1024 and 128 at least",
            options.buffer_bytes_max, options.segment_bytes
        )));
    }
    Ok(())
}

/// In order.
pub(crate) fn segments_of(dir: &Path, names: &[String]) -> Vec<SegmentFile> {
    let of_name = |name: &String| segment_first(name).map(|first| SegmentFile { path: dir.join(name), first });
    let mut segments: Vec<_> = names.iter().filter_map(of_name).filter(|file| file.first > 0).collect();
    segments.sort_by_key(|file| file.first);
    segments
}

/// What a crash left half-made.
fn remove_unfinished(disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<(), Error> {
    for name in names.iter().filter(|name| name.starts_with("journal-") && name.ends_with(".log.new")) {
        let path = dir.join(name);
        disk.remove(&path).map_err(Error::io("remove", &path))?;
    }
    remove_debris(disk, dir, names)
}
