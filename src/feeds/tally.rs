//! What became of a message with several parts: good parts are kept, the first refusal is what the frame is counted as.

use dataflows::model::Tick;

use super::{Outcome, Rejection};

pub(super) struct Tally {
    stream: &'static str,
    used: bool,
    refused: Option<&'static str>,
}

impl Tally {
    pub fn new(stream: &'static str) -> Self {
        Self { stream, used: false, refused: None }
    }

    /// Notes a refusal.
    pub fn refuse(&mut self, reason: &'static str) {
        self.refused.get_or_insert(reason);
    }

    /// The value, or its refusal noted.
    pub fn note<T>(&mut self, part: Result<T, &'static str>) -> Option<T> {
        part.map_err(|reason| self.refuse(reason)).ok()
    }

    /// Keeps a good tick.
    pub fn push(&mut self, tick: Result<Tick, &'static str>, ticks: &mut Vec<Tick>) {
        if let Some(tick) = self.note(tick) {
            ticks.push(tick);
            self.used = true;
        }
    }

    /// `nothing`: why there was nothing in it, if nothing was kept or refused.
    pub fn outcome(self, nothing: &'static str) -> Outcome {
        match self.refused {
            Some(reason) => Outcome::Rejected(Rejection { stream: self.stream, reason }),
            None if self.used => Outcome::Used(self.stream),
            None => Outcome::Skipped(nothing),
        }
    }
}
