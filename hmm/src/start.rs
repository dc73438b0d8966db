//! Where a fit begins: clusters of rows, or of stretches of rows.
//!
//! Regimes differ in level or in spread, and last. Even starts cluster what a centred window sees (mean and log spread of
//! each feature, windows of 5 to 60 rows), odd ones cluster single rows, so that a two-volatility market and a well-separated
//! mixture both have starts that suit them. The transition matrix starts persistent (.9, .95 or .98 on the diagonal).

use crate::config::FitConfig;
use crate::error::HmmError;
use crate::kmeans::kmeans;
use crate::m_step::{Scale, raise_to_floor};
use crate::model::{Covariance, CovarianceKind, Emission, Hmm};
use crate::observations::Observations;
use ndarray::{Array1, Array2, Array3};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The `index`-th start.
pub(crate) fn model(
    config: &FitConfig,
    observations: &Observations<'_>,
    scale: &Scale,
    index: usize,
    rng: &mut Xoshiro256PlusPlus,
) -> Result<Hmm, HmmError> {
    let (k, d) = (config.states, observations.dims());
    let rows = standardised(observations, scale);
    let assigned = if index.is_multiple_of(2) {
        let window = (5.0 * 12f64.powf(rng.random::<f64>())) as usize;
        kmeans(&windowed(observations, &rows, window), 2 * d, k, rng)
    } else {
        kmeans(&rows, d, k, rng)
    };
    let stay = [0.95, 0.98, 0.9][index / 2 % 3];
    let leave = (1.0 - stay) / (k.max(2) - 1) as f64;
    let transition = Array2::from_shape_fn((k, k), |(i, j)| match (k, i == j) {
        (1, _) => 1.0,
        (_, true) => stay,
        (_, false) => leave,
    });
    Hmm::new(Array1::from_elem(k, 1.0 / k as f64), transition, emission(config, &rows, &assigned, scale))
}

/// Rows in units of the data's deviation, missing values at the mean.
fn standardised(observations: &Observations<'_>, scale: &Scale) -> Vec<f64> {
    let d = observations.dims();
    let unit = |(n, x): (usize, &f64)| if x.is_nan() { 0.0 } else { (x - scale.mean[n % d]) / scale.variance[n % d].sqrt() };
    observations.flat().iter().enumerate().map(unit).collect()
}

/// Mean and log spread of each feature in a window centred on each row, standardised; windows stay within sequences.
fn windowed(observations: &Observations<'_>, rows: &[f64], window: usize) -> Vec<f64> {
    let d = observations.dims();
    let mut out = vec![0.0; 2 * rows.len()];
    for sequence in observations.each() {
        let steps = sequence.len();
        for i in 0..d {
            let value = |t: usize| rows[(sequence.first + t) * d + i];
            let sum = |power: i32| {
                let mut sums = vec![0.0; steps + 1];
                (0..steps).for_each(|t| sums[t + 1] = sums[t] + value(t).powi(power));
                sums
            };
            let (one, two) = (sum(1), sum(2));
            for t in 0..steps {
                let (from, to) = (t.saturating_sub(window / 2), (t + window / 2 + 1).min(steps));
                let count = (to - from) as f64;
                let mean = (one[to] - one[from]) / count;
                let spread = ((two[to] - two[from]) / count - mean * mean).max(1e-4);
                let at = (sequence.first + t) * 2 * d + 2 * i;
                (out[at], out[at + 1]) = (mean, 0.5 * spread.ln());
            }
        }
    }
    for column in 0..2 * d {
        let values = || (column..out.len()).step_by(2 * d);
        let count = values().count() as f64;
        let mean = values().map(|n| out[n]).sum::<f64>() / count;
        let deviation = (values().map(|n| (out[n] - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-9);
        let indices: Vec<usize> = values().collect();
        indices.into_iter().for_each(|n| out[n] = (out[n] - mean) / deviation);
    }
    out
}

/// Means and covariances of the clusters, drawn a little towards the data's.
fn emission(config: &FitConfig, rows: &[f64], assigned: &[usize], scale: &Scale) -> Emission {
    let (k, d) = (config.states, scale.mean.len());
    let unit = |i: usize| scale.variance[i].sqrt();
    let mut means = Array2::zeros((k, d));
    let mut matrices = Vec::with_capacity(k);
    for s in 0..k {
        let members = || rows.chunks_exact(d).zip(assigned).filter(|(_, a)| **a == s).map(|(row, _)| row);
        // The data's own mean and spread count as a few rows more: an empty cluster starts as the whole.
        let (count, prior) = (members().count() as f64, 2.0 + d as f64);
        let mean: Vec<f64> = (0..d).map(|i| members().map(|row| row[i]).sum::<f64>() / count.max(1.0)).collect();
        let mut matrix = vec![0.0; d * d];
        for row in members() {
            (0..d * d).for_each(|n| matrix[n] += (row[n / d] - mean[n / d]) * (row[n % d] - mean[n % d]));
        }
        (0..d).for_each(|i| matrix[i * d + i] += prior);
        matrix.iter_mut().enumerate().for_each(|(n, v)| *v *= unit(n / d) * unit(n % d) / (count + prior));
        raise_to_floor(&mut matrix, scale, config.covariance_floor, config.covariance == CovarianceKind::Diagonal);
        matrices.push(matrix);
        (0..d).for_each(|i| means[[s, i]] = scale.mean[i] + mean[i] * unit(i));
    }
    let degrees_of_freedom = config.degrees_of_freedom.start().map(|dof| Array1::from_elem(k, dof));
    Emission { means, covariance: covariance_of(config.covariance, &matrices, d), degrees_of_freedom }
}

/// Covariances of one shape from D × D matrices per state (tied: their mean).
fn covariance_of(kind: CovarianceKind, matrices: &[Vec<f64>], dims: usize) -> Covariance {
    let k = matrices.len();
    match kind {
        CovarianceKind::Diagonal => Covariance::Diagonal(Array2::from_shape_fn((k, dims), |(s, i)| matrices[s][i * dims + i])),
        CovarianceKind::Full => Covariance::Full(Array3::from_shape_fn((k, dims, dims), |(s, i, j)| matrices[s][i * dims + j])),
        CovarianceKind::Tied => Covariance::Tied(Array2::from_shape_fn((dims, dims), |(i, j)| {
            matrices.iter().map(|m| m[i * dims + j]).sum::<f64>() / k as f64
        })),
    }
}
