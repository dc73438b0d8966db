//! Features of what flows beside bars, worked by hand; and whether random markets reach all of it.

use std::collections::BTreeMap;

use dataflows::model::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::examples::{clock, history, lines};
use crate::oracle::{self, Events};
use crate::properties::cases;
use crate::run::{Arrival, Plan, current, feed, run};
use crate::streams::{Days, Market, any_pace, config, days};

fn feature(row: &Features, name: &str) -> Option<f64> {
    row.values[FEATURES.iter().position(|known| *known == name).unwrap()].map(|value| value.0)
}

/// What was liquidated (in dollars again) and how open interest changed, as text; "-" is what is not known.
fn text(row: &Features) -> String {
    let known = |value: Option<f64>| value.map_or("-".to_owned(), |value| ((value * 1e6).round() / 1e6).to_string());
    let dollars = |name| known(feature(row, name).map(f64::exp_m1));
    let (longs, shorts) = (dollars("log_liquidated_long_usd"), dollars("log_liquidated_short_usd"));
    format!("{} longs {longs} shorts {shorts} interest {}", clock(row.ts), known(feature(row, "oi_change")))
}

fn check(market: &str, timeframe: &str, expected: &str) {
    let (history, instruments) = history(market);
    let btc = InstrumentId::of(Venue::BinanceUsdm, "BTC-USDT-PERP");
    assert!(instruments.get(btc).is_some());
    let rows = current(&history.features).into_iter().filter(|row| row.instrument == btc && row.timeframe.as_str() == timeframe);
    let rows: Vec<String> = rows.map(|row| text(&row)).collect();
    assert_eq!(rows, lines(expected), "\n{}\n", rows.join("\n"));
}

const MARKET: &str = "00:00:20 BTC buy 100 10
                      00:00:40 BTC interest 1000
                      00:01:10 BTC buy 100 1
                      00:01:30 BTC long 100 5
                      00:01:45 BTC interest 900
                      00:02:10 BTC buy 100 1
                      00:02:20 BTC short 100 1
                      00:02:59.999 BTC short 10 1
                      00:03:00 BTC short 1 7
                      00:03:10 BTC buy 100 1
                      00:03:20 BTC interest 990
                      00:04:10 BTC buy 100 1";

#[test]
fn a_bar_holds_what_was_liquidated_in_it_and_how_interest_changed() {
    // Before the first liquidation nobody knows whether any would have been told, and before the first sample nobody knows what was open.
    check(
        MARKET,
        "1m",
        "00:00 longs - shorts - interest -
         00:01 longs 500 shorts 0 interest -0.1
         00:02 longs 0 shorts 110 interest 0
         00:03 longs 0 shorts 7 interest 0.1
         00:04 longs 0 shorts 0 interest 0",
    );
}

#[test]
fn what_comes_late_corrects_its_bar_and_what_it_tells_of_others() {
    let late = "00:01:50 BTC long 100 1 @300
                00:00:10 BTC short 100 2 @400
                00:05:30 ETH buy 1 1
                00:06:30 ETH buy 1 1
                00:07:30 ETH buy 1 1";
    let market = format!("{MARKET}\n{late}");
    let (history, _) = history(&market);
    let corrected = history.features.iter().filter(|(_, row, diff)| row.timeframe == Timeframe::M1 && *diff < 0);
    let corrected: Vec<(String, String)> = corrected.map(|(at, row, _)| (clock(*at as i64), text(row))).collect();
    assert_eq!(
        corrected,
        [
            // One earlier in the day tells that there was nothing else in the minute.
            ("00:06:51".to_owned(), "00:00 longs - shorts - interest -".to_owned()),
            ("00:06:51".to_owned(), "00:01 longs 500 shorts 0 interest -0.1".to_owned()),
        ]
    );
}

