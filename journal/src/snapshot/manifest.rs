//! The manifest: a short text, so that somebody at a shell can read it.
//!
//! ```text
//! regimeflow snapshot 1
//! up_to 4711
//! fingerprint views-3 5f2c
//! part bars 1048576 89abcdef
//! part liquidations 77 00c0ffee
//! end 7d1f0a3e
//! ```
//!
//! A part's line has its name, bytes, and CRC32C; the last line the CRC32C of all bytes before it.

use std::fmt::Write as _;

use crate::Seq;

/// Larger ones are damaged: a few hundred parts fit.
pub(super) const MANIFEST_BYTES_MAX: u64 = 64 << 10;
const TITLE: &str = "regimeflow snapshot ";
const VERSION: u32 = 1;

/// What a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// It holds what records up to this one made.
    pub up_to: Seq,
    /// The caller's own word.
    pub fingerprint: String,
    /// In the order in which they were written.
    pub parts: Vec<Part>,
}

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its CRC32C.
    pub crc: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadManifest {
    Damaged(&'static str),
    Version(u32),
}

pub(super) fn is_fingerprint(text: &str) -> bool {
    text.len() <= 200 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

pub(super) fn is_part_name(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

impl Manifest {
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{TITLE}{VERSION}\nup_to {}\nfingerprint {}\n", self.up_to, self.fingerprint);
        for part in &self.parts {
            let _ = writeln!(text, "part {} {} {:08x}", part.name, part.bytes, part.crc); // a String takes everything
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "end {crc:08x}");
        text
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        let damaged = |what| move || BadManifest::Damaged(what);
        let text = std::str::from_utf8(bytes).map_err(|_| BadManifest::Damaged("it is no text"))?;
        // The last line keeps its form in every version, so a flipped bit is not taken for a new version.
        let (body, crc) = text.rsplit_once("end ").ok_or_else(damaged("its last line is missing"))?;
        let crc =
            crc.strip_suffix('\n').filter(|digits| digits.len() == 8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if crc != Some(crc32c::crc32c(body.as_bytes())) {
            return Err(BadManifest::Damaged("its checksum is wrong"));
        }
        let mut lines = body.lines();
        let version =
            lines.next().and_then(|line| line.strip_prefix(TITLE)?.parse().ok()).ok_or_else(damaged("it has no title"))?;
        if version != VERSION {
            return Err(BadManifest::Version(version));
        }
        let up_to =
            lines.next().and_then(|line| line.strip_prefix("up_to ")?.parse().ok()).ok_or_else(damaged("it has no up_to"))?;
        let fingerprint =
            lines.next().and_then(|line| line.strip_prefix("fingerprint ")).ok_or_else(damaged("it has no fingerprint"))?;
        let parts = lines.map(part).collect::<Option<_>>().ok_or_else(damaged("a part's line can't be read"))?;
        Ok(Self { up_to, fingerprint: fingerprint.to_owned(), parts })
    }
}

fn part(line: &str) -> Option<Part> {
    let mut words = line.strip_prefix("part ")?.split(' ');
    let name = words.next().filter(|name| is_part_name(name))?.to_owned();
    let bytes = words.next()?.parse().ok()?;
    let crc = u32::from_str_radix(words.next()?, 16).ok()?;
    words.next().is_none().then_some(Part { name, bytes, crc })
}
