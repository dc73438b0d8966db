//! A desk: one symbol's market on one venue. It turns the latent path into prints, liquidations and quotes.
//!
//! price = index × (1 + premium + basis), basis an Ornstein–Uhlenbeck process of the venue's own (1 bp, τ = 5 min; none on the
//! first venue). Between two seconds the price is interpolated; buys print a tick up, sells a tick down. Prints arrive by a
//! Poisson process with rate · activity of the regime · (1.5 if agitated) · (4 in a cascade); the taker's side leans with
//! the move. Background liquidations: immigrants · activity · exp(−0.5 z) for longs (+ for shorts), z the trailing move in
//! deviations, · exp(3 log open interest), the whole inside [0.2, 4]. Every liquidation is a print as well.

use dataflows::model::Venue;

use super::Settings;
use super::arrivals::Arrivals;
use super::chance::Chance;
use super::feed::Feed;
use super::funding::{Meter, next_settlement};
use super::hawkes::Hawkes;
use super::listing::Listing;
use super::path::Path;
use super::regimes::MARKET;
use super::schedule::PlannedBurst;
use super::tally::Tally;
use super::tape::{Print, Tape};
use super::wire::{Forced, Quote};

/// A background liquidation's largest notional, USD.
const LIQUIDATION_USD_MAX: f64 = 25_000.0;
/// Deviation of a liquidation's log notional.
const LIQUIDATION_SIGMA: f64 = 1.1;
/// Deviation of a print's log notional.
const TRADE_SIGMA: f64 = 1.3;
/// Seconds over which an adverse move is remembered.
const TREND_SECS: f64 = 120.0;
const BASIS_TAU_SECS: f64 = 300.0;
const BASIS_DEVIATION: f64 = 1e-4;
/// Mark prices follow the premium with this lag.
const MARK_TAU_SECS: f64 = 30.0;

/// Something printed inside a second.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Trade,
    Liquidation { long: bool, usd: f64, of_cascade: bool },
}

/// One symbol's market on one venue.
#[derive(Debug)]
pub(super) struct Desk {
    trades: Chance,
    sizes: Chance,
    bases: Option<Chance>,
    sides: [Hawkes; 2],
    branching: f64,
    /// Background immigrants per second and side, and a background liquidation's mean notional.
    immigrants: f64,
    liquidation_usd: f64,
    share: f64,
    trade_rate: f64,
    due: f64,
    basis: f64,
    marked_premium: f64,
    price: f64,
    trend: f64,
    meter: Meter,
    tape: Tape,
    feed: Feed,
    /// What its cascades came to.
    pub(super) tally: Tally,
    happenings: Vec<(f64, Happening)>,
    forced: Vec<Forced>,
}

impl Desk {
    pub(super) fn new(settings: &Settings, venue: Venue, listing: &Listing, path: &Path) -> Self {
        let stream = |purpose: &str| Chance::new(settings.seed, &listing.base, &format!("{venue} {purpose}"));
        let first = venue == settings.venues[0];
        let share = if venue == Venue::BybitLinear { 0.6 } else { 1.0 };
        let mut kernel = Chance::new(settings.seed, &listing.base, "kernel");
        let (branching, beta) = (kernel.between(0.35, 0.75), 1.0 / kernel.log_between(2.0, 15.0));
        let liquidation_usd = (listing.liquidated_usd_per_hour / 20.0).clamp(400.0, 1_500.0);
        let per_second = listing.liquidated_usd_per_hour * share / liquidation_usd / 3_600.0;
        let mut trades = stream("trades");
        Self {
            due: trades.exponential(),
            trades,
            sizes: stream("sizes"),
            bases: (!first).then(|| stream("basis")),
            sides: ["longs", "shorts"].map(|side| Hawkes::new(stream(side), branching, beta)),
            branching,
            immigrants: 0.5 * per_second * (1.0 - branching),
            liquidation_usd,
            share,
            trade_rate: settings.trades_per_second * if venue == Venue::BybitLinear { 0.5 } else { 1.0 },
            basis: 0.0,
            marked_premium: path.premium,
            price: path.index() * (1.0 + path.premium),
            trend: 0.0,
            meter: Meter::default(),
            tape: Tape::new(1_000_000_000 + stream("ids").bits() % 1_000_000_000),
            feed: Feed::new(venue, listing, stream("wire")),
            tally: Tally::new(venue, listing.usd(1), path.bursts.len()),
            happenings: Vec::new(),
            forced: Vec::new(),
        }
    }

    /// Second `now`, after the path has made it.
    pub(super) fn second(
        &mut self,
        now: i64,
        market: usize,
        path: &Path,
        listing: &Listing,
        settings: &Settings,
        arrivals: &mut Arrivals,
    ) {
        let interest_usd = listing.open_interest_usd * self.share * path.log_interest.exp();
        let interest = listing.steps_for(interest_usd, listing.price);
        self.quote(now, path, listing, interest, settings.mark_interval_secs, arrivals);
        let before = self.price;
        self.advance(now, path);
        self.happen(now, market, path);
        self.print(now, before, path, listing, arrivals);

        let shown = self.feed.liquidations(arrivals, now, &self.forced);
        let own = self.forced.iter().filter(|f| f.of_cascade);
        let own_usd = own.clone().map(|f| listing.usd(f.notional())).sum();
        self.tally.second(now, path.current, shown, own_usd, own.map(|f| f.ts).max());
        if (now + 1) % 60 == 0
            && let Some(bar) = self.tape.close((now - 59) * 1_000)
        {
            self.feed.kline(arrivals, now, &bar);
        }
    }

