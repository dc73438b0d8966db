//! Liquidations against what was open and traded, worked by hand; and whether random markets reach all of it.

use std::collections::BTreeMap;

use dataflows::model::*;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::examples::{clock, history, lines};
use crate::run::{Plan, current, feed, run};
use crate::streams::{Market, Pace, config, raw_events};

/// The rows of `window` after `market`, as text; "-" is what is absent.
fn check(market: &str, window: &str, expected: &str) {
    let (history, _) = history(market);
    let text = |value: Option<Real>| value.map_or("-".to_owned(), |value| value.0.to_string());
    let rows = current(&history.liquidation_ratios).into_iter().filter(|row| row.window.as_str() == window).map(|row| {
        format!(
            "{} of {} open: longs {} shorts {}; of {} traded {}",
            clock(row.ts),
            text(row.open_interest),
            text(row.long_to_open_interest),
            text(row.short_to_open_interest),
            text(row.traded),
            text(row.to_volume),
        )
    });
    let rows: Vec<String> = rows.collect();
    assert_eq!(rows, lines(expected), "\n{}\n", rows.join("\n"));
}

/// 1,000 at 100 are open from 00:00 on, 500 longs are liquidated in 00:01 and 100 shorts in the second that ends it.
const MARKET: &str = "00:00:20 BTC buy 100 10
                      00:00:30 BTC mark 100
                      00:00:40 BTC interest 1000
                      00:01:10 BTC buy 100 20
                      00:01:30 BTC long 100 5
                      00:01:45 BTC interest 400
                      00:02:00.5 BTC short 100 1
                      00:02:30 ETH buy 1 1
                      00:03:30 ETH buy 1 1
                      00:04:30 ETH buy 1 1
                      00:05:30 ETH buy 1 1
                      00:06:30 ETH buy 1 1";

#[test]
fn liquidations_are_set_against_what_was_open_before_and_traded_meanwhile() {
    // 600 of 2,000 traded in 00:01; half a thousand of the hundred thousand that was open when it began, not of the 40,000 at its end.
    check(MARKET, "1m", "00:02 of 100000 open: longs 0.005 shorts 0.001; of 2000 traded 0.3");
    // The five minutes to 00:05 hold all that was traded, 3,000, and begin before open interest is known; before 00:05 they begin
    // before the first bar. Those to 00:06 begin with what was open, and hold 2,000.
    check(
        MARKET,
        "5m",
        "00:05 of - open: longs - shorts -; of 3000 traded 0.2
         00:06 of 100000 open: longs 0.005 shorts 0.001; of 2000 traded 0.3",
    );
    check(MARKET, "4h", "");
}

#[test]
fn what_comes_late_corrects_them() {
    // Known minutes after the windows were told: 1,000 more were traded, 200 more longs liquidated, and 2,000 were open.
    let late = "00:01:50 BTC sell 100 10 @230
                00:01:40 BTC long 100 2 @260
                00:00:50 BTC interest 2000 @270";
    check(
        &format!("{MARKET}\n{late}"),
        "1m",
        "00:02 of 200000 open: longs 0.0035 shorts 0.0005; of 3000 traded 0.26666666666666666",
    );
    let (history, _) = history(&format!("{MARKET}\n{late}"));
    let of_the_minute = history.liquidation_ratios.iter().filter(|(_, row, _)| row.window == Window::M1);
    let told = of_the_minute
        .filter(|(_, _, diff)| *diff > 0)
        .map(|(_, row, _)| (row.open_interest.unwrap().0, row.to_volume.unwrap().0));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(1e5, 0.3), (2e5, 0.3), (2e5, 0.2), (2e5, 800.0 / 3_000.0)],
        "each time with what was known by then"
    );
}

#[test]
fn an_outage_leaves_the_volume_unknown_and_a_back_fill_makes_it_known() {
    let market = "00:00:20 BTC buy 100 10
                  00:01:20 BTC buy 100 10
                  00:03:20 BTC buy 100 10
                  00:04:20 BTC buy 100 10
                  00:04:30 BTC long 100 1
                  00:05:30 BTC mark 100";
    check(market, "5m", "");
    let filled = format!("{market}\n00:02 BTC backfill1m 100 100 100 100 10 1 @170");
    // The venue gave no notional of the minute that it filled in, so that adds nothing.
    check(&filled, "5m", "00:05 of - open: longs - shorts -; of 4000 traded 0.025");
}

#[test]
fn random_markets_reach_all_of_it() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..40 {
        let raw = raw_events(Pace::Steady, 100..160).new_tree(&mut runner).unwrap().current();
        let (market, plan) = (Market::new(&raw), Plan::default());
        let (history, _) = run(&config(), &market.instruments, feed(&market.instruments, &market.arrivals[0], plan), plan);
        let mut count = |what, is_it: bool| *seen.entry(what).or_default() += usize::from(is_it);
        for (_, row, diff) in &history.liquidation_ratios {
            count("corrected", *diff < 0);
            count("of open interest alone", row.traded.is_none());
            count("of volume alone", row.open_interest.is_none());
            count("of both", row.traded.is_some() && row.open_interest.is_some());
            count("of both over 5 minutes", row.window == Window::M5 && row.traded.is_some() && row.open_interest.is_some());
            count("of volume over an hour", row.window == Window::H1 && row.traded.is_some());
        }
    }
    println!("{seen:?}");
    for (what, times) in &seen {
        assert!(*times >= 5, "{what}: {times}; {seen:?}");
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}
