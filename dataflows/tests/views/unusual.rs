//! Funding and open interest by example, against figures computed elsewhere, and on real settled rates.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use dataflows::config::{Config, Threshold};
use dataflows::fixed::{ONE, Price, Quantity, Rate};
use dataflows::model::*;

use crate::oracle::Events;
use crate::run::{Arrival, History, Plan, current, feed, run};

const MONDAY: i64 = 1_760_313_600_000;
const BINANCE: Venue = Venue::BinanceUsdm;
const BYBIT: Venue = Venue::BybitLinear;

/// A market in the making, of BTC.
struct Market {
    instruments: Arc<Instruments>,
    config: Config,
    ticks: Vec<Tick>,
}

impl Market {
    fn new() -> Self {
        Self { instruments: Arc::default(), config: Config::default(), ticks: Vec::new() }
    }

    /// As [`Self::new`], with baselines of an hour.
    fn impatient() -> Self {
        let mut market = Self::new();
        (market.config.funding.minutes_min, market.config.funding.hours_min) = (60, 2);
        market
    }

    fn btc(&self, venue: Venue) -> InstrumentId {
        self.instruments.intern(venue, "BTC-USDT-PERP").unwrap()
    }

    fn funding(&mut self, venue: Venue, kind: FundingKind, ts: i64, rate: i64, interval_hours: Option<u8>) {
        let instrument = self.btc(venue);
        let (rate, order) = (Some(Rate(rate)), self.ticks.len() as u64);
        self.ticks.push(Tick::Funding(Funding { instrument, ts, order, kind, rate, interval_hours, next_ts: None }));
    }

    /// A predicted rate in millionths, at half past each of `minutes`.
    fn predicted(&mut self, venue: Venue, minutes: std::ops::Range<i64>, millionths: i64) {
        for minute in minutes {
            let ts = MONDAY + minute * MINUTE_MS + 30_000;
            self.funding(venue, FundingKind::Predicted, ts, millionths * 1_000_000, Some(8));
        }
    }

    fn mark(&mut self, venue: Venue, minute: i64, mark: f64, index: Option<f64>) {
        let price = |price: f64| Price((price * ONE as f64) as i64);
        let (instrument, ts) = (self.btc(venue), MONDAY + minute * MINUTE_MS + 10_000);
        let order = self.ticks.len() as u64;
        self.ticks.push(Tick::Mark(Mark { instrument, ts, order, mark: Some(price(mark)), index: index.map(price) }));
    }

    fn interest(&mut self, venue: Venue, minute: i64, base: i64) {
        let (instrument, ts) = (self.btc(venue), MONDAY + minute * MINUTE_MS + 20_000);
        let (order, base) = (self.ticks.len() as u64, Quantity(i128::from(base) * ONE));
        self.ticks.push(Tick::OpenInterest(OpenInterest { instrument, ts, order, base }));
    }

    fn run(&self) -> History {
        let arrivals: Vec<Arrival> = self.ticks.iter().map(|tick| (tick.ts() as u64, tick.clone())).collect();
        let plan = Plan::default();
        run(&self.config, &self.instruments, feed(&self.instruments, &arrivals, plan), plan).0
    }

    /// Runs it and compares it with the oracle.
    fn check(&self) -> History {
        let history = self.run();
        Events::new(&self.instruments, &self.config, self.ticks.iter().cloned()).check(&history);
        history
    }
}

/// The episodes of one kind: from and to (minutes since Monday), and why.
fn episodes(history: &History, kind: AnomalyKind) -> Vec<(i64, Option<i64>, String)> {
    let minute = |ts: i64| (ts - MONDAY) / MINUTE_MS;
    let rows = current(&history.funding_anomalies);
    let of_kind = rows.iter().filter(|row| row.kind == kind);
    of_kind.map(|row| (minute(row.onset), row.ended_at.map(minute), row.reasons.words().join("; "))).collect()
}

#[test]
fn an_anomaly_is_told_with_its_reasons_and_clears() {
    let mut market = Market::impatient();
    market.predicted(BINANCE, 0..300, 100);
    market.predicted(BINANCE, 300..330, 400); // 300 millionths, 15 floors, from where it always was
    market.predicted(BINANCE, 330..400, 120); // one floor from it
    let history = market.check();
    let z = "Z-score anomaly: 15.00σ".to_owned();
    assert_eq!(episodes(&history, AnomalyKind::Anomaly), [(301, Some(331), z.clone())]);
    assert_eq!(episodes(&history, AnomalyKind::Deviation)[0], (301, Some(331), z));
    assert!(episodes(&history, AnomalyKind::Reversal).is_empty());
}

