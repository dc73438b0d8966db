//! What the store holds after the demo, against the truth.

use anyhow::Context;
use dataflows::config::Cascades;
use dataflows::model::{InstrumentId, Venue, Window};
use serde::{Deserialize, Serialize};

use crate::evaluate::cascades::{needed_usd, planted};
use crate::evaluate::episodes::{Matches, Stretch, compare};
use crate::simulate::Truth;
use crate::store::Store;

/// The demo's findings.
#[derive(Debug, Default, Serialize)]
pub(super) struct Found {
    pub bars: u64,
    pub klines_agreeing: u64,
    pub klines_disagreeing: u64,
    pub liquidations: u64,
    pub liquidation_windows: u64,
    /// Simulated cascades against rows of the 5m window, as `evaluate` counts them.
    pub cascades: Matches,
    pub regimes: Vec<Regimes>,
}

/// A symbol's volatility regimes on one venue.
#[derive(Debug, Serialize)]
pub(super) struct Regimes {
    pub symbol: String,
    pub changes: u64,
    pub shares: String,
}

#[derive(Debug, Deserialize, clickhouse::Row)]
struct CascadeRow {
    venue: String,
    symbol: String,
    onset: i64,
    until: i64,
}

#[derive(Debug, Deserialize, clickhouse::Row)]
struct RegimeRow {
    symbol: String,
    changes: u64,
    shares: Vec<(String, f64)>,
}

impl Found {
    pub async fn read(store: &Store, truth: &Truth, config: &Cascades) -> anyhow::Result<Self> {
        let count = async |sql: &str| -> anyhow::Result<u64> {
            store.client().query(sql).fetch_one::<u64>().await.with_context(|| format!("asking the store: {sql}"))
        };
        let planted = planted(truth, needed_usd(Window::M5, config));
        Ok(Self {
            bars: count("SELECT count() FROM bars").await?,
            klines_agreeing: count("SELECT countIf(agrees = 1) FROM kline_checks").await?,
            klines_disagreeing: count("SELECT countIf(agrees = 0) FROM kline_checks").await?,
            liquidations: count("SELECT count() FROM liquidations").await?,
            liquidation_windows: count("SELECT count() FROM liquidation_windows").await?,
            cascades: compare(&planted, &cascades(store).await?),
            regimes: regimes(store).await?,
        })
    }
}

async fn cascades(store: &Store) -> anyhow::Result<Vec<Stretch>> {
    let sql = "SELECT toString(venue) AS venue, toString(symbol) AS symbol, toUnixTimestamp64Milli(onset) AS onset, \
               toUnixTimestamp64Milli(last_active) AS until FROM cascades WHERE window = '5m'";
    let rows: Vec<CascadeRow> = store.client().query(sql).fetch_all().await.context("reading the cascades")?;
    let stretch = |row: CascadeRow| {
        let instrument = InstrumentId::of(Venue::from_name(row.venue.as_bytes())?, &row.symbol);
        Some(Stretch { instrument, from_ts: row.onset, to_ts: row.until })
    };
    Ok(rows.into_iter().filter_map(stretch).collect())
}

async fn regimes(store: &Store) -> anyhow::Result<Vec<Regimes>> {
    let sql = "SELECT concat(toString(symbol), ' ', toString(venue)) AS symbol, \
                 toUInt64(countIf(regime != before AND before != '')) AS changes, \
                 arraySort(groupUniqArray((toString(regime), share))) AS shares FROM ( \
               SELECT venue, symbol, regime, \
                 lagInFrame(toString(regime)) OVER (PARTITION BY venue, symbol ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS before, \
                 count() OVER (PARTITION BY venue, symbol, regime) / count() OVER (PARTITION BY venue, symbol) AS share \
               FROM volatility WHERE regime != '') GROUP BY symbol, venue ORDER BY symbol";
    let rows: Vec<RegimeRow> = store.client().query(sql).fetch_all().await.context("reading the regimes")?;
    let words = |shares: &[(String, f64)]| {
        shares.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect::<Vec<_>>().join(", ")
    };
    Ok(rows.into_iter().map(|row| Regimes { shares: words(&row.shares), symbol: row.symbol, changes: row.changes }).collect())
}
