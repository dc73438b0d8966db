//! Rows as ClickHouse stores them: one struct per `NAME_changes`, columns in the table's order and by its names.
//!
//! Every insert declares its columns' names and types (RowBinaryWithNamesAndTypes), and `insert` compares them with the table's
//! before, so a struct that disagrees with schemas/clickhouse fails at its first insert instead of storing nonsense.
//! Numbers become doubles here and only here, after all sums are done.

use std::sync::Arc;

use clickhouse::{Row, RowWrite};
use dataflows::model::{
    Bar, Cascade, Change, Coverage, Estimators, Features, Instrument, InstrumentId, Instruments, KlineCheck, LateEvent,
    LateStream, LiquidationRow, LiquidationWindow, PositionSide, PriceKind, Real, RegimeSpell, Severity, SideBias, Volatility,
};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::edge::{AlertRow, DeliveryRow, FeedGap, ModelRow, RejectedFrame};
use super::error::StoreError;

mod correlation;

/// The instruments of one batch.
pub(crate) type Names = FxHashMap<InstrumentId, Arc<Instrument>>;

/// The instruments that these rows name.
pub(crate) fn names<R: Stored>(changes: &[Change<R>], instruments: &Instruments) -> Result<Names, StoreError> {
    let mut names = Names::default();
    for id in changes.iter().flat_map(|(row, _, _)| row.instruments()) {
        if let std::collections::hash_map::Entry::Vacant(entry) = names.entry(id) {
            let unknown = StoreError::UnknownInstrument { table: R::TABLE, instrument: id.0 };
            entry.insert(instruments.get(id).ok_or(unknown)?);
        }
    }
    Ok(names)
}

/// A view row that can be stored.
pub(crate) trait Stored: Sized + Send + Sync + 'static {
    /// As ClickHouse gets it.
    type Stored: RowWrite + Send + Sync;
    /// Where to.
    const TABLE: &'static str;
    /// Sums equal changes and drops what cancels. Rows that are never taken back need none.
    fn consolidate(_changes: &mut Vec<Change<Self>>) {}
    /// Of which instrument, where it is of one.
    fn instrument(&self) -> Option<InstrumentId> {
        None
    }
    /// All instruments that it names.
    fn instruments(&self) -> impl Iterator<Item = InstrumentId> {
        self.instrument().into_iter()
    }
    /// `None` if `names` lacks the instrument.
    fn stored<'a>(&'a self, known_at: i64, diff: i8, names: &'a Names) -> Option<<Self::Stored as Row>::Value<'a>>;
}

/// Sorts by (known_at, row), sums the diffs of equal changes, drops zeros.
pub(crate) fn consolidate<R: Ord>(changes: &mut Vec<Change<R>>) {
    changes.sort_unstable_by(|(a, t, _), (b, u, _)| t.cmp(u).then_with(|| a.cmp(b)));
    changes.dedup_by(|later, kept| {
        let same = later.1 == kept.1 && later.0 == kept.0;
        if same {
            kept.2 += later.2;
        }
        same
    });
    changes.retain(|(_, _, diff)| *diff != 0);
}

macro_rules! stored {
    ($row:ty => $stored:ident in $table:literal, |$self:ident| $i:expr => { $($field:ident: $kind:ty = $value:expr,)* }) => {
        #[derive(Row, Serialize)]
        pub(crate) struct $stored<'a> {
            venue: &'a str,
            symbol: &'a str,
            $($field: $kind,)*
            known_at: i64,
            diff: i8,
        }

        impl Stored for $row {
            type Stored = $stored<'static>;
            const TABLE: &'static str = $table;
            fn consolidate(changes: &mut Vec<Change<Self>>) {
                consolidate(changes);
            }
            fn instrument(&self) -> Option<InstrumentId> {
                let $self = self;
                Some($i)
            }
            fn stored<'a>(&'a self, known_at: i64, diff: i8, names: &'a Names) -> Option<$stored<'a>> {
                let $self = self;
                let instrument = names.get(&$i)?;
                Some($stored {
                    venue: instrument.venue.as_str(),
                    symbol: &instrument.symbol,
                    $($field: $value,)*
                    known_at,
                    diff,
                })
            }
        }
    };
}

