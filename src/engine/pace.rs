//! One process must not run far ahead of the others: between processes there are no bounded channels, so what one has read and another can't take
//! yet would pile up. The feeder waits until the quantum that it had reached some batches ago is the next one to be kept: complete in all processes,
//! told and handed to the store in this one.
//!
//! What an earlier run left is given back at such a pace, too, in hand-overs instead of batches.
//!
//! It never waits for ever: every process gets at least as far as the slowest, and none waits for more than that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::Lost;

/// How often is looked whether all are still there.
const LOOK: Duration = Duration::from_millis(100);

/// How far everything is kept.
#[derive(Debug, Default)]
pub struct Reached {
    kept_to: Mutex<u64>,
    changed: Condvar,
    /// The same, for who only looks.
    seen: AtomicU64,
}

impl Reached {
    /// Every quantum before `kept_to` is kept.
    pub(crate) fn set(&self, kept_to: u64) {
        if self.seen.swap(kept_to, Ordering::AcqRel) != kept_to {
            *self.kept_to.lock().unwrap_or_else(PoisonError::into_inner) = kept_to;
            self.changed.notify_all();
        }
    }

    /// Every quantum before it is kept, whether there was anything in it or not.
    #[must_use]
    pub fn kept_to(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }
}

/// See the module.
pub(super) struct Pace {
    reached: Arc<Reached>,
    lost: Arc<Lost>,
    /// The quanta reached with the last batches.
    batches: VecDeque<u64>,
    batches_max: usize,
}

impl Pace {
    pub fn new(reached: Arc<Reached>, lost: Arc<Lost>, batches_max: usize) -> Self {
        Self { reached, lost, batches: VecDeque::new(), batches_max }
    }

    /// Notes a batch, and waits if it is one too many. False: a process is lost.
    pub fn keep(&mut self, known_at: u64) -> bool {
        self.batches.push_back(known_at);
        if self.batches.len() <= self.batches_max {
            return true;
        }
        let Some(wanted) = self.batches.pop_front() else { return true };
        let mut kept_to = self.reached.kept_to.lock().unwrap_or_else(PoisonError::into_inner);
        while *kept_to < wanted {
            if self.lost.is_over() {
                return false;
            }
            let waited = self.reached.changed.wait_timeout(kept_to, LOOK);
            kept_to = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
