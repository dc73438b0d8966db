//! Emission densities one state at a time, with missing values marginalised.
//!
//! The plain form: the oracle of the vectorised kernels, the path of incomplete rows, and what the log-space recursions use.
//! Observed part o, missing part m of a row: the density is that of the sub-vector o; given it, the missing part has mean
//! μ_m + Σ_mo Σ_oo⁻¹ (x_o − μ_o) and spread Σ_mm − Σ_mo Σ_oo⁻¹ Σ_om, which is what EM adds for it.

use crate::cholesky::{cholesky, inverse_from_factor, invert_lower, log_determinant};
use crate::error::HmmError;
use crate::gamma::{digamma, ln_gamma};
use crate::model::{Covariance, Emission};

/// Squared distances are cut here, so that no finite observation has density log of minus infinity.
pub(crate) const DISTANCE_MAX: f64 = 1e300;

/// The emission of one state, prepared.
#[derive(Debug, Clone)]
pub(crate) struct StateDensity {
    pub mean: Vec<f64>,
    /// D × D.
    pub covariance: Vec<f64>,
    /// Inverse of the lower Cholesky factor, D × D.
    pub whitening: Vec<f64>,
    pub log_norm: f64,
    pub degrees_of_freedom: Option<f64>,
    diagonal: bool,
}

/// A row as one state sees it: what EM needs beyond the density.
#[derive(Debug, Clone)]
pub(crate) struct Completed {
    /// Row with expected values in place of missing ones, less the mean.
    pub deviation: Vec<f64>,
    /// Spread of the missing values, D × D (zero where observed); `None` for a complete row.
    pub extra: Option<Vec<f64>>,
    /// E[u]: 1 for a Gaussian, (ν + p) / (ν + δ) for Student-t.
    pub weight: f64,
    /// E[ln u] − E[u] for Student-t.
    pub log_minus: f64,
}

impl StateDensity {
    pub(crate) fn new(emission: &Emission, state: usize) -> Result<Self, HmmError> {
        let mean: Vec<f64> = emission.means.row(state).to_vec();
        let dims = mean.len();
        let covariance: Vec<f64> = emission.covariance.of_state(state).iter().copied().collect();
        let factor = cholesky(&covariance, dims).ok_or(HmmError::NotPositiveDefinite { state })?;
        let degrees_of_freedom = emission.degrees_of_freedom.as_ref().map(|dof| dof[state]);
        Ok(StateDensity {
            log_norm: log_norm(dims, log_determinant(&factor, dims), degrees_of_freedom),
            whitening: invert_lower(&factor, dims),
            mean,
            covariance,
            degrees_of_freedom,
            diagonal: matches!(emission.covariance, Covariance::Diagonal(_)),
        })
    }

    pub(crate) fn all(emission: &Emission) -> Result<Vec<Self>, HmmError> {
        (0..emission.means.nrows()).map(|state| Self::new(emission, state)).collect()
    }

    /// log p(row | state); NaN entries are integrated out; a row without any value has density one.
    pub(crate) fn log_density(&self, row: &[f64]) -> f64 {
        let dims = self.mean.len();
        if !row.iter().any(|x| x.is_nan()) {
            let distance = self.distance(row);
            return self.log_norm + self.log_kernel(distance, dims);
        }
        let observed: Vec<usize> = (0..dims).filter(|&i| !row[i].is_nan()).collect();
        let part = self.observed_part(row, &observed);
        part.log_norm + self.log_kernel(part.distance, observed.len())
    }

    /// Mahalanobis distance per feature (root mean square) of a deviation from the mean.
    pub(crate) fn deviations(&self, deviation: &[f64]) -> f64 {
        (self.squared(|j| deviation[j]) / deviation.len() as f64).sqrt()
    }

    fn distance(&self, row: &[f64]) -> f64 {
        self.squared(|j| row[j] - self.mean[j])
    }

    fn squared(&self, deviation: impl Fn(usize) -> f64) -> f64 {
        let dims = self.mean.len();
        let whitened = |i: usize| -> f64 {
            let from = if self.diagonal { i } else { 0 };
            (from..=i).map(|j| self.whitening[i * dims + j] * deviation(j)).sum()
        };
        let distance: f64 = (0..dims).map(|i| whitened(i).powi(2)).sum();
        if distance < DISTANCE_MAX { distance } else { DISTANCE_MAX }
    }