mod liquidations;

stored!(Bar => StoredBar in "bars_changes", |bar| bar.instrument => {
    timeframe: &'static str = bar.timeframe.as_str(),
    ts: i64 = bar.ts,
    open: f64 = bar.open.to_f64(),
    high: f64 = bar.high.to_f64(),
    low: f64 = bar.low.to_f64(),
    close: f64 = bar.close.to_f64(),
    volume: f64 = bar.volume.to_f64(),
    notional: f64 = bar.notional.to_f64(),
    vwap: Option<f64> = (bar.volume.0 != 0).then(|| bar.notional.to_f64() / bar.volume.to_f64()),
    taker_buy_volume: f64 = bar.taker_buy_volume.to_f64(),
    trades: u64 = bar.trades,
});

stored!(LiquidationRow => StoredLiquidation in "liquidations_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    position_side: &'static str = position_side(row.position_side),
    price: f64 = row.price.to_f64(),
    qty: f64 = row.qty.to_f64(),
    seq: u32 = row.seq,
    price_kind: &'static str = price_kind(row.price_kind),
    notional: f64 = row.notional.to_f64(),
    coverage: &'static str = coverage(row.coverage),
});

stored!(LiquidationWindow => StoredLiquidationWindow in "liquidation_windows_changes", |row| row.instrument => {
    window: &'static str = row.window.as_str(),
    ts: i64 = row.ts,
    long_notional: f64 = row.long_notional.to_f64(),
    short_notional: f64 = row.short_notional.to_f64(),
    count: u64 = row.count,
    largest: f64 = row.largest.to_f64(),
    coverage: &'static str = coverage(row.coverage),
});

stored!(Cascade => StoredCascade in "cascades_changes", |row| row.instrument => {
    cascade_id: String = format!("{:016x}", row.cascade_id),
    window: &'static str = row.window.as_str(),
    onset: i64 = row.onset,
    last_active: i64 = row.last_active,
    ended_at: Option<i64> = row.ended_at,
    total_liquidated_usd: f64 = row.total.to_f64(),
    velocity_usd_per_hour: f64 = row.velocity(row.window_notional),
    peak_velocity: f64 = row.velocity(row.peak_window_notional),
    critical_velocity: f64 = row.critical_per_hour.to_f64(),
    critical_from: &'static str = row.critical_from.as_str(),
    side_bias: &'static str = side_bias(row.side_bias),
    severity: f64 = row.severity.0,
    severity_label: &'static str = severity(row.severity_label),
    long_notional: f64 = row.long_notional.to_f64(),
    short_notional: f64 = row.short_notional.to_f64(),
    count: u64 = row.count,
    price_move_bps: Option<f64> = real(row.price_move_bps),
    branching_ratio: Option<f64> = real(row.branching_ratio),
    self_feeding: u8 = u8::from(row.self_feeding),
    coverage: &'static str = coverage(row.coverage),
});

stored!(Volatility => StoredVolatility in "volatility_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    close_to_close: Option<f64> = row.day.map(|e| e.close_to_close.0),
    parkinson: Option<f64> = estimate(row.day, |e| e.parkinson),
    garman_klass: Option<f64> = estimate(row.day, |e| e.garman_klass),
    rogers_satchell: Option<f64> = estimate(row.day, |e| e.rogers_satchell),
    yang_zhang: Option<f64> = estimate(row.day, |e| e.yang_zhang),
    close_to_close_1h: Option<f64> = row.hour.map(|e| e.close_to_close.0),
    parkinson_1h: Option<f64> = estimate(row.hour, |e| e.parkinson),
    garman_klass_1h: Option<f64> = estimate(row.hour, |e| e.garman_klass),
    rogers_satchell_1h: Option<f64> = estimate(row.hour, |e| e.rogers_satchell),
    yang_zhang_1h: Option<f64> = estimate(row.hour, |e| e.yang_zhang),
    ewma: Option<f64> = real(row.ewma),
    regime: &'static str = row.regime.map_or("", |r| r.as_str()),
    risk_multiplier: Option<f64> = row.regime.map(|r| r.risk_multiplier()),
    regime_share: Option<f64> = real(row.regime_share),
    reversion_potential: Option<f64> = real(row.reversion_potential),
    half_life_minutes: Option<f64> = real(row.half_life_minutes),
});

