//! Records that are not durable yet, framed side by side, so that they are written in one go and can be written again.

use crate::format::{FRAME_HEADER_BYTES, FrameHeader, MARK, PAYLOAD_BYTES_MAX, SegmentHeader, frame_bytes, seal};
use crate::{Refused, Seq};

/// Kept for the next group.
const SPARE_BYTES: usize = 1 << 20;

/// Records of rising sequence numbers. A frame's checksum depends on where it comes to lie, so it is given by [`Batch::place`].
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// The record at the front, and the one after the last.
    first: Seq,
    next: Seq,
}

impl Batch {
    /// Whose first record will be `first`.
    pub fn starting_at(first: Seq) -> Self {
        Self { bytes: Vec::new(), first, next: first }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Headers and payloads.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The record after the last.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Becomes empty, to be filled from record `first` on; keeps the memory that a usual group needs.
    pub fn restart(&mut self, first: Seq) {
        self.bytes.clear();
        self.bytes.shrink_to(SPARE_BYTES);
        (self.first, self.next) = (first, first);
    }

    /// Takes a record, unless it and what waits already (`waiting_bytes`, this batch included) are more than `bytes_max`.
    pub fn push(
        &mut self,
        known_at: u64,
        kind: u8,
        payload: &[u8],
        waiting_bytes: usize,
        bytes_max: usize,
    ) -> Result<Seq, Refused> {
        let payload_bytes_max = PAYLOAD_BYTES_MAX.min(bytes_max.saturating_sub(FRAME_HEADER_BYTES));
        if kind == MARK {
            return Err(Refused::Kind);
        }
        if payload.len() > payload_bytes_max {
            return Err(Refused::TooLarge { bytes: payload.len(), bytes_max: payload_bytes_max });
        }
        if waiting_bytes + FRAME_HEADER_BYTES + payload.len() > bytes_max {
            return Err(Refused::Full { waiting_bytes });
        }
        let seq = self.next;
        let payload_bytes = payload.len() as u32; // at most PAYLOAD_BYTES_MAX
        let header = FrameHeader { seq, known_at, kind, payload_bytes, payload_crc: crc32c::crc32c(payload) };
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(payload);
        self.next += 1;
        Ok(seq)
    }

    /// Prepares the records from byte `from` on for their place at `offset` of a segment, as many as end at or before `offset_max`;
    /// one at least if `takes_any`. Answers with the byte after them, and how many they are.
    pub fn place(&mut self, from: usize, segment: &SegmentHeader, offset: u64, offset_max: u64, takes_any: bool) -> (usize, u64) {
        let (mut at, mut count) = (from, 0);
        while at < self.bytes.len() {
            let end = at + frame_bytes(&self.bytes[at..]);
            let fits = offset + (end - from) as u64 <= offset_max || (takes_any && count == 0);
            if !fits {
                break;
            }
            seal(&mut self.bytes[at..end], segment.salt, offset + (at - from) as u64);
            (at, count) = (end, count + 1);
        }
        (at, count)
    }

    /// The framed bytes between two places.
    pub fn bytes(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[from..to]
    }

    /// Lets go of the records up to `durable`.
    pub fn forget_to(&mut self, durable: Seq) {
        if durable + 1 >= self.next {
            let next = self.next;
            return self.restart(next);
        }
        let mut at = 0;
        while self.first <= durable {
            at += frame_bytes(&self.bytes[at..]);
            self.first += 1;
        }
        self.bytes.drain(..at);
    }
}
