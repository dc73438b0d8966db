//! View rows: what the program says. A view changes by `(row, known_at, ±1)`.

mod features;
mod regimes;

pub use features::{FEATURES, FEATURES_OF_BARS, Features};
pub use regimes::*;
mod liquidations;
mod zones;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Coverage, InstrumentId, PositionSide, PriceKind, Timeframe, Venue, Window};
use crate::fixed::{Notional, Price, Quantity};

mod funding;
mod open_interest;

pub use funding::*;
pub use open_interest::*;

pub use liquidations::{LiquidationRatio, MarketCascade, SelfExcitation};
pub use zones::{SupportZone, ZoneTouch};

mod correlation;
mod lead_lag;

pub use correlation::{Baseline, Beta, Correlation, CorrelationBreak, Horizon, MarketMode};
pub use lead_lag::{LeadLag, LeadScore, Leader};

/// One change of a view: the row, the time at which it became known (UTC ms), +1 or −1.
pub type Change<R> = (R, u64, isize);

/// A finite `f64` with a total order, so that rows can be compared, sorted and cancelled.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Real {}
impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl std::hash::Hash for Real {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// View `bars`. Key: instrument, timeframe, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bar {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Its length.
    pub timeframe: Timeframe,
    /// Opening time, UTC ms.
    pub ts: i64,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Base units traded.
    pub volume: Quantity,
    /// Quote units traded.
    pub notional: Notional,
    /// Base units in which the aggressor bought.
    pub taker_buy_volume: Quantity,
    /// Number of fills.
    pub trades: u64,
}

/// View `liquidations`. Key: instrument, ts, position_side, price, qty, seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LiquidationRow {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Event time, UTC ms.
    pub ts: i64,
    /// Whose position was closed.
    pub position_side: PositionSide,
    /// In quote units.
    pub price: Price,
    /// In base units.
    pub qty: Quantity,
    /// The n-th of otherwise equal events, from 0.
    pub seq: u32,
    /// What `price` means.
    pub price_kind: PriceKind,
    /// price × qty.
    pub notional: Notional,
    /// How complete the feed is.
    pub coverage: Coverage,
}

/// View `liquidation_windows`: trailing sums over (ts − window, ts]. Key: instrument, window, ts. Absent where all is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LiquidationWindow {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Its length.
    pub window: Window,
    /// Its end, a full minute, UTC ms.
    pub ts: i64,
    /// Longs closed, quote units.
    pub long_notional: Notional,
    /// Shorts closed, quote units.
    pub short_notional: Notional,
    /// Number of events.
    pub count: u64,
    /// The largest event, quote units.
    pub largest: Notional,
    /// How complete the feed is, of its events the least.
    pub coverage: Coverage,
}

/// Which side bears a cascade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SideBias {
    Long,
    Short,
    Balanced,
}

impl SideBias {
    /// The side with at least `share_min` of the notional.
    #[must_use]
    pub fn of(long: Notional, short: Notional, share_min: f64) -> Self {
        let total = (long + short).to_f64();
        match () {
            () if long.to_f64() / total >= share_min => Self::Long,
            () if short.to_f64() / total >= share_min => Self::Short,
            () => Self::Balanced,
        }
    }
}

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// Where a cascade's critical velocity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CriticalFrom {
    /// The configuration.
    Absolute,
    /// The quantile of the symbol's own past, which was more.
    Adaptive,
}

impl CriticalFrom {
    /// As SQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Adaptive => "adaptive",
        }
    }
}

