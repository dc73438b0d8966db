//! Correlations: figures computed elsewhere, markets of many symbols against the oracle, a break from its onset to its end.

use std::sync::Arc;

use dataflows::config::{Config, CorrelationWindow};
use dataflows::fixed::{ONE, Price, Quantity};
use dataflows::model::*;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::oracle::Events;
use crate::run::{Arrival, History, Plan, current, feed, run};
use crate::streams;

const MONDAY: i64 = 1_760_313_600_000;

fn trade(instrument: InstrumentId, ts: i64, price: f64) -> Tick {
    let (id, price) = (TradeId::Unique(ts as u64, instrument.0), Price((price * 1e12).round() as i64));
    let (order, qty, kind) = ((0, 0), Quantity(ONE), TradeKind::Market);
    Tick::Trade(Trade { instrument, ts, order, id, price, qty, taker_buy: true, fills: 1, kind })
}

fn history(config: &Config, instruments: &Arc<Instruments>, arrivals: &[Arrival], plan: Plan) -> History {
    run(config, instruments, feed(instruments, arrivals, plan), plan).0
}

/// Five series of whole ten-millionths. The figures are numpy's (2.4): corrcoef, cov with aweights 0.5^(age/10), eigvalsh, polyfit.
#[test]
fn figures_are_numpys() {
    const BARS: i64 = 40;
    let returns = |k: i64, t: i64| {
        ((37 * t * (k + 3) + 11 * k * k + (t * t) % 17 * 5) % 23 - 11) * (1_000 + 100 * k) + ((t * 7) % 13 - 6) * 3_000
    };
    let instruments = Arc::new(Instruments::default());
    let names = ["BTC", "S1", "S2", "S3", "S4"].map(|name| format!("{name}-USDT-PERP"));
    let mut arrivals = Vec::new();
    for (k, name) in (0..).zip(&names) {
        let instrument = instruments.intern(Venue::BinanceUsdm, name).unwrap();
        let mut log = 0;
        for t in -1..BARS {
            log += if t < 0 { 0 } else { returns(k, t) };
            let ts = MONDAY + (t + 1) * MINUTE_MS + 30_000;
            arrivals.push((ts as u64, trade(instrument, ts, 100.0 * (log as f64 / 1e7).exp())));
        }
    }
    let mut config = Config::default();
    config.correlation.horizons = vec![CorrelationWindow::of(Timeframe::M1, BARS)];
    let history = history(&config, &instruments, &arrivals, Plan::default());
    let across = |k: usize| instruments.across(&names[k]).unwrap();
    let last = MONDAY + (BARS + 1) * MINUTE_MS;
    let check = |name: &str, ours: f64, numpys: f64| assert!((ours / numpys - 1.0).abs() < 1e-9, "{name}: {ours}, {numpys}");
    let pairs = current(&history.correlations);
    let of = |a: usize, b: usize| {
        *pairs.iter().find(|row| (row.symbol_a, row.symbol_b, row.ts) == (across(a), across(b), last)).unwrap()
    };
    check("r", of(0, 1).r.0, 0.743_285_173_572_341_7);
    check("r", of(0, 2).r.0, 0.694_070_135_713_738_9);
    check("r", of(3, 4).r.0, 0.619_766_683_488_290_9);
    check("weighted r", of(0, 1).ewma_r.0, 0.750_272_054_112_075_8);
    check("weighted r", of(3, 4).ewma_r.0, 0.586_058_469_227_298_7);
    check("z", of(0, 1).fisher_z.0, 0.743_285_173_572_341_7f64.atanh());
    assert_eq!(of(0, 1).horizon.to_string(), "40m");
    let mode = *current(&history.market_mode).iter().find(|row| row.ts == last).unwrap();
    check("absorption ratio", mode.absorption_ratio.0, 0.762_097_319_215_446_9);
    assert_eq!(mode.symbols, 5);
    let beta = *current(&history.betas).iter().find(|row| (row.instrument, row.ts) == (across(1), last)).unwrap();
    check("beta", beta.beta.0, 0.814_864_265_108_365_8);
    check("r2", beta.r2.0, 0.743_285_173_572_341_7f64.powi(2));
    check("residual", beta.residual_volatility.0, 9_781.489_315_839_11e-7 * 1_440f64.sqrt());
    let first = pairs.iter().map(|row| row.ts).min().unwrap();
    assert_eq!((first - MONDAY) / MINUTE_MS, 33, "32 returns of 40");
}

/// A market of one factor that ends for a while, on two venues, with holes, outages, late and bursting arrivals.
struct Crowd {
    instruments: Arc<Instruments>,
    ticks: Vec<Tick>,
    arrivals: [Vec<Arrival>; 2],
}

