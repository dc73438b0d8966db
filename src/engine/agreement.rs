//! Several processes that keep journals agree how far everything is durable: a quantum goes on in one only when it is durable in all.
//!
//! Each process's recorder says up to where everything that entered there is durable. That is the capability of a source on the process's first worker, in a
//! dataflow of its own beside the views'; so its frontier is the minimum over all, which timely tells every worker anyway. With it go snapshots as they are made, so that
//! each process knows which of its own all have, and, when the input has ended, the last quantum of each: all journals must come to the same end.
//!
//! It is an operator and not something that the workers look at between their steps: they leave that loop while other dataflows still go on. It ends when every
//! recorder has said that it is [`finished`](Agreement::finish). One that goes without that word holds the others: what it had not made durable must not go on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::vec::Broadcast;

use super::telling::{Waker, wake};
use crate::cluster::Lost;

/// Snapshots of a process that are remembered: more than it keeps.
const REMEMBERED: usize = 32;

/// Where all processes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Every quantum before it is durable in all.
    pub durable_to: u64,
    /// The snapshot that all go on from, knowledge time; `None`: they have none.
    pub snapshot: Option<u64>,
}

/// What one process tells the others.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Said {
    process: u64,
    what: What,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum What {
    /// It has made a snapshot of this quantum.
    Snapshot(u64),
    /// Its input has ended, and this was the last quantum in its journal.
    Ends(u64),
}

/// What this process has to say, and what is known of all.
#[derive(Debug)]
struct Shared {
    process: usize,
    mine: AtomicU64,
    news: Mutex<Vec<Said>>,
    common: AtomicU64,
    known: Mutex<Known>,
}

/// What processes have said.
#[derive(Clone, Debug, Default)]
struct Known {
    snapshots: Vec<BTreeSet<u64>>,
    ends: Vec<Option<u64>>,
}

/// The recorder's end.
pub struct Agreement {
    shared: Arc<Shared>,
    waker: Waker,
    lost: Arc<Lost>,
}

impl Agreement {
    /// Every quantum before it is durable in this process.
    pub fn say(&self, durable_to: u64) {
        if self.shared.mine.fetch_max(durable_to, Ordering::AcqRel) < durable_to {
            wake(&self.waker);
        }
    }

    /// Every quantum before it is durable in all processes.
    #[must_use]
    pub fn durable_to(&self) -> u64 {
        self.shared.common.load(Ordering::Acquire)
    }

    /// The cluster has ended, and nothing will be agreed any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lost.is_over()
    }

    /// The input has ended; the last quantum in this process's journal is that of `known_at`.
    pub fn end(&self, known_at: u64) {
        self.tell(What::Ends(known_at));
    }

    /// The last quantum in any process's journal, once all inputs have ended.
    #[must_use]
    pub fn end_of_all(&self) -> Option<u64> {
        self.shared.known().ends.iter().copied().collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Everything is durable in this process, and nothing more comes.
    pub fn finish(&self) {
        self.say(u64::MAX);
    }

    /// For who makes snapshots.
    #[must_use]
    pub fn snapshots(&self) -> CommonSnapshots {
        CommonSnapshots { shared: Arc::clone(&self.shared), waker: Arc::clone(&self.waker) }
    }

    fn tell(&self, what: What) {
        self.snapshots().tell(what);
    }
}

/// Which snapshots all processes have.
pub struct CommonSnapshots {
    shared: Arc<Shared>,
    waker: Waker,
}

impl CommonSnapshots {
    /// This process has made one.
    pub fn made(&self, known_at: u64) {
        self.shared.known().take(self.shared.process, What::Snapshot(known_at)); // at once, so that the next question knows of it
        self.tell(What::Snapshot(known_at));
    }

    /// The newest that all have.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.shared.known().newest()
    }

    /// How many of this process's own are newer than that, and may still become one that all have.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.known().waiting(self.shared.process)
    }

    fn tell(&self, what: What) {
        let said = Said { process: self.shared.process as u64, what };
        self.shared.news.lock().unwrap_or_else(PoisonError::into_inner).push(said);
        wake(&self.waker);
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn of(processes: usize, snapshot: Option<u64>) -> Self {
        Self { snapshots: vec![snapshot.into_iter().collect(); processes], ends: vec![None; processes] }
    }

    fn take(&mut self, process: usize, what: What) {
        match what {
            What::Snapshot(known_at) => {
                if let Some(snapshots) = self.snapshots.get_mut(process) {
                    snapshots.insert(known_at);
                    if snapshots.len() > REMEMBERED {
                        snapshots.pop_first();
                    }
                }
            }
            What::Ends(known_at) => {
                if let Some(end) = self.ends.get_mut(process) {
                    *end = Some(known_at);
                }
            }
        }
    }

    fn newest(&self) -> Option<u64> {
        let (first, others) = self.snapshots.split_first()?;
        first.iter().rev().copied().find(|known_at| others.iter().all(|snapshots| snapshots.contains(known_at)))
    }

    /// Snapshots are made in order: one that another process has gone past without making it will never be of all.
    fn waiting(&self, process: usize) -> usize {
        let newest = self.newest();
        let comes = |snapshots: &BTreeSet<u64>, known_at: &u64| {
            snapshots.contains(known_at) || snapshots.last().is_none_or(|last| last < known_at)
        };
        let may_be = |known_at: &&u64| Some(**known_at) > newest && self.snapshots.iter().all(|of| comes(of, known_at));
        self.snapshots.get(process).map_or(0, |own| own.iter().filter(may_be).count())
    }
}

/// What the workers of this process have of it.
#[derive(Clone)]
pub(super) struct Wires {
    shared: Arc<Shared>,
    waker: Waker,
}

