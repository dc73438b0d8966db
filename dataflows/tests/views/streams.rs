//! Random markets: few instruments, two venues, ties, empty minutes, outages, late bursts, repeats, wide prices.
//!
//! A market is a list of small raw events, so that a failing one shrinks to something readable.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::config::{Config, CorrelationWindow, LeadLag, SupportZones, Threshold, VolatilityMode};
use dataflows::fixed::{ONE, Price, Quantity, Rate};
use dataflows::model::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::oracle::{self, Events};
use crate::run::Arrival;

/// 2025-10-11 21:30 UTC: midnight, the week's end and a month's middle are near.
pub const START: i64 = 1_760_218_200_000;
/// The longest delay with which any event surely is inside the horizon.
const DELAY_MAX: u32 = 7_200_000;
/// Instead of a delay: held back until the next full ten minutes, when all that was held back arrives in one burst.
const BURST: u32 = u32::MAX;

/// One event before it is told what it is about.
#[derive(Clone, Debug)]
pub struct Raw {
    gap_ms: u32,
    who: u8,
    what: What,
    price: u16,
    size: u16,
    flags: u8,
    delays: [u32; 2],
    repeat: Option<u32>,
}

impl Raw {
    /// How an event is told that was made elsewhere.
    fn delayed(delays: [u32; 2]) -> Self {
        Self { gap_ms: 0, who: 0, what: What::Mark, price: 0, size: 0, flags: 0, delays, repeat: None }
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Trade,
    OffBook,
    Liquidation,
    Mark,
    Predicted,
    Settled,
    OpenInterest,
    Kline,
}

/// What kinds of gaps lie between events.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Seconds to minutes, now and then an outage of hours, rarely of a day.
    Mixed,
    /// Seconds: liquidations crowd.
    Crowded,
    /// Up to minutes: liquidations here and there, between them the price goes to and fro.
    Returning,
    /// Minutes: two venues quote one symbol's funding and open interest, now and then something is liquidated.
    Quotes,
    /// Less than a minute: no minute is missing, open interest is known, now and then something is liquidated.
    Steady,
}

