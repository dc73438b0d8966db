//! Every view's rows from the final multiset of events, straight from the definitions: no state, no increments, no arrival.
//!
//! It shares nothing with the views but the model's types, fixed-point numbers and the settings. All events must lie inside the
//! correction horizon of their arrival, and the input must have been flushed.

pub mod bars;
pub mod cascades;
pub mod excitation;
pub mod features;
pub mod funding;

pub mod correlation;
pub mod lead_lag;
pub mod liquidations;
pub mod market_cascades;
pub mod quotes;
pub mod regimes;
pub mod support_zones;
pub mod volatility;

use std::collections::{BTreeMap, BTreeSet};

use dataflows::config::Config;
use dataflows::fixed::{Notional, Price};
use dataflows::model::*;

use crate::run::{History, assert_same, current, is_heard};

/// What happened, each event once.
pub struct Events<'a> {
    pub instruments: &'a Instruments,
    pub config: &'a Config,
    ticks: BTreeSet<Tick>,
    /// Per venue: the minutes in which it was heard, by their opening.
    heard: BTreeMap<Venue, BTreeSet<i64>>,
    /// Per venue: no event before it is expected any more.
    watermark: BTreeMap<Venue, i64>,
}

impl<'a> Events<'a> {
    pub fn new(instruments: &'a Instruments, config: &'a Config, ticks: impl IntoIterator<Item = Tick>) -> Self {
        let ticks: BTreeSet<Tick> = ticks.into_iter().collect();
        let mut heard: BTreeMap<Venue, BTreeSet<i64>> = BTreeMap::new();
        for tick in ticks.iter().filter(|tick| is_heard(tick)) {
            let venue = instruments.get(tick.instrument()).unwrap().venue;
            heard.entry(venue).or_default().insert(tick.ts().div_euclid(MINUTE_MS) * MINUTE_MS);
        }
        let watermark = heard.iter().map(|(&venue, minutes)| (venue, minutes.last().unwrap() + MINUTE_MS + SECOND_MS)).collect();
        Self { instruments, config, ticks, heard, watermark }
    }

    pub fn venue(&self, instrument: InstrumentId) -> Venue {
        self.instruments.get(instrument).unwrap().venue
    }

    pub fn watermark(&self, instrument: InstrumentId) -> i64 {
        self.watermark.get(&self.venue(instrument)).copied().unwrap_or(i64::MIN / 2)
    }

    /// Whether the instrument's venue was heard in the minute that opens at `minute`.
    pub fn heard_in(&self, instrument: InstrumentId, minute: i64) -> bool {
        self.heard.get(&self.venue(instrument)).is_some_and(|minutes| minutes.contains(&minute))
    }

    /// No venue's event before it is expected any more.
    pub fn newest_watermark(&self) -> i64 {
        self.watermark.values().copied().max().unwrap_or(i64::MIN / 2)
    }

    /// The last minute in which the instrument's venue was heard.
    pub fn newest(&self, instrument: InstrumentId) -> i64 {
        self.heard.get(&self.venue(instrument)).and_then(|minutes| minutes.last().copied()).unwrap_or(i64::MIN / 2)
    }

    pub fn ticks(&self) -> impl Iterator<Item = &Tick> {
        self.ticks.iter()
    }

    pub fn by_instrument<T: Clone>(&self, pick: impl Fn(&Tick) -> Option<T>) -> BTreeMap<InstrumentId, Vec<T>> {
        let mut found: BTreeMap<InstrumentId, Vec<T>> = BTreeMap::new();
        for tick in &self.ticks {
            if let Some(event) = pick(tick) {
                found.entry(tick.instrument()).or_default().push(event);
            }
        }
        found
    }

    /// Market prints, in order of event time.
    pub fn prints(&self) -> BTreeMap<InstrumentId, Vec<Trade>> {
        let market = |tick: &Tick| if let Tick::Trade(t) = tick { (t.kind == TradeKind::Market).then_some(*t) } else { None };
        let mut prints = self.by_instrument(market);
        prints.values_mut().for_each(|trades| trades.sort_by_key(|trade| (trade.ts, trade.order, trade.price)));
        prints
    }

    pub fn liquidations(&self) -> BTreeMap<InstrumentId, Vec<Liquidation>> {
        self.by_instrument(|tick| if let Tick::Liquidation(event) = tick { Some(*event) } else { None })
    }

