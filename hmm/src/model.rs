//! The model: start, transition and emission parameters, checked once and then trusted.
//!
//! Shapes: K states, D dimensions. `start[i] = P(S_1 = i)`, `transition[[i, j]] = P(S_t+1 = j | S_t = i)`.
//! For Student-t emissions the "covariance" is the scale matrix; the covariance is scale · ν / (ν − 2) where ν > 2.

use crate::cholesky::cholesky;
use crate::error::HmmError;
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2};

/// Spread of the emissions.
#[derive(Debug, Clone, PartialEq)]
pub enum Covariance {
    /// Variances, K × D.
    Diagonal(Array2<f64>),
    /// One matrix per state, K × D × D.
    Full(Array3<f64>),
    /// One matrix for all states, D × D.
    Tied(Array2<f64>),
}

/// The three shapes of [`Covariance`], without their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CovarianceKind {
    /// Independent features within a state.
    Diagonal,
    /// A matrix per state.
    Full,
    /// A matrix shared by all states.
    Tied,
}

impl Covariance {
    /// Which of the three it is.
    pub fn kind(&self) -> CovarianceKind {
        match self {
            Covariance::Diagonal(_) => CovarianceKind::Diagonal,
            Covariance::Full(_) => CovarianceKind::Full,
            Covariance::Tied(_) => CovarianceKind::Tied,
        }
    }

    /// The D × D matrix of one state.
    pub fn of_state(&self, state: usize) -> Array2<f64> {
        match self {
            Covariance::Diagonal(variances) => Array2::from_diag(&variances.row(state)),
            Covariance::Full(matrices) => matrices.index_axis(ndarray::Axis(0), state).to_owned(),
            Covariance::Tied(matrix) => matrix.clone(),
        }
    }
}

/// Emission densities: Gaussian, or multivariate Student-t with ν per state.
#[derive(Debug, Clone, PartialEq)]
pub struct Emission {
    /// Locations, K × D.
    pub means: Array2<f64>,
    /// Covariances (Gaussian) or scale matrices (Student-t).
    pub covariance: Covariance,
    /// ν per state for Student-t; `None` for Gaussian.
    pub degrees_of_freedom: Option<Array1<f64>>,
}

impl Emission {
    /// Gaussian emissions.
    pub fn gaussian(means: Array2<f64>, covariance: Covariance) -> Self {
        Emission { means, covariance, degrees_of_freedom: None }
    }

    /// Student-t emissions with the same ν in every state.
    pub fn student_t(means: Array2<f64>, scale: Covariance, degrees_of_freedom: f64) -> Self {
        let states = means.nrows();
        Emission { means, covariance: scale, degrees_of_freedom: Some(Array1::from_elem(states, degrees_of_freedom)) }
    }

    fn check(&self, states: usize) -> Result<(), HmmError> {
        let dims = self.means.ncols();
        if dims == 0 {
            return Err(HmmError::Empty { what: "the list of dimensions" });
        }
        shape("means", states * dims, self.means.len())?;
        for (state, row) in self.means.outer_iter().enumerate() {
            finite("mean", state, row.iter())?;
        }
        let (expected, found) = match &self.covariance {
            Covariance::Diagonal(v) => (states * dims, v.len()),
            Covariance::Full(m) => (states * dims * dims, m.len()),
            Covariance::Tied(m) => (dims * dims, m.len()),
        };
        shape("covariance", expected, found)?;
        for state in 0..states {
            self.check_covariance(state, dims)?;
        }
        let Some(dof) = &self.degrees_of_freedom else { return Ok(()) };
        shape("degrees of freedom", states, dof.len())?;
        match dof.iter().enumerate().find(|(_, v)| !(**v > 0.0 && v.is_finite())) {
            Some((state, &value)) => Err(HmmError::DegreesOfFreedom { state, value }),
            None => Ok(()),
        }
    }

    fn check_covariance(&self, state: usize, dims: usize) -> Result<(), HmmError> {
        let matrix = self.covariance.of_state(state);
        shape("covariance", dims * dims, matrix.len())?;
        finite("covariance", state, matrix.iter())?;
        let asymmetry =
            |i: usize, j: usize| (matrix[[i, j]] - matrix[[j, i]]).abs() > 1e-9 * (matrix[[i, i]] * matrix[[j, j]]).sqrt();
        let skew = (0..dims).any(|i| (0..i).any(|j| asymmetry(i, j)));
        let flat: Vec<f64> = matrix.iter().copied().collect();
        match cholesky(&flat, dims) {
            Some(_) if !skew => Ok(()),
            _ => Err(HmmError::NotPositiveDefinite { state }),
        }
    }
}

