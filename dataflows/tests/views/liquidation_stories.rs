//! Cascades by thresholds of days, cascades of the market, and sides that feed themselves; each also checked by the oracle.

use std::sync::Arc;

use dataflows::config::{CascadeMode, Config};
use dataflows::fixed::{ONE, Price, Quantity};
use dataflows::model::*;

use crate::oracle::Events;
use crate::run::{Arrival, History, Plan, current, feed, run};

const MONDAY: i64 = 1_760_313_600_000;
const HOUR: i64 = 3_600;

/// Liquidations of longs as (symbol, second since Monday, USD), each arriving `late` seconds after it happened.
struct Story {
    instruments: Arc<Instruments>,
    arrivals: Vec<Arrival>,
}

impl Story {
    fn new() -> Self {
        Self { instruments: Arc::default(), arrivals: Vec::new() }
    }

    fn liquidation(&mut self, symbol: &str, second: i64, usd: i64, late: i64) {
        let instrument = self.instruments.intern(Venue::BybitLinear, &format!("{symbol}-USDT-PERP")).unwrap();
        let ts = MONDAY + second * SECOND_MS;
        let event = Liquidation {
            instrument,
            ts,
            position_side: PositionSide::Long,
            price: Price(ONE as i64),
            qty: Quantity(i128::from(usd) * ONE),
            seq: 0,
            price_kind: PriceKind::Bankruptcy,
            coverage: Coverage::Full,
        };
        self.arrivals.push(((ts + late * SECOND_MS) as u64, Tick::Liquidation(event)));
    }

    /// The venue is heard in every minute up to the second.
    fn heard_until(&mut self, second: i64) {
        let instrument = self.instruments.intern(Venue::BybitLinear, "BTC-USDT-PERP").unwrap();
        for minute in 0..second / 60 {
            let ts = MONDAY + minute * MINUTE_MS;
            let mark = Mark { instrument, ts, order: 0, mark: None, index: None };
            self.arrivals.push((ts as u64, Tick::Mark(mark)));
        }
    }

    fn run(&self, config: &Config, quantum_ms: u64) -> History {
        let plan = Plan { quantum_ms, ..Plan::default() };
        let history = run(config, &self.instruments, feed(&self.instruments, &self.arrivals, plan), plan).0;
        Events::new(&self.instruments, config, self.arrivals.iter().map(|(_, tick)| tick.clone())).check(&history);
        history
    }
}

fn cascades(history: &History, window: Window) -> Vec<Cascade> {
    let mut rows: Vec<Cascade> = current(&history.cascades).into_iter().filter(|row| row.window == window).collect();
    rows.sort_by_key(|row| row.onset);
    rows
}

#[test]
fn after_seven_known_days_a_symbols_own_past_counts_too() {
    const DAY: i64 = 24 * HOUR;
    let mut story = Story::new();
    story.heard_until(10 * DAY);
    // 500,000 twice a day stand in the 5m window for 0.7 % of the time, so the 0.995 quantile is near them.
    for day in 0..9 {
        story.liquidation("BTC", day * DAY + 6 * HOUR, 500_000, 0);
        story.liquidation("BTC", day * DAY + 18 * HOUR, 500_000, 0);
    }
    story.liquidation("BTC", 2 * DAY, 400_000, 0);
    story.liquidation("BTC", 9 * DAY + HOUR, 400_000, 0);
    story.liquidation("BTC", 9 * DAY + 12 * HOUR, 800_000, 0);
    let rows = cascades(&story.run(&Config::default(), 1_000), Window::M5);

    let at = |second: i64| rows.iter().find(|row| row.onset == MONDAY + second * SECOND_MS);
    assert!(at(2 * DAY).is_some_and(|row| row.critical_from == CriticalFrom::Absolute), "400,000 in 5m are 4.8 M an hour");
    // The first day was not heard from its beginning, so seven days are known from the eighth day (counted from 0) on.
    assert_eq!(at(7 * DAY + 18 * HOUR).unwrap().critical_from, CriticalFrom::Absolute);
    assert_eq!(at(8 * DAY + 6 * HOUR).unwrap().critical_from, CriticalFrom::Adaptive);
    assert_eq!(at(9 * DAY + HOUR), None, "400,000 are nothing special any more");
    let large = at(9 * DAY + 12 * HOUR).unwrap();
    let critical = large.critical_per_hour.to_f64();
    assert!((12.0 * 440_000.0..12.0 * 525_000.0).contains(&critical), "{critical}");
    assert!((large.severity.0 - 9_600_000.0 / critical).abs() < 1e-9);

    let mut absolute = Config::default();
    absolute.cascades.mode = CascadeMode::Absolute;
    let rows = cascades(&story.run(&absolute, 60_000), Window::M5);
    assert!(rows.iter().any(|row| row.onset == MONDAY + (9 * DAY + HOUR) * SECOND_MS), "the dollars alone would call it one");
    let mut adaptive = Config::default();
    adaptive.cascades.mode = CascadeMode::Adaptive;
    let first = cascades(&story.run(&adaptive, 60_000), Window::M5)[0];
    assert_eq!(first.onset, MONDAY + (8 * DAY + 6 * HOUR) * SECOND_MS, "before that too little is known");
}

