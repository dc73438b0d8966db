//! Features out of the store's view, as they are true now. Only closed bars have them.

use clickhouse::Row;
use dataflows::model::{FEATURES, Timeframe};
use serde::Deserialize;

use super::Series;
use crate::store::StoreError;

/// What the store holds of one symbol and time frame, on the venue that has most of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Canonical symbol.
    pub symbol: String,
    /// Of which bars.
    pub timeframe: Timeframe,
    /// The venue with the most bars (of equal ones the first by name). A model speaks of all venues; its training sees one.
    pub venue: String,
    /// Bars with features, about: changes are counted, because summing them up for thousands of symbols takes long.
    pub bars: u64,
    /// The last bar's opening, UTC ms.
    pub to: i64,
}

#[derive(Row, Deserialize)]
struct Count {
    venue: String,
    symbol: String,
    timeframe: String,
    bars: u64,
    to: i64,
}

#[derive(Row, Deserialize)]
struct Line {
    ts: i64,
    log_return: Option<f64>,
    trend_24: Option<f64>,
    log_volatility_14: Option<f64>,
    rsi_14: Option<f64>,
    volatility_14: Option<f64>,
    volume_z_50: Option<f64>,
    adx_14: Option<f64>,
    taker_imbalance: Option<f64>,
    log_liquidated_long_usd: Option<f64>,
    log_liquidated_short_usd: Option<f64>,
    oi_change: Option<f64>,
    funding_z_score: Option<f64>,
}

/// What there is of the symbols that match one of `globs`, on the given time frames, in order of symbol and time frame.
///
/// # Errors
/// What the store says.
pub async fn held(store: &clickhouse::Client, globs: &[String], timeframes: &[Timeframe]) -> Result<Vec<Held>, StoreError> {
    let what = || "looking for features".to_owned();
    let names: Vec<&str> = timeframes.iter().map(|timeframe| timeframe.as_str()).collect();
    let counted = store
        .query(
            "SELECT venue, symbol, timeframe, toUInt64(greatest(sum(diff), 0)) AS bars, max(toUnixTimestamp64Milli(ts)) AS to \
             FROM features_changes \
             WHERE has(?, timeframe) GROUP BY venue, symbol, timeframe ORDER BY symbol, timeframe, bars DESC, venue",
        )
        .bind(names)
        .fetch_all::<Count>()
        .await
        .map_err(|error| StoreError::of(what(), &error))?;
    let mut all: Vec<Held> = Vec::new();
    for Count { venue, symbol, timeframe, bars, to } in counted {
        let Some(timeframe) = Timeframe::from_name(&timeframe) else { continue };
        let is_same = all.last().is_some_and(|last| last.symbol == symbol && last.timeframe == timeframe);
        if !is_same && globs.iter().any(|glob| matches(glob, &symbol)) {
            all.push(Held { symbol, timeframe, venue, bars, to });
        }
    }
    all.sort_by(|a, b| (&a.symbol, a.timeframe).cmp(&(&b.symbol, b.timeframe)));
    Ok(all)
}

/// The features of the bars that open in [from, until), UTC ms.
///
/// # Errors
/// What the store says.
pub async fn load(store: &clickhouse::Client, held: &Held, from: i64, until: i64) -> Result<Series, StoreError> {
    let what = || format!("reading the features of {} {}", held.symbol, held.timeframe.as_str());
    let columns = FEATURES.join(", ");
    let sql = format!(
        "SELECT toUnixTimestamp64Milli(f.ts) AS ts, {columns} FROM features AS f WHERE venue = ? AND symbol = ? AND timeframe = ? \
         AND f.ts >= fromUnixTimestamp64Milli(?) AND f.ts < fromUnixTimestamp64Milli(?) ORDER BY f.ts"
    );
    let query = store.query(&sql).bind(&held.venue).bind(&held.symbol).bind(held.timeframe.as_str()).bind(from).bind(until);
    let lines = query.fetch_all::<Line>().await.map_err(|error| StoreError::of(what(), &error))?;
    let mut series = Series::new(&held.symbol, held.timeframe);
    for line in lines {
        let values = [
            line.log_return,
            line.trend_24,
            line.log_volatility_14,
            line.rsi_14,
            line.volatility_14,
            line.volume_z_50,
            line.adx_14,
            line.taker_imbalance,
            line.log_liquidated_long_usd,
            line.log_liquidated_short_usd,
            line.oi_change,
            line.funding_z_score,
        ];
        series.ts.push(line.ts);
        series.values.push(values.map(|value| value.unwrap_or(f64::NAN)));
    }
    Ok(series)
}

/// Whether a name fits a pattern, in which `*` stands for any text and `?` for one character.
#[must_use]
pub fn matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    // Where the last star stood, and what of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if glob.get(g) == Some(&'*') {
            star = Some((g, n));
            g += 1;
        } else if g < glob.len() && (glob[g] == '?' || glob[g] == name[n]) {
            (g, n) = (g + 1, n + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (g, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (glob, name, fits) in [
            ("BTC-USDT-PERP", "BTC-USDT-PERP", true),
            ("BTC-USDT-PERP", "BTC-USDT-PER", false),
            ("*", "", true),
            ("*-USDT-*", "ETH-USDT-PERP", true),
            ("*USDT", "ETH-USDT-PERP", false),
            ("??C-*", "BTC-USDT-PERP", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
        ] {
            assert_eq!(matches(glob, name), fits, "{glob} {name}");
        }
    }
}
