//! The collector: puts together what the workers' views said, quantum by quantum, in order.

use std::collections::BTreeMap;

use crossbeam_channel::Receiver;
use dataflows::model::{Change, Changes};

use super::Output;
use crate::store::Quantum;
use crate::store::edge::EdgeRow;

/// Reads the workers' output. What is held back is bounded by the input under way.
pub struct Collector {
    from_workers: Receiver<Output>,
    waiting: BTreeMap<u64, Quantum>,
    complete_to: u64,
}

impl Collector {
    pub(super) fn new(from_workers: Receiver<Output>) -> Self {
        Self { from_workers, waiting: BTreeMap::new(), complete_to: 0 }
    }

    /// The next complete quantum; waits for it. `None`: the workers have finished and everything was read.
    pub fn next_quantum(&mut self) -> Option<Quantum> {
        loop {
            if let Some(first) = self.waiting.first_entry()
                && *first.key() < self.complete_to
            {
                return Some(first.remove());
            }
            match self.from_workers.recv() {
                Ok(output) => self.take(output),
                // Workers that died leave incomplete quanta behind; they are not given out.
                Err(_) => return None,
            }
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Progress(complete_to) => self.complete_to = complete_to,
            Output::Rejected(row) => self.at(row.known_at).edge.push(EdgeRow::Rejected(row)),
            Output::Changes(changes) => self.sort_in(changes),
        }
    }

    fn at(&mut self, known_at: u64) -> &mut Quantum {
        self.waiting.entry(known_at).or_insert_with(|| Quantum { known_at, changes: Vec::new(), edge: Vec::new() })
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
