//! The M-step: parameters from expected counts and moments, with priors and floors.
//!
//! Every update maximises its part of the expected log posterior (the degrees of freedom by bisection on a monotone
//! equation, a floored covariance by clamping eigenvalues, which is the constrained maximum), so the objective can't fall.

use crate::cholesky::{cholesky, eigen, inverse_from_factor, log_determinant};
use crate::config::{DegreesOfFreedom, FitConfig};
use crate::error::HmmError;
use crate::gamma::digamma;
use crate::model::{Covariance, CovarianceKind, Emission, Hmm};
use crate::observations::Observations;
use crate::stationary_start::tied;
use crate::statistics::Statistics;
use ndarray::{Array1, Array2, Array3};

/// Mean and variance of every feature over all rows present: what floors and priors are relative to.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

impl Scale {
    pub(crate) fn of(observations: &Observations<'_>) -> Self {
        let dims = observations.dims();
        let column = |i: usize| observations.flat().iter().skip(i).step_by(dims).copied().filter(|x| !x.is_nan());
        let moments = |i: usize| {
            let count = column(i).count().max(1) as f64;
            let mean = column(i).sum::<f64>() / count;
            let variance = column(i).map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            // A constant feature has no scale of its own: take a hair of its size.
            (mean, if variance > 1e-24 * mean * mean { variance } else { (1e-24 * mean * mean).max(1e-24) })
        };
        let (mean, variance) = (0..dims).map(moments).unzip();
        Scale { mean, variance }
    }
}

/// What [`m_step`] did beside the plain update.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub model: Hmm,
    /// States whose covariance met the floor.
    pub floored: Vec<usize>,
}

/// The next model.
pub(crate) fn m_step(model: &Hmm, statistics: &Statistics, config: &FitConfig, scale: &Scale) -> Result<Update, HmmError> {
    let (k, d) = (model.states(), model.dims());
    let total: f64 = statistics.start.iter().sum();
    let mut start = Array1::from_shape_fn(k, |s| if total > 0.0 { statistics.start[s] / total } else { model.start()[s] });
    let mut transition = model.transition().to_owned();
    for (i, mut row) in transition.outer_iter_mut().enumerate() {
        let counts: Vec<f64> = (0..k).map(|j| statistics.transitions[i * k + j] + config.transition_count(i, j)).collect();
        let sum: f64 = counts.iter().sum();
        // A state never left has no row to estimate: the old one stays.
        if sum > 0.0 {
            row.iter_mut().zip(counts).for_each(|(a, count)| *a = count / sum);
        }
    }
    if config.stationary_start {
        let counts = Array2::from_shape_fn((k, k), |(i, j)| statistics.transitions[i * k + j] + config.transition_count(i, j));
        match tied(model, &transition, &counts, &statistics.start) {
            Some(both) => (transition, start) = both,
            None => start = model.start().to_owned(),
        }
    }
    let mut means = model.emission().means.clone();
    for (s, mut mean) in means.outer_iter_mut().enumerate() {
        mean.iter_mut().zip(statistics.shift(s)).for_each(|(m, shift)| *m += shift);
    }
    let (covariance, floored) = covariances(model, statistics, config, scale);
    let dof = model.emission().degrees_of_freedom.as_ref().map(|dof| degrees_of_freedom(dof, statistics, config));
    debug_assert_eq!(means.dim(), (k, d));
    let emission = Emission { means, covariance, degrees_of_freedom: dof };
    Ok(Update { model: Hmm::new(exact(start), exact_rows(transition), emission)?, floored })
}

fn exact(mut p: Array1<f64>) -> Array1<f64> {
    let sum = p.sum();
    p /= sum;
    p
}

fn exact_rows(mut a: Array2<f64>) -> Array2<f64> {
    for mut row in a.outer_iter_mut() {
        let sum = row.sum();
        row /= sum;
    }
    a
}

