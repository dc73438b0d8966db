//! Frames that arrive close together travel together: a batch is what one connection received within a quantum (20 ms),
//! at most 1,000 frames or 4 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dataflows::model::Venue;
use tokio::time::Instant;

use crate::frames::{Defect, Direction, FrameBatch, FrameRef};

const FRAMES_MAX: usize = 1_000;
const BYTES_MAX: usize = 4 << 20;

/// Collects frames into batches.
#[derive(Debug)]
pub struct Collector {
    venue: Venue,
    quantum: Duration,
    numbers: Arc<AtomicU64>,
    batch: FrameBatch,
    due: Option<Instant>,
}

impl Collector {
    /// An empty one. `numbers` counts the frames of all of a venue's connections.
    #[must_use]
    pub fn new(venue: Venue, quantum: Duration, numbers: Arc<AtomicU64>) -> Self {
        Self { venue, quantum, numbers, batch: FrameBatch::default(), due: None }
    }

    /// Adds a frame. It must not be longer than `FRAME_BYTES_MAX`.
    pub fn push(&mut self, payload: &[u8], direction: Direction, recv_ns: i64, now: Instant) {
        let line = self.number(now);
        // At most 4 MiB + 1 MiB, so both fit into 32 bits.
        let (start, len) = (self.batch.bytes.len() as u32, payload.len() as u32);
        self.batch.bytes.extend_from_slice(payload);
        self.batch.frames.push(FrameRef { recv_ns, line, start, len, venue: self.venue, direction });
    }

    /// Adds a frame that was refused unread.
    pub fn refuse(&mut self, reason: &'static str, recv_ns: i64, excerpt: Vec<u8>, now: Instant) {
        let line = self.number(now);
        let venue = self.venue.to_string();
        self.batch.defects.push(Defect { line, recv_ns: Some(recv_ns), venue, reason, excerpt });
    }

    /// When the batch must go, if there is one.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The batch, if it must go now.
    pub fn take_if_due(&mut self, now: Instant) -> Option<FrameBatch> {
        let full = self.batch.frames.len() >= FRAMES_MAX || self.batch.bytes.len() >= BYTES_MAX;
        (full || self.due.is_some_and(|due| now >= due)).then(|| self.take()).flatten()
    }

    /// The batch, if there is anything in it.
    pub fn take(&mut self) -> Option<FrameBatch> {
        self.due.take()?;
        Some(std::mem::take(&mut self.batch))
    }

    fn number(&mut self, now: Instant) -> u64 {
        self.due.get_or_insert(now + self.quantum);
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_quantum_or_a_thousand_frames() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let mut collector = Collector::new(Venue::BybitLinear, 20 * ms, Arc::default());
        assert!(collector.take_if_due(start).is_none());
        collector.push(b"one", Direction::In, 1, start);
        collector.push(b"two", Direction::In, 2, start + 19 * ms);
        assert!(collector.take_if_due(start + 19 * ms).is_none());
        let batch = collector.take_if_due(start + 20 * ms).unwrap();
        let payloads: Vec<_> = batch.frames.iter().map(|frame| batch.payload(frame)).collect();
        assert_eq!(payloads, [b"one", b"two"]);
        assert_eq!(batch.frames.iter().map(|frame| frame.line).collect::<Vec<_>>(), [1, 2]);
        assert!(collector.due().is_none() && collector.take().is_none());
        for _ in 0..999 {
            collector.push(b"x", Direction::In, 3, start);
        }
        assert!(collector.take_if_due(start).is_none());
        collector.push(b"x", Direction::In, 3, start);
        assert_eq!(collector.take_if_due(start).unwrap().frames.len(), 1_000);
    }
}
