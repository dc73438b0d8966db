//! A journal of opaque records, and snapshots of what they made: what was acknowledged survives kill -9, power loss, and disks that
//! are full or fail.
//!
//! ```text
//! Journal::open(disk, dir, options)         one process has the directory; finds the end
//!   .snapshots().newest_good()              what to start from
//!   .records(up_to + 1)                     what came after it, read in bounded memory
//!   .cut_after(known_at)                    what several agree not to keep, before they go on
//!   .writer()  ─▶ Writer                    append, sync
//!                   └▶ GroupSync::start     the same from any thread, one fsync a group
//! ```
//!
//! What a record holds is the caller's matter. A directory holds
//!
//! | file | what it is |
//! |---|---|
//! | `journal-<first record>.log` | a segment: records of rising numbers |
//! | `snapshot-<last record>-<edition>.<name>.part`, `….manifest` | a snapshot: parts, and the manifest that makes them one (`snapshot/manifest.rs`) |
//! | `journal.lock` | the pid of the process that has the directory; the kernel's lock on it ends with the process |
//! | `*.new` | a file that is not finished yet; removed on opening |
//! | `*.damaged` | a last segment that can't be one, put aside |
//!
//! # What is promised
//!
//! - **Acknowledged means durable.** A record is acknowledged ([`Writer::durable`], [`GroupSync::durable`]) after an fsync of its segment
//!   that succeeded, in a segment whose name was made durable before. Never otherwise.
//! - **After an fsync or a write that failed, its segment is abandoned**: the kernel may have lost what was on the way without ever saying so
//!   again. Records that were not acknowledged are written to a new segment, as often as it takes; memory is bounded, and who appends is told
//!   that there is no room. When space returns it goes on by itself.
//! - **Recovery takes the longest valid prefix**, says how many bytes it dropped and where, and invents nothing. Whole records at the
//!   end that were not known to be durable (a kill may have come between a failed fsync and anybody's knowing) are written again, durably,
//!   before anything else.
//! - **Files that count appear whole**: written under a `.new` name, made durable, renamed. Files that were written are never changed, so
//!   cutting off a torn end is beginning a segment that says where the one before it ends.
//! - **Damage is not an end.** Where acknowledged records are damaged or missing and others follow, reading stops with file and
//!   offset; or skips them and reports what it skipped ([`OnDamage`]).
//!
//! # The bytes of a segment, version 1
//!
//! Numbers are little-endian. A segment opens with 40 bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `RFJOURNL` |
//! | 8–11 | version, 1. Another is refused by name. The first 40 bytes have this form in every version |
//! | 12–15 | 0 |
//! | 16–23 | its first record's number, which is in its name, too |
//! | 24–31 | salt: a random number |
//! | 32–35 | 0 |
//! | 36–39 | CRC32C (Castagnoli) of bytes 0–35 |
//!
//! Frames follow without gaps:
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | CRC32C of the salt, the frame's offset in the file (8 bytes each), and bytes 4–31 |
//! | 4–7 | CRC32C of the payload |
//! | 8–11 | the payload's length, 16 MiB at most |
//! | 12 | kind: 1–255 as the caller likes; 0 is a mark |
//! | 13–15 | 0 |
//! | 16–23 | number: 1, 2, 3, … over all segments. A mark: everything up to here was durable before it was written |
//! | 24–31 | knowledge time, UTC ms. A mark: 0 |
//! | 32– | payload |
//!
//! The salt and the offset make a block verify nowhere but in its place. A segment ends where the next one begins: whatever it holds
//! from the next one's first record on was never acknowledged, or was written again. A segment that begins with record *n* says that all
//! before *n* are durable. Marks say the same: each group is followed by one, and by them recovery tells a torn end (after the last mark) from damage (before it).
//! Only the last record of all is taken for torn in any case; the report says if a mark speaks against it ([`Tail::acknowledged_lost`]).
//!
//! As an example, a segment with record 42 (kind 1, known at 2026-01-01T00:00:00Z, payload `bars`) between two marks:
//!
//! ```text
//! 0000  52 46 4a 4f 55 52 4e 4c 01 00 00 00 00 00 00 00
//! 0010  2a 00 00 00 00 00 00 00 88 77 66 55 44 33 22 11
//! 0020  00 00 00 00 b6 17 1c 47 62 f6 be a6 00 00 00 00
//! 0030  00 00 00 00 00 00 00 00 29 00 00 00 00 00 00 00
//! 0040  00 00 00 00 00 00 00 00 cf 49 75 2f 09 89 37 f2
//! 0050  04 00 00 00 01 00 00 00 2a 00 00 00 00 00 00 00
//! 0060  00 a8 da 76 9b 01 00 00 62 61 72 73 2d fb 88 b1
//! 0070  00 00 00 00 00 00 00 00 00 00 00 00 2a 00 00 00
//! 0080  00 00 00 00 00 00 00 00 00 00 00 00
//! ```
//!
//! # Limits
//!
//! - A payload has 16 MiB at most, and no more than the buffer (default 32 MiB, all that waits in memory). A segment is followed by another before
//!   it grows beyond 64 MiB (default), or has one record that is larger. Nothing here compresses: a caller's encoding knows its columns, bytes don't.
//! - CRC32C finds accidents, not forgers. A file that is cut between two records of the *last* segment is not told from one that
//!   ended there, unless a snapshot knows better.
//! - It is as good as the disk's fsync and the file system's rename. A lock on a network file system is as good as that.
//! - After a kill, records are there that nobody was told of; they count from the moment at which [`Journal::writer`] returns.

mod batch;
mod disk;
mod doctor;
mod error;
mod format;
mod group_sync;
mod journal;
mod reader;
mod records;
mod segment;
mod snapshot;
mod survey;
mod writer;

/// A record's number: 1, 2, 3, …; 0 stands for none.
pub type Seq = u64;

pub use disk::{AppendFile, Disk, Lock, RealDisk};
pub use doctor::{Report, doctor};
pub use error::{Error, Refused};
pub use format::{PAYLOAD_BYTES_MAX, VERSION};
pub use group_sync::{GroupSync, Health};
pub use journal::{Journal, OnDamage, Options, Tail};
pub use reader::Reader;
pub use records::{Record, Records, Skipped};
pub use snapshot::{Damaged, Found, Manifest, NewSnapshot, Part, Removed, Snapshot, Snapshots};
pub use writer::Writer;
