//! What is drawn beside an alert: its figures; [`draw()`] makes them a picture.

use serde::{Deserialize, Serialize};

pub mod draw;

pub use draw::{ChartError, draw};

/// Most points of a series.
pub const POINTS_MAX: usize = 240;

/// A small chart's figures. All series of one chart have the same length, at most [`POINTS_MAX`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Chart {
    /// Price with liquidations by minute.
    Liquidations {
        /// Openings of the minutes, UTC ms.
        ts: Vec<i64>,
        /// Last price of each minute, in the quote currency.
        close: Vec<f64>,
        /// Longs liquidated in each minute, USD.
        long_usd: Vec<f64>,
        /// Shorts liquidated in each minute, USD.
        short_usd: Vec<f64>,
    },
    /// Probabilities of regimes by bar.
    Regimes {
        /// Openings of the bars, UTC ms.
        ts: Vec<i64>,
        /// Names of the states.
        labels: Vec<String>,
        /// By state: its probability at each bar.
        probabilities: Vec<Vec<f64>>,
    },
    /// One number over time: what a rule watches.
    Line {
        /// UTC ms.
        ts: Vec<i64>,
        /// What it is: `funding_z_score`.
        name: String,
        /// Its values.
        values: Vec<f64>,
        /// Where the rule fires.
        threshold: Option<f64>,
    },
}