    /// All views must say what the definitions say.
    pub fn check(&self, history: &History) {
        let why = "views and oracle";
        let bars = bars::bars(self);
        let all: Vec<Bar> = bars.iter().map(|(bar, _)| *bar).collect();
        let closed: Vec<Bar> = bars.iter().filter(|(_, is_closed)| *is_closed).map(|(bar, _)| *bar).collect();
        assert_same(&current(&history.bars), &all, "bars", why);
        assert_same(&current(&history.liquidations), &liquidations::rows(self), "liquidations", why);
        assert_same(&current(&history.liquidation_windows), &liquidations::windows(self), "liquidation_windows", why);
        let ratios = liquidations::ratios(self, &closed);
        let ours = align(current(&history.liquidation_ratios), &ratios, liquidations::near_ratio);
        assert_same(&ours, &ratios, "liquidation_ratios", why);
        let cascades = cascades::cascades(self);
        let ours = align(current(&history.cascades), &cascades, near_cascade);
        assert_same(&ours, &cascades, "cascades", why);
        let fits = excitation::rows(self);
        let ours = align(current(&history.self_excitation), &fits, near_fit);
        assert_same(&ours, &fits, "self_excitation", why);
        assert_same(&current(&history.market_cascades), &market_cascades::rows(self, &cascades), "market_cascades", why);
        let volatility = volatility::volatility(self, &closed);
        let ours = align(current(&history.volatility), &volatility, near_volatility);
        assert_same(&ours, &volatility, "volatility", why);
        let (rates, anomalies) = funding::funding(self);
        assert_same(&align(current(&history.funding), &rates, funding::near_row), &rates, "funding", why);
        let ours = align(current(&history.funding_anomalies), &anomalies, funding::near_anomaly);
        assert_same(&ours, &anomalies, "funding_anomalies", why);
        let (spreads, _) = funding::spreads(self);
        assert_same(&align(current(&history.funding_spreads), &spreads, funding::near_spread), &spreads, "funding_spreads", why);
        let interest = quotes::open_interest(self, &closed);
        let ours = align(current(&history.open_interest), &interest, quotes::near_interest);
        assert_same(&ours, &interest, "open_interest", why);
        self.check_features(history, &closed, &interest, &rates);
        assert_same(&current(&history.open_interest_totals), &quotes::totals(self), "open_interest_totals", why);
        assert_same(&current(&history.oi_shocks), &quotes::shocks(self, &interest, &cascades), "oi_shocks", why);
        assert_same(&current(&history.basis), &quotes::basis(self), "basis", why);
        assert_same(&current(&history.kline_checks), &quotes::kline_checks(self, &closed), "kline_checks", why);
        let zones = support_zones::zones(self);
        assert_same(&align(current(&history.support_zones), &zones, near_zone), &zones, "support_zones", why);
        let touches = support_zones::touches(self);
        assert_same(&align(current(&history.zone_touches), &touches, near_touch), &touches, "zone_touches", why);
        let spells = volatility::regimes(&volatility);
        assert_same(&align(current(&history.volatility_regimes), &spells, near_spell), &spells, "volatility_regimes", why);
        let theirs = correlation::correlations(self, &closed);
        let ours = align(current(&history.correlations), &theirs.correlations, correlation::near_correlation);
        assert_same(&ours, &theirs.correlations, "correlations", why);
        let ours = align(current(&history.market_mode), &theirs.market_mode, correlation::near_mode);
        assert_same(&ours, &theirs.market_mode, "market_mode", why);
        let ours = align(current(&history.betas), &theirs.betas, correlation::near_beta);
        assert_same(&ours, &theirs.betas, "betas", why);
        let ours = align(current(&history.correlation_breaks), &theirs.breaks, correlation::near_break);
        assert_same(&ours, &theirs.breaks, "correlation_breaks", why);
        let (pairs, scores, leaders) = lead_lag::lead_lag(self);
        assert_same(&align(current(&history.lead_lag), &pairs, lead_lag::near_pair), &pairs, "lead_lag", why);
        assert_same(&current(&history.lead_scores), &scores, "lead_scores", why);
        assert_same(&current(&history.leaders), &leaders, "leaders", why);
    }
}

impl Events<'_> {
    /// As [`Self::check`], of features alone.
    pub fn check_features(&self, history: &History, closed: &[Bar], interest: &[OpenInterestRow], rates: &[FundingRow]) {
        let features = features::features(self, closed, interest, rates);
        let ours = align(current(&history.features), &features, near_features);
        assert_same(&ours, &features, "features", "views and oracle");
    }
}

/// Rows that are near their counterpart become it: sums of floats may differ in their last bits.
fn align<R: Copy>(ours: Vec<R>, theirs: &[R], near: impl Fn(&R, &R) -> bool) -> Vec<R> {
    let with = |(i, row): (usize, R)| theirs.get(i).copied().filter(|other| near(&row, other)).unwrap_or(row);
    ours.into_iter().enumerate().map(with).collect()
}

