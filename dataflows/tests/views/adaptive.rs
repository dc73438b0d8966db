//! A market of five days, each with its own volatility, against what is known of the days before.
//!
//! One trade a minute, each a step up or down of the day's volatility / √1440, so that close-to-close over a UTC day is that volatility.

use std::sync::Arc;

use dataflows::config::{Config, VolatilityMode};
use dataflows::fixed::{Price, Quantity};
use dataflows::model::*;

use crate::oracle::Events;
use crate::run::{Arrival, History, Plan, current, feed, run};

const MONDAY: i64 = 1_760_313_600_000;
const DAY: usize = 1_440;
/// Per day, Monday to Friday, and an hour of Saturday.
const VOLATILITIES: [f64; 6] = [0.005, 0.006, 0.005, 0.02, 0.012, 0.012];
const THURSDAY: usize = 3;
const SATURDAY: usize = 5;

fn config(mode: VolatilityMode) -> Config {
    let mut config = Config::default();
    config.volatility.mode = mode;
    (config.volatility.history_days, config.volatility.history_days_min) = (4, 1);
    config
}

fn trades() -> Vec<Arrival> {
    let instruments = Instruments::default();
    let instrument = instruments.intern(Venue::BinanceUsdm, "BTC-USDT-PERP").unwrap();
    let (mut log, mut bits) = (100f64.ln(), 1u64);
    let minutes = SATURDAY * DAY + 60;
    (0..minutes)
        .map(|minute| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let step = VOLATILITIES[minute / DAY] / (DAY as f64).sqrt();
            log += if bits >> 63 == 1 { step } else { -step };
            let (i, ts) = (minute as u64, MONDAY + minute as i64 * MINUTE_MS + 30_000);
            let tick = Tick::Trade(Trade {
                instrument,
                ts,
                order: (i, 0),
                id: TradeId::Dense(i, i),
                price: Price((log.exp() * 1e12) as i64),
                qty: Quantity(1_000_000_000_000),
                taker_buy: true,
                fills: 1,
                kind: TradeKind::Market,
            });
            (ts as u64, tick)
        })
        .collect()
}

/// The views of `arrivals`, which are those of the oracle.
fn history(arrivals: &[Arrival], config: &Config) -> History {
    let instruments = Arc::new(Instruments::default());
    let _ = instruments.intern(Venue::BinanceUsdm, "BTC-USDT-PERP").unwrap();
    let plan = Plan::default();
    let (history, _) = run(config, &instruments, feed(&instruments, arrivals, plan), plan);
    Events::new(&instruments, config, arrivals.iter().map(|(_, tick)| tick.clone())).check(&history);
    history
}

/// The row at the end of a minute of a day.
fn at(rows: &[Volatility], day: usize, minute: usize) -> Volatility {
    let ts = MONDAY + (day * DAY + minute + 1) as i64 * MINUTE_MS;
    *rows.iter().find(|row| row.ts == ts).unwrap()
}

fn level(row: &Volatility) -> Option<f64> {
    row.day.map(|day| day.close_to_close.0.max(day.parkinson.map_or(0.0, |p| p.0)))
}

fn check(ours: Option<Real>, expected: f64) {
    assert!((ours.unwrap().0 - expected).abs() < 1e-9, "{ours:?} instead of {expected}");
}