    /// What tickers and polls say at the beginning of the second.
    fn quote(&mut self, now: i64, path: &Path, listing: &Listing, interest: i64, every: i64, arrivals: &mut Arrivals) {
        let e8 = |x: f64| (x * 1e8).round() as i64;
        let mark_e8 = e8(path.index() * (1.0 + self.marked_premium));
        if let Some(rate) = self.meter.settle(now) {
            self.feed.settlement(arrivals, now, e8(rate), mark_e8);
        }
        if now % every == 0 {
            let quote = Quote {
                mark_e8,
                index_e8: e8(path.index()),
                rate_e8: e8(self.meter.predicted()),
                next_ms: next_settlement(now) * 1_000,
                interest,
            };
            let last = self.tape.last_ticks().unwrap_or_else(|| ((self.price * listing.ticks_per_unit()).round() as i64).max(1));
            self.feed.quote(arrivals, now, &quote, last);
        }
        self.feed.poll(arrivals, now, interest);
    }

    fn advance(&mut self, now: i64, path: &Path) {
        if let Some(bases) = &mut self.bases {
            self.basis += -self.basis / BASIS_TAU_SECS + BASIS_DEVIATION * (2.0 / BASIS_TAU_SECS).sqrt() * bases.normal();
        }
        let premium = path.premium + self.basis;
        self.marked_premium += (premium - self.marked_premium) / MARK_TAU_SECS;
        self.price = path.index() * (1.0 + premium);
        self.trend += path.step - self.trend / TREND_SECS;
        self.meter.second(now, premium);
    }

    /// Draws the second's liquidations and the times of its prints, in order.
    fn happen(&mut self, now: i64, market: usize, path: &Path) {
        let activity = MARKET[market].activity;
        let burst = path.current.map(|b| &path.bursts[b]);
        let share = path.burst_share(now);
        let z = self.trend / (path.step_sigma * (TREND_SECS / 2.0).sqrt());
        self.happenings.clear();
        for (side, hawkes) in self.sides.iter_mut().enumerate() {
            let long = side == 0;
            let adverse = (if long { -0.5 } else { 0.5 } * z).clamp(-1.5, 1.5);
            let coupling = (activity * (adverse + 3.0 * path.log_interest).exp()).clamp(0.2, 4.0);
            let cascade = burst.filter(|b| (b.side == dataflows::model::PositionSide::Long) == long).map(events);
            let fed = cascade.map_or(0.0, |count| count * (1.0 - self.branching) * share);
            let mean = cascade.zip(burst).map_or(0.0, |(count, b)| b.expected_usd / count);
            hawkes.second([self.immigrants * coupling, fed], |at, of_cascade| {
                let size = self.sizes.lognormal(LIQUIDATION_SIGMA);
                let usd = if of_cascade { mean * size } else { (self.liquidation_usd * size).min(LIQUIDATION_USD_MAX) };
                self.happenings.push((at, Happening::Liquidation { long, usd, of_cascade }));
            });
        }
        let agitated = if path.own.state == 1 { 1.5 } else { 1.0 };
        let rate = self.trade_rate * activity * agitated * if share > 0.0 { 4.0 } else { 1.0 };
        let mut at = self.due / rate;
        while at < 1.0 {
            self.happenings.push((at, Happening::Trade));
            self.due = self.trades.exponential();
            at += self.due / rate;
        }
        self.due = (at - 1.0) * rate;
        self.happenings.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// Prints what has happened.
    fn print(&mut self, now: i64, before: f64, path: &Path, listing: &Listing, arrivals: &mut Arrivals) {
        let lean = 0.5 + 0.3 * (path.step / path.step_sigma).clamp(-1.5, 1.5) / 1.5;
        let scale = listing.ticks_per_unit();
        self.forced.clear();
        for &(at, happening) in &self.happenings {
            let price = before + (self.price - before) * at;
            let ts = now * 1_000 + ((at * 1_000.0) as i64).min(999);
            let (taker_buy, usd, slip) = match happening {
                Happening::Trade => (self.trades.unit() <= lean, listing.trade_usd * self.trades.lognormal(TRADE_SIGMA), 0.0),
                Happening::Liquidation { long, usd, .. } => (!long, usd, self.sizes.between(0.0, 2e-4)),
            };
            let ticks = if taker_buy { (price * (1.0 + slip) * scale).ceil() } else { (price * (1.0 - slip) * scale).floor() };
            let ticks = (ticks as i64).max(1);
            let steps = listing.steps_for(usd, price);
            // One fill in most cases; each further one half as likely.
            let fills = (1 + (self.trades.bits() | 1 << 5).trailing_zeros()).min(steps.min(6) as u32);
            let print = Print { ts, ticks, steps, taker_buy, fills };
            let ids = self.tape.print(&print);
            self.feed.trade(arrivals, &print, ids);
            if let Happening::Liquidation { long, of_cascade, .. } = happening {
                self.forced.push(Forced { ts, long, ticks, steps, of_cascade });
            }
        }
    }
}

/// How many liquidations a cascade is expected to have on each venue.
fn events(burst: &PlannedBurst) -> f64 {
    (burst.expected_usd / 4_000.0).clamp(25.0, 400.0)
}
