//! Runs the graph on timely in this process and collects every change of every view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use dataflows::config::Config;
use dataflows::graph;
use dataflows::hot::Counters;
use dataflows::keeping::{Keeping, SavedState, States};
use dataflows::model::*;
use dataflows::models::Release;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Inspect};

/// A tick and when it arrived, UTC ms.
pub type Arrival = (u64, Tick);

/// What arrived in one quantum at one worker.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub ticks: Vec<Tick>,
    pub clocks: Vec<Clock>,
    pub releases: Vec<Release>,
    /// What a journal gives back.
    pub restored: Vec<BaseRow>,
}

/// By `known_at`, then by the worker that read it.
pub type Feed = BTreeMap<u64, Vec<Batch>>;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub workers: usize,
    pub quantum_ms: u64,
    /// Batches are dealt out to all workers, not read by the first alone.
    pub spread: bool,
    /// The input ends with [`Clock::Flush`].
    pub flush: bool,
    /// Workers step after each quantum, instead of at the end.
    pub trickle: bool,
}

/// What a journal keeps: by `known_at`, base rows and clock records.
pub type Journal = BTreeMap<u64, (Vec<BaseRow>, Vec<Clock>)>;

impl Default for Plan {
    fn default() -> Self {
        Self { workers: 1, quantum_ms: 1_000, spread: false, flush: true, trickle: false }
    }
}

/// Cuts arrivals into quanta and writes the clock records that the engine's source writes.
pub fn feed(instruments: &Instruments, arrivals: &[Arrival], plan: Plan) -> Feed {
    let mut in_order: Vec<&Arrival> = arrivals.iter().collect();
    in_order.sort_by_key(|(at, _)| *at);
    let mut feed = Feed::new();
    for (i, (at, tick)) in in_order.into_iter().enumerate() {
        let known_at = (at / plan.quantum_ms + 1) * plan.quantum_ms;
        let batches = feed.entry(known_at).or_insert_with(|| vec![Batch::default(); plan.workers]);
        batches[if plan.spread { i % plan.workers } else { 0 }].ticks.push(tick.clone());
    }
    for batch in feed.values_mut().flatten() {
        batch.clocks = clocks(instruments, &batch.ticks);
    }
    if plan.flush {
        let last = feed.last_key_value().map_or(0, |(&known_at, _)| known_at);
        let end = Batch { clocks: vec![Clock::Flush], ..Batch::default() };
        feed.insert(last + plan.quantum_ms, vec![end]);
    }
    feed
}

/// Per venue: the minutes heard, with the newest event time.
fn clocks(instruments: &Instruments, ticks: &[Tick]) -> Vec<Clock> {
    let mut heard: BTreeMap<Venue, (BTreeSet<i64>, i64)> = BTreeMap::new();
    for tick in ticks.iter().filter(|tick| is_heard(tick)) {
        let venue = instruments.get(tick.instrument()).unwrap().venue;
        let (minutes, newest) = heard.entry(venue).or_insert((BTreeSet::new(), i64::MIN));
        minutes.insert(tick.ts().div_euclid(MINUTE_MS) * MINUTE_MS);
        *newest = tick.ts().max(*newest);
    }
    let records = |(venue, (minutes, newest_ts)): (Venue, (BTreeSet<i64>, i64))| {
        minutes.into_iter().map(move |minute| Clock::Active { venue, minute, newest_ts })
    };
    heard.into_iter().flat_map(records).collect()
}

/// Settled funding and venue bars speak of the past.
pub fn is_heard(tick: &Tick) -> bool {
    !matches!(tick, Tick::Kline(_) | Tick::Funding(Funding { kind: FundingKind::Settled, .. }))
}

/// All changes of a view, consolidated per `known_at`, in order.
pub type Changes<R> = Vec<(u64, R, isize)>;

macro_rules! history {
    ($($view:ident: $kind:ident($row:ty),)*) => {
        /// Every change of every view.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct History { $(pub $view: Changes<$row>),* }

        #[derive(Clone, Default)]
        struct Collected { $($view: Arc<Mutex<Vec<Change<$row>>>>),* }

        impl Collected {
            fn take(&self, changes: dataflows::model::Changes) {
                match changes {
                    $(dataflows::model::Changes::$kind(rows) => self.$view.lock().unwrap().extend(rows),)*
                }
            }

            fn history(&self) -> History {
                History { $($view: consolidate(std::mem::take(&mut *self.$view.lock().unwrap()))),* }
            }
        }

        impl History {
            /// What was known up to `known_at`.
            pub fn until(&self, known_at: u64) -> Self {
                Self { $($view: self.$view.iter().filter(|(at, _, _)| *at <= known_at).cloned().collect()),* }
            }

            /// What became known after `known_at`.
            pub fn after(&self, known_at: u64) -> Self {
                Self { $($view: self.$view.iter().filter(|(at, _, _)| *at > known_at).cloned().collect()),* }
            }

            /// Panics where two histories differ, naming the view. `late_events` too if `arrival`.
            pub fn assert_equals(&self, other: &Self, why: &str) {
                $(assert_same(&self.$view, &other.$view, concat!("changes of ", stringify!($view)), why);)*
            }

            /// As [`Self::assert_equals`] for the current rows of all views but `late_events`, which speaks of arrival.
            pub fn assert_same_rows(&self, other: &Self, why: &str) {
                $(if stringify!($view) != "late_events" {
                    assert_same(&current(&self.$view), &current(&other.$view), stringify!($view), why);
                })*
            }
        }
    };
}
dataflows::for_each_view!(history);

