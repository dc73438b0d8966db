//! Hidden Markov models for time series: fit, filter, smooth, decode, forecast.
//!
//! Emissions are multivariate Gaussian or Student-t with diagonal, full or tied covariance; any number of states and
//! features, several sequences, missing values (NaN) marginalised. Parameters come in and go out as `ndarray` arrays; inside,
//! states lie in SIMD lanes and the recursions are scaled, with log space as the fallback where doubles run out.

#![allow(clippy::needless_range_loop, reason = "the kernels index several arrays in step")]
#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "checks are written so that a NaN fails them")]

pub mod log_space;

mod baum_welch;
mod chain;
mod cholesky;
mod config;
#[cfg(test)]
mod e_step_oracle;
mod em;
mod emission;
mod error;
mod filter;
mod forward_backward;
mod gamma;
mod infer;
mod interleaved;
mod kernel;
mod kmeans;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_avx2;
mod m_step;
mod matching;
mod model;
mod model_file;
mod observations;
mod reseed;
mod sample;
mod schmitt;
mod select;
mod smooth;
mod start;
mod statistics;
mod sums;
mod viterbi;
mod viterbi_online;

pub use baum_welch::{Fit, Reseed};
pub use chain::entropy;
pub use config::{CovariancePrior, DegreesOfFreedom, FitConfig, TransitionPrior};
pub use error::HmmError;
pub use filter::Filter;
pub use infer::Posteriors;
pub use model::{Covariance, CovarianceKind, Emission, Hmm};
pub use model_file::{ModelFile, Scaling, Training, VERSION, fingerprint};
pub use observations::Observations;
pub use schmitt::{Decision, SchmittTrigger};
pub use select::{Fold, per_row};
pub use smooth::FixedLag;
pub use viterbi::Path;
pub use viterbi_online::OnlineViterbi;
