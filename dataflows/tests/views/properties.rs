//! What must hold of every market, whatever happens in it.
//!
//! 2,000 random markets are compared with the oracle in each run, the same ones every time, so that a change is judged by what it changed;
//! `REGIMEFLOW_CASES` multiplies them, `REGIMEFLOW_SEED=random` (or a number) takes others. A failure prints a smaller market that fails
//! too, and the run's seed. Its own seed goes into `regressions.txt`, from which every later run tries it first.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use dataflows::config::CascadeMode;
use dataflows::model::*;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, FileFailurePersistence, RngSeed};

use crate::oracle::Events;
use crate::run::{Arrival, Changes, History, Plan, current, feed, run};
use crate::streams::{Market, Pace, any_pace, burdened, config, days, raw_events};

pub fn cases(usual: u32) -> Cases {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let times = number("REGIMEFLOW_CASES").map_or(1, |times| times as u32);
    let is_random = std::env::var("REGIMEFLOW_SEED").is_ok_and(|text| text == "random");
    let any = || RandomState::new().build_hasher().finish();
    let seed = number("REGIMEFLOW_SEED").unwrap_or_else(|| if is_random { any() } else { 1 });
    println!("REGIMEFLOW_SEED={seed} REGIMEFLOW_CASES={times}"); // seen when the test fails
    let persistence = Some(Box::new(FileFailurePersistence::Direct("tests/views/regressions.txt")) as _);
    let rng_seed = RngSeed::Fixed(seed);
    Cases { failure_persistence: persistence, rng_seed, max_shrink_iters: 600, ..Cases::with_cases(usual * times) }
}

fn views(market: &Market, arrivals: &[Arrival], plan: Plan) -> History {
    run(&config(), &market.instruments, feed(&market.instruments, arrivals, plan), plan).0
}

fn check_against_oracle(market: &Market) -> History {
    let history = views(market, &market.arrivals[0], Plan::default());
    Events::new(&market.instruments, &config(), market.ticks.iter().cloned()).check(&history);
    history
}

// Three kinds of markets, so that the test threads share the work.
proptest! {
    #![proptest_config(cases(700))]
    #[test]
    fn views_say_what_the_oracle_says(raw in raw_events(Pace::Mixed, 1..120)) {
        check_against_oracle(&Market::new(&raw));
    }

    #[test]
    fn cascades_are_what_the_oracle_says(raw in raw_events(Pace::Crowded, 1..120)) {
        check_against_oracle(&Market::new(&raw));
    }
}

proptest! {
    #![proptest_config(cases(600))]
    #[test]
    fn support_zones_are_what_the_oracle_says(raw in raw_events(Pace::Returning, 1..120)) {
        check_against_oracle(&Market::new(&raw));
    }
}

proptest! {
    #![proptest_config(cases(200))]
    #[test]
    fn liquidation_ratios_are_what_the_oracle_says(raw in raw_events(Pace::Steady, 1..160)) {
        check_against_oracle(&Market::new(&raw));
    }
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn quotes_are_what_the_oracle_says(raw in raw_events(Pace::Quotes, 1..150)) {
        check_against_oracle(&Market::new(&raw));
    }

    #[test]
    fn keys_are_there_once_at_every_moment(raw in any_pace(1..80)) {
        let market = Market::new(&raw);
        let plan = Plan { workers: 2, spread: true, ..Plan::default() };
        check_keys(&views(&market, &market.arrivals[0], plan));
    }
}

proptest! {
    #![proptest_config(cases(4))]
    #[test]
    fn volatility_of_days_is_what_the_oracle_says(days in days()) {
        let market = days.market();
        let history = check_against_oracle(&market);
        check_keys(&history);
        views(&market, &market.arrivals[1], Plan::default()).assert_same_rows(&history, "another order of arrival");
        let plan = Plan { workers: 2, spread: true, ..Plan::default() };
        views(&market, &market.arrivals[0], plan).assert_equals(&history, "two workers");
        prop_assert!(current(&history.volatility).iter().any(|row| row.hour.is_some()), "the market is too thin to test anything");
    }
}

proptest! {
    #![proptest_config(cases(4))]
    #[test]
    fn adaptive_cascades_are_what_the_oracle_says(days in burdened(), mode in modes()) {
        let market = days.market();
        let mut config = config();
        config.cascades.mode = mode;
        let views = |arrivals: &[Arrival], plan: Plan| run(&config, &market.instruments, feed(&market.instruments, arrivals, plan), plan).0;
        let history = views(&market.arrivals[0], Plan::default());
        Events::new(&market.instruments, &config, market.ticks.iter().cloned()).check(&history);
        check_keys(&history);
        views(&market.arrivals[1], Plan::default()).assert_same_rows(&history, "another order of arrival");
        for quantum_ms in [3_600_000, 30 * DAY_MS as u64] {
            views(&market.arrivals[0], Plan { quantum_ms, ..Plan::default() }).assert_same_rows(&history, "another quantum");
        }
        let plan = Plan { workers: 2, spread: true, ..Plan::default() };
        views(&market.arrivals[0], plan).assert_equals(&history, "two workers");
    }
}