#[test]
fn of_an_outage_nobody_knows() {
    let minutes =
        |all: std::ops::Range<i64>| -> String { all.map(|minute| format!("00:{minute:02}:10 BTC buy 100 1\n")).collect() };
    let liquidation = "00:00:20 BTC long 100 5";
    let after = "00:15:10 BTC buy 100 1\n00:16:10 BTC buy 100 1";
    check(&format!("{liquidation}\n{}{after}", minutes(0..12)), "15m", "00:00 longs 500 shorts 0 interest -");
    check(&format!("{liquidation}\n{}{after}", minutes(0..11)), "15m", "00:00 longs - shorts - interest -");
    // A minute that the venue fills in has prices, and no liquidations.
    let market =
        format!("{liquidation}\n00:00:10 BTC buy 100 1\n00:01 BTC backfill1m 100 101 99 100 5 3\n00:02:10 BTC buy 100 1");
    check(
        &market,
        "1m",
        "00:00 longs 500 shorts 0 interest -\n00:01 longs - shorts - interest -\n00:02 longs 0 shorts 0 interest -",
    );
}

#[test]
fn after_a_month_without_a_liquidation_nobody_knows_whether_they_are_told() {
    let market = "00:00:10 BTC long 100 5
                  743:58:10 BTC buy 100 1
                  743:59:10 BTC buy 100 1
                  744:00:10 BTC buy 100 1
                  744:01:10 BTC short 100 1
                  744:01:20 BTC buy 100 1";
    check(
        market,
        "1m",
        "743:58 longs 0 shorts 0 interest -
         743:59 longs 0 shorts 0 interest -
         744:00 longs - shorts - interest -
         744:01 longs 0 shorts 100 interest -",
    );
}

proptest! {
    #![proptest_config(cases(3))]
    #[test]
    fn features_of_days_are_what_the_oracle_says(days in days()) {
        let days = Days { minutes: 2_900, ..days };
        let (market, config) = (days.busy_market(), config());
        let views = |arrivals: &[Arrival], plan: Plan| run(&config, &market.instruments, feed(&market.instruments, arrivals, plan), plan).0;
        let history = views(&market.arrivals[0], Plan::default());
        let events = Events::new(&market.instruments, &config, market.ticks.iter().cloned());
        let bars = oracle::bars::bars(&events);
        let closed: Vec<Bar> = bars.iter().filter(|(_, is_closed)| *is_closed).map(|(bar, _)| *bar).collect();
        let (interest, (rates, _)) = (oracle::quotes::open_interest(&events, &closed), oracle::funding::funding(&events));
        events.check_features(&history, &closed, &interest, &rates);
        views(&market.arrivals[1], Plan::default()).assert_same_rows(&history, "another order of arrival");
        let plan = Plan { quantum_ms: 3_600_000, workers: 2, spread: true, ..Plan::default() };
        views(&market.arrivals[0], plan).assert_same_rows(&history, "two workers, another quantum");
    }
}

#[test]
fn random_markets_reach_all_of_it() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |market: &Market| {
        let plan = Plan::default();
        let (history, _) = run(&config(), &market.instruments, feed(&market.instruments, &market.arrivals[0], plan), plan);
        for (_, row, diff) in history.features.iter().filter(|(_, row, _)| row.timeframe <= Timeframe::H4) {
            for name in ["log_liquidated_long_usd", "oi_change", "funding_z_score"] {
                let what = match feature(row, name) {
                    None => "unknown",
                    Some(0.0) => "zero",
                    Some(_) => "not zero",
                };
                let long = if row.timeframe > Timeframe::M15 { "long frames" } else { "short frames" };
                let told = if *diff < 0 { "corrected" } else { "told" };
                *seen.entry(format!("{name} {what} {told} {long}")).or_default() += 1;
            }
        }
    };
    (0..40).for_each(|_| count(&Market::new(&any_pace(60..120).new_tree(&mut runner).unwrap().current())));
    count(&days().new_tree(&mut runner).unwrap().current().busy_market());
    println!("{seen:#?}");
    // A funding rate is hardly ever just its mean, and open interest hardly ever what it was hours ago.
    let is_rare = |what: &str| {
        what.starts_with("funding_z_score zero") || what.starts_with("oi_change zero") && what.ends_with("long frames")
    };
    seen.retain(|what, _| !is_rare(what));
    for (what, times) in &seen {
        assert!(*times >= 5, "{what}: {times}; {seen:#?}");
    }
    assert_eq!(seen.len(), 3 * 3 * 4 - 6, "{seen:#?}");
}
