//! Drawing sequences from a model, reproducibly: xoshiro256++ from the seed given.

use crate::cholesky::cholesky;
use crate::error::HmmError;
use crate::model::Hmm;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

impl Hmm {
    /// `rows` observations (T × D) and the states that emitted them.
    pub fn sample(&self, rows: usize, seed: u64) -> Result<(Array2<f64>, Vec<usize>), HmmError> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (k, d) = (self.states(), self.dims());
        let factor = |state: usize| {
            let matrix: Vec<f64> = self.emission().covariance.of_state(state).iter().copied().collect();
            cholesky(&matrix, d).ok_or(HmmError::NotPositiveDefinite { state })
        };
        let factors = (0..k).map(factor).collect::<Result<Vec<_>, _>>()?;
        let mut observations = Array2::zeros((rows, d));
        let mut states = Vec::with_capacity(rows);
        for mut row in observations.outer_iter_mut() {
            let state = match states.last() {
                None => draw(self.start().iter().copied(), &mut rng),
                Some(&before) => draw(self.transition().row(before).iter().copied(), &mut rng),
            };
            let noise: Vec<f64> = (0..d).map(|_| normal(&mut rng)).collect();
            // A Student-t is a Gaussian whose spread is itself drawn, once per row.
            let spread = self.emission().degrees_of_freedom.as_ref().map_or(1.0, |dof| {
                let dof = dof[state];
                (dof / (2.0 * gamma(0.5 * dof, &mut rng))).sqrt()
            });
            for i in 0..d {
                let correlated: f64 = (0..=i).map(|j| factors[state][i * d + j] * noise[j]).sum();
                row[i] = self.emission().means[[state, i]] + spread * correlated;
            }
            states.push(state);
        }
        Ok((observations, states))
    }
}

fn draw(probabilities: impl Iterator<Item = f64>, rng: &mut Xoshiro256PlusPlus) -> usize {
    let mut target = rng.random::<f64>();
    let mut last = 0;
    for (state, p) in probabilities.enumerate().filter(|(_, p)| *p > 0.0) {
        last = state;
        target -= p;
        if target < 0.0 {
            break;
        }
    }
    last
}

/// Standard normal, by Marsaglia's polar method.
pub(crate) fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    loop {
        let (x, y) = (2.0 * rng.random::<f64>() - 1.0, 2.0 * rng.random::<f64>() - 1.0);
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

/// Gamma of the given shape and scale one, by Marsaglia and Tsang (2000).
fn gamma(shape: f64, rng: &mut Xoshiro256PlusPlus) -> f64 {
    if shape < 1.0 {
        let boost = (1.0 - rng.random::<f64>()).powf(1.0 / shape);
        return gamma(shape + 1.0, rng) * boost.max(f64::MIN_POSITIVE);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - rng.random::<f64>();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}