fn covariances(model: &Hmm, statistics: &Statistics, config: &FitConfig, scale: &Scale) -> (Covariance, Vec<usize>) {
    let (k, d) = (model.states(), model.dims());
    let old = &model.emission().covariance;
    let mut floored = Vec::new();
    let mut state = |s: usize, scatter: Vec<f64>, weight: f64| -> Vec<f64> {
        let (pseudo, relative) = config.covariance_prior.map_or((0.0, 0.0), |p| (p.pseudo_rows, p.relative_scale));
        let rows = weight + pseudo;
        let mut matrix = scatter;
        if rows > 0.0 {
            (0..d).for_each(|i| matrix[i * d + i] += pseudo * relative * scale.variance[i]);
            matrix.iter_mut().for_each(|v| *v /= rows);
        } else {
            matrix = old.of_state(s).iter().copied().collect();
        }
        if raise_to_floor(&mut matrix, scale, config.covariance_floor, old.kind() == CovarianceKind::Diagonal) {
            floored.push(s);
        }
        matrix
    };
    let covariance = match old.kind() {
        CovarianceKind::Diagonal => {
            let rows: Vec<Vec<f64>> = (0..k).map(|s| state(s, statistics.scatter(s), statistics.weight[s])).collect();
            Covariance::Diagonal(Array2::from_shape_fn((k, d), |(s, i)| rows[s][i * d + i]))
        }
        CovarianceKind::Full => {
            let all: Vec<Vec<f64>> = (0..k).map(|s| state(s, statistics.scatter(s), statistics.weight[s])).collect();
            Covariance::Full(Array3::from_shape_fn((k, d, d), |(s, i, j)| all[s][i * d + j]))
        }
        CovarianceKind::Tied => {
            let mut sum = vec![0.0; d * d];
            for s in 0..k {
                sum.iter_mut().zip(statistics.scatter(s)).for_each(|(sum, v)| *sum += v);
            }
            let matrix = state(0, sum, statistics.weight.iter().sum());
            Covariance::Tied(Array2::from_shape_fn((d, d), |(i, j)| matrix[i * d + j]))
        }
    };
    (covariance, floored)
}

/// Raises eigenvalues (in units of the data's variances) to the floor. Whether anything had to be raised.
pub(crate) fn raise_to_floor(matrix: &mut [f64], scale: &Scale, floor: f64, diagonal: bool) -> bool {
    let d = scale.variance.len();
    if diagonal {
        let mut raised = false;
        for i in 0..d {
            let least = floor * scale.variance[i];
            // Not "< least": a NaN must be raised as well.
            if !(matrix[i * d + i] >= least) {
                matrix[i * d + i] = least;
                raised = true;
            }
        }
        return raised;
    }
    // The product of the roots: that of the variances may overflow.
    let unit = |i: usize, j: usize| scale.variance[i].sqrt() * scale.variance[j].sqrt();
    let relative: Vec<f64> = (0..d * d).map(|n| matrix[n] / unit(n / d, n % d)).collect();
    let less: Vec<f64> = (0..d * d).map(|n| relative[n] - if n / d == n % d { floor } else { 0.0 }).collect();
    if cholesky(&less, d).is_some() {
        return false;
    }
    let (values, vectors) = eigen(&relative, d);
    for n in 0..d * d {
        let (i, j) = (n / d, n % d);
        let rebuilt: f64 = (0..d).map(|e| vectors[i * d + e] * values[e].max(1.01 * floor) * vectors[j * d + e]).sum();
        matrix[n] = rebuilt * unit(i, j);
    }
    true
}

fn degrees_of_freedom(old: &Array1<f64>, statistics: &Statistics, config: &FitConfig) -> Array1<f64> {
    let DegreesOfFreedom::Fitted { least, most, shared, .. } = config.degrees_of_freedom else { return old.clone() };
    let weight: f64 = statistics.weight.iter().sum();
    let log_minus: f64 = statistics.log_minus.iter().sum();
    Array1::from_shape_fn(old.len(), |s| {
        let (weight, log_minus) = if shared { (weight, log_minus) } else { (statistics.weight[s], statistics.log_minus[s]) };
        if weight > 0.0 { solve_dof(log_minus / weight, least, most) } else { old[s] }
    })
}

/// The root of ln(ν/2) − ψ(ν/2) + 1 + E[ln u − u], which falls in ν, within bounds.
fn solve_dof(log_minus: f64, least: f64, most: f64) -> f64 {
    let slope = |dof: f64| (0.5 * dof).ln() - digamma(0.5 * dof) + 1.0 + log_minus;
    let (mut low, mut high) = (least.ln(), most.ln());
    if slope(least) <= 0.0 {
        return least;
    }
    if slope(most) >= 0.0 {
        return most;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if slope(middle.exp()) > 0.0 { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).exp()
}

/// Log density of the priors at the model, up to a constant; zero without priors.
pub(crate) fn log_prior(model: &Hmm, config: &FitConfig, scale: &Scale) -> f64 {
    let mut sum = 0.0;
    for ((i, j), a) in model.transition().indexed_iter() {
        let count = config.transition_count(i, j);
        if count > 0.0 {
            sum += count * a.max(1e-300).ln();
        }
    }
    let Some(prior) = config.covariance_prior else { return sum };
    let d = model.dims();
    let matrices = if model.emission().covariance.kind() == CovarianceKind::Tied { 1 } else { model.states() };
    for s in 0..matrices {
        let matrix: Vec<f64> = model.emission().covariance.of_state(s).iter().copied().collect();
        // The model is checked: its covariances have factors.
        let Some(factor) = cholesky(&matrix, d) else { return f64::NEG_INFINITY };
        let inverse = inverse_from_factor(&factor, d);
        let trace: f64 = (0..d).map(|i| inverse[i * d + i] * prior.relative_scale * scale.variance[i]).sum();
        sum -= 0.5 * prior.pseudo_rows * (log_determinant(&factor, d) + trace);
    }
    sum
}