#[test]
fn a_jump_within_an_hour_needs_no_baseline() {
    let mut market = Market::new();
    market.predicted(BINANCE, 0..100, 100);
    market.predicted(BINANCE, 100..170, 700);
    let expected = (101, Some(161), "Rate change: +0.00060 in 1 h".to_owned());
    assert_eq!(episodes(&market.check(), AnomalyKind::Anomaly), [expected]);
}

#[test]
fn a_reversal_takes_four_hours_on_the_other_side() {
    let mut market = Market::new();
    market.predicted(BINANCE, 0..60, 100);
    market.predicted(BINANCE, 60..299, -100); // one minute short of four hours
    market.predicted(BINANCE, 299..310, 20); // on neither side
    market.predicted(BINANCE, 310..600, -60);
    market.predicted(BINANCE, 600..610, 60); // a short visit
    market.predicted(BINANCE, 610..900, -60);
    let expected = (550, Some(601), "Rate reversal: shorts have paid for 4.0 h".to_owned());
    assert_eq!(episodes(&market.check(), AnomalyKind::Reversal), [expected]);
}

#[test]
fn a_change_of_interval_is_no_change_of_rate() {
    let mut market = Market::new();
    market.predicted(BINANCE, 0..60, 800);
    for minute in 60..120 {
        let ts = MONDAY + minute * MINUTE_MS + 30_000;
        market.funding(BINANCE, FundingKind::Predicted, ts, 100_000_000, Some(1)); // 1 bp an hour is 8 bp in 8 h
    }
    assert!(current(&market.check().funding_anomalies).is_empty());
}

#[test]
fn venues_that_disagree_are_a_spread() {
    let mut market = Market::impatient();
    market.predicted(BINANCE, 0..360, 100);
    market.predicted(BYBIT, 0..300, 110);
    market.predicted(BYBIT, 300..330, -500);
    market.predicted(BYBIT, 330..360, 110);
    market.interest(BINANCE, 299, 3_000);
    market.interest(BYBIT, 299, 1_000);
    let history = market.check();
    let reasons = "Z-score anomaly: 29.50σ; Rate change: +0.00059 in 1 h".to_owned();
    assert_eq!(episodes(&history, AnomalyKind::Spread), [(301, Some(331), reasons)]);
    let spreads = current(&history.funding_spreads);
    let row = spreads.iter().find(|row| row.ts == MONDAY + 300 * MINUTE_MS).unwrap();
    assert_eq!((row.spread, row.highest, row.venues), (Rate(600_000_000), (BINANCE, Rate(100_000_000)), 2));
    let mean = row.weighted_mean.unwrap().0; // (3 · 100 − 1 · 500) / 4 millionths
    assert!((mean + 50e-6).abs() < 1e-15, "{mean}");
    assert_eq!(market.instruments.get(row.instrument).unwrap().venue.as_str(), "");
}

/// Figures of Python's `statistics` (fmean, stdev, median) over the same rates: 100 + (37 i + 11) mod 23 + 3 (⌊i / 60⌋ mod 7)
/// millionths for i = 0 … 11518, then 400; the hours' means are of full hours.
#[test]
fn scores_have_their_textbook_values() {
    let mut market = Market::new();
    market.config.funding.scale_floor = 1e-7;
    const LAST: i64 = 8 * 1_440 - 1;
    for i in 0..=LAST {
        let millionths = if i == LAST { 400 } else { 100 + (37 * i + 11) % 23 + 3 * (i / 60 % 7) };
        // Told per 4 h.
        let ts = MONDAY + i * MINUTE_MS + 30_000;
        market.funding(BINANCE, FundingKind::Predicted, ts, millionths * 500_000, Some(4));
    }
    let rows = current(&market.run().funding);
    let scores = rows.last().unwrap().scores;
    let near = |ours: Option<Real>, textbook: f64| {
        let ours = ours.unwrap().0;
        assert!((ours / textbook - 1.0).abs() < 1e-9, "{ours}, by the textbook {textbook}");
    };
    near(scores.z_24h, 31.286_677_901_209_444);
    near(scores.z_30d, 46.376_175_009_123_365);
    near(scores.robust_z, 32.102_322_678_477_41);
    near(scores.volatility, 8.973_201_550_932_77e-6);
    let first = |is_there: fn(&Scores) -> bool| rows.iter().position(|row| is_there(&row.scores)).unwrap();
    assert_eq!((first(|s| s.z_24h.is_some()), first(|s| s.z_30d.is_some())), (720, 168 * 60), "half a day, a week");
}

