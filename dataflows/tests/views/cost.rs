//! What a quantum costs beside the events in it: `cargo test -p dataflows --test views cost -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use dataflows::config::Config;
use dataflows::fixed::{ONE, Price, Quantity};
use dataflows::model::*;

use crate::run::{Arrival, Plan, current, feed, run};
use crate::streams::START;

#[test]
#[ignore = "a measurement"]
fn of_quanta_of_20_ms_with_500_instruments() {
    const INSTRUMENTS: u64 = 500;
    const SECONDS: u64 = 120;
    let instruments = Arc::new(Instruments::default());
    let ids: Vec<InstrumentId> =
        (0..INSTRUMENTS).map(|i| instruments.intern(Venue::BinanceUsdm, &format!("C{i}-USDT-PERP")).unwrap()).collect();
    // A trade of every instrument each second, and a mark price.
    let trade = |i: u64| {
        let (instrument, ts) = (ids[(i * 7 % INSTRUMENTS) as usize], START + (i * 1_000 / INSTRUMENTS) as i64);
        let (id, price) = (TradeId::Dense(i, i), Price((100 + i as i64 % 13) * ONE as i64));
        let (order, qty, kind) = ((0, i), Quantity(ONE), TradeKind::Market);
        let trade = Trade { instrument, ts, order, id, price, qty, taker_buy: true, fills: 1, kind };
        let mark = Mark { instrument, ts, order: i, mark: Some(price), index: None };
        [(ts as u64, Tick::Trade(trade)), (ts as u64, Tick::Mark(mark))]
    };
    let arrivals: Vec<Arrival> = (0..INSTRUMENTS * SECONDS).flat_map(trade).collect();
    for quantum_ms in [20, 1_000] {
        let plan = Plan { quantum_ms, trickle: true, ..Plan::default() };
        let feed = feed(&instruments, &arrivals, plan);
        let quanta = feed.len() as f64;
        let begun = Instant::now();
        let (history, _) = run(&Config::default(), &instruments, feed, plan);
        let spent = begun.elapsed().as_secs_f64();
        println!(
            "quantum {quantum_ms} ms: {:.3} ms each, {:.1} µs a tick",
            spent / quanta * 1e3,
            spent / arrivals.len() as f64 * 1e6
        );
        assert!(current(&history.bars).len() >= INSTRUMENTS as usize * Timeframe::ALL.len());
    }
}
