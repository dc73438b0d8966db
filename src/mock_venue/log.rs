//! Hands a frame log on line by line, from a thread of its own: decoding blocks, playing must not.
//!
//! What is a frame and what is a defect is decided where every frame log is read, in [`crate::frames`].

use dataflows::model::Venue;
use tokio::sync::mpsc;

use crate::frames::{Direction, FrameBatch, FrameLogError, FrameLogReader};

/// So many lines wait to be played.
const LINES_MAX: usize = 1024;

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
    /// Not a frame, or not text.
    Malformed,
    /// The file could not be read further.
    Failed(String),
}

/// Reads until the end, or until nobody wants more.
pub fn spawn(reader: FrameLogReader) -> mpsc::Receiver<Line> {
    let (lines_in, lines) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        if let Err(error) = read(reader, &lines_in) {
            let _ = lines_in.blocking_send(Line::Failed(error.to_string())); // nobody left to be told
        }
    });
    lines
}

/// Frames in their order, then the batch's defects: those are only counted.
fn read(mut reader: FrameLogReader, lines: &mpsc::Sender<Line>) -> Result<(), FrameLogError> {
    let mut batch = FrameBatch::default();
    while reader.next_batch(&mut batch)? {
        let frames = batch.frames.iter().map(|frame| match std::str::from_utf8(batch.payload(frame)) {
            Ok(payload) => Line::Frame {
                recv_ns: frame.recv_ns,
                venue: frame.venue,
                direction: frame.direction,
                payload: payload.to_owned(),
            },
            Err(_) => Line::Malformed,
        });
        for line in frames.chain(batch.defects.iter().map(|_| Line::Malformed)) {
            if lines.blocking_send(line).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
