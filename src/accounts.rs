//! What became of every frame: used, skipped by type, or rejected by reason. The sums add up to the frames that came in.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dataflows::model::Venue;
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::feeds::Outcome;

/// One way in which frames can end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// The message type.
    Used(&'static str),
    /// Why it holds nothing for us.
    Skipped(&'static str),
    /// Message type and reason.
    Rejected(&'static str, &'static str),
}

impl From<&Outcome> for Fate {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Used(kind) => Self::Used(kind),
            Outcome::Skipped(why) => Self::Skipped(why),
            Outcome::Rejected(rejection) => Self::Rejected(rejection.stream, rejection.reason),
        }
    }
}

/// One worker's sums since they were last handed over.
pub type Tally = FxHashMap<(Option<Venue>, Fate), u64>;

/// The sums of all workers.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<BTreeMap<(Option<Venue>, Fate), u64>>);

/// A line of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Whose frames; empty where the line named no known venue.
    pub venue: &'static str,
    /// `used`, `skipped` or `rejected`.
    pub fate: &'static str,
    /// Message type or reason.
    pub what: String,
    /// How many.
    pub frames: u64,
}

impl Accounts {
    /// Adds a worker's sums and empties them.
    pub fn add(&self, tally: &mut Tally) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, count) in tally.drain() {
            *sums.entry(key).or_default() += count;
        }
    }

    /// All lines, in a fixed order.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |((venue, fate), &frames): (&(Option<Venue>, Fate), &u64)| {
            let (fate, what) = match fate {
                Fate::Used(kind) => ("used", (*kind).to_owned()),
                Fate::Skipped(why) => ("skipped", (*why).to_owned()),
                Fate::Rejected(stream, reason) => ("rejected", format!("{stream}: {reason}")),
            };
            Line { venue: venue.map_or("", Venue::as_str), fate, what, frames }
        };
        sums.iter().map(line).collect()
    }

    /// How many frames ended as `fate` (`used`, `skipped`, `rejected`).
    #[must_use]
    pub fn total(&self, fate: &str) -> u64 {
        self.lines().iter().filter(|line| line.fate == fate).map(|line| line.frames).sum()
    }
}
