//! Hidden Markov models for time series: fit, filter, smooth, decode, forecast.
//!
//! Emissions are multivariate Gaussian or Student-t with diagonal, full or tied covariance; any number of states and
//! features, several sequences, missing values (NaN) marginalised. Parameters come in and go out as `ndarray` arrays; inside,
//! states lie in SIMD lanes and the recursions are scaled, with log space as the fallback where doubles run out.
//!
//! ```
//! use hmm::{DegreesOfFreedom, Filter, FitConfig, Observations, SchmittTrigger};
//! use ndarray::Array2;
//!
//! // Calm and turbulent returns by turns.
//! let rows = Array2::from_shape_fn((600, 1), |(t, _)| {
//!     let spread = if t / 100 % 2 == 0 { 0.005 } else { 0.03 };
//!     spread * ((t * 7919 % 101) as f64 / 50.0 - 1.0)
//! });
//! let observations = Observations::new(rows.view())?;
//! let config = FitConfig { degrees_of_freedom: DegreesOfFreedom::Fixed(5.0), ..FitConfig::new(2) };
//! let fit = config.fit(&observations)?;
//!
//! // Online: one row at a time, with a decision that doesn't flicker.
//! let mut filter = Filter::new(&fit.model)?;
//! let mut trigger = SchmittTrigger::new(0.8, 0.5)?;
//! let mut switches = 0;
//! for row in rows.outer_iter() {
//!     let log_density = filter.step(&row.to_vec())?;
//!     assert!(log_density.is_finite());
//!     switches += trigger.step(&filter.probabilities()).is_some_and(|decision| decision.entered) as usize;
//! }
//! assert_eq!(switches, 6);
//!
//! // In hindsight: posteriors given all rows, and the most probable path.
//! let path = fit.model.viterbi(&observations)?;
//! assert_eq!(path.switches(observations.lengths()), 5);
//! # Ok::<(), hmm::HmmError>(())
//! ```
//!
//! Reading order: [`Hmm`] and [`Observations`], [`FitConfig::fit`], [`Filter`], [`FixedLag`], [`Hmm::viterbi`],
//! [`SchmittTrigger`], [`ModelFile`]. For a service that trains and infers: [`Scaling`], [`label_states`], [`DriftReference`],
//! [`WindowInference`], [`FitConfig::refit`], [`WalkForward`]; [`OnlineEm`] where parameters should follow slow drift.

#![allow(clippy::needless_range_loop, reason = "the kernels index several arrays in step")]
#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "checks are written so that a NaN fails them")]

pub mod log_space;

mod baum_welch;
mod chain;
mod cholesky;
mod compensated;
mod config;
mod drift;
#[cfg(all(test, target_arch = "x86_64"))]
mod e_step_oracle;
mod em;
mod emission;
mod error;
mod filter;
mod forward_backward;
mod gamma;
mod infer;
#[cfg(target_arch = "x86_64")]
mod interleaved;
mod kernel;
mod kmeans;
mod labels;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_avx2;
#[cfg(target_arch = "x86_64")]
mod lanes_avx512;
mod m_step;
mod matching;
mod model;
mod model_file;
mod newey_west;
mod observations;
mod online_em;
mod reseed;
mod sample;
mod scaling;
mod schmitt;
mod select;
#[cfg(target_arch = "x86_64")]
mod side_by_side;
mod smooth;
mod start;
mod stationary_start;
mod statistics;
mod sums;
mod together;
mod viterbi;
mod viterbi_online;
mod walk_forward;
mod window;

pub use baum_welch::{Fit, Reseed};
pub use chain::entropy;
pub use config::{CovariancePrior, DegreesOfFreedom, FitConfig, TransitionPrior};
pub use drift::{DRIFT_BLOCK, DriftReference};
pub use error::HmmError;
pub use filter::Filter;
pub use infer::Posteriors;
pub use labels::{Label, SIGNIFICANT, StateLabel, Vote, label_states};
pub use model::{Covariance, CovarianceKind, Emission, Hmm};
pub use model_file::{ModelFile, Training, VERSION, fingerprint};
/// The arrays that go in and out.
pub use ndarray;
pub use observations::Observations;
pub use online_em::{OnlineConfig, OnlineEm};
pub use scaling::Scaling;
pub use schmitt::{Decision, SchmittTrigger};
pub use select::{Fold, per_row};
pub use smooth::FixedLag;
pub use viterbi::Path;
pub use viterbi_online::OnlineViterbi;
pub use walk_forward::{Agreement, CONVICTION, EvaluatedFold, FoldRows, WalkForward, agreement};
pub use window::{Window, WindowInference};
