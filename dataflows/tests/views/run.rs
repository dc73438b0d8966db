//! Runs the graph on timely in this process and collects every change of every view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use dataflows::config::Config;
use dataflows::graph;
use dataflows::hot::Counters;
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
            fn listen(&self, views: graph::Views<'_>) {
                $(
                    let collected = Arc::clone(&self.$view);
                    views.$view.inner.inspect_batch(move |_, changes| collected.lock().unwrap().extend_from_slice(changes));
                )*
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
    let counters = Arc::new(Counters::default());
    let collected = Collected::default();
    let (config, instruments, feed) = (config.clone(), Arc::clone(instruments), Arc::new(feed));
    let (all_counters, all_collected) = (Arc::clone(&counters), collected.clone());
    let setting = if plan.workers == 1 { timely::Config::thread() } else { timely::Config::process(plan.workers) };
    let guards = timely::execute(setting, move |worker| {
        let mut ticks = InputHandle::new();
        let mut clocks = InputHandle::new();
        let mut releases = InputHandle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let ticks = scope.input_from(&mut ticks).container::<Vec<Tick>>();
            let clocks = scope.input_from(&mut clocks).container::<Vec<Clock>>();
            let releases = scope.input_from(&mut releases).container::<Vec<Release>>();
            all_collected.listen(graph::build(ticks, clocks, releases, &config, &instruments, &all_counters));
        });
        for (&known_at, batches) in feed.iter() {
            ticks.advance_to(known_at);
            clocks.advance_to(known_at);
            releases.advance_to(known_at);
            let Some(batch) = batches.get(worker.index()) else { continue };
            batch.ticks.iter().cloned().for_each(|tick| ticks.send(tick));
            batch.clocks.iter().copied().for_each(|clock| clocks.send(clock));
            batch.releases.iter().cloned().for_each(|release| releases.send(release));
            if plan.trickle {
                worker.step();
            }
        }
    })
    .unwrap();
    for worker in guards.join() {
        worker.unwrap();
    }
    (collected.history(), counters)
}