stored!(RegimeSpell => StoredRegimeSpell in "volatility_regimes_changes", |row| row.instrument => {
    onset: i64 = row.onset,
    ended_at: Option<i64> = row.ended_at,
    from: &'static str = row.from.as_str(),
    to: &'static str = row.to.as_str(),
    close_to_close: f64 = row.close_to_close.0,
    parkinson: Option<f64> = real(row.parkinson),
});

stored!(KlineCheck => StoredKlineCheck in "kline_checks_changes", |row| row.bar.instrument => {
    timeframe: &'static str = row.bar.timeframe.as_str(),
    ts: i64 = row.bar.ts,
    open: f64 = row.bar.open.to_f64(),
    high: f64 = row.bar.high.to_f64(),
    low: f64 = row.bar.low.to_f64(),
    close: f64 = row.bar.close.to_f64(),
    volume: f64 = row.bar.volume.to_f64(),
    trades: u64 = row.bar.trades,
    kline_open: f64 = row.kline_ohlc[0].to_f64(),
    kline_high: f64 = row.kline_ohlc[1].to_f64(),
    kline_low: f64 = row.kline_ohlc[2].to_f64(),
    kline_close: f64 = row.kline_ohlc[3].to_f64(),
    kline_volume: f64 = row.kline_volume.to_f64(),
    kline_trades: Option<u64> = row.kline_trades,
    agrees: u8 = u8::from(row.agrees),
});

stored!(LateEvent => StoredLateEvent in "late_events_changes", |row| row.instrument => {
    stream: &'static str = late_stream(row.stream),
    seq: u64 = row.seq,
    ts: i64 = row.ts,
    reason: &'static str = if row.applied { "late, applied as a correction" } else { "late, beyond the correction horizon" },
    payload: &'static str = "",
});

mod features;
mod funding;
mod open_interest;
mod regimes;
mod support_zones;

/// A row of the edge: it names its venue itself and brings its own `known_at`.
macro_rules! stored_edge {
    ($row:ty => $stored:ident in $table:literal, |$self:ident| { $($field:ident: $kind:ty = $value:expr,)* }) => {
        #[derive(Row, Serialize)]
        pub(crate) struct $stored<'a> {
            $($field: $kind,)*
            known_at: i64,
            diff: i8,
        }

        impl Stored for $row {
            type Stored = $stored<'static>;
            const TABLE: &'static str = $table;
            fn instrument(&self) -> Option<InstrumentId> {
                None
            }
            fn stored<'a>(&'a self, known_at: i64, diff: i8, _names: &'a Names) -> Option<$stored<'a>> {
                let $self = self;
                Some($stored { $($field: $value,)* known_at, diff })
            }
        }
    };
}

stored_edge!(RejectedFrame => StoredRejectedFrame in "rejected_frames_changes", |row| {
    venue: &'a str = &row.venue,
    stream: &'a str = &row.stream,
    seq: u64 = row.seq,
    ts: i64 = millis(row.known_at),
    reason: &'a str = &row.reason,
    payload: &'a str = excerpt(&row.payload),
});

stored_edge!(FeedGap => StoredFeedGap in "feed_gaps_changes", |row| {
    venue: &'a str = &row.venue,
    stream: &'a str = &row.stream,
    symbol: &'a str = &row.symbol,
    from_ts: i64 = row.from_ts,
    to_ts: Option<i64> = row.to_ts,
    recovered: &'a str = row.recovered.as_str(),
    cause: &'a str = &row.cause,
});

stored_edge!(AlertRow => StoredAlert in "alerts_changes", |row| {
    id: &'a str = &row.id,
    event_type: &'a str = &row.event_type,
    status: &'a str = &row.status,
    severity: &'a str = &row.severity,
    symbol: &'a str = &row.symbol,
    venue: &'a str = &row.venue,
    onset: i64 = row.onset,
    resolved_at: Option<i64> = row.resolved_at,
    title: &'a str = &row.title,
    description: &'a str = &row.description,
    data: &'a str = &row.data,
});

