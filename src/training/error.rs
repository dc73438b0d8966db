//! Why rows of features give no model: of what, what was found, what to do.

use dataflows::model::FEATURES;

/// A refusal. The same rows will be refused again; more of them, or other settings, may do.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// Fewer bars than the parameters deserve.
    #[error(
        "{target}: {bars} bars with features are too few for {parameters} parameters; {needed} are needed: take a longer window, \
         a shorter time frame or fewer states"
    )]
    TooFewBars {
        /// Symbol and time frame.
        target: String,
        /// Found.
        bars: usize,
        /// Of the model.
        parameters: usize,
        /// [`super::BARS_PER_PARAMETER`] for each.
        needed: usize,
    },
    /// Bars out of a file have no liquidations, open interest or funding beside them.
    #[error(
        "{target}: a file of bars doesn't tell {features}; leave that out, or fit from the store of a run (taker_imbalance is told by a \
         column taker_buy_volume)"
    )]
    NotInFile {
        /// Symbol and time frame.
        target: String,
        /// Which, with commas.
        features: String,
    },
    /// Hardly any bar knows a feature.
    #[error("{target}: only {present} of {bars} bars know the feature {feature}; leave it out, or take data that has it")]
    Absent {
        /// Symbol and time frame.
        target: String,
        /// Which.
        feature: String,
        /// Bars that know it.
        present: usize,
        /// All.
        bars: usize,
    },
    /// A feature that never changes.
    #[error(
        "{target}: the feature {feature} is the same in all {bars} bars: a flat series has no regimes; check the data, or leave it out"
    )]
    Flat {
        /// Symbol and time frame.
        target: String,
        /// Which.
        feature: String,
        /// Bars looked at.
        bars: usize,
    },
    /// A name that is no feature.
    #[error("`{name}` is no feature; there are the sets trend and classic, and {}", FEATURES.join(", "))]
    UnknownFeature {
        /// As it was written.
        name: String,
    },
    /// Nothing to read.
    #[error("no feature is named; take trend, classic, or names out of {}", FEATURES.join(", "))]
    NoFeature,
    /// No room for a test after the training span.
    #[error("{target}: {bars} bars are too few to train and test for {days} days together ({needed} bars); take shorter spans")]
    TooShortToWalk {
        /// Symbol and time frame.
        target: String,
        /// Found.
        bars: usize,
        /// Training and one step.
        days: i64,
        /// The same in bars.
        needed: usize,
    },
    /// The fit itself.
    #[error("{target}: fitting {states} states to {bars} bars: {source}")]
    Fit {
        /// Symbol and time frame.
        target: String,
        /// Asked for.
        states: usize,
        /// Fitted to.
        bars: usize,
        /// What the maths says.
        source: hmm::HmmError,
    },
}
