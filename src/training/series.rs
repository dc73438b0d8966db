//! The features of one symbol on one time frame in order of time, and the rows that a model is fitted to.

use dataflows::features;
use dataflows::model::{Bar, FEATURES, Features, Real, Timeframe};
use hmm::ndarray::Array2;

use super::TrainingError;

/// Where the return is in a row of features.
const LOG_RETURN: usize = 0;

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
}

impl Series {
    /// Without rows.
    #[must_use]
    pub fn new(symbol: &str, timeframe: Timeframe) -> Self {
        Self { symbol: symbol.to_owned(), timeframe, ts: Vec::new(), values: Vec::new() }
    }

    /// Of closed bars, by the view's own code. `taker_known`: the bars tell who was the taker.
    #[must_use]
    pub fn of_bars(symbol: &str, timeframe: Timeframe, bars: &[Bar], taker_known: bool) -> Self {
        let mut series = Self::new(symbol, timeframe);
        for row in features::of_bars(bars) {
            series.push(&row, taker_known);
        }
        series
    }

    fn push(&mut self, row: &Features, taker_known: bool) {
        let mut values = row.values.map(|value| value.map_or(f64::NAN, |Real(value)| value));
        if !taker_known {
            values[FEATURES.len() - 1] = f64::NAN;
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
            ..Self::new(&self.symbol, self.timeframe)
        }
    }

    /// Rows of the named features. Left out: what comes before all of them are known at once (warm-up), and bars that know none.
    ///
    /// # Errors
    /// An unknown name; a feature that hardly any bar knows, or that never changes.
    pub fn rows(&self, features: &[String]) -> Result<Rows, TrainingError> {
        let columns = columns(features)?;
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