/// Both ends, of process `process` of `processes`.
pub(super) fn wires(process: usize, processes: usize, start: Start, lost: Arc<Lost>) -> (Wires, Agreement) {
    let shared = Arc::new(Shared {
        process,
        mine: AtomicU64::new(start.durable_to),
        news: Mutex::default(),
        common: AtomicU64::new(start.durable_to),
        known: Mutex::new(Known::of(processes, start.snapshot)),
    });
    let waker = Waker::default();
    (Wires { shared: Arc::clone(&shared), waker: Arc::clone(&waker) }, Agreement { shared, waker, lost })
}

/// Builds the dataflow on one worker; `is_local_first`: it is its process's first.
pub(super) fn build<'scope>(scope: Scope<'scope, u64>, wires: &Wires, is_local_first: bool) {
    let Wires { shared, waker } = wires.clone();
    let heard = Arc::clone(&shared);
    let said = source::<_, CapacityContainerBuilder<Vec<Said>>, _, _>(scope, "durable here", move |capability, info| {
        let mut held = is_local_first.then_some(capability);
        if is_local_first {
            let activator = scope.worker().sync_activator_for(info.address.to_vec());
            *waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(activator);
        }
        move |output| {
            let Some(capability) = &mut held else { return };
            // Read before the news, which come before the last word.
            let durable_to = shared.mine.load(Ordering::Acquire);
            let news = std::mem::take(&mut *shared.news.lock().unwrap_or_else(PoisonError::into_inner));
            output.session(&*capability).give_iterator(news.into_iter());
            if durable_to == u64::MAX {
                held = None;
            } else if durable_to > *capability.time() {
                capability.downgrade(&durable_to);
            }
        }
    });
    said.broadcast().sink(Pipeline, "durable in all", move |(input, frontier)| {
        input.for_each(|_capability, batch| {
            for Said { process, what } in batch.drain(..).filter(|_| is_local_first) {
                heard.known().take(usize::try_from(process).unwrap_or(usize::MAX), what);
            }
        });
        if is_local_first {
            let durable_to = frontier.frontier().first().copied().unwrap_or(u64::MAX);
            heard.common.fetch_max(durable_to, Ordering::AcqRel);
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Snapshots of each process; the newest that all have; how many of each wait to become one.
    fn check(snapshots: &[&[u64]], newest: Option<u64>, waiting: &[usize]) {
        let mut known = Known::of(snapshots.len(), None);
        for (process, snapshots) in snapshots.iter().enumerate() {
            snapshots.iter().for_each(|known_at| known.take(process, What::Snapshot(*known_at)));
        }
        assert_eq!(known.newest(), newest, "{snapshots:?}");
        let found: Vec<_> = (0..snapshots.len()).map(|process| known.waiting(process)).collect();
        assert_eq!(found, waiting, "{snapshots:?}");
    }

    #[test]
    fn the_newest_that_all_have() {
        check(&[&[], &[]], None, &[0, 0]);
        check(&[&[10], &[]], None, &[1, 0]);
        check(&[&[10, 20], &[10]], Some(10), &[1, 0]);
        check(&[&[10, 20, 30], &[10, 20, 30], &[10, 30]], Some(30), &[0, 0, 0]);
        check(&[&[10, 20, 30, 40], &[10]], Some(10), &[3, 0]);
        // The second has passed over all that the first waits with.
        check(&[&[10, 20, 30, 40], &[10, 50]], Some(10), &[0, 1]);
        check(&[&[10, 20, 30, 40, 60], &[10, 50, 60]], Some(60), &[0, 0]);
    }

    fn until(mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never came to be so");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Each worker stands for a process.
    #[test]
    fn all_hear_how_far_the_slowest_is() {
        let start = Start { durable_to: 10, snapshot: Some(9) };
        let lost = Lost::new(Vec::new());
        let (ends, agreements): (Vec<_>, Vec<_>) = (0..2).map(|process| wires(process, 2, start, Arc::clone(&lost))).unzip();
        let work = timely::execute(timely::Config::process(2), move |worker| {
            let wires = ends[worker.index()].clone();
            worker.dataflow::<u64, _, _>(|scope| build(scope, &wires, true));
        });
        let all = |durable_to| until(|| agreements.iter().all(|agreement| agreement.durable_to() == durable_to));
        agreements[0].say(30);
        agreements[1].say(20);
        all(20);
        agreements[1].say(40);
        all(30);
        let snapshots: Vec<_> = agreements.iter().map(Agreement::snapshots).collect();
        snapshots[0].made(25);
        assert_eq!((snapshots[0].newest(), snapshots[0].waiting()), (Some(9), 1));
        snapshots[1].made(25);
        until(|| snapshots.iter().all(|snapshots| snapshots.newest() == Some(25)));
        agreements[0].end(29);
        agreements[1].end(39);
        until(|| agreements.iter().all(|agreement| agreement.end_of_all() == Some(39)));
        agreements[0].finish();
        all(40);
        agreements[1].finish();
        all(u64::MAX);
        for ended in work.unwrap().join() {
            ended.unwrap();
        }
    }

    #[test]
    fn the_end_of_all_is_known_when_all_have_ended() {
        let (_, agreement) = wires(0, 2, Start { durable_to: 1, snapshot: None }, Lost::new(Vec::new()));
        assert_eq!(agreement.end_of_all(), None);
        agreement.shared.known().take(1, What::Ends(40));
        assert_eq!(agreement.end_of_all(), None);
        agreement.shared.known().take(0, What::Ends(30));
        assert_eq!(agreement.end_of_all(), Some(40));
        agreement.say(7);
        agreement.say(5);
        assert_eq!((agreement.shared.mine.load(Ordering::Acquire), agreement.durable_to()), (7, 1), "others have said nothing");
    }
}
