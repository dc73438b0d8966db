//! The section `[training]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timeframe;
use crate::model_dir::promotion::Bounds;
use crate::training::{self, Emissions};

/// Refits inside `run`, beside it on threads of their own. They read the store and write to the directory of `--models`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Whether a run refits.
    pub enabled: bool,
    /// How often, in hours of market time since 1970 (168: Thursdays at midnight UTC). What is due when a run starts is made up for.
    #[schemars(range(min = 1, max = 8_760))]
    pub every_hours: u64,
    /// Days of market time that are trained on, up to the last closed bar.
    #[schemars(range(min = 1, max = 3_650))]
    pub window_days: u64,
    /// At most so many bars of them, the last ones.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub bars_max: usize,
    /// Canonical symbols; `*` and `?` stand for others.
    #[schemars(inner(length(min = 1, max = 60)))]
    pub symbols: Vec<String>,
    /// One model for each symbol and time frame.
    pub timeframes: Vec<Timeframe>,
    /// `trend`, `classic`, or columns of the view `features` with commas between.
    #[schemars(length(min = 1, max = 400))]
    pub features: String,
    /// Hidden states.
    #[schemars(range(min = 1, max = 16))]
    pub states: usize,
    /// The distribution in a state.
    pub emissions: EmissionsKind,
    /// The shape of covariances.
    pub covariance: CovarianceShape,
    /// Prior counts of staying, for each state.
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub sticky: f64,
    /// Starts of each fit.
    #[schemars(range(min = 1, max = 1_000))]
    pub starts: usize,
    /// Of everything random.
    #[schemars(range(max = 9_007_199_254_740_991u64))]
    pub seed: u64,
    /// Threads that fit.
    #[schemars(range(min = 1, max = 64))]
    pub threads: usize,
    /// Whether a refit within the bounds that follow takes over by itself. Otherwise it stays a candidate.
    pub promote: bool,
    /// Nats per bar by which a refit may explain new bars worse than the active model.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub promote_loss_per_bar_max: f64,
    /// On at least so many bars that neither was fitted to.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub promote_bars_min: u64,
    /// Changes of the decided regime per 1,000 bars that were held out.
    #[schemars(range(min = 0.0, max = 1_000.0))]
    pub promote_switches_per_1000_bars_max: f64,
}

/// The distribution in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum EmissionsKind {
    Gaussian,
    T,
}

/// The shape of covariances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum CovarianceShape {
    Diagonal,
    Full,
    Tied,
}

impl Default for Training {
    fn default() -> Self {
        let bounds = Bounds::default();
        Self {
            enabled: false,
            every_hours: 168,
            window_days: 730,
            bars_max: 20_000,
            symbols: vec!["*".to_owned()],
            timeframes: vec![Timeframe::H1, Timeframe::H4],
            features: "trend".to_owned(),
            states: 3,
            emissions: EmissionsKind::T,
            covariance: CovarianceShape::Diagonal,
            sticky: 20.0,
            starts: 10,
            seed: 0,
            threads: 1,
            promote: true,
            promote_loss_per_bar_max: bounds.loss_per_bar_max,
            promote_bars_min: bounds.bars_min,
            promote_switches_per_1000_bars_max: bounds.switches_per_1000_bars_max,
        }
    }
}

impl Training {
    /// What a refit must keep to.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            loss_per_bar_max: self.promote_loss_per_bar_max,
            bars_min: self.promote_bars_min,
            switches_per_1000_bars_max: self.promote_switches_per_1000_bars_max,
        }
    }

    /// As fits are told. `enter` and `leave` are those of the views.
    ///
    /// # Errors
    /// A name that is no feature.
    pub fn settings(&self, enter: f64, leave: f64) -> Result<training::Settings, training::TrainingError> {
        Ok(training::Settings {
            states: self.states,
            covariance: match self.covariance {
                CovarianceShape::Diagonal => hmm::CovarianceKind::Diagonal,
                CovarianceShape::Full => hmm::CovarianceKind::Full,
                CovarianceShape::Tied => hmm::CovarianceKind::Tied,
            },
            emissions: match self.emissions {
                EmissionsKind::Gaussian => Emissions::Gaussian,
                EmissionsKind::T => Emissions::Student,
            },
            sticky: self.sticky,
            starts: self.starts,
            seed: self.seed,
            enter,
            leave,
            ..training::Settings::new(training::feature_names(&self.features)?)
        })
    }
}
