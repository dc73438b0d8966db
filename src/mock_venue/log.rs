//! Reads a frame log line by line, plain or zstd, on a thread of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use dataflows::model::Venue;
use tokio::sync::mpsc;

use crate::frames::Direction;

/// Longer lines are no frames.
const LINE_BYTES_MAX: u64 = 4 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One line.
#[derive(Clone, Debug)]
pub enum Line {
    /// A frame.
    Frame {
        /// When it was received, ns.
        recv_ns: i64,
        /// From whom.
        venue: Venue,
        /// How.
        direction: Direction,
        /// What.
        payload: String,
    },
    /// Not a frame.
    Malformed,
    /// The file could not be read further.
    Failed(String),
}

/// Opens a log, so that a missing one is noticed at once.
///
/// # Errors
/// If it can't be opened or its head can't be read.
pub fn open(path: &Path) -> std::io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    if file.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        return Ok(Box::new(BufReader::with_capacity(1 << 18, zstd::Decoder::with_buffer(file)?)));
    }
    Ok(Box::new(file))
}

/// Reads until the end, or until nobody wants more.
pub fn spawn(mut log: Box<dyn BufRead + Send>) -> mpsc::Receiver<Line> {
    let (lines_in, lines) = mpsc::channel(1024);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        loop {
            line.clear();
            let next = match log.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) if line.last() != Some(&b'\n') && line.len() as u64 == LINE_BYTES_MAX => skip_rest(log.as_mut()),
                Ok(_) => parse(line.strip_suffix(b"\n").unwrap_or(&line)).unwrap_or(Line::Malformed),
                Err(error) => Line::Failed(error.to_string()),
            };
            let failed = matches!(next, Line::Failed(_));
            if lines_in.blocking_send(next).is_err() || failed {
                return;
            }
        }
    });
    lines
}

/// The rest of a line that is too long, without keeping it.
fn skip_rest(log: &mut dyn BufRead) -> Line {
    loop {
        let (used, done) = match log.fill_buf() {
            Ok([]) => return Line::Malformed,
            Ok(bytes) => memchr::memchr(b'\n', bytes).map_or((bytes.len(), false), |at| (at + 1, true)),
            Err(error) => return Line::Failed(error.to_string()),
        };
        log.consume(used);
        if done {
            return Line::Malformed;
        }
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut fields = std::str::from_utf8(line).ok()?.splitn(5, '\t');
    let recv_ns = fields.next()?.parse().ok()?;
    let venue = Venue::from_name(fields.next()?.as_bytes())?;
    fields.next()?;
    let direction = match fields.next()? {
        "in" => Direction::In,
        "out" => Direction::Out,
        "http" => Direction::Http,
        _ => return None,
    };
    Some(Line::Frame { recv_ns, venue, direction, payload: fields.next()?.to_owned() })
}
