//! What the store holds after the demo, against the truth.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::simulate::Truth;
use crate::store::Store;

/// A cascade may be seen so long before or after the truth's crossing and still be the same: bursts of seconds in a row.
const SLACK_MS: i64 = 1_000;

/// The demo's findings.
#[derive(Debug, Default, Serialize)]
pub(super) struct Found {
    pub bars: u64,
    pub klines_agreeing: u64,
    pub klines_disagreeing: u64,
    pub liquidations: u64,
    pub liquidation_windows: u64,
    /// Simulated cascades whose shown liquidations crossed the 5m threshold, one a venue.
    pub cascades_simulated: usize,
    /// Of those, how many have a row.
    pub cascades_found: usize,
    /// Rows of the 5m window.
    pub cascades_5m: usize,
    /// Of those, how many are simulated ones.
    pub cascades_true: usize,
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
    pub async fn read(store: &Store, truth: &Truth) -> anyhow::Result<Self> {
        let count = async |sql: &str| -> anyhow::Result<u64> {
            store.client().query(sql).fetch_one::<u64>().await.with_context(|| format!("asking the store: {sql}"))
        };
        let mut found = Self {
            bars: count("SELECT count() FROM bars").await?,
            klines_agreeing: count("SELECT countIf(agrees = 1) FROM kline_checks").await?,
            klines_disagreeing: count("SELECT countIf(agrees = 0) FROM kline_checks").await?,
            liquidations: count("SELECT count() FROM liquidations").await?,
            liquidation_windows: count("SELECT count() FROM liquidation_windows").await?,
            regimes: regimes(store).await?,
            ..Self::default()
        };
        found.compare(&cascades(store).await?, truth);
        Ok(found)
    }

    /// A simulated cascade is found if a row of its venue and symbol was active when its own liquidations crossed the threshold.
    fn compare(&mut self, rows: &[CascadeRow], truth: &Truth) {
        let bursts = truth.bursts.iter().flat_map(|burst| burst.venues.iter().map(move |at| (burst, at)));
        let crossed: Vec<_> = bursts.filter_map(|(burst, at)| Some((burst, at, at.crossed_5m_ts?))).collect();
        let holds = |row: &CascadeRow, venue: &str, symbol: &str, ts: i64| {
            row.venue == venue && row.symbol == symbol && row.onset - SLACK_MS <= ts && ts <= row.until + SLACK_MS
        };
        self.cascades_simulated = crossed.len();
        self.cascades_found = crossed
            .iter()
            .filter(|(burst, at, ts)| rows.iter().any(|row| holds(row, at.venue.as_str(), &burst.symbol, *ts)))
            .count();
        self.cascades_5m = rows.len();
        self.cascades_true = rows
            .iter()
            .filter(|row| crossed.iter().any(|(burst, at, ts)| holds(row, at.venue.as_str(), &burst.symbol, *ts)))
            .count();
    }
}

async fn cascades(store: &Store) -> anyhow::Result<Vec<CascadeRow>> {
    let sql = "SELECT toString(venue) AS venue, toString(symbol) AS symbol, toUnixTimestamp64Milli(onset) AS onset, \
               toUnixTimestamp64Milli(last_active) AS until FROM cascades WHERE window = '5m'";
    store.client().query(sql).fetch_all().await.context("reading the cascades")
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
