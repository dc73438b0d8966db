//! The features of one symbol on one time frame in order of time, and the rows that a model is fitted to.

use dataflows::features;
use dataflows::model::{Bar, FEATURES, FEATURES_OF_BARS, Features, Real, Timeframe};
use hmm::ndarray::Array2;

use super::TrainingError;

/// Where the return is in a row of features.
const LOG_RETURN: usize = 0;
/// Where the takers' imbalance is.
const TAKER_IMBALANCE: usize = 7;

/// One symbol's features, oldest first. NaN: not known.
#[derive(Clone, Debug)]
pub struct Series {
    /// Canonical symbol.
    pub symbol: String,
    /// Of which bars.
    pub timeframe: Timeframe,
    /// Openings of the bars, UTC ms, rising.
    pub ts: Vec<i64>,
    /// By [`FEATURES`].
    pub values: Vec<[f64; FEATURES.len()]>,
    /// Features that its source can't know.
    lacks: Vec<&'static str>,
}

impl Series {
    /// Without rows.
    #[must_use]
    pub fn new(symbol: &str, timeframe: Timeframe) -> Self {
        Self { symbol: symbol.to_owned(), timeframe, ts: Vec::new(), values: Vec::new(), lacks: Vec::new() }
    }

    /// Of closed bars and nothing else, by the view's own code. `taker_known`: the bars tell who was the taker.
    #[must_use]
    pub fn of_bars(symbol: &str, timeframe: Timeframe, bars: &[Bar], taker_known: bool) -> Self {
        let mut series = Self::new(symbol, timeframe);
        let taker = (!taker_known).then_some(FEATURES[TAKER_IMBALANCE]);
        series.lacks = taker.into_iter().chain(FEATURES[FEATURES_OF_BARS..].iter().copied()).collect();
        for row in features::of_bars(bars) {
            series.push(&row, taker_known);
        }
        series
    }

    fn push(&mut self, row: &Features, taker_known: bool) {
        let mut values = row.values.map(|value| value.map_or(f64::NAN, |Real(value)| value));
        if !taker_known {
            values[TAKER_IMBALANCE] = f64::NAN;
        }
        self.ts.push(row.ts);
        self.values.push(values);
    }

    /// As messages name it.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{} {}", self.symbol, self.timeframe.as_str())
    }

    /// The bars that open in [from, until), at most the last `bars_max`.
    #[must_use]
    pub fn window(&self, from: i64, until: i64, bars_max: usize) -> Self {
        let end = self.ts.partition_point(|&ts| ts < until);
        let start = self.ts.partition_point(|&ts| ts < from).max(end.saturating_sub(bars_max));
        let start = start.min(end);
        Self {
            ts: self.ts[start..end].to_vec(),
            values: self.values[start..end].to_vec(),
            lacks: self.lacks.clone(),
            ..Self::new(&self.symbol, self.timeframe)
        }
    }

    /// Rows of the named features. Left out: what comes before all of them are known at once (warm-up), and bars that know none.
    ///
    /// # Errors
    /// An unknown name; a feature that the source can't know, that hardly any bar knows, or that never changes.
    pub fn rows(&self, features: &[String]) -> Result<Rows, TrainingError> {
        let columns = columns(features)?;
        let lacking: Vec<&str> = self.lacks.iter().copied().filter(|lack| features.iter().any(|name| name == lack)).collect();
        if !lacking.is_empty() {
            return Err(TrainingError::NotInFile { target: self.target(), features: lacking.join(", ") });
        }
        let known = |row: &[f64; FEATURES.len()]| columns.iter().filter(|&&column| !row[column].is_nan()).count();
        let first = self.values.iter().position(|row| known(row) == columns.len());
        let kept: Vec<usize> = match first {
            Some(first) => (first..self.values.len()).filter(|&at| known(&self.values[at]) > 0).collect(),
            None => Vec::new(),
        };
        // Where nothing is complete, tell of the feature that is missing.
        let looked_at: Vec<usize> = if first.is_some() { kept.clone() } else { (0..self.values.len()).collect() };
        for (&column, feature) in columns.iter().zip(features) {
            let values = looked_at.iter().map(|&at| self.values[at][column]).filter(|value| !value.is_nan());
            let (mut least, mut most, mut present) = (f64::INFINITY, f64::NEG_INFINITY, 0);
            for value in values {
                (least, most, present) = (least.min(value), most.max(value), present + 1);
            }
            let (target, feature, bars) = (self.target(), feature.clone(), looked_at.len());
            if 2 * present < bars {
                return Err(TrainingError::Absent { target, feature, present, bars });
            }
            if present > 1 && least >= most {
                return Err(TrainingError::Flat { target, feature, bars });
            }
        }
        let values = Array2::from_shape_fn((kept.len(), columns.len()), |(row, at)| self.values[kept[row]][columns[at]]);
        Ok(Rows {
            target: self.target(),
            timeframe: self.timeframe,
            ts: kept.iter().map(|&at| self.ts[at]).collect(),
            returns: kept.iter().map(|&at| self.values[at][LOG_RETURN]).collect(),
            values,
        })
    }
}