pub fn near(a: Option<Real>, b: Option<Real>) -> bool {
    match (a, b) {
        (Some(Real(a)), Some(Real(b))) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-15,
        (None, None) => true,
        _ => false,
    }
}

fn within(a: Option<Real>, b: Option<Real>, near: impl Fn(f64, f64) -> bool) -> bool {
    match (a, b) {
        (Some(Real(a)), Some(Real(b))) => near(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn near_cascade(a: &Cascade, b: &Cascade) -> bool {
    let plain = |c: &Cascade| Cascade {
        severity: Real(0.0),
        price_move_bps: None,
        branching_ratio: None,
        critical_per_hour: Notional(0),
        ..*c
    };
    let critical = |c: &Cascade| Some(Real(c.critical_per_hour.to_f64()));
    plain(a) == plain(b)
        && near(critical(a), critical(b))
        && near(Some(a.severity), Some(b.severity))
        && near(a.price_move_bps, b.price_move_bps)
}

/// A fit is some hundred steps of a search.
fn near_fit(a: &SelfExcitation, b: &SelfExcitation) -> bool {
    let zero = Real(0.0);
    let plain = |r: &SelfExcitation| SelfExcitation { mu: zero, alpha: zero, beta: zero, branching_ratio: zero, ..*r };
    // Iterations stop at steps of 1e-5: where the last one falls on the edge, one side makes another.
    let close = |a: Real, b: Real| (a.0 - b.0).abs() <= 3e-5 * a.0.abs().max(b.0.abs()) + 1e-9;
    plain(a) == plain(b)
        && close(a.mu, b.mu)
        && close(a.alpha, b.alpha)
        && close(a.beta, b.beta)
        && close(a.branching_ratio, b.branching_ratio)
}

fn near_volatility(a: &Volatility, b: &Volatility) -> bool {
    let estimators = |a: &Option<Estimators>, b: &Option<Estimators>| match (a, b) {
        (Some(a), Some(b)) => {
            near(Some(a.close_to_close), Some(b.close_to_close))
                && near(a.parkinson, b.parkinson)
                && near(a.garman_klass, b.garman_klass)
                && near(a.rogers_satchell, b.rogers_satchell)
                && near(a.yang_zhang, b.yang_zhang)
        }
        (None, None) => true,
        _ => false,
    };
    (a.instrument, a.ts, a.regime) == (b.instrument, b.ts, b.regime)
        && estimators(&a.day, &b.day)
        && estimators(&a.hour, &b.hour)
        && near(a.ewma, b.ewma)
        && near(a.regime_share, b.regime_share)
        // A difference may be nearly nothing, and the slope behind a half-life nearly one.
        && within(a.reversion_potential, b.reversion_potential, |a, b| (a - b).abs() < 1e-9)
        && within(a.half_life_minutes, b.half_life_minutes, |a, b| (a / b - 1.0).abs() < 1e-6)
}

fn near_spell(a: &RegimeSpell, b: &RegimeSpell) -> bool {
    let plain = |r: &RegimeSpell| (r.instrument, r.onset, r.ended_at, r.from, r.to);
    plain(a) == plain(b) && near(Some(a.close_to_close), Some(b.close_to_close)) && near(a.parkinson, b.parkinson)
}

/// Of two values that are tiny beside what they are differences of, only that counts.
fn near_features(a: &Features, b: &Features) -> bool {
    let close = |(a, b): (&Option<Real>, &Option<Real>)| match (a, b) {
        (Some(Real(a)), Some(Real(b))) => (a - b).abs() <= 1e-7 * a.abs().max(b.abs()).max(1e-3),
        (a, b) => a.is_none() && b.is_none(),
    };
    (a.instrument, a.timeframe, a.ts) == (b.instrument, b.timeframe, b.ts) && a.values.iter().zip(&b.values).all(close)
}

/// An edge is rounded to a price unit.
fn near_price(a: Price, b: Price) -> bool {
    (a.0 - b.0).abs() as f64 <= 1.0 + 1e-9 * a.0 as f64
}

fn near_zone(a: &SupportZone, b: &SupportZone) -> bool {
    let plain = |z: &SupportZone| SupportZone { price_low: Price(0), price_high: Price(0), distance_bps: Real(0.0), ..*z };
    let distances = (a.distance_bps.0 - b.distance_bps.0).abs();
    plain(a) == plain(b) && near_price(a.price_low, b.price_low) && near_price(a.price_high, b.price_high) && distances < 1e-2
}

fn near_touch(a: &ZoneTouch, b: &ZoneTouch) -> bool {
    let plain = |t: &ZoneTouch| ZoneTouch { price_low: Price(0), price_high: Price(0), ..*t };
    plain(a) == plain(b) && near_price(a.price_low, b.price_low) && near_price(a.price_high, b.price_high)
}
