//! The truth: what the simulated market was really doing, for tests and tables that ask how much of it was found.
//!
//! A truth file is JSON lines, each an object with a `kind`: one `header`, then `regime` (a symbol's state from one minute to
//! another), `burst` (a liquidation cascade, or a decoy that must not be taken for one) and `funding_episode`. Times are
//! event times, UTC ms; an interval holds its beginning and not its end.

use std::io::{self, BufRead, Write};

use dataflows::model::{PositionSide, Venue};
use serde::{Deserialize, Serialize};

use super::Settings;

/// All that is known about a simulated market.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// How it was made.
    pub settings: Settings,
    /// By symbol, then time. A symbol's runs follow each other without a gap.
    pub regimes: Vec<RegimeRun>,
    /// By symbol, then time.
    pub bursts: Vec<Burst>,
    /// By symbol, then time.
    pub funding_episodes: Vec<FundingEpisode>,
}

/// Minutes in a row that a symbol spent in one state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegimeRun {
    /// `BTC-USDT-PERP`.
    pub symbol: String,
    /// First minute's opening.
    pub from_ts: i64,
    /// Last minute's end.
    pub to_ts: i64,
    /// The market's state (0 calm, 1 normal, 2 turbulent) plus 3 if the symbol is agitated of its own.
    pub state: usize,
    /// The state's name.
    pub name: String,
    /// Deviation of the index price's log return per day, cascades aside.
    pub sigma_per_day: f64,
}

/// A cascade of liquidations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// `BTC-USDT-PERP`.
    pub symbol: String,
    /// The side of the positions that are closed.
    pub side: PositionSide,
    /// When it begins.
    pub onset_ts: i64,
    /// When nothing new is fed in; what it excited dies away within the next minutes.
    pub end_ts: i64,
    /// Expected liquidated notional on each venue, sampling aside.
    pub expected_notional_usd: f64,
    /// Too small to be a cascade by the absolute thresholds.
    pub decoy: bool,
    /// Several symbols had theirs within seconds.
    pub market_wide: bool,
    /// By how much it pushes the index price, as a log return (some 30 % of it comes back within half an hour).
    pub log_price_move: f64,
    /// The share of open interest that it closes.
    pub open_interest_drop: f64,
    /// What it came to, by venue.
    pub venues: Vec<BurstAtVenue>,
}

/// What a cascade came to on one venue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurstAtVenue {
    /// Where.
    pub venue: Venue,
    /// Notional of the cascade's own liquidations, shown or not.
    pub liquidated_notional_usd: f64,
    /// Notional of all liquidations that the feed showed for the symbol from the onset to five minutes after the cascade's last event.
    pub realised_notional_usd: f64,
    /// How many the feed showed in that time.
    pub realised_count: u64,
    /// The largest total of what the feed showed in 300 whole event seconds up to one of that time.
    pub peak_5m_notional_usd: f64,
    /// The first event second of that time at which that total exceeded 250,000 USD.
    pub crossed_5m_ts: Option<i64>,
    /// When the frame arrived that made it exceed, ns since the epoch.
    pub crossed_5m_recv_ns: Option<i64>,
    /// The cascade's last own liquidation.
    pub last_event_ts: Option<i64>,
}

/// Hours of extreme premium.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FundingEpisode {
    /// `BTC-USDT-PERP`.
    pub symbol: String,
    /// When the premium begins to move (by a half in 14 minutes).
    pub from_ts: i64,
    /// When it begins to come back.
    pub to_ts: i64,
    /// The rate per 8 h that its premium would settle at.
    pub rate_8h: f64,
    /// When the predicted rate that follows from its premium alone, noise aside, is first 1.5 bp per 8 h off the usual one.
    pub felt_from_ts: Option<i64>,
    /// When it is so for the last time: the premium comes back slowly, and a rate remembers it until it is settled.
    pub felt_to_ts: Option<i64>,
}

impl Burst {
    /// The part of its push on the index price that falls into [`from_ts`, `to_ts`), as a log return.
    #[must_use]
    pub fn pushed(&self, from_ts: i64, to_ts: i64) -> f64 {
        // Front-loaded: after a share x of its time, 1 − (1 − x)² of it has come.
        let length = (self.end_ts - self.onset_ts).max(1) as f64;
        let come = |ts: i64| 1.0 - (1.0 - ((ts - self.onset_ts) as f64 / length).clamp(0.0, 1.0)).powi(2);
        self.log_price_move * (come(to_ts) - come(from_ts))
    }
}

/// Cuts a number to so many decimals: what is written is then read back exactly, whatever the JSON reader.
pub(super) fn rounded(x: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (x * scale).round() / scale
}

/// A line of a truth file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Header { version: u32, settings: Settings },
    Regime(RegimeRun),
    Burst(Burst),
    FundingEpisode(FundingEpisode),
}

/// Why a truth file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The file itself.
    #[error("reading the truth file: {0}")]
    Io(#[from] io::Error),
    /// A line.
    #[error("reading the truth file: line {line} is not understood ({source}); make it anew with `regimeflow simulate`")]
    Line {
        /// From 1.
        line: usize,
        /// What the JSON reader says.
        source: serde_json::Error,
    },
    /// The first line is something else.
    #[error("reading the truth file: the first line is no header; is it a truth file?")]
    NoHeader,
}

impl Truth {
    /// Writes it as JSON lines.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let header = Line::Header { version: 2, settings: self.settings.clone() };
        let regimes = self.regimes.iter().cloned().map(Line::Regime);
        let bursts = self.bursts.iter().cloned().map(Line::Burst);
        let episodes = self.funding_episodes.iter().cloned().map(Line::FundingEpisode);
        for line in std::iter::once(header).chain(regimes).chain(bursts).chain(episodes) {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Reads what [`Truth::write`] wrote.
    ///
    /// # Errors
    /// [`TruthError`] with the line's number.
    pub fn read(input: impl BufRead) -> Result<Self, TruthError> {
        let mut truth: Option<Self> = None;
        for (number, text) in input.lines().enumerate() {
            let text = text?;
            let line = serde_json::from_str(&text).map_err(|source| TruthError::Line { line: number + 1, source })?;
            match (line, &mut truth) {
                (Line::Header { settings, .. }, _) => {
                    truth = Some(Self { settings, regimes: Vec::new(), bursts: Vec::new(), funding_episodes: Vec::new() });
                }
                (_, None) => return Err(TruthError::NoHeader),
                (Line::Regime(run), Some(truth)) => truth.regimes.push(run),
                (Line::Burst(burst), Some(truth)) => truth.bursts.push(burst),
                (Line::FundingEpisode(episode), Some(truth)) => truth.funding_episodes.push(episode),
            }
        }
        truth.ok_or(TruthError::NoHeader)
    }

    /// Cascades that the absolute 5m threshold should find on a venue: those whose printed total crossed it.
    pub fn findable(&self, venue: Venue) -> impl Iterator<Item = (&Burst, &BurstAtVenue)> {
        self.bursts.iter().flat_map(move |burst| {
            burst.venues.iter().filter(move |at| at.venue == venue && at.crossed_5m_ts.is_some()).map(move |at| (burst, at))
        })
    }
}