#[test]
fn settlements_use_their_own_interval_then_what_was_stated() {
    let mut market = Market::new();
    let settle = |market: &mut Market, hour: i64, own: Option<u8>| {
        market.funding(BINANCE, FundingKind::Settled, MONDAY + hour * HOUR_MS, 50_000_000, own);
    };
    settle(&mut market, 4, None); // before the first statement: that
    settle(&mut market, 6, Some(2)); // its own
    market.funding(BINANCE, FundingKind::Predicted, MONDAY + 7 * HOUR_MS, 50_000_000, Some(4));
    settle(&mut market, 8, None); // as stated
    let rows = current(&market.check().funding);
    let settled = rows.iter().filter(|row| row.kind == FundingKind::Settled);
    assert_eq!(settled.map(|row| row.interval_hours).collect::<Vec<_>>(), [4, 2, 4]);
}

#[test]
fn what_was_paid_is_summed_over_full_stretches() {
    let mut market = Market::new();
    for i in 1..=24 {
        market.funding(BINANCE, FundingKind::Settled, MONDAY + i * 8 * HOUR_MS, i * 1_000_000, Some(8));
    }
    let rows = current(&market.check().funding);
    let paid: Vec<Paid> = rows.iter().map(|row| row.paid).collect();
    assert_eq!((paid[1].day, paid[2].day), (None, Some(Rate(6_000_000))));
    assert_eq!((paid[18].week, paid[19].week, paid[20].week), (None, Some(Rate(210_000_000)), Some(Rate(231_000_000))));
    assert_eq!((paid[23].day, paid[23].week, paid[23].month), (Some(Rate(69_000_000)), Some(Rate(294_000_000)), None));
}

#[test]
fn interest_and_price_make_quadrants() {
    let check = |base: [i64; 2], price: [f64; 2], expected: Quadrant| {
        let mut market = Market::new();
        for (minute, (base, price)) in [0, 60].into_iter().zip(base.into_iter().zip(price)) {
            market.interest(BINANCE, minute, base);
            market.mark(BINANCE, minute, price, None);
        }
        let rows = current(&market.check().open_interest);
        assert_eq!(rows.last().unwrap().quadrant, Some(expected), "{base:?} {price:?}");
        assert_eq!(rows[0].quadrant, None, "nothing is known of an hour before");
    };
    check([1_000, 1_010], [100.0, 101.0], Quadrant::LongBuildUp);
    check([1_000, 1_010], [100.0, 99.0], Quadrant::ShortBuildUp);
    check([1_000, 990], [100.0, 101.0], Quadrant::ShortCovering);
    check([1_000, 990], [100.0, 99.0], Quadrant::LongUnwinding);
    check([1_000, 1_005], [100.0, 101.0], Quadrant::LongBuildUp); // at the limit it counts
    check([1_000, 1_004], [100.0, 101.0], Quadrant::Neutral);
    check([1_000, 1_010], [100.0, 100.2], Quadrant::Neutral);
}

#[test]
fn a_fall_of_interest_confirms_a_cascade() {
    let mut market = Market::new();
    market.config.cascades.thresholds = [Threshold::usd(1_000.0, 12_000.0); 3];
    for (minute, base) in [(0, 1_000), (1, 1_000), (2, 960), (6, 960), (7, 960), (25, 960), (30, 900)] {
        market.interest(BINANCE, minute, base);
    }
    let liquidation = Liquidation {
        instrument: market.btc(BINANCE),
        ts: MONDAY + MINUTE_MS,
        position_side: PositionSide::Long,
        price: Price(100 * ONE as i64),
        qty: Quantity(100 * ONE),
        seq: 0,
        price_kind: PriceKind::Fill,
        coverage: Coverage::Full,
    };
    market.ticks.push(Tick::Liquidation(liquidation));
    let history = market.check();
    let shocks = current(&history.oi_shocks);
    let minute = |ts: i64| (ts - MONDAY) / MINUTE_MS;
    // At 00:30 open interest falls too, but nothing is being liquidated.
    assert_eq!(shocks.iter().map(|s| (minute(s.onset), s.ended_at.map(minute))).collect::<Vec<_>>(), [(7, Some(8))]);
    assert_eq!(shocks[0].change, Real(-0.04));
    assert!(current(&history.cascades).iter().any(|cascade| cascade.cascade_id == shocks[0].cascade_id));
}

