//! Where the last segment ends: which of its records are whole, and whether those that aren't had been acknowledged.
//!
//! A crash leaves the end of the last segment in any state: cut, filled with zeros, with holes. All that is after the last
//! acknowledged record, so it may be cut off. What lies *before* a mark was acknowledged, so a hole there is damage. The one
//! exception is the last record of all: with nothing good after it, it is taken for torn, and the report says if a mark speaks against it.

use crate::disk::Disk;
use crate::format::FrameHeader;
use crate::segment::{Look, Opened, SegmentFile, SegmentReader};
use crate::{Error, OnDamage, Seq, Skipped};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// The last whole record.
    pub last: Seq,
    /// Everything up to here is known to have been made durable before the crash.
    pub durable: Seq,
    /// The byte behind the last whole frame, and how many bytes follow.
    pub offset: u64,
    pub dropped_bytes: u64,
    /// Records that are cut off although they had been acknowledged.
    pub acknowledged_lost: Option<(Seq, Seq)>,
    pub skipped: Vec<Skipped>,
}

/// Reads the last segment to its end. Damage to records up to `floor` stops nobody here: a snapshot holds them, and where they are
/// needed nevertheless, reading them stops.
pub(crate) fn survey(
    disk: &dyn Disk,
    file: &SegmentFile,
    mut reader: SegmentReader,
    on_damage: OnDamage,
    floor: Seq,
) -> Result<End, Error> {
    let length = disk.len(&file.path).map_err(Error::io("look at", &file.path))?;
    let mut end = End { last: file.first.saturating_sub(1), durable: file.first.saturating_sub(1), ..End::default() };
    loop {
        let bad = match reader.look()? {
            Look::End => {
                end.offset = reader.offset();
                return Ok(end);
            }
            Look::Frame(frame) if frame.is_mark() && frame.seq <= end.last => {
                end.durable = end.durable.max(frame.seq);
                reader.step(&frame);
                continue;
            }
            Look::Frame(frame) if !frame.is_mark() && frame.seq == end.last + 1 => {
                end.last = frame.seq;
                reader.step(&frame);
                continue;
            }
            Look::Frame(_) => "another record lies here",
            Look::Bad(what) => what,
        };
        let (offset, wanted) = (reader.offset(), end.last + 1);
        let after = Aftermath::read(&mut reader, wanted)?;
        match after.next {
            // Nothing is wanting but a mark.
            Some((place, next)) if next.seq == wanted => {
                end.skipped.push(Skipped { path: file.path.clone(), offset, bytes: place - offset, records: None });
                reader = reopen(disk, file, place)?;
            }
            Some((place, next)) if after.acknowledged >= wanted => {
                if on_damage == OnDamage::Stop && next.seq > floor + 1 {
                    return Err(Error::Damaged { path: file.path.clone(), offset, seq: wanted, what: bad });
                }
                let records = Some((wanted, next.seq - 1));
                end.skipped.push(Skipped { path: file.path.clone(), offset, bytes: place - offset, records });
                // A mark spoke for the records before the hole; who writes the end again begins behind it.
                (end.last, end.durable) = (next.seq - 1, next.seq - 1);
                reader = reopen(disk, file, place)?;
            }
            _ => {
                end.offset = offset;
                end.dropped_bytes = length.saturating_sub(offset);
                end.acknowledged_lost = (after.acknowledged >= wanted).then_some((wanted, after.acknowledged));
                return Ok(end);
            }
        }
    }
}

/// What comes after a bad frame.
struct Aftermath {
    /// The next good record.
    next: Option<(u64, FrameHeader)>,
    /// What the marks after it testify.
    acknowledged: Seq,
}

impl Aftermath {
    fn read(reader: &mut SegmentReader, wanted: Seq) -> Result<Self, Error> {
        let mut after = Self { next: None, acknowledged: 0 };
        while let Some(frame) = reader.find_frame()? {
            if frame.is_mark() {
                after.acknowledged = after.acknowledged.max(frame.seq);
            } else if frame.seq >= wanted && after.next.is_none() {
                after.next = Some((reader.offset(), frame));
            }
        }
        Ok(after)
    }
}

fn reopen(disk: &dyn Disk, file: &SegmentFile, offset: u64) -> Result<SegmentReader, Error> {
    match SegmentReader::open(disk, file)? {
        Opened::Reader(mut reader) => {
            reader.seek_forward(offset)?;
            Ok(*reader)
        }
        Opened::Unwritten | Opened::Damaged(_) => Err(Error::Damaged {
            path: file.path.clone(),
            offset: 0,
            seq: file.first,
            what: "its header changed while it was read",
        }),
    }
}
