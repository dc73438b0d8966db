//! The M-step of A where the start is tied to it: the chain is taken to have run for ever before the first row.
//!
//! Maximises Σ c_ij ln a_ij + Σ g_k ln π_k(A), with c the expected transitions, g the expected starts and π the stationary
//! distribution. Its derivative by a_ij is c_ij / a_ij + π_i x_j with (I − A + 1π) x = g/π (Schweitzer 1968), so a row of A is
//! proportional to c_ij + a_ij π_i x_j: iterated, with a step halved where the sum would fall. One start among thousands of
//! rows moves little; on the short series of the literature it moves the fourth digit.

use crate::model::Hmm;
use ndarray::{Array1, Array2};

const ROUNDS: usize = 200;
const HALVINGS: usize = 30;

/// The better A, never worse than `model`'s own, and its stationary distribution; `None` where there is no unique one.
/// `closed` is the maximum without the start's term.
pub(crate) fn tied(
    model: &Hmm,
    closed: &Array2<f64>,
    counts: &Array2<f64>,
    starts: &[f64],
) -> Option<(Array2<f64>, Array1<f64>)> {
    let stationary = |a: &Array2<f64>| {
        let chain = Hmm::new(model.start().to_owned(), a.clone(), model.emission().clone()).ok()?;
        chain.stationary().ok()
    };
    let log = |count: f64, p: f64| if count > 0.0 { count * p.ln() } else { 0.0 };
    let value = |a: &Array2<f64>, pi: &Array1<f64>| -> f64 {
        let moves: f64 = counts.iter().zip(a).map(|(c, a)| log(*c, *a)).sum();
        moves + starts.iter().zip(pi).map(|(g, p)| log(*g, *p)).sum::<f64>()
    };
    let (mut a, mut pi) = (model.transition().to_owned(), Array1::zeros(0));
    pi.clone_from(&stationary(&a)?);
    let mut best = value(&a, &pi);
    if let Some(from_closed) = stationary(closed).filter(|pi| value(closed, pi) > best) {
        (best, a, pi) = (value(closed, &from_closed), closed.clone(), from_closed);
    }
    for _ in 0..ROUNDS {
        let Some(target) = fixed_point(&a, &pi, counts, starts) else { break };
        let mut share = 1.0;
        let step = (0..HALVINGS).find_map(|_| {
            let mixed = &a * (1.0 - share) + &target * share;
            share *= 0.5;
            let mixed_pi = stationary(&mixed)?;
            let gained = value(&mixed, &mixed_pi);
            (gained > best).then_some((gained, mixed, mixed_pi))
        });
        let Some((gained, next, next_pi)) = step else { break };
        let moved = a.iter().zip(&next).map(|(a, n)| (a - n).abs()).fold(0.0, f64::max);
        (best, a, pi) = (gained, next, next_pi);
        if moved < 1e-13 {
            break;
        }
    }
    Some((a, pi))
}

/// Rows proportional to c_ij + a_ij π_i (x_j − min x): the constant slows the step and keeps every count positive.
fn fixed_point(a: &Array2<f64>, pi: &Array1<f64>, counts: &Array2<f64>, starts: &[f64]) -> Option<Array2<f64>> {
    let k = pi.len();
    if (0..k).any(|i| starts[i] > 0.0 && !(pi[i] > 0.0)) {
        return None;
    }
    let ratio = |i: usize| if starts[i] > 0.0 { starts[i] / pi[i] } else { 0.0 };
    let matrix = Array2::from_shape_fn((k, k), |(i, j)| f64::from(u8::from(i == j)) - a[[i, j]] + pi[j]);
    let x = solve(matrix, (0..k).map(ratio).collect())?;
    let least = x.iter().copied().fold(f64::INFINITY, f64::min);
    let mut next = Array2::from_shape_fn((k, k), |(i, j)| counts[[i, j]] + a[[i, j]] * pi[i] * (x[j] - least));
    for (i, mut row) in next.outer_iter_mut().enumerate() {
        let sum = row.sum();
        if sum > 0.0 { row /= sum } else { row.assign(&a.row(i)) }
    }
    Some(next)
}

/// Gaussian elimination with the largest pivot of each column.
fn solve(mut m: Array2<f64>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&i, &j| m[[i, column]].abs().total_cmp(&m[[j, column]].abs()))?;
        if !(m[[pivot, column]].abs() > 1e-300) {
            return None;
        }
        (0..n).for_each(|j| m.swap([pivot, j], [column, j]));
        b.swap(pivot, column);
        for i in column + 1..n {
            let factor = m[[i, column]] / m[[column, column]];
            (column..n).for_each(|j| m[[i, j]] -= factor * m[[column, j]]);
            b[i] -= factor * b[column];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| m[[i, j]] * b[j]).sum();
        b[i] = (b[i] - known) / m[[i, i]];
    }
    b.iter().all(|v| v.is_finite()).then_some(b)
}