#[test]
fn the_basis_is_of_mark_and_index() {
    let mut market = Market::new();
    market.mark(BINANCE, 0, 100.5, Some(100.0));
    market.mark(BINANCE, 1, 99.0, None); // the index of a minute ago still holds
    market.mark(BINANCE, 20, 99.0, None); // now it doesn't
    let rows = current(&market.check().basis);
    assert_eq!(rows.iter().map(|row| row.basis_bps).collect::<Vec<_>>(), [Real(50.0), Real(-100.0)]);

    let dated = market.instruments.intern(BINANCE, "BTC-USDT-251226").unwrap();
    let (mark, index) = (Some(Price(102 * ONE as i64)), Some(Price(100 * ONE as i64)));
    market.ticks = vec![Tick::Mark(Mark { instrument: dated, ts: MONDAY, order: 0, mark, index })];
    let annualised = current(&market.run().basis)[0].annualised.unwrap().0;
    // 2 % until 2025-12-26 08:00, which is 74 days, 7 hours and 59 minutes away.
    assert!((annualised - 0.02 * 365.25 / (74.0 + 479.0 / 1_440.0)).abs() < 1e-12, "{annualised}");
}

fn settled_rates(symbol: &str) -> Option<Vec<(i64, i64)>> {
    let data = std::env::var_os("REGIMEFLOW_DATA").map_or_else(|| PathBuf::from("../../shared/data"), PathBuf::from);
    let path = data.join(format!("funding/binance-usdm/{symbol}USDT.csv.gz"));
    path.exists().then_some(())?;
    let unpacked = Command::new("gzip").arg("-dc").arg(path).output().ok()?;
    let parse = |line: &str| {
        let (ts, rate) = line.split_once(',').unwrap();
        (ts.parse().unwrap(), Rate::parse(rate.as_bytes()).unwrap().0)
    };
    Some(String::from_utf8(unpacked.stdout).unwrap().lines().skip(1).map(parse).collect())
}

/// Settled rates of 2019 to 2026. (Predicted ones, which move within the hour, make more episodes.)
#[test]
fn real_settlements_are_unusual_now_and_then() {
    for (symbol, extreme) in [("BTC", Some(1_584_086_400_000)), ("ETH", Some(1_621_440_000_000)), ("XRP", None), ("ADA", None)] {
        let Some(rates) = settled_rates(symbol) else {
            println!("skipped: no recording of settled rates of {symbol}");
            return;
        };
        let mut market = Market::new();
        for &(ts, rate) in &rates {
            market.funding(BINANCE, FundingKind::Settled, ts, rate, None);
        }
        let arrivals: Vec<Arrival> = market.ticks.iter().map(|tick| (tick.ts() as u64, tick.clone())).collect();
        let plan = Plan { quantum_ms: 30 * DAY_MS as u64, ..Plan::default() };
        let (history, _) = run(&market.config, &market.instruments, feed(&market.instruments, &arrivals, plan), plan);
        let rows = current(&history.funding_anomalies);
        let anomalies: Vec<&FundingAnomaly> = rows.iter().filter(|row| row.kind == AnomalyKind::Anomaly).collect();
        let months = (rates.last().unwrap().0 - rates[0].0) as f64 / (30.44 * DAY_MS as f64);
        let a_month = anomalies.len() as f64 / months;
        println!("{symbol}: {} settlements, {} anomalies, {a_month:.2} a month", rates.len(), anomalies.len());
        assert!((1.0..10.0).contains(&a_month), "{symbol}: {a_month} anomalies a month");
        if let Some(extreme) = extreme {
            let covers = |row: &&FundingAnomaly| row.onset <= extreme && row.ended_at.is_none_or(|ended| ended > extreme);
            assert!(anomalies.iter().any(covers), "{symbol}: nothing unusual at {extreme}");
        }
        let of_extreme = current(&history.funding).into_iter().filter(|row| Some(row.ts) == extreme);
        of_extreme.for_each(|row| assert!(row.scores.z_30d.unwrap().0 < -5.0, "{row:?}"));
    }
}
