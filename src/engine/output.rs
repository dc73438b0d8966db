//! The collector: puts together what the workers' views said, quantum by quantum, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use dataflows::keeping::SavedState;
use dataflows::model::{BaseRow, Change, Changes, Clock};

use super::Output;
use super::pace::Reached;
use crate::recovery::Entry;

/// Everything of one quantum: what entered, and what follows from it.
#[derive(Debug, Default)]
pub struct Bundle {
    /// When it became known, UTC ms.
    pub known_at: u64,
    /// All changes of the views.
    pub changes: Vec<Changes>,
    /// What the hot path made of ticks, if a journal is kept; none of what was restored.
    pub base: Vec<BaseRow>,
    /// How far venues have come, if a journal is kept.
    pub clocks: Vec<Clock>,
    /// What else entered.
    pub entries: Vec<Entry>,
    /// All operators' states after it, if they were to be saved.
    pub states: Vec<SavedState>,
}

/// What [`Collector::next`] found.
pub enum Next {
    /// A complete quantum.
    Bundle(Box<Bundle>),
    /// None so far.
    Nothing,
    /// The workers have finished and everything was read.
    End,
}

/// Reads the workers' output. What is held back is bounded by the input under way.
pub struct Collector {
    from_workers: Receiver<Output>,
    waiting: BTreeMap<u64, Bundle>,
    complete_to: u64,
    /// Told what has been given out, and come back for more: several processes keep step by it.
    reached: Arc<Reached>,
}

impl Collector {
    pub(super) fn new(from_workers: Receiver<Output>, reached: Arc<Reached>) -> Self {
        Self { from_workers, waiting: BTreeMap::new(), complete_to: 0, reached }
    }

    /// Takes in what the workers have said so far, so that they needn't wait while whoever reads here waits for something else.
    pub fn take_in(&mut self) {
        while let Ok(output) = self.from_workers.try_recv() {
            self.take(output);
        }
    }

    /// Every quantum before it is complete; `u64::MAX`: all are, and no more come.
    #[must_use]
    pub fn complete_to(&self) -> u64 {
        self.complete_to
    }

    /// What was given out before the quantum `held` is kept; `None`: everything that was. For who asks with patience only.
    pub fn note_kept(&self, held: Option<u64>) {
        let first = self.waiting.first_key_value().map_or(u64::MAX, |(first, _)| *first);
        self.reached.set(held.unwrap_or(first.min(self.complete_to)));
    }

    /// The next complete quantum; waits for it, so long at most. Without a limit of patience: everything given out before is kept.
    pub fn next(&mut self, patience: Option<Duration>) -> Next {
        loop {
            if let Some(first) = self.waiting.first_entry()
                && *first.key() < self.complete_to
            {
                if patience.is_none() {
                    self.reached.set(*first.key());
                }
                return Next::Bundle(Box::new(first.remove()));
            }
            if patience.is_none() {
                self.reached.set(self.complete_to);
            }
            // Workers of several processes may go on with other things afterwards.
            if self.complete_to == u64::MAX {
                return Next::End;
            }
            let received = match patience {
                Some(patience) => self.from_workers.recv_timeout(patience),
                None => self.from_workers.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(output) => self.take(output),
                Err(RecvTimeoutError::Timeout) => return Next::Nothing,
                // Workers that died leave incomplete quanta behind; they are not given out.
                Err(RecvTimeoutError::Disconnected) => return Next::End,
            }
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Progress(complete_to) => self.complete_to = complete_to,
            Output::Entered(known_at, entry) => self.at(known_at).entries.push(entry),
            Output::Base(known_at, rows) => self.at(known_at).base.extend(rows),
            Output::Clocks(known_at, clocks) => self.at(known_at).clocks.extend(clocks),
            Output::Saved(state) => self.at(state.known_at).states.push(state),
            Output::Changes(changes) => self.sort_in(changes),
        }
    }

    fn at(&mut self, known_at: u64) -> &mut Bundle {
        self.waiting.entry(known_at).or_insert_with(|| Bundle { known_at, ..Bundle::default() })
    }

    fn sort_in(&mut self, changes: Changes) {
        macro_rules! split {
            ($($view:ident: $kind:ident($row:ty),)*) => {
                match changes {
                    $(Changes::$kind(rows) => {
                        for (known_at, rows) in by_time(rows) {
                            self.at(known_at).changes.push(Changes::$kind(rows));
                        }
                    })*
                }
            };
        }
        dataflows::for_each_view!(split);
    }
}

/// Nearly always all of one time.
fn by_time<R>(rows: Vec<Change<R>>) -> BTreeMap<u64, Vec<Change<R>>> {
    let mut times = BTreeMap::new();
    if let Some(first) = rows.first().map(|row| row.1)
        && rows.iter().all(|row| row.1 == first)
    {
        times.insert(first, rows);
        return times;
    }
    for row in rows {
        times.entry(row.1).or_insert_with(Vec::new).push(row);
    }
    times
}