/// A hidden Markov model with checked parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Hmm {
    start: Array1<f64>,
    transition: Array2<f64>,
    emission: Emission,
}

impl Hmm {
    /// Checks shapes, probabilities (sum 1 within 1e-9; then made exact) and positive definiteness.
    pub fn new(start: Array1<f64>, transition: Array2<f64>, emission: Emission) -> Result<Self, HmmError> {
        let states = start.len();
        if states == 0 {
            return Err(HmmError::Empty { what: "the list of states" });
        }
        shape("means", states, emission.means.nrows())?;
        shape("transition", states, transition.nrows())?;
        shape("transition", states, transition.ncols())?;
        let (mut start, mut transition) = (start, transition);
        probability("start", 0, start.iter_mut())?;
        for (row, values) in transition.outer_iter_mut().enumerate() {
            probability("transition", row, values.into_iter())?;
        }
        emission.check(states)?;
        Ok(Hmm { start, transition, emission })
    }

    /// Number of states, K.
    pub fn states(&self) -> usize {
        self.start.len()
    }

    /// Number of features, D.
    pub fn dims(&self) -> usize {
        self.emission.means.ncols()
    }

    /// P(S_1 = i).
    pub fn start(&self) -> ArrayView1<'_, f64> {
        self.start.view()
    }

    /// P(S_t+1 = j | S_t = i), rows sum to one.
    pub fn transition(&self) -> ArrayView2<'_, f64> {
        self.transition.view()
    }

    /// Emission parameters.
    pub fn emission(&self) -> &Emission {
        &self.emission
    }

    /// Free parameters (ν counted where `fitted_dof` says so), for AIC and BIC.
    pub fn parameters(&self, fitted_dof: bool) -> usize {
        let (k, d) = (self.states(), self.dims());
        let spread = match self.emission.covariance.kind() {
            CovarianceKind::Diagonal => k * d,
            CovarianceKind::Full => k * d * (d + 1) / 2,
            CovarianceKind::Tied => d * (d + 1) / 2,
        };
        let dof = if fitted_dof && self.emission.degrees_of_freedom.is_some() { k } else { 0 };
        (k - 1) + k * (k - 1) + k * d + spread + dof
    }

    /// The same model with its states in another order: state i of the result is `order[i]` of this one.
    pub fn reordered(&self, order: &[usize]) -> Result<Hmm, HmmError> {
        let k = self.states();
        let mut seen = vec![false; k];
        order.iter().filter(|&&s| s < k).for_each(|&s| seen[s] = true);
        shape("order", k, order.len())?;
        shape("order", k, seen.iter().filter(|s| **s).count())?;
        let rows = |a: &Array2<f64>| a.select(ndarray::Axis(0), order);
        let covariance = match &self.emission.covariance {
            Covariance::Diagonal(v) => Covariance::Diagonal(rows(v)),
            Covariance::Full(m) => Covariance::Full(m.select(ndarray::Axis(0), order)),
            Covariance::Tied(m) => Covariance::Tied(m.clone()),
        };
        Ok(Hmm {
            start: self.start.select(ndarray::Axis(0), order),
            transition: rows(&self.transition).select(ndarray::Axis(1), order),
            emission: Emission {
                means: rows(&self.emission.means),
                covariance,
                degrees_of_freedom: self.emission.degrees_of_freedom.as_ref().map(|v| v.select(ndarray::Axis(0), order)),
            },
        })
    }
}

fn shape(what: &'static str, expected: usize, found: usize) -> Result<(), HmmError> {
    if expected == found { Ok(()) } else { Err(HmmError::Shape { what, expected, found }) }
}

fn finite<'a>(what: &'static str, state: usize, mut values: impl Iterator<Item = &'a f64>) -> Result<(), HmmError> {
    match values.find(|v| !v.is_finite()) {
        Some(&value) => Err(HmmError::NotFinite { what, state, value }),
        None => Ok(()),
    }
}

fn probability<'a>(what: &'static str, row: usize, values: impl Iterator<Item = &'a mut f64>) -> Result<(), HmmError> {
    let values: Vec<&mut f64> = values.collect();
    let sum: f64 = values.iter().map(|v| **v).sum();
    if values.iter().any(|v| !(**v >= 0.0)) || !((sum - 1.0).abs() <= 1e-9) {
        return Err(HmmError::NotAProbability { what, row, sum });
    }
    // A sum off by rounding is left alone: dividing would change the bits of parameters that were read from a file.
    if (sum - 1.0).abs() > 1e-14 {
        values.into_iter().for_each(|v| *v /= sum);
    }
    Ok(())
}
