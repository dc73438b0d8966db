//! Training: rows of features become model files.
//!
//! [`Series`] holds what a model may read, out of the store ([`from_store`]) or made of bars in a file ([`bar_files`]) by the views' own
//! code. [`fit`] makes a model of a window of it and says how good it is; [`walk_forward`] says how refits would have done.
//! [`parallel`] spreads jobs over threads. [`refits`] and [`live`] do all that inside a run, on a schedule. Where models are kept, and which of them speaks, is [`crate::model_dir`]'s business.

pub mod bar_files;
mod error;
mod fit;
pub mod from_store;
pub mod live;
pub mod parallel;
pub mod refits;
mod series;
pub mod walk_forward;

pub use error::TrainingError;
pub use fit::{BARS_PER_PARAMETER, Emissions, Fitted, Known, Settings, bars_per_year, fit};
pub use series::{Rows, Series, feature_names};
