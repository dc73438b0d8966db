//! What can be wrong with a model, with observations, or with a model file.

/// Every refusal of this crate. None of them is worth a retry with the same input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HmmError {
    /// An array has the wrong size.
    #[error("{what} has {found} entries where {expected} are needed; pass arrays that agree in states and dimensions")]
    Shape {
        /// Which array.
        what: &'static str,
        /// Entries that the other arrays imply.
        expected: usize,
        /// Entries found.
        found: usize,
    },
    /// A probability vector has an entry outside [0, 1] or doesn't sum to one.
    #[error("{what} row {row} is no probability vector (sum {sum}); make its entries non-negative with sum 1")]
    NotAProbability {
        /// Start or transition.
        what: &'static str,
        /// The row (zero for the start vector).
        row: usize,
        /// Its sum.
        sum: f64,
    },
    /// A parameter is NaN or infinite.
    #[error("{what} of state {state} holds {value}; model parameters must be finite")]
    NotFinite {
        /// Which parameter.
        what: &'static str,
        /// The state.
        state: usize,
        /// The value found.
        value: f64,
    },
    /// A variance is not positive or a covariance matrix is not positive definite (or not symmetric).
    #[error("covariance of state {state} is not symmetric positive definite; raise its diagonal or use a diagonal model")]
    NotPositiveDefinite {
        /// The state.
        state: usize,
    },
    /// Degrees of freedom that are not positive.
    #[error("degrees of freedom of state {state} are {value}; they must be positive and finite")]
    DegreesOfFreedom {
        /// The state.
        state: usize,
        /// The value found.
        value: f64,
    },
    /// A setting outside its range.
    #[error("setting {what} is {value}; it must be {range}")]
    Setting {
        /// The setting's name.
        what: &'static str,
        /// The value found.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// No rows, no columns, or no states.
    #[error("{what} is empty; at least one is needed")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// An observation is infinite or beyond 1e100 (NaN is allowed: it means missing).
    #[error("observation row {row} column {column} is {value}; use NaN for a missing value, or drop the row")]
    ObservationNotFinite {
        /// Row, over all sequences.
        row: usize,
        /// Column.
        column: usize,
        /// The value found.
        value: f64,
    },
    /// Rows of another width than the model's.
    #[error("observations have {found} columns, the model has {expected}; pass the features it was made for")]
    Columns {
        /// The model's dimensions.
        expected: usize,
        /// The observations' columns.
        found: usize,
    },
    /// Sequence lengths that don't add up to the rows, or an empty sequence.
    #[error("sequence lengths sum to {sum} for {rows} rows (none may be zero); pass lengths that cover the rows exactly")]
    Lengths {
        /// Sum of the lengths.
        sum: usize,
        /// Rows present.
        rows: usize,
    },
    /// Fewer rows than states.
    #[error("{rows} complete-enough rows can't support {states} states; pass more rows or ask for fewer states")]
    TooFewRows {
        /// Rows with at least one value.
        rows: usize,
        /// States asked for.
        states: usize,
    },
    /// The observations have probability zero under the model.
    #[error("row {row} has probability zero under the model: no state that can be reached explains it")]
    Impossible {
        /// Row, over all sequences.
        row: usize,
    },
    /// Every start of a fit failed.
    #[error("no start out of {starts} gave a model; last refusal: {last}")]
    NoFit {
        /// How many starts were tried.
        starts: usize,
        /// Why the last one failed.
        last: String,
    },
    /// The chain has no unique stationary distribution.
    #[error("the chain has no unique stationary distribution: its states split into groups that never meet")]
    NotErgodic,
    /// A model file of a version that this program doesn't know.
    #[error("model file has version {found}, this program reads versions up to {supported}; upgrade, or fit again")]
    UnknownVersion {
        /// The file's version.
        found: u64,
        /// The newest version known.
        supported: u64,
    },
    /// A model file that can't be read.
    #[error("reading a model file failed: {0}")]
    File(String),
}

impl HmmError {
    /// Whether the same call may succeed later. Never: everything here is a fact about the input.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