#[test]
fn a_cascade_is_known_in_the_quantum_of_the_event_that_crosses() {
    let mut story = Story::new();
    story.liquidation("BTC", 600, 250_000, 0);
    story.liquidation("BTC", 610, 1, 0); // now it is more than 250,000
    let history = story.run(&Config::default(), 20);
    let known_at: Vec<u64> = history.cascades.iter().map(|(known_at, _, _)| *known_at).collect();
    assert_eq!(known_at[0], (MONDAY + 610 * SECOND_MS) as u64 + 20);
}

#[test]
fn three_assets_inside_a_minute_are_a_cascade_of_the_market() {
    let check = |seconds: [i64; 3], expected: Option<(i64, i64)>| {
        let mut story = Story::new();
        story.heard_until(3_600);
        for (symbol, second) in ["BTC", "ETH", "SOL"].into_iter().zip(seconds) {
            story.liquidation(symbol, second, 300_000, 0);
        }
        // More of Ether: it goes on longer, and is the largest.
        story.liquidation("ETH", 800, 350_000, 0);
        let rows = current(&story.run(&Config::default(), 1_000).market_cascades);
        let found = rows.first().map(|row| ((row.onset - MONDAY) / 1_000, (row.ended_at.unwrap() - MONDAY) / 1_000));
        assert_eq!(found, expected, "{rows:?}");
        if let Some(row) = rows.first() {
            assert_eq!((row.assets.join(" "), row.largest_asset.as_str(), row.count), ("BTC ETH SOL".to_owned(), "ETH", 4));
            assert_eq!(row.total().to_f64(), 1_250_000.0);
        }
    };
    // 300,000 are active for 300 seconds, and a cascade ends 300 later: when Solana's has ended, Ether's goes on alone.
    check([600, 620, 659], Some((659, 659 + 299 + 300)));
    check([600, 620, 660], None); // Bitcoin's onset was a minute before
    check([659, 620, 600], Some((659, 659 + 299 + 300)));
}

#[test]
fn a_side_that_feeds_itself_says_so_and_late_events_correct_it() {
    let mut story = Story::new();
    story.heard_until(28 * HOUR);
    // A day in which each event comes with nine others.
    for burst in 0..40 {
        for event in 0..10 {
            story.liquidation("BTC", 600 + burst * 2_100 + event * 3, 1_000, 0);
        }
    }
    for event in 0..30 {
        story.liquidation("BTC", 25 * HOUR + 60 + event, 20_000, 0);
    }
    let plain = story.run(&Config::default(), 1_000);
    let row = |history: &History| cascades(history, Window::M5)[0];
    assert_eq!(row(&plain).onset, MONDAY + (25 * HOUR + 72) * SECOND_MS, "the thirteenth is the first beyond 250,000");
    let fit = |history: &History, hour: i64| {
        *current(&history.self_excitation).iter().find(|row| row.ts == MONDAY + hour * HOUR_MS).unwrap()
    };
    let before = fit(&plain, 25);
    assert!((0.85..0.95).contains(&before.branching_ratio.0) && !before.is_lower_bound(), "{before:?}");
    assert_eq!((row(&plain).branching_ratio, row(&plain).self_feeding), (Some(before.branching_ratio), true));

    // Alone in the last hour, two hours late: the fit of 25:00 is made again, and the cascade takes it over.
    story.liquidation("BTC", 24 * HOUR + 1_000, 1_000, 2 * HOUR - 1);
    let corrected = story.run(&Config::default(), 1_000);
    assert_eq!(fit(&corrected, 25).events, before.events + 1);
    assert!(fit(&corrected, 25).branching_ratio < before.branching_ratio);
    assert_eq!(row(&corrected).branching_ratio, Some(fit(&corrected, 25).branching_ratio));
    assert_eq!(fit(&corrected, 24), fit(&plain, 24));
}
