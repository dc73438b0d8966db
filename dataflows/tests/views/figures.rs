//! Volatility against figures computed elsewhere.
//!
//! One trade a minute from Monday 2025-10-13 00:00 UTC at 100 + ((37 i + 11) mod 23) / 100 + 3 (i mod 7) / 100. The figures are
//! of a plain Python script (math.log, math.sqrt, statistics.fmean and variance) over the same list of prices:
//! close-to-close √(1440 · mean r²), the range estimators × √96 over 15m bars as in Parkinson (1980), Garman and Klass (1980),
//! Rogers and Satchell (1991), Yang and Zhang (2000), the EWMA as Σ 2^(−(m−j)/360) r_j² / Σ 2^(−(m−j)/360), × √1440.

use std::sync::Arc;

use dataflows::config::Config;
use dataflows::fixed::{ONE, Price, Quantity};
use dataflows::model::*;

use crate::run::{Arrival, Plan, current, feed, run};

const MONDAY: i64 = 1_760_313_600_000;

fn rows(minutes: i64) -> Vec<Volatility> {
    let instruments = Arc::new(Instruments::default());
    let instrument = instruments.intern(Venue::BinanceUsdm, "BTC-USDT-PERP").unwrap();
    let trade = |i: i64| {
        let hundredths = 10_000 + (37 * i + 11) % 23 + 3 * (i % 7);
        let ts = MONDAY + i * MINUTE_MS + 30_000;
        let id = TradeId::Dense(i as u64, i as u64);
        let price = Price(hundredths * ONE as i64 / 100);
        let (order, qty, kind) = ((0, i as u64), Quantity(ONE), TradeKind::Market);
        Tick::Trade(Trade { instrument, ts, order, id, price, qty, taker_buy: true, fills: 1, kind })
    };
    let arrivals: Vec<Arrival> = (0..minutes).map(trade).map(|tick| (tick.ts() as u64, tick)).collect();
    let plan = Plan::default();
    let (history, _) = run(&Config::default(), &instruments, feed(&instruments, &arrivals, plan), plan);
    current(&history.volatility)
}

fn at(rows: &[Volatility], minute: i64) -> Volatility {
    *rows.iter().find(|row| row.ts == MONDAY + (minute + 1) * MINUTE_MS).unwrap()
}

fn check(name: &str, ours: Option<Real>, textbook: f64) {
    let ours = ours.unwrap().0;
    assert!((ours / textbook - 1.0).abs() < 1e-9, "{name}: {ours}, by the textbook {textbook}");
}

fn check_all(ours: Option<Estimators>, textbook: [f64; 5]) {
    let ours = ours.unwrap();
    check("close-to-close", Some(ours.close_to_close), textbook[0]);
    check("parkinson", ours.parkinson, textbook[1]);
    check("garman-klass", ours.garman_klass, textbook[2]);
    check("rogers-satchell", ours.rogers_satchell, textbook[3]);
    check("yang-zhang", ours.yang_zhang, textbook[4]);
}

#[test]
fn estimators_have_their_textbook_values() {
    let rows = rows(1_500);
    check_all(
        at(&rows, 74).hour,
        [
            0.053_210_022_091_279_81,
            0.019_378_398_052_445_046,
            0.021_765_696_465_428_5,
            0.022_755_852_196_012_807,
            0.024_498_309_932_047_976,
        ],
    );
    assert_eq!(at(&rows, 74).day, None, "an hour is not a day");
    let last = at(&rows, 1_499);
    check_all(
        last.day,
        [
            0.050_794_944_589_327_054,
            0.018_562_740_152_828_158,
            0.020_706_092_886_294_34,
            0.022_411_786_491_313_14,
            0.024_973_293_660_957_487,
        ],
    );
    check_all(
        last.hour,
        [
            0.054_745_548_422_686_21,
            0.019_380_332_124_689_082,
            0.021_621_624_543_122_785,
            0.023_611_544_926_679_787,
            0.024_492_587_276_727_498,
        ],
    );
    check("ewma", last.ewma, 0.051_009_554_141_301_656);
    assert_eq!(last.regime, Some(VolatilityRegime::Explosive), "5.08 % a day");
}

#[test]
fn estimates_need_four_fifths_of_their_returns() {
    let rows = rows(1_500);
    let first = |is_there: fn(&Volatility) -> bool| (rows.iter().find(|row| is_there(row)).unwrap().ts - MONDAY) / MINUTE_MS;
    assert_eq!(first(|row| row.hour.is_some()), 49, "48 returns");
    assert_eq!(first(|row| row.ewma.is_some()), 361, "a half-life of returns");
    assert_eq!(first(|row| row.day.is_some()), 1_153, "1,152 returns");
    assert_eq!(first(|row| row.regime.is_some()), 1_153);
}
