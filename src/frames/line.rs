//! One line of a frame log: `recv_ns <TAB> venue <TAB> connection <TAB> in|out|http <TAB> payload`.
//!
//! The head is read by hand, the payload is not looked into: millions of lines a second pass through here.

use dataflows::model::Venue;
use memchr::memchr;

use super::{Direction, FRAME_BYTES_MAX};

/// A line's head, and where its payload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub recv_ns: i64,
    pub venue: Venue,
    pub direction: Direction,
    pub payload_at: usize,
}

/// Reads a line (without its newline).
pub(super) fn head(line: &[u8]) -> Result<Head, &'static str> {
    let (recv_ns, at) = recv_ns(line)?;
    let venue_end = at + memchr(b'\t', &line[at..]).ok_or("missing fields")?;
    let connection_at = venue_end + 1;
    let connection_end = connection_at + memchr(b'\t', &line[connection_at..]).ok_or("missing fields")?;
    let direction_at = connection_end + 1;
    let direction_end = direction_at + memchr(b'\t', &line[direction_at..]).ok_or("missing fields")?;
    if !line[..direction_end].is_ascii() && std::str::from_utf8(&line[..direction_end]).is_err() {
        return Err("invalid UTF-8 in the head");
    }
    let venue = Venue::from_name(&line[at..venue_end]).ok_or("unknown venue")?;
    let direction = match &line[direction_at..direction_end] {
        b"in" => Direction::In,
        b"http" => Direction::Http,
        b"out" => Direction::Out,
        _ => return Err("unknown direction"),
    };
    let payload_at = direction_end + 1;
    if line.len() - payload_at > FRAME_BYTES_MAX {
        return Err("frame over 1 MiB");
    }
    Ok(Head { recv_ns, venue, direction, payload_at })
}

/// The time of receipt and where the next field begins.
fn recv_ns(line: &[u8]) -> Result<(i64, usize), &'static str> {
    let mut value: i64 = 0;
    for (i, &byte) in line.iter().enumerate() {
        match byte {
            b'0'..=b'9' if i < 18 => value = value * 10 + i64::from(byte - b'0'),
            b'0'..=b'9' => {
                value = value.checked_mul(10).and_then(|v| v.checked_add(i64::from(byte - b'0'))).ok_or("bad recv_ns")?;
            }
            b'\t' if i > 0 => return Ok((value, i + 1)),
            _ if memchr(b'\t', line).is_none() => return Err("missing fields"),
            _ => return Err("bad recv_ns"),
        }
    }
    Err("missing fields")
}

/// What a defective line still tells: its time and the venue as written.
pub(super) fn remains(line: &[u8]) -> (Option<i64>, String) {
    let mut fields = line.splitn(4, |&b| b == b'\t');
    let recv_ns = fields.next().and_then(|f| std::str::from_utf8(f).ok()).and_then(|f| f.parse().ok());
    let venue = fields.next().unwrap_or_default();
    (recv_ns, String::from_utf8_lossy(&venue[..venue.len().min(64)]).into_owned())
}

/// Whether a last line without a newline is a whole frame all the same: its brackets close and no string is left open.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let Ok(head) = head(line) else { return false };
    let (mut depth, mut in_string, mut escaped, mut seen) = (0i64, false, false, false);
    for &byte in &line[head.payload_at..] {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => (depth, seen) = (depth + 1, true),
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    seen && depth == 0 && !in_string
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expected: Result<(i64, Direction, &[u8]), &'static str>) {
        let got = head(line).map(|h| (h.recv_ns, h.direction, &line[h.payload_at..]));
        assert_eq!(got, expected, "{}", String::from_utf8_lossy(line));
    }

    #[test]
    fn heads_are_read_and_defects_named() {
        check(b"1723161255088\tbinance-usdm\tc1\tin\t{}", Ok((1_723_161_255_088, Direction::In, b"{}")));
        check(b"7\tokx\tc1\thttp\thttps://x {}\ty", Ok((7, Direction::Http, b"https://x {}\ty")));
        check(b"7\tbybit-linear\t\tout\t", Ok((7, Direction::Out, b"")));
        check("7\tbybit-linear\tVerbindung-ß\tin\t{}".as_bytes(), Ok((7, Direction::In, b"{}")));
        check(b"9223372036854775807\tokx\tc\tin\t{}", Ok((i64::MAX, Direction::In, b"{}")));
        check(b"9223372036854775808\tokx\tc\tin\t{}", Err("bad recv_ns"));
        check(b"-7\tokx\tc\tin\t{}", Err("bad recv_ns"));
        check(b"\tokx\tc\tin\t{}", Err("bad recv_ns"));
        check(b"12x\tokx\tc\tin\t{}", Err("bad recv_ns"));
        check(b"", Err("missing fields"));
        check(b"hello", Err("missing fields"));
        check(b"12", Err("missing fields"));
        check(b"7\tokx\tc\tin", Err("missing fields"));
        check(b"7\tmtgox\tc\tin\t{}", Err("unknown venue"));
        check(b"7\tokx\tc\tsideways\t{}", Err("unknown direction"));
        check(b"7\tokx\t\xff\xfe\tin\t{}", Err("invalid UTF-8 in the head"));
        let mut long = b"7\tokx\tc\tin\t".to_vec();
        long.resize(long.len() + FRAME_BYTES_MAX + 1, b'x');
        check(&long, Err("frame over 1 MiB"));
    }

    #[test]
    fn a_last_line_is_whole_when_its_brackets_close() {
        for (line, whole) in [
            ("7\tokx\tc\tin\t{\"a\":[1]}", true),
            ("7\tokx\tc\tin\t{\"a\":[1]", false),
            ("7\tokx\tc\tin\t{\"a\":\"}", false),
            ("7\tokx\tc\tin\t", false),
            ("7\tokx\tc\ti", false),
        ] {
            assert_eq!(is_whole(line.as_bytes()), whole, "{line}");
        }
    }
}