/// Of any pace.
pub fn any_pace(number: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Raw>> {
    prop_oneof![
        raw_events(Pace::Mixed, number.clone()),
        raw_events(Pace::Crowded, number.clone()),
        raw_events(Pace::Returning, number.clone()),
        raw_events(Pace::Quotes, number.clone()),
        raw_events(Pace::Steady, number)
    ]
}

/// Settings with thresholds low enough for small markets.
pub fn config() -> Config {
    let mut config = Config::default();
    config.cascades.thresholds =
        [Threshold::usd(1_000.0, 12_000.0), Threshold::usd(1_500.0, 1_500.0), Threshold::usd(2_000.0, 600.0)];
    config.volatility.mode = VolatilityMode::Adaptive; // absolute for the first days
    (config.volatility.history_days, config.volatility.history_days_min) = (3, 1);
    // Wide buckets, in which random prices meet; a window that they leave.
    config.support_zones =
        SupportZones { window_minutes: 90, bucket_bps: 2_000, quantile_ppm: 400_000, zones_max: 2, leave_bps: 300 };
    config.venue_lag_ms_max = 30 * DAY_MS; // a venue may be silent for days, and nobody says that it is idle
    config.funding.minutes_min = 2;
    config.funding.hours_min = 2;
    config.funding.settlements_min = 3;
    config.funding.reversal_minutes = 8;
    (config.cascades.market.assets_min, config.cascades.market.within_secs) = (2, 120);
    (config.cascades.self_excitation.events_min, config.cascades.self_excitation.feeding_ratio) = (15, 0.3);
    let adaptive = &mut config.cascades.adaptive;
    (adaptive.quantile, adaptive.days, adaptive.known_days_min, adaptive.heard_min) = (0.9, 3, 1, 0.9);
    // Windows short enough for an hour of events.
    config.correlation.horizons = vec![CorrelationWindow::of(Timeframe::M1, 12), CorrelationWindow::of(Timeframe::M5, 50)];
    config.correlation.coverage_min = 0.5;
    config.correlation.pairs_up_to = 2;
    config.correlation.row_step = 0.1;
    (config.correlation.baseline_days, config.correlation.baseline_days_min) = (2, 1);
    config.correlation.breaks.fall_sd = 1.5;
    config.correlation.breaks.clear_sd = 1.0;
    // Trades are seconds apart here.
    config.lead_lag = LeadLag {
        symbols: ["BTC", "PEPE", "SOL"].map(|asset| format!("{asset}-USDT-PERP")).into(),
        bucket_ms: 2_000,
        window_minutes: 10,
        coverage_min: 0.2,
        moves_min: 2,
        strength_min: 0.5,
        hold_minutes: 2,
    };
    config
}

pub fn raw_events(pace: Pace, number: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Raw>> {
    vec(raw_event(pace), number)
}

fn raw_event(pace: Pace) -> impl Strategy<Value = Raw> {
    let gap = match pace {
        Pace::Mixed => prop_oneof![
            2 => 0u32..3,
            6 => 0u32..1_500,
            6 => 0u32..60_000,
            3 => 0u32..600_000,
            2 => proptest::sample::select(vec![1_000u32, 60_000, 300_000, 3_600_000]),
            1 => 3_600_000u32..12_000_000,
            1 => prop_oneof![9 => Just(0u32), 1 => 80_000_000u32..100_000_000],
        ]
        .boxed(),
        Pace::Crowded => prop_oneof![
            2 => 0u32..3,
            6 => 0u32..1_500,
            6 => 0u32..20_000,
            2 => 0u32..200_000,
            3 => proptest::sample::select(vec![1_000u32, 60_000, 240_000, 299_000, 300_000, 301_000]),
            1 => 200_000u32..2_000_000,
            1 => 3_000_000u32..4_000_000,
        ]
        .boxed(),
        Pace::Returning => prop_oneof![
            4 => 0u32..5_000,
            9 => 20_000u32..90_000,
            2 => proptest::sample::select(vec![60_000u32, 300_000, 301_000]),
            1 => 600_000u32..8_000_000,
        ]
        .boxed(),
        Pace::Quotes => prop_oneof![
            4 => 0u32..60_000,
            8 => 40_000u32..240_000,
            4 => 200_000u32..1_200_000,
            2 => 3_000_000u32..4_000_000,
            1 => prop_oneof![4 => 10_000_000u32..30_000_000, 1 => 80_000_000u32..100_000_000],
        ]
        .boxed(),
        Pace::Steady => prop_oneof![1 => 0u32..3, 12 => 15_000u32..59_000, 2 => Just(30_000u32)].boxed(),
    };
    let what = match pace {
        Pace::Mixed => prop_oneof![
            8 => Just(What::Trade), 1 => Just(What::OffBook), 3 => Just(What::Liquidation), 2 => Just(What::Mark),
            2 => Just(What::Predicted), 1 => Just(What::Settled), 2 => Just(What::OpenInterest), 2 => Just(What::Kline),
        ]
        .boxed(),
        Pace::Crowded => prop_oneof![3 => Just(What::Trade), 9 => Just(What::Liquidation), 1 => Just(What::Mark)].boxed(),
        Pace::Returning => prop_oneof![9 => Just(What::Trade), 4 => Just(What::Liquidation), 1 => Just(What::Mark)].boxed(),
        Pace::Quotes => prop_oneof![
            8 => Just(What::Predicted), 2 => Just(What::Settled), 5 => Just(What::OpenInterest), 2 => Just(What::Mark),
            2 => Just(What::Liquidation), 1 => Just(What::Trade),
        ]
        .boxed(),
        Pace::Steady => prop_oneof![
            5 => Just(What::Trade), 3 => Just(What::Liquidation), 3 => Just(What::OpenInterest), 3 => Just(What::Mark),
            1 => Just(What::Kline),
        ]
        .boxed(),
    };
    let delay = || prop_oneof![6 => 0u32..50, 3 => 0u32..5_000, 1 => 0u32..400_000, 1 => 0u32..DELAY_MAX, 2 => Just(BURST)];
    let who = match pace {
        Pace::Mixed => 0u8..5,
        Pace::Crowded => 0u8..3,
        Pace::Returning => 0u8..1,
        Pace::Quotes => 0u8..3,
        Pace::Steady => 0u8..2,
    };
    let repeat = prop_oneof![5 => Just(None), 1 => delay().prop_map(Some)];
    (gap, who, what, 0u16..1_000, 0u16..1_000, any::<u8>(), [delay(), delay()], repeat).prop_map(
        |(gap_ms, who, what, price, size, flags, delays, repeat)| Raw { gap_ms, who, what, price, size, flags, delays, repeat },
    )
}

/// A market: what happened, and two orders in which it may arrive.
#[derive(Clone, Debug)]
pub struct Market {
    pub instruments: Arc<Instruments>,
    /// Each event once.
    pub ticks: Vec<Tick>,
    /// The second is another order of the same events, repeats and all.
    pub arrivals: [Vec<Arrival>; 2],
}

const NAMES: [(Venue, &str, f64); 5] = [
    (Venue::BinanceUsdm, "BTC-USDT-PERP", 60_000.0),
    (Venue::BinanceUsdm, "PEPE-USDT-PERP", 0.000_012_34),
    (Venue::BybitLinear, "BTC-USDT-PERP", 60_000.0),
    (Venue::BybitLinear, "SOL-USDT-PERP", 150.0),
    (Venue::BinanceUsdm, "XRP-USDT-PERP", 0.5),
];

impl Market {
    pub fn new(raw: &[Raw]) -> Self {
        let instruments = Arc::new(Instruments::default());
        let ids: Vec<InstrumentId> = NAMES.iter().map(|(venue, name, _)| instruments.intern(*venue, name).unwrap()).collect();
        let mut market = Self { instruments, ticks: Vec::new(), arrivals: [Vec::new(), Vec::new()] };
        let mut ts = START;
        let mut klines = Vec::new();
        for (i, raw) in raw.iter().enumerate() {
            ts += i64::from(raw.gap_ms);
            let who = usize::from(raw.who);
            if matches!(raw.what, What::Kline) {
                klines.push((ids[who], ts, raw));
            } else {
                let tick = tick(ids[who], NAMES[who].2, ts, i as u64, raw);
                let arrives = if matches!(raw.what, What::Settled) { ts + 3_600_000 } else { ts };
                market.add(tick, arrives, raw);
            }
        }
        market.add_klines(&klines);
        market
    }

    fn add(&mut self, tick: Tick, ts: i64, raw: &Raw) {
        for (arrivals, delay) in self.arrivals.iter_mut().zip(raw.delays) {
            let copies = [Some(delay), raw.repeat].into_iter().flatten();
            arrivals.extend(copies.map(|delay| (arrival(ts, delay), tick.clone())));
        }
        self.ticks.push(tick);
    }

    /// Venue bars, most of them right, of bars that really are there.
    fn add_klines(&mut self, wanted: &[(InstrumentId, i64, &Raw)]) {
        let config = config();
        let bars = oracle::bars::bars(&Events::new(&self.instruments, &config, self.ticks.iter().cloned()));
        let bars: BTreeMap<_, _> = bars.iter().map(|(bar, _)| ((bar.instrument, bar.timeframe, bar.ts), bar)).collect();
        for &(instrument, ts, raw) in wanted {
            let timeframe = Timeframe::ALL[usize::from(raw.size) % 5];
            let open_ts = timeframe.open_of(ts);
            let Some(bar) = bars.get(&(instrument, timeframe, open_ts)) else {
                // Nothing of ours there: an outage that the venue fills.
                let last = bars.range(..(instrument, Timeframe::M1, ts)).next_back().filter(|(key, _)| key.1 == Timeframe::M1);
                if let Some((_, last)) = last {
                    self.add_fill(instrument, Timeframe::M1.open_of(ts), last.close, raw);
                }
                continue;
            };
            let said = open_ts + timeframe.ms() + i64::from(raw.price % 3);
            let kline = Kline {
                instrument,
                timeframe,
                open_ts,
                ts: said,
                closed: raw.flags & 1 == 0 || raw.price % 4 > 0,
                source: if raw.flags & 64 == 0 { KlineSource::Stream } else { KlineSource::Backfill },
                open: bar.open,
                high: bar.high,
                low: bar.low,
                close: bar.close,
                volume: Quantity(bar.volume.0 + i128::from(raw.flags & 2)),
                notional: (raw.flags & 4 == 0).then_some(bar.notional),
                taker_buy_volume: (raw.flags & 8 == 0).then_some(bar.taker_buy_volume),
                trades: (raw.flags & 16 == 0).then_some(bar.trades + u64::from((raw.flags >> 5) & 1)),
            };
            self.add(Tick::Kline(Box::new(kline)), if kline.fills() { open_ts } else { said }, raw);
        }
    }

    /// A minute that only the venue knows of; now and then one in which nothing was traded.
    fn add_fill(&mut self, instrument: InstrumentId, open_ts: i64, close: Price, raw: &Raw) {
        let tenth = (close.0 / 10).max(1);
        let volume = if raw.flags & 3 == 0 { 0 } else { i128::from(raw.size) * ONE };
        let kline = Kline {
            instrument,
            timeframe: Timeframe::M1,
            open_ts,
            ts: open_ts + MINUTE_MS,
            closed: true,
            source: KlineSource::Backfill,
            open: close,
            high: Price(close.0 + tenth),
            low: Price((close.0 - tenth).max(1)),
            close: Price(close.0 + tenth / 2),
            volume: Quantity(volume),
            notional: (raw.flags & 4 == 0).then_some(Price(close.0).notional(Quantity(volume))),
            taker_buy_volume: (raw.flags & 8 == 0).then_some(Quantity(volume / 2)),
            trades: (raw.flags & 16 == 0).then_some(u64::from(raw.size) + 1),
        };
        self.add(Tick::Kline(Box::new(kline)), open_ts, raw);
    }
}

fn arrival(ts: i64, delay: u32) -> u64 {
    const TEN_MINUTES: i64 = 600_000;
    let at = if delay == BURST { (ts.div_euclid(TEN_MINUTES) + 1) * TEN_MINUTES } else { ts + i64::from(delay) };
    at as u64
}

fn tick(instrument: InstrumentId, base: f64, ts: i64, i: u64, raw: &Raw) -> Tick {
    // Half to one and a half times the usual price; one in sixteen a hundredth to a hundred times it.
    let factor = 0.5 + f64::from(raw.price) / 1_000.0;
    let factor = if raw.flags >> 4 == 15 { 10f64.powf(4.0 * factor - 4.0) } else { factor };
    let price = Price(((base * factor * 1e12) as i64).max(1));
    let order = u64::from(raw.flags % 3);
    match raw.what {
        What::Trade | What::OffBook => Tick::Trade(Trade {
            instrument,
            ts,
            order: (order, i),
            id: if raw.who >= 2 && raw.who < 4 {
                TradeId::Unique(i, 7)
            } else {
                TradeId::Dense(3 * i, 3 * i + u64::from(raw.flags % 2))
            },
            price,
            qty: Quantity(i128::from(raw.size) * ONE / 1_000 + 1),
            taker_buy: raw.flags & 2 == 0,
            fills: 1 + u32::from(raw.flags % 2),
            kind: match raw.what {
                What::Trade => TradeKind::Market,
                _ if raw.flags & 4 == 0 => TradeKind::Block,
                _ => TradeKind::Administrative,
            },
        }),
        What::Liquidation => {
            // Round amounts now and then, so that thresholds are met exactly.
            let usd = if raw.flags & 12 == 0 { i128::from(raw.size / 100 + 1) * 100 } else { i128::from(raw.size) + 1 };
            let round = Price(if raw.flags & 12 == 0 { ONE as i64 } else { price.0 });
            Tick::Liquidation(Liquidation {
                instrument,
                ts,
                position_side: if raw.flags & 3 == 0 { PositionSide::Short } else { PositionSide::Long },
                price: round,
                qty: Quantity(usd * ONE * ONE / i128::from(round.0)),
                seq: u32::try_from(i).unwrap(),
                price_kind: PriceKind::Bankruptcy,
                // An instrument has one feed; two when it was changed.
                coverage: match raw.who {
                    2 | 3 => Coverage::Full,
                    1 if raw.flags & 32 == 0 => Coverage::Partial,
                    _ => Coverage::Sampled1s,
                },
            })
        }
        What::Mark => Tick::Mark(Mark { instrument, ts, order, mark: (raw.flags & 8 == 0).then_some(price), index: Some(price) }),
        What::Predicted | What::Settled => {
            let is_settled = matches!(raw.what, What::Settled);
            Tick::Funding(Funding {
                instrument,
                // Settlements are told later and again, at round hours.
                ts: if is_settled { ts.div_euclid(HOUR_MS) * HOUR_MS } else { ts },
                order,
                kind: if is_settled { FundingKind::Settled } else { FundingKind::Predicted },
                rate: (raw.flags & 4 == 0).then_some(Rate(i64::from(raw.price) * 1_000_000 - 500_000_000)),
                interval_hours: (raw.flags & if is_settled { 48 } else { 8 } == 0)
                    .then_some([0, 1, 4, 8][usize::from(raw.size % 4)]),
                next_ts: None,
            })
        }
        What::OpenInterest => {
            Tick::OpenInterest(OpenInterest { instrument, ts, order, base: Quantity(i128::from(raw.size) * ONE) })
        }
        What::Kline => unreachable!("made from bars"),
    }
}

/// A quiet market of some days for one or two instruments: marks every minute keep it heard, trades come in now and then.
#[derive(Clone, Debug)]
pub struct Days {
    pub minutes: u16,
    pub trades: Vec<(u16, u8, i16, u32)>,
    pub outages: Vec<(u16, u8)>,
}

pub fn days() -> impl Strategy<Value = Days> {
    let minutes = 2_900u16..6_500;
    let trade = (0u16..6_500, 0u8..2, -400i16..400, prop_oneof![8 => 0u32..3_000, 1 => 0u32..DELAY_MAX]);
    (minutes, vec(trade, 200..1_500), vec((1_300u16..6_500, 1u8..90), 0..8)).prop_map(|(minutes, trades, outages)| Days {
        minutes,
        trades,
        outages,
    })
}

impl Days {
    pub fn market(&self) -> Market {
        self.market_of(false)
    }

    /// With liquidations, open interest and funding now and then.
    pub fn busy_market(&self) -> Market {
        self.market_of(true)
    }

    fn market_of(&self, is_busy: bool) -> Market {
        let raw = |delay| Raw::delayed([delay, delay / 2]);
        let mut market = Market::new(&[]);
        let ids = [0, 1].map(|i| InstrumentId::of(NAMES[i].0, NAMES[i].1));
        let is_out = |minute: u16| self.outages.iter().any(|&(from, length)| (from..from + u16::from(length)).contains(&minute));
        let at = |minute: u16| START + i64::from(minute) * MINUTE_MS;
        for minute in (0..self.minutes).filter(|&minute| !is_out(minute)) {
            let mark = Mark { instrument: ids[0], ts: at(minute) + 30_000, order: 0, mark: None, index: None };
            market.add(Tick::Mark(mark), mark.ts, &raw(0));
        }
        for (i, &(minute, who, step, delay)) in self.trades.iter().enumerate() {
            let (minute, who) = (minute % self.minutes, usize::from(who));
            if is_out(minute) {
                continue;
            }
            let ts = at(minute) + i64::from(step.unsigned_abs()) * 100;
            // Calm, then wild, then near the boundaries of the regimes.
            let calm = [400_000.0, 3_000.0, 30_000.0, 12_000.0, 50_000.0][usize::from(minute / 1_300)];
            let price = NAMES[who].2 * (1.0 + f64::from(step) / calm);
            let trade = Trade {
                instrument: ids[who],
                ts,
                order: (0, i as u64),
                id: TradeId::Dense(i as u64, i as u64),
                price: Price((price * 1e12) as i64),
                qty: Quantity(ONE),
                taker_buy: step > 0,
                fills: 1,
                kind: TradeKind::Market,
            };
            market.add(Tick::Trade(trade), ts, &raw(delay));
            let (instrument, order, size) = (ids[who], i as u64, i128::from(step.unsigned_abs()));
            match i % 5 {
                _ if !is_busy => {}
                0 | 1 => {
                    let event = Liquidation {
                        instrument,
                        ts,
                        position_side: if step > 0 { PositionSide::Short } else { PositionSide::Long },
                        price: trade.price,
                        qty: Quantity(ONE * (1 + size)),
                        seq: 0,
                        price_kind: PriceKind::Bankruptcy,
                        coverage: Coverage::Full,
                    };
                    market.add(Tick::Liquidation(event), ts, &raw(delay / 2));
                }
                2 | 3 => {
                    let base = Quantity(ONE * (1_000 + size));
                    market.add(Tick::OpenInterest(OpenInterest { instrument, ts, order, base }), ts, &raw(delay));
                }
                _ => {
                    let (kind, rate) = (FundingKind::Predicted, Some(Rate(i64::from(step) * 1_000_000)));
                    let funding = Funding { instrument, ts, order, kind, rate, interval_hours: None, next_ts: None };
                    market.add(Tick::Funding(funding), ts, &raw(delay));
                }
            }
        }
        market
    }
}

/// Some days of one symbol with liquidations, in bursts and alone. Marks every minute keep the venue heard but for outages, some of
/// which are long enough that a day does not count.
#[derive(Clone, Debug)]
pub struct Burdened {
    hours: u16,
    bursts: Vec<(u32, u8, u8, u16, u32)>,
    outages: Vec<(u16, u16)>,
}

pub fn burdened() -> impl Strategy<Value = Burdened> {
    let burst = (0u32..4 * 86_400, 1u8..25, 0u8..30, 1u16..2_000, prop_oneof![8 => 0u32..3_000, 2 => 0u32..DELAY_MAX]);
    let outage = (0u16..6_000, prop_oneof![3 => 1u16..100, 1 => 100u16..400]);
    (50u16..100, vec(burst, 5..60), vec(outage, 0..5)).prop_map(|(hours, bursts, outages)| Burdened { hours, bursts, outages })
}

impl Burdened {
    pub fn market(&self) -> Market {
        let raw = |delay| Raw::delayed([delay, delay / 3]);
        let mut market = Market::new(&[]);
        let id = InstrumentId::of(NAMES[0].0, NAMES[0].1);
        let minutes = i64::from(self.hours) * 60;
        let is_out = |minute: i64| {
            self.outages.iter().any(|&(from, length)| (from..from.saturating_add(length)).contains(&(minute as u16)))
        };
        for minute in (0..minutes).filter(|&minute| !is_out(minute)) {
            let mark = Mark { instrument: id, ts: START + minute * MINUTE_MS + 30_000, order: 0, mark: None, index: None };
            market.add(Tick::Mark(mark), mark.ts, &raw(0));
        }
        for (i, &(second, events, gap, usd, delay)) in self.bursts.iter().enumerate() {
            for k in 0..u32::from(events) {
                let ts = START + i64::from(second + k * u32::from(gap)) * 1_000 % (minutes * MINUTE_MS);
                if is_out((ts - START).div_euclid(MINUTE_MS)) {
                    continue;
                }
                let event = Liquidation {
                    instrument: id,
                    ts,
                    position_side: if i % 3 == 0 { PositionSide::Short } else { PositionSide::Long },
                    price: Price(ONE as i64),
                    qty: Quantity(i128::from(usd) * ONE),
                    seq: i as u32 * 100 + k,
                    price_kind: PriceKind::Fill,
                    coverage: Coverage::Full,
                };
                market.add(Tick::Liquidation(event), ts, &raw(delay));
            }
        }
        market
    }
}
