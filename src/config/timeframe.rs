//! The length of bars, as a configuration writes it.

use dataflows::model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The length of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Timeframe {
    #[serde(rename = "1m")]
    M1,
    #[serde(rename = "5m")]
    M5,
    #[serde(rename = "15m")]
    M15,
    #[serde(rename = "1h")]
    H1,
    #[serde(rename = "4h")]
    H4,
    #[serde(rename = "1d")]
    D1,
    #[serde(rename = "1w")]
    W1,
}

impl From<Timeframe> for model::Timeframe {
    fn from(timeframe: Timeframe) -> Self {
        match timeframe {
            Timeframe::M1 => Self::M1,
            Timeframe::M5 => Self::M5,
            Timeframe::M15 => Self::M15,
            Timeframe::H1 => Self::H1,
            Timeframe::H4 => Self::H4,
            Timeframe::D1 => Self::D1,
            Timeframe::W1 => Self::W1,
        }
    }
}
