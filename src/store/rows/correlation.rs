//! Rows about symbols across venues: they name up to two symbols and no venue.

use std::borrow::Cow;

use clickhouse::Row;
use dataflows::model::{Beta, Correlation, CorrelationBreak, InstrumentId, MarketMode};
use serde::Serialize;

use super::{Change, Names, Stored, consolidate, real};

/// As `stored!`, for rows whose names are columns like the others.
macro_rules! stored_across {
    ($row:ty => $stored:ident in $table:literal, |$self:ident, $names:ident| of [$($i:expr),+] => { $($field:ident: $kind:ty = $value:expr,)* }) => {
        #[derive(Row, Serialize)]
        pub(crate) struct $stored<'a> {
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
            fn instruments(&self) -> impl Iterator<Item = InstrumentId> {
                let $self = self;
                [$($i),+].into_iter()
            }
            #[allow(unused_variables)] // a row that names nobody asks for no name
            fn stored<'a>(&'a self, known_at: i64, diff: i8, $names: &'a Names) -> Option<$stored<'a>> {
                let $self = self;
                Some($stored { $($field: $value,)* known_at, diff })
            }
        }
    };
}

fn symbol(names: &Names, id: InstrumentId) -> Option<&str> {
    names.get(&id).map(|instrument| instrument.symbol.as_str())
}

stored_across!(Correlation => StoredCorrelation in "correlations_changes", |row, names| of [row.symbol_a, row.symbol_b] => {
    symbol_a: &'a str = symbol(names, row.symbol_a)?,
    symbol_b: &'a str = symbol(names, row.symbol_b)?,
    horizon: Cow<'a, str> = row.horizon.to_string().into(),
    ts: i64 = row.ts,
    r: f64 = row.r.0,
    ewma_r: f64 = row.ewma_r.0,
    baseline_mean: Option<f64> = real(row.baseline.map(|b| b.mean)),
    baseline_sd: Option<f64> = real(row.baseline.map(|b| b.sd)),
    fisher_z: f64 = row.fisher_z.0,
    delta_z: Option<f64> = real(row.baseline.map(|b| b.delta_z)),
    bars: u32 = row.bars,
});

stored_across!(MarketMode => StoredMarketMode in "market_mode_changes", |row, names| of [row.market] => {
    horizon: Cow<'a, str> = row.horizon.to_string().into(),
    ts: i64 = row.ts,
    absorption_ratio: f64 = row.absorption_ratio.0,
    change_24h: Option<f64> = real(row.change_24h),
    symbols: u32 = row.symbols,
});

stored_across!(Beta => StoredBeta in "betas_changes", |row, names| of [row.instrument] => {
    symbol: &'a str = symbol(names, row.instrument)?,
    horizon: Cow<'a, str> = row.horizon.to_string().into(),
    ts: i64 = row.ts,
    beta: f64 = row.beta.0,
    residual_volatility: f64 = row.residual_volatility.0,
    r2: f64 = row.r2.0,
    bars: u32 = row.bars,
});

stored_across!(CorrelationBreak => StoredCorrelationBreak in "correlation_breaks_changes", |row, names| of [row.symbol_a, row.symbol_b] => {
    symbol_a: &'a str = symbol(names, row.symbol_a)?,
    symbol_b: &'a str = symbol(names, row.symbol_b)?,
    horizon: Cow<'a, str> = row.horizon.to_string().into(),
    onset: i64 = row.onset,
    ended_at: Option<i64> = row.ended_at,
    return_correlation: f64 = row.return_correlation.0,
    divergence_strength: f64 = row.divergence_strength.0,
    signal: &'static str = if row.is_pair_trade { "POTENTIAL_PAIR_TRADE" } else { "" },
    baseline_mean: Option<f64> = real(row.baseline.map(|b| b.mean)),
    baseline_sd: Option<f64> = real(row.baseline.map(|b| b.sd)),
    delta_z: Option<f64> = real(row.baseline.map(|b| b.delta_z)),
});