fn crowd(seed: u64, symbols: usize, minutes: i64) -> Crowd {
    let mut chance = StdRng::seed_from_u64(seed);
    let instruments = Arc::new(Instruments::default());
    let mut crowd = Crowd { instruments: Arc::clone(&instruments), ticks: Vec::new(), arrivals: [Vec::new(), Vec::new()] };
    let start = MONDAY + DAY_MS - minutes / 2 * MINUTE_MS; // midnight lies inside
    let names: Vec<String> =
        (0..symbols).map(|i| format!("{}-USDT-PERP", ["BTC", "ZIL"].get(i).map_or(format!("A{i}"), |n| (*n).into()))).collect();
    let (mut market, mut own) = (0.0f64, vec![0.0f64; symbols]);
    let out = chance.random_range(0..minutes);
    let born: Vec<i64> = (0..symbols).map(|i| if i % 5 == 4 { chance.random_range(0..minutes / 2) } else { 0 }).collect();
    for minute in 0..minutes {
        market += chance.random_range(-0.01..0.01);
        let is_odd = minute > minutes * 2 / 3;
        for symbol in 0..symbols {
            own[symbol] += chance.random_range(-0.004..0.004);
            let sign = if is_odd && symbol % 3 == 1 { -1.0 } else { 1.0 };
            let price = (10.0 + symbol as f64) * (sign * market + own[symbol]).exp();
            for venue in [Venue::BinanceUsdm, Venue::BybitLinear] {
                let is_listed = venue == Venue::BinanceUsdm && symbol != 3 || venue == Venue::BybitLinear && symbol < 4;
                let is_out = venue == Venue::BinanceUsdm && (out..out + 4).contains(&minute);
                if !is_listed || is_out || minute < born[symbol] || chance.random_range(0..12) == 0 {
                    continue;
                }
                let instrument = instruments.intern(venue, &names[symbol]).unwrap();
                let ts = start + minute * MINUTE_MS + chance.random_range(0..60_000);
                let tick = trade(instrument, ts, price * chance.random_range(0.999..1.001));
                for arrivals in &mut crowd.arrivals {
                    let delay = match chance.random_range(0..20) {
                        0 => chance.random_range(0..7_000_000),
                        1 => 600_000 - ts.rem_euclid(600_000),
                        _ => chance.random_range(0..3_000),
                    };
                    arrivals.push(((ts + delay) as u64, tick.clone()));
                    if chance.random_range(0..10) == 0 {
                        arrivals.push(((ts + delay / 2) as u64, tick.clone()));
                    }
                }
                crowd.ticks.push(tick);
            }
        }
    }
    crowd
}

fn crowded() -> Config {
    let mut config = streams::config();
    config.correlation.pairs_up_to = 12;
    config.correlation.coverage_min = 0.7;
    config.correlation.row_step = 0.05;
    config
}

proptest! {
    #![proptest_config(crate::properties::cases(6))]
    #[test]
    fn crowds_are_what_the_oracle_says(seed in any::<u64>(), symbols in 11usize..16, minutes in 60i64..140) {
        let crowd = crowd(seed, symbols, minutes);
        let (config, plain) = (crowded(), Plan::default());
        let first = history(&config, &crowd.instruments, &crowd.arrivals[0], plain);
        Events::new(&crowd.instruments, &config, crowd.ticks.iter().cloned()).check(&first);
        crate::properties::check_keys(&first);
        history(&config, &crowd.instruments, &crowd.arrivals[1], plain).assert_same_rows(&first, "another order of arrival");
        let plan = Plan { workers: 2, spread: true, ..plain };
        history(&config, &crowd.instruments, &crowd.arrivals[0], plan).assert_equals(&first, "two workers");
        for quantum_ms in [20_000, 30 * DAY_MS as u64] {
            let plan = Plan { quantum_ms, ..plain };
            history(&config, &crowd.instruments, &crowd.arrivals[0], plan).assert_same_rows(&first, "another quantum");
        }
        prop_assert!(current(&first.correlations).len() > 100, "too thin to test anything");
    }
}

/// Two symbols move as one for a day and a half, then against each other for forty minutes, then as one again.
#[test]
fn a_pair_breaks_apart_and_comes_together_again() {
    let instruments = Arc::new(Instruments::default());
    let ids = ["BTC", "ETH"].map(|name| instruments.intern(Venue::BinanceUsdm, &format!("{name}-USDT-PERP")).unwrap());
    const MINUTES: i64 = 2_160;
    let mut logs = [0.0f64; 2];
    let mut arrivals = Vec::new();
    for minute in 0..MINUTES + 120 {
        let step = [3.0, -2.0, 1.0, -4.0, 2.0, 0.0, -1.0, 1.0, 4.0, -3.0, 1.0][(minute % 11) as usize] * 1e-4;
        let noise = [1.0, 0.0, -1.0, -1.0, 2.0, 0.0, -1.0][(minute % 7) as usize] * 1e-4;
        let is_apart = (MINUTES..MINUTES + 40).contains(&minute);
        logs = [logs[0] + step, logs[1] + if is_apart { -step } else { step } + noise];
        let ts = MONDAY + minute * MINUTE_MS + 1_000;
        arrivals.extend(ids.iter().zip(logs).map(|(&id, log)| (ts as u64, trade(id, ts, 100.0 * log.exp()))));
    }
    let mut config = Config::default();
    config.correlation.horizons = vec![CorrelationWindow::of(Timeframe::M1, 30)];
    config.correlation.baseline_days_min = 1;
    let history = history(&config, &instruments, &arrivals, Plan::default());
    Events::new(&instruments, &config, arrivals.iter().map(|(_, tick)| tick.clone())).check(&history);
    let breaks = current(&history.correlation_breaks);
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    let row = breaks[0];
    let minute = |ts: i64| (ts - MONDAY) / MINUTE_MS - MINUTES;
    assert!((3..20).contains(&minute(row.onset)), "{}", minute(row.onset));
    assert!(row.ended_at.is_some_and(|end| (42..75).contains(&minute(end))), "{:?}", row.ended_at.map(minute));
    assert!(row.is_pair_trade && row.baseline.is_some_and(|b| b.mean.0.tanh() > 0.8 && b.delta_z.0 < -3.0), "{row:?}");
    assert!(row.divergence_strength.0 > 1.0, "{row:?}");
}