#[test]
fn a_quiet_symbol_s_wild_day_is_extreme_by_its_own_past() {
    let arrivals = trades();
    let rows = |mode| current(&history(&arrivals, &config(mode)).volatility);
    let (adaptive, absolute) = (rows(VolatilityMode::Adaptive), rows(VolatilityMode::Absolute));
    let last = DAY - 1;
    assert_eq!(at(&absolute, THURSDAY, last).regime, Some(VolatilityRegime::HighVol), "2 % a day");
    let row = at(&adaptive, THURSDAY, last);
    assert_eq!(row.regime, Some(VolatilityRegime::Extreme), "the days before had 0.5 to 0.6 %");
    // Too little is known on Tuesday: 5 samples of Monday.
    assert_eq!(at(&adaptive, 1, last).regime, at(&absolute, 1, last).regime);
    assert_eq!(at(&adaptive, 1, last).reversion_potential, None);

    let day = |row: &&Volatility| (row_ts(THURSDAY, 0)..=row_ts(THURSDAY, last)).contains(&row.ts);
    let regimes: Vec<VolatilityRegime> = adaptive.iter().filter(day).map(|row| row.regime.unwrap()).collect();
    assert_eq!(regimes.len(), DAY);
    let extreme = regimes.iter().filter(|&&regime| regime == VolatilityRegime::Extreme).count();
    assert!(extreme > 600 && extreme < DAY, "{extreme} minutes");
    check(row.regime_share, extreme as f64 / DAY as f64);

    let hour_ends = adaptive.iter().filter(|row| row.ts % HOUR_MS == 0 && row.ts <= row_ts(THURSDAY, 0) - MINUTE_MS);
    let mut past: Vec<f64> = hour_ends.filter_map(level).collect();
    past.sort_by(f64::total_cmp);
    assert_eq!(past.len(), 5 + 24 + 24);
    let median = past[26];
    check(row.reversion_potential, (level(&row).unwrap() - median) / median);
}

fn row_ts(day: usize, minute: usize) -> i64 {
    MONDAY + (day * DAY + minute + 1) as i64 * MINUTE_MS
}

/// Half-life of Saturday's first minutes: Tuesday to Friday make three pairs of days.
#[test]
fn the_half_life_is_that_of_a_line_through_adjacent_days() {
    let rows = current(&history(&trades(), &config(VolatilityMode::Absolute)).volatility);
    let logs: Vec<f64> = VOLATILITIES[1..5].iter().map(|v| (v * v).ln()).collect();
    let (xs, ys) = (&logs[..3], &logs[1..]);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / 3.0;
    let (x, y) = (mean(xs), mean(ys));
    let cov: f64 = xs.iter().zip(ys).map(|(a, b)| (a - x) * (b - y)).sum();
    let phi = cov / xs.iter().map(|a| (a - x).powi(2)).sum::<f64>();
    // The first return of a day still has the length of its own day's steps, so the days' variances are exact but for prices cut at 1e-12.
    let ours = at(&rows, SATURDAY, 10).half_life_minutes.unwrap().0;
    let theirs = 0.5f64.ln() / phi.ln() * DAY as f64;
    assert!((ours / theirs - 1.0).abs() < 1e-6, "{ours} instead of {theirs}");
    assert_eq!(at(&rows, 1, 0).half_life_minutes, None, "one day makes no pair");
}

#[test]
fn a_print_that_comes_after_midnight_corrects_what_is_known_of_the_day_before() {
    let mut arrivals = trades();
    // Friday 23:50's trade is 3 % higher than it was, and is told forty minutes after midnight.
    let late = (SATURDAY * DAY - 10) as i64;
    let told = MONDAY + (SATURDAY * DAY + 40) as i64 * MINUTE_MS;
    let (arrives, tick) = arrivals.iter_mut().find(|(_, tick)| tick.ts() == MONDAY + late * MINUTE_MS + 30_000).unwrap();
    *arrives = told as u64;
    if let Tick::Trade(trade) = tick {
        trade.price = Price(trade.price.0 / 100 * 103);
    }
    let history = history(&arrivals, &config(VolatilityMode::Adaptive));
    let of_minute_ten = history.volatility.iter().filter(|(_, row, _)| row.ts == row_ts(SATURDAY, 10));
    let changes: Vec<(i64, f64, f64, isize)> = of_minute_ten
        .map(|(known_at, row, diff)| {
            (*known_at as i64, row.half_life_minutes.map_or(f64::NAN, |half| half.0), row.reversion_potential.unwrap().0, *diff)
        })
        .collect();
    let [first, gone, corrected] = changes[..] else { panic!("{changes:?}") };
    let (gone, corrected) = if gone.3 < 0 { (gone, corrected) } else { (corrected, gone) };
    assert_eq!((first.3, gone.3, corrected.3), (1, -1, 1));
    assert!(first.0 < told && (told..told + 2_000).contains(&gone.0) && gone.0 == corrected.0);
    assert!((first.1 - gone.1).abs() < 1e-12 && (gone.1 - corrected.1).abs() > 1.0, "Friday's variance is another: {changes:?}");
    assert!(corrected.2 > gone.2 + 0.1, "and so is the level: {changes:?}");
}
