//! The section `[views.regimes]`.

use std::collections::BTreeMap;

use dataflows::config as views;
use dataflows::model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timeframe;

/// Regimes by hidden Markov models. Without models (`--models DIR`) nothing of it is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Regimes {
    /// Time frames that models may speak of. They need features.
    pub timeframes: Vec<Timeframe>,
    /// A state is entered at this probability.
    #[schemars(range(min = 0.51, max = 1.0))]
    pub enter: f64,
    /// Below this probability a decided state is not firm.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub leave: f64,
    /// Bars that the fixed-lag smoother looks back.
    #[schemars(range(min = 1, max = 200))]
    pub lag: usize,
    /// Bars before an anchor (midnight, the first of the month) from which a filter starts.
    #[schemars(range(min = 16, max = 10_000))]
    pub warm_up_bars: usize,
    /// Bars ahead of which the state is forecast.
    #[schemars(range(min = 0, max = 100))]
    pub forecast_bars: usize,
    /// Bars of a window that is looked at by itself.
    #[schemars(range(min = 16, max = 10_000))]
    pub window_bars: usize,
    /// Time frames whose windows are looked at by themselves.
    pub window_timeframes: Vec<Timeframe>,
    /// Weights of the time frames (`1h`, …) that confirm each other.
    pub confirmation_weights: BTreeMap<String, f64>,
    /// Fewer votes than this confirm nothing.
    #[schemars(range(min = 1, max = 7))]
    pub confirmation_present_min: usize,
    /// Confirmed when at least this share of the votes' weight agrees.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confirmation_enter: f64,
    /// For so many bars of the fastest of them.
    #[schemars(range(min = 1, max = 1_000))]
    pub confirmation_hold_bars: usize,
    /// No longer confirmed below this share.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confirmation_leave: f64,
    /// A model drifts when its drift score is above this.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub drift_score_max: f64,
    /// For so many bars.
    #[schemars(range(min = 1, max = 1_000))]
    pub drift_bars: usize,
    /// Time frames whose changes of regime are events.
    pub change_timeframes: Vec<Timeframe>,
}

impl Default for Regimes {
    fn default() -> Self {
        use Timeframe::{D1, H1, H4, M1, M15, W1};
        Self {
            timeframes: vec![M1, M15, H1, H4, D1, W1],
            enter: 0.8,
            leave: 0.5,
            lag: 20,
            warm_up_bars: 256,
            forecast_bars: 12,
            window_bars: 256,
            window_timeframes: vec![H1, H4, D1, W1],
            confirmation_weights: ["1h", "4h", "1d", "1w"].map(|timeframe| (timeframe.to_owned(), 1.0)).into(),
            confirmation_present_min: 3,
            confirmation_enter: 0.7,
            confirmation_hold_bars: 2,
            confirmation_leave: 0.5,
            drift_score_max: 0.5,
            drift_bars: 3,
            change_timeframes: vec![H1, H4, D1, W1],
        }
    }
}

impl Regimes {
    /// As the views are told.
    #[must_use]
    pub fn settings(&self) -> views::Regimes {
        let timeframes = |chosen: &[Timeframe]| chosen.iter().map(|&timeframe| timeframe.into()).collect();
        let weight = |(name, weight): (&String, &f64)| Some((model::Timeframe::from_name(name)?, *weight));
        let mut weights: Vec<(model::Timeframe, f64)> = self.confirmation_weights.iter().filter_map(weight).collect();
        weights.sort_by_key(|(timeframe, _)| *timeframe);
        views::Regimes {
            timeframes: timeframes(&self.timeframes),
            enter: self.enter,
            leave: self.leave,
            lag: self.lag,
            warm_up_bars: self.warm_up_bars,
            forecast_bars: self.forecast_bars,
            window_bars: self.window_bars,
            window_timeframes: timeframes(&self.window_timeframes),
            confirmation: views::Confirmation {
                weights,
                present_min: self.confirmation_present_min,
                enter: self.confirmation_enter,
                hold_bars: self.confirmation_hold_bars,
                leave: self.confirmation_leave,
            },
            drift_score: self.drift_score_max,
            drift_bars: self.drift_bars,
            change_timeframes: timeframes(&self.change_timeframes),
        }
    }
}
