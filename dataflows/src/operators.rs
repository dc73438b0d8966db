//! How a view sees its input: one quantum at a time, whole, in order.
//!
//! A view is a function of events by event time; arrival only decides when it learns of them. So each numeric view is a plain
//! struct with a method that takes one quantum's rows and clock records and says what changed, and [`per_quantum`] makes it an
//! operator: it holds back each timestamp until no more input for it can come, so the order in which batches and workers
//! delivered it cannot matter. The struct knows nothing of timely and is tested without it.

use std::collections::BTreeMap;

use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::progress::frontier::MutableAntichain;

use crate::keeping::{Keeping, Kept};
use crate::model::{Clock, MINUTE_MS, SECOND_MS, Venue};

/// The dataflow's timestamp: knowledge time, UTC milliseconds, cut to the quantum.
pub type KnownAt = u64;

/// What every view is told beside its rows: how far venues have come, and where its state is kept.
#[derive(Clone)]
pub struct Clocks<'scope> {
    /// On every worker.
    pub records: StreamVec<'scope, KnownAt, Clock>,
    /// Of this worker.
    pub keeping: Keeping,
}

/// Runs `logic(state, known_at, rows, clocks, changes)` once for each timestamp that had rows or clock records, in order.
///
/// `rows` and `clocks` must already be where they are needed (no exchange happens here). What `logic` pushes becomes a change at that timestamp.
/// `state` is all that it remembers: snapshots keep it under `name`.
pub fn per_quantum<'scope, I, O, V, F>(
    rows: StreamVec<'scope, KnownAt, I>,
    clocks: Clocks<'scope>,
    name: &'static str,
    mut state: V,
    logic: F,
) -> VecCollection<'scope, KnownAt, O, isize>
where
    I: Clone + 'static,
    O: differential_dataflow::Data,
    V: Kept + 'static,
    F: Fn(&mut V, KnownAt, Vec<I>, &[Clock], &mut Vec<(O, isize)>) + 'static,
{
    let Clocks { records: clocks, keeping } = clocks;
    keeping.load(name, &mut state);
    let saver = keeping.saver();
    rows.binary_frontier::<_, CapacityContainerBuilder<Vec<(O, KnownAt, isize)>>, _, _, _, _>(
        clocks,
        Pipeline,
        Pipeline,
        name,
        move |_capability, _info| {
            let mut waiting = Waiting::default();
            let mut changes = Vec::new();
            move |(rows, rows_frontier), (clocks, clocks_frontier), output| {
                rows.for_each(|capability, batch| {
                    let quantum = waiting.at(*capability.time(), || capability.retain(0));
                    if quantum.rows.is_empty() { quantum.rows = std::mem::take(batch) } else { quantum.rows.append(batch) }
                });
                clocks.for_each(|capability, batch| {
                    waiting.at(*capability.time(), || capability.retain(0)).clocks.append(batch);
                });
                while let Some((known_at, quantum)) = waiting.next_complete(&[rows_frontier, clocks_frontier]) {
                    let Quantum { capability, rows, mut clocks } = quantum;
                    let is_saved = clocks.contains(&Clock::Save);
                    clocks.retain(|clock| *clock != Clock::Save);
                    if !rows.is_empty() || !clocks.is_empty() {
                        logic(&mut state, known_at, rows, &clocks, &mut changes);
                    }
                    if is_saved {
                        saver.save(known_at, name, &state);
                    }
                    output.session(&capability).give_iterator(changes.drain(..).map(|(row, diff)| (row, known_at, diff)));
                    changes.shrink_to(CHANGES_KEPT); // a burst's room is given back
                }
            }
        },
    )
    .as_collection()
}

/// Room for so many changes is kept from one quantum to the next.
const CHANGES_KEPT: usize = 4_096;

/// Input of timestamps that are not complete yet. Bounded by the input's own limit on batches under way.
struct Waiting<I>(BTreeMap<KnownAt, Quantum<I>>);