    fn log_kernel(&self, distance: f64, dims: usize) -> f64 {
        match self.degrees_of_freedom {
            None => -0.5 * distance,
            Some(dof) => -0.5 * (dof + dims as f64) * (distance / dof).ln_1p(),
        }
    }

    fn observed_part(&self, row: &[f64], observed: &[usize]) -> ObservedPart {
        let (dims, p) = (self.mean.len(), observed.len());
        let mut sub = vec![0.0; p * p];
        for (a, &i) in observed.iter().enumerate() {
            for (b, &j) in observed.iter().enumerate() {
                sub[a * p + b] = self.covariance[i * dims + j];
            }
        }
        let deviation: Vec<f64> = observed.iter().map(|&i| row[i] - self.mean[i]).collect();
        // A principal part of a positive definite matrix is positive definite; its factor can fail only by rounding, and then
        // the diagonal alone is the nearest answer.
        let factor =
            cholesky(&sub, p).unwrap_or_else(|| (0..p * p).map(|n| if n / p == n % p { sub[n].sqrt() } else { 0.0 }).collect());
        let inverse = inverse_from_factor(&factor, p);
        let solved: Vec<f64> = (0..p).map(|a| (0..p).map(|b| inverse[a * p + b] * deviation[b]).sum()).collect();
        let distance: f64 = solved.iter().zip(&deviation).map(|(s, d)| s * d).sum();
        let distance = if distance < DISTANCE_MAX { distance.max(0.0) } else { DISTANCE_MAX };
        let log_norm = log_norm(p, log_determinant(&factor, p), self.degrees_of_freedom);
        ObservedPart { inverse, solved, distance, log_norm }
    }

    /// The row completed for EM.
    pub(crate) fn complete(&self, row: &[f64]) -> Completed {
        let dims = self.mean.len();
        let observed: Vec<usize> = (0..dims).filter(|&i| !row[i].is_nan()).collect();
        if observed.len() == dims {
            let (weight, log_minus) = self.robust_weight(self.distance(row), dims);
            let deviation = row.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
            return Completed { deviation, extra: None, weight, log_minus };
        }
        let part = self.observed_part(row, &observed);
        let p = observed.len();
        let missing = |i: usize| row[i].is_nan();
        let covariance = |i: usize, j: usize| self.covariance[i * dims + j];
        let expected = |i: usize| -> f64 { observed.iter().zip(&part.solved).map(|(&o, s)| covariance(i, o) * s).sum() };
        let deviation = (0..dims).map(|i| if missing(i) { expected(i) } else { row[i] - self.mean[i] }).collect();
        let mut extra = vec![0.0; dims * dims];
        for i in (0..dims).filter(|&i| missing(i)) {
            for j in (0..dims).filter(|&j| missing(j)) {
                let explained: f64 =
                    (0..p * p).map(|n| covariance(i, observed[n / p]) * part.inverse[n] * covariance(observed[n % p], j)).sum();
                extra[i * dims + j] = covariance(i, j) - explained;
            }
        }
        let (weight, log_minus) = self.robust_weight(part.distance, p);
        Completed { deviation, extra: Some(extra), weight, log_minus }
    }

    fn robust_weight(&self, distance: f64, dims: usize) -> (f64, f64) {
        let Some(dof) = self.degrees_of_freedom else { return (1.0, 0.0) };
        let plus = dof + dims as f64;
        let weight = plus / (dof + distance);
        (weight, weight.ln() - weight + digamma(0.5 * plus) - (0.5 * plus).ln())
    }
}

struct ObservedPart {
    inverse: Vec<f64>,
    solved: Vec<f64>,
    distance: f64,
    log_norm: f64,
}

/// The density's constant for p dimensions.
fn log_norm(dims: usize, log_determinant: f64, degrees_of_freedom: Option<f64>) -> f64 {
    let d = dims as f64;
    let constant = match degrees_of_freedom {
        None => 0.5 * d * (2.0 * std::f64::consts::PI).ln(),
        Some(dof) => ln_gamma(0.5 * dof) - ln_gamma(0.5 * (dof + d)) + 0.5 * d * (dof * std::f64::consts::PI).ln(),
    };
    -constant - 0.5 * log_determinant
}