/// What a model is fitted to.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Symbol and time frame, for messages.
    pub target: String,
    /// Of which bars.
    pub timeframe: Timeframe,
    /// Openings, UTC ms.
    pub ts: Vec<i64>,
    /// Bars × features, in their own units. NaN: not known.
    pub values: Array2<f64>,
    /// Log returns of the same bars, by which states are labelled.
    pub returns: Vec<f64>,
}

impl Rows {
    /// Bars.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// No bars.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }
}

/// The names behind `trend`, `classic`, or a list with commas.
///
/// # Errors
/// A name that is no feature.
pub fn feature_names(text: &str) -> Result<Vec<String>, TrainingError> {
    let names: Vec<&str> = match text {
        "trend" => vec!["log_return", "trend_24", "log_volatility_14", "rsi_14"],
        "classic" => vec!["log_return", "volatility_14", "volume_z_50", "adx_14", "rsi_14"],
        list => list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
    };
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    columns(&names)?;
    Ok(names)
}

fn columns(features: &[String]) -> Result<Vec<usize>, TrainingError> {
    if features.is_empty() {
        return Err(TrainingError::NoFeature);
    }
    let column = |name: &String| FEATURES.iter().position(|known| known == name);
    features.iter().map(|name| column(name).ok_or_else(|| TrainingError::UnknownFeature { name: name.clone() })).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dataflows::model::HOUR_MS;

    use super::*;

    /// Bars that know all features, and in every fifth one that is named nothing.
    fn series(without: &str) -> Series {
        let mut series = Series::new("BTC-USDT-PERP", Timeframe::H1);
        for bar in 0..100i64 {
            let value = |column: usize| ((bar * 7 + column as i64 * 3) % 11) as f64;
            let is_known = |column: usize| FEATURES[column] != without || bar % 5 == 0;
            series.ts.push(bar * HOUR_MS);
            series.values.push(std::array::from_fn(|column| if is_known(column) { value(column) } else { f64::NAN }));
        }
        series
    }

    #[test]
    fn models_may_read_any_feature_of_the_view() {
        let names =
            feature_names(" log_return, log_liquidated_long_usd,log_liquidated_short_usd,oi_change,funding_z_score").unwrap();
        let rows = series("").rows(&names).unwrap();
        assert_eq!(rows.values.dim(), (100, 5));
        assert_eq!(rows.values.row(1).to_vec(), [7.0, 9.0, 1.0, 4.0, 7.0]);
        assert_eq!(feature_names("oi_delta").unwrap_err().to_string().split(';').next(), Some("`oi_delta` is no feature"));
    }

    #[test]
    fn what_the_source_does_not_know_is_refused_by_name() {
        let names = feature_names("log_return,taker_imbalance,oi_change,funding_z_score").unwrap();
        let check = |series: &Series, error: &str| {
            let said = series.rows(&names).unwrap_err().to_string();
            assert!(said.starts_with(error), "{said}");
        };
        check(&series("oi_change"), "BTC-USDT-PERP 1h: only 20 of 100 bars know the feature oi_change");
        let of_bars = |taker_known| Series::of_bars("BTC-USDT-PERP", Timeframe::H1, &[], taker_known).window(0, 9, 9);
        check(&of_bars(true), "BTC-USDT-PERP 1h: a file of bars doesn't tell oi_change, funding_z_score;");
        check(&of_bars(false), "BTC-USDT-PERP 1h: a file of bars doesn't tell taker_imbalance, oi_change, funding_z_score;");
    }
}