/// View `cascades`: the life of a liquidation cascade as one row. Key: cascade_id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cascade {
    /// Stable: a hash of instrument, window and onset.
    pub cascade_id: u64,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The window whose velocity crossed.
    pub window: Window,
    /// The event second at which it crossed, UTC ms.
    pub onset: i64,
    /// The last second at which the 5m velocity was at least the window's critical velocity, UTC ms.
    pub last_active: i64,
    /// Set once it is over, UTC ms.
    pub ended_at: Option<i64>,
    /// Long + short.
    pub total: Notional,
    /// Longs closed from (onset − window) to last_active.
    pub long_notional: Notional,
    /// Shorts closed from (onset − window) to last_active.
    pub short_notional: Notional,
    /// Events from (onset − window) to last_active.
    pub count: u64,
    /// The window's notional at the last event second of its life; × 1 h / window = velocity in USD per hour.
    pub window_notional: Notional,
    /// The largest `window_notional` of its life.
    pub peak_window_notional: Notional,
    /// What the velocity had to exceed when it began, quote units per hour. It holds for the cascade's whole life.
    pub critical_per_hour: Notional,
    /// Which rule set it.
    pub critical_from: CriticalFrom,
    /// peak velocity / critical velocity.
    pub severity: Real,
    /// WARNING below 1.5, CRITICAL from 1.5.
    pub severity_label: Severity,
    /// Which side bears it.
    pub side_bias: SideBias,
    /// From the last price at onset to the extreme of its life, basis points, signed. `None` without trades.
    pub price_move_bps: Option<Real>,
    /// Of the side with the larger notional, as fitted at the last full hour before the onset. `None`: too few events.
    pub branching_ratio: Option<Real>,
    /// That side begot its own liquidations at the onset: a branching ratio of at least 0.8, and an intensity of more than five times
    /// its usual one.
    pub self_feeding: bool,
    /// How complete the feed is, of its events the least.
    pub coverage: Coverage,
}

impl Cascade {
    /// USD per hour of a window's notional.
    #[must_use]
    pub fn velocity(&self, notional: Notional) -> f64 {
        notional.to_f64() * 3_600.0 / self.window.secs() as f64
    }
}

/// A day's volatility, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum VolatilityRegime {
    Stable,
    HighVol,
    Explosive,
    Extreme,
}

impl VolatilityRegime {
    /// As SQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "STABLE",
            Self::HighVol => "HIGH_VOL",
            Self::Explosive => "EXPLOSIVE",
            Self::Extreme => "EXTREME",
        }
    }

    /// By how much to scale risk.
    #[must_use]
    pub const fn risk_multiplier(self) -> f64 {
        match self {
            Self::Stable => 0.7,
            Self::HighVol => 1.2,
            Self::Explosive => 1.8,
            Self::Extreme => 2.5,
        }
    }
}

/// The range estimators over one window, all per day, as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Estimators {
    /// From 1m returns, uncentred.
    pub close_to_close: Real,
    /// Parkinson (1980), 15m bars.
    pub parkinson: Option<Real>,
    /// Garman and Klass (1980), 15m bars.
    pub garman_klass: Option<Real>,
    /// Rogers and Satchell (1991), 15m bars.
    pub rogers_satchell: Option<Real>,
    /// Yang and Zhang (2000), 15m bars.
    pub yang_zhang: Option<Real>,
}

/// View `volatility`. Key: instrument, ts (the end of a closed minute, UTC ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Volatility {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The end of a closed minute, UTC ms.
    pub ts: i64,
    /// Over 24 h.
    pub day: Option<Estimators>,
    /// Over 1 h.
    pub hour: Option<Estimators>,
    /// EWMA of squared 1m returns, half-life 6 h, per day.
    pub ewma: Option<Real>,
    /// From max(close-to-close, Parkinson) over 24 h, with hysteresis.
    pub regime: Option<VolatilityRegime>,
    /// Share of the last 24 hours' minutes, those with a regime, that had this one.
    pub regime_share: Option<Real>,
    /// (max(close-to-close, Parkinson) over 24 h − its median over 90 days) / that median.
    pub reversion_potential: Option<Real>,
    /// Half-life of log daily variance by an AR(1) over 90 days.
    pub half_life_minutes: Option<Real>,
}

/// View `kline_checks`: a venue's closed bar that disagrees with our own. Key: instrument, timeframe, ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KlineCheck {
    /// Our bar.
    pub bar: Bar,
    /// The venue's open, high, low, close.
    pub kline_ohlc: [Price; 4],
    /// The venue's volume.
    pub kline_volume: Quantity,
    /// The venue's number of trades, where it says.
    pub kline_trades: Option<u64>,
    /// All compared fields are equal.
    pub agrees: bool,
}

