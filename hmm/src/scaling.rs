//! Standardisation by the training rows' mean and deviation, and models carried from one unit to another.
//!
//! A fit doesn't depend on units (floors, priors and starts are relative to the data), so scaling is for people and for other
//! programs. What does depend on them is comparison: a log-likelihood per row and a state's emissions mean nothing beside those
//! of a model that was scaled otherwise. [`Hmm::unscaled`] takes a model back to the features' own units, where both compare.

use crate::error::HmmError;
use crate::m_step::Scale;
use crate::model::{Covariance, Emission, Hmm};
use crate::observations::Observations;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// What the features were standardised by before they reached the model: (x − mean) / deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Mean per feature.
    pub mean: Vec<f64>,
    /// Deviation per feature, positive.
    pub deviation: Vec<f64>,
}

impl Scaling {
    /// Mean and deviation of every feature over the values present. A constant feature is only centred (deviation 1).
    pub fn of(observations: &Observations<'_>) -> Self {
        let Scale { mean, variance } = Scale::of(observations);
        let deviation = |(variance, mean): (&f64, &f64)| {
            let constant = !(*variance > (1e-20 * mean * mean).max(1e-24));
            if constant { 1.0 } else { variance.sqrt() }
        };
        Scaling { deviation: variance.iter().zip(&mean).map(deviation).collect(), mean }
    }

    /// Standardises a row in place; NaN stays NaN.
    pub fn apply(&self, row: &mut [f64]) {
        row.iter_mut().zip(self.mean.iter().zip(&self.deviation)).for_each(|(x, (mean, deviation))| *x = (*x - mean) / deviation);
    }

    /// Standardised copies of rows. Refused where the widths differ.
    pub fn applied(&self, rows: ArrayView2<'_, f64>) -> Result<Array2<f64>, HmmError> {
        self.check(rows.ncols())?;
        Ok(Array2::from_shape_fn(rows.dim(), |(t, i)| (rows[[t, i]] - self.mean[i]) / self.deviation[i]))
    }

    fn check(&self, dims: usize) -> Result<(), HmmError> {
        for (expected, found) in [(dims, self.mean.len()), (dims, self.deviation.len())] {
            if expected != found {
                return Err(HmmError::Shape { what: "scaling", expected, found });
            }
        }
        match self.deviation.iter().find(|d| !(**d > 0.0 && d.is_finite())) {
            Some(&value) => Err(HmmError::Setting { what: "scaling deviation", value, range: "positive and finite" }),
            None => Ok(()),
        }
    }
}

impl Hmm {
    /// The same model in the features' own units: made for standardised rows, it now takes rows as they are.
    pub fn unscaled(&self, scaling: &Scaling) -> Result<Hmm, HmmError> {
        self.moved(scaling, |mean, i| scaling.mean[i] + mean * scaling.deviation[i], |i| scaling.deviation[i])
    }

    /// The same model for standardised rows.
    pub fn scaled(&self, scaling: &Scaling) -> Result<Hmm, HmmError> {
        self.moved(scaling, |mean, i| (mean - scaling.mean[i]) / scaling.deviation[i], |i| 1.0 / scaling.deviation[i])
    }

    /// Moves means by `mean`, and stretches covariances by `stretch` per feature.
    fn moved(
        &self,
        scaling: &Scaling,
        mean: impl Fn(f64, usize) -> f64,
        stretch: impl Fn(usize) -> f64,
    ) -> Result<Hmm, HmmError> {
        scaling.check(self.dims())?;
        let emission = self.emission();
        let mut means = emission.means.clone();
        means.indexed_iter_mut().for_each(|((_, i), m)| *m = mean(*m, i));
        let covariance = match &emission.covariance {
            Covariance::Diagonal(v) => {
                let mut v = v.clone();
                v.indexed_iter_mut().for_each(|((_, i), v)| *v *= stretch(i) * stretch(i));
                Covariance::Diagonal(v)
            }
            Covariance::Full(m) => {
                let mut m = m.clone();
                m.indexed_iter_mut().for_each(|((_, i, j), v)| *v *= stretch(i) * stretch(j));
                Covariance::Full(m)
            }
            Covariance::Tied(m) => {
                let mut m = m.clone();
                m.indexed_iter_mut().for_each(|((i, j), v)| *v *= stretch(i) * stretch(j));
                Covariance::Tied(m)
            }
        };
        let degrees_of_freedom = emission.degrees_of_freedom.clone();
        Hmm::new(self.start().to_owned(), self.transition().to_owned(), Emission { means, covariance, degrees_of_freedom })
    }
}