fn modes() -> impl Strategy<Value = CascadeMode> {
    prop_oneof![Just(CascadeMode::Both), Just(CascadeMode::Adaptive), Just(CascadeMode::Absolute)]
}

proptest! {
    #![proptest_config(cases(25))]
    #[test]
    fn neither_order_nor_workers_nor_quantum_matter(
        raw in any_pace(1..80),
        trickle in any::<bool>(),
    ) {
        let market = Market::new(&raw);
        let plain = Plan::default();
        let first = views(&market, &market.arrivals[0], plain);
        for workers in [2, 4] {
            for spread in [false, true] {
                let plan = Plan { workers, spread, trickle, ..plain };
                views(&market, &market.arrivals[0], plan).assert_equals(&first, &format!("{plan:?}"));
            }
        }
        for quantum_ms in [20, 60_000, 30 * DAY_MS as u64] {
            let plan = Plan { quantum_ms, trickle, ..plain };
            views(&market, &market.arrivals[0], plan).assert_same_rows(&first, &format!("{plan:?}"));
        }
        views(&market, &market.arrivals[1], plain).assert_same_rows(&first, "another order of arrival");
        let twice: Vec<Arrival> = market.arrivals[0].iter().flat_map(|arrival| [arrival.clone(), arrival.clone()]).collect();
        views(&market, &twice, plain).assert_same_rows(&first, "everything arrives twice");
    }

    #[test]
    fn nothing_is_known_before_it_arrives(
        raw in any_pace(2..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let market = Market::new(&raw);
        let plan = Plan::default();
        let whole = feed(&market.instruments, &market.arrivals[0], plan);
        let cut = *cut.get(&whole.keys().copied().collect::<Vec<_>>());
        let part = whole.range(..=cut).map(|(&known_at, batches)| (known_at, batches.clone())).collect();
        let (whole, part) = (run(&config(), &market.instruments, whole, plan).0, run(&config(), &market.instruments, part, plan).0);
        whole.until(cut).assert_equals(&part, "the input was cut");
    }

    #[test]
    fn events_beyond_the_horizon_are_listed_and_nothing_else(
        raw in any_pace(2..80),
        (of, at) in any::<(prop::sample::Index, prop::sample::Index)>(),
        beyond_ms in prop_oneof![0i64..120_000, 0i64..10_000_000, 0..3 * DAY_MS],
    ) {
        let market = Market::new(&raw);
        let plan = Plan::default();
        let whole = feed(&market.instruments, &market.arrivals[0], plan);
        let known_at = *at.get(&whole.keys().copied().collect::<Vec<_>>());
        let Some(stray) = stray(&market, of.get(&market.ticks), known_at, beyond_ms, plan) else { return Ok(()) };
        let mut arrivals = market.arrivals[0].clone();
        arrivals.push((known_at - plan.quantum_ms, stray.clone()));
        let (without, _) = run(&config(), &market.instruments, whole, plan);
        let (with, counters) = run(&config(), &market.instruments, feed(&market.instruments, &arrivals, plan), plan);
        with.assert_same_rows(&without, "a stray event");
        prop_assert_eq!(counters.too_late.load(std::sync::atomic::Ordering::Relaxed), 1);
        let refused: Vec<(i64, InstrumentId)> =
            with.late_events.iter().filter(|(_, late, _)| !late.applied).map(|(_, late, _)| (late.ts, late.instrument)).collect();
        prop_assert_eq!(refused, vec![(stray.ts(), stray.instrument())]);
    }
}

/// A copy of `like` under a new name that happened before the horizon of the quantum that ends at `known_at`.
fn stray(market: &Market, like: &Tick, known_at: u64, beyond_ms: i64, plan: Plan) -> Option<Tick> {
    let venue = |tick: &Tick| market.instruments.get(tick.instrument()).unwrap().venue;
    let known = market.arrivals[0].iter().filter(|(at, tick)| {
        (at / plan.quantum_ms + 1) * plan.quantum_ms < known_at && venue(tick) == venue(like) && crate::run::is_heard(tick)
    });
    let newest = known.map(|(_, tick)| tick.ts()).max()?;
    let reach = (newest - config().lateness_ms - config().correction_horizon_ms).div_euclid(MINUTE_MS) * MINUTE_MS;
    let mut tick = like.clone();
    match &mut tick {
        Tick::Trade(trade) => {
            trade.ts = reach - 1 - beyond_ms;
            trade.id = match trade.id {
                TradeId::Dense(..) => TradeId::Dense(1 << 40, 1 << 40),
                TradeId::Unique(..) => TradeId::Unique(1, 1),
            };
        }
        Tick::Liquidation(event) => event.ts = reach - 1 - beyond_ms,
        Tick::Mark(mark) => mark.ts = reach - 1 - beyond_ms,
        Tick::OpenInterest(interest) => interest.ts = reach - 1 - beyond_ms,
        Tick::Funding(funding) if funding.kind == FundingKind::Predicted => funding.ts = reach - 1 - beyond_ms,
        Tick::Funding(_) | Tick::Kline(_) => return None, // never too late
    }
    Some(tick)
}

/// Each key has no row or one after each quantum.
pub fn check_keys(history: &History) {
    check_key(&history.bars, |r| (r.instrument, r.timeframe, r.ts));
    check_key(&history.liquidations, |r| (r.instrument, r.ts, r.position_side, r.price, r.qty, r.seq));
    check_key(&history.liquidation_windows, |r| (r.instrument, r.window, r.ts));
    check_key(&history.cascades, |r| r.cascade_id);
    check_key(&history.volatility, |r| (r.instrument, r.ts));
    check_key(&history.funding, |r| (r.instrument, r.kind, r.ts));
    check_key(&history.open_interest, |r| (r.instrument, r.ts));
    check_key(&history.kline_checks, |r| (r.bar.instrument, r.bar.timeframe, r.bar.ts));
    // Part of its key is `known_at`.
    let late: Changes<(u64, LateEvent)> = history.late_events.iter().map(|&(at, row, diff)| (at, (at, row), diff)).collect();
    check_key(&late, |(at, r)| (r.venue, r.stream, *at, r.seq));
    check_key(&history.features, |r| (r.instrument, r.timeframe, r.ts));
    check_key(&history.volatility_regimes, |r| (r.instrument, r.onset));
    check_key(&history.regimes, |r| (r.instrument, r.timeframe, r.ts));
    check_key(&history.candidate_regimes, |r| (r.0.instrument, r.0.timeframe, r.0.ts));
    check_key(&history.window_regimes, |r| (r.instrument, r.timeframe, r.ts));
    check_key(&history.confirmations, |r| (r.instrument, r.ts));
    check_key(&history.drift, |r| (r.instrument, r.timeframe, r.ts));
    check_key(&history.regime_episodes, |r| (r.kind, r.instrument, r.timeframe, r.onset));
    check_key(&history.support_zones, |r| (r.instrument, r.ts, r.side, r.rank));
    check_key(&history.zone_touches, |r| (r.instrument, r.side, r.onset, r.price_low));
    check_key(&history.funding_anomalies, |r| (r.instrument, r.onset, r.kind));
    check_key(&history.funding_spreads, |r| (r.instrument, r.ts));
    check_key(&history.open_interest_totals, |r| (r.instrument, r.ts));
    check_key(&history.oi_shocks, |r| (r.instrument, r.onset));
    check_key(&history.basis, |r| (r.instrument, r.ts));
    check_key(&history.self_excitation, |r| (r.instrument, r.position_side, r.ts));
    check_key(&history.market_cascades, |r| r.onset);
    check_key(&history.correlations, |r| (r.symbol_a, r.symbol_b, r.horizon, r.ts));
    check_key(&history.market_mode, |r| (r.horizon, r.ts));
    check_key(&history.betas, |r| (r.instrument, r.horizon, r.ts));
    check_key(&history.lead_lag, |r| (r.symbol_a, r.symbol_b, r.ts));
    check_key(&history.lead_scores, |r| (r.instrument, r.ts));
    check_key(&history.leaders, |r| r.onset);
    check_key(&history.correlation_breaks, |r| (r.symbol_a, r.symbol_b, r.horizon, r.onset));
    check_key(&history.liquidation_ratios, |r| (r.instrument, r.window, r.ts));
}

fn check_key<R: std::fmt::Debug + Clone, K: Ord + std::fmt::Debug>(changes: &Changes<R>, key: impl Fn(&R) -> K) {
    let mut sums: BTreeMap<K, isize> = BTreeMap::new();
    for quantum in changes.chunk_by(|a, b| a.0 == b.0) {
        for (_, row, diff) in quantum {
            *sums.entry(key(row)).or_default() += diff;
        }
        for (known_at, row, _) in quantum {
            let sum = sums[&key(row)];
            assert!((0..=1).contains(&sum), "{sum} rows of {:?} at {known_at}, one of them {row:?}", key(row));
        }
    }
}
