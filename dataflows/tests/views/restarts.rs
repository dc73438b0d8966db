//! A run that was interrupted and goes on from its journal, or from a snapshot of its states and the journal since, says what one says
//! that never stopped: every change, at the same time.

use std::sync::Arc;

use dataflows::keeping::States;
use dataflows::model::*;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::properties::cases;
use crate::run::{Arrival, Batch, Feed, Journal, Plan, feed, run, run_from, run_journaled};
use crate::streams::{Market, any_pace, config, days};

/// The feed of a run that finds `journal` after `from` and up to `to`, spread over its workers, and then hears the rest.
fn resumed(whole: &Feed, journal: &Journal, from: u64, to: u64, plan: Plan) -> Feed {
    let mut feed: Feed = whole.range(to + 1..).map(|(&known_at, batches)| (known_at, batches.clone())).collect();
    for (&known_at, (rows, clocks)) in journal.range((std::ops::Bound::Excluded(from), std::ops::Bound::Included(to))) {
        let mut batches = vec![Batch::default(); plan.workers];
        for (i, row) in rows.iter().enumerate() {
            batches[i % plan.workers].restored.push(row.clone());
        }
        batches[plan.workers - 1].clocks.clone_from(clocks);
        feed.insert(known_at, batches);
    }
    feed
}

/// A restarted process knows no instrument but those that the journal names.
fn known_again(market: &Market) -> Arc<Instruments> {
    let instruments = Arc::new(Instruments::default());
    for tick in &market.ticks {
        let known = market.instruments.get(tick.instrument()).unwrap();
        instruments.intern(known.venue, &known.symbol).unwrap();
    }
    instruments
}

/// A quantum of the feed. The last one only says that the input ends, and that is not for a journal to keep.
fn place(feed: &Feed, index: &Index) -> u64 {
    *index.get(&feed.keys().copied().take(feed.len() - 1).collect::<Vec<_>>())
}

fn check_journal(market: &Market, arrivals: &[Arrival], cut: &Index, workers: usize) {
    let plan = Plan::default();
    let whole = feed(&market.instruments, arrivals, plan);
    let cut = place(&whole, cut);
    let (unbroken, _, journal) = run_journaled(&config(), &market.instruments, whole.clone(), plan);
    let plan = Plan { workers, spread: true, ..plan };
    let rest = resumed(&feed(&market.instruments, arrivals, plan), &journal, 0, cut, plan);
    let (broken, _) = run(&config(), &known_again(market), rest, plan);
    broken.assert_equals(&unbroken, &format!("restarted at {cut} with {workers} workers"));
}

/// States are saved at one time by some workers, the run breaks off at another, and goes on with some other number of workers.
fn check_snapshot(market: &Market, arrivals: &[Arrival], [at, cut]: [&Index; 2], workers: [usize; 2]) {
    let [before, after] = workers.map(|workers| Plan { workers, spread: true, ..Plan::default() });
    let mut whole = feed(&market.instruments, arrivals, before);
    let (at, cut) = (place(&whole, at), place(&whole, cut));
    let (at, cut) = (at.min(cut), at.max(cut));
    let (unbroken, _, journal) = run_journaled(&config(), &market.instruments, whole.clone(), before);
    whole.entry(at).or_default().resize(workers[0], Batch::default());
    whole.entry(at).or_default()[workers[0] - 1].clocks.push(Clock::Save);
    let (saving, _, _, states) = run_from(&config(), &market.instruments, whole.clone(), before, States::new());
    saving.assert_equals(&unbroken, "saving is no news");
    assert!(states.len() > 15 && states.values().all(|parts| parts.len() == workers[0]), "every operator on every worker");
    let rest = resumed(&feed(&market.instruments, arrivals, after), &journal, at, cut, after);
    let (broken, _, _, _) = run_from(&config(), &known_again(market), rest, after, states);
    broken.assert_equals(&unbroken.after(at), &format!("saved at {at}, restarted at {cut}, workers {workers:?}"));
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn a_journal_gives_back_every_change(raw in any_pace(2..80), cut in any::<Index>(), workers in 1usize..5) {
        let market = Market::new(&raw);
        check_journal(&market, &market.arrivals[0], &cut, workers);
        // Repeats of what came before the restart come after it.
        let twice: Vec<Arrival> =
            market.arrivals[0].iter().flat_map(|(at, tick)| [(*at, tick.clone()), (at + 700, tick.clone())]).collect();
        check_journal(&market, &twice, &cut, workers);
    }

    #[test]
    fn saved_states_go_on_as_if_nothing_had_been(
        raw in any_pace(2..100),
        (at, cut) in any::<(Index, Index)>(),
        workers in [1usize..5, 1..5],
    ) {
        let market = Market::new(&raw);
        check_snapshot(&market, &market.arrivals[0], [&at, &cut], workers);
        check_snapshot(&market, &market.arrivals[1], [&at, &cut], workers);
    }
}

proptest! {
    #![proptest_config(cases(3))]
    #[test]
    fn saved_states_of_days_go_on(days in days(), (at, cut) in any::<(Index, Index)>(), workers in [1usize..3, 1..3]) {
        let market = days.market();
        check_snapshot(&market, &market.arrivals[0], [&at, &cut], workers);
    }
}