/// View `late_events`: an event that came after its window had closed. Key: venue, stream, known_at, seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LateEvent {
    /// Whose event.
    pub venue: Venue,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Which kind: see [`super::Tick::stream`].
    pub stream: LateStream,
    /// Its event time, UTC ms.
    pub ts: i64,
    /// Counts events of one (venue, stream) inside one quantum, from 0.
    pub seq: u64,
    /// It came inside the correction horizon and was applied; otherwise it is only listed here.
    pub applied: bool,
}

/// The streams that can be late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum LateStream {
    Trades,
    Liquidations,
    Mark,
    Funding,
    OpenInterest,
    Klines,
}

/// View `volatility_regimes`: a stretch of one volatility regime that began with a change. Key: instrument, onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegimeSpell {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The end of the minute that changed it, UTC ms.
    pub onset: i64,
    /// When the next regime began, UTC ms; `None`: it lasts.
    pub ended_at: Option<i64>,
    /// The regime before.
    pub from: VolatilityRegime,
    /// The regime since.
    pub to: VolatilityRegime,
    /// The day's close-to-close volatility when it changed.
    pub close_to_close: Real,
    /// The day's Parkinson volatility when it changed.
    pub parkinson: Option<Real>,
}

/// Hands every view to a macro, as `name: Variant(Row),` each: its name in SQL and in [`crate::graph::Views`], its variant of
/// [`Changes`], its row. The one list of the views that the dataflow maintains.
#[macro_export]
macro_rules! for_each_view {
    ($with:ident) => {
        $with! {
            bars: Bars($crate::model::Bar),
            liquidations: Liquidations($crate::model::LiquidationRow),
            liquidation_windows: LiquidationWindows($crate::model::LiquidationWindow),
            cascades: Cascades($crate::model::Cascade),
            volatility: Volatility($crate::model::Volatility),
            funding: Funding($crate::model::FundingRow),
            open_interest: OpenInterest($crate::model::OpenInterestRow),
            kline_checks: KlineChecks($crate::model::KlineCheck),
            features: Features($crate::model::Features),
            regimes: Regimes($crate::model::Regime),
            candidate_regimes: CandidateRegimes($crate::model::CandidateRegime),
            window_regimes: WindowRegimes($crate::model::WindowRegime),
            confirmations: Confirmations($crate::model::Confirmation),
            drift: Drift($crate::model::Drift),
            regime_episodes: RegimeEpisodes($crate::model::RegimeEpisode),
            late_events: LateEvents($crate::model::LateEvent),
            volatility_regimes: VolatilityRegimes($crate::model::RegimeSpell),
            support_zones: SupportZones($crate::model::SupportZone),
            zone_touches: ZoneTouches($crate::model::ZoneTouch),
            funding_anomalies: FundingAnomalies($crate::model::FundingAnomaly),
            funding_spreads: FundingSpreads($crate::model::FundingSpread),
            open_interest_totals: OpenInterestTotals($crate::model::OpenInterestTotal),
            oi_shocks: OiShocks($crate::model::OiShock),
            basis: Basis($crate::model::BasisRow),
            self_excitation: SelfExcitation($crate::model::SelfExcitation),
            market_cascades: MarketCascades($crate::model::MarketCascade),
            correlations: Correlations($crate::model::Correlation),
            market_mode: MarketMode($crate::model::MarketMode),
            betas: Betas($crate::model::Beta),
            correlation_breaks: CorrelationBreaks($crate::model::CorrelationBreak),
            lead_lag: LeadLag($crate::model::LeadLag),
            lead_scores: LeadScores($crate::model::LeadScore),
            leaders: Leaders($crate::model::Leader),
            liquidation_ratios: LiquidationRatios($crate::model::LiquidationRatio),
        }
    };
}

macro_rules! changes {
    ($($view:ident: $kind:ident($row:ty),)*) => {
        /// Changes of one view, as they leave the dataflow. Inside one `known_at` they are consolidated before they are stored.
        #[derive(Clone, Debug)]
        #[allow(missing_docs)]
        pub enum Changes {
            $($kind(Vec<Change<$row>>),)*
        }

        impl Changes {
            /// The view's name, the number of changes, and by how many rows the view grows.
            #[must_use]
            pub fn size(&self) -> (&'static str, usize, isize) {
                match self { $(Self::$kind(rows) => (stringify!($view), rows.len(), rows.iter().map(|row| row.2).sum()),)* }
            }
        }
    };
}
for_each_view!(changes);
