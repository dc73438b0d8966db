//! Which state of one model is which of another, and how far two models are apart.
//!
//! States are matched by their emissions: the assignment (Hungarian method) with the least sum of symmetric Kullback–Leibler
//! divergences between Gaussians of the same mean and covariance. Whole models are compared by the divergence rate of the
//! rows they emit, estimated on rows drawn from each.

use crate::cholesky::{cholesky, inverse_from_factor};
use crate::error::HmmError;
use crate::model::{Emission, Hmm};
use crate::observations::Observations;

impl Hmm {
    /// For each state of `self`, the state of `other` that it corresponds to. `other.reordered(&order)` then has the names of
    /// `self`. Both need the same K and D.
    pub fn matching(&self, other: &Hmm) -> Result<Vec<usize>, HmmError> {
        let k = self.states();
        same("states", k, other.states())?;
        same("dimensions", self.dims(), other.dims())?;
        let mine = (0..k).map(|s| Moments::of(self.emission(), s)).collect::<Result<Vec<_>, _>>()?;
        let theirs = (0..k).map(|s| Moments::of(other.emission(), s)).collect::<Result<Vec<_>, _>>()?;
        let cost: Vec<f64> = (0..k * k).map(|n| mine[n / k].symmetric_kl(&theirs[n % k])).collect();
        Ok(hungarian(&cost, k))
    }

    /// Symmetric Kullback–Leibler divergence rate, nats per row: ½(D(self‖other) + D(other‖self)), estimated on `rows` rows
    /// drawn from each. Never negative.
    pub fn symmetric_kl(&self, other: &Hmm, rows: usize, seed: u64) -> Result<f64, HmmError> {
        same("dimensions", self.dims(), other.dims())?;
        let one_way = |from: &Hmm, to: &Hmm, seed: u64| -> Result<f64, HmmError> {
            let (drawn, _) = from.sample(rows.max(1), seed)?;
            let drawn = Observations::new(drawn.view())?;
            Ok((from.log_likelihood(&drawn)? - to.log_likelihood(&drawn)?) / rows.max(1) as f64)
        };
        Ok((0.5 * (one_way(self, other, seed)? + one_way(other, self, seed.wrapping_add(1))?)).max(0.0))
    }
}

fn same(what: &'static str, expected: usize, found: usize) -> Result<(), HmmError> {
    if expected == found { Ok(()) } else { Err(HmmError::Shape { what, expected, found }) }
}

/// Mean, covariance and its inverse of one state.
struct Moments {
    mean: Vec<f64>,
    covariance: Vec<f64>,
    inverse: Vec<f64>,
}

impl Moments {
    fn of(emission: &Emission, state: usize) -> Result<Self, HmmError> {
        let mean = emission.means.row(state).to_vec();
        let d = mean.len();
        // The covariance of a Student-t where it exists; at ν ≤ 2.1 the scale is stretched by a bounded factor.
        let stretch = emission.degrees_of_freedom.as_ref().map_or(1.0, |v| v[state].max(2.1) / (v[state].max(2.1) - 2.0));
        let covariance: Vec<f64> = emission.covariance.of_state(state).iter().map(|v| v * stretch).collect();
        let factor = cholesky(&covariance, d).ok_or(HmmError::NotPositiveDefinite { state })?;
        Ok(Moments { mean, inverse: inverse_from_factor(&factor, d), covariance })
    }

    /// ½(KL(a‖b) + KL(b‖a)) of two Gaussians; the log determinants cancel.
    fn symmetric_kl(&self, other: &Moments) -> f64 {
        let d = self.mean.len();
        let gap = |i: usize| self.mean[i] - other.mean[i];
        let mut sum = -2.0 * d as f64;
        for i in 0..d {
            for j in 0..d {
                let n = i * d + j;
                sum += other.inverse[n] * self.covariance[n] + self.inverse[n] * other.covariance[n];
                sum += (self.inverse[n] + other.inverse[n]) * gap(i) * gap(j);
            }
        }
        0.25 * sum
    }
}

/// The assignment of rows to columns with the least total cost (shortest augmenting paths, n³).
fn hungarian(cost: &[f64], n: usize) -> Vec<usize> {
    // Potentials and matches with a virtual row and column 0, as the method is usually told.
    let (mut row_potential, mut column_potential) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    let mut row_of = vec![0usize; n + 1];
    for row in 1..=n {
        row_of[0] = row;
        let mut column = 0;
        let (mut least, mut from, mut used) = (vec![f64::INFINITY; n + 1], vec![0usize; n + 1], vec![false; n + 1]);
        loop {
            used[column] = true;
            let current = row_of[column];
            let (mut delta, mut next) = (f64::INFINITY, 0);
            for j in (1..=n).filter(|&j| !used[j]) {
                let reduced = cost[(current - 1) * n + j - 1] - row_potential[current] - column_potential[j];
                if reduced < least[j] {
                    (least[j], from[j]) = (reduced, column);
                }
                if least[j] < delta || next == 0 {
                    (delta, next) = (least[j], j);
                }
            }
            for j in 0..=n {
                if used[j] {
                    row_potential[row_of[j]] += delta;
                    column_potential[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            column = next;
            if row_of[column] == 0 {
                break;
            }
        }
        while column != 0 {
            row_of[column] = row_of[from[column]];
            column = from[column];
        }
    }
    let mut assigned = vec![0; n];
    (1..=n).for_each(|j| assigned[row_of[j] - 1] = j - 1);
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cheapest(cost: &[f64], n: usize, row: usize, free: &mut Vec<usize>) -> f64 {
        if row == n {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for at in 0..free.len() {
            let column = free.remove(at);
            best = best.min(cost[row * n + column] + cheapest(cost, n, row + 1, free));
            free.insert(at, column);
        }
        best
    }

    proptest! {
        #[test]
        fn no_permutation_is_cheaper(n in 1usize..6, seed in prop::collection::vec(0.0f64..10.0, 36)) {
            let cost = &seed[..n * n];
            let assigned = hungarian(cost, n);
            let total: f64 = assigned.iter().enumerate().map(|(i, j)| cost[i * n + j]).sum();
            let best = cheapest(cost, n, 0, &mut (0..n).collect());
            prop_assert!((total - best).abs() < 1e-9, "{total} against {best}");
        }
    }
}
