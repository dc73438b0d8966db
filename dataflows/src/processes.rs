//! What several processes must agree upon before views see it: the names of instruments, and who is silent.
//!
//! A row finds its worker by an instrument's id, so it may come to a process that never read the name behind it. So every process tells the others each
//! name in the quantum in which it first reads it, and the clock records, which every view waits for, are let through only together with those names:
//! whoever sees a quantum as complete can name everything in it.
//!
//! A venue is silent when the last process has heard it so long ago: a process that listens to a few quiet symbols can't say so for the others. Snapshots keep
//! that, since whoever goes on after a restart has silence said of all that was heard.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::keeping::{Keeping, Kept, Load, Save};
use crate::model::{Clock, Instruments, Venue};
use crate::operators::KnownAt;

/// The operator.
const NAME: &str = "processes";

/// What the other processes say.
pub struct Processes<'scope> {
    /// Names, which must have reached every worker.
    pub names: StreamVec<'scope, KnownAt, (Venue, String)>,
    /// A venue that any process has heard within this time, ms, is not silent.
    pub heard_ms: u64,
}

/// The clock records of all processes, which must have reached every worker, as views may see them.
pub(crate) fn agreed<'scope>(
    clocks: StreamVec<'scope, KnownAt, Clock>,
    processes: Processes<'scope>,
    keeping: &Keeping,
    instruments: Arc<Instruments>,
) -> StreamVec<'scope, KnownAt, Clock> {
    let Processes { names, heard_ms } = processes;
    let mut heard = Heard { at: [None; Venue::ALL.len()], for_ms: heard_ms };
    keeping.load(NAME, &mut heard);
    let saver = keeping.saver();
    clocks.binary_frontier::<_, CapacityContainerBuilder<Vec<Clock>>, _, _, _, _>(
        names,
        Pipeline,
        Pipeline,
        NAME,
        move |_capability, _info| {
            let mut waiting: BTreeMap<KnownAt, (Capability<KnownAt>, Vec<Clock>)> = BTreeMap::new();
            move |(clocks, clocks_frontier), (names, names_frontier), output| {
                names.for_each(|_capability, batch| {
                    for (venue, symbol) in batch.drain(..) {
                        // A clash of ids is reported by the parser that meets the second name.
                        let _ = (instruments.intern(venue, &symbol), instruments.across(&symbol));
                    }
                });
                clocks.for_each(|capability, batch| {
                    waiting.entry(*capability.time()).or_insert_with(|| (capability.retain(0), Vec::new())).1.append(batch);
                });
                while let Some(first) = waiting.first_entry()
                    && !clocks_frontier.less_equal(first.key())
                    && !names_frontier.less_equal(first.key())
                {
                    let known_at = *first.key();
                    let (capability, mut clocks) = first.remove();
                    heard.agree(known_at, &mut clocks);
                    if clocks.contains(&Clock::Save) {
                        saver.save(known_at, NAME, &heard);
                    }
                    output.session(&capability).give_iterator(clocks.into_iter());
                }
            }
        },
    )
}

/// When venues were heard last, by any process.
struct Heard {
    at: [Option<KnownAt>; Venue::ALL.len()],
    for_ms: u64,
}

impl Heard {
    /// Drops silence that isn't, and what several processes say alike. (What is heard in this very quantum came after the silence.)
    fn agree(&mut self, known_at: KnownAt, clocks: &mut Vec<Clock>) {
        let before = self.at;
        let (mut flushes, mut saves) = (0, 0);
        clocks.retain(|clock| match clock {
            Clock::Active { venue, .. } => {
                self.at[*venue as usize] = Some(known_at);
                true
            }
            Clock::Idle(venue) => before[*venue as usize].is_none_or(|at| known_at - at >= self.for_ms),
            Clock::Flush => std::mem::replace(&mut flushes, 1) == 0,
            Clock::Save => std::mem::replace(&mut saves, 1) == 0,
        });
    }
}

impl Kept for Heard {
    fn save(&self, save: &mut Save) {
        save.shared(&self.at);
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        self.at = load.shared()?.unwrap_or(self.at);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn who_was_heard_is_kept() {
        let saved = Arc::new(Mutex::new(Vec::new()));
        let out = Arc::clone(&saved);
        let keep: crate::keeping::Keep = Arc::new(move |state| out.lock().unwrap().push(state));
        let mut heard = Heard { at: [None; Venue::ALL.len()], for_ms: 10_000 };
        heard.agree(1_000, &mut vec![Clock::Active { venue: Venue::BybitLinear, minute: 0, newest_ts: 1 }]);
        for worker in 0..2 {
            Keeping::new(worker, 2, Arc::clone(&keep), Arc::default()).saver().save(1_000, NAME, &heard);
        }
        let states = saved.lock().unwrap().iter().map(|state| state.bytes.clone()).collect();
        let past = Arc::new([(NAME.to_owned(), states)].into());
        let mut restored = Heard { at: [None; Venue::ALL.len()], for_ms: 10_000 };
        let keeping = Keeping::new(3, 4, keep, past).of_processes(2);
        keeping.load(NAME, &mut restored);
        assert_eq!((restored.at, keeping.failed()), (heard.at, None));
    }

    #[test]
    fn a_venue_is_silent_when_nobody_hears_it() {
        let mut heard = Heard { at: [None; Venue::ALL.len()], for_ms: 10_000 };
        let venue = Venue::BybitLinear;
        let active = Clock::Active { venue, minute: 0, newest_ts: 1 };
        let mut check = |known_at, mut clocks: Vec<Clock>, want: &[Clock]| {
            heard.agree(known_at, &mut clocks);
            assert_eq!(clocks, want, "at {known_at}");
        };
        check(1_000, vec![active], &[active]);
        check(9_000, vec![Clock::Idle(venue)], &[]);
        check(11_000, vec![Clock::Idle(venue)], &[Clock::Idle(venue)]);
        check(12_000, vec![Clock::Idle(venue), active], &[Clock::Idle(venue), active]);
        check(13_000, vec![Clock::Flush, Clock::Save, Clock::Flush], &[Clock::Flush, Clock::Save]);
    }
}
