//! Support zones of small markets that one can read, and whether the random ones reach what is to be tested.

use dataflows::model::*;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::examples::{clock, history, lines};
use crate::run::{Plan, current, feed, run};
use crate::streams::{Market, Pace, config, raw_events};

/// The zones at `times`, as text.
fn check_zones(market: &str, times: &[&str], expected: &str) {
    let (history, _) = history(market);
    let mut rows = current(&history.support_zones);
    rows.retain(|row| times.contains(&clock(row.ts).as_str()));
    rows.sort_by_key(|row| (row.ts, row.side, row.rank));
    let text = |row: &SupportZone| {
        let [low, high] = [row.price_low, row.price_high].map(|price| (price.to_f64() * 1e3).round() / 1e3);
        format!(
            "{} {:?} {} {low}..{high} {} at {:.1} bps touched {}",
            clock(row.ts),
            row.side,
            row.rank,
            row.notional.to_f64(),
            row.distance_bps.0,
            row.touches
        )
    };
    check(rows.iter().map(text).collect(), expected);
}

fn check_touches(market: &str, expected: &str) {
    let (history, _) = history(market);
    let text = |row: &ZoneTouch| {
        let end = row.ended_at.map_or("open".to_owned(), |ts| format!("left by {}", clock(ts)));
        let low = (row.price_low.to_f64() * 1e3).round() / 1e3;
        format!(
            "{} {:?} zone {} from {low}, {} of {}, {end}",
            clock(row.onset),
            row.side,
            row.rank,
            row.touches,
            row.notional.to_f64()
        )
    };
    check(current(&history.zone_touches).iter().map(text).collect(), expected);
}

fn check(rows: Vec<String>, expected: &str) {
    assert_eq!(rows, lines(expected), "\n{}\n", rows.join("\n"));
}

#[test]
fn a_zone_is_where_the_market_was_not_where_the_positions_were_bankrupt() {
    let market = "00:00:10 BTC buy  101 1
                  00:00:20 BTC long 90  10
                  00:01:10 BTC sell 100 1
                  00:01:20 BTC long 94  50
                  00:01:25 BTC short 120 1
                  00:02:10 BTC mark 102
                  00:20:00 BTC long 94 1000
                  00:20:10 BTC mark 99";
    // Of the last one nobody knows where the market was: its last trade was 19 minutes before.
    // Of shorts one bucket alone stands out from nothing.
    check_zones(
        market,
        &["00:01", "00:02", "00:03", "00:18", "00:19", "00:21"],
        "00:02 Long 1 99.969..100.069 4700 at 0.0 bps touched 0
         00:03 Long 1 99.969..100.069 4700 at -189.3 bps touched 0
         00:21 Long 1 99.969..100.069 4700 at 97.9 bps touched 0",
    );
}

#[test]
fn adjacent_buckets_are_one_zone_and_zones_are_ranked_by_notional() {
    // Of twenty-one buckets the two largest are above the .9 quantile, which is the nineteenth.
    let small: String = (0..19)
        .map(|i| {
            format!("00:0{}:{:02} BTC buy {} 1\n00:0{}:{:02} BTC short 1 10\n", i / 6, i % 6 * 10, 200 + i, i / 6, i % 6 * 10 + 1)
        })
        .collect();
    let large = |a: &str, b: &str| {
        format!(
            "{small} 00:04:00 BTC buy {a} 1\n 00:04:01 BTC short 1 50\n 00:04:10 BTC buy {b} 1\n 00:04:11 BTC short 1 70\n00:05:10 BTC buy 100 1\n"
        )
    };
    check_zones(&large("100", "100.1"), &["00:05"], "00:05 Short 1 99.969..100.169 120 at 0.0 bps touched 0");
    check_zones(
        &large("100", "110"),
        &["00:05"],
        "00:05 Short 1 109.927..110.037 70 at 0.0 bps touched 0
         00:05 Short 2 99.969..100.069 50 at -902.8 bps touched 0",
    );
}