fn consolidate<R: Ord + Clone>(changes: Vec<Change<R>>) -> Changes<R> {
    let mut sums: BTreeMap<(u64, R), isize> = BTreeMap::new();
    for (row, known_at, diff) in changes {
        *sums.entry((known_at, row)).or_default() += diff;
    }
    sums.into_iter().filter(|(_, diff)| *diff != 0).map(|((known_at, row), diff)| (known_at, row, diff)).collect()
}

/// The rows that are true in the end.
pub fn current<R: Ord + Clone + std::fmt::Debug>(changes: &Changes<R>) -> Vec<R> {
    let mut sums: BTreeMap<&R, isize> = BTreeMap::new();
    for (_, row, diff) in changes {
        *sums.entry(row).or_default() += diff;
    }
    sums.into_iter()
        .filter(|(_, sum)| *sum != 0)
        .map(|(row, sum)| {
            assert_eq!(sum, 1, "a row is there {sum} times: {row:?}");
            row.clone()
        })
        .collect()
}

/// Panics with the first rows that only one side has.
pub fn assert_same<R: PartialEq + std::fmt::Debug>(ours: &[R], theirs: &[R], view: &str, why: &str) {
    if ours == theirs {
        return;
    }
    let only = |a: &[R], b: &[R]| -> Vec<String> {
        a.iter().filter(|row| !b.contains(row)).take(4).map(|row| format!("{row:?}")).collect()
    };
    panic!(
        "{view} differ ({} and {} rows): {why}\n  only left:\n    {}\n  only right:\n    {}",
        ours.len(),
        theirs.len(),
        only(ours, theirs).join("\n    "),
        only(theirs, ours).join("\n    ")
    );
}

/// Runs the graph over `feed`.
pub fn run(config: &Config, instruments: &Arc<Instruments>, feed: Feed, plan: Plan) -> (History, Arc<Counters>) {
    let (history, counters, _) = run_journaled(config, instruments, feed, plan);
    (history, counters)
}

/// As [`run`], with what a journal would keep.
pub fn run_journaled(
    config: &Config,
    instruments: &Arc<Instruments>,
    feed: Feed,
    plan: Plan,
) -> (History, Arc<Counters>, Journal) {
    let (history, counters, journal, _) = run_from(config, instruments, feed, plan, States::new());
    (history, counters, journal)
}

/// As [`run_journaled`], from states that were saved; with the states that are saved where the feed says so.
pub fn run_from(
    config: &Config,
    instruments: &Arc<Instruments>,
    feed: Feed,
    plan: Plan,
    past: States,
) -> (History, Arc<Counters>, Journal, States) {
    let mut journal = Journal::new();
    for (&known_at, batches) in &feed {
        let clocks = batches
            .iter()
            .flat_map(|batch| batch.clocks.iter().copied())
            .filter(|clock| !matches!(clock, Clock::Flush | Clock::Save));
        journal.entry(known_at).or_default().1.extend(clocks);
    }
    let counters = Arc::new(Counters::default());
    let collected = Collected::default();
    let (config, instruments, feed) = (config.clone(), Arc::clone(instruments), Arc::new(feed));
    let (all_counters, all_collected) = (Arc::clone(&counters), collected.clone());
    let kept: Arc<Mutex<Vec<(u64, BaseRow)>>> = Arc::default();
    let all_kept = Arc::clone(&kept);
    let saved: Arc<Mutex<States>> = Arc::default();
    let all_saved = Arc::clone(&saved);
    let past = Arc::new(past);
    let setting = if plan.workers == 1 { timely::Config::thread() } else { timely::Config::process(plan.workers) };
    let guards = timely::execute(setting, move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut ticks = InputHandle::new();
        let mut clocks = InputHandle::new();
        let mut releases = InputHandle::new();
        let mut restored = InputHandle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let ticks = scope.input_from(&mut ticks).container::<Vec<Tick>>();
            let clocks = scope.input_from(&mut clocks).container::<Vec<Clock>>();
            let releases = scope.input_from(&mut releases).container::<Vec<Release>>();
            let restored = Some(scope.input_from(&mut restored).container::<Vec<BaseRow>>());
            let all_saved = Arc::clone(&all_saved);
            let keep = move |SavedState { view, bytes, .. }| all_saved.lock().unwrap().entry(view).or_default().push(bytes);
            let keeping = Keeping::new(index, peers, Arc::new(keep), Arc::clone(&past));
            let inputs = graph::Inputs { ticks, clocks, releases, restored, keeping: keeping.clone(), processes: None };
            let (views, journal) = graph::build(inputs, &config, &instruments, &all_counters);
            assert_eq!(keeping.failed(), None);
            let all_collected = all_collected.clone();
            views.tell(scope, move |changes| all_collected.take(changes));
            let all_kept = Arc::clone(&all_kept);
            journal.inspect_batch(move |at, rows| all_kept.lock().unwrap().extend(rows.iter().map(|row| (*at, row.clone()))));
        });
        for (&known_at, batches) in feed.iter() {
            ticks.advance_to(known_at);
            clocks.advance_to(known_at);
            releases.advance_to(known_at);
            restored.advance_to(known_at);
            let Some(batch) = batches.get(worker.index()) else { continue };
            batch.ticks.iter().cloned().for_each(|tick| ticks.send(tick));
            batch.clocks.iter().copied().for_each(|clock| clocks.send(clock));
            batch.releases.iter().cloned().for_each(|release| releases.send(release));
            batch.restored.iter().cloned().for_each(|row| restored.send(row));
            if plan.trickle {
                worker.step();
            }
        }
    })
    .unwrap();
    for worker in guards.join() {
        worker.unwrap();
    }
    for (known_at, row) in std::mem::take(&mut *kept.lock().unwrap()) {
        journal.entry(known_at).or_default().0.push(row);
    }
    let saved = std::mem::take(&mut *saved.lock().unwrap());
    (collected.history(), counters, journal, saved)
}