struct Quantum<I> {
    capability: Capability<KnownAt>,
    rows: Vec<I>,
    clocks: Vec<Clock>,
}

impl<I> Default for Waiting<I> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<I> Waiting<I> {
    fn at(&mut self, known_at: KnownAt, capability: impl FnOnce() -> Capability<KnownAt>) -> &mut Quantum<I> {
        self.0.entry(known_at).or_insert_with(|| Quantum { capability: capability(), rows: Vec::new(), clocks: Vec::new() })
    }

    fn next_complete(&mut self, frontiers: &[&MutableAntichain<KnownAt>]) -> Option<(KnownAt, Quantum<I>)> {
        let first = self.0.first_entry()?;
        if frontiers.iter().any(|frontier| frontier.less_equal(first.key())) { None } else { Some(first.remove_entry()) }
    }
}

/// How far each venue's events have come, as far as the clock records told.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Watermarks {
    lateness_ms: i64,
    venues: [VenueTime; Venue::ALL.len()],
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct VenueTime {
    newest: i64,
    watermark: i64,
}

/// A time before all events.
pub const NEVER: i64 = i64::MIN / 4;

impl Watermarks {
    /// Nothing heard yet. A watermark follows the newest event at `lateness_ms`.
    #[must_use]
    pub fn new(lateness_ms: i64) -> Self {
        Self { lateness_ms, venues: [VenueTime { newest: NEVER, watermark: NEVER }; Venue::ALL.len()] }
    }

    /// Takes in clock records.
    pub fn advance(&mut self, clocks: &[Clock]) {
        // The order of one quantum's records must not matter: silence is judged after all that was heard.
        for clock in clocks {
            if let Clock::Active { venue, newest_ts, .. } = *clock {
                let time = &mut self.venues[venue as usize];
                time.newest = time.newest.max(newest_ts);
                time.watermark = time.watermark.max(time.newest - self.lateness_ms);
            }
        }
        for clock in clocks {
            match *clock {
                Clock::Active { .. } | Clock::Save => {}
                Clock::Idle(venue) => self.venues[venue as usize].close(),
                Clock::Flush => self.venues.iter_mut().for_each(VenueTime::close),
            }
        }
    }

    /// Where the correction horizon begins: an event of `venue` before it is not applied any more. A full minute, UTC ms, so that
    /// an event counts exactly where the minute in which its venue was heard counts.
    #[must_use]
    pub fn reach(&self, venue: Venue, horizon_ms: i64) -> i64 {
        (self.of(venue) - horizon_ms).div_euclid(MINUTE_MS) * MINUTE_MS
    }

    /// No event of `venue` before it is expected any more, UTC ms.
    #[must_use]
    #[inline]
    pub fn of(&self, venue: Venue) -> i64 {
        self.venues[venue as usize].watermark
    }

    /// What lies before it is over by the venue's own word: an event as late as this was heard. Silence does not move it.
    #[must_use]
    pub fn heard_past(&self, venue: Venue) -> i64 {
        let time = &self.venues[venue as usize];
        time.watermark.min(time.newest)
    }
}

impl VenueTime {
    /// Closes the minute of the newest event, and the first second after it, which ends the minute's trailing windows. It never
    /// closes more: what comes of silence must not depend on how long somebody listened to it.
    fn close(&mut self) {
        if self.newest > NEVER {
            let end = (self.newest.div_euclid(MINUTE_MS) + 1) * MINUTE_MS + SECOND_MS;
            self.watermark = self.watermark.max(end);
        }
    }
}

/// Says how rows of one key changed: nothing if they are equal.
pub fn replace<R: PartialEq, O>(old: Option<R>, new: Option<R>, wrap: impl Fn(R) -> O, changes: &mut Vec<(O, isize)>) {
    if old == new {
        return;
    }
    changes.extend(old.map(|row| (wrap(row), -1)));
    changes.extend(new.map(|row| (wrap(row), 1)));
}