stored_edge!(ModelRow => StoredModel in "models_changes", |row| {
    name: &'a str = &row.standing.model,
    version: u32 = row.standing.version,
    symbol: &'a str = &row.standing.symbol,
    timeframe: &'a str = &row.standing.timeframe,
    status: &'a str = row.standing.status,
    active_from: Option<i64> = row.standing.active_from,
    trained_from: Option<i64> = row.standing.trained_from,
    trained_to: Option<i64> = row.standing.trained_to,
    bars: Option<u64> = row.standing.bars,
    states: u32 = row.standing.states,
    covariance: &'a str = &row.standing.covariance,
    emissions: &'a str = &row.standing.emissions,
    features: &'a [String] = &row.standing.features,
    labels: &'a [String] = &row.standing.labels,
    log_likelihood: Option<f64> = row.standing.log_likelihood,
    bic: Option<f64> = row.standing.bic,
    oos_log_likelihood_per_bar: Option<f64> = row.standing.oos_log_likelihood_per_bar,
    switches_per_year: Option<f64> = row.standing.switches_per_year,
});

stored_edge!(DeliveryRow => StoredDelivery in "deliveries_changes", |row| {
    alert_id: &'a str = &row.alert_id,
    channel: &'a str = &row.channel,
    attempt: u32 = row.attempt,
    sent_at: i64 = row.sent_at,
    result: &'a str = &row.result,
    http_status: u16 = row.http_status,
    latency_ms: f64 = row.latency_ms,
    reason: &'a str = &row.reason,
});

/// UTC ms as DateTime64(3) holds them.
pub(crate) fn millis(known_at: u64) -> i64 {
    i64::try_from(known_at).unwrap_or(i64::MAX)
}

fn excerpt(payload: &str) -> &str {
    &payload[..payload.floor_char_boundary(crate::frames::EXCERPT_BYTES_MAX)]
}

fn real(value: Option<Real>) -> Option<f64> {
    value.map(|v| v.0)
}

fn estimate(estimators: Option<Estimators>, which: impl Fn(&Estimators) -> Option<Real>) -> Option<f64> {
    estimators.as_ref().and_then(which).map(|v| v.0)
}

fn position_side(side: PositionSide) -> &'static str {
    match side {
        PositionSide::Long => "LONG",
        PositionSide::Short => "SHORT",
    }
}

fn side_bias(bias: SideBias) -> &'static str {
    match bias {
        SideBias::Long => "LONG",
        SideBias::Short => "SHORT",
        SideBias::Balanced => "BALANCED",
    }
}

fn severity(label: Severity) -> &'static str {
    match label {
        Severity::Info => "INFO",
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    }
}

fn price_kind(kind: PriceKind) -> &'static str {
    match kind {
        PriceKind::Fill => "fill",
        PriceKind::Bankruptcy => "bankruptcy",
        PriceKind::Order => "order",
    }
}

fn coverage(coverage: Coverage) -> &'static str {
    match coverage {
        Coverage::Full => "full",
        Coverage::Sampled1s => "sampled_1s",
        Coverage::Partial => "partial",
    }
}

fn late_stream(stream: LateStream) -> &'static str {
    match stream {
        LateStream::Trades => "trades",
        LateStream::Liquidations => "liquidations",
        LateStream::Mark => "mark",
        LateStream::Funding => "funding",
        LateStream::OpenInterest => "open_interest",
        LateStream::Klines => "klines",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &[(&'static str, u64, isize)], after: &[(&'static str, u64, isize)]) {
        let mut changes = before.to_vec();
        consolidate(&mut changes);
        assert_eq!(changes, after);
    }

    #[test]
    fn equal_changes_of_one_time_are_summed() {
        check(&[("a", 1, 1), ("b", 1, 1), ("a", 1, -1)], &[("b", 1, 1)]);
        check(&[("a", 2, -1), ("a", 1, 1)], &[("a", 1, 1), ("a", 2, -1)]);
        check(&[("a", 1, 1), ("b", 1, -1), ("a", 1, 1), ("a", 1, -1)], &[("a", 1, 1), ("b", 1, -1)]);
        check(&[], &[]);
    }
}