/// Longs are liquidated at 100 and a few at 105; then the price goes away and comes back.
const AWAY_AND_BACK: &str = "00:00:10 BTC buy  105 1
                             00:00:20 BTC long 100 1
                             00:01:10 BTC sell 100 1
                             00:01:20 BTC long 100 50
                             00:03:10 BTC buy  100.12 1
                             00:04:10 BTC buy  100.02 1
                             00:05:10 BTC buy  101 1
                             00:07:10 BTC sell 100.05 1
                             00:08:10 BTC buy  100.12 1
                             00:09:10 BTC sell 99 1
                             00:10:10 BTC buy  100.2 1
                             00:11:10 BTC buy  100 1
                             00:12:30 BTC buy  100 1";

#[test]
fn a_touch_is_a_return_after_leaving_by_ten_bps() {
    // 100.12 is outside, but not ten bps away: what follows is no return.
    check_touches(
        AWAY_AND_BACK,
        "00:08 Long zone 1 from 99.969, 1 of 5000, left by 00:10
         00:12 Long zone 1 from 99.969, 2 of 5000, open",
    );
    check_zones(
        AWAY_AND_BACK,
        &["00:04", "00:06", "00:08", "00:13"],
        "00:04 Long 1 99.969..100.069 5000 at -5.1 bps touched 0
         00:06 Long 1 99.969..100.069 5000 at -92.1 bps touched 0
         00:08 Long 1 99.969..100.069 5000 at 0.0 bps touched 1
         00:13 Long 1 99.969..100.069 5000 at 0.0 bps touched 2",
    );
}

#[test]
fn a_late_print_takes_a_touch_back() {
    let market = format!("{AWAY_AND_BACK}\n 00:05:50 BTC sell 100 1 @700");
    // The minute in which the price was at 101 was at 100 too: the touch is later now, nothing was left before 00:10.
    check_touches(&market, "00:12 Long zone 1 from 99.969, 1 of 5000, open");
    let (history, _) = history(&market);
    let first = |(_, row, _): &&(u64, ZoneTouch, isize)| clock(row.onset) == "00:08";
    let told: Vec<(u64, isize)> =
        history.zone_touches.iter().filter(first).map(|&(at, _, diff)| (at % 3_600_000 / 1_000, diff)).collect();
    assert_eq!(told.iter().map(|(_, diff)| diff).sum::<isize>(), 0, "{told:?}");
    assert_eq!(told.first().map(|(at, diff)| (at / 60, *diff)), Some((8, 1)), "it was told when it was true: {told:?}");
}

#[test]
fn a_zone_is_gone_after_a_day() {
    let market = "00:00:10 BTC buy  105 1
                  00:00:20 BTC long 100 1
                  00:01:10 BTC sell 100 1
                  00:01:20 BTC long 100 50
                  23:59:30 BTC mark 90
                  24:02:30 BTC mark 90";
    check_zones(market, &["24:00", "24:01", "24:02"], "24:00 Long 1 99.969..100.069 5000 at 1107.7 bps touched 0");
}

#[test]
fn random_markets_reach_what_is_to_be_tested() {
    let mut runner = TestRunner::deterministic();
    let (mut zones, mut ranked, mut touched, mut wide) = (0, 0, 0, 0);
    let (mut episodes, mut ended, mut zones_corrected, mut episodes_corrected) = (0, 0, 0, 0);
    for i in 0..60 {
        let pace = [Pace::Mixed, Pace::Crowded, Pace::Returning][i % 3];
        let market = Market::new(&raw_events(pace, 60..120).new_tree(&mut runner).unwrap().current());
        let plan = Plan::default();
        let (history, _) = run(&config(), &market.instruments, feed(&market.instruments, &market.arrivals[0], plan), plan);
        let rows = current(&history.support_zones);
        zones += rows.len();
        ranked += rows.iter().filter(|row| row.rank > 1).count();
        touched += rows.iter().filter(|row| row.touches > 1).count();
        wide += rows.iter().filter(|row| row.price_high.to_f64() / row.price_low.to_f64() > 1.3).count();
        let rows = current(&history.zone_touches);
        episodes += rows.len();
        ended += rows.iter().filter(|row| row.ended_at.is_some()).count();
        zones_corrected += history.support_zones.iter().filter(|(_, _, diff)| *diff < 0).count();
        episodes_corrected += history.zone_touches.iter().filter(|(_, _, diff)| *diff < 0).count();
    }
    let reached = [zones, ranked, touched, wide, episodes, ended, zones_corrected, episodes_corrected];
    println!("{reached:?}");
    assert!(reached.iter().all(|&count| count >= 40), "{reached:?}");
}
