//! The chain by itself: forecasts, durations, the stationary distribution, entropy.

use crate::error::HmmError;
use crate::model::Hmm;
use ndarray::{Array1, Array2, ArrayView1};

impl Hmm {
    /// P(S_t+h) for h = 1 … `horizon` (rows) from the distribution now: `now · A^h`.
    pub fn forecast(&self, now: ArrayView1<'_, f64>, horizon: usize) -> Result<Array2<f64>, HmmError> {
        let (expected, found) = (self.states(), now.len());
        if expected != found {
            return Err(HmmError::Shape { what: "probabilities", expected, found });
        }
        let mut rows = Array2::zeros((horizon, expected));
        let mut ahead = now.to_owned();
        for mut row in rows.outer_iter_mut() {
            ahead = ahead.dot(&self.transition());
            row.assign(&ahead);
        }
        Ok(rows)
    }

    /// Expected rows that a state lasts once entered, and equally that it lasts on: 1 / (1 − a_ii); infinite where absorbing.
    pub fn expected_durations(&self) -> Array1<f64> {
        let leave = |i: usize| -> f64 { (0..self.states()).filter(|&j| j != i).map(|j| self.transition()[[i, j]]).sum() };
        // The sum of the other entries keeps the digits that 1 − a_ii loses.
        Array1::from_shape_fn(self.states(), |i| 1.0 / leave(i))
    }

    /// The distribution that A leaves alone. States that are left for good have zero; several closed groups are an error.
    pub fn stationary(&self) -> Result<Array1<f64>, HmmError> {
        let k = self.states();
        let reach = self.reachability();
        let recurrent: Vec<usize> = (0..k).filter(|&i| (0..k).all(|j| !reach[i][j] || reach[j][i])).collect();
        if recurrent.iter().any(|&i| !reach[recurrent[0]][i]) {
            return Err(HmmError::NotErgodic);
        }
        let n = recurrent.len();
        let mut a: Vec<f64> = (0..n * n).map(|m| self.transition()[[recurrent[m / n], recurrent[m % n]]]).collect();
        // Grassmann, Taksar and Heyman: elimination without a subtraction, accurate however rare a transition is.
        for last in (1..n).rev() {
            let out: f64 = a[last * n..last * n + last].iter().sum();
            (0..last).for_each(|i| a[i * n + last] /= out);
            for i in 0..last {
                for j in 0..last {
                    a[i * n + j] += a[i * n + last] * a[last * n + j];
                }
            }
        }
        let mut weight = vec![1.0; n];
        for j in 1..n {
            weight[j] = (0..j).map(|i| weight[i] * a[i * n + j]).sum();
        }
        let total: f64 = weight.iter().sum();
        let mut stationary = Array1::zeros(k);
        recurrent.iter().zip(weight).for_each(|(&s, w)| stationary[s] = w / total);
        Ok(stationary)
    }

    fn reachability(&self) -> Vec<Vec<bool>> {
        let k = self.states();
        let mut reach: Vec<Vec<bool>> =
            (0..k).map(|i| (0..k).map(|j| i == j || self.transition()[[i, j]] > 0.0).collect()).collect();
        for via in 0..k {
            for i in 0..k {
                if reach[i][via] {
                    let row = reach[via].clone();
                    reach[i].iter_mut().zip(row).for_each(|(to, step)| *to |= step);
                }
            }
        }
        reach
    }
}

/// Entropy of a distribution in nats: 0 when one state is certain, ln K when nothing is known.
pub fn entropy(probabilities: &[f64]) -> f64 {
    -probabilities.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}
