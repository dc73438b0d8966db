//! The bytes of a segment; the crate's head draws them.

use std::path::{Path, PathBuf};

use crate::Seq;

/// The version of segments that this program writes, and the only one it reads.
pub const VERSION: u32 = 1;
/// The largest payload of one record.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Nobody gets that far.
const SEQ_MAX: Seq = 1 << 62;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;
pub(crate) const FRAME_HEADER_BYTES: usize = 32;
/// The kind of a frame that is no record: everything up to its sequence number was durable before it was written.
pub(crate) const MARK: u8 = 0;

const MAGIC: [u8; 8] = *b"RFJOURNL";

/// What a segment opens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Its first record, also in its name.
    pub first: Seq,
    /// A random number that goes into every checksum, so that blocks of other segments don't verify.
    pub salt: u64,
}

/// Why a segment's header can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Too short or nothing but zeros: the segment was never begun.
    Unwritten,
    /// Something else than a header.
    Damaged(&'static str),
    /// A whole header of a version that this program doesn't know.
    Version(u32),
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        if bytes.len() < SEGMENT_HEADER_BYTES || bytes.iter().all(|&byte| byte == 0) {
            return Err(BadHeader::Unwritten);
        }
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Damaged("it does not open as a journal's segment does"));
        }
        // The checksum lies at the same place in every version, so a flipped bit is not taken for a new version.
        if u32_at(bytes, 36) != crc32c::crc32c(&bytes[..36]) {
            return Err(BadHeader::Damaged("the segment header's checksum is wrong"));
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Self { first: u64_at(bytes, 16), salt: u64_at(bytes, 24) }),
            other => Err(BadHeader::Version(other)),
        }
    }
}

/// What a frame opens with: a record, or a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub seq: Seq,
    pub known_at: u64,
    pub kind: u8,
    pub payload_bytes: u32,
    pub payload_crc: u32,
}

impl FrameHeader {
    pub fn mark(seq: Seq) -> Self {
        Self { seq, known_at: 0, kind: MARK, payload_bytes: 0, payload_crc: crc32c::crc32c(&[]) }
    }

    pub fn is_mark(&self) -> bool {
        self.kind == MARK
    }

    /// Header and payload.
    pub fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_bytes as usize
    }

    /// Without its checksum, which needs to know the place: see [`seal`].
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[12] = self.kind;
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..].copy_from_slice(&self.known_at.to_le_bytes());
        bytes
    }

    /// `None`: there is no frame of this segment at this offset.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        if u32_at(bytes, 0) != place_crc(bytes, salt, offset) {
            return None;
        }
        let header = Self {
            payload_crc: u32_at(bytes, 4),
            payload_bytes: u32_at(bytes, 8),
            kind: bytes[12],
            seq: u64_at(bytes, 16),
            known_at: u64_at(bytes, 24),
        };
        let is_lawful = bytes[13..16] == [0; 3] && header.payload_bytes as usize <= PAYLOAD_BYTES_MAX;
        is_lawful.then_some(header)
    }
}

/// Gives a frame's header its checksum for its place: the segment's salt and the offset in the file.
pub(crate) fn seal(frame: &mut [u8], salt: u64, offset: u64) {
    let crc = place_crc(frame, salt, offset);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
}

/// The payload's length of the frame that opens `bytes`.
pub(crate) fn frame_bytes(bytes: &[u8]) -> usize {
    FRAME_HEADER_BYTES + u32_at(bytes, 8) as usize
}

fn place_crc(header: &[u8], salt: u64, offset: u64) -> u32 {
    let mut covered = [0; 16 + FRAME_HEADER_BYTES - 4];
    covered[..8].copy_from_slice(&salt.to_le_bytes());
    covered[8..16].copy_from_slice(&offset.to_le_bytes());
    covered[16..].copy_from_slice(&header[4..FRAME_HEADER_BYTES]);
    crc32c::crc32c(&covered)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Where the segment that begins with record `first` lies.
pub(crate) fn segment_path(dir: &Path, first: Seq) -> PathBuf {
    dir.join(format!("journal-{first:020}.log"))
}

/// The first record of the segment of this name; `None`: it is no segment's.
pub(crate) fn segment_first(name: &str) -> Option<Seq> {
    sequence(name.strip_prefix("journal-")?.strip_suffix(".log")?)
}

/// Twenty digits, so that names sort as numbers do. A name beyond all reason is somebody else's.
pub(crate) fn sequence(digits: &str) -> Option<Seq> {
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?.filter(|&seq| seq <= SEQ_MAX)
}
