//! The market: all symbols and venues, one second at a time.

use std::io;

use super::arrivals::{Arrivals, Frame};
use super::chance::Chance;
use super::desk::Desk;
use super::funding;
use super::listing::Listing;
use super::path::Path;
use super::regimes::{self, MARKET, MarketChain};
use super::schedule;
use super::truth::{Burst, BurstAtVenue, FundingEpisode, RegimeRun, Truth, rounded};
use super::{Settings, SettingsError};

/// A running simulation.
#[derive(Debug)]
pub struct Simulation {
    settings: Settings,
    now: i64,
    chain: MarketChain,
    factor: Chance,
    symbols: Vec<Symbol>,
    arrivals: Arrivals,
}

#[derive(Debug)]
struct Symbol {
    listing: Listing,
    path: Path,
    desks: Vec<Desk>,
    runs: Vec<RegimeRun>,
}

impl Simulation {
    /// A market about to open.
    ///
    /// # Errors
    /// A setting outside its limits.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let shared = schedule::market_wide(&settings);
        let symbols = Listing::first(settings.symbols, settings.seed).into_iter().map(|listing| {
            let path = Path::new(&settings, &listing, &shared);
            let desks = settings.venues.iter().map(|&venue| Desk::new(&settings, venue, &listing, &path)).collect();
            Symbol { listing, path, desks, runs: Vec::new() }
        });
        Ok(Self {
            now: settings.first_second(),
            chain: MarketChain::new(settings.seed),
            factor: Chance::new(settings.seed, "market", "returns"),
            symbols: symbols.collect(),
            arrivals: Arrivals::default(),
            settings,
        })
    }

    /// One second. Hands over what has arrived by its end, in order of arrival. `false`: it is over, nothing is left.
    ///
    /// # Errors
    /// The sink's.
    pub fn second(&mut self, sink: &mut impl FnMut(Frame<'_>) -> io::Result<()>) -> io::Result<bool> {
        if self.now >= self.settings.end_second() {
            self.arrivals.release(i64::MAX, sink)?;
            return Ok(false);
        }
        if self.now % 60 == 0 {
            self.minute();
        }
        let state = &MARKET[self.chain.state];
        let factor = state.drift_day / 86_400.0 + state.sigma_day / 86_400f64.sqrt() * self.factor.student5();
        for symbol in &mut self.symbols {
            symbol.path.advance(self.now, factor, self.chain.state);
            for desk in &mut symbol.desks {
                desk.second(self.now, self.chain.state, &symbol.path, &symbol.listing, &self.settings, &mut self.arrivals);
            }
        }
        self.now += 1;
        self.arrivals.release(self.now * 1_000_000_000, sink)?;
        Ok(true)
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The sink's.
    pub fn run(mut self, sink: &mut impl FnMut(Frame<'_>) -> io::Result<()>) -> io::Result<Truth> {
        while self.second(sink)? {}
        Ok(self.truth())
    }

    /// What has been simulated so far, UTC ms.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now * 1_000
    }

    /// The chains step, and the truth notes where they are.
    fn minute(&mut self) {
        if self.now > self.settings.first_second() {
            self.chain.step();
        }
        let from_ts = self.now * 1_000;
        for symbol in &mut self.symbols {
            if self.now > self.settings.first_second() {
                symbol.path.own.step();
            }
            let (market, own) = (self.chain.state, symbol.path.own.state);
            let state = market + 3 * own;
            match symbol.runs.last_mut() {
                Some(run) if run.state == state => run.to_ts = from_ts + 60_000,
                _ => symbol.runs.push(RegimeRun {
                    symbol: symbol.listing.canonical(),
                    from_ts,
                    to_ts: from_ts + 60_000,
                    state,
                    name: regimes::NAMES[state].to_owned(),
                    sigma_per_day: rounded(regimes::sigma_day(market, own, symbol.listing.beta, symbol.listing.idiosyncratic), 9),
                }),
            }
        }
    }

    /// What was really going on. Complete once [`Simulation::second`] has said `false`.
    #[must_use]
    pub fn truth(&self) -> Truth {
        let mut truth =
            Truth { settings: self.settings.clone(), regimes: Vec::new(), bursts: Vec::new(), funding_episodes: Vec::new() };
        for symbol in &self.symbols {
            truth.regimes.extend(symbol.runs.iter().cloned());
            truth.bursts.extend(symbol.path.bursts.iter().enumerate().map(|(number, burst)| Burst {
                symbol: symbol.listing.canonical(),
                side: burst.side,
                onset_ts: burst.onset * 1_000,
                end_ts: burst.end() * 1_000,
                expected_notional_usd: rounded(burst.expected_usd, 2),
                decoy: burst.decoy,
                market_wide: burst.market_wide,
                log_price_move: rounded(burst.log_move, 9),
                open_interest_drop: rounded(burst.interest_cut, 9),
                venues: symbol.desks.iter().map(|desk| to_cents(&desk.tally.bursts[number])).collect(),
            }));
            truth.funding_episodes.extend(symbol.path.episodes.iter().map(|episode| {
                let felt = funding::felt(episode);
                FundingEpisode {
                    symbol: symbol.listing.canonical(),
                    from_ts: episode.from * 1_000,
                    to_ts: episode.to * 1_000,
                    rate_8h: rounded(funding::rate(episode.premium), 9),
                    felt_from_ts: felt.map(|(from, _)| from * 1_000),
                    felt_to_ts: felt.map(|(_, to)| to * 1_000),
                }
            }));
        }
        truth
    }
}

fn to_cents(at: &BurstAtVenue) -> BurstAtVenue {
    BurstAtVenue {
        liquidated_notional_usd: rounded(at.liquidated_notional_usd, 2),
        realised_notional_usd: rounded(at.realised_notional_usd, 2),
        peak_5m_notional_usd: rounded(at.peak_5m_notional_usd, 2),
        ..at.clone()
    }
}
